/** Windows over the partitions of a topic: the same stream says the same, whether one process reads it or two do, and however they are killed. */
import { randomBytes } from 'node:crypto';
import kafkajs from 'kafkajs';
import { afterAll, beforeAll, expect, inject, test } from 'vitest';
import { PgConnection } from '../../wire/postgres/connection.ts';
import { ServiceProcess } from '../e2e/service-process.ts';
import { createDatabase } from '../support/databases.ts';
import { eventually } from '../support/eventually.ts';
import { sharedConfig, untilShared } from './sharing.ts';
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

interface Played {
  /** What was worked out. */
  readonly said: readonly string[];
  /** The last verdict of each window of the other rules, and what these remember of it. */
  readonly others: readonly string[];
}

async function play(stream: WindowStream, { processes, kills }: Scene): Promise<Played> {
  await using target = await createDatabase(inject('targetServer'), 'windows');
  await using memory = await createDatabase(inject('targetServer'), 'state');
  await using lake = await PgConnection.connect({ url: target.url });
  const prefix = `w${randomBytes(4).toString('hex')}`;
  const topic = `${prefix}.public.orders`;
  await makeTopics(admin, [{ topic, numPartitions: PARTITIONS }]);
  using config = sharedConfig({ prefix, state: memory.url, target: target.url }, COLUMNS, RULES);
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
       from tidegate.window_results where starts >= 0 and rule not like 'x-%'`,
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
  const others = await ask(
    `(select distinct on (rule, starts, grp) concat_ws(' ', rule, starts, grp, verdict, observed, reason, rows) from tidegate.window_results
      where starts >= 0 and rule like 'x-%' order by rule, starts, grp, revision desc)
     union all (select concat_ws(' ', rule, grp, md5(state)) from tidegate.window_memories order by rule, grp)`,
  );
  return { said: await said(), others: others.map(([line]) => line ?? '') };
}

test(`whoever reads the stream, and however they are killed (seed ${SEED})`, async () => {
  const stream = new WindowStream(SEED, CHANGES);
  expect(stream.late).toBeGreaterThan(10);
  const played = await Promise.all(Object.entries(SCENES).map(async ([name, scene]) => ({ name, ...(await play(stream, scene)) })));
  for (const { name, said } of played) expect({ name, said }).toEqual({ name, said: stream.said });
  const [first] = played;
  // Of each rule something, and not always the same.
  for (const rule of ['distinct', 'median', 'most', 'drift', 'mean', 'share', 'shops', 'each', 'groups'])
    expect(first?.others.filter((line) => line.startsWith(`x-${rule} `)).length).toBeGreaterThan(10);
  for (const { name, others } of played) expect({ name, others }).toEqual({ name, others: first?.others });
}, 240_000);
