/** Which topics a source reads: those of the tables that it names, once they are there, and those that its pattern finds. */
import type { DatasetName } from '../../core/event.ts';
import type { KafkaClient } from '../../wire/kafka/client.ts';
import type { TopicMetadata } from '../../wire/kafka/metadata.ts';
import { type DecoderOptions, TableDecoder } from './debezium.ts';

export interface KafkaTable {
  /** `schema.table` */
  readonly table: string;
  readonly topic: string;
  /** Types of its columns, for records without schemas; null where they bring them. */
  readonly columns: Readonly<Record<string, string>> | null;
}

export interface TopicListOptions extends Omit<DecoderOptions, 'dataset' | 'topic' | 'columns'> {
  /** The source's name: first part of its datasets' names. */
  readonly name: string;
  readonly tables: readonly KafkaTable[];
  /** The table that a topic beside those is of, as `schema.table`; null for one that is none of ours. Left out, no others are read. */
  readonly tableOf?: ((topic: string) => string | null) | null;
  /** Told once of each table whose topic is not there yet. */
  readonly onMissing?: (table: KafkaTable) => void;
}

export class TopicList {
  readonly #options: TopicListOptions;
  readonly #named: ReadonlyMap<string, KafkaTable>;
  /** Kept for good, so that what is compiled for a Dataset stays good. */
  readonly #decoders = new Map<string, TableDecoder>();
  readonly #toldOf = new Set<string>();
  #found: ReadonlyMap<string, TopicMetadata> = new Map();

  constructor(options: TopicListOptions) {
    this.#options = options;
    this.#named = new Map(options.tables.map((table) => [table.topic, table]));
  }

  /** Those that were there when they were last looked for. */
  get topics(): readonly string[] {
    return [...this.#found.keys()];
  }

  /** Of those topics, as `schema.table`. */
  get tables(): readonly string[] {
    return this.topics.flatMap((topic) => this.#tableOf(topic)?.table ?? []);
  }

  topicsOf(dataset: DatasetName): readonly { readonly topic: string; readonly partitions: number }[] {
    const { name } = this.#options;
    return [...this.#found]
      .filter(([topic]) => `${name}.${this.#tableOf(topic)?.table}` === dataset)
      .map(([topic, { partitions }]) => ({ topic, partitions }));
  }

  get(topic: string): TopicMetadata | undefined {
    return this.#found.get(topic);
  }

  async look(client: KafkaClient): Promise<void> {
    const hasPattern = (this.#options.tableOf ?? null) !== null;
    const there = await client.topics(hasPattern ? null : [...this.#named.keys()]);
    this.#found = new Map([...there].filter(([topic]) => this.#tableOf(topic) !== null));
    for (const [topic, table] of this.#named) {
      if (there.has(topic) || this.#toldOf.has(topic)) continue;
      this.#toldOf.add(topic);
      this.#options.onMissing?.(table);
    }
  }

  /** Undefined for a topic that is none of ours. */
  decoder(topic: string): TableDecoder | undefined {
    const table = this.#tableOf(topic);
    return table === null ? undefined : this.decoderOf(table, topic);
  }

  /** For records of a table that stand in this topic, also where that is none of ours. */
  decoderOf({ table, columns }: Pick<KafkaTable, 'table' | 'columns'>, topic: string): TableDecoder {
    const known = this.#decoders.get(topic);
    if (known !== undefined) return known;
    const { name } = this.#options;
    const made = new TableDecoder({ ...this.#options, dataset: `${name}.${table}` as DatasetName, topic, columns });
    this.#decoders.set(topic, made);
    return made;
  }

  #tableOf(topic: string): KafkaTable | null {
    const named = this.#named.get(topic);
    if (named !== undefined) return named;
    const table = this.#options.tableOf?.(topic) ?? null;
    return table === null ? null : { table, topic, columns: null };
  }
}
