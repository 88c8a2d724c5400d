// One game: against a player, or both sides by hand, with an analysis beside it.
import {html, useState, useEffect, useRef} from './vendor/htm-preact.js';
import {Board, remaining, targets} from './board.js';
import {Graph, Moves, Steps, Table, Tree, figures, percent} from './analysis.js';
import {Clocks, useClock} from './clock.js';
import {AnalysisChoices, Files, GameButtons, GameChoices, MoveField, partiesOf, read} from './controls.js';
import {useAnalysis, useExact, useHidden, useHint, useOpponent, usePlayers, usePositions, useValues} from './hooks.js';
import {Branches, turnOf, useLine} from './line.js';
import {COLOURS, LOADING, PIECES, seatNames, seatOf, sentence} from './words.js';

const WATCH_PAUSE = 400;

/** A function that reads a file and goes on with its game as it was saved; a file that arrives after another game was chosen is left. */
function useLoad(game, players, begin, setNotice, setError) {
  const now = useRef(game);
  now.current = game;
  useEffect(() => () => { now.current = null; }, []);
  return file => read(game, file).then(got => {
    if (now.current !== game) return;
    const sides = seatOf(got.seats, players.map(player => player.label));
    begin({game, moves: got.moves.map(String), at: got.moves.length, end: got.end, ...sides});
    setNotice(`Loaded ${file.name}: ${got.seats.join(' against ')}, ${got.moves.length} moves.${sides.player ? '' : ' You play both sides.'}${got.more ? ' Only the main line of its first game is read.' : ''}`);
  }).catch(e => { if (now.current === game) { setNotice(''); setError(e.message); } });
}

/** The searches of the position by both analysts, and its exact results. */
function useSearches(game, line, wanted, {analyst, second}, tree, know) {
  const report = useAnalysis(game, line, wanted && analyst, tree, know(analyst));
  const other = useAnalysis(game, line, wanted && second, false, know(second));
  return {report, other, exact: useExact(wanted, game, line)};
}

/** What has gone wrong, with a button to ask the opponent again where its move is missing. */
function Trouble({error, absent, theirs, again}) {
  return html`<p class="error" role="alert"><span>${error || absent}${error && theirs && html` <button onclick=${again}>Try again</button>`}</span></p>`;
}

/** The board with the figures of the search, and a button for each move that no click makes. */
function Position({here, turn: {open, legal, human}, picked, setPicked, searches, view, best, play, chess, colours}) {
  const unplaced = [...legal.filter(move => !move.cells.length), ...(picked.length > 1 ? remaining(legal, picked) : [])];
  const pointed = best && legal.find(move => move.action === best);
  return html`<${Board} board=${here.board} legal=${human ? legal : []} picked=${picked} setPicked=${setPicked}
      figures=${view.analysing && open ? figures(searches.report, targets(legal, picked), view.overlay) : new Map()}
      arrow=${pointed ? pointed.cells : []} play=${move => play(move.action)} chess=${chess} players=${colours} places=${here.places}/>
    ${unplaced.length > 0 && html`<div class="row" role="group" aria-label="moves without a cell">
      ${unplaced.map(move => html`<button key=${move.action} class="choice" disabled=${!human}
        onclick=${() => play(move.action)}>${move.text}</button>`)}</div>`}`;
}

/** What one analyst says of the position; nothing without one. */
function Opinion({title, report, by, exact, legal, play}) {
  return by && html`<div>${report?.error ? html`<p role="alert">${report.error}</p>`
    : report ? html`<${Table} title=${title} report=${report} exact=${exact.moves} legal=${legal} play=${play}/>` : html`<p>searching …</p>`}
    ${exact.error && html`<p role="alert">${exact.error}</p>`}</div>`;
}

function Opinions({parties: {analyst, second}, searches: {report, other, exact}, view: {tree}, legal, play}) {
  return html`<div class=${second ? 'pair two' : 'pair'}>
      <${Opinion} title=${second && analyst} report=${report} by=${analyst} exact=${exact} legal=${legal} play=${play}/>
      <${Opinion} title=${second} report=${other} by=${second} exact=${{moves: {}}} legal=${legal} play=${play}/></div>
    ${tree && second && html`<p>Tree of ${analyst}:</p>`}
    ${tree && report?.tree && html`<${Tree} branches=${report.tree} play=${play}/>`}`;
}

