/** The quarantine of one pipeline: the newest items with their reasons, and what may be done about them. */
import { get, post } from './api.js';
import { act, dialog, toast } from './dialogs.js';
import { attribute, h, keyed, text } from './dom.js';
import { ago, exact, moment, shortly, tableOf } from './format.js';

const FIRST = 12;
const OLDER = 48;
/** As many as the service gives at once. */
const PAGE_MAX = 500;
/** How long a person may pause in typing a key. */
const TYPING_MS = 300;
/** The list is asked for again at most this often by itself. */
const REFRESH_MS = 2_000;
/** Rules shown above the list; the others can be chosen by name. */
const RULES_SHOWN = 8;
/** And of a row, of its reasons. */
const REASONS_SHOWN = 4;
const STATUS = {
  held: 'Held',
  waiting: 'Waiting for its key',
  staged: 'Waiting for its window',
  released: 'On its way back',
  applied: 'Released',
  superseded: 'Superseded',
  discarded: 'Discarded',
};
/** A row that waits for the one that it names is released by itself. */
const stateText = ({ status, waitsUntilMs }, nowMs) =>
  waitsUntilMs === null ? (STATUS[status] ?? status) : `Waits until ${shortly(waitsUntilMs, nowMs)}`;
const stateTitle = ({ by, why, waitsUntilMs }) => {
  if (waitsUntilMs !== null) return `The row that it names may come until ${moment(waitsUntilMs)}, and releases it by itself`;
  return by === null ? null : `by ${by}${why === null ? '' : `: ${why}`}`;
};
const OUTCOMES = {
  'would-pass': ['good', 'would pass'],
  'still-fails': ['bad', 'still fails'],
  superseded: ['quiet', 'superseded'],
  settled: ['quiet', 'not open any more'],
  unknown: ['quiet', 'unknown'],
};
const OPS = { read: 'snapshot', insert: 'insert', update: 'update', delete: 'delete', truncate: 'truncate' };

