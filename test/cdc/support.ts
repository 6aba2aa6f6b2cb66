/** A database of its own for each test, and a target in memory that a source's batches are applied to. */
import { randomUUID } from 'node:crypto';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { Transform } from 'node:stream';
import { expect } from 'vitest';
import type { Batch } from '../../core/batch.ts';
import { PipelineError } from '../../core/errors.ts';
import type { Lease } from '../../core/contracts.ts';
import { type ChangeEvent, type Checkpoint, type LaneId, type Position, type Row, UNCHANGED, type Value } from '../../core/event.ts';
import { reachedLsn } from '../../cdc/postgres/lane-position.ts';
import { postgresSource, type PostgresSource, type PostgresSourceOptions } from '../../cdc/postgres/source.ts';
import { PgConnection } from '../../wire/postgres/connection.ts';
import { Format, FrontendWriter } from '../../wire/postgres/messages.ts';
import { createDatabase } from '../support/databases.ts';

export interface TestDatabase extends AsyncDisposable {
  readonly url: string;
  readonly name: string;
  readonly sql: PgConnection;
  /** Slot and publication of this database alone: slots are known to the whole server. */
  readonly slot: string;
  source(options?: Partial<PostgresSourceOptions>): PostgresSource;
}

export async function testDatabase(server: string, ...setup: readonly string[]): Promise<TestDatabase> {
  const database = await createDatabase(server, 'cdc');
  const { name, url } = database;
  const sql = await PgConnection.connect({ url });
  for (const statement of setup) await sql.script(statement);
  const slot = `s_${name}`;
  return {
    url,
    name,
    sql,
    slot,
    source: (options) =>
      postgresSource({
        name: 'shop',
        url,
        slot,
        publication: 'tidegate',
        tables: ['public.t'],
        snapshot: { mode: 'never', chunkRows: 1000, parallel: 1 },
        batch: { rows: 1000, bytes: 16 << 20, ageMs: 0 },
        // A lane in which nothing happens moves on soon: a test waits for the end of the log.
        timing: { awayMs: 100, statusMs: 200, idleMs: 100, idleBytes: 1 },
        ...options,
      }),
    async [Symbol.asyncDispose]() {
      await sql.close();
      await database[Symbol.asyncDispose]();
    },
  };
}

/** What a target does, in plain JavaScript: rows by key as values by column name, and the lane's checkpoint, moved together. */
export class Model {
  checkpoint: Position | null = null;
  readonly tables = new Map<string, Map<string, Record<string, Value>>>();
  /** The same rows as the bytes that came, by column name. */
  readonly cells = new Map<string, Map<string, Map<string, Buffer | null>>>();
  /** Cells that arrived as UNCHANGED where there was no row to keep them from, as `table/key`. */
  readonly incomplete = new Set<string>();
  batches = 0;
  events = 0;
  eventsByOp: Record<string, number> = {};

  lease(lane: LaneId): Lease {
    return { lane, epoch: 1, checkpoint: this.checkpoint === null ? null : { lane, position: this.checkpoint } };
  }

  apply(batch: Batch): Checkpoint {
    if (this.checkpoint !== null && batch.checkpoint.position <= this.checkpoint) {
      throw new Error(`position ${batch.checkpoint.position} does not sort after ${this.checkpoint}`);
    }
    const held = new Set(batch.findings.map(({ index }) => index));
    for (const [index, event] of batch.events.entries()) this.#event(event, held.has(index));
    this.checkpoint = batch.checkpoint.position;
    this.batches++;
    return batch.checkpoint;
  }

  /** Up to where the log is done with, '' before the first checkpoint. */
  get reachedLsn(): string {
    return this.checkpoint === null ? '' : reachedLsn(this.checkpoint);
  }

