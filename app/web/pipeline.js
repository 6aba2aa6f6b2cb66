/** One pipeline: its state, its numbers, its datasets, its quarantine and its models. */
import { post } from './api.js';
import { flowChart, histogram, sparkline } from './charts.js';
import { act, dialog, toast } from './dialogs.js';
import { attribute, h, keyed, text } from './dom.js';
import { ago, bytes, count, duration, exact, moment, percent, rate, tableOf } from './format.js';
import { quarantineView } from './quarantine.js';
import { rulesView } from './rules.js';
import { isInTrouble, sloView } from './slo.js';
import { hasFailed, windowsView } from './windows.js';

const STATES = {
  starting: ['quiet', 'Starting'],
  standby: ['quiet', 'Standing by'],
  running: ['good', 'Running'],
  'backing-off': ['warn', 'Trying again'],
  halted: ['bad', 'Halted'],
  draining: ['quiet', 'Finishing'],
  stopped: ['quiet', 'Stopped'],
};
const STEPS = [
  ['cdc', 'Capture'],
  ['quality', 'Check'],
  ['inference', 'Score'],
  ['sync', 'Sync'],
];
/** With more tables than this the page shows those that hold something, and the rest on demand. */
const CARDS_SHOWN = 9;

/** `context`: `now()` (the service's clock), `series` and `windowS()`. */
export function pipelineView(first, context) {
  const { name } = first;
  const pill = h('span', { class: 'pill' }, h('span', { class: 'dot', 'aria-hidden': 'true' }));
  const pillText = h('span');
  pill.append(pillText);
  const heading = h('h2', {}, name);
  const halt = h('button', { type: 'button', class: 'small', onclick: () => act(halt, () => confirmHalt(name)) }, 'Halt…');
  const road = h('p', { class: 'road' });
  const banner = bannerView(name, context);
  const tiles = tilesView();
  const snapshot = h('section', { class: 'panel snapshot', 'aria-label': 'First copy', hidden: true });
  const snapshotRows = keyed(snapshot, snapshotRow);
  const cards = h('div', { class: 'cards' });
  const datasets = keyed(cards, (dataset) => datasetCard(name, dataset, context));
  const more = h('button', { type: 'button', class: 'more', hidden: true, onclick: () => showAll() });
  let all = false;
  let latest = first;
  let prominent = null;
  function showAll() {
    all = !all;
    showCards(latest);
  }
  function showCards({ datasets: known, schemaChanges = [], rules: inForce = {}, windows = [], slo = [] }) {
    const every = known.map((one) => ({
      ...one,
      changes: schemaChanges.filter(({ dataset }) => dataset === one.dataset),
      windows: windows.filter(({ dataset }) => dataset === one.dataset),
      slo: slo.filter(({ dataset }) => dataset === one.dataset),
      ...rulesOf(one.dataset, inForce),
    }));
    const held = (one) => (one.quarantine.held ?? 0) + (one.quarantine.waiting ?? 0);
    // Chosen once: cards that come and go would be worse than some that hold nothing any more.
    prominent ??= new Set(
      every
        .toSorted((a, b) => Math.sign(held(b)) - Math.sign(held(a)))
        .slice(0, CARDS_SHOWN)
        .map(({ dataset }) => dataset),
    );
    const few = every.filter(
      (one) => prominent.has(one.dataset) || one.changes.length > 0 || hasFailed(one.windows) || isInTrouble(one.slo),
    );
    datasets(all ? every : few, (one) => one.dataset);
    more.hidden = every.length <= CARDS_SHOWN;
    text(more, all ? `Show ${few.length} tables` : `Show all ${every.length} tables`);
  }
  const quarantine = quarantineView(name, context.now);
  const models = modelsView();
  const lanes = lanesView(context);
  const root = h(
    'section',
    { class: 'pipeline', 'aria-label': `Pipeline ${name}` },
    h('div', { class: 'pipeline-head' }, h('div', {}, heading, road), h('div', { class: 'pipeline-state' }, halt, pill)),
    banner.root,
    tiles.root,
    snapshot,
    h('div', { class: 'tables' }, cards, more),
    quarantine.root,
    h('div', { class: 'pair' }, models.root, lanes.root),
  );
  let openItems = -1;
  void quarantine.refresh();

  return {
    root,
    quarantineChanged: () => quarantine.changed(),
    update(status) {
      latest = status;
      const [kind, words] = stateOf(status);
      halt.hidden = ['halted', 'draining', 'stopped'].includes(status.state);
      attribute(pill, 'class', `pill ${kind}`);
      text(pillText, words);
      text(road, `${status.source} → ${status.target}${status.targetSchema ? `, schema ${status.targetSchema}` : ''}`);
      banner.update(status);
      tiles.update(status, context);
      const copying = status.snapshot.filter((one) => one.state !== 'done');
      snapshot.hidden = copying.length === 0;
      snapshotRows(copying.length === 0 ? [] : status.snapshot, (one) => one.dataset);
      showCards(status);
      quarantine.update(status);
      models.update(status);
      lanes.update(status);
      // The counts tell of a change even where the stream's own hint is missed.
      const items = status.datasets.reduce(
        (sum, { quarantine: of }) => sum + Object.values(of).reduce((a, b) => a + b, 0) * 7 + (of.held ?? 0),
        0,
      );
      if (items !== openItems && openItems >= 0) quarantine.changed();
      openItems = items;
    },
  };
}

