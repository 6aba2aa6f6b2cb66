/** What each rule over windows of a table said lately, window by window: a bar as high as what was observed, in the colour of the verdict. */
import { ApiError, get } from './api.js';
import { h, s } from './dom.js';
import { count } from './format.js';
import { isOfClock, nameOf, observedText, VERDICTS, whereText, windowLine, worstFirst } from './windows.js';

/** Windows of a rule and group that are shown. */
const LAST = 30;
/** Asked for beyond those, as a window has a verdict for each of its revisions. */
const ASKED = 2 * LAST;
/** As many as the service gives at once. */
const ASKED_MAX = 1000;
/** Rules and groups that are shown. */
const SHOWN_MAX = 50;
const STEP = 8;
const HEIGHT = 18;
/** No window is invisible, whatever was observed. */
const LEAST = 4;

/** `newest`: the newest window of each rule and group of one dataset of one pipeline. Null where there is none. */
export async function windowHistory(newest, nowMs) {
  if (newest.length === 0) return null;
  try {
    return h('div', { class: 'windows' }, h('h3', {}, 'Over windows'), ...historyOf(newest, await saidLately(newest), nowMs));
  } catch (error) {
    // They are kept at the target: what was counted here is shown all the same where it cannot be asked.
    if (!(error instanceof ApiError)) throw error;
    return h('p', { class: 'quiet' }, `What rules over windows said cannot be read: ${error.message}`);
  }
}

async function saidLately(newest) {
  const groups = Map.groupBy(newest, ({ rule }) => rule);
  return (await Promise.all([...groups.values()].map(saidBy))).flat();
}

/** By one rule, of all its groups. */
async function saidBy(newest) {
  const [{ pipeline, dataset, rule }] = newest;
  const limit = Math.min(ASKED_MAX, ASKED * newest.length);
  const { windows } = await get(`api/windows?${new URLSearchParams({ pipeline, dataset, rule, limit })}`);
  return windows;
}

function historyOf(newest, said, nowMs) {
  const byRule = Map.groupBy(said, keyOf);
  const lines = worstFirst(newest)
    .slice(0, SHOWN_MAX)
    .map((one) => windowLine(one, nowMs, ...historyParts(one, lastWindows(byRule.get(keyOf(one)) ?? [one]), nowMs)));
  const hidden = newest.length - SHOWN_MAX;
  return [
    h('ol', { 'aria-label': 'The last windows of each rule' }, ...lines),
    hidden > 0 ? h('p', { class: 'quiet' }, `and ${count(hidden)} more`) : null,
  ];
}

const keyOf = ({ rule, group }) => JSON.stringify([rule, group]);

/** Oldest first, each in its newest revision; `windows` are newest first. Of how old the newest row is, each word is one of its own. */
function lastWindows(windows) {
  const seen = new Set();
  return windows
    .filter(({ type, startMs, endMs }, i) => {
      const window = isOfClock(type) ? i : `${startMs} ${endMs}`;
      return !seen.has(window) && seen.add(window);
    })
    .toSorted((a, b) => timeOf(a) - timeOf(b))
    .slice(-LAST);
}

/** That of the first copy comes before all others. */
const timeOf = ({ type, endMs, atMs }) => (isOfClock(type) ? atMs : (endMs ?? 0));

function historyParts(newest, windows, nowMs) {
  const failed = windows.filter(({ verdict }) => verdict === 'fail').length;
  const words = `${count(failed)} of the last ${count(windows.length)} windows failed`;
  return [strip(windows, `${nameOf(newest)}: ${words}`, nowMs), h('p', { class: 'quiet' }, words)];
}

/** From zero, on a scale of its own; as high as it goes where what was observed is no number. */
function strip(windows, words, nowMs) {
  const numbers = windows.map(({ observed }) => observed).filter((observed) => typeof observed === 'number');
  const [least, most] = [Math.min(0, ...numbers), Math.max(0, ...numbers)];
  const heightOf = ({ observed }) =>
    typeof observed === 'number' && most > least ? Math.max(LEAST, ((observed - least) / (most - least)) * HEIGHT) : HEIGHT;
  const bars = windows.map((window, i) => {
    const height = heightOf(window);
    const [kind, said] = VERDICTS[window.verdict];
    const observed = observedText(window);
    const title = [whereText(window, nowMs), observed === '' ? said : `${said}, ${observed} observed`, window.reason ?? '']
      .filter((part) => part !== '')
      .join(' · ');
    const bar = { class: kind, x: i * STEP, y: (HEIGHT - height).toFixed(1), width: STEP - 1, height: height.toFixed(1) };
    return s('rect', bar, s('title', {}, title));
  });
  const size = { viewBox: `0 0 ${LAST * STEP} ${HEIGHT}`, preserveAspectRatio: 'none' };
  return s('svg', { class: 'strip', role: 'img', 'aria-label': words, ...size }, ...bars);
}
