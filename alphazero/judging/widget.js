// A game in a notebook: the page's own board in a widget, whose moves are played in Python.
import {html, render, useState, useEffect} from './page/vendor/htm-preact.js';
import {Board, remaining, targets} from './page/board.js';
import {Moves, Steps, figures, percent} from './page/analysis.js';
import {COLOURS, PIECES, sentence} from './page/words.js';

const HANDS = {seat: 'both', end: ''}, MISTAKE = Infinity;

/** Weights by action in the form of a search's report. */
function asReport(weights) {
  const moves = Object.entries(weights).map(([action, share]) => ({action: Number(action), prior: share, visits: share, value: null}));
  return {moves, best: moves.reduce((best, move) => move.prior > (best?.prior ?? 0) ? move : best, null)?.action};
}

/** Moves that no click makes, as a pass or a promotion. */
function Buttons({legal, picked, play}) {
  const moves = [...legal.filter(move => !move.cells.length), ...(picked.length > 1 ? remaining(legal, picked) : [])];
  return moves.length > 0 && html`<div class="row" role="group" aria-label="moves without a cell">${moves.map(move =>
    html`<button key=${move.action} class="choice" onclick=${() => play(move)}>${move.text}</button>`)}</div>`;
}

/** `model` has `shown`, see `judging/widget.py`; the messages that it is sent are `{play, at}` and `{go}`. */
function Game({model}) {
  const [shown, setShown] = useState(model.get('shown')), [picked, setPicked] = useState([]);
  useEffect(() => {
    const read = () => { setPicked([]); setShown(model.get('shown')); };
    model.on('change:shown', read);
    return () => model.off('change:shown', read);
  }, []);
  const {here, at, texts, movers, weights, value, message} = shown, {legal} = here;
  const chess = shown.game === 'chess', colours = chess ? PIECES : COLOURS;
  const play = move => model.send({play: move.action, at}), go = ply => model.send({go: ply});
  return html`<div class="notebook">
    <p class="status" role="status">${sentence(here, HANDS, false, '', colours)}${value != null && html`, win rate <span class="now">${percent(value)}</span>`}</p>
    <p class="error" role="alert"><span>${message}</span></p>
    <${Board} board=${here.board} legal=${legal} picked=${picked} setPicked=${setPicked} arrow=${[]} play=${play}
      figures=${figures(asReport(weights), targets(legal, picked), 'prior')} chess=${chess} players=${colours} places=${here.places}/>
    <${Buttons} legal=${legal} picked=${picked} play=${play}/>
    <div class="row"><${Steps} at=${at} length=${texts.length} go=${go}/></div>
    <${Moves} texts=${texts} values=${[]} movers=${movers} at=${at} go=${go} mistake=${MISTAKE} chess=${chess}/></div>`;
}

export default {
  render({model, el}) {
    // Nothing of the page's style reaches the notebook, and nothing of the notebook's comes in.
    const root = el.shadowRoot ?? el.attachShadow({mode: 'open'});
    render(html`<style>${STYLE}</style><${Game} model=${model}/>`, root);
    return () => render(null, root);
  },
};
