/** Truncates among lots, and what was said of a row when it was staged: order and verdicts are those of the log, whenever the rows come. */
import { expect, test } from 'vitest';
import { Batch, Verdict } from '../../core/batch.ts';
import type { Stage } from '../../core/contracts.ts';
import { type ChangeEvent, eventId, type Position, type Version } from '../../core/event.ts';
import { qualityStage } from '../../quality/stage.ts';
import { eventually } from '../support/eventually.ts';
import { Random } from '../support/random.ts';
import { contractOf, never, replaying, world } from './lot-world.ts';
import { DATASET, insertOf, LANE } from './shop.ts';

const TWO_OR_MORE = `publish: after_window
defaults: { window: { every: 10s, out_of_order: 0s, lateness: 0s } }
checks: [{ id: volume, row_count: { min: 2 }, window: { of: changes } }]
`;

const hex = (n: number): string => n.toString(16).padStart(16, '0');
/** The `n`th change of the source. */
const insert = (n: number, id: number, seconds: number, op: 'insert' | 'read' = 'insert'): ChangeEvent =>
  ({ ...insertOf(id, id, hex(n)), op, committedAtMs: seconds * 1000 }) as ChangeEvent; // Both operations bring a row.
const truncate = (n: number, seconds: number): ChangeEvent => ({
  op: 'truncate',
  dataset: DATASET,
  before: null,
  after: null,
  key: '',
  movedFrom: null,
  version: hex(n) as Version,
  ordinal: 0,
  committedAtMs: seconds * 1000,
});
const batch = (n: number, ...events: readonly ChangeEvent[]): Batch => new Batch(events, { lane: LANE, position: hex(n) as Position });

type At = Awaited<ReturnType<typeof world>>;
const nothing = async () => {};
const run = (at: At, batches: readonly Batch[]) => at.run(batches, nothing, new Map(), never);
const ids = async (at: At) => (await at.rows()).map(([id]) => Number(id));
const published = (at: At) =>
  eventually(async () => (await at.statuses()).every(([status]) => status !== 'released'), 'what is published is in');

test.each(['key', 'event'] as const)(
  'hold: %s: a load that begins with a truncate takes the place of the one before it once it has passed; behind one that failed, all waits for a person or the next load',
  async (hold) => {
    await using at = await world(hold, contractOf(TWO_OR_MORE));
    await using desk = await at.sink();
    const replay = replaying(at.sink, new Random(1));
    const settle = async () => {
      const lots = (await at.close([desk])).map(({ startMs, status, rows }) => [startMs / 1000, status, rows]);
      await published(at);
      return lots;
    };
    const load = [
      batch(10, insert(1, 1, 1), insert(2, 2, 2)),
      batch(20, truncate(11, 11), insert(12, 3, 11), insert(13, 4, 12)),
      batch(30, truncate(21, 21), insert(22, 5, 21)),
      batch(40, insert(31, 6, 31), insert(32, 3, 32)),
      batch(50, truncate(41, 41), insert(42, 8, 41), insert(43, 9, 42)),
      batch(60, insert(51, 10, 51)),
    ];
    await run(at, load.slice(0, 2));
    expect([await settle(), await ids(at)]).toEqual([[[0, 'published', 2]], [1, 2]]);
    await run(at, load.slice(0, 3));
    expect([await settle(), await ids(at)]).toEqual([[[10, 'published', 3]], [3, 4]]);
    await run(at, load.slice(0, 4));
    expect([await settle(), await ids(at)]).toEqual([[[20, 'diverted', 2]], [3, 4]]);
    await run(at, load.slice(0, 5));
    expect([await settle(), await ids(at)]).toEqual([[[30, 'published', 2]], [3, 4]]);
    expect(await at.statuses()).toEqual([
      ['held', '2'],
      ['staged', '3'],
      ['waiting', '2'],
    ]);
    await run(at, load);
    expect([await settle(), await ids(at)]).toEqual([[[40, 'published', 3]], [8, 9]]);
    expect(await at.statuses()).toEqual([
      ['held', '2'],
      ['staged', '1'],
    ]);
    await desk.quarantine.release(await desk.quarantine.ids({ lotStartMs: 20_000, limit: 10 }), 'me');
    await published(at);
    expect(await ids(at)).toEqual([8, 9]);
    await replay.stop();
  },
  60_000,
);

