// One game: against a player, or both sides by hand, with an analysis beside it.
import {html, useState, useEffect, useRef} from './vendor/htm-preact.js';
import {stream} from './api.js';
import {Board, remaining, targets} from './board.js';
import {Table, Tree, figures, percent} from './analysis.js';
import {Graph, Moves} from './graph.js';
import {Branches, keep} from './branches.js';
import {CLOCKS, Clocks, useClock} from './clock.js';
import {Files, read} from './files.js';
import {useAnalysis, useExact, useHidden, useOpponent, usePlayers, usePositions} from './hooks.js';
import {COLOURS, PIECES, SEATS, seatNames, sentence} from './words.js';

const LEVELS = [2, 8, 32, 100, 200, 400, 800, 1600, 3200];
const OVERLAYS = ['win rate', 'visits', 'prior', 'none'];
const GRAPH_SIMULATIONS = 100, HINT_SIMULATIONS = 400, WATCH_PAUSE = 400;

function Choice({label, value, options, onchange}) {
  const all = options.some(([key]) => key === value) ? options : [...options, [value, value]];
  return html`<label>${label} <select value=${value} onchange=${e => onchange(e.target.value)}>
    ${all.map(([key, text]) => html`<option key=${key} value=${key} selected=${key === value}>${text}</option>`)}
  </select></label>`;
}

/** The player of `label` among `players`; without a label the first of `usual` that is there. */
function chosen(players, label, ...usual) {
  return label ? players.find(p => p.label === label) : usual.find(Boolean);
}

/** What a player's list says where the address names one that is not there. */
const absence = (offered, label, player, what) => offered && label && !player
  && `There is no player ${label} here: choose another ${what}.`;

