/** Windows read cells from their bytes where rows come in these: what they take is what the values would have given. */
import { describe, expect, test } from 'vitest';
import type { ChangeEvent, Column, Dataset, DatasetName, Row } from '../../../core/event.ts';
import { type Contract, parseContract } from '../../../quality/contract.ts';
import { bindSets } from '../../../quality/live/binding.ts';
import { cellReader, presenceReader } from '../../../quality/live/cells.ts';
import { Fold } from '../../../quality/live/fold.ts';
import { shareReader } from '../../../quality/live/share.ts';
import { planSets } from '../../../quality/live/slots.ts';
import { numericBytes } from '../../../wire/postgres/types-numeric.ts';
import { builtinType } from '../../../wire/postgres/types.ts';
import { PgRow } from '../../../wire/postgres/row.ts';
import fc from '../../support/fast-check.ts';
import { HEAD, insert } from '../support.ts';

const columns: readonly [Column, Column] = [
  { name: 'total', type: 'decimal', native: 'numeric', nullable: true },
  { name: 'status', type: 'text', native: 'text', nullable: true },
];
const dataset: Dataset = { name: 'shop.public.orders' as DatasetName, version: 1, columns, key: [] };
const types = [1700, 25].map((oid) => {
  const type = builtinType(oid);
  if (type === undefined) throw new Error(`no codec for ${oid}`);
  return { oid, typmod: -1, format: 'binary' as const, decode: type.decode, type };
});

/** `null`, or a length that is none. */
type Cell = Buffer | -1 | -2;

function rowOf(...cells: readonly Cell[]): PgRow {
  const bytes = Buffer.concat(cells.map((cell) => (typeof cell === 'number' ? Buffer.alloc(0) : cell)));
  const places = new Int32Array(2 * cells.length);
  let at = 0;
  for (const [index, cell] of cells.entries()) {
    places[2 * index] = at;
    places[2 * index + 1] = typeof cell === 'number' ? cell : cell.length;
    at += typeof cell === 'number' ? 0 : cell.length;
  }
  return new PgRow({ dataset, types }, bytes, places, 0);
}
const eventOf = (after: Row): ChangeEvent => ({ ...insert({}), dataset, after }) as ChangeEvent; // What insert makes is an insert.
const asValues = (row: Row): Row => ({ encoded: null, value: (index) => row.value(index) });

function contractOf(body: string): Contract {
  const parsed = parseContract(`${HEAD}${body}\n`, 'rules.yaml');
  if ('problems' in parsed) throw new Error(JSON.stringify(parsed.problems));
  return parsed.contract;
}

const gone = fc.constantFrom<Cell>(-1, -2);
const numerics = fc
  .oneof(
    fc
      .tuple(fc.bigInt({ min: -(10n ** 18n), max: 10n ** 18n }), fc.integer({ min: 0, max: 12 }))
      .map(([digits, scale]) => `${digits}e-${scale}`),
    fc
      .tuple(fc.integer({ min: -99_999_999, max: 99_999_999 }), fc.integer({ min: -9, max: 4 }))
      .map(([digits, power]) => `${digits}e${power}`),
    fc.constantFrom(
      '0',
      '0.00',
      '-0.01',
      '12.50',
      '10000',
      '9007199254740991',
      '9007199254740992',
      '0.9007199254740993',
      'NaN',
      'Infinity',
    ),
  )
  .map((text): Cell => Buffer.from(numericBytes(text)));
const few = fc.constantFrom('new', 'paid', 'shipped', '', 'né', 'x'.repeat(31), 'x'.repeat(32), 'x'.repeat(33), 'ne', 'newe');
const texts = fc
  .oneof({ weight: 9, arbitrary: few }, fc.string({ unit: 'grapheme', maxLength: 40 }))
  .map((text): Cell => Buffer.from(text));

test.each([
  ['total', 0, numerics],
  ['status', 1, texts],
] as const)('%s', (_, index, cells) => {
  const column = columns[index];
  const [reads, present] = [cellReader(column, index), presenceReader(column, index)];
  fc.assert(
    // The same reader sees all of them: it may remember what it saw.
    fc.property(
      fc.array(fc.oneof({ weight: 9, arbitrary: cells }, gone), { minLength: 30, maxLength: 60 }),
      fc.boolean(),
      (list, knowsOther) => {
        const other = knowsOther ? rowOf(Buffer.from(numericBytes('1.5')), Buffer.from('other')) : null;
        for (const cell of list) {
          const row = rowOf(index === 0 ? cell : -1, index === 1 ? cell : -1);
          const wanted = reads(asValues(row), other, eventOf(row));
          expect(reads(row, other, eventOf(row))).toEqual(wanted);
          const isThere = present(row, other, eventOf(row));
          expect(typeof isThere === 'symbol' || isThere === null ? isThere : true).toBe(
            typeof wanted === 'symbol' || wanted === null ? wanted : true,
          );
        }
      },
    ),
    { numRuns: 150 },
  );
});

test.each([
  ['total', 'mean: { between: [0, 1] }', numerics],
  ['total', 'max: { between: [0, 1] }', numerics],
  ['total', 'distinct_count: { min: 1 }', numerics],
  ['total', 'median: { between: [0, 1] }', numerics],
  ['status', 'distinct_count: { min: 1 }', texts],
] as const)('states of %s take cells where they lie as they take values: %s', (column, check, cells) => {
  const contract = contractOf(`columns: { ${column}: [{ ${check} }] }`);
  const [plan] = planSets(contract.live.checks);
  const { readers = [] } = bindSets(contract, plan === undefined ? [] : [plan], dataset).sets[0] ?? {};
  if (plan === undefined) throw new Error('no set');
  const { retracts } = plan.slots[0]?.kind ?? { retracts: false };
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.oneof({ weight: 9, arbitrary: cells }, gone), fc.boolean()), { maxLength: 60 }), (puts) => {
      const [inPlace, byValue] = [new Fold(plan.slots), new Fold(plan.slots)];
      for (const [cell, isTaken] of puts) {
        const row = rowOf(column === 'total' ? cell : -1, column === 'status' ? cell : -1);
        const event = eventOf(row);
        for (const [fold, read] of [
          [inPlace, row],
          [byValue, asValues(row)],
        ] as const) {
          fold.add(readers, event, read, null);
          if (isTaken && retracts) fold.retract(readers, event, read);
        }
      }
      expect(inPlace.encode(plan.slots)).toBe(byValue.encode(plan.slots));
    }),
  );
});

describe('rows that pass a check', () => {
  test.each(['{ between: { min: 0, max: 100 } }', '{ not_null: true }', '{ in_set: [1, 12.5] }'])('%s', (check) => {
    const contract = contractOf(`columns: { total: [${check.replace(/ }$/, ', mostly: 0.5, on_fail: tag }')}] }`);
    const [rule] = contract.checks;
    if (rule === undefined) throw new Error('no check of rows');
    const passes = shareReader(rule, contract, dataset);
    fc.assert(
      fc.property(fc.oneof({ weight: 4, arbitrary: numerics }, gone), (cell) => {
        const row = rowOf(cell, -1);
        expect(passes(row, null, eventOf(row))).toBe(passes(asValues(row), null, eventOf(asValues(row))));
      }),
      { numRuns: 200 },
    );
  });
});
