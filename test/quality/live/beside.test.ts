/** Windows of one dataset beside those of another: against counting, whichever lanes bring them, and whatever becomes of those that do. */
import fc from '../../support/fast-check.ts';
import { expect, test } from 'vitest';
import type { Dataset, DatasetName, LaneId } from '../../../core/event.ts';
import { type Contract, parseContract } from '../../../quality/contract.ts';
import { type Live, WindowCloser } from '../../../quality/live/closer.ts';
import { contractOf, lines, orders, problemsOf } from '../support.ts';
import { type Change, clockAt, closes, MemoryStore, MINUTE, NOON, TestLane } from './support.ts';

fc.configureGlobal({ seed: 20_261_127 });

const copies: Dataset = { ...orders, name: 'shop.public.copies' as DatasetName };
const WINDOWS = 'defaults: { window: { every: 5m, out_of_order: 0s, lateness: 10m } }\n';
const EQUALS = `${WINDOWS}checks: [{ id: equal, row_count_equals: shop.public.copies }]`;

function copiesBy(body: string): Contract {
  const parsed = parseContract(`apiVersion: quality/v1\nkind: DatasetRules\ndataset: ${copies.name}\n${body}`, 'copies.yaml');
  if ('problems' in parsed) throw new Error(lines(parsed.problems).join('\n'));
  return parsed.contract;
}

const text = (ms: number) => new Date(ms).toISOString().replace('T', ' ').replace('Z', '+00');
const at = (minutes: number) => NOON + minutes * MINUTE;
const insert = (of: Dataset, id: number, atMs: number): Change => ({
  op: 'insert',
  key: String(id),
  before: null,
  after: { id, created_at: text(atMs) },
  atMs,
  of,
});

/** Of two lanes, one dataset each. */
const apart: Partial<Live> = { lanesOf: (dataset) => [(dataset === orders.name ? 'one' : 'two') as LaneId] };

interface World {
  readonly store: MemoryStore;
  readonly contracts: readonly Contract[];
  readonly one: TestLane;
  readonly two: TestLane;
}

function world(body = EQUALS, other = ''): World {
  const store = new MemoryStore();
  // Lanes say once a second how far they are.
  let nowMs = NOON;
  const clock = clockAt(() => (nowMs += 1000));
  const contracts = [contractOf(body), copiesBy(other)];
  return { store, contracts, one: new TestLane(store, contracts, clock, 'one'), two: new TestLane(store, contracts, clock, 'two') };
}

/** Minutes from noon, verdict, observed, revision and the reason. */
const saidBy = ({ all }: MemoryStore) =>
  all.map(
    ({ startMs, verdict, observed, revision, reason }) =>
      `${startMs < 0 ? 'snapshot' : (startMs - NOON) / MINUTE} ${verdict} ${observed ?? '-'} #${revision} ${reason ?? '-'}`,
  );

test('both have to have come so far, and a late row of the other amends the verdict', async () => {
  const { store, contracts, one, two } = world();
  await one.batch([insert(orders, 1, at(1)), insert(orders, 2, at(2)), insert(orders, 3, at(6))]);
  await two.batch([insert(copies, 1, at(1)), insert(copies, 9, at(4.9))]);
  expect(await closes(store, contracts, apart)).toEqual([]);
  await two.batch([insert(copies, 3, at(6))]);
  await closes(store, contracts, apart);
  expect(saidBy(store)).toEqual(['0 pass {"self":2,"other":2} #1 2 rows, and shop.public.copies has 2']);
  await one.batch([insert(orders, 4, at(7))]);
  await two.batch([insert(copies, 5, at(8)), insert(copies, 7, at(3))]);
  await closes(store, contracts, apart);
  expect(saidBy(store).slice(1)).toEqual(['0 fail {"self":2,"other":3} #2 2 rows, and shop.public.copies has 3']);
});

test('a dataset that has brought nothing yet is waited for, until it is idle', async () => {
  const byColumn = 'source: { event_time: after.created_at }\n';
  const { store, contracts, one } = world(byColumn + EQUALS, byColumn);
  await one.batch([insert(orders, 1, at(1)), insert(orders, 2, at(6))]);
  const closer = new WindowCloser(() => new Map(contracts.map((contract) => [contract.dataset, contract])));
  const closesAt = (nowMs: number) => closer.close(store, { nowMs, isCaughtUp: false, isCopied: () => true });
  expect(await closesAt(NOON)).toEqual([]);
  expect(await closesAt(NOON + MINUTE)).toEqual([]);
  await closesAt(NOON + MINUTE + 1);
  expect(saidBy(store)).toEqual(['0 fail {"self":1,"other":0} #1 1 rows, and shop.public.copies has 0']);
});

