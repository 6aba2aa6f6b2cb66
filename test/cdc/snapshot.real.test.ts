/** The initial snapshot beside a busy stream: whatever happens, and wherever it is restarted, the target ends equal to the tables. */
import { expect, inject, test } from 'vitest';
import type { Batch } from '../../core/batch.ts';
import { Random } from '../support/random.ts';
import { postgresSource } from '../../cdc/postgres/source.ts';
import { startEmbeddedPostgres } from '../../examples/embedded-postgres.ts';
import { PgConnection } from '../../wire/postgres/connection.ts';
import { CutProxy } from '../e2e/proxy.ts';
import { eventually } from '../support/eventually.ts';
import { waitForStandbys } from '../support/standby.ts';
import {
  catchUp,
  endOfLog,
  isCopying,
  Model,
  run,
  runAgain,
  sameAsTable,
  slowWay,
  testDatabase,
  throughPort,
  type TestDatabase,
} from './support.ts';

const server = inject('sourceServer');
const seeds = process.env['CDC_SEEDS'] === undefined ? [1, 2, 3] : process.env['CDC_SEEDS'].split(',').map(Number);

/** So that no name comes twice: among thousands, random ones do. */
let columnsMade = 0;

/**
 * One random transaction on the tables, mostly on rows around the one that the snapshot has come to. Large values are kept out of line, so that
 * updates leave them out; few rows are changed at a time, or the next change would hide what became of the one before.
 */
async function change(db: TestDatabase, random: Random, around: number, withCatalog = true): Promise<void> {
  const statements: string[] = [];
  const near = (): number => Math.max(0, random.chance(0.7) ? around + random.below(80) - 30 : random.below(800));
  for (let n = 1 + random.below(6); n > 0; n--) {
    const id = near();
    const dice = random.next();
    const t = `
      insert into t values (${id}, ${random.below(1000)}, repeat('${String.fromCharCode(97 + random.below(26))}', ${random.chance(0.5) ? 5000 : 10}))
        on conflict (id) do update set n = excluded.n`;
    const u = `insert into u values ('${'k'.repeat(random.below(3))}${id}', ${id % 7}, ${random.below(1000)}) on conflict (b, a) do update set n = excluded.n`;
    if (dice < 0.2) statements.push(t);
    else if (dice < 0.3) statements.push(u);
    else if (dice < 0.5) statements.push(`update t set n = n + 1 where id between ${id} and ${id + 3}`);
    else if (dice < 0.6) statements.push(`update t set big = repeat('z', ${random.below(9000)}) where id = ${id}`);
    else if (dice < 0.7) statements.push(`delete from t where id = ${id}`);
    else if (dice < 0.73) statements.push(`delete from u where n % 17 = ${random.below(17)} and b = ${random.below(7)}`);
    else if (dice < 0.9) {
      const to = near();
      statements.push(`update t set id = ${to}, n = n + 1 where id = ${id} and not exists (select from t where id = ${to})`);
    } else if (dice < 0.98) statements.push(`update u set a = a || 'x' where b = ${random.below(7)} and n < 20`);
    else if (!withCatalog) statements.push('delete from u');
    else if (dice < 0.983) statements.push('truncate u');
    else if (dice < 0.99) {
      const extra = `extra${++columnsMade}`;
      statements.push(`alter table t add column ${extra} int`, `update t set ${extra} = ${id} where id = ${id}`);
      if (random.chance(0.3)) statements.push(`alter table t drop column ${extra}`);
    } else statements.push(`do $$ begin perform pg_sleep(0.001); end $$`);
  }
  const end = random.chance(0.05) ? 'rollback' : 'commit';
  await db.sql.script(`begin; ${statements.join('; ')}; ${end}`);
}

test.each(seeds)('snapshot under random changes and restarts equals the tables (seed %i)', async (seed) => {
  const random = new Random(seed);
  await using db = await testDatabase(
    server,
    `create table t (id int primary key, n int not null, big text not null); alter table t alter big set storage external`,
    `create table u (a text, b int, n int, primary key (b, a))`,
    `insert into t select i * 2, i, repeat('s', i % 90 * 60) from generate_series(1, 400) i`,
    `insert into u select 'k' || i, i % 7, i from generate_series(1, 150) i`,
  );
  // On a slow way chunks take long, and much happens between their marks.
  await using slow = await slowWay(Number(new URL(server).port), 4 << 20);
  const model = new Model();
  const options = () => ({
    url: throughPort(db.url, slow.port),
    tables: ['public.t', 'public.u'],
    snapshot: { mode: 'initial' as const, chunkRows: 20 + random.below(60), parallel: 1 + random.below(2) },
    batch: { rows: 3 + random.below(40), bytes: random.chance(0.3) ? 20_000 : 16 << 20, ageMs: 0 },
  });
  let around = 0;
  let stopped = false;
  const writer = (async () => {
    // A truncate or DDL that commits at the very moment at which a slot is made can leave PostgreSQL (18.4) with a slot that it cannot decode.
    for (let changes = 0; !stopped; changes++) {
      await change(db, random, around, model.checkpoint !== null);
      // Never so far ahead that the source would only ever read the log.
      await eventually(() => stopped || changes < 40 + 3 * model.batches, 'the source keeps up', 60_000);
    }
  })();
  let restarts = 0;
  try {
    // Restarts: what was yielded and not applied is lost with the process; what was applied may be unacknowledged.
    for (; isCopying(model); restarts++) {
      const source = db.source(options());
      let batchesLeft = 1 + random.below(20);
      const until = (): boolean => {
        around = 2 * (source.progress()[0]?.rowsDone ?? 0);
        return --batchesLeft === 0 || !isCopying(model);
      };
      await runAgain(source, model, until, random.chance(0.7));
    }
  } finally {
    stopped = true;
    await writer;
  }
  await catchUp(db.source(options()), model, db.sql);
  await sameAsTable(model, db, 't');
  await sameAsTable(model, db, 'u');
  expect(restarts).toBeGreaterThan(0);
  expect(model.eventsByOp['read']).toBeGreaterThan(0);
});

