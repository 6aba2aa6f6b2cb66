/** Windows over a live stream: against a naive reading of which rows lie in which window, whatever the order, the batches, the lanes and the crashes. */
import fc from '../../support/fast-check.ts';
import { describe, expect, test } from 'vitest';
import { contractOf } from '../support.ts';
import { type Change, clockAt, closes, MemoryStore, MINUTE, NOON, TestLane } from './support.ts';

fc.configureGlobal({ seed: 20_261_126 });

const rulesOf = (more = '') => `
defaults: { window: { every: 5m, out_of_order: 1m, lateness: 10m } }
columns:
  total: [{ mean: { between: [0, 50] } }, { sum: { max: 400 } }, { null_rate: { max: 0.4 } }, { z_score: { threshold: 1.0123 }, mostly: 0.6 }${more}]
  status: [{ distinct_count: { max: 2 } }, { duplicates: { max: 1 } }]
checks:
  - row_count: { min: 2 }
  - compound_duplicates: { columns: [status, total], max: 0.3, as: share }
`;
const contract = contractOf(rulesOf());
const ORDER = ', { increasing: true, mostly: 0.7 }, { decreasing: { strictly: true }, mostly: 0.5 }';
const byColumn = contractOf(`source: { event_time: after.created_at }\n${rulesOf(ORDER)}`);
const clock = clockAt(() => NOON);

const text = (ms: number) => new Date(ms).toISOString().replace('T', ' ').replace('Z', '+00');

/** Rows that live, change and die, in commit order, within half an hour. */
const history = fc
  .array(
    fc.record({
      key: fc.nat({ max: 7 }),
      deletes: fc.boolean(),
      total: fc.option(
        fc.integer({ min: -9999, max: 9999 }).map((cents) => (cents / 100).toFixed(2)),
        { nil: null, freq: 4 },
      ),
      status: fc.constantFrom('new', 'paid', 'shipped'),
      afterMs: fc.nat({ max: 4 * MINUTE }),
    }),
    { minLength: 1, maxLength: 40 },
  )
  .map((steps) => {
    const rows = new Map<string, Record<string, unknown>>();
    let atMs = NOON;
    return steps.map((step): Change => {
      atMs += step.afterMs;
      const key = String(step.key);
      const before = rows.get(key) ?? null;
      if (before !== null && step.deletes) {
        rows.delete(key);
        return { op: 'delete', key, before, after: null, atMs };
      }
      const after = { id: step.key, total: step.total, status: step.status, created_at: before?.['created_at'] ?? text(atMs) };
      rows.set(key, after);
      return { op: before === null ? 'insert' : 'update', key, before, after, atMs };
    });
  });

const EVERY = 5 * MINUTE;
const windowOf = (ms: number) => Math.floor(ms / EVERY) * EVERY;

/** The rows of each window: of those that were written in it, the last state of each, without the deleted. */
function byCommit(changes: readonly Change[]): Map<number, Record<string, unknown>[]> {
  const windows = new Map<number, Map<string, Record<string, unknown>>>();
  for (const { key, after, atMs } of changes) {
    const rows = windows.get(windowOf(atMs)) ?? new Map<string, Record<string, unknown>>();
    windows.set(windowOf(atMs), rows);
    if (after === null) rows.delete(key);
    else rows.set(key, after);
  }
  return new Map([...windows].map(([start, rows]) => [start, [...rows.values()]]));
}

/** By a column: the rows that are there in the end, each in the window of its time. */
function byTime(changes: readonly Change[]): Map<number, Record<string, unknown>[]> {
  const rows = new Map<string, Record<string, unknown>>();
  for (const { key, after } of changes) {
    if (after === null) rows.delete(key);
    else rows.set(key, after);
  }
  const windows = new Map<number, Record<string, unknown>[]>();
  for (const row of rows.values()) {
    const start = windowOf(Date.parse(String(row['created_at']).replace(' ', 'T').replace('+00', 'Z')));
    windows.set(start, [...(windows.get(start) ?? []), row]);
  }
  return windows;
}

/** The share of values within so many standard deviations; null where there are none. */
function shareNear(values: readonly number[], threshold: number): number | null {
  if (new Set(values).size < 2) return null;
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  const deviation = Math.sqrt(values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (values.length - 1));
  return values.filter((value) => Math.abs(value - mean) / deviation < threshold).length / values.length;
}

/** The share of values that are as told beside each value of the time before theirs. */
function shareInOrder(rows: readonly Record<string, unknown>[], fits: (value: number, before: number) => boolean): number | null {
  const cells = rows
    .filter(({ total }) => typeof total === 'string')
    .map((row) => ({ time: String(row['created_at']), value: Number(row['total']) }));
  const good = cells.filter(({ time, value }) => {
    const earlier = cells.map((cell) => cell.time).filter((other) => other < time);
    const last = earlier.sort().at(-1);
    return cells.every((cell) => cell.time !== last || fits(value, cell.value));
  });
  return cells.length === 0 ? null : good.length / cells.length;
}

