/** Every kind of change of a table under every policy that does not simply follow it, with rows before, in and after the transaction that makes it. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { PgConnection } from '../../wire/postgres/connection.ts';
import { eventually } from '../support/eventually.ts';
import { BothEnds, evolutionRules, Following } from './changed-tables.ts';

interface Change {
  /** What is done at the source; `t` stands for the table. */
  readonly sql: string;
  /** A row that only the table as it is then can have. */
  readonly row: string;
  /** Under `ignore`: what there is at the target of `row`, as JSON of the columns that it had before. */
  readonly ignored: string;
}

/** By kind. */
const CHANGES: Readonly<Record<string, Change>> = {
  add_optional: {
    sql: 'alter table t add d int',
    row: "insert into t (id, a, b, c, d) values (101, 5, 'new', 1, 4)",
    ignored: '[101, 5, "new", 1.0000]',
  },
  add_required: {
    sql: 'alter table t add d int not null default 7',
    row: "insert into t (id, a, b, c) values (101, 5, 'new', 1)",
    ignored: '[101, 5, "new", 1.0000]',
  },
  drop: { sql: 'alter table t drop b', row: 'insert into t (id, a, c) values (101, 5, 1)', ignored: '[101, 5, null, 1.0000]' },
  rename: {
    sql: 'alter table t rename b to bb',
    row: "insert into t (id, a, bb, c) values (101, 5, 'new', 1)",
    ignored: '[101, 5, "new", 1.0000]',
  },
  widen: {
    sql: 'alter table t alter b type varchar(40)',
    row: "insert into t (id, a, b, c) values (101, 5, 'new', 1)",
    ignored: '[101, 5, "new", 1.0000]',
  },
  narrow: {
    sql: 'alter table t alter c type numeric(8,2)',
    row: "insert into t (id, a, b, c) values (101, 5, 'new', 1)",
    ignored: '[101, 5, "new", 1.0000]',
  },
  retype: {
    sql: 'alter table t alter a type text using (a * 2)::text',
    row: "insert into t (id, a, b, c) values (101, '5', 'new', 1)",
    ignored: '[101, 5, "new", 1.0000]',
  },
  key: {
    sql: 'update t set a = id + 1000; alter table t drop constraint t_pk, add primary key (a)',
    row: "insert into t (id, a, b, c) values (101, 5, 'new', 1)",
    ignored: '[101, 5, "new", 1.0000]',
  },
};
const KINDS = Object.keys(CHANGES);
const POLICIES = ['hold', 'quarantine', 'ignore'] as const;
type Policy = (typeof POLICIES)[number];
const COLUMNS = '{id: bigint, a: integer, b: character varying(20), c: "numeric(12,4)"}';

describe.each([false, true])('columns written down: %s', (isWritten) => {
  let ends: BothEnds;
  let it: Following;

  const rules = (table: string, policy: Policy, hasColumns = isWritten): string =>
    evolutionRules(table, policy, hasColumns ? { columns: COLUMNS } : {});
  const tables = POLICIES.flatMap((policy) => KINDS.map((kind) => ({ policy, kind, table: `${policy}_${kind}` })));

  beforeAll(async () => {
    ends = await BothEnds.make('cp');
    const { sql } = ends;
    for (const table of ['free', ...tables.map(({ table }) => table)])
      await sql.script(`
        create table ${table} (id bigint, a int not null, b varchar(20), c numeric(12,4), constraint ${table}_pk primary key (id));
        insert into ${table} select n, n, 'row ' || n, n / 8.0 from generate_series(1, 20) n`);
    const config = ends.config(
      { patterns: ['public.*'] },
      {},
      Object.fromEntries(tables.map(({ table, policy }) => [`${table}.rules.yaml`, rules(table, policy)])),
    );
    it = await Following.start(ends, config);
    for (const { table, kind } of tables) {
      const { sql: change, row } = CHANGES[kind] as Change;
      const own = (text: string): string => text.replaceAll('t_pk', `${table}_pk`).replaceAll(/\bt\b/g, table);
      await sql.script(`insert into ${table} (id, a, b, c) values (100, 1, 'before', 1)`);
      await sql.script(`begin; update ${table} set c = c + 1 where id < 5; ${own(change)}; ${own(row)}; commit`);
      await sql.script(`update ${table} set c = 9 where id = 2; delete from ${table} where id = 3`);
    }
  }, 120_000);

  afterAll(async () => {
    await it?.[Symbol.asyncDispose]();
    await ends?.[Symbol.asyncDispose]();
  });

  const rowsOf = async (connection: PgConnection, table: string, columns: string): Promise<readonly string[]> => {
    const { rows } = await connection.query(`select jsonb_build_array(${columns})::text from ${table} order by id`);
    return rows.map(([row]) => row ?? '');
  };
  const columnsOf = async (table: string): Promise<unknown> => Object.fromEntries(await ends.columnsOf(ends.lake, `shop.${table}`));
  const BEFORE = { a: 'integer', b: 'character varying(20)', c: 'numeric(12,4)', id: 'bigint' };

  test.each(tables)('$policy $kind', async ({ policy, kind, table }) => {
    await eventually(
      async () => (await ends.lake.query(`select 1 from shop.${table} where id = 100`)).rows.length === 1,
      'what came before is there',
    );
    const isParked = policy !== 'ignore' || kind === 'key';
    if (isParked) {
      await eventually(async () => (await it.changesOf(table)).some(({ status }) => status === 'held'), 'it waits');
      const [change, ...others] = await it.changesOf(table);
      expect(others).toEqual([]);
      await eventually(
        async () => (await ends.heldRules(table)) === (policy === 'quarantine' ? `schema.${kind}` : 'schema.held'),
        'rows are held',
      );
      expect(await columnsOf(table)).toEqual(BEFORE);
      const before = await rowsOf(ends.lake, `shop.${table}`, 'id, b, c');
      expect([before.length, before.slice(1, 3)]).toEqual([21, ['[2, "row 2", 1.2500]', '[3, "row 3", 1.3750]']]);
      if (isWritten) return; // Approved, its rows would be held again by the columns that are written down.
      await it.approved(table, change?.id ?? '');
      return;
    }
    await eventually(async () => (await rowsOf(ends.lake, `shop.${table}`, 'id')).includes('[101]'), 'rows pass');
    await eventually(async () => !(await rowsOf(ends.lake, `shop.${table}`, 'id')).includes('[3]'), 'deletes pass');
    const rows = await rowsOf(ends.lake, `shop.${table}`, 'id, a, b, c');
    expect(rows.at(-1)).toBe(CHANGES[kind]?.ignored);
    expect(rows[1]).toBe(`[2, ${kind === 'retype' ? 4 : 2}, "row 2", 9.0000]`);
    expect(await columnsOf(table)).toEqual(BEFORE);
    expect(await ends.heldRules(table)).toBe('');
  });

  test.runIf(isWritten)(
    'once the rule files say no more what the columns are, all that waits can be approved',
    async () => {
      await it.restart(Object.fromEntries(tables.map(({ table, policy }) => [table, rules(table, policy, false)])));
      const parked = tables.filter(({ policy, kind }) => policy !== 'ignore' || kind === 'key');
      for (const { table } of parked) {
        const [change] = await it.changesOf(table);
        await it.approved(table, change?.id ?? '');
      }
    },
    60_000,
  );
});
