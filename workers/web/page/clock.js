// Clocks: the time of each side, counted in this page. It runs from the first move made here on.
import {html, useState, useEffect, useRef} from './vendor/htm-preact.js';

export const CLOCKS = [['', 'none'], ['60', '1 min'], ['180+2', '3 min + 2 s'], ['300', '5 min'],
  ['600+5', '10 min + 5 s'], ['1800', '30 min']];
const TICK = 100;

/** Seconds as `4:07`, below ten seconds as `9.3`. */
export const shown = seconds => seconds < 10 ? seconds.toFixed(1)
  : `${Math.floor(seconds / 60)}:${String(Math.floor(seconds % 60)).padStart(2, '0')}`;

/**
 * `{left, begin, moved}`: the seconds of both sides, null without a clock; a function that lets the time run;
 * one that returns the change of state for a move: the side whose time ran gets its increment.
 * `side`: whose time runs, null where the game does not go on. `held`: its time stands still; what it had
 * used for this move is given back.
 */
export function useClock(state, change, side, held) {
  const [, tick] = useState(0), since = useRef(null), begun = useRef(false), key = state.moves.join('.');
  const [seconds, increment = 0] = state.clock ? state.clock.split('+').map(Number) : [0];
  const stored = state.times ? state.times.split('-').map(Number) : [seconds, seconds];
  const running = state.clock && begun.current && side !== null && !held;
  const left = () => stored.map((time, i) => i === side && running && since.current !== null
    ? Math.max(0, time - (performance.now() - since.current) / 1000) : time);
  const times = (more = 0) => left().map((time, i) => (time + (running && i === side ? more : 0)).toFixed(1)).join('-');
  useEffect(() => { since.current = performance.now(); }, [key, side, state.clock, state.end, held]);
  useEffect(() => {
    if (!running) return undefined;
    const timer = setInterval(() => {
      if (left()[side] <= 0) change({end: `time-${side}`, times: times()});
      else tick(n => n + 1);
    }, TICK);
    return () => clearInterval(timer);
  }, [running, key, side, state.clock, state.times]);
  if (!state.clock) return {left: null, begin: () => {}, moved: () => ({})};
  return {left: left(), begin: on => { begun.current = on; }, moved: (more = increment) => ({times: times(more)})};
}

export function Clocks({left, side, colours}) {
  return left && html`<div class="row clocks" role="timer" aria-label="clocks">${left.map((time, i) => html`<span key=${i}
    class=${`p${i}${i === side ? ' runs' : ''}`}>${colours[i]} <b>${shown(time)}</b></span>`)}</div>`;
}
