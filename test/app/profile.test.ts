/** `tidegate profile` of files: what it proposes holds for the rows it was made from, whatever they are; and what a second reading says. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, expect, test } from 'vitest';
import type { TableProfile } from '../../quality/profile/propose.ts';
import type { ProfileChange } from '../../quality/profile/compare.ts';
import { Random } from '../support/random.ts';
import { cli } from './cli.ts';

const SEED = Number(process.env['PROFILE_SEED'] ?? 1);
const TABLES = Number(process.env['PROFILE_TABLES'] ?? 40);
const scratch = mkdtempSync(join(tmpdir(), 'tidegate-profile-test-'));
afterAll(() => rmSync(scratch, { recursive: true }));

let files = 0;
function write(text: string, extension: string): string {
  const path = join(scratch, `${++files}.${extension}`);
  writeFileSync(path, text);
  return path;
}
const ndjson = (rows: readonly object[]) => write(rows.map((row) => `${JSON.stringify(row)}\n`).join(''), 'ndjson');

type Make = (random: Random, at: number) => unknown;
const day = (random: Random) => `20${10 + random.below(20)}-0${1 + random.below(9)}-1${random.below(10)}`;
const pick = (random: Random, ...values: readonly unknown[]) => values[random.below(values.length)];
/** Column by column what values may be; each of them has broken something somewhere. */
const COLUMNS: readonly Make[] = [
  (_random, at) => at,
  (random) => random.below(4),
  (random) => random.below(1_000_000) - 500_000,
  (random) => -random.below(100),
  (random) => pick(random, 0, -0, 0.5, 1e300, -1e-300, 1e21, 123_456_789_012),
  (random) => random.next() * 10 ** random.below(20),
  (random) => pick(random, 'new', 'paid', 'shipped'),
  (random) => pick(random, '', ' ', 'no', 'null', 'true', '~', '1', '0x10', "it's", 'a: b', '- c', '#d', '"e"', 'é\u0301', '\u2028'),
  (random) => pick(random, true, false),
  () => true,
  (random) => `user${random.below(1000)}@example.org`,
  (random) => `AB-${1000 + random.below(9000)}/${random.below(9)}`,
  (random) => `${random.below(100)}.${random.below(100)}`,
  (random) => `${random.below(1000)}`,
  (random) => `0${random.below(1000)}`,
  (random) => `${day(random)}T10:00:00Z`,
  day,
  (random) => pick(random, 'infinity', '-infinity', '0044-03-15 BC', '2026-01-01'),
  (random) => pick(random, 'NaN', 'Infinity', '1', '2.5'),
  (random) => 'word '.repeat(random.below(60)),
  (random) => '😀'.repeat(random.below(5)),
  (random) => pick(random, 1, 'one', null, { a: 1 }, [1]),
  (random) => ({ sku: random.below(9), tags: ['a'] }),
  () => null,
  (random) => pick(random, 'DE', 'FR', 'GB', 'US', 'AT', 'CH'),
  (random) => pick(random, 'a.b', 'A.B', 'a.b '),
];
const NAMES = ['id', 'Status', 'odd name', 'a.b', "it's", 'quo"te', 'x: y', '#hash', '- dash', 'ümlaut', 'null', '1', 'after', 'a,b'];
const TYPES = ['timestamptz', 'timestamp', 'date', 'numeric', 'bigint', 'float8', 'text', null, null, null, null, null];

function tableOf(random: Random): { readonly rows: Record<string, unknown>[]; readonly types: Record<string, string | null> } {
  const columns = Array.from({ length: 1 + random.below(7) }, (_, at) => ({
    name: random.chance(0.5) ? `c${at}` : `${String(pick(random, ...NAMES))}${at}`,
    make: COLUMNS[random.below(COLUMNS.length)] ?? (() => null),
    nulls: random.chance(0.3) ? random.next() : 0,
    missing: random.chance(0.1),
    type: random.chance(0.2) ? (TYPES[random.below(TYPES.length)] ?? null) : null,
  }));
  const rows = Array.from({ length: random.chance(0.1) ? random.below(3) : 15 + random.below(120) }, (_, at) => {
    const row: Record<string, unknown> = {};
    for (const { name, make, nulls, missing } of columns) {
      if (missing && random.chance(0.5)) continue;
      row[name] = random.chance(nulls) ? null : make(random, at);
    }
    return row;
  });
  return { rows, types: Object.fromEntries(columns.map(({ name, type }) => [name, type])) };
}

function csvOf(rows: readonly Record<string, unknown>[]): string {
  const names = [...new Set(rows.flatMap((row) => Object.keys(row)))];
  const field = (value: unknown) =>
    value === null || value === undefined
      ? ''
      : `"${(typeof value === 'object' ? JSON.stringify(value) : String(value as string | number | boolean)).replaceAll('"', '""')}"`;
  return [names.map((name) => field(name)).join(','), ...rows.map((row) => names.map((name) => field(row[name])).join(','))]
    .map((line) => `${line}\n`)
    .join('');
}

