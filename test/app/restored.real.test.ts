/** A target of which only the rows were put back from a backup: what Tidegate keeps there is newer than they are. */
import { expect, test } from 'vitest';
import { runCli } from '../../app/cli/cli.ts';
import { eventually } from '../support/eventually.ts';
import { ruleFile } from '../support/rules.ts';
import { BothEnds, Following } from './changed-tables.ts';
import { cli } from './cli.ts';
import { untilReady } from './services.ts';

const TABLES = ['orders', 'late', 'soft', 'past'] as const;
const ALIVE: Readonly<Record<string, string>> = { soft: 'where gone is null', past: 'where until is null' };

interface Result {
  readonly pipelines: readonly {
    readonly tables: readonly {
      readonly dataset: string;
      readonly equal: boolean;
      readonly repaired: number;
      readonly counts: Record<string, number>;
    }[];
  }[];
}

test('rows that were put back are all repaired in one go: held ones, soft deletes, histories, and columns that came since', async () => {
  await using ends = await BothEnds.make('restored');
  for (const table of TABLES)
    await ends.sql.script(
      `create table ${table} (id int primary key, amount int, note text); insert into ${table} select n, n, 'n' || n from generate_series(1, 60) n`,
    );
  const layouts = [
    { dataset: 'shop.public.soft', softDelete: { at: 'gone' } },
    { dataset: 'shop.public.past', history: { from: 'since', to: 'until' } },
  ];
  const rules = (table: string, hold: 'event' | 'key') => ruleFile(table, hold, 'amount: [{id: not-negative, between: {min: 0}}]');
  const files = { 'orders.rules.yaml': rules('orders', 'event'), 'late.rules.yaml': rules('late', 'key') };
  await using it = await Following.start(
    ends,
    ends.config(
      { tables: TABLES.map((table) => `public.${table}`) },
      { targets: { lake: { kind: 'postgres', url: ends.target.url, schema: 'shop', layouts } } },
      files,
    ),
  );
  const rowsOf = async (table: string) =>
    (await ends.lake.query(`select id, amount, note from shop.${table} ${ALIVE[table] ?? ''} order by id`)).rows;
  const verify = async (...flags: readonly string[]) => {
    const { code, json } = await cli('verify', it.config.file, '--json', ...flags);
    const tables = (json as Result).pipelines.flatMap((one) => one.tables);
    const counts = new Map(tables.map((one) => [one.dataset, one.counts]));
    return { code, of: (table: string) => counts.get(`shop.public.${table}`), tables };
  };
  expect((await verify()).code).toBe(0);
  await ends.lake.script(
    `create schema backup; ${TABLES.map((table) => `create table backup.${table} as table shop.${table}`).join('; ')}`,
  );

  for (const table of TABLES)
    await ends.sql.script(`update ${table} set amount = amount + 100 where id <= 10; delete from ${table} where id between 11 and 15;
      insert into ${table} select n, n, 'new' from generate_series(61, 65) n; delete from ${table} where id = 16; insert into ${table} values (16, 1, 'anew')`);
  // The first is held and the second passes, or waits for it; the last is held alone.
  for (const table of ['orders', 'late'])
    for (const [id, amount] of [
      [20, -1],
      [20, 7],
      [21, -1],
    ])
      await ends.sql.script(`update ${table} set amount = ${amount} where id = ${id}`);
  const isThere = async (id: number) => (await ends.lake.query('select from shop.past where id = $1', [id])).rows.length > 0;
  await ends.sql.script("insert into past values (99, 1, 'last')");
  await eventually(() => isThere(99), 'all of it is there');
  expect((await verify()).code).toBe(0);
  const before = new Map<string, readonly (readonly (string | null)[])[]>();
  for (const table of TABLES) before.set(table, await rowsOf(table));

  const putBack = () =>
    ends.lake.script(
      `begin; ${TABLES.map((table) => `truncate shop.${table}; insert into shop.${table} select * from backup.${table}`).join('; ')}; commit`,
    );
  await putBack();
  const found = await verify();
  expect(found.code).toBe(1);
  expect(found.of('orders')).toMatchObject({ held: 1, lost: 17, surplus: 5 });
  expect(found.of('late')).toMatchObject({ held: 2, lost: 16, surplus: 5 });
  const repaired = await verify('--repair');
  expect([repaired.code, repaired.of('orders'), repaired.of('late')]).toMatchObject([0, { held: 1, lost: 0 }, { held: 2, lost: 0 }]);
  for (const table of TABLES) expect([table, await rowsOf(table)]).toEqual([table, before.get(table)]);
  const again = await verify('--repair');
  expect([again.code, ...again.tables.map((one) => one.repaired)]).toEqual([0, 0, 0, 0, 0]);

  // A backup of before a column was there, put back while nobody writes.
  await it.stop();
  await putBack();
  await ends.lake.script('alter table shop.orders drop column note');
  await it.restart();
  await untilReady(it.url);
  const widened = await verify('--repair');
  expect([widened.code, widened.of('orders')]).toEqual([0, expect.anything()]);
  // Of a row whose newest change is held nobody knows any more what it was before.
  const without = (rows: readonly (readonly (string | null)[])[] = []) => rows.filter(([id]) => id !== '21');
  for (const table of TABLES) expect([table, without(await rowsOf(table))]).toEqual([table, without(before.get(table))]);

  expect((await cli('quarantine', 'release', it.config.file, '--all')).code).toBe(0);
  expect((await verify()).code).toBe(0);
});

test('a row that is made different again while it is repaired is asked for again, and what is waited for is told', async () => {
  await using ends = await BothEnds.make('spoilt');
  await ends.sql.script("create table t (id int primary key, v text); insert into t values (1, 'right'), (2, 'right')");
  await using it = await Following.start(ends, ends.config({ tables: ['public.t'] }));
  await ends.lake.script(`update shop.t set v = 'wrong' where id = 1; create sequence shop.writes;
    create function shop.spoil() returns trigger language plpgsql as $$ begin
      if nextval('shop.writes') = 1 then new.v := 'spoilt'; end if; return new; end $$;
    create trigger spoil before insert or update on shop.t for each row execute function shop.spoil()`);
  let told = '';
  const code = await runCli(['verify', it.config.file, '--repair', '--wait', '30s'], {
    stdout: () => {},
    stderr: (text) => void (told += text),
    env: {},
    isTerminal: true,
    ask: async () => null,
    stop: new AbortController().signal,
  });
  expect([code, (await ends.lake.query('select v from shop.t order by id')).rows]).toEqual([0, [['right'], ['right']]]);
  expect(told).toContain('shop.public.t: waiting for 1 rows that the lane is to bring again, asked for once');
});
