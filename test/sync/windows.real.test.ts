/** The windows at a real target: whoever closes them waits for no lane, and people are told of what has changed. */
import { expect, inject, test } from 'vitest';
import type { DatasetName } from '../../core/event.ts';
import { FRESHNESS_SET, TIMER_SETS, type WindowFinding, type WindowVerdict } from '../../core/windows.ts';
import { migrate } from '../../sync/postgres/migrations.ts';
import { Turns } from '../../sync/postgres/turns.ts';
import { NEWEST_SQL, PostgresWindows } from '../../sync/postgres/windows.ts';
import { PgConnection } from '../../wire/postgres/connection.ts';
import { createDatabase } from '../support/databases.ts';
import { Random } from '../support/random.ts';
import { clockAt } from '../quality/live/support.ts';

const dataset = 'shop.public.orders' as DatasetName;
const SEED = 20_261_127;
const REF = { dataset, set: '5m', sizeMs: 300_000 };

async function target() {
  const database = await createDatabase(inject('targetServer'), 'windows');
  const [connection, lane] = [await PgConnection.connect({ url: database.url }), await PgConnection.connect({ url: database.url })];
  await migrate(connection);
  return {
    connection,
    lane,
    store: new PostgresWindows({ pipeline: 'p', turns: new Turns(connection), clock: clockAt(Date.now) }),
    /** The beginnings of the windows that are kept. */
    async kept(): Promise<(string | null | undefined)[]> {
      return (await lane.query('select starts from tidegate.window_parts order by id')).rows.map(([starts]) => starts);
    },
    /** Nobody has asked for any windows in a while. */
    age: () => lane.script("update tidegate.window_sets set asked_at = asked_at - interval '1 hour'"),
    async [Symbol.asyncDispose]() {
      await Promise.all([connection.close(), lane.close()]);
      await database[Symbol.asyncDispose]();
    },
  };
}

test('windows are closed and let go beside a lane that is at some of them, without waiting for it: it may be waiting for theirs', async () => {
  await using at = await target();
  const { lane, store } = at;
  await lane.script(`insert into tidegate.window_parts (pipeline, lane, dataset, win, starts, grp, late, rows, state)
    select 'p', 'a', '${dataset}', '5m', starts, '', false, 1, '{}' from unnest('{0,300000,600000}'::bigint[]) starts`);
  const close = () =>
    store.close(
      REF,
      () => ({ closedMs: 900_000, finalMs: 900_000, snapshot: false }),
      () => ({ findings: [], memories: [] }),
    );
  await lane.script('begin; delete from tidegate.window_parts where starts = 600000');
  await close();
  await at.age();
  await store.ask([], []);
  // The lane goes on to parts that are gone meanwhile.
  await lane.script('delete from tidegate.window_parts where starts = 0; rollback');
  expect(await at.kept()).toEqual(['600000']);
  await close();
  expect(await at.kept()).toEqual([]);
}, 30_000);

test('windows of two datasets are closed together, by one of those who try at once', async () => {
  await using at = await target();
  const { lane, store } = at;
  const other = 'shop.public.parcels' as DatasetName;
  const rest = (name: string, starts: number, late = false) => `('p', '${name}', '5m', ${starts}, '', ${late}, 1, '{}')`;
  const add = (of: DatasetName, from: string, starts: number, late = false) =>
    lane.script(`insert into tidegate.window_parts (pipeline, dataset, lane, win, starts, grp, late, rows, state)
      values ${rest(from, starts, late).replace("'p',", `'p', '${of}',`)}`);
  const close = async (closedMs: number) => {
    const seen: string[] = [];
    await store.close(
      { ...REF, beside: other },
      (state) => ((state.closedMs ?? -1) >= closedMs && state.firstMs === null ? null : { closedMs, finalMs: 0, snapshot: false }),
      (windows) => {
        for (const { startMs, parts } of windows)
          seen.push(`${startMs} ${parts.map(({ dataset: of, lane: by }) => `${of} by ${by}`).join(', ')}`);
        return { findings: [], memories: [] };
      },
    );
    return seen;
  };
  await add(dataset, 'a', 0);
  await add(other, 'b', 0);
  await add(other, 'a', 300_000);
  const [state] = await store.peek([{ ...REF, beside: other }]);
  expect(state).toMatchObject({ firstMs: 0, closedMs: null });
  expect((await Promise.all([close(600_000), close(600_000)])).flat()).toEqual([
    '0 shop.public.orders by a, shop.public.parcels by b',
    '300000 shop.public.parcels by a',
  ]);
  // A late row of the one has the windows of both judged again.
  await add(other, 'b', 0, true);
  expect(await close(600_000)).toEqual(['0 shop.public.orders by a, shop.public.parcels by b, shop.public.parcels by b']);
  expect(await close(600_000)).toEqual([]);
}, 30_000);