  rows(table: string): Record<string, Value>[] {
    const rows = this.tables.get(table) ?? new Map<string, Record<string, Value>>();
    return [...rows].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, row]) => row);
  }

  #event(event: ChangeEvent, isHeld: boolean): void {
    this.events++;
    this.eventsByOp[event.op] = (this.eventsByOp[event.op] ?? 0) + 1;
    const name = event.dataset.name;
    const rows = this.tables.get(name) ?? new Map<string, Record<string, Value>>();
    this.tables.set(name, rows);
    const cells = this.cells.get(name) ?? new Map<string, Map<string, Buffer | null>>();
    this.cells.set(name, cells);
    if (event.op === 'truncate') {
      rows.clear();
      cells.clear();
    } else if (event.op === 'delete') {
      rows.delete(event.key);
      cells.delete(event.key);
    } else {
      const base = rows.get(event.movedFrom ?? event.key);
      const isOfColumns = event.op === 'read' && event.dataset.columns.some((_, index) => event.after.value(index) === UNCHANGED);
      // What is read of some columns alone changes rows that are there; a row whose large cells were cut out is one all the same.
      if (isOfColumns && base === undefined && !isHeld) return;
      const isUpdate = event.op === 'update' || isOfColumns;
      const sent = new Map(isUpdate ? cells.get(event.movedFrom ?? event.key) : undefined);
      const row: Record<string, Value> = { ...(isUpdate ? base : undefined) };
      for (const [index, column] of event.dataset.columns.entries()) {
        const value = event.after.value(index);
        if (value !== UNCHANGED) sent.set(column.name, cellOf(event.after, index));
        if (value !== UNCHANGED) row[column.name] = value;
        else if (base === undefined) this.incomplete.add(`${name}/${event.key}`);
      }
      if (event.movedFrom !== null) {
        rows.delete(event.movedFrom);
        cells.delete(event.movedFrom);
      }
      rows.set(event.key, row);
      cells.set(event.key, sent);
    }
  }
}

function cellOf(row: Row, column: number): Buffer | null {
  const { bytes, cells, at } = row.encoded ?? { bytes: Buffer.alloc(0), cells: new Int32Array(0), at: 0 };
  const from = cells[at + 2 * column] ?? 0;
  const length = cells[at + 2 * column + 1] ?? -1;
  return length < 0 ? null : Buffer.from(bytes.subarray(from, from + length));
}

/** Runs the source into `model` until `until` says so after a batch (it is asked after each), then stops it. */
export async function run(
  source: PostgresSource,
  model: Model,
  until: (batch: Batch) => boolean | Promise<boolean>,
  acknowledge = true,
): Promise<void> {
  const stop = new AbortController();
  for await (const batch of source.read(async (lane) => model.lease(lane), stop.signal)) {
    const checkpoint = model.apply(batch);
    if (acknowledge) await source.acknowledge(checkpoint);
    if (await until(batch)) stop.abort();
  }
}

/** The same, begun again from the checkpoint after what passes by itself, as the service does it. */
export async function runAgain(...args: Parameters<typeof run>): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await run(...args);
    } catch (error) {
      if (!(error instanceof PipelineError) || error.after !== 'backoff' || attempt === 5) throw error;
    }
  }
}

/** Whether the lane's place says that a snapshot is under way. */
export const isCopying = (model: Model): boolean => model.checkpoint === null || /@[0-9a-f]+\.\w/.test(model.checkpoint);

/** Runs until the source has passed the end of the log as it is now. */
export async function catchUp(source: PostgresSource, model: Model, sql: PgConnection): Promise<void> {
  const end = await endOfLog(sql);
  await runAgain(source, model, () => model.reachedLsn >= end && !isCopying(model));
}

/** A commit of its own at the end of the log; the end of it, as a position writes it. */
export async function endOfLog(sql: PgConnection): Promise<string> {
  await sql.script(`select pg_logical_emit_message(true, 'test', 'the end')`);
  const { rows } = await sql.query(`select lpad(to_hex((pg_current_wal_insert_lsn() - '0/0')::bigint), 16, '0')`);
  return rows[0]?.[0] ?? '';
}

