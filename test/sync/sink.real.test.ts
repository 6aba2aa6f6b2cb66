/** The target against the plainest model of it: whatever is held, released and settled meanwhile, it ends as the source is. */
import { expect, test } from 'vitest';
import { Batch, ScoreStatus, Verdict } from '../../core/batch.ts';
import { PipelineError } from '../../core/errors.ts';
import { type ChangeEvent, eventId, type LaneId, type Position, UNCHANGED, type Value, ValueRow } from '../../core/event.ts';
import { runPipeline } from '../../core/pipeline.ts';
import { replaySource } from '../../cdc/replay.ts';
import type { PostgresSink } from '../../sync/postgres/sink.ts';
import { PgConnection } from '../../wire/postgres/connection.ts';
import { eventually } from '../support/eventually.ts';
import { Random } from '../support/random.ts';
import { batchOf, batchSource, DATASET, encoded, gate, insertOf, LANE, rowForm, Shop } from './shop.ts';
import { fixture } from './store.ts';

const seeds = process.env['SYNC_SEEDS']?.split(',').map(Number) ?? [1, 2, 3, 4, 5, 6];
const never = new AbortController().signal;
const REPLAY = 'replay:p' as LaneId;

const shown = (shop: Shop): unknown[] =>
  [...shop.rows.values()].sort(([a], [b]) => a - b).map(([id, n, note]) => [String(id), n === null ? null : String(n), note]);

/** Runs the lane of released rows until nothing is open. */
async function replayUntilSettled(sink: PostgresSink, lane = REPLAY): Promise<void> {
  const drain = new AbortController();
  const running = runPipeline(
    { source: replaySource({ log: sink.quarantine, lane, batchRows: 7 }), stages: [], sink },
    { drain: drain.signal, abort: never },
  );
  try {
    await Promise.race([
      running,
      eventually(async () => {
        const counts = await sink.quarantine.counts();
        return !counts.some(({ status, count }) => count > 0 && ['held', 'waiting', 'released'].includes(status));
      }, 'everything is settled'),
    ]);
  } finally {
    drain.abort();
    await running;
  }
}

/** The kept counts are those of the items, whatever became of them. */
async function counted(sink: PostgresSink, sql: PgConnection): Promise<void> {
  const { rows } = await sql.query('select dataset, status, count(*) from tidegate.quarantine group by 1, 2 order by 1, 2');
  expect((await sink.quarantine.counts()).map(({ dataset, status, count }) => [dataset, status, String(count)])).toEqual(rows);
  const open = await sql.query(
    `select dataset, rule, count(*) from (select distinct id, dataset, unnest(rules) as rule from tidegate.quarantine where status in ('held', 'waiting')) as one group by 1, 2 order by 3 desc, 1, 2`,
  );
  expect((await sink.quarantine.openByRule()).map(({ dataset, rule, count }) => [dataset, rule, String(count)])).toEqual(open.rows);
}

async function ledgers(sink: PostgresSink): Promise<void> {
  for (const { lane, ledger } of await sink.lanes()) {
    const { events, ...out } = ledger;
    expect(
      Object.values(out).reduce((sum, count) => sum + count, 0n),
      `the ledger of ${lane}`,
    ).toBe(events);
  }
}

