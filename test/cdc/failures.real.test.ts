/** What goes wrong at a source has a code, and the code's fix helps: on real servers. */
import { describe, expect, inject, test } from 'vitest';
import type { Batch } from '../../core/batch.ts';
import { type Clock, systemClock } from '../../core/clock.ts';
import type { PipelineError } from '../../core/errors.ts';
import type { Position } from '../../core/event.ts';
import { postgresSource } from '../../cdc/postgres/source.ts';
import { startEmbeddedPostgres } from '../../examples/embedded-postgres.ts';
import { PgConnection } from '../../wire/postgres/connection.ts';
import { eventually } from '../support/eventually.ts';
import { catchUp, failureOf, isCopying, Model, run, sameAsTable, testDatabase, testRole } from './support.ts';

const server = inject('sourceServer');
const T = 'create table t (id int primary key, s text)';
const initial = { snapshot: { mode: 'initial' as const, chunkRows: 100, parallel: 1 } };
/** Waits pass, at a hundredth of their length. */
const hasty: Clock = { ...systemClock, sleep: (ms, signal) => systemClock.sleep(ms / 100, signal) };

const code = (expected: PipelineError['code'], message?: RegExp) =>
  expect.objectContaining({
    code: expected,
    ...(message === undefined ? {} : { message: expect.stringMatching(message) as string }),
  }) as PipelineError;

