/** What is shown of one row in quarantine, and what is asked before rows are released or discarded. */
import { get, post } from './api.js';
import { dialog, toast } from './dialogs.js';
import { h } from './dom.js';
import { exact, moment, tableOf } from './format.js';

/** Of a row, in the list. */
const REASONS_SHOWN = 4;
const OUTCOMES = {
  'would-pass': ['good', 'would pass'],
  'still-fails': ['bad', 'still fails'],
  superseded: ['quiet', 'superseded'],
  settled: ['quiet', 'not open any more'],
  unknown: ['quiet', 'unknown'],
};
export const OPS = { read: 'snapshot', insert: 'insert', update: 'update', delete: 'delete', truncate: 'truncate' };

export const isOpen = (item) => item.status === 'held' || item.status === 'waiting';

/** `shown()`: the items of the list; `fitting()`: how many open rows fit it, null where that is not known. `settled()` is called once some are on their way, or discarded. */
export function quarantineDialogs({ shown, fitting, settled }) {
  async function showItem(item) {
    let detail = null;
    try {
      detail = await get(`api/quarantine/${encodeURIComponent(item.id)}`);
    } catch {
      // The list knows enough to show something.
    }
    const next_ = await dialog(`${tableOf(item.dataset).table} ${item.key}`, (close) =>
      [
        h(
          'p',
          { class: 'quiet' },
          `${item.dataset} · ${OPS[item.op] ?? item.op} · committed ${moment(item.committedAtMs)} · held ${moment(item.heldAtMs)}${
            item.waitsUntilMs === null ? '' : ` · waits until ${moment(item.waitsUntilMs)}`
          }`,
        ),
        h(
          'ul',
          { class: 'reasons' },
          item.findings.map((finding) => h('li', {}, reason(finding))),
        ),
        detail === null ? null : cells(detail.columns),
        h('p', { class: 'id quiet' }, 'On the command line: ', h('code', {}, item.id)),
        h(
          'div',
          { class: 'actions' },
          h('button', { type: 'button', autofocus: true, onclick: () => close(null) }, 'Close'),
          isOpen(item) ? h('button', { type: 'button', onclick: () => close(discardItems) }, 'Discard…') : null,
          item.status === 'held' ? h('button', { type: 'button', class: 'primary', onclick: () => close(releaseItems) }, 'Release…') : null,
        ),
      ].filter((part) => part !== null),
    );
    await next_?.({ ids: [item.id] });
  }

  async function releaseItems(chosen_) {
    const { results, notAsked } = await post('api/quarantine/release', { ...chosen_, dryRun: true });
    const rows = results.length;
    const counts = new Map();
    for (const { outcome } of results) counts.set(outcome, (counts.get(outcome) ?? 0) + 1);
    const byId = new Map(shown().map((item) => [item.id, item]));
    const passing = counts.get('would-pass') ?? 0;
    const sure = await dialog(rows === 1 ? 'Release this row?' : `Release ${exact(rows)} rows?`, (close) => [
      h(
        'p',
        {},
        passing === rows
          ? 'By the rules and models of now, nothing stands in the way.'
          : 'What would happen by the rules and models of now:',
      ),
      h(
        'p',
        { class: 'chips' },
        [...counts].map(([outcome, n]) =>
          h('span', { class: `chip ${OUTCOMES[outcome]?.[0] ?? 'quiet'}` }, `${exact(n)} ${OUTCOMES[outcome]?.[1] ?? outcome}`),
        ),
      ),
      h(
        'ul',
        { class: 'results' },
        results.slice(0, 50).map(({ id, outcome, findings }) => {
          const item = byId.get(id);
          const [kind, words] = OUTCOMES[outcome] ?? ['quiet', outcome];
          return h(
            'li',
            {},
            h('span', {}, item === undefined ? id : `${tableOf(item.dataset).table} ${item.key}`),
            h('span', { class: `chip ${kind}` }, words),
            findings.map(reason),
          );
        }),
        rows > 50 ? h('li', { class: 'quiet' }, `and ${exact(rows - 50)} more`) : null,
      ),
      notAsked.length === 0
        ? null
        : h(
            'p',
            { class: 'quiet' },
            `Left out here, for the target is asked when rows are written: ${notAsked.map(({ rule }) => rule).join(', ')}.`,
          ),
      h(
        'p',
        { class: 'quiet' },
        'A released row goes through the checks again. It never replaces anything newer (then it is superseded), and where it still fails it is held again.',
      ),
      h(
        'div',
        { class: 'actions' },
        h('button', { type: 'button', onclick: () => close(null) }, 'Cancel'),
        h(
          'button',
          { type: 'button', class: 'primary', autofocus: true, onclick: () => close(true) },
          passing === 0 ? 'Release anyway' : 'Release',
        ),
      ),
    ]);
    if (sure !== true) return;
    const { released } = await post('api/quarantine/release', chosen_);
    toast('good', released.length === 1 ? 'The row is on its way back.' : `${exact(released.length)} rows are on their way back.`);
    await settled();
  }

  async function discardItems(chosen_) {
    const n = chosen_.ids?.length ?? fitting();
    const what = n === 1 ? 'this row' : n === null ? 'every open row that fits' : `${exact(n)} rows`;
    const why = await dialog(`Discard ${what}?`, (close) => {
      const field = h('input', {
        type: 'text',
        id: 'why',
        required: true,
        maxlength: 500,
        autofocus: true,
        placeholder: 'test order, corrected at the source, …',
      });
      return [
        h('p', {}, 'A discarded change never reaches the target. Rows that wait for it go on.'),
        h('label', { for: 'why' }, 'Why', field),
        h(
          'div',
          { class: 'actions' },
          h('button', { type: 'button', onclick: () => close(null) }, 'Cancel'),
          h(
            'button',
            { class: 'danger', onclick: (event) => (event.preventDefault(), field.reportValidity() && close(field.value)) },
            'Discard',
          ),
        ),
      ];
    });
    if (why === null) return;
    const { discarded } = await post('api/quarantine/discard', { ...chosen_, why });
    toast('good', discarded.length === 1 ? 'The row is discarded.' : `${exact(discarded.length)} rows are discarded.`);
    await settled();
  }

  return { showItem, releaseItems, discardItems };
}

