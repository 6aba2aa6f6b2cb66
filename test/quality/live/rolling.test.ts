/** Windows that are held against those before them: against a naive reading of which these are, whatever the order, the batches, the lanes and the crashes. */
import fc from '../../support/fast-check.ts';
import { describe, expect, test } from 'vitest';
import { Grid, numberCell, numberPlace, NUMBERS_WIDTH } from '../../../quality/states/grid.ts';
import { referenceOfWindows } from '../../../quality/reference/from-windows.ts';
import { readReference } from '../../../quality/reference/read.ts';
import { bins } from '../../../quality/states/bins.ts';
import { CELLS_MAX, equalBins, sideBySide } from '../../../quality/windows/rolling.ts';
import { contractOf, messages } from '../support.ts';
import { type Change, clockAt, closes, type Course, MemoryStore, MINUTE, NOON, play, TestLane } from './support.ts';

// Not shrunk: a failure is printed as it was found, at once.
fc.configureGlobal({ seed: 20_261_127, endOnFailure: true });

const EVERY = 5 * MINUTE;
const rolling = (more = '') => `{ windows: 3, min_windows: 2${more} }`;
const rulesOf = (learn: 'passed' | 'all') => `
source: { event_time: after.created_at }
defaults: { window: { every: 5m, out_of_order: 1m, lateness: 10m } }
columns:
  total: [{ ks: { reference: { rolling: ${rolling(`, learn: ${learn}`)} }, max: 0.501 } }]
  status: [{ js: { reference: { rolling: ${rolling(`, values: 2, learn: ${learn}`)} }, max: 0.2 } }]
`;
const contracts = { passed: contractOf(rulesOf('passed')), all: contractOf(rulesOf('all')) };
const clock = clockAt(() => NOON);
const text = (ms: number) => new Date(ms).toISOString().replace('T', ' ').replace('Z', '+00');
const windowOf = (ms: number) => Math.floor(ms / EVERY) * EVERY;

interface Row {
  readonly id: number;
  readonly total: number | null;
  readonly status: string;
  readonly atMs: number;
}

const insert = ({ id, total, status, atMs }: Row, commitMs = atMs): Change => ({
  op: 'insert',
  key: String(id),
  before: null,
  after: { id, total: total === null ? null : String(total), status, created_at: text(atMs) },
  atMs: commitMs,
});

/** Rows of an hour and a half, in the order of their times. */
const rows = fc
  .array(
    fc.record({
      total: fc.option(fc.integer({ min: -20, max: 20 }), { nil: null, freq: 6 }),
      status: fc.constantFrom('new', 'paid', 'shipped', 'gone'),
      afterMs: fc.nat({ max: 3 * MINUTE }),
    }),
    { minLength: 20, maxLength: 70 },
  )
  .map((steps) => {
    let atMs = NOON;
    return steps.map(({ total, status, afterMs }, id): Row => ({ id, total, status, atMs: (atMs += afterMs) }));
  });

const cuts = fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1, maxLength: 5 });
const kills = fc.array(fc.nat({ max: 6 }));

/** The greatest distance between the two empirical distributions. */
function ksOf(a: readonly number[], b: readonly number[]): number {
  const share = (all: readonly number[], to: number) => all.filter((value) => value <= to).length / all.length;
  return Math.max(...[...a, ...b].map((value) => Math.abs(share(a, value) - share(b, value))));
}

function jsOf(a: readonly string[], b: readonly string[], most: number): number {
  const count = (of: readonly string[], value: string) => of.filter((one) => one === value).length;
  const named = [...new Set(a)]
    .sort((x, y) => count(a, y) - count(a, x) || (JSON.stringify(x) < JSON.stringify(y) ? -1 : 1))
    .slice(0, most);
  const shares = (of: readonly string[]) => {
    const own = named.map((value) => count(of, value) / of.length);
    return [...own, 1 - own.reduce((sum, share) => sum + share, 0)];
  };
  const [p, q] = [shares(a), shares(b)];
  const part = (share: number, middle: number) => (share <= 1e-12 ? 0 : (share * Math.log2(share / middle)) / 2);
  return p.reduce((sum, was, at) => sum + part(was, (was + (q[at] ?? 0)) / 2) + part(q[at] ?? 0, (was + (q[at] ?? 0)) / 2), 0);
}

