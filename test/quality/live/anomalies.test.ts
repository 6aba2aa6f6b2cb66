/** volume_anomaly and metric_anomaly: the examples of the page, against a naive reading of the windows before, with seasons, and of groups that are gone. */
import { readFileSync } from 'node:fs';
import fc from '../../support/fast-check.ts';
import { describe, expect, test } from 'vitest';
import { WORDS } from '../../../quality/gx/registry.ts';
import { windowCheckOf } from '../../../quality/live/check.ts';
import { valueCounts } from '../../../quality/states/value-counts.ts';
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

test('each value of a column is held against its own rows in the windows before, be it new or gone', async () => {
  const names = ['new', 'paid', 'gone', 'rare'] as const;
  const window = fc.tuple(
    fc.integer({ min: 40, max: 60 }),
    fc.integer({ min: 0, max: 30 }),
    fc.integer({ min: 0, max: 3 }),
    fc.constantFrom(0, 0, 0, 9),
  );
  await fc.assert(
    fc.asyncProperty(
      fc.array(window, { minLength: 4, maxLength: 12 }),
      fc.constantFrom('both', 'drop', 'spike'),
      async (all, direction) => {
        const rule = `dimension_anomaly: { baseline: 30m, min_windows: 3, direction: ${direction}, margin: 0.1 }`;
        const found = await said(
          `columns: { status: [{ ${rule}, allow_values: true }] }`,
          all.map((counts) => counts.flatMap((count, of) => Array.from({ length: count }, () => ({ status: names[of] })))),
        );
        const wanted = all.map((counts, at) => {
          // Two windows are 10 minutes, and thirty more are six before these.
          const past = all.slice(Math.max(0, at - 8), Math.max(0, at - 1));
          if (past.length < 3) return null;
          return names.filter((_, of) => {
            const before = past.map((one) => one[of] ?? 0);
            const middle = medianOf(before);
            const half = Math.max(3 * Math.max(deviationOf(before, middle), Math.sqrt(middle + 0.5)), 0.1 * middle);
            const count = counts[of] ?? 0;
            return (count < middle - half && direction !== 'spike') || (count > middle + half && direction !== 'drop');
          });
        });
        const verdicts = wanted.map((off) => (off === null ? 'indeterminate' : off.length > 0 ? 'fail' : 'pass'));
        expect(found.map(({ verdict }) => verdict)).toEqual(verdicts);
        const observed = found.map((one) =>
          one.verdict === 'indeterminate' ? null : (JSON.parse(one.observed ?? '[]') as string[]).sort(),
        );
        expect(observed).toEqual(wanted.map((off) => off?.toSorted() ?? null));
      },
    ),
    { numRuns: 40 },
  );
});

test('of windows that do not name all of their values, those that are not named are not judged; nor are they in a window that names too few itself', () => {
  const { memory } = windowCheckOf('dimension_anomaly', { column: 'status', min_windows: 2, margin: 0.1 }) ?? expect.fail('no check');
  if (memory === undefined) return expect.fail('it remembers nothing');
  const values = fc.uniqueArray(fc.tuple(fc.constantFrom('a', 'b', 'c', 'd', 'e', 'f'), fc.integer({ min: 1, max: 60 })), {
    selector: ([value]) => value,
  });
  const window = fc.record({ values, others: fc.constantFrom(0, 0, 100) });
  fc.assert(
    fc.property(window, fc.array(window, { minLength: 2, maxLength: 9 }), (now, past) => {
      const rowsOf = (one: typeof now, value: string) => one.values.find(([own]) => own === value)?.[1] ?? (one.others > 0 ? undefined : 0);
      const all = new Set([...past, now].flatMap((one) => one.values.map(([value]) => value)));
      const off = [...all].filter((value) => {
        const count = rowsOf(now, value);
        const before = past.flatMap((one) => rowsOf(one, value) ?? []);
        if (count === undefined || before.length < 2) return false;
        const middle = medianOf(before);
        const half = Math.max(3 * Math.max(deviationOf(before, middle), Math.sqrt(middle + 0.5)), 0.1 * middle);
        return Math.abs(count - middle) > half;
      });
      const { success, observed } = memory.judge(now, past, { state: valueCounts.create(), sketch: null });
      expect(success).toBe(off.length === 0);
      expect((observed as string[]).toSorted()).toEqual(off.toSorted());
    }),
    { numRuns: 1000 },
  );
});

