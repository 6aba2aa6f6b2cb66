/** `tidegate judge`: docs/expectations.md says what happens, files of every format are read alike, exit codes and problems are as promised. */
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { afterAll, describe, expect, test, vi } from 'vitest';
import { judgeRules } from '../../app/judge/judge-rules.ts';
import { PartWorkers } from '../../app/judge/part-workers.ts';
import { WORDS } from '../../quality/gx/registry.ts';
import type { RuleResult } from '../../quality/file-run.ts';
import { judge } from './judge-cli.ts';
import { HEAD } from './support.ts';

const scratch = mkdtempSync(join(tmpdir(), 'tidegate-judge-'));
afterAll(() => rmSync(scratch, { recursive: true }));

let files = 0;
function write(text: string, extension = 'ndjson'): string {
  const path = join(scratch, `${++files}.${extension}`);
  writeFileSync(path, text);
  return path;
}

const lines = (rows: readonly object[]) => rows.map((row) => `${JSON.stringify(row)}\n`).join('');

interface Judged {
  readonly success: boolean;
  readonly rows: number;
  readonly rules: readonly RuleResult[];
}

async function byRules(
  body: string,
  input: string,
  ...args: readonly string[]
): Promise<{ readonly code: number; readonly judged: Judged }> {
  const { code, out } = await judge('--rules', write(HEAD + body, 'yaml'), '--input', input, '--json', ...args);
  return { code, judged: JSON.parse(out) as Judged };
}

interface SuiteAnswer {
  readonly success: boolean;
  readonly results: readonly {
    readonly success: boolean;
    readonly result: Record<string, unknown>;
    readonly exception_info: { readonly exception_message: string | null };
  }[];
}

async function bySuite(input: string, type: string, kwargs: object, ...args: readonly string[]) {
  const suite = write(JSON.stringify({ name: 's', expectations: [{ type, kwargs }] }), 'json');
  const { code, out } = await judge('--suite', suite, '--input', input, '--json', ...args);
  const [result] = (JSON.parse(out) as SuiteAnswer).results;
  if (result === undefined) throw new Error(out);
  return { code, out, ...result };
}