/** `now()` is the service's clock, so that ages are right where the two clocks differ. */
export function quarantineView(pipeline, now) {
  const chosen = new Set();
  /** Whether every open row that fits is meant, beyond those shown. */
  let everything = false;
  let items = [];
  let next = null;
  let wanted = FIRST;
  let counts = new Map();
  /** Open rows by the rules that hold them, most first. */
  let held = [];
  /** Rules that held something since the service began. */
  let holding = [];
  let loading = null;
  let again = false;

  const dataset = h('select', { 'aria-label': 'Dataset', onchange: () => restart() }, h('option', { value: '' }, 'All datasets'));
  const rule = h('select', { 'aria-label': 'Rule', onchange: () => restart() }, h('option', { value: '' }, 'All rules'));
  let typing = null;
  const key = h('input', {
    type: 'search',
    'aria-label': 'Key',
    placeholder: 'Key',
    oninput: () => {
      clearTimeout(typing);
      typing = setTimeout(restart, TYPING_MS);
    },
  });
  const status = h(
    'select',
    { 'aria-label': 'Status', onchange: () => restart() },
    h('option', { value: 'open' }, 'Open'),
    ...Object.entries(STATUS).map(([value, name]) => h('option', { value }, name)),
  );
  const release = h(
    'button',
    { type: 'button', class: 'primary', disabled: true, onclick: () => void act(release, () => releaseItems(choice())).then(choose) },
    'Release…',
  );
  const discard = h(
    'button',
    { type: 'button', disabled: true, onclick: () => void act(discard, () => discardItems(choice())).then(choose) },
    'Discard…',
  );
  const beyondWords = h('span');
  const beyond = h('button', { type: 'button', class: 'small', onclick: () => chooseBeyond() });
  const beyondStrip = h('p', { class: 'beyond', hidden: true }, beyondWords, ' ', beyond);
  const all = h('input', { type: 'checkbox', 'aria-label': 'Select all rows shown', onchange: () => selectAll(all.checked) });
  const body = h('tbody');
  const rows = keyed(body, (item) => row(item));
  const table = h(
    'table',
    {},
    h('caption', { class: 'hidden' }, `Quarantine of ${pipeline}, newest first`),
    h(
      'thead',
      {},
      h(
        'tr',
        {},
        h('th', { scope: 'col' }, h('label', { class: 'pick-all' }, all, h('span', {}, 'All shown'))),
        ...['Held', 'Row', 'Change', 'Reasons', 'Status'].map((name) => h('th', { scope: 'col' }, name)),
        h('th', { scope: 'col' }, h('span', { class: 'hidden' }, 'Actions')),
      ),
    ),
    body,
  );
  const empty = h('div', { class: 'empty', hidden: true });
  const more = h(
    'button',
    { type: 'button', class: 'more', hidden: true, onclick: () => act(more, () => ((wanted += OLDER), load())) },
    'Show older',
  );
  const total = h('span', { class: 'badge' });
  const byRule = h('ul', { class: 'by-rule', 'aria-label': 'Held rows by rule', hidden: true });
  const rules = keyed(byRule, (group) => ruleChip(group));
  const moreRules = h('p', { class: 'by-rule-more quiet', hidden: true });
  const root = h(
    'section',
    { class: 'panel quarantine', 'aria-label': `Quarantine of ${pipeline}` },
    h(
      'div',
      { class: 'panel-head' },
      h('h3', {}, 'Quarantine ', total),
      h('div', { class: 'tools' }, dataset, rule, status, key, release, discard),
    ),
    byRule,
    moreRules,
    beyondStrip,
    h('div', { class: 'scroll', tabindex: 0, role: 'region', 'aria-label': 'Quarantined rows' }, table),
    empty,
    more,
  );

  /** Rows must not move under a hand: while someone points at or has chosen some, newer ones wait behind a button. */
  const inUse = () => chosen.size > 0 || body.matches(':hover') || body.contains(document.activeElement);
  const newer = h('button', { type: 'button', class: 'small newer', hidden: true, onclick: () => void refresh() }, 'Show newer rows');
  total.after(' ', newer);
  body.addEventListener('pointerleave', () => {
    if (!newer.hidden && !inUse()) void refresh();
  });
  let refreshedAtMs = 0;
  let later = null;

  /** Something was held or settled: shows it, soon. */
  function changed() {
    if (inUse()) {
      newer.hidden = false;
      return;
    }
    later ??= setTimeout(
      () => {
        later = null;
        if (inUse()) newer.hidden = false;
        else void refresh();
      },
      Math.max(0, refreshedAtMs + REFRESH_MS - Date.now()),
    );
  }

  function restart() {
    clearTimeout(typing);
    wanted = FIRST;
    chosen.clear();
    everything = false;
    void refresh();
  }

  /** Asks for what is shown again; calls while one is under way are answered by one more after it. */
  async function refresh() {
    if (loading !== null) {
      again = true;
      return loading;
    }
    newer.hidden = true;
    refreshedAtMs = Date.now();
    loading = load()
      .catch(() =>
        showEmpty(
          'The quarantine cannot be read now',
          'It is kept in the target database, which may be down. This list comes back by itself.',
        ),
      )
      .finally(() => {
        loading = null;
        if (!again) return;
        again = false;
        void refresh();
      });
    return loading;
  }

  async function load() {
    // Told beside the list, and no reason to have none.
    const asked = get(`api/quarantine/rules?${new URLSearchParams({ pipeline })}`).catch(() => ({ rules: [] }));
    const found = [];
    let after = null;
    while (found.length < wanted) {
      const query = new URLSearchParams({ pipeline, limit: String(Math.min(PAGE_MAX, wanted - found.length)) });
      if (dataset.value !== '') query.set('dataset', dataset.value);
      if (rule.value !== '') query.set('rule', rule.value);
      if (key.value !== '') query.set('key', key.value);
      if (status.value === 'open') for (const one of ['held', 'waiting', 'released']) query.append('status', one);
      else query.set('status', status.value);
      if (after !== null) query.set('after', after);
      const answer = await get(`api/quarantine?${query}`);
      found.push(...answer.items);
      after = answer.next;
      if (after === null) break;
    }
    items = found;
    next = after;
    held = (await asked).rules;
    for (const id of chosen) if (!items.some((item) => item.id === id && isOpen(item))) chosen.delete(id);
    show();
  }

  function show() {
    rows(items, (item) => item.id);
    table.hidden = items.length === 0;
    if (items.length === 0) {
      const filtered = dataset.value !== '' || rule.value !== '' || key.value !== '';
      if (status.value === 'open' && filtered) showEmpty('Nothing is held', 'No row that fits waits here.');
      else if (status.value === 'open')
        showEmpty(
          'Nothing is held',
          'Every row that came in has passed. Rows that break a rule will wait here, with the reason, until you release or discard them.',
        );
      else showEmpty('Nothing here', 'No row of the quarantine fits.');
    } else empty.hidden = true;
    more.hidden = next === null;
    showRules();
    choose();
  }

  function showRules() {
    byRule.hidden = held.length === 0;
    rules(held.slice(0, RULES_SHOWN), groupId);
    moreRules.hidden = held.length <= RULES_SHOWN;
    text(moreRules, `and ${exact(held.length - RULES_SHOWN)} more rules`);
  }

  const isChosen = (group) => rule.value === group.rule && dataset.value === group.dataset;

  /** A rule with how many rows it holds: pressed, it shows these alone. */
  function ruleChip(first) {
    let group = first;
    const count = h('span', { class: 'badge hot' });
    const button = h(
      'button',
      { type: 'button', class: 'small', onclick: () => only(isChosen(group) ? { rule: '', dataset: '' } : group) },
      h('code', {}, group.rule),
      h('span', { class: 'quiet' }, tableOf(group.dataset).table),
      count,
    );
    return {
      root: h('li', {}, button),
      update(fresh) {
        group = fresh;
        text(count, exact(group.count));
        attribute(button, 'aria-pressed', String(isChosen(group)));
        attribute(button, 'title', `Held from ${moment(group.fromMs)} to ${moment(group.toMs)}`);
      },
    };
  }

  function only(group) {
    offerRules();
    rule.value = group.rule;
    dataset.value = group.dataset;
    restart();
  }

  function showEmpty(title, words) {
    empty.hidden = false;
    empty.replaceChildren(h('strong', {}, title), h('p', {}, words));
  }

  function offerRules() {
    const seen = [...items.flatMap(({ findings }) => findings), ...held].map((found) => found.rule);
    offer(rule, 'All rules', [...new Set([...holding, ...seen, rule.value])].filter((name) => name !== '').sort(), (name) => name);
  }

  function selectAll(on) {
    everything = false;
    chosen.clear();
    if (on) for (const item of items) if (isOpen(item)) chosen.add(item.id);
    rows(items, (item) => item.id);
    choose();
  }

  function choose() {
    const n = chosen.size;
    const open = items.filter(isOpen).length;
    if (n === 0 || n < open) everything = false;
    if (release.getAttribute('aria-busy') !== 'true') release.disabled = n === 0;
    if (discard.getAttribute('aria-busy') !== 'true') discard.disabled = n === 0;
    const some = everything ? ' all' : n === 0 ? '' : ` ${n}`;
    text(release, `Release${some}…`);
    text(discard, `Discard${some}…`);
    beyondStrip.hidden = n === 0 || n < open || next === null;
    const fitting = countOfFitting();
    const rest = fitting === null ? 'every open row that fits' : `all ${exact(fitting)} open rows`;
    text(
      beyondWords,
      everything
        ? `${rest.charAt(0).toUpperCase()}${rest.slice(1)} ${fitting === null ? 'is' : 'are'} chosen.`
        : `The ${n} rows shown are chosen.`,
    );
    text(beyond, everything ? `Only the ${n} shown` : `Choose ${rest}`);
    all.checked = n > 0 && n === open;
    all.indeterminate = n > 0 && n < open;
    all.disabled = open === 0;
  }

  function chooseBeyond() {
    everything = !everything;
    choose();
  }

  /** How many open rows fit, where the counts tell. */
  function countOfFitting() {
    if (rule.value !== '' || key.value !== '' || status.value === 'released') return null;
    const statuses = status.value === 'open' ? ['held', 'waiting'] : [status.value];
    const sum = (of) => statuses.reduce((total, one) => total + (of[one] ?? 0), 0);
    return [...counts].filter(([name]) => dataset.value === '' || name === dataset.value).reduce((total, [, of]) => total + sum(of), 0);
  }

  /** What is chosen, as the service takes it. */
  function choice() {
    if (!everything) return { ids: [...chosen] };
    return {
      filter: {
        pipeline,
        ...(dataset.value === '' ? {} : { dataset: dataset.value }),
        ...(rule.value === '' ? {} : { rule: rule.value }),
        ...(key.value === '' ? {} : { key: key.value }),
        ...(status.value === 'open' ? {} : { status: [status.value] }),
      },
    };
  }

  function row(first) {
    let item = first;
    const { prefix, table: name } = tableOf(item.dataset);
    const box = h('input', {
      type: 'checkbox',
      'aria-label': `Select ${name} ${item.key}`,
      onchange: () => {
        if (box.checked) chosen.add(item.id);
        else chosen.delete(item.id);
        choose();
      },
    });
    const age = h('time', { title: moment(item.heldAtMs), datetime: new Date(item.heldAtMs).toISOString() });
    const state = h('span', { class: 'state' });
    const one = h('button', { type: 'button', class: 'small', onclick: () => act(one, () => releaseItems({ ids: [item.id] })) }, 'Release');
    const reasons = h('td', { class: 'reasons' });
    const element = h(
      'tr',
      {},
      h('td', { class: 'pick' }, box),
      h('td', { class: 'when' }, age),
      h(
        'td',
        { class: 'what' },
        h(
          'button',
          { type: 'button', class: 'link', 'aria-haspopup': 'dialog', onclick: () => showItem(item) },
          h('span', { class: 'quiet' }, prefix.split('.').slice(1).join('.')),
          name,
          h('span', { class: 'key' }, item.key === '' ? 'all rows' : item.key),
        ),
      ),
      h('td', { class: 'op' }, OPS[item.op] ?? item.op),
      reasons,
      h('td', {}, state),
      h('td', { class: 'act' }, one),
    );
    return {
      root: element,
      update(fresh) {
        item = fresh;
        box.checked = chosen.has(item.id);
        box.disabled = !isOpen(item);
        one.hidden = item.status !== 'held';
        text(age, ago(item.heldAtMs, now()));
        text(state, stateText(item, now()));
        attribute(state, 'class', `state ${item.waitsUntilMs === null ? item.status : 'waiting'}`);
        attribute(state, 'title', stateTitle(item));
        const words = item.findings.map((finding) => `${finding.rule}\n${finding.message}`).join('\n');
        if (reasons.dataset.words === words) return;
        reasons.dataset.words = words;
        reasons.replaceChildren(...firstReasons(item.findings));
      },
    };
  }

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
    const byId = new Map(items.map((item) => [item.id, item]));
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
    chosen.clear();
    toast('good', released.length === 1 ? 'The row is on its way back.' : `${exact(released.length)} rows are on their way back.`);
    await refresh();
  }

  async function discardItems(chosen_) {
    const n = chosen_.ids?.length ?? countOfFitting();
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
    chosen.clear();
    toast('good', discarded.length === 1 ? 'The row is discarded.' : `${exact(discarded.length)} rows are discarded.`);
    await refresh();
  }

  return {
    root,
    refresh,
    changed,
    update(status_) {
      counts = new Map(status_.datasets.map((one) => [one.dataset, one.quarantine]));
      const names = [...counts.keys()];
      offer(dataset, 'All datasets', names, (name) => tableOf(name).table);
      holding = status_.datasets.flatMap((one) => one.rules.filter(({ verdict }) => verdict === 'quarantine').map((found) => found.rule));
      offerRules();
      const open = status_.datasets.reduce((sum, one) => sum + (one.quarantine.held ?? 0) + (one.quarantine.waiting ?? 0), 0);
      text(total, exact(open));
      attribute(total, 'class', open > 0 ? 'badge hot' : 'badge');
      for (const time of body.querySelectorAll('time')) text(time, ago(Date.parse(time.dateTime), now()));
    },
  };
}

/** Brings a list of choices up to date and leaves what is chosen. */
function offer(select, every, values, nameOf) {
  const shown = [...select.options].slice(1).map((option) => option.value);
  if (values.join('\n') === shown.join('\n')) return;
  const { value } = select;
  select.replaceChildren(h('option', { value: '' }, every), ...values.map((one) => h('option', { value: one }, nameOf(one))));
  select.value = values.includes(value) ? value : '';
}

const groupId = ({ dataset, rule }) => `${dataset} ${rule}`;
const isOpen = (item) => item.status === 'held' || item.status === 'waiting';

/** Those that hold the row first: one may break many rules, and the row's own dialog has all of them. */
function firstReasons(findings) {
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