test('of values that are off it says how many and how far, and which ones where values may be shown alone', async () => {
  const rows = (paid: number) => Array.from({ length: 40 + paid }, (_, at) => ({ status: at < 40 ? 'new' : 'paid' }));
  const windows = [...Array.from({ length: 9 }, () => rows(30)), rows(3)];
  const last = async (more: string) => (await said(`columns: { status: [{ dimension_anomaly: true${more} }] }`, windows)).at(-1);
  const reason =
    '1 of its 2 values have other numbers of rows than expected; the farthest has 3, and expected is 13.432 to 46.568, by 8 windows before it whose median is 30';
  expect(await last('')).toMatchObject({ verdict: 'fail', observed: null, reason });
  expect(await last(', allow_values: true')).toMatchObject({ verdict: 'fail', observed: '["paid"]', reason });
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

test('the deviation is that of a normal spread; where most are the same, that of all distances', () => {
  const steps = Array.from({ length: 60 }, (_, at) => (at + 0.5) / 60);
  const normal = steps.flatMap((u) => steps.map((v) => 7 + 2 * Math.sqrt(-2 * Math.log(u)) * Math.cos(2 * Math.PI * v)));
  expect(deviationOf(normal, 7)).toBeCloseTo(2, 1);
  expect(deviationOf([5, 5, 5, 5, 5, 8, 2], 5)).toBeCloseTo((1.2533 * 6) / 7, 10);
});

test('row_count: { anomaly } is volume_anomaly under its own name', async () => {
  const windows = [3, 3, 3, 3, 3, 3, 1].map((count) => Array.from({ length: count }, () => ({})));
  const found = async (check: string) =>
    (await said(`checks: [{ id: it, ${check} }]`, windows)).map(({ verdict, reason }) => [verdict, reason]);
  const options = '{ baseline: 40m, min_windows: 3, direction: drop }';
  const wanted = await found(`volume_anomaly: ${options}`);
  expect(wanted.at(-1)?.[0]).toBe('fail');
  expect(await found(`row_count: { anomaly: ${options} }`)).toEqual(wanted);
  expect(messages('checks: [{ row_count: { anomaly: true } }]')).toEqual([]);
});

describe('z_score with a baseline', () => {
  const rowsOf = (values: readonly number[]) => values.map((value) => ({ total: value.toFixed(2) }));
  const value = fc.oneof(
    { weight: 9, arbitrary: fc.integer({ min: 90, max: 110 }) },
    { weight: 1, arbitrary: fc.integer({ min: 0, max: 200 }) },
  );

  test('values are held against the mean and deviation of all values of the windows before', async () => {
    const windows = fc.array(fc.array(value, { minLength: 1, maxLength: 8 }), { minLength: 3, maxLength: 9 });
    await fc.assert(
      fc.asyncProperty(windows, fc.constantFrom(1, 2, 3), fc.boolean(), async (all, threshold, isDouble) => {
        const rule = `z_score: { threshold: ${threshold}, double_sided: ${isDouble}, baseline: 20m, min_windows: 2, learn: all }, mostly: 0.6`;
        const found = await said(`columns: { total: [{ ${rule} }] }`, all.map(rowsOf));
        const wanted = all.map((values, at) => {
          // Two windows are 10 minutes, and twenty more are four before these.
          const past = all.slice(Math.max(0, at - 6), Math.max(0, at - 1));
          if (past.length < 2) return null;
          const before = past.flat();
          const mean = before.reduce((sum, one) => sum + one, 0) / before.length;
          const deviation = Math.sqrt(before.reduce((sum, one) => sum + (one - mean) ** 2, 0) / (before.length - 1));
          if (!(deviation > 1e-9)) return null;
          const scores = values.map((one) => (one - mean) / deviation);
          // A score at the threshold is a matter of the last digit.
          if (scores.some((score) => Math.abs(Math.abs(score) - threshold) < 1e-9)) return 'either';
          return scores.filter((score) => (isDouble ? Math.abs(score) : score) < threshold).length / values.length;
        });
        for (const [at, share] of wanted.entries()) {
          if (share === 'either') continue;
          const expected = share === null ? ['indeterminate', null] : [share >= 0.6 ? 'pass' : 'fail', JSON.stringify(share)];
          expect([found[at]?.verdict, found[at]?.observed]).toEqual(expected);
        }
      }),
      { numRuns: 60 },
    );
  });

  test('a window that failed widens nothing, unless it is learnt from', async () => {
    const usual = [9, 10, 11];
    const windows = [...Array.from({ length: 6 }, () => usual), [1000, 2000], usual, usual, usual, [1000, 1000]].map(rowsOf);
    const last = async (learn: string) =>
      (await said(`columns: { total: [{ z_score: { threshold: 3, baseline: 7d${learn} } }] }`, windows))
        .map(({ verdict }) => verdict)
        .at(-1);
    expect([await last(''), await last(', learn: all')]).toEqual(['fail', 'pass']);
  });

  test('where the values before do not deviate, were it for what is lost in their mean, or are one alone, it cannot be said', async () => {
    // Their mean is not 0.1 to the last digit, as sums of doubles go.
    const same = Array.from({ length: 6 }, (_, at) => Array.from({ length: at % 2 === 0 ? 3 : 7 }, () => ({ risk: 0.1 })));
    const rule = (options: string) => `columns: { risk: [{ z_score: { threshold: 0.5, baseline: 7d${options} } }] }`;
    const reason = expect.stringContaining('the values of the windows before it have no standard deviation') as string;
    expect((await said(rule(''), [...same, [{ risk: 0.1 }]])).at(-1)).toMatchObject({ verdict: 'indeterminate', reason });
    // Of the windows before the third one the first alone takes no more rows.
    const alone = await said(rule(', min_windows: 1'), [[{ risk: 1 }], [{ risk: 2 }], [{ risk: 5 }]]);
    expect(alone.at(-1)).toMatchObject({ verdict: 'indeterminate', reason });
  });

  test('however many windows of however many values there were, those that are all the same have no deviation', () => {
    const { memory, kind } = windowCheckOf('z_score_beside', { column: 'total', threshold: 1, mostly: 0.7 }) ?? expect.fail('no check');
    if (memory === undefined) return expect.fail('it remembers nothing');
    const state = kind.create();
    state.add(0.5);
    const counts = fc.array(fc.integer({ min: 1, max: 5000 }), { minLength: 2, maxLength: 500, size: 'max' });
    fc.assert(
      fc.property(fc.double({ min: 0.01, max: 100, noNaN: true }), counts, (mean, windows) => {
        const past = windows.map((count) => [count, mean, 0]);
        expect(memory.judge([1, 0.5, 0], past, { state, sketch: null })).toMatchObject({ success: null, observed: null });
      }),
      { numRuns: 500 },
    );
  });

  test('of more values than there is room for it says the same, or that it cannot be said', () => {
    // Many lie in the cells of the bounds, where they are not told apart.
    const near = fc.double({ min: 90, max: 110, noNaN: true });
    const check = windowCheckOf('z_score_beside', { column: 'total', threshold: 1, mostly: 0.7 });
    const { memory, kind, sketch } = check ?? expect.fail('no check');
    if (memory === undefined || sketch === null) return expect.fail('it remembers nothing');
    fc.assert(
      fc.property(fc.array(near, { minLength: 1 }), fc.array(near, { minLength: 5 }), (values, before) => {
        const [state, others, kept] = [kind.create(), kind.create(), sketch.kind.create()];
        for (const one of values) {
          state.add(one);
          kept.put(one, 1);
        }
        for (const one of before) others.add(one);
        const counts = { rows: values.length, missing: 0 };
        const [trace, past] = [memory.trace(state, counts), [memory.trace(others, counts)]];
        expect(memory.traceOfSketch?.(kept, counts)).toEqual(trace);
        const exact = memory.judge(trace, past, { state, sketch: null }).success;
        expect([exact, null]).toContain(memory.judge(trace, past, { state: null, sketch: kept }).success);
      }),
      { numRuns: 500 },
    );
  });

  test('previous is fourteen days, this is the window itself, and what goes with windows before needs one', async () => {
    const windows = [
      [9, 10, 11],
      [9, 10, 11],
      [10, 9, 11],
      [9, 11, 10],
      [90, 100, 110],
    ].map(rowsOf);
    const last = async (baseline: string) => (await said(`columns: { total: [{ z_score: { threshold: 3${baseline} } }] }`, windows)).at(-1);
    expect(await last(', baseline: previous')).toMatchObject({
      verdict: 'fail',
      observed: '0',
      reason: 'held against the mean and deviation of 9 values of 3 windows before it',
    });
    expect(await last(', baseline: 7d')).toMatchObject({ verdict: 'fail' });
    expect(await last(', baseline: this')).toMatchObject({ verdict: 'pass', observed: '1' });
    expect(await last('')).toMatchObject({ verdict: 'pass', observed: '1' });
    expect(messages('columns: { total: [{ z_score: { threshold: 3, min_windows: 4 } }] }').join('\n')).toContain(
      'min_windows is not among',
    );
  });
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

test('a group has had no rows in each window without it since it was there first, however soon that was', async () => {
  // Away for longer it is forgotten, and new when it comes back.
  const runs = fc.array(fc.tuple(fc.nat({ max: 5 }), fc.constantFrom(4, 9)), { minLength: 2, maxLength: 8 });
  const windowsOf = runs.map((all) => [...all.flatMap(([none, count]) => [...Array.from({ length: none }, () => 0), count]), 0, 0, 0]);
  await fc.assert(
    fc.asyncProperty(windowsOf, async (counts) => {
      const windows = counts.map((count) => [{ status: 'new' }, ...Array.from({ length: count }, () => ({ status: 'paid' }))]);
      const all = await said('checks: [{ volume_anomaly: { baseline: 20m, min_windows: 3, margin: 0.1 }, group_by: status }]', windows);
      const wanted = counts.flatMap((count, at) => {
        // Two windows are 10 minutes, and twenty more are four before these.
        const past = counts.slice(0, Math.max(0, at - 1)).map((own, index) => ({ own, index }));
        const first = past.findIndex(({ own }) => own > 0);
        const before = first === -1 ? [] : past.slice(Math.max(first, at - 6));
        if (count === 0 && !before.some(({ own }) => own > 0)) return [];
        if (before.length < 3) return [`${at} ${count} indeterminate`];
        const middle = medianOf(before.map(({ own }) => own));
        const deviation = deviationOf(before.map(({ own }) => own), middle); // prettier-ignore
        const isOff = Math.abs(count - middle) > Math.max(3 * deviation, 0.1 * middle);
        return [`${at} ${count} ${isOff ? 'fail' : 'pass'}`];
      });
      const found = all
        .filter(({ group }) => group === '["paid"]')
        .map(({ startMs, rows, verdict }) => `${(startMs - NOON) / (5 * MINUTE)} ${rows} ${verdict}`);
      expect(found).toEqual(wanted);
    }),
    { numRuns: 100 },
  );
});

test.each([true, false])('a group whose rows come late has none at first, and then these (closed in between: %s)', async (isClosed) => {
  const contract = contractOf(`source: { event_time: after.created_at }
defaults: { window: { every: 5m, out_of_order: 0s, lateness: 10m } }
checks: [{ volume_anomaly: { baseline: 20m, min_windows: 3 }, group_by: status }]`);
  const store = new MemoryStore();
  const lane = new TestLane(
    store,
    contract,
    clockAt(() => NOON),
  );
  const row = (status: string, window: number) => insert({ status }, NOON + window * 5 * MINUTE);
  for (let window = 0; window < 8; window++) await lane.batch([row('new', window), row('paid', window)]);
  await lane.batch([row('new', 8), row('new', 9)]);
  if (isClosed) await closes(store, contract);
  await lane.batch([row('paid', 8)]);
  await closes(store, contract);
  const paid = store.all.filter(({ group, startMs }) => group === '["paid"]' && startMs === NOON + 40 * MINUTE);
  expect(paid.map(({ revision, rows, verdict }) => `${revision}: ${rows} ${verdict}`)).toEqual(['1: 0 fail', '2: 1 pass']);
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
  ['{ row_count: { anomaly: { surprise: 1 } } }', 'surprise'],
  ['{ row_count: { anomaly: { baseline: 10m } } }', 'it would never be judged'],
  ['{ row_count: { anomaly: true, min: 3 } }', 'anomaly stands alone, and min is beside it'],
  ['{ column: total, z_score: { threshold: 3, baseline: soon } }', 'not one of the choices'],
  ['{ column: total, z_score: { threshold: 3, baseline: 10m } }', 'it would never be judged'],
  ['{ column: status, z_score: { threshold: 3, baseline: previous } }', 'z-score'],
  ['{ column: created_at, z_score: { threshold: 3, baseline: previous } }', 'z-score'],
])('refused at load: %s', (check, message) => expect(messages(`checks: [${check}]`).join('\n')).toContain(message));

test('refused at load: a metric of texts', () => {
  expect(messages('columns: { status: [{ metric_anomaly: { metric: max } }] }').join('\n')).toContain('no numbers');
});