test(`what is proposed passes judge on the very rows it was made from, and is a rule file (seed ${SEED})`, async () => {
  const random = new Random(SEED);
  let rules = 0;
  for (let n = 0; n < TABLES; n++) {
    const { rows, types } = tableOf(random);
    const input = random.chance(0.3) && rows.length > 0 ? write(csvOf(rows), 'csv') : ndjson(rows);
    const typed = random.chance(0.3) ? ['--types', write(JSON.stringify(types), 'json')] : [];
    const profiled = await cli('profile', '--input', input, '--on-fail', 'quarantine', '--json', ...typed);
    expect([profiled.code, profiled.stderr]).toEqual([0, '']);
    const { yaml, rules: proposed } = profiled.json as TableProfile & { yaml: string };
    rules += proposed.length;
    const file = write(yaml, 'yaml');
    const judged = await cli('judge', '--rules', file, '--input', input, ...typed);
    expect(judged, `table ${n} of seed ${SEED}: ${input}\n${yaml}\n${judged.stdout}${judged.stderr}`).toMatchObject({ code: 0 });
    // The same rows once more break none of them, and say nothing new.
    const again = await cli('profile', '--input', input, '--against', file, '--json', ...typed);
    expect([again.code, (again.json as { changes: ProfileChange[] }).changes]).toEqual([0, []]);
  }
  expect(rules).toBeGreaterThan(3 * TABLES);
});

test.each(['types.parquet', 'types-v2.parquet', 'types-int96.parquet'])(
  '%s declares its types, and rules are proposed for these',
  async (name) => {
    const input = fileURLToPath(new URL(`../quality/parquet/${name}`, import.meta.url));
    const profiled = await cli('profile', '--input', input, '--on-fail', 'quarantine', '--json');
    const { yaml, columns } = profiled.json as TableProfile & { yaml: string };
    expect(columns.find((column) => column.name === 'at')?.type).toBe('timestamp without time zone');
    const judged = await cli('judge', '--rules', write(yaml, 'yaml'), '--input', input);
    expect(judged, `${yaml}\n${judged.stdout}${judged.stderr}`).toMatchObject({ code: 0 });
  },
);

const orders = (count: number, change: (at: number) => object = () => ({})) =>
  Array.from({ length: count }, (_, at) => ({
    id: at + 1,
    status: ['new', 'paid'][at % 2],
    total: at + 3,
    net: at + 1,
    tax: 2,
    email: `a${at}@b.org`,
    note: at % 10 === 0 ? null : 'some words',
    ...change(at),
  }));

test('each rule stands with what speaks for it', async () => {
  const { stdout } = await cli('profile', '--input', ndjson(orders(100)), '--dataset', 'shop.public.orders');
  expect(stdout).toContain('# Proposed by `tidegate profile` from all 100 rows of a file');
  expect(stdout).toContain('dataset: shop.public.orders\n');
  expect(stdout).toContain('    # 100 values, and only these: "new" (50), "paid" (50)\n    - in_set: [new, paid]\n      on_fail: tag\n');
  expect(stdout).toContain('    # 100 values from 3 to 102\n    - between: {min: 0, strict_min: true, max: 500}\n');
  expect(stdout).toContain('    # all 100 are of this format\n    - format: email\n');
  expect(stdout).toContain('sum_equals: {column_list: [net, tax], sum_column: total, ignore_row_if: any_value_is_missing}');
});

/** Fifty hours of twenty to thirty rows, all of one day's length after another. */
const hourly = (change: (at: number) => object = () => ({})) =>
  Array.from({ length: 1250 }, (_, at) => ({
    number: `N${at}x`,
    at: new Date(Date.UTC(2026, 0, 1) + Math.floor((at / 25) * 3_600_000)).toISOString(),
    price: (at % 37) * 1000 + 0.5,
    note: at % 50 === 0 ? null : 'some words',
    ...change(at),
  }));

test('what is true of many rows together is proposed too: keys, nulls, different values, and how many come in an hour', async () => {
  const input = ndjson(hourly());
  const types = write(JSON.stringify({ at: 'timestamptz', price: 'numeric' }), 'json');
  const { json } = await cli('profile', '--input', input, '--types', types, '--json');
  const { rules, yaml } = json as TableProfile & { yaml: string };
  expect(
    rules
      .filter(({ word, window }) => word === 'unique' || window !== undefined)
      .map(({ id, parameters, evidence }) => [id, parameters, evidence]),
  ).toEqual([
    ['price.distinct_count', { max: 100 }, '37 different values in 1250 rows'],
    ['number.unique', true, 'all 1250 values are different'],
    ['note.null_rate', { max: 0.05 }, '25 of 1250 are null'],
    ['volume', { min: 12 }, 'by at, 25 to 25 rows in each of 48 hours'],
  ]);
  expect(yaml).not.toContain('&');
  const file = write(yaml, 'yaml');
  const broken = ndjson(
    hourly((at) => ({ ...(at === 9 ? { number: 'N8x' } : {}), ...(at % 5 === 0 ? { note: null } : {}), price: at + 0.5 })),
  );
  const again = await cli('profile', '--input', broken, '--types', types, '--against', file);
  expect(again.code).toBe(1);
  for (const line of [
    'number.unique fails: there are values that come twice',
    'note.null_rate fails over the 1250 rows, with 0.2 observed',
    'price.distinct_count fails over the 1250 rows, with 1250 observed',
  ])
    expect(again.stdout).toContain(line);
  // Of a sample nobody knows whether the rest is different.
  expect((await cli('profile', '--input', input, '--rows', '500')).stdout).not.toContain('unique');
});

