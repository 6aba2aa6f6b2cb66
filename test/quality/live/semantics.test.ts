/** What docs/windows.md says of windows, case by case. */
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { compileContract } from '../../../quality/compile.ts';
import { parseContract } from '../../../quality/contract.ts';
import { type ChangeEvent, type LaneId, type Row, UNCHANGED } from '../../../core/event.ts';
import { contractOf, lines, orders, problemsOf, removed } from '../support.ts';
import { ClockWatch } from '../../../quality/clock/watch.ts';
import { bindSets } from '../../../quality/live/binding.ts';
import { WindowCloser } from '../../../quality/live/closer.ts';
import { type Change, clockAt, closes, MemoryStore, MINUTE, NOON, TestLane } from './support.ts';

const at = (minutes: number) => NOON + minutes * MINUTE;
const insert = (id: number, minutes: number, cells: Readonly<Record<string, unknown>> = {}): Change => ({
  op: 'insert',
  key: String(id),
  before: null,
  after: { id, ...cells },
  atMs: at(minutes),
});
const update = (id: number, minutes: number, before: Change['before'], after: Change['after']): Change => ({
  op: 'update',
  key: String(id),
  before,
  after,
  atMs: at(minutes),
});
const clock = clockAt(() => NOON);

interface Told {
  readonly store: MemoryStore;
  readonly said: readonly string[];
}

/** Rule, minutes from noon, group, verdict, observed, revision: of windows from noon on, in the order of being told. */
async function told(body: string, changes: readonly Change[], live: Parameters<typeof closes>[2] = {}): Promise<Told> {
  const store = new MemoryStore();
  const contract = contractOf(body);
  const lane = new TestLane(store, contract, clock);
  await lane.batch(changes);
  await closes(store, contract, live);
  return { store, said: saidBy(store) };
}
const saidBy = (store: MemoryStore) =>
  store.all.map(
    ({ rule, startMs, group, verdict, observed, revision, reason }) =>
      `${rule} ${startMs < 0 ? 'snapshot' : (startMs - NOON) / MINUTE} ${group === '' ? '-' : group} ${verdict} ${observed ?? '-'} #${revision}${reason === null ? '' : ` (${reason})`}`,
  );
const WINDOWS = 'defaults: { window: { every: 5m, out_of_order: 0s, lateness: 10m } }\n';

test('the example of the page loads, and fits its table', () => {
  const page = readFileSync(new URL('../../../docs/windows.md', import.meta.url), 'utf8');
  const [, text = ''] = /^```yaml\n([^]*?)^```$/m.exec(page) ?? [];
  const parsed = parseContract(text, 'docs/windows.md');
  if ('problems' in parsed) throw new Error(lines(parsed.problems).join('\n'));
  const compiled = compileContract(parsed.contract, orders);
  expect(Array.isArray(compiled) ? lines(compiled) : parsed.contract.live.checks.map(({ id }) => id)).toEqual([
    'total.mean',
    'total.null_rate',
    'email.distinct_count',
    'volume',
  ]);
});

test('long windows overlap, and each holds the rows of its own time', async () => {
  const { said } = await told(`defaults: { window: { every: 5m, size: 10m, out_of_order: 0s } }\nchecks: [{ row_count: { min: 1 } }]`, [
    insert(1, 1),
    insert(2, 6),
    update(1, 7, { id: 1 }, { id: 1 }),
    insert(9, 60),
  ]);
  expect(said.slice(0, 4)).toEqual([
    'row_count -5 - pass 1 #1',
    'row_count 0 - pass 2 #1',
    'row_count 5 - pass 2 #1',
    'row_count 10 - fail 0 #1',
  ]);
});