/** Which revision judges a dataset, and what a draft beside it would change. */
function rulesOf(of, { datasets = [], drafts = [], refused = null, changedOnDisk = false }) {
  const current = datasets.find(({ dataset }) => dataset === of);
  return { current, draft: drafts.find(({ dataset }) => dataset === of), refused: refused?.problems[0], changedOnDisk };
}

const isCopying = ({ snapshot }) => snapshot.some(({ state }) => state === 'waiting' || state === 'copying');

/** Running is not all: it may still copy, be far behind, or wait for a target that does not answer. */
function stateOf(status) {
  if (status.state !== 'running' || status.ready !== false) return STATES[status.state] ?? ['quiet', status.state];
  return isCopying(status) ? ['quiet', 'Copying'] : ['warn', 'Not ready'];
}

async function confirmHalt(pipeline) {
  const why = await dialog(`Halt ${pipeline}?`, (close) => {
    const field = h('input', { type: 'text', id: 'halt-why', maxlength: 500, autofocus: true, placeholder: 'the target moves, …' });
    return [
      h('p', {}, 'It stops at its last checkpoint until someone resumes it, over restarts too. The source keeps its log meanwhile.'),
      h('label', { for: 'halt-why' }, 'Why, if you like', field),
      h(
        'div',
        { class: 'actions' },
        h('button', { type: 'button', onclick: () => close(null) }, 'Cancel'),
        h('button', { class: 'danger', onclick: (event) => (event.preventDefault(), close(field.value)) }, 'Halt'),
      ),
    ];
  });
  if (why === null) return;
  await post(`api/pipelines/${encodeURIComponent(pipeline)}/halt`, { why });
  toast('good', `${pipeline} is halted.`);
}

