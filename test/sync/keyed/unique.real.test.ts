/** unique, asked of a real target: against a model that looks at every row, with and without crashes. */
import { expect, test } from 'vitest';
import { Batch, Verdict } from '../../../core/batch.ts';
import {
  type ChangeEvent,
  type Dataset,
  eventId,
  type LaneId,
  type Position,
  UNCHANGED,
  ValueRow,
  type Version,
} from '../../../core/event.ts';
import { keysOf } from '../../../sync/postgres/held-keys.ts';
import { Random } from '../../support/random.ts';
import { batchOf, DATASET, LANE, PLAIN, Shop } from '../shop.ts';
import { contract, target } from './support.ts';

const seeds = process.env['KEYED_SEEDS']?.split(',').map(Number) ?? [1, 2, 3];

/** The plainest way to say it: every row of the table is looked at, transaction by transaction. */
class Model {
  readonly rows = new Map<string, number | null>();
  readonly held = new Map<string, 'n.unique' | 'hold.key'>();
  readonly #blocked = new Set<string>();
  readonly #hold: 'event' | 'key';

  constructor(hold: 'event' | 'key') {
    this.#hold = hold;
  }

  transaction(events: readonly ChangeEvent[]): void {
    const failed = new Set<ChangeEvent>();
    for (;;) {
      const blocked = new Set(this.#blocked);
      const waits = new Set<ChangeEvent>();
      const rows = new Map([...this.rows].map(([id, n]) => [id, { n, before: n, by: -1 }]));
      for (const [at, event] of events.entries()) {
        if (event.op === 'truncate') {
          rows.clear();
          continue;
        }
        const waitsForKey = this.#hold === 'key' || event.after?.value(2) === UNCHANGED;
        const isWaiting = waitsForKey && keysOf(event).some((key) => blocked.has(key));
        if (isWaiting && !failed.has(event)) waits.add(event);
        if (isWaiting || failed.has(event)) {
          for (const key of keysOf(event)) blocked.add(key);
          continue;
        }
        const was = rows.get(event.movedFrom ?? event.key);
        if (event.movedFrom !== null) rows.delete(event.movedFrom);
        const n = event.after === null ? undefined : (event.after.value(1) as number | null); // As the shop makes them.
        if (n === undefined) rows.delete(event.key);
        else rows.set(event.key, was?.n === n ? was : { n, before: was === undefined ? null : was.before, by: at });
      }
      const known = failed.size;
      for (const n of new Set([...rows.values()].map((row) => row.n))) {
        if (n === null) continue;
        const having = [...rows.values()].filter((row) => row.n === n);
        const anew = having.filter(({ by, before }) => by >= 0 && before !== n).sort((a, b) => a.by - b.by);
        for (const { by } of anew.length === having.length ? anew.slice(1) : anew) {
          const event = events[by];
          if (event !== undefined) failed.add(event);
        }
      }
      if (failed.size > known) continue;
      for (const event of failed) this.held.set(eventId(event), 'n.unique');
      for (const event of waits) this.held.set(eventId(event), 'hold.key');
      for (const key of blocked) this.#blocked.add(key);
      this.rows.clear();
      for (const [id, { n }] of rows) this.rows.set(id, n);
      return;
    }
  }
}

test.each(seeds.flatMap((seed) => (['event', 'key'] as const).map((hold) => [seed, hold] as const)))(
  'seed %s, hold: %s: a row is held exactly when another one has its value, over crashes too',
  async (seed, hold) => {
    const random = new Random(seed);
    const shop = new Shop(random, random.chance(0.5) ? 'encoded' : 'values', {
      moves: true,
      partial: true,
      truncates: seed % 2 === 0,
      keys: 15,
      numbers: 25,
    });
    const model = new Model(hold);
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
    await using at = await target([contract(DATASET.name, `hold: ${hold}\ncolumns: { n: [unique] }`)]);
    const crashes = await at.runWithCrashes(batches, random);
    expect(crashes).toBeGreaterThan(0);
    const { rows } = await at.sql.query('select id, n from shop.items order by id');
    expect(rows).toEqual([...model.rows].sort(([a], [b]) => Number(a) - Number(b)).map(([id, n]) => [id, n === null ? null : String(n)]));
    const { rows: held } = await at.sql.query(`select id, array_to_string(rules, ' ') from tidegate.quarantine order by id collate "C"`);
    expect(held).toEqual([...model.held].sort(([a], [b]) => (a < b ? -1 : 1)));
    expect(model.held.size).toBeGreaterThan(5);
  },
  60_000,
);

const insert = (id: number, n: number | null, at: number, dataset: Dataset = DATASET): ChangeEvent =>
  ({
    op: 'insert',
    dataset,
    before: null,
    after: new ValueRow(id, n, 'x'),
    key: String(id),
    movedFrom: null,
    version: place(at) as string as Version,
    ordinal: id,
    committedAtMs: 0,
  }) as ChangeEvent; // An insert has what it has.
const place = (at: number): Position => String(at).padStart(8, '0') as Position;
const batchIn = (lane: string, at: number, events: readonly ChangeEvent[]): Batch =>
  new Batch(events, { lane: lane as LaneId, position: place(at) });

test('of two lanes that bring one value at once, one passes', async () => {
  await using at = await target([contract(DATASET.name, 'columns: { n: [unique] }')]);
  await at.run([batchIn(LANE, 1, [insert(0, null, 1)])]);
  await using one = await at.sink();
  await using other = await at.sink();
  const lanes = await Promise.all(
    [one, other].map(async (sink, i) => {
      const lane = `shop/${i}`;
      return { sink, lane, lease: await sink.acquire(lane as LaneId), after: null as Position | null };
    }),
  );
  for (let n = 1; n <= 15; n++) {
    const outcomes = await Promise.all(
      lanes.map(async (to, i) => {
        const batch = batchIn(to.lane, n, [insert(10 * n + i, n, n)]);
        batch.after = to.after;
        const { kind } = await to.sink.apply(batch, [], to.lease, new AbortController().signal);
        if (kind === 'applied') to.after = batch.checkpoint.position;
        return kind;
      }),
    );
    expect(outcomes.sort()).toEqual(['applied', 'refused']);
  }
});

test('a row that is released passes once the value is free, and is held again while it is not', async () => {
  await using at = await target([contract(DATASET.name, 'hold: event\ncolumns: { n: [unique] }')]);
  await at.run([batchIn(LANE, 1, [insert(1, 7, 1), insert(2, 7, 1), insert(3, 7, 1)])]);
  expect(await at.held()).toEqual(['2: n.unique', '3: n.unique']);
  await using sink = await at.sink();
  const ids = async () => (await at.sql.query(`select id from tidegate.quarantine where status = 'held'`)).rows.map(([id]) => id ?? '');
  await sink.quarantine.release(await ids(), 'test');
  await at.replay();
  expect(await at.held()).toEqual(['2: n.unique', '3: n.unique']);
  await at.run([batchIn(LANE, 2, [{ ...insert(1, null, 2), op: 'delete', before: new ValueRow(1, 7, 'x'), after: null }])]);
  await sink.quarantine.release(await ids(), 'test');
  await at.replay();
  expect(await at.held()).toEqual(['3: n.unique']);
  expect((await at.sql.query('select id, n from shop.items')).rows).toEqual([['2', '7']]);
});

test('what is equal is for the target to say; rows that stay though they were deleted do not count; the row passes where the rule only tags', async () => {
  const dataset: Dataset = {
    ...DATASET,
    columns: [
      { name: 'id', type: 'integer', native: 'bigint', nullable: false },
      { name: 'n', type: 'decimal', native: 'numeric', nullable: true },
      { name: 'note', type: 'text', native: 'citext', nullable: true },
    ],
  };
  const layout = { ...PLAIN, softDelete: { at: 'deleted_at', flag: null } };
  await using at = await target(
    [contract(DATASET.name, 'columns: { n: [unique], note: [{ unique: true, on_fail: warn }] }')],
    { datasets: new Map([[DATASET.name, layout]]) },
    'create extension if not exists citext; create schema shop; create table shop.items (id bigint primary key, n numeric, note citext, deleted_at timestamptz)',
  );
  const row = (id: number, n: string, note: string, at: number): ChangeEvent =>
    ({ ...insert(id, null, at, dataset), after: new ValueRow(id, n, note) }) as ChangeEvent; // An insert has what it has.
  const batch = batchIn(LANE, 1, [row(1, '1.0', 'a', 1), row(2, '1.00', 'b', 1), row(3, '2', 'A', 1)]);
  await at.run([batch]);
  expect(batch.findings.map(({ index, rule, verdict }) => [index, rule, verdict])).toEqual([
    [1, 'n.unique', Verdict.Quarantine],
    [2, 'note.unique', Verdict.Warn],
  ]);
  await at.run([
    batchIn(LANE, 2, [{ ...row(1, '1.0', 'a', 2), op: 'delete', before: new ValueRow(1, '1.0', 'a'), after: null }, row(4, '1', 'c', 2)]),
  ]);
  expect(await at.held()).toEqual(['2: n.unique']);
  expect((await at.sql.query('select id from shop.items where deleted_at is null order by id')).rows.flat()).toEqual(['3', '4']);
  expect((await at.sql.query(`select count(*) from pg_indexes where tablename = 'items'`)).rows).toEqual([['3']]);
});
