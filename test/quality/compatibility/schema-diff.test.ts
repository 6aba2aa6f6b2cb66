/**
 * tidegate schema diff: what it answers and how it ends. The cases of registries are no part of this project: TIDEGATE_CONFORMANCE names the folder that holds
 * schema-compatibility/. Without it they are skipped, and that is said.
 */
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { cli } from '../../app/cli.ts';

const scratch = mkdtempSync(join(tmpdir(), 'tidegate-diff-'));
afterAll(() => rmSync(scratch, { recursive: true }));
let files = 0;

function file(content: unknown): string {
  const path = join(scratch, `${files++}.json`);
  writeFileSync(path, typeof content === 'string' && content.startsWith('!') ? content.slice(1) : JSON.stringify(content));
  return path;
}

interface Answer {
  readonly compatible: boolean;
  readonly changes: readonly {
    readonly path: string;
    readonly kind: string;
    readonly message: string;
    readonly compatible: boolean;
    readonly against: number;
  }[];
}

async function diff(...args: readonly string[]): Promise<{ code: number; out: string; err: string; answer: Answer | null }> {
  const { code, stdout, stderr, json } = await cli('schema', 'diff', ...args);
  return { code, out: stdout, err: stderr, answer: json as Answer | null };
}

const record = (...fields: readonly unknown[]): unknown => ({ type: 'record', name: 'Order', fields });
const id = { name: 'id', type: 'long' };
const note = { name: 'note', type: 'string' };

