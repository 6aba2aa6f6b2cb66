/** Rows that are put in their places where they lie: what they say is what a reading of their values says, whatever a file looks like. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { afterAll, describe, expect, test } from 'vitest';
import type { ColumnType } from '../../core/event.ts';
import { cellMaker } from '../../app/judge/cells.ts';
import { guessShape } from '../../app/judge/csv.ts';
import { OtherKind } from '../../app/judge/csv-records.ts';
import { declaredTypes, wholeShape } from '../../app/judge/file-shape.ts';
import type { JudgeInput } from '../../app/judge/input.ts';
import { judgeFile } from '../../app/judge/judge-rules.ts';
import { PartWorkers } from '../../app/judge/part-workers.ts';
import { readRows, type RowFile } from '../../app/judge/read-file.ts';
import { type Contract, parseContract } from '../../quality/contract.ts';
import { fileCheck } from '../../quality/file-check.ts';
import { fileColumn, FileRow } from '../../quality/file-columns.ts';
import { RuleRun } from '../../quality/file-run.ts';
import { PlacedRow } from '../../quality/placed-row.ts';
import { UsageError } from '../../app/cli/arguments.ts';
import fc from '../support/fast-check.ts';
import { judge } from './judge-cli.ts';
import { HEAD } from './support.ts';

const scratch = mkdtempSync(join(tmpdir(), 'tidegate-placed-'));
afterAll(() => rmSync(scratch, { recursive: true }));

const opened = (path: string): RowFile => ({ path, stdin: Readable.from([]), signal: new AbortController().signal });

/** The cells of all rows, and how many of them were put in their places; or what was thrown. */
async function cellsOf(file: RowFile, names: readonly string[], types: readonly ColumnType[], isPlaced: boolean) {
  const columns = names.map((name, at) => fileColumn(name, null, types[at] ?? 'text'));
  const all = names.map((_, at) => at);
  const [row, plain] = [new PlacedRow(columns), new FileRow(columns)];
  const cells: unknown[] = [];
  let placed = 0;
  const take = () => {
    placed++;
    return cells.push(all.map((at) => row.value(at))) > 0;
  };
  try {
    const read = await readRows({ ...file, placed: isPlaced ? { row, columns: all, take } : null }, names, (values, index) => {
      expect(index).toBe(cells.length);
      plain.values = values;
      cells.push(all.map((at) => plain.value(at)));
    });
    return { said: { cells, read }, placed };
  } catch (error) {
    if (error instanceof UsageError) return { said: error.message, placed };
    if (error instanceof OtherKind) return { said: error.name, placed };
    throw error;
  }
}

const NAMES = ['a', 'b', 'ab', 'é'];
const TYPES: readonly ColumnType[] = ['integer', 'float', 'text', 'other'];
const LEAST_PLACED = 120;

const number = fc.constantFrom('0', '-0', '7', '-12', '1.0', '0.1', '-0.50', '123456789012345', '1234567890123456', '12345678901234567890');
const oddNumber = fc.constantFrom('1e3', '1E-2', '007', '1.', '.5', '-', '--1', '1.2.3', '0x1', '1_0', '99999999.99999999');
const space = fc.constantFrom('', '', '', ' ', '  ', '\t');

describe('NDJSON', () => {
  const value = fc.oneof(
    { weight: 30, arbitrary: number },
    {
      weight: 10,
      arbitrary: fc.string({ unit: fc.constantFrom('a', 'é', ' ', '日', ',', '}', ':'), maxLength: 8 }).map((text) => `"${text}"`),
    },
    { weight: 10, arbitrary: fc.constantFrom('null', 'true', 'false', '[1]', '{"a":1}') },
    { weight: 4, arbitrary: fc.constantFrom('"\\n"', '"\\u00e9"', '"\\""', '1e3', '1E-2', '99999999.99999999') },
    { weight: 1, arbitrary: fc.oneof(oddNumber, fc.constantFrom('nul', 'True', '', '"\u0001"', '"')) },
  );
  const line = fc.oneof(
    {
      weight: 40,
      arbitrary: fc.tuple(fc.subarray([...NAMES, 'c']), fc.array(value, { minLength: 5, maxLength: 5 }), space).map(
        ([keys, values, gap]) =>
          // Most lines have all keys in one order.
          `{${keys.map((key, at) => `${gap}"${key}"${gap}:${gap}${values[at]}${gap}`).join(',')}}${gap}`,
      ),
    },
    fc.constantFrom('', '{}', ' {"a":1}', '{"a":1,"a":2}', '{"b":1,"a":2}', '{"a":1}x', '{"a":1},', '[]', '{"\\u0061":5}', '\uFEFF{"a":1}'),
  );

  test('rows are those of JSON.parse', async () => {
    let placed = 0;
    const path = join(scratch, 'rows.ndjson');
    await fc.assert(
      fc.asyncProperty(
        fc.array(line, { maxLength: 8 }),
        fc.constantFrom('\n', '\r\n'),
        fc.boolean(),
        fc.nat(40),
        async (lines, newline, isEnded, cut) => {
          const whole = ['{"a":1,"b":2.5,"ab":"x","é":"y","c":null}', ...lines].join(newline) + (isEnded ? newline : '');
          const bytes = Buffer.from(whole);
          // Some files have a byte that is no UTF-8.
          if (cut < 5) bytes[Math.min(bytes.length - 1, 20 + cut)] = 0xff;
          writeFileSync(path, bytes);
          const quick = await cellsOf(opened(path), NAMES, TYPES, true);
          expect(quick.said).toEqual((await cellsOf(opened(path), NAMES, TYPES, false)).said);
          placed += quick.placed;
        },
      ),
      { numRuns: 600 },
    );
    expect(placed).toBeGreaterThan(LEAST_PLACED);
  });
});