test('a quiet snapshot brings every row once, with progress and estimates, and moves on to the stream', async () => {
  await using db = await testDatabase(
    server,
    'create table t (id int primary key, s text)',
    `insert into t select i, 'row ' || i from generate_series(1, 5000) i`,
    'analyze t',
  );
  const model = new Model();
  const source = db.source({ snapshot: { mode: 'initial', chunkRows: 700, parallel: 2 }, batch: { rows: 300, bytes: 16 << 20, ageMs: 0 } });
  const states = new Set<string>();
  const versions = new Set<string>();
  await run(source, model, (batch: Batch) => {
    for (const event of batch.events) versions.add(event.version);
    const [progress] = source.progress();
    states.add(`${source.status().state} ${progress?.state ?? ''}`);
    expect(progress?.rowsEstimated).toBe(5000);
    return model.checkpoint !== null && !/@[0-9a-f]+\.\w/.test(model.checkpoint);
  });
  expect(model.eventsByOp).toEqual({ read: 5000 });
  expect(model.rows('shop.public.t').length).toBe(5000);
  expect([...states]).toEqual(expect.arrayContaining(['snapshot copying', 'streaming done']));
  expect(versions.size).toBeGreaterThan(6);
  expect(source.progress()[0]).toMatchObject({ rowsDone: 5000, state: 'done' });
});

test.each([
  ['where they are counted, as many as fit', 'n', 'analyze t', 1],
  ['where they are not, few at first', 'n', 'alter table t set (autovacuum_enabled = off)', 3],
  ['where they are larger than they look, no more than fit', `repeat('x', 20000)`, 'analyze t', 20],
])('the first rows of a table: %s', async (_, text, prepare, chunks) => {
  await using db = await testDatabase(
    server,
    'create table t (id int primary key, s text)',
    `insert into t select n, ${text} from generate_series(1, 5000) n`,
    prepare,
  );
  const model = new Model();
  const source = db.source({
    snapshot: { mode: 'initial', chunkRows: 20_000, parallel: 1 },
    batch: { rows: 10_000, bytes: 1 << 20, ageMs: 0 },
  });
  const versions = new Set<string>();
  await run(source, model, (batch: Batch) => {
    for (const event of batch.events) versions.add(event.version);
    return model.rows('shop.public.t').length === 5000;
  });
  expect(model.eventsByOp).toEqual({ read: 5000 });
  expect(Math.min(versions.size, 20)).toBe(chunks);
});

test('a table added to the config gets its own snapshot, beside the lane that goes on', async () => {
  await using db = await testDatabase(
    server,
    'create table t (id int primary key)',
    'create table u (id int primary key, n int)',
    'insert into t select generate_series(1, 10)',
    'insert into u select i, i from generate_series(1, 50) i',
  );
  const model = new Model();
  const initial = { snapshot: { mode: 'initial' as const, chunkRows: 20, parallel: 1 } };
  await catchUp(db.source(initial), model, db.sql);
  await db.sql.script('insert into t values (11); update u set n = 100 where id = 1');
  await catchUp(db.source({ ...initial, tables: ['public.t', 'public.u'] }), model, db.sql);
  expect(model.rows('shop.public.t').length).toBe(11);
  expect(model.rows('shop.public.u').length).toBe(50);
  expect(model.rows('shop.public.u').find((row) => row['id'] === 1)).toEqual({ id: 1, n: 100 });
  expect(await endOfLog(db.sql)).toMatch(/^[0-9a-f]{16}$/);
});