describe('rows beside the others of their window', () => {
  const timed = (id: number, minutes: number, total: string) => insert(id, 1, { total, created_at: new Date(at(minutes)).toISOString() });
  const BY_TIME = `source: { event_time: after.created_at }\n${WINDOWS}`;
  const last = { ...timed(9, 60, '0'), atMs: at(60) };

  test('are in the order of their times, however they come; those of one time have none', async () => {
    const body = `${BY_TIME}columns: { total: [increasing, { increasing: { strictly: true }, id: strictly, mostly: 0.7 }, decreasing] }`;
    const rows = [timed(1, 3, '3.00'), timed(2, 1, '2'), timed(3, 3, '2.0')];
    expect((await told(body, [...rows, last])).said).toEqual([
      'total.increasing 0 - pass 1 #1',
      'strictly 0 - fail 0.6666666666666666 #1',
      'total.decreasing 0 - fail 0.6666666666666666 #1',
    ]);
    const moved = update(2, 2, rows[1]?.after ?? null, { ...rows[1]?.after, total: '2.5' });
    expect((await told(body, [...rows, moved, last])).said[0]).toBe('total.increasing 0 - fail 0.6666666666666666 #1');
  });

  test('without a deviation have no z-scores', async () => {
    const body = `${WINDOWS}columns: { total: [{ z_score: { threshold: 2 } }] }`;
    const { said } = await told(body, [insert(1, 1, { total: '7' }), insert(2, 2, { total: '7.0' }), insert(9, 60)]);
    expect(said).toEqual([
      'total.z_score 0 - indeterminate - #1 (its values have no standard deviation: they are fewer than two, all the same, or not finite)',
    ]);
  });

  test('are duplicates by several columns, where a null is a value among others', async () => {
    const body = `${WINDOWS}checks: [{ compound_duplicates: { columns: [status, total], max: 1 } }]`;
    const cells = [{ status: 'new', total: '1' }, { status: 'new', total: '1.0' }, { status: 'new' }, { total: '1' }, {}, {}];
    const { said } = await told(body, [...cells.map((own, id) => insert(id, 1, own)), insert(9, 60)]);
    expect(said).toEqual(['compound_duplicates 0 - pass 1 #1']);
  });

  test.each([
    ['columns: { total: [increasing] }', 'needs the time of each row'],
    ['source: { event_time: after.created_at }\ncolumns: { created_at: [decreasing] }', 'this very column'],
    ['source: { event_time: after.created_at }\ncolumns: { status: [increasing] }', 'only numbers and dates increase'],
    ['columns: { status: [{ z_score: { threshold: 3 } }] }', 'have a z-score'],
    ['columns: { created_at: [{ z_score: { threshold: 3 } }] }', 'have z-scores'],
    ['checks: [{ compound_duplicates: { columns: [status, nope], max: 0 } }]', 'no column "nope"'],
    ['columns: { total: [{ mean: { min: 0 }, mostly: 0.5 }] }', 'mostly is not among its kwargs'],
  ])('%s is refused', (body, message) => {
    expect(problemsOf(body).map((problem) => problem.message)).toEqual([expect.stringContaining(message)]);
  });
});

test('each group is judged by itself, and those beyond max_groups together', async () => {
  const body = `${WINDOWS}columns: { items: [{ sum: { max: 10 }, group_by: status, max_groups: 2 }] }`;
  const { said } = await told(body, [
    insert(1, 1, { items: 4, status: 'new' }),
    insert(2, 1, { items: 20, status: 'paid' }),
    insert(3, 1, { items: 5, status: 'odd' }),
    insert(4, 1, { items: 6, status: 'strange' }),
    update(1, 2, { id: 1, items: 4, status: 'new' }, { id: 1, items: 4, status: 'paid' }),
    insert(9, 60, { items: 0, status: 'new' }),
  ]);
  expect(said).toEqual(['items.sum 0 (other) fail 11 #1', 'items.sum 0 ["paid"] fail 24 #1']);
});

test('a state from which nothing can be taken says so only where that matters', async () => {
  const body = `${WINDOWS}columns: { items: [{ max: { max: 100 } }, { min: { min: 0 } }] }`;
  const { said } = await told(body, [
    insert(1, 1, { items: 5 }),
    insert(2, 1, { items: 9 }),
    update(2, 2, { id: 2, items: 9 }, { id: 2, items: 8 }),
    insert(9, 60, { items: 1 }),
  ]);
  expect(said).toEqual([
    'items.max 0 - indeterminate - #1 (the row with the greatest value was changed or deleted, and the next one is not known)',
    'items.min 0 - pass - #1',
  ]);
});

test('an old row that the source did not send makes its window indeterminate, but for the number of rows', async () => {
  const body = `${WINDOWS}columns: { items: [{ mean: { max: 100 } }] }\nchecks: [{ row_count: { max: 1 } }]`;
  const { said } = await told(body, [insert(1, 1, { items: 5 }), update(1, 2, null, { id: 1, items: 6 }), insert(9, 5.5, { items: 1 })]);
  expect(said).toEqual(['items.mean 0 - indeterminate - #1 (the values of 1 rows are not known)', 'row_count 0 - pass 1 #1']);
});

