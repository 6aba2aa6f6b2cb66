/**
 * Every name of Great Expectations over random small tables: a rule file judges the rows of a live stream as a suite judges the same rows in a file, with `mostly` and with
 * a condition of rows. Those that are about the table alone, or about rows at the target, have tests of their own.
 */
import { describe, expect, test } from 'vitest';
import { compileContract } from '../../../quality/compile.ts';
import { decimalOf } from '../../../core/expression/decimal.ts';
import { parseDate } from '../../../quality/gx/dates.ts';
import { CATALOGUE } from '../../../quality/gx/registry.ts';
import { SuiteRun } from '../../../quality/gx/suite.ts';
import { Outcome } from '../../../quality/outcome.ts';
import type { FileCell } from '../../../quality/states/cell.ts';
import fc from '../../support/fast-check.ts';
import { type Cells, columns, contractOf, insert, lines, orders } from '../support.ts';
import { exampleKwargs, exampleRows, type Row } from './name-examples.ts';
import { type Change, clockAt, closes, MemoryStore, MINUTE, NOON, TestLane } from './support.ts';

fc.configureGlobal({ seed: 20_261_128 });

/** The target is asked, or another dataset. */
const BESIDE = ['expect_column_values_to_be_unique', 'expect_compound_columns_to_be_unique', 'expect_table_row_count_to_equal_other_table'];
const NAMES = [...CATALOGUE]
  .filter(([name, { takesRows }]) => name.startsWith('expect_') && takesRows && !BESIDE.includes(name))
  .map(([name]) => name);

const clock = clockAt(() => NOON);
const typeOf = (name: string) => columns.find((column) => column.name === name)?.type ?? 'text';
const timeText = (ms: number) => new Date(ms).toISOString().replace('T', ' ').replace('Z', '+00');

const MORE: Readonly<Record<string, readonly unknown[]>> = {
  integer: [0, 1, 2, 3, 4, 5],
  decimal: [0, 1, 2, 19, 81, 100],
  text: ['new', 'paid', 'gone', 'shipped', '', 'näh', '24.11.2026', '{"a": 1}', '[]'],
};

/** On a stream a text that is no JSON fails by itself; in a suite it keeps the expectation from being judged. */
const isJson = (text: string) => /^[[{]/.test(text);

/** Rows of the columns that the example has, in the order of their time. */
function tables(name: string): fc.Arbitrary<readonly Row[]> {
  const rows = exampleRows(name);
  const names = new Set([...rows.flatMap((row) => Object.keys(row)), 'items', 'status']);
  names.delete('created_at');
  const cells = [...names].map((column) => {
    // What a file may hold in a column of texts, a table does not.
    const fits = (cell: unknown) =>
      cell === null || typeOf(column) !== 'text' || (typeof cell === 'string' && (!name.endsWith('json_schema') || isJson(cell)));
    const known = rows.map((row) => row[column] ?? null);
    return [column, fc.constantFrom(...[...known, ...known, ...(MORE[typeOf(column)] ?? []), null].filter(fits))] as const;
  });
  return fc
    .array(fc.record(Object.fromEntries(cells)), { minLength: 1, maxLength: 8 })
    .map((all) => all.map((row, at) => ({ ...row, id: at + 1, created_at: timeText(NOON + at * 1000) })));
}

function ofFile(name: string, kwargs: Row, rows: readonly Row[]): boolean {
  const run = new SuiteRun([{ type: name, kwargs, meta: {} }], {}, 0);
  const cellOf = (row: Row, column: string): FileCell => {
    const cell = (row[column] ?? null) as number | string | boolean | null;
    const type = typeOf(column);
    if (cell === null) return null;
    if (type === 'decimal') return decimalOf(String(cell)) ?? null;
    return type === 'timestamp' || type === 'date' ? parseDate(String(cell), 0) : cell;
  };
  for (const [at, row] of rows.entries())
    run.row(
      run.slots.columns.map((column) => cellOf(row, column)),
      at,
    );
  const [answer] = run.end({ columns: columns.map((column) => column.name), rows: rows.length, rowsOf: () => null });
  return answer?.success === true;
}

const sent = (row: Row): Row =>
  Object.fromEntries(
    Object.entries(row).map(([name, cell]) => [name, typeOf(name) === 'decimal' && typeof cell === 'number' ? String(cell) : cell]),
  );

/** What cannot be read does not pass. */
function passes(test: () => Outcome): boolean {
  try {
    return test() === Outcome.Pass;
  } catch {
    return false;
  }
}

/** Null where nothing is said: the window has no rows that count, or they are too few. */
async function live(name: string, kwargs: Row, rows: readonly Row[]): Promise<boolean | null> {
  const item = {
    expect: name,
    kwargs,
    ...(typeof kwargs['mostly'] === 'number' && kwargs['mostly'] < 1 && CATALOGUE.get(name)?.window === undefined
      ? { on_fail: 'tag' }
      : {}),
  };
  const contract = contractOf(`source: { event_time: after.created_at }\nchecks: ${JSON.stringify([item])}`);
  if (contract.checks.length > 0 && contract.live.checks.length === 0) {
    const compiled = compileContract(contract, orders);
    if (Array.isArray(compiled)) throw new Error(lines(compiled).join('\n'));
    return rows.every((row) => compiled.rules.every(({ test }) => passes(() => test(insert(sent(row) as Cells)))));
  }
  const store = new MemoryStore();
  const lane = new TestLane(store, contract, clock);
  await lane.batch(rows.map((row, at): Change => ({ op: 'insert', key: String(at), before: null, after: sent(row), atMs: NOON })));
  await lane.batch([
    { op: 'insert', key: '99', before: null, after: { id: 99, created_at: timeText(NOON + 60 * MINUTE) }, atMs: NOON + 60 * MINUTE },
  ]);
  await closes(store, contract);
  const found = store.all.find(({ startMs }) => startMs === NOON);
  return found === undefined || found.verdict === 'indeterminate' ? null : found.verdict === 'pass';
}

describe.each(NAMES)('%s', (name) => {
  test('says the same of a stream and of a file', async () => {
    const takes = CATALOGUE.get(name)?.takes ?? [];
    const more = fc.record({
      mostly: takes.includes('mostly') ? fc.constantFrom(null, 0.4, 0.75) : fc.constant(null),
      condition: fc.constantFrom(null, 'items > 1', 'not items > 1', 'status != "new"', 'items.isin([1, 2, 3])'),
    });
    let judged = 0;
    await fc.assert(
      fc.asyncProperty(tables(name), more, async (rows, { mostly, condition }) => {
        const kwargs = {
          ...exampleKwargs(name),
          ...(mostly !== null && { mostly }),
          ...(condition !== null && { row_condition: condition, condition_parser: 'pandas' }),
        };
        const said = await live(name, kwargs, rows);
        if (said === null) return;
        judged++;
        expect(said).toBe(ofFile(name, kwargs, rows));
      }),
      { numRuns: 60 },
    );
    expect(judged).toBeGreaterThan(20);
  });
});