test.each(seeds.flatMap((seed) => (['key', 'event'] as const).map((hold) => [seed, hold] as const)))(
  'seed %i, hold: %s: with everything released, the target is what the source is',
  async (seed, hold) => {
    const random = new Random(seed);
    await using db = await fixture();
    const form = rowForm(random);
    // Where only the event is held, a later one must not depend on it.
    const shop = new Shop(random, form, { moves: hold === 'key', partial: hold === 'key', truncates: true });
    const bad = new Map<string, 'quarantine' | 'drop'>();
    const batches: Batch[] = [];
    let events = 0;
    for (let n = 0; n < 25; n++) {
      const batch: ChangeEvent[] = [];
      for (let left = 1 + random.below(15); left > 0; left--) batch.push(...shop.transaction());
      for (const event of batch) if (event.op !== 'truncate' && random.chance(0.06)) bad.set(eventId(event), 'quarantine');
      events += batch.length;
      batches.push(batchOf(batch, shop.place));
    }
    // With a few keys known one by one, the others are known by a filter; and all of it is often read anew.
    await using sink = await db.sink({ hold: () => hold, ...(random.chance(0.5) ? { heldKeysExact: 3 } : {}) });
    await using desk = await db.sink({ hold: () => hold });
    const drain = new AbortController();
    const replay = runPipeline(
      { source: replaySource({ log: desk.quarantine, lane: REPLAY, batchRows: 3 }), stages: [], sink: desk },
      { drain: drain.signal, abort: never },
    );
    const releaseSome = async (): Promise<void> => {
      const open = await sink.quarantine.find({ status: ['held'], limit: 100 });
      const ids = open.filter(() => random.chance(0.3)).map(({ id }) => id);
      if (ids.length > 0 && random.chance(0.5)) await sink.quarantine.release(ids, 'me');
    };
    await runPipeline({ source: batchSource(batches, releaseSome), stages: [gate(bad)], sink }, { drain: never, abort: never });
    drain.abort();
    await replay;
    await counted(sink, db.sql);
    const open = await sink.quarantine.find({ status: ['held', 'waiting'], limit: 10_000 });
    await sink.quarantine.release(
      open.map(({ id }) => id),
      'me',
    );
    await replayUntilSettled(sink);
    expect(await db.rows(), `${form}, seed ${seed}`).toEqual(shown(shop));
    await ledgers(sink);
    await counted(sink, db.sql);
    const [lane] = (await sink.lanes()).filter((one) => one.lane === LANE);
    expect(Number(lane?.ledger.events)).toBe(events);
    const held = await sink.quarantine.find({ limit: 10_000 });
    expect(held.filter(({ findings }) => findings.length > 0).length).toBe(held.length);
    expect((await db.sql.query('select count(*) from tidegate.held_keys')).rows[0]?.[0]).toBe('0');
  },
);

test('items are counted also where somebody takes them away, and where the target is written as a replica', async () => {
  await using db = await fixture();
  await using sink = await db.sink({ replicationRole: 'replica' });
  const shop = new Shop(new Random(1), 'encoded', { moves: false, partial: false, truncates: false });
  const events = Array.from({ length: 30 }, () => shop.transaction()).flat();
  const bad = new Map(events.map((event, i) => [eventId(event), i % 5 === 0 ? ('drop' as const) : ('quarantine' as const)]));
  await runPipeline({ source: batchSource([batchOf(events, shop.place)]), stages: [gate(bad)], sink }, { drain: never, abort: never });
  expect((await sink.quarantine.counts()).length).toBeGreaterThan(0);
  await counted(sink, db.sql);
  await db.sql.script('delete from tidegate.quarantine where ctid in (select ctid from tidegate.quarantine limit 3)');
  await counted(sink, db.sql);
  await db.sql.script('truncate tidegate.quarantine');
  await counted(sink, db.sql);
  expect(await sink.quarantine.counts()).toEqual([]);
});

