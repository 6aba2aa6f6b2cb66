/** How topics are named after what goes to them. */
import { type DatasetName, partsOfName } from '../../core/event.ts';

/** `cdc.{schema}.{table}` with the names filled in; what topics may not be named by becomes an underscore. */
export function topicName(template: string, pipeline: string, dataset: DatasetName): string {
  const { source, schema, table } = partsOfName(dataset);
  return template
    .replaceAll('{dataset}', dataset)
    .replaceAll('{source}', source)
    .replaceAll('{schema}', schema)
    .replaceAll('{table}', table)
    .replaceAll('{pipeline}', pipeline)
    .replace(/[^A-Za-z0-9._-]/g, '_')
    .slice(0, TOPIC_CHARACTERS_MAX);
}

const TOPIC_CHARACTERS_MAX = 249;
