/** Checks that databases are asked by: what is refused before anybody is asked, and what is said of an answer. */
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { parseContract } from '../../quality/contract.ts';
import type { ComparisonAnswer, ProofAnswer, QueryAnswer, TimerRule, VersionsAnswer } from '../../quality/timers/check.ts';
import { timerSet } from '../../quality/timers/check.ts';
import { TIMERS } from '../../quality/timers/registry.ts';
import { schemaCompatible } from '../../quality/timers/schema-compatible.ts';
import { contractOf, FILE, HEAD, lines } from './support.ts';

const timerOf = (item: string): TimerRule => {
  const [check] = contractOf(`checks: [{ ${item} }]`).live.timers;
  if (check === undefined) throw new Error(`${item} asks nothing`);
  return check.timer;
};

test.each([
  ['sql: { query: select 1, min: 1, returns: rows }', 'sql.returns: bounds are for a number, and the query returns rows', 'Remove returns'],
  ['sql: { query: select 1, returns: number }', 'sql.returns: a number is held against bounds', 'Write min, max or between'],
  ['sql: { query: select 1, every: 10ms }', 'sql.every: a query is asked every second at most', 'every: 1s'],
  ['sql: { query: select 1, timeout: 0s }', 'sql.timeout: a query takes some time', 'timeout: 30s'],
  ['sql: { query: select 1, timeout: 8d }', 'sql.timeout: a query may take seven days at most', 'timeout: 7d'],
  ['sql: { query: select 1, min: 2, max: 1 }', 'sql.min: min is greater than max', 'Exchange them'],
  ['sql: { query: select 1, on: lake }', 'sql.on: ', 'target'],
  ['sql: { every: 1m }', 'sql: "query" is missing', ''],
  ["sql: ''", 'sql: ', ''],
  ['sql: select 1, on_fail: hold', 'on_fail: sql is about no rows that come: there is nothing to hold', 'on_fail: halt'],
  ['sql: select 1, on_fail: quarantine', 'on_fail: a window that fails is one result', 'on_fail: alert'],
  ['sql: select 1, where: after.id > 1', 'where: sql is looked at by the clock', 'Remove where.'],
  ['sql: select 1, mostly: 0.9', 'mostly: mostly is for checks of rows', 'Remove mostly.'],
  ['reconcile: source', 'reconcile: a text stands where keys and values is needed', ''],
  ['reconcile: { with: source, sums: [total] }', 'reconcile.sums: sums is for reconciling with another dataset', 'Remove sums.'],
  ['reconcile: { with: shop.public.copies, rate: 5 }', 'reconcile.rate: rate is for reconciling with the source', 'Remove rate.'],
  ['reconcile: { with: shop.public.copies, rows: false }', 'reconcile.rows: nothing is compared', 'sums or checksum'],
  ['reconcile: { with: source, every: 0s }', 'reconcile.every: databases are asked every second at most', 'every: 1s'],
  ['reconcile: { with: source, max_rows: 500 }', 'reconcile.max_rows: it must be <= 99', ''],
  ['expect: unexpected_rows_expectation', 'kwargs: unexpected_rows_expectation needs its kwargs: unexpected_rows_query', 'Write it.'],
  [
    'expect: unexpected_rows_expectation, kwargs: { unexpected_row_query: select 1 }',
    'kwargs.unexpected_row_query: unexpected_rows_expectation takes no "unexpected_row_query"',
    'unexpected_rows_query',
  ],
])('%s is refused, with the place and the fix', (item, message, fix) => {
  const parsed = parseContract(`${HEAD}checks: [{ ${item} }]`, FILE);
  const said = 'problems' in parsed ? lines(parsed.problems) : [];
  expect(said.join('\n')).toContain(`checks[0].${message}`);
  expect(said.join('\n')).toContain(fix);
});

