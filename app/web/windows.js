/** What the rules over windows of a table said last: its verdict, what the window came to, and which one it was. */
import { attribute, h, text } from './dom.js';
import { count, duration, when } from './format.js';

export const VERDICTS = {
  fail: ['bad', 'failed'],
  indeterminate: ['warn', 'not known'],
  pass: ['good', 'passed'],
};
const ORDER = Object.keys(VERDICTS);
/** Those that failed come first; the others of many are on the command line. */
const SHOWN_MAX = 5;
const OBSERVED_MAX = 28;
const small = new Intl.NumberFormat('en', { maximumSignificantDigits: 6 });
const large = new Intl.NumberFormat('en', { maximumFractionDigits: 2 });

/** Checks of the clock that observe how long nothing came. */
const AGES = { freshness: 'newest row', heartbeat: 'last seen' };

export const isOfClock = (type) => type in AGES;
export const nameOf = ({ rule, group }) => (group === null ? rule : `${rule} · ${group}`);
/** Those that failed, those that are not known, those that passed. */
export const worstFirst = (windows) => windows.toSorted((a, b) => ORDER.indexOf(a.verdict) - ORDER.indexOf(b.verdict));
export const hasFailed = (windows) => windows.some(({ verdict }) => verdict === 'fail');

export function windowsView(table, now) {
  const list = h('ol', { 'aria-label': `Windows of ${table}` });
  const more = h('p', { class: 'quiet' });
  const root = h('div', { class: 'windows', hidden: true }, h('h4', {}, 'Windows'), list, more);
  return {
    root,
    update(windows) {
      root.hidden = windows.length === 0;
      const sorted = worstFirst(windows);
      const shown = sorted.slice(0, SHOWN_MAX);
      while (list.children.length > shown.length) list.lastElementChild.remove();
      while (list.children.length < shown.length) list.append(emptyLine());
      for (const [i, window] of shown.entries()) showWindow(list.children[i].children, window, now());
      const hidden = windows.length - shown.length;
      more.hidden = hidden === 0;
      text(more, hidden === 0 ? '' : `and ${count(hidden)} more, ${restText(sorted.slice(SHOWN_MAX))}`);
    },
  };
}

const emptyLine = () => h('li', {}, h('code'), h('b'), h('span'), h('p', { class: 'quiet' }));

/** A line of its own, with `more` beneath what is said of the window. */
export function windowLine(window, nowMs, ...more) {
  const line = emptyLine();
  showWindow(line.children, window, nowMs);
  line.append(...more);
  return line;
}

function showWindow([name, observed, verdict, about], window, nowMs) {
  const words = nameOf(window);
  text(name, words);
  attribute(name, 'title', words);
  text(observed, observedText(window));
  attribute(observed, 'title', typeof window.observed === 'object' && window.observed !== null ? JSON.stringify(window.observed) : null);
  const [kind, said] = VERDICTS[window.verdict];
  attribute(verdict, 'class', `chip ${kind}`);
  text(verdict, said);
  text(about, aboutText(window, nowMs));
}

export function observedText({ observed, type }) {
  if (observed === null || observed === undefined) return '';
  if (typeof observed === 'number')
    return isOfClock(type) ? duration(observed * 1000) : (Math.abs(observed) < 1000 ? small : large).format(observed);
  const words = typeof observed === 'string' ? observed : JSON.stringify(observed);
  return words.length > OBSERVED_MAX ? `${words.slice(0, OBSERVED_MAX)}…` : words;
}

export const whereText = ({ type, startMs, endMs }, nowMs) =>
  isOfClock(type) ? `${AGES[type]} ${when(startMs, nowMs)}` : startMs === null ? 'the first copy' : span(startMs, endMs, nowMs);

function aboutText(window, nowMs) {
  const { type, rows, revision, reason } = window;
  const parts = [whereText(window, nowMs), isOfClock(type) ? '' : `${count(rows)} ${rows === 1 ? 'row' : 'rows'}`];
  parts.push(revision > 1 ? `revision ${revision}` : '', reason ?? '');
  return parts.filter((part) => part !== '').join(' · ');
}

const span = (startMs, endMs, nowMs) => `${when(startMs, nowMs)} – ${when(endMs, startMs)}`;

function restText(rest) {
  return ORDER.map((verdict) => [rest.filter((one) => one.verdict === verdict).length, VERDICTS[verdict][1]])
    .filter(([n]) => n > 0)
    .map(([n, said]) => `${count(n)} ${said}`)
    .join(', ');
}
