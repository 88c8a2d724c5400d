// What a search says: figures on the board, a table of moves, the principal variation, the first plies.
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
