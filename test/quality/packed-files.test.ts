/** Files that are packed whole are judged and profiled as what is in them; numbers of declared numerics keep all their digits. */
import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import { afterAll, describe, expect, test } from 'vitest';
import { runCli } from '../../app/cli/cli.ts';
import { eachPiece } from '../../app/judge/read-file.ts';
import type { RuleResult } from '../../quality/file-run.ts';
import { Random } from '../support/random.ts';
import { judge } from './judge-cli.ts';
import { HEAD } from './support.ts';

const scratch = mkdtempSync(join(tmpdir(), 'tidegate-packed-'));
afterAll(() => rmSync(scratch, { recursive: true }));

function write(name: string, content: string | Uint8Array): string {
  const path = join(scratch, name);
  writeFileSync(path, content);
  return path;
}

const random = new Random(11);
const ROWS = Array.from({ length: 5000 }, (_, at) => ({ id: at, note: random.chance(0.1) ? 'two\nlines' : `note ${random.below(1e9)}` }));
const TEXTS: Readonly<Record<string, string>> = {
  csv: `id,note\n${ROWS.map(({ id, note }) => `${id},"${note}"\n`).join('')}`,
  tsv: `id\tnote\n${ROWS.map(({ id, note }) => `${id}\t"${note}"\n`).join('')}`,
  ndjson: ROWS.map((row) => `${JSON.stringify(row)}\n`).join(''),
};
const rules = write('rules.yaml', `${HEAD}columns:\n  id: [unique, { between: { max: 4990 } }]\n  note: [{ match_regex: '^note' }]\n`);
const halves = (pack: (text: string) => Buffer, text: string) => Buffer.concat([pack(text.slice(0, 30_000)), pack(text.slice(30_000))]);
/** gzip in two members, as files that were put one behind the other. */
const PACKED = { gz: (text: string) => halves(gzipSync, text), zst: (text: string) => zstdCompressSync(text) };

describe.each(Object.entries(TEXTS))('%s', (kind, text) => {
  test.each(Object.entries(PACKED))('packed as .%s is judged as it is', async (extension, pack) => {
    const plain = await judge('--rules', rules, '--input', write(`rows.${kind}`, text), '--json');
    expect(JSON.parse(plain.out)).toMatchObject({ rows: 5000, success: false });
    expect(await judge('--rules', rules, '--input', write(`rows.${kind}.${extension}`, pack(text)), '--json')).toEqual(plain);
    // The first bytes say it, too.
    expect(await judge('--rules', rules, '--input', write(`other.${kind}`, pack(text)), '--json')).toEqual(plain);
  });
});

test('a packed file is profiled under the name of what is in it', async () => {
  let out = '';
  const io = {
    stdout: (text: string) => void (out += text),
    stderr: () => {},
    env: {},
    isTerminal: false,
    ask: () => Promise.resolve(null),
  };
  const input = write('orders.csv.gz', gzipSync(TEXTS['csv'] ?? ''));
  expect(await runCli(['profile', '--input', input, '--json'], { ...io, stop: new AbortController().signal })).toBe(0);
  expect(JSON.parse(out)).toMatchObject({ dataset: 'file.public.orders', rows: 5000 });
});

const whole = gzipSync(TEXTS['csv'] ?? '');
const damaged = Buffer.from(whole).fill(0, 2000, 3000);
test.each([
  ['no.csv.gz', 'id\n1\n', /no\.csv\.gz is not packed by gzip/],
  ['no.ndjson.zst', gzipSync('{"id":1}\n'), /no\.ndjson\.zst is not packed by zstd/],
  ['empty.csv.gz', '', /empty\.csv\.gz is not packed by gzip/],
  ['cut.csv.gz', whole.subarray(0, whole.length / 2), /cut\.csv\.gz cannot be unpacked: it ends too early/],
  ['padded.csv.gz', Buffer.concat([whole, Buffer.alloc(512)]), /padded\.csv\.gz cannot be unpacked: there are zeros behind what is packed/],
  ['damaged.csv.gz', damaged, /damaged\.csv\.gz cannot be unpacked/],
  ['damaged.csv.zst', zstdCompressSync(TEXTS['csv'] ?? '').fill(7, 3000, 4000), /damaged\.csv\.zst cannot be unpacked/],
  [
    'two.csv.zst',
    halves(zstdCompressSync, 'id\n1\n'.padEnd(60_000, '2\n')),
    /two\.csv\.zst cannot be unpacked: it is packed in several pieces/,
  ],
  ['rows.parquet.gz', gzipSync('PAR1'), /rows\.parquet\.gz cannot be read: Parquet is packed within/],
])('%s is told', async (name, content, message) => {
  const { code, out } = await judge('--rules', rules, '--input', write(name, content));
  expect(code).toBe(2);
  expect(out).toMatch(message);
});

test('a file that the system does not let be read is told as such, however it is named', async () => {
  const memory = '/proc/self/mem';
  const path = join(scratch, 'memory.csv');
  symlinkSync(memory, path);
  for (const input of [memory, path]) {
    const { code, out } = await judge('--rules', rules, '--input', input);
    expect([code, out]).toEqual([2, expect.stringContaining(`${input} cannot be read: EIO`)]);
  }
});

test('a long line that is packed is not looked at from its beginning with every few bytes more', async () => {
  const text = `{"note":"${'x'.repeat(1 << 23)}"}\n{}\n`;
  let [looked, read] = [0, ''];
  await eachPiece({ path: write('long.ndjson.gz', gzipSync(text)), signal: new AbortController().signal }, (bytes) => {
    looked += bytes.length;
    const used = bytes.lastIndexOf('\n') + 1;
    read += bytes.toString('utf8', 0, used);
    return used;
  });
  expect(read === text).toBe(true);
  expect(looked).toBeLessThan(3 * text.length);
});

describe('numbers of many digits of a column that is declared numeric', () => {
  const EXACT = '12345678901234567.000000000000000001';
  const NEAR = '0.10000000000000000001';
  const body = `columns:\n  price: [{ in_set: ['${EXACT}', '${NEAR}', 0.5, 12] }]\n`;
  const files = {
    csv: `price,nested\n${EXACT},\n${NEAR},\n0.5,\n12345678901234567.000000000000000002,\n12.0,\n0.5,\n`,
    ndjson: `{"price":${EXACT}}\n{"price":${NEAR}}\n{"price":0.5}\n{"nested":{"price":${NEAR}},"price":12345678901234567.000000000000000002}\n{"price":12.0}\n{"nested":{"price":9.00000000000000000001},"price":0.5}\n`,
  };
  const types = write('types.json', '{"price": "numeric"}');
  const exact = write('exact.yaml', HEAD + body);

  test.each(Object.entries(files))('%s keeps all of them', async (kind, text) => {
    const input = write(`prices.${kind}`, text);
    const { out } = await judge('--rules', exact, '--input', input, '--types', types, '--json');
    const [inSet] = (JSON.parse(out) as { rules: readonly RuleResult[] }).rules;
    expect(inSet).toMatchObject({ unexpected_index_list: [3], partial_unexpected_list: ['12345678901234567.000000000000000002'] });
  });
});
