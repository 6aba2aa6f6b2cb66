/**
 * A lane whose log is lost goes on: it gets a place from which the log is whole again, and what changed in between is found by comparing both ends and brought by the
 * running lane, through all its stages. Until that is done, the target notes what was lost, and the pipeline is not ready.
 */
import type { Clock } from '../core/clock.ts';
import { PipelineError } from '../core/errors.ts';
import type { DatasetName, LaneId, Position } from '../core/event.ts';
import { toLsn } from '../core/position.ts';
import { allTables, tablesOfLane } from '../cdc/postgres/found-tables.ts';
import { recoverPlace } from '../cdc/postgres/slot-recovery.ts';
import { SourceRows, tablesBeingCopied } from '../cdc/postgres/source-rows.ts';
import { qualityStage } from '../quality/stage.ts';
import { type PostgresSink, postgresSink } from '../sync/postgres/sink.ts';
import { TargetRows } from '../sync/postgres/target-rows.ts';
import { laneOf, partsOf } from './config.ts';
import type { Config, PipelineConfig } from './config-schema.ts';
import { layoutOptions, sinkOptions, sourceOptions, tableTarget } from './connect.ts';
import { type MovedTopicLane, recoverTopics } from './recover-topics.ts';
import type { RuleFile } from './rule-files.ts';
import { byLane } from './verify/bring.ts';
import { bringHeldRows, type HeldParts, type HeldRows } from './verify/held.ts';
import { type PipelineResult, verifyPipeline, type VerifyProgress } from './verify/verify.ts';

export interface RecoverOptions {
  readonly config: Config;
  readonly name: string;
  readonly pipeline: PipelineConfig;
  readonly rules: ReadonlyMap<DatasetName, RuleFile>;
  /** Why the lane is halted for a place that is lost; null where it is not. */
  readonly halted: string | null;
  /** Lets the pipeline go on. */
  readonly resume: () => Promise<void>;
  readonly rowsPerSecond: number | null;
  /** How long the lane may take to begin, and to bring what it is asked for. */
  readonly waitMs: number;
  readonly onProgress: (progress: VerifyProgress) => void;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

export interface MovedLane {
  readonly why: string;
  /** LSNs: what was committed between them is in no log. */
  readonly from: string;
  readonly to: string;
  readonly isNewSlot: boolean;
}

export interface Recovered {
  readonly pipeline: string;
  /** Null where the lane stood where it could go on: nothing was lost, or an earlier call was cut off behind this. */
  readonly moved: MovedLane | null;
  /** Of a pipeline that reads topics: the lanes that were moved. */
  readonly topics?: readonly MovedTopicLane[];
  /** Whether the lane runs: without it, nothing could be read again. */
  readonly isRunning: boolean;
  readonly held: readonly ({ readonly dataset: DatasetName } & HeldRows)[];
  readonly verified: PipelineResult | null;
  /** Whether the target is what the source is, without what is held, and nothing is lost any more. */
  readonly isWhole: boolean;
}

/** The pipeline has never run, or copies no rows. */
export class NothingToRecover extends Error {
  override readonly name = 'NothingToRecover';
}

const DIFFERENCES_MAX = 100;
const POLL_MS = 200;

export async function recoverPipeline(options: RecoverOptions): Promise<Recovered> {
  const { config, name, pipeline, rules, clock, halted, resume } = options;
  const { source: sourceConfig } = partsOf(config, pipeline);
  if (sourceConfig.kind === 'kafka') return recoverTopics(options, sourceConfig);
  const targetConfig = tableTarget(config, pipeline);
  const lane = laneOf(pipeline.source, sourceConfig);
  await using sink = await postgresSink(sinkOptions(config, name, pipeline, rules, clock));
  const position = (await laneState(sink, lane))?.position ?? null;
  if (position === null) throw new NothingToRecover(`the pipeline ${name} has never run: its lane has no checkpoint`);
  const moved = await move(sink, lane, position, options);
  if (moved !== null || halted !== null) await resume();
  const lost = (await laneState(sink, lane))?.lost ?? null;
  const unfinished = { pipeline: name, moved, isRunning: false, held: [], verified: null, isWhole: false };
  if (moved === null && lost === null) return { ...unfinished, isRunning: true, isWhole: true };

  await using source = await SourceRows.open(sourceOptions(config, pipeline, clock), options.signal);
  const { schema, url } = targetConfig;
  await using target = await TargetRows.open(
    { name: pipeline.target, pipeline: name, url: url.reveal(), schema, datasets: layoutOptions(targetConfig) },
    options.signal,
  );
  if (!(await begins(source, target, lane, options))) return unfinished;
  const tables = tablesOfLane(position, await allTables(source.sql, sourceOptions(config, pipeline, clock)), sourceConfig.tables);
  const held = await bringHeld({ source, target, lane, bringer: byLane(source), passed: '' }, tables, options);
  const verified = await verifyPipeline({ ...options, datasets: null, differencesMax: DIFFERENCES_MAX, repair: true });
  const isWhole = verified.tables.every(({ equal }) => equal) && held.every(({ left, isTruncateHeld }) => left === 0 && !isTruncateHeld);
  if (isWhole && lost !== null) await sink.forgetLoss(lane, lost.to);
  return { ...unfinished, isRunning: true, held, verified, isWhole };
}

const laneState = async (sink: PostgresSink, lane: LaneId) => (await sink.lanes()).find((one) => one.lane === lane);

async function move(
  sink: PostgresSink,
  lane: LaneId,
  position: Position,
  { config, name, pipeline, clock, halted }: RecoverOptions,
): Promise<MovedLane | null> {
  const place = await recoverPlace(sourceOptions(config, pipeline, clock), position, halted);
  if (place === null) return null;
  if (!(await sink.moveLane(lane, position, place.position)))
    throw new PipelineError('LEASE_LOST', `recovering ${name}: its lane moved on meanwhile, so it was not lost`);
  return { why: place.why, from: toLsn(position), to: toLsn(place.position), isNewSlot: place.isNewSlot };
}

/** Waits until the lane reads its slot and has no table to copy any more. False where it does not begin in time, or stops. */
async function begins(source: SourceRows, target: TargetRows, lane: LaneId, options: RecoverOptions): Promise<boolean> {
  const { waitMs, clock, signal, name } = options;
  for (let readAtMs = clock.monotonic(); ;) {
    const isRead = await source.isRead();
    if (isRead) readAtMs = clock.monotonic();
    const position = await target.position(lane);
    if (position === null) throw new NothingToRecover(`the lane of the pipeline ${name} is gone`);
    if (isRead && tablesBeingCopied(position).size === 0) return true;
    if (clock.monotonic() - readAtMs > waitMs) return false;
    await clock.sleep(POLL_MS, signal);
    signal.throwIfAborted();
  }
}

export async function bringHeld(
  ends: Pick<HeldParts, 'source' | 'target' | 'lane' | 'bringer' | 'passed'>,
  tables: readonly string[],
  { pipeline, rules, waitMs, clock, signal }: RecoverOptions,
): Promise<Recovered['held']> {
  const quality = qualityStage(new Map([...rules].map(([dataset, { contract }]) => [dataset, contract])));
  const held: Recovered['held'][number][] = [];
  for (const table of tables) {
    const dataset = `${pipeline.source}.${table}` as DatasetName;
    held.push({ dataset, ...(await bringHeldRows({ ...ends, table, dataset, quality, waitMs, clock, signal })) });
  }
  return held;
}
