/**
 * Tells a pipeline's quarantine to its topics, from what is kept to be told beside the quarantine itself: at least once, in the order in which it was committed. Brokers that
 * are away hold up nothing but this; what waits is counted.
 */
import { backoffMs, type Clock } from '../core/clock.ts';
import type { QuarantineNews, QuarantineOutbox } from '../core/contracts.ts';
import { PipelineError } from '../core/errors.ts';
import type { DatasetName } from '../core/event.ts';
import type { Problem } from '../core/problems.ts';
import type { Exposition } from '../ops/prometheus.ts';
import { QuarantineMessages } from '../sync/kafka/quarantine-messages.ts';
import { topicName } from '../sync/kafka/topic-name.ts';
import { postgresOutbox } from '../sync/postgres/quarantine-outbox.ts';
import { type KafkaClient, kafkaClient, type KafkaConnection, type OutgoingRecord, type TopicSettings } from '../wire/kafka/client.ts';
import { errorFields, type Logger } from './logger.ts';
import { VERSION } from './version.ts';

export interface TellerOptions {
  readonly pipeline: string;
  readonly connection: KafkaConnection;
  /** Where the quarantine is. */
  readonly store: { readonly url: string; readonly silenceMs: number };
  readonly topics: {
    readonly topic: string;
    readonly create: boolean;
    readonly partitions: number | null;
    readonly replication: number | null;
    readonly retention: number | null;
    readonly compact: boolean;
  };
  readonly clock: Clock;
  readonly logger: Logger;
}

const NEWS_MAX = 500;
/** Of one look into the outbox; one larger item comes alone. */
const NEWS_BYTES_MAX = 8 << 20;
const BACKOFF_MS_MAX = 10_000;

export class QuarantineTeller {
  readonly #options: TellerOptions;
  readonly #messages: QuarantineMessages;
  /** Topics that are known to be there. */
  readonly #topics = new Set<string>();
  #backlog: { readonly count: number; readonly sinceMs: number | null } | null = null;
  #told = 0;
  #failures = 0;
  /** In a row. */
  #attempts = 0;

  constructor(options: TellerOptions) {
    this.#options = options;
    const { pipeline, topics } = options;
    this.#messages = new QuarantineMessages({ pipeline, version: VERSION, topicOf: this.#topicOf, byItem: topics.compact });
  }