/** The win rate over the game, the way through its moves, the branches. */
function Course({state: {moves, at}, end, known, line, draw, notice, colours, mistake, chess}) {
  return html`<h2>Win rate of ${colours[0]}, the first player ${known[at] != null && html`<span class="now">${percent(known[at])}</span>`}</h2>
    <${Graph} values=${known} movers=${end.movers} at=${at} go=${line.go} mistake=${mistake}/>
    <div class="row"><${Steps} at=${at} length=${moves.length} go=${line.go}/>
      <button onclick=${draw} disabled=${!moves.length || !draw}>Analyse the game</button>
      <span role="status">${notice}</span>
    </div>
    <${Moves} texts=${end.texts} values=${known} movers=${end.movers} at=${at} go=${line.go} mistake=${mistake} chess=${chess}/>
    <${Branches} lines=${line.lines} moves=${moves} chess=${chess} show=${line.showLine} remove=${line.remove}/>`;
}

export function Play({state, change, start}) {
  const {game, moves, at, seat} = state, chess = game === 'chess', colours = chess ? PIECES : COLOURS;
  const [error, setError] = useState(''), [notice, setNotice] = useState(''), [picked, setPicked] = useState([]);
  const [view, setWhole] = useState({analysing: false, overlay: 'win rate', tree: false}), [retry, setRetry] = useState(0);
  const setView = changes => setWhole(last => ({...last, ...changes})), hidden = useHidden();
  const offered = usePlayers(game, setError), [shown, current] = usePositions(game, moves, at, setError);
  const parties = partiesOf(state, offered), {opponent, analyst} = parties;

  const turn = turnOf(state, shown, current), {legal, human, theirs, side} = turn, before = moves.slice(0, at);
  const values = useValues(game, moves, parties, setNotice, setError);
  const {analysing, tree} = view, wanted = analysing && turn.open && !hidden;
  const searches = useSearches(game, before, wanted, parties, tree, values.know);
  const failed = theirs && error !== '';  // the opponent has no time to lose where the server gave no answer
  const clock = useClock(state, change, side, failed);
  const hint = useHint(game, before, analyst, setError);
  const forget = () => { hint.forget(); setPicked([]); setNotice(''); };
  const line = useLine(state, change, {shown, turn, clock, forget}), {play} = line;
  const begin = (changes, remember = true) => { values.forget(); setError(''); line.begin(changes, remember); };
  const thinking = useOpponent(theirs ? opponent : null, state, seat === 'none' ? WATCH_PAUSE : 0, retry, answer => {
    change({game, player: opponent.label});  // for the link: another server has others first
    if (answer.forfeit === undefined) { play(answer.action); return; }
    change({end: `forfeit-${turn.mover}`});
    setNotice(`${opponent.label}: ${answer.forfeit}`);
  }, setError);
  const load = useLoad(game, parties.players, begin, setNotice, setError);
  useEffect(() => setPicked([]), [game, before.join('.'), analyst]);
  useEffect(() => { if (shown && current && shown.here.reason) values.finish(before, shown.here.result); }, [shown, current, analyst, parties.second]);

  if (!shown && !error) return html`<p class="late" role="status">${LOADING}</p>`;
  if (!shown) return html`<p role="alert">${error} <button onclick=${() => begin({})}>New game</button></p>`;
  const {here, end} = shown;
  const all = {state, change, parties, turn, line, begin, play, legal, human, setNotice, setError, picked, setPicked,
    colours, chess, here, end, side, searches, view, setView, notice};
  return html`<section class="left" aria-label="game">
    <${GameChoices} ...${all} games=${start.games}/>
    <p class="status" role="status">${sentence(here, {seat, end: turn.ended}, thinking, parties.name, colours)}</p>
    <${Trouble} error=${error} absent=${parties.absent} theirs=${theirs} again=${() => { setError(''); setRetry(retry + 1); }}/>
    <${Clocks} ...${all} left=${clock.left}/>
    <${Position} ...${all} best=${(analysing ? searches.report?.best : null) ?? hint.best}/>
    <${GameButtons} ...${all} ask=${analyst && hint.ask}/>
    <${MoveField} ...${all}/>
    <${Files} game=${game} formats=${offered?.formats ?? []} line=${moves} at=${at} end=${end.reason ? '' : state.end}
      seats=${seatNames(seat, parties.name)} load=${load}/>
  </section>
  <section class="right" aria-label="analysis">
    <${AnalysisChoices} ...${all}/>
    ${parties.unable && html`<p role="alert">${parties.unable}</p>`}
    ${wanted && html`<${Opinions} ...${all}/>`}
    <${Course} ...${all} known=${values.along(analyst, end.movers.length)} draw=${analyst && values.draw} mistake=${start.mistake}/>
  </section>`;
}