/** Rule by rule and window by window: which windows it is held against, and how far it is from them. */
function expected(all: readonly Row[], learn: 'passed' | 'all', toMs: number): string[] {
  const rules = [
    {
      rule: 'total.ks',
      max: 0.501,
      valuesOf: (own: readonly Row[]) => own.map(({ total }) => total).filter((total) => total !== null),
      distance: (a: readonly unknown[], b: readonly unknown[]) => ksOf(a as number[], b as number[]),
    },
    {
      rule: 'status.js',
      max: 0.2,
      valuesOf: (own: readonly Row[]) => own.map(({ status }) => status),
      distance: (a: readonly unknown[], b: readonly unknown[]) => jsOf(a as string[], b as string[], 2),
    },
  ];
  const lines: string[] = [];
  for (const { rule, max, valuesOf, distance } of rules) {
    const learnt: { readonly startMs: number; readonly values: readonly unknown[] }[] = [];
    for (let startMs = windowOf(all[0]?.atMs ?? 0); startMs <= toMs; startMs += EVERY) {
      const own = all.filter(({ atMs }) => windowOf(atMs) === startMs);
      const values: readonly unknown[] = valuesOf(own);
      const say = (verdict: string, observed: number | null) =>
        lines.push(`${startMs} ${rule} ${verdict} ${observed === null ? null : observed.toFixed(9)}`);
      if (own.length === 0) continue;
      if (values.length === 0) {
        say('indeterminate', null);
        continue;
      }
      // Of windows that end ten minutes before this one no row comes any more.
      const past = learnt.filter((one) => one.startMs <= startMs - 10 * MINUTE).slice(-3);
      const found =
        past.length < 2
          ? null
          : distance(
              past.flatMap((one) => one.values),
              values,
            );
      say(found === null ? 'indeterminate' : found <= max ? 'pass' : 'fail', found);
      if (found === null || found <= max || learn === 'all') learnt.push({ startMs, values });
    }
  }
  return lines.sort();
}

/** The last verdict of each window that is closed for sure. */
const said = ({ all }: MemoryStore, toMs: number) => {
  const last = new Map<string, string>();
  for (const { startMs, rule, verdict, observed } of all)
    if (startMs <= toMs) last.set(`${startMs} ${rule}`, `${verdict} ${observed === null ? null : Number(observed).toFixed(9)}`);
  return [...last].map(([key, value]) => `${key} ${value}`).sort();
};
/** The first and the last revision of each: how many there are in between depends on how often windows are closed. */
const results = ({ all }: MemoryStore) => {
  const last = new Map(all.map((result) => [`${result.rule} ${result.startMs}`, result]));
  return [...all.filter(({ revision }) => revision === 1), ...last.values()]
    .map((result) => JSON.stringify({ ...result, id: '', revision: 0 }))
    .sort();
};

const run = (changes: readonly Change[], learn: 'passed' | 'all', course: Course = {}): Promise<MemoryStore> =>
  play(contracts[learn], clock, changes, (atMs) => insert({ id: 1e6, total: 0, status: 'new', atMs }), course);

