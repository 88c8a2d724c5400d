// Sentences and names that the page shows.

export const SEATS = {first: 'first', second: 'second', both: 'both sides', none: 'neither: watch'};
export const COLOURS = ['orange', 'blue'];
export const PIECES = ['white', 'black'];
const LETTERS = 'XO';

/** What is going on, in one sentence. `state.end`: how the game has ended before its end by the rules. */
export function sentence(here, state, thinking, opponent, colours) {
  const own = {first: 0, second: 1}[state.seat];
  const has = side => {
    if (own !== undefined) return own === side ? 'You have' : `${opponent} has`;  // a player's name is written as it is
    return `${colours[side][0].toUpperCase() + colours[side].slice(1)}, the ${side ? 'second' : 'first'} player, has`;
  };
  if (here.reason) {
    const why = here.reason === 'length' ? ' (the game has reached its longest length)' : '';
    return here.result === 0 ? `The game is a draw${why}.` : `${has(here.result > 0 ? 0 : 1)} won${why}.`;
  }
  if (state.end) {
    const [how, side] = state.end.split('-');
    return `${has(Number(side))} ${{time: 'lost on time', resignation: 'resigned', forfeit: 'forfeited the game'}[how]}.`;
  }
  const mover = here.movers.at(-1), letter = here.board.text ? `, ${LETTERS[mover]}` : '';
  const name = `${colours[mover]} (${mover ? 'second' : 'first'}${letter}) to move`;
  if (thinking) return `${name}: ${opponent} is choosing …`;
  if (state.seat === 'both') return name;
  return own === mover ? `${name}: your turn` : `${name}: the turn of ${opponent}`;
}

/** What is shown while a game is loaded: its rules may have to be compiled. */
export const LOADING = 'loading … The rules of a game are compiled when it is used on this machine for the first time: some seconds.';

const MOST_NAME = 60;  // as the server has it

/** The names of both sides for a file; they differ. */
export function seatNames(seat, opponent) {
  if (seat === 'both') return ['first', 'second'];
  if (seat === 'none') return ['(1)', '(2)'].map(number => `${opponent.slice(0, MOST_NAME - 4)} ${number}`);
  const names = ['you', opponent === 'you' ? 'you (2)' : opponent.slice(0, MOST_NAME)];
  return seat === 'first' ? names : names.reverse();
}

/** The inverse: the seat and the one opponent of `labels` that give a file these names; else both sides. */
export function seatOf(names, labels) {
  const same = labels.flatMap(player => ['first', 'second', 'none'].filter(seat => `${seatNames(seat, player)}` === `${names}`).map(seat => ({seat, player})));
  return same.length === 1 ? same[0] : {seat: 'both'};
}
