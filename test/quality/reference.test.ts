/** References in files: made of what goes by, exact for their bins, taken by rules over windows and files, and refused where they do not fit. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from '../support/fast-check.ts';
import { afterAll, describe, expect, test } from 'vitest';
import { compileContract } from '../../quality/compile.ts';
import { parseContract } from '../../quality/contract.ts';
import { readReference } from '../../quality/reference/read.ts';
import { ReferenceMaker } from '../../quality/reference/make.ts';
import { bins } from '../../quality/states/bins.ts';
import { cli } from '../app/cli.ts';
import { HEAD, orders } from './support.ts';

fc.configureGlobal({ seed: 20_261_129 });

const folder = mkdtempSync(join(tmpdir(), 'tidegate-references-'));
afterAll(() => rmSync(folder, { recursive: true }));
const path = (name: string) => join(folder, name);
const columnOf = (name: string) => orders.columns.find((column) => column.name === name) ?? orders.columns[0]!;

describe('what is made', () => {
  const numbers = fc.array(
    fc.oneof(
      fc.double({ noNaN: true, min: -1e9, max: 1e9 }),
      fc.double({ noNaN: true, min: -2, max: 2 }),
      fc.integer({ min: -3, max: 3 }),
      fc.constantFrom(-Infinity, Infinity, -Number.MAX_VALUE, Number.MAX_VALUE),
    ),
    {
      minLength: 1,
      maxLength: 400,
    },
  );
  const whole = fc.array(fc.integer({ min: -50, max: 50 }), { minLength: 1, maxLength: 400 });

  test('bins have exactly the values that the state of a window counts in them, and is a reference', () => {
    fc.assert(
      fc.property(fc.oneof(numbers, whole), fc.integer({ min: 2, max: 20 }), (values, count) => {
        const maker = new ReferenceMaker({ dataset: 'd', column: columnOf('risk'), parts: { bins: count } });
        for (const value of values) maker.see(value);
        maker.see(null);
        if (!values.some(Number.isFinite)) {
          expect(() => maker.end()).toThrow('infinities alone');
          return;
        }
        const made = maker.end();
        const kind = bins(made.bins ?? []);
        const state = kind.create();
        for (const value of values) state.add(value);
        expect([made.tail_weights?.[0], made.weights, made.tail_weights?.[1]]).toEqual([state.below, state.inside, state.above]);
        expect([made.rows, made.missing]).toEqual([values.length + 1, 1]);
        expect(readReference(JSON.parse(JSON.stringify(made)))).toEqual(made);
      }),
      { numRuns: 200 },
    );
  });

  test('values are counted, the most common by their names', () => {
    const maker = new ReferenceMaker({ dataset: 'd', column: columnOf('status'), parts: { values: 2 } });
    for (const value of ['new', 'paid', 'new', 'gone', 'new', 'paid', null]) maker.see(value);
    expect(maker.end()).toMatchObject({ values: ['new', 'paid'], weights: [3, 2], other_weight: 1, missing: 1 });
  });

  test('numbers that no file says as they are, and rules would take for others, are among the others', () => {
    const made = (...values: readonly (number | bigint)[]) => {
      const maker = new ReferenceMaker({ dataset: 'd', column: columnOf('id'), parts: { values: 5 } });
      for (const value of values) maker.see(value);
      return maker.end();
    };
    const reference = made(2n ** 53n + 1n, 2n ** 53n, 2n ** 53n + 2n, 7, 7, Infinity, NaN);
    expect(reference).toMatchObject({ values: [7, 2 ** 53, 2 ** 53 + 2], weights: [2, 1, 1], other_weight: 3 });
    expect(readReference(JSON.parse(JSON.stringify(reference)))).toEqual(reference);
    expect(() => made(2n ** 53n + 1n, Infinity)).toThrow('values alone that a rule file cannot hold as they are');
  });
});

/** A rule file beside the references. */
const rulesOf = (body: string) => parseContract(`${HEAD}${body}`, path('orders.yaml'));
const problemsOf = (body: string): readonly string[] => {
  const parsed = rulesOf(body);
  if ('problems' in parsed) return parsed.problems.map(({ message, fix }) => `${message}. ${fix}`);
  const compiled = compileContract(parsed.contract, orders);
  return Array.isArray(compiled) ? compiled.map(({ message }) => message) : [];
};
const rows = (totals: readonly (number | null)[], name: string) => {
  writeFileSync(path(name), totals.map((total, at) => JSON.stringify({ id: at, total, status: at % 4 === 0 ? 'paid' : 'new' })).join('\n'));
  return path(name);
};
const spread = Array.from({ length: 500 }, (_, at) => at % 100);

