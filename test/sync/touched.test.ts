/** Whether batches have rows in common: against their sets of keys. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { EventRun } from '../../core/batch.ts';
import {
  type ChangeEvent,
  type Dataset,
  type DatasetName,
  type Position,
  type Row,
  type Value,
  ValueRow,
  type Version,
} from '../../core/event.ts';
import { fold } from '../../sync/postgres/fold.ts';
import { type DatasetsOptions, Layouts } from '../../sync/postgres/layout.ts';
import type { Table } from '../../sync/postgres/tables.ts';
import { areDisjoint, type Touched, touchedBy } from '../../sync/postgres/touched.ts';
import { wholeRowsOf } from '../../sync/postgres/whole-rows.ts';
import { batchOf, DATASET, encoded } from './shop.ts';

const seed = 20261126;
const OTHER: Dataset = { ...DATASET, name: 'shop.public.others' as DatasetName };
const layouts = new Layouts('shop', new Map() as DatasetsOptions);
const standing = (dataset: Dataset, standsAlone = true): Table =>
  ({ qualified: dataset.name as string, standsAlone, hasPlainKey: true, layout: layouts.of(dataset) }) as Partial<Table> as Table; // All that is asked of it.

const change = fc.record({
  dataset: fc.constantFrom(DATASET, OTHER),
  key: fc.integer({ min: 0, max: 30 }),
  from: fc.option(fc.integer({ min: 0, max: 30 }), { freq: 5 }),
  isDelete: fc.boolean(),
});
const changes = fc.array(change, { minLength: 1, maxLength: 8 });
type Change = typeof change extends fc.Arbitrary<infer T> ? T : never;

type RowOf = (...values: readonly Value[]) => Row;
const plain: RowOf = (...values) => new ValueRow(...values);

const eventsOf = (all: readonly Change[], row: RowOf): ChangeEvent[] =>
  all.map(({ dataset, key, from, isDelete }, ordinal): ChangeEvent => {
    const own = { dataset, key: String(key), version: '01' as Version, ordinal, committedAtMs: 0 };
    if (isDelete) return { ...own, op: 'delete', before: row(key, null, null), after: null, movedFrom: null };
    const movedFrom = from === null || from === key ? null : String(from);
    const before = movedFrom === null ? null : row(from, null, null);
    return { ...own, op: 'update', before, after: row(key, 1, 'x'), movedFrom } as ChangeEvent; // With a row before where it moved.
  });

const folded = (all: readonly Change[], row = plain) => fold(eventsOf(all, row), { layouts, takes: () => true, keepsRow: () => false });

/** Rows that need not be folded, where there are enough of them. */
function whole(all: readonly Change[]) {
  const many = Array.from({ length: 24 }, () => all).flat();
  const rows = wholeRowsOf(batchOf(eventsOf(many, encoded), '01' as Position), standing);
  if (rows === null) throw new Error('all of them are whole');
  return rows;
}

const keysOf = (all: readonly Change[]): Set<string> =>
  new Set(
    all.flatMap(({ dataset, key, from, isDelete }) =>
      [key, ...(isDelete || from === null ? [] : [from])].map((one) => `${dataset.name} ${one}`),
    ),
  );
const haveCommon = (one: readonly Change[], other: readonly Change[]): boolean => !keysOf(one).isDisjointFrom(keysOf(other));
const standingStill = (all: readonly Change[]): Change[] => all.map((one) => ({ ...one, from: null }));

test('two batches are disjoint if and only if they have no key of a table in common', () => {
  fc.assert(
    fc.property(changes, changes, (one, other) => {
      const [a, b] = [touchedBy(folded(one), standing), touchedBy(folded(other), standing)];
      if (a === null || b === null) throw new Error('both can be told by their keys');
      expect(areDisjoint(a, b)).toBe(!haveCommon(one, other));
      expect(areDisjoint(b, a)).toBe(!haveCommon(one, other));
    }),
    { seed },
  );
});

test('so they are where rows are encoded, folded or not', () => {
  fc.assert(
    fc.property(changes, changes, (one, moved) => {
      const other = standingStill(moved);
      const [a, b, c] = [folded(one, encoded), folded(other, encoded), whole(other)].map((rows) => touchedBy(rows, standing));
      if (!a || !b || !c) throw new Error('all can be told by their keys');
      expect(areDisjoint(a, b)).toBe(!haveCommon(one, other));
      expect(areDisjoint(a, c)).toBe(!haveCommon(one, other));
      expect(areDisjoint(c, a)).toBe(!haveCommon(one, other));
      expect(areDisjoint(b, c)).toBe(false);
    }),
    { seed },
  );
});

test('of keys that are encoded and keys that are not, nobody knows', () => {
  const change = (dataset: Dataset, key: number): Change => ({ dataset, key, from: null, isDelete: false });
  const [text, bytes, others] = [folded([change(DATASET, 1)]), folded([change(DATASET, 2)], encoded), folded([change(OTHER, 2)])].map(
    (rows) => touchedBy(rows, standing),
  );
  if (!text || !bytes || !others) throw new Error('all can be told by their keys');
  expect(areDisjoint(text, bytes)).toBe(false);
  expect(areDisjoint(bytes, others)).toBe(true);
  let made = 0;
  const mixed: RowOf = (...values) => (made++ % 2 === 0 ? encoded(...values) : plain(...values));
  expect(touchedBy(folded([change(DATASET, 1), change(DATASET, 2)], mixed), standing)).toBeNull();
});

test('keys of a table of which nobody has said how it is encoded are held against others by their texts', () => {
  const unknown = (dataset: Dataset): Table => ({ ...standing(dataset), hasPlainKey: false });
  fc.assert(
    fc.property(changes, changes, (one, other) => {
      const [a, b] = [touchedBy(folded(one, encoded), unknown), touchedBy(folded(other), unknown)];
      if (a === null || b === null) throw new Error('both can be told by their keys');
      expect(areDisjoint(a, b)).toBe(!haveCommon(one, other));
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
  const touched = (what: Parameters<typeof touchedBy>[0]): Touched => {
    const found = touchedBy(what, standing);
    if (found === null) throw new Error('it can be told by its keys');
    return found;
  };
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