describe('docs/expectations.md', () => {
  const page = readFileSync(new URL('../../docs/expectations.md', import.meta.url), 'utf8');
  // Checks of the clock, those beside windows before and those of scores are judged over no file: quality/clock.test.ts, quality/live/anomalies.test.ts and quality/live/scores.test.ts run their examples; app/timers.real.test.ts those that databases are asked.
  const examples = [
    ...page
      .replace(/^## The clock\n[^]*?(?=^## Names)/m, '')
      .matchAll(/^### (\w+)\n[^]*?```yaml\n([^]*?)# passes (.*)\n# fails (.*)\n```$/gm),
  ];

  const isOfFiles = (rule: string) => !/^# (after|by scores of) /m.test(rule);

  test('it has every word', () => expect(examples.map(([, name]) => name)).toEqual([...WORDS.keys()].toSorted(byPage)));

  const ofFiles = examples.filter(([, , rule = '']) => isOfFiles(rule));
  test.each(ofFiles.map(([, name = '', rule = '', passes = '', fails = '']) => ({ name, rule, passes, fails })))(
    '$name holds over the rows that pass, and not over those that fail',
    async ({ rule, passes, fails }) => {
      const table = `copy=${write(lines([{ id: 1 }, { id: 2 }]))}`;
      for (const [rows, wanted] of [
        [passes, true],
        [fails, false],
      ] as const) {
        const { code, judged } = await byRules(rule, write(rows.replaceAll('} {', '}\n{')), '--table', table);
        expect([judged.success, judged.rules[0]?.error, code]).toEqual([wanted, null, wanted ? 0 : 1]);
      }
    },
  );

  function byPage(a: string, b: string): number {
    return page.indexOf(`### ${a}\n`) - page.indexOf(`### ${b}\n`);
  }
});

test('a rule file judges rows, windows and columns, and says where', async () => {
  const rows = [
    { id: 1, total: 5, status: 'new' },
    { id: 2, total: -1, status: 'gone' },
    { id: 3, total: null, status: 'new' },
  ];
  const { code, judged } = await byRules(
    `columns:
  total: [{ between: { min: 0 }, mostly: 0.5 }, { mean: { max: 1 } }]
  status: [{ in_set: [new], where: 'after.id < 3' }]
  gone: [not_null]
`,
    write(lines(rows)),
  );
  expect(code).toBe(2);
  expect(judged.rows).toBe(3);
  expect(
    judged.rules.map(({ rule, success, unexpected_count: count, element_count: elements, observed, error }) => [
      rule,
      success,
      count,
      elements,
      observed,
      error?.path ?? null,
    ]),
  ).toEqual([
    ['total.between', true, 1, 3, null, null],
    ['status.in_set', false, 1, 2, null, null],
    ['gone.not_null', false, 0, 0, null, '/columns/gone/0'],
    ['total.mean', false, 0, 3, 2, null],
  ]);
  expect(judged.rules[0]?.missing_count).toBe(1);
});

test('rows that a check of several columns ignores are no part of the share that has to pass', async () => {
  const rows = [
    { a: 1, b: 1 },
    { a: null, b: null },
    { a: 1, b: 2 },
    { a: 2, b: 1 },
  ];
  for (const check of [
    'pair_equal: { column_A: a, column_B: b }',
    'unique_within_record: [a, b]',
    'sum_equals: { column_list: [a, b], sum_total: 2 }',
  ]) {
    const { judged } = await byRules(`checks: [{ ${check}, mostly: 0.4 }]\n`, write(lines(rows)));
    const [rule] = judged.rules;
    const failed = check.startsWith('unique') ? 1 : 2;
    expect([check, rule?.missing_count, rule?.unexpected_count, rule?.success]).toEqual([check, 1, failed, failed === 1]);
  }
});

test('values that stand for none are missing to the check that says so, in rows and in all of them', async () => {
  const rows = ['new', 'gone', 'N/A', '', null, 'new'].map((status, at) => ({ status, total: at === 0 ? 9999 : at }));
  const body = `columns:
  status:
    - { in_set: [new], missing: [N/A, ''], mostly: 0.6 }
    - { id: there, not_null: true, missing: [N/A, ''] }
    - { id: rate, null_rate: { max: 0.5 }, missing: [N/A, ''] }
    - { id: different, distinct_count: { max: 2 }, missing: [N/A, ''] }
  total:
    - { max: { max: 10 }, missing: [9999] }
`;
  const once = `defaults: { missing: [N/A, '', 9999] }\n${body.replace(/, missing: \[[^\]]*\]/g, '')}`;
  for (const [extension, rules] of ['ndjson', 'csv'].flatMap(
    (name) =>
      [
        [name, body],
        [name, once],
      ] as const,
  )) {
    const csv = `status,total\n${rows.map(({ status, total }) => `${status === '' ? '""' : (status ?? '')},${total}\n`).join('')}`;
    const { judged } = await byRules(rules, write(extension === 'csv' ? csv : lines(rows), extension));
    const said = judged.rules.map(({ rule, success, unexpected_count: failed, missing_count: missing, observed }) => [
      rule,
      success,
      failed,
      missing,
      observed,
    ]);
    expect([extension, ...said]).toEqual([
      extension,
      ['status.in_set', true, 1, 3, null],
      ['there', false, 3, 0, null],
      ['rate', true, 0, 3, 0.5],
      ['different', true, 0, 3, 2],
      ['total.max', true, 0, 1, 5],
    ]);
  }
});

test('integers of any size keep their digits, in bounds and in what is said', async () => {
  const input = write('{"id":9007199254740993}\n{"id":9007199254740992}\n{"id":123456789012345678901234567890}\n');
  const unique = await bySuite(input, 'expect_column_values_to_be_unique', { column: 'id' });
  expect(unique.success).toBe(true);
  const max = await bySuite(input, 'expect_column_max_to_be_between', { column: 'id', min_value: 1 });
  expect(max.out).toContain('"observed_value": 123456789012345678901234567890');
  const { judged } = await byRules(`columns: { id: [{ between: { min: '9007199254740993' } }] }`, input);
  expect(judged.rules[0]?.unexpected_index_list).toEqual([1]);
  const marked = await bySuite(write('\uFEFF{"id":9007199254740993}\n'), 'expect_column_max_to_be_between', { column: 'id', min_value: 1 });
  expect(marked.out).toContain('"observed_value": 9007199254740993');
});

test('infinite dates and those before Christ are dates', async () => {
  const input = write(lines([{ d: 'infinity' }, { d: '-infinity' }, { d: '0044-03-15 BC' }, { d: '2026-11-24T13:45:00Z' }]));
  const types = write('{"d":"date"}', 'json');
  const { judged } = await byRules(`columns: { d: [{ between: { min: '0001-01-01' } }] }`, input, '--types', types);
  expect([judged.rules[0]?.error, judged.rules[0]?.unexpected_index_list]).toEqual([null, [1, 2]]);
});

test('means and medians of moments are moments, to the microsecond, and an infinite median is beyond every bound', async () => {
  const types = write('{"at":"timestamptz"}', 'json');
  const rules = `columns: { at: [{ mean: { max: '2026-11-24' } }, { median: { max: '2026-11-24' } }] }`;
  const said = async (...moments: readonly string[]) => {
    const { judged } = await byRules(rules, write(lines(moments.map((at) => ({ at })))), '--types', types);
    return judged.rules.map(({ success, observed, error }) => [success, observed, error]);
  };
  const mean = '1969-12-31T23:59:59.250003';
  expect(await said('1969-12-31T23:59:58.500006', '1970-01-01T00:00:00')).toEqual([
    [true, mean, null],
    [true, mean, null],
  ]);
  expect((await said('infinity', 'infinity'))[1]).toEqual([false, 'infinity', null]);
});

test('integers within nested values keep their digits too', async () => {
  const input = write('{"place":{"id":9007199254740993}}\n{"place":{"id":9007199254740992}}\n');
  const { judged } = await byRules(`columns: { place: [{ match_regex: '993' }] }`, input);
  expect(judged.rules.map(({ error, unexpected_index_list: places }) => [error, places])).toEqual([[null, [1]]]);
});

test('CSV is read as NDJSON is: quotes, nulls, types by all fields of a column', async () => {
  const csv = write('id,code,note\r\n1,007,"a ""b"",\nc"\r\n2,12,\r\n', 'csv');
  const same = write(
    lines([
      { id: 1, code: '007', note: 'a "b",\nc' },
      { id: 2, code: '12', note: null },
    ]),
  );
  const rules = `columns:
  id: [{ max: { between: [2, 2] } }]
  code: [{ in_set: ['007'] }]
  note: [not_null]
`;
  const [a, b] = [await byRules(rules, csv), await byRules(rules, same)];
  expect(a).toEqual(b);
  expect(a.judged.rules.map(({ success }) => success)).toEqual([false, false, true]);
});

test.each([
  ['another type', { id: 'x' }],
  ['another column', { id: 1, more: 2 }],
])('a file whose last row has %s than the first ones is judged by all of them', async (_, last) => {
  // More than what is read at once.
  const rows = Array.from({ length: 30_000 }, () => ({ id: 1, note: 'leave it at the door, please' }));
  const { judged } = await byRules(
    'columns: { id: [{ type: integer }] }\nchecks: [{ column_count: { max: 2 } }]',
    write(lines([...rows, last])),
  );
  const of = (type: string) => judged.rules.find((rule) => rule.type === type);
  expect([judged.rows, of('type')?.error?.code ?? null, of('column_count')?.observed]).toEqual(
    'more' in last ? [30_001, null, 3] : [30_001, 'UNUSABLE', 2],
  );
});

test.each([
  ['a,b\n1,"2\n3"\n4,"5\n', 'on line 4 begins a quoted field that does not end'],
  ['a,b,a\n1,2,3\n', 'the header names the column "a" twice'],
  ['a,b\n1,"2"3\n', 'on line 2 begins a quoted field that goes on behind its quotes'],
  [`a\nx\n"${'y\n'.repeat(9_000_000)}`, 'on line 3 begins a record that has no end within 16 MB'],
])('CSV that cannot be cut into fields is told with the line (%#)', async (csv, said) => {
  const { code, out } = await judge('--rules', write(`${HEAD}columns: { a: [not_null] }\n`, 'yaml'), '--input', write(csv, 'csv'));
  expect([code, out]).toEqual([2, expect.stringContaining(said)]);
});

test('what cannot be used is refused when a rule file is loaded, and told for each expectation of a suite', async () => {
  const input = write(lines([{ id: 1 }]));
  const refused = await judge(
    '--rules',
    write(`${HEAD}checks:\n  - expect: expect_column_values_to_be_between\n    kwargs: { column: id }\n`, 'yaml'),
    '--input',
    input,
  );
  expect(refused.code).toBe(2);
  expect(refused.out).toContain('min_value and max_value cannot both be None');
  const told = await bySuite(input, 'expect_column_values_to_be_in_set', { column: 'idd', value_set: [1] });
  expect([told.code, told.exception_info.exception_message]).toEqual([
    2,
    'column names the column "idd", which does not exist. Did you mean "id"?',
  ]);
  expect((await judge('--suite', write('{', 'json'), '--input', input)).code).toBe(2);
  expect((await judge('--suite', write('{"expectations":[]}', 'json'), '--input', write('{"a":1}\nnonsense\n'))).out).toContain(
    'line 2 is no JSON',
  );
});

test.each([
  'columns: { a: [{ max: { between: [2, 1] } }] }',
  'columns: { a: [{ expect: expect_column_mean_to_be_between, kwargs: { min_value: 2, max_value: 1 } }] }',
  'checks: [{ expect: expect_column_max_to_be_between, kwargs: { column: a, min_value: 2026-02-01, max_value: Jan 1 2026 } }]',
  'checks: [{ row_count: { min: 2, max: 1 } }]',
])('bounds that nothing lies between are refused when a rule file is loaded: %s', async (rules) => {
  const { code, out } = await judge('--rules', write(`${HEAD}${rules}\n`, 'yaml'), '--input', write(lines([{ a: 1 }])));
  expect([code, out]).toEqual([2, expect.stringContaining('min_value cannot be greater than max_value')]);
});

test('rows from standard input leave no file behind, be they judged or cut off', async () => {
  const folder = mkdtempSync(join(scratch, 'tmp-'));
  vi.stubEnv('TMPDIR', folder);
  const rules = write(`${HEAD}columns: { id: [not_null] }\n`, 'yaml');
  let out = '';
  const io = {
    stdout: (text: string) => void (out += text),
    stderr: () => {},
    env: {},
    isTerminal: false,
    ask: () => Promise.resolve(null),
  };
  const byStdin = (stdin: Readable, signal: AbortSignal) => {
    const input = { path: '-', types: new Map<string, null>(), tables: new Map<string, string>(), parameters: {}, stdin, signal, nowMs: 0 };
    return judgeRules(rules, input, new PartWorkers(), true, { ...io, stop: signal });
  };
  try {
    expect(await byStdin(Readable.from(['{"id":1}\n']), new AbortController().signal)).toBe(0);
    expect((JSON.parse(out) as Judged).rows).toBe(1);
    await expect(byStdin(Readable.from(['{"id":1}\n']), AbortSignal.abort())).rejects.toThrow('aborted');
    expect(readdirSync(folder)).toEqual([]);
  } finally {
    vi.unstubAllEnvs();
  }
});

test('row_count_equals takes a number, too', async () => {
  const input = write(lines([{ id: 1 }, { id: 2 }]));
  for (const [count, success] of [
    [2, true],
    [3, false],
  ] as const)
    expect((await byRules(`checks: [{ row_count_equals: ${count} }]\n`, input)).judged.rules).toMatchObject([{ success, observed: 2 }]);
});

test('row_count_equals of another file takes a factor, and a share by which they may differ', async () => {
  const rows = (count: number) => lines(Array.from({ length: count }, (_, id) => ({ id })));
  const other = write(rows(100));
  for (const [count, parameters, success] of [
    [100, '{ dataset: other }', true],
    [99, '{ dataset: other }', false],
    [99, '{ dataset: other, tolerance: 0.01 }', true],
    // 0.29 * 100 is less than 29 in binary.
    [129, '{ dataset: other, tolerance: 0.29 }', true],
    [130, '{ dataset: other, tolerance: 0.29 }', false],
    [200, '{ dataset: other, factor: 2 }', true],
    [33, '{ dataset: other, factor: 0.33 }', true],
    [100, '{ dataset: other, factor: 2, tolerance: 0.4 }', false],
  ] as const) {
    const { judged } = await byRules(`checks: [{ row_count_equals: ${parameters} }]\n`, write(rows(count)), '--table', `other=${other}`);
    expect([count, parameters, judged.rules]).toMatchObject([count, parameters, [{ success, observed: { self: count, other: 100 } }]]);
  }
});

test('on a stream, a check that its windows cannot judge is refused by name', async () => {
  const { parseContract } = await import('../../quality/contract.ts');
  const parsed = parseContract(
    `${HEAD}columns: { id: [unique, { mean: { min: 0 } }, increasing] }\nchecks: [{ column_exists: id }]\n`,
    'x.yaml',
  );
  const messages = 'problems' in parsed ? parsed.problems.map(({ message }) => message) : [];
  expect(messages.map((message) => message.split(/[,:]/)[0])).toEqual(['increasing needs the time of each row']);
});
