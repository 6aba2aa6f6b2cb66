/** Tables that look otherwise than at the source, between two real databases: what check says of them, and verify. */
import { expect, inject, test } from 'vitest';
import { PgConnection } from '../../wire/postgres/connection.ts';
import { createDatabase } from '../support/databases.ts';
import { cli } from './cli.ts';
import { eventually } from '../support/eventually.ts';
import { configFolder, startService } from './services.ts';

test('a table that keeps its versions is verified by those that are open, and a large value that did not change is in each', async () => {
  await using source = await createDatabase(inject('sourceServer'), 'versions');
  await using target = await createDatabase(inject('targetServer'), 'versions');
  await using sql = await PgConnection.connect({ url: source.url });
  await using lake = await PgConnection.connect({ url: target.url });
  await sql.script(`create table items (id int primary key, n int, note text); alter table items alter note set storage external;
    insert into items select n, 0, repeat('x', 5000) from generate_series(1, 50) n`);
  const layouts = [{ dataset: 'shop.public.items', history: { from: 'valid_from', to: 'valid_to' }, write: { operation: 'op' } }];
  using config = configFolder({
    sources: { shop: { kind: 'postgres', url: source.url, slot: source.name, publication: 'versions', tables: ['public.items'] } },
    targets: { lake: { kind: 'postgres', url: target.url, schema: 'shop', layouts } },
  });
  await using _ = await startService(config);
  const count = async (where: string): Promise<number> => {
    const known = await lake.query(`select to_regclass('shop.items')`);
    if (known.rows[0]?.[0] === null) return 0;
    return Number((await lake.query(`select count(*) from shop.items where ${where}`)).rows[0]?.[0]);
  };
  await eventually(async () => (await count('true')) === 50, 'the first copy is done');
  await sql.script(`begin; update items set n = 1; update items set n = 2 where id <= 10; commit;
    update items set id = id + 100 where id <= 5; delete from items where id between 41 and 50`);
  await eventually(async () => (await count('valid_to is null')) === 40, 'the changes are there');
  const { code, json } = await cli('verify', config.file, '--json');
  expect([code, (json as { equal: boolean }).equal]).toEqual([0, true]);
  expect([await count('true'), await count('length(note) = 5000'), await count(`op = 'read'`)]).toEqual([115, 115, 50]);
  expect(await count('n = 1 and id <= 10 and valid_from = valid_to')).toBe(10);
  await lake.script(
    'update shop.items set valid_to = now() where id = 101 and valid_to is null; update shop.items set n = 7 where id = 20 and valid_to is not null',
  );
  const again = await cli('verify', config.file, '--json');
  expect(again.code).toBe(1);
  expect(again.json).toMatchObject({ pipelines: [{ tables: [{ counts: { lost: 1, surplus: 0 } }] }] });
});

test('check names what of a layout does not fit the table, with its place and a fix', async () => {
  await using source = await createDatabase(inject('sourceServer'), 'check');
  await using target = await createDatabase(inject('targetServer'), 'check');
  await using sql = await PgConnection.connect({ url: source.url });
  await sql.script('create table soft (id int primary key, v text, secret text); create table names (name text primary key, n int)');
  const tables = ['public.soft', 'public.names'];
  const layouts = [
    { dataset: 'shop.public.soft', columns: ['v', 'secrt', 'w'], rename: { w: 'x' } },
    { dataset: 'shop.public.names', write: { position: 'n' } },
  ];
  using wrong = configFolder(
    {
      sources: { shop: { kind: 'postgres', url: source.url, slot: source.name, publication: 'check', tables } },
      targets: { lake: { kind: 'postgres', url: target.url, schema: 'shop', layouts } },
    },
    {},
    { source: source.url, target: target.url },
  );
  const { code, json } = await cli('check', wrong.file, '--json');
  const { problems } = json as { problems: readonly { path: string; message: string; fix: string }[] };
  expect(code).toBe(1);
  const told = problems.filter(({ path }) => path.includes('layouts')).map(({ path, message, fix }) => `${path} ${message} → ${fix}`);
  expect(told.map((line) => line.replace(/^tidegate\.yaml:\d+: /, ''))).toEqual([
    'targets.lake.layouts[0].columns shop.public.soft has no column secrt → Name some of: id, v, secret.',
    'targets.lake.layouts[0].columns shop.public.soft has no column w → Name some of: id, v, secret.',
    'targets.lake.layouts[0].rename.w shop.public.soft has no column w → Name one of: id, v, secret.',
    'targets.lake.layouts[0].columns lacks id of the key of shop.public.soft, by which rows are found → Add id to the columns.',
    'targets.lake.layouts[1].table two things of shop.public.names would go to the column n → Rename one of them: a column by rename, others by their own option.',
  ]);
});