test('what rules remember is written with the windows that are closed, or not at all', async () => {
  await using at = await target();
  const { lane, store } = at;
  const close = async (closedMs: number, states: Readonly<Record<string, string>>, fails = false) => {
    await lane.script(`insert into tidegate.window_parts (pipeline, lane, dataset, win, starts, grp, late, rows, state)
      values ('p', 'a', '${dataset}', '5m', ${closedMs - 300_000}, '', false, 1, '{}')`);
    const seen: string[] = [];
    await store.close(
      REF,
      () => ({ closedMs, finalMs: closedMs, snapshot: false }),
      (_, _state, _closing, memories) => {
        seen.push(...memories.map(({ rule, group, state }) => `${rule}${group}=${state}`));
        if (fails) throw new Error('killed');
        return { findings: [], memories: Object.entries(states).map(([rule, state]) => ({ rule, group: '[1]', state })) };
      },
    );
    return seen.sort();
  };
  expect(await close(300_000, { a: '1', b: '1' })).toEqual([]);
  await expect(close(600_000, { a: '9' }, true)).rejects.toThrow('killed');
  expect(await close(600_000, { a: '2', c: '1' })).toEqual(['a[1]=1', 'b[1]=1']);
  expect(await close(900_000, { a: '2', c: '1' })).toEqual(['a[1]=2', 'c[1]=1']);
  expect(await store.memoriesOf(dataset, 'a')).toEqual([{ rule: 'a', group: '[1]', state: '2' }]);
  await at.age();
  await store.ask([], []);
  expect(await close(1_200_000, {})).toEqual([]);
}, 30_000);

test('what is kept for windows is let go once nobody asks for them any more, and not by a process that has other rules', async () => {
  await using at = await target();
  const { lane, store } = at;
  const [own, other, fresh] = ['own', 'other', 'fresh'].map((set) => ({ ...REF, set }));
  if (own === undefined || other === undefined || fresh === undefined) throw new Error('three sets');
  const kept = async () => (await lane.query('select win from tidegate.window_parts order by id')).rows.map(([win]) => win);
  await lane.script(`insert into tidegate.window_parts (pipeline, lane, dataset, win, starts, grp, late, rows, state)
    select 'p', 'a', '${dataset}', win, 0, '', false, 1, '{}' from unnest('{own,other,fresh}'::text[]) win`);
  await store.ask([own], []);
  await store.ask([other], []);
  // Of those that nobody has named yet, a lane is ahead of its process.
  expect(await kept()).toEqual(['own', 'other', 'fresh']);
  await at.age();
  await store.ask([own, other], []);
  expect(await kept()).toEqual(['own', 'other']);
  // One process drops them, and the other asks for them still.
  await store.ask([other], [own, other]);
  expect(await kept()).toEqual(['own', 'other']);
  await lane.script("update tidegate.window_sets set asked_at = asked_at - interval '70 seconds'");
  await store.ask([other], []);
  expect(await kept()).toEqual(['other']);
  expect((await lane.query('select win from tidegate.window_sets')).rows).toEqual([['other']]);
}, 30_000);

