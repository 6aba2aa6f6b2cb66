/** Batches that are written at the same time: whoever reads the target sees the lane's order, whatever happens to the sessions that write. */
import { expect, inject, test } from 'vitest';
import type { Batch } from '../../core/batch.ts';
import { PipelineError } from '../../core/errors.ts';
import type { ChangeEvent } from '../../core/event.ts';
import { runPipeline } from '../../core/pipeline.ts';
import type { PostgresSink, PostgresSinkOptions } from '../../sync/postgres/sink.ts';
import { PgConnection } from '../../wire/postgres/connection.ts';
import { createDatabase } from '../support/databases.ts';
import { eventually } from '../support/eventually.ts';
import { Random } from '../support/random.ts';
import { batchOf, batchSource, gate, insertOf, LANE, Shop } from './shop.ts';
import { sinkOf } from './store.ts';

const server = inject('targetServer');
const never = new AbortController().signal;
const seeds = process.env['SYNC_SEEDS']?.split(',').map(Number) ?? [1, 2, 3];
const TABLE = 'create schema shop; create table shop.items (id bigint primary key, n integer, note text)';
const WORKERS = `from pg_stat_activity where datname = current_database() and application_name = 'tidegate p worker'`;
const PARKED = `select pid ${WORKERS} and state = 'idle in transaction'`;

const open = (url: string, more: Partial<PostgresSinkOptions> = {}): Promise<PostgresSink> => sinkOf(url, { besideRowsMin: 1, ...more });

const run = (sink: PostgresSink, batches: readonly Batch[]): Promise<void> =>
  runPipeline({ source: batchSource(batches), stages: [gate(new Map())], sink }, { drain: never, abort: never });

/** Batches anew: what was marked in a run that failed is not. */
function batchesOf(shop: Shop, count: number, each: number): { readonly make: () => Batch[]; readonly after: ReadonlyMap<string, string> } {
  const parts = Array.from({ length: count }, () => {
    const events = Array.from({ length: each }, () => shop.transaction()).flat();
    const rows = [...shop.rows.values()];
    const sum = (column: 0 | 1): number => rows.reduce((total, row) => total + (row[column] ?? 0), 0);
    return { events, place: shop.place, digest: `${rows.length} ${sum(0)} ${sum(1)}` };
  });
  return {
    make: () => parts.map(({ events, place }) => batchOf(events, place)),
    after: new Map(parts.map(({ place, digest }) => [place, digest])),
  };
}

test.each(seeds)(
  'seed %i: every state that can be seen is one of the lane’s own, though sessions are ended in the middle of their work',
  async (seed) => {
    const random = new Random(seed);
    await using database = await createDatabase(server, 'workers');
    await using sql = await PgConnection.connect({ url: database.url });
    await sql.script(TABLE);
    const { make, after } = batchesOf(new Shop(random, 'encoded', { moves: true, partial: false, truncates: true, keys: 1500 }), 150, 8);
    let isDone = false;
    const seen = new Set<string>();
    const wrong: string[] = [];
    const watch = async (): Promise<void> => {
      await using reader = await PgConnection.connect({ url: database.url });
      while (!isDone) {
        const { rows } = await reader.query(
          `select l.position, count(i.id) || ' ' || coalesce(sum(i.id), 0) || ' ' || coalesce(sum(i.n), 0) from tidegate.lanes l left join shop.items i on true group by 1`,
        );
        const [place = null, digest] = rows[0] ?? [];
        if (place !== null && after.get(place) !== digest) wrong.push(`${place}: ${digest} and not ${after.get(place)}`);
        if (place !== null) seen.add(place);
        if (random.chance(0.02)) await reader.query(`select pg_terminate_backend(pid) ${WORKERS} order by random() limit 1`);
      }
    };
    await (await open(database.url))[Symbol.asyncDispose](); // Makes what the watcher looks at.
    const watching = watch();
    try {
      for (let runs = 0; ; runs++) {
        await using sink = await open(database.url);
        try {
          await run(sink, make());
          break;
        } catch (error) {
          // One that was ended while it committed: nobody knows what became of that, and the lane goes on from its checkpoint.
          if (!(error instanceof PipelineError) || error.code !== 'TARGET_UNREACHABLE' || runs > 100) throw error;
        }
      }
    } finally {
      isDone = true;
      await watching;
    }
    expect(wrong).toEqual([]);
    expect(seen.size).toBeGreaterThan(5);
    const { rows } = await sql.query(`select count(*) || ' ' || sum(id) || ' ' || coalesce(sum(n), 0) from shop.items`);
    expect(rows[0]?.[0]).toBe([...after.values()].at(-1));
  },
);

