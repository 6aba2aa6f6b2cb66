/** The connection against a real server: pipelines, COPY both ways, replication, cancelling, and what a lost connection leaves behind. */
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import { PgConnection, PgConnectionError, PgError } from '../../wire/postgres/connection.ts';
import { Format, FrontendWriter } from '../../wire/postgres/messages.ts';
import { createDatabase, type TestDatabase } from '../support/databases.ts';
import { eventually } from '../support/eventually.ts';

let database: TestDatabase;
const connect = (): Promise<PgConnection> => PgConnection.connect({ url: database.url });

beforeAll(async () => {
  database = await createDatabase(inject('sourceServer'), 'wire');
  await using sql = await connect();
  await sql.script('create table numbers (n integer primary key, note text)');
});
afterAll(async () => {
  await database[Symbol.asyncDispose]();
});

const insert = (n: number): FrontendWriter =>
  new FrontendWriter().parse('', 'insert into numbers values ($1)', [23]).bind('', '', [String(n)], Format.Text);

test('settings of several values are those values', async () => {
  await using sql = await PgConnection.connect({ url: database.url, settings: { search_path: 'nowhere, public', DateStyle: 'SQL, DMY' } });
  const { rows } = await sql.query(`select current_schema(), date '2026-02-01'::text`);
  expect(rows).toEqual([['public', '01/02/2026']]);
});

describe('statements', () => {
  test('parameters go and come as text, null and bytes', async () => {
    await using sql = await connect();
    const { columns, rows } = await sql.query('select $1::int8 as a, $2::text as b, $3::bytea as c, $4::boolean as d', [
      9007199254740993n,
      null,
      Buffer.from([0, 255]),
      true,
    ]);
    expect(rows).toEqual([['9007199254740993', null, '\\x00ff', 't']]);
    expect(columns.map(({ name, oid }) => [name, oid])).toEqual([
      ['a', 20],
      ['b', 25],
      ['c', 17],
      ['d', 16],
    ]);
  });

  test('a script answers one result a statement', async () => {
    await using sql = await connect();
    const results = await sql.script("select 1; create temp table t (x integer); insert into t values (1), (2); select 'a' as v");
    expect(results.map(({ tag, affected, rows }) => [tag, affected, rows])).toEqual([
      ['SELECT 1', 1, [['1']]],
      ['CREATE TABLE', 0, []],
      ['INSERT 0 2', 2, []],
      ['SELECT 1', 1, [['a']]],
    ]);
  });

  test('the error of a statement has its SQLSTATE, table and constraint, and the connection goes on', async () => {
    await using sql = await connect();
    await sql.query('insert into numbers values (1)');
    const error = await sql.query('insert into numbers values (1)').catch((e: unknown) => e);
    expect(error).toBeInstanceOf(PgError);
    expect(error).toMatchObject({ code: '23505', schema: 'public', table: 'numbers', constraint: 'numbers_pkey', severity: 'ERROR' });
    expect((await sql.query('select 1')).rows).toEqual([['1']]);
  });

  test('a value of several megabytes comes whole', async () => {
    await using sql = await connect();
    const { rows } = await sql.query("select repeat('abcdefgh', 4000000)");
    expect(rows[0]?.[0]?.length).toBe(32_000_000);
  });
});

