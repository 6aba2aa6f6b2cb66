/** Tables and columns of any name, in any schema: copied, followed, changed, judged, held, released, verified and read again. */
import { expect, inject, test } from 'vitest';
import { PgConnection } from '../../wire/postgres/connection.ts';
import { quoteIdent } from '../../wire/postgres/ident.ts';
import { createDatabase } from '../support/databases.ts';
import { eventually } from '../support/eventually.ts';
import { cli } from './cli.ts';
import { configFolder, post, startService, untilReady } from './services.ts';

/** As long as names may be: 63 bytes. */
const LONG = 'n'.repeat(63);
const LONG_BYTES = `${'é'.repeat(31)}x`;
const NAMES = ['Order "x"', 'Ünï Code 🐘', 'select', "it's", '$1', 'a,b{c}\\', 'with.dots. in', LONG, LONG_BYTES, 'tidegate_k0'];
const SCHEMAS = ['public', 'Ünï "Schema"'];

test('they are what they are everywhere', async () => {
  await using source = await createDatabase(inject('sourceServer'), 'odd');
  await using target = await createDatabase(inject('targetServer'), 'odd');
  await using sql = await PgConnection.connect({ url: source.url });
  await using lake = await PgConnection.connect({ url: target.url });
  const tables = NAMES.map((name, i) => ({ schema: SCHEMAS[i % 2] ?? '', name }));
  const quoted = ({ schema, name }: (typeof tables)[number]): string => `${quoteIdent(schema)}.${quoteIdent(name)}`;
  const inLake = ({ name }: (typeof tables)[number]): string => `shop.${quoteIdent(name)}`;
  const columns = NAMES.map(quoteIdent);
  await sql.script(`create schema ${quoteIdent(SCHEMAS[1] ?? '')}`);
  // Each table's key is a column of its own name; the others are texts.
  for (const table of tables) {
    const own = quoteIdent(table.name);
    await sql.script(`create table ${quoted(table)} (${columns.map((name) => `${name} ${name === own ? 'int primary key' : 'text'}`).join(', ')});
      insert into ${quoted(table)} (${own}) select generate_series(1, 5)`);
  }
  const [first] = tables;
  if (first === undefined) return;
  using config = configFolder(
    {
      sources: {
        shop: {
          kind: 'postgres',
          url: source.url,
          slot: source.name,
          publication: 'odd',
          tables: tables.map(({ schema, name }) => `${schema}.${name}`),
        },
      },
    },
    {
      'first.rules.yaml': JSON.stringify({
        apiVersion: 'quality/v1',
        kind: 'DatasetRules',
        dataset: `shop.${first.schema}.${first.name}`,
        version: 1,
        columns: { $1: [{ in_set: ['good'] }] },
      }),
    },
    { source: source.url, target: target.url },
  );
  await using running = await startService(config);
  await untilReady(running.url);
  await sql.script(`update ${quoted(first)} set "$1" = 'bad 🐘' where ${quoteIdent(first.name)} = 4`);
  for (const table of tables) {
    const own = quoteIdent(table.name);
    const other = columns.find((name) => name !== own) ?? '';
    await sql.script(`
      update ${quoted(table)} set ${other} = 'changed 🐘' where ${own} < 3; update ${quoted(table)} set ${own} = 30 where ${own} = 3;
      delete from ${quoted(table)} where ${own} = 5; alter table ${quoted(table)} add ${quoteIdent(`new ${table.name.slice(0, 20)}`)} text default 'd"';
      insert into ${quoted(table)} (${own}) values (6); alter table ${quoted(table)} rename ${other} to "Re ""named"; update ${quoted(table)} set "Re ""named" = 'r' where ${own} = 1`);
  }
  const rows = async (connection: PgConnection, from: string, name: string): Promise<unknown> =>
    (await connection.query(`select to_jsonb(t)::text from ${from} t order by ${quoteIdent(name)}`)).rows;
  for (const table of tables.slice(1)) {
    const expected = JSON.stringify(await rows(sql, quoted(table), table.name));
    await eventually(async () => JSON.stringify(await rows(lake, inLake(table), table.name)) === expected, `${table.name} is equal`);
  }
  // Once more where the table was read again for its new column.
  const held = async (): Promise<unknown> => (await lake.query('select distinct key, rules from tidegate.quarantine')).rows;
  await eventually(async () => JSON.stringify(await held()) === '[["4","{$1.in_set}"]]', 'the bad row is held');
  const verified = await cli('verify', config.file, '--wait', '10s', '--json');
  expect([verified.code, verified.stdout]).toMatchObject([0, expect.any(String) as string]);
  const dataset = `shop.${tables[1]?.schema}.${tables[1]?.name}`;
  await lake.script(`delete from ${inLake(tables[1] ?? first)}`);
  expect((await post(running.url, '/api/pipelines/main/rereads', { dataset, where: `"Ünï Code 🐘" < 10` })).status).toBe(202);
  await eventually(async () => (await lake.query(`select from ${inLake(tables[1] ?? first)}`)).rows.length === 4, 'rows are read again');
});
