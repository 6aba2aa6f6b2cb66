/** Windows with more values than max_state has room for: judged by sketches, whatever was kept exactly where, over restarts and changes of the rules. */
import { expect, test } from 'vitest';
import { Batch } from '../../../core/batch.ts';
import type { LaneId, Position } from '../../../core/event.ts';
import { budgetOf } from '../../../quality/live/budget.ts';
import { Fold } from '../../../quality/live/fold.ts';
import { DatasetWindows } from '../../../quality/live/lane.ts';
import { planSets } from '../../../quality/live/slots.ts';
import { windowStage } from '../../../quality/live/stage.ts';
import { Random } from '../../support/random.ts';
import { columns, contractOf } from '../support.ts';
import { type Change, clockAt, closes, eventOf, MemoryStore, MINUTE, NO_LOTS, NOON, TestLane } from './support.ts';

const [EMAIL, ITEMS] = ['email', 'items'].map((column) => columns.findIndex(({ name }) => name === column)) as [number, number];
const clock = clockAt(() => NOON);
const at = (minutes: number) => NOON + minutes * MINUTE;
const insert = (id: number, cells: Readonly<Record<string, unknown>>, minutes = 1): Change => ({
  op: 'insert',
  key: String(id),
  before: null,
  after: { id, ...cells },
  atMs: at(minutes),
});
const SMALL = 'defaults: { window: { every: 5m, out_of_order: 0s, lateness: 0s, of: changes, max_state: 420kB } }\n';
const BODY = `${SMALL}
columns:
  email:
    - distinct_count: { min: 8000, max: 12000 }
    - distinct_count: { min: 10010, max: 12000 }
      id: close
    - distinct_count: { max: 5000 }
      id: many
    - duplicates: { max: 1500 }
    - duplicates: { max: 0.001, as: share }
      id: share
    - most_common: [often]
    - distinct_in_set: [often, rare]
    - distinct_contain: [often, rare]
      id: has
  items:
    - median: { between: [400000, 600000] }
    - median: { min: 900000 }
      id: low
    - quantiles: { p99: [null, 995000] }
    - z_score: { threshold: 1.5 }
      mostly: 0.8
`;
const rows = (count: number): Change[] => {
  const random = new Random(11);
  return Array.from({ length: count }, (_, id) =>
    insert(id, { email: id % 20 === 0 ? 'often' : id === 7 ? 'rare' : `user${id}`, items: random.below(1_000_000) }),
  );
};
const saidBy = (store: MemoryStore) =>
  store.all.map(({ rule, verdict, reason }) => `${rule} ${verdict}${reason === null ? '' : ` (${reason})`}`);

async function filled(store: MemoryStore, body: string, kills: boolean): Promise<void> {
  const lane = new TestLane(store, contractOf(body), clock);
  const all = rows(10_500);
  for (let from = 0; from < all.length; from += 1500) {
    await lane.batch(all.slice(from, from + 1500));
    if (kills) lane.kill();
  }
  await lane.batch([insert(99_999, {}, 6)]);
}

