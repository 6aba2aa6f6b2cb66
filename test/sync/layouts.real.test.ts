/** Tables that look otherwise than at the source, against the plainest model of each: one event after the other, into a map. */
import { expect, inject, test } from 'vitest';
import type { Batch } from '../../core/batch.ts';
import { PipelineError } from '../../core/errors.ts';
import { type ChangeEvent, eventId, type LaneId, type Position, type Row, UNCHANGED, type Value } from '../../core/event.ts';
import { runPipeline } from '../../core/pipeline.ts';
import { toLsn } from '../../core/position.ts';
import { replaySource } from '../../cdc/replay.ts';
import { type DatasetOptions, type PostgresSink, postgresSink, type PostgresSinkOptions } from '../../sync/postgres/sink.ts';
import { PgConnection } from '../../wire/postgres/connection.ts';
import { quoteQualified } from '../../wire/postgres/ident.ts';
import { createDatabase } from '../support/databases.ts';
import { eventually } from '../support/eventually.ts';
import { Random } from '../support/random.ts';
import { batchOf, batchSource, DATASET, encoded, gate, insertOf, LANE, rowForm, Shop, type ShopOptions, PLAIN } from './shop.ts';

const server = inject('targetServer');
const seeds = process.env['SYNC_SEEDS']?.split(',').map(Number) ?? [1, 2, 45];
const never = new AbortController().signal;

const STAMPED = { position: 'Source lsn', committedAt: 'at', operation: 'op', verdict: 'verdict' };

type Cells = Record<string, string | null>;

/** What a table is to hold. Keys are those of the source. */
class Model {
  readonly rows = new Map<string, { cells: Cells; isDeleted: boolean }>();
  /** Versions that are no more, in a table that keeps them. */
  readonly #past: Cells[] = [];
  readonly #options: DatasetOptions;

  constructor(options: DatasetOptions) {
    this.#options = options;
  }