test('mostly: rows that fail are tagged, and the window fails where too few pass', async () => {
  const body = `${WINDOWS}columns:\n  status: [{ in_set: [new, paid], mostly: 0.6, on_fail: tag }]\nchecks: [{ id: mail, expect: expect_column_values_to_match_regex, kwargs: { column: email, regex: '@', mostly: 0.5 }, on_fail: warn }]`;
  const { said } = await told(body, [
    insert(1, 1, { status: 'new', email: 'a@b' }),
    insert(2, 1, { status: 'odd', email: 'a' }),
    insert(3, 1, { status: 'odd' }),
    insert(4, 1, {}),
    update(3, 2, { id: 3, status: 'odd' }, { id: 3, status: 'gone' }),
    insert(5, 6, { status: 'odd' }),
    update(5, 7, { id: 5, status: 'odd' }, { id: 5, status: 'paid' }),
    insert(9, 60),
  ]);
  expect(said).toEqual([
    'status.in_set 0 - fail 0.3333333333333333 #1',
    'mail 0 - pass 0.5 #1',
    'status.in_set 5 - pass 1 #1',
    'mail 5 - pass - #1',
  ]);
});

test('of: changes counts every version of a row', async () => {
  const body = `defaults: { window: { every: 5m, out_of_order: 0s, of: changes } }\nchecks: [{ row_count: { max: 1 } }]`;
  const { said } = await told(body, [insert(1, 1), update(1, 2, { id: 1 }, { id: 1 }), insert(9, 5.5)]);
  expect(said).toEqual(['row_count 0 - fail 2 #1']);
});

test('row_count_equals takes a number, and is judged of a window without rows as well', async () => {
  const body = `${WINDOWS}checks: [{ row_count_equals: 2 }, { id: none, row_count_equals: 0, where: after.items > 1 }]`;
  const { said } = await told(body, [insert(1, 1, { items: 1 }), insert(2, 2, { items: 2 }), insert(9, 11)]);
  expect(said).toEqual(['row_count_equals 0 - pass 2 #1', 'none 0 - fail 1 #1', 'row_count_equals 5 - fail 0 #1', 'none 5 - pass 0 #1']);
  const refused = ['1.5', '-1'].flatMap((count) => problemsOf(`checks: [{ row_count_equals: ${count} }]`));
  expect(refused.map(({ message, fix }) => `${message} -> ${fix}`)).toMatchInlineSnapshot(`
    [
      "a number stands where a whole number or a text or keys and values is needed -> Write a whole number or a text or keys and values.",
      "it must be >= 0 -> Correct the value.",
    ]
  `);
});

test('few rows, and none, are as the rule says', async () => {
  const { said } = await told(
    `${WINDOWS}columns:\n  items: [{ id: few, sum: { max: 1 }, min_rows: 3 }, { id: none, mean: { max: 1 }, on_empty: fail }, { id: silent, sum: { max: 9 } }]`,
    [insert(1, 1, { items: 1 }), insert(9, 11, { items: 1 })],
  );
  expect(said.filter((line) => !line.includes(' pass '))).toEqual([
    'few 0 - indeterminate - #1 (1 rows are fewer than min_rows (3))',
    'none 5 - fail - #1 (the window has no rows)',
  ]);
});

test('rows of a snapshot have a window of their own, judged when they are all there', async () => {
  const body = `${WINDOWS}columns: { items: [{ mean: { max: 5 } }] }\nchecks: [{ row_count: { min: 100 } }]`;
  const rows = [1, 2, 3].map((id): Change => ({ ...insert(id, -900, { items: id * 3 }), op: 'read' }));
  expect((await told(body, rows, { isCopied: () => false })).said).toEqual([]);
  expect((await told(body, rows)).said).toEqual(['items.mean snapshot - fail 6 #1']);
});

