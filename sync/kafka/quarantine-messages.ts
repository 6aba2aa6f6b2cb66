/**
 * What becomes of held events as records of the quarantine's topics. One that is held, or waits for its key, is its original record (or the change as Debezium writes it, where
 * it came from no topic) with the reasons in headers: our own, and those of Kafka Connect's dead letter queues. Whatever follows (release, what came of it, discard) is
 * a tombstone of the same key with headers that say so.
 */
import type { Finding } from '../../core/batch.ts';
import type { QuarantineNews } from '../../core/contracts.ts';
import type { Dataset, DatasetName } from '../../core/event.ts';
import type { OutgoingRecord } from '../../wire/kafka/client.ts';
import type { CellForms } from './connect-columns.ts';
import { jsonOf, type Shape, shapeOf, shownRecord } from './envelope.ts';

export interface MessageOptions {
  readonly pipeline: string;
  /** Of this service. */
  readonly version: string;
  readonly topicOf: (dataset: DatasetName) => string;
  /** Keyed by the item and not by the row, so that compaction keeps the items that are open, and nothing else. */
  readonly byItem: boolean;
}

type Headers = Record<string, OutgoingRecord['headers'][string]>;

/** People read them. */
const AS_TEXT: CellForms = { decimals: 'string', intervals: 'text', arrays: 'text', bits: 'text', defaults: 'required' };

export class QuarantineMessages {
  readonly #options: MessageOptions;
  readonly #shapes = new WeakMap<Dataset, Shape>();

  constructor(options: MessageOptions) {
    this.#options = options;
  }

  of(news: QuarantineNews): OutgoingRecord {
    const { item, status } = news;
    const { record } = item;
    const isOpen = status === 'held' || status === 'waiting';
    const made = record ?? this.#made(news);
    const { byItem } = this.#options;
    return {
      topic: this.#options.topicOf(item.event.dataset.name),
      key: byItem ? item.id : asBytes(made.key),
      // A record without a value is held with an empty one: without any it would be taken for settled.
      value: isOpen ? asBytes(made.value ?? NOTHING) : null,
      headers: {
        ...(isOpen ? copied(record?.headers ?? {}) : {}),
        ...this.#own(news),
        ...(byItem && made.key !== null ? { 'tidegate.original.key': asBytes(made.key) ?? NOTHING } : {}),
        ...(isOpen ? this.#ofConnect(news) : {}),
      },
    };
  }

  /** The same without what makes it too large for the brokers: what it is about is in the store. */
  cut(message: OutgoingRecord): OutgoingRecord {
    const headers = Object.fromEntries(Object.entries(message.headers).filter(([name]) => /^(tidegate|__connect\.errors)\./.test(name)));
    return { ...message, value: NOTHING, headers: { ...headers, 'tidegate.omitted': 'value' } };
  }

  #made({ item, atMs }: QuarantineNews): { readonly key: string | null; readonly value: string } {
    const { dataset } = item.event;
    const shape = this.#shapes.get(dataset) ?? shapeOf(dataset, dataset.name, AS_TEXT);
    this.#shapes.set(dataset, shape);
    const { key, value } = shownRecord(item.event, shape, { version: this.#options.version, nowMs: atMs, transactions: false });
    return { key: key === null ? null : jsonOf(key), value: jsonOf(value) };
  }

  #own({ item, messageId, status, atMs, findings, by, why }: QuarantineNews): Headers {
    const { event, lane, record } = item;
    const headers: Headers = {
      'tidegate.message.id': messageId,
      'tidegate.id': item.id,
      'tidegate.status': status,
      'tidegate.at': new Date(atMs).toISOString(),
      'tidegate.pipeline': this.#options.pipeline,
      'tidegate.lane': lane,
      'tidegate.dataset': event.dataset.name,
      'tidegate.op': event.op,
      'tidegate.version': event.version,
      'tidegate.committed_at': new Date(event.committedAtMs).toISOString(),
    };
    if (findings.length > 0) {
      headers['tidegate.rules'] = JSON.stringify([...new Set(findings.map(({ rule }) => rule))]);
      headers['tidegate.findings'] = JSON.stringify(
        findings.map(({ stage, rule, column, severity, message }) => ({ stage, rule, column, severity, message })),
      );
    }
    if (by !== null) headers['tidegate.by'] = by;
    if (why !== null) headers['tidegate.why'] = why;
    if (record) {
      headers['tidegate.original.topic'] = record.topic;
      headers['tidegate.original.partition'] = String(record.partition);
      headers['tidegate.original.offset'] = String(record.offset);
      headers['tidegate.original.timestamp'] = String(record.timestampMs);
    }
    return headers;
  }

  /** As `errors.deadletterqueue.context.headers.enable` has them. Where no topic was read, topic, partition and offset are left out. */
  #ofConnect({ item, findings }: QuarantineNews): Headers {
    const { record } = item;
    const first = findings[0];
    return {
      ...(record
        ? {
            '__connect.errors.topic': record.topic,
            '__connect.errors.partition': String(record.partition),
            '__connect.errors.offset': String(record.offset),
          }
        : {}),
      '__connect.errors.connector.name': this.#options.pipeline,
      '__connect.errors.task.id': '0',
      '__connect.errors.stage': first === undefined ? 'TRANSFORMATION' : STAGES[first.stage],
      '__connect.errors.class.name': `tidegate.${first?.stage ?? 'quality'}`,
      '__connect.errors.exception.class.name': `tidegate.${first?.rule ?? 'unknown'}`,
      '__connect.errors.exception.message': findings.map(told).join('; '),
      '__connect.errors.exception.stacktrace': findings.map((finding) => `${finding.stage} ${finding.rule}: ${told(finding)}`).join('\n'),
    };
  }
}

const STAGES: Readonly<Record<Finding['stage'], string>> = {
  cdc: 'VALUE_CONVERTER',
  quality: 'TRANSFORMATION',
  inference: 'TRANSFORMATION',
  sync: 'TASK_PUT',
};
const NOTHING = Buffer.alloc(0);

const told = ({ column, message }: Finding): string => (column === null ? message : `${column} ${message}`);

function asBytes(value: Uint8Array | string | null): Buffer | string | null {
  return value === null || typeof value === 'string' ? value : Buffer.from(value.buffer, value.byteOffset, value.byteLength);
}

function copied(headers: Readonly<Record<string, Uint8Array | string | readonly (Uint8Array | string)[] | undefined>>): Headers {
  const own = (value: Uint8Array | string): Buffer | string => (typeof value === 'string' ? value : Buffer.from(value));
  return Object.fromEntries(
    Object.entries(headers).flatMap(([name, value]): [string, Headers[string]][] => {
      if (value === undefined) return [];
      return [[name, typeof value === 'string' || value instanceof Uint8Array ? own(value) : value.map(own)]];
    }),
  );
}