test('rows of a snapshot are let go once both are copied, and say nothing', async () => {
  const { store, contracts, one } = world();
  await one.batch([
    { ...insert(orders, 1, at(1)), op: 'read' },
    { ...insert(copies, 1, at(1)), op: 'read' },
  ]);
  await closes(store, contracts, { isCopied: (dataset) => dataset === orders.name });
  expect(store.parts.length).toBe(2);
  expect(await closes(store, contracts)).toEqual([]);
  expect(store.parts).toEqual([]);
});

test('a window in which one of the two has no rows is judged, and one that neither has any in', async () => {
  const { store, contracts, one } = world();
  await one.batch([insert(copies, 1, at(1)), insert(orders, 2, at(6)), insert(orders, 3, at(30))]);
  await closes(store, contracts);
  expect(saidBy(store).map((line) => line.replace(/ #.*/, ''))).toEqual([
    '0 fail {"self":0,"other":1}',
    '5 fail {"self":1,"other":0}',
    ...[10, 15, 20, 25].map((minute) => `${minute} pass {"self":0,"other":0}`),
  ]);
});

test('where counts the rows of its own dataset alone, and each rule is a factor and a tolerance of its own', async () => {
  const body = `${WINDOWS}checks:
  - { id: some, row_count_equals: shop.public.copies, where: after.id > 1 }
  - { id: twice, row_count_equals: { dataset: shop.public.copies, factor: 2 } }
  - { id: near, row_count_equals: { dataset: shop.public.copies, tolerance: 0.5 } }
  - { id: long, expect: expect_table_row_count_to_equal_other_table, kwargs: { other_table_name: shop.public.copies } }`;
  const { store, contracts, one } = world(body);
  const two = [1, 2].map((id) => insert(copies, id, at(1)));
  await one.batch([...[1, 2, 3].map((id) => insert(orders, id, at(1))), ...two, insert(orders, 9, at(6))]);
  await closes(store, contracts);
  expect(store.all.map(({ rule, verdict, observed }) => `${rule} ${verdict} ${observed}`)).toEqual([
    'some pass {"self":2,"other":2}',
    'twice fail {"self":3,"other":2}',
    'near pass {"self":3,"other":2}',
    'long fail {"self":3,"other":2}',
  ]);
});

test('two datasets that name each other are judged each by its own rule', async () => {
  const store = new MemoryStore();
  const contracts = [contractOf(EQUALS), copiesBy(EQUALS.replace('copies', 'orders'))];
  const lane = new TestLane(
    store,
    contracts,
    clockAt(() => NOON),
  );
  await lane.batch([insert(orders, 1, at(1)), insert(copies, 1, at(1)), insert(copies, 2, at(1)), insert(orders, 9, at(6))]);
  await closes(store, contracts);
  expect(store.all.map(({ dataset, verdict, observed }) => `${dataset} ${verdict} ${observed}`)).toEqual([
    'shop.public.orders fail {"self":1,"other":2}',
    'shop.public.copies fail {"self":2,"other":1}',
  ]);
});

test('what is not known of the other window is not known of the rule', async () => {
  const byColumn = 'source: { event_time: after.created_at }\n';
  const { store, contracts, one } = world(byColumn + EQUALS, byColumn);
  const gone: Change = { ...insert(copies, 1, at(2)), op: 'delete', after: null };
  await one.batch([insert(orders, 1, at(1)), insert(copies, 1, at(1)), gone, insert(copies, 9, at(6)), insert(orders, 9, at(6))]);
  await closes(store, contracts);
  expect(saidBy(store)).toEqual([
    '0 indeterminate - #1 of shop.public.copies: of 1 changed rows it is not known whether they were in the window before',
  ]);
});

test('nothing is kept for a dataset that no rule names any more, and its own rules never see it', async () => {
  const { store, contracts, one } = world(EQUALS, `${WINDOWS}checks: [{ row_count: { min: 1 } }]`);
  await one.batch([insert(copies, 1, at(1)), insert(orders, 1, at(1))]);
  expect(new Set(store.parts.map(({ dataset, set }) => `${dataset} ${set}`)).size).toBe(3);
  const without = [contractOf(`${WINDOWS}checks: [{ row_count: { min: 1 } }]`), contracts[1] ?? contractOf('')];
  await closes(store, without);
  expect(store.parts.map(({ dataset, set }) => `${dataset} ${set}`)).toEqual(['shop.public.copies 5m/5m/0/10m/1m/rows']);
});

test('what cannot be judged is refused where it stands', () => {
  const said = [
    'checks: [{ row_count_equals: shop.public.orders }]',
    'checks: [{ row_count_equals: { dataset: shop.public.copies }, group_by: status }]',
    'checks: [{ row_count_equals: { dataset: shop.public.copies, factor: 0 } }]',
    'checks: [{ row_count_equals: { tolerance: 0.1 } }]',
    'checks: [{ expect: expect_table_row_count_to_equal_other_table, kwargs: { other_table_name: [3] } }]',
  ].map((body) => problemsOf(body).map(({ message, fix }) => `${message} -> ${fix}`));
  expect(said).toMatchInlineSnapshot(`
    [
      [
        "row_count_equals names the dataset itself: it cannot fail -> Name another dataset, or write a number.",
      ],
      [
        "the rows of shop.public.copies are counted together, and are in no groups of this table -> Remove group_by.",
      ],
      [
        "it must be > 0 -> Correct the value.",
      ],
      [
        ""dataset" is missing -> Add dataset: ….",
      ],
      [
        "expect_table_row_count_to_equal_other_table: other_table_name is no text -> Write a text.",
      ],
    ]
  `);
});

interface Step {
  readonly of: 'orders' | 'copies';
  readonly key: number;
  readonly deletes: boolean;
  readonly afterMs: number;
}
const steps: fc.Arbitrary<Step[]> = fc.array(
  fc.record({
    of: fc.constantFrom('orders', 'copies'),
    key: fc.nat({ max: 9 }),
    deletes: fc.boolean(),
    afterMs: fc.nat({ max: 2 * MINUTE }),
  }),
  { minLength: 1, maxLength: 40 },
);

/** Rows that come and go; the time of a row is that of its insert. */
function historyOf(made: readonly Step[]): Change[] {
  const rows = new Map<string, Change['after']>();
  let atMs = NOON;
  return made.map(({ of, key, deletes, afterMs }): Change => {
    atMs += afterMs;
    const id = `${of} ${key}`;
    const before = rows.get(id) ?? null;
    const common = { key: String(key), atMs, of: of === 'orders' ? orders : copies };
    if (before !== null && deletes) {
      rows.delete(id);
      return { ...common, op: 'delete', before, after: null };
    }
    const after = { id: key, created_at: before?.['created_at'] ?? text(atMs) };
    rows.set(id, after);
    return { ...common, op: before === null ? 'insert' : 'update', before, after };
  });
}

const EVERY = 5 * MINUTE;
const windowOf = (ms: number) => Math.floor(ms / EVERY) * EVERY;

/** Of each window how many rows there are in the end, by the time of each. */
function counted(changes: readonly Change[], of: Dataset): Map<number, number> {
  const rows = new Map<string, number>();
  for (const change of changes) {
    if (change.of !== of) continue;
    if (change.after === null) rows.delete(change.key);
    else rows.set(change.key, windowOf(Date.parse(String(change.after['created_at']).replace(' ', 'T').replace('+00', 'Z'))));
  }
  const counts = new Map<number, number>();
  for (const start of rows.values()) counts.set(start, (counts.get(start) ?? 0) + 1);
  return counts;
}

test('by one lane or by two, in any batches, with kills: the last verdict of each window is that of counting', async () => {
  const BY_COLUMN = 'source: { event_time: after.created_at }\n';
  const rules = BY_COLUMN + EQUALS.replace('lateness: 10m', 'lateness: 2h');
  await fc.assert(
    fc.asyncProperty(
      steps,
      fc.boolean(),
      fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1, maxLength: 5 }),
      fc.array(fc.nat({ max: 6 })),
      async (made, isApart, cuts, kills) => {
        const changes = historyOf(made);
        const { store, contracts, one, two } = world(rules, BY_COLUMN);
        const endMs = (changes.at(-1)?.atMs ?? NOON) + 60 * MINUTE;
        const runs = isApart
          ? [
              { lane: one, own: changes.filter(({ of }) => of === orders) },
              { lane: two, own: changes.filter(({ of }) => of === copies) },
            ]
          : [{ lane: one, own: [...changes] }];
        for (let round = 0; runs.some(({ own }) => own.length > 0); round++)
          for (const [i, run] of runs.entries()) {
            const batch = run.own.splice(0, cuts[(round + i) % cuts.length] ?? 1);
            if (kills.includes((round + i) % 7)) await run.lane.batch(batch, false);
            await run.lane.batch(batch);
            await closes(store, contracts, isApart ? apart : {});
          }
        await one.batch([insert(orders, 100, endMs)]);
        await (isApart ? two : one).batch([insert(copies, 100, endMs)]);
        await closes(store, contracts, isApart ? apart : {});
        const [own, other] = [counted(changes, orders), counted(changes, copies)];
        const last = new Map(store.all.map(({ startMs, verdict, observed }) => [startMs, `${verdict} ${observed}`]));
        for (const [startMs, said] of last) {
          const [self, others] = [own.get(startMs) ?? 0, other.get(startMs) ?? 0];
          expect(`${startMs} ${said}`).toBe(`${startMs} ${self === others ? 'pass' : 'fail'} {"self":${self},"other":${others}}`);
        }
        for (const startMs of [...own.keys(), ...other.keys()]) expect([...last.keys()]).toContain(startMs);
        // Whatever is judged and final is let go, of both.
        expect(store.parts.filter(({ startMs }) => startMs >= 0 && startMs < endMs - 125 * MINUTE)).toEqual([]);
      },
    ),
    { numRuns: 80 },
  );
});
