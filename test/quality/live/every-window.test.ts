/**
 * Every check over windows that there is, by the example of its own page: whatever the order within the allowed lateness, the batches, the lanes, the crashes and the times
 * at which windows are closed, its verdicts end the same; and what is taken back leaves no trace.
 */
import { describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { WORDS } from '../../../quality/gx/registry.ts';
import fc from '../../support/fast-check.ts';
import { contractOf } from '../support.ts';
import { type Change, clockAt, type Course, type MemoryStore, MINUTE, NOON, play } from './support.ts';

// Not shrunk: a failure is printed as it was found, at once.
fc.configureGlobal({ seed: 20_261_127, endOnFailure: true });

/** Judged beside another dataset, which has tests of its own (beside.test.ts). */
const BESIDE = new Set(['row_count_equals']);
const NAMES = [...WORDS].flatMap(([name, { window, word }]) =>
  window !== undefined && word.level === 'window' && !BESIDE.has(name) ? [name] : [],
);

type Item = Readonly<Record<string, unknown>>;

/** Held against fewer windows than usual, so that many are; and with bounds that some windows keep. */
const soon = (name: string, parameters: unknown): unknown => {
  if (name === 'drift') return { metric: 'js', reference: { rolling: { windows: 3, min_windows: 2, values: 2 } }, max: 0.2 };
  if (name === 'ks') return { ...(parameters as Item), max: 0.6 };
  if (name === 'stdev') return { max: 6 };
  if (name === 'median' || name === 'quantiles') return name === 'median' ? { between: [8, 20] } : { p50: [8, 20], p100: [null, 25] };
  return name.endsWith('_anomaly') ? { ...(parameters as Item), baseline: '1h', min_windows: 2, margin: 0.4 } : parameters;
};

function contractFor(name: string, more: Item) {
  const rule = parse(WORDS.get(name)?.word.example.rule ?? '') as Readonly<Record<string, readonly Item[]>> | readonly Item[];
  const items = (list: readonly Item[]) => list.map((item) => ({ ...item, [name]: soon(name, item[name]), ...more }));
  const body = Array.isArray(rule)
    ? { checks: items(rule as readonly Item[]) }
    : { columns: Object.fromEntries(Object.entries(rule).map(([column, list]) => [column, items(list as readonly Item[])])) };
  return contractOf(`source: { event_time: after.created_at }
defaults: { window: { every: 5m, out_of_order: 1m, lateness: 10m } }
${Object.entries(body)
  .map(([section, list]) => `${section}: ${JSON.stringify(list)}`)
  .join('')}
`);
}

const clock = clockAt(() => NOON);
const EVERY = 5 * MINUTE;
const windowOf = (ms: number) => Math.floor(ms / EVERY) * EVERY;
const text = (ms: number) => new Date(ms).toISOString().replace('T', ' ').replace('Z', '+00');

interface Row {
  readonly cells: Readonly<Record<string, unknown>>;
  readonly key: string;
  readonly atMs: number;
  readonly score: NonNullable<Change['score']>;
}

const insert = ({ cells, key, atMs, score }: Row, commitMs = atMs): Change => ({
  op: 'insert',
  key,
  before: null,
  after: cells,
  atMs: commitMs,
  score,
});

/** An hour and a half, in which groups come and go, with times at which nothing comes. */
const rows = fc
  .array(
    fc.record({
      total: fc.option(fc.integer({ min: 0, max: 60 }).map((halves) => (halves / 2).toFixed(2)), { nil: null, freq: 6 }), // prettier-ignore
      status: fc.constantFrom('new', 'paid', 'shipped'),
      email: fc.option(fc.constantFrom('a@x', 'b@x', 'c@x', '', 'n/a'), { nil: null, freq: 6 }),
      id: fc.nat({ max: 4 }),
      items: fc.constantFrom(1, 1, 1, 1, 1, 2, 2, 3, 4),
      score: fc.oneof(fc.constantFrom(0.1, 0.4, 0.7, 0.9), fc.constant<Change['score']>('feature missing'), fc.constant<Change['score']>('unavailable')), // prettier-ignore
      afterMs: fc.oneof({ arbitrary: fc.nat({ max: 2 * MINUTE }), weight: 8 }, { arbitrary: fc.constant(8 * MINUTE), weight: 1 }),
    }),
    { minLength: 25, maxLength: 70 },
  )
  .map((steps) => {
    let atMs = NOON;
    return steps.map(({ afterMs, score, ...cells }, id): Row => {
      atMs += afterMs;
      return { key: String(id), cells: { ...cells, created_at: text(atMs) }, atMs, score: score ?? 0 };
    });
  });

/** Every third row comes up to nine minutes late. */
const late = (all: readonly Row[]): Change[] =>
  all
    .map((row, at) => ({ row, order: row.atMs + (at % 3 === 0 ? 9 * MINUTE : 0) }))
    .sort((a, b) => a.order - b.order)
    .map(({ row, order }) => insert(row, order));

const cuts = fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1, maxLength: 5 });
const kills = fc.array(fc.nat({ max: 6 }));

