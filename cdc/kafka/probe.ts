/** What `check` asks the brokers, and what `teardown` removes there. */
import { PipelineError } from '../../core/errors.ts';
import type { Problem } from '../../core/problems.ts';
import { kafkaClient } from '../../wire/kafka/client.ts';
import type { KafkaSourceOptions } from './source.ts';

/** Throws a PipelineError where the brokers cannot be asked. */
export async function probeKafkaSource({ name, connection, tables, tableOf = null }: KafkaSourceOptions): Promise<readonly Problem[]> {
  await using client = kafkaClient(connection);
  const problems: Problem[] = [];
  const warn = (option: string, message: string, fix: string) =>
    problems.push({ severity: 'warning', path: `sources.${name}.${option}`, message, fix });
  const there = await client.topics(tableOf === null ? tables.map(({ topic }) => topic) : null);
  for (const { table, topic } of tables) {
    if (there.has(topic)) continue;
    warn(
      'tables',
      `there is no topic ${topic} for ${table}`,
      'The connector makes it with the first record; else correct prefix or topics.',
    );
  }
  if (tableOf !== null && ![...there.keys()].some((topic) => tableOf(topic) !== null))
    warn(
      'topicPattern',
      'no topic of a table fits the pattern',
      'It has to fit the whole name; name its groups (?<schema>…) and (?<table>…) where topics do not begin with the prefix.',
    );
  return problems;
}

/** The group's offsets go; where the lanes stand is kept at the target. */
export async function teardownKafkaSource({ name, connection, group }: KafkaSourceOptions): Promise<void> {
  await using client = kafkaClient(connection);
  try {
    await client.deleteGroup(group);
  } catch (error) {
    if (error instanceof PipelineError && error.code !== 'BUG') throw error;
    throw new PipelineError('SOURCE_UNREACHABLE', `deleting the group ${group} of ${name}: is a process still reading by it?`, {
      cause: error,
    });
  }
}
