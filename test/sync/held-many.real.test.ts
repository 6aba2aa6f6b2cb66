/** What batches cost the target while much is held, by its own statistics: as much as they touch, however many items are open. */
import { expect, inject, test } from 'vitest';
import type { Batch } from '../../core/batch.ts';
import { type ChangeEvent, eventId, type LaneId, type Position, type Version } from '../../core/event.ts';
import { runPipeline } from '../../core/pipeline.ts';
import type { PostgresSink } from '../../sync/postgres/sink.ts';
import { PgConnection } from '../../wire/postgres/connection.ts';
import { createDatabase } from '../support/databases.ts';
import { eventually } from '../support/eventually.ts';
import { replayReleased } from '../support/replay.ts';
import { batchOf, batchSource, DATASET, encoded, failing, insertOf, LANE } from './shop.ts';
import { sinkOf } from './store.ts';

const REPLAY = 'replay:p' as LaneId;
const never = new AbortController().signal;
const hex = (n: number): string => n.toString(16).padStart(16, '0');

/** The `n`th change of the source. */
const update = (n: number, id: number, from = id): ChangeEvent =>
  ({
    op: 'update',
    dataset: DATASET,
    before: from === id ? null : encoded(from, null, null),
    after: encoded(id, n, 'x'),
    key: String(id),
    movedFrom: from === id ? null : String(from),
    version: hex(n) as Version,
    ordinal: 0,
    committedAtMs: 0,
  }) as ChangeEvent; // An encoded row is a row.

const among = (events: readonly ChangeEvent[]): ((event: ChangeEvent) => boolean) => {
  const ids = new Set(events.map(eventId));
  return (event) => ids.has(eventId(event));
};

/** How the items that are open hang together: the first change is held, and all that come later wait for it. */
const SHAPES = {
  'one row that changes': (n: number) => update(n, 1),
  'a row that moves on and on': (n: number) => update(n, n, n - 1),
  'rows that move to one key and on': (n: number) => (n % 2 === 0 ? update(n, 1, n - 1) : update(n, n, 1)),
} as const;

interface World extends AsyncDisposable {
  readonly url: string;
  readonly sql: PgConnection;
  run(events: readonly ChangeEvent[], rows: number, bad?: readonly ChangeEvent[]): Promise<number>;
  read(work: (sink: PostgresSink) => Promise<unknown>): Promise<number>;
  statuses(): Promise<string>;
}

async function world(): Promise<World> {
  const database = await createDatabase(inject('targetServer'), 'many');
  const { url } = database;
  const sql = await PgConnection.connect({ url });
  await sql.script('create table heard ()');
  const open = (): Promise<PostgresSink> => sinkOf(url, { tables: { create: true, widen: false }, hold: () => 'key' });
  const reads = async (): Promise<number> => {
    // Its sessions have told of all that they read when they are gone; servers before PostgreSQL 15 have heard it when they hear of what was read after that.
    const gone = 'select 1 from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()';
    await eventually(async () => (await sql.query(gone)).rows.length === 0, 'the sessions have ended');
    const heard = async (): Promise<number> =>
      Number((await sql.query("select seq_scan from pg_stat_user_tables where relname = 'heard'")).rows[0]?.[0] ?? 0);
    const before = await heard();
    {
      await using session = await PgConnection.connect({ url });
      await session.query('select from heard');
    }
    await eventually(async () => (await heard()) > before, 'what was read is known');
    const { rows } = await sql.query(
      `select (select coalesce(sum(seq_tup_read), 0) from pg_stat_user_tables where relid = 'tidegate.quarantine'::regclass)
         + (select coalesce(sum(idx_tup_read), 0) from pg_stat_user_indexes where relid = 'tidegate.quarantine'::regclass)`,
    );
    return Number(rows[0]?.[0]);
  };
  let known = 0;
  const read = async (work: (sink: PostgresSink) => Promise<unknown>): Promise<number> => {
    {
      await using sink = await open();
      await work(sink);
    }
    const before = known;
    known = await reads();
    return known - before;
  };
  return {
    url,
    sql,
    read,
    run: (events, rows, bad = []) => {
      const batches: Batch[] = [];
      for (let at = 0; at < events.length; at += rows) {
        const some = events.slice(at, at + rows);
        batches.push(batchOf(some, (some.at(-1)?.version ?? '') as string as Position));
      }
      return read((sink) =>
        runPipeline({ source: batchSource(batches), stages: [failing(among(bad))], sink }, { drain: never, abort: never }),
      );
    },
    statuses: async () =>
      (await sql.query('select status, count(*) from tidegate.quarantine group by 1 order by 1')).rows
        .map(([status, count]) => `${status} ${count}`)
        .join(', '),
    async [Symbol.asyncDispose]() {
      await sql.close();
      await database[Symbol.asyncDispose]();
    },
  };
}

const SIZES = (process.env['HELD_SIZES'] ?? '300,1500').split(',').map(Number);
const MORE = 20;
/** Rows and entries of indices that may be read for each item that is put in line, settled, or waits again. */
const READ_EACH = 60;

