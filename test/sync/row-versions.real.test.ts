/** Several lanes write one table, each in its own time and with records that were sent before: no row ever goes back to an older state, and all end as the source. */
import { expect, inject, test } from 'vitest';
import { Batch } from '../../core/batch.ts';
import { PipelineError } from '../../core/errors.ts';
import { replaySource } from '../../cdc/replay.ts';
import { type ChangeEvent, eventId, type LaneId, type Position, UNCHANGED, type Value, ValueRow, type Version } from '../../core/event.ts';
import { runPipeline } from '../../core/pipeline.ts';
import { type PostgresSink, postgresSink, type PostgresSinkOptions } from '../../sync/postgres/sink.ts';
import { PgConnection } from '../../wire/postgres/connection.ts';
import { createDatabase } from '../support/databases.ts';
import { eventually } from '../support/eventually.ts';
import { Random } from '../support/random.ts';
import { DATASET, encoded, gate, insertOf } from './shop.ts';

const server = inject('targetServer');
const seeds = process.env['SYNC_SEEDS']?.split(',').map(Number) ?? [11, 12, 13, 14];
const never = new AbortController().signal;
const VERSIONS = { epoch: 0, keepMs: 3_600_000 };
const LANES = 3;

async function fixture() {
  const database = await createDatabase(server, 'versions');
  const sql = await PgConnection.connect({ url: database.url });
  // Whatever a row has ever been at the target, in order.
  await sql.script(`
    create schema shop; create table shop.items (id bigint primary key, n integer, note text);
    create table shown (seq bigserial, id bigint, n integer, op text);
    create function note_it() returns trigger language plpgsql as
      $$begin insert into shown (id, n, op) values (coalesce(new.id, old.id), case tg_op when 'DELETE' then null else new.n end, tg_op); return null; end$$;
    create trigger note_it after insert or update or delete on shop.items for each row execute function note_it()`);
  return {
    sql,
    sink: (pipeline: string, options: Partial<PostgresSinkOptions> = {}): Promise<PostgresSink> =>
      postgresSink({
        name: 'store',
        url: database.url,
        schema: 'shop',
        tables: { create: true, widen: true },
        hold: () => 'event',
        scores: [],
        pipeline,
        rowVersions: VERSIONS,
        ...options,
      }),
    rows: async (): Promise<readonly unknown[]> => (await sql.query('select id, n, note from shop.items order by id')).rows,
    async [Symbol.asyncDispose]() {
      await sql.close();
      await database[Symbol.asyncDispose]();
    },
  };
}

/** A table's changes, each of which sets `n` to its number in the log; and what the table holds in the end. */
function logOf(random: Random, length: number): { readonly log: readonly ChangeEvent[]; readonly end: unknown[] } {
  const rows = new Map<number, string>();
  const row = random.chance(0.5) ? encoded : (...values: readonly Value[]) => new ValueRow(...values);
  const log: ChangeEvent[] = [];
  const last = new Map<number, number>();
  for (let n = 1; n <= length; n++) {
    const id = random.below(12);
    const to = random.below(12);
    const note = rows.get(id);
    const dice = random.next();
    const fresh = `note ${n}`;
    const put = (op: ChangeEvent['op'], before: unknown, after: unknown, key: number | string, movedFrom: number | null): void => {
      const version = (n >> 2).toString(16).padStart(16, '0') as Version;
      const keys = { key: String(key), movedFrom: movedFrom === null ? null : String(movedFrom) };
      log.push({ op, dataset: DATASET, before, after, ...keys, version, ordinal: n & 3, committedAtMs: n } as ChangeEvent); // As the operation has them.
    };
    if (dice < 0.02) {
      rows.clear();
      put('truncate', null, null, '', null);
    } else if (note === undefined) {
      rows.set(id, fresh);
      last.set(id, n);
      put('insert', null, row(id, n, fresh), id, null);
    } else if (dice < 0.25) {
      rows.delete(id);
      put('delete', row(id, null, null), null, id, null);
    } else if (dice < 0.4 && !rows.has(to)) {
      rows.delete(id);
      rows.set(to, note);
      last.set(to, n);
      put('update', row(id, null, null), row(to, n, UNCHANGED), to, id);
    } else {
      const isSent = dice < 0.7;
      rows.set(id, isSent ? fresh : note);
      last.set(id, n);
      put('update', null, row(id, n, isSent ? fresh : UNCHANGED), id, null);
    }
  }
  const end = [...rows].sort(([a], [b]) => a - b).map(([id, note]) => [String(id), String(last.get(id)), note]);
  return { log, end };
}

/** The log as a connector sends it that is killed now and then, and goes on from where it was a while before. */
function sent(log: readonly ChangeEvent[], random: Random): ChangeEvent[][] {
  const batches: ChangeEvent[][] = [];
  for (let at = 0; at < log.length;) {
    const to = Math.min(log.length, at + 1 + random.below(40));
    batches.push(log.slice(at, to));
    at = to < log.length && random.chance(0.3) ? Math.max(0, to - random.below(60)) : to;
  }
  return batches;
}