test('a delete that brings its key alone: by a column, all open windows are in doubt; by commit, what says more than how many rows there are', async () => {
  const gone: Change = { op: 'delete', key: '2', before: { id: 2 }, after: null, atMs: at(3) };
  const checks = 'columns: { items: [{ mean: { min: 0 } }] }\nchecks: [{ row_count: { min: 2 } }]';
  const rows = (cells: (minutes: number) => Readonly<Record<string, unknown>>) => [
    insert(1, 1, { items: 3, ...cells(1) }),
    insert(2, 2, { items: 9, ...cells(2) }),
    gone,
    insert(3, 6, { items: 1, ...cells(6) }),
  ];
  const byCommit = await told(
    `${WINDOWS}${checks}`,
    rows(() => ({})),
  );
  expect(byCommit.said).toEqual(['items.mean 0 - indeterminate - #1 (the values of 1 rows are not known)', 'row_count 0 - fail 1 #1']);
  const byColumn = await told(
    `source: { event_time: after.created_at }\n${WINDOWS}${checks}`,
    rows((minutes) => ({ created_at: new Date(at(minutes)).toISOString() })),
  );
  const doubt = '(of 1 changed rows it is not known whether they were in the window before)';
  expect(byColumn.said).toEqual([`items.mean 0 - indeterminate - #1 ${doubt}`, `row_count 0 - indeterminate - #1 ${doubt}`]);
});

test('a deleted row with a cell that cannot be read is no key alone, and stops nobody', () => {
  const before: Row = {
    encoded: null,
    value: (index) => {
      if (index > 0) throw new RangeError('no value');
      return 2;
    },
  };
  const event: ChangeEvent = { ...removed({}), op: 'delete', before, after: null };
  expect(bindSets(contractOf('checks: [{ row_count: { min: 1 } }]'), [], orders).oldRowOf(event)).toBe(before);
});

test('a row that was left out, its time being far away, is not taken back once that is near, whatever is killed meanwhile', async () => {
  const body = `source: { event_time: after.created_at }\n${WINDOWS}checks: [{ row_count: { min: 1 } }]`;
  const row = (id: number, minutes: number) => ({ id, created_at: new Date(at(minutes)).toISOString() });
  const [store, contract] = [new MemoryStore(), contractOf(body)];
  const lane = new TestLane(store, contract, clock);
  await lane.batch([insert(1, 1, row(1, 1)), insert(2, 1, row(2, 30)), insert(3, 1, row(3, 31))]);
  lane.kill();
  await lane.batch([update(2, 29, row(2, 30), row(2, 32)), { ...insert(3, 30), op: 'delete', before: row(3, 31), after: null }]);
  lane.kill();
  // By now it is in its window, and is taken back.
  await lane.batch([insert(4, 33, row(4, 33)), update(2, 34, row(2, 32), row(2, 33)), insert(5, 40, row(5, 40))]);
  await closes(store, contract);
  expect(saidBy(store).filter((said) => /^row_count (0|30) /.test(said))).toEqual(['row_count 0 - pass 1 #1', 'row_count 30 - pass 2 #1']);
});

test('a lane that is there, and of which nothing was heard, is waited for as one that went silent is', async () => {
  const body = `${WINDOWS}checks: [{ row_count: { min: 1 } }]`;
  const changes = [insert(1, 1), insert(2, 6)];
  for (const [lanesOf, said] of [
    [() => ['lane', 'other'] as LaneId[], []],
    [() => null, []],
    [() => ['lane'] as LaneId[], ['row_count 0 - pass 1 #1']],
  ] as const)
    expect((await told(body, changes, { lanesOf })).said).toEqual(said);
  const [store, contract] = [new MemoryStore(), contractOf(body)];
  await new TestLane(store, contract, clock).batch(changes);
  const closer = new WindowCloser(() => new Map([[contract.dataset, contract]]));
  for (const minutes of [0, 0.9, 1.1]) {
    await closer.close(store, { nowMs: at(minutes), isCaughtUp: false, isCopied: () => true, lanesOf: () => ['other'] as LaneId[] });
    expect(saidBy(store)).toEqual(minutes < 1 ? [] : ['row_count 0 - pass 1 #1']);
  }
});

test('where nothing comes the clock closes windows, once the source has no more and the lane is idle', async () => {
  const body = `defaults: { window: { every: 5m, out_of_order: 30s, idle: 1m } }\nchecks: [{ row_count: { min: 1 } }]`;
  expect((await told(body, [insert(1, 1)], { nowMs: at(30) })).said).toEqual([]);
  expect((await told(body, [insert(1, 1)], { nowMs: at(6), isCaughtUp: true })).said).toEqual([]);
  expect((await told(body, [insert(1, 1)], { nowMs: at(6.6), isCaughtUp: true })).said).toEqual(['row_count 0 - pass 1 #1']);
  expect((await told(body, [insert(1, 1)], { nowMs: at(12), isCaughtUp: true })).said).toEqual([
    'row_count 0 - pass 1 #1',
    'row_count 5 - fail 0 #1',
  ]);
});

