// What searches say: on the board, in a table and a tree, along a game.
import {html} from './vendor/htm-preact.js';

/** A value in [-1, 1] as a share of the points: 0.5 is `75 %`. */
export const percent = value => value == null ? '' : `${(50 + 50 * value).toFixed(0)} %`;
const PROVEN = {1: 'win', 0: 'draw', '-1': 'loss'};

/**
 * The figures that lie on the board: per cell that may be clicked next `{share, best}`.
 * Where a click leaves several moves, their visits and priors are added; of win rates the best counts.
 */
export function figures(report, next, kind) {
  const shown = new Map();
  if (!report || kind === 'none') return shown;
  const known = new Map(report.moves.map(move => [move.action, move]));
  const total = report.moves.reduce((sum, move) => sum + move.visits, 0) || 1;
  for (const [cell, moves] of next) {
    const searched = moves.map(move => known.get(move.action)).filter(Boolean);
    const sum = name => searched.reduce((all, move) => all + move[name], 0);
    const rates = searched.filter(move => move.value != null).map(move => (1 + move.value) / 2);
    const share = kind === 'visits' ? sum('visits') / total
      : kind === 'prior' ? sum('prior') : rates.length ? Math.max(...rates) : null;
    const best = moves.some(move => move.action === report.best);
    if (share != null && (share >= 0.005 || best)) shown.set(cell, {share, best});
  }
  return shown;
}

/** A result of `solvers/proofs.py`, `[result, plies]`: `win in 3`. */
const exactly = ([result, plies]) => PROVEN[result] + (plies == null ? '' : ` in ${plies}`);

/** The moves of a search; `exact`: what is proven beside it, per action. */
export function Table({title, report, exact, legal, play}) {
  const texts = new Map(legal.map(move => [move.action, move]));
  const rows = report.moves.filter(move => texts.has(move.action)).slice(0, 8);
  const known = Object.keys(exact).length > 0;
  return html`<table><caption>${title && html`<b>${title}</b>: `}${report.simulations.toLocaleString('en')} simulations${report.ended ? ', the search has ended' : ''};
    win rates are those of the player about to move, a draw counting one half${known ? '; results in plies' : ''}</caption>
    <thead><tr><th scope="col">move</th><th scope="col">visits</th><th scope="col">win rate</th>
      <th scope="col">prior</th>${known && html`<th scope="col">exact</th>`}</tr></thead>
    <tbody>${rows.map(move => html`<tr key=${move.action} class=${move.action === report.best ? 'best' : ''}>
      <th scope="row"><button class="link" onclick=${() => play(move.action)}
        aria-label="play ${texts.get(move.action).text}">${texts.get(move.action).text}</button></th>
      <td>${move.visits.toLocaleString('en')}</td>
      <td>${move.proven != null ? PROVEN[move.proven] : percent(move.value)}</td>
      <td>${(100 * move.prior).toFixed(1)} %</td>
      ${known && html`<td>${exact[move.action] && exactly(exact[move.action])}</td>`}</tr>`)}</tbody></table>
    <p class="variation"><b>Expected:</b> ${report.variation.join(' ') || 'nothing yet'}</p>`;
}

/** The first plies of a search; a click on a branch plays all its moves. */
export function Tree({branches, play, path = []}) {
  return html`<ul class="tree" aria-label=${path.length ? null : 'first plies of the search'}>${branches.map(branch => {
    const line = [...path, branch.action];
    return html`<li key=${branch.action}><button class="link" onclick=${() => play(...line)}>${branch.text}</button>
      <span class="bar" aria-hidden="true"><span style=${{width: `${100 * branch.share}%`}}></span></span>
      ${(100 * branch.share).toFixed(0)} % of visits, win rate ${percent(branch.value)}
      ${branch.branches.length > 0 && html`<${Tree} branches=${branch.branches} play=${play} path=${line}/>`}</li>`;
  })}</ul>`;
}

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

/** The number of a move: chess counts pairs of plies, `2…` being the second one's reply; other games each ply. */
export const numbered = (ply, chess) => chess ? `${(ply >> 1) + 1}${ply % 2 ? '…' : '.'}` : `${ply + 1}.`;

/** All moves of the game, as buttons that lead to the position after them. */
export function Moves({texts, values, movers, at, go, mistake, chess}) {
  return html`<ol class="moves">${texts.map((text, i) => {
    const sign = mark(values, movers, i + 1, mistake);
    return html`<li key=${i}><button class="link p${movers[i]}" aria-current=${i + 1 === at ? 'step' : null}
      onclick=${() => go(i + 1)}>${chess && i % 2 ? '' : html`<span class="number">${numbered(i, chess)}</span> `}${text}${sign && html`<b class="sign"
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
