/** Many whole rows are merged in the order of their keys where the table lets them: what comes of it is what row by row would come of it, whoever else writes the table. */
import { expect, inject, test } from 'vitest';
import type { Batch } from '../../core/batch.ts';
import type { ChangeEvent, Column, Dataset, DatasetName, Position, Version } from '../../core/event.ts';
import { runPipeline } from '../../core/pipeline.ts';
import { PgConnection } from '../../wire/postgres/connection.ts';
import { type PgRelation, PgRow } from '../../wire/postgres/row.ts';
import { builtinType, rawBytes } from '../../wire/postgres/types.ts';
import { createDatabase } from '../support/databases.ts';
import { eventually } from '../support/eventually.ts';
import { Random } from '../support/random.ts';
import { batchOf, batchSource } from './shop.ts';
import { sinkOf } from './store.ts';

const seeds = process.env['SYNC_SEEDS']?.split(',').map(Number) ?? [1, 2];
const never = new AbortController().signal;
const KEYS = 1200;

interface KeyType {
  readonly oid: number;
  readonly native: string;
  readonly type: Column['type'];
  readonly cell: (key: number) => Buffer;
}

const int = (bytes: 2 | 4, value: number): Buffer => {
  const cell = Buffer.alloc(bytes);
  cell.writeIntBE(value, 0, bytes);
  return cell;
};

const long = (value: bigint): Buffer => {
  const cell = Buffer.alloc(8);
  cell.writeBigInt64BE(value);
  return cell;
};

/** The first two are the infinities. */
const days = (key: number): Buffer => int(4, key < 2 ? (key === 0 ? -(2 ** 31) : 2 ** 31 - 1) : (key - KEYS / 2) * 991);
const micros = (key: number): Buffer =>
  long(key < 2 ? (key === 0 ? -(2n ** 63n) : 2n ** 63n - 1n) : BigInt(key - KEYS / 2) * 86_400_000_123n);
const uuid = (key: number): Buffer => Buffer.concat([int(4, Math.imul(key, 0x9e3779b1) | 0), Buffer.alloc(10), int(2, key)]);

const KEY_TYPES: readonly KeyType[] = [
  { oid: 21, native: 'smallint', type: 'integer', cell: (key) => int(2, key - KEYS / 2) },
  { oid: 23, native: 'integer', type: 'integer', cell: (key) => int(4, (key - KEYS / 2) * 1_700_003) },
  { oid: 20, native: 'bigint', type: 'integer', cell: (key) => long(BigInt(key - KEYS / 2) * 4_000_000_000_007n) },
  { oid: 1082, native: 'date', type: 'date', cell: days },
  { oid: 1114, native: 'timestamp without time zone', type: 'timestamp', cell: micros },
  { oid: 1184, native: 'timestamp with time zone', type: 'timestamp', cell: micros },
  { oid: 2950, native: 'uuid', type: 'other', cell: uuid },
];

/** A table whose key is of one type or two, and changes of it. */
class Items {
  readonly dataset: Dataset;
  readonly rows = new Map<number, string>();
  readonly #types: readonly KeyType[];
  readonly #relation: PgRelation;
  readonly #random: Random;
  #ordinal = 0;

  constructor(random: Random, types: readonly KeyType[]) {
    const key = types.map(({ type, native }, i): Column => ({ name: `k${i}`, type, native, nullable: false }));
    const rest: readonly Column[] = [
      { name: 'n', type: 'integer', native: 'integer', nullable: true },
      { name: 'note', type: 'text', native: 'text', nullable: true },
    ];
    this.dataset = { name: 'shop.public.items' as DatasetName, version: 1, columns: [...key, ...rest], key: types.map((_, i) => i) };
    this.#relation = {
      dataset: this.dataset,
      types: [...types.map(({ oid }) => oid), 23, 25].map((oid) => {
        const type = builtinType(oid);
        return { oid, typmod: -1, format: 'binary' as const, decode: type?.decode ?? rawBytes, ...(type === undefined ? {} : { type }) };
      }),
    };
    this.#types = types;
    this.#random = random;
  }

  get sql(): string {
    const names = this.#types.map((_, i) => `k${i}`).join(', ');
    const columns = this.#types.map(({ native }, i) => `k${i} ${native}`).join(', ');
    return `create schema shop; create table shop.items (${columns}, n integer, note text, primary key (${names}))`;
  }

  get keySql(): string {
    return this.#types.map((_, i) => `k${i}`).join(', ');
  }

  /** Whole rows, of keys that are there and of others; some are deleted. */
  batch(version: string, size: number, deletes: number): Batch {
    this.#ordinal = 0;
    const events = Array.from({ length: size }, () => {
      const key = this.#random.below(KEYS);
      if (this.rows.has(key) && this.#random.chance(deletes)) {
        this.rows.delete(key);
        return this.#event('delete', version, key, null);
      }
      const note = `${key} in ${version}, ${this.#random.below(1000)}`;
      this.rows.set(key, note);
      return this.#event('update', version, key, note);
    });
    return batchOf(events, version as Position);
  }

  #event(op: 'update' | 'delete', version: string, key: number, note: string | null): ChangeEvent {
    const row = this.#row(key, note);
    return {
      op,
      dataset: this.dataset,
      before: op === 'delete' ? row : null,
      after: op === 'delete' ? null : row,
      key: String(key),
      movedFrom: null,
      version: version as Version,
      ordinal: this.#ordinal++,
      committedAtMs: 0,
    } as ChangeEvent; // An encoded row is a row.
  }

  #row(key: number, note: string | null): PgRow {
    // Of two columns the first is the same for many.
    const parts = this.#types.map(({ cell }, i) => cell(i === this.#types.length - 1 ? key : (key % 7) + 2));
    const all = [...parts, note === null ? null : int(4, key), note === null ? null : Buffer.from(note)];
    const cells = new Int32Array(2 * all.length);
    let at = 0;
    for (const [i, part] of all.entries()) {
      cells[2 * i] = at;
      cells[2 * i + 1] = part?.length ?? -1;
      at += part?.length ?? 0;
    }
    return new PgRow(this.#relation, Buffer.concat(all.filter((part) => part !== null)), cells, 0);
  }

  async write(url: string, batches: readonly Batch[]): Promise<void> {
    await using sink = await sinkOf(url);
    await runPipeline({ source: batchSource(batches), stages: [], sink }, { drain: never, abort: never });
  }
}

