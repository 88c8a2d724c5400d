// A board as SVG, from the same drawing that the terminal shows: cells, pieces, marks, clicks.
import {html, useState, useEffect, useRef} from './vendor/htm-preact.js';

const U = 40, SIDES = {N: [0, -1], E: [1, 0], S: [0, 1], W: [-1, 0]};
const GLYPHS = {K: '♚', Q: '♛', R: '♜', B: '♝', N: '♞', P: '♟'};
const key = (x, y) => `${x},${y}`;
const range = places => places.length
  ? [Math.min(...places) - 0.7, Math.max(...places) + 0.7] : [-0.5, 0.5];

/** The moves whose first cells are those clicked so far. */
export const remaining = (legal, picked) =>
  legal.filter(move => move.cells.length && picked.every((cell, i) => move.cells[i] === cell));

/** For every cell that may be clicked next, the moves that a click leaves. */
export function targets(legal, picked) {
  const cells = new Map();
  for (const move of remaining(legal, picked)) {
    const cell = move.cells[picked.length];
    if (cell !== undefined) cells.set(cell, [...(cells.get(cell) || []), move]);
  }
  return cells;
}

/** Per cell the move of a label beside it that names one, as the numbers below Connect Four. */
function byLabel(board, legal) {
  const columns = new Map();
  for (const {x, text} of board.labels) {
    const move = legal.find(m => m.text === text && m.cells.length === 1);
    if (move && board.cells[move.cells[0]].x === x) columns.set(x, move);
  }
  return columns;
}

function Ground({cell, sides}) {
  const x = cell.x * U, y = cell.y * U, h = U / 2;
  if (cell.shape === 'hexagon') {
    const corners = [0, 1, 2, 3, 4, 5].map(i => Math.PI / 6 + i * Math.PI / 3)
      .map(a => `${x + Math.cos(a) * U / Math.sqrt(3)},${y + Math.sin(a) * U / Math.sqrt(3)}`);
    return html`<polygon class="ground" points=${corners.join(' ')}/>`;
  }
  const square = html`<rect class="ground ${cell.shape}" x=${x - h} y=${y - h} width=${U} height=${U}/>`;
  if (cell.shape === 'point') return html`${square}<path class="grid"
    d=${sides.map(s => `M${x} ${y}l${SIDES[s][0] * h} ${SIDES[s][1] * h}`).join('')}/>`;
  if (cell.shape === 'dot') return html`${square}<circle class="dot" cx=${x} cy=${y} r="5"/>`;
  if (cell.shape === 'across' || cell.shape === 'down') {
    const path = cell.shape === 'across' ? `M${x - h} ${y}h${U}` : `M${x} ${y - h}v${U}`;
    return html`${square}<path class=${cell.piece ? 'edge drawn' : 'edge'} d=${path}/>`;
  }
  return square;
}

function Piece({cell, chess}) {
  const x = cell.x * U, y = cell.y * U, line = ['across', 'down', 'dot'].includes(cell.shape);
  const glyph = chess && cell.player != null && GLYPHS[cell.piece.toUpperCase()];
  if (glyph) return html`<text class="glyph p${cell.player}" x=${x} y=${y}>${glyph + '\uFE0E'}</text>`;
  const shown = line ? '' : cell.piece || (cell.player == null ? cell.label : '');
  return html`${cell.player != null && html`<circle class="stone p${cell.player}" cx=${x} cy=${y} r=${0.38 * U}/>`}
    ${shown && html`<text class=${cell.player != null ? `letter p${cell.player}` : 'label'} x=${x} y=${y}>${shown}</text>`}`;
}

/** What the search says of a cell: its figure on a disc whose size and colour grow with it. */
function Figure({cell, figure}) {
  const share = Math.min(Math.max(figure.share, 0), 1), r = (0.16 + 0.27 * Math.sqrt(share)) * U;
  return html`<g class=${figure.best ? 'figure best' : 'figure'}>
    <circle cx=${cell.x * U} cy=${cell.y * U} r=${r} style=${{fill: `hsl(${10 + 130 * share} 65% 30%)`}}/>
    <text x=${cell.x * U} y=${cell.y * U}>${Math.round(100 * share)}</text></g>`;
}

/** Where a cell is: its name in the game's notation, else by the labels, else as row and column. */
function placeOf(board, cell, place) {
  if (place != null) return /^\d+$/.test(place) ? `cell ${place}` : place;
  const beside = (test) => board.labels.find(test)?.text;
  const column = beside(l => l.x === cell.x && l.y > cell.y) ?? beside(l => l.x === cell.x && l.y < cell.y);
  const row = beside(l => l.y === cell.y && l.x < cell.x);
  if (column !== undefined && row !== undefined) return column + row;
  if (cell.label) return `cell ${cell.label}`;
  return column !== undefined ? `column ${column}, height ${Math.round(cell.y) + 1} from the top`
    : `row ${Math.round(cell.y) + 1}, column ${cell.x + 1}`;
}

function nameOf(board, cell, players, place) {
  const empty = ['across', 'down'].includes(cell.shape) ? 'no line' : 'empty';
  const owner = cell.player == null ? '' : players[cell.player];
  const piece = cell.piece && !['-', '|'].includes(cell.piece) ? ` ${cell.piece}` : '';
  const what = cell.player != null ? owner + piece : cell.piece ? `piece${piece}` : empty;
  return `${placeOf(board, cell, place)}: ${what}`;
}

