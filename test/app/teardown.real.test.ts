/** What is taken away from several sources, one of which is not there. */
import { expect, inject, test } from 'vitest';
import { PgConnection } from '../../wire/postgres/connection.ts';
import { createDatabase } from '../support/databases.ts';
import { cli } from './cli.ts';
import { configFolder, NOWHERE } from './services.ts';

test('teardown goes on where a source fails, says which, and exits with 1', async () => {
  await using source = await createDatabase(inject('sourceServer'), 'teardown');
  await using sql = await PgConnection.connect({ url: source.url });
  await sql.script(`select pg_create_logical_replication_slot('${source.name}', 'pgoutput')`);
  const shop = { kind: 'postgres', url: source.url, slot: source.name, publication: 'p', tables: ['public.t'] };
  const away = { ...shop, url: NOWHERE, slot: 'away', tables: ['public.a'] };
  const pipeline = (name: string) => ({ source: name, target: 'lake', datasets: './*.rules.yaml' });
  using config = configFolder({
    sources: { away, shop, gone: { ...away, slot: 'gone', tables: ['public.g'] } },
    pipelines: { one: pipeline('away'), two: pipeline('shop'), three: pipeline('gone') },
  });
  const said = await cli('teardown', config.file, '--yes', '--json');
  const failed = (name: string) => expect.objectContaining({ source: name, code: 'SOURCE_UNREACHABLE' }) as object;
  expect([said.code, said.json]).toEqual([
    1,
    { dropped: [{ source: 'shop', slot: source.name, publication: 'p' }], left: [], failed: [failed('away'), failed('gone')] },
  ]);
  expect((await sql.query('select from pg_replication_slots where slot_name = $1', [source.name])).rows).toEqual([]);
  const words = await cli('teardown', config.file, '--yes');
  expect([words.code, words.stdout]).toEqual([1, `shop: slot ${source.name} and publication p are gone.\n`]);
  expect(words.stderr).toMatch(/^✗ away: SOURCE_UNREACHABLE: .+\n.+\n✗ gone: SOURCE_UNREACHABLE: .+\n.+\n$/);
});
