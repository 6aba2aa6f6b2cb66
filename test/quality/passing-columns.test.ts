/** Rows judged column by column, in whatever forms the cells of a column come: what is said is what a run row by row says. */
import { expect, test } from 'vitest';
import type { DatasetName } from '../../core/event.ts';
import { cellAt, type ColumnCells, countOf, noCells } from '../../quality/column-cells.ts';
import { type Contract, parseContract } from '../../quality/contract.ts';
import { fileColumn } from '../../quality/file-columns.ts';
import { RuleRun } from '../../quality/file-run.ts';
import fc from '../support/fast-check.ts';
import { HEAD } from './support.ts';

const RULES = `${HEAD}columns:
  n: [not_null, { between: { min: 2, max: 6 } }]
  share: [{ between: { max: 0.5 }, nulls: fail }, { in_set: [0.25, 0.5] }]
  t: [{ match_regex: '^[a-c]+$' }, { length: { max: 2 }, mostly: 0.5, on_fail: tag }]
  gone: [{ between: { min: 1 } }]
  level: [{ between: { max: 0.5 } }]
`;
const MIXED = `${RULES}checks:
  - { id: pair, pair_equal: { column_A: n, column_B: share }, nulls: skip }
  - { id: met, column: t, length: { max: 1 }, where: 'after.n > 3' }
  - { id: other, column: note, match_regex: '^x', where: "after.t == 'a'" }
`;
const contractOf = (text: string) => {
  const parsed = parseContract(text, 'rules.yaml', 'file');
  if ('problems' in parsed) throw new Error(JSON.stringify(parsed.problems));
  return parsed.contract;
};
const columns = [
  fileColumn('t', 'text', null),
  fileColumn('n', 'bigint', null),
  fileColumn('share', 'double precision', null),
  fileColumn('gone', 'bigint', null),
  fileColumn('note', 'text', null),
  fileColumn('level', 'double precision', null),
];
const dataset = { name: 'shop.public.orders' as DatasetName, version: 1, columns, key: [] };
const runOf = (contract: Contract) => new RuleRun(contract, dataset, [], {}, 0, null);

/** So many cells in one of the forms that hold them. */
function cellsOf(
  rows: number,
  values: fc.Arbitrary<string | number>,
  own: readonly fc.Arbitrary<ColumnCells>[],
): fc.Arbitrary<ColumnCells> {
  const orNull = fc.option(values, { freq: 5 });
  const plain = fc.array(orNull, { minLength: rows, maxLength: rows }).map((list): ColumnCells => ({ kind: 'values', values: list }));
  const places = fc
    .tuple(
      fc.array(orNull, { minLength: 1, maxLength: 4 }),
      fc.array(fc.integer({ min: -1, max: 3 }), { minLength: rows, maxLength: rows }),
    )
    .map(([dictionary, list]) =>
      placesOf(
        dictionary,
        list.map((at) => (at < dictionary.length ? at : -1)),
      ),
    );
  // Pages of few values, none of which is missing, are judged by their values alone.
  const full = fc
    .tuple(fc.array(values, { minLength: 1, maxLength: 3 }), fc.array(fc.nat(), { minLength: rows, maxLength: rows }))
    .map(([dictionary, list]) =>
      placesOf(
        dictionary,
        list.map((at) => at % dictionary.length),
      ),
    );
  return fc.oneof(plain, places, full, ...own);
}

function placesOf(dictionary: readonly unknown[], places: readonly number[]): ColumnCells {
  return { kind: 'places', dictionary, places: Int32Array.from(places), hasNulls: places.includes(-1) };
}

const numbers = (rows: number, values: fc.Arbitrary<number>) =>
  fc
    .array(values, { minLength: rows, maxLength: rows })
    .map((list): ColumnCells => ({ kind: 'numbers', numbers: Float64Array.from(list) }));