/** What is wrong, what to do about it, and the button that goes on. Hidden while all is well. */
function bannerView(pipeline, { now }) {
  const title = h('strong');
  const message = h('p');
  const fix = h('p', { class: 'fix' });
  const resume = h('button', { type: 'button', class: 'primary', onclick: () => act(resume, confirmResume) }, 'Resume…');
  const root = h('div', { class: 'banner', role: 'alert', hidden: true }, h('div', {}, title, message, fix), resume);

  async function confirmResume() {
    const sure = await dialog(`Resume ${pipeline}?`, (close) => [
      h(
        'p',
        {},
        'It goes on from its last checkpoint. Nothing was lost while it stood still. Should the cause still be there, it halts again.',
      ),
      h(
        'div',
        { class: 'actions' },
        h('button', { type: 'button', onclick: () => close(null) }, 'Cancel'),
        h('button', { type: 'button', class: 'primary', autofocus: true, onclick: () => close(true) }, 'Resume'),
      ),
    ]);
    if (sure !== true) return;
    await post(`api/pipelines/${encodeURIComponent(pipeline)}/resume`, {});
    toast('good', `${pipeline} goes on.`);
  }

  return {
    root,
    update(status) {
      const { state, error, retryAtMs, attempt } = status;
      const waits = state === 'running' && status.ready === false && !isCopying(status) && status.notReady.length > 0;
      const shown = state === 'halted' || (state === 'backing-off' && error !== null) || waits;
      if (root.hidden === shown) root.hidden = !shown;
      if (!shown) return;
      resume.hidden = state !== 'halted';
      if (waits) {
        attribute(root, 'class', 'banner warn');
        text(title, 'Not ready');
        text(message, sentence(status.notReady.join('; ')));
        const asks = (status.schemaChanges ?? []).some((change) => change.status === 'held');
        text(fix, asks ? 'All else goes on, and nothing is lost.' : 'It goes on by itself as soon as this has passed; nothing is lost.');
        return;
      }
      const inS = retryAtMs === null ? null : Math.max(0, Math.ceil((retryAtMs - now()) / 1000));
      attribute(root, 'class', `banner ${state === 'halted' ? 'bad' : 'warn'}`);
      const next = inS === null || inS === 0 ? 'now' : `in ${inS} s`;
      text(
        title,
        state === 'halted'
          ? `Halted: ${error?.code ?? 'by an operator'}`
          : `${error.code}, trying again ${next}${attempt > 1 ? ` (attempt ${attempt + 1})` : ''}`,
      );
      text(message, error?.message ?? '');
      text(fix, error?.fix ?? '');
    },
  };
}

/** Names of datasets stay as they are. */
const sentence = (words) => (/^\S*\./.test(words) ? `${words}.` : `${words.charAt(0).toUpperCase()}${words.slice(1)}.`);