/** Those that hold the row first: one may break many rules, and the row's own dialog has all of them. */
export function firstReasons(findings) {
  const holds = ({ verdict }) => (verdict === 'quarantine' ? 1 : 0);
  const sorted = [...findings].sort((a, b) => holds(b) - holds(a));
  if (sorted.length <= REASONS_SHOWN + 1) return sorted.map(reason);
  const left = h('span', { class: 'quiet' }, `and ${exact(sorted.length - REASONS_SHOWN)} more`);
  return [...sorted.slice(0, REASONS_SHOWN).map(reason), left];
}

function reason({ rule, column, message, severity }) {
  return h(
    'span',
    { class: `reason ${severity}` },
    h('code', {}, rule),
    h('span', {}, column === null || message.includes(column) ? message : `${column}: ${message}`),
  );
}

function cells(columns) {
  const some = columns.some(({ before }) => before !== null);
  const show = (value, note) => (note !== null ? h('em', {}, note) : value === null ? h('em', {}, 'null') : value);
  return h(
    'div',
    { class: 'scroll cells', tabindex: 0, role: 'region', 'aria-label': 'The row' },
    h(
      'table',
      {},
      h(
        'thead',
        {},
        h(
          'tr',
          {},
          h('th', { scope: 'col' }, 'Column'),
          some ? h('th', { scope: 'col' }, 'Before') : null,
          h('th', { scope: 'col' }, 'After'),
        ),
      ),
      h(
        'tbody',
        {},
        columns.map(({ name, type, key, before, after, note }) =>
          h(
            'tr',
            {},
            h('th', { scope: 'row', title: type }, name, key ? h('span', { class: 'badge' }, 'key') : null),
            some ? h('td', {}, show(before, null)) : null,
            h('td', { class: some && before !== after && note === null ? 'changed' : null }, show(after, note)),
          ),
        ),
      ),
    ),
  );
}