test('the examples of the page load', () => {
  const page = readFileSync(new URL('../../docs/windows.md', import.meta.url), 'utf8');
  const [, section = ''] = /^## Asking the databases\n([^]*?)^## /m.exec(page) ?? [];
  const examples = [...section.matchAll(/^```yaml\n([^]*?)^```$/gm)].map(([, body = '']) => contractOf(body).live.timers.length);
  expect(examples).toEqual([3, 2]);
});

test('over a file none of them is judged', () => {
  for (const { name, example } of TIMERS.values()) {
    const parsed = parseContract(`${HEAD}checks:\n  ${example.rule}`, FILE, 'file');
    expect('problems' in parsed ? lines(parsed.problems).join() : '').toContain(`${name} is judged on a live stream alone`);
  }
});

const said = (item: string, answer: Partial<QueryAnswer>) => {
  const timer = timerOf(item);
  if (timer.kind !== 'query') throw new Error(`${item} is no query`);
  const { verdict, observed, reason } = timer.say({ rows: 1, examples: [], cell: null, ...answer });
  return [verdict, observed, reason];
};

test('rows that should not be there, a number between bounds, and a boolean', () => {
  expect(said('sql: select 1', { rows: 0 })).toEqual(['pass', 0, null]);
  expect(said('sql: select 1', { rows: 2, examples: ['{"id": 1}', '{"id": 2}'] })).toEqual([
    'fail',
    2,
    'the query returned 2 rows, such as {"id": 1} and {"id": 2}, and there should be none',
  ]);
  const number = 'sql: { query: select 1, between: [0.1, 9007199254740992] }';
  for (const [cell, verdict] of [
    ['0.1', 'pass'],
    ['0.09999999999999999999', 'fail'],
    ['9007199254740992', 'pass'],
    ['9007199254740993', 'fail'],
    ['Infinity', 'fail'],
    ['NaN', 'indeterminate'],
  ])
    expect([cell, said(number, { cell: cell ?? null })[0]]).toEqual([cell, verdict]);
  expect(said('sql: { query: select 1, min: 1, strict_min: true }', { cell: '1.0' })).toEqual(['fail', 1, 'the query returned 1.0']);
  const boolean = 'sql: { query: select true, returns: boolean }';
  expect([said(boolean, { cell: 't' }), said(boolean, { cell: 'f' })]).toEqual([
    ['pass', true, null],
    ['fail', false, 'the query returned false'],
  ]);
});

test('what is no answer is never a pass', () => {
  for (const item of ['sql: { query: select 1, min: 0 }', 'sql: { query: select true, returns: boolean }'])
    expect([said(item, { rows: 0 }), said(item, { cell: null }), said(item, { rows: 2, cell: '1' })]).toEqual([
      ['indeterminate', null, 'the query returned no row, and not one value'],
      ['indeterminate', null, 'the query returned null'],
      ['indeterminate', null, 'the query returned more than one row, and not one value'],
    ]);
});

const compared = (parameters: string, answer: Partial<ComparisonAnswer>) => {
  const timer = timerOf(`reconcile: { with: shop.public.copies${parameters} }`);
  if (timer.kind !== 'comparison') throw new Error('it compares two datasets');
  const { verdict, observed, reason } = timer.say({
    rows: ['2', '2'],
    sums: [],
    checksums: ['0', '0'],
    onlyOwn: [],
    onlyTheirs: [],
    ...answer,
  });
  return [verdict, observed, reason];
};

test('two tables come to as much, to the last digit or within a share', () => {
  expect(compared('', {})).toEqual(['pass', { rows: ['2', '2'] }, null]);
  expect(
    compared(', sums: { total: amount }, checksum: [id]', { rows: ['2', '3'], sums: [['10.00', '10']], checksums: ['7', '8'] }),
  ).toEqual([
    'fail',
    { rows: ['2', '3'], total: ['10.00', '10'], checksum: ['7', '8'] },
    'it differs from shop.public.copies: rows: 2, and there 3; other values',
  ]);
  const sum = (own: string, theirs: string, more = '') => compared(`, rows: false, sums: [total]${more}`, { sums: [[own, theirs]] })[0];
  expect(sum('90071992547409930.01', '90071992547409930.02')).toBe('fail');
  expect(sum('99', '100', ', tolerance: 0.01')).toBe('pass');
  expect(sum('98.99', '100', ', tolerance: 0.01')).toBe('fail');
  expect(sum('-99', '-100', ', tolerance: 0.01')).toBe('pass');
  expect(sum('1', '0', ', tolerance: 1')).toBe('fail');
  expect(sum('NaN', 'NaN')).toBe('pass');
  expect(sum('NaN', '1')).toBe('fail');
});

