/** Rows that wait for the one that they name: against a model that knows which rows come, over crashes, releases and lanes. */
import { expect, test } from 'vitest';
import { Batch } from '../../../core/batch.ts';
import {
  type ChangeEvent,
  type Dataset,
  type DatasetName,
  type LaneId,
  type Position,
  ValueRow,
  type Version,
} from '../../../core/event.ts';
import type { WaitsSettled } from '../../../core/keyed.ts';
import { waitRules } from '../../../quality/keyed.ts';
import { Random } from '../../support/random.ts';
import { batchOf, DATASET, LANE, PLAIN, Shop } from '../shop.ts';
import { contract, target, type Target } from './support.ts';

const seeds = process.env['KEYED_SEEDS']?.split(',').map(Number) ?? [1, 2];

const PARENTS: Dataset = {
  name: 'shop.public.parents' as DatasetName,
  version: 1,
  columns: [
    { name: 'id', type: 'integer', native: 'integer', nullable: false },
    { name: 'name', type: 'text', native: 'text', nullable: true },
  ],
  key: [0],
};

const rule = (more = '', head = '') =>
  contract(DATASET.name, `${head}columns: { n: [{ references: { dataset: ${PARENTS.name}, column: id${more} } }] }`);

const place = (at: number): Position => at.toString(16).padStart(16, '0') as Position;
const event = (
  dataset: Dataset,
  at: number,
  ordinal: number,
  op: 'insert' | 'update' | 'delete',
  cells: readonly (number | string | null)[],
) =>
  ({
    op,
    dataset,
    before: op === 'insert' ? null : new ValueRow(...cells),
    after: op === 'delete' ? null : new ValueRow(...cells),
    key: String(cells[0]),
    movedFrom: null,
    version: place(at) as string as Version,
    ordinal,
    committedAtMs: 0,
  }) as ChangeEvent; // The rows are those that the operation has.
const parent = (at: number, id: number, ordinal = 0): ChangeEvent => event(PARENTS, at, ordinal, 'insert', [id, 'p']);
const child = (at: number, id: number, n: number | null, ordinal = 0, op: 'insert' | 'update' | 'delete' = 'insert'): ChangeEvent =>
  event(DATASET, at, ordinal, op, [id, n, 'x']);
const batch = (at: number, events: readonly ChangeEvent[], lane = LANE): Batch => new Batch(events, { lane, position: place(at) });

const children = async ({ sql }: Target): Promise<string[]> => {
  const { rows } = await sql.query(`select id, n from shop.items order by id`);
  return rows.map(([id, n]) => `${id}>${n ?? 'null'}`);
};

/** What waits is looked after until nothing comes of it any more. */
async function settled(at: Target): Promise<void> {
  for (let looks = 0; looks < 50; looks++) {
    const { released, takenBack } = await at.settle(false);
    await at.replay();
    if (released + takenBack === 0) return;
  }
  throw new Error('rows that wait come back without end');
}

test.each(seeds.flatMap((seed) => (['event', 'key'] as const).map((hold) => [seed, hold] as const)))(
  'seed %s, hold: %s: in the end every row is there that names one that has come, over crashes too',
  async (seed, hold) => {
    const random = new Random(seed);
    const shop = new Shop(random, random.chance(0.5) ? 'encoded' : 'values', {
      moves: false,
      partial: false,
      truncates: false,
      keys: 15,
      numbers: 25,
    });
    /** Of each key the versions since it was deleted last. */
    const versions = new Map<string, (number | null)[]>();
    const come = new Set<number>();
    await using at = await target([rule(', wait: 1h', `hold: ${hold}\n`)]);
    const batches: Batch[] = [];
    let after: Position | null = null;
    let waited = 0;
    for (let i = 0; i < 20; i++) {
      const events: ChangeEvent[] = [];
      for (let t = 1 + random.below(4); t > 0; t--) {
        const transaction = shop.transaction();
        for (const one of transaction) {
          if (one.op === 'delete') versions.set(one.key, []);
          else versions.set(one.key, [...(versions.get(one.key) ?? []), one.after?.value(1) as number | null]); // As the shop makes them.
        }
        events.push(...transaction);
        const id = random.below(20);
        if (random.chance(0.4) && !come.has(id)) {
          come.add(id);
          events.push({ ...parent(0, id, 1000 + id), version: shop.place as string as Version });
        }
      }
      batches.push(batchOf(events, shop.place, after));
      after = shop.place;
      if (i % 7 !== 6) continue;
      await at.runWithCrashes(batches, random);
      waited += (await at.held()).length;
      await settled(at);
    }
    await at.runWithCrashes(batches, random);
    await settled(at);
    expect(waited).toBeGreaterThan(10);
    const isThere = (n: number | null): boolean => n === null || come.has(n);
    const expected = [...versions].flatMap(([id, all]) => {
      const n = all.findLast(isThere);
      return n === undefined ? [] : [[Number(id), `${id}>${n ?? 'null'}`] as const];
    });
    expect(await children(at)).toEqual(expected.sort(([a], [b]) => a - b).map(([, text]) => text));
    const { rows } = await at.sql.query(
      `select distinct key from tidegate.quarantine where status in ('held', 'waiting', 'released') order by key`,
    );
    const late = [...versions].flatMap(([id, all]) => (all.length > 0 && !isThere(all.at(-1) ?? null) ? [id] : []));
    expect(rows.map(([key]) => key)).toEqual(late.sort());
  },
  90_000,
);