describe('a rolling reference', () => {
  test.each(['passed', 'all'] as const)('is the last windows that take no more rows (%s)', async (learn) => {
    await fc.assert(
      fc.asyncProperty(rows, cuts, async (all, sizes) => {
        const toMs = windowOf(all.at(-1)?.atMs ?? 0);
        const store = await run(
          all.map((row) => insert(row)),
          learn,
          { cuts: sizes },
        );
        expect(said(store, toMs)).toEqual(expected(all, learn, toMs));
      }),
      { numRuns: 60 },
    );
  });

  test('batches, crashes, and how often windows are closed make no difference to first and last verdicts', async () => {
    await fc.assert(
      fc.asyncProperty(rows, cuts, kills, fc.boolean(), async (all, sizes, dies, closesOften) => {
        const changes = late(all);
        const [plain, other] = [await run(changes, 'passed'), await run(changes, 'passed', { cuts: sizes, kills: dies, closesOften })];
        expect(results(other)).toEqual(results(plain));
        expect([...other.memories]).toEqual([...plain.memories]);
      }),
      { numRuns: 60 },
    );
  });

  test('in any order within the allowed lateness, on one lane or several, the verdicts end the same', async () => {
    await fc.assert(
      fc.asyncProperty(rows, cuts, fc.integer({ min: 1, max: 3 }), async (all, sizes, lanes) => {
        const toMs = windowOf(all.at(-1)?.atMs ?? 0);
        const store = await run(late(all), 'passed', { cuts: sizes, lanes });
        expect(said(store, toMs)).toEqual(expected(all, 'passed', toMs));
      }),
      { numRuns: 60 },
    );
  });

  test('of a window whose rows are all taken back nothing is remembered', async () => {
    const store = new MemoryStore();
    const lane = new TestLane(store, contracts.all, clock);
    const all = [0, 1, 2].map((id): Row => ({ id, total: id, status: 'new', atMs: NOON + id }));
    await lane.batch(all.map((row) => insert(row)));
    await lane.batch([insert({ id: 9, total: 1, status: 'new', atMs: NOON + 7 * MINUTE })]);
    await closes(store, contracts.all);
    const remembered = () =>
      [...store.memories.values()].flat().map(({ state }) => (JSON.parse(state) as { windows: unknown[] }).windows.length);
    expect(remembered()).toEqual([1, 1]);
    await lane.batch(all.map((row) => ({ ...insert(row), op: 'delete', before: insert(row).after, after: null })));
    await closes(store, contracts.all);
    expect(remembered()).toEqual([]);
  });
});

test('what a rule remembers is kept as a reference: the values of the windows that it learnt from', async () => {
  const store = new MemoryStore();
  const lane = new TestLane(store, contracts.all, clock);
  const all = Array.from({ length: 40 }, (_, id): Row => ({
    id,
    total: id % 10,
    status: id % 4 === 0 ? 'paid' : 'new',
    atMs: NOON + id * MINUTE,
  }));
  for (const row of all) await lane.batch([insert(row)]);
  await closes(store, contracts.all);
  const closed = all.filter(({ atMs }) => windowOf(atMs) + EVERY <= (store.sets.values().next().value?.closedMs ?? 0));
  const { dataset } = contracts.all;
  const numbers = referenceOfWindows(dataset, await store.memoriesOf(dataset, 'total.ks'), { parts: { bins: 5 } });
  expect(readReference(JSON.parse(JSON.stringify(numbers)))).toEqual(numbers);
  expect([numbers.column, numbers.rows]).toEqual(['total', closed.length]);
  const state = bins(numbers.bins ?? []).create();
  for (const { total } of closed) state.add(total ?? NaN);
  expect([state.below, ...state.inside, state.above]).toEqual([numbers.tail_weights?.[0], ...numbers.weights, numbers.tail_weights?.[1]]);
  const values = referenceOfWindows(dataset, await store.memoriesOf(dataset, 'status.js'), { parts: { values: 1 } });
  const fresh = closed.filter(({ status }) => status === 'new').length;
  expect(values).toMatchObject({ type: 'text', values: ['new'], weights: [fresh], other_weight: closed.length - fresh });
  expect(() => referenceOfWindows(dataset, [], { parts: { bins: 5 } })).toThrow('remembers no window');
});