test('where there are more values than there is room for, what is said is about the rows after them too', async () => {
  const rules = (max: number) =>
    write(
      `apiVersion: quality/v1
kind: DatasetRules
dataset: shop.public.orders
defaults: { window: { every: 1h, max_state: 1MB } }
columns: { id: [{ distinct_count: { max: ${max} } }] }
`,
      'yaml',
    );
  const input = ndjson(Array.from({ length: 20_500 }, (_, id) => ({ id })));
  const { code, stdout } = await cli('profile', '--input', input, '--against', rules(15_000));
  expect(code).toBe(1);
  const observed = Number(/id\.distinct_count fails over the 20500 rows, with (\d+) observed/.exec(stdout)?.[1]);
  expect(Math.abs(observed - 20_500)).toBeLessThan(600);
  expect((await cli('profile', '--input', input, '--against', rules(30_000))).stdout).not.toContain('distinct_count fails');
});

test('of times of several columns, those that come by the hour say how many come, however many days the others have', async () => {
  const input = ndjson(hourly((at) => ({ due: new Date(Date.UTC(2026, 0, 1 + Math.floor(at / 12))).toISOString().slice(0, 10) })));
  const types = write(JSON.stringify({ at: 'timestamptz', due: 'date' }), 'json');
  const { rules } = (await cli('profile', '--input', input, '--types', types, '--json')).json as TableProfile;
  expect(rules.find(({ id }) => id === 'volume')).toMatchObject({
    window: { every: '1h' },
    evidence: 'by at, 25 to 25 rows in each of 48 hours',
  });
});

test('a second reading says what has changed, of an earlier profile and of a rule file', async () => {
  const first = ndjson(orders(100));
  const { stdout, json } = await cli('profile', '--input', first, '--json');
  const earlier = write(stdout, 'json');
  expect((await cli('profile', '--input', first, '--against', earlier)).stdout).toBe('Nothing has changed.\n');
  const second = ndjson(orders(120, (at) => (at === 110 ? { status: 'lost', total: -5, note: null } : at > 110 ? { extra: 1 } : {})));
  const changed = await cli('profile', '--input', second, '--against', earlier);
  expect(changed.code).toBe(1);
  for (const line of [
    'extra: the column is new',
    'total: its least value is -5, and was 3',
    'net-and-tax-add-up-to-total is proposed no more',
  ])
    expect(changed.stdout).toContain(line);
  expect(changed.stdout).toContain('status: new values: "lost"');
  const rules = write((json as { yaml: string }).yaml, 'yaml');
  const held = await cli('profile', '--input', second, '--against', rules, '--json');
  expect(held.code).toBe(1);
  expect((held.json as { changes: ProfileChange[] }).changes.map(({ message }) => message)).toEqual(
    expect.arrayContaining(['status.in_set fails for 1 of 120 rows', 'net-and-tax-add-up-to-total fails for 1 of 120 rows']),
  );
});

test('what makes no sense is told, and nothing is overwritten', async () => {
  const input = ndjson(orders(3));
  const there = write('here', 'yaml');
  for (const [args, words] of [
    [['--input', input, '--out', there], 'exists already'],
    [['--input', input, '--rows', 'many'], '--rows many is no whole number'],
    [['--input', input, '--on-fail', 'halt'], '--on-fail halt'],
    [['--input', input, '--rate', '5'], '--rate is for tables'],
    [['--input', input, '--against', there], 'the file is empty or no set of keys'],
    [['--input', join(scratch, 'nowhere.ndjson')], 'cannot be read'],
    [[], 'what to profile is not said'],
  ] as const) {
    const { code, stderr } = await cli('profile', ...args);
    expect([code, stderr]).toEqual([2, expect.stringContaining(words)]);
  }
  expect(readFileSync(there, 'utf8')).toBe('here');
  const empty = await cli('profile', '--input', ndjson([]), '--json');
  expect(empty.json).toMatchObject({ rows: 0, rules: [] });
  // Of a sample, only its rows are told of.
  expect((await cli('profile', '--input', ndjson(orders(100)), '--rows', '50')).stdout).toContain('a sample of 50 rows of a file');
});
