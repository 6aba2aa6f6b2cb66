/**
 * Events of a batch as records of topics. They are collected while the batch's transaction decides what passes, and sent when it has: a topic takes nothing
 * back.
 */
import { type Batch, type Finding, type Scores, ScoreStatus, Verdict } from '../../core/batch.ts';
import type { Clock } from '../../core/clock.ts';
import { PipelineError } from '../../core/errors.ts';
import { type ChangeEvent, type Column, type Dataset, UNCHANGED } from '../../core/event.ts';
import type { KafkaClient, OutgoingRecord, TopicSettings } from '../../wire/kafka/client.ts';
import type { RowWriter, Written } from '../postgres/careful.ts';
import type { CellForms } from './connect-columns.ts';
import { type EnvelopeContext, jsonOf, recordsOf, type Shape, shapeOf, UnwritableCell, type Written as Change } from './envelope.ts';
import type { RecordEncoder, RecordFormat } from './record-format.ts';
import { topicName } from './topic-name.ts';

export interface TopicOptions extends Omit<CellForms, 'bits'> {
  /** `{dataset}`, `{source}`, `{schema}`, `{table}` and `{pipeline}` stand for names. */
  readonly topic: string;
  readonly create: boolean;
  readonly partitions: number | null;
  readonly replication: number | null;
  readonly retentionMs: number | null;
  readonly compact: boolean;
  /** Whether a record without a value follows each delete. */
  readonly tombstones: boolean;
  /** What the source's database is called; null where it is none of ours. */
  readonly database: string | null;
  /** Whether records tell which place they have in their transaction. */
  readonly transactions: boolean;
}

export interface TopicRowsParts {
  readonly client: KafkaClient;
  readonly pipeline: string;
  /** Of this service. */
  readonly version: string;
  readonly topics: TopicOptions;
  readonly format: RecordFormat;
  readonly clock: Clock;
  /** A topic was there already, with other settings than it would have been made with. */
  readonly onOther: (topic: string, settings: Readonly<Record<string, string>>) => void;
}

/** A topic that is there, and how records of one shape go to it. */
interface Open {
  readonly topic: string;
  readonly shape: Shape;
  readonly encoder: RecordEncoder;
  readonly recordBytesMax: number;
}

/** With what it takes up in a request. */
export interface SizedRecord extends OutgoingRecord {
  readonly bytes: number;
  /** How much its topic takes at once. */
  readonly room: number;
}

/** As the brokers have it if they do not say. */
const RECORD_BYTES_MAX = 1_048_588;
/** What a record takes in a request beside its key, value and headers, and more. */
const RECORD_OVERHEAD = 128;
/** Of what is encoded of a batch before its turn: with schemas in each record it is ten times what it was at the source. */
const AHEAD_BYTES_MAX = 32 << 20;
const TOO_LARGE_RULE = 'target.record_too_large';
const UNWRITABLE_RULE = 'target.unwritable';

export function settingsOf({ partitions, replication, retentionMs, compact }: TopicOptions, topic: string): TopicSettings {
  const options: Record<string, string> = { 'cleanup.policy': compact ? 'compact' : 'delete' };
  if (retentionMs !== null) options['retention.ms'] = String(retentionMs);
  return { topic, partitions, replication, options };
}

export class TopicRows implements RowWriter {
  readonly #parts: TopicRowsParts;
  /** Topics that are there, by their names, with the largest record that they take. */
  readonly #topics = new Map<string, number>();
  readonly #open = new WeakMap<Dataset, Open>();
  /** Of batches that are not written yet: what was encoded of each event that passes. */
  readonly #ahead = new WeakMap<Batch, (readonly SizedRecord[] | undefined)[]>();
  /** What the batch at hand comes to, in order. */
  #records: SizedRecord[] = [];

  constructor(parts: TopicRowsParts) {
    this.#parts = parts;
  }

