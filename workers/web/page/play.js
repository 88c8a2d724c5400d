// One game: against a player, or both sides by hand, with an analysis beside it.
import {html, useState, useEffect, useRef} from './vendor/htm-preact.js';
import {address, get, position, stream} from './api.js';
import {Board, remaining, targets} from './board.js';
import {Graph, Moves, Table, figures, percent} from './analysis.js';

const SEATS = {first: 'first', second: 'second', both: 'both sides', none: 'neither: watch'};
const LEVELS = [2, 8, 32, 100, 200, 400, 800, 1600, 3200];
const OVERLAYS = ['win rate', 'visits', 'prior', 'none'];
const GRAPH_SIMULATIONS = 100, HINT_SIMULATIONS = 400, WATCH_PAUSE = 400;
const COLOURS = ['orange', 'blue'], PIECES = ['white', 'black'], LETTERS = 'XO';

/** The positions at `at` and at the end of the line; null while they are loaded. */
function usePositions(game, moves, at, setError) {
  const [shown, setShown] = useState(null), key = `${game}#${moves.join('.')}#${at}`;
  useEffect(() => {
    const leaving = new AbortController();
    Promise.all([position(game, moves.slice(0, at), leaving.signal), position(game, moves, leaving.signal)])
      .then(([here, end]) => { if (!leaving.signal.aborted) { setShown({key, here, end}); setError(''); } })
      .catch(error => { if (!leaving.signal.aborted) setError(error.message); });
    return () => leaving.abort();
  }, [key]);
  return [shown, shown?.key === key];
}

/** The list of players of the game. */
function usePlayers(game, setError) {
  const [players, setPlayers] = useState(null);
  useEffect(() => {
    get('players', {game}).then(setPlayers).catch(error => setError(error.message));
  }, [game]);
  return players;
}

/** A search of the position while `on`; it stops when the position changes or the page is hidden. */
function useAnalysis(on, game, moves, player, onReport) {
  const [report, setReport] = useState(null), [hidden, setHidden] = useState(document.hidden);
  const key = moves.join('.');
  useEffect(() => {
    const look = () => setHidden(document.hidden);
    document.addEventListener('visibilitychange', look);
    return () => document.removeEventListener('visibilitychange', look);
  }, []);
  useEffect(() => {
    setReport(null);
    if (!on || hidden || !player) return undefined;
    return stream('analyse', {game, moves: key, player},
      data => { setReport({...data, key}); if (!data.error) onReport(key, data.first); },
      failed => failed && setReport(last => last ?? {error: 'The server does not search now; turn the analysis on again.', key}));
  }, [on, hidden, game, key, player]);
  return report?.key === key ? report : null;
}

function Choice({label, value, options, onchange}) {
  return html`<label>${label} <select value=${value} onchange=${e => onchange(e.target.value)}>
    ${options.map(([key, text]) => html`<option key=${key} value=${key} selected=${key === value}>${text}</option>`)}
  </select></label>`;
}

/** What is going on, in one sentence. */
export function sentence(here, state, thinking, opponent, colours) {
  if (here.reason) {
    const why = here.reason === 'length' ? ' (the game has reached its longest length)' : '';
    if (here.result === 0) return `The game is a draw${why}.`;
    const winner = here.result > 0 ? 0 : 1;
    const own = {first: 0, second: 1}[state.seat];
    const who = own === undefined ? `${colours[winner]}, the ${winner ? 'second' : 'first'} player, has` : own === winner ? 'you have' : `${opponent} has`;
    return `${who[0].toUpperCase()}${who.slice(1)} won${why}.`;
  }
  const mover = here.movers.at(-1), letter = here.board.text ? `, ${LETTERS[mover]}` : '';
  const name = `${colours[mover]} (${mover ? 'second' : 'first'}${letter}) to move`;
  if (thinking) return `${name}: ${opponent} is choosing …`;
  if (state.seat === 'both') return name;
  return {first: 0, second: 1}[state.seat] === mover ? `${name}: your turn` : `${name}: the turn of ${opponent}`;
}

