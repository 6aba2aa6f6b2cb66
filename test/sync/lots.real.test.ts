/**
 * Write, audit, publish against the plainest model of it: rows of a window reach the target once it has passed, and not where it failed; whatever is killed meanwhile, nothing
 * is lost, doubled, or overtakes what came before it of its key.
 */
import { expect, test } from 'vitest';
import { Batch } from '../../core/batch.ts';
import { type ChangeEvent, eventId, type LaneId, type Position, UNCHANGED, type Value } from '../../core/event.ts';
import { HELD_LOT } from '../../core/lots.ts';
import type { PostgresSink } from '../../sync/postgres/sink.ts';
import { eventually } from '../support/eventually.ts';
import { Random } from '../support/random.ts';
import { changesAtMost, contractOf, type Hold, never, replaying, WINDOW_MS, world } from './lot-world.ts';
import { DATASET, insertOf, LANE, Shop } from './shop.ts';

const seeds = process.env['LOT_SEEDS']?.split(',').map(Number) ?? [1, 12];

type Rows = Map<number, readonly Value[]>;

function apply(rows: Rows, { op, after, key, movedFrom }: ChangeEvent): void {
  if (op === 'truncate') rows.clear();
  else if (after === null) rows.delete(Number(key));
  else {
    const base = rows.get(Number(movedFrom ?? key));
    const note = after.value(2);
    if (note === UNCHANGED && base === undefined) return;
    if (movedFrom !== null) rows.delete(Number(movedFrom));
    rows.set(Number(key), [after.value(1), note === UNCHANGED ? (base?.[1] ?? null) : note]);
  }
}

const shown = (rows: Rows): unknown[] =>
  [...rows].sort(([a], [b]) => a - b).map(([id, [n, note]]) => [String(id), typeof n === 'number' ? String(n) : null, note]);

const windowOf = ({ committedAtMs }: ChangeEvent): number => Math.floor(committedAtMs / WINDOW_MS) * WINDOW_MS;

function failedWindows(events: readonly ChangeEvent[], max: number): ReadonlySet<number> {
  const counts = new Map<number, number>();
  for (const event of events) if (event.after !== null) counts.set(windowOf(event), (counts.get(windowOf(event)) ?? 0) + 1);
  return new Set([...counts].filter(([, count]) => count > max).map(([startMs]) => startMs));
}

const keysOf = ({ key, movedFrom }: ChangeEvent): string[] => (movedFrom === null ? [key] : [key, movedFrom]);

/** What is at the target once every window is closed and nobody has settled anything. */
function published(events: readonly ChangeEvent[], failed: ReadonlySet<number>, bad: ReadonlyMap<string, unknown>, hold: Hold): Rows {
  const rows: Rows = new Map();
  const blocked = new Set<string>();
  // Behind a truncate that is held every row waits; the next truncate that passes is not held back by it.
  let isBehind = false;
  for (const event of events) {
    const keys = keysOf(event);
    if (bad.get(eventId(event)) === 'drop') continue;
    const isKept = bad.has(eventId(event)) || failed.has(windowOf(event));
    if (event.op === 'truncate') {
      isBehind = isKept;
      if (!isKept) apply(rows, event);
    } else if (isKept || (hold === 'key' && keys.some((key) => blocked.has(key)))) for (const key of keys) blocked.add(key);
    else if (!isBehind) apply(rows, event);
  }
  return rows;
}

/** Of all windows; so that about half of them fail with more. */
function medianChanges(events: readonly ChangeEvent[]): number {
  const starts = [...new Set(events.map(windowOf))];
  const counts = starts.map((startMs) => events.filter((one) => windowOf(one) === startMs && one.after !== null).length);
  return counts.toSorted((a, b) => a - b)[counts.length >> 1] ?? 0;
}

interface Story {
  readonly events: readonly ChangeEvent[];
  /** A source makes its batches anew with every run. */
  readonly batches: () => Batch[];
  readonly max: number;
  readonly bad: ReadonlyMap<string, 'quarantine' | 'drop'>;
}