test('what was written before is read, or it is said what is not, and where', async () => {
  const [old, next] = [file(record(id)), file(record(id, note))];
  const backward = await diff('--from', old, '--to', next, '--format', 'avro', '--json');
  expect(backward.code).toBe(1);
  expect(backward.answer).toMatchObject({
    compatible: false,
    format: 'avro',
    level: 'BACKWARD',
    policy: 'strict',
    changes: [{ path: '#/fields/1', kind: 'reader_field_missing_default_value', compatible: false, against: 0 }],
  });
  expect(backward.answer?.changes[0]?.message).toBe(
    'The new version has the field note without a default, and the old one does not write it. Give note a "default".',
  );
  const forward = await diff('--from', old, '--to', next, '--format', 'avro', '--level', 'FORWARD', '--json');
  expect([forward.code, forward.answer?.compatible, forward.answer?.changes.map(({ compatible }) => compatible)]).toEqual([
    0,
    true,
    [true],
  ]);
  const text = await diff('--from', old, '--to', next, '--format', 'avro');
  expect(text.out).toMatch(/✗ #\/fields\/1 reader_field_missing_default_value\n.*\nnot compatible \(BACKWARD\)\n$/);
});

test('without _TRANSITIVE only the last version counts', async () => {
  const versions = [file({ type: 'string' }), file({ type: ['string', 'integer'] }), file({ type: 'integer' })];
  const from = versions.flatMap((path) => ['--from', path]);
  const to = ['--to', file({ type: 'integer' }), '--format', 'json', '--json'];
  expect((await diff(...from, ...to)).answer).toMatchObject({ compatible: true, changes: [] });
  const all = await diff(...from, ...to, '--level', 'BACKWARD_TRANSITIVE');
  expect(all.answer?.changes.filter(({ compatible }) => !compatible).map(({ against }) => against)).toEqual([0, 1]);
  expect((await diff(...from, ...to, '--level', 'NONE')).code).toBe(0);
});

test('a property named in an open content model: strict says no, lenient yes', async () => {
  const args = [
    '--from',
    file({ type: 'object' }),
    '--to',
    file({ type: 'object', properties: { a: { type: 'string' } } }),
    '--format',
    'json',
  ];
  expect((await diff(...args)).code).toBe(1);
  expect((await diff(...args, '--policy', 'lenient')).code).toBe(0);
});

test.each([
  ['no schema', ['--format', 'json', '--from', '[]', '--to', '{}'], /a schema is an object, true or false/],
  ['no JSON', ['--format', 'json', '--from', '!{', '--to', '{}'], /no JSON/],
  ['no Avro', ['--format', 'avro', '--from', '"nothing"', '--to', '"int"'], /there is no type nothing/],
  ['no format', ['--from', '{}', '--to', '{}'], /--format is missing/],
  ['an unknown level', ['--format', 'json', '--level', 'SIDEWAYS', '--from', '{}', '--to', '{}'], /there is no level SIDEWAYS/],
])('%s is told with exit code 2', async (_name, args, message) => {
  const given = args.map((arg, index) =>
    ['--from', '--to'].includes(args[index - 1] ?? '') ? file(arg.startsWith('!') ? arg : JSON.parse(arg)) : arg,
  );
  const { code, err } = await diff(...given);
  expect([code, err]).toEqual([2, expect.stringMatching(message)]);
});

test('a file that is not there is told with exit code 2', async () => {
  const { code, err } = await diff('--format', 'json', '--from', join(scratch, 'gone.json'), '--to', file({}));
  expect([code, err]).toEqual([2, expect.stringMatching(/gone\.json/)]);
});

const root = process.env['TIDEGATE_CONFORMANCE'];
const folder = root === undefined ? null : join(root, 'schema-compatibility');
const found = folder !== null && existsSync(folder);
if (!found) console.log('The cases of registries are skipped: TIDEGATE_CONFORMANCE names no folder that holds schema-compatibility/.');

describe.runIf(found)('the cases of registries', () => {
  const read = (path: string): unknown => JSON.parse(readFileSync(join(folder ?? '', path), 'utf8'));
  const pairs = (path: string): Case[] =>
    (read(path) as { cases: { reader: unknown; writer: unknown; compatible: boolean }[] }).cases.flatMap(
      ({ reader, writer, compatible }) => [
        { from: writer, to: reader, level: 'BACKWARD', compatible },
        { from: reader, to: writer, level: 'FORWARD', compatible },
      ],
    );
  const tests = (path: string): Case[] =>
    (read(path) as { tests: { original: unknown; updated: unknown; compatibility: string }[] }).tests.flatMap(
      ({ original, updated, compatibility }) => [
        { from: original, to: updated, level: 'BACKWARD', compatible: compatibility !== 'none' },
        { from: original, to: updated, level: 'FORWARD', compatible: compatibility === 'both' },
      ],
    );
  test.each([
    ['karapace', 'json', () => pairs('karapace/jsonschema-reader-writer-cases.json')],
    ['avro', 'avro', () => pairs('avro/avro-py-reader-writer-cases.json')],
    ['apicurio, JSON Schema', 'json', () => tests('apicurio/jsonschema-compatibility-test-data.json')],
    ['apicurio, Avro', 'avro', () => tests('apicurio/avro-compatibility-test-data.json')],
  ])('98 of 100 of %s agree', async (name, format, cases) => {
    const wrong: string[] = [];
    const all = cases();
    for (const { from, to, level, compatible } of all) {
      const { code, answer } = await diff('--from', file(from), '--to', file(to), '--format', format, '--level', level, '--json');
      const isRight =
        answer?.compatible === compatible && code === (compatible ? 0 : 1) && answer.changes.some((one) => !one.compatible) === !compatible;
      if (!isRight) wrong.push(`${level} ${JSON.stringify(from)} → ${JSON.stringify(to)}: ${answer?.compatible}, exit code ${code}`);
    }
    const rate = (100 * (all.length - wrong.length)) / all.length;
    console.log(`${name}: ${all.length - wrong.length} of ${all.length} agree (${rate.toFixed(1)} %).\n${wrong.join('\n')}`);
    expect(rate).toBeGreaterThanOrEqual(98);
  });
});

interface Case {
  readonly from: unknown;
  readonly to: unknown;
  readonly level: string;
  readonly compatible: boolean;
}
