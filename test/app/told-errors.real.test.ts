/** What is told of errors whose words hold values: logs, health, the API and reasons of schema changes have the code, and not the words. */
import { expect, test } from 'vitest';
import { createLogger } from '../../app/logger.ts';
import { Service } from '../../app/service.ts';
import { systemClock } from '../../core/clock.ts';
import { eventually } from '../support/eventually.ts';
import { BothEnds } from './changed-tables.ts';
import { ask, untilReady } from './services.ts';

test('neither a trigger’s words nor a value that cannot be cast are told anywhere', async () => {
  await using ends = await BothEnds.make('told');
  await ends.sql.script(
    `create table raised (id int primary key, v text); create table cast_ (id text primary key); insert into cast_ values ('1')`,
  );
  await ends.lake
    .script(`create schema shop; create table shop.raised (id int primary key, v text); create table shop.cast_ (id text primary key);
    insert into shop.cast_ values ('hunter2');
    create function shop.judge() returns trigger language plpgsql as $$ begin
      raise exception 'no % here', new.v using errcode = '40001', detail = new.v, hint = new.v; end $$;
    create trigger judge before insert on shop.raised for each row execute function shop.judge()`);
  const lines: string[] = [];
  const logger = createLogger({ level: 'debug', format: 'json', write: (line) => void lines.push(line), clock: systemClock });
  const config = ends.config({ tables: ['public.raised', 'public.cast_'] });
  const service = await Service.start(config.load(), { logger });
  const url = service.url ?? '';
  try {
    await untilReady(url);
    const told: string[] = [];
    const paths = ['/readyz', '/api/status', '/api/schema/changes'];
    const look = async () => {
      const texts = await Promise.all(paths.map(async (path) => (await ask(url, path)).text));
      told.push(...texts);
      return texts.join('');
    };
    await ends.sql.script('alter table cast_ alter id type int using id::int; insert into cast_ values (2)');
    await eventually(async () => (await look()).includes('22P02'), 'the change of the key waits');
    await ends.sql.script("insert into raised values (1, 'hunter2')");
    await eventually(async () => (await look()).includes('TARGET_BUSY'), 'the batch is tried again');
    await eventually(() => lines.some((line) => line.includes('40001')), 'the log tells the code');
    await ends.lake.script('drop trigger judge on shop.raised');
    await ends.equal('raised');
    for (const text of [...told, ...lines]) expect(text).not.toContain('hunter2');
  } finally {
    await service.stop(5000);
  }
});