test('told is that a window failed, and that one that had failed did not, after all; of freshness both', async () => {
  await using at = await target();
  const { store } = at;
  const finding = (rows: number, verdict: WindowVerdict, set = '5m'): WindowFinding => ({
    dataset,
    rule: set,
    type: 'row_count',
    column: null,
    set,
    startMs: set === FRESHNESS_SET ? rows : 0,
    endMs: 300_000,
    group: '',
    verdict,
    observed: String(rows),
    reason: null,
    rows,
    missing: 0,
    severity: 'critical',
    onFail: 'halt',
    version: 1,
    digest: 'd',
  });
  const told: string[] = [];
  for (const [rows, verdict, set] of [
    [1, 'pass'],
    [2, 'pass'],
    [3, 'fail'],
    [4, 'fail'],
    [5, 'indeterminate'],
    [6, 'pass'],
    [7, 'fail', FRESHNESS_SET],
    [8, 'pass', FRESHNESS_SET],
  ] as const) {
    await store.keep([finding(rows, verdict, set)]);
    const untold = await store.untold(10);
    told.push(...untold.map((result) => `${result.rows} ${result.verdict} #${result.revision}`));
    await store.told(untold.map(({ id }) => id));
  }
  expect(told).toEqual(['3 fail #3', '5 indeterminate #5', '7 fail #1', '8 pass #1']);
}, 30_000);

const finding = (rule: string, startMs: number, verdict: WindowVerdict, more: Partial<WindowFinding> = {}): WindowFinding => ({
  dataset,
  rule,
  type: 'row_count',
  column: null,
  set: '5m',
  startMs,
  endMs: startMs + 300_000,
  group: '',
  verdict,
  observed: '1',
  reason: null,
  rows: 1,
  missing: 0,
  severity: 'critical',
  onFail: 'alert',
  version: 1,
  digest: 'd',
  ...more,
});

test('what two processes find at once is kept once, and what they find otherwise as one revision after the other', async () => {
  await using at = await target();
  const clock = clockAt(Date.now);
  const stores = [at.store, new PostgresWindows({ pipeline: 'p', turns: new Turns(at.lane), clock })];
  for (let round = 0; round < 40; round++) {
    const same = finding(FRESHNESS_SET, round * 300_000, 'fail', { set: FRESHNESS_SET });
    const kept = await Promise.all(stores.map((store, index) => store.keep([same, { ...same, rule: 'other', rows: index }])));
    const all = kept.flat().map(({ rule, revision }) => `${rule} ${revision}`);
    expect(all.toSorted()).toEqual([`${FRESHNESS_SET} 1`, 'other 1', 'other 2']);
  }
}, 30_000);

test('what is taken back is so where it was a fault, and otherwise nothing', async () => {
  await using at = await target();
  const back = (startMs: number) => finding('r', startMs, 'pass', { takesBack: true, rows: 0, reason: 'rows came late' });
  await at.store.keep([finding('r', 0, 'fail'), finding('r', 300_000, 'pass')]);
  const kept = await at.store.keep([back(0), back(300_000), back(600_000)]);
  expect(kept.map(({ startMs, revision, verdict }) => [startMs, revision, verdict])).toEqual([[0, 2, 'pass']]);
  expect(await at.store.keep([back(0)])).toEqual([]);
  expect((await at.store.untold(10)).map(({ startMs, verdict }) => [startMs, verdict])).toEqual([
    [0, 'fail'],
    [0, 'pass'],
  ]);
}, 30_000);

