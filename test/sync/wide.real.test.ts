/** Tables as wide as PostgreSQL takes them: 1,600 columns, from a database to another, by every way there is to write a row. */
import { expect, inject, test } from 'vitest';
import type { DatasetName } from '../../core/event.ts';
import { PgConnection } from '../../wire/postgres/connection.ts';
import { cli } from '../app/cli.ts';
import { configFolder } from '../app/services.ts';
import { createDatabase } from '../support/databases.ts';
import { sync } from '../types/sync.ts';

const COLUMNS = 1600;
/** Small ones, for a row has to fit a page: of all but the last, which may be stored apart. */
const TYPES = ['smallint', 'boolean', 'text', 'numeric(3,1)', '"char"', 'integer'];
const VALUES = [
  '(i + c) % 30000',
  '(i + c) % 2 = 0',
  'chr(97 + (i + c) % 26)',
  '((i + c) % 100) / 10.0',
  'chr(97 + (i + c) % 26)',
  '(i * c) % 1000',
];
const PLAIN = COLUMNS - 3;

const name = (column: number): string => `"c ${column} ${'ö'.repeat(5)}"`;
const columns = Array.from({ length: PLAIN }, (_, c) => ({
  name: name(c),
  type: TYPES[c % TYPES.length] ?? 'text',
  value: (VALUES[c % VALUES.length] ?? '').replaceAll('c)', `${c})`).replaceAll('* c', `* ${c}`),
}));

const TABLE = `create table wide (a int, ${columns.map((one) => `${one.name} ${one.type}`).join(', ')}, b text, big text, primary key (b, a));
  alter table wide alter big set storage external; create table marks (k int primary key, v text)`;

/** A column in three is null in a row in five, and every other cell has a value. */
const rows = (from: number, to: number): string =>
  `insert into wide select i, ${columns.map(({ value, type }, c) => (c % 3 === 0 ? `case when i % 5 > 0 then (${value})::${type} end` : `(${value})::${type}`)).join(', ')}, 'b' || i % 4, repeat('x', 3000) from generate_series(${from}, ${to}) i`;

test('a table of 1,600 columns is copied and followed: whole rows, some of their cells, moves and deletes, and each is verified', async () => {
  await using from = await createDatabase(inject('sourceServer'), 'wide');
  await using to = await createDatabase(inject('targetServer'), 'wide');
  await using source = await PgConnection.connect({ url: from.url });
  await using target = await PgConnection.connect({ url: to.url });
  await source.script(TABLE);
  const road = { from, to, tables: ['public.wide', 'public.marks'] };
  const write = { position: 'p', committedAt: null, operation: null, verdict: null };
  const layout = {
    schema: null,
    table: null,
    columns: null,
    rename: {},
    softDelete: { at: null, flag: null },
    history: { from: null, to: null },
    write,
  };
  const oneMore = { ...road, mark: 0, datasets: new Map([['shop.public.wide' as DatasetName, layout]]) };
  await source.script(rows(0, 0));
  await expect(sync(source, target, oneMore)).rejects.toMatchObject({ code: 'TARGET_SCHEMA' });
  const same = async (what: string): Promise<void> => {
    const hash = `select count(*), coalesce(bit_xor(('x' || left(md5(t::text), 16))::bit(64)::int8), 0) from wide t`;
    expect({ what, rows: (await target.query(hash)).rows }).toEqual({ what, rows: (await source.query(hash)).rows });
  };
  await source.script(rows(1, 40));
  await sync(source, target, { ...road, mark: 1 });
  await same('copied');
  await source.script(`${rows(101, 140)}; ${rows(201, 203)}`);
  await sync(source, target, { ...road, mark: 2 });
  await same('inserted');
  // Without the large value, which is left out then.
  await source.script(`update wide set ${name(4)} = 'z', ${name(5)} = 7 where a between 5 and 38`);
  await source.script(`update wide set ${name(8)} = 'one' where a = 201; update wide set ${name(3)} = null, big = 'short' where a > 110`);
  await sync(source, target, { ...road, mark: 3 });
  await same('updated');
  await source.script(
    `update wide set a = -a where a in (1, 102, 203); update wide set b = 'moved', big = 'new' where a between 110 and 139; delete from wide where a % 7 = 0; delete from wide where a = 202`,
  );
  await sync(source, target, { ...road, mark: 4 });
  await same('moved and deleted');
  expect((await target.query('select count(*) > 50 from wide')).rows).toEqual([['t']]);
  const {
    rows: [shape],
  } = await target.query(`select count(*) from pg_attribute where attrelid = 'wide'::regclass and attnum > 0 and not attisdropped`);
  expect(shape).toEqual([String(COLUMNS)]);

  const tables = { tables: road.tables };
  using config = configFolder({
    sources: { shop: { kind: 'postgres', url: from.url, slot: from.name, publication: 'tidegate', ...tables } },
    targets: { lake: { kind: 'postgres', url: to.url, schema: 'public' } },
  });
  await target.script(`update wide set ${name(PLAIN - 1)} = ${name(PLAIN - 1)} + 1 where a = 121`);
  const { code, json } = await cli('verify', config.file, '--json');
  expect([code, json]).toMatchObject([
    1,
    { pipelines: [{ tables: [{ differences: [{ columns: [name(PLAIN - 1).slice(1, -1)] }] }, { equal: true }] }] },
  ]);
});
