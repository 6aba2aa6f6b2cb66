/**
 * Parquet files as another writer makes them (test/quality/parquet/make.py: every type, codec and encoding, pages of both versions, several row groups)
 * say the same as their rows in NDJSON with the types written down; broken ones are told and do no harm.
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { afterAll, describe, expect, test } from 'vitest';
import { UsageError } from '../../app/cli/arguments.ts';
import { readParquet } from '../../app/judge/parquet.ts';
import { readRows, typesOfFile } from '../../app/judge/read-file.ts';
import { Random } from '../support/random.ts';
import { judge } from './judge-cli.ts';
import { HEAD } from './support.ts';

const scratch = mkdtempSync(join(tmpdir(), 'tidegate-parquet-'));
afterAll(() => rmSync(scratch, { recursive: true }));

const fixture = (name: string) => fileURLToPath(new URL(`parquet/${name}`, import.meta.url));
const NDJSON = fixture('types.ndjson');
const FILES = ['types.parquet', 'types-v2.parquet', 'types-int96.parquet'] as const;
const TYPES: Readonly<Record<string, string>> = {
  id: 'bigint',
  small: 'bigint',
  unsigned: 'numeric',
  ratio: 'double precision',
  single: 'double precision',
  yes: 'boolean',
  name: 'text',
  price: 'numeric',
  large: 'numeric',
  huge: 'numeric',
  day: 'date',
  at: 'timestamp without time zone',
  at_utc: 'timestamp with time zone',
  tod: 'time without time zone',
  tags: 'jsonb',
  place: 'jsonb',
  raw: 'bytea',
};

/** The old twelve-byte timestamps do not say of zones. */
const typesIn = (file: string) => (file === 'types-int96.parquet' ? { ...TYPES, at_utc: 'timestamp without time zone' } : TYPES);

function write(name: string, content: string | Uint8Array): string {
  const path = join(scratch, name);
  writeFileSync(path, content);
  return path;
}

const opened = (path: string) => ({ path, stdin: Readable.from([]), signal: new AbortController().signal });

async function rowsOf(path: string, columns: readonly string[]): Promise<readonly (readonly unknown[])[]> {
  const rows: unknown[][] = [];
  await readRows(opened(path), columns, (values) => void rows.push([...values]));
  return rows;
}

const RULES = `${HEAD}columns:
  id: [not_null, unique, { between: { min: '9007199254740993' } }]
  small: [{ sum: { max: 300 } }, { between: { min: 0 }, mostly: 0.9 }]
  unsigned: [{ max: { between: [0, 1e19] } }]
  single: [{ in_set: [0.1, 0.2, 0.3] }]
  yes: [{ in_set: [true] }]
  name: [{ match_regex: '[0-2]$' }]
  price: [{ between: { min: '-13.98', max: '9.99' } }, { mean: { max: 1 } }]
  huge: [{ max: { between: [1, 2e30] } }]
  day: [{ between: { min: '1970-01-01' } }, { max: { between: ['1970-01-18', '1970-01-18'] } }]
  at: [{ min: { between: ['2026-01-01', '2026-01-01'] } }]
  at_utc: [{ between: { min: '1970-01-01T00:00:00Z' } }]
  tod: [{ in_set: ['00:00:59', '01:01:59.00001'] }]
  place: [not_null]
  tags: [not_null]
  raw: [{ length: { min: 3 } }]
checks:
  - { id: ordered, pair_greater: { column_A: id, column_B: large } }
`;

const SUITE = [
  { type: 'expect_table_column_count_to_equal', kwargs: { value: 17 } },
  { type: 'expect_table_columns_to_match_ordered_list', kwargs: { column_list: Object.keys(TYPES) } },
  { type: 'expect_table_row_count_to_equal', kwargs: { value: 30 } },
  { type: 'expect_column_values_to_be_unique', kwargs: { column: 'id' } },
  { type: 'expect_column_values_to_be_between', kwargs: { column: 'price', min_value: -13.98, max_value: 9.99 } },
  { type: 'expect_column_sum_to_be_between', kwargs: { column: 'huge', max_value: 0 } },
  { type: 'expect_column_max_to_be_between', kwargs: { column: 'at', max_value: '2026-01-02' } },
  { type: 'expect_column_values_to_be_in_set', kwargs: { column: 'name', value_set: ['näme 0'] } },
  { type: 'expect_column_median_to_be_between', kwargs: { column: 'ratio', min_value: 4, max_value: 5 } },
];