test('a row waits for the one that it names, and is released by itself when that comes; one whose time has passed stays, and says so', async () => {
  await using at = await target([rule(', wait: 1h')]);
  await at.run([batch(1, [child(1, 1, 7), child(1, 2, 8, 1), child(1, 3, null, 2)])]);
  expect([await children(at), await at.held()]).toEqual([['3>null'], ['1: n.references', '2: n.references']]);
  const none: WaitsSettled = { released: 0, overdue: 0, takenBack: 0 };
  expect(await at.settle()).toEqual(none);

  await at.run([batch(1, []), batch(2, [parent(2, 7)])]);
  expect(await at.settle()).toEqual({ ...none, released: 1 });
  await at.replay();
  expect([await children(at), await at.held()]).toEqual([['1>7', '3>null'], ['2: n.references']]);

  const waiting = await at.sql.query(
    "select findings -> 0 ->> 'message', waits_until > now() + interval '59 minutes' from tidegate.quarantine where key = '2'",
  );
  expect(waiting.rows).toEqual([['n names no row of shop.public.parents; it may come within 1h', 't']]);
  await at.sql.script('update tidegate.quarantine set waits_until = now()');
  // While the source is not read to its end no time passes.
  expect(await at.settle(false)).toEqual(none);
  expect(await at.settle()).toEqual({ ...none, overdue: 1 });
  const late = await at.sql.query("select status, findings -> 0 ->> 'message', waits_until from tidegate.quarantine where key = '2'");
  expect(late.rows).toEqual([['held', 'n names no row of shop.public.parents, and none has come within 1h', null]]);

  // It is for a person now, even where the other one comes; and one that is released without does not wait again.
  await at.sql.script("update tidegate.quarantine set status = 'released', released_seq = nextval('tidegate.releases') where key = '2'");
  await at.replay();
  expect((await at.sql.query("select status, waits_until from tidegate.quarantine where key = '2'")).rows).toEqual([['held', null]]);
});

test('within one transaction the other one may come later, and one that is deleted in it is not there', async () => {
  await using at = await target([rule(', wait: 1h')]);
  await at.run([batch(1, [child(1, 1, 7), parent(1, 7, 1)]), batch(2, [child(2, 2, 7), event(PARENTS, 2, 1, 'delete', [7, 'p'])])]);
  expect([await children(at), await at.held()]).toEqual([['1>7'], ['2: n.references']]);
});

test.each([
  ['warn', ['1>7'], ['applied']],
  ['drop', [], ['discarded']],
])('on_fail: %s is what becomes of a row that has waited for nothing', async (onFail, there, statuses) => {
  await using at = await target([
    contract(DATASET.name, `checks: [{ references: { dataset: ${PARENTS.name}, columns: { n: id }, wait: 1h }, on_fail: ${onFail} }]`),
  ]);
  await at.run([batch(1, [child(1, 1, 7), child(1, 2, null, 1)])]);
  expect(await at.held()).toEqual(['1: references']);
  await at.sql.script('update tidegate.quarantine set waits_until = now()');
  expect(await at.settle()).toEqual({ released: 1, overdue: 0, takenBack: 0 });
  await at.replay();
  expect(await children(at)).toEqual([...there, '2>null']);
  expect((await at.sql.query('select status from tidegate.quarantine')).rows.map(([status]) => status)).toEqual(statuses);
});

