/** The server that a lane reads is not the one that it has read, or its disk was put back to a time before: never a gap, and no halt where nothing is missed. */
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import type { Position } from '../../core/event.ts';
import { toLsn } from '../../core/position.ts';
import { parsePlace } from '../../cdc/postgres/lane-position.ts';
import { postgresSource, type PostgresSource, type PostgresSourceOptions } from '../../cdc/postgres/source.ts';
import type { EmbeddedServer } from '../../examples/embedded-postgres.ts';
import { PgConnection } from '../../wire/postgres/connection.ts';
import { eventually } from '../support/eventually.ts';
import { NEWEST, startPostgres, VERSIONS } from '../support/postgres-versions.ts';
import { keepDisk } from '../support/put-back.ts';
import { catchUp, code, endOfLog, failureOf, Model, run, testDatabase } from './support.ts';

let server: EmbeddedServer;
let tables = 0;

beforeAll(async () => {
  // As old or new as the shared ones. What its processes wrote is there though they are killed.
  await using shared = await PgConnection.connect({ url: inject('sourceServer') });
  const version = VERSIONS.find((one) => one === shared.majorVersion) ?? NEWEST;
  server = await startPostgres(version, { wal_sender_timeout: '5s', fsync: 'off' });
});
afterAll(() => server?.stop());

/** A table with a slot and a publication of its own: they all share the server, and what becomes of it. */
interface Followed {
  readonly table: string;
  source(options?: Partial<PostgresSourceOptions>): PostgresSource;
  readonly ids: (model: Model) => readonly unknown[];
}
async function followed(): Promise<Followed> {
  const table = `t${tables++}`;
  await sql(`create table ${table} (id int primary key)`);
  return {
    table,
    source: (options) =>
      postgresSource({
        name: 'shop',
        url: server.url(),
        slot: table,
        publication: table,
        tables: [table],
        snapshot: { mode: 'never', chunkRows: 1000, parallel: 1 },
        batch: { rows: 1000, bytes: 16 << 20, ageMs: 0 },
        timing: { statusMs: 200, idleMs: 100, idleBytes: 1 },
        ...options,
      }),
    ids: (model) => model.rows(`shop.public.${table}`).map((row) => row['id']),
  };
}

async function sql(script: string): Promise<void> {
  await using connection = await PgConnection.connect({ url: server.url() });
  await connection.script(script);
}
async function until(source: PostgresSource, model: Model): Promise<void> {
  await using connection = await PgConnection.connect({ url: server.url() });
  await catchUp(source, model, connection);
}
const confirmed = async (slot: string): Promise<string> => {
  await using connection = await PgConnection.connect({ url: server.url() });
  const found = await connection.query(
    `select lpad(to_hex((confirmed_flush_lsn - '0/0')::bigint), 16, '0') from pg_replication_slots where slot_name = $1`,
    [slot],
  );
  return found.rows[0]?.[0] ?? '';
};
/** Log of others. */
const filler = `select pg_logical_emit_message(false, 'other', repeat('x', 3000000))`;
const placeOf = (model: Model) => parsePlace(model.checkpoint ?? ('' as Position));

