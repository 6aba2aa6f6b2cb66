/**
 * Rules that need other rows where several lanes write one table: the same stream is judged the same by one worker and by several, whatever is killed or shared
 * out anew, and however its batches are cut. Where the order of two lanes decides, what holds of any order holds.
 */
import { expect, test } from 'vitest';
import { type ChangeEvent, type Dataset, type DatasetName, type LaneId, ValueRow, type Version } from '../../../core/event.ts';
import { qualityStage } from '../../../quality/stage.ts';
import { Random } from '../../support/random.ts';
import { type LaneEvents, PLAINEST, type Scene, SCENES, work } from '../several-workers.ts';
import { contract, target } from './support.ts';

const SEEDS = process.env['KEYED_SEEDS']?.split(',').map(Number) ?? [103, 104];
const LANES = 3;
const SHOPS = 6;

const INVOICES: Dataset = {
  name: 'shop.public.invoices' as DatasetName,
  version: 1,
  columns: [
    { name: 'id', type: 'integer', native: 'bigint', nullable: false },
    { name: 'shop', type: 'integer', native: 'bigint', nullable: false },
    { name: 'number', type: 'integer', native: 'bigint', nullable: false },
    { name: 'code', type: 'integer', native: 'bigint', nullable: false },
  ],
  key: [0],
};
const PARENTS: Dataset = {
  name: 'shop.public.parents' as DatasetName,
  version: 1,
  columns: [{ name: 'id', type: 'integer', native: 'bigint', nullable: false }],
  key: [0],
};

type Cells = readonly number[];

function change(dataset: Dataset, at: number, before: Cells | null, after: Cells | null): ChangeEvent {
  const version = String(at).padStart(8, '0') as Version;
  return {
    op: before === null ? 'insert' : after === null ? 'delete' : 'update',
    dataset,
    before: before === null ? null : new ValueRow(...before),
    after: after === null ? null : new ValueRow(...after),
    key: String((after ?? before)?.[0]),
    movedFrom: null,
    version,
    ordinal: 0,
    committedAtMs: at * 1000,
  } as ChangeEvent; // The rows are those that the operation has.
}

class Topic {
  readonly #lanes = new Map<LaneId, ChangeEvent[][]>();

  add(partition: number, event: ChangeEvent): void {
    const lane = `shop/g/${event.dataset.name}/${partition % LANES}` as LaneId;
    const known = this.#lanes.get(lane);
    if (known === undefined) this.#lanes.set(lane, [[event]]);
    else known.push([event]);
  }

  get lanes(): LaneEvents {
    return this.#lanes;
  }
}

/** A shop's rows are in one partition; numbers are missing, changes are lost, codes are taken twice within a shop. */
function invoices(random: Random, changes: number): LaneEvents {
  const topic = new Topic();
  const rows = new Map<number, Cells>();
  const next = Array.from({ length: SHOPS }, () => 1);
  for (let at = 1; at <= changes; at++) {
    const shop = random.below(SHOPS);
    const own = [...rows.values()].filter(([, of]) => of === shop);
    const before = own.length > 2 && random.chance(0.75) ? own[random.below(own.length)] : undefined;
    const [id = at, , number = (next[shop] ?? 0) + (random.chance(0.1) ? 1 : 0)] = before ?? [];
    if (before === undefined) next[shop] = number + 1;
    const after = before !== undefined && random.chance(0.1) ? null : [id, shop, number, shop + SHOPS * random.below(25)];
    if (after === null) rows.delete(id);
    else rows.set(id, after);
    if (before === undefined || !random.chance(0.25)) topic.add(shop, change(INVOICES, at, before ?? null, after));
  }
  return topic.lanes;
}

/** `of`: what becomes of a row that `before_matches` fails. */
const rulesHolding = (hold: 'event' | 'key', of: 'warn' | 'quarantine') => [
  contract(
    INVOICES.name,
    `hold: ${hold}
columns:
  code: [unique]
  number: [{ sequence_gap: { group_by: shop } }]
  shop: [immutable]
checks: [{ before_matches: true, on_fail: ${of} }]`,
  ),
];

async function judged(rules: ReturnType<typeof rulesHolding>, events: LaneEvents, scene: Scene, random: Random) {
  await using at = await target(rules);
  const contracts = new Map(rules.map((one) => [one.dataset, one]));
  const found = await work(events, scene, { open: () => at.sink(), stages: () => [qualityStage(contracts)] }, random);
  const { rows } = await at.sql.query('select id, shop, number, code from shop.invoices order by id');
  const { rows: held } = await at.sql.query(
    `select id, status, array_to_string(rules, ' ') from tidegate.quarantine order by id collate "C"`,
  );
  return { found: [...found].sort(([a], [b]) => (a < b ? -1 : 1)), rows, held };
}

