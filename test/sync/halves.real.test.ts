/** A batch that the target takes only in the source's own order is written part by part, in one transaction: each row ends as its last event left it. */
import { expect, inject, test } from 'vitest';
import { type ChangeEvent, type Position, UNCHANGED, type Version } from '../../core/event.ts';
import { runPipeline } from '../../core/pipeline.ts';
import { PgConnection } from '../../wire/postgres/connection.ts';
import { createDatabase } from '../support/databases.ts';
import { Random } from '../support/random.ts';
import { batchOf, batchSource, DATASET, encoded, type Values } from './shop.ts';
import { sinkOf } from './store.ts';

const seeds = process.env['SYNC_SEEDS']?.split(',').map(Number) ?? [1, 2, 3];
const never = new AbortController().signal;
const KEYS = 1500;

/** Rows of which no two have one number, though they take each other's. */
class Numbered {
  readonly rows = new Map<number, readonly [n: number | null, note: string]>();
  readonly #random: Random;
  readonly #isPartial: boolean;
  #number = 0;
  #ordinal = 0;
  #next = 0;

  constructor(random: Random, isPartial: boolean) {
    this.#random = random;
    this.#isPartial = isPartial;
  }

  batch(version: string, size: number) {
    this.#ordinal = 0;
    const events: ChangeEvent[] = [];
    while (events.length < size) events.push(...this.#change(version));
    return batchOf(events, version as Position);
  }

  #change(version: string): ChangeEvent[] {
    const random = this.#random;
    const [id, other] = [this.#key(), this.#key()];
    const [row, its] = [this.rows.get(id), this.rows.get(other)];
    const note = `note ${random.below(1000)}`;
    if (row === undefined) return [this.#put(version, 'insert', id, ++this.#number, note)];
    const dice = random.next();
    if (dice < 0.1) {
      this.rows.delete(id);
      return [this.#event(version, 'delete', [id, null, null], null)];
    }
    if (dice > 0.105 || its === undefined || id === other) return [this.#put(version, 'update', id, row[0], note)];
    return [
      this.#put(version, 'update', id, null, row[1]),
      this.#put(version, 'update', other, row[0], its[1]),
      this.#put(version, 'update', id, its[0], row[1]),
    ];
  }

  /** One row after the other, but for some that come again. */
  #key(): number {
    const random = this.#random;
    return (random.chance(0.02) ? this.#next + KEYS - random.below(200) : this.#next++) % KEYS;
  }

  #put(version: string, op: 'insert' | 'update', id: number, n: number | null, note: string): ChangeEvent {
    const isKept = this.#isPartial && op === 'update' && this.rows.get(id)?.[1] === note;
    this.rows.set(id, [n, note]);
    return this.#event(version, op, null, [id, n, isKept ? UNCHANGED : note]);
  }

  #event(version: string, op: ChangeEvent['op'], before: Values | null, after: Values | null): ChangeEvent {
    return {
      op,
      dataset: DATASET,
      before: before === null ? null : encoded(...before),
      after: after === null ? null : encoded(...after),
      key: String((after ?? before)?.[0]),
      movedFrom: null,
      version: version as Version,
      ordinal: this.#ordinal++,
      committedAtMs: 0,
    } as ChangeEvent; // By construction the rows are those that the operation has.
  }
}

test.each(seeds)('seed %i: what is written of one part is not written again with the next', async (seed) => {
  const random = new Random(seed);
  const shop = new Numbered(random, random.chance(0.3));
  const batches = Array.from({ length: 16 }, (_, i) => shop.batch(String(i + 1).padStart(2, '0'), 100 + random.below(450)));
  await using database = await createDatabase(inject('targetServer'), 'halves');
  const { url } = database;
  await using sql = await PgConnection.connect({ url });
  await sql.script('create schema shop; create table shop.items (id bigint primary key, n integer unique, note text)');
  await using sink = await sinkOf(url);
  await runPipeline({ source: batchSource(batches), stages: [], sink }, { drain: never, abort: never });
  const { rows } = await sql.query('select id, n, note from shop.items order by id');
  const expected = [...shop.rows]
    .sort(([one], [other]) => one - other)
    .map(([id, [n, note]]) => [String(id), n === null ? null : String(n), note]);
  expect(rows).toEqual(expected);
  expect((await sql.query('select count(*) from tidegate.quarantine')).rows).toEqual([['0']]);
});