/** A table with a second unique index is one in which rows are tied to each other: its rows are not merged. */
const tied = (items: Items): string => `${items.sql}; create unique index on shop.items (${items.keySql})`;

async function inOrder(sql: PgConnection, items: Items): Promise<boolean> {
  const { rows } = await sql.query(`select bool_and(place = written) from (select row_number() over (order by ${items.keySql}) as place,
    row_number() over (order by ctid) as written from shop.items) o`);
  return rows[0]?.[0] === 't';
}

const BY_TYPE = [...KEY_TYPES.map((type) => [type]), [KEY_TYPES[0], KEY_TYPES[6]].filter((type) => type !== undefined)];
const cases = BY_TYPE.map((types, i) => ({
  seed: seeds[i % seeds.length] ?? 1,
  types,
  names: types.map(({ native }) => native).join(', '),
}));

test.each(cases)('seed $seed, key of $names: merged rows are those that would be written one by one', async ({ seed, types }) => {
  const random = new Random(seed);
  const items = new Items(random, types);
  await using merged = await createDatabase(inject('targetServer'), 'merged');
  await using one = await createDatabase(inject('targetServer'), 'tied');
  await using sql = await PgConnection.connect({ url: merged.url });
  await using other = await PgConnection.connect({ url: one.url });
  await sql.script(items.sql);
  await other.script(tied(items));
  const first = [items.batch('01', 400, 0)];
  const more = Array.from({ length: 8 }, (_, i) => items.batch(`1${i}`, 100 + random.below(500), 0.2));
  await items.write(merged.url, first);
  await items.write(one.url, first);
  // Servers that do not merge write both in the order of their events.
  expect([await inOrder(sql, items), await inOrder(other, items)]).toEqual([sql.majorVersion >= 15, false]);
  await items.write(merged.url, more);
  await items.write(one.url, more);
  const all = `select * from shop.items order by ${items.keySql}`;
  const { rows } = await sql.query(all);
  expect(rows).toEqual((await other.query(all)).rows);
  expect(rows.map((row) => row.at(-1) ?? '').toSorted()).toEqual([...items.rows.values()].toSorted());
  const counts = 'select upserts, deletes, folded from tidegate.lanes';
  expect((await sql.query(counts)).rows).toEqual((await other.query(counts)).rows);
});

test.each(seeds)('seed %i: who else writes the table meanwhile takes nothing from it, and nothing is held for it', async (seed) => {
  const random = new Random(seed);
  for (const isMerged of [true, false]) {
    for (let round = 0; round < 4; round++) {
      const items = new Items(random, KEY_TYPES.slice(2, 3));
      await using database = await createDatabase(inject('targetServer'), 'meanwhile');
      const { url } = database;
      await using sql = await PgConnection.connect({ url });
      await using client = await PgConnection.connect({ url });
      await sql.script(isMerged ? items.sql : tied(items));
      // Some of the keys are there.
      await items.write(url, [items.batch('01', 600, 0)]);
      const batch = items.batch('02', 500, 0);
      const before = new Map((await sql.query('select n, k0 from shop.items')).rows.map(([n, k0]) => [Number(n), k0]));
      const kept = new Set(before.keys());
      await client.script('begin');
      const strange: string[] = [];
      for (let changes = 0; changes < 4; changes++) {
        const key = Number(batch.events[random.below(batch.size)]?.key);
        const k0 = BigInt(key - KEYS / 2) * 4_000_000_000_007n;
        const dice = random.below(3);
        if (!kept.has(key)) {
          await client.script(`insert into shop.items values (${k0}, ${key}, 'the client')`);
          kept.add(key);
        } else if (dice === 0) {
          await client.script(`delete from shop.items where k0 = ${k0}`);
          kept.delete(key);
        } else if (dice === 1) await client.script(`update shop.items set note = 'the client' where k0 = ${k0}`);
        else {
          strange.push(`the client ${changes}`);
          await client.script(`update shop.items set k0 = ${k0 + 1n}, note = 'the client ${changes}' where k0 = ${k0}`);
          kept.delete(key);
        }
      }
      const written = items.write(url, [batch]);
      const waits = `select 1 from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`;
      await eventually(async () => (await sql.query(waits)).rows.length > 0, 'the batch waits for the client');
      await client.script(random.chance(0.7) ? 'commit' : (strange.splice(0), 'rollback'));
      await written;
      const note = `round ${round}, merged ${isMerged}`;
      const { rows } = await sql.query('select note from shop.items');
      expect(rows.map(([text]) => text ?? '').toSorted(), `seed ${seed}, ${note}`).toEqual([...items.rows.values(), ...strange].toSorted());
      expect((await sql.query('select count(*) from tidegate.quarantine')).rows, `seed ${seed}, ${note}`).toEqual([['0']]);
    }
  }
});
