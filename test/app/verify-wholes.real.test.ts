/** `tidegate verify` of many small tables, which are compared many at once: nothing that differs is taken for equal, and few are looked at alone. */
import { expect, inject, test, vi } from 'vitest';
import { systemClock } from '../../core/clock.ts';
import type { DatasetName } from '../../core/event.ts';
import { type VerifyOptions, verifyPipeline } from '../../app/verify/verify.ts';
import { PgConnection } from '../../wire/postgres/connection.ts';
import { createDatabase } from '../support/databases.ts';
import { configFolder, startService, untilReady } from './services.ts';

const SMALL = 60;

test('small tables that are equal are not walked through, and of others each difference is found', async () => {
  await using source = await createDatabase(inject('sourceServer'), 'wholes');
  await using target = await createDatabase(inject('targetServer'), 'wholes');
  await using sql = await PgConnection.connect({ url: source.url });
  await using lake = await PgConnection.connect({ url: target.url });
  await sql.script(`
    do $$ begin
      for i in 1..${SMALL} loop
        execute format('create table small_%s (id bigint primary key, note text)', i);
        execute format('insert into small_%s select n, ''note '' || n from generate_series(1, %s) n', i, i);
      end loop;
    end $$;
    create table many_rows (id int primary key);
    insert into many_rows select generate_series(1, 1100);
    create table wide (id int primary key, v text);
    alter table wide alter v set storage external;
    insert into wide select n, repeat('x', 300000) from generate_series(1, 4) n;
    create table parts (id int primary key) partition by hash (id);
    create table parts_0 partition of parts for values with (modulus 1, remainder 0);
    insert into parts select generate_series(1, 10);
    create table empty_one (id int primary key);
    create table texts (name text primary key);
    insert into texts values ('a'), ('B'), ('c')`);
  await lake.script('create schema shop; create table shop.texts (name text collate "und-x-icu" primary key)');
  using config = configFolder(
    {
      sources: { shop: { kind: 'postgres', url: source.url, slot: source.name, publication: 'wholes', patterns: ['public.*'] } },
    },
    {},
    { source: source.url, target: target.url },
  );
  await using running = await startService(config);
  await untilReady(running.url);
  const { config: loaded } = config.load();
  const pipeline = loaded.pipelines['main'];
  if (pipeline === undefined) throw new Error('there is no pipeline main');
  const query = vi.spyOn(PgConnection.prototype, 'query');
  /** The tables that are walked through by ranges or sets, and what was found. */
  const verify = async (more: Partial<VerifyOptions> = {}) => {
    query.mockClear();
    const { tables } = await verifyPipeline({
      config: loaded,
      name: 'main',
      pipeline,
      rules: new Map(),
      datasets: null,
      differencesMax: 100,
      waitMs: 30_000,
      rowsPerSecond: null,
      repair: false,
      onProgress: () => {},
      clock: systemClock,
      signal: new AbortController().signal,
      ...more,
    });
    const walked = query.mock.calls.flatMap(
      ([text]) => /^select t\..* from (?:only )?"public"\."(\w+)" t .*order by/.exec(text)?.[1] ?? [],
    );
    const differing = tables.filter(({ equal }) => !equal).map(({ dataset, counts: { lost, surplus } }) => [dataset, lost, surplus]);
    return { tables, walked: [...new Set(walked)].toSorted(), differing };
  };
  const rowsOf = ({ tables }: Awaited<ReturnType<typeof verify>>) =>
    Object.fromEntries(tables.map(({ dataset, rows }) => [dataset.replace('shop.public.', ''), rows]));

  const first = await verify();
  expect(first.differing).toEqual([]);
  expect(first.walked).toEqual(['many_rows', 'parts', 'wide']);
  const small = Object.fromEntries(Array.from({ length: SMALL }, (_, i) => [`small_${i + 1}`, i + 1]));
  expect(rowsOf(first)).toEqual({ ...small, many_rows: 1100, wide: 4, parts: 10, empty_one: 0, texts: 3 });

  await lake.script(`
    delete from shop.small_3 where id = 2;
    update shop.small_4 set note = 'other' where id = 1;
    insert into shop.small_5 values (99, 'surplus');
    insert into shop.small_6 select n, 'surplus' from generate_series(100, 1300) n;
    update shop.small_7 set id = id + 100 where id = 7;
    delete from shop.many_rows where id = 1100;
    drop table shop.small_8;
    insert into shop.empty_one values (1)`);
  const planted = await verify({ differencesMax: 2000 });
  const named = (table: string, lost: number, surplus: number) => [`shop.public.${table}`, lost, surplus];
  expect(planted.differing).toEqual([
    named('empty_one', 0, 1),
    named('many_rows', 1, 0),
    named('small_3', 1, 0),
    named('small_4', 1, 0),
    named('small_5', 0, 1),
    named('small_6', 0, 1201),
    named('small_7', 1, 1),
    named('small_8', 8, 0),
  ]);
  // At a rate they are looked at in smaller numbers; the whole takes what its rows take.
  const startedMs = systemClock.monotonic();
  const paced = await verify({ rowsPerSecond: 2000, datasets: [10, 20, 60].map((n) => `shop.public.small_${n}` as DatasetName) });
  expect(systemClock.monotonic() - startedMs).toBeGreaterThan(45);
  expect([paced.differing, paced.walked, rowsOf(paced)]).toEqual([[], [], { small_10: 10, small_20: 20, small_60: 60 }]);
});
