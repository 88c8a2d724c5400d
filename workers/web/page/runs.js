// The curves of a folder's runs while they train; each chart has a curve per chosen run.
import {html, useState, useEffect, useRef} from './vendor/htm-preact.js';
import {get} from './api.js';
import {NEW_GAME} from './link.js';
import {Matches, Replays} from './replays.js';

const USUAL = ['loss', 'policy_loss', 'value_loss', 'elo', 'policy_mistakes/opening_medium', 'positions_per_second'];
const HIDDEN = new Set(['step', 'time', 'minutes']);
const AXES = {minutes: 'minutes', step: 'optimizer steps', games: 'games of self-play'}, POINTS = 400, EVERY = 3000;
const COLOURS = ['#2a86d1', '#cc6a1f', '#2f9160', '#b662c4', '#8f7f10', '#d9537f'];
const DASHES = [[], [8, 4], [2, 3], [10, 3, 2, 3], [1, 5], [14, 6]];

/** uPlot is 22 kB: it is loaded with the first chart. */
let plotting = null;
function loadPlot() {
  plotting ??= new Promise((resolve, reject) => {
    const script = {src: '/vendor/uplot.js', onload: () => resolve(globalThis.uPlot), onerror: reject};
    document.head.append(Object.assign(document.createElement('script'), script));
  });
  return plotting;
}

/** The rows of a run with those of an answer; the last line of a file comes again, perhaps with more figures. */
export function joined(rows, got) {
  if (got.restarted) return got.rows;
  if (!got.rows.length) return rows;
  const kept = rows.filter(row => row.step < got.rows[0].step);
  const same = kept.length + 1 === rows.length && JSON.stringify([rows.at(-1)]) === JSON.stringify(got.rows);
  return same ? rows : [...kept, ...got.rows];
}

/** The rows of the chosen runs by name, and the names of all metrics as charts have them; read on every few seconds while the page is seen. */
function useRows(names) {
  const [rows, setRows] = useState({}), places = useRef({}), labels = useRef({}), key = names.join('\n');
  useEffect(() => {
    let leaving = false, timer;
    const read = async () => {
      for (const run of document.hidden ? [] : names) {
        try {
          let more = true;
          while (more && !leaving) {
            const got = await get('curves', {run, ...places.current[run]});
            if (leaving) return;
            places.current[run] = {after: got.next, step: got.step};
            more = got.more;
            labels.current[run] = {...labels.current[run], ...got.labels};
            setRows(all => {
              const now = joined(all[run] ?? [], got);
              return now === all[run] ? all : {...all, [run]: now};
            });
          }
        } catch { /* the run was removed: its curve stays as it is */ }
      }
      if (!leaving) timer = setTimeout(read, EVERY);
    };
    read();
    return () => { leaving = true; clearTimeout(timer); };
  }, [key]);
  return [rows, metric => [...new Set(names.map(run => labels.current[run]?.[metric]).filter(Boolean))].join(' or ')];
}

/** `[xs, ys]` of a metric, times `scale`, at most `POINTS` of them, each the mean of its part of the rows. */
export function thin(rows, axis, metric, scale = 1) {
  let last = 0;
  const points = [];
  for (const row of rows) {
    last = row[axis] ?? last;  // a line of a match has no minutes
    if (row[metric] !== undefined) points.push([last, scale * row[metric]]);
  }
  const size = Math.ceil(points.length / POINTS) || 1, xs = [], ys = [];
  for (let i = 0; i < points.length; i += size) {
    const part = points.slice(i, i + size), mean = k => part.reduce((sum, p) => sum + p[k], 0) / part.length;
    if (xs.at(-1) !== mean(0)) { xs.push(mean(0)); ys.push(mean(1)); }
  }
  return [xs, ys];
}

