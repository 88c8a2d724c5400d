// The page: state in its address, a board to play and analyse on, the curves of runs.
import {html, render, useState, useEffect, useRef} from './vendor/htm-preact.js';
import {get} from './api.js';
import {decode, encode} from './link.js';
import {Play} from './play.js';
import {Runs} from './runs.js';

/** The state of the address, and a function that changes some of it. */
function useAddress() {
  const [state, setState] = useState(() => decode(location.hash)), latest = useRef(state);
  latest.current = state;
  useEffect(() => {
    const read = () => setState(decode(location.hash));
    addEventListener('popstate', read);
    addEventListener('hashchange', read);
    return () => { removeEventListener('popstate', read); removeEventListener('hashchange', read); };
  }, []);
  const change = (changes, remember = false) => {
    const next = {...latest.current, ...changes};
    latest.current = next;
    history[remember ? 'pushState' : 'replaceState'](null, '', encode(next));
    setState(next);
  };
  return [state, change];
}

function App() {
  const [state, change] = useAddress(), [start, setStart] = useState(null), [error, setError] = useState('');
  useEffect(() => {
    get('start').then(given => {
      setStart(given);
      const here = decode(location.hash);
      if (given.run && !location.hash.includes('view=') && !here.moves.length) {
        change({view: 'runs', run: given.run});
      }
    }).catch(e => setError(e.message));
  }, []);
  if (error) return html`<p role="alert">${error}</p>`;
  if (!start) return html`<p>loading …</p>`;
  const shown = {...state, game: state.game || start.games[0]};
  const tab = (view, text) => html`<a href=${encode({...state, view})} aria-current=${state.view === view ? 'page' : null}
    onclick=${event => { event.preventDefault(); change({view}, true); }}>${text}</a>`;
  return html`<header><h1>alphazero</h1><nav aria-label="views">${tab('board', 'Board')}${tab('runs', 'Runs')}</nav></header>
    <main>${state.view === 'runs'
      ? html`<${Runs} state=${shown} change=${change} start=${start}/>`
      : html`<${Play} key=${shown.game} state=${shown} change=${change} start=${start}/>`}</main>`;
}

render(html`<${App}/>`, document.getElementById('app'));
