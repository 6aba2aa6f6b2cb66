/** What a target is compared with: the tables of the database that its pipeline follows, and how far the lanes are in that database's log. */
import { TopicList } from '../../cdc/kafka/topic-list.ts';
import { TopicPassage } from '../../cdc/kafka/passage.ts';
import { allTables, tablesOfLane } from '../../cdc/postgres/found-tables.ts';
import { SourceRows, tablesBeingCopied } from '../../cdc/postgres/source-rows.ts';
import type { Clock } from '../../core/clock.ts';
import { PipelineError } from '../../core/errors.ts';
import type { LaneId, Position } from '../../core/event.ts';
import type { Problem } from '../../core/problems.ts';
import { kafkaClient } from '../../wire/kafka/client.ts';
import { laneOf, partsOf } from '../config.ts';
import type { Config, KafkaSourceConfig, PipelineConfig, SourceConfig } from '../config-schema.ts';
import { kafkaOptions, sourceOptions } from '../connect.ts';

/** How far a source's lanes are in the log of its database. */
export interface Passage {
  /** Hears of what may tell more than before. */
  ask(): Promise<void>;
  /** Everything committed before this place is in, where the lanes stand so: 16 hex digits, '' where nothing is known. It is told late, never early. */
  passed(lanes: ReadonlyMap<LaneId, Position>): string;
}

export interface Followed extends AsyncDisposable {
  readonly source: SourceRows;
  readonly passage: Passage;
  /** `schema.table`: those that the lanes have, where they stand so. */
  tables(lanes: ReadonlyMap<LaneId, Position>): readonly string[];
  /** Those whose first copy is not done. */
  copying(lanes: ReadonlyMap<LaneId, Position>): ReadonlySet<string>;
  /** Whether somebody may move the lanes on. */
  isRead(): Promise<boolean>;
}

/** How long a row may stay unknown, and a lane stand still, unless somebody says otherwise: connectors confirm what they wrote once a minute. */
export const waitMsOf = ({ kind }: SourceConfig): number => (kind === 'kafka' ? 180_000 : 60_000);

/** Nothing can be compared: what was asked has to change first. */
export class NothingToVerify extends Error {
  override readonly name = 'NothingToVerify';
  readonly fix: string;

  constructor(message: string, fix: string) {
    super(message);
    this.fix = fix;
  }
}

export async function openFollowed(config: Config, name: string, clock: Clock, signal: AbortSignal): Promise<Followed> {
  const pipeline = config.pipelines[name];
  if (pipeline === undefined) throw new PipelineError('BUG', `there is no pipeline ${name}`);
  const { source: of } = partsOf(config, pipeline);
  if (of.kind === 'kafka') return openTopics(name, pipeline, of, clock, signal);
  const options = sourceOptions(config, pipeline, clock);
  await using cleanup = new AsyncDisposableStack();
  const source = cleanup.use(await SourceRows.open(options, signal));
  const tables = await allTables(source.catalog, options);
  const lane = laneOf(pipeline.source, of);
  const opened = cleanup.move();
  return {
    source,
    passage: { ask: () => Promise.resolve(), passed: (lanes) => lanes.get(lane)?.slice(0, 16) ?? '' },
    tables: (lanes) => tablesOfLane(lanes.get(lane) ?? null, tables, of.tables),
    copying: (lanes) => tablesBeingCopied(lanes.get(lane) ?? null),
    isRead: () => source.isRead(),
    [Symbol.asyncDispose]: () => opened.disposeAsync(),
  };
}

/** What `check` asks the database behind topics. Throws a PipelineError where it cannot be asked. */
export async function probeDatabase(name: string, database: Database, clock: Clock): Promise<readonly Problem[]> {
  await using source = await openDatabase(name, database, clock, new AbortController().signal);
  if ((await source.confirmed()) !== null) return [];
  const message = `the database has no replication slot ${database.slot}, by which \`tidegate verify\` would know what is in the topics`;
  return [{ severity: 'warning', path: `sources.${name}.database.slot`, message, fix: 'Name the connector’s slot.name.' }];
}

type Database = NonNullable<KafkaSourceConfig['database']>;

function openDatabase(name: string, { url, slot, publication }: Database, clock: Clock, signal: AbortSignal): Promise<SourceRows> {
  return SourceRows.open({ name, url: url.reveal(), slot, publication, reader: 'connector', clock }, signal);
}

async function openTopics(
  name: string,
  pipeline: PipelineConfig,
  of: KafkaSourceConfig,
  clock: Clock,
  signal: AbortSignal,
): Promise<Followed> {
  const { database } = of;
  if (database === null)
    throw new NothingToVerify(
      `the pipeline ${name} reads topics, which do not say what rows there are: it takes the database behind them`,
      `Name it in the config: sources.${pipeline.source}.database, with its url and the connector’s slot.`,
    );
  await using cleanup = new AsyncDisposableStack();
  const options = kafkaOptions(pipeline, of, clock);
  const client = cleanup.use(kafkaClient(options.connection));
  const source = cleanup.use(await openDatabase(pipeline.source, database, clock, signal));
  if ((await source.confirmed()) === null)
    throw new NothingToVerify(
      `the database behind ${pipeline.source} has no replication slot ${database.slot}, which would say what is in the topics`,
      `Name the connector’s slot.name in the config: sources.${pipeline.source}.database.slot.`,
    );
  const list = new TopicList(options);
  await list.look(client);
  // A connector that is to write into a topic which is not there, and that nobody may make, fails.
  await client.makeTopic({ topic: `${of.prefix}.message`, partitions: null, replication: null, options: {} });
  const lane = laneOf(pipeline.source, of);
  const passage = new TopicPassage({ client, lane, topics: list.topics, confirmed: () => source.confirmed() });
  const opened = cleanup.move();
  return {
    source,
    passage,
    tables: () => [...new Set([...of.tables, ...list.tables])],
    // A connector's first copy is in the topics before what it confirms.
    copying: () => new Set(),
    // Who reads the topics is not known to the database: whether the lanes move tells.
    isRead: () => Promise.resolve(true),
    [Symbol.asyncDispose]: () => opened.disposeAsync(),
  };
}