function tilesView() {
  const tile = (label, spark = null) => {
    const value = h('b');
    const note = h('span', { class: 'note' });
    return { root: h('div', { class: 'tile' }, h('h3', {}, label), value, note, spark?.root ?? null), value, note, spark };
  };
  const flow = tile('Rows a second', sparkline());
  const latency = tile('Latency, median', sparkline());
  const lag = tile('Behind the source');
  const kept = tile('Log kept');
  const held = tile('In quarantine');
  const ledger = tile('Ledger');
  return {
    root: h('div', { class: 'tiles' }, flow.root, latency.root, lag.root, kept.root, held.root, ledger.root),
    update({ name, datasets, lanes, lagMs, slot }, { series }) {
      const sum = (of) => datasets.reduce((total, one) => total + of(one), 0);
      const rates = (of) => sum(({ rates: r }) => of(r));
      const all = rates((r) => r.pass + r.warn + r.drop + r.quarantine);
      text(flow.value, rate(all));
      text(flow.note, `${count(sum(({ totals }) => totals.in))} since the start`);
      const points = datasets.map(({ dataset }) => series.points(name, dataset, 120, 2));
      const length = points[0]?.length ?? 0;
      const known = (i) => points.some((one) => one[i].known);
      const merged = (of) => Array.from({ length }, (_, i) => (known(i) ? points.reduce((total, one) => of(total, one[i]), 0) : null));
      flow.spark.update(merged((total, p) => total + p.pass + p.warn + p.drop + p.quarantine));
      latency.spark.update(merged((most, p) => Math.max(most, p.p50 ?? 0)));
      const worst = (of) =>
        datasets.reduce((most, one) => (one.latencyMs[of] === null ? most : Math.max(most ?? 0, one.latencyMs[of])), null);
      text(latency.value, duration(worst('p50')));
      text(latency.note, worst('p99') === null ? 'no changes in the last minute' : `p99 ${duration(worst('p99'))}`);
      const lagBytes = lanes.reduce((total, one) => (one.lagBytes === null ? total : (total ?? 0) + one.lagBytes), null);
      const lagRecords = lanes.reduce((total, one) => (one.lagRecords === null ? total : (total ?? 0) + one.lagRecords), null);
      const behind = lagMs ?? lanes.reduce((most, one) => (one.lagMs === null ? most : Math.max(most ?? 0, one.lagMs)), null);
      text(lag.value, behind === null ? '–' : behind < 1000 ? 'caught up' : duration(behind));
      attribute(lag.value, 'class', behind !== null && behind > 30_000 ? 'hot' : null);
      text(
        lag.note,
        lagRecords !== null
          ? `${count(lagRecords)} records to read`
          : lagBytes === null
            ? behind === null
              ? 'not known yet'
              : behind < 1000
                ? 'nothing waits to be read'
                : 'since it had everything'
            : behind !== null && behind < 1000
              ? 'nothing waits to be read'
              : `${bytes(lagBytes)} of log to read`,
      );
      text(kept.value, slot === null ? '–' : slot.level === 'lost' ? 'lost' : bytes(slot.retainedBytes));
      attribute(kept.value, 'class', slot !== null && slot.level !== 'ok' ? 'hot' : null);
      attribute(kept.root, 'title', slot === null ? null : sentence(slot.message));
      text(kept.note, slot === null ? 'no slot is known' : slotNote(slot)); // Of topics there is none.
      const open = sum(({ quarantine }) => (quarantine.held ?? 0) + (quarantine.waiting ?? 0));
      const judged = sum(({ totals }) => totals.in);
      text(held.value, count(open));
      attribute(held.value, 'class', open > 0 ? 'held' : null);
      const share = judged === 0 ? 0 : sum(({ totals }) => totals.held) / judged;
      text(held.note, `${percent(share)} of the rows since the start`);
      const difference = lanes.reduce((total, one) => total + one.ledger.difference, 0);
      const events = lanes.reduce((total, one) => total + one.ledger.events, 0);
      text(ledger.value, difference === 0 ? 'closed' : `${exact(difference)} missing`);
      attribute(ledger.value, 'class', difference === 0 ? 'good' : 'hot');
      text(ledger.note, difference === 0 ? `${count(events)} changes, none missing` : 'this is a bug: please report it');
    },
  };
}

function slotNote({ level, fullInMs, leftBytes, limit }) {
  if (level === 'lost') return 'tidegate recover goes on';
  if (fullInMs !== null) return `${limit === 'disk' ? 'the disk is full' : 'the slot is lost'} in ${duration(fullInMs)}`;
  return leftBytes === null ? 'by the source, for the slot' : `room for ${bytes(leftBytes)} more`;
}

function snapshotRow(first) {
  const { prefix, table } = tableOf(first.dataset);
  const bar = h('progress', { max: 100, 'aria-label': `First copy of ${first.dataset}` });
  const words = h('span', { class: 'quiet' });
  return {
    root: h('div', { class: 'snapshot-row' }, h('span', {}, h('span', { class: 'quiet' }, prefix), table), bar, words),
    update(copy) {
      const { rowsDone, rowsEstimated, state } = copy;
      if (state === 'done') bar.value = 100;
      else if (state === 'waiting' || state === 'away') bar.value = 0;
      else if (rowsEstimated === null || rowsEstimated === 0) bar.removeAttribute('value');
      else bar.value = Math.min(99, (rowsDone / rowsEstimated) * 100);
      text(words, copyText(copy));
    },
  };
}

function copyText({ rowsDone, rowsEstimated, state }) {
  if (state === 'away') return 'has another name at the source';
  if (state === 'waiting') return 'waiting';
  if (state === 'done') return `${count(rowsDone)} rows copied`;
  return `${count(rowsDone)}${rowsEstimated === null ? '' : ` of about ${count(Math.max(rowsEstimated, rowsDone))}`} rows`;
}

