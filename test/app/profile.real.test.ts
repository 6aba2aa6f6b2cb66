/** `tidegate profile` of a live table: the proposed rules are accepted by `check`, hold for its rows, and nothing is changed by the look. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, inject, test } from 'vitest';
import type { TableProfile } from '../../quality/profile/propose.ts';
import { PgConnection } from '../../wire/postgres/connection.ts';
import { quoteLiteral } from '../../wire/postgres/ident.ts';
import { createDatabase, type TestDatabase } from '../support/databases.ts';
import { TYPES_SQL, VALUES, valuesOf } from '../support/types.ts';
import { cli } from './cli.ts';
import { configFolder, type TestConfig } from './services.ts';

let from: TestDatabase;
let to: TestDatabase;
let sql: PgConnection;
let config: TestConfig;

beforeAll(async () => {
  from = await createDatabase(inject('sourceServer'), 'profile');
  to = await createDatabase(inject('targetServer'), 'profile');
  sql = await PgConnection.connect({ url: from.url });
  await sql.script(`
    create type stage as enum ('new', 'paid');
    create table orders (
      id bigint primary key, stage stage not null, total numeric(12,2), net numeric(12,2) not null, tax numeric(12,2), email varchar(40), code char(6),
      big numeric, real float8, flag boolean, at timestamptz not null, sent timestamptz, day date, local time, doc jsonb, raw bytea, ref uuid, "odd ""name" text, tags text[]);
    insert into orders select n, (array['new', 'paid'])[1 + n % 2]::stage, n + 0.5, n, 0.5, 'user' || n || '@example.org', 'c' || n, 10::numeric ^ 40 + n,
      case when n = 7 then 'NaN' else n / 3.0 end, n % 3 = 0, '2026-01-01'::timestamptz + n * interval '1 hour', '2026-01-02'::timestamptz + n * interval '1 hour',
      case when n = 5 then 'infinity' else '2026-01-01'::date + n end, '10:00'::time + n * interval '1 second', '{"a": 1}', '\\x00ff', gen_random_uuid(), 'it''s ' || n, array['a', 'b']
      from generate_series(1, 500) n;
    create table paced (id bigint primary key, at timestamptz not null);
    insert into paced select n, '2026-01-01'::timestamptz + n * interval '2 minutes' from generate_series(1, 1500) n;
    create table empty (id int primary key, name text);
    ${TYPES_SQL}`);
  const types = Object.keys(VALUES).filter((type) => valuesOf(type, sql.majorVersion).length > 0);
  const rows = Array.from({ length: 60 }, (_, n) => {
    const cells = types.map((type) => {
      const values = valuesOf(type, sql.majorVersion);
      return `${quoteLiteral(values[n % values.length] ?? '')}::${type}`;
    });
    return `(${[n, ...cells].join(', ')})`;
  });
  await sql.script(`
    create table every (id int primary key, ${types.map((type, at) => `c${at} ${type}`).join(', ')});
    insert into every values ${rows.join(', ')};
    analyze;`);
  config = configFolder(
    {
      sources: {
        shop: {
          kind: 'postgres',
          url: from.url,
          slot: from.name,
          publication: 'profile',
          tables: ['public.orders', 'public.empty', 'public.every', 'public.paced'],
        },
      },
    },
    {},
    { source: from.url, target: to.url },
  );
});

afterAll(async () => {
  config?.[Symbol.dispose]();
  await sql?.close();
  await Promise.all([from?.[Symbol.asyncDispose](), to?.[Symbol.asyncDispose]()]);
});

test('the proposed rules of live tables are accepted by check, and hold for their rows', async () => {
  for (const table of ['orders', 'empty', 'every', 'paced']) {
    const out = join(config.folder, `${table}.rules.yaml`);
    const { code, stderr } = await cli('profile', config.file, `shop.public.${table}`, '--all', '--out', out);
    expect([code, stderr]).toEqual([0, '']);
    expect((await cli('profile', config.file, `shop.public.${table}`, '--against', out, '--json')).json).toMatchObject({ changes: [] });
  }
  const checked = await cli('check', config.file, '--json');
  const { problems } = checked.json as { problems: { severity: string; path: string }[] };
  expect(problems.filter(({ severity, path }) => severity === 'error' || path.includes('.rules.yaml'))).toEqual([]);
  const proposed = readFileSync(join(config.folder, 'orders.rules.yaml'), 'utf8');
  for (const words of [
    'the column is NOT NULL',
    'in_set: [new, paid]',
    'format: email',
    'sent-not-before-at',
    'net-and-tax-add-up-to-total',
    'of a table',
  ])
    expect(proposed).toContain(words);
  expect(readFileSync(join(config.folder, 'paced.rules.yaml'), 'utf8')).toContain(`checks:
  # by at, 30 to 30 rows in each of 49 hours
  - id: volume
    row_count: {min: 15, max: 100}
    window: {every: 1h}
  # by at, rows in each of 49 hours
  - id: freshness
    freshness: {max: 2h}
`);
  // NaN and infinity have no place in an order.
  expect(proposed).not.toMatch(/ real:\n.*\n(?:.*\n)?.*between/);
  const rows = await sql.query('select row_to_json(o)::text from orders o order by id');
  const input = join(config.folder, 'orders.ndjson');
  writeFileSync(input, rows.rows.map(([row]) => `${row}\n`).join(''));
  // A file is one window, and nobody waits for its rows.
  const live = / {2}# by at, rows .*\n {2}- id: freshness\n.*\n|, max: 50(?=\})/g;
  const ofFile = join(config.folder, 'file.yaml');
  expect(proposed.match(live)).toHaveLength(2);
  writeFileSync(ofFile, proposed.replace(live, ''));
  const judged = await cli('judge', '--rules', ofFile, '--input', input);
  expect(judged.stdout.split('\n').filter((line) => /^(FAILED|unusable)/.test(line))).toEqual([]);
  expect(judged.code).toBe(0);
});

test('a sample is a sample, a rate is kept, and what has changed since is told', async () => {
  const sampled = (await cli('profile', config.file, 'shop.public.orders', '--rows', '100', '--json')).json as TableProfile & {
    from: { sampled: boolean };
  };
  expect([sampled.rows, sampled.from.sampled]).toEqual([100, true]);
  const all = await cli('profile', config.file, 'shop.public.orders', '--rate', '2000', '--json');
  expect(all.json).toMatchObject({ rows: 500, from: { kind: 'table', sampled: false, rowsEstimated: 500 } });
  const earlier = join(config.folder, 'earlier.json');
  writeFileSync(earlier, all.stdout);
  await sql.script('alter table orders add column extra int; update orders set total = -1 where id = 3');
  const changed = await cli('profile', config.file, 'shop.public.orders', '--against', earlier);
  expect(changed.code).toBe(1);
  expect(changed.stdout).toContain('extra: the column is new');
  expect(changed.stdout).toContain('net-and-tax-add-up-to-total is proposed no more');
  const unknown = await cli('profile', config.file, 'shop.public.order');
  expect([unknown.code, unknown.stderr]).toEqual([2, expect.stringContaining('Did you mean shop.public.orders?')]);
});
