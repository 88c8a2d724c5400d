// The controls: what is chosen, the game's buttons, moves that are typed, games as files.
import {html} from './vendor/htm-preact.js';
import {address, get} from './api.js';
import {CLOCKS} from './clock.js';
import {SEATS} from './words.js';

const LEVELS = [2, 8, 32, 100, 200, 400, 800, 1600, 3200];
const OVERLAYS = ['win rate', 'visits', 'prior', 'none'];
const OTHER_SEAT = {first: 'second', second: 'first', both: 'both', none: 'none'}, MOST_OFFERED = 400;
const MOST_BYTES = 2 ** 16, MOST_PACKED = 24000;  // as the server has them

/** The player of `label` among `players`; without a label the first of `usual` that is there. */
function chosen(players, label, ...usual) {
  return label ? players.find(p => p.label === label) : usual.find(Boolean);
}

/** What a player's list says where the address names one that is not there. */
const absence = (offered, label, player, what) => offered && label && !player
  && `There is no player ${label} here: choose another ${what}.`;

/** The opponent, the labels of both analysts, and a sentence for each that the address names and that is not among those `offered`. */
export function partiesOf(state, offered) {
  const players = offered?.players ?? [], analysts = players.filter(p => p.analyses);
  const opponent = chosen(players, state.player, players[0]);
  const analyst = chosen(analysts, state.analyst, analysts.find(p => p.label === opponent?.label), analysts[0])?.label;
  const second = state.second && chosen(analysts, state.second)?.label;
  return {players, analysts, opponent, analyst, second,
    name: opponent?.label ?? (state.player || 'the opponent'),
    absent: state.seat !== 'both' && absence(offered, state.player, opponent, 'opponent'),
    unable: absence(offered, state.analyst, analyst, 'analyst') || absence(offered, state.second, second, 'second analyst')};
}

/** The entries of a list of players, with the one that the address names even if it is not there. */
const listed = (all, label, player) => [...(label && !player ? [[label, `${label} (not here)`]] : []), ...all.map(p => [p.label, p.label])];

function Choice({label, value, options, onchange}) {
  const all = options.some(([key]) => key === value) ? options : [...options, [value, value]];
  return html`<label>${label} <select value=${value} onchange=${e => onchange(e.target.value)}>
    ${all.map(([key, text]) => html`<option key=${key} value=${key} selected=${key === value}>${text}</option>`)}
  </select></label>`;
}

const Switch = ({label, on, onchange}) =>
  html`<label><input type="checkbox" checked=${on} onchange=${e => onchange(e.target.checked)}/> ${label}</label>`;

/** The game, who plays which side, how strong, and the clock. */
export function GameChoices({state, change, begin, games, parties: {players, opponent, absent}}) {
  const {game, seat} = state, alone = seat === 'both';
  return html`<div class="row">
    <${Choice} label="Game" value=${game} options=${[...new Set([game, ...games])].map(g => [g, g])}
      onchange=${value => begin({game: value, player: '', analyst: '', second: ''})}/>
    <${Choice} label="You play" value=${seat} options=${Object.entries(SEATS)} onchange=${value => change({seat: value})}/>
    ${!alone && (opponent || absent) && html`<${Choice} label="Opponent" value=${opponent?.label ?? state.player}
      options=${listed(players, state.player, opponent)} onchange=${value => change({player: value})}/>`}
    ${!alone && opponent?.levels && html`<${Choice} label="Simulations" value=${String(state.level)}
      options=${[['', 'its own'], ...LEVELS.map(n => [String(n), n.toLocaleString('en')])]} onchange=${value => change({level: value})}/>`}
    <${Choice} label="Clock" value=${state.clock} options=${CLOCKS} onchange=${value => change({clock: value, times: ''})}/>
  </div>`;
}