test('without a wait a row fails at once, and where rows that fail pass, none waits unless the file says so', async () => {
  await using held = await target([rule(', wait: 0s')]);
  await held.run([batch(1, [child(1, 1, 7)])]);
  expect((await held.sql.query("select waits_until, findings -> 0 ->> 'message' from tidegate.quarantine")).rows).toEqual([
    [null, 'n names no row of shop.public.parents'],
  ]);
  await using warned = await target([rule('', 'defaults: { on_fail: warn }\n')]);
  await warned.run([batch(1, [child(1, 1, 7)])]);
  expect([await children(warned), await warned.held()]).toEqual([['1>7'], []]);
});

test('what waits for a rule that is not in force any more is released', async () => {
  await using at = await target([rule(', wait: 1h')]);
  await at.run([batch(1, [child(1, 1, 7)])]);
  await using sink = await at.sink({ keyed: () => [] });
  expect(await sink.waits.settle([], () => true)).toEqual({ released: 1, overdue: 0, takenBack: 0 });
});

test('tables with other names, and rows that are deleted and stay', async () => {
  const datasets = new Map([
    [PARENTS.name, { ...PLAIN, schema: 'other', table: 'folk', rename: { id: 'number' }, softDelete: { at: 'gone_at', flag: null } }],
  ]);
  await using at = await target([rule(', wait: 1h')], { datasets });
  await at.run([
    batch(1, [parent(1, 7), parent(1, 8, 1)]),
    batch(2, [event(PARENTS, 2, 0, 'delete', [7, 'p'])]),
    batch(3, [child(3, 1, 7), child(3, 2, 8, 1)]),
  ]);
  expect([await children(at), await at.held()]).toEqual([['2>8'], ['1: n.references']]);
  await at.run([batch(3, []), batch(4, [parent(4, 7)])]);
  expect((await at.settle()).released).toBe(1);
  await at.replay();
  expect(await children(at)).toEqual(['1>7', '2>8']);
});

test('the other one may come by another lane', async () => {
  await using at = await target([rule(', wait: 1h')]);
  const other = 'shop/other' as LaneId;
  await at.run([batch(1, [parent(1, 1)], other)]);
  await at.run([batch(1, [child(1, 1, 7)])]);
  await at.run([batch(1, [], other), batch(2, [parent(2, 7)], other)]);
  await settled(at);
  expect([await children(at), await at.held()]).toEqual([['1>7'], []]);
});

test('for a service level a row is bad that a rule fails which asks the target; one that waits is not', async () => {
  const rules = `
slo: { objective: 99 }
columns: { n: [unique, { references: { dataset: ${PARENTS.name}, column: id, wait: 1h }, where: 'after.n == 9' }] }`;
  await using at = await target([contract(DATASET.name, rules)]);
  await at.run([
    batch(1, [child(1, 1, 7), child(1, 2, 7, 1), child(1, 3, 9, 2), child(1, 4, null, 3)]),
    batch(2, [child(2, 5, 7), child(2, 4, null, 1, 'delete')]),
  ]);
  expect(await at.held()).toEqual(['2: n.unique', '3: n.references', '5: n.unique']);
  const counted = async () => (await at.sql.query('select sum(good), sum(bad) from tidegate.slo_counts')).rows;
  expect(await counted()).toEqual([['4', '2']]);
  await at.sql.script('update tidegate.quarantine set waits_until = now() where waits_until is not null');
  expect(await at.settle()).toMatchObject({ overdue: 1 });
  expect(await counted()).toEqual([['3', '3']]);
  // Released and held once more it is the same row.
  await at.sql.script(
    "update tidegate.quarantine set status = 'released', by_whom = 'somebody', released_seq = nextval('tidegate.releases') where key = '3'",
  );
  await at.replay();
  expect(await at.settle()).toMatchObject({ overdue: 0 });
  expect(await counted()).toEqual([['3', '3']]);
});

