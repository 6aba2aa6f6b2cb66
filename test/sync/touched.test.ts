/** Whether batches have rows in common: against their sets of keys. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { EventRun } from '../../core/batch.ts';
import { type ChangeEvent, type Dataset, type DatasetName, ValueRow, type Version } from '../../core/event.ts';
import { fold } from '../../sync/postgres/fold.ts';
import { type DatasetsOptions, Layouts } from '../../sync/postgres/layout.ts';
import type { Table } from '../../sync/postgres/tables.ts';
import { areDisjoint, touchedBy } from '../../sync/postgres/touched.ts';
import { DATASET } from './shop.ts';

const seed = 20261126;
const OTHER: Dataset = { ...DATASET, name: 'shop.public.others' as DatasetName };
const layouts = new Layouts('shop', new Map() as DatasetsOptions);
const standing = (dataset: Dataset, standsAlone = true): Table =>
  ({ qualified: dataset.name as string, standsAlone }) as Partial<Table> as Table; // All that is asked of it.

const change = fc.record({
  dataset: fc.constantFrom(DATASET, OTHER),
  key: fc.integer({ min: 0, max: 30 }),
  from: fc.option(fc.integer({ min: 0, max: 30 }), { freq: 5 }),
  isDelete: fc.boolean(),
});
const changes = fc.array(change, { minLength: 1, maxLength: 8 });
type Change = typeof change extends fc.Arbitrary<infer T> ? T : never;

function folded(all: readonly Change[]) {
  const events = all.map(({ dataset, key, from, isDelete }, ordinal): ChangeEvent => {
    const own = { dataset, key: String(key), version: '01' as Version, ordinal, committedAtMs: 0 };
    if (isDelete) return { ...own, op: 'delete', before: new ValueRow(key, null, null), after: null, movedFrom: null };
    const movedFrom = from === null || from === key ? null : String(from);
    const before = movedFrom === null ? null : new ValueRow(from, null, null);
    return { ...own, op: 'update', before, after: new ValueRow(key, 1, 'x'), movedFrom } as ChangeEvent; // With a row before where it moved.
  });
  return fold(events, { layouts, takes: () => true, keepsRow: () => false });
}

const keysOf = (all: readonly Change[]): Set<string> =>
  new Set(
    all.flatMap(({ dataset, key, from, isDelete }) =>
      [key, ...(isDelete || from === null ? [] : [from])].map((one) => `${dataset.name} ${one}`),
    ),
  );

test('two batches are disjoint if and only if they have no key of a table in common', () => {
  fc.assert(
    fc.property(changes, changes, (one, other) => {
      const [a, b] = [touchedBy(folded(one), standing), touchedBy(folded(other), standing)];
      if (a === null || b === null) throw new Error('both can be told by their keys');
      const common = [...keysOf(one)].some((key) => keysOf(other).has(key));
      expect(areDisjoint(a, b)).toBe(!common);
      expect(areDisjoint(b, a)).toBe(!common);
    }),
    { seed },
  );
});

test('runs of one reading have no key in common; of others, or beside changes of the table, nobody knows', () => {
  const look = (): never => {
    throw new Error('nobody asks for a row');
  };
  const run = (pass: object, dataset = DATASET): EventRun =>
    ({ dataset, length: 5, version: '01' as Version, committedAtMs: 0, rows: {}, look, event: look, events: look, pass }) as EventRun;
  const touched = (what: Parameters<typeof touchedBy>[0]) => touchedBy(what, standing) ?? new Map<string, never>();
  const pass = {};
  const changed = touched(folded([{ dataset: DATASET, key: 1, from: null, isDelete: false }]));
  expect(areDisjoint(touched(run(pass)), touched(run(pass)))).toBe(true);
  expect(areDisjoint(touched(run(pass)), touched(run({})))).toBe(false);
  expect(areDisjoint(touched(run(pass)), changed)).toBe(false);
  expect(areDisjoint(changed, touched(run(pass)))).toBe(false);
  expect(areDisjoint(changed, touched(run(pass, OTHER)))).toBe(true);
});

test('what empties a table, and a table in which more than its key matters, can be told by no key', () => {
  const truncate = { op: 'truncate', dataset: DATASET, before: null, after: null, key: '', movedFrom: null } as const;
  const event = { ...truncate, version: '01' as Version, ordinal: 0, committedAtMs: 0 };
  expect(touchedBy(fold([event], { layouts, takes: () => true, keepsRow: () => false }), standing)).toBeNull();
  const one = folded([{ dataset: DATASET, key: 1, from: null, isDelete: false }]);
  expect(touchedBy(one, (dataset) => standing(dataset, false))).toBeNull();
  expect(touchedBy(one, () => undefined)).toBeNull();
});