export function Play({state, change, start}) {
  const {game, moves, at, seat} = state, chess = game === 'chess', colours = chess ? PIECES : COLOURS;
  const [error, setError] = useState(''), [notice, setNotice] = useState('');
  const [picked, setPicked] = useState([]), [hint, setHint] = useState(null), [lines, setLines] = useState([]);
  const [analysing, setAnalysing] = useState(false), [overlay, setOverlay] = useState('win rate'), [tree, setTree] = useState(false);
  const [values, setValues] = useState({}), [retry, setRetry] = useState(0);
  const graph = useRef(null), hinting = useRef(null), hidden = useHidden();
  const offered = usePlayers(game, setError), [shown, current] = usePositions(game, moves, at, setError);

  const players = offered?.players ?? [], analysts = players.filter(p => p.analyses);
  const opponent = chosen(players, state.player, players[0]);
  const analyst = chosen(analysts, state.analyst, analysts.find(p => p.label === opponent?.label), analysts[0])?.label;
  const second = state.second && chosen(analysts, state.second)?.label;
  const absent = seat !== 'both' && absence(offered, state.player, opponent, 'opponent');
  const unable = absence(offered, state.analyst, analyst, 'analyst') || absence(offered, state.second, second, 'second analyst');

  const line = moves.slice(0, at), open = shown && current && !shown.here.reason;
  const ended = at === moves.length && !shown?.here.reason && state.end, going = open && (!ended || seat === 'both');
  const know = (by, key, value) => setValues(known => ({...known, [`${by}#${key}`]: value}));
  const wanted = analysing && open && !hidden;
  const report = useAnalysis(game, line, wanted && analyst, tree, know);
  const other = useAnalysis(game, line, wanted && second, false, know);
  const exact = useExact(wanted, game, line), legal = going ? shown.here.legal : [];

  const own = {first: 0, second: 1}[seat], mover = shown?.here.movers.at(-1);
  const theirs = going && at === moves.length && (seat === 'none' || (seat !== 'both' && mover !== own));
  const side = shown?.line === moves.join('.') && !shown.end.reason && !state.end ? shown.end.movers.at(-1) : null;
  const failed = theirs && error !== '';  // the opponent has no time to lose where the server gave no answer
  const clock = useClock(state, change, side, failed);

  const forget = () => { hinting.current?.(); setPicked([]); setHint(null); setNotice(''); };
  const go = ply => { forget(); change({at: Math.min(Math.max(ply, 0), moves.length)}); };
  const keepLine = () => setLines(kept => keep(kept, {moves, texts: shown.end.texts, movers: shown.end.movers, end: state.end}));
  const play = (...actions) => {  // from the position shown; the rest of the game stays as a branch
    const next = [...line, ...actions.map(String)];
    forget();
    if (next.every((move, i) => move === moves[i])) { change({at: next.length}); return; }
    if (at < moves.length) keepLine();
    const times = clock.moved();
    clock.begin(true);
    change({moves: next, at: next.length, end: '', ...times});
  };
  const showLine = chosenLine => {
    forget();
    keepLine();
    change({moves: chosenLine.moves, at: chosenLine.from + 1, end: chosenLine.end, ...clock.moved(0)});
  };
  const undo = () => {
    forget();
    if (ended) { change({end: '', ...(ended.startsWith('time') ? {times: ''} : {})}); return; }
    if (at < moves.length) keepLine();
    let ply = at;
    do ply -= 1; while (ply > 0 && own !== undefined && shown.here.movers[ply] !== own);
    change({moves: moves.slice(0, ply), at: ply, end: '', ...clock.moved(0)});
  };
  const begin = (changes, remember = true) => {
    forget(); setValues({}); setLines([]); setError(''); clock.begin(false);
    change({moves: [], at: 0, end: '', times: '', ...changes}, remember);
  };
  const thinking = useOpponent(theirs ? opponent : null, state, seat === 'none' ? WATCH_PAUSE : 0, retry, answer => {
    if (answer.forfeit === undefined) { play(answer.action); return; }
    change({end: `forfeit-${mover}`});
    setNotice(`${opponent.label}: ${answer.forfeit}`);
  }, setError);

  const gameNow = useRef(game);
  gameNow.current = game;
  useEffect(() => () => { gameNow.current = null; graph.current?.(); hinting.current?.(); }, []);
  useEffect(() => { hinting.current?.(); setPicked([]); setHint(null); }, [game, line.join('.'), analyst]);
  useEffect(() => {
    if (shown && current && shown.here.reason) for (const by of [analyst, second]) know(by, line.join('.'), shown.here.result);
  }, [shown, current, analyst, second]);

  if (!shown) return html`<p role="alert">${error || 'loading …'} ${error && html`<button onclick=${() => begin({})}>New game</button>`}</p>`;
  const {here, end} = shown, next = targets(legal, picked), name = opponent?.label ?? (state.player || 'the opponent');
  const known = [...end.movers.keys()].map(ply => values[`${analyst}#${moves.slice(0, ply).join('.')}`] ?? null);
  const human = going && !theirs, best = report?.best ?? hint;
  const bestMove = (analysing || hint) && legal.find(move => move.action === best);
  const unplaced = [...legal.filter(move => !move.cells.length), ...(picked.length > 1 ? remaining(legal, picked) : [])];

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
        else if (data.first != null) know(analyst, moves.slice(0, data.ply).join('.'), data.first);
      },
      failed => { setNotice(''); if (failed) setError('The server does not search now; analyse the game again.'); });
  };
  const copy = () => navigator.clipboard.writeText(location.href)
    .then(() => setNotice('The link to this game is copied.'), () => setNotice('Copy the address of this page: it holds the whole game.'));
  const type = event => {
    event.preventDefault();
    const field = event.target.elements.move, text = field.value.trim();
    const move = legal.find(m => m.text === text) ?? legal.find(m => m.text.toLowerCase() === text.toLowerCase());
    if (move) { field.value = ''; setError(''); play(move.action); } else setError(`${text || 'nothing'} is not a move here`);
  };
  const load = file => read(game, file).then(got => {
    if (gameNow.current !== game) return;  // another game was chosen meanwhile
    begin({game, moves: got.moves.map(String), at: got.moves.length, end: got.end, seat: 'both'});
    setNotice(`Loaded ${file.name}: ${got.seats.join(' against ')}, ${got.moves.length} moves.${got.more ? ' Only the main line of its first game is read.' : ''}`);
  }).catch(e => gameNow.current === game && setError(e.message));
  const listed = (all, label, player) => [...(label && !player ? [[label, `${label} (not here)`]] : []), ...all.map(p => [p.label, p.label])];
  const analysis = (title, given, by, results) => by && html`<div>${given?.error ? html`<p role="alert">${given.error}</p>`
    : given ? html`<${Table} title=${title} report=${given} exact=${results.moves} legal=${legal} play=${play}/>` : html`<p>searching …</p>`}
    ${results.error && html`<p role="alert">${results.error}</p>`}</div>`;

  return html`<section class="left" aria-label="game">
    <div class="row">
      <${Choice} label="Game" value=${game} options=${[...new Set([game, ...start.games])].map(g => [g, g])}
        onchange=${value => begin({game: value, player: '', analyst: '', second: ''})}/>
      <${Choice} label="You play" value=${seat} options=${Object.entries(SEATS)} onchange=${value => change({seat: value})}/>
      ${seat !== 'both' && (opponent || absent) && html`<${Choice} label="Opponent" value=${opponent?.label ?? state.player}
        options=${listed(players, state.player, opponent)} onchange=${value => change({player: value})}/>`}
      ${seat !== 'both' && opponent?.levels && html`<${Choice} label="Simulations" value=${String(state.level)}
        options=${[['', 'its own'], ...LEVELS.map(n => [String(n), n.toLocaleString('en')])]} onchange=${value => change({level: value})}/>`}
      <${Choice} label="Clock" value=${state.clock} options=${CLOCKS} onchange=${value => change({clock: value, times: ''})}/>
    </div>
    <p class="status" role="status">${sentence(here, {seat, end: ended}, thinking, name, colours)}</p>
    <p class="error" role="alert">${error || absent}${error && theirs && html` <button onclick=${() => { setError(''); setRetry(retry + 1); }}>Try again</button>`}</p>
    <${Clocks} left=${clock.left} side=${side} colours=${colours}/>
    <${Board} board=${here.board} legal=${human ? legal : []} picked=${picked} setPicked=${setPicked}
      figures=${analysing && open ? figures(report, next, overlay) : new Map()}
      arrow=${bestMove ? bestMove.cells : []} play=${move => play(move.action)} chess=${chess} players=${colours} places=${here.places}/>
    ${unplaced.length > 0 && html`<div class="row" role="group" aria-label="moves without a cell">
      ${unplaced.map(move => html`<button key=${move.action} class="choice" disabled=${!human}
        onclick=${() => play(move.action)}>${move.text}</button>`)}</div>`}
    <div class="row">
      <button onclick=${() => begin({})}>New game</button>
      <button onclick=${undo} disabled=${!at && !ended}>Undo</button>
      <button onclick=${swap} disabled=${own === undefined}>Switch sides</button>
      <button onclick=${ask} disabled=${!human || !analyst}>Hint</button>
      <button onclick=${() => { forget(); change({end: `resignation-${own ?? mover}`, ...clock.moved(0)}); }}
        disabled=${!human || ended || at < moves.length || seat === 'none'}>Resign</button>
    </div>
    <form class="row" onsubmit=${type}>
      <label>Move <input name="move" list="legal" autocomplete="off" size="8" disabled=${!human}/></label>
      <datalist id="legal">${legal.slice(0, 400).map(move => html`<option key=${move.action} value=${move.text}/>`)}</datalist>
      <button disabled=${!human}>Play</button>
      <button type="button" onclick=${copy}>Copy link</button>
    </form>
    <${Files} game=${game} formats=${offered?.formats ?? []} line=${moves} at=${at} end=${end.reason ? '' : state.end}
      seats=${seatNames(seat, name)} load=${load}/>
  </section>
  <section class="right" aria-label="analysis">
    <div class="row">
      <label><input type="checkbox" checked=${analysing} onchange=${e => setAnalysing(e.target.checked)}/> Analysis</label>
      ${analysts.length > 0 && html`<${Choice} label="by" value=${analyst ?? state.analyst} options=${listed(analysts, state.analyst, analyst)}
        onchange=${value => change({analyst: value})}/>
        <${Choice} label="and by" value=${state.second} options=${[['', 'none'], ...listed(analysts, state.second, second)]}
        onchange=${value => change({second: value})}/>`}
      <${Choice} label="on the board" value=${overlay} options=${OVERLAYS.map(o => [o, o])} onchange=${setOverlay}/>
      <label><input type="checkbox" checked=${tree} onchange=${e => setTree(e.target.checked)}/> Tree</label>
    </div>
    ${unable && html`<p role="alert">${unable}</p>`}
    ${wanted && html`<div class=${second ? 'pair two' : 'pair'}>${analysis(second && analyst, report, analyst, exact)}${analysis(second, other, second, {moves: {}})}</div>`}
    ${wanted && tree && report?.tree && html`<${Tree} branches=${report.tree} play=${play}/>`}
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
    <${Branches} lines=${lines} moves=${moves} show=${showLine} remove=${gone => setLines(lines.filter(kept => kept !== gone && kept.moves !== gone.moves))}/>
  </section>`;
}