describe('pipelines', () => {
  test('many exchanges in flight are answered in order', async () => {
    await using sql = await connect();
    const answers = await Promise.all(
      Array.from({ length: 500 }, async (_, i) => (i % 2 === 0 ? sql.query('select $1::text', [i]) : (await sql.script(`select ${i}`))[0])),
    );
    expect(answers.map((answer) => answer?.rows[0]?.[0])).toEqual(Array.from({ length: 500 }, (_, i) => String(i)));
  });

  test('an error in the middle fails its own exchange and no other', async () => {
    await using sql = await connect();
    const outcomes = await Promise.allSettled([
      sql.exchange(insert(101).execute().sync().bytes()),
      sql.exchange(insert(101).execute().sync().bytes()),
      sql.exchange(insert(102).execute().sync().bytes()),
      sql.script('select 1 / 0'),
      sql.query('select count(*) from numbers where n in (101, 102)'),
    ]);
    expect(outcomes.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled', 'rejected', 'fulfilled']);
    expect(outcomes[4]).toMatchObject({ value: { rows: [['2']] } });
  });

  test('statements before one Sync are one transaction', async () => {
    await using sql = await connect();
    const writer = insert(201).execute();
    writer.parse('', 'insert into numbers values (201)').bind('', '', [], []).execute().sync();
    await expect(sql.exchange(writer.bytes())).rejects.toMatchObject({ code: '23505' });
    expect((await sql.query('select count(*) from numbers where n = 201')).rows).toEqual([['0']]);
  });

  test('one exchange of several Syncs ends at the last, with the first error', async () => {
    await using sql = await connect();
    const writer = insert(301).execute().sync();
    writer.parse('', 'select 1 / 0').bind('', '', [], []).execute().sync();
    writer.parse('', 'insert into numbers values (301)').bind('', '', [], []).execute().sync();
    writer.query('begin').query('rollback');
    await expect(sql.exchange(writer.bytes(), 5)).rejects.toMatchObject({ code: '22012' });
    expect((await sql.query('select count(*) from numbers where n = 301')).rows).toEqual([['1']]);
  });

  test('a COPY and what follows it go in one write', async () => {
    await using sql = await connect();
    const writer = new FrontendWriter();
    writer.query('begin');
    writer.query('create temp table staged (like numbers) on commit drop');
    writer.query('copy staged from stdin').copyData(Buffer.from('401\tone\n402\ttwo\n')).copyDone();
    writer.query('insert into numbers select * from staged').query('commit');
    const results = await sql.exchange(writer.bytes(), 5);
    expect(results.map(({ tag }) => tag)).toEqual(['BEGIN', 'CREATE TABLE', 'COPY 2', 'INSERT 0 2', 'COMMIT']);
  });

  test('a COPY that fails in a pipeline leaves the connection usable', async () => {
    await using sql = await connect();
    const writer = new FrontendWriter();
    writer.query('copy numbers from stdin').copyData(Buffer.from('x\n')).copyData(Buffer.alloc(200_000, 'y')).copyDone().query('select 1');
    await expect(sql.exchange(writer.bytes(), 2)).rejects.toMatchObject({ code: '22P02' });
    expect((await sql.query('select 2')).rows).toEqual([['2']]);
  });

  test('a pipeline larger than every buffer on the way does not get stuck', async () => {
    await using sql = await connect();
    const writer = new FrontendWriter();
    for (let i = 0; i < 20_000; i++) writer.query(`select repeat('x', 500)`);
    const results = await sql.exchange(writer.bytes(), 20_000);
    expect(results).toHaveLength(20_000);
  });
});

describe('copying', () => {
  test('what was copied out is what was copied in', async () => {
    await using sql = await connect();
    await sql.script('create temp table a (n integer, t text); create temp table b (like a)');
    const lines = Array.from({ length: 50_000 }, (_, i) => `${i}\tline ${i} ${'z'.repeat(i % 97)}\n`).join('');
    const chunks = Array.from({ length: Math.ceil(lines.length / 70_001) }, (_, i) =>
      Buffer.from(lines.slice(i * 70_001, (i + 1) * 70_001)),
    );
    expect((await sql.copyIn('copy a from stdin', chunks)).affected).toBe(50_000);
    const out: Buffer[] = [];
    for await (const chunk of sql.copyOut('copy (select * from a order by n) to stdout')) out.push(chunk);
    expect(Buffer.concat(out).toString()).toBe(lines);
    expect(out.length).toBeLessThan(5000); // Gathered: not a chunk a row.
  });

  test('a slow reader of a COPY holds the server back', async () => {
    await using sql = await connect();
    await using watcher = await connect();
    let ahead = 0;
    let bytes = 0;
    let chunks = 0;
    for await (const chunk of sql.copyOut("copy (select repeat('x', 1000) from generate_series(1, 100000)) to stdout")) {
      bytes += chunk.length;
      if (chunks++ % 5 > 0) continue;
      const { rows } = await watcher.query('select bytes_processed from pg_stat_progress_copy where pid = $1', [sql.backendPid]);
      ahead = Math.max(ahead, Number(rows[0]?.[0] ?? 0) - bytes);
    }
    expect(bytes).toBe(100_100_000);
    expect(ahead).toBeGreaterThan(0);
    expect(ahead).toBeLessThan(30e6); // What we gather, and what the sockets of both sides hold.
  });

  test('a COPY refused by the server is an error, in both directions', async () => {
    await using sql = await connect();
    await expect(sql.copyIn('copy numbers from stdin', [Buffer.from('x\n')])).rejects.toMatchObject({ code: '22P02' });
    await expect(sql.copyIn('copy nowhere from stdin', [Buffer.from('1\n')])).rejects.toMatchObject({ code: '42P01' });
    const out = sql.copyOut('copy (select 1 / (n - 5) from generate_series(1, 9) n) to stdout');
    await expect(Array.fromAsync(out)).rejects.toMatchObject({ code: '22012' });
    expect((await sql.query('select 1')).rows).toEqual([['1']]);
  });

  test('data that ends early copies nothing', async () => {
    await using sql = await connect();
    const failing = function* (): Generator<Buffer> {
      yield Buffer.from('901\n');
      throw new Error('no more');
    };
    await expect(sql.copyIn('copy numbers (n) from stdin', failing())).rejects.toThrow('no more');
    expect((await sql.query('select count(*) from numbers where n = 901')).rows).toEqual([['0']]);
  });
});

describe('endings', () => {
  test('a lost connection fails everything in flight, and says so in closed', async () => {
    await using admin = await connect();
    const sql = await connect();
    const inFlight = [sql.query('select pg_sleep(30)'), sql.query('select 1'), sql.script('select 2')].map((one) =>
      one.catch((e: unknown) => e),
    );
    await admin.query('select pg_terminate_backend($1)', [sql.backendPid]);
    const errors = await Promise.all(inFlight);
    expect(errors[0]).toMatchObject({ code: '57P01' });
    for (const error of errors.slice(1)) expect(error instanceof PgConnectionError || error instanceof PgError).toBe(true);
    expect(await sql.closed).toBeInstanceOf(Error);
    expect(sql.open).toBe(false);
    await expect(sql.query('select 1')).rejects.toBeInstanceOf(Error);
  });

  test('destroying a connection fails what is in flight with PgConnectionError', async () => {
    const sql = await connect();
    const inFlight = [sql.query('select pg_sleep(30)'), sql.query('select 1')].map((one) => one.catch((e: unknown) => e));
    sql.destroy();
    for (const error of await Promise.all(inFlight)) expect(error).toBeInstanceOf(PgConnectionError);
    expect(await sql.closed).toBeInstanceOf(PgConnectionError);
  });

  test('closing waits for the end and is no error', async () => {
    const sql = await connect();
    await sql.close();
    expect(await sql.closed).toBeNull();
    await expect(sql.query('select 1')).rejects.toBeInstanceOf(PgConnectionError);
  });

  test('cancel stops the running statement and nothing else', async () => {
    await using sql = await connect();
    await using admin = await connect();
    const slow = sql.query('select pg_sleep(30)').catch((e: unknown) => e);
    const running = async (): Promise<boolean> =>
      (await admin.query("select 1 from pg_stat_activity where pid = $1 and state = 'active' and wait_event = 'PgSleep'", [sql.backendPid]))
        .rows.length > 0;
    await eventually(running, 'the statement runs');
    await sql.cancel();
    expect(await slow).toMatchObject({ code: '57014' });
    expect((await sql.query('select 1')).rows).toEqual([['1']]);
  });

  test('notifications arrive', async () => {
    await using sql = await connect();
    const heard: string[] = [];
    sql.onNotification((channel, payload) => heard.push(`${channel}: ${payload}`));
    await sql.script("listen bell; notify bell, 'ding'");
    await eventually(() => heard.length > 0, 'the bell rings');
    expect(heard).toEqual(['bell: ding']);
  });
});

describe('replication', () => {
  test.each([false, true])('every message of the stream is handed over once, in order, through pauses; behind: %s', async (behind) => {
    await using sql = await connect();
    await sql.script('drop publication if exists p; drop table if exists streamed');
    await sql.script('create table streamed (n integer primary key, pad text); create publication p for table streamed');
    await sql.query("select pg_create_logical_replication_slot('wire_stream', 'pgoutput')");
    await sql.script("insert into streamed select n, repeat('x', n % 300) from generate_series(1, 20000) n");
    await using replication = await PgConnection.connect({ url: database.url, replication: 'database' });
    const seen: number[] = [];
    let drains = 0;
    let committed = false;
    const copy = await replication.copyBoth(
      `START_REPLICATION SLOT wire_stream LOGICAL 0/0 (proto_version '1', binary 'true', publication_names 'p')`,
      {
        message: (bytes, from) => {
          if (bytes[from] !== 0x77) return;
          const kind = bytes[from + 25];
          // Insert: relation, 'N', the number of cells, 'b', a length, an int4.
          if (kind === 0x49) seen.push(bytes.readInt32BE(from + 25 + 1 + 4 + 1 + 2 + 1 + 4));
          if (kind === 0x43) committed = true;
        },
        isBehind: () => behind,
        drained: () => {
          drains++;
          if (drains % 5 !== 0) return;
          copy.pause();
          setTimeout(() => copy.resume(), 1);
        },
      },
    );
    await eventually(() => committed, 'the transaction has arrived');
    expect(seen).toEqual(Array.from({ length: 20_000 }, (_, i) => i + 1));
    expect(drains).toBeLessThan(2000); // Gathered: not a read a row.
    await replication.close();
    await eventually(
      async () => (await sql.query("select 1 from pg_replication_slots where slot_name = 'wire_stream' and not active")).rows.length === 1,
      'the slot is free',
    );
    await sql.query("select pg_drop_replication_slot('wire_stream')");
  });

  test('a stream that cannot start is an error, and one that is cut ends the connection', async () => {
    await using sql = await connect();
    const quiet = { message: () => {}, drained: () => {}, isBehind: () => false };
    await using first = await PgConnection.connect({ url: database.url, replication: 'database' });
    await expect(first.copyBoth('START_REPLICATION SLOT no_such_slot LOGICAL 0/0', quiet)).rejects.toMatchObject({ code: '42704' });
    await sql.query("select pg_create_logical_replication_slot('wire_cut', 'pgoutput')");
    await first.copyBoth("START_REPLICATION SLOT wire_cut LOGICAL 0/0 (proto_version '1', publication_names 'p')", quiet);
    await sql.query('select pg_terminate_backend($1)', [first.backendPid]);
    expect(await first.closed).toBeInstanceOf(Error);
    await eventually(
      async () => (await sql.query("select 1 from pg_replication_slots where slot_name = 'wire_cut' and not active")).rows.length === 1,
      'the slot is free',
    );
    await sql.query("select pg_drop_replication_slot('wire_cut')");
  });
});