const texts = (rows: number, values: fc.Arbitrary<string>) =>
  fc.array(fc.option(values, { freq: 5 }), { minLength: rows, maxLength: rows }).map((list): ColumnCells => {
    const cells = new Int32Array(2 * rows);
    let bytes = 'x';
    for (const [at, text] of list.entries()) {
      cells.set([bytes.length, text?.length ?? -1], 2 * at);
      bytes += `${text ?? ''}|`;
    }
    return { kind: 'texts', bytes: Buffer.from(bytes), cells };
  });

/** Pages mostly have the dictionary of the page before. */
const DICTIONARY = ['a', 'abc', null, 'd'];
const shared = (rows: number) =>
  fc.array(fc.integer({ min: -1, max: 3 }), { minLength: rows, maxLength: rows }).map((list) => placesOf(DICTIONARY, list));

const whole = fc.integer({ min: 0, max: 8 });
const share = fc.constantFrom(0.25, 0.5, 0.75, 1, -1, Number.NaN);
const text = fc.constantFrom('a', 'ab', 'abc', 'd', '', 'b1');
const pages = fc.array(
  fc.nat(30).chain((rows) =>
    fc.tuple(
      cellsOf(rows, fc.oneof(text, fc.constant('é')), [texts(rows, text), shared(rows)]),
      cellsOf(rows, whole, [numbers(rows, whole)]),
      cellsOf(rows, share, [numbers(rows, share)]),
      fc.constant(noCells(rows)),
      // Declared to be texts, and some are numbers.
      cellsOf(rows, fc.oneof(text, fc.constant('x1')), [texts(rows, fc.constantFrom('x', 'y')), numbers(rows, whole)]),
      // Mostly all of them pass.
      numbers(rows, fc.oneof({ weight: 40, arbitrary: fc.constantFrom(0.25, 0.5, -1) }, share)),
    ),
  ),
  { maxLength: 3 },
);

test.each([
  ['column by column is as row by row', `${RULES}  note: [{ length: { max: 1 } }]\n`],
  ['checks that have a condition or read several columns are judged beside', MIXED],
])('%s', (_, rules) => {
  const contract = contractOf(rules);
  let failed = 0;
  fc.assert(
    fc.property(pages, (groups) => {
      const [marked, plain] = [runOf(contract), runOf(contract)];
      const passing = marked.passingColumns();
      if (passing === null) throw new Error('there are rules of single columns');
      const { rest } = passing;
      let before = 0;
      for (const group of groups) {
        const rows = countOf(group[0]);
        const rowAt = (row: number) => group.map((cells) => cellAt(cells, row));
        const ofRest = (values: readonly unknown[]) => values.map((value, at) => (rest?.columns.includes(at) === true ? value : null));
        const bad = new Uint8Array(rows);
        const nulls = passing.columns.map((column) => passing.mark(column, group[column] ?? noCells(rows), bad, 0));
        const places = [...bad.keys()];
        for (const row of places)
          if (bad[row] === 1) marked.row(rowAt(row), [], before + row);
          else rest?.take(ofRest(rowAt(row)), before + row);
        const good = places.filter((at) => bad[at] === 0);
        failed += rows - good.length;
        for (const [at, column] of passing.columns.entries())
          expect(nulls[at]).toBe(places.filter((row) => rowAt(row)[column] === null).length);
        passing.passed(good.length, (column) => good.filter((row) => rowAt(row)[column] === null).length);
        for (const row of places) plain.row(rowAt(row), [], before + row);
        before += rows;
      }
      expect(marked.parts()).toEqual(plain.parts());
    }),
    { numRuns: 300 },
  );
  expect(failed).toBeGreaterThan(100);
});

test('where no check reads one column without a condition, rows are judged as rows', () => {
  for (const check of [
    '  - { pair_equal: { column_A: n, column_B: share } }',
    "  - { column: n, between: { min: 1 }, where: 'after.n > 1' }",
  ])
    expect(runOf(contractOf(`${HEAD}checks:\n${check}\n`)).passingColumns()).toBeNull();
});
