/** Two services with sources of their own, whose pipelines would write one table: the second says whose it is, and goes on once it has another. */
import { expect, inject, test } from 'vitest';
import { PgConnection } from '../../wire/postgres/connection.ts';
import { createDatabase } from '../support/databases.ts';
import { eventually } from '../support/eventually.ts';
import { cli } from './cli.ts';
import { ask, configFolder, startService, type TestConfig, untilReady } from './services.ts';

test('the second service halts before it writes anything, and says whose the table is; check says so too', async () => {
  await using target = await createDatabase(inject('targetServer'), 'claimed');
  await using lake = await PgConnection.connect({ url: target.url });
  await using crm = await createDatabase(inject('sourceServer'), 'crm');
  await using shop = await createDatabase(inject('sourceServer'), 'shop');
  const setup = async (url: string, rows: number): Promise<void> => {
    await using sql = await PgConnection.connect({ url });
    await sql.script(`create table orders (id int primary key); insert into orders select generate_series(1, ${rows})`);
  };
  await Promise.all([setup(crm.url, 10), setup(shop.url, 2000)]);
  const configOf = (name: string, source: { url: string; name: string }, schema: string): TestConfig =>
    configFolder({
      sources: { [name]: { kind: 'postgres', url: source.url, slot: source.name, publication: 'claimed', tables: ['public.orders'] } },
      targets: { lake: { kind: 'postgres', url: target.url, schema } },
      pipelines: { main: { source: name, target: 'lake' } },
    });
  const count = async (schema: string): Promise<number> => Number((await lake.query(`select count(*) from ${schema}.orders`)).rows[0]?.[0]);
  using first = configOf('crm', crm, 'shop');
  using second = configOf('shop', shop, 'shop');
  {
    await using running = await startService(first);
    await untilReady(running.url);
    await using other = await startService(second);
    const says = `the pipeline main (crm/${crm.name}) has written crm.public.orders there since`;
    await eventually(async () => (await ask(other.url, '/readyz')).text.includes(says), 'it says so');
    expect((await ask(other.url, '/api/status')).text).toContain('"code":"TARGET_TABLE_CLAIMED"');
    const checked = await cli('check', second.file, '--json');
    expect([checked.code, JSON.stringify(checked.json)]).toEqual([1, expect.stringContaining(`is taken: ${says}`) as unknown]);
    expect(JSON.stringify(checked.json)).toContain(`a pipeline of this name is running by another lane, crm/${crm.name}`);
    expect(await count('shop')).toBe(10);
  }
  using mended = configOf('shop', shop, 'elsewhere');
  await using again = await startService(mended);
  await untilReady(again.url);
  expect([await count('shop'), await count('elsewhere')]).toEqual([10, 2000]);
});