function datasetCard(pipeline, first, { series, windowS, now }) {
  const { prefix, table } = tableOf(first.dataset);
  const badge = h('span', { class: 'badge', title: 'There is no rule file for this table: its rows pass as they are.' }, 'not judged');
  const now_ = h('b');
  const held = h('b');
  const late = h('b');
  const last = h('span', { class: 'quiet last' });
  const chart = flowChart(`Rows of ${table} a second`);
  const idle = h('p', { class: 'idle quiet' });
  const rules = rulesView(pipeline, table, first.dataset, now);
  const clean = h('p', { class: 'clean quiet' });
  const overWindows = windowsView(table, now);
  const levels = sloView(table);
  const draft = h('p', { class: 'draft', hidden: true });
  const revision = h('p', { class: 'revision quiet', hidden: true });
  const parked = parkedView();
  const stat = (label, value) => h('div', {}, value, h('span', {}, label));
  const root = h(
    'article',
    { class: 'panel card', 'aria-label': first.dataset },
    h('div', { class: 'panel-head' }, h('h3', {}, h('span', { class: 'quiet' }, prefix), table, ' ', badge), last),
    parked.root,
    h('div', { class: 'stats' }, stat('rows/s', now_), stat('latency p50 · p99', late), stat('held now', held)),
    chart.root,
    idle,
    ...rules.roots,
    clean,
    overWindows.root,
    levels.root,
    draft,
    revision,
  );
  return {
    root,
    update({ dataset, rates, totals, latencyMs, lastEventAtMs, quarantine, rules: found, judged, changes, windows, slo, ...inForce }) {
      parked.update(changes);
      badge.hidden = judged !== false;
      const open = (quarantine.held ?? 0) + (quarantine.waiting ?? 0);
      text(now_, rate(rates.pass + rates.warn + rates.drop + rates.quarantine));
      text(late, latencyMs.p50 === null ? '–' : `${duration(latencyMs.p50)} · ${duration(latencyMs.p99)}`);
      text(held, count(open));
      attribute(held, 'class', open > 0 ? 'held' : null);
      text(last, lastEventAtMs === null ? '' : ago(lastEventAtMs, now()));
      const span = windowS();
      const points = series.points(pipeline, dataset, span, span <= 60 ? 1 : span <= 300 ? 3 : 10);
      const counted = (layer) => count(Math.round(points.reduce((sum, p) => sum + p[layer], 0) * (span / points.length)));
      chart.update(
        points,
        `In the last ${span / 60} min: ${counted('pass')} passed, ${counted('warn')} warned, ${counted('quarantine')} held`,
      );
      text(idle, totals.in === 0 ? 'No change of this table has come since the start.' : '');
      idle.hidden = totals.in > 0;
      chart.root.hidden = totals.in === 0;
      rules.update(found, judged, windows);
      overWindows.update(windows);
      levels.update(slo);
      clean.hidden = totals.in === 0 || found.length > 0 || hasFailed(windows);
      text(clean, judged === false ? 'No rule file: its rows pass as they are.' : 'No rule has found anything.');
      showDraft(draft, inForce.draft);
      showRevision(revision, inForce, now);
    },
  };
}

/** What would be other than it is, were the draft in force. */
function showDraft(line, draft) {
  line.hidden = draft === undefined;
  if (draft === undefined) return;
  const { revision, events, freed, taken, failures, notAsked } = draft;
  const changes = [taken === 0 ? '' : `hold ${count(taken)} that pass`, freed === 0 ? '' : `let ${count(freed)} pass that are held`];
  const would = changes.filter((one) => one !== '').join(' and ');
  const words =
    events === 0
      ? 'has judged nothing yet'
      : would === ''
        ? `would change none of ${count(events)} rows`
        : `would ${would}, of ${count(events)} rows`;
  const leftOut = notAsked.length === 0 ? '' : ` Left out, for the target has no index that finds their rows: ${notAsked.join(', ')}.`;
  text(line, `Draft ${revision} ${words}${failures === 0 ? '' : `; it could not judge ${count(failures)} batches`}.${leftOut}`);
}