  take(event: ChangeEvent): void {
    const { key, movedFrom, after } = event;
    if (event.op === 'truncate') for (const one of this.rows.keys()) this.#delete(one, event);
    else if (after === null) this.#delete(key, event);
    else {
      const found = this.rows.get(movedFrom ?? key);
      const old = found?.isDeleted === true ? undefined : found;
      if (old === undefined && this.#isPartial(after)) return;
      if (movedFrom !== null) this.#end(movedFrom, event);
      this.#end(key, event);
      const cells: Cells = {};
      for (const [i, { name }] of DATASET.columns.entries()) {
        const value: Value = after.value(i);
        const to = this.#options.rename[name] ?? name;
        if (!this.#has(name)) continue;
        cells[to] = value === UNCHANGED ? (old?.cells[to] ?? null) : value === null ? null : String(value);
      }
      this.rows.set(key, { cells: { ...cells, ...this.#stamps(event, false) }, isDeleted: false });
    }
  }

  /** In the order of the key, deleted rows as well where they stay. */
  shown(withDeleted: boolean): Cells[] {
    return [...this.rows]
      .sort(([a], [b]) => Number(a) - Number(b))
      .flatMap(([, { cells, isDeleted }]) => (isDeleted && !withDeleted ? [] : [cells]))
      .concat(withDeleted ? this.#past : []);
  }

  /** The version goes, and stays behind where versions are kept. */
  #end(key: string, { committedAtMs }: ChangeEvent): void {
    const row = this.rows.get(key);
    const { to } = this.#options.history;
    if (row !== undefined && to !== null) this.#past.push({ ...row.cells, [to]: timeOf(committedAtMs) });
    this.rows.delete(key);
  }

  #has(column: string): boolean {
    return this.#options.columns?.includes(column) !== false;
  }

  #isPartial(row: Row): boolean {
    return DATASET.columns.some(({ name }, i) => this.#has(name) && row.value(i) === UNCHANGED);
  }

  #delete(key: string, event: ChangeEvent): void {
    const row = this.rows.get(key);
    if (row === undefined || row.isDeleted) return;
    const { at, flag } = this.#options.softDelete;
    if (at === null && flag === null) this.#end(key, event);
    else this.rows.set(key, { cells: { ...row.cells, ...this.#stamps(event, true) }, isDeleted: true });
  }

  #stamps({ version, committedAtMs, op }: ChangeEvent, isDeleted: boolean): Cells {
    const { write, softDelete, history } = this.#options;
    const time = timeOf(committedAtMs);
    const stamps: Cells = {};
    if (write.position !== null) stamps[write.position] = toLsn(version);
    if (write.committedAt !== null) stamps[write.committedAt] = time;
    if (write.operation !== null) stamps[write.operation] = op;
    if (write.verdict !== null) stamps[write.verdict] = 'pass';
    if (softDelete.at !== null) stamps[softDelete.at] = isDeleted ? time : null;
    if (softDelete.flag !== null) stamps[softDelete.flag] = isDeleted ? 't' : 'f';
    if (history.from !== null) stamps[history.from] = time;
    if (history.to !== null) stamps[history.to] = null;
    return stamps;
  }
}

const timeOf = (ms: number): string => new Date(ms).toISOString().replace('T', ' ').replace('.000Z', '+00');

async function fixture(options: DatasetOptions, ...setup: readonly string[]) {
  const database = await createDatabase(server, 'layout');
  const sql = await PgConnection.connect({ url: database.url, settings: { timezone: 'UTC' } });
  for (const script of setup) await sql.script(script);
  const table = quoteQualified(options.schema ?? 'shop', options.table ?? 'items');
  const key = options.rename['id'] ?? 'id';
  const { at, flag } = options.softDelete;
  const { to } = options.history;
  const alive = to !== null ? `"${to}" is null` : at !== null ? `"${at}" is null` : flag !== null ? `not "${flag}"` : 'true';
  return {
    url: database.url,
    sql,
    sink: (hold: 'event' | 'key' = 'key', scores: PostgresSinkOptions['scores'] = []): Promise<PostgresSink> =>
      postgresSink({
        name: 'store',
        url: database.url,
        schema: 'shop',
        datasets: new Map([[DATASET.name, options]]),
        besideRowsMin: 1,
        tables: { create: true, widen: true },
        hold: () => hold,
        scores,
        pipeline: 'p',
      }),
    rows: async (withDeleted: boolean): Promise<Cells[]> => {
      const { columns, rows } = await sql.query(`select * from ${table} where ${withDeleted ? 'true' : alive} order by "${key}"`);
      return rows.map((row) => Object.fromEntries(columns.map(({ name }, i) => [name, row[i] ?? null])));
    },
    async [Symbol.asyncDispose]() {
      await sql.close();
      await database[Symbol.asyncDispose]();
    },
  };
}

async function releaseAll(sink: PostgresSink): Promise<void> {
  const open = await sink.quarantine.find({ status: ['held', 'waiting'], limit: 10_000 });
  await sink.quarantine.release(
    open.map(({ id }) => id),
    'me',
  );
  const drain = new AbortController();
  const source = replaySource({ log: sink.quarantine, lane: 'replay:p' as LaneId, batchRows: 7 });
  const running = runPipeline({ source, stages: [], sink }, { drain: drain.signal, abort: never });
  const settled = eventually(async () => {
    const counts = await sink.quarantine.counts();
    return !counts.some(({ status, count }) => count > 0 && ['held', 'waiting', 'released'].includes(status));
  }, 'everything is settled');
  try {
    await Promise.race([running, settled]);
  } finally {
    drain.abort();
    await running;
  }
}

/** Layouts as a seed makes them up: by turns with versions, with deleted rows, and with neither. */
function madeUp(seed: number, random: Random): DatasetOptions {
  const columns = random.chance(0.5) ? null : random.chance(0.5) ? ['note', 'id'] : ['id', 'n'];
  const soft = seed % 3 === 1 ? 1 + random.below(3) : 0;
  return {
    schema: random.chance(0.3) ? 'Other "schema"' : null,
    table: random.chance(0.5) ? 'Ítems of "mine"' : null,
    columns,
    rename: {
      ...(random.chance(0.5) ? { id: 'Item no.' } : {}),
      // Names swapped: each is the other's.
      ...(columns === null && random.chance(0.5) ? { n: 'note', note: 'n' } : {}),
    },
    softDelete: { at: soft === 1 || soft === 3 ? 'deleted_at' : null, flag: soft === 2 || soft === 3 ? 'is gone' : null },
    history: seed % 3 === 0 ? { from: 'Valid from', to: 'valid_to' } : PLAIN.history,
    write: random.chance(0.5) ? STAMPED : { ...PLAIN.write, operation: 'op' },
  };
}

/** Versions of one commit have the same times. */
const sorted = (rows: readonly Cells[]): string[] =>
  rows.map((row) => JSON.stringify(Object.entries(row).sort(([a], [b]) => (a < b ? -1 : 1)))).sort();

type Case = ShopOptions & {
  readonly hold: 'event' | 'key';
  readonly heldShare: number;
  readonly droppedShare?: number;
  /** Whether deleted rows are known exactly: what is superseded never was a row. */
  readonly exact: boolean;
};
const CASES: Readonly<Record<string, Case>> = {
  'nothing held': { hold: 'key', heldShare: 0, exact: true, moves: true, partial: true, truncates: true },
  'much in a batch': { hold: 'key', heldShare: 0, exact: true, moves: true, partial: true, truncates: true, keys: 300 },
  'some dropped': { hold: 'key', heldShare: 0, droppedShare: 0.15, exact: true, moves: true, partial: true, truncates: true },
  'keys held': { hold: 'key', heldShare: 0.06, exact: true, moves: true, partial: true, truncates: false },
  'events held': { hold: 'event', heldShare: 0.06, exact: false, moves: false, partial: false, truncates: true },
};

test.each(seeds.flatMap((seed) => Object.keys(CASES).map((name) => [seed, name] as const)))(
  'seed %i, %s: a table of any layout is what the changes make of it one by one',
  async (seed, name) => {
    const { hold, heldShare, droppedShare = 0, exact, ...options } = CASES[name] as Case;
    const random = new Random(seed);
    const layout = madeUp(seed, random);
    const form = rowForm(random);
    const shop = new Shop(random, form, options);
    const model = new Model(layout);
    const bad = new Map<string, 'quarantine' | 'drop'>();
    const batches: Batch[] = [];
    for (let n = 0; n < 12; n++) {
      const events: ChangeEvent[] = [];
      for (let left = 1 + random.below((options.keys ?? 40) / 3); left > 0; left--) events.push(...shop.transaction());
      for (const event of events) {
        const isDropped = event.op !== 'truncate' && random.chance(droppedShare);
        if (isDropped) bad.set(eventId(event), 'drop');
        else model.take(event);
        if (event.op !== 'truncate' && random.chance(heldShare)) bad.set(eventId(event), 'quarantine');
      }
      batches.push(batchOf(events, shop.place));
    }
    await using db = await fixture(layout);
    await using sink = await db.sink(hold);
    await runPipeline({ source: batchSource(batches), stages: [gate(bad)], sink }, { drain: never, abort: never });
    if (heldShare > 0) await releaseAll(sink);
    expect(sorted(await db.rows(exact)), `${form}, seed ${seed}, ${JSON.stringify(layout)}`).toEqual(sorted(model.shown(exact)));
    for (const { lane, ledger } of await sink.lanes()) {
      const { events, ...out } = ledger;
      expect(
        Object.values(out).reduce((sum, count) => sum + count, 0n),
        `the ledger of ${lane}`,
      ).toBe(events);
    }
  },
);

test('a row that was deleted comes back without its old scores, and a row may move to where a deleted one lies', async () => {
  const write = { score: 'risk', model: null, at: null };
  await using db = await fixture({ ...PLAIN, softDelete: { at: 'gone', flag: null } });
  await using sink = await db.sink('event', [{ dataset: DATASET.name, write }]);
  const lease = await sink.acquire(LANE);
  const rows: string[] = [];
  let place = 0;
  const send = async (change: Partial<ChangeEvent>, key: number, score: number | null, movedFrom: number | null = null): Promise<void> => {
    const version = (++place).toString(16).padStart(16, '0');
    const before = change.op === 'delete' ? encoded(key, null, null) : movedFrom === null ? null : encoded(movedFrom, null, null);
    const event = { ...insertOf(key, place, version), before, movedFrom: movedFrom === null ? null : String(movedFrom), ...change };
    const after = place === 1 ? null : ((place - 1).toString(16).padStart(16, '0') as Position);
    const batch = batchOf([event as ChangeEvent], version as Position, after);
    const [values, status] = [Float32Array.of(score ?? Number.NaN), Uint8Array.of(score === null ? 0 : 1)];
    batch.scores.push({ dataset: DATASET.name, model: 'm', version: '1', atMs: 0, write, values, status });
    expect(await sink.apply(batch, [], lease, never)).toMatchObject({ kind: 'applied' });
    const found = await db.sql.query('select id, n, risk, gone is not null from shop.items order by id');
    rows.push(found.rows.map(([id, n, risk, gone]) => `${id}: ${n} ${risk ?? '-'}${gone === 't' ? ' gone' : ''}`).join(', '));
  };
  await send({}, 1, 0.5);
  await send({ op: 'update' }, 1, null);
  await send({ op: 'delete', after: null }, 1, null);
  await send({}, 1, null);
  await send({}, 2, 0.25);
  await send({ op: 'delete', after: null }, 1, null);
  await send({ op: 'update' }, 1, null, 2);
  await send({ op: 'delete', after: null }, 1, null);
  await send({ op: 'update' }, 1, null, 7);
  expect(rows).toEqual([
    '1: 1 0.5',
    '1: 2 0.5',
    '1: 2 0.5 gone',
    '1: 4 -',
    '1: 4 -, 2: 5 0.25',
    '1: 4 - gone, 2: 5 0.25',
    '1: 7 0.25',
    '1: 7 0.25 gone',
    '1: 9 -',
  ]);
});

test('what cannot be written is told of before anything is: rows without their key, two values for one column', async () => {
  for (const [options, message] of [
    [{ ...PLAIN, columns: ['n', 'note'] }, /columns lacks id of the key/],
    [{ ...PLAIN, rename: { n: 'note' } }, /two things of shop.public.items would go to the column note/],
    [{ ...PLAIN, softDelete: { at: null, flag: 'n' } }, /two things of shop.public.items would go to the column n/],
  ] as const) {
    await using db = await fixture(options);
    await using sink = await db.sink();
    const applying = sink.apply(batchOf([insertOf(1, 1, '01')], '01' as Position), [], await sink.acquire(LANE), never);
    await expect(applying).rejects.toSatisfy(
      (error) => error instanceof PipelineError && error.code === 'CONFIG_INVALID' && message.test(error.message),
    );
  }
});

test('a row that the target refuses is held by the name that the source has for the column', async () => {
  const options = { ...PLAIN, rename: { n: 'amount' } };
  await using db = await fixture(
    options,
    'create schema shop; create table shop.items (id bigint primary key, amount integer not null, note text)',
  );
  await using sink = await db.sink();
  const event = { ...insertOf(1, 1, '01'), after: encoded(1, null, 'x') };
  const batch = batchOf([event as ChangeEvent, insertOf(2, 2, '01', 1)], '01' as Position);
  const outcome = await sink.apply(batch, [], await sink.acquire(LANE), never);
  expect(outcome).toMatchObject({ kind: 'refused', findings: [{ index: 0, rule: 'target.23502', column: 'n' }] });
});