/** Runs a lane to its end, again where two of them met in a deadlock. */
async function runLane(
  sink: PostgresSink,
  lane: LaneId,
  batches: readonly ChangeEvent[][],
  bad: ReadonlyMap<string, 'quarantine'> = new Map(),
): Promise<void> {
  const source = {
    name: lane,
    async *read(resume: (id: LaneId) => Promise<{ readonly checkpoint: { readonly position: Position } | null }>) {
      const { checkpoint } = await resume(lane);
      for (const [i, events] of batches.entries()) {
        const position = (i + 1).toString(16).padStart(16, '0') as Position;
        if (checkpoint === null || position > checkpoint.position) yield new Batch(events, { lane, position });
      }
    },
    acknowledge: () => Promise.resolve(),
    [Symbol.asyncDispose]: () => Promise.resolve(),
  };
  for (;;) {
    try {
      return await runPipeline({ source, stages: [gate(bad)], sink }, { drain: never, abort: never });
    } catch (error) {
      if (!(error instanceof PipelineError) || error.code !== 'TARGET_BUSY') throw error;
    }
  }
}

test.each(seeds)('seed %i: lanes that bring the same changes, some of them again, never show an older state of a row', async (seed) => {
  const random = new Random(seed);
  await using db = await fixture();
  const { log, end } = logOf(random, 600);
  const lanes = Array.from({ length: LANES }, (_, i) => ({ lane: `road${i}/0` as LaneId, batches: sent(log, random) }));
  await Promise.all(
    lanes.map(async ({ lane, batches }, i) => {
      await using sink = await db.sink(`road${i}`);
      await runLane(sink, lane, batches);
    }),
  );
  expect(await db.rows()).toEqual(end);
  const { rows: older } = await db.sql.query(
    'select * from (select *, max(n) over (partition by id order by seq rows between unbounded preceding and 1 preceding) as newest from shown) s where n <= newest',
  );
  expect(older).toEqual([]);
  await using sink = await db.sink('look');
  for (const { lane, ledger } of await sink.lanes()) {
    const { events, ...counts } = ledger;
    expect(
      Object.values(counts).reduce((sum, one) => sum + one, 0n),
      `the ledger of ${lane}`,
    ).toBe(events);
    expect(Number(events)).toBe(lanes.find((one) => one.lane === lane)?.batches.flat().length);
    expect(Number(ledger.stale)).toBeGreaterThan(0);
  }
});

const at = (version: number): string => version.toString(16).padStart(16, '0');
const LANE = 'road/0' as LaneId;

test('a row that is gone stays gone until it is forgotten, and a later history is newer wherever its log stands', async () => {
  await using db = await fixture();
  const gone = { ...insertOf(1, 2, at(20)), op: 'delete', before: encoded(1, null, null), after: null } as ChangeEvent;
  {
    await using sink = await db.sink('p');
    await runLane(sink, LANE, [[insertOf(1, 1, at(10)), insertOf(2, 1, at(11))], [gone], [insertOf(1, 1, at(10))]]);
    expect(await db.rows()).toEqual([['2', '1', 'x']]);
  }
  {
    await using sink = await db.sink('p', { rowVersions: { epoch: 1, keepMs: 3_600_000 } });
    await runLane(sink, LANE, [[], [], [], [insertOf(2, 5, at(3))]]);
    expect(await db.rows()).toEqual([['2', '5', 'x']]);
  }
  await db.sql.script("update tidegate.row_versions set changed_at = now() - interval '2 hours'");
  await using sink = await db.sink('p', { rowVersions: { epoch: 1, keepMs: 3_600_000 } });
  await runLane(sink, LANE, [[], [], [], [], [insertOf(1, 9, at(1))]]);
  expect((await db.sql.query('select key from tidegate.row_versions')).rows).toEqual([['1']]);
});

test('a truncate that is older than rows of the table is held; a table that is made anew knows nothing of the one before', async () => {
  await using db = await fixture();
  await using sink = await db.sink('p');
  const truncate = { ...insertOf(1, 2, at(5)), op: 'truncate', before: null, after: null, key: '' } as ChangeEvent;
  await runLane(sink, LANE, [[insertOf(1, 1, at(10))], [truncate]]);
  expect(await db.rows()).toEqual([['1', '1', 'x']]);
  expect((await sink.quarantine.find({ limit: 10 })).map(({ status, findings }) => [status, findings[0]?.rule])).toEqual([
    ['held', 'truncate.outrun'],
  ]);
  await db.sql.script('drop table shop.items; create table shop.items (id bigint primary key, n integer, note text)');
  await using anew = await db.sink('p');
  await runLane(anew, LANE, [[], [], [insertOf(1, 1, at(4))]]);
  expect(await db.rows()).toEqual([['1', '1', 'x']]);
});

test('what is released after a newer row came by another lane is superseded', async () => {
  await using db = await fixture();
  await using sink = await db.sink('p');
  const old = insertOf(1, 1, at(10));
  await runLane(sink, LANE, [[old]], new Map([[eventId(old), 'quarantine']]));
  await using other = await db.sink('q');
  await runLane(other, 'other/0' as LaneId, [[insertOf(1, 2, at(20))]]);
  const [item] = await sink.quarantine.find({ limit: 1 });
  await sink.quarantine.release([item?.id ?? ''], 'me');
  const drain = new AbortController();
  const replay = runPipeline(
    { source: replaySource({ log: sink.quarantine, lane: 'replay:p' as LaneId, batchRows: 7 }), stages: [], sink },
    { drain: drain.signal, abort: never },
  );
  await eventually(async () => (await sink.quarantine.find({ status: ['superseded'], limit: 1 })).length === 1, 'it is superseded');
  drain.abort();
  await replay;
  expect(await db.rows()).toEqual([['1', '2', 'x']]);
});