test('a lane whose batches are empty is idle, and windows close by the clock all the same', async () => {
  const store = new MemoryStore();
  let nowMs = at(1);
  const contract = contractOf('defaults: { window: { every: 5m, out_of_order: 30s, idle: 1m } }\nchecks: [{ row_count: { min: 1 } }]');
  const lane = new TestLane(
    store,
    contract,
    clockAt(() => nowMs),
  );
  await lane.batch([insert(1, 1)]);
  for (nowMs = at(2); nowMs <= at(7); nowMs += MINUTE / 2) await lane.batch([]);
  await closes(store, contract, { nowMs, isCaughtUp: true });
  expect(saidBy(store)).toEqual(['row_count 0 - pass 1 #1']);
});

test('what was kept for windows that no rule asks for any more is let go', async () => {
  const store = new MemoryStore();
  const [hourly, short] = ['1h', '5m'].map((every) =>
    contractOf(`defaults: { window: { every: ${every} } }\nchecks: [{ row_count: { min: 1 } }]`),
  );
  if (hourly === undefined || short === undefined) throw new Error('two contracts');
  let contract = hourly;
  const lane = new TestLane(store, () => contract, clock);
  await lane.batch([insert(1, 1)]);
  contract = short;
  await lane.batch([insert(2, 2)]);
  await closes(store, contract);
  expect(store.parts.map(({ set }) => set.slice(0, 2))).toEqual(['5m']);
});

test('several lanes: the slowest that is not idle says when a window is closed, and it is closed once, with the rows of all', async () => {
  const store = new MemoryStore();
  let nowMs = at(6);
  const contract = contractOf(`${WINDOWS}columns: { items: [{ sum: { max: 10 } }] }`);
  const [a, b] = [
    new TestLane(
      store,
      contract,
      clockAt(() => nowMs),
      'a',
    ),
    new TestLane(
      store,
      contract,
      clockAt(() => nowMs),
      'b',
    ),
  ];
  await a.batch([insert(1, 1, { items: 7 }), insert(2, 6, { items: 0 })]);
  await b.batch([insert(3, 1, { items: 4 })]);
  // Two processes may try.
  for (let process = 0; process < 2; process++) await closes(store, contract, { nowMs });
  expect(saidBy(store)).toEqual([]);
  nowMs = at(8);
  await a.batch([insert(5, 7, { items: 0 })]);
  for (let process = 0; process < 2; process++) await closes(store, contract, { nowMs });
  expect(saidBy(store)).toEqual(['items.sum 0 - fail 11 #1']);
  // The idle lane comes back with a row for the window: an amended verdict.
  await b.batch([insert(4, 2, { items: -3 })]);
  for (let process = 0; process < 2; process++) await closes(store, contract, { nowMs });
  expect(saidBy(store)).toEqual(['items.sum 0 - fail 11 #1', 'items.sum 0 - pass 8 #2']);
});

test('rules that change while a window is open: what stayed goes on, what is new says so', async () => {
  const store = new MemoryStore();
  const [first, second] = ['[{ sum: { max: 10 } }]', '[{ sum: { max: 3 } }, { distinct_count: { max: 9 } }]'].map((checks) =>
    contractOf(`${WINDOWS}columns: { items: ${checks} }`),
  );
  if (first === undefined || second === undefined) throw new Error('two contracts');
  let contract = first;
  const lane = new TestLane(store, () => contract, clock);
  await lane.batch([insert(1, 1, { items: 4 })]);
  contract = second;
  await lane.batch([insert(2, 2, { items: 5 }), insert(9, 6)]);
  await closes(store, contract);
  expect(saidBy(store)).toEqual([
    'items.sum 0 - fail 9 #1',
    'items.distinct_count 0 - indeterminate - #1 (the rules were changed while the window was open)',
  ]);
});

/** Nothing that these checks ask for is counted. */
const UNCOUNTED = { counts: async () => [] };