test('what is dropped is gone, and what is discarded frees what waited for it', async () => {
  await using db = await fixture();
  await using sink = await db.sink();
  const event = (op: 'insert' | 'update', id: number, n: number, version: string): ChangeEvent =>
    ({
      op,
      dataset: DATASET,
      before: null,
      after: encoded(id, n, 'x'),
      key: String(id),
      movedFrom: null,
      version,
      ordinal: 0,
      committedAtMs: 0,
    }) as unknown as ChangeEvent;
  const events = [event('insert', 1, 1, '01'), event('insert', 2, 2, '02'), event('update', 1, 3, '03'), event('insert', 3, 4, '04')];
  const [first, , second, dropped] = events;
  const bad = new Map(
    [first, dropped].map((one) => [one === undefined ? '' : eventId(one), one === first ? ('quarantine' as const) : ('drop' as const)]),
  );
  await runPipeline(
    { source: batchSource([batchOf(events, '04' as Position)]), stages: [gate(bad)], sink },
    { drain: never, abort: never },
  );
  expect(await db.rows()).toEqual([['2', '2', 'x']]);
  const items = await sink.quarantine.find({ limit: 10 });
  expect(new Map(items.map(({ id, status }) => [id, status]))).toEqual(
    new Map([
      [first === undefined ? '' : eventId(first), 'held'],
      [second === undefined ? '' : eventId(second), 'waiting'],
    ]),
  );
  expect(await sink.quarantine.discard([first === undefined ? '' : eventId(first)], 'me', 'not ours')).toHaveLength(1);
  await replayUntilSettled(sink);
  expect(await db.rows()).toEqual([
    ['1', '3', 'x'],
    ['2', '2', 'x'],
  ]);
  const item = await sink.quarantine.get(first === undefined ? '' : eventId(first));
  expect(item).toMatchObject({ status: 'discarded', by: 'me', why: 'not ours' });
  await ledgers(sink);
});

test.each(['encoded', 'values'] as const)('rows that the target refuses are held, and the rest is applied (%s)', async (form) => {
  await using db = await fixture(
    'create schema shop; create table shop.items (id bigint primary key, n integer check (n < 500), note varchar(8))',
  );
  await using sink = await db.sink();
  const row = form === 'encoded' ? encoded : (...values: readonly (number | string | null)[]) => new ValueRow(...values);
  const events = Array.from({ length: 300 }, (_, i) => {
    const n = i % 50 === 7 ? 999 : i;
    const note = i === 20 ? 'far too long' : 'ok';
    return {
      op: 'insert',
      dataset: DATASET,
      before: null,
      after: row(i, n % 500 === i ? i : n, note),
      key: String(i),
      movedFrom: null,
      version: '01',
      ordinal: i,
      committedAtMs: 0,
    } as unknown as ChangeEvent;
  });
  await runPipeline({ source: batchSource([batchOf(events, '01' as Position)]), stages: [], sink }, { drain: never, abort: never });
  expect((await db.rows()).length).toBe(293);
  const items = await sink.quarantine.find({ limit: 100 });
  expect(items.flatMap(({ findings }) => findings.map(({ rule, column }) => `${rule} ${column ?? ''}`)).sort()).toEqual(
    ['target.22001 ', ...Array.from({ length: 6 }, () => 'target.23514 ')].sort(),
  );
  expect(JSON.stringify(items.map(({ findings }) => findings))).not.toMatch(/999|far too long/);
  await db.sql.script('alter table shop.items drop constraint items_n_check, alter note type text');
  await using desk = await db.sink();
  await desk.quarantine.release(
    items.map(({ id }) => id),
    'me',
  );
  await replayUntilSettled(desk);
  expect((await db.rows()).length).toBe(300);
  await ledgers(desk);
});

test('a row whose text no PostgreSQL takes is held, and stops nobody', async () => {
  await using db = await fixture();
  await using sink = await db.sink();
  const ofNote = (id: number, note: string): ChangeEvent =>
    ({ ...insertOf(id, id, '01', id), after: new ValueRow(id, id, note) }) as ChangeEvent;
  const events = [ofNote(1, 'ok'), ofNote(2, 'a\0b'), ofNote(3, 'half \ud800 a character'), ofNote(4, 'ok')];
  await runPipeline({ source: batchSource([batchOf(events, '01' as Position)]), stages: [], sink }, { drain: never, abort: never });
  const [item, ...others] = await sink.quarantine.find({ limit: 10 });
  expect([item?.event.key, item?.findings.map(({ rule }) => rule), others]).toEqual(['2', ['target.22021'], []]);
  expect(item?.event.after?.value(2)).toBe('a\0b');
  expect((await db.sql.query('select row_json from tidegate.quarantine')).rows).toEqual([['{"n": 2, "id": 2, "note": "a\uFFFDb"}']]);
  expect((await db.rows()).length).toBe(3);
  await ledgers(sink);
});

