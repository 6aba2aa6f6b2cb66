/** The quarantine of one pipeline: the newest items with their reasons, and what may be done about them. */
import { get } from './api.js';
import { act } from './dialogs.js';
import { attribute, h, keyed, text } from './dom.js';
import { ago, exact, moment, shortly, tableOf } from './format.js';
import { firstReasons, isOpen, OPS, quarantineDialogs } from './quarantine-dialogs.js';

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

  const { showItem, releaseItems, discardItems } = quarantineDialogs({
    shown: () => items,
    fitting: () => countOfFitting(),
    settled: () => {
      chosen.clear();
      return refresh();
    },
  });

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
