/** What goes wrong at a source has a code, and the code's fix helps: on real servers. */
import { describe, expect, inject, test } from 'vitest';
import { type Clock, systemClock } from '../../core/clock.ts';
import type { PipelineError } from '../../core/errors.ts';
import type { Position } from '../../core/event.ts';
import { postgresSource } from '../../cdc/postgres/source.ts';
import { startEmbeddedPostgres } from '../../examples/embedded-postgres.ts';
import { PgConnection } from '../../wire/postgres/connection.ts';
import { eventually } from '../support/eventually.ts';
import { catchUp, code, failureOf, Model, run, testDatabase, testRole } from './support.ts';

const server = inject('sourceServer');
const T = 'create table t (id int primary key, s text)';
const initial = { snapshot: { mode: 'initial' as const, chunkRows: 100, parallel: 1 } };
/** Waits pass, at a hundredth of their length. */
const hasty: Clock = { ...systemClock, sleep: (ms, signal) => systemClock.sleep(ms / 100, signal) };

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
