// Games as files.
import {html} from './vendor/htm-preact.js';
import {address, get} from './api.js';

const MOST_BYTES = 2 ** 16, MOST_PACKED = 24000;  // as the server has them

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
