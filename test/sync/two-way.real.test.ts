/** Two databases that follow each other, both written at once: each change goes over once, and none comes back. */
import { expect, inject, test } from 'vitest';
import { postgresSource } from '../../cdc/postgres/source.ts';
import { type Batch, Verdict } from '../../core/batch.ts';
import type { Stage } from '../../core/contracts.ts';
import { fromLsn } from '../../core/position.ts';
import { runPipeline } from '../../core/pipeline.ts';
import { replaySource } from '../../cdc/replay.ts';
import type { LaneId } from '../../core/event.ts';
import { postgresSink } from '../../sync/postgres/sink.ts';
import { PgConnection } from '../../wire/postgres/connection.ts';
import { systemClock } from '../../core/clock.ts';
import { createDatabase, type TestDatabase } from '../support/databases.ts';
import { eventually } from '../support/eventually.ts';
import { Random } from '../support/random.ts';

const SEED = Number(process.env['TWO_WAY_SEED'] ?? 1);
const NEVER = new AbortController().signal;
const TABLE =
  'create table t (id int primary key, owner text not null, n int not null, big text); alter table t alter big set storage external';

interface Side {
  readonly db: TestDatabase;
  readonly sql: PgConnection;
  /** The remainder of its rows' ids. */
  readonly mine: 0 | 1;
}

/** Rows with a 13 in them are held, so that the careful road is taken, unless somebody released them. */
const unlucky: Stage = {
  name: 'quality',
  run: async (batch: Batch) => {
    for (const [index, event] of batch.events.entries()) {
      if (event.after?.value(2) !== 13 || batch.heldFor?.[index] !== undefined) continue;
      batch.mark({
        index,
        stage: 'quality',
        rule: 'unlucky',
        column: 'n',
        verdict: Verdict.Quarantine,
        severity: 'info',
        message: 'n is 13',
        notify: false,
      });
    }
  },
};

async function follow(from: Side, to: Side, mode: 'initial' | 'never') {
  const options = { name: 'other', url: to.db.url, schema: 'public', tables: { create: true, widen: false }, hold: () => null, scores: [] };
  const opened = { ...options, pipeline: from.db.name };
  const [sink, replaySink] = [await postgresSink(opened), await postgresSink(opened)];
  const source = postgresSource({
    name: 'one',
    url: from.db.url,
    slot: from.db.name,
    publication: 'tidegate',
    tables: ['public.t'],
    changes: 'own',
    snapshot: { mode, chunkRows: 20, parallel: 1 },
    batch: { rows: 50, bytes: 16 << 20, ageMs: 0 },
    timing: { statusMs: 200, idleMs: 100, idleBytes: 1 },
  });
  const lane = `replay:${from.db.name}` as LaneId;
  const replay = replaySource({ log: replaySink.quarantine, lane, batchRows: 50, clock: systemClock });
  const drain = new AbortController();
  const signals = { drain: drain.signal, abort: NEVER };
  const running = Promise.all([
    runPipeline({ source, stages: [unlucky], sink }, signals),
    runPipeline({ source: replay, stages: [unlucky], sink: replaySink }, signals),
  ]);
  running.catch(() => {}); // Awaited by `stop`.
  const asked = async (query: string, ...params: string[]): Promise<string> => (await to.sql.query(query, params)).rows[0]?.[0] ?? '';
  return {
    quarantine: replaySink.quarantine,
    isCopied: () => source.progress().every(({ state }) => state === 'done'),
    /** How many changes came over. */
    events: async () => Number(await asked('select events from tidegate.lanes where lane = $1', source.lane)),
    arrived: async () => {
      const mark = await from.sql.query("select pg_logical_emit_message(true, $1, 'place')", [`tidegate.${from.db.name}`]);
      const lsn = fromLsn(mark.rows[0]?.[0] ?? '');
      await eventually(
        async () => (await asked('select position from tidegate.lanes where lane = $1', source.lane)) >= lsn,
        'the lane is there',
        30_000,
      );
    },
    stop: async () => {
      drain.abort();
      await running;
      for (const one of [sink, replaySink]) await one[Symbol.asyncDispose]();
    },
  };
}

