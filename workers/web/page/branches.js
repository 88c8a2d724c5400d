// Branches: the lines that were left for another move. They last as long as the page shows the game.
import {html} from './vendor/htm-preact.js';

const MOST = 40, SHOWN = 8;
const begins = (moves, start) => start.every((move, i) => move === moves[i]);

/** `lines` and `line` (`{moves, texts, movers, end}`), unless one of them begins with it. */
export function keep(lines, line) {
  if (!line.moves.length || lines.some(other => begins(other.moves, line.moves))) return lines;
  return [...lines.filter(other => !begins(line.moves, other.moves)), line].slice(-MOST);
}

/** The lines that are not on the board, each with `from`: the number of moves that it shares with `moves`. */
export function beside(lines, moves) {
  return lines.filter(line => !begins(moves, line.moves)).map(line => {
    const other = line.moves.findIndex((move, i) => move !== moves[i]);
    return {...line, from: other};
  }).sort((a, b) => a.from - b.from);
}

/** The list of branches; `show(line)` puts one on the board, `remove(line)` forgets it. */
export function Branches({lines, moves, show, remove}) {
  const others = beside(lines, moves);
  if (!others.length) return null;
  const text = line => line.texts.slice(line.from, line.from + SHOWN).join(' ')
    + (line.texts.length > line.from + SHOWN ? ' …' : '');
  return html`<section aria-labelledby="branches"><h2 id="branches">Branches</h2><ul class="branches">
    ${others.map(line => html`<li key=${line.moves.join('.')}>
      <button class="link p${line.movers[line.from]}" onclick=${() => show(line)}><span class="number">${line.from + 1}.</span> ${text(line)}</button>
      <button class="link" aria-label="remove the branch ${line.from + 1}. ${text(line)}" onclick=${() => remove(line)}>×</button></li>`)}
  </ul></section>`;
}
