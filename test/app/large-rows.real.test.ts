/** A row beyond `rowBytes`, as the one who runs the service meets it: held and told, and brought whole once the limit is raised. */
import { expect, inject, test } from 'vitest';
import { PgConnection } from '../../wire/postgres/connection.ts';
import { createDatabase } from '../support/databases.ts';
import { eventually } from '../support/eventually.ts';
import { cli } from './cli.ts';
import { configFolder, startService, untilReady } from './services.ts';

const LEFT = `select count(*) from tidegate.quarantine where status in ('held', 'waiting', 'released')`;

test('it is held with its reason, cannot be released, and comes by verify --repair once the limit is raised', async () => {
  await using from = await createDatabase(inject('sourceServer'), 'large');
  await using to = await createDatabase(inject('targetServer'), 'large');
  await using source = await PgConnection.connect({ url: from.url });
  await using target = await PgConnection.connect({ url: to.url });
  await source.script(
    'create table orders (id int primary key, document text, n int); alter table orders alter document set storage external',
  );
  await target.script('create schema shop; create table shop.orders (id int primary key, document text, n int)');
  const config = (rowBytes: string) =>
    configFolder(
      { sources: { shop: { kind: 'postgres', url: from.url, slot: from.name, publication: 'p', tables: ['public.orders'], rowBytes } } },
      {},
      { source: from.url, target: to.url },
    );
  const rows = async () => (await target.query('select id, length(document), n from shop.orders order by id')).rows;
  using small = config('1MiB');
  const id = 'shop.public.orders/2@';
  {
    await using running = await startService(small);
    await untilReady(running.url);
    await source.script(
      `insert into orders values (1, 'a', 1), (2, repeat('x', 5000000), 2), (3, 'c', 3); update orders set n = 20 where id = 2; insert into orders values (4, 'd', 4)`,
    );
    await eventually(async () => (await rows()).length === 3, 'the others are there');
    expect(await rows()).toEqual([
      ['1', '1', '1'],
      ['3', '1', '3'],
      ['4', '1', '4'],
    ]);
    const { json } = await cli('quarantine', 'list', small.file, '--json');
    const items = json as { items: { id: string; status: string; findings: { rule: string; message: string }[] }[] };
    expect(items.items.map(({ status, findings }) => `${status} ${findings[0]?.rule ?? ''} ${findings[0]?.message ?? ''}`)).toEqual([
      'waiting hold.key an earlier event of the key is in quarantine',
      'held source.row_bytes the row of 5 MiB is larger than rowBytes of the source allows: its large cells were not read',
    ]);
    const held = items.items[1]?.id ?? '';
    expect(held.startsWith(id)).toBe(true);
    expect(await cli('quarantine', 'release', small.file, held, '--dry-run', '--json')).toMatchObject({
      json: { results: [{ outcome: 'still-fails' }] },
    });
    await cli('quarantine', 'release', small.file, held, '--json');
    const heldAgain = `select count(*) from tidegate.lanes l, tidegate.quarantine q where l.lane = 'replay:main' and l.held > 0 and q.id = $1 and q.status = 'held'`;
    await eventually(async () => (await target.query(heldAgain, [held])).rows[0]?.[0] === '1', 'it is held again');
    // It is missing, and nobody wonders.
    expect(await cli('verify', small.file, '--json')).toMatchObject({ code: 0 });
    // Given up and brought again under the same limit, it is held again.
    await cli('quarantine', 'discard', small.file, held, '--why', 'a try', '--json');
    await eventually(async () => (await target.query(LEFT)).rows[0]?.[0] === '0', 'what waited for it is settled as well');
    expect(await cli('verify', small.file, '--repair', '--json')).toMatchObject({
      code: 0,
      json: { pipelines: [{ tables: [{ counts: { held: 1, lost: 0, partial: 0 }, repaired: 0 }] }] },
    });
    expect((await target.query(`select rules, status, key from tidegate.quarantine where status = 'held'`)).rows).toEqual([
      ['{source.row_bytes}', 'held', '2'],
    ]);
  }
  using large = config('16MiB');
  await using running = await startService(large);
  await untilReady(running.url);
  const { rows: open } = await target.query(`select id from tidegate.quarantine where status = 'held'`);
  await cli('quarantine', 'discard', large.file, open[0]?.[0] ?? '', '--why', 'the limit is raised', '--json');
  await eventually(async () => (await target.query(LEFT)).rows[0]?.[0] === '0', 'what waited for it is settled as well');
  const repaired = await cli('verify', large.file, '--repair', '--json');
  expect([repaired.code, await rows()]).toEqual([
    0,
    [
      ['1', '1', '1'],
      ['2', '5000000', '20'],
      ['3', '1', '3'],
      ['4', '1', '4'],
    ],
  ]);
});