const place = (n: number): string => String(n).padStart(16, '0');
const rowsFrom = (n: number, first: number): Batch =>
  batchOf(
    Array.from({ length: 30 }, (_, i) => ({ ...insertOf(first + i, n, place(n), i), op: 'update' }) as ChangeEvent), // New rows of a log go one batch after the other.
    place(n) as Batch['checkpoint']['position'],
  );

/** The first batches make what the workers know; then somebody keeps a row that the second last one writes. */
async function withLockedRow(
  work: (parts: { sql: PgConnection; url: string; sink: PostgresSink; ended: Promise<void>; unlock: () => Promise<void> }) => Promise<void>,
): Promise<void> {
  await using database = await createDatabase(server, 'workers');
  await using sql = await PgConnection.connect({ url: database.url });
  await using other = await PgConnection.connect({ url: database.url });
  await sql.script(TABLE);
  await using sink = await open(database.url);
  await run(sink, [rowsFrom(1, 100), rowsFrom(2, 200), rowsFrom(3, 300)]);
  // Workers are opened by the first who could use one, and learn from the next. One that still learns would leave both batches below to the other.
  let n = 3;
  await eventually(async () => {
    const batches = Array.from({ length: 6 }, () => rowsFrom(++n, n * 100));
    await run(sink, batches);
    return (await sql.query(`select 1 ${WORKERS} and state = 'idle' and query = 'commit'`)).rows.length === 2;
  }, 'two workers have written');
  await other.script(`begin; insert into shop.items values (${(n + 1) * 100}, 0, 'mine')`);
  const ended = run(sink, [rowsFrom(n + 1, (n + 1) * 100), rowsFrom(n + 2, (n + 2) * 100)]);
  ended.catch(() => {}); // Read by the test.
  await work({ sql, url: database.url, sink, ended, unlock: async () => void (await other.script('rollback')) });
}

test('a batch is written while the one before it waits for a lock, and is seen behind it only', async () => {
  await withLockedRow(async ({ sql, ended, unlock }) => {
    const before = (await sql.query('select position, (select count(*) from shop.items) from tidegate.lanes')).rows;
    await eventually(async () => (await sql.query(PARKED)).rows.length === 1, 'a worker waits with its rows written');
    expect((await sql.query('select position, (select count(*) from shop.items) from tidegate.lanes')).rows).toEqual(before);
    await unlock();
    await ended;
    expect((await sql.query('select count(*) from shop.items')).rows[0]?.[0]).toBe(String(Number(before[0]?.[1]) + 60));
  });
});

test('a worker that is ended while it waits is missed by nobody', async () => {
  await withLockedRow(async ({ sql, ended, unlock }) => {
    const count = Number((await sql.query('select count(*) from shop.items')).rows[0]?.[0]);
    await eventually(async () => (await sql.query(PARKED)).rows.length === 1, 'a worker waits with its rows written');
    await sql.query(`select pg_terminate_backend(pid) from (${PARKED}) p`);
    await eventually(async () => (await sql.query(PARKED)).rows.length === 0, 'it is gone');
    await unlock();
    await ended;
    expect((await sql.query('select count(*) from shop.items')).rows[0]?.[0]).toBe(String(count + 60));
  });
});

test('who takes the lane over ends workers that hang in a transaction', async () => {
  await withLockedRow(async ({ sql, url, ended, unlock }) => {
    await eventually(
      async () => (await sql.query(`${PARKED} and state_change < clock_timestamp() - interval '1 second'`)).rows.length === 1,
      'a worker has waited for a second',
    );
    await using other = await open(url);
    await other.acquire(LANE);
    await eventually(async () => (await sql.query(PARKED)).rows.length === 0, 'it is gone');
    await unlock();
    await expect(ended).rejects.toThrow();
  });
});

const TIED: readonly (readonly [string, string])[] = [
  ['another unique index', 'create unique index on shop.items (note, id)'],
  [
    'a trigger',
    `create function f() returns trigger language plpgsql as 'begin return new; end'; create trigger t before insert on shop.items for each row execute function f()`,
  ],
  ['a foreign key', 'create table shop.others (item bigint references shop.items)'],
  ['a key whose values have several texts', 'alter table shop.items alter id type numeric'],
];

test.each(TIED)('with %s, no batch is written beside another', async (_, script) => {
  await using database = await createDatabase(server, 'workers');
  await using sql = await PgConnection.connect({ url: database.url });
  await sql.script(`${TABLE}; ${script}`);
  await using sink = await open(database.url);
  await run(
    sink,
    Array.from({ length: 20 }, (__, n) => rowsFrom(n + 1, n * 100)),
  );
  expect((await sql.query('select count(*) from shop.items')).rows[0]?.[0]).toBe('600');
  expect((await sql.query(`select 1 ${WORKERS}`)).rows).toEqual([]);
});