test('rows that differ between two tables are named, as far as they may be', () => {
  const reason = (answer: Partial<ComparisonAnswer>) => compared(', rows: false, checksum: [id]', { checksums: ['7', '8'], ...answer })[2];
  const start = 'it differs from shop.public.copies: other values';
  expect([reason({}), reason({ onlyOwn: ['{"id": "1"}'] }), reason({ onlyOwn: ['a', 'b'], onlyTheirs: ['c'] })]).toEqual([
    start,
    `${start}, such as only here {"id": "1"}`,
    `${start}, such as only here a, b, and only in shop.public.copies c`,
  ]);
});

const proved = (parameters: string, answer: Partial<ProofAnswer>) => {
  const timer = timerOf(`reconcile: { with: source${parameters} }`);
  if (timer.kind !== 'proof') throw new Error('it compares with the source');
  const differing = { partial: 0, lost: 0, surplus: 0 };
  const plain = {
    through: '0/1',
    state: 'verified',
    isEqual: true,
    laneStands: false,
    rows: 9,
    differing,
    examples: [],
    undecided: 0,
    lacking: [],
  } as const;
  const { verdict, observed, reason } = timer.say({ ...plain, ...answer });
  return [verdict, observed, reason];
};

test('rows that differ from the source are named by their keys, a few of them, with the columns that differ', () => {
  const lost = (key: string, columns: readonly string[] = []) => ({ key, reason: 'lost', columns });
  const many = Array.from({ length: 9 }, (_, n) => `c${n}`);
  expect(proved('', { isEqual: false, differing: { lost: 3 }, examples: [lost('1'), lost('a/b', many)] })).toEqual([
    'fail',
    3,
    'through 0/1, of 9 rows 3 lost: 1 lost; a/b lost (c0, c1, c2, c3, c4, c5, c6, c7, …); …',
  ]);
  expect(proved(', max_rows: 1', { isEqual: false, differing: { lost: 1 }, examples: [lost('1', ['total'])] })).toEqual([
    'pass',
    1,
    'through 0/1, of 9 rows 1 lost: 1 lost (total)',
  ]);
});

test('what could not be found out of a table is no pass, and no failure', () => {
  const differing = { partial: 0, lost: 2, surplus: 1 };
  expect(proved('', {})).toEqual(['pass', 0, 'through 0/1, of 9 rows none differs']);
  expect(proved('', { isEqual: false, differing })).toEqual(['fail', 3, 'through 0/1, of 9 rows 2 lost, 1 surplus']);
  expect(proved(', max_rows: 3', { isEqual: false, differing })[0]).toBe('pass');
  expect(proved(', max_rows: 3', { isEqual: false, differing, undecided: 1 })[0]).toBe('indeterminate');
  expect(proved('', { isEqual: false, differing, state: 'left' })[0]).toBe('fail');
  expect(proved('', { isEqual: false, differing, laneStands: true })[0]).toBe('indeterminate');
  expect(proved('', { isEqual: false, undecided: 1 })[0]).toBe('indeterminate');
  expect(proved('', { isEqual: false, state: 'copying' })[0]).toBe('indeterminate');
  expect(proved('', { isEqual: false, lacking: ['note'] })).toEqual(['fail', 0, 'the target lacks the columns note']);
});

