/** A layout of the config that its table has not taken up yet is no reason not to verify it, nor the others. */
import { expect, test } from 'vitest';
import { BothEnds, Following } from './changed-tables.ts';
import { cli } from './cli.ts';
import { untilReady } from './services.ts';

test('columns beside the rows, and marks of what is deleted, that the next row will bring', async () => {
  await using ends = await BothEnds.make('untaken');
  for (const table of ['stamped', 'marked', 'free'])
    await ends.sql.script(
      `create table ${table} (id int primary key, n int); insert into ${table} select n, n from generate_series(1, 5) n`,
    );
  const configOf = (layouts: readonly unknown[]) =>
    ends.config(
      { tables: ['public.stamped', 'public.marked', 'public.free'] },
      { targets: { lake: { kind: 'postgres', url: ends.target.url, schema: 'shop', layouts } } },
    );
  {
    await using before = await Following.start(ends, configOf([]));
    for (const table of ['stamped', 'marked', 'free']) await ends.equal(table);
    await before.flows();
  }
  await using it = new Following(
    ends,
    configOf([
      { dataset: 'shop.public.stamped', write: { committedAt: 'committed' } },
      { dataset: 'shop.public.marked', softDelete: { flag: 'gone' } },
    ]),
  );
  await it.restart();
  await untilReady(it.url);
  await it.flows();
  const verify = async (): Promise<unknown> => {
    const { code, stdout } = await cli('verify', it.config.file);
    return [code, stdout.match(/equal|DIFFERS/g)];
  };
  expect(await verify()).toEqual([0, ['equal', 'equal', 'equal']]);
  await ends.lake.script('update shop.marked set n = 0 where id = 3');
  expect(await verify()).toEqual([1, expect.arrayContaining(['DIFFERS'])]);
  await ends.lake.script('update shop.marked set n = 3 where id = 3');
  await ends.sql.script('update stamped set n = 9 where id = 1; update marked set n = 9 where id = 1; delete from marked where id = 2');
  await ends.equal('stamped');
  await ends.equal('marked', { where: 'gone is not true' });
  expect(await verify()).toEqual([0, ['equal', 'equal', 'equal']]);
});
