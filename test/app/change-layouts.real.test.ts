/** Tables that look otherwise at the target, and change: every kind of change under every layout, accepted by itself and approved by somebody. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Random } from '../support/random.ts';
import { BothEnds, evolutionRules, Following, type Seen } from './changed-tables.ts';

const SEED = Number(process.env['CHANGE_SEED'] ?? 11);

interface Look extends Seen {
  readonly options: Readonly<Record<string, unknown>>;
  /** Rows of a table of the target that cannot be, as SQL. */
  readonly wrong?: string;
}

const named =
  (names: Readonly<Record<string, string>>) =>
  (column: string): string =>
    names[column] ?? column;

const WRITTEN = ['id', 'key_id', 'a', 'b', 'bb', 'c'];

const LOOKS: Readonly<Record<string, Look>> = {
  subset: {
    options: { columns: WRITTEN },
    place: (column) => (WRITTEN.includes(column) ? column : null),
  },
  named: {
    options: { rename: { id: 'no', a: 'a_of_ours', bb: 'b_of_ours', d: 'new_one' } },
    place: named({ id: 'no', a: 'a_of_ours', bb: 'b_of_ours', d: 'new_one' }),
  },
  stamped: {
    options: { write: { position: 'at_lsn', committedAt: 'at_time', operation: 'op', verdict: 'said' } },
    wrong: `at_lsn is null or at_time is null or op is null or op not in ('read', 'insert', 'update') or said is distinct from 'pass'`,
  },
  soft: { options: { softDelete: { at: 'gone_at', flag: 'gone' } }, where: 'gone_at is null', wrong: '(gone_at is null) = (gone is true)' },
  history: {
    options: { history: { from: 'since', to: 'until' }, write: { operation: 'op' } },
    where: 'until is null',
    wrong:
      'since is null or until < since or exists (select from THE_TABLE o where o.THE_KEY = t.THE_KEY and o.ctid <> t.ctid and o.since < coalesce(t.until, $$infinity$$) and t.since < coalesce(o.until, $$infinity$$))',
  },
};

const CHANGES: Readonly<Record<string, string>> = {
  add: `alter table t add d text`,
  add_filled: `alter table t add d text not null default 'it''s'`,
  add_volatile: 'alter table t add d double precision default random()',
  drop: 'alter table t drop b',
  drop_add: 'alter table t drop b; alter table t add b int default 4',
  rename: 'alter table t rename b to bb',
  key_name: 'alter table t rename id to key_id',
  widen: 'alter table t alter a type bigint',
  retype: `alter table t alter a type text using 'a' || a`,
  retype_uncast: `alter table t alter a type date using '2026-01-01'::date + a`,
};
const POLICIES = ['accept', 'hold'] as const;

const tables = Object.keys(LOOKS).flatMap((look) =>
  Object.keys(CHANGES).flatMap((kind) => POLICIES.map((policy) => ({ look, kind, policy, table: `${look}_${kind}_${policy}` }))),
);

/** Changes of rows that every shape allows. */
function traffic(random: Random, table: string, key = 'id'): string {
  return Array.from({ length: 5 }, () => {
    const id = 1 + random.below(40);
    if (random.chance(0.25)) return `delete from ${table} where ${key} = ${id}`;
    if (random.chance(0.15))
      return `update ${table} set ${key} = ${key} + 1000 where ${key} = ${id} and not exists (select from ${table} where ${key} = ${id} + 1000)`;
    if (random.chance(0.4)) return `update ${table} set c = c + 1 where ${key} between ${id} and ${id + 4}`;
    return `insert into ${table} (${key}, c) select ${id}, 0 where not exists (select from ${table} where ${key} = ${id})`;
  }).join('; ');
}

const keyOf = (kind: string): string => (kind === 'key_name' ? 'key_id' : 'id');

let ends: BothEnds;
let it: Following;
const random = new Random(SEED);

beforeAll(async () => {
  console.log(`CHANGE_SEED=${SEED}`);
  ends = await BothEnds.make('cl');
  for (const { table } of tables)
    await ends.sql.script(`create table ${table} (id bigint primary key, x text, a int, b varchar(20), c numeric(12,4));
      insert into ${table} select n, 'x', n, 'row ' || n, n from generate_series(1, 30) n`);
  const layouts = tables.map(({ look, table }) => ({ dataset: `shop.public.${table}`, ...LOOKS[look]?.options }));
  const targets = { lake: { kind: 'postgres', url: ends.target.url, schema: 'shop', layouts } };
  const check = 'c: [{id: positive, between: {min: 0}}]';
  const rules = tables.map(({ table, policy }) => [`${table}.rules.yaml`, evolutionRules(table, policy, { check })] as const);
  it = await Following.start(ends, ends.config({ patterns: ['public.*'] }, { targets }, Object.fromEntries(rules)));
  for (const { table, kind } of tables) {
    await ends.sql.script(traffic(random, table));
    const change = CHANGES[kind]?.replaceAll(/\bt\b/g, table) ?? '';
    await ends.sql.script(`begin; ${traffic(random, table)}; ${change}; ${traffic(random, table, keyOf(kind))}; commit`);
    await ends.sql.script(traffic(random, table, keyOf(kind)));
  }
  for (const { table, policy } of tables) if (policy === 'hold') expect(await it.approve((await it.parked(table)).id)).toBe(0);
});

afterAll(async () => {
  await it?.[Symbol.asyncDispose]();
  await ends?.[Symbol.asyncDispose]();
});

test.each(tables)('$look, $kind: $policy', async ({ look, kind, table }) => {
  const seen = LOOKS[look] as Look;
  await it.followed(table, seen);
  await ends.sql.script(traffic(random, table, keyOf(kind)));
  await ends.equal(table, seen);
  if (seen.wrong !== undefined) {
    const wrong = seen.wrong.replaceAll('THE_TABLE', `shop.${table}`).replaceAll('THE_KEY', keyOf(kind));
    expect((await ends.lake.query(`select t::text from shop.${table} t where ${wrong}`)).rows).toEqual([]);
  }
});

test('all tables are verified', async () => {
  expect(await it.unequal()).toEqual([]);
});