/** What the rules say of these rows, as the results of a store say it. */
function expected(windows: ReadonlyMap<number, Record<string, unknown>[]>, from: number, to: number, ordered = false): string[] {
  const lines: string[] = [];
  for (let start = from; start <= to; start += EVERY) {
    const rows = windows.get(start) ?? [];
    const line = (rule: string, success: boolean | null, observed: unknown) =>
      lines.push(
        `${JSON.stringify([start, '', rule])} ${success === null ? 'indeterminate' : success ? 'pass' : 'fail'} ${JSON.stringify(observed)} ${rows.length}`,
      );
    const totals = rows.map(({ total }) => total).filter((total) => typeof total === 'string');
    const cents = totals.reduce((sum, total) => sum + Math.round(Number(total) * 100), 0);
    line('row_count', rows.length >= 2, rows.length);
    if (rows.length === 0) continue;
    const statuses = new Set(rows.map(({ status }) => status)).size;
    line('status.distinct_count', statuses <= 2, statuses);
    line('status.duplicates', rows.length - statuses <= 1, rows.length - statuses);
    const pairs = new Set(rows.map(({ status, total }) => `${String(status)} ${String(total)}`)).size;
    const repeated = (rows.length - pairs) / rows.length;
    line('compound_duplicates', repeated <= 0.3, repeated);
    if (ordered) {
      const [up, down] = [shareInOrder(rows, (value, before) => value >= before), shareInOrder(rows, (value, before) => value < before)];
      line('total.increasing', up === null || up >= 0.7, up);
      line('total.decreasing', down === null || down >= 0.5, down);
    }
    if (totals.length === 0) {
      line('total.mean', false, null);
      line('total.sum', false, null);
    } else {
      const mean = cents / 100 / totals.length;
      line('total.mean', mean >= 0 && mean <= 50, mean);
      line('total.sum', cents <= 40_000, cents / 100);
    }
    const near = shareNear(totals.map(Number), 1.0123);
    line('total.z_score', totals.length === 0 ? true : near === null ? null : near >= 0.6, near);
    const rate = (rows.length - totals.length) / rows.length;
    line('total.null_rate', rate <= 0.4, rate);
  }
  return lines.sort();
}

/** Means are of exact sums, and the naive ones of doubles. */
const rounded = (lines: readonly string[]) =>
  lines.map((line) =>
    line.replace(
      / (-?[\d.]+(?:e-\d+)?) (\d+)$/,
      (_, value: string, rows: string) => ` ${Number(value).toFixed(6).replace('-0.000000', '0.000000')} ${rows}`,
    ),
  );

async function run(
  changes: readonly Change[],
  of = contract,
  cuts: readonly number[] = [1],
  kills: readonly number[] = [],
  closesOften = true,
) {
  const store = new MemoryStore();
  const lane = new TestLane(store, of, clock);
  for (let at = 0, batch = 0; at < changes.length; batch++) {
    const size = cuts[batch % cuts.length] ?? 1;
    const events = changes.slice(at, at + size);
    if (kills.includes(batch % 7)) await lane.batch(events, false);
    await lane.batch(events);
    at += size;
    if (closesOften) await closes(store, of);
  }
  // Something much later closes everything.
  const last = changes.at(-1)?.atMs ?? NOON;
  await lane.batch([
    { op: 'insert', key: 'last', before: null, after: { id: 1, created_at: text(last + 60 * MINUTE) }, atMs: last + 60 * MINUTE },
  ]);
  await closes(store, of);
  return store;
}

const firstOf = (changes: readonly Change[]) => windowOf(changes[0]?.atMs ?? 0);
const lastOf = (changes: readonly Change[]) => windowOf(changes.at(-1)?.atMs ?? 0);
const within = (store: MemoryStore, changes: readonly Change[]) =>
  store
    .said()
    .filter((line) => Number(/^\[(\d+)/.exec(line)?.[1]) <= lastOf(changes) && Number(/^\[(\d+)/.exec(line)?.[1]) >= firstOf(changes));
const results = ({ all }: MemoryStore) => all.map((result) => JSON.stringify({ ...result, id: '' })).sort();
const cuts = fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1, maxLength: 5 });

describe('by commit', () => {
  test('a window holds the rows that were written in it, each once, as it was last', async () => {
    await fc.assert(
      fc.asyncProperty(history, cuts, async (changes, sizes) => {
        const store = await run(changes, contract, sizes);
        expect(rounded(within(store, changes))).toEqual(rounded(expected(byCommit(changes), firstOf(changes), lastOf(changes))));
      }),
      { numRuns: 150 },
    );
  });

  test('batches, crashes and how often windows are closed make no difference, to the last revision', async () => {
    await fc.assert(
      fc.asyncProperty(history, cuts, fc.array(fc.nat({ max: 6 })), fc.boolean(), async (changes, sizes, kills, often) => {
        const [plain, other] = [await run(changes), await run(changes, contract, sizes, kills, often)];
        expect(results(other)).toEqual(results(plain));
      }),
      { numRuns: 100 },
    );
  });

  test('nothing is left at the target of windows that take no more rows', async () => {
    await fc.assert(
      fc.asyncProperty(history, async (changes) => {
        const store = await run(changes);
        expect(store.parts.filter(({ startMs }) => startMs <= lastOf(changes))).toEqual([]);
      }),
      { numRuns: 30 },
    );
  });
});

describe('by a column of the row', () => {
  test('in any order within the allowed lateness the verdicts end as those of the rows that are there', async () => {
    await fc.assert(
      fc.asyncProperty(history, cuts, fc.array(fc.nat({ max: 6 })), async (changes, sizes, kills) => {
        const short = changes.filter(({ atMs }) => atMs - NOON < 10 * MINUTE);
        const store = await run(short, byColumn, sizes, kills);
        const windows = byTime(short);
        const lines = expected(windows, firstOf(short), lastOf(short), true);
        // A window whose rows all went again has been one with rows.
        expect(rounded(within(store, short)).filter((line) => !line.endsWith(' 0') || line.includes('row_count'))).toEqual(rounded(lines));
      }),
      { numRuns: 100 },
    );
  });
});
