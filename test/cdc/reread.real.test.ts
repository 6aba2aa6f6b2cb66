/** Rows that are read again beside a busy stream, all of a table or a part of it; and how fast, when, and how many at once rows are read. */
import { describe, expect, inject, test } from 'vitest';
import type { Batch } from '../../core/batch.ts';
import type { Checkpoint, DatasetName } from '../../core/event.ts';
import { requestText } from '../../cdc/postgres/key-reader.ts';
import { RereadRefused, type RereadRequest } from '../../cdc/postgres/reread.ts';
import type { PostgresSource } from '../../cdc/postgres/source.ts';
import { PgConnection } from '../../wire/postgres/connection.ts';
import { Random } from '../support/random.ts';
import { eventually } from '../support/eventually.ts';
import { catchUp, endOfLog, isCopying, Model, run, runAgain, sameAsTable, testDatabase } from './support.ts';

const server = inject('sourceServer');
const seeds = process.env['CDC_SEEDS'] === undefined ? [1, 2, 3] : process.env['CDC_SEEDS'].split(',').map(Number);
const DATASET = 'shop.public.t' as DatasetName;
const ROWS = 400;
const FOREVER = new AbortController().signal;

/** A table whose rows are mostly large ones, which updates leave out. */
const SETUP = [
  `create table t (id int primary key, n int not null, big text not null); alter table t alter big set storage external`,
  `insert into t select i, i, repeat('s', i % 90 * 60) from generate_series(1, ${ROWS}) i`,
];

/** A change of the table; keys move only where `moves`. */
function change(random: Random, moves: boolean): string {
  const id = 1 + random.below(ROWS + 20);
  const dice = random.next();
  if (dice < 0.3)
    return `insert into t values (${id}, ${random.below(1000)}, repeat('i', ${random.below(6000)})) on conflict (id) do update set n = excluded.n`;
  if (dice < 0.6) return `update t set n = n + 1 where id between ${id} and ${id + 9}`;
  if (dice < 0.8 || !moves) return `delete from t where id = ${id}`;
  const to = 1 + random.below(ROWS + 20);
  return `update t set id = ${to}, n = n + 1 where id = ${id} and not exists (select from t where id = ${to})`;
}

/** Takes rows away from the model, and changes others, among those that `isIn` says. */
function lose(model: Model, random: Random, isIn: (id: number) => boolean): void {
  for (const [key, row] of model.tables.get(DATASET) ?? []) {
    if (!isIn(Number(key)) || random.chance(0.4)) continue;
    const cells = model.cells.get(DATASET)?.get(key);
    if (random.chance(0.5)) {
      model.tables.get(DATASET)?.delete(key);
      model.cells.get(DATASET)?.delete(key);
    } else {
      row['n'] = -1;
      cells?.set('n', Buffer.from('lost'));
    }
  }
}

/** Which rows are lost and asked for. Keys are asked for of rows that are gone as well. */
const KINDS: Readonly<Record<string, { request: Omit<RereadRequest, 'dataset'>; isIn: (id: number) => boolean; moves: boolean }>> = {
  all: { request: { where: null, keys: null }, isIn: () => true, moves: true },
  where: { request: { where: 'id % 3 = 1 or t.id > 350 -- these', keys: null }, isIn: (id) => id % 3 === 1 || id > 350, moves: false },
  keys: {
    request: { where: null, keys: Array.from({ length: 100 }, (_, i) => [String(5 * i)]) },
    isIn: (id) => id % 5 === 0,
    moves: false,
  },
};

test.each(seeds)('rows read again under random changes and kills equal the table (seed %i)', async (seed) => {
  const random = new Random(seed);
  const kind = Object.values(KINDS)[seed % 3];
  if (kind === undefined) throw new Error('there are three kinds');
  await using db = await testDatabase(server, ...SETUP);
  const options = () => ({
    snapshot: { mode: 'initial' as const, chunkRows: 10 + random.below(40), parallel: 1 + random.below(3) },
    batch: { rows: 3 + random.below(40), bytes: random.chance(0.3) ? 20_000 : 16 << 20, ageMs: 0 },
  });
  const model = new Model();
  await catchUp(db.source(options()), model, db.sql);
  lose(model, random, kind.isIn);
  // A key without a row at the source that the target has: named by its key, it goes.
  await db.sql.script('delete from t where id in (395, 390)');
  await catchUp(db.source(options()), model, db.sql);
  if (kind.request.keys !== null) model.tables.get(DATASET)?.set('395', { id: 395, n: 0, big: '' });
  if (kind.request.keys !== null) model.cells.get(DATASET)?.set('395', new Map());

  let stopped = false;
  const writer = (async () => {
    await using sql = await PgConnection.connect({ url: db.url });
    for (let changes = 0; !stopped; changes++) {
      await sql.script(`begin; ${change(random, kind.moves)}; ${change(random, kind.moves)}; commit`);
      await eventually(() => stopped || changes < 40 + 3 * model.batches, 'the source keeps up', 60_000);
    }
  })();
  let id: string | null = null;
  let kills = 0;
  try {
    for (; id === null || isCopying(model); kills++) {
      const source: PostgresSource = db.source(options());
      const asking: Promise<unknown>[] = [];
      let batchesLeft = 1 + random.below(15 * (1 + kills));
      const until = async (): Promise<boolean> => {
        if (id === null && asking.length === 0)
          asking.push(source.reread({ dataset: DATASET, ...kind.request }, FOREVER).then((begun) => (id = begun)));
        return id !== null && (--batchesLeft <= 0 || !isCopying(model));
      };
      // What was begun is in a checkpoint: the process may be killed.
      await runAgain(source, model, until, random.chance(0.7) || id === null);
      await Promise.all(asking);
    }
  } finally {
    stopped = true;
    await writer;
  }
  await catchUp(db.source(options()), model, db.sql);
  await sameAsTable(model, db, 't');
  expect(kills).toBeGreaterThan(1);
});

