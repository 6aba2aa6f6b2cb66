/** Both roads into one table at once, the slot's and Debezium's, and then all of the topics again from their beginning: the table is the source's, and no row was ever older than it had been. */
import { expect, inject, test } from 'vitest';
import { fromOffset } from '../../core/position.ts';
import { PgConnection } from '../../wire/postgres/connection.ts';
import { configFolder, startService, untilReady } from '../app/services.ts';
import { createDatabase } from '../support/databases.ts';
import { eventually } from '../support/eventually.ts';
import { Random } from '../support/random.ts';
import { brokers, stack, startConnector } from './support.ts';

const SEED = 20261127;
const ROUNDS = 400;

test('two roads feed one table, whichever is ahead, and what is sent again changes nothing', async () => {
  await using source = await createDatabase(inject('sourceServer'), 'both');
  await using target = await createDatabase(inject('targetServer'), 'both');
  await using sql = await PgConnection.connect({ url: source.url });
  await using lake = await PgConnection.connect({ url: target.url });
  await sql.script(`
    create table busy (id bigint primary key, n bigint, big text);
    alter table busy alter column big set storage external;
    insert into busy select id, 0, repeat(md5(id::text), 100) from generate_series(1, 40) id;
  `);
  await lake.script(`
    create schema lake; create table lake.busy (id bigint primary key, n bigint, big text);
    create table shown (seq bigserial, id bigint, n bigint, op text);
    create function note_it() returns trigger language plpgsql as
      $$begin insert into shown (id, n, op) values (coalesce(new.id, old.id), case tg_op when 'DELETE' then null else new.n end, tg_op); return null; end$$;
    create trigger note_it after insert or update or delete on lake.busy for each row execute function note_it()`);
  const tables = ['public.busy'];
  await using connector = await startConnector(source.url, tables, 'json', { 'skipped.operations': 'none' });
  using config = configFolder(
    {
      sources: {
        direct: { kind: 'postgres', url: source.url, slot: source.name, publication: 'direct', tables },
        topics: { kind: 'kafka', brokers: [stack.broker], group: `g-${connector.prefix}`, prefix: connector.prefix, tables },
      },
      targets: { lake: { kind: 'postgres', url: target.url, schema: 'lake', rowVersions: {} } },
      pipelines: {
        slot: { source: 'direct', target: 'lake', batch: { rows: 20 } },
        kafka: { source: 'topics', target: 'lake', batch: { rows: 20 } },
      },
    },
    {},
    { source: source.url, target: target.url },
  );
  const table = async (of: PgConnection, name: string) => (await of.query(`select id, n, md5(big) from ${name} order by id`)).rows;
  const older = async () =>
    (
      await lake.query(
        `select * from (select *, max(n) over (partition by id order by seq rows between unbounded preceding and 1 preceding) as newest from shown) s
         where n < newest or (n = newest and op = 'INSERT')`,
      )
    ).rows;
  /** The lane of the topic stands at its end. */
  const arrived = async () => {
    await using client = brokers();
    const end = (await client.watermarks(`${connector.prefix}.public.busy`))?.get(0)?.high ?? 0n;
    await eventually(
      async () =>
        (await lake.query(`select 1 from tidegate.lanes where lane like 'topics/%' and position like '${fromOffset(end)}%'`)).rows
          .length === 1,
      `the topic is read up to ${end}`,
      30_000,
    );
  };
  {
    await using running = await startService(config);
    await untilReady(running.url, 60_000);
    const dice = new Random(SEED);
    for (let n = 2; n < ROUNDS; n++) {
      const id = dice.below(40);
      const statements = [
        `insert into busy values (${id}, ${n}, repeat(md5('${n}'), 100)) on conflict do nothing`,
        `update busy set n = ${n} where id = ${id}`,
        `update busy set n = ${n}, big = repeat(md5('${n}'), 90) where id = ${id}`,
        `update busy set n = ${n}, id = id + 40 * (1 + ${n}) where id = ${id}`,
        `delete from busy where id = ${id}`,
        `begin; delete from busy where id = ${id}; insert into busy values (${id}, ${n}, 'short') on conflict do nothing; commit`,
      ];
      await sql.script(n === 200 ? 'truncate busy' : (statements[dice.below(statements.length)] ?? ''));
    }
    await sql.script(`insert into busy values (-1, ${ROUNDS}, 'the end')`);
    await eventually(
      async () => JSON.stringify(await table(lake, 'lake.busy')) === JSON.stringify(await table(sql, 'busy')),
      'both are the same',
      60_000,
    );
    await arrived();
  }
  expect(await older(), `seed ${SEED}`).toEqual([]);
  // All of the topic again.
  await lake.script("delete from tidegate.lanes where lane like 'topics/%'");
  {
    await using running = await startService(config);
    await untilReady(running.url, 60_000);
    await arrived();
  }
  const { rows: again } = await lake.query("select events > 300, events - stale from tidegate.lanes where lane like 'topics/%'");
  expect(again).toEqual([['t', '0']]);
  expect(await table(lake, 'lake.busy')).toEqual(await table(sql, 'busy'));
  expect(await older(), `seed ${SEED}`).toEqual([]);
  expect((await lake.query('select id, findings from tidegate.quarantine')).rows).toEqual([]);
});