function showRevision(line, { current, refused, changedOnDisk }, now) {
  line.hidden = current === undefined;
  if (current === undefined) return;
  const more =
    refused !== undefined
      ? `. A newer revision was refused: ${refused.path}: ${refused.message}`
      : changedOnDisk
        ? '. Rule files were changed: tidegate reload takes them up'
        : '';
  text(line, `Rules ${current.revision} since ${ago(current.sinceMs, now())}${more}`);
  attribute(line, 'class', refused === undefined ? 'revision quiet' : 'revision refused');
}

/** A change of the table that somebody has to decide about: until then its rows are held. The decision is made where the target's DDL can be read first. */
function parkedView() {
  const title = h('strong');
  const message = h('div');
  const command = h('code');
  const root = h(
    'div',
    { class: 'notice parked', role: 'status', hidden: true },
    title,
    message,
    h('div', { class: 'fix' }, 'Look at it with ', command),
  );
  return {
    root,
    update(changes) {
      const [newest] = changes;
      root.hidden = newest === undefined;
      if (newest === undefined) return;
      const isNew = newest.kinds[0]?.kind === 'table';
      const subject = isNew ? 'This new table' : 'A change of this table';
      text(title, newest.status === 'rejected' ? `${subject} was rejected` : `${subject} waits for you`);
      // Of a new table nothing is read before somebody agrees.
      const isUnread = isNew && newest.kinds[0].policy === 'hold';
      const held = isUnread ? 'It is copied and followed once you approve it.' : `${count(newest.held)} events are held for it.`;
      text(message, isNew ? held : `${newest.message.replace(/\.?$/, '.')} ${held}`);
      text(command, `tidegate schema show CONFIG ${newest.id}`);
    },
  };
}

/** Where the routes of a dataset's models begin, as far as they are plain limits of the score. */
function limitsOf(models, dataset) {
  const routes = models.filter((one) => one.dataset === dataset).flatMap((one) => one.routes ?? []);
  return routes
    .map(({ when }) => Number(/^\s*score\s*>=?\s*(0?\.\d+)\s*$/.exec(when)?.[1] ?? Number.NaN))
    .filter((limit) => !Number.isNaN(limit));
}

function scoreRow(first) {
  const chart = histogram(`Scores of ${first.model} version ${first.version}`);
  const words = h('span', { class: 'quiet' });
  return {
    root: h('div', { class: 'score' }, h('p', {}, words), chart.root),
    update({ scored, unavailable, histogram: bins, limits }) {
      const { table } = tableOf(first.dataset);
      const not = unavailable > 0 ? `, ${count(unavailable)} could not be scored` : '';
      text(words, `${first.model} v${first.version} has scored ${count(scored)} rows of ${table}${not}`);
      chart.update(bins, limits);
    },
  };
}

const MODEL_STATES = {
  ready: ['good', 'ready'],
  starting: ['quiet', 'starting'],
  'backing-off': ['warn', 'not answering'],
  missing: ['warn', 'not registered'],
};
const FAILURES = {
  fail_open: 'rows pass unscored if it fails',
  fail_closed: 'rows are held if it fails',
  hold: 'the lane stops if it fails',
};

