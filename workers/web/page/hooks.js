// What a game needs of the server: positions, players, the opponent's moves, searches, exact results.
import {useState, useEffect, useRef} from './vendor/htm-preact.js';
import {get, position, stream} from './api.js';

const EXACT_PAUSE = 500, KEPT = 200, TREE_PLIES = 3, GRAPH_SIMULATIONS = 100, HINT_SIMULATIONS = 400;

/** The positions at `at` and at the end of the line, and whether they are those of now; null while they load. */
export function usePositions(game, moves, at, setError) {
  const [shown, setShown] = useState(null), line = moves.join('.'), key = `${game}#${line}#${at}`;
  useEffect(() => {
    const leaving = new AbortController();
    Promise.all([position(game, moves.slice(0, at), leaving.signal), position(game, moves, leaving.signal)])
      .then(([here, end]) => { if (!leaving.signal.aborted) { setShown({key, line, here, end}); setError(''); } })
      .catch(error => { if (!leaving.signal.aborted) setError(error.message); });
    return () => leaving.abort();
  }, [key]);
  return [shown, shown?.key === key];
}

/** The players of the game and the formats of its files. */
export function usePlayers(game, setError) {
  const [players, setPlayers] = useState(null);
  useEffect(() => {
    get('players', {game}).then(setPlayers).catch(error => setError(error.message));
  }, [game]);
  return players;
}

/** Whether the page is hidden: searches stop then. */
export function useHidden() {
  const [hidden, setHidden] = useState(document.hidden);
  useEffect(() => {
    const look = () => setHidden(document.hidden);
    document.addEventListener('visibilitychange', look);
    return () => document.removeEventListener('visibilitychange', look);
  }, []);
  return hidden;
}

/** A search of the position while there is a `player`; it stops when the position changes. */
export function useAnalysis(game, moves, player, tree, onReport) {
  const [report, setReport] = useState(null), key = moves.join('.'), plies = tree ? TREE_PLIES : '';
  useEffect(() => {
    setReport(null);
    if (!player) return undefined;
    return stream('analyse', {game, moves: key, player, plies},
      data => { setReport({...data, key}); if (!data.error) onReport(key, data.first); },
      failed => setReport(last => last ? {...last, ended: true}
        : failed ? {error: 'The server does not search now; turn the analysis on again.', key} : null));
  }, [game, key, player, plies]);
  return report?.key === key ? report : null;
}

const proven = new Map();

/**
 * `{moves, error}` while `on`: the exact results of the moves as far as they are known, per action
 * `[result, plies]`, and a sentence where no more of them come. They are asked for anew after an error.
 */
export function useExact(on, game, moves) {
  const key = `${game}#${moves.join('.')}`, [, setNews] = useState('');
  useEffect(() => {
    if (!on || proven.get(key)?.ended) return undefined;
    let close = () => {};
    const put = entry => {
      if (!proven.has(key) && proven.size >= KEPT) proven.delete(proven.keys().next().value);
      proven.set(key, {...proven.get(key), ...entry});
      setNews(key + JSON.stringify(entry));
    };
    const timer = setTimeout(() => {  // not for each position of those that are passed by
      put({error: ''});
      close = stream('exact', {game, moves: moves.join('.')}, put, failed => put(failed
        ? {error: 'The server gives no exact results now; turn the analysis off and on again.'} : {ended: !proven.get(key).error}));
    }, EXACT_PAUSE);
    return () => { clearTimeout(timer); close(); };
  }, [on, key]);
  const {moves: results = {}, error = ''} = on && proven.get(key) || {};
  return {moves: results, error};
}

/**
 * The move of `opponent` (`{label, levels}`, null where it has none to make) after `moves`: one of
 * `onAnswer(answer)`, `onError(message)`. Returns whether it is choosing. `again` asks anew when it changes.
 */
export function useOpponent(opponent, {game, moves, level}, pause, again, onAnswer, onError) {
  const [thinking, setThinking] = useState(false), key = moves.join('.');
  const answers = useRef({});
  answers.current = {onAnswer, onError};  // those of the last render: the clock has gone on since the request
  useEffect(() => {
    if (!opponent) return undefined;
    const leaving = new AbortController(), left = () => leaving.signal.aborted;
    setThinking(true);
    const timer = setTimeout(() => get('move', {game, moves: key, player: opponent.label,
      simulations: opponent.levels ? level : ''}, leaving.signal)
      .then(answer => { if (!left()) { setThinking(false); answers.current.onAnswer(answer); } })
      .catch(error => { if (!left()) { setThinking(false); answers.current.onError(error.message); } }), pause);
    return () => { clearTimeout(timer); leaving.abort(); setThinking(false); };
  }, [opponent?.label, game, key, level, again, pause]);
  return thinking;
}

/** `{best, ask, forget}`: the move that a search of `analyst` finds, null without one; it is forgotten with its position. */
export function useHint(game, moves, analyst, setError) {
  const [best, setBest] = useState(null), close = useRef(null), key = moves.join('.');
  const forget = () => { close.current?.(); setBest(null); };
  const ask = () => {
    close.current?.();
    close.current = stream('analyse', {game, moves: key, player: analyst, simulations: HINT_SIMULATIONS},
      data => { if (data.error) setError(data.error); else if (data.best) setBest(data.best); },
      failed => failed && setError('The server does not search now; ask for the hint again.'));
  };
  useEffect(() => () => close.current?.(), []);
  useEffect(forget, [game, key, analyst]);
  return {best, ask, forget};
}

/**
 * The values of positions for the player who began, as analysts have found them: `know(by)(key, value)` adds one,
 * `draw()` those of the whole game; `along` are those of the line's first positions, null where there is none.
 */
export function useValues(game, moves, {analyst, second}, setNotice, setError) {
  const [values, setValues] = useState({}), close = useRef(null);
  const know = by => (key, value) => setValues(known => ({...known, [`${by}#${key}`]: value}));
  const finish = (line, result) => { for (const by of [analyst, second]) know(by)(line.join('.'), result); };
  const along = (by, length) => Array.from({length}, (_, ply) => values[`${by}#${moves.slice(0, ply).join('.')}`] ?? null);
  const draw = () => {
    close.current?.();
    setNotice('analysing the whole game …');
    close.current = stream('values', {game, moves: moves.join('.'), player: analyst, simulations: GRAPH_SIMULATIONS},
      data => {
        if (data.error) setError(data.error);
        else if (data.first != null) know(analyst)(moves.slice(0, data.ply).join('.'), data.first);
      },
      failed => { setNotice(''); if (failed) setError('The server does not search now; analyse the game again.'); });
  };
  useEffect(() => () => close.current?.(), []);
  return {know, finish, along, draw, forget: () => setValues({})};
}
