/** Rows that are put in their places where they lie: what they say is what a reading of their values says, whatever a file looks like. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { afterAll, describe, expect, test } from 'vitest';
import type { ColumnType } from '../../core/event.ts';
import { guessShape } from '../../app/judge/csv.ts';
import { OtherKind } from '../../app/judge/csv-records.ts';
import { readRows, type RowFile } from '../../app/judge/read-file.ts';
import { fileColumn, FileRow } from '../../quality/file-columns.ts';
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
const LEAST_PLACED = 200;

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
  const RULES = `${HEAD}columns:
  id: [not_null, { between: { min: 5 } }]
  name: [{ match_regex: '^[a-zé ]*$' }, { length: { max: 6 } }, { in_set: [one, two, 'zwölf', three four], mostly: 0.9 }]
  share: [{ between: { max: 0.5 }, nulls: fail }]
  yes: [{ in_set: [true] }]
checks:
  - { id: whole, json_schema: { properties: { extra: { maximum: 6 } } } }
`;
  // A condition is what they are not judged in their places for.
  const BY_VALUES = `${RULES}  - { id: never, pair_equal: { column_A: id, column_B: share }, where: 'after.id < -1' }\n`;
  const rows = Array.from({ length: 3000 }, (_, n) => ({
    id: n % 97 === 5 ? null : n,
    name: ['one', 'two', 'zwölf', 'three four', 'ONE', null][n % 61 < 3 ? n % 6 : n % 3] ?? null,
    share: n % 50 === 0 ? null : (n % 103) / 200,
    yes: n % 31 !== 0,
    // One check alone reads it, and does not name it.
    extra: n % 8,
  }));
  const written: Readonly<Record<string, string>> = {
    'rows.ndjson': rows.map((row) => `${JSON.stringify(row)}\n`).join(''),
    'rows.csv': `id,name,share,yes,extra\n${rows.map((row) => `${row.id ?? ''},${row.name ?? ''},${row.share ?? ''},${row.yes},${row.extra}\n`).join('')}`,
  };

  test.each(Object.keys(written))('%s', async (name) => {
    const write = (file: string, text: string) => {
      writeFileSync(join(scratch, file), text);
      return join(scratch, file);
    };
    const input = write(name, written[name] ?? '');
    const said = async (file: string, text: string) => {
      const { code, out } = await judge('--rules', write(file, text), '--input', input, '--json');
      const { rules } = JSON.parse(out) as { readonly rules: readonly { readonly rule: string; readonly unexpected_count: number }[] };
      return { code, rules: rules.filter(({ rule }) => rule !== 'never') };
    };
    const quick = await said('rules.yaml', RULES);
    expect(quick).toEqual(await said('by-values.yaml', BY_VALUES));
    expect(quick.rules.map(({ unexpected_count: count }) => count > 0)).toEqual(quick.rules.map(() => true));
  });
});