test('what a transaction changed before a table was added comes with the table, however late it commits', async () => {
  await using db = await testDatabase(
    server,
    'create table t (id int primary key)',
    'create table u (id int primary key, n int)',
    'insert into u select i, i from generate_series(1, 50) i',
  );
  const model = new Model();
  const initial = { snapshot: { mode: 'initial' as const, chunkRows: 20, parallel: 1 } };
  await catchUp(db.source(initial), model, db.sql);
  await using open = await PgConnection.connect({ url: db.url });
  await open.script('begin; update u set n = -1 where id = 7; delete from u where id = 8');
  const source = db.source({ ...initial, tables: ['public.t', 'public.u'] });
  const running = run(source, model, () => model.rows('shop.public.u').length > 0 && !isCopying(model));
  // The source waits for it; a source that does not has copied the table by now.
  const waits = `select 1 from pg_stat_activity where datname = $1 and application_name = 'tidegate shop' and query like '%pg_locks%'`;
  await eventually(
    async () => model.rows('shop.public.u').length > 0 || (await db.sql.query(waits, [db.name])).rows.length > 0,
    'the source has come to the table',
  );
  await open.script('commit');
  await running;
  await catchUp(db.source({ ...initial, tables: ['public.t', 'public.u'] }), model, db.sql);
  await sameAsTable(model, db, 'u');
});

test.each(['of our own', 'for all tables'])(
  'a table that was left out for a while is copied when it is back (publication %s)',
  async (publication) => {
    await using db = await testDatabase(
      server,
      'create table t (id int primary key)',
      'create table u (id int primary key, n int)',
      'insert into u select i, i from generate_series(1, 30) i',
    );
    if (publication === 'for all tables') await db.sql.script('create publication tidegate for all tables');
    const model = new Model();
    const initial = { snapshot: { mode: 'initial' as const, chunkRows: 20, parallel: 1 } };
    const both = { ...initial, tables: ['public.t', 'public.u'] };
    if (publication === 'of our own') await catchUp(db.source(both), model, db.sql);
    await catchUp(db.source(initial), model, db.sql);
    await db.sql.script('update u set n = 100 where id < 10; insert into u values (31, 31); insert into t values (1)');
    await catchUp(db.source(initial), model, db.sql);
    await catchUp(db.source(both), model, db.sql);
    await sameAsTable(model, db, 'u');
    // And not again without need.
    const reads = model.eventsByOp['read'];
    await db.sql.script('insert into u values (32, 32)');
    await catchUp(db.source(both), model, db.sql);
    await sameAsTable(model, db, 'u');
    expect(model.eventsByOp['read']).toBe(reads);
  },
);

test('of rows larger than a chunk, hardly more is read than what the chunks take', async () => {
  await using proxy = await CutProxy.listen(Number(new URL(server).port));
  await using db = await testDatabase(
    server,
    'create table t (id int primary key, big text); alter table t alter big set storage external',
    `insert into t select i, repeat('0123456789', 100000) from generate_series(1, 50) i`,
  );
  const model = new Model();
  const options = { snapshot: { mode: 'initial' as const, chunkRows: 1000, parallel: 1 }, batch: { rows: 1000, bytes: 1 << 20, ageMs: 0 } };
  await run(db.source({ ...options, url: throughPort(db.url, proxy.port) }), model, () => !isCopying(model));
  await sameAsTable(model, db, 't');
  // 50 MB of rows, and what is on its way when the first chunk has enough.
  expect(proxy.bytesFromServer).toBeLessThan(80_000_000);
});

test('a commit that the log has, and that nobody sees for want of a standby, is not undone by a chunk', async () => {
  const own = await startEmbeddedPostgres();
  try {
    await using sql = await PgConnection.connect({ url: own.url(), settings: { synchronous_commit: 'local' } });
    await sql.script('create table t (id int primary key, n int); insert into t select i, i from generate_series(1, 100) i');
    const source = () =>
      postgresSource({
        name: 'shop',
        url: own.url(),
        slot: 'hanging',
        publication: 'tidegate',
        tables: ['t'],
        snapshot: { mode: 'initial', chunkRows: 10, parallel: 1 },
        batch: { rows: 100, bytes: 1 << 20, ageMs: 0 },
      });
    const model = new Model();
    await run(source(), model, () => model.eventsByOp['read'] === 10);
    await using writer = await PgConnection.connect({ url: own.url() });
    await waitForStandbys(own, 'nobody');
    const hanging = writer.query('update t set n = -1 where id = 15');
    // The change comes by the log while its transaction still waits.
    const changed = () => model.rows('shop.public.t').some((row) => row['n'] === -1);
    const release = async (): Promise<void> => {
      await waitForStandbys(own, '');
      await hanging;
    };
    await run(source(), model, changed);
    const running = run(source(), model, () => !isCopying(model));
    // It asks for the transaction more often than it would for one that has not committed.
    const tries = new Set<string>();
    await eventually(async () => {
      const query = `select query_start from pg_stat_activity where application_name = 'tidegate shop' and query like '%backend_xid, state%'`;
      for (const [at] of (await sql.query(query)).rows) tries.add(at ?? '');
      return (changed() && tries.size >= 14) || (model.eventsByOp['read'] ?? 0) > 10;
    }, 'the source has come to where it waits, or to rows that it should wait for');
    await release();
    await running;
    expect(changed()).toBe(true);
    expect(model.rows('shop.public.t').length).toBe(100);
  } finally {
    await own.stop();
  }
});