test('freshness fails when the newest row is too old, whoever else writes, and is told when it becomes so and when it is no more', async () => {
  const store = new MemoryStore();
  const contract = contractOf('checks: [{ freshness: { max: 5m } }]');
  const lane = new TestLane(store, contract, clock);
  await lane.batch([insert(1, 1)]);
  let process = new ClockWatch();
  const look = (minutes: number) => process.look({ windows: store, slo: UNCOUNTED }, [contract], at(minutes));
  for (const minutes of [2, 6, 6.5, 7]) await look(minutes);
  process = new ClockWatch();
  await look(8);
  await lane.batch([insert(2, 8.5)]);
  for (const minutes of [9, 10]) await look(minutes);
  expect(store.all.map(({ rule, verdict, observed, reason }) => `${rule} ${verdict} ${observed} ${reason}`)).toEqual([
    'freshness fail 330 no row for 330 s, and max is 300 s',
    'freshness pass 30 null',
  ]);
});

test('before there is any row, freshness counts from when it is looked at', async () => {
  const store = new MemoryStore();
  const contract = contractOf('checks: [{ id: alive, freshness: { max: 5m } }]');
  const process = new ClockWatch();
  for (const minutes of [0, 4, 6]) await process.look({ windows: store, slo: UNCOUNTED }, [contract], at(minutes));
  expect(store.all.map(({ rule, verdict }) => `${rule} ${verdict}`)).toEqual(['alive fail']);
});

test('an old row of which only the key was sent is not taken for one that the condition, or the check of its rows, is not about', async () => {
  const body = `${WINDOWS}columns:\n  items: [{ sum: { max: 100 }, where: 'after.status == "new"' }]\n  email: [{ format: email, mostly: 0.5, on_fail: tag }]`;
  const key = { id: 1, items: UNCHANGED, status: UNCHANGED, email: UNCHANGED };
  const { said } = await told(body, [
    insert(1, 1, { items: 5, status: 'new', email: 'a@example.org' }),
    insert(2, 1, { items: 5, status: 'new', email: 'none' }),
    { op: 'delete', key: '1', before: key, after: null, atMs: at(2) },
    insert(9, 5.5),
  ]);
  expect(said).toEqual([
    'items.sum 0 - indeterminate - #1 (the values of 1 rows are not known)',
    'email.format 0 - indeterminate - #1 (the values of 1 rows are not known)',
  ]);
});

test('where keys had no room, a row that changes later makes the window indeterminate in all its groups, although there is room again', async () => {
  const body = `defaults: { window: { every: 5m, out_of_order: 0s, lateness: 10m, max_state: 40kB } }\nchecks: [{ row_count: { min: 1 }, group_by: status, max_groups: 2 }]`;
  const rows = 420;
  const inserts = Array.from({ length: rows }, (_, i) => insert(i, 1, { status: i % 2 === 0 ? 'new' : 'paid' }));
  const change = update(rows - 1, 3, null, { id: rows - 1, status: 'new' });
  const gone: Change = { op: 'delete', key: '0', before: { id: 0, status: 'new' }, after: null, atMs: at(2) };
  const end = insert(9, 5.5, { status: 'new' });
  const reason = '(of 1 changed rows it is not known whether they were in the window before)';
  const expected = ['new', 'paid'].map((status) => `row_count 0 ["${status}"] indeterminate - #1 ${reason}`);
  expect((await told(body, [...inserts, gone, change, end])).said).toEqual(expected);
  // And so over a restart.
  const store = new MemoryStore();
  const contract = contractOf(body);
  const lane = new TestLane(store, contract, clock);
  for (const batch of [inserts, [gone], [change, end]]) {
    await lane.batch(batch);
    lane.kill();
  }
  await closes(store, contract);
  expect(saidBy(store)).toEqual(expected);
});

test('rows that are taken back without having come leave no verdict', async () => {
  const body = `source: { event_time: after.created_at }\n${WINDOWS}checks: [{ row_count: { max: 5 } }]`;
  const timeAt = (minutes: number) => new Date(at(minutes)).toISOString();
  const { said } = await told(body, [
    update(1, 7, { id: 1, created_at: timeAt(1) }, { id: 1, created_at: timeAt(7) }),
    insert(2, 7, { created_at: timeAt(6) }),
    insert(9, 11, { created_at: timeAt(11) }),
  ]);
  expect(said).toEqual([
    'row_count 0 - indeterminate - #1 (rows were taken back that had come before the windows were watched)',
    'row_count 5 - pass 2 #1',
  ]);
});