test('a row that moves to another key without all of its cells is written whichever of its states is encoded', async () => {
  await using db = await fixture();
  await using sink = await db.sink();
  const values = (...cells: readonly Value[]) => new ValueRow(...cells);
  const moves = [[encoded, encoded] as const, [encoded, values] as const, [values, encoded] as const, [values, values] as const];
  const inserts = moves.map((_, i) => insertOf(i, i, '01', i));
  const updates = moves.map(([before, after], i) => {
    const move = {
      op: 'update',
      before: before(i, i, 'x'),
      after: after(i + 10, -i, UNCHANGED),
      key: String(i + 10),
      movedFrom: String(i),
    };
    return { ...insertOf(i, i, '02', i), ...move } as ChangeEvent;
  });
  const source = batchSource([batchOf(inserts, '01' as Position), batchOf(updates, '02' as Position)]);
  await runPipeline({ source, stages: [], sink }, { drain: never, abort: never });
  expect(await db.rows()).toEqual(moves.map((_, i) => [String(i + 10), String(-i), 'x']));
  await ledgers(sink);
});

test('two rows that swap a unique value within a batch are no reason to refuse either', async () => {
  await using db = await fixture('create schema shop; create table shop.items (id bigint primary key, n integer unique, note text)');
  await using sink = await db.sink();
  const change = (op: 'insert' | 'update', id: number, n: number, ordinal: number): ChangeEvent =>
    ({
      op,
      dataset: DATASET,
      before: null,
      after: encoded(id, n, ''),
      key: String(id),
      movedFrom: null,
      version: '01',
      ordinal,
      committedAtMs: 0,
    }) as unknown as ChangeEvent;
  const first = [change('insert', 1, 10, 0), change('insert', 2, 20, 1)];
  const swap = [change('update', 1, 99, 0), change('update', 2, 10, 1), change('update', 1, 20, 2)];
  await runPipeline(
    { source: batchSource([batchOf(first, '01' as Position), batchOf(swap, '02' as Position)]), stages: [], sink },
    { drain: never, abort: never },
  );
  expect(await db.rows()).toEqual([
    ['1', '20', ''],
    ['2', '10', ''],
  ]);
  expect(await sink.quarantine.counts()).toEqual([]);
});

test('a lane taken over is fenced: the older lease changes nothing any more', async () => {
  await using db = await fixture();
  await using old = await db.sink();
  await using young = await db.sink();
  const oldLease = await old.acquire(LANE);
  const event = insertOf(1, 1, '01');
  const lease = await young.acquire(LANE);
  expect(lease.epoch).toBe(oldLease.epoch + 1);
  const late = old.apply(batchOf([event], '01' as Position), [], oldLease, never);
  await expect(late).rejects.toSatisfy((error) => error instanceof PipelineError && error.code === 'LEASE_LOST');
  expect(await db.rows()).toEqual([]);
  const applied = await young.apply(batchOf([event], '01' as Position), [], lease, never);
  expect(applied).toMatchObject({ kind: 'applied', upserts: 1 });
  expect((await young.acquire(LANE)).checkpoint?.position).toBe('01');
});