const VERDICTS = [
  'email.distinct_count pass (estimated: between n and n)',
  'close indeterminate (more values than are kept exactly, and a bound lies within the error of what is known: between n and n)',
  'many fail (estimated: between n and n)',
  'email.duplicates pass (estimated: between n and n)',
  'share fail (estimated: between n and n)',
  expect.stringMatching(/^email.most_common pass \(estimated: the most common values are there n times at least/),
  'email.distinct_in_set fail (estimated: n rows have other values)',
  'has pass (estimated: n rows have other values)',
  // Who closes it may have room for what one lane had no room for.
  expect.stringMatching(/^items.median pass( \(estimated\))?$/),
  expect.stringMatching(/^low fail( \(estimated\))?$/),
  expect.stringMatching(/^items.quantiles pass( \(estimated\))?$/),
  expect.stringMatching(/^items.z_score pass( \(estimated: .*n of the values are near enough\))?$/),
];

test.each([false, true])(
  'verdicts are those of all values where they are clear, and say what is known; killed after each batch: %s',
  async (kills) => {
    const store = new MemoryStore();
    await filled(store, BODY, kills);
    await closes(store, contractOf(BODY));
    expect(saidBy(store).map((line) => line.replaceAll(/\d[\d,.]+/g, 'n'))).toEqual(VERDICTS);
    const [distinct] = store.all;
    expect(Math.abs(Number(distinct?.observed) / 9976 - 1)).toBeLessThan(0.025);
  },
);

test('what is kept stays within max_state', async () => {
  const store = new MemoryStore();
  await filled(store, BODY, false);
  const kept = store.parts.filter(({ whole }) => whole).map(({ state }) => state.length);
  expect(Math.max(...kept)).toBeLessThan(420_000);
});

test('a check that was added after its values had gone over to sketches does not know them', async () => {
  const store = new MemoryStore();
  const before = `${SMALL}columns: { email: [{ distinct_count: { min: 1 } }] }`;
  const after = `${SMALL}columns: { email: [{ distinct_count: { min: 1 } }, { most_common: [often] }] }`;
  let body = before.replace('420kB', '40kB');
  const lane = new TestLane(store, () => contracts.get(body) ?? contractOf(body), clock);
  const contracts = new Map([body, after].map((text) => [text, contractOf(text)]));
  const all = rows(6000);
  await lane.batch(all.slice(0, 3000));
  // The whole is written once what was added since has come to as much.
  await lane.batch(all.slice(3000));
  body = after;
  await lane.batch([insert(70_000, { email: 'often' }, 2)]);
  await lane.batch([insert(99_999, {}, 6)]);
  await closes(store, contractOf(after));
  expect(saidBy(store)).toEqual([
    expect.stringMatching(/^email.distinct_count pass \(estimated/),
    'email.most_common indeterminate (it has more values than max_state has room for)',
  ]);
});

test('folds that are exact and folds that are sketches come to the same in any order', () => {
  const [plan] = planSets(contractOf(BODY).live.checks);
  if (plan === undefined) throw new Error('no set');
  const readers = plan.slots.map(({ column }) => ({
    read: (row: { value(at: number): unknown }) => row.value(column === 'email' ? EMAIL : ITEMS) as never,
    where: null,
    put: null,
  }));
  const changes = rows(30_000).map(eventOf);
  const foldOf = (events: typeof changes) => {
    const fold = new Fold(plan.slots);
    for (const event of events) if (event.after !== null) fold.add(readers, event, event.after, null);
    return fold;
  };
  const pieces = () => [0, 1, 2].map((turn) => foldOf(changes.filter((_, at) => at % 3 === turn)));
  const said = [
    [0, 1, 2],
    [2, 0, 1],
    [1, 2, 0],
  ].map((order, turn) => {
    const parts = pieces();
    // In each turn another piece has gone over before.
    for (const slot of parts[turn]?.slots ?? []) slot.condense();
    const whole = new Fold(plan.slots);
    for (const at of order) {
      const part = parts[at];
      if (part !== undefined) whole.merge(Fold.decode(plan.slots, part.encode(plan.slots), false));
    }
    expect(whole.slots.every(({ sketches }) => sketches !== null)).toBe(true);
    return plan.checks.map(({ check, slot }) => {
      const { sketch } = check.check;
      const kept = whole.slots[slot]?.sketches?.get(sketch?.kind.id ?? '');
      return kept === undefined ? null : sketch?.judge(kept, { rows: 30_000, missing: 0 }).success;
    });
  });
  expect(said[1]).toEqual(said[0]);
  expect(said[2]).toEqual(said[0]);
  expect(said[0]).toContain(true);
});

test('the lanes of a process keep within one cap together: each has its share, and what others leave', () => {
  const contract = contractOf(`${SMALL}columns: { email: [{ distinct_count: { min: 1 } }] }`);
  const { valueBytes } = budgetOf(contract.live);
  const lanes = Array.from({ length: 4 }, () => new DatasetWindows(contract));
  const all = rows(10_500).map(eventOf);
  let most = 0;
  for (let from = 0; from < all.length; from += 300) {
    for (const [at, event] of all.slice(from, from + 300).entries()) lanes[at % 4]?.event(event, NOON);
    for (const lane of lanes) {
      const others = lanes.filter((one) => one !== lane);
      lane.beside({ lanes: 3, bytes: others.reduce((sum, { bytes }) => sum + bytes, 0), keys: 0 });
      lane.flush(NOON, [], []);
    }
    most = Math.max(most, lanes.reduce((sum, { bytes }) => sum + bytes, 0)); // prettier-ignore
  }
  // A sketch is no smaller than it is, be its lane's share less: far from four times the cap all the same.
  expect(most).toBeGreaterThan(valueBytes / 2);
  expect(most).toBeLessThanOrEqual(valueBytes);
});

test.each([
  ['one lane that has them all', 1, 1, 'indeterminate'],
  ['two lanes of a process', 2, 2, 'indeterminate'],
  ['two lanes, of which another process reads the first by now', 2, 1, 'pass'],
])('keys beyond what there is room for are not known: %s', async (_, count, read, verdict) => {
  const body =
    'defaults: { window: { every: 5m, out_of_order: 0s, lateness: 0s, max_state: 420kB } }\ncolumns: { total: [{ mean: { min: 0 } }] }';
  const contract = contractOf(body);
  const { keys } = budgetOf(contract.live);
  const store = new MemoryStore();
  const contracts = new Map([[contract.dataset, contract]]);
  const lanes = Array.from({ length: count }, (_unused, lane) => `lane ${lane}` as LaneId).slice(count - read);
  const stage = windowStage({ contracts: () => contracts, store, lots: NO_LOTS, clock, lanes: () => lanes });
  const ends = new Map<string, string>();
  const run = async (lane: string, changes: readonly Change[]) => {
    const position = String(changes.length + Number(ends.get(lane) ?? 0)).padStart(8, '0') as Position;
    const batch = new Batch(changes.map(eventOf), { lane: lane as LaneId, position });
    batch.after = (ends.get(lane) as Position | undefined) ?? null;
    await stage.run(batch, new AbortController().signal);
    if (batch.windows !== null) store.write(lane as LaneId, batch.windows);
    ends.set(lane, position);
  };
  const all = Array.from({ length: keys + 10 }, (_unused, id) => insert(id, { total: '1.00' }));
  for (let lane = 0; lane < count; lane++) await run(`lane ${lane}`, all.filter((__, id) => id % count === lane)); // prettier-ignore
  // The last rows change: those whose keys had no room may or may not be in the window.
  const last = all.slice(-5 * count).filter(({ key }) => Number(key) % count === count - 1);
  await run(`lane ${count - 1}`, last.map((one) => ({ ...one, op: 'update', before: one.after }))); // prettier-ignore
  for (let lane = 0; lane < count; lane++) await run(`lane ${lane}`, [insert(1e6 + lane, { total: '1.00' }, 12)]);
  await closes(store, contract);
  expect(store.all.filter(({ startMs }) => startMs === NOON).map((result) => result.verdict)).toEqual([verdict]);
});