test('what comes behind a truncate that waits does so too, be it in an earlier lot or in none', async () => {
  await using at = await world(
    'event',
    contractOf(TWO_OR_MORE.replace('out_of_order: 0s', 'out_of_order: 5s').replace('min: 2', 'min: 1')),
  );
  await using desk = await at.sink();
  const replay = replaying(at.sink, new Random(1));
  const first = batch(10, insert(1, 7, 11), truncate(2, 12), insert(3, 1, 9), insert(4, 2, 16, 'read'), insert(5, 3, 16));
  await run(at, [first]);
  expect(await at.statuses()).toEqual([
    ['staged', '4'],
    ['waiting', '1'],
  ]);
  expect((await at.close([desk])).map(({ startMs }) => startMs)).toEqual([0]);
  await published(at);
  expect(await at.statuses()).toEqual([
    ['staged', '3'],
    ['waiting', '2'],
  ]);
  await run(at, [first, batch(20, insert(11, 4, 26))]);
  expect((await at.close([desk])).map(({ startMs, status }) => [startMs, status])).toEqual([[10_000, 'published']]);
  await published(at);
  expect(await ids(at)).toEqual([1, 2, 3]);
  await replay.stop();
}, 60_000);

test('however much waits behind a truncate, all of it comes in the order of its keys', async () => {
  await using at = await world(
    'event',
    contractOf(TWO_OR_MORE.replace('out_of_order: 0s', 'out_of_order: 5s').replace('min: 2', 'min: 1')),
  );
  await using desk = await at.sink();
  const replay = replaying(at.sink, new Random(1));
  const many = 1200;
  // Every third key comes again at the end, far from its first row.
  const waiting = Array.from({ length: many }, (_, i) => insert(10 + i, i, 16, 'read'));
  const again = Array.from({ length: many / 3 }, (_, i) => ({
    ...insert(10 + many + i, 3 * i, 17, 'read'),
    after: insertOf(3 * i, -1, '').after,
  })) as ChangeEvent[];
  const first = batch(10, insert(1, 5000, 11), truncate(2, 12), insert(3, 5001, 12));
  const second = batch(10_000, ...waiting, ...again);
  await run(at, [first, second]);
  expect(await at.statuses()).toEqual([
    ['staged', '3'],
    ['waiting', String(many + many / 3)],
  ]);
  await run(at, [first, second, batch(20_000, insert(11_000, 4, 26))]);
  expect((await at.close([desk])).map(({ startMs, status }) => [startMs, status])).toEqual([[10_000, 'published']]);
  await published(at);
  const rows = (await at.rows()).map(([id, n]) => [Number(id), Number(n)]);
  expect(rows).toEqual([...waiting.map((_, id) => [id, id % 3 === 0 ? -1 : id]), [5001, 5001]]);
  await replay.stop();
}, 60_000);

test('a truncate that a rule holds takes nothing along that came after it', async () => {
  for (const after of [[insert(3, 2, 3)], []]) {
    await using at = await world('event', contractOf('checks: [{ row_count: { min: 1 } }]'));
    await using desk = await at.sink();
    const replay = replaying(at.sink, new Random(1));
    const held = truncate(2, 2);
    await at.run([batch(10, insert(1, 1, 1), held), batch(20, ...after)], nothing, new Map([[eventId(held), 'quarantine']]), never);
    await desk.quarantine.release([eventId(held)], 'me');
    await published(at);
    expect(await ids(at)).toEqual(after.length > 0 ? [1, 2] : []);
    expect(await at.statuses()).toEqual([[after.length > 0 ? 'superseded' : 'applied', '1']]);
    await replay.stop();
  }
}, 60_000);