test.each(Object.keys(SHAPES) as (keyof typeof SHAPES)[])(
  '%s: nothing is read of what a batch does not touch, and what is freed is read once',
  { timeout: 120_000 + 60 * Math.max(...SIZES) },
  async (name) => {
    const batches: number[] = [];
    for (const size of SIZES) {
      await using at = await world();
      const [first, all, next] = [insertOf(1, 0, hex(1)), size + MORE + 1, SHAPES[name]];
      const told: string[] = [`${name}, ${size} items`];
      /** What it reads for each item. */
      const step = async (what: string, work: () => Promise<number>, statuses: string): Promise<number> => {
        const started = performance.now();
        const read = await work();
        told.push(`${what}: ${read} read, ${Math.round(performance.now() - started)} ms`);
        expect(await at.statuses(), `after ${what}`).toBe(statuses);
        return read / all;
      };
      const replay = (bad: readonly ChangeEvent[]) =>
        at.read((sink) => replayReleased(sink, { lane: REPLAY, stages: [failing(among(bad))], batchRows: 100 }));
      const some = (from: number, count: number) => Array.from({ length: count }, (_, i) => next(from + i));

      await at.run([first, ...some(2, size)], 500, [first]);
      const touched = await step('batches', () => at.run(some(size + 2, MORE), 1), `held 1, waiting ${all - 1}`);
      batches.push(touched * all);
      const ids = [eventId(first)];
      const released = () => at.read(({ quarantine }) => quarantine.release(ids, 'me'));
      const discarded = () => at.read(({ quarantine }) => quarantine.discard(ids, 'me', 'it is wrong'));
      const each = [
        await step('release', released, `released ${all}`),
        await step('held again', () => replay([first]), `held 1, waiting ${all - 1}`),
        await step('discard', discarded, `discarded 1, released ${all - 1}`),
        await step('replay', () => replay([]), `applied ${all - 1}, discarded 1`),
      ];
      if (process.env['HELD_SIZES'] !== undefined) process.stderr.write(`${told.join('\n  ')}\n`);
      expect(Math.max(...each), `reads for each: ${told.join('\n')}`).toBeLessThan(READ_EACH);
      expect((await at.sql.query('select from tidegate.held_keys')).rows).toEqual([]);
    }
    expect(Math.max(...batches), `${batches.join(' and ')} with ${SIZES.join(' and ')} open`).toBeLessThan(2 * Math.min(...batches));
  },
);

test('many items are changed at once as fast after few as at first', async () => {
  await using at = await world();
  const count = 6000;
  await at.run([insertOf(1, 0, hex(1))], 1, [insertOf(1, 0, hex(1))]);
  const columns = 'pipeline, lane, dataset, version, op, event, row_json, findings, rules, hold, status';
  await at.sql.query(
    `insert into tidegate.quarantine (id, key, ${columns}) select i, i, ${columns} from tidegate.quarantine, generate_series(1, ${count}) i`,
  );
  const { url } = at;
  const change = async (before: string): Promise<number> => {
    await using session = await PgConnection.connect({ url });
    await session.query(before);
    const started = performance.now();
    await session.query(`update tidegate.quarantine set by_whom = 'me'`);
    return performance.now() - started;
  };
  const fresh = await change('select');
  expect(await change(`update tidegate.quarantine set by_whom = 'me' where id = '1'`)).toBeLessThan(10 * fresh + 100);
});

test('a lot that is more than goes at once is read once', async () => {
  await using at = await world();
  const count = 200_000;
  await at.run([insertOf(1, 0, hex(1))], 1, [insertOf(1, 0, hex(1))]);
  const columns = 'pipeline, lane, dataset, op, event, row_json, findings, rules, hold';
  await at.sql.query(
    `insert into tidegate.quarantine (id, key, version, ${columns}, status, quiet, lot_starts, lot_ends, released_seq)
     select i, i, lpad(to_hex(i + 1), 16, '0'), ${columns}, 'released', true, 0, 10000, i from tidegate.quarantine, generate_series(1, ${count}) i`,
  );
  let found = 0;
  const read = await at.read(async ({ quarantine }) => {
    for (let after = 0n; ;) {
      const some = await quarantine.releasedAfter(after, 100);
      const last = some.at(-1);
      if (last === undefined) return;
      expect([some[0]?.seq, last.seq]).toEqual([after + 1n, after + BigInt(some.length)]);
      found += some.length;
      after = last.seq;
    }
  });
  expect(found).toBe(count);
  expect(read).toBeLessThan(1.2 * count);
});

test('what waits behind an item under a key that it turns out not to have is free', async () => {
  await using at = await world();
  const events = [insertOf(1, 0, hex(1)), update(2, 1)];
  await at.run(events, 1, events.slice(0, 1));
  expect(await at.statuses()).toBe('held 1, waiting 1');
  await at.sql.query(
    "update tidegate.quarantine set status = 'released', released_seq = nextval('tidegate.releases') where status = 'held'",
  );
  await at.read(async ({ quarantine }) => {
    const [first] = await quarantine.releasedAfter(0n, 10);
    if (first === undefined) throw new Error('nothing is in line');
    const place = { lane: LANE, lanes: LANE, readLater: () => Promise.resolve([]) };
    expect(await quarantine.become(first.item, insertOf(5, 0, hex(1)), place)).toEqual({ kind: 'became' });
  });
  const { rows } = await at.sql.query('select key, status from tidegate.quarantine order by key');
  expect(rows).toEqual([
    ['1', 'released'],
    ['5', 'released'],
  ]);
});
