/** `tidegate recover` of topics that the real Debezium writes: what retention ate, and a topic that was deleted, come from the database behind them. */
import kafkajs from 'kafkajs';
import { expect, inject, test } from 'vitest';
import { PgConnection } from '../../wire/postgres/connection.ts';
import { freePort } from '../../examples/embedded-postgres.ts';
import { cli } from '../app/cli.ts';
import { ask, configFolder, startService, untilReady } from '../app/services.ts';
import { createDatabase } from '../support/databases.ts';
import { eventually } from '../support/eventually.ts';
import { ruleFile } from '../support/rules.ts';
import { stack, startConnector } from './support.ts';
import { makeTopics } from './topics.ts';

const { Kafka, logLevel } = kafkajs;
const RULES = ruleFile('orders', 'event', 'status: [{id: known-status, in_set: [new, paid]}]');

test('a place that retention ate is recovered from: what was lost, deleted and held comes from the database, and the topic goes on', async () => {
  await using source = await createDatabase(inject('sourceServer'), 'recover');
  await using target = await createDatabase(inject('targetServer'), 'recover');
  await using sql = await PgConnection.connect({ url: source.url });
  await using lake = await PgConnection.connect({ url: target.url });
  await sql.script(`
    create table orders (id bigint primary key, status text not null, total numeric(10,2), at timestamptz, day date, note jsonb, raw bytea, ok boolean);
    insert into orders select n, 'new', n / 100.0, now(), current_date, '{"n": 1}', '\\x00ff', true from generate_series(1, 300) n;
    update orders set status = 'lost' where id in (3, 4);
  `);
  await using connector = await startConnector(source.url, ['public.orders'], 'json', { 'slot.drop.on.stop': 'false' });
  const { prefix } = connector;
  const topic = `${prefix}.public.orders`;
  const shop = {
    kind: 'kafka',
    brokers: [stack.broker],
    group: `g-${prefix}`,
    prefix,
    tables: ['public.orders'],
    database: { url: source.url, slot: `dbz_${prefix}`, publication: `dbz_${prefix}` },
  };
  const urls = { source: source.url, target: target.url };
  using config = configFolder({ sources: { shop }, http: { port: await freePort() } }, { 'orders.rules.yaml': RULES }, urls);
  const kafka = new Kafka({ brokers: [stack.broker], logLevel: logLevel.NOTHING });
  const admin = kafka.admin();
  await admin.connect();
  const ends = async (): Promise<number> => Number((await admin.fetchTopicOffsets(topic))[0]?.high);
  const rows = async (): Promise<number> => (await lake.query('select from shop.orders').catch(() => ({ rows: [] }))).rows.length;
  {
    await using running = await startService(config);
    await untilReady(running.url);
    await eventually(async () => (await rows()) === 298, 'the rows are there', 30_000);
    await eventually(async () => (await lake.query('select from tidegate.quarantine')).rows.length === 2, 'two are held', 30_000);
  }
  // What happens now is lost: updates, deletes, new rows, and a held one that is mended at the source.
  const before = await ends();
  await sql.script(`
    update orders set total = total + 1, note = '{"n": 2}', raw = '\\x01' where id between 10 and 19;
    delete from orders where id between 20 and 24;
    insert into orders select n, 'paid', 0, null, null, null, null, false from generate_series(1000, 1009) n;
    update orders set status = 'paid' where id = 3;
  `);
  await eventually(async () => (await ends()) > before + 26, 'Debezium has written it', 30_000);
  await admin.deleteTopicRecords({ topic, partitions: [{ partition: 0, offset: String(await ends()) }] });
  await sql.query(`update orders set total = 77 where id = 30`);

  await using running = await startService(config);
  const state = async (): Promise<{ state: string; error: { code: string } | null; notReady: readonly string[] }> =>
    ((await ask(running.url, '/api/status')).json as { pipelines: [Awaited<ReturnType<typeof state>>] }).pipelines[0];
  await eventually(async () => (await state()).error?.code === 'SOURCE_POSITION_LOST', 'the lane has halted', 30_000);
  expect((await cli('check', config.file)).code).toBe(0);
  const recovered = await cli('recover', config.file, '--json', '--wait', '60s');
  expect([recovered.stderr, recovered.code]).toEqual(['', 0]);
  expect(recovered.json).toMatchObject({
    isWhole: true,
    moved: null,
    topics: [{ lane: `shop/g-${prefix}/${topic}/0` }],
    held: [{ dataset: 'shop.public.orders', keys: 2, brought: 1, left: 0 }],
    verified: { tables: [{ equal: true }] },
  });
  const query = `select id, status, total, at, day, note, raw, ok from %.orders where id not in (3, 4) order by id`;
  const [here, there] = [await sql.query(query.replace('%', 'public')), await lake.query(query.replace('%', 'shop'))];
  expect(there.rows).toEqual(here.rows);
  // What was held of a row that has changed since does not come over it.
  expect((await lake.query('select status from shop.orders where id = 3')).rows).toEqual([['paid']]);
  const [[three] = []] = (await lake.query(`select id from tidegate.quarantine where key = '3'`)).rows;
  const tried = await cli('quarantine', 'release', config.file, three ?? '', '--dry-run', '--json');
  expect(tried.json).toMatchObject({ results: [{ outcome: 'superseded' }] });
  await eventually(async () => (await state()).notReady.length === 0, 'the pipeline is ready again', 30_000);
  const again = await cli('recover', config.file, '--json', '--wait', '60s');
  expect([again.code, again.json]).toMatchObject([0, { topics: [], isWhole: true }]);

  // The topic is deleted, with what it had, and the connector makes it anew.
  await sql.query(`update orders set total = 88 where id = 31`);
  await eventually(
    async () => (await lake.query('select from shop.orders where id = 31 and total = 88')).rows.length === 1,
    'it is there',
    30_000,
  );
  await admin.deleteTopics({ topics: [topic] });
  await eventually(async () => !(await admin.listTopics()).includes(topic), 'the topic is gone');
  await makeTopics(admin, [{ topic }]);
  await lake.query('update shop.orders set total = -1 where id in (40, 41)'); // As if their records had been in the topic.
  await sql.query(`update orders set total = 99 where id = 32`);
  await cli('resume', config.file);
  await eventually(async () => (await state()).error?.code === 'SOURCE_POSITION_LOST', 'the lane has halted', 60_000);
  const anew = await cli('recover', config.file, '--json', '--wait', '60s');
  expect([anew.stderr, anew.code]).toEqual(['', 0]);
  expect(anew.json).toMatchObject({ isWhole: true, topics: [{ why: `${topic} was deleted and made anew` }] });
  expect((await lake.query('select id, total from shop.orders where id in (31, 32, 40, 41) order by id')).rows).toEqual([
    ['31', '88.00'],
    ['32', '99.00'],
    ['40', '0.40'],
    ['41', '0.41'],
  ]);
  await admin.disconnect();
});