/** The cell next to `from` in a direction: the nearest one, sideways distance counting double. */
function neighbour(board, from, [dx, dy]) {
  const here = board.cells[from];
  let best = from, least = Infinity;
  board.cells.forEach((cell, i) => {
    if (cell.shape === 'dot') return;
    const ahead = (cell.x - here.x) * dx + (cell.y - here.y) * dy;
    const aside = Math.abs((cell.x - here.x) * dy) + Math.abs((cell.y - here.y) * dx);
    if (ahead > 0.1 && aside <= ahead && ahead + 2 * aside < least) {
      best = i; least = ahead + 2 * aside;
    }
  });
  return best;
}

const KEYS = {ArrowUp: [0, -1], ArrowDown: [0, 1], ArrowLeft: [-1, 0], ArrowRight: [1, 0]};

/**
 * The board. `figures`: per cell `{share, best}`; `arrow`: cells of a move to point at;
 * `places`: the names of the cells; `play(move)` is called with one of `legal` when its last cell has been clicked.
 */
export function Board({board, legal, picked, setPicked, figures, arrow, play, chess, players, places}) {
  const [at, setAt] = useState(0), [over, setOver] = useState(null), frame = useRef(null), next = targets(legal, picked);
  const columns = byLabel(board, legal), aimed = columns.get(over)?.cells[0];  // where its stone would fall
  useEffect(() => { if (at >= board.cells.length) setAt(0); }, [board.cells.length]);
  if (!board.cells.length) return html`<pre class="text" tabindex="0">${board.text}</pre>`;
  const points = new Set(board.cells.filter(c => c.shape === 'point').map(c => key(c.x, c.y)));
  const sides = cell => Object.keys(SIDES).filter(s =>
    points.has(key(cell.x + SIDES[s][0], cell.y + SIDES[s][1])));
  const drawn = [...board.cells, ...board.labels];
  const [left, right] = range(drawn.map(p => p.x)), [top, bottom] = range(drawn.map(p => p.y));

  const click = cell => {
    const open = targets(legal, picked).has(cell) ? picked : [];
    const moves = targets(legal, open).get(cell) || [];
    const drop = !moves.length && columns.get(board.cells[cell].x);
    if (drop) { setPicked([]); play(drop); return; }
    const whole = moves.find(move => move.cells.length === open.length + 1);
    if (whole) { setPicked([]); play(whole); } else setPicked(moves.length ? [...open, cell] : []);
  };
  const press = event => {
    if (event.key in KEYS) {
      const cell = neighbour(board, at, KEYS[event.key]);
      setAt(cell);
      frame.current.querySelector(`[data-cell="${cell}"]`).focus();
    } else if (event.key === 'Enter' || event.key === ' ') click(at);
    else if (event.key === 'Escape') setPicked([]);
    else return;
    event.preventDefault();
  };
  const shaded = cell => chess && (cell.x + cell.y) % 2 === 1 && 'shaded';
  const draw = (cell, i) => {
    const moves = next.get(i) || [], drop = columns.get(cell.x), can = moves.length || drop;
    const aim = () => setOver(moves.length ? null : cell.x);
    const marks = [picked.includes(i) && 'picked', moves.length && 'can', drop && 'drop', i === aimed && 'aimed', shaded(cell)];
    return html`<g key=${i} class=${['cell', ...marks.filter(Boolean)].join(' ')} data-cell=${i}
      data-player=${cell.player ?? ''} data-piece=${cell.piece} role="button"
      tabindex=${i === at ? 0 : -1} aria-disabled=${can ? null : 'true'}
      aria-label=${nameOf(board, cell, players, places[i]) + (can ? ', can be played' : '')}
      onclick=${() => { setAt(i); click(i); }} onfocus=${() => { setAt(i); aim(); }} onblur=${() => setOver(null)} onmouseenter=${aim}>
      <${Ground} cell=${cell} sides=${sides(cell)}/>
      <rect class="halo" x=${cell.x * U - 17} y=${cell.y * U - 17} width="34" height="34" rx="6"/>
      ${moves.length > 0 && cell.player == null && html`<circle class="ghost" cx=${cell.x * U} cy=${cell.y * U} r=${0.3 * U}/>`}
      <${Piece} cell=${cell} chess=${chess}/></g>`;
  };
  const ring = (i, name) => html`<circle class=${name} cx=${board.cells[i].x * U} cy=${board.cells[i].y * U} r=${0.42 * U}/>`;
  const ends = arrow.length > 1 && [board.cells[arrow[0]], board.cells[arrow[1]]];
  return html`<svg ref=${frame} class=${`board${chess ? ' chess' : ''}${picked.length ? ' picking' : ''}`} role="group" aria-label="board"
      viewBox="${left * U} ${top * U} ${(right - left) * U} ${(bottom - top) * U}" onkeydown=${press} onmouseleave=${() => setOver(null)}>
    ${board.cells.map(draw)}
    <g class="above">
      ${board.edges.map(edge => html`<polyline class="side p${edge.player}" points=${edge.points.map(([x, y]) => `${x * U},${y * U}`).join(' ')}/>`)}
      ${board.last.map(i => ring(i, 'last'))}${board.line.map(i => ring(i, 'won'))}
      ${arrow.length === 1 && ring(arrow[0], 'hint')}
      ${ends && html`<line class="hint" x1=${ends[0].x * U} y1=${ends[0].y * U} x2=${ends[1].x * U} y2=${ends[1].y * U}/>${ring(arrow[1], 'hint')}`}
      ${[...figures].map(([i, figure]) => html`<${Figure} cell=${board.cells[i]} figure=${figure}/>`)}
      ${board.labels.map(l => html`<text class="label" x=${l.x * U} y=${l.y * U}>${l.text}</text>`)}
    </g></svg>
    ${board.text && html`<pre class="text">${board.text}</pre>`}`;
}