/** Runs until the end of the log and what is read beside it, with something done once it runs. */
async function runWith(source: PostgresSource, model: Model, work: () => Promise<unknown>): Promise<void> {
  const stop = new AbortController();
  const reading = (async () => {
    for await (const batch of source.read(async (lane) => model.lease(lane), stop.signal)) await source.acknowledge(model.apply(batch));
  })();
  try {
    await eventually(() => ['streaming', 'snapshot'].includes(source.status().state), 'the lane runs', 20_000);
    await work();
  } finally {
    stop.abort();
    await reading;
  }
}

describe('a request', () => {
  test('that the source cannot read is told to who asks, in its own words', async () => {
    await using db = await testDatabase(server, ...SETUP);
    const source = db.source();
    const refusal = async (request: Partial<RereadRequest>): Promise<string> => {
      const outcome = source.reread({ dataset: DATASET, where: null, keys: null, ...request }, FOREVER);
      return outcome.then(String, (error: unknown) => (error instanceof RereadRefused ? error.message : String(error)));
    };
    await runWith(source, new Model(), async () => {
      expect(await refusal({ where: 'amount > 3' })).toMatch(/column "amount" does not exist/);
      expect(await refusal({ where: 'id = = 3' })).toMatch(/syntax error at or near "="/);
      expect(await refusal({ where: 'id' })).toMatch(/must be type boolean/);
      for (const where of [
        'true) or (true',
        'true; drop table t',
        'true order by 1',
        'select true',
        'true /*',
        "'x",
        '',
        'true limit 1',
        'id = $1',
      ])
        expect(await refusal({ where })).toMatch(/does not understand the condition/);
      expect(await refusal({ keys: [['1'], ['one']] })).toMatch(
        /does not understand a key: a value cannot be read as the type of its column \(22P02\)$/,
      );
      expect(await refusal({ keys: [['1', '2']] })).toMatch(/the key of public\.t is \(id\)/);
      expect(await refusal({ dataset: 'shop.public.u' as DatasetName })).toMatch(/no dataset/);
      expect(source.rereads()).toEqual([]);
    });
    expect(await refusal({})).toMatch(/does not read its source/);
  });

  test('that fails on a row is given up, and the lane goes on', async () => {
    await using db = await testDatabase(server, ...SETUP);
    const model = new Model();
    const source = db.source();
    await runWith(source, model, async () => {
      const id = await source.reread({ dataset: DATASET, where: '100 / (n - 300) < 1000', keys: null }, FOREVER);
      await eventually(() => source.rereads().some((one) => one.id === id && one.state === 'failed'), 'it is given up');
      expect(source.rereads()[0]?.problem).toMatch(/22012/);
      await db.sql.script(`update t set n = 1000 where id = 7`);
      await eventually(() => model.eventsByOp['update'] === 1, 'the lane goes on');
      expect(isCopying(model)).toBe(false);
    });
  });

  test('that is taken back before a checkpoint has it is not told of as done', async () => {
    await using db = await testDatabase(server, ...SETUP);
    const model = new Model();
    const source = db.source();
    const stop = new AbortController();
    const asker = new AbortController();
    const left: Checkpoint[] = [];
    const outcomes: Promise<unknown>[] = [];
    for await (const batch of source.read(async (lane) => model.lease(lane), stop.signal)) {
      left.push(model.apply(batch));
      if (model.batches === 1) await db.sql.script('update t set n = 0 where id = 1');
      const isAsked = outcomes.length > 0;
      if (model.eventsByOp['update'] === 1 && !isAsked)
        outcomes.push(source.reread({ dataset: DATASET, where: 'true', keys: null }, asker.signal).catch((error: unknown) => error));
      if (isCopying(model)) asker.abort(new Error('taken back'));
      if (!asker.signal.aborted || isCopying(model)) continue;
      for (const checkpoint of left) await source.acknowledge(checkpoint);
      stop.abort();
    }
    expect(await Promise.all(outcomes)).toEqual([new Error('taken back')]);
    expect(source.rereads()).toEqual([]);
  });

  test('may read, and nothing else', async () => {
    await using db = await testDatabase(
      server,
      ...SETUP,
      `create table seen (id int); create function note(int) returns bool language sql as 'insert into public.seen values ($1) returning true'`,
    );
    const source = db.source();
    await runWith(source, new Model(), async () => {
      const id = await source.reread({ dataset: DATASET, where: 'public.note(id)', keys: null }, FOREVER);
      await eventually(() => source.rereads().some((one) => one.id === id && one.state === 'failed'), 'it is given up');
    });
    expect((await db.sql.query('select count(*) from seen')).rows).toEqual([['0']]);
  });
});