test.each(SEEDS)(
  'seed %s: what rows of one partition are to each other is judged in their order',
  async (seed) => {
    const events = invoices(new Random(seed), 300);
    const contracts = rulesHolding('event', 'warn');
    const expected = await judged(contracts, events, PLAINEST, new Random(seed));
    const rules = expected.found.flatMap(([, some]) => some);
    for (const rule of ['code.unique', 'number.sequence_gap', 'before_matches'])
      expect(rules.filter((one) => one === rule).length, `${rule} failed`).toBeGreaterThan(3);
    const outcomes = await Promise.all(
      Object.entries(SCENES).map(
        async ([name, scene], at) => [name, await judged(contracts, events, scene, new Random(seed + at))] as const,
      ),
    );
    for (const [name, outcome] of outcomes) expect(outcome, `as ${name}`).toEqual(expected);
  },
  90_000,
);

test.each(SEEDS.map((seed, at) => [seed, at % 2 === 0 ? 'event' : 'key'] as const))(
  'seed %s, hold: %s: which of two rules holds a row is decided in their order, however batches are cut',
  async (seed, hold) => {
    const events = invoices(new Random(seed), 300);
    const contracts = rulesHolding(hold, 'quarantine');
    const expected = await judged(contracts, events, PLAINEST, new Random(seed));
    const heldBy = expected.held.flatMap(([, , some]) => some?.split(' ') ?? []);
    for (const rule of ['code.unique', 'before_matches']) expect(heldBy.filter((one) => one === rule).length).toBeGreaterThan(3);
    const long: Scene = { workers: 1, kills: 0, batchMax: 60 };
    expect(await judged(contracts, events, long, new Random(seed))).toEqual(expected);
  },
  90_000,
);

const byNumber = (a = 0, b = 0): number => a - b;

/** Rows that name a parent, some of which never come, and a code, which others of other partitions have as well. */
function children(random: Random, count: number) {
  const topic = new Topic();
  const parents = new Set<number>();
  const rows: Cells[] = [];
  for (let at = 1; at <= count; at++) {
    const row: Cells = [at, random.below(40), at, random.below(count / 3)];
    rows.push(row);
    topic.add(at, change(INVOICES, 2 * at, null, row));
    const parent = random.below(40);
    if (parent % 5 === 0 || parents.has(parent)) continue;
    parents.add(parent);
    topic.add(parent, change(PARENTS, 2 * at + 1, null, [parent]));
  }
  return { lanes: topic.lanes, parents, rows };
}

test.each(Object.entries(SCENES))(
  '%s: over partitions a value is taken once, and in the end every row is there or held that names one that came',
  async (_, scene) => {
    const [seed = 0] = SEEDS;
    const random = new Random(seed);
    const { lanes, parents, rows } = children(random, 120);
    const rules = [
      contract(
        INVOICES.name,
        `hold: event\ncolumns: { code: [unique], shop: [{ references: { dataset: ${PARENTS.name}, column: id, wait: 1h } }] }`,
      ),
    ];
    await using at = await target(rules);
    const contracts = new Map(rules.map((one) => [one.dataset, one]));
    const beside = async (): Promise<void> => void (await at.settle(false));
    await work(lanes, scene, { open: () => at.sink(), stages: () => [qualityStage(contracts)], beside }, random);
    for (let looks = 0; ; looks++) {
      expect(looks).toBeLessThan(20);
      const { released } = await at.settle(false);
      await at.replay();
      if (released === 0) break;
    }
    const come = rows.filter(([, parent = -1]) => parents.has(parent));
    expect(come.length).toBeLessThan(rows.length - 5);
    const there = (await at.sql.query('select id, shop, code from shop.invoices')).rows.map((row) => row.map(Number));
    expect(there.filter(([, parent = -1]) => !parents.has(parent))).toEqual([]);
    expect(there.map(([, , code]) => code).sort(byNumber)).toEqual([...new Set(come.map(([, , , code]) => code))].sort(byNumber));
    const { rows: held } = await at.sql.query(`select key from tidegate.quarantine where status in ('held', 'waiting')`);
    const ids = [...there.map(([id]) => id), ...held.map(([key]) => Number(key))];
    expect(ids.sort(byNumber)).toEqual(rows.map(([id]) => id).sort(byNumber));
  },
  90_000,
);
