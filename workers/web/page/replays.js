// The newest games of a run's self-play with the search's policy, and the matches of the folder.
import {html, useState, useEffect, useRef} from './vendor/htm-preact.js';
import {get, position} from './api.js';
import {Board, targets} from './board.js';
import {Steps, figures, percent} from './analysis.js';
import {NEW_GAME} from './link.js';
import {COLOURS, LOADING, PIECES} from './words.js';

/** What the search found at a ply, in the form of a search's report; null for a random move. */
export function asReport(searched) {
  if (!searched) return null;
  const moves = searched.policy.map(([action, share]) => ({action, prior: share, visits: share, value: null}));
  return {moves, best: moves[0]?.action};
}

/** How a game ended, for the player who began. */
function ending({first, reason}) {
  const result = first === 0 ? 'a draw' : `won by the ${first > 0 ? 'first' : 'second'} player`;
  return `${result} (${reason})`;
}

/** The same as the page's address has it; '' where the game ended by its rules or by a proof. */
export function endOf({first, reason}) {
  return reason === 'resignation' ? `resignation-${first > 0 ? 1 : 0}` : '';
}

/** One game of self-play: the board at a ply, with the share that the search gave to each move. */
function Replay({run, played, open, show}) {
  const [ply, setPly] = useState(0), [shown, setShown] = useState(null), [error, setError] = useState('');
  const at = Math.min(ply, played.moves.length), colours = run.game === 'chess' ? PIECES : COLOURS;
  useEffect(() => setPly(0), [played.id]);
  useEffect(() => { if (shown) show(); }, [shown === null]);
  useEffect(() => {
    const leaving = new AbortController();
    setError('');
    position(run.game, played.moves.slice(0, at), leaving.signal)
      .then(here => { if (!leaving.signal.aborted) setShown({at, here}); })
      .catch(e => { if (!leaving.signal.aborted) setError(e.message); });
    return () => leaving.abort();
  }, [run.game, played.id, at]);
  if (!shown && !error) return html`<p class="late">${LOADING}</p>`;
  const here = shown?.here, current = shown?.at === at;  // the board of another ply stays until this one's is there
  const report = current ? asReport(played.searched[at]) : null, value = played.searched[at]?.value;
  const texts = new Map((here?.legal ?? []).map(move => [move.action, move.text]));
  const side = here?.movers.at(-1), mover = side == null ? '' : ` of ${colours[side]}, about to move`;
  const said = at === played.moves.length ? `the end of the game${value == null ? '' : `; win rate${mover}, by the search: ${percent(value)}`}`
    : played.searched[at] ? `win rate${mover}, by the search: ${percent(value)}` : 'a random move of the opening follows, without a search';
  return html`<div class="replay">
    <div>${here && html`<${Board} board=${here.board} legal=${[]} picked=${[]} setPicked=${() => {}} play=${() => {}} arrow=${[]}
      figures=${current ? figures(report, targets(here.legal, []), 'prior') : new Map()} chess=${run.game === 'chess'} players=${colours} places=${here.places}/>`}</div>
    <div>${error && html`<p role="alert">${error}</p>`}<div class="row"><label>ply <input type="range" min="0" max=${played.moves.length} value=${at} aria-valuetext="ply ${at}"
        oninput=${e => setPly(Number(e.target.value))}/></label> <${Steps} at=${at} length=${played.moves.length} go=${setPly}/></div>
      <p role="status">${at} of ${played.moves.length}: ${said}</p>
      ${report?.moves.length > 0 && html`<table><caption>the share of the search's policy; bold: the move that was played</caption><thead><tr><th scope="col">move</th><th scope="col">share</th></tr></thead>
        <tbody>${report.moves.map(move => html`<tr key=${move.action} class=${String(move.action) === played.moves[at] ? 'best' : ''}>
          <th scope="row">${texts.get(move.action) ?? move.action}</th><td>${(100 * move.prior).toFixed(1)} %</td></tr>`)}</tbody></table>`}
      <button onclick=${() => open(played, at)}>Open on the board</button></div></div>`;
}

/** The list of a run's newest games. */
export function Replays({run, change}) {
  const place = useRef(null), seen = useRef(false);
  const show = () => { if (!seen.current) place.current.scrollIntoView(); seen.current = true; };  // it lies below the charts
  const [games, setGames] = useState(null), [error, setError] = useState(''), [id, setId] = useState(''), [asked, setAsked] = useState(0);
  useEffect(() => {
    let gone = false;
    setError('');
    get('selfplay', {run: run.name}).then(got => { if (!gone) setGames(got.games); }).catch(e => { if (!gone) { setGames([]); setError(e.message); } });
    return () => { gone = true; };
  }, [run.name, asked]);
  if (!games) return html`<p>loading …</p>`;
  const played = games.find(game => game.id === id) ?? games[0];
  const open = (game, at) => change({...NEW_GAME, view: 'board', game: run.game, moves: game.moves, at,
    end: endOf(game.result), seat: 'both'}, true);
  return html`<section ref=${place} aria-label="self-play of ${run.name}"><h2>Newest games of ${run.name}</h2>
    ${error && html`<p role="alert">${error}</p>`}
    <div class="row">${games.length > 0 && html`<label>game <select value=${played.id} onchange=${e => setId(e.target.value)}>
        ${games.map(game => html`<option key=${game.id} value=${game.id} selected=${game.id === played.id}>${game.id}: ${game.moves.length} plies, ${ending(game.result)}, weights ${game.version}</option>`)}
      </select></label>`} <button onclick=${() => setAsked(asked + 1)}>Read again</button></div>
    ${played && html`<${Replay} key=${played.id} run=${run} played=${played} open=${open} show=${show}/>`}</section>`;
}

/** The points of each player of a match against each other one. */
export function Matches() {
  const [matches, setMatches] = useState([]);
  useEffect(() => { get('matches').then(got => setMatches(got.matches)).catch(() => {}); }, []);
  const rating = ({elo, elo_low: low, elo_high: high}) => `${elo.toFixed(0)}${low == null && high == null ? '' : ` (${low?.toFixed(0) ?? 'open'} to ${high?.toFixed(0) ?? 'open'})`}`.replaceAll('-', '−');
  return matches.length > 0 && html`<h2>Matches</h2>${matches.map(({name, game, players, points}) => html`<div class="scroll" tabindex="0" role="group" aria-label="match ${name}" key=${name}>
    <table><caption>${name}: ${game}, points of the player of the row</caption><thead><tr><th scope="col">player</th><th scope="col">Elo (95 %)</th>
      ${players.map((_, i) => html`<th scope="col" key=${i}>${i + 1}</th>`)}</tr></thead>
      <tbody>${players.map((player, i) => html`<tr key=${i}><th scope="row">${i + 1} ${player.name}</th><td>${rating(player)}</td>
        ${points[i].map((met, k) => html`<td key=${k}>${met ? `${met[0]}/${met[1]}` : '–'}</td>`)}</tr>`)}</tbody></table></div>`)}`;
}