/** What comes last is much later, and closes everything. */
const last = (atMs: number, lane: string): Change =>
  insert({
    key: `last of ${lane}`,
    cells: { id: 1, total: '1.00', status: 'new', email: 'a@x', items: 1, created_at: text(atMs) },
    atMs,
    score: 0.1,
  });

const run = (contract: ReturnType<typeof contractFor>, changes: readonly Change[], course: Course = {}): Promise<MemoryStore> =>
  play(contract, clock, changes, last, course);

/** The last verdict of each window and group, from the first row's window to the last one's. */
function said({ all }: MemoryStore, own: readonly Row[], isGrouped: boolean): string[] {
  const [from, to] = [windowOf(own[0]?.atMs ?? 0), windowOf(own.at(-1)?.atMs ?? 0)];
  const last = new Map<string, string>();
  const times = new Set(own.map(({ atMs }) => windowOf(atMs)));
  for (const { startMs, group, verdict, observed, rows: count } of all) {
    if (startMs < from || startMs > to) continue;
    // Rows that came late to a window that had none are those of their groups: that it was empty at first, of no group, was taken back.
    const key = `${(startMs - NOON) / MINUTE} ${group}`;
    if (isGrouped && group === '' && times.has(startMs) && verdict === 'pass') last.delete(key);
    else last.set(key, `${verdict} ${observed} ${count}`);
  }
  return [...last].map(([key, value]) => `${key} ${value}`).sort();
}

describe.each(NAMES)('%s', (name) => {
  describe.each([
    ['all rows', {}],
    ['each group', { group_by: ['items'], max_groups: 10 }],
    ['rows of a condition', { where: 'after.items < 3' }],
  ])('of %s', (_, more) => {
    const contract = contractFor(name, more);
    const isGrouped = 'group_by' in more;
    const retracts = contract.live.checks[0]?.check.kind.retracts === true;

    test('its verdicts end the same however rows come', async () => {
      let verdicts = new Set<string>();
      await fc.assert(
        fc.asyncProperty(rows, cuts, kills, fc.boolean(), fc.integer({ min: 1, max: 3 }), async (all, sizes, dies, closesOften, lanes) => {
          const plain = said(await run(contract, all.map((row) => insert(row))), all, isGrouped); // prettier-ignore
          const other = said(await run(contract, late(all), { cuts: sizes, kills: dies, closesOften, lanes }), all, isGrouped);
          expect(other).toEqual(plain);
          verdicts = verdicts.union(new Set(plain.map((line) => /pass|fail|indeterminate/.exec(line)?.[0] ?? line)));
        }),
        { numRuns: 10 },
      );
      // What always says the same would not be found out.
      expect(verdicts.size).toBeGreaterThan(1);
    });

    /** What is remembered of windows before is in the first test; scores of rows that go again are counted as they came. */
    const isOfRows = !/_anomaly$|^drift$|^score_|^abstain_|^feature_/.test(name);
    test.runIf(isOfRows)('rows that go again, and cells that change, leave no trace', async () => {
      await fc.assert(
        fc.asyncProperty(rows, cuts, kills, async (all, sizes, dies) => {
          const stays = all.filter((_, at) => at % 2 === 0);
          const plain = said(await run(contract, stays.map((row) => insert(row))), stays, isGrouped); // prettier-ignore
          // Made otherwise at first, and gone or made right at once, in the order of their times.
          const changes = all.flatMap((row, at): Change[] => {
            const first = { ...row, cells: { ...row.cells, ...all[(at + 3) % all.length]?.cells, created_at: row.cells['created_at'] } };
            const last = at % 2 === 0 ? { op: 'update' as const, after: row.cells } : { op: 'delete' as const, after: null };
            return [insert(first), { ...insert(row), ...last, before: first.cells }];
          });
          const other = said(await run(contract, changes, { cuts: sizes, kills: dies }), stays, isGrouped);
          // A window, or group, whose rows all went again has been one with rows.
          const there = new Set(stays.map(({ atMs }) => windowOf(atMs)));
          const isThere = (line: string) => there.has(NOON + Number.parseInt(line, 10) * MINUTE) && !/ (null|0|\[\]) 0$/.test(line);
          const wanted = plain.filter(isThere);
          // Of what cannot be taken back no more is said than is known.
          const known = other
            .filter(isThere)
            .map((line, at) => (!retracts && line.includes('indeterminate') ? (wanted[at] ?? line) : line));
          expect(known).toEqual(wanted);
        }),
        { numRuns: 10 },
      );
    });
  });
});