/** Changes of the side's own rows, and of rows that came from the other side long ago. Answers how many rows they changed. */
async function change(side: Side, random: Random): Promise<number> {
  const id = 2 * random.below(400) + side.mine;
  const n = random.below(14);
  const dice = random.next();
  const script =
    dice < 0.3
      ? `insert into t values (${id}, '${side.mine}', ${n}, repeat('x', ${random.chance(0.3) ? 4000 : 3})) on conflict (id) do update set n = ${n}`
      : dice < 0.45
        ? `insert into t select i, '${side.mine}', ${n}, 'bulk' from generate_series(${id}, ${id + 80}, 2) i on conflict (id) do update set n = t.n + 1`
        : dice < 0.75
          ? `update t set n = ${n} where id % 2 = ${side.mine} and id between ${id} and ${id + 30}`
          : dice < 0.85
            ? `delete from t where id = ${id}`
            : `update t set id = ${id + 1000} where id = ${id} and not exists (select from t where id = ${id + 1000})`;
  return (await side.sql.query(script)).affected;
}

test(`two databases that follow each other end equal, each change came over once and never back (seed ${SEED})`, async () => {
  await using here = await createDatabase(inject('sourceServer'), 'way');
  await using there = await createDatabase(inject('targetServer'), 'way');
  await using one = await PgConnection.connect({ url: here.url });
  await using two = await PgConnection.connect({ url: there.url });
  const a: Side = { db: here, sql: one, mine: 0 };
  const b: Side = { db: there, sql: two, mine: 1 };
  for (const { sql } of [a, b]) await sql.script(TABLE);
  await one.script(`insert into t select 2 * i, 'first', 0, 'copied' from generate_series(0, 399) i`);
  const toB = await follow(a, b, 'initial');
  await eventually(() => toB.isCopied(), 'it is copied');
  await toB.arrived();
  const copied = await toB.events();
  const toA = await follow(b, a, 'never');
  const made = { a: 0, b: 0 };
  const random = new Random(SEED);
  await toA.arrived();
  for (let round = 0; round < 150; round++) {
    made.b += await change(b, random);
    made.a += await change(a, random);
  }
  /** All has come over, and what was held is written as well. */
  const settle = async (): Promise<void> => {
    for (const lane of [toA, toB]) await lane.arrived();
    for (const lane of [toA, toB]) {
      const held = await lane.quarantine.find({ limit: 1000 });
      await lane.quarantine.release(
        held.filter(({ status }) => status === 'held').map(({ id }) => id),
        'test',
      );
    }
    const open = `select count(*) from tidegate.quarantine where status in ('held', 'waiting', 'released')`;
    for (const sql of [one, two]) await eventually(async () => (await sql.query(open)).rows[0]?.[0] === '0', 'what was held is settled');
  };
  await settle();
  // Each takes over rows of the other's.
  made.b += (await two.query("update t set owner = 'b', n = n + 1 where id % 8 = 0")).affected;
  made.a += (await one.query("update t set owner = 'a', n = n + 1 where id % 8 = 1")).affected;
  await one.script('insert into t values (9001, $$a$$, 13, null)');
  made.a++;
  // What another replication brought is not this side's either.
  await one.script(
    'select pg_replication_origin_create(current_database()); select pg_replication_origin_session_setup(current_database())',
  );
  await one.script("insert into t values (9003, 'elsewhere', 1, null)");
  await one.script('select pg_replication_origin_session_reset(); select pg_replication_origin_drop(current_database())');
  await settle();
  const counted = { a: await toB.events(), b: await toA.events() };
  // Whatever would come back is on its way by now: round and round.
  for (const lane of [toA, toB, toA, toB]) await lane.arrived();
  const again = { a: await toB.events(), b: await toA.events() };
  await toA.stop();
  await toB.stop();
  expect(copied).toBe(400);
  expect(counted).toEqual({ a: made.a + copied, b: made.b });
  expect(again).toEqual(counted);
  const rows = async (sql: PgConnection) => (await sql.query("select * from t where owner <> 'elsewhere' order by id")).rows;
  expect(await rows(two)).toEqual(await rows(one));
  expect((await two.query("select count(*) from t where owner = 'elsewhere'")).rows).toEqual([['0']]);
});