describe('CSV', () => {
  const field = fc.oneof(
    { weight: 5, arbitrary: number },
    fc.string({ unit: fc.constantFrom('a', 'é', ' ', '日'), maxLength: 8 }),
    fc.string({ unit: fc.constantFrom('a', '"', ',', '\n', '\r', '1'), maxLength: 6 }).map((text) => `"${text.replaceAll('"', '""')}"`),
    fc.constantFrom('true', 'FALSE', 'x\ry', '"a"b', '"', '"1"'),
    { weight: 1, arbitrary: oddNumber },
  );
  const whole = fc.oneof({ weight: 9, arbitrary: number }, fc.constantFrom('', '007', '1.5', '"2"'));
  const record = fc.oneof(
    { weight: 40, arbitrary: fc.tuple(whole, whole, field, field).map((fields) => fields.join(',')) },
    fc.array(field, { maxLength: 5 }).map((fields) => fields.join(',')),
  );

  test('rows are those of the reader that knows all forms', async () => {
    let placed = 0;
    const path = join(scratch, 'rows.csv');
    await fc.assert(
      fc.asyncProperty(
        fc.tuple(fc.array(record, { maxLength: 8 }), fc.constantFrom('\n', '\r\n'), fc.boolean(), fc.nat(400), fc.nat(40)),
        async ([records, newline, isEnded, guessed, cut]) => {
          const bytes = Buffer.from([NAMES.join(','), '1,2.5,x,y', ...records].join(newline) + (isEnded ? newline : ''));
          if (cut < 5) bytes[Math.min(bytes.length - 1, 15 + cut)] = 0xff;
          writeFileSync(path, bytes);
          const file = opened(path);
          const csv = await guessShape(file, [], guessed).catch(() => null);
          if (csv === null) return;
          const quick = await cellsOf({ ...file, csv }, NAMES, TYPES, true);
          expect(quick.said).toEqual((await cellsOf({ ...file, csv }, NAMES, TYPES, false)).said);
          placed += quick.placed;
        },
      ),
      { numRuns: 600 },
    );
    expect(placed).toBeGreaterThan(LEAST_PLACED);
  });
});

