// The address of the page holds everything: the game with all its moves, who plays, what is shown.

const EMPTY = {view: 'board', game: '', moves: [], at: null, end: '', seat: 'first', player: '', level: '',
  clock: '', times: '', analyst: '', second: '', run: ''};

/** What another game than the one on the board begins with. */
export const NEW_GAME = {moves: [], at: 0, end: '', player: '', clock: '', times: '', analyst: '', second: ''};

/** The forms of values; others are as in a new page. `end`: how the game ended and which side lost;
 * `clock`: seconds and increment; `times`: the seconds that both sides had left after the last move. */
const FORMS = {view: /^(board|runs)$/, seat: /^(first|second|both|none)$/, end: /^(time|resignation|forfeit)-[01]$/,
  clock: /^\d{1,5}(\+\d{1,3})?$/, times: /^\d{1,6}(\.\d+)?-\d{1,6}(\.\d+)?$/};

/** The state in the part of an address behind its `#`; what is missing is as in a new page. */
export function decode(hash) {
  const given = new URLSearchParams(hash.replace(/^#/, '')), state = {...EMPTY};
  for (const key of Object.keys(EMPTY)) {
    const value = given.get(key);
    if (value !== null && (FORMS[key]?.test(value) ?? true)) state[key] = value;
  }
  const moves = given.get('moves') || '';
  state.moves = moves ? moves.split('.') : [];
  const at = Number.parseInt(given.get('at') ?? '', 10);
  state.at = Number.isNaN(at) ? state.moves.length : Math.min(Math.max(at, 0), state.moves.length);
  return state;
}

/** The inverse of `decode`; values of a new page are left out. */
export function encode(state) {
  const parts = new URLSearchParams();
  for (const [key, value] of Object.entries({...state, moves: state.moves.join('.')})) {
    const usual = key === 'at' ? state.moves.length : key === 'moves' ? '' : EMPTY[key];
    if (value !== usual) parts.set(key, value);
  }
  return '#' + parts;
}