describe.each(FILES)('%s', (name) => {
  const file = fixture(name);
  const same = name === 'types-int96.parquet' ? write('zoneless.ndjson', readFileSync(NDJSON, 'utf8').replaceAll('+00"', '"')) : NDJSON;

  test('it declares the types of its columns, and its values are those of NDJSON', async () => {
    const types = typesIn(name);
    expect(Object.fromEntries(await typesOfFile(opened(file)))).toEqual(types);
    const columns = Object.keys(types);
    const wanted = (await rowsOf(same, columns)).map((row) => row.map((value) => value ?? null));
    expect(await rowsOf(file, columns)).toEqual(wanted);
  });

  test('rules and suites say of it what they say of the same rows in NDJSON', async () => {
    const types = write('types.json', JSON.stringify(typesIn(name)));
    for (const means of [
      ['--rules', write('rules.yaml', RULES)],
      ['--suite', write('suite.json', JSON.stringify({ name: 's', expectations: SUITE }))],
    ]) {
      const [a, b] = [await judge(...means, '--input', file, '--json'), await judge(...means, '--input', same, '--types', types, '--json')];
      expect(a).toEqual(b);
      expect(a.code).toBe(1);
    }
  });
});

test('columns that the file lacks are null, and without columns rows are counted alone', async () => {
  const file = fixture('types.parquet');
  expect((await rowsOf(file, ['none', 'small'])).slice(0, 4)).toEqual([-5, -4, -3, null].map((small) => [null, small]));
  expect(await readRows(opened(file), [], () => {})).toMatchObject({ columns: Object.keys(TYPES), rows: 30 });
});

test('a further table may be a Parquet file', async () => {
  const rules = write('count.yaml', `${HEAD}checks:\n  - { row_count_equals: copy }\n`);
  const input = write('Rows.PARQUET', readFileSync(fixture('types-v2.parquet')));
  expect((await judge('--rules', rules, '--input', input, '--table', `copy=${fixture('types.parquet')}`, '--json')).code).toBe(0);
});

describe('a file that cannot be read is told with its path', () => {
  const whole = readFileSync(fixture('types.parquet'));
  const rules = write('id.yaml', `${HEAD}columns: { id: [unique] }\n`);

  test.each([
    ['empty.parquet', Buffer.alloc(0), 'empty.parquet cannot be read as Parquet'],
    ['text.parquet', Buffer.from('{"id":1}\n'.repeat(9)), 'text.parquet cannot be read as Parquet: file invalid (footer != PAR1)'],
    ['short.parquet', whole.subarray(0, -100), 'short.parquet cannot be read as Parquet'],
    ['front.parquet', Buffer.concat([Buffer.alloc(4000), whole.subarray(4000)]), 'front.parquet: column id of row group 1'],
  ])('%s', async (name, bytes, message) => {
    const { code, out } = await judge('--rules', rules, '--input', write(name, bytes));
    expect(code).toBe(2);
    expect(out).toContain(message);
  });

  test('a path where nothing is', async () => {
    const { code, out } = await judge('--rules', rules, '--input', join(scratch, 'none.parquet'));
    expect([code, out.includes('none.parquet cannot be read: ENOENT')]).toEqual([2, true]);
  });
});

describe('a damaged file ends', () => {
  const seed = 7;
  const whole = readFileSync(fixture('types.parquet'));

  test(`bytes that are others, or missing, are told or read (seed ${seed})`, async () => {
    const random = new Random(seed);
    for (let round = 0; round < 12; round++) {
      const bytes = Buffer.from(round % 4 === 0 ? whole.subarray(0, random.below(whole.length)) : whole);
      for (let flips = round % 4; flips > 0 && bytes.length > 0; flips--) bytes[random.below(bytes.length)] = random.below(256);
      const read = await rowsOf(write('damaged.parquet', bytes), Object.keys(TYPES)).catch((error: unknown) => error);
      if (Array.isArray(read)) expect(read).toHaveLength(30);
      else expect(read, `round ${round}`).toBeInstanceOf(UsageError);
    }
  });

  // types-v2.parquet with some other bytes.
  test('a reader that comes to no end is ended', async () => {
    const read = readParquet(opened(fixture('endless.parquet')), 'all', () => {}, 2000);
    await expect(read).rejects.toThrow('came to no end within 2 seconds');
  });

  test('what takes the rows may throw, and a signal may stop it: the reader is ended', async () => {
    const thrown = new Error('enough');
    const read = readParquet(opened(fixture('types.parquet')), 'all', () => {
      throw thrown;
    });
    await expect(read).rejects.toBe(thrown);
    const stopped = AbortSignal.abort(new Error('stopped'));
    await expect(readParquet({ ...opened(fixture('types.parquet')), signal: stopped }, 'all', () => {})).rejects.toThrow('stopped');
  });
});
