/** Lanes whose positions are long, for they name many tables: these are not written with every checkpoint, and never lost. */
import { readFile } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { Batch } from '../../core/batch.ts';
import type { Lease } from '../../core/contracts.ts';
import type { Position } from '../../core/event.ts';
import { fromLsnNumber } from '../../core/position.ts';
import { inLog, parsePlace, placeText, snapshotMark } from '../../cdc/postgres/lane-position.ts';
import type { PostgresSink } from '../../sync/postgres/sink.ts';
import { TargetRows } from '../../sync/postgres/target-rows.ts';
import type { PgConnection } from '../../wire/postgres/connection.ts';
import { insertOf, LANE } from './shop.ts';
import { type Fixture, fixture } from './store.ts';

const never = new AbortController().signal;

/** After the commit that ends there, in a lane of so many tables. */
function place(lsn: number, tables: number, step = 7): Position {
  const copied = Array.from({ length: tables }, (_, i) => ({ table: `public.t${i}`, rowsDone: 1, last: null, done: true, entry: '5' }));
  const last = { commit: fromLsnNumber(BigInt(lsn - 1)), xid: lsn, atMs: lsn };
  return inLog(placeText(fromLsnNumber(BigInt(lsn)), snapshotMark(step, copied)), { timeline: 1, system: fromLsnNumber(9n), last });
}

/** One row, from where the lane stands. */
function batch(after: Position | null, position: Position): Batch {
  const lsn = Number.parseInt(position.slice(0, 16), 16);
  const made = new Batch([insertOf(lsn, lsn, fromLsnNumber(BigInt(lsn)))], { lane: LANE, position });
  made.after = after;
  return made;
}

async function apply(sink: PostgresSink, lease: Lease, after: Position | null, position: Position): Promise<void> {
  expect((await sink.apply(batch(after, position), [], lease, never)).kind).toBe('applied');
}

/** Where the lane is, as everybody who asks is told. */
async function everybody(sink: PostgresSink, db: Fixture): Promise<readonly (Position | null | undefined)[]> {
  await using target = await TargetRows.open({ name: 'store', pipeline: 'p', url: db.url, schema: 'shop' }, never);
  const told = [await target.position(LANE), (await target.positions(LANE)).get(LANE)];
  return [...told, (await sink.lanes()).find(({ lane }) => lane === LANE)?.position];
}

/** What is kept outside of the lanes' rows, as it was written. */
async function writtenApart(sql: PgConnection): Promise<readonly unknown[]> {
  const [[toast]] = (await sql.query(`select reltoastrelid::regclass::text from pg_class where oid = 'tidegate.lanes'::regclass`)).rows as [
    [string],
  ];
  return (await sql.query(`select distinct chunk_id, xmin::text from ${toast} order by 1`)).rows;
}

/** As earlier versions left it: the whole position in one column. */
const inOne = (sql: PgConnection, position: Position) =>
  sql.query('update tidegate.lanes set position = $1, position_long = null', [position]);

test('a batch writes the tables of its lane where they are others', async () => {
  await using db = await fixture();
  await using sink = await db.sink();
  const lease = await sink.acquire(LANE);
  await apply(sink, lease, null, place(100, 500));
  const first = await writtenApart(db.sql);
  expect(first).toHaveLength(1);
  let after = place(100, 500);
  for (let lsn = 101; lsn < 110; lsn++) {
    await apply(sink, lease, after, place(lsn, 500));
    after = place(lsn, 500);
  }
  expect(await writtenApart(db.sql)).toEqual(first);
  expect(await everybody(sink, db)).toEqual([after, after, after]);
  for (const [lsn, tables] of [
    [110, 501],
    [111, 3],
    [112, 3],
    [113, 600],
    [114, 0],
  ] as const) {
    const next = place(lsn, tables, 8 + lsn);
    await apply(sink, lease, after, next);
    expect(await everybody(sink, db), `${tables} tables`).toEqual([next, next, next]);
    after = next;
  }
  expect((await db.sql.query('select position, position_long from tidegate.lanes')).rows).toEqual([[after, null]]);
  expect((await db.rows()).length).toBe(15);
});

