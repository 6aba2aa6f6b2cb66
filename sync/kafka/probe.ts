/** What keeps topics from being written, found out without changing anything. */
import { PipelineError, withCauses } from '../../core/errors.ts';
import type { DatasetName } from '../../core/event.ts';
import type { Problem } from '../../core/problems.ts';
import { type KafkaClient, kafkaClient } from '../../wire/kafka/client.ts';
import { PgConnection } from '../../wire/postgres/connection.ts';
import { probePostgresTarget } from '../postgres/probe.ts';
import { mayPrepare } from './exactly-once.ts';
import type { KafkaSinkOptions } from './sink.ts';
import { topicName } from './topic-name.ts';
import { settingsOf } from './topic-rows.ts';

/** Paths are `targets.<name>.…`. */
export async function probeTopics(options: KafkaSinkOptions, datasets: readonly DatasetName[]): Promise<readonly Problem[]> {
  return (await Promise.all([probeStore(options), probeBrokers(options, datasets), probeRegistry(options)])).flat();
}

async function probeRegistry({ name, registry = null }: KafkaSinkOptions): Promise<readonly Problem[]> {
  try {
    await registry?.probe();
    return [];
  } catch (error) {
    if (!(error instanceof PipelineError) || error.code === 'BUG') throw error;
    return [{ severity: 'error', path: `targets.${name}.registry`, message: withCauses(error), fix: error.fix }];
  }
}

async function probeStore({ name, store, hold, pipeline, exactlyOnce }: KafkaSinkOptions): Promise<readonly Problem[]> {
  const path = `targets.${name}.store`;
  const tables = { create: true, widen: false };
  const [problem] = await probePostgresTarget({ name, url: store.url, schema: 'tidegate', tables, hold, scores: [], pipeline });
  if (problem !== undefined) return [{ ...problem, path }]; // Others are of the same schema.
  if (!exactlyOnce) return [];
  await using sql = await PgConnection.connect({ url: store.url, applicationName: 'tidegate check', connectTimeoutMs: 5000 });
  if (await mayPrepare(sql)) return [];
  const fix = 'Set max_prepared_transactions there to the number of lanes or more (a server restart), or leave exactlyOnce out.';
  return [{ severity: 'error', path: `targets.${name}.exactlyOnce`, message: 'the store lets no transaction be prepared', fix }];
}

async function probeBrokers(options: KafkaSinkOptions, datasets: readonly DatasetName[]): Promise<readonly Problem[]> {
  const { name, connection, topics, pipeline } = options;
  const place = `targets.${name}`;
  await using client = kafkaClient(connection, 'TARGET');
  try {
    const names = new Set(datasets.map((dataset) => topicName(topics.topic, pipeline, dataset)));
    const found = await Promise.all([...names].map((topic) => lookAtTopic(client, options, topic, place)));
    return found.flat();
  } catch (error) {
    if (!(error instanceof PipelineError) || error.code === 'BUG') throw error;
    const path = error.code === 'TARGET_AUTH' ? `${place}.sasl` : `${place}.brokers`;
    return [{ severity: 'error', path, message: error.message, fix: error.fix }];
  }
}

async function lookAtTopic(client: KafkaClient, { topics }: KafkaSinkOptions, topic: string, place: string): Promise<readonly Problem[]> {
  const found = await client.compareTopic(settingsOf(topics, topic));
  if (found === null && !topics.create)
    return [{ severity: 'error', path: `${place}.create`, message: `the topic ${topic} is missing`, fix: 'Make it, or set create: true.' }];
  if (found?.kind !== 'other') return [];
  const differs = Object.entries(found.settings).map(([setting, value]) => `${setting} ${value}`);
  return [
    {
      severity: 'warning',
      path: `${place}.topic`,
      message: `the topic ${topic} has other settings than here: ${differs.join(', ')}`,
      fix: 'It is used as it is: change it, or the config.',
    },
  ];
}