test('a file is read, its reference written, and rules hold where rows are spread alike', async () => {
  const input = rows(spread, 'before.ndjson');
  const out = path('total.json');
  const made = await cli('reference', '--input', input, '--column', 'total', '--dataset', 'shop.public.orders', '--out', out);
  expect([made.code, made.stderr]).toEqual([0, '']);
  expect(made.stdout).toContain('10 bins of 500 values of total');
  expect((await cli('reference', '--input', input, '--column', 'status', '--values', '5', '--out', path('status.json'))).code).toBe(0);
  const body = `columns:
  total: [{ psi: { reference: ./total.json, max: 0.1 } }, { ks: { reference: { file: total.json }, max: 0.1 } }]
  status: [{ drift: { metric: chi_square, reference: status.json, max: 5 } }]
`;
  writeFileSync(path('orders.yaml'), `${HEAD}${body}`);
  expect(problemsOf(body)).toEqual([]);
  const judge = async (totals: readonly number[]) =>
    (await cli('judge', '--rules', path('orders.yaml'), '--input', rows(totals, 'now.ndjson'), '--json')).json as {
      rules: { rule: string; success: boolean; observed: number }[];
    };
  const alike = await judge(spread.toReversed());
  expect(alike.rules.map(({ rule, success, observed }) => [rule, success, Math.round(observed * 1e6)])).toEqual([
    ['total.psi', true, 0],
    ['total.ks', true, 0],
    ['status.drift', true, 0],
  ]);
  const moved = await judge(spread.map((total) => total + 50));
  expect(moved.rules.map(({ success }) => success)).toEqual([false, false, true]);
});

test('another reference is another revision of the rules', () => {
  const body = 'columns: { total: [{ psi: { reference: r.json, max: 0.1 } }] }';
  const digest = (weights: readonly number[]) => {
    writeFileSync(path('r.json'), JSON.stringify(stored({ weights })));
    const parsed = rulesOf(body);
    return 'contract' in parsed ? parsed.contract.digest : parsed.problems;
  };
  expect(digest([1, 2])).not.toEqual(digest([2, 1]));
});

const stored = (more: object = {}) => ({
  apiVersion: 'quality/v1',
  kind: 'Reference',
  dataset: 'shop.public.orders',
  column: 'total',
  type: 'decimal',
  rows: 3,
  missing: 0,
  bins: [0, 1, 2],
  weights: [1, 2],
  tail_weights: [0, 0],
  ...more,
});

test.each([
  ['is not there', null, 'cannot be read. Make it with `tidegate reference`'],
  ['is another file', { a: 1 }, 'is no reference: it has not apiVersion'],
  ['has bins that do not increase', stored({ bins: [0, 2, 1] }), 'its bins do not increase'],
  ['has too few weights', stored({ weights: [1] }), 'one edge more than weights'],
  ['is of nothing', stored({ weights: [0, 0] }), 'it is of no values'],
  ['has both', stored({ values: ['a'] }), 'either bins or values'],
  [
    'is of values, for ks',
    { ...stored({ weights: [1] }), bins: undefined, tail_weights: undefined, values: ['a'], other_weight: 0 },
    'ks is about bins',
  ],
  [
    'is of texts',
    { ...stored({ weights: [1] }), type: 'text', bins: undefined, tail_weights: undefined, values: ['a'], other_weight: 0 },
    'its reference is of texts',
    'psi',
  ],
])('refused where the file %s', (name, content, message, check = 'ks') => {
  const file = `${name.replaceAll(/[^a-z]+/g, '-')}.json`;
  if (content !== null) writeFileSync(path(file), JSON.stringify(content));
  expect(problemsOf(`columns: { total: [{ ${check}: { reference: ./${file}, max: 0.1 } }] }`).join('\n')).toContain(message);
});

test('refused beside weights of its own', () => {
  writeFileSync(path('twice.json'), JSON.stringify(stored()));
  expect(problemsOf('columns: { total: [{ ks: { reference: twice.json, bins: [0, 1], weights: [1], max: 0.1 } }] }').join('\n')).toContain(
    'bins and reference: one of them is needed',
  );
});

test.each([
  ['bins of texts', ['--column', 'status'], 'only numbers have bins'],
  ['a column that is not there', ['--column', 'totl'], 'Did you mean total?'],
  ['no column', [], 'which column is not said'],
  ['both', ['--column', 'total', '--bins', '5', '--values', '5'], 'exclude each other'],
  ['a group of no windows', ['--column', 'total', '--group', '["eu"]'], 'name the rule with --windows-of'],
])('the command refuses %s', async (_, args, message) => {
  const run = await cli('reference', '--input', rows(spread, 'rows.ndjson'), ...args);
  expect([run.code, `${run.stdout}${run.stderr}`.includes(message)]).toEqual([2, true]);
});

test('the command refuses a column without values', async () => {
  const run = await cli('reference', '--input', rows([null, null], 'none.ndjson'), '--column', 'total', '--values', '3');
  expect([run.code, run.stderr.includes('has no values')]).toEqual([2, true]);
});

test('the command refuses a file without rows, which has no columns', async () => {
  const run = await cli('reference', '--input', rows([], 'empty.ndjson'), '--column', 'total');
  expect([run.code, run.stderr.includes('has no rows, and so no columns')]).toEqual([2, true]);
});