describe('a rule file says the same of rows in their places and of their values', () => {
  /** Of rows, with conditions, and over all rows: any of them beside any other, behind an id of its own. */
  const CHECKS = [
    'column: id, not_null: true }',
    'column: id, between: { min: 5 } }',
    "column: name, match_regex: '^[a-zé ]*$' }",
    'column: name, length: { max: 6 } }',
    "column: name, in_set: [one, two, 'zwölf', three four], mostly: 0.9 }",
    'column: share, between: { max: 0.5 }, nulls: fail }',
    'column: yes, in_set: [true] }',
    // Declared to be a text, and some are numbers.
    "column: zip, match_regex: '^[0-9]+$' }",
    "column: zip, length: { max: 3 }, where: 'after.extra == 3' }",
    // It reads a column that it does not name.
    'json_schema: { properties: { extra: { maximum: 6 } } } }',
    "column: name, length: { max: 3 }, where: 'after.yes && after.id > 40' }",
    'column: share, between: { max: 0.3 }, where: "after.name == \'one\'" }',
    'pair_greater: { column_A: id, column_B: extra, or_equal: true } }',
    'row_count: { min: 4, max: 40 } }',
    'column: id, unique: true }',
    'column: share, mean: { min: 0.2 } }',
    "column: name, distinct_count: { min: 3 }, where: 'after.extra > 4' }",
    'column: day, max: { max: 2026-03-01 } }',
  ];
  const TYPES_GIVEN = new Map([
    ['zip', 'text'],
    ['day', 'date'],
  ]);
  const rowOf = fc.record({
    id: fc.option(fc.nat(60), { freq: 9 }),
    name: fc.option(fc.constantFrom('one', 'two', 'zwölf', 'three four', 'ONE'), { freq: 9 }),
    share: fc.option(
      fc.nat(103).map((n) => n / 200),
      { freq: 9 },
    ),
    yes: fc.boolean(),
    zip: fc.oneof({ weight: 5, arbitrary: fc.constantFrom('12', '0345', 'x') }, fc.nat(9999)),
    extra: fc.nat(7),
    day: fc.constantFrom('2026-01-31', '2026-03-01', '2026-04-01'),
  });
  type Row = typeof rowOf extends fc.Arbitrary<infer R> ? R : never;
  const WRITTEN: Readonly<Record<string, (rows: readonly Row[]) => string>> = {
    'mixed.ndjson': (rows) => rows.map((row) => `${JSON.stringify(row)}\n`).join(''),
    'mixed.csv': (rows) =>
      `id,name,share,yes,zip,extra,day\n${rows
        .map(
          (row) =>
            `${Object.values(row)
              .map((value) => value ?? '')
              .join(',')}\n`,
        )
        .join('')}`,
  };

  /** What a run says that is given the values of all rows. */
  async function byValues(rules: Contract, input: JudgeInput) {
    const declared = declaredTypes(input.types, new Map(), new Map());
    const { columns, unseen, csv } = await wholeShape(declared, input);
    const run = new RuleRun(rules, { name: rules.dataset, version: 1, columns, key: [] }, unseen, {}, 0, fileCheck);
    const makers = columns.map(({ name }) => cellMaker(declared.typeOf(name)));
    const names = columns.map(({ name }) => name);
    const read = await readRows({ ...input, csv }, names, (values, index) =>
      run.row(
        values,
        makers.map((make, at) => make(values[at])),
        index,
      ),
    );
    return { rows: read.rows, rules: run.end({ columns: read.columns, rows: read.rows, rowsOf: () => null }) };
  }

  test.each(Object.keys(WRITTEN))('%s', async (name) => {
    const path = join(scratch, name);
    const found = new Map<string, Set<boolean | null>>();
    const input = { ...opened(path), stdin: Readable.from([]), types: TYPES_GIVEN, tables: new Map(), parameters: {}, nowMs: 0 };
    await using workers = new PartWorkers();
    await fc.assert(
      fc.asyncProperty(
        fc.subarray([...CHECKS.keys()], { minLength: 1 }),
        fc.array(rowOf, { minLength: 1, maxLength: 60 }),
        async (checks, rows) => {
          writeFileSync(path, WRITTEN[name]?.(rows) ?? '');
          const parsed = parseContract(
            `${HEAD}checks:\n${checks.map((at) => `  - { id: r${at}, ${CHECKS[at]}\n`).join('')}`,
            'rules.yaml',
            'file',
          );
          if ('problems' in parsed) throw new Error(JSON.stringify(parsed.problems));
          const said = await judgeFile(parsed.contract, input, workers);
          expect(said).toEqual(await byValues(parsed.contract, input));
          for (const { rule, success } of said.rules) found.set(rule, (found.get(rule) ?? new Set()).add(success));
        },
      ),
      { numRuns: 300 },
    );
    // Every rule has failed and passed.
    expect([...found].filter(([, outcomes]) => outcomes.size < 2)).toEqual([]);
  });
});

test('fields of a column that is declared to be of texts are texts, with all their zeros, in a suite too', async () => {
  const write = (file: string, text: string) => {
    writeFileSync(join(scratch, file), text);
    return join(scratch, file);
  };
  const given = ['--input', write('zip.csv', 'id,zip\n1,12345\n2,23456\n'), '--types', write('types.json', '{"id":null,"zip":"text"}')];
  const rules = `${HEAD}columns: { zip: [{ length: 5 }, { match_regex: '^[0-9]+$' }] }\n`;
  expect((await judge('--rules', write('zip.yaml', rules), ...given)).code).toBe(0);
  const suite = { expectations: [{ type: 'expect_column_value_lengths_to_equal', kwargs: { column: 'zip', value: 5 } }] };
  expect((await judge('--suite', write('zip.json', JSON.stringify(suite)), ...given)).code).toBe(0);
});