test('while it is paused nothing is read but what is asked for by its key, over restarts; then all of it', async () => {
  await using db = await testDatabase(server, ...SETUP);
  const model = new Model();
  const options = { snapshot: { mode: 'initial' as const, chunkRows: 50, parallel: 2 } };
  for (let restart = 0; restart < 2; restart++) {
    const source = db.source(options);
    source.pauseSnapshot();
    await runWith(source, model, async () => {
      await db.sql.query('select pg_logical_emit_message(true, $1, $2)', [
        `tidegate.${db.slot}`,
        requestText({ table: 'public.t', keys: [[String(restart + 1)]] }),
      ]);
      await eventually(() => model.eventsByOp['read'] === restart + 1, 'the row is there');
      const end = await endOfLog(db.sql);
      await eventually(() => model.reachedLsn > end, 'the lane goes on');
      expect(source.snapshotWait()).toBe('paused');
      expect(source.progress()[0]).toMatchObject({ rowsDone: 0 });
    });
  }
  expect(model.eventsByOp['read']).toBe(2);
  const source = db.source(options);
  source.pauseSnapshot();
  await runWith(source, model, async () => {
    source.resumeSnapshot();
    await eventually(() => !isCopying(model), 'the rest is copied', 20_000);
    expect(source.snapshotWait()).toBeNull();
  });
  await sameAsTable(model, db, 't');
});

test('a table whose rows are read again is read at the pace of that after a restart as well', async () => {
  await using db = await testDatabase(server, ...SETUP);
  const model = new Model();
  const snapshot = { mode: 'initial' as const, chunkRows: 50, parallel: 1 };
  await catchUp(db.source({ snapshot }), model, db.sql);
  const slow = () => db.source({ snapshot: { ...snapshot, rereadRows: 20 } });
  const [first, restarted] = [slow(), slow()];
  await runWith(first, model, async () => {
    await eventually(() => first.readAgain(DATASET), 'it is asked for');
    await eventually(() => isCopying(model), 'a checkpoint says so');
  });
  await runWith(restarted, model, () => eventually(() => restarted.snapshotWait() === 'rate', 'it waits for its rate'));
  expect(isCopying(model)).toBe(true);
  await catchUp(db.source({ snapshot }), model, db.sql);
  await sameAsTable(model, db, 't');
});

test('no chunk is read while too many sessions of others are at work', async () => {
  await using db = await testDatabase(server, ...SETUP);
  const busySessions = 15;
  await using holder = await PgConnection.connect({ url: db.url });
  await holder.script('select pg_advisory_lock(1)');
  const others = await Promise.all(Array.from({ length: busySessions }, () => PgConnection.connect({ url: db.url })));
  const work = others.map((sql) => sql.script('select pg_advisory_lock_shared(1)'));
  const model = new Model();
  const source = db.source({ snapshot: { mode: 'initial', chunkRows: 50, parallel: 2, busySessions } });
  await runWith(source, model, async () => {
    await eventually(() => source.snapshotWait() === 'busy', 'it yields');
    await db.sql.script('update t set n = 0 where id = 1');
    await eventually(() => model.eventsByOp['update'] === 1, 'the lane goes on');
    expect(model.eventsByOp['read']).toBeUndefined();
    await holder.script('select pg_advisory_unlock(1)');
    await Promise.all(work);
    await eventually(() => !isCopying(model), 'the table is copied', 20_000);
  });
  await Promise.all(others.map((sql) => sql.close()));
  await sameAsTable(model, db, 't');
});

test.each([1, 2])('so many tables are read at once as are allowed: %i', async (parallel) => {
  await using db = await testDatabase(
    server,
    ...['t', 'u', 'v'].flatMap((table) => [
      `create table ${table} (id int primary key)`,
      `insert into ${table} select generate_series(1, 3000)`,
    ]),
  );
  const model = new Model();
  const order: string[] = [];
  const tables = ['public.t', 'public.u', 'public.v'];
  const source = db.source({ tables, snapshot: { mode: 'initial', chunkRows: 40, parallel } });
  await run(source, model, (batch: Batch) => {
    const dataset = batch.events[0]?.dataset.name;
    if (dataset !== undefined && dataset !== order.at(-1)) order.push(dataset);
    return !isCopying(model);
  });
  expect(model.eventsByOp).toEqual({ read: 9000 });
  if (parallel === 1) expect(order).toEqual(['shop.public.t', 'shop.public.u', 'shop.public.v']);
  else expect(order.length).toBeGreaterThan(10);
});
