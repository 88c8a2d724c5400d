// Requests to the server. Positions are kept: they never change.

const positions = new Map(), KEPT = 500;

/** The address of a request. Parameters that are empty are left out. */
export function address(path, parameters = {}) {
  const given = Object.entries(parameters).filter(([, value]) => value !== '' && value != null);
  return `/api/${path}?` + new URLSearchParams(given);
}

/** The JSON of an answer; an `Error` with the server's own sentence where it refuses. */
export async function get(path, parameters, signal) {
  const answer = await fetch(address(path, parameters), {signal});
  const data = await answer.json();
  if (!answer.ok) throw new Error(data.error || `status ${answer.status}`);
  return data;
}

/** A position of a game, `moves` being a list. */
export async function position(game, moves, signal) {
  const key = game + '#' + moves.join('.');
  if (!positions.has(key)) {
    const data = await get('position', {game, moves: moves.join('.')}, signal);
    if (positions.size >= KEPT) positions.delete(positions.keys().next().value);
    positions.set(key, data);
  }
  return positions.get(key);
}

/**
 * Events of a stream until its end. Returns a function that closes it, which stops the search.
 * A stream that fails is not opened again: `onEnd` receives true then.
 */
export function stream(path, parameters, onData, onEnd = () => {}) {
  const source = new EventSource(address(path, parameters));
  const end = failed => { source.close(); onEnd(failed); };
  source.onmessage = event => onData(JSON.parse(event.data));
  source.addEventListener('done', () => end(false));
  source.onerror = () => end(true);
  return () => source.close();
}