test('a batch is taken only where the lane stands, whatever tables it has there', async () => {
  await using db = await fixture();
  await using sink = await db.sink();
  const lease = await sink.acquire(LANE);
  await apply(sink, lease, null, place(100, 500));
  for (const elsewhere of [null, place(99, 500), place(100, 501), place(100, 3)])
    await expect(sink.apply(batch(elsewhere, place(101, 500)), [], lease, never)).rejects.toThrow();
  await using again = await db.sink();
  expect((await again.acquire(LANE)).checkpoint?.position).toBe(place(100, 500));
  // The older lease is fenced off.
  await expect(sink.apply(batch(place(100, 500), place(101, 500)), [], lease, never)).rejects.toMatchObject({ code: 'LEASE_LOST' });
  expect((await db.rows()).length).toBe(1);
});

test('a lane that an earlier version has left goes on where it stood', async () => {
  await using db = await fixture();
  await using sink = await db.sink();
  await apply(sink, await sink.acquire(LANE), null, place(100, 500));
  await inOne(db.sql, place(200, 500));
  expect(await everybody(sink, db)).toEqual(Array.from({ length: 3 }, () => place(200, 500)));
  const lease = await sink.acquire(LANE);
  expect(lease.checkpoint?.position).toBe(place(200, 500));
  const [[kept]] = (await db.sql.query('select position from tidegate.lanes')).rows as [[string]];
  expect(kept.length).toBeLessThan(256);
  expect(await everybody(sink, db)).toEqual(Array.from({ length: 3 }, () => place(200, 500)));
  await apply(sink, lease, place(200, 500), place(201, 500));
  expect(await everybody(sink, db)).toEqual(Array.from({ length: 3 }, () => place(201, 500)));
});

test('an earlier version that is at work while this one comes moves its lane on, and stops at what this one has left', async () => {
  await using db = await fixture();
  await using sink = await db.sink();
  const lease = await sink.acquire(LANE);
  const advance = (from: Position | null, to: Position) =>
    db.sql.query(`select tidegate.advance($1, $2, $3, '{1,1,0,0,0,0,0,0}', $4)`, [LANE, lease.epoch, to, from]);
  await advance(null, place(100, 500));
  await advance(place(100, 500), place(101, 501));
  expect(await everybody(sink, db)).toEqual(Array.from({ length: 3 }, () => place(101, 501)));
  const next = await sink.acquire(LANE);
  expect(next.checkpoint?.position).toBe(place(101, 501));
  await expect(advance(place(101, 501), place(102, 501))).rejects.toMatchObject({ code: 'TG001' });
  // What it would read when it takes the lane over again.
  const [[kept]] = (await db.sql.query('select position from tidegate.lanes')).rows as [[Position]];
  expect(() => parsePlace(kept)).toThrow('no version of this source wrote');
  // The way back, as docs/decisions/0044 has it.
  const page = await readFile(
    new URL('../../docs/decisions/0044-what-a-position-says-at-length-is-kept-beside-it.md', import.meta.url),
    'utf8',
  );
  await db.sql.script(/`(update tidegate\.lanes .*)`/.exec(page)?.[1] ?? '');
  expect((await db.sql.query('select position, position_long from tidegate.lanes')).rows).toEqual([[place(101, 501), null]]);
});

test.each([
  ['as this version keeps it', false],
  ['as an earlier version left it', true],
])('a lane is moved over what was lost, %s', async (_, isOld) => {
  await using db = await fixture();
  await using sink = await db.sink();
  await apply(sink, await sink.acquire(LANE), null, place(100, 500));
  if (isOld) await inOne(db.sql, place(100, 500));
  expect(await sink.moveLane(LANE, place(99, 500), place(300, 500))).toBe(false);
  expect(await sink.moveLane(LANE, place(100, 500), place(300, 400))).toBe(true);
  expect(await everybody(sink, db)).toEqual(Array.from({ length: 3 }, () => place(300, 400)));
  expect((await sink.lanes())[0]?.lost).toEqual({ from: place(100, 500), to: place(300, 400) });
  const lease = await sink.acquire(LANE);
  await apply(sink, lease, place(300, 400), place(301, 400));
  await sink.forgetLoss(LANE, place(300, 400));
  expect((await sink.lanes())[0]).toMatchObject({ lost: null, position: place(301, 400) });
});

test('a target whose tables of ours an earlier version has made is read all the same', async () => {
  await using db = await fixture();
  await using sink = await db.sink();
  await apply(sink, await sink.acquire(LANE), null, place(100, 500));
  await inOne(db.sql, place(100, 500));
  await db.sql.script('alter table tidegate.lanes drop column position_long');
  await using target = await TargetRows.open({ name: 'store', pipeline: 'p', url: db.url, schema: 'shop' }, never);
  expect([await target.position(LANE), (await target.positions(LANE)).get(LANE)]).toEqual([place(100, 500), place(100, 500)]);
});
