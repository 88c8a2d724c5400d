// The moves of the game: whose turn it is, moves forward and back, the branches: lines that were left for another move.
import {html, useState} from './vendor/htm-preact.js';
import {numbered} from './analysis.js';

const MOST = 40, SHOWN = 8;
const begins = (moves, start) => start.every((move, i) => move === moves[i]);

/**
 * Whose turn it is. `open`: by the rules the game goes on in the position shown; `ended`: how it has ended otherwise;
 * `own`: the user's side; `theirs`, `human`: the opponent or the user is to move; `side`: whose time runs, at the end of the line.
 */
export function turnOf({moves, at, seat, end}, shown, current) {
  const open = shown && current && !shown.here.reason;
  const ended = at === moves.length && !shown?.here.reason && end, going = open && (!ended || seat === 'both');
  const own = {first: 0, second: 1}[seat], mover = shown?.here.movers.at(-1);
  const theirs = going && at === moves.length && (seat === 'none' || (seat !== 'both' && mover !== own));
  const side = shown?.line === moves.join('.') && !shown.end.reason && !end ? shown.end.movers.at(-1) : null;
  return {open, ended, own, mover, theirs, side, human: going && !theirs, legal: going ? shown.here.legal : []};
}

/** `lines` and `line` (`{moves, texts, movers, end}`), unless one of them begins with it. */
function keep(lines, line) {
  if (!line.moves.length || lines.some(other => begins(other.moves, line.moves))) return lines;
  return [...lines.filter(other => !begins(line.moves, other.moves)), line].slice(-MOST);
}

/** The lines that are not on the board, each with `from`: the number of moves that it shares with `moves`. */
function beside(lines, moves) {
  return lines.filter(line => !begins(moves, line.moves)).map(line => {
    const other = line.moves.findIndex((move, i) => move !== moves[i]);
    return {...line, from: other};
  }).sort((a, b) => a.from - b.from);
}

/** What changes the line of moves, and the branches `lines`. `forget()` is called before each change. */
export function useLine(state, change, {shown, turn, clock, forget}) {
  const {game, moves, at} = state, [lines, setLines] = useState([]);
  const keepLine = () => setLines(kept => keep(kept, {moves, texts: shown.end.texts, movers: shown.end.movers, end: state.end}));
  const go = ply => { forget(); change({at: Math.min(Math.max(ply, 0), moves.length)}); };
  const play = (...actions) => {  // the rest of the game stays as a branch
    const next = [...moves.slice(0, at), ...actions.map(String)];
    forget();
    if (next.every((move, i) => move === moves[i])) { change({at: next.length}); return; }
    if (at < moves.length) keepLine();
    const times = clock.moved();
    clock.begin(true);
    change({game, moves: next, at: next.length, end: '', ...times});
  };
  const showLine = line => {
    forget();
    keepLine();
    change({moves: line.moves, at: line.from + 1, end: line.end, ...clock.moved(0)});
  };
  const undo = () => {
    forget();
    if (turn.ended) { change({end: '', ...(turn.ended.startsWith('time') ? {times: ''} : {})}); return; }
    if (at < moves.length) keepLine();
    let ply = at;
    do ply -= 1; while (ply > 0 && turn.own !== undefined && shown.here.movers[ply] !== turn.own);
    change({moves: moves.slice(0, ply), at: ply, end: '', ...clock.moved(0)});
  };
  const begin = (changes, remember) => {
    forget(); setLines([]); clock.begin(false);
    change({moves: [], at: 0, end: '', times: '', ...changes}, remember);
  };
  const resign = () => { forget(); change({game, end: `resignation-${turn.own ?? turn.mover}`, ...clock.moved(0)}); };
  const remove = gone => setLines(lines.filter(kept => kept !== gone && kept.moves !== gone.moves));
  return {lines, go, play, showLine, undo, begin, resign, remove};
}

/** The list of branches; `show(line)` puts one on the board, `remove(line)` forgets it. */
export function Branches({lines, moves, chess, show, remove}) {
  const others = beside(lines, moves);
  if (!others.length) return null;
  const text = line => line.texts.slice(line.from, line.from + SHOWN).join(' ')
    + (line.texts.length > line.from + SHOWN ? ' …' : '');
  const number = line => numbered(line.from, chess);
  return html`<section aria-labelledby="branches"><h2 id="branches">Branches</h2><ul class="branches">
    ${others.map(line => html`<li key=${line.moves.join('.')}>
      <button class="link p${line.movers[line.from]}" onclick=${() => show(line)}><span class="number">${number(line)}</span> ${text(line)}</button>
      <button class="link" aria-label="remove the branch ${number(line)} ${text(line)}" onclick=${() => remove(line)}>×</button></li>`)}
  </ul></section>`;
}