function storyOf(random: Random, shop: Shop, drops: boolean, lane = LANE): Story {
  const parts: { readonly events: readonly ChangeEvent[]; readonly position: Position }[] = [];
  for (let n = 0; n < 30; n++) {
    const events: ChangeEvent[] = [];
    for (let left = 1 + random.below(4); left > 0; left--) events.push(...shop.transaction());
    parts.push({ events, position: shop.place });
  }
  const events = parts.flatMap((part) => part.events);
  const bad = new Map<string, 'quarantine' | 'drop'>();
  for (const event of events)
    if (event.op !== 'truncate' && random.chance(0.05)) bad.set(eventId(event), drops && random.chance(0.5) ? 'drop' : 'quarantine');
  const max = medianChanges(events);
  return { events, bad, max, batches: () => parts.map((part) => new Batch(part.events, { lane, position: part.position })) };
}

test.each(seeds.flatMap((seed) => (['key', 'event'] as const).map((hold) => [seed, hold] as const)))(
  'seed %i, hold: %s: at the target are the rows of the windows that passed, whatever is killed; released and discarded as lots, it ends as the model says',
  async (seed, hold) => {
    const random = new Random(seed);
    const discards = hold === 'event' || random.chance(0.5);
    // What is discarded takes cells along that later rows leave out.
    const shop = new Shop(random, random.chance(0.5) ? 'encoded' : 'values', {
      moves: !discards,
      partial: !discards,
      truncates: true,
      keys: 25,
    });
    const { events, batches, max, bad } = storyOf(random, shop, discards);
    const failed = failedWindows(events, max);
    expect(failed.size).toBeGreaterThan(1);
    await using at = await world(hold, changesAtMost(max));
    const desks = [await at.sink(), await at.sink()];
    const [desk] = desks as [PostgresSink, PostgresSink];
    const replay = replaying(at.sink, random);
    const settled: string[] = [];
    try {
      for (let isOver = false; !isOver;) {
        const killed = new AbortController();
        const between = async () => {
          if (random.chance(0.3)) settled.push(...(await at.close(desks)).map(({ startMs, status }) => `${startMs} ${status}`));
          replay.perhapsKill();
          if (random.chance(0.08)) killed.abort(new Error('killed'));
        };
        try {
          await at.run(batches(), between, bad, killed.signal);
          isOver = true;
        } catch (error) {
          if (!killed.signal.aborted) throw error;
        }
      }
      settled.push(...(await at.close(desks, true)).map(({ startMs, status }) => `${startMs} ${status}`));
      const idle = async () => (await at.statuses()).every(([status]) => status !== 'released' && status !== 'staged');
      await eventually(idle, 'all that passed is published');
      expect(await at.rows()).toEqual(shown(published(events, failed, bad, hold)));
      // Each window once, and by its verdict.
      const windows = new Set(events.filter((event) => !bad.has(eventId(event))).map(windowOf));
      expect(settled.toSorted()).toEqual(
        [...windows].map((startMs) => `${startMs} ${failed.has(startMs) ? 'diverted' : 'published'}`).toSorted(),
      );

      const given = new Set([...failed].filter(() => discards && random.chance(0.5)));
      for (const lotStartMs of failed) {
        const ids = await desk.quarantine.ids({ lotStartMs, status: ['held', 'waiting'], limit: 100_000 });
        if (given.has(lotStartMs)) await desk.quarantine.discard(ids, 'me', 'a bad lot');
        else await desk.quarantine.release(ids, 'me');
      }
      await desk.quarantine.release(await desk.quarantine.ids({ rule: 'bad', status: ['held'], limit: 100_000 }), 'me');
      const open = ['held', 'waiting', 'staged', 'released'];
      await eventually(async () => (await at.statuses()).every(([status]) => !open.includes(status ?? '')), 'all is settled');
      const rows: Rows = new Map();
      const isIn = (event: ChangeEvent) => bad.get(eventId(event)) !== 'drop' && (bad.has(eventId(event)) || !given.has(windowOf(event)));
      for (const event of events) if (isIn(event)) apply(rows, event);
      expect(await at.rows()).toEqual(shown(rows));
      expect((await at.sql.query('select count(*) from tidegate.held_keys')).rows).toEqual([['0']]);
      for (const { lane, ledger } of await desk.lanes()) {
        const { events: count, ...out } = ledger;
        expect(
          Object.values(out).reduce((sum, one) => sum + one, 0n),
          `the ledger of ${lane}`,
        ).toBe(count);
        if (lane === LANE) expect(count).toBe(BigInt(events.length));
      }
    } finally {
      await replay.stop();
      for (const one of desks) await one[Symbol.asyncDispose]();
    }
  },
  60_000,
);

