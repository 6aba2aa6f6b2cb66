/** The rules of a table: what they found, minute by minute over the last hour, and what those over windows said lately. */
import { get } from './api.js';
import { act, dialog } from './dialogs.js';
import { attribute, h, s, text } from './dom.js';
import { count } from './format.js';
import { windowHistory } from './window-history.js';

const SHOWN = 4;
const VERDICTS = { quarantine: 'held', drop: 'dropped', warn: 'warned', tag: 'tagged' };
const WIDTH = 240;
const HEIGHT = 18;

/** Those that found most, each with its last hour. `now()`: the service's clock. */
export function rulesView(pipeline, table, dataset, now) {
  let windows = [];
  const list = h('ol', { class: 'rules', 'aria-label': `Rules of ${table} that found something` });
  const all = h(
    'button',
    { type: 'button', class: 'quiet all-rules', hidden: true, onclick: () => act(all, () => showAll(pipeline, dataset, windows, now())) },
    'All rules…',
  );
  return {
    roots: [list, all],
    /** `newest`: the newest window of each rule and group. */
    update(found, judged, newest) {
      windows = newest;
      const shown = found.slice(0, SHOWN);
      list.hidden = shown.length === 0;
      all.hidden = judged === false;
      while (list.children.length > shown.length) list.lastElementChild.remove();
      while (list.children.length < shown.length) list.append(h('li', {}, h('code'), h('span', { class: 'verdict' }), h('b'), bars()));
      for (const [i, rule] of shown.entries()) {
        const [name, verdict, n, hour] = list.children[i].children;
        const words = nameOf(rule);
        text(name, words);
        attribute(name, 'title', words);
        text(verdict, VERDICTS[rule.verdict] ?? rule.verdict);
        text(n, count(rule.count));
        showBars(hour, rule.recent ?? [], rule.verdict, words);
      }
    },
  };
}

const nameOf = ({ rule, column }) => (column === null || rule.includes(column) ? rule : `${column}: ${rule}`);
const sum = (values) => values.reduce((total, n) => total + n, 0);

const bars = () =>
  s(
    'svg',
    { class: 'hour', viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: 'none', role: 'img' },
    s('rect', { width: WIDTH, height: 1, y: HEIGHT - 1 }),
    s('path'),
  );

/** One bar a minute, on a scale of its own; a minute in which it found anything is never invisible. */
function showBars(svg, values, verdict, words) {
  const most = Math.max(1, ...values);
  const width = WIDTH / Math.max(1, values.length);
  const path = values
    .map((n, i) => {
      if (n === 0) return '';
      const height = Math.max(3, (n / most) * HEIGHT);
      return `M${(i * width).toFixed(1)} ${HEIGHT}v${(-height).toFixed(1)}h${(width - 1).toFixed(1)}v${height.toFixed(1)}z`;
    })
    .join('');
  attribute(svg, 'class', `hour ${verdict ?? ''}`);
  attribute(svg, 'aria-label', `${words}: ${count(sum(values))} in the last hour, at most ${count(Math.max(0, ...values))} a minute`);
  attribute(svg.lastElementChild, 'd', path);
}

async function showAll(pipeline, dataset, windows, nowMs) {
  const [{ datasets }, history] = await Promise.all([
    get(`api/rules?${new URLSearchParams({ pipeline, dataset })}`),
    windowHistory(windows, nowMs),
  ]);
  await dialog(`Rules of ${dataset}`, (close) => [
    h('p', { class: 'quiet' }, 'What they found in the last hour, minute by minute.'),
    h(
      'table',
      { class: 'hour-table' },
      h('thead', {}, h('tr', {}, ...['Rule', 'Does', 'Found', 'Passed', 'Last hour'].map((name) => h('th', {}, name)))),
      h('tbody', {}, ...datasets.flatMap(({ rules }) => rules.map(ruleRow))),
    ),
    history,
    h('div', { class: 'actions' }, h('button', { type: 'button', class: 'primary', onclick: () => close(null) }, 'Close')),
  ]);
}

function ruleRow(rule) {
  const hour = bars();
  showBars(hour, rule.failed, rule.verdict, nameOf(rule));
  return h(
    'tr',
    {},
    h('td', {}, h('code', {}, nameOf(rule))),
    h('td', {}, VERDICTS[rule.verdict] ?? '–'),
    h('td', {}, count(sum(rule.failed))),
    h('td', {}, count(sum(rule.passed))),
    h('td', {}, hour),
  );
}
