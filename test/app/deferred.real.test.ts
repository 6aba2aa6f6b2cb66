/** Foreign keys that are looked at when a batch commits, and transactions that are larger than one. */
import { expect, test } from 'vitest';
import { eventually } from '../support/eventually.ts';
import { BothEnds, Following } from './changed-tables.ts';
import { cli } from './cli.ts';

const BATCH = 100;
// What is held of a table for its parents counts as what is held of it for anything else.
const RULES = `
apiVersion: quality/v1
kind: DatasetRules
dataset: shop.public.children
breaker: {open_when: {quarantined_ratio: 1, over: 1m, min_rows: 100000}}
columns: {id: [not_null]}
`;

test('a row whose parent comes in a later batch of its transaction is held as target.23503 until it is released; what fits into one is not', async () => {
  await using ends = await BothEnds.make('deferred');
  const tables = (schema: string): string => `create table ${schema}.parents (id int primary key, v int);
    create table ${schema}.children (id int primary key, parent int references ${schema}.parents deferrable initially deferred)`;
  await ends.sql.script(tables('public'));
  await ends.lake.script(`create schema shop; ${tables('shop')}`);
  await using it = await Following.start(
    ends,
    ends.config(
      { tables: ['public.children', 'public.parents'] },
      {
        targets: { lake: { kind: 'postgres', url: ends.target.url, schema: 'shop', deferConstraints: true } },
        pipelines: { main: { source: 'shop', target: 'lake', datasets: './*.rules.yaml', batch: { rows: BATCH } } },
      },
      { 'children.rules.yaml': RULES, 'parents.rules.yaml': RULES.replace('children', 'parents') },
    ),
  );
  const write = (first: number, count: number): Promise<unknown> =>
    ends.sql.script(`begin; insert into children select n, n from generate_series(${first}, ${first + count - 1}) n;
      insert into parents select n, n from generate_series(${first}, ${first + count - 1}) n; commit`);
  const held = async (): Promise<readonly number[]> =>
    (
      await ends.lake.query(`select key from tidegate.quarantine where status = 'held' and rules = '{target.23503}' order by key::int`)
    ).rows.map(([key]) => Number(key));
  const both = async (): Promise<void> => {
    for (const table of ['parents', 'children']) await ends.equal(table);
  };
  const release = async (table: string) => (await cli('quarantine', 'release', it.config.file, '--dataset', `shop.public.${table}`)).code;
  await write(1, 40);
  await both();
  expect(await held()).toEqual([]);

  await write(1001, 230);
  await ends.equal('parents');
  const waiting = await held();
  // Two batches of children alone, and a third with some of them and as many parents as there was room for.
  expect(waiting.slice(0, 2 * BATCH)).toEqual(Array.from({ length: 2 * BATCH }, (_, i) => 1001 + i));
  await eventually(async () => (await ends.differences('children')).length === waiting.length, 'all others are there');
  expect(await release('children')).toBe(0);
  await both();

  // A parent that goes in an earlier batch than its child is held all the same.
  await ends.sql.script(`begin; delete from parents where id > 1000; delete from children where id > 1000; commit`);
  await ends.equal('children');
  expect((await held()).length).toBeGreaterThanOrEqual(2 * BATCH);
  expect(await release('parents')).toBe(0);
  await both();
  expect(await held()).toEqual([]);
  expect(await it.unequal()).toEqual([]);
});
