/** volume_anomaly and metric_anomaly: the examples of the page, against a naive reading of the windows before, with seasons, and of groups that are gone. */
import { readFileSync } from 'node:fs';
import fc from '../../support/fast-check.ts';
import { describe, expect, test } from 'vitest';
import { WORDS } from '../../../quality/gx/registry.ts';
import { deviationOf, medianOf } from '../../../quality/windows/robust.ts';
import { contractOf, messages } from '../support.ts';
import { type Change, clockAt, closes, MemoryStore, MINUTE, NOON, TestLane } from './support.ts';

fc.configureGlobal({ seed: 20_261_128, endOnFailure: true });

const HOUR = 60 * MINUTE;
const text = (ms: number) => new Date(ms).toISOString().replace('T', ' ').replace('Z', '+00');
let keys = 0;
const insert = (cells: object, atMs: number): Change => {
  const key = String(++keys);
  return { op: 'insert', key, before: null, after: { id: keys, created_at: text(atMs), ...cells }, atMs };
};

/** Each list is the rows of one window; answers with what was said of each. */
async function said(rules: string, windows: readonly (readonly object[])[], everyMs = 5 * MINUTE) {
  const contract = contractOf(rules);
  const store = new MemoryStore();
  const lane = new TestLane(
    store,
    contract,
    clockAt(() => NOON),
  );
  for (const [at, rows] of windows.entries()) {
    if (rows.length > 0) await lane.batch(rows.map((row) => insert(row, NOON + at * everyMs)));
    await closes(store, contract);
  }
  await lane.batch([insert({}, NOON + windows.length * everyMs + HOUR)]);
  await closes(store, contract);
  return store.all.filter(({ startMs }) => startMs < NOON + windows.length * everyMs);
}

describe('docs/expectations.md', () => {
  const page = readFileSync(new URL('../../../docs/expectations.md', import.meta.url), 'utf8');
  const examples = [
    ...page.matchAll(/^### (\w+)\n(?:(?!^###)[^])*?```yaml\n([^`]*?)# after (\d+) windows of (.*)\n# passes (.*)\n# fails (.*)\n```$/gm),
  ];
  const rowsOf = (line = '') => line.split(/(?<=\}) (?=\{)/).map((row) => JSON.parse(row) as object);

  test('it has every word that is held against windows before', () => {
    const words = [...WORDS.values()].filter(({ word }) => word.example.after !== undefined).map(({ word }) => word.name);
    expect(examples.map(([, name]) => name)).toEqual(words);
  });

  test.each(examples.map(([, name = '', ...rest]) => ({ name, rest })))(
    '$name holds, and does not, as its example says',
    async ({ rest }) => {
      const [rule = '', count = '', before, passes, fails] = rest;
      for (const [rows, verdict] of [
        [passes, 'pass'],
        [fails, 'fail'],
      ] as const) {
        const all = await said(rule, [...Array.from({ length: Number(count) + 1 }, () => rowsOf(before)), rowsOf(rows)]);
        expect(all.at(-1)?.verdict).toBe(verdict);
      }
    },
  );
});

test('a number is held against median and deviations of the windows before that take no more rows', async () => {
  const counts = fc.array(
    fc.oneof({ weight: 4, arbitrary: fc.integer({ min: 8, max: 12 }) }, { weight: 1, arbitrary: fc.integer({ min: 0, max: 40 }) }),
    {
      minLength: 8,
      maxLength: 25,
    },
  );
  await fc.assert(
    fc.asyncProperty(counts, fc.constantFrom('both', 'drop', 'spike'), async (all, direction) => {
      const first = [10, ...all];
      const found = await said(
        `checks: [{ volume_anomaly: { baseline: 30m, min_windows: 3, direction: ${direction}, margin: 0.1 } }]`,
        first.map((count) => Array.from({ length: count }, () => ({}))),
      );
      const wanted = first.map((count, at) => {
        // Two windows are 10 minutes, and thirty more are six before these.
        const past = first.slice(Math.max(0, at - 8), Math.max(0, at - 1));
        if (past.length < 3) return 'indeterminate';
        const middle = medianOf(past);
        const half = Math.max(3 * deviationOf(past, middle), 0.1 * middle);
        return (count < middle - half && direction !== 'spike') || (count > middle + half && direction !== 'drop') ? 'fail' : 'pass';
      });
      expect(found.map(({ verdict }) => verdict)).toEqual(wanted);
    }),
    { numRuns: 60 },
  );
});

test('median and deviation take no notice of less than half of the numbers', () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 90, max: 110 }), { minLength: 5 }), fc.integer({ min: 1000, max: 1_000_000 }), (all, off) => {
      const bad = [...all, ...Array.from({ length: Math.floor((all.length - 1) / 2) }, () => off)];
      expect(medianOf(bad)).toBeLessThanOrEqual(110);
      expect(1.4826 * medianOf(bad.map((value) => Math.abs(value - medianOf(bad))))).toBeLessThanOrEqual(1.4826 * 20);
    }),
  );
});