export function Play({state, change, start}) {
  const {game, moves, at, seat} = state, chess = game === 'chess', colours = chess ? PIECES : COLOURS;
  const [error, setError] = useState(''), [notice, setNotice] = useState('');
  const [picked, setPicked] = useState([]), [hint, setHint] = useState(null);
  const [analysing, setAnalysing] = useState(false), [overlay, setOverlay] = useState('win rate');
  const [values, setValues] = useState({}), [thinking, setThinking] = useState(false), [retry, setRetry] = useState(0);
  const offered = usePlayers(game, setError);
  const [shown, current] = usePositions(game, moves, at, setError);
  const players = offered?.players ?? [];
  const opponent = state.player ? players.find(p => p.label === state.player) : players[0];
  const absent = offered && state.player && !opponent && seat !== 'both' && `There is no player ${state.player} here: choose another opponent.`;
  const analysts = players.filter(p => p.analyses);
  const analyst = (analysts.find(p => p.label === state.analyst) ?? analysts.find(p => p.label === opponent?.label) ?? analysts[0])?.label;
  const know = (key, value) => setValues(known => ({...known, [`${analyst}#${key}`]: value}));
  const line = moves.slice(0, at), going = shown && current && !shown.here.reason;
  const report = useAnalysis(analysing && going, game, line, analyst, know);
  const graph = useRef(null), hinting = useRef(null), legal = going ? shown.here.legal : [];

  const forget = () => { hinting.current?.(); setPicked([]); setHint(null); setNotice(''); };
  const go = ply => { forget(); change({at: Math.min(Math.max(ply, 0), moves.length)}); };
  const play = move => {
    const next = [...line, String(move.action)];
    forget();
    change({moves: next, at: next.length});
  };
  const own = {first: 0, second: 1}[seat], mover = shown?.here.movers.at(-1);
  const theirs = seat === 'none' || (seat !== 'both' && mover !== own);
  const their_turn = going && at === moves.length && theirs;

  useEffect(() => {  // the move of the opponent
    if (!their_turn || !opponent) return undefined;
    const leaving = new AbortController();
    setThinking(true);
    const pause = seat === 'none' ? WATCH_PAUSE : 0;
    const timer = setTimeout(() => get('move', {game, moves: moves.join('.'), player: opponent.label,
      simulations: opponent.levels ? state.level : ''}, leaving.signal).then(answer => {
      setThinking(false);
      if (answer.forfeit !== undefined) setError(`${opponent.label} has lost the game: ${answer.forfeit}`);
      else play(answer);
    }).catch(e => { if (!leaving.signal.aborted) { setThinking(false); setError(e.message); } }), pause);
    return () => { clearTimeout(timer); leaving.abort(); setThinking(false); };
  }, [their_turn, game, moves.join('.'), opponent?.label, state.level, retry, seat]);

  useEffect(() => () => { graph.current?.(); hinting.current?.(); }, []);
  useEffect(() => { hinting.current?.(); setPicked([]); setHint(null); }, [game, line.join('.'), analyst]);
  useEffect(() => {
    if (shown && current && shown.here.reason) know(line.join('.'), shown.here.result);
  }, [shown, current, analyst]);

  if (!shown) return html`<p role="alert">${error || 'loading …'} ${error && html`<button onclick=${() => { setError(''); change({moves: [], at: 0}, true); }}>New game</button>`}</p>`;
  const {here, end} = shown, next = targets(legal, picked);
  const known = [...end.movers.keys()].map(ply => values[`${analyst}#${moves.slice(0, ply).join('.')}`] ?? null);
  const human = going && !(their_turn), best = report?.best ?? hint;
  const bestMove = (analysing || hint) && legal.find(move => move.action === best);
  const choices = picked.length > 1 ? remaining(legal, picked) : [];
  const named = legal.filter(move => !move.cells.length);

  const undo = () => {
    forget();
    let ply = at;
    do ply -= 1; while (ply > 0 && own !== undefined && shown.here.movers[ply] !== own);
    change({moves: moves.slice(0, ply), at: ply});
  };
  const swap = () => change({seat: {first: 'second', second: 'first', both: 'both', none: 'none'}[seat]});
  const ask = () => {
    hinting.current?.();
    hinting.current = stream('analyse', {game, moves: line.join('.'), player: analyst, simulations: HINT_SIMULATIONS},
      data => { if (data.error) setError(data.error); else if (data.best) setHint(data.best); },
      failed => failed && setError('The server does not search now; ask for the hint again.'));
  };
  const draw = () => {
    graph.current?.();
    setNotice('analysing the whole game …');
    graph.current = stream('values', {game, moves: moves.join('.'), player: analyst, simulations: GRAPH_SIMULATIONS},
      data => {
        if (data.error) setError(data.error);
        else if (data.first != null) know(moves.slice(0, data.ply).join('.'), data.first);
      },
      failed => { setNotice(''); if (failed) setError('The server does not search now; analyse the game again.'); });
  };
  const copy = () => navigator.clipboard.writeText(location.href)
    .then(() => setNotice('The link to this game is copied.'), () => setNotice('Copy the address of this page: it holds the whole game.'));
  const type = event => {
    event.preventDefault();
    const field = event.target.elements.move, text = field.value.trim();
    const move = legal.find(m => m.text === text) ?? legal.find(m => m.text.toLowerCase() === text.toLowerCase());
    if (move) { field.value = ''; setError(''); play(move); } else setError(`${text || 'nothing'} is not a move here`);
  };
  const newGame = () => { forget(); setValues({}); setError(''); change({moves: [], at: 0}, true); };

  return html`<section class="left" aria-label="game">
    <div class="row">
      <${Choice} label="Game" value=${game} options=${[...new Set([game, ...start.games])].map(g => [g, g])}
        onchange=${value => change({game: value, moves: [], at: 0, player: '', analyst: ''}, true)}/>
      <${Choice} label="You play" value=${seat} options=${Object.entries(SEATS)} onchange=${value => change({seat: value})}/>
      ${seat !== 'both' && (opponent || absent) && html`<${Choice} label="Opponent" value=${opponent?.label ?? state.player}
        options=${[...(absent ? [[state.player, `${state.player} (not here)`]] : []), ...players.map(p => [p.label, p.label])]} onchange=${value => change({player: value})}/>`}
      ${seat !== 'both' && opponent?.levels && html`<${Choice} label="Simulations" value=${String(state.level)}
        options=${[['', 'its own'], ...LEVELS.map(n => [String(n), n.toLocaleString('en')])]} onchange=${value => change({level: value})}/>`}
    </div>
    <p class="status" role="status">${sentence(here, state, thinking, opponent?.label ?? (state.player || 'the opponent'), colours)}</p>
    <p class="error" role="alert">${error || absent}${error && their_turn && html` <button onclick=${() => { setError(''); setRetry(retry + 1); }}>Try again</button>`}</p>
    <${Board} board=${here.board} legal=${human ? legal : []} picked=${picked} setPicked=${setPicked}
      figures=${analysing && going ? figures(report, targets(legal, picked), overlay) : new Map()}
      arrow=${bestMove ? bestMove.cells : []} play=${play} chess=${chess} players=${colours} places=${here.places}/>
    ${(named.length > 0 || choices.length > 0) && html`<div class="row" role="group" aria-label="moves without a cell">
      ${[...named, ...choices].map(move => html`<button key=${move.action} class="choice" disabled=${!human}
        onclick=${() => play(move)}>${move.text}</button>`)}</div>`}
    <div class="row">
      <button onclick=${newGame}>New game</button>
      <button onclick=${undo} disabled=${!at}>Undo</button>
      <button onclick=${swap} disabled=${own === undefined}>Switch sides</button>
      <button onclick=${ask} disabled=${!human || !analyst}>Hint</button>
    </div>
    <form class="row" onsubmit=${type}>
      <label>Move <input name="move" list="legal" autocomplete="off" size="8" disabled=${!human}/></label>
      <datalist id="legal">${legal.slice(0, 400).map(move => html`<option key=${move.action} value=${move.text}/>`)}</datalist>
      <button disabled=${!human}>Play</button>
      <button type="button" onclick=${copy}>Copy link</button>
      <a href=${address('board.svg', {game, moves: line.join('.')})} download="board.svg">Save picture</a>
    </form>
  </section>
  <section class="right" aria-label="analysis">
    <div class="row">
      <label><input type="checkbox" checked=${analysing} onchange=${e => setAnalysing(e.target.checked)}/> Analysis</label>
      ${analysts.length > 0 && html`<${Choice} label="by" value=${analyst} options=${analysts.map(p => [p.label, p.label])}
        onchange=${value => change({analyst: value})}/>`}
      <${Choice} label="on the board" value=${overlay} options=${OVERLAYS.map(o => [o, o])} onchange=${setOverlay}/>
    </div>
    ${report && !report.error && html`<${Table} report=${report} legal=${legal} play=${play}/>`}
    ${report?.error && html`<p role="alert">${report.error}</p>`}
    ${analysing && going && !report && html`<p>searching …</p>`}
    <h2>Win rate of ${colours[0]}, the first player ${known[at] != null && html`<span class="now">${percent(known[at])}</span>`}</h2>
    <${Graph} values=${known} movers=${end.movers} at=${at} go=${go} mistake=${start.mistake}/>
    <div class="row">
      <button aria-label="first position" onclick=${() => go(0)} disabled=${!at}>|◀</button>
      <button aria-label="one move back" onclick=${() => go(at - 1)} disabled=${!at}>◀</button>
      <button aria-label="one move on" onclick=${() => go(at + 1)} disabled=${at >= moves.length}>▶</button>
      <button aria-label="last position" onclick=${() => go(moves.length)} disabled=${at >= moves.length}>▶|</button>
      <button onclick=${draw} disabled=${!moves.length || !analyst}>Analyse the game</button>
      <span role="status">${notice}</span>
    </div>
    <${Moves} texts=${end.texts} values=${known} movers=${end.movers} at=${at} go=${go} mistake=${start.mistake}/>
  </section>`;
}
