/** Windows of a backtest: over the rows and versions that a target keeps they say what the windows of the stream said in the end. */
import { expect, test } from 'vitest';
import { BacktestWindows } from '../../app/backtest/windows.ts';
import { type Dataset, type Value, ValueRow } from '../../core/event.ts';
import { columns, contractOf, orders } from '../quality/support.ts';
import { type Change, clockAt, closes, MemoryStore, MINUTE, NOON, TestLane } from '../quality/live/support.ts';
import { Random } from '../support/random.ts';
import { PLAIN } from '../sync/shop.ts';

const SEED = Number(process.env['TIDEGATE_SEED'] ?? 20_264);
const STATUSES = ['new', 'paid', 'gone'];

type Cells = Readonly<Record<string, Value>>;
interface Version {
  readonly cells: Cells;
  readonly fromMs: number;
  toMs: number | null;
}

const text = (ms: number): string => new Date(ms).toISOString().replace('T', ' ').replace('Z', '+00');

/** Changes of an hour, and every version of a row that they leave at a target that keeps all. */
function stream(random: Random) {
  const changes: Change[] = [];
  const versions: Version[] = [];
  const alive = new Map<string, Version>();
  for (let atMs = NOON, id = 1; atMs < NOON + 60 * MINUTE; atMs += 1 + random.below(40_000)) {
    const known = [...alive.keys()];
    const key = known.length > 0 && random.chance(0.5) ? (known[random.below(known.length)] ?? '') : String(id++);
    const was = alive.get(key);
    const isGone = was !== undefined && random.chance(0.3);
    const cells: Cells | null = isGone
      ? null
      : {
          id: Number(key),
          total: String(random.below(100)),
          status: STATUSES[random.below(3)] ?? null,
          created_at: was?.cells['created_at'] ?? text(atMs - random.below(20_000)),
        };
    changes.push({ op: was === undefined ? 'insert' : isGone ? 'delete' : 'update', key, before: was?.cells ?? null, after: cells, atMs });
    if (was !== undefined) was.toMs = atMs;
    alive.delete(key);
    if (cells === null) continue;
    const version: Version = { cells, fromMs: atMs, toMs: null };
    versions.push(version);
    alive.set(key, version);
  }
  return { changes, versions, alive: [...alive.values()] };
}

const rules = (time: string, mean: number, more = '') =>
  contractOf(`
source: { event_time: ${time} }
defaults: { window: { every: 5m, out_of_order: 1m, lateness: 2h${more} } }
columns:
  total:
    - { id: mean, mean: { max: ${mean} }, group_by: status }
    - { id: usual, z_score: { baseline: 40m, threshold: ${mean / 30}, min_windows: 2 }, mostly: 0.9, window: { lateness: 2m${more} } }
checks: [{ id: volume, row_count: { min: 4 } }]
`);

const NOW = NOON + 3 * 60 * MINUTE;
const dataset: Dataset = {
  ...orders,
  columns: [...columns, ...['from', 'to'].map((name) => ({ name, type: 'timestamp' as const, native: 'timestamptz', nullable: true }))],
};

function tested(contract: ReturnType<typeof rules>, changed: ReturnType<typeof rules>, kept: readonly Version[], layout: typeof PLAIN) {
  const windows = new BacktestWindows(contract, changed, layout, NOW);
  for (const { cells, fromMs, toMs } of kept) {
    const own = columns.map(({ name }) => cells[name] ?? null);
    windows.row(new ValueRow(...own, text(fromMs), toMs === null ? null : text(toMs)), dataset);
  }
  return windows.tested(1000);
}

/** What the windows of the stream ended with, to the last one that has ended for sure. */
async function live(contract: ReturnType<typeof rules>, changes: readonly Change[]) {
  const store = new MemoryStore();
  const lane = new TestLane(
    store,
    contract,
    clockAt(() => NOON),
  );
  for (const change of changes) {
    await lane.batch([change]);
    await closes(store, contract);
  }
  const end = { id: 1e6, total: '0', status: 'new', created_at: text(NOON + 70 * MINUTE) };
  await lane.batch([{ op: 'insert', key: '1000000', before: null, after: end, atMs: NOON + 70 * MINUTE }]);
  await closes(store, contract);
  return new Map(store.all.map((one) => [JSON.stringify([one.rule, one.startMs, one.group]), one]));
}

const layouts = {
  'rows by a column': { time: 'after.created_at', layout: PLAIN, more: '', versions: false },
  'versions by a column': { time: 'after.created_at', layout: { ...PLAIN, history: { from: 'from', to: 'to' } }, more: '', versions: true },
  'versions by commit': { time: 'commit', layout: { ...PLAIN, history: { from: 'from', to: 'to' } }, more: '', versions: true },
  'versions by commit, each of them': {
    time: 'commit',
    layout: { ...PLAIN, history: { from: 'from', to: 'to' } },
    more: ', of: changes',
    versions: true,
  },
};

test.each(Object.entries(layouts))(`%s: windows change sides as those of the stream would (seed ${SEED})`, async (_, of) => {
  const { changes, versions, alive } = stream(new Random(SEED));
  const [before, after] = [rules(of.time, 50, of.more), rules(of.time, 40, of.more)];
  const { rules: counts, examples, notJudged } = tested(before, after, of.versions ? versions : alive, of.layout);
  expect(notJudged).toEqual([]);
  const [then, now] = [await live(before, changes), await live(after, changes)];
  const lastMs = NOON + 55 * MINUTE;
  const expected = [...now].flatMap(([id, one]) => {
    const old = then.get(id);
    // By a column late rows would be left out of the windows that remember little.
    if (one.startMs >= lastMs || (of.time !== 'commit' && one.rule === 'usual') || (old?.verdict === 'fail') === (one.verdict === 'fail'))
      return [];
    return [[one.rule, one.startMs, one.group, old?.observed, one.observed, one.verdict]];
  });
  const found = examples
    .filter(({ startMs, rule }) => startMs < lastMs && (of.time === 'commit' || rule !== 'usual'))
    .map((one) => [one.rule, one.startMs, one.group, one.before?.observed, one.after?.observed, one.after?.verdict]);
  expect(sorted(found)).toEqual(sorted(expected));
  expect(found.length).toBeGreaterThan(3);
  for (const rule of ['mean', 'volume']) expect(counts.find((one) => one.rule === rule)?.windows).toBeGreaterThan(5);
});

const sorted = (rows: readonly unknown[]): string[] => rows.map((row) => JSON.stringify(row)).sort();

test('what the target cannot tell is said, rule by rule', () => {
  const { alive } = stream(new Random(SEED));
  const why = (time: string, layout = PLAIN, more = '', cut = false) => {
    const windows = new BacktestWindows(null, rules(time, 50, more), layout, NOW);
    for (const { cells } of alive) windows.row(new ValueRow(...columns.map(({ name }) => cells[name] ?? null)), orders);
    if (cut) windows.cut();
    return [...new Set(windows.tested(1).notJudged.map(({ message }) => message))];
  };
  expect(why('after.created_at')).toEqual([]);
  expect(why('commit')).toEqual([expect.stringContaining('does not tell when a row was written')]);
  expect(why('commit', { ...PLAIN, write: { ...PLAIN.write, committedAt: 'created_at' } })).toEqual([]);
  expect(why('after.created_at', PLAIN, ', of: changes')).toEqual([expect.stringContaining('counts every version of a row')]);
  expect(why('after.created_at', PLAIN, '', true)).toEqual([expect.stringContaining('write --all')]);
  expect(why('after.gone')).toEqual([expect.stringContaining('has no column "gone"')]);
});