test('a season is held against itself: what is usual at night is not at noon', async () => {
  const day = (noon: number) => Array.from({ length: 24 }, (_, hour) => Array.from({ length: hour === 0 ? noon : 1 }, () => ({})));
  const rule = (same: string) => `checks: [{ volume_anomaly: { baseline: 7d, min_windows: 3${same} }, window: { every: 1h } }]`;
  const windows = [...day(50), ...day(50), ...day(50), ...day(50), ...day(1)];
  const noons = async (same: string) => {
    const all = await said(rule(same), windows, HOUR);
    return all.filter(({ startMs }) => (startMs - NOON) % (24 * HOUR) === 0).map(({ verdict }) => verdict);
  };
  expect(await noons(', same: hour_of_day')).toEqual(['indeterminate', 'indeterminate', 'indeterminate', 'pass', 'fail']);
  expect((await noons('')).at(-1)).toBe('pass');
});

test('a group that is gone is a window of no rows, until it has been none for long', async () => {
  const [both, one] = [[{ status: 'new' }, { status: 'paid' }], [{ status: 'new' }]];
  const windows = [...Array.from({ length: 8 }, () => both), ...Array.from({ length: 14 }, () => one)];
  const all = await said('checks: [{ volume_anomaly: { baseline: 20m, min_windows: 3 }, group_by: status }]', windows);
  const paid = all.filter(({ group }) => group === '["paid"]').map(({ verdict, rows }) => `${rows} ${verdict}`);
  expect(paid.slice(0, 9)).toEqual([
    ...Array.from({ length: 4 }, () => '1 indeterminate'),
    ...Array.from({ length: 4 }, () => '1 pass'),
    '0 fail',
  ]);
  expect(paid.at(-1)).toBe('0 pass');
  expect(paid.length).toBeLessThan(windows.length);
  expect(new Set(all.filter(({ group }) => group === '["new"]').map(({ verdict }) => verdict))).toEqual(new Set(['indeterminate', 'pass']));
});

test('one null among few rows is chance, and among many is not; values of rows are not shown', async () => {
  const rows = (nulls: number, count: number) => Array.from({ length: count }, (_, at) => ({ total: at < nulls ? null : '5.00' }));
  const before = Array.from({ length: 10 }, () => rows(0, 50));
  const rule = (metric: string) => `columns: { total: [{ metric_anomaly: { metric: ${metric} } }] }`;
  expect((await said(rule('null_rate'), [...before, rows(1, 3)])).at(-1)?.verdict).toBe('pass');
  expect((await said(rule('null_rate'), [...before, rows(30, 100)])).at(-1)).toMatchObject({ verdict: 'fail', observed: '0.3' });
  const max = (await said(rule('max'), [...before, [{ total: '900.00' }]])).at(-1);
  expect(max).toMatchObject({ verdict: 'fail', observed: null, reason: null });
});

test('a quantile is held against those before', async () => {
  const rows = (most: number) => Array.from({ length: 20 }, (_, at) => ({ total: String(at === 19 ? most : at) }));
  const windows = [...Array.from({ length: 10 }, () => rows(20)), rows(500)];
  const verdict = async (metric: string) =>
    (await said(`columns: { total: [{ metric_anomaly: { metric: ${metric} }, allow_values: true }] }`, windows)).at(-1);
  expect(await verdict('p100')).toMatchObject({ verdict: 'fail', observed: '500' });
  expect(await verdict('p50')).toMatchObject({ verdict: 'pass' });
  expect(messages('columns: { total: [{ metric_anomaly: { metric: p101 } }] }').length).toBeGreaterThan(0);
});

test('drift by kl is infinite for what was not expected, and small for what was', async () => {
  const rule = 'columns: { status: [{ drift: { metric: kl, reference: { rolling: { windows: 4, values: 5 } }, max: 0.1 } }] }';
  const rows = (...all: readonly string[]) => all.map((status) => ({ status }));
  const before = Array.from({ length: 6 }, () => rows('new', 'new', 'paid', 'paid'));
  expect((await said(rule, [...before, rows('new', 'paid')])).at(-1)).toMatchObject({ verdict: 'pass', observed: '0' });
  expect((await said(rule, [...before, rows('new', 'gone')])).at(-1)).toMatchObject({ verdict: 'fail', observed: null });
});

test.each([
  ['{ volume_anomaly: { baseline: 10m } }', 'it would never be judged'],
  ['{ volume_anomaly: { baseline: 2d, same: hour_of_week, min_windows: 40 } }', 'it would never be judged'],
  ['{ volume_anomaly: { baseline: 90d }, window: { every: 1s }, group_by: status }', 'would remember up to'],
  ['{ volume_anomaly: { sensitivity: 0 } }', 'it must be > 0'],
  ['{ volume_anomaly: { surprise: 1 } }', 'surprise'],
])('refused at load: %s', (check, message) => expect(messages(`checks: [${check}]`).join('\n')).toContain(message));

test('refused at load: a metric of texts', () => {
  expect(messages('columns: { status: [{ metric_anomaly: { metric: max } }] }').join('\n')).toContain('no numbers');
});