  /** Topics and schemas of what passes are made; whatever of an earlier batch was never sent is forgotten. */
  async prepare(batch: Batch): Promise<void> {
    this.#records = [];
    for (const { dataset, from, to } of batch.spans()) {
      if (this.#open.has(dataset) || !passesAny(batch, from, to)) continue;
      this.#open.set(dataset, await this.#openTopic(dataset));
    }
  }

  /** Why the schema registry refuses records of this shape; null where it takes them. */
  async whyRefused(dataset: Dataset): Promise<string | null> {
    try {
      if (dataset.keyless !== true) this.#open.set(dataset, await this.#openTopic(dataset));
      return null;
    } catch (error) {
      if (isRefused(error)) return error.message;
      throw error;
    }
  }

  /** While the batch before it is on its way. What comes of it is only used where the event passes as it is. */
  encodeAhead(batch: Batch): void {
    if (batch.spans().some(({ dataset }) => !this.#open.has(dataset))) return;
    const context = this.#context();
    const ahead: (readonly SizedRecord[] | undefined)[] = [];
    for (let index = 0, bytes = 0; index < batch.events.length && bytes < AHEAD_BYTES_MAX; index++) {
      const event = batch.events[index];
      if (event === undefined || !batch.passes(index)) continue;
      try {
        const records = this.#encode(event, context, scoreHeaders(batch, index));
        ahead[index] = records;
        for (const record of records) bytes += record.bytes;
      } catch (error) {
        if (!(error instanceof UnwritableCell)) throw error; // It is told when it is written.
      }
    }
    this.#ahead.set(batch, ahead);
  }

  write(batch: Batch, events: readonly (ChangeEvent | null)[], from: number, to: number): Promise<Written> {
    const counts = { upserts: 0, deletes: 0, truncates: 0 };
    const refusals: Finding[] = [];
    const context = this.#context();
    const ahead = this.#ahead.get(batch);
    for (let index = from; index < to; index++) {
      const event = events[index] ?? null;
      if (event === null || !batch.passes(index)) continue;
      try {
        const ready = event === batch.events[index] ? ahead?.[index] : undefined;
        this.#records.push(...(ready ?? this.#encode(event, context, scoreHeaders(batch, index))));
      } catch (error) {
        if (!(error instanceof UnwritableCell)) throw error;
        refusals.push(refusal(index, error));
      }
      counts[event.op === 'delete' ? 'deletes' : event.op === 'truncate' ? 'truncates' : 'upserts']++;
    }
    return Promise.resolve({ ...counts, folded: 0, missing: 0, refusals });
  }

  /** The records of what was written since `prepare`, in order. They are the caller's now. */
  take(): readonly SizedRecord[] {
    const records = this.#records;
    this.#records = [];
    return records;
  }

  isPartial({ after, dataset }: ChangeEvent): boolean {
    return after !== null && dataset.columns.some((_, i) => after.value(i) === UNCHANGED);
  }

  columnOf(_event: ChangeEvent, column: string): string {
    return column;
  }

  #context(): EnvelopeContext {
    const { version, clock, topics } = this.#parts;
    return { version, nowMs: clock.now(), transactions: topics.transactions };
  }

  #encode(event: ChangeEvent, context: EnvelopeContext, scores: OutgoingRecord['headers']): readonly SizedRecord[] {
    const open = this.#open.get(event.dataset);
    if (open === undefined) throw new PipelineError('BUG', `an event of ${event.dataset.name} passes whose topic was never opened`);
    const records: SizedRecord[] = [];
    for (const change of recordsOf(event, open.shape, context)) {
      if (change.value === null && !this.#parts.topics.tombstones) continue;
      const record = encoded(change, open, scores);
      if (record.bytes > open.recordBytesMax)
        throw new UnwritableCell(null, `the topic takes no record of ${record.bytes} bytes (max.message.bytes is ${open.recordBytesMax})`);
      records.push(record);
    }
    return records;
  }

  async #openTopic(dataset: Dataset): Promise<Open> {
    const { topics, pipeline, format } = this.#parts;
    const topic = topicName(topics.topic, pipeline, dataset.name);
    const recordBytesMax = this.#topics.get(topic) ?? (await this.#findTopic(topic));
    this.#topics.set(topic, recordBytesMax);
    const shaped = async (of: Dataset): Promise<Open> => {
      const shape = shapeOf(of, topic, { ...topics, bits: 'bytes' }, topics.database);
      return { topic, shape, encoder: await format(shape, topic), recordBytesMax };
    };
    try {
      return await shaped(dataset);
    } catch (error) {
      const allowing = allowingNulls(dataset);
      if (!isRefused(error) || allowing === dataset) throw error;
      return shaped(allowing);
    }
  }

  async #findTopic(topic: string): Promise<number> {
    const { client, topics, onOther } = this.#parts;
    if (topics.create) {
      const wanted = settingsOf(topics, topic);
      // Asked for first: who may not make topics may write those that are there.
      const isThere = (await client.topics([topic])).size > 0;
      const found = await (isThere ? client.compareTopic(wanted) : client.makeTopic(wanted));
      if (found?.kind === 'other') onOther(topic, found.settings);
    }
    const options = await client.topicOptions(topic);
    if (options === null) throw new PipelineError('TARGET_TOPIC_MISSING', `writing to the topic ${topic}: there is none`);
    return Number(options.get('max.message.bytes') ?? RECORD_BYTES_MAX);
  }
}