test('batches sent ahead commit in order, and never over one that the target refused', async () => {
  const seed = seeds[0] ?? 1;
  const random = new Random(seed);
  await using db = await fixture(
    'create schema shop; create table shop.items (id bigint primary key, n bigint check (n <> 13), note text)',
  );
  await using sink = await db.sink({ hold: () => 'event' });
  const lease = await sink.acquire(LANE);
  const placeOf = (number: number): Position => String(number).padStart(4, '0') as Position;
  const rows = new Map<string, string>();
  const refused = new Set<number>();
  const batches = Array.from({ length: 60 }, (_, i) => {
    const number = i + 1;
    const n = random.chance(0.15) ? 13 : number;
    if (n === 13) refused.add(number);
    // Few keys, so that one batch taking effect before another would show.
    const id = n === 13 ? 100 + number : number % 3;
    if (n !== 13) rows.set(String(id), String(n));
    return batchOf([insertOf(id, n, placeOf(number))], placeOf(number), number === 1 ? null : placeOf(number - 1));
  });
  const finding = { stage: 'sync', column: null, verdict: Verdict.Quarantine, severity: 'info', notify: false } as const;
  for (const [index, batch] of batches.entries()) {
    // As the runner does: the batch behind is prepared while this one is at work.
    if (index === 0) sink.prepare?.(batch, [], lease);
    const applying = sink.apply(batch, [], lease, never);
    const next = batches[index + 1];
    if (next !== undefined) sink.prepare?.(next, [], lease);
    const outcome = await applying;
    if (!refused.has(index + 1)) {
      expect(outcome, `seed ${seed}, batch ${index + 1}`).toMatchObject({ kind: 'applied', checkpoint: batch.checkpoint });
      continue;
    }
    expect(outcome).toMatchObject({ kind: 'refused', findings: [{ index: 0, rule: 'target.23514' }] });
    const [event] = batch.events;
    if (event === undefined) throw new Error('a batch without its event');
    const reason = { ...finding, index: 0, rule: 'target.23514', message: 'no' };
    batch.mark(reason);
    const held = [{ id: eventId(event), lane: LANE, event, findings: [reason], revision: '1@0' }];
    expect(await sink.apply(batch, held, lease, never)).toMatchObject({ kind: 'applied', held: 1 });
  }
  expect(refused.size).toBeGreaterThan(0);
  const found = (await db.rows()).map((row) => (row as string[]).slice(0, 2));
  expect(new Map(found as [string, string][])).toEqual(rows);
  const [lane] = await sink.lanes();
  expect(lane).toMatchObject({ position: placeOf(60), ledger: { events: 60n, held: BigInt(refused.size) } });
});

test('new rows are copied straight in; where their keys are there after all they replace them, and one bad row is held alone', async () => {
  await using db = await fixture(`create schema shop; create table shop.items (id bigint primary key, n integer unique, note text);
    create table shop.ways (stage text); create function shop.way() returns trigger language plpgsql as $$ begin
      insert into shop.ways select string_agg(relname, ',') from pg_stat_xact_user_tables where n_tup_ins > 0 and relname like 'tidegate%'; return null; end $$;
    create trigger way after insert on shop.items execute function shop.way()`);
  await using sink = await db.sink({ hold: () => 'event' });
  const many = (from: number, to: number, place: string, n: (id: number) => number): ChangeEvent[] =>
    Array.from({ length: to - from }, (_, i) => insertOf(from + i, n(from + i), place, i));
  const [one, two, three, four] = ['01', '02', '03', '04'] as Position[];
  if (one === undefined || two === undefined || three === undefined || four === undefined) throw new Error('no places');
  const batches = [
    batchOf(
      many(0, 100, one, (id) => id),
      one,
    ), // Into an empty table.
    batchOf(
      many(50, 150, two, (id) => id + 1000),
      two,
    ), // Half of the keys are there.
    batchOf(
      many(200, 300, three, (id) => (id === 250 ? 7 : id)),
      three,
    ), // One has the unique value of another row.
    batchOf(
      many(300, 400, four, (id) => id),
      four,
    ),
  ];
  await runPipeline({ source: batchSource(batches), stages: [], sink }, { drain: never, abort: never });
  const expected = Array.from({ length: 400 }, (_, id) => [String(id), String(id >= 50 && id < 150 ? id + 1000 : id), 'x']);
  expect(await db.rows()).toEqual(expected.filter((_, id) => (id < 150 || id >= 200) && id !== 250));
  const held = await sink.quarantine.find({ limit: 10 });
  expect(held.map(({ event, findings }) => [event.key, findings.map(({ rule }) => rule)])).toEqual([['250', ['target.23505']]]);
  const [lane] = await sink.lanes();
  expect(lane?.ledger).toMatchObject({ events: 400n, upserts: 399n, held: 1n });
  // The first batch went without a staging table, those after the first key that was there did not.
  const ways = (await db.sql.query('select stage from shop.ways')).rows.map(([stage]) => stage);
  expect(ways[0]).toBeNull();
  expect(ways[1]).toMatch(/tidegate/);
});