function Chart({metric, label, axis, rows, names}) {
  const box = useRef(null), plot = useRef(null), [under, setUnder] = useState(null);
  const scale = label.endsWith('(%)') ? 100 : 1, curves = names.map(name => thin(rows[name] ?? [], axis, metric, scale));
  const lasts = names.map(name => (rows[name] ?? []).findLast(row => row[metric] !== undefined)).map(row => row && scale * row[metric]);
  const shape = names.map((name, i) => (curves[i][0].length ? name : '')).join('\n') + axis;
  useEffect(() => {
    let gone = false;
    loadPlot().then(uPlot => {
      if (gone || !box.current) return;
      const ink = getComputedStyle(box.current).color, line = getComputedStyle(box.current).borderTopColor;
      const side = {stroke: ink, grid: {stroke: line, width: 1}, ticks: {stroke: line}};
      const series = names.map((name, i) => ({label: name, stroke: COLOURS[i % COLOURS.length], dash: DASHES[i % DASHES.length], width: 2, spanGaps: true}));
      plot.current?.destroy();
      plot.current = new uPlot({width: box.current.clientWidth, height: 190, scales: {x: {time: false}},
        series: [{label: axis}, ...series], axes: [{...side, label: AXES[axis], labelSize: 20}, {...side, size: 60}], legend: {show: false},
        hooks: {setCursor: [u => setUnder(u.cursor.idx ?? null)]}}, [[]], box.current);
      fill(uPlot);
    });
    const fit = new ResizeObserver(() => plot.current?.setSize({width: box.current.clientWidth, height: 190}));
    fit.observe(box.current);
    return () => { gone = true; fit.disconnect(); plot.current?.destroy(); plot.current = null; };
  }, [shape]);
  const fill = uPlot => plot.current?.setData(curves.length > 1
    ? uPlot.join(curves.map(curve => curve[0].length ? curve : [[0], [null]])) : curves[0] ?? [[]]);
  useEffect(() => { if (plot.current) fill(globalThis.uPlot); });
  const digits = value => Math.abs(value) < 1000 ? {maximumSignificantDigits: 4} : {maximumFractionDigits: 0};
  const figure = value => value === undefined ? 'no figure' : value.toLocaleString('en', digits(value));
  const data = plot.current?.data, x = under === null ? undefined : data?.[0]?.[under];
  const now = i => figure(x === undefined ? lasts[i] : data[i + 1]?.[under] ?? undefined);  // under the pointer, else the last
  return html`<figure><figcaption>${label}${x !== undefined && html`<span class="under">, ${figure(x)} ${AXES[axis]}</span>`}</figcaption>
    <div class="plot" ref=${box} role="img" aria-label="${label} over ${AXES[axis]}: ${names.map((n, i) => `${n} ${figure(lasts[i])}`).join(', ')}"></div>
    <ul class="legend">${names.map((name, i) => html`<li key=${name}><svg viewBox="0 0 28 8" aria-hidden="true"><line x1="0" x2="28" y1="4" y2="4"
      stroke=${COLOURS[i % COLOURS.length]} stroke-width="3" stroke-dasharray=${DASHES[i % DASHES.length].join(' ')}/></svg> ${name}: ${now(i)}</li>`)}</ul></figure>`;
}

function ago(time) {
  const seconds = Math.max(0, Date.now() / 1000 - time);
  const [size, unit] = seconds < 90 ? [1, 's'] : seconds < 5400 ? [60, 'min'] : seconds < 129600 ? [3600, 'h'] : [86400, 'days'];
  return `${Math.round(seconds / size)} ${unit} ago`;
}