  /** Until `signal` aborts. Never rejects. */
  async run(signal: AbortSignal): Promise<void> {
    const { clock, logger, pipeline } = this.#options;
    while (!signal.aborted) {
      try {
        await this.#tell(signal);
      } catch (error) {
        if (signal.aborted) return;
        this.#failures++;
        this.#attempts++;
        this.#topics.clear();
        logger.warn('the quarantine could not be told to its topics, and is told later', { pipeline, ...errorFields(error) });
        await clock.sleep(backoffMs(this.#attempts, clock, 200, BACKOFF_MS_MAX), signal);
      }
    }
  }

  collect(out: Exposition): void {
    const { pipeline, clock } = this.#options;
    const labels = { pipeline };
    out.counter('tidegate_quarantine_told_total', 'Changes of the quarantine that were published to its topics.', labels, this.#told);
    out.counter('tidegate_quarantine_telling_failures_total', 'Failed attempts to publish them.', labels, this.#failures);
    if (this.#backlog === null) return;
    const { count, sinceMs } = this.#backlog;
    out.gauge('tidegate_quarantine_untold', 'Changes of the quarantine that wait to be published to its topics.', labels, count);
    const ageMs = sinceMs === null ? 0 : Math.max(0, clock.now() - sinceMs);
    out.gauge('tidegate_quarantine_untold_seconds', 'How long the oldest of them has waited.', labels, ageMs / 1000);
  }

  readonly #topicOf = (dataset: DatasetName): string => topicName(this.#options.topics.topic, this.#options.pipeline, dataset);

  async #tell(signal: AbortSignal): Promise<void> {
    const { store, pipeline, connection, clock } = this.#options;
    await using outbox = await postgresOutbox({ ...store, pipeline, clock });
    await using client = kafkaClient(connection, 'TARGET');
    await using sender = new Sender(client, this.#messages);
    while (!signal.aborted) {
      this.#backlog = await outbox.backlog();
      const news = await outbox.next(NEWS_MAX, NEWS_BYTES_MAX);
      if (news.length === 0) await outbox.changed(signal);
      else await this.#publish(news, outbox, client, sender);
    }
  }

  async #publish(news: readonly QuarantineNews[], outbox: QuarantineOutbox, client: KafkaClient, sender: Sender): Promise<void> {
    const messages = news.map((one) => this.#messages.of(one));
    for (const topic of new Set(messages.map((message) => message.topic))) await this.#makeTopic(client, topic);
    await sender.send(messages);
    // A crash before this tells them again, with the same ids.
    await outbox.told(news);
    this.#told += news.length;
    this.#attempts = 0;
  }

  async #makeTopic(client: KafkaClient, topic: string): Promise<void> {
    const { topics, logger, pipeline } = this.#options;
    if (this.#topics.has(topic) || !topics.create) return;
    const found = await client.makeTopic(settingsOf(topics, topic));
    this.#topics.add(topic);
    if (found.kind === 'made') logger.info('a topic of the quarantine was made', { pipeline, topic });
    else if (found.kind === 'other')
      logger.warn('a topic of the quarantine was there already, with other settings than in the config, and is used as it is', {
        pipeline,
        topic,
        settings: JSON.stringify(found.settings),
      });
  }
}

function settingsOf({ partitions, replication, retention, compact }: TellerOptions['topics'], topic: string): TopicSettings {
  const options: Record<string, string> = { 'cleanup.policy': compact ? 'compact' : 'delete' };
  if (retention !== null) options['retention.ms'] = String(retention);
  return { topic, partitions, replication, options };
}

/** Whether the brokers are there and the topics are as the config has them. Makes none. */
export async function probeQuarantineTopics(
  { connection, pipeline, topics }: Pick<TellerOptions, 'connection' | 'pipeline' | 'topics'>,
  datasets: readonly DatasetName[],
  path: string,
): Promise<readonly Problem[]> {
  await using client = kafkaClient(connection, 'TARGET');
  const problems: Problem[] = [];
  for (const topic of new Set(datasets.map((dataset) => topicName(topics.topic, pipeline, dataset)))) {
    const found = await client.compareTopic(settingsOf(topics, topic));
    if (found === null && !topics.create)
      problems.push({ severity: 'error', path, message: `the topic ${topic} is missing`, fix: 'Make it, or set create: true.' });
    if (found?.kind !== 'other') continue;
    const differs = Object.entries(found.settings).map(([name, value]) => `${name} ${value}`);
    problems.push({
      severity: 'warning',
      path,
      message: `the topic ${topic} has other settings than here: ${differs.join(', ')}`,
      fix: 'It is used as it is: change it, or the config.',
    });
  }
  return problems;
}

/** A producer, made anew after each failure; what the brokers find too large goes without its value. */
class Sender implements AsyncDisposable {
  readonly #client: KafkaClient;
  readonly #messages: QuarantineMessages;
  #producer: ReturnType<KafkaClient['produce']> | null = null;

  constructor(client: KafkaClient, messages: QuarantineMessages) {
    this.#client = client;
    this.#messages = messages;
  }

  async send(messages: readonly OutgoingRecord[]): Promise<void> {
    if (await this.#fits(messages)) return;
    for (const message of messages) if (!(await this.#fits([message]))) await this.#attempt([this.#messages.cut(message)]);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const producer = this.#producer;
    this.#producer = null;
    await producer?.then((one) => one[Symbol.asyncDispose]()).catch(() => {}); // It may never have been there.
  }

  async #fits(messages: readonly OutgoingRecord[]): Promise<boolean> {
    try {
      await this.#attempt(messages);
      return true;
    } catch (error) {
      if (error instanceof PipelineError && error.code === 'TARGET_RECORD_TOO_LARGE') return false;
      throw error;
    }
  }

  async #attempt(messages: readonly OutgoingRecord[]): Promise<void> {
    this.#producer ??= this.#client.produce();
    try {
      await (await this.#producer).send(messages);
    } catch (error) {
      await this[Symbol.asyncDispose]();
      throw error;
    }
  }
}