test.each([
  ['comes in its batch', false],
  ['is released before it', true],
])(
  'nor does it take what %s',
  async (_, isHeld) => {
    await using at = await world('event', contractOf('checks: [{ row_count: { min: 1 } }]'));
    await using desk = await at.sink();
    const [held, later] = [truncate(2, 2), insert(3, 2, 3)];
    const bad = new Map([held, ...(isHeld ? [later] : [])].map((event) => [eventId(event), 'quarantine'] as const));
    await at.run([batch(10, insert(1, 1, 1), held, later)], nothing, bad, never);
    if (isHeld) await desk.quarantine.release([eventId(later)], 'me');
    await desk.quarantine.release([eventId(held)], 'me');
    const replay = replaying(at.sink, new Random(1));
    await published(at);
    expect(await ids(at)).toEqual([1, 2]);
    expect((await desk.quarantine.get(eventId(held)))?.status).toBe('superseded');
    await replay.stop();
  },
  60_000,
);

test('a row whose key is the empty text, as that of a truncate is, is outrun by no other row', async () => {
  await using at = await world('event', contractOf('checks: [{ row_count: { min: 1 } }]'));
  await using desk = await at.sink();
  const held: ChangeEvent = { ...insert(1, 1, 1), key: '' };
  await at.run([batch(10, held), batch(20, insert(2, 2, 2))], nothing, new Map([[eventId(held), 'quarantine']]), never);
  await desk.quarantine.release([eventId(held)], 'me');
  const replay = replaying(at.sink, new Random(1));
  await published(at);
  expect(await ids(at)).toEqual([1, 2]);
  await replay.stop();
}, 60_000);

test('rows are judged once: what is published has the verdict that it was staged with, unless the rules have changed since', async () => {
  const rules = (onFail: string) =>
    contractOf(`publish: after_window
defaults: { window: { every: 10s, out_of_order: 0s } }
columns: { n: [{ between: { max: 5 }, on_fail: ${onFail} }] }
checks: [{ row_count: { min: 1 } }]
`);
  const contracts = rules('tag');
  await using at = await world('event', contracts);
  await using desk = await at.sink();
  const [lane, again] = [qualityStage(contracts), qualityStage(contracts)];
  const verdicts: [string, number][] = [];
  const seen: Stage = {
    name: 'quality',
    run: async (one) => void verdicts.push(...one.events.map(({ key }, i): [string, number] => [key, one.verdicts[i] ?? -1])),
  };
  const replay = replaying(at.sink, new Random(1), 10, [again, seen]);
  const batches = [
    batch(10, insert(1, 1, 1), insert(2, 9, 2)),
    batch(20, insert(11, 3, 11), insert(12, 8, 12)),
    batch(30, insert(21, 4, 21)),
  ];
  const counted = () => [lane, again].map((stage) => stage.stats().map(({ evaluated, failed }) => [evaluated, failed]));

  await at.run(batches.slice(0, 2), nothing, new Map(), never, LANE, [lane]);
  expect(await at.close([desk])).toMatchObject([{ startMs: 0, status: 'published' }]);
  await published(at);
  expect(counted()).toEqual([[[4, 2]], [[0, 0]]]);
  expect(verdicts).toEqual([
    ['1', Verdict.Pass],
    ['9', Verdict.Tag],
  ]);
  expect(await ids(at)).toEqual([1, 9]);

  const [stricter] = rules('quarantine').values();
  if (stricter === undefined) throw new Error('there is no such contract');
  contracts.set(DATASET.name, stricter);
  for (const stage of [lane, again]) stage.replaceContract(stricter);
  await at.run(batches, nothing, new Map(), never, LANE, [lane]);
  expect(await at.close([desk])).toMatchObject([{ startMs: 10_000, status: 'published' }]);
  await published(at);
  expect(await ids(at)).toEqual([1, 3, 9]);
  expect(counted()).toEqual([[[1, 0]], [[2, 1]]]);
  expect(await desk.quarantine.find({ status: ['held'], limit: 10 })).toMatchObject([{ event: { key: '8' }, revision: stricter.revision }]);
  await replay.stop();
}, 60_000);
