/** Batches of whole rows are written as if they had been folded. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Verdict } from '../../core/batch.ts';
import { type ChangeEvent, type Dataset, type DatasetName, type Position, UNCHANGED, ValueRow, type Version } from '../../core/event.ts';
import { fold } from '../../sync/postgres/fold.ts';
import { Layouts } from '../../sync/postgres/layout.ts';
import type { Table } from '../../sync/postgres/tables.ts';
import { wholeRowsOf, WrittenAs } from '../../sync/postgres/whole-rows.ts';
import { batchOf, DATASET, encoded, PLAIN } from './shop.ts';

const seed = 20261127;
const OTHER: Dataset = { ...DATASET, name: 'shop.public.others' as DatasetName };
const layouts = new Layouts('shop', new Map());
const tableOf = (dataset: Dataset): Table =>
  ({ qualified: dataset.name as string, hasPlainKey: true, layout: layouts.of(dataset) }) as Partial<Table> as Table; // All that is asked of it.

const change = fc.record({
  dataset: fc.constantFrom(DATASET, DATASET, OTHER),
  key: fc.integer({ min: 0, max: 40 }),
  op: fc.constantFrom('insert', 'update', 'update', 'delete'),
  passes: fc.boolean(),
});
type Change = typeof change extends fc.Arbitrary<infer T> ? T : never;

const eventOf = ({ dataset, key, op }: Pick<Change, 'dataset' | 'key' | 'op'>, ordinal: number): ChangeEvent =>
  ({
    op,
    dataset,
    key: String(key),
    movedFrom: null,
    version: '01' as Version,
    ordinal,
    committedAtMs: 0,
    before: op === 'delete' ? encoded(key, null, null) : null,
    after: op === 'delete' ? null : encoded(key, ordinal, 'x'),
  }) as ChangeEvent; // By construction the rows are those that the operation has.

function batchWith(changes: readonly Change[]) {
  const batch = batchOf(changes.map(eventOf), '01' as Position);
  for (const [index, { passes }] of changes.entries()) if (!passes && index % 3 === 0) batch.verdicts[index] = Verdict.Drop;
  return batch;
}

test('of each key the last event that passes is written, deletes first, and the same is counted', () => {
  fc.assert(
    fc.property(fc.array(change, { minLength: 24, maxLength: 120 }), (changes) => {
      const batch = batchWith(changes);
      const whole = wholeRowsOf(batch, tableOf);
      const folded = fold(batch.events, { layouts, takes: (i) => batch.passes(i), keepsRow: () => false });
      const { groups, ...counts } = folded;
      expect(whole).toMatchObject(counts);
      expect(whole?.groups.map(({ dataset }) => dataset.name)).toEqual(groups.map(({ dataset }) => dataset.name));
      for (const [i, { dataset, entries }] of groups.entries()) {
        const last = whole?.groups[i]?.last;
        const indices = (...as: readonly WrittenAs[]): number[] => {
          const found = last?.entries(dataset, ...as) ?? null;
          return found === null ? [] : Array.from({ length: found.length }, (_, place) => found.at(place).index);
        };
        const expected = [...entries.values()];
        const isNew = ({ event, earlier, fresh }: (typeof expected)[number]): boolean =>
          event.op === 'insert' && earlier === null && !fresh;
        expect(indices(WrittenAs.Delete)).toEqual(expected.filter(({ row }) => row === null).map(({ index }) => index));
        expect(indices(WrittenAs.New)).toEqual(expected.filter((entry) => entry.row !== null && isNew(entry)).map(({ index }) => index));
        expect(indices(WrittenAs.Upsert, WrittenAs.New)).toEqual(expected.filter(({ row }) => row !== null).map(({ index }) => index));
      }
    }),
    { seed },
  );
});

const NEW_SHAPE: Dataset = { ...DATASET, version: 2 };
const odd: Readonly<Record<string, object>> = {
  'a truncate': { op: 'truncate', before: null, after: null, key: '' },
  'a row that moves': { op: 'update', before: encoded(7, null, null), after: encoded(8, 1, 'x'), key: '8', movedFrom: '7' },
  'a row without all of its cells': { op: 'update', after: encoded(7, 1, UNCHANGED), key: '7' },
  'a row that is not encoded': { op: 'update', after: new ValueRow(7, 1, 'x'), key: '7' },
  'a key that is not there': { op: 'update', after: encoded(null, 1, 'x'), key: '7' },
  'another shape of the table': { dataset: NEW_SHAPE },
};

test.each(Object.entries(odd))('with %s a batch has to be folded', (_, other) => {
  const events = Array.from({ length: 30 }, (__, i) => eventOf({ dataset: DATASET, key: i, op: 'update' }, i));
  expect(wholeRowsOf(batchOf(events, '01' as Position), tableOf)).not.toBeNull();
  events[20] = { ...events[20], ...other } as ChangeEvent;
  expect(wholeRowsOf(batchOf(events, '01' as Position), tableOf)).toBeNull();
});

test('so has one of a table whose deleted rows stay, whose keys have several texts, or that nobody has looked at', () => {
  const events = Array.from({ length: 30 }, (_, i) => eventOf({ dataset: DATASET, key: i, op: 'update' }, i));
  const batch = batchOf(events, '01' as Position);
  const soft = new Layouts('shop', new Map([[DATASET.name, { ...PLAIN, softDelete: { at: null, flag: 'gone' } }]])).of(DATASET);
  expect(wholeRowsOf(batch, (dataset) => ({ ...tableOf(dataset), layout: soft }))).toBeNull();
  expect(wholeRowsOf(batch, (dataset) => ({ ...tableOf(dataset), hasPlainKey: false }))).toBeNull();
  expect(wholeRowsOf(batch, () => undefined)).toBeNull();
});