test(`the newest of each rule and group are those of a plain search (seed ${SEED})`, async () => {
  await using at = await target();
  const { store, lane } = at;
  const random = new Random(SEED);
  const one = <T>(of: readonly T[]): T => of[random.below(of.length)] as T;
  const NAMES = ['a', 'b.c', 'b', 'ä', ''];
  for (let round = 0; round < 60; round++) {
    const of = () =>
      finding(one(['r', 'r.s', 'q']), random.below(4) * 300_000, one(['pass', 'fail', 'indeterminate']), {
        dataset: one(NAMES) as DatasetName,
        group: one(['', '["x"]', '["y"]']),
        rows: random.below(1000),
      });
    await store.keep(Array.from({ length: random.below(4) }, of));
  }
  await lane.script(`insert into tidegate.window_results (pipeline, dataset, rule, type, win, starts, grp, revision, verdict, rows, missing, severity, on_fail, version, digest, at)
    select 'other', dataset, rule, type, win, 1e12, grp, 1, 'fail', rows, missing, severity, on_fail, version, digest, at from tidegate.window_results where revision = 1 and starts = 0`);
  const all = await store.results({ limit: 10_000 });
  expect(all.length).toBeGreaterThan(50);
  const newest = new Map<string, (typeof all)[number]>();
  for (const result of all) {
    const key = JSON.stringify([result.dataset, result.rule, result.group]);
    const known = newest.get(key);
    const isNewer = known === undefined || (result.startMs - known.startMs || result.revision - known.revision) > 0;
    if (isNewer) newest.set(key, result);
  }
  const ids = (results: Iterable<(typeof all)[number]>) => [...results].map(({ id }) => Number(id)).sort((a, b) => a - b);
  expect(ids(await store.results({ newest: true, limit: 1000 }))).toEqual(ids(newest.values()));
  for (const name of NAMES as DatasetName[]) {
    const own = [...newest.values()].filter((result) => result.dataset === name);
    expect(ids(await store.results({ dataset: name, newest: true, limit: 1000 }))).toEqual(ids(own));
    const failed = own.filter(({ rule, verdict }) => rule === 'r' && verdict === 'fail');
    expect(ids(await store.results({ dataset: name, rule: 'r', verdict: 'fail', newest: true, limit: 1000 }))).toEqual(ids(failed));
  }
}, 30_000);

test('of many results few are read to find the newest, and to keep another one', async () => {
  await using at = await target();
  const { store, connection } = at;
  const every = TIMER_SETS + 'every second';
  await connection.script(`alter table tidegate.window_results set (autovacuum_enabled = off);
    insert into tidegate.window_results (pipeline, dataset, rule, type, win, starts, grp, revision, verdict, rows, missing, severity, on_fail, version, digest, at)
    select 'p', '${dataset}', rule, 'sql', win, n * 1000, grp, 1, verdict, 0, 0, 'info', 'alert', 1, 'd', now() from generate_series(1, 20000) n,
      (values ('asked', '${every}', '', 'pass'), ('broken', '${every}', '', 'indeterminate')) r(rule, win, grp, verdict)
    union all
    select 'p', '${dataset}', 'hourly', 'row_count', '1h', n * 3600000, grp, 1, 'pass', 0, 0, 'info', 'alert', 1, 'd', now() from generate_series(1, 20) n, unnest(array['["a"]', '["b"]']) grp;
    analyze tidegate.window_results`);
  /** Rows of the table that a statement of the store reads, as the server counts them. */
  const read = async (work: () => Promise<unknown>): Promise<number> => {
    const soFar = async () => {
      const { rows } = await connection.query(
        "select seq_tup_read + idx_tup_fetch from pg_stat_xact_user_tables where relname = 'window_results' and schemaname = 'tidegate'",
      );
      return Number(rows[0]?.[0]);
    };
    await connection.script('begin');
    const before = await soFar();
    await work();
    const after = await soFar();
    await connection.script('rollback');
    return after - before;
  };
  const rules: string[] = [];
  expect(
    await read(async () =>
      rules.push(...(await store.results({ newest: true, limit: 100 })).map(({ rule, startMs }) => `${rule} ${startMs}`)),
    ),
  ).toBeLessThan(50);
  expect(rules.sort()).toEqual(['asked 20000000', 'broken 20000000', 'hourly 72000000', 'hourly 72000000']);
  expect(await read(() => store.results({ dataset, rule: 'hourly', newest: true, limit: 1 }))).toBeLessThan(50);
  for (const rule of ['asked', 'broken'])
    expect(await read(() => store.keep([finding(rule, 60_000_000, 'fail', { set: every })]))).toBeLessThan(50);
  const explain = `explain (analyze, costs off, timing off) select * from ${NEWEST_SQL} r where $4::text is null limit $5::integer`;
  const { rows: plan } = await connection.query(explain, ['p', null, null, null, '100', String(Date.now())]);
  expect(plan.flat().join('\n')).not.toMatch(/Seq Scan on window_results|Sort/);
}, 60_000);
