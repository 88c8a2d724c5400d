// The address of the page holds everything: the game with all its moves, who plays, what is shown.

const EMPTY = {view: 'board', game: '', moves: [], at: null, seat: 'first', player: '', level: '',
  analyst: '', run: ''};

/** The state in the part of an address behind its `#`; what is missing is as in a new page. */
export function decode(hash) {
  const given = new URLSearchParams(hash.replace(/^#/, '')), state = {...EMPTY};
  for (const key of Object.keys(EMPTY)) if (given.has(key)) state[key] = given.get(key);
  const moves = given.get('moves') || '';
  state.moves = moves ? moves.split('.') : [];
  const at = Number.parseInt(given.get('at') ?? '', 10);
  state.at = Number.isNaN(at) ? state.moves.length : Math.min(Math.max(at, 0), state.moves.length);
  if (!['first', 'second', 'both', 'none'].includes(state.seat)) state.seat = 'first';
  if (!['board', 'runs'].includes(state.view)) state.view = 'board';
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
