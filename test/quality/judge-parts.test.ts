/** Large files are judged in several parts at once: what is said is what one part would have said, wherever the parts begin. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import type { Worker } from 'node:worker_threads';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { judgeFile } from '../../app/judge/judge-rules.ts';
import { PartWorkers } from '../../app/judge/part-workers.ts';
import { partsOf } from '../../app/judge/split.ts';
import { parseContract } from '../../quality/contract.ts';
import { Random } from '../support/random.ts';

vi.mock(import('node:os'), async (original) => ({ ...(await original()), availableParallelism: () => 2 }));

let folder = '';
beforeAll(() => (folder = mkdtempSync(join(tmpdir(), 'tidegate-parts-'))));
afterAll(() => rmSync(folder, { recursive: true }));

const RULES = `apiVersion: quality/v1
kind: DatasetRules
dataset: shop.public.orders
columns:
  id: [not_null, { between: { min: 1 } }]
  status: [{ in_set: [new, paid] }]
  note: [{ length: { max: 40 } }]
  size: [{ between: { max: 90 }, mostly: 0.5, on_fail: tag }]
`;
const contractOf = (text: string) => {
  const parsed = parseContract(text, 'rules.yaml', 'file');
  if ('problems' in parsed) throw new Error(JSON.stringify(parsed.problems));
  return parsed.contract;
};
const contract = contractOf(RULES);
const inputOf = (path: string) => ({
  path,
  types: new Map<string, string | null>(),
  tables: new Map<string, string>(),
  parameters: {},
  stdin: Readable.from([]),
  signal: new AbortController().signal,
  nowMs: 0,
});
const workers = new PartWorkers();
afterAll(() => workers.end());
const judged = (path: string, partBytes: number) => judgeFile(contract, inputOf(path), workers, partBytes);

interface Order {
  readonly id: number | bigint | null;
  readonly status: string;
  readonly note: string;
  readonly size: number | string | null;
}

/** Notes have quotes and line breaks, a few rows are bad, and `size` is what a case wants it to be. */
function orders(random: Random, count: number, sizeOf: (n: number) => Order['size']): Order[] {
  return Array.from({ length: count }, (_, n) => ({
    id: random.chance(0.01) ? (random.chance(0.5) ? null : -n) : n === 1500 ? 2n ** 60n : n + 1,
    status: random.chance(0.02) ? 'lost' : random.chance(0.5) ? 'new' : 'paid',
    note: random.chance(0.3) ? 'one\ntwo, "three"\n\nfour' : random.chance(0.02) ? 'x'.repeat(50) : `note ${n}`,
    size: sizeOf(n),
  }));
}
const csvCell = (value: Order['id'] | Order['size']) =>
  value === null ? '' : /[",\n]/.test(String(value)) ? `"${String(value).replaceAll('"', '""')}"` : String(value);
const csvOf = (rows: readonly Order[]) =>
  ['id,status,note,size', ...rows.map((row) => [row.id, row.status, row.note, row.size].map(csvCell).join(',')), ''].join('\n');
const ndjsonOf = (rows: readonly Order[]) =>
  rows
    .map((row) => JSON.stringify(row, (_, value: unknown) => (typeof value === 'bigint' ? `#${value}#` : value)).replaceAll(/"#|#"/g, ''))
    .join('\n');

const CASES: readonly (readonly [string, (n: number) => Order['size']])[] = [
  ['numbers', (n) => n % 100],
  ['numbers that have fractions from a row on that nobody looks at first', (n) => (n < 2500 ? n % 100 : 0.5)],
  ['numbers, and one that is none for its zeros', (n) => (n === 700 ? '007' : n % 100)],
  ['values that begin late', (n) => (n < 2800 ? null : n % 100)],
  ['numbers with one text among them', (n) => (n === 2950 ? 'many' : n % 100)],
];
describe.each(CASES)('%s', (_, sizeOf) => {
  test.each(['csv', 'ndjson'])('%s', async (kind) => {
    const random = new Random(kind.length);
    const rows = orders(random, 3000, sizeOf);
    const path = join(folder, `orders.${kind}`);
    writeFileSync(path, kind === 'csv' ? csvOf(rows) : ndjsonOf(rows));
    const whole = await judged(path, Infinity);
    const bad = rows.flatMap(({ status }, at) => (status === 'lost' ? [at] : []));
    expect(whole.rules.find(({ rule }) => rule === 'status.in_set')?.unexpected_index_list).toEqual(bad);
    expect(await judged(path, 30_000)).toEqual(whole);
    expect(whole.rows).toBe(3000);
  });
});

test('a part begins behind a line break, within a field too: then the file is judged in one', async () => {
  const path = join(folder, 'breaks.csv');
  // Most of the file is one note of lines that look like records.
  const rows = [
    ...orders(new Random(1), 50, () => 1),
    { id: 99, status: 'new', note: `${'7,lost,y,5\n'.repeat(9000)}7,lost,y`, size: 2 },
    ...orders(new Random(2), 50, () => 3),
  ];
  writeFileSync(path, csvOf(rows));
  const parts = await partsOf(inputOf(path), contract, 20_000);
  expect(parts).toHaveLength(2);
  const whole = await judged(path, Infinity);
  expect(whole.rows).toBe(101);
  expect(await judged(path, 20_000)).toEqual(whole);
});

test.each([
  ['a record of too few fields in the last part', (text: string) => `${text}1,new\n`, /record 3002 has 2 fields, the header 4/],
  ['a quote that is never closed', (text: string) => `${text}1,new,"open,1\n`, /quoted field that does not end/],
])('%s is told as where there is one part', async (_, damage, message) => {
  const path = join(folder, 'damaged.csv');
  writeFileSync(path, damage(csvOf(orders(new Random(3), 3000, () => 1))));
  await expect(judged(path, 30_000)).rejects.toThrow(message);
  await expect(judged(path, Infinity)).rejects.toThrow(message);
});

describe.each(['types.parquet', 'types-v2.parquet'])('the row groups of %s', (name) => {
  const path = fileURLToPath(new URL(`parquet/${name}`, import.meta.url));
  const rules = `${RULES.slice(0, RULES.indexOf('columns:'))}columns:
  id: [not_null, { between: { min: '9007199254740993' } }]
  small: [not_null, { between: { min: 0 } }]
  name: [{ match_regex: '[0-2]$' }]
  day: [{ between: { min: '1970-01-03' } }]
  none: [not_null]
checks:
  - { id: met, column: name, length: { max: 6 }, where: 'after.small > 3' }
  - { id: pair, pair_greater: { column_A: id, column_B: small } }
`;
  const judgedBy = async (partBytes: number, file = path) => judgeFile(contractOf(rules), inputOf(file), workers, partBytes);

  test('are judged by two workers as by one reader', async () => {
    expect(await partsOf(inputOf(path), contractOf(rules), 100)).toEqual([0, 1].map((from) => ({ from, until: from + 1, shares: 2 })));
    const whole = await judgedBy(Infinity);
    expect(whole.rows).toBe(30);
    expect(whole.rules.map(({ unexpected_index_list: places }) => places.length > 0 && places.at(-1) !== places[0])).toContain(true);
    expect(await judgedBy(100)).toEqual(whole);
  });

  test('are told where they are damaged, as by one reader', async () => {
    const file = join(folder, 'front.parquet');
    writeFileSync(file, Buffer.concat([Buffer.alloc(4000), readFileSync(path).subarray(4000)]));
    await expect(judgedBy(100, file)).rejects.toThrow(/front\.parquet: column id of row group 1/);
  });
});

test('small files and checks that need all rows are one part', async () => {
  const path = join(folder, 'orders.ndjson');
  const rows = ndjsonOf(orders(new Random(4), 1000, () => 1));
  writeFileSync(path, rows);
  const counts = async (rules: string, bytes?: number) => (await partsOf(inputOf(path), contractOf(rules), bytes)).length;
  expect(await counts(RULES)).toBe(1);
  expect(await counts(RULES, 10_000)).toBe(2);
  expect(await counts(`${RULES}checks: [{ row_count: { min: 1 } }]\n`, 10_000)).toBe(1);
  expect(await partsOf(inputOf(join(folder, 'none.csv')), contract, 10)).toHaveLength(1);
});

test('a worker that is gone before it is asked is replaced', async () => {
  const path = join(folder, 'gone.csv');
  writeFileSync(path, csvOf(orders(new Random(5), 3000, () => 1)));
  await using own = new PartWorkers();
  const started = new Promise<Worker>((resolve) => process.once('worker', resolve));
  own.start(1);
  await (await started).terminate();
  const found = await judgeFile(contract, inputOf(path), own, 30_000);
  expect(found).toEqual(await judged(path, Infinity));
});

test.each(['types.parquet', 'stopped.csv'])('%s: where a signal comes while workers are at work, nothing is begun anew', async (name) => {
  const path = name.endsWith('.csv') ? join(folder, name) : fileURLToPath(new URL(`parquet/${name}`, import.meta.url));
  if (name.endsWith('.csv')) writeFileSync(path, csvOf(orders(new Random(6), 3000, () => 1)));
  await using own = new PartWorkers();
  const stop = new AbortController();
  process.once('worker', () => stop.abort());
  own.start(1);
  await expect(judgeFile(contract, { ...inputOf(path), signal: stop.signal }, own, 100)).rejects.toThrow(
    expect.objectContaining({ name: 'AbortError' }),
  );
});
