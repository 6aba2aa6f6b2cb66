/** Batches of whole rows, laid down as the source's decoder does it, through a real target: they end and count as if each had been folded. */
import { expect, inject, test } from 'vitest';
import { PgoutputDecoder } from '../../cdc/postgres/pgoutput.ts';
import { replaySource } from '../../cdc/replay.ts';
import { type Batch, HOLD_KEY_RULE, Verdict } from '../../core/batch.ts';
import { type ChangeEvent, type Dataset, type DatasetName, eventId, type LaneId, type Position } from '../../core/event.ts';
import { runPipeline } from '../../core/pipeline.ts';
import { fold } from '../../sync/postgres/fold.ts';
import { type DatasetOptions, Layouts } from '../../sync/postgres/layout.ts';
import type { PostgresSink, PostgresSinkOptions } from '../../sync/postgres/sink.ts';
import { PgConnection } from '../../wire/postgres/connection.ts';
import type { PgRelation } from '../../wire/postgres/row.ts';
import { beginMessage, type Cell, changeMessage, int, truncateMessage } from '../cdc/pgoutput-messages.ts';
import { createDatabase } from '../support/databases.ts';
import { eventually } from '../support/eventually.ts';
import { Random } from '../support/random.ts';
import { batchOf, batchSource, DATASET, gate, insertOf, LANE, PLAIN, RELATION } from './shop.ts';
import { sinkOf } from './store.ts';

const seeds = process.env['SYNC_SEEDS']?.split(',').map(Number) ?? [1, 2];
const never = new AbortController().signal;
const OTHERS: Dataset = { ...DATASET, name: 'shop.public.others' as DatasetName };
const OTHERS_RELATION: PgRelation = { ...RELATION, dataset: OTHERS };

const open = (url: string, more: Partial<PostgresSinkOptions> = {}): Promise<PostgresSink> =>
  sinkOf(url, { tables: { create: true, widen: false }, besideRowsMin: 1, ...more });

type Values = readonly [id: number, n: number | null, note: string | null];
type Rows = Map<number, Values>;

function cellsOf([id, n, note]: Values): readonly Cell[] {
  const key = Buffer.alloc(8);
  key.writeBigInt64BE(BigInt(id));
  return [key, n === null ? null : int(n, 4), note === null ? null : Buffer.from(note)];
}

const keyOf = ([id]: Values): readonly Cell[] => cellsOf([id, null, null]);

/** A table of the source, and its changes as they are sent. */
class Table {
  readonly oid: number;
  readonly relation: PgRelation;
  readonly #identity: 'O' | 'K';
  readonly #random: Random;
  readonly #rows: Rows = new Map();
  #next = 1000;

  constructor(oid: number, relation: PgRelation, identity: 'O' | 'K', random: Random) {
    this.oid = oid;
    this.relation = relation;
    this.#identity = identity;
    this.#random = random;
  }