/** Whether and by which players the position is analysed, and what is shown; `view`: `{analysing, overlay, tree}`. */
export function AnalysisChoices({state, change, view, setView, parties: {analysts, analyst, second}}) {
  return html`<div class="row">
    <${Switch} label="Analysis" on=${view.analysing} onchange=${analysing => setView({analysing})}/>
    ${analysts.length > 0 && html`<${Choice} label="by" value=${analyst ?? state.analyst} options=${listed(analysts, state.analyst, analyst)}
      onchange=${value => change({analyst: value})}/>
      <${Choice} label="and by" value=${state.second} options=${[['', 'none'], ...listed(analysts, state.second, second)]}
      onchange=${value => change({second: value})}/>`}
    <${Choice} label="on the board" value=${view.overlay} options=${OVERLAYS.map(o => [o, o])} onchange=${overlay => setView({overlay})}/>
    <${Switch} label="Tree" on=${view.tree} onchange=${tree => setView({tree})}/>
  </div>`;
}

export function GameButtons({state, change, turn, line, begin, ask}) {
  const {moves, at, seat} = state, {ended, own, human} = turn;
  return html`<div class="row">
    <button onclick=${() => begin({})}>New game</button>
    <button onclick=${line.undo} disabled=${!at && !ended}>Undo</button>
    <button onclick=${() => change({seat: OTHER_SEAT[seat]})} disabled=${own === undefined}>Switch sides</button>
    <button onclick=${ask} disabled=${!human || !ask}>Hint</button>
    <button onclick=${line.resign} disabled=${!human || ended || at < moves.length || seat === 'none'}>Resign</button>
  </div>`;
}

/** A field for moves in the game's notation, and the link of the game. */
export function MoveField({legal, human, play, setNotice, setError}) {
  const type = event => {
    event.preventDefault();
    const field = event.target.elements.move, text = field.value.trim();
    const move = legal.find(m => m.text === text) ?? legal.find(m => m.text.toLowerCase() === text.toLowerCase());
    if (move) { field.value = ''; setError(''); play(move.action); } else setError(`${text || 'nothing'} is not a move here`);
  };
  const copy = () => navigator.clipboard.writeText(location.href)
    .then(() => setNotice('The link to this game is copied.'), () => setNotice('Copy the address of this page: it holds the whole game.'));
  return html`<form class="row" onsubmit=${type}>
    <label>Move <input name="move" list="legal" autocomplete="off" size="8" disabled=${!human}/></label>
    <datalist id="legal">${legal.slice(0, MOST_OFFERED).map(move => html`<option key=${move.action} value=${move.text}/>`)}</datalist>
    <button disabled=${!human}>Play</button>
    <button type="button" onclick=${copy}>Copy link</button>
  </form>`;
}

/** The bytes of a file, compressed and as text for an address: requests hold no bodies. */
async function pack(file) {
  const packing = file.stream().pipeThrough(new CompressionStream('deflate-raw'));
  const bytes = new Uint8Array(await new Response(packing).arrayBuffer());
  const text = Array.from(bytes, byte => String.fromCharCode(byte)).join('');
  return btoa(text).replaceAll('+', '-').replaceAll('/', '_');
}

/** The first game of a file: `{moves, end, seats, more}`; an `Error` of one sentence where there is none. */
export async function read(game, file) {
  if (file.size > MOST_BYTES) throw new Error(`The file is too large: ${MOST_BYTES / 1024} KiB are read at most.`);
  const packed = await pack(file);
  if (packed.length > MOST_PACKED) throw new Error('The file is too large: compressed it may have 18 kB.');
  return get('load', {game, name: file.name.slice(-100), file: packed});
}

/** Links to save the game and the position after `at` moves, and the button that loads a game. */
export function Files({game, formats, line, at, end, seats, load}) {
  const [first, second] = seats;
  const choose = event => {
    const [file] = event.target.files;
    event.target.value = '';  // the same file may be chosen again
    if (file) load(file);
  };
  return html`<div class="row files">
    ${formats.map(format => html`<a key=${format} download href=${address('save',
      {game, moves: line.join('.'), format, end, first, second})}>Save as ${format.toUpperCase()}</a>`)}
    <a download="board.svg" href=${address('board.svg', {game, moves: line.slice(0, at).join('.')})}>Save picture</a>
    <label>Load <input type="file" accept=${formats.map(f => `.${f}`).join() + ',.jsonl,.txt'} onchange=${choose}/></label></div>`;
}
