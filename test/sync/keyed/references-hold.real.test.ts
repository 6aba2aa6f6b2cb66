/**
 * references where rows name rows of their own table, and later changes of a row that is held wait for it or not: against a model that looks at every row, with and
 * without crashes, and however the stream is cut into batches.
 */
import { expect, test } from 'vitest';
import type { Batch } from '../../../core/batch.ts';
import { type ChangeEvent, eventId, type Position, UNCHANGED } from '../../../core/event.ts';
import { keysOf } from '../../../sync/postgres/held-keys.ts';
import { Random } from '../../support/random.ts';
import { batchOf, DATASET, Shop } from '../shop.ts';
import { contract, target } from './support.ts';

const seeds = process.env['KEYED_SEEDS']?.split(',').map(Number) ?? [1, 2];

/** The plainest way to say it, transaction by transaction: `n` names the `id` of a row that is there when the transaction ends. */
class Model {
  rows: ReadonlyMap<string, number | null> = new Map();
  readonly held = new Map<string, 'n.references' | 'hold.key'>();
  readonly #blocked = new Set<string>();
  readonly #hold: 'event' | 'key';

  constructor(hold: 'event' | 'key') {
    this.#hold = hold;
  }

  transaction(events: readonly ChangeEvent[]): void {
    const failed = new Set<ChangeEvent>();
    for (;;) {
      const { rows, waits, blocked } = this.#after(events, failed);
      const known = failed.size;
      for (const event of events) {
        const n = event.op === 'delete' || event.op === 'truncate' ? null : event.after.value(1);
        if (!waits.has(event) && n !== null && !rows.has(String(n))) failed.add(event);
      }
      if (failed.size > known) continue;
      for (const event of failed) this.held.set(eventId(event), 'n.references');
      for (const event of waits) this.held.set(eventId(event), 'hold.key');
      for (const key of blocked) this.#blocked.add(key);
      this.rows = rows;
      return;
    }
  }

  #after(events: readonly ChangeEvent[], failed: ReadonlySet<ChangeEvent>) {
    const [rows, blocked, waits] = [new Map(this.rows), new Set(this.#blocked), new Set<ChangeEvent>()];
    for (const event of events) {
      if (event.op === 'truncate') {
        rows.clear();
        continue;
      }
      const waitsForKey = this.#hold === 'key' || event.after?.value(2) === UNCHANGED;
      const isWaiting = !failed.has(event) && waitsForKey && keysOf(event).some((key) => blocked.has(key));
      if (isWaiting) waits.add(event);
      if (isWaiting || failed.has(event)) {
        for (const key of keysOf(event)) blocked.add(key);
        continue;
      }
      if (event.movedFrom !== null) rows.delete(event.movedFrom);
      if (event.after === null) rows.delete(event.key);
      else rows.set(event.key, event.after.value(1) as number | null); // As the shop makes them.
    }
    return { rows, blocked, waits };
  }
}

function stream(seed: number, model: Model) {
  const random = new Random(seed);
  const shop = new Shop(random, random.chance(0.5) ? 'encoded' : 'values', {
    moves: true,
    partial: true,
    truncates: seed % 2 === 0,
    keys: 12,
    numbers: 15,
  });
  const batches: Batch[] = [];
  let after: Position | null = null;
  for (let i = 0; i < 25; i++) {
    const events: ChangeEvent[] = [];
    for (let t = 1 + random.below(4); t > 0; t--) {
      const transaction = shop.transaction();
      model.transaction(transaction);
      events.push(...transaction);
    }
    batches.push(batchOf(events, shop.place, after));
    after = shop.place;
  }
  return { batches, random };
}

test.each(seeds.flatMap((seed) => (['event', 'key'] as const).map((hold) => [seed, hold] as const)))(
  'seed %s, hold: %s: a row is held exactly when none is there that it names, and others wait for it or not',
  async (seed, hold) => {
    const model = new Model(hold);
    const { batches, random } = stream(seed, model);
    const body = `hold: ${hold}\ncolumns: { n: [{ references: { dataset: ${DATASET.name}, column: id, wait: 0s } }] }`;
    await using at = await target([contract(DATASET.name, body)]);
    await at.runWithCrashes(batches, random);
    const { rows } = await at.sql.query('select id, n from shop.items order by id');
    expect(rows).toEqual([...model.rows].sort(([a], [b]) => Number(a) - Number(b)).map(([id, n]) => [id, n === null ? null : String(n)]));
    const { rows: held } = await at.sql.query(`select id, array_to_string(rules, ' ') from tidegate.quarantine order by id collate "C"`);
    expect(held).toEqual([...model.held].sort(([a], [b]) => (a < b ? -1 : 1)));
    expect([...model.held.values()].filter((rule) => rule === 'n.references').length).toBeGreaterThan(5);
  },
  60_000,
);