const at = (seconds: number, event: ChangeEvent): ChangeEvent => ({ ...event, committedAtMs: seconds * 1000 });
const insert = (n: number, seconds: number): ChangeEvent => at(seconds, insertOf(n, n, n.toString(16).padStart(16, '0')));
const batch = (n: number, ...events: readonly ChangeEvent[]): Batch =>
  new Batch(events, { lane: LANE, position: n.toString(16).padStart(16, '0') as Position });

test('two lanes by two processes that are killed: a window is closed once, and its lot is the rows of both', async () => {
  for (const seed of seeds) {
    const random = new Random(100 + seed);
    const lanes = ['shop/a', 'shop/b'] as LaneId[];
    const stories = lanes.map((lane, i) =>
      storyOf(
        random,
        new Shop(random, 'values', { moves: true, partial: true, truncates: false, keys: 15, firstKey: 15 * i }),
        false,
        lane,
      ),
    );
    const events = stories.flatMap((story) => story.events);
    const max = medianChanges(events);
    const failed = failedWindows(events, max);
    expect(failed.size).toBeGreaterThan(0);
    const bad = new Map(stories.flatMap((story) => [...story.bad]));
    await using db = await world('key', changesAtMost(max));
    const desks = [await db.sink(), await db.sink()];
    const replay = replaying(db.sink, random);
    const settled: string[] = [];
    const settle = async (isOver: boolean) =>
      settled.push(...(await db.close(desks, isOver)).map(({ startMs, status }) => `${startMs} ${status}`));
    // A lane of which nothing is known yet is not waited for.
    const known = async () => (await db.sql.query('select count(*) from tidegate.window_lanes')).rows[0]?.[0] === '2';
    const follow = async ({ batches }: Story, lane: LaneId) => {
      for (let isOver = false; !isOver;) {
        const killed = new AbortController();
        const between = async () => {
          if (random.chance(0.2) && (await known())) await settle(false);
          if (random.chance(0.08)) killed.abort(new Error('killed'));
        };
        try {
          await db.run(batches(), between, bad, killed.signal, lane);
          isOver = true;
        } catch (error) {
          if (!killed.signal.aborted) throw error;
        }
      }
    };
    try {
      await Promise.all(stories.map((story, i) => follow(story, lanes[i] ?? LANE)));
      await settle(true);
      const idle = async () => (await db.statuses()).every(([status]) => status !== 'released' && status !== 'staged');
      await eventually(idle, 'all that passed is published');
      expect(await db.rows()).toEqual(shown(published(events, failed, bad, 'key')));
      const windows = new Set(events.filter((event) => !bad.has(eventId(event))).map(windowOf));
      const verdicts = [...windows].map((startMs) => `${startMs} ${failed.has(startMs) ? 'diverted' : 'published'}`);
      expect(settled.toSorted()).toEqual(verdicts.toSorted());
    } finally {
      await replay.stop();
      for (const desk of desks) await desk[Symbol.asyncDispose]();
    }
  }
}, 60_000);

test('what no rule audits any more is published; a lot of whose window nothing can be said goes as the rules say', async () => {
  const rules = (more: string) =>
    contractOf(`publish: { when: after_window${more} }
defaults: { window: { every: 10s, out_of_order: 0s, lateness: 0s, min_rows: 5 } }
checks: [{ column: n, mean: { between: [0, 1000] } }]
`);
  for (const [more, status, names] of [
    ['', 'published', []],
    [', on_indeterminate: divert', 'diverted', ['n.mean']],
  ] as const) {
    await using db = await world('key', rules(more));
    await using desk = await db.sink();
    await db.run([batch(10, insert(1, 1)), batch(20, insert(11, 11))], async () => {}, new Map(), never);
    expect((await db.close([desk])).map((lot) => [lot.startMs, lot.status, lot.rules])).toEqual([[0, status, names]]);
    // As after a reload that takes `publish` away.
    expect((await desk.lots.settle([], new Map())).map((lot) => [lot.startMs, lot.status])).toEqual([[10_000, 'published']]);
    expect(await desk.lots.settle([], new Map())).toEqual([]);
  }
}, 60_000);