export function Runs({state, change, start}) {
  const [runs, setRuns] = useState(null), [error, setError] = useState('');
  const [axis, setAxis] = useState('minutes'), [extra, setExtra] = useState([]), [seen, setSeen] = useState('');
  useEffect(() => {
    const read = () => document.hidden || get('runs').then(got => { setRuns(got.runs); setError(''); }).catch(e => setError(e.message));
    read();
    const timer = setInterval(read, EVERY);
    return () => clearInterval(timer);
  }, []);
  const known = (runs ?? []).map(run => run.name), watched = (runs ?? []).find(run => run.name === seen);
  const wanted = state.run ? state.run.split('/') : known.slice(0, 1);
  const names = wanted.filter(name => known.includes(name)), [rows, labelOf] = useRows(names);
  if (error) return html`<p role="alert">${error}</p>`;
  if (!start.folder) return html`<p>There is no folder of runs: start the page as <code>alphazero web FOLDER</code>.</p>`;
  if (!runs) return html`<p>loading …</p>`;
  if (!runs.length) return html`<p>There is no run in this folder yet. <code>alphazero train connect_four_quick</code> starts one; it appears here.</p>`;
  const metrics = [...new Set(names.flatMap(name => (rows[name] ?? []).slice(-50).concat((rows[name] ?? []).slice(0, 50)).flatMap(Object.keys)))]
    .filter(name => !HIDDEN.has(name)).sort();
  const charts = [...USUAL.filter(name => metrics.includes(name)), ...extra.filter(name => metrics.includes(name))];
  const choose = (name, on) => change({run: (on ? [...names, name] : names.filter(n => n !== name)).join('/')});
  const use = (run, step, seat) => change({...NEW_GAME, view: 'board', game: run.game, seat,
    player: `${run.name}, step ${step}`, analyst: `${run.name}, step ${step}`}, true);
  return html`<section class="runs" aria-label="runs">
    <div class="scroll" tabindex="0" role="group" aria-label="list of runs"><table><thead><tr><th scope="col">run</th><th scope="col">game</th>
      <th scope="col">written</th><th scope="col">checkpoint</th><th scope="col">self-play</th></tr></thead>
      <tbody>${runs.map(run => html`<tr key=${run.name}><th scope="row"><label><input type="checkbox" checked=${names.includes(run.name)}
        onchange=${e => choose(run.name, e.target.checked)}/> ${run.name}</label></th><td>${run.game ?? ''}</td><td>${ago(run.time)}</td>
        <td><${Checkpoints} run=${run} use=${use}/></td>
        <td>${run.game && html`<button aria-expanded=${run === watched} onclick=${() => setSeen(run === watched ? '' : run.name)} aria-label="games of ${run.name}">Games</button>`}</td></tr>`)}</tbody></table></div>
    <div class="row"><label>over <select onchange=${e => setAxis(e.target.value)}>${Object.entries(AXES).map(([a, text]) => html`<option key=${a} value=${a} selected=${a === axis}>${text}</option>`)}</select></label>
      <label>one more chart <select onchange=${e => { setExtra([...extra, e.target.value]); e.target.value = ''; }}><option value="">choose</option>
        ${metrics.filter(m => !charts.includes(m)).map(m => html`<option key=${m} value=${m}>${labelOf(m)}</option>`)}</select></label></div>
    <div class="charts">${charts.map(metric => html`<${Chart} key=${metric} metric=${metric} label=${labelOf(metric)} axis=${axis} rows=${rows} names=${names}/>`)}</div>
    ${!charts.length && html`<p>${names.length ? 'no figures yet: a run first fills its replay with games of self-play, which takes some minutes …' : 'Choose a run.'}</p>`}
    ${watched && html`<${Replays} key=${watched.name} run=${watched} change=${change}/>`}
    <${Matches}/></section>`;
}

function Checkpoints({run, use}) {
  const [step, setStep] = useState('');
  if (!run.game || !run.steps.length) return 'none';
  const chosen = run.steps.includes(Number(step)) ? Number(step) : run.steps.at(-1);
  return html`<span class="row"><select aria-label="checkpoint of ${run.name}" value=${chosen} onchange=${e => setStep(e.target.value)}>
    ${[...run.steps].reverse().map(s => html`<option key=${s} value=${s} selected=${s === chosen}>step ${s}</option>`)}</select>
    <button onclick=${() => use(run, chosen, 'first')} aria-label="play against ${run.name}">Play</button>
    <button onclick=${() => use(run, chosen, 'both')} aria-label="analyse with ${run.name}">Analyse</button></span>`;
}