  /** Few keys, so that most of them come again in their batch. */
  change(): Buffer {
    const random = this.#random;
    const id = random.below(60);
    const known = this.#rows.get(id);
    const note = random.chance(0.2) ? null : random.chance(0.1) ? 'long '.repeat(100 + random.below(900)) : `note ${random.below(100)}`;
    const after: Values = [id, random.chance(0.1) ? null : random.below(30), note];
    if (known === undefined) {
      this.#rows.set(id, after);
      return changeMessage(this.oid, { op: 'I', before: null, after: cellsOf(after) });
    }
    const old = this.#identity === 'O' ? cellsOf(known) : keyOf(known);
    if (random.chance(0.3)) {
      this.#rows.delete(id);
      return changeMessage(this.oid, { op: 'D', before: old }, this.#identity);
    }
    this.#rows.set(id, after);
    const before = this.#identity === 'O' ? old : null;
    return changeMessage(this.oid, { op: 'U', before, after: cellsOf(after) }, this.#identity);
  }

  /** What a batch has to be folded for. */
  odd(): Buffer {
    const [known] = this.#rows.values();
    if (known === undefined || this.#random.chance(0.3)) {
      this.#rows.clear();
      return truncateMessage(this.oid);
    }
    const moved: Values = [this.#next++, known[1], known[2]];
    this.#rows.delete(known[0]);
    this.#rows.set(moved[0], moved);
    const before = this.#identity === 'O' ? cellsOf(known) : keyOf(known);
    return changeMessage(this.oid, { op: 'U', before, after: cellsOf(moved) }, this.#identity);
  }
}

/** Batches as they are decoded: in an arena that many of them share, from memory that is used again. */
function batchesOf(random: Random, count: number, oddChance: number): Batch[] {
  const decoder = new PgoutputDecoder();
  const tables = [new Table(1, RELATION, 'K', random), new Table(2, OTHERS_RELATION, 'O', random)] as const;
  for (const { oid, relation } of tables) decoder.follow(oid, { table: relation.dataset.name, relation, isFiltered: false });
  const memory = Buffer.alloc(1 << 16);
  const read = (message: Buffer): readonly ChangeEvent[] => {
    message.copy(memory.fill(0), 3);
    decoder.read(memory, 3, 3 + message.length);
    return decoder.event === null ? [] : [decoder.event as ChangeEvent];
  };
  return Array.from({ length: count }, (_, n) => {
    const place = (n + 1).toString(16).padStart(16, '0') as Position;
    read(beginMessage(BigInt(n + 1)));
    const size = 24 + random.below(60);
    const odd = random.chance(oddChance) ? random.below(size) : -1;
    // As a transaction writes them: one table after the other, mostly.
    let [table, other] = random.chance(0.5) ? [tables[0], tables[1]] : [tables[1], tables[0]];
    const events = Array.from({ length: size }, (__, i) => {
      if (random.chance(0.1)) [table, other] = [other, table];
      return read(i === odd ? table.odd() : table.change());
    });
    return batchOf(events.flat(), place);
  });
}

const COLUMNS = DATASET.columns.map(({ name }) => name);

/** Of each table what a row after the other makes of it; `columns` of the first one. */
function modelOf(events: Iterable<ChangeEvent>, columns: readonly string[] = COLUMNS): ReadonlyMap<DatasetName, unknown[]> {
  const tables = new Map([DATASET, OTHERS].map(({ name }) => [name, new Map<string, unknown[]>()]));
  for (const { op, dataset, key, movedFrom, after } of events) {
    const rows = tables.get(dataset.name);
    if (op === 'truncate') rows?.clear();
    rows?.delete(movedFrom ?? key);
    if (after === null) continue;
    const shown = (column: string): string | null => {
      const value = column === 'op' ? op : after.value(COLUMNS.indexOf(column));
      return value === null ? null : String(value);
    };
    rows?.set(key, (dataset === DATASET ? columns : COLUMNS).map(shown));
  }
  const sorted = (rows: Iterable<unknown[]>): unknown[] => [...rows].toSorted(([a], [b]) => Number(a) - Number(b));
  return new Map([...tables].map(([name, rows]) => [name, sorted(rows.values())]));
}

async function tablesAt(sql: PgConnection, columns: readonly string[] = COLUMNS): Promise<ReadonlyMap<DatasetName, unknown[]>> {
  const rowsOf = async (table: string, own: readonly string[]): Promise<unknown[]> =>
    (await sql.query(`select ${own.join()} from shop.${table} order by id`)).rows.map((row) => [...row]);
  return new Map([
    [DATASET.name, await rowsOf('items', columns)],
    [OTHERS.name, await rowsOf('others', COLUMNS)],
  ]);
}

/** A row that is laid down as a COPY has it may be all of what is written, its beginning, or more than is written. */
const LAYOUTS = [
  [1, 'as it is', PLAIN, COLUMNS],
  [2, 'with a column of its own', { ...PLAIN, write: { ...PLAIN.write, operation: 'op' } }, [...COLUMNS, 'op']],
  [3, 'without one of its columns', { ...PLAIN, columns: ['id', 'n'] }, ['id', 'n']],
] as const satisfies readonly (readonly [number, string, DatasetOptions, readonly string[]])[];

test.each(LAYOUTS)(
  'seed %i, a table %s: it ends as row after row would have it, and the ledger is what folding counts',
  async (seed, _, layout, columns) => {
    const datasets = new Map([[DATASET.name, layout]]);
    const layouts = new Layouts('shop', datasets);
    const random = new Random(seed);
    await using database = await createDatabase(inject('targetServer'), 'wholerows');
    const batches = batchesOf(random, 80, 0.1);
    const events = batches.flatMap((batch) => batch.events);
    const dropped = new Map(events.flatMap((event) => (random.chance(0.05) ? [[eventId(event), 'drop' as const]] : [])));
    const counts = { upserts: 0n, deletes: 0n, truncates: 0n, folded: 0n };
    const passes = (event: ChangeEvent | undefined): boolean => event !== undefined && !dropped.has(eventId(event));
    for (const { events: own } of batches) {
      const folded = fold(own, { layouts, takes: (i) => passes(own[i]), keepsRow: () => false });
      for (const name of ['upserts', 'deletes', 'truncates', 'folded'] as const) counts[name] += BigInt(folded[name]);
    }
    {
      await using sink = await open(database.url, { datasets });
      await runPipeline({ source: batchSource(batches), stages: [gate(dropped)], sink }, { drain: never, abort: never });
      const [lane] = await sink.lanes();
      expect(lane?.ledger).toEqual({ events: BigInt(events.length), dropped: BigInt(dropped.size), held: 0n, stale: 0n, ...counts });
    }
    await using sql = await PgConnection.connect({ url: database.url });
    expect(await tablesAt(sql, columns)).toEqual(modelOf(events.filter(passes), columns));
  },
);

const CHECKED = 'create schema shop; create table shop.items (id bigint primary key, n integer constraint odd check (n <> 13), note text)';
const REASON = { stage: 'sync', column: null, verdict: Verdict.Quarantine, severity: 'info', message: 'no', notify: false } as const;

/** What the runner does with events that are not to pass. */
function held(batch: Batch, index: number, rule: string) {
  const event = batch.event(index);
  if (event === undefined) throw new Error('a batch without its event');
  const reason = { ...REASON, index, rule };
  batch.mark(reason);
  return { id: eventId(event), lane: LANE, event, findings: [reason] as const, revision: '1@0' };
}

test('what a refusal at the target holds is seen by a batch that was looked at before, and sent', async () => {
  await using database = await createDatabase(inject('targetServer'), 'wholerows');
  await using sql = await PgConnection.connect({ url: database.url });
  await sql.script(CHECKED);
  await using sink = await open(database.url, { hold: () => 'key' });
  const lease = await sink.acquire(LANE);
  const placeOf = (n: number): Position => String(n).padStart(16, '0') as Position;
  const batchAt = (n: number, first: number, also: readonly ChangeEvent[] = []): Batch => {
    const events = Array.from({ length: 30 }, (_, i) => ({ ...insertOf(first + i, n, placeOf(n), i), op: 'update' }) as ChangeEvent);
    return batchOf([...events, ...also], placeOf(n), n === 1 ? null : placeOf(n - 1));
  };
  // Something is held, so that batches are looked at; and the table is known, so that they are sent ahead.
  const first = batchAt(1, 100);
  const bad = [held(first, 0, 'bad')];
  sink.prepare?.(first, bad, lease);
  expect(await sink.apply(first, bad, lease, never)).toMatchObject({ kind: 'applied', held: 1, upserts: 29 });

  const refused = batchAt(2, 200, [insertOf(7, 13, placeOf(2), 30)]);
  const behind = batchAt(3, 300, [insertOf(7, 14, placeOf(3), 30)]);
  sink.prepare?.(refused, [], lease);
  sink.prepare?.(behind, [], lease);
  expect(await sink.apply(refused, [], lease, never)).toMatchObject({ kind: 'refused', findings: [{ index: 30, rule: 'target.23514' }] });
  expect(await sink.apply(refused, [held(refused, 30, 'target.23514')], lease, never)).toMatchObject({ held: 1, upserts: 30 });
  expect(await sink.apply(behind, [], lease, never)).toMatchObject({ kind: 'refused', findings: [{ index: 30, rule: HOLD_KEY_RULE }] });
  expect(await sink.apply(behind, [held(behind, 30, HOLD_KEY_RULE)], lease, never)).toMatchObject({ held: 1, upserts: 30 });
  expect((await sql.query('select count(*), count(*) filter (where id = 7) from shop.items')).rows).toEqual([['89', '0']]);
});

test.each(seeds)('seed %i: held by rules and by the target, with workers: once all is released, tables are the source’s', async (seed) => {
  const random = new Random(seed);
  await using database = await createDatabase(inject('targetServer'), 'wholerows');
  await using sql = await PgConnection.connect({ url: database.url });
  await sql.script(CHECKED);
  const batches = batchesOf(random, 30, 0);
  const events = batches.flatMap((batch) => batch.events);
  const bad = new Map(events.flatMap((event) => (random.chance(0.003) ? [[eventId(event), 'quarantine' as const]] : [])));
  await using sink = await open(database.url, { hold: () => 'key' });
  await runPipeline({ source: batchSource(batches), stages: [gate(bad)], sink }, { drain: never, abort: never });
  const items = await sink.quarantine.find({ status: ['held', 'waiting'], limit: 10_000 });
  const rules = new Set(items.flatMap(({ findings }) => findings.map(({ rule }) => rule)));
  expect([...rules].toSorted()).toEqual(['bad', HOLD_KEY_RULE, 'target.23514']);
  await sql.script('alter table shop.items drop constraint odd');
  await sink.quarantine.release(
    items.map(({ id }) => id),
    'me',
  );
  const drain = new AbortController();
  const replay = runPipeline(
    { source: replaySource({ log: sink.quarantine, lane: 'replay:p' as LaneId, batchRows: 50 }), stages: [], sink },
    { drain: drain.signal, abort: never },
  );
  await Promise.race([
    replay,
    eventually(async () => (await sql.query('select 1 from tidegate.held_keys')).rows.length === 0, 'nothing is held any more'),
  ]).finally(() => drain.abort());
  await replay;
  expect(await tablesAt(sql)).toEqual(modelOf(events));
  for (const { ledger } of await sink.lanes()) {
    const { events: all, ...out } = ledger;
    expect(Object.values(out).reduce((sum, count) => sum + count, 0n)).toBe(all);
  }
});
