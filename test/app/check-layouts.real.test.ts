/** `tidegate check` about the tables of a target, asked of two real databases. */
import { expect, inject, test } from 'vitest';
import { PgConnection } from '../../wire/postgres/connection.ts';
import { createDatabase } from '../support/databases.ts';
import { cli } from './cli.ts';
import { configFolder } from './services.ts';

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