test('long texts, of which beginnings are remembered, are among the other values of such a reference', async () => {
  const [long, { dataset }] = ['x'.repeat(41), contracts.all];
  const reference = async (texts: readonly string[]) => {
    const changes = Array.from({ length: 10 }, (_, id) =>
      insert({ id, total: 1, status: texts[id % texts.length] ?? '', atMs: NOON + id }),
    );
    const store = await run(changes, 'all');
    return referenceOfWindows(dataset, await store.memoriesOf(dataset, 'status.js'), { parts: { values: 5 } });
  };
  const short = 'y'.repeat(40);
  expect(await reference([long, short])).toMatchObject({ values: [short], weights: [5], other_weight: 5, rows: 10 });
  await expect(reference([long])).rejects.toThrow('long texts alone');
});

/** Every third row comes up to ten minutes late, and windows are closed in between. */
function late(all: readonly Row[]): Change[] {
  const placed = all.map((row, at) => ({ row, order: row.atMs + (at % 3 === 0 ? 9 * MINUTE : 0) }));
  return placed.sort((a, b) => a.order - b.order).map(({ row, order }) => insert(row, order));
}

describe('cells', () => {
  const values = fc.array(
    fc.oneof(fc.double({ noNaN: true, min: -1e9, max: 1e9 }), fc.double({ noNaN: true, min: 1, max: 2 }), fc.integer({ min: 0, max: 3 })),
    {
      minLength: 1,
      maxLength: 600,
    },
  );
  const gridOf = (all: readonly number[]) => {
    const grid = new Grid(NUMBERS_WIDTH, numberPlace, CELLS_MAX);
    for (const value of all) grid.put(value, 1);
    return grid;
  };

  test('put together they are those of all values, in any order', () => {
    fc.assert(
      fc.property(values, values, (a, b) => {
        const merged = gridOf(a);
        merged.merge(gridOf(b));
        expect(merged.encode()).toEqual(gridOf([...b, ...a]).encode());
        const restored = new Grid(NUMBERS_WIDTH, numberPlace, CELLS_MAX);
        restored.restore(merged.encode());
        expect(restored.encode()).toEqual(merged.encode());
      }),
      { numRuns: 100 },
    );
  });

  test('bins have exactly the values between their edges, and about as many of the reference each', () => {
    fc.assert(
      fc.property(values, values, fc.integer({ min: 2, max: 12 }), (a, b, count) => {
        const [reference, found] = [gridOf(a), gridOf(b)];
        const [was, is] = sideBySide(reference, found, count);
        const edges = equalBins(reference, count).map((place) => numberCell(place, reference.width).low);
        // Below zero a cell has its upper edge and not its lower one.
        const placeOf = (value: number) => edges.filter((edge) => (edge < 0 ? value > edge : value >= edge)).length;
        const counts = (all: readonly number[]) => edges.concat(0).map((_, bin) => all.filter((value) => placeOf(value) === bin).length);
        expect([was, is]).toEqual([counts(a), counts(b)]);
        const cells = reference.sorted();
        for (const [bin, own] of was.entries()) {
          const most = Math.max(...cells.map(([, one]) => one));
          expect(own, `bin ${bin}`).toBeLessThanOrEqual(a.length / count + Math.max(most, 1));
        }
      }),
      { numRuns: 100 },
    );
  });
});

test.each([
  ['offset: 0', 'late rows may still change', ', offset: 0'],
  ['min_windows above windows', 'min_windows is more than windows', ', min_windows: 4'],
  ['more than may be remembered', 'would remember up to', '', 'group_by: email, max_groups: 5000'],
])('refused at load: %s', (_, message, more, beside = '') => {
  const own = `columns: { total: [{ psi: { reference: { rolling: { windows: 3${more} } }, max: 0.1 }${beside === '' ? '' : `, ${beside}`} }] }`;
  expect(messages(own).join('\n')).toContain(message);
});
