/** What the target's own triggers, functions and types say no to is held, row by row, and told without its values. */
import { expect, inject, test } from 'vitest';
import { PgConnection } from '../../wire/postgres/connection.ts';
import { createDatabase } from '../support/databases.ts';
import { eventually } from '../support/eventually.ts';
import { configFolder, startService, untilReady } from './services.ts';

/** SQLSTATEs that somebody may choose: of nobody, of other languages, of the standard's classes, and such as mean that a server is away, full or busy. */
const RAISED = `P0001 U0001 45000 F0000 23514 22003 20000 21000 2F002 38000 39004
  0A000 25006 28000 42501 42P01 53100 55000 55P03 57014 57P01 58030 08006 XX001`.split(/\s+/);

/** By the row's `code`: what the trigger does beside raising that. */
const OTHER: Readonly<Record<string, string>> = {
  '21000': 'many',
  '20000': 'case',
  '2F005': 'nothing',
  '22003': 'large',
};

test('rows that a trigger refuses under whatever code, or that fail in it, are held alone and in words without values', async () => {
  await using source = await createDatabase(inject('sourceServer'), 'ref');
  await using target = await createDatabase(inject('targetServer'), 'ref');
  await using sql = await PgConnection.connect({ url: source.url });
  await using lake = await PgConnection.connect({ url: target.url });
  await sql.script('create table t (id int primary key, code text, n bigint); create table free (id int primary key)');
  await lake.script(`create schema shop; create table shop.t (id int primary key, code text, n int);
    create function shop.judge() returns trigger language plpgsql as $$ begin
      if new.code = 'fine' then return new; end if;
      if new.code = 'large' then return new; end if;
      if new.code = 'many' then perform (select g from generate_series(1, 2) g); end if;
      if new.code = 'case' then case new.id when 0 then null; end case; end if;
      if new.code <> 'nothing' then raise exception 'hunter2 in %', new.id using errcode = new.code; end if;
    end $$;
    create trigger judge before insert or update on shop.t for each row execute function shop.judge()`);
  using config = configFolder(
    {
      sources: { shop: { kind: 'postgres', url: source.url, slot: source.name, publication: 'ref', tables: ['public.t', 'public.free'] } },
    },
    {},
    { source: source.url, target: target.url },
  );
  await using running = await startService(config);
  await untilReady(running.url);
  const others = Object.entries(OTHER);
  const rows = [...RAISED.map((code) => `'${code}', 1`), ...others.map(([, code]) => `'${code}', ${code === 'large' ? 7_777_777_777 : 1}`)];
  await sql.script(
    `insert into t values ${rows.map((row, i) => `(${i + 1}, ${row})`).join(', ')}, (100, 'fine', 1); insert into free values (1)`,
  );
  await eventually(async () => (await lake.query('select from shop.free')).rows.length === 1, 'other tables go on');
  expect((await lake.query('select id from shop.t')).rows).toEqual([['100']]);
  const held = await lake.query('select rules::text, findings::text from tidegate.quarantine order by key::int');
  expect(held.rows.map(([rule]) => rule)).toEqual([...RAISED, ...others.map(([code]) => code)].map((code) => `{target.${code}}`));
  for (const [, findings] of held.rows) expect(findings).not.toMatch(/hunter2|7777777777/);
});