test('a lot is seen at the target all at once, and leaves nothing behind in the quarantine', async () => {
  await using db = await world('key', changesAtMost(5000));
  const first = Array.from({ length: 1700 }, (_, i) => insert(i + 1, 1));
  await db.run([batch(2000, ...first), batch(3000, insert(2500, 11))], async () => {}, new Map(), never);
  await using desk = await db.sink();
  expect(await db.statuses()).toEqual([['staged', '1701']]);
  expect((await db.close([desk])).map(({ startMs, status, rows }) => [startMs, status, rows])).toEqual([[0, 'published', 1700]]);
  const replay = replaying(db.sink, new Random(1), 500);
  await eventually(async () => (await db.statuses()).every(([status]) => status !== 'released'), 'the lot is published');
  await replay.stop();
  expect((await db.sql.query('select count(*), count(distinct xmin::text) from shop.items')).rows).toEqual([['1700', '1']]);
  expect(await db.statuses()).toEqual([['staged', '1']]);
  expect((await desk.lots.lots(10)).map(({ startMs, status, rows }) => [startMs, status, rows])).toEqual([
    [10_000, 'staged', 1],
    [0, 'published', 1700],
  ]);
}, 60_000);

test('on_fail: hold: what comes after a window that failed waits for a person, whatever is killed; with lots, the next of them do', async () => {
  for (const publish of ['', 'publish: after_window']) {
    const contracts = changesAtMost(2, 'hold', publish);
    await using db = await world('key', contracts);
    await using desk = await db.sink();
    const batches = () => [
      batch(10, insert(1, 1), insert(2, 2), insert(3, 3)),
      batch(20, insert(11, 11)),
      batch(30, insert(21, 21)),
      batch(40, insert(31, 31)),
    ];
    const replay = replaying(db.sink, new Random(1));
    await db.run(batches().slice(0, 2), async () => {}, new Map(), never);
    await db.close([desk]);
    expect(await desk.lots.held()).toMatchObject([{ dataset: DATASET.name, rule: 'volume', startMs: 0, endMs: 10_000 }]);
    await db.run(batches().slice(0, 3), async () => {}, new Map(), never);
    await db.close([desk]);
    await db.run(batches(), async () => {}, new Map(), never);
    expect(await db.close([desk])).toEqual([]);
    const passed = publish === '' ? [['1'], ['2'], ['3'], ['11']] : [];
    const ids = async () => (await db.sql.query('select id from shop.items order by id')).rows;
    if (publish === '') expect(await ids()).toEqual(passed);
    expect(await desk.lots.letGoOn(DATASET.name)).toBe(true);
    expect(await desk.lots.letGoOn(DATASET.name)).toBe(false);
    const settled = await db.close([desk]);
    const starts = settled.map(({ startMs, status }) => [startMs, status]);
    if (publish === '') expect(starts).toEqual([[HELD_LOT.startMs, 'published']]);
    else
      expect(starts).toEqual([
        [0, 'diverted'],
        [10_000, 'published'],
        [20_000, 'published'],
      ]);
    await eventually(async () => (await db.statuses()).every(([status]) => status !== 'released'), 'what waited is published');
    expect(await ids()).toEqual(publish === '' ? [...passed, ['21'], ['31']] : [['11'], ['21']]);
    await replay.stop();
  }
}, 60_000);

test('a row beyond max_rows stops the lane before its batch', async () => {
  const contracts = contractOf(`publish: { when: after_window, max_rows: 2 }
defaults: { window: { every: 10s, out_of_order: 0s } }
checks: [{ row_count: { min: 1 } }]
`);
  await using db = await world('key', contracts);
  await db.run([batch(10, insert(1, 1), insert(2, 2))], async () => {}, new Map(), never);
  await expect(db.run([batch(10), batch(20, insert(3, 3))], async () => {}, new Map(), never)).rejects.toMatchObject({
    code: 'WINDOW_STAGED_FULL',
  });
  expect(await db.statuses()).toEqual([['staged', '2']]);
}, 60_000);