describe('a disk that was put back, on which as much log has been written again', () => {
  test('the lane does not go on, whoever wrote it, asked once or again', async () => {
    const it = await followed();
    const model = new Model();
    await sql(`insert into ${it.table} values (0)`);
    await run(it.source(), model, () => true);
    await sql(`insert into ${it.table} values (1)`);
    await until(it.source(), model);
    const putBack = await keepDisk(server);
    await sql(`insert into ${it.table} values (2)`);
    await until(it.source(), model);
    await putBack();
    expect(await failureOf(it.source(), model)).toEqual(code('SOURCE_POSITION_LOST', /end of the server's log/));
    const before = await confirmed(it.table);
    for (const write of [filler, `insert into ${it.table} select n from generate_series(100, 200) n`, filler]) {
      await sql(write);
      const failure = await failureOf(it.source(), model, () => false);
      expect(failure).toEqual(
        code('SOURCE_POSITION_LOST', /does not have the transaction that the lane has read at 0\/\w+: its disk was put back/),
      );
      expect(failure.message).toContain(toLsn(placeOf(model).last?.commit ?? ''));
    }
    expect(await confirmed(it.table)).toBe(before);
    expect(it.ids(model)).toEqual([1, 2]);
  });

  test('inside of a transaction, of which nothing comes any more', async () => {
    const it = await followed();
    const model = new Model();
    const source = (options: Partial<PostgresSourceOptions> = {}) =>
      it.source({ batch: { rows: 10, bytes: 16 << 20, ageMs: 0 }, ...options });
    await run(source(), model, () => true);
    await sql(`insert into ${it.table} values (1)`);
    await until(source(), model);
    const putBack = await keepDisk(server);
    await sql(`insert into ${it.table} select n from generate_series(2, 99) n`);
    await run(source(), model, () => placeOf(model).within !== null);
    await putBack();
    await sql(filler);
    expect(await failureOf(source(), model, () => false)).toEqual(code('SOURCE_POSITION_LOST', /does not have the transaction/));
  });

  test.each([
    ['the slot there knows of the last commit', true],
    ['it does not', false],
  ])('where the lane had only read on, without a commit, and %s: it goes on, and has all that was written since', async (_, isKept) => {
    const it = await followed();
    const model = new Model();
    await run(it.source(), model, () => true);
    await sql(`insert into ${it.table} values (1)`);
    await until(it.source(), model);
    if (isKept) {
      // What it hears from the lane it keeps only now and then.
      await sql(`select pg_replication_slot_advance('${it.table}', '${toLsn(model.reachedLsn)}'); checkpoint`);
    }
    const putBack = await keepDisk(server);
    await sql(filler);
    await run(
      it.source(),
      model,
      () => placeOf(model).readOn !== null && Number(`0x${model.reachedLsn}`) - Number(`0x${placeOf(model).lsn}`) > 2e6,
    );
    const readOn = model.reachedLsn;
    await putBack();
    expect((await confirmed(it.table)) > (placeOf(model).last?.commit ?? '')).toBe(isKept);
    await sql(`insert into ${it.table} select n from generate_series(2, 40) n; insert into ${it.table} values (41)`);
    await sql(filler);
    // The first of what was written since is cut, and the run with it.
    const small = it.source({ batch: { rows: 10, bytes: 16 << 20, ageMs: 0 } });
    await run(small, model, () => placeOf(model).within !== null);
    expect((placeOf(model).within?.commit ?? '') < readOn).toBe(true);
    await server.kill();
    await server.start();
    await until(it.source(), model);
    expect(it.ids(model).length).toBe(41);
    expect(model.events).toBe(41);
  });
});

test('another server, with a slot of that name and a log beyond the place of the lane', async () => {
  const it = await followed();
  const model = new Model();
  await sql(`insert into ${it.table} values (1)`);
  await run(it.source(), model, () => true);
  await sql(`insert into ${it.table} values (2)`);
  await until(it.source(), model);
  await using other = await testDatabase(inject('sourceServer'), `create table ${it.table} (id int primary key)`);
  await other.sql.script(`create publication ${it.table} for table ${it.table}`);
  while ((await endOfLog(other.sql)) <= model.reachedLsn) await other.sql.script(filler);
  await other.sql.query(`select pg_create_logical_replication_slot($1, 'pgoutput')`, [it.table]);
  await other.sql.script(`insert into ${it.table} values (3)`);
  try {
    const failure = await failureOf(it.source({ url: other.url }), model, () => false);
    expect(failure).toEqual(code('SOURCE_POSITION_LOST', /system identifier \d+, and this one has \d+: it is another server/));
    expect(it.ids(model)).toEqual([2]);
  } finally {
    await other.sql.query('select pg_drop_replication_slot($1)', [it.table]);
  }
});

describe('where nothing is missed', () => {
  test('a server that is killed has forgotten what it was told: the last transaction is read again, and not applied', async () => {
    const it = await followed();
    const model = new Model();
    await run(it.source(), model, () => true);
    for (let round = 0; round < 3; round++) {
      await sql(`insert into ${it.table} select n from generate_series(${1000 * round}, ${1000 * round + 99}) n; ${filler}`);
      await until(it.source(), model);
      await server.kill();
      await server.start();
      expect((await confirmed(it.table)) <= (placeOf(model).last?.commit ?? '')).toBe(true);
      if (round === 2) await until(it.source(), model);
    }
    expect(it.ids(model).length).toBe(300);
    expect(model.events).toBe(300);
    await eventually(async () => (await confirmed(it.table)) > (placeOf(model).last?.commit ?? ''), 'the slot moves on');
  });

  test('the same inside of a transaction, and where nothing was acknowledged at all', async () => {
    const it = await followed();
    const model = new Model();
    const source = () => it.source({ batch: { rows: 10, bytes: 16 << 20, ageMs: 0 } });
    await run(source(), model, () => true);
    await sql(`insert into ${it.table} select n from generate_series(1, 25) n`);
    await sql(`insert into ${it.table} select n from generate_series(26, 60) n`);
    await run(source(), model, () => model.events >= 40, false);
    expect(placeOf(model)).toMatchObject({
      within: { events: expect.any(Number) as number },
      last: { commit: expect.any(String) as string },
    });
    await server.kill();
    await server.start();
    await until(source(), model);
    expect(model.events).toBe(60);
    expect(it.ids(model).length).toBe(60);
  });

  test('what an earlier version wrote takes up what the server is, though nothing happens', async () => {
    const it = await followed();
    const model = new Model();
    await run(it.source(), model, () => true);
    await sql(`insert into ${it.table} values (1)`);
    await until(it.source(), model);
    model.checkpoint = (model.checkpoint ?? '').replace(/!.*/, '') as Position;
    await run(it.source({ timing: {} }), model, () => placeOf(model).system !== null);
    expect(model.events).toBe(1);
  });
});