test('the first window is whichever holds a row once one has ended, and not that of the row that came first', async () => {
  const store = new MemoryStore();
  const contract = contractOf('defaults: { window: { every: 5m, out_of_order: 1m } }\nchecks: [{ row_count: { min: 1 } }]');
  const [a, b] = [new TestLane(store, contract, clock, 'a'), new TestLane(store, contract, clock, 'b')];
  await a.batch([insert(1, 6)]);
  await closes(store, contract);
  await b.batch([insert(2, 2)]);
  await closes(store, contract);
  expect(saidBy(store)).toEqual([]);
  await b.batch([insert(3, 3), insert(4, 11.5)]);
  await a.batch([insert(5, 11.5)]);
  await closes(store, contract);
  expect(saidBy(store)).toEqual(['row_count 0 - pass 2 #1', 'row_count 5 - pass 1 #1']);
});

test('rows that come too late, and rows without a time, are counted, once each', async () => {
  const byTime = `source: { event_time: after.created_at }\ndefaults: { window: { every: 5m, size: 10m, out_of_order: 0s, lateness: 5m } }\nchecks: [{ row_count: { min: 1 } }]`;
  const { store } = await told(byTime, [
    insert(1, 60, { created_at: new Date(at(0)).toISOString() }),
    insert(2, 60, { created_at: new Date(at(-40)).toISOString() }),
    insert(3, 60, { created_at: new Date(at(-1)).toISOString() }),
    insert(4, 60),
  ]);
  expect(await store.leftOut()).toEqual([{ dataset: 'shop.public.orders', untimed: 1, tooLate: 1 }]);
  const byCommit = await told(`${WINDOWS}checks: [{ row_count: { min: 1 } }]`, [insert(1, 60), insert(2, 10), insert(3, 51)]);
  expect(await byCommit.store.leftOut()).toEqual([{ dataset: 'shop.public.orders', untimed: 0, tooLate: 1 }]);
});

test('where the last rule over windows goes, what was kept goes too, also when that was before the start', async () => {
  const store = new MemoryStore();
  const contract = contractOf(`${WINDOWS}checks: [{ row_count: { min: 1 } }]`);
  await new TestLane(store, contract, clock).batch([insert(1, 1)]);
  expect(store.parts).toHaveLength(1);
  await closes(store, contractOf('columns: { id: [not_null] }'));
  expect(store.parts).toEqual([]);
});

describe('refused when it is loaded', () => {
  const first = (body: string, dataset = orders) => problemsOf(body, dataset)[0]?.message;
  test.each([
    ['columns: { items: [{ mean: { min: 0 }, on_fail: quarantine }] }', 'one result'],
    ['columns: { items: [{ between: { min: 0 }, on_fail: alert }] }', 'is for checks over windows'],
    ['columns: { items: [{ between: { min: 0 }, window: { every: 5m } }] }', 'window belongs to checks over windows'],
    ['columns: { items: [{ mean: { min: 0 }, window: { every: 10m, size: 5m } }] }', 'shorter than the time between them'],
    ['columns: { items: [{ mean: { min: 0 }, window: { every: 1s, size: 1h } }] }', 'more than 60 windows'],
    ['columns: { status: [{ mean: { min: 0 } }] }', 'status.mean'],
    ['columns: { items: [{ mean: { min: 0 }, group_by: colour }] }', 'has no column "colour"'],
    ['columns: { items: [{ between: { min: 0 }, mostly: 0.9 }] }', 'for windows to judge'],
    ['columns: { items: [{ immutable: true, mostly: 0.9, on_fail: tag }] }', 'judges changes'],
    ['checks: [{ freshness: { max: soon } }]', 'has not the form'],
    ['checks: [{ freshness: { max: 5m }, on_fail: drop }]', 'one result'],
    ['source: { event_time: after.status }\nchecks: [{ row_count: { min: 0 } }]', 'says no time'],
    [`checks: [{ row_count: { min: 0 }, where: 'op == "insert"' }]`, 'also looks at the change'],
    [
      'defaults: { window: { max_state: 1MB } }\ncolumns: { status: [{ distinct_count: { max: 3 }, group_by: email, max_groups: 10000 }] }',
      'status.distinct_count alone',
    ],
  ])('%s', (body, message) => {
    expect(first(body)).toContain(message);
  });

  test('by a column of the row, where the source sends no old rows', () => {
    const contract = contractOf('source: { event_time: after.created_at }\nchecks: [{ row_count: { min: 0 } }]');
    const compiled = compileContract(contract, orders, { oldRows: 'key' });
    expect(Array.isArray(compiled) && lines(compiled)).toEqual([expect.stringContaining('replica identity full')]);
  });
});
