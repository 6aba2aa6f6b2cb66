/** Other people's dead letter queues are taken into the quarantine of a pipeline that reads topics: each record decoded as its topic's are, and held with the reason it brings. */
import { type Finding, Verdict } from '../core/batch.ts';
import type { Quarantined } from '../core/contracts.ts';
import { type DatasetName, eventId, type LaneId } from '../core/event.ts';
import { PipelineError } from '../core/errors.ts';
import { type DeadLetter, deadLetterOf } from '../cdc/kafka/dead-letters.ts';
import type { TableDecoder } from '../cdc/kafka/debezium.ts';
import { importLane, partitionLane, sourceLane } from '../cdc/kafka/lane-place.ts';
import type { KafkaSourceOptions } from '../cdc/kafka/source.ts';
import { type KafkaTable, TopicList } from '../cdc/kafka/topic-list.ts';
import { openTopic } from '../cdc/kafka/topic-reader.ts';
import type { PostgresSink } from '../sync/postgres/sink.ts';
import { kafkaClient, type KafkaRecord } from '../wire/kafka/client.ts';

export interface ImportOptions {
  readonly source: KafkaSourceOptions;
  readonly topic: string;
  /** Whose records they are where they do not say it themselves, or whatever they say. */
  readonly dataset: DatasetName | null;
  readonly dryRun: boolean;
  readonly sink: PostgresSink;
  readonly onProgress: (read: number, total: bigint) => void;
}

export interface Imported {
  readonly read: number;
  /** New in the quarantine; with `dryRun`, those that would be. */
  readonly imported: number;
  /** In the quarantine already, open or settled. */
  readonly present: number;
  /** Tombstones, and records that are no changes. */
  readonly nothing: number;
  /** Of topics that are none of the pipeline's, and no dataset was named: how many by the topic they name. */
  readonly foreign: Readonly<Record<string, number>>;
  /** By dataset, of what is imported. */
  readonly datasets: Readonly<Record<string, number>>;
  /** It was told to stop before the end. */
  readonly stopped: boolean;
}

const UNNAMED = '(none named)';

export async function importDeadLetters(options: ImportOptions, signal: AbortSignal): Promise<Imported> {
  const { source, topic, sink, dryRun, onProgress } = options;
  await using client = kafkaClient(source.connection);
  const extent = await openTopic(client, topic);
  const list = new TopicList(source);
  const counts = { read: 0, imported: 0, present: 0, nothing: 0 };
  const foreign: Record<string, number> = {};
  const datasets: Record<string, number> = {};
  for await (const { partition, records } of extent.read(signal)) {
    const items = new Map<string, Quarantined>();
    for (const record of records) {
      counts.read++;
      const letter = deadLetterOf(record);
      const decoder = decoderOf(options, list, letter);
      if (decoder === null) {
        const named = letter.topic ?? UNNAMED;
        foreign[named] = (foreign[named] ?? 0) + 1;
        continue;
      }
      const item = await itemOf(record, partition, letter, decoder, { topic, lane: laneOf(source, list, letter) ?? importLane(topic) });
      if (item === null) counts.nothing++;
      else if (items.has(item.id)) counts.present++;
      else items.set(item.id, item);
    }
    const known = await sink.quarantine.known([...items.keys()]);
    const fresh = [...items.values()].filter(({ id }) => !known.has(id));
    if (fresh.length > 0 && !dryRun) await sink.quarantine.takeIn(fresh, sourceLane(source));
    counts.present += known.size;
    counts.imported += fresh.length;
    for (const { event } of fresh) datasets[event.dataset.name] = (datasets[event.dataset.name] ?? 0) + 1;
    onProgress(counts.read, extent.total);
  }
  return { ...counts, foreign, datasets, stopped: signal.aborted };
}

/** By the topic that a record says it is of: what cannot be read keeps its place there. Null for one of another topic, unless it is said whose all of them are. */
function decoderOf({ source, topic, dataset }: ImportOptions, list: TopicList, { topic: original }: DeadLetter): TableDecoder | null {
  if (dataset === null) return original === null ? null : (list.decoder(original) ?? null);
  const table = tableNamed(source, dataset);
  return table === null ? null : list.decoderOf(table, original ?? topic);
}

/** The lane that a letter says it stood in; null where it does not, or that is none of the pipeline's. */
function laneOf(source: KafkaSourceOptions, list: TopicList, { topic, partition, offset }: DeadLetter): LaneId | null {
  if (topic === null || partition === null || offset === null || list.decoder(topic) === undefined) return null;
  return partitionLane(sourceLane(source), { topic, partition });
}

type Table = Pick<KafkaTable, 'table' | 'columns'>;
type Tables = Pick<KafkaSourceOptions, 'name' | 'tables' | 'tableOf'>;

/** With a pattern, a topic of any table may be there some day. */
export function tableNamed({ name, tables, tableOf: byPattern }: Tables, dataset: string): Table | null {
  const known = tables.find(({ table }) => `${name}.${table}` === dataset);
  if (known !== undefined) return known;
  return (byPattern ?? null) !== null && dataset.startsWith(`${name}.`) ? { table: dataset.slice(name.length + 1), columns: null } : null;
}

async function itemOf(
  record: KafkaRecord,
  partition: number,
  letter: DeadLetter,
  decoder: TableDecoder,
  { topic, lane }: { readonly topic: string; readonly lane: LaneId },
): Promise<Quarantined | null> {
  // As it stood in its topic: so the same record is the same item, by whatever way it comes.
  const at = { partition: letter.partition ?? partition, offset: letter.offset ?? record.offset };
  const { key, value, headers } = record;
  const original: KafkaRecord = { key, value, headers, offset: at.offset, timestampMs: letter.timestampMs ?? record.timestampMs };
  const { event } = await decoder.decodeAsking(original, at.partition);
  if (event === null) return null;
  return {
    id: eventId(event),
    lane,
    event,
    findings: [findingOf(letter, topic)],
    revision: null,
    record: {
      topic: letter.topic ?? topic,
      ...at,
      timestampMs: original.timestampMs,
      key,
      value,
      headers,
    },
  };
}

function findingOf({ from, reason }: DeadLetter, topic: string): Finding {
  return {
    index: 0,
    stage: 'cdc',
    rule: `import.${from}`,
    column: null,
    verdict: Verdict.Quarantine,
    severity: 'critical',
    message: reason ?? `it was in ${topic}`,
    notify: false,
  };
}

/** The dataset as the pipeline has it. */
export function datasetNamed(source: Tables, named: string | null): DatasetName | null {
  if (named === null) return null;
  if (tableNamed(source, named) !== null) return named as DatasetName; // It has just been found.
  const all = source.tables.map(({ table }) => `${source.name}.${table}`);
  throw new PipelineError('CONFIG_INVALID', `${named} is no dataset of ${source.name}: name one of ${all.join(', ')}`);
}