test('a batch sent ahead behind one that is missing changes nothing', async () => {
  await using db = await fixture('create schema shop; create table shop.items (id bigint primary key, n bigint, note text)');
  await using sink = await db.sink();
  const lease = await sink.acquire(LANE);
  await sink.apply(batchOf([insertOf(1, 1, '01')], '01' as Position), [], lease, never);
  const third = batchOf([insertOf(3, 3, '03')], '03' as Position, '02' as Position);
  sink.prepare?.(third, [], lease);
  await expect(sink.apply(third, [], lease, never)).rejects.toSatisfy((error) => error instanceof PipelineError && error.code === 'BUG');
  expect(await db.rows()).toEqual([['1', '1', 'x']]);
});

test('scores have columns of their own, and keep with their row until it is scored again', async () => {
  const write = { score: 'risk', model: 'risk_model', at: 'risk_at' };
  const STATUS = { none: ScoreStatus.Unavailable, unread: ScoreStatus.FeatureMissing, unasked: ScoreStatus.NotAsked };
  await using db = await fixture();
  await using sink = await db.sink({ scores: [{ dataset: DATASET.name, write }] });
  const lease = await sink.acquire(LANE);
  let place = 0;
  const send = async (
    rows: readonly (readonly [id: number, score: number | 'none' | 'unread' | 'unasked', movedFrom?: number])[],
  ): Promise<void> => {
    place++;
    const version = String(place).padStart(4, '0');
    const events = rows.map(
      ([id, , movedFrom], ordinal) =>
        ({
          op: movedFrom === undefined ? 'insert' : 'update',
          dataset: DATASET,
          before: movedFrom === undefined ? null : encoded(movedFrom, null, null),
          after: encoded(id, place, 'x'),
          key: String(id),
          movedFrom: movedFrom === undefined ? null : String(movedFrom),
          version,
          ordinal,
          committedAtMs: 0,
        }) as unknown as ChangeEvent,
    );
    const batch = batchOf(events, version as Position, place === 1 ? null : (String(place - 1).padStart(4, '0') as Position));
    batch.scores.push({
      dataset: DATASET.name,
      model: 'm',
      version: '3',
      atMs: 1_700_000_000_000,
      write,
      values: Float32Array.from(rows, ([, score]) => (typeof score === 'number' ? score : Number.NaN)),
      status: Uint8Array.from(rows, ([, score]) => (typeof score === 'number' ? ScoreStatus.Scored : STATUS[score])),
    });
    await sink.apply(batch, [], lease, never);
  };
  const scores = async (): Promise<unknown> =>
    (await db.sql.query(`select id, n, risk, risk_model, extract(epoch from risk_at)::bigint from shop.items order by id`)).rows;
  await send([
    [1, 0.5],
    [2, 'none'],
    [3, 0.25],
    [4, 0.75],
  ]);
  await send([
    [1, 'unasked'],
    [3, 'none'],
    [4, 'unread'],
  ]);
  await send([[9, 'unasked', 1]]);
  expect(await scores()).toEqual([
    ['2', '1', null, null, null],
    ['3', '2', null, null, null],
    ['4', '2', null, null, null],
    ['9', '3', '0.5', 'm@3', '1700000000'],
  ]);
  await send(Array.from({ length: 60 }, (_, i) => [100 + i, i / 64] as const));
  expect((await db.sql.query('select count(*), sum(risk)::text from shop.items where id >= 100')).rows[0]).toEqual([
    '60',
    String((59 * 60) / 2 / 64),
  ]);
});