describe('the slot', () => {
  test('read by another process: a moment of patience, then SOURCE_SLOT_ACTIVE, and its reader is left alone', async () => {
    await using db = await testDatabase(server, T);
    const model = new Model();
    await run(db.source(), model, () => true);
    await using other = await PgConnection.connect({ url: db.url, replication: 'database' });
    await other.copyBoth(`START_REPLICATION SLOT ${db.slot} LOGICAL 0/0 (proto_version '1', publication_names 'tidegate')`, {
      message: () => {},
      drained: () => {},
      isBehind: () => false,
    });
    expect(await failureOf(db.source({ clock: hasty }), model)).toEqual(code('SOURCE_SLOT_ACTIVE'));
    expect(other.open).toBe(true);
    await other.close();
    await db.sql.script(`insert into t values (1)`);
    await run(db.source(), model, () => model.events === 1);
  });

  test.each(['shop', 'a-shop-whose-name-is-longer-than-what-postgres-shows-of-an-application', 'größe'])(
    'read by a Tidegate that had to give it up: its session is ended, and that of nobody else (%s)',
    async (name) => {
      await using db = await testDatabase(server, T);
      const model = new Model();
      const take = (applicationName: string) => db.source({ clock: hasty, name: applicationName, endsReader: () => true });
      await run(take(name), model, () => true);
      const reader = async (application: string) => {
        const other = await PgConnection.connect({ url: db.url, replication: 'database', applicationName: application });
        await other.copyBoth(`START_REPLICATION SLOT ${db.slot} LOGICAL 0/0 (proto_version '1', publication_names 'tidegate')`, {
          message: () => {},
          drained: () => {},
          isBehind: () => false,
        });
        return other;
      };
      const foreign = await reader('somebody');
      expect(await failureOf(take(name), model)).toEqual(code('SOURCE_SLOT_ACTIVE'));
      expect(foreign.open).toBe(true);
      await foreign.close();
      await using old = await reader(`tidegate ${name}`);
      await db.sql.script(`insert into t values (1)`);
      await run(take(name), model, () => model.events === 1);
      expect(old.open).toBe(false);
    },
  );

  test('gone, moved on by somebody, or of a log that ends before the checkpoint: SOURCE_POSITION_LOST, never a gap', async () => {
    await using db = await testDatabase(server, T);
    const model = new Model();
    await run(db.source(), model, () => true);
    await db.sql.script(`insert into t values (1)`);
    const ahead = new Model();
    ahead.checkpoint = 'ffffffff00000000' as Position;
    expect(await failureOf(db.source(), ahead)).toEqual(code('SOURCE_POSITION_LOST', /end of the server's log/));
    await eventually(
      async () => (await db.sql.query('select 1 from pg_replication_slots where slot_name = $1 and not active', [db.slot])).rows.length > 0,
      'the slot is free',
    );
    await db.sql.query('select pg_replication_slot_advance($1, pg_current_wal_insert_lsn())', [db.slot]);
    expect(await failureOf(db.source(), model)).toEqual(code('SOURCE_POSITION_LOST', /somebody else/));
    await db.sql.query('select pg_drop_replication_slot($1)', [db.slot]);
    expect(await failureOf(db.source(), model)).toEqual(code('SOURCE_POSITION_LOST', /is gone/));
    expect(model.events).toBe(0);
  });

  test('gone, when all was copied: that is not told to be waited for', async () => {
    await using db = await testDatabase(server, `${T}; insert into t values (1), (2)`);
    const options = { snapshot: { mode: 'initial' as const, chunkRows: 10, parallel: 1 } };
    const model = new Model();
    await catchUp(db.source(options), model, db.sql);
    await db.sql.query('select pg_drop_replication_slot($1)', [db.slot]);
    const source = db.source(options);
    expect(await failureOf(source, model)).toEqual(code('SOURCE_POSITION_LOST', /is gone/));
    expect(source.progress().map(({ state }) => state)).toEqual(['done']);
  });

  test('of another kind: it is named, and stays', async () => {
    await using db = await testDatabase(server, T);
    await db.sql.query('select pg_create_physical_replication_slot($1)', [db.slot]);
    expect(await failureOf(db.source())).toEqual(code('CONFIG_INVALID', /slot: .* of another kind/));
  });

  test('older than the publication, which is made for it: what it holds can never be read', async () => {
    await using db = await testDatabase(server, T);
    await db.sql.query("select pg_create_logical_replication_slot($1, 'pgoutput')", [db.slot]);
    await db.sql.script('insert into t values (1)');
    expect(await failureOf(db.source())).toEqual(code('CONFIG_INVALID', /older than the publication/));
  });

  test('made by two instances at once: one reads, the other comes back', async () => {
    await using db = await testDatabase(server, T);
    const ends = await Promise.all(
      [1, 2].map(() => run(db.source({ clock: hasty }), new Model(), () => true).catch((error: unknown) => error as PipelineError)),
    );
    expect(ends.filter((end) => end !== undefined && end.after !== 'backoff')).toEqual([]);
    expect(ends).toContain(undefined);
  });
});

describe('the publication', () => {
  test('missing while the lane has a checkpoint, or not to be made by this role: SOURCE_PUBLICATION_MISSING', async () => {
    await using role = await testRole(server, 'replication');
    await using db = await testDatabase(server, T, `grant select on t to ${role.name}`);
    expect(await failureOf(db.source({ url: role.url(db.url) }))).toEqual(code('SOURCE_PUBLICATION_MISSING'));
    await db.sql.script('create table mine (id int primary key); create publication tidegate for table mine');
    expect(await failureOf(db.source({ url: role.url(db.url) }))).toEqual(code('SOURCE_PUBLICATION_MISSING'));
    await db.sql.script('drop publication tidegate');
    const model = new Model();
    await run(db.source(), model, () => true);
    await db.sql.script('drop publication tidegate');
    expect(await failureOf(db.source(), model)).toEqual(code('SOURCE_PUBLICATION_MISSING', /is gone/));
    await db.sql.script('create publication tidegate for table t; insert into t values (1)');
    await run(db.source(), model, () => model.events === 1);
  });

  test('made by another instance at the same moment: it will do', async () => {
    await using db = await testDatabase(server, T);
    await using other = await PgConnection.connect({ url: db.url });
    await other.script('begin; create publication tidegate for table t');
    const running = run(db.source(), new Model(), () => true);
    await eventually(
      async () =>
        (await db.sql.query("select 1 from pg_stat_activity where datname = $1 and wait_event_type = 'Lock'", [db.name])).rows.length > 0,
      'the source waits for the other to end',
    );
    await other.script('commit');
    await running;
  });

  test('dropped while the lane runs: what changes meanwhile is lost to it, and it says so', async () => {
    await using db = await testDatabase(server, T);
    const model = new Model();
    const failure = await failureOf(db.source(), model, async () => {
      if (model.events > 0) return false;
      await db.sql.script('insert into t values (1)');
      await db.sql.script('drop publication tidegate');
      await db.sql.script('insert into t values (2)');
      await db.sql.script('create publication tidegate for table t');
      await db.sql.script('insert into t values (3)');
      return false;
    });
    expect(failure).toEqual(code('SOURCE_POSITION_LOST', /publication/));
    expect(await failureOf(db.source(), model, () => false)).toEqual(code('SOURCE_POSITION_LOST', /publication/));
    expect(model.rows('shop.public.t').map((row) => row['id'])).not.toContain(3);
  });
});

describe('tables', () => {
  test.each([
    ['no such table', '', 'SOURCE_TABLE_MISSING'],
    ['a view', 'create view t as select 1 as id', 'SOURCE_TABLE_MISSING'],
    ['no key', 'create table t (id int)', 'SOURCE_NO_KEY'],
    ['a replica identity of nothing', `${T}; alter table t replica identity nothing`, 'SOURCE_NO_KEY'],
    ['identity full without any key', 'create table t (id int unique); alter table t replica identity full', 'SOURCE_NO_KEY'],
    [
      'a partition whose old rows come without the key of its table',
      `create table t (id int primary key, n int not null) partition by range (id); create table t1 partition of t default;
       create unique index by_n on t1 (n); alter table t1 replica identity using index by_n`,
      'SOURCE_NO_KEY',
    ],
    ['not in the log', 'create unlogged table t (id int primary key)', 'CONFIG_INVALID'],
    [
      'a partition beside its root',
      `create table p (id int primary key) partition by range (id); create table t partition of p default`,
      'SOURCE_PUBLICATION_MISSING',
      ['public.p', 'public.t'],
    ],
    [
      'a root whose partitions are published by themselves',
      `create table t (id int primary key) partition by range (id); create table t1 partition of t default; create publication tidegate for table t`,
      'SOURCE_PUBLICATION_MISSING',
    ],
    [
      'a root, in a publication of all tables that has its partitions',
      `create table t (id int primary key) partition by range (id); create table t1 partition of t default; create publication tidegate for all tables`,
      'SOURCE_PUBLICATION_MISSING',
    ],
    [
      'a partition, in a publication of all tables that has its root',
      `create table p (id int primary key) partition by range (id); create table t partition of p default; create publication tidegate for all tables with (publish_via_partition_root = true)`,
      'SOURCE_PUBLICATION_MISSING',
    ],
  ] as const)('%s: %s', async (_, sql, expected, tables?: readonly string[]) => {
    await using db = await testDatabase(server, ...(sql === '' ? [] : [sql]));
    const model = new Model();
    const failure = await failureOf(db.source({ ...initial, ...(tables === undefined ? {} : { tables }) }), model);
    expect(failure).toEqual(code(expected));
    expect((await db.sql.query('select 1 from pg_replication_slots where slot_name = $1', [db.slot])).rows).toEqual([]);
  });

  test('no key, but a unique index that would do: the statement that is told makes it one', async () => {
    await using db = await testDatabase(
      server,
      'create table t (id int not null, a int); create unique index "T a" on t (a); create unique index by_id on t (id)',
    );
    const failure = String(await failureOf(db.source(initial), new Model()));
    const [, statement = ''] = /its unique index would do: (.*)$/.exec(failure) ?? [];
    expect(statement).toBe('alter table "public"."t" replica identity using index by_id');
    await db.sql.script(`${statement}; insert into t values (1, 1)`);
    const model = new Model();
    await catchUp(db.source(initial), model, db.sql);
    await db.sql.script('update t set id = 2');
    await catchUp(db.source(initial), model, db.sql);
    expect(model.rows('shop.public.t')).toEqual([{ id: 2, a: 1 }]);
  });

  test.each([
    ['before a row of it was copied', 0, 1, false],
    ['in the middle of its copy', 10, 2, false],
    ['in the middle of its copy, while nobody reads', 10, 1, true],
  ])('dropped %s: it is left out and told, the rest goes on, and one that is made anew is copied', async (_, rows, parallel, isAway) => {
    await using db = await testDatabase(server, 'create table t (id int primary key)', 'create table u (id int primary key)');
    await db.sql.script('insert into t select generate_series(1, 50); insert into u select generate_series(1, 50)');
    const leftOut: string[] = [];
    const options = {
      snapshot: { mode: 'initial' as const, chunkRows: 10, parallel },
      // Of these the second waits until the first is copied.
      tables: rows === 0 ? ['public.t', 'public.u'] : ['public.u', 'public.t'],
      onLeftOut: (dataset: string) => void leftOut.push(dataset),
    };
    const model = new Model();
    let dropped = false;
    await run(db.source(options), model, async () => {
      const isThere = model.rows('shop.public.t').length + model.rows('shop.public.u').length >= 10;
      if (isThere && !dropped) {
        dropped = true;
        if (!isAway) await db.sql.script('drop table u');
      }
      return dropped && (isAway || !isCopying(model));
    });
    if (isAway) await db.sql.script('drop table u');
    await db.sql.script('insert into t values (100)');
    await catchUp(db.source(options), model, db.sql);
    await sameAsTable(model, db, 't');
    expect(leftOut).toEqual(['shop.public.u']);
    await db.sql.script('create table u (id int primary key); insert into u values (7), (700)');
    await catchUp(db.source(options), model, db.sql);
    expect(model.rows('shop.public.u')).toEqual(expect.arrayContaining([{ id: 7 }, { id: 700 }]));
  });

  test.each([
    ['while the lane reads', false, false],
    ['and the lane begins anew before it has its name again', false, true],
    ['while nobody reads', true, true],
  ])(
    'renamed %s: it is told, the rest goes on, and what was missed is copied once it has its name again',
    async (_, isAway, isRestarted) => {
      await using db = await testDatabase(server, 'create table t (id int primary key, n int)', 'create table u (id int primary key)');
      await db.sql.script('insert into t select i, 0 from generate_series(1, 30) i');
      const told: string[] = [];
      const options = {
        snapshot: { mode: 'initial' as const, chunkRows: 10, parallel: 1 },
        tables: ['public.t', 'public.u'],
        onRenamed: (...what: readonly string[]) => void told.push(what.join(' ')),
      };
      const model = new Model();
      await catchUp(db.source(options), model, db.sql);
      const rename =
        'alter table t rename to "T"; insert into "T" values (31, 31); update "T" set n = 1 where id = 1; insert into u values (1)';
      const back = 'alter table "T" rename to t; update t set n = 2 where id = 2; insert into u values (2)';
      await db.sql.script(isAway ? rename : 'update t set n = 3 where id = 3');
      const source = db.source(options);
      let done = 0;
      await run(source, model, async () => {
        if (done === 0) {
          done = 1;
          if (!isAway) await db.sql.script(rename);
        }
        if (done === 1 && model.rows('shop.public.u').length === 1) {
          done = 2;
          expect(source.progress().map(({ state }) => state)).toEqual(['away', 'done']);
          if (!isRestarted) await db.sql.script(back);
        }
        const isBack = model.rows('shop.public.t').length === 31 && source.progress().every(({ state }) => state === 'done');
        return done === 2 && (isRestarted || isBack);
      });
      if (isRestarted) {
        await db.sql.script(back);
        await catchUp(db.source(options), model, db.sql);
      }
      await sameAsTable(model, db, 't');
      await sameAsTable(model, db, 'u');
      expect(told).toEqual(isAway ? [] : ['shop.public.t public.T']);
    },
  );

  test('renamed again in the transaction that gives it its name back: it stays away, and is copied once that is over', async () => {
    await using db = await testDatabase(server, 'create table t (id int primary key, n int)', 'create table u (id int primary key)');
    await db.sql.script('insert into t select i, 0 from generate_series(1, 30) i');
    const options = { snapshot: { mode: 'initial' as const, chunkRows: 10, parallel: 1 }, tables: ['public.t', 'public.u'] };
    const model = new Model();
    await catchUp(db.source(options), model, db.sql);
    await db.sql.script('alter table t rename to x; update x set n = 1 where id = 1; insert into u values (1)');
    await db.sql.script(`alter table x rename to t; update t set n = 2 where id = 2;
      alter table t rename to x; update x set n = 3 where id = 3; insert into u values (2)`);
    const source = db.source(options);
    await run(source, model, () => model.rows('shop.public.u').length === 2);
    expect(source.progress().map(({ state }) => state)).toEqual(['away', 'done']);
    await db.sql.script('alter table x rename to t; update t set n = 4 where id = 4');
    await catchUp(db.source(options), model, db.sql);
    await sameAsTable(model, db, 't');
  });

  test.each([
    ['renamed, and written under its new name', 'insert into was values (900, 900)'],
    ['renamed', ''],
    ['dropped', 'drop table was'],
  ])('%s while another one takes its name, of which all is published: the rows of that one are copied', async (_, more) => {
    await using db = await testDatabase(
      server,
      'create table t (id int primary key, n int)',
      'create table next (id int primary key, n int)',
    );
    await db.sql
      .script(`insert into t select i, 0 from generate_series(1, 30) i; insert into next select i, 7 from generate_series(1, 40) i;
      create publication tidegate for all tables`);
    const options = { snapshot: { mode: 'initial' as const, chunkRows: 10, parallel: 1 }, tables: ['public.t'] };
    const model = new Model();
    await catchUp(db.source(options), model, db.sql);
    await db.sql.script('update t set n = 1 where id = 1');
    const source = db.source(options);
    let done = false;
    await run(source, model, async () => {
      if (!done) {
        await db.sql.script('begin; alter table t rename to was; alter table next rename to t; commit; update t set n = 8 where id = 8');
        if (more !== '') await db.sql.script(more);
        await db.sql.script('update t set n = 9 where id = 9');
      }
      done = true;
      const rows = new Map(model.rows('shop.public.t').map(({ id, n }) => [id, n]));
      return rows.get(9) === 9 && rows.size === 40 && source.progress().every(({ state }) => state === 'done');
    });
    await sameAsTable(model, db, 't');
  });

  test.each([
    [
      'for a while',
      'alter publication tidegate drop table t; update t set n = 7 where id = 1; insert into t values (31, 31)',
      'alter publication tidegate add table t',
    ],
    [
      'without some of its rows',
      'alter publication tidegate set table t where (id <> 5), u; update t set n = 7 where id = 5',
      'alter publication tidegate set table t, u',
    ],
  ])('out of the publication %s: what was not sent is copied once it is sent again', async (what, leave, back) => {
    await using db = await testDatabase(server, 'create table t (id int primary key, n int)', 'create table u (id int primary key)');
    if (what !== 'for a while' && db.sql.majorVersion < 15) return; // There are no row filters before.
    await db.sql.script('insert into t select i, 0 from generate_series(1, 30) i');
    const options = { snapshot: { mode: 'initial' as const, chunkRows: 10, parallel: 1 }, tables: ['public.t', 'public.u'] };
    const model = new Model();
    await catchUp(db.source(options), model, db.sql);
    await db.sql.script('update t set n = 1 where id = 2');
    let done = false;
    const source = db.source(options);
    await run(source, model, async () => {
      if (!done) for (const statement of [...leave.split('; '), back, 'update t set n = 3 where id = 3']) await db.sql.script(statement);
      done = true;
      const rows = new Map(model.rows('shop.public.t').map(({ id, n }) => [id, n]));
      return rows.get(3) === 3 && [...rows.values()].includes(7) && source.progress().every(({ state }) => state === 'done');
    });
    await sameAsTable(model, db, 't');
  });

  test.each([
    [
      'out of a publication of tables, and back',
      '',
      'alter publication tidegate drop table t',
      'alter publication tidegate add table t',
      14,
    ],
    [
      'out of a publication of schemas, and back',
      'create publication tidegate for tables in schema public',
      'alter publication tidegate drop tables in schema public',
      'alter publication tidegate add tables in schema public',
      15,
    ],
    [
      'without some of its rows for a while',
      '',
      'alter publication tidegate set table t where (id <> 5), u',
      'alter publication tidegate set table t, u',
      15,
    ],
    [
      'another that takes its name, of which all is published',
      'create publication tidegate for all tables',
      'alter table t rename to was; create table t (id int primary key, n int); insert into t values (1, 5)',
      'update was set n = 9',
      14,
    ],
  ])('%s, all while nobody reads: it is copied again, once; the others are not', async (_, publication, leave, back, since) => {
    await using db = await testDatabase(server, 'create table t (id int primary key, n int)', 'create table u (id int primary key)');
    if (db.sql.majorVersion < since) return; // There is no such publication before.
    await db.sql.script(`insert into t select i, 0 from generate_series(1, 30) i; insert into u values (1); ${publication}`);
    const options = { snapshot: { mode: 'initial' as const, chunkRows: 10, parallel: 1 }, tables: ['public.t', 'public.u'] };
    const model = new Model();
    await catchUp(db.source(options), model, db.sql);
    for (const statement of [
      ...leave.split('; '),
      'update t set n = 7 where id = 1',
      'insert into t values (31, 31), (5, 5) on conflict (id) do update set n = 6',
    ])
      await db.sql.script(statement);
    await db.sql.script(back);
    const copied: string[] = [];
    const note = ({ events }: Batch): boolean => {
      copied.push(...events.flatMap(({ op, dataset }) => (op === 'read' ? [dataset.name] : [])));
      return false;
    };
    const source = db.source(options);
    const there = new Map((await db.sql.query('select id, n from t')).rows.map(([id, n]) => [Number(id), Number(n)]));
    await run(source, model, (batch) => {
      note(batch);
      const rows = new Map(model.rows('shop.public.t').map(({ id, n }) => [Number(id), Number(n)]));
      return [...there].every(([id, n]) => rows.get(id) === n) && source.progress().every(({ state }) => state === 'done');
    });
    expect(new Set(copied)).toEqual(new Set(leave.includes('schema') ? ['shop.public.t', 'shop.public.u'] : ['shop.public.t']));
    await db.sql.script('insert into u values (2)');
    copied.length = 0;
    await run(db.source(options), model, (batch) => {
      note(batch);
      return model.rows('shop.public.u').length === 2;
    });
    expect(copied).toEqual([]);
  });

  test.each([
    ['and back before anybody looks', true, ''],
    ['and back later', false, 'update t set n = 1 where id = 1'],
    ['and back later, with nothing that changes it', false, ''],
  ])('renamed in the middle of its first copy, %s: it is copied to its end', async (_, atOnce, change) => {
    await using db = await testDatabase(server, 'create table t (id int primary key, n int)', 'create table u (id int primary key)');
    await db.sql.script('insert into t select i, 0 from generate_series(1, 200) i');
    const told: string[] = [];
    const options = {
      snapshot: { mode: 'initial' as const, chunkRows: 10, parallel: 1 },
      tables: ['public.t', 'public.u'],
      onLeftOut: (dataset: string) => void told.push(`${dataset} is left out`),
    };
    const model = new Model();
    const source = db.source(options);
    let step = 0;
    await run(source, model, async () => {
      if (step === 0 && model.rows('shop.public.t').length >= 10) {
        step = 1;
        await db.sql.script('alter table t rename to x');
        if (atOnce) await db.sql.script('alter table x rename to t');
      }
      if (step === 1 && !atOnce && source.progress()[0]?.state === 'away') {
        step = 2;
        await db.sql.script(`alter table x rename to t; ${change}`);
      }
      return source.progress().every(({ state }) => state === 'done');
    });
    await sameAsTable(model, db, 't');
    expect(told).toEqual([]);
  });

  test('taken out of the publication in the middle of its first copy, while nobody reads: the copy begins anew', async () => {
    await using db = await testDatabase(server, 'create table t (id int primary key, n int)', 'create table u (id int primary key)');
    await db.sql.script('insert into t select i, 0 from generate_series(1, 200) i');
    const options = { snapshot: { mode: 'initial' as const, chunkRows: 10, parallel: 1 }, tables: ['public.t', 'public.u'] };
    const model = new Model();
    await run(db.source(options), model, () => model.rows('shop.public.t').length >= 10);
    expect(model.rows('shop.public.t').length).toBeLessThan(200);
    await db.sql.script('alter publication tidegate drop table t; update t set n = 1 where id = 1');
    const source = db.source(options);
    await run(source, model, () => source.progress().every(({ state }) => state === 'done'));
    await sameAsTable(model, db, 't');
  });

  test('without a key when a row came, and given one afterwards: the lane goes on, and its rows say that nothing tells them apart', async () => {
    await using db = await testDatabase(server, T);
    const model = new Model();
    await run(db.source(), model, () => true);
    await db.sql.script('alter table t drop constraint t_pkey; insert into t values (1)');
    const keyless: unknown[] = [];
    const note = (batch: Batch): boolean => {
      keyless.push(...batch.events.map(({ dataset }) => dataset.keyless));
      return batch.events.length > 0;
    };
    await run(db.source(), model, note);
    await db.sql.script('alter table t add primary key (id); insert into t values (2)');
    await run(db.source(), model, note);
    expect(keyless).toEqual([true, undefined]);
  });
});

describe('privileges', () => {
  test('no REPLICATION, for a slot that is to be made and for one that is there; no SELECT for the snapshot: SOURCE_PRIVILEGE', async () => {
    await using role = await testRole(server, '');
    await using db = await testDatabase(server, T, 'create publication tidegate for table t', `grant select on t to ${role.name}`);
    expect(await failureOf(db.source({ url: role.url(db.url) }))).toEqual(code('SOURCE_PRIVILEGE'));
    await db.sql.query("select pg_create_logical_replication_slot($1, 'pgoutput')", [db.slot]);
    expect(await failureOf(db.source({ url: role.url(db.url) }), new Model(), () => false)).toEqual(code('SOURCE_PRIVILEGE'));
    await db.sql.script(`alter role ${role.name} replication; revoke select on t from ${role.name}`);
    expect(await failureOf(db.source({ ...initial, url: role.url(db.url) }))).toEqual(code('SOURCE_PRIVILEGE'));
    await run(db.source({ url: role.url(db.url) }), new Model(), () => true); // Without a snapshot nothing is selected.
  });

  test('a role that may do just what the docs say copies and follows, whatever its own settings are', async () => {
    await using role = await testRole(server, 'replication');
    await using db = await testDatabase(
      server,
      T,
      'insert into t values (1)',
      'create publication tidegate for table t',
      `grant select on t to ${role.name}`,
    );
    await db.sql.script(
      Object.entries({
        default_transaction_read_only: 'on',
        statement_timeout: '1ms',
        idle_session_timeout: '1ms',
        search_path: 'nowhere',
        datestyle: 'German',
        bytea_output: 'escape',
        default_transaction_isolation: 'serializable',
      })
        .map(([name, value]) => `alter role ${role.name} set ${name} = '${value}'`)
        .join(';'),
    );
    const model = new Model();
    await run(db.source({ ...initial, url: role.url(db.url) }), model, async () => {
      if (model.rows('shop.public.t').length === 1) await db.sql.script('insert into t values (2) on conflict do nothing');
      return model.rows('shop.public.t').length === 2;
    });
  });
});

describe('the server', () => {
  const source = (url: string, more: object = {}) =>
    postgresSource({
      name: 'shop',
      url,
      slot: 'one',
      publication: 'tidegate',
      tables: ['t'],
      ...initial,
      batch: { rows: 100, bytes: 1 << 20, ageMs: 0 },
      ...more,
    });

  test('away, without the database, or with a url that is none', async () => {
    expect(await failureOf(source('postgres://postgres@127.0.0.1:1/x'))).toEqual(code('SOURCE_UNREACHABLE'));
    expect(await failureOf(source(server.replace(/\/[^/]*$/, '/no_such_database')))).toEqual(code('CONFIG_INVALID'));
    expect(await failureOf(source('mysql://root@127.0.0.1/x'))).toEqual(code('CONFIG_INVALID', /sources\.shop\.url/));
    expect(await failureOf(source('postgres://u:50%off@127.0.0.1/x'))).toEqual(code('CONFIG_INVALID', /sources\.shop\.url/));
    expect(await failureOf(source('postgres://u@127.0.0.1/x?sslmode=verify-full&sslrootcert=/no/such/file'))).toEqual(
      code('CONFIG_INVALID', /sslrootcert/),
    );
  });

  test('wal_level too low: SOURCE_WAL_LEVEL', async () => {
    const own = await startEmbeddedPostgres({ wal_level: 'replica' });
    try {
      expect(await failureOf(source(own.url()))).toEqual(code('SOURCE_WAL_LEVEL'));
    } finally {
      await own.stop();
    }
  });

  test('slots all taken: SOURCE_SLOTS_FULL; log removed that the slot needs: SOURCE_POSITION_LOST', async () => {
    const own = await startEmbeddedPostgres({
      max_replication_slots: '1',
      max_slot_wal_keep_size: '1MB',
      min_wal_size: '32MB',
      max_wal_size: '32MB',
    });
    try {
      await using sql = await PgConnection.connect({ url: own.url() });
      await sql.script(T);
      await sql.query("select pg_create_physical_replication_slot('other')");
      expect(await failureOf(source(own.url()))).toEqual(code('SOURCE_SLOTS_FULL'));
      await sql.query("select pg_drop_replication_slot('other')");
      const model = new Model();
      await run(source(own.url()), model, () => model.batches === 2);
      await eventually(async () => {
        await sql.script('insert into t select max(id) + 1 from (select id from t union all select 0) s');
        await sql.script('select pg_switch_wal()');
        await sql.script('checkpoint');
        return (await sql.query("select 1 from pg_replication_slots where wal_status = 'lost'")).rows.length > 0;
      }, 'the slot is lost');
      expect(await failureOf(source(own.url()), model, () => false)).toEqual(code('SOURCE_POSITION_LOST', /wal_status lost/));
    } finally {
      await own.stop();
    }
  });
});