test('a rule that asks something else, or at other times, begins anew', () => {
  const sets = ['sql: select 1', 'sql: select 2', 'sql: { query: select 1, every: 1m }', 'sql: { query: select 1, on: source }'].map(
    (item) => timerSet('one', timerOf(item)),
  );
  expect(new Set(sets).size).toBe(sets.length);
  expect(timerSet('one', timerOf('sql: select 1, severity: info'))).toBe(sets[0]);
});

const versionsSay = (item: string, versions: readonly Readonly<Record<string, unknown>>[]) => {
  const timer = timerOf(item);
  if (timer.kind !== 'versions') throw new Error(`${item} asks no registry`);
  const all = versions.map((one, index) => ({ version: index + 1, type: 'AVRO', references: [], ...one }));
  const { verdict, observed, reason } = timer.say({ subject: 'orders-value', versions: all as unknown as VersionsAnswer['versions'] });
  return [verdict, observed, reason];
};

test('the newest version of a schema goes with the ones before it, or it is said what does not', () => {
  const { rule, passes, fails } = schemaCompatible.example;
  const item = rule.slice(2);
  expect([versionsSay(item, passes)[0], versionsSay(item, fails)[0]]).toEqual(['pass', 'fail']);
  const text = (type: string) => ({ schema: JSON.stringify(type) });
  const backward = 'schema_compatible: {}';
  expect(versionsSay(backward, [text('string'), text('long'), text('int')])).toEqual([
    'fail',
    1,
    'version 3 of orders-value is not BACKWARD: # against version 2: The new version has int where the old one writes long. Keep long, or read both: a union of them.',
  ]);
  expect(versionsSay(backward, [text('string'), text('int'), text('long')])).toEqual(['pass', 0, null]);
  expect(versionsSay('schema_compatible: { level: BACKWARD_TRANSITIVE }', [text('string'), text('int'), text('long')])[0]).toBe('fail');
  expect(versionsSay(backward, [text('int')])).toEqual(['pass', 0, null]);
  const [money, order] = [
    '{"type": "fixed", "name": "Money", "size": 8}',
    '{"type": "record", "name": "O", "fields": [{"name": "m", "type": "Money"}]}',
  ];
  expect(
    versionsSay(
      backward,
      [1, 2].map(() => ({ schema: order, references: [money] })),
    ),
  ).toEqual(['pass', 0, null]);
  const open = { type: 'JSON', schema: '{"type": "object"}' };
  const named = { type: 'JSON', schema: '{"type": "object", "properties": {"a": {"type": "string"}}}' };
  expect([versionsSay(backward, [open, named])[0], versionsSay('schema_compatible: { policy: lenient }', [open, named])[0]]).toEqual([
    'fail',
    'pass',
  ]);
  expect(versionsSay(backward, [text('int'), open])).toEqual([
    'fail',
    1,
    expect.stringContaining('The new version is JSON, and the old one AVRO'),
  ]);
});

test('versions that cannot be compared are never a pass', () => {
  const backward = 'schema_compatible: {}';
  expect(versionsSay(backward, [])).toEqual(['indeterminate', null, 'the registry has no subject orders-value']);
  const proto = { type: 'PROTOBUF', schema: 'message M {}' };
  expect(versionsSay(backward, [proto, proto])).toEqual([
    'indeterminate',
    null,
    'the versions of orders-value could not be compared: schemas of the kind PROTOBUF are not compared',
  ]);
  expect(versionsSay(backward, [{ schema: '"int"' }, { schema: '{' }])[0]).toBe('indeterminate');
});

test('schema.compatibility is the same check', () => {
  const ids = (section: string) =>
    contractOf(`schema: { ${section} }`).live.timers.map(({ id, timer }) => [id, timer.kind === 'versions' ? timer.question : null]);
  expect(ids('compatibility: FULL_TRANSITIVE, subject: o, policy: lenient')).toEqual([
    ['schema.compatibility', { kind: 'versions', subject: 'o', level: 'FULL_TRANSITIVE', policy: 'lenient' }],
  ]);
  expect(ids('compatibility: NONE')).toEqual([]);
});
