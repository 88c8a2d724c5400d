// The way through a game: the win rate as a graph, the list of moves, the marks of mistakes, the steps.
import {html} from './vendor/htm-preact.js';
import {percent} from './analysis.js';

/** The points that a move lost, by the values before and after it; null where one is unknown. */
export function lost(values, movers, ply) {
  const before = values[ply - 1], after = values[ply];
  return before == null || after == null ? null : (movers[ply - 1] ? -1 : 1) * (before - after);
}

/** `?` for a move that lost `mistake` in value or more, `??` for twice as much. */
export function mark(values, movers, ply, mistake) {
  const loss = lost(values, movers, ply);
  return loss == null || loss < mistake ? '' : loss < 2 * mistake ? '?' : '??';
}

/** The values of all positions for the player who began, in [-1, 1]; a click goes there. */
export function Graph({values, movers, at, go, mistake}) {
  const plies = Math.max(values.length - 1, 8), W = 500, H = 130;
  const x = ply => 8 + (W - 16) * ply / plies, y = value => H / 2 - (H / 2 - 10) * value;
  const known = values.map((value, ply) => [ply, value]).filter(([, value]) => value != null);
  const jump = event => {
    const box = event.currentTarget.getBoundingClientRect();
    const ply = Math.round((W * (event.clientX - box.left) / box.width - 8) / (W - 16) * plies);
    go(Math.min(Math.max(ply, 0), values.length - 1));
  };
  return html`<svg class="graph" viewBox="0 0 ${W} ${H}" role="img" onclick=${jump}
      aria-label="Win rate of the first player after each move; the list of moves leads there, too">
    <rect class="half p0" width=${W} height=${H / 2}/><rect class="half p1" y=${H / 2} width=${W} height=${H / 2}/>
    <line class="middle" x1="0" x2=${W} y1=${H / 2} y2=${H / 2}/>
    <line class="here" x1=${x(at)} x2=${x(at)} y1="0" y2=${H}/>
    <polyline points=${known.map(([ply, value]) => `${x(ply)},${y(value)}`).join(' ')}/>
    ${known.map(([ply, value]) => {
      const sign = ply ? mark(values, movers, ply, mistake) : '';
      return html`<g key=${ply}><circle class=${sign ? 'mistake' : ''} cx=${x(ply)} cy=${y(value)} r=${sign ? 5 : 3}/>
        ${sign && html`<text x=${x(ply)} y=${value > 0 ? y(value) + 18 : y(value) - 9}>${sign}</text>`}</g>`;
    })}</svg>`;
}

/** All moves of the game, as buttons that lead to the position after them. */
export function Moves({texts, values, movers, at, go, mistake}) {
  return html`<ol class="moves">${texts.map((text, i) => {
    const sign = mark(values, movers, i + 1, mistake);
    return html`<li key=${i}><button class="link p${movers[i]}" aria-current=${i + 1 === at ? 'step' : null}
      onclick=${() => go(i + 1)}><span class="number">${i + 1}.</span> ${text}${sign && html`<b class="sign"
      title="lost ${(50 * lost(values, movers, i + 1)).toFixed(0)} % of the points">${sign}</b>`}</button></li>`;
  })}</ol>`;
}

/** To the first position, one back, one on, to the last one. */
export function Steps({at, length, go}) {
  return html`<button aria-label="first position" onclick=${() => go(0)} disabled=${!at}>|◀</button>
    <button aria-label="one move back" onclick=${() => go(at - 1)} disabled=${!at}>◀</button>
    <button aria-label="one move on" onclick=${() => go(at + 1)} disabled=${at >= length}>▶</button>
    <button aria-label="last position" onclick=${() => go(length)} disabled=${at >= length}>▶|</button>`;
}