/** A role of its own, dropped with what it owns; `url` is that of a database with this role as its user. */
export async function testRole(
  server: string,
  attributes: string,
): Promise<AsyncDisposable & { readonly name: string; url(database: string): string }> {
  const name = `r_${randomUUID().replaceAll('-', '').slice(0, 16)}`;
  await using admin = await PgConnection.connect({ url: server });
  await admin.script(`create role ${name} login ${attributes}`);
  return {
    name,
    url: (database) => database.replace(/\/\/[^@]*@/, `//${name}@`),
    async [Symbol.asyncDispose]() {
      await using again = await PgConnection.connect({ url: server });
      await again.script(`drop role ${name}`);
    },
  };
}

/** Reads until the source fails, and answers why. Fails where it comes to the end of its snapshot, or as far as `until` says. */
export async function failureOf(
  source: PostgresSource,
  model = new Model(),
  until: Parameters<typeof run>[2] = () => !isCopying(model),
): Promise<PipelineError> {
  try {
    await run(source, model, until);
  } catch (error) {
    if (error instanceof PipelineError) return error;
    throw error;
  }
  throw new Error('the source ended without a failure');
}

/** Holds the model against the table at the source, cell by cell, in the bytes that the server sends. `table` as SQL names it. */
export async function sameAsTable(model: Model, db: TestDatabase, table: string): Promise<void> {
  const statement = new FrontendWriter().parse('', `select * from ${table}`).bind('', '', [], [], Format.Binary).describe('P', '');
  const [result] = await db.sql.exchange(statement.execute().sync().bytes(), 1, true);
  const names = result?.columns.map(({ name }) => name) ?? [];
  const theirs = (result?.raw ?? []).map((row) => JSON.stringify(row.map((cell) => cell?.toString('base64') ?? null)));
  const name = table.replace(/^only /, '').replaceAll(/""|"/g, (quote) => (quote === '"' ? '' : '"'));
  const ours = [...(model.cells.get(`shop.public.${name}`)?.values() ?? [])].map((row) =>
    JSON.stringify(names.map((name) => row.get(name)?.toString('base64') ?? null)),
  );
  const short = (rows: string[], others: string[]): string[] => {
    const known = new Set(others);
    return rows
      .filter((row) => !known.has(row))
      .map((row) => row.replaceAll(/[A-Za-z0-9+/=]{40,}/g, (text) => `${text.slice(0, 20)}…${text.length}`));
  };
  expect({ surplus: short(ours, theirs), missing: short(theirs, ours), rows: ours.length }).toEqual({
    surplus: [],
    missing: [],
    rows: theirs.length,
  });
}

/** The same database by another port of this machine. */
export function throughPort(database: string, port: number): string {
  const url = new URL(database);
  url.port = String(port);
  return url.href;
}

/** A way to a server that lets so many bytes a second come back, and nothing within a millisecond. */
export async function slowWay(port: number, bytesPerSecond: number): Promise<AsyncDisposable & { readonly port: number }> {
  const sockets = new Set<Socket>();
  const way = createServer((client) => {
    const upstream = connect(port, '127.0.0.1');
    const slow = new Transform({
      transform: (chunk: Buffer, _, done) => void setTimeout(() => done(null, chunk), Math.ceil((1000 * chunk.length) / bytesPerSecond)),
    });
    client.pipe(upstream);
    upstream.pipe(slow).pipe(client);
    for (const [one, other] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      sockets.add(one);
      one.on('error', () => other.destroy());
      one.on('close', () => other.destroy());
    }
  });
  await new Promise<void>((resolve) => way.listen(0, '127.0.0.1', resolve));
  return {
    port: (way.address() as AddressInfo).port,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      await new Promise<void>((resolve) => way.close(() => resolve()));
    },
  };
}

/** A failure with this code, and this message where one is asked for. */
export const code = (expected: PipelineError['code'], message?: RegExp) =>
  expect.objectContaining({
    code: expected,
    ...(message === undefined ? {} : { message: expect.stringMatching(message) as string }),
  }) as PipelineError;
