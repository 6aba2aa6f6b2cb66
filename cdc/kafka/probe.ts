/** What `check` asks the brokers, and what `teardown` removes there. */
import { PipelineError } from '../../core/errors.ts';
import type { Problem } from '../../core/problems.ts';
import { kafkaClient } from '../../wire/kafka/client.ts';
import type { KafkaSourceOptions } from './source.ts';

/** Throws a PipelineError where the brokers cannot be asked. */
export async function probeKafkaSource({ name, connection, tables }: KafkaSourceOptions): Promise<readonly Problem[]> {
  await using client = kafkaClient(connection);
  const problems: Problem[] = [];
  for (const { table, topic } of tables) {
    if ((await client.watermarks(topic)) !== null) continue;
    problems.push({
      severity: 'warning',
      path: `sources.${name}.tables`,
      message: `there is no topic ${topic} for ${table}`,
      fix: 'The connector makes it with the first record; else correct prefix or topics.',
    });
  }
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