const isRefused = (error: unknown): error is PipelineError => error instanceof PipelineError && error.code === 'TARGET_SCHEMA';

/**
 * The dataset as it would be if every column beside its key might be null; the same one where that is no other. A registry that has readers of a new schema read older records, too,
 * refuses columns that become required, and new ones that are so without a constant default. Debezium's connector ends there; nothing is lost where such a column is called optional.
 */
function allowingNulls(dataset: Dataset): Dataset {
  const isAllowed = ({ declared }: Column, i: number): boolean =>
    declared?.required !== true || (dataset.key.includes(i) && dataset.keyless !== true);
  if (dataset.columns.every(isAllowed)) return dataset;
  return { ...dataset, columns: dataset.columns.map((column, i) => (isAllowed(column, i) ? column : optional(column))) };
}

function optional({ declared: { required: _required, ...declared } = {}, ...column }: Column): Column {
  return { ...column, declared };
}

function encoded(
  { key, value, headers }: Change,
  { topic, encoder, recordBytesMax }: Open,
  scores: OutgoingRecord['headers'],
): SizedRecord {
  const own = Object.entries(headers).map(([name, one]) => [name, jsonOf(one)] as const);
  const record: OutgoingRecord = {
    topic,
    key: key === null ? null : encoder.key(key),
    value: value === null ? null : encoder.value(value),
    headers: value === null ? Object.fromEntries(own) : { ...Object.fromEntries(own), ...scores },
  };
  return { ...record, bytes: bytesOf(record), room: recordBytesMax };
}

function bytesOf({ key, value, headers }: OutgoingRecord): number {
  let bytes = RECORD_OVERHEAD + lengthOf(key) + lengthOf(value);
  for (const [name, one] of Object.entries(headers)) for (const part of [one].flat()) bytes += name.length + lengthOf(part ?? null) + 4;
  return bytes;
}

const lengthOf = (part: Buffer | string | null): number => (part === null ? 0 : Buffer.byteLength(part));

/** What models said of the event, under the names that the config has for it. */
function scoreHeaders({ scores, events }: Batch, index: number): OutgoingRecord['headers'] {
  const headers: Record<string, string> = {};
  for (const one of scores) if (one.dataset === events[index]?.dataset.name) addScore(headers, one, index);
  return headers;
}

function addScore(headers: Record<string, string>, { values, status, write, model, version, atMs }: Scores, index: number): void {
  if (status[index] !== ScoreStatus.Scored) return;
  if (write.score !== null) headers[write.score] = String(values[index]);
  if (write.model !== null) headers[write.model] = `${model}@${version}`;
  if (write.at !== null) headers[write.at] = new Date(atMs).toISOString();
}

function refusal(index: number, { column, message }: UnwritableCell): Finding {
  return {
    index,
    stage: 'sync',
    rule: column === null ? TOO_LARGE_RULE : UNWRITABLE_RULE,
    column,
    verdict: Verdict.Quarantine,
    severity: 'warning',
    message,
    notify: true,
  };
}

export function passesAny(batch: Batch, from: number, to: number): boolean {
  for (let index = from; index < to; index++) if (batch.passes(index)) return true;
  return false;
}
