/** The versions of a subject, as a pipeline's schema registry has them. */
import { PipelineError } from '../../core/errors.ts';
import type { DatasetName } from '../../core/event.ts';
import type { RegisteredVersion } from '../../quality/compatibility/registered.ts';
import type { Versions, VersionsAnswer } from '../../quality/timers/check.ts';
import { topicName } from '../../sync/kafka/topic-name.ts';
import { type RegistryAddress, schemaRegistryReader } from '../../wire/kafka/registry.ts';
import { partsOf } from '../config.ts';
import type { Config, PipelineConfig } from '../config-schema.ts';
import { registryOptions } from '../kafka-connect.ts';

interface Surroundings {
  readonly config: Config;
  readonly name: string;
  readonly pipeline: PipelineConfig;
}

interface Registry {
  readonly address: RegistryAddress;
  /** The subject of a dataset's topic. */
  readonly subjectOf: (dataset: DatasetName) => string;
}

/** null: the pipeline has none. That of the source comes first. */
export function registryOf({ config, name, pipeline }: Surroundings): Registry | null {
  const { source, target } = partsOf(config, pipeline);
  if (source.kind === 'kafka' && source.registry !== null) {
    const { prefix, topics } = source;
    const topicOf = (table: string): string => topics[table] ?? `${prefix}.${table}`;
    return { address: registryOptions(source.registry), subjectOf: (dataset) => `${topicOf(tableOf(dataset))}-value` };
  }
  if (target.kind !== 'kafka' || target.registry === null) return null;
  return { address: registryOptions(target.registry), subjectOf: (dataset) => `${topicName(target.topic, name, dataset)}-value` };
}

/** `<schema>.<table>`: without the source. */
const tableOf = (dataset: DatasetName): string => dataset.slice(dataset.indexOf('.') + 1);

export async function askVersions({ subject, level }: Versions, dataset: DatasetName, of: Surroundings): Promise<VersionsAnswer> {
  const registry = registryOf(of);
  if (registry === null) throw new PipelineError('BUG', 'a rule asks a registry, and there is none: it is refused when rules are loaded');
  const name = subject ?? registry.subjectOf(dataset);
  const reader = schemaRegistryReader(registry.address);
  const all = await reader.versions(name);
  const versions: RegisteredVersion[] = [];
  // Without _TRANSITIVE the two newest say it all.
  for (const version of level.endsWith('_TRANSITIVE') ? all : all.slice(-2)) versions.push(await reader.version(name, version));
  return { subject: name, versions };
}

/** Why there is no answer. */
export const whyNoVersions = (error: unknown): string =>
  error instanceof PipelineError ? error.message : 'the registry could not be asked';
