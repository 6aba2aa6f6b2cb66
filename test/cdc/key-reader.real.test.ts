/** Rows asked for by their keys, while everything changes: the target gets them as they are, and never an older state after a newer one. */
import { expect, inject, test } from 'vitest';
import { readRequest, requestText } from '../../cdc/postgres/key-reader.ts';
import type { ChangeEvent } from '../../core/event.ts';
import { PgConnection, PgError } from '../../wire/postgres/connection.ts';
import { Random } from '../support/random.ts';
import { endOfLog, isCopying, Model, run, testDatabase, type TestDatabase } from './support.ts';

const server = inject('sourceServer');
const seeds = process.env['CDC_SEEDS'] === undefined ? [1, 2] : process.env['CDC_SEEDS'].split(',').map(Number);
const IDS = 60;

/** Every write of a row takes the next number of its own; large values are left out of most updates. */
function change(random: Random): string {
  const id = random.below(IDS);
  const dice = random.next();
  if (dice < 0.3) {
    return `insert into t values (${id}, nextval('v'), repeat('${String.fromCharCode(97 + random.below(26))}', 3000))
      on conflict (id) do update set v = excluded.v`;
  }
  if (dice < 0.6) return `update t set v = nextval('v') where id between ${id} and ${id + 5}`;
  if (dice < 0.75) return `delete from t where id = ${id}`;
  const to = random.below(IDS);
  return `update t set id = ${to}, v = nextval('v') where id = ${id} and not exists (select from t where id = ${to})`;
}

async function traffic(db: TestDatabase, random: Random, stop: AbortSignal): Promise<void> {
  await using sql = await PgConnection.connect({ url: db.url });
  while (!stop.aborted) {
    const changes = Array.from({ length: 1 + random.below(4) }, () => change(random));
    try {
      await sql.script(`begin; ${changes.join('; ')}; commit`);
    } catch (error) {
      if (!(error instanceof PgError)) throw error;
      await sql.script('rollback'); // Two of them in a deadlock, or with one key.
    }
  }
}

const ask = (db: TestDatabase, keys: readonly string[], table = 'public.t') =>
  db.sql.query('select pg_logical_emit_message(true, $1, $2)', [
    `tidegate.${db.slot}`,
    requestText({ table, keys: keys.map((key) => [key]) }),
  ]);

const rowsOf = async (db: TestDatabase): Promise<readonly string[]> =>
  (await db.sql.query(`select id || ' ' || v || ' ' || note from t`)).rows.map(([text]) => text ?? '').sort();
const modelRows = (model: Model): readonly string[] =>
  model
    .rows('shop.public.t')
    .map(({ id, v, note }) => `${String(id)} ${String(v)} ${String(note)}`)
    .sort();

test.each(seeds)('what the target lacks comes back, in the order of the log (seed %i)', async (seed) => {
  const random = new Random(seed);
  await using db = await testDatabase(
    server,
    `create sequence v; create table t (id int primary key, v bigint not null, note text); alter table t alter note set storage external`,
    `insert into t select n, nextval('v'), repeat('s', 3000) from generate_series(0, ${IDS - 1}, 2) n`,
  );
  const model = new Model();
  /** The table by the log alone: the number of each row. */
  const log = new Map<string, number>();
  let isCopied = false;
  const stop = new AbortController();
  const writing = [1, 2].map((n) => traffic(db, new Random(100 * seed + n), stop.signal));
  let batches = 0;
  let asked = 0;
  let end: string | null = null;
  const source = db.source({
    snapshot: { mode: 'initial', chunkRows: 20, parallel: 1 },
    batch: { rows: 10 + random.below(50), bytes: 16 << 20, ageMs: 0 },
  });
  try {
    await run(source, model, async (batch) => {
      for (const event of batch.events) {
        const wasAskedFor = batch.origin === 'snapshot' && isCopied;
        expect([seed, wasAskedFor ? asInLog(event, log) : bringLog(event, log)]).toEqual([seed, true]);
      }
      isCopied ||= !isCopying(model);
      batches++;
      if (end !== null) {
        // Requests of the end are met a moment later: an idle lane moves on, and is asked again.
        if (model.reachedLsn < end) return false;
        if (JSON.stringify(modelRows(model)) === JSON.stringify(await rowsOf(db))) return true;
        return false;
      }
      if (!isCopied || batches % 3 !== 0) return false;
      // Somebody meddles with the target, then asks for what is wrong, and for some that is not.
      const rows = model.tables.get('shop.public.t');
      const keys: string[] = [];
      for (let n = 1 + random.below(8); n > 0; n--) {
        const key = String(random.below(IDS + 5));
        keys.push(key);
        if (random.chance(0.4)) rows?.delete(key);
        else if (random.chance(0.7)) rows?.set(key, { id: Number(key), v: 0, note: 'meddled' });
      }
      await ask(db, keys);
      asked++;
      if (asked < 25) return false;
      stop.abort();
      await Promise.all(writing);
      // One whose update left cells out came to a row that was not there: all are asked for once more.
      await ask(
        db,
        Array.from({ length: IDS + 5 }, (_, id) => String(id)),
      );
      end = await endOfLog(db.sql);
      return false;
    });
  } finally {
    stop.abort();
    await Promise.all(writing);
  }
  expect(modelRows(model)).toEqual(await rowsOf(db));
  expect(model.eventsByOp['read']).toBeGreaterThan(IDS / 2);
});

function bringLog(event: ChangeEvent, log: Map<string, number>): boolean {
  if (event.movedFrom !== null) log.delete(event.movedFrom);
  if (event.after === null) log.delete(event.key);
  else log.set(event.key, Number(event.after.value(1)));
  return true;
}

/** What was asked for is at its place in the log what the log has made of it. */
function asInLog(event: ChangeEvent, log: ReadonlyMap<string, number>): boolean {
  return event.after === null ? !log.has(event.key) : log.get(event.key) === Number(event.after.value(1));
}

test('a request that cannot be met, or is none, leaves the lane as it is', async () => {
  await using db = await testDatabase(server, 'create table t (id int primary key, v int); create table done (id int primary key)');
  const model = new Model();
  const source = db.source({ tables: ['public.t', 'public.done'] });
  let begun = false;
  await run(source, model, async () => {
    if (!begun) {
      begun = true;
      await ask(db, ['no number']);
      await ask(db, ['1'], 'public.elsewhere');
      await db.sql.query('select pg_logical_emit_message(true, $1, $2)', [`tidegate.${db.slot}`, 'rows {']);
      await db.sql.script('insert into t values (1, 1)');
      await ask(db, ['1', '2']);
    }
    if (model.eventsByOp['read'] === 1 && model.eventsByOp['delete'] === 1)
      await db.sql.script('insert into done values (1) on conflict do nothing');
    return model.rows('shop.public.done').length === 1;
  });
  expect(model.rows('shop.public.t')).toEqual([{ id: 1, v: 1 }]);
  expect([readRequest('rows []'), readRequest('rows {"table":"a","keys":[[1]]}'), readRequest('low 1')]).toEqual([null, null, null]);
});