function modelsView() {
  const list = h('ul', { class: 'lines' });
  const charts = h('div');
  const scored = keyed(charts, scoreRow);
  const root = h(
    'section',
    { class: 'panel', 'aria-label': 'Models' },
    h('div', { class: 'panel-head' }, h('h3', {}, 'Models')),
    list,
    charts,
  );
  return {
    root,
    update({ models, datasets }) {
      const scores = datasets.flatMap((one) =>
        one.scores.map((score) => ({ ...score, dataset: one.dataset, limits: limitsOf(models, one.dataset) })),
      );
      scored(scores, (one) => `${one.dataset} ${one.model}@${one.version}`);
      const words = JSON.stringify(models);
      if (list.dataset.words === words) return;
      list.dataset.words = words;
      if (models.length === 0) return list.replaceChildren(h('li', { class: 'quiet' }, 'No model scores this pipeline.'));
      list.replaceChildren(
        ...models.map(({ model, alias, version, state, dataset, failure }) => {
          const [kind, said] = MODEL_STATES[state] ?? ['quiet', state];
          return h(
            'li',
            {},
            h(
              'span',
              {},
              h('b', {}, model),
              ' ',
              version === null ? null : h('span', { class: 'badge' }, `v${version}`),
              h('span', { class: 'quiet' }, ` @${alias} on ${tableOf(dataset).table}; ${FAILURES[failure] ?? failure}`),
            ),
            h('span', { class: `chip ${kind}` }, said),
          );
        }),
      );
    },
  };
}

function lanesView({ now }) {
  const list = h('ul', { class: 'lines' });
  const root = h('section', { class: 'panel', 'aria-label': 'Lanes' }, h('div', { class: 'panel-head' }, h('h3', {}, 'Lanes')), list);
  const rows = keyed(list, () => {
    const name = h('b');
    const words = h('span', { class: 'quiet' });
    const at = h('code');
    return {
      root: h('li', {}, h('span', {}, name, ' ', words), at),
      update({ lane, ledger, position, committedAtMs, batches }) {
        text(name, lane);
        const { upserts, deletes, truncates, stale, folded, held, dropped } = ledger;
        const others = [
          [stale, 'superseded'],
          [folded, 'folded'],
          [held, 'held'],
          [dropped, 'dropped'],
          [truncates, 'truncates'],
        ].filter(([n]) => n > 0);
        text(
          words,
          `${count(upserts)} written, ${count(deletes)} deleted${others.map(([n, word]) => `, ${count(n)} ${word}`).join('')} in ${count(batches)} ${batches === 1 ? 'batch' : 'batches'}; last ${ago(committedAtMs, now())}`,
        );
        text(at, shortPosition(position));
        attribute(at, 'title', `Position ${position}, committed ${moment(committedAtMs)}`);
      },
    };
  });
  const none = h('p', { class: 'quiet none' }, 'Nothing has been committed since the service started.');
  const steps = stepsView();
  root.append(none, steps.root);
  return {
    root,
    update({ lanes, stageMs }) {
      none.hidden = lanes.length > 0;
      rows(lanes, (one) => one.lane);
      steps.update(stageMs);
    },
  };
}

/** Where the time of a batch goes. */
function stepsView() {
  const bar = h('div', { class: 'bar', 'aria-hidden': 'true' }, ...STEPS.map(([step]) => h('i', { class: step })));
  const list = h(
    'ol',
    {},
    ...STEPS.map(([step, label]) => h('li', {}, h('i', { class: step, 'aria-hidden': 'true' }), label, ' ', h('b'))),
  );
  const root = h('div', { class: 'steps' }, h('h4', {}, 'Time that a batch takes'), bar, list);
  return {
    root,
    update(stageMs) {
      const all = STEPS.reduce((sum, [step]) => sum + (stageMs[step] ?? 0), 0);
      root.hidden = all === 0;
      for (const [i, [step]] of STEPS.entries()) {
        const ms = stageMs[step] ?? 0;
        bar.children[i].style.width = `${(ms / Math.max(all, 1e-9)) * 100}%`;
        bar.children[i].hidden = ms === 0;
        list.children[i].hidden = ms === 0;
        text(list.children[i].lastElementChild, `${ms.toFixed(1)} ms`);
      }
    },
  };
}

/** An LSN as PostgreSQL writes it, where the position is one. */
function shortPosition(position) {
  const lsn = /^([0-9a-f]{8})([0-9a-f]{8})/.exec(position);
  if (lsn === null) return position;
  const short = (hex) => hex.replace(/^0+(?=.)/, '').toUpperCase();
  return `${short(lsn[1])}/${short(lsn[2])}`;
}