test.each([
  ['drop', '1'],
  ['warn', '0'],
])('on_fail: %s: of rows that waited in vain %s is bad for a service level', async (onFail, bad) => {
  const rules = `
slo: { objective: 99 }
checks: [{ references: { dataset: ${PARENTS.name}, columns: { n: id }, wait: 1h }, on_fail: ${onFail} }]`;
  await using at = await target([contract(DATASET.name, rules)]);
  await at.run([batch(1, [child(1, 1, 7)])]);
  await at.sql.script('update tidegate.quarantine set waits_until = now()');
  await at.settle();
  await at.replay();
  expect((await at.sql.query('select sum(good + bad), sum(bad) from tidegate.slo_counts')).rows).toEqual([['1', bad]]);
});

test('however many rows wait whose time does not pass, those whose time does are not behind them', async () => {
  const kids: Dataset = { ...DATASET, name: 'shop.public.kids' as DatasetName };
  const others = 'shop.public.others' as DatasetName;
  const contracts = [
    rule(', wait: 1h'),
    contract(kids.name, `columns: { n: [{ references: { dataset: ${others}, column: id, wait: 1h } }] }`),
  ];
  await using at = await target(contracts);
  await at.run([batch(1, [child(1, 1, 7), event(kids, 1, 1, 'insert', [2, 8, 'x'])])]);
  await at.sql.script(`
    insert into tidegate.quarantine select (jsonb_populate_record(q, jsonb_build_object('id', 'copy ' || n, 'key', 'copy ' || n))).*
      from tidegate.quarantine q, generate_series(1, 5000) n where q.key = '1';
    update tidegate.quarantine set waits_until = now()`);
  await using sink = await at.sink();
  expect(await sink.waits.settle(waitRules(contracts), (parent) => parent === others)).toEqual({ released: 0, overdue: 1, takenBack: 0 });
  expect((await at.sql.query('select key from tidegate.quarantine where waits_until is null')).rows).toEqual([['2']]);
});

test('a cell that the other table has no type for names no row of it: it stops nobody, and waits for as long as others do', async () => {
  const rules = `columns: { note: [{ references: { dataset: ${PARENTS.name}, column: id, wait: 1h } }] }`;
  await using at = await target([contract(DATASET.name, rules)]);
  const named = (id: number, t: string) => event(DATASET, 1, id, 'insert', [id, null, t]);
  // There is no such table yet, and nobody knows its types.
  await at.run([batch(1, [named(1, 'seven'), named(2, '7'), named(3, '8')])]);
  expect(await at.held()).toEqual(['1: note.references', '2: note.references', '3: note.references']);
  await at.run([batch(1, []), batch(2, [parent(2, 8)])]);
  const until = async () => (await at.sql.query("select waits_until from tidegate.quarantine where key = '2'")).rows;
  const before = await until();
  expect(await at.settle()).toEqual({ released: 1, overdue: 0, takenBack: 0 });
  await at.replay();
  expect([await children(at), await at.held()]).toEqual([['3>null'], ['1: note.references', '2: note.references']]);
  // And by the lane, now that the table is there.
  await at.run([
    batch(2, []),
    batch(3, [
      { ...named(4, 'nine'), version: place(3) as string as Version },
      { ...named(5, '8'), version: place(3) as string as Version },
    ]),
  ]);
  expect([await children(at), await until()]).toEqual([['3>null', '5>null'], before]);
  await at.sql.script('update tidegate.quarantine set waits_until = now() where waits_until is not null');
  expect(await at.settle()).toEqual({ released: 0, overdue: 3, takenBack: 0 });
});

test('where every version of a row stays, one that waits is not taken back by the next one', async () => {
  const datasets = new Map([[DATASET.name, { ...PLAIN, history: { from: 'since', to: 'until' } }]]);
  await using at = await target([rule(', wait: 1h', 'hold: key\n')], { datasets });
  await at.run([batch(1, [child(1, 1, 7)]), batch(2, [child(2, 1, null, 0, 'update')])]);
  await settled(at);
  expect([await children(at), await at.held()]).toEqual([[], ['1: n.references', '1: hold.key']]);
  await at.run([batch(2, []), batch(3, [parent(3, 7)])]);
  await settled(at);
  expect((await at.sql.query('select n from shop.items where id = 1 order by since, n nulls last')).rows).toEqual([['7'], [null]]);
});
