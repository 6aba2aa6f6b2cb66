/** Windows over the partitions of a topic: the same stream says the same, whether one process reads it or two do, and however they are killed. */
import { randomBytes } from 'node:crypto';
import kafkajs from 'kafkajs';
import { afterAll, beforeAll, expect, inject, test } from 'vitest';
import { PgConnection } from '../../wire/postgres/connection.ts';
import { configFolder } from '../app/services.ts';
import { ServiceProcess } from '../e2e/service-process.ts';
import { createDatabase } from '../support/databases.ts';
import { eventually } from '../support/eventually.ts';
import { untilShared } from './sharing.ts';
import { stack } from './support.ts';
import { COLUMNS, PARTITIONS, rounded, RULES, WindowStream } from './window-stream.ts';
import { makeTopics } from './topics.ts';

const SEED = Number(process.env['TIDEGATE_SEED'] ?? 20_261);
const CHANGES = 600;
/** The stream comes in so many pieces, and whoever is to be killed is killed within one. */
const PIECES = 6;

const { Kafka, logLevel, Partitioners } = kafkajs;
const kafka = new Kafka({ brokers: [stack.broker], logLevel: logLevel.NOTHING });
const admin = kafka.admin();
/** Where one partition refuses, kafkajs sends what the others took once more: an idempotent producer's is known to be the same. */
const producer = kafka.producer({
  createPartitioner: Partitioners.DefaultPartitioner,
  metadataMaxAge: 500,
  idempotent: true,
  maxInFlightRequests: 1,
});
beforeAll(() => Promise.all([admin.connect(), producer.connect()]));
afterAll(() => Promise.all([admin.disconnect(), producer.disconnect()]));

interface Scene {
  readonly processes: number;
  /** In these pieces a process is killed. */
  readonly kills: readonly number[];
}

const SCENES: Readonly<Record<string, Scene>> = {
  'one process': { processes: 1, kills: [] },
  'one process that is killed': { processes: 1, kills: [1, 4] },
  'two processes': { processes: 2, kills: [] },
  'two processes of which one is killed': { processes: 2, kills: [2] },
};

async function play(stream: WindowStream, { processes, kills }: Scene): Promise<readonly string[]> {
  await using target = await createDatabase(inject('targetServer'), 'windows');
  await using memory = await createDatabase(inject('targetServer'), 'state');
  await using lake = await PgConnection.connect({ url: target.url });
  const prefix = `w${randomBytes(4).toString('hex')}`;
  const topic = `${prefix}.public.orders`;
  await makeTopics(admin, [{ topic, numPartitions: PARTITIONS }]);
  using config = configFolder(
    {
      state: memory.url,
      lease: '2s',
      sources: {
        shop: {
          kind: 'kafka',
          brokers: [stack.broker],
          group: `g-${prefix}`,
          session: '6s',
          prefix,
          tables: ['public.orders'],
          oldRows: 'full',
          columns: { 'public.orders': COLUMNS },
        },
      },
      pipelines: { main: { source: 'shop', target: 'lake', datasets: './*.rules.yaml', batch: { rows: 20, age: '20ms' } } },
    },
    { 'orders.rules.yaml': RULES },
    { source: target.url, target: target.url },
  );
  await using workers = new AsyncDisposableStack();
  const begin = (): ServiceProcess => workers.use(new ServiceProcess(config.file));
  const running = Array.from({ length: processes }, begin);
  await untilShared(running, PARTITIONS);
  const ask = async (query: string) => (await lake.query(query).catch(() => ({ rows: [] }))).rows;
  const events = async (): Promise<number> => Number((await ask('select sum(events) from tidegate.lanes'))[0]?.[0] ?? 0);
  for (const [piece, sent] of stream.pieces(PIECES).entries()) {
    const before = await events();
    await producer.send({ topic, messages: sent.map(({ partition, message }) => ({ ...message, partition })) });
    if (!kills.includes(piece)) continue;
    await eventually(async () => (await events()) > before, `some of piece ${piece} is in`, 60_000);
    await running.shift()?.kill();
    running.push(begin());
  }
  const wanted = stream.said;
  const said = async (): Promise<string[]> => {
    const rows = await ask(
      `select rule, to_char(to_timestamp(starts / 1000) at time zone 'utc', 'HH24:MI:SS'), grp, revision, verdict, observed, rows
       from tidegate.window_results where starts >= 0`,
    );
    return rows
      .map(([rule, at, group, revision, verdict, observed, count]) =>
        [rule, at, group, `#${revision}`, verdict, rounded(Number(observed)), 'of', count].join(' '),
      )
      .sort();
  };
  const lastWords = () => running.map(({ lastWords: words }) => words).join('\n');
  await eventually(async () => (await events()) === stream.sent.length, `all is in: ${lastWords()}`, 90_000);
  await eventually(async () => (await said()).length >= wanted.length, 'all windows are judged', 20_000).catch(() => {}); // What is missing is said below.
  return said();
}

test.concurrent.each(Object.entries(SCENES))(
  `%s (seed ${SEED})`,
  async (_, scene) => {
    const stream = new WindowStream(SEED, CHANGES);
    expect(stream.late).toBeGreaterThan(10);
    expect(await play(stream, scene)).toEqual(stream.said);
  },
  180_000,
);
