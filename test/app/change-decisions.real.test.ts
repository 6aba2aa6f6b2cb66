/** Changes of a table that wait: approved, or rejected and approved later, with rows before, in and after the transaction that makes them. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { eventually } from '../support/eventually.ts';
import { BothEnds, evolutionRules, Following } from './changed-tables.ts';

interface Decided {
  /** In one transaction with rows; `t` stands for the table. */
  readonly sql: string;
  /** Columns of a row of the table as it is then, and their values for the number n. */
  readonly columns: string;
  readonly values: (n: number) => string;
}

/** By kind. The column c stays what it is in all of them, so that rows are changed by it. */
const CHANGES: Readonly<Record<string, Decided>> = {
  filled: { sql: `alter table t add d text not null default 'it''s'`, columns: 'id, c', values: (n) => `${n}, ${n}` },
  filled_once: {
    sql: 'alter table t add d timestamptz default now(), add e int default 7; alter table t alter e drop default',
    columns: 'id, c',
    values: (n) => `${n}, ${n}`,
  },
  volatile: { sql: 'alter table t add d uuid default gen_random_uuid()', columns: 'id, c', values: (n) => `${n}, ${n}` },
  uncast: {
    sql: `alter table t alter a type date using '2026-01-01'::date + a`,
    columns: 'id, a, c',
    values: (n) => `${n}, '2026-02-01', ${n}`,
  },
  key_name: { sql: 'alter table t rename id to no', columns: 'no, a, c', values: (n) => `${n}, 1, ${n}` },
  key_exchange: {
    sql: 'update t set a = id + 5000; alter table t rename id to x; alter table t rename a to id; alter table t rename x to a',
    columns: 'a, id, c',
    values: (n) => `${n}, ${n}, ${n}`,
  },
  again: { sql: 'alter table t drop b; alter table t add b varchar(20)', columns: 'id, b, c', values: (n) => `${n}, 'other', ${n}` },
  again_filled: {
    sql: `alter table t drop b; alter table t add b varchar(20) default 'new'`,
    columns: 'id, c',
    values: (n) => `${n}, ${n}`,
  },
  again_other: { sql: 'alter table t drop b; alter table t add b int default 5', columns: 'id, c', values: (n) => `${n}, ${n}` },
};
const POLICIES = ['hold', 'quarantine'] as const;
const DECISIONS = ['approve', 'reject'] as const;

const tables = Object.keys(CHANGES).flatMap((kind) =>
  POLICIES.flatMap((policy) => DECISIONS.map((decision) => ({ kind, policy, decision, table: `${kind}_${policy}_${decision}` }))),
);
const write = (table: string, kind: string, n: number): string => {
  const { columns, values } = CHANGES[kind] as Decided;
  return `insert into ${table} (${columns}) values (${values(n)}), (${values(n + 1)}); update ${table} set c = c + 0.5 where c between 3 and 7 or c = ${n}; delete from ${table} where c = ${n + 1} or c = 18`;
};

let ends: BothEnds;
let it: Following;

beforeAll(async () => {
  ends = await BothEnds.make('cd');
  for (const table of ['free', ...tables.map(({ table }) => table)])
    await ends.sql.script(`create table ${table} (id bigint primary key, a int, b varchar(20), c numeric(12,4));
      insert into ${table} select n, n, 'row ' || n, n from generate_series(1, 20) n`);
  it = await Following.start(
    ends,
    ends.config(
      { patterns: ['public.*'] },
      {},
      Object.fromEntries(
        tables.map(({ table, policy }) => [
          `${table}.rules.yaml`,
          evolutionRules(table, policy, { check: 'c: [{id: positive, between: {min: 0}}]' }),
        ]),
      ),
    ),
  );
  for (const { table, kind } of tables) {
    await ends.sql.script(`insert into ${table} values (100, 1, 'before', 100)`);
    const sql = CHANGES[kind]?.sql.replaceAll(/\bt\b/g, table) ?? '';
    await ends.sql.script(`begin; update ${table} set c = c + 0.25 where c = 2; ${sql}; ${write(table, kind, 200)}; commit`);
    await ends.sql.script(write(table, kind, 300));
  }
});

afterAll(async () => {
  await it?.[Symbol.asyncDispose]();
  await ends?.[Symbol.asyncDispose]();
});

const there = async (table: string): Promise<string> => {
  const { rows } = await ends.lake.query(`select jsonb_agg(t order by c)::text from shop.${table} t`);
  return rows[0]?.[0] ?? '';
};

const approveAll = async (decision: (typeof DECISIONS)[number]): Promise<void> => {
  for (const { table } of tables.filter((one) => one.decision === decision)) {
    const [change] = await it.changesOf(table);
    expect(await it.approve(change?.id ?? '')).toBe(0);
  }
};

const before = new Map<string, string>();

test.each(tables)('$kind, $policy, to $decision: it waits, with what came before it', async ({ table, kind, decision }) => {
  const { id } = await it.parked(table);
  await eventually(async () => (await there(table)).includes('before'), 'what came before is there');
  before.set(table, await there(table));
  if (decision === 'reject') expect(await it.reject(id)).toBe(0);
  await ends.sql.script(write(table, kind, 400));
});

describe('approved', () => {
  beforeAll(() => approveAll('approve'));

  test.each(tables.filter(({ decision }) => decision === 'approve'))('$kind, $policy', async ({ table, kind }) => {
    await it.followed(table);
    await ends.sql.script(write(table, kind, 500));
    await ends.equal(table);
  });
});

describe('rejected', () => {
  beforeAll(() => it.flows());

  test.each(tables.filter(({ decision }) => decision === 'reject'))('$kind, $policy: it stays as it is', async ({ table }) => {
    expect(await there(table)).toBe(before.get(table));
    expect((await it.changesOf(table)).map(({ status }) => status)).toEqual(['rejected']);
  });

  describe('and approved later', () => {
    beforeAll(() => approveAll('reject'));

    test.each(tables.filter(({ decision }) => decision === 'reject'))('$kind, $policy', async ({ table, kind }) => {
      await it.followed(table);
      await ends.sql.script(write(table, kind, 500));
      await ends.equal(table);
    });
  });
});

test('all tables are verified', async () => {
  expect(await it.unequal()).toEqual([]);
});
