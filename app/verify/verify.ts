/**
 * Holds a pipeline's target against its source while both go on: the target is the source without what is in quarantine, was given up or
 * thrown away. What is proved is named by a place in the source's log: everything committed before it is at the target as it should be.
 */
import type { Clock } from '../../core/clock.ts';
import { PipelineError } from '../../core/errors.ts';
import type { DatasetName, LaneId, Position } from '../../core/event.ts';
import { toLsn, toLsnNumber } from '../../core/position.ts';
import type { SourceRows, SourceTable } from '../../cdc/postgres/source-rows.ts';
import { qualityStage } from '../../quality/stage.ts';
import { postgresSink } from '../../sync/postgres/sink.ts';
import { TargetRows } from '../../sync/postgres/target-rows.ts';
import { PgError } from '../../wire/postgres/errors.ts';
import { commonHash, type HashKind } from '../../wire/postgres/row-sums.ts';
import { laneOf, partsOf } from '../config.ts';
import type { Config, PipelineConfig } from '../config-schema.ts';
import { layoutOptions, sinkOptions } from '../connect.ts';
import type { RuleFile } from '../rule-files.ts';
import { besideTopics, type Bringer, byLane } from './bring.ts';
import { type Difference, type DifferenceReason, explain, isExplained, isRepairable, REASONS } from './explain.ts';
import { type Followed, NothingToVerify, openFollowed } from './passage.ts';
import { repairRows } from './repair.ts';
import { type Sides, sidesOf } from './sides.ts';
import { equalWholes, TABLES_AT_ONCE } from './wholes.ts';
import { type Differing, Suspects } from './suspects.ts';
import { TableWalk } from './table.ts';

export interface VerifyOptions {
  readonly config: Config;
  readonly name: string;
  readonly pipeline: PipelineConfig;
  readonly rules: ReadonlyMap<DatasetName, RuleFile>;
  /** Those to verify; null: all of the pipeline. */
  readonly datasets: readonly DatasetName[] | null;
  /** A table is left where so many rows differ without an explanation; so many differing rows are named. */
  readonly differencesMax: number;
  /** How long a row may stay unknown, and a lane may stand still. */
  readonly waitMs: number;
  readonly rowsPerSecond: number | null;
  /** Whether the running lane is asked for the rows that differ without an explanation, and they are looked at again. */
  readonly repair: boolean;
  readonly onProgress: (progress: VerifyProgress) => void;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

export type VerifyProgress =
  | {
      readonly kind: 'waiting';
      readonly lane: LaneId;
      /** Null where it is not known how far it is. */
      readonly behindBytes: number | null;
    }
  | {
      readonly kind: 'comparing';
      readonly dataset: DatasetName;
      readonly rows: number;
      readonly rowsEstimated: number | null;
      readonly differing: number;
    }
  | {
      /** For rows that the lane was asked to bring again. */
      readonly kind: 'repairing';
      readonly dataset: DatasetName;
      readonly rows: number;
      /** How often it was asked. */
      readonly times: number;
    };

export interface TableResult {
  readonly pipeline: string;
  readonly dataset: DatasetName;
  /** `verified`: every row was looked at. `copying`: its first copy is not done. `left`: too many rows differ, and the rest was not looked at. */
  readonly state: 'verified' | 'copying' | 'left';
  /** Whether it was verified, and every difference is explained. */
  readonly equal: boolean;
  /** Rows of the source that were looked at. */
  readonly rows: number;
  /** Rows that differed, and that the lane has brought again. */
  readonly repaired: number;
  /** Differing rows by reason. */
  readonly counts: Readonly<Record<DifferenceReason, number>>;
  /** The first of them, those without an explanation before the others. */
  readonly differences: readonly Difference[];
  /** Columns that the target does not have from the source: left out, or with values that it makes itself. */
  readonly leftOut: readonly string[];
  /** Columns that the target has not got. One that the source was just given gets there with the table's next change. */
  readonly lacking: readonly string[];
}

export interface PipelineResult {
  readonly pipeline: string;
  /** What was committed at the source before this place of its log was compared; an LSN as PostgreSQL writes it. */
  readonly through: string;
  /** Whether the lane stood still: what it has not brought yet could not be told from what is lost. */
  readonly laneStands: boolean;
  readonly tables: readonly TableResult[];
}

/** SQLSTATEs of columns, tables, types and operators that are not there, and of types that do not fit. */
const RESHAPED: ReadonlySet<string> = new Set(['42703', '42P01', '42704', '42883', '42804']);
const RUN_FIRST = 'Run it first: tidegate run CONFIG.';
const ATTEMPTS_MAX = 3;
const POLL_MS = 50;
/** Cells that one look at suspects may take. */
const LOOK_CELLS_MAX = 20_000;

export async function verifyPipeline(options: VerifyOptions): Promise<PipelineResult> {
  const { config, name, pipeline, rules, datasets, signal, clock } = options;
  const { source: of, target: to } = partsOf(config, pipeline);
  if (to.kind === 'kafka')
    throw new NothingToVerify(
      `the pipeline ${name} writes topics, which hold changes and not rows: only a database can be compared`,
      'Read the topics into a database by a pipeline of their own, and verify that one.',
    );
  const { schema, url } = to;
  await using followed = await openFollowed(config, name, clock, signal);
  const { source } = followed;
  await using cleanup = new AsyncDisposableStack();
  const bringer = options.repair ? await openBringer(source, options, cleanup) : null;
  await using target = await TargetRows.open(
    { name: pipeline.target, pipeline: name, url: url.reveal(), schema, datasets: layoutOptions(to) },
    signal,
  );
  const lane = laneOf(pipeline.source, of);
  if ((await target.positions(lane)).size === 0)
    throw new NothingToVerify(`the pipeline ${name} has never run: its lane has no checkpoint`, RUN_FIRST);
  const hash = await commonHash(source.sql, target.sql);
  const through = await placeToVerify(source, options);
  const caughtUp = await catchUp(followed, target, lane, through, options);
  const notCopied = followed.copying(caughtUp.lanes);
  const quality = qualityStage(new Map([...rules].map(([dataset, { contract }]) => [dataset, contract])));
  const followedTables = followed.tables(caughtUp.lanes);
  const nameOf = (table: string): DatasetName => `${pipeline.source}.${table}` as DatasetName; // As datasets are named.
  const missing = datasets?.find((dataset) => !followedTables.some((table) => dataset === nameOf(table)));
  if (missing !== undefined && of.kind === 'kafka')
    throw new NothingToVerify(`there is no topic of ${missing}`, 'The connector makes it with the first record.');
  if (missing !== undefined)
    throw new NothingToVerify(
      `${missing} is not followed (yet)`,
      '`tidegate status` tells which tables are, and which are left out and why.',
    );
  const passed = followed.passage.passed(caughtUp.lanes);
  const chosen = followedTables.filter((table) => datasets?.includes(nameOf(table)) !== false);
  const waitMs = caughtUp.laneStands ? 0 : options.waitMs;
  const parts = { ...followed, target, hash };
  const tables: TableResult[] = [];
  for (let from = 0; from < chosen.length; from += TABLES_AT_ONCE) {
    const some = chosen.slice(from, from + TABLES_AT_ONCE);
    const copied = some.filter((table) => !notCopied.has(table));
    const equal = await equalWholes(copied, parts, options);
    for (const table of some) {
      const dataset = nameOf(table);
      const whole = equal.get(table);
      if (whole !== undefined) {
        options.onProgress({ kind: 'comparing', dataset, rows: whole.rows, rowsEstimated: whole.rows, differing: 0 });
        tables.push({ ...untouched(name, dataset), state: 'verified', equal: true, ...whole });
      } else if (notCopied.has(table)) tables.push(untouched(name, dataset));
      else
        tables.push(await again(() => verifyTable({ ...options, waitMs }, { ...parts, bringer, passed, lane, quality, table, dataset })));
    }
  }
  return { pipeline: name, through: toLsn(through), laneStands: caughtUp.laneStands, tables };
}

/** To be closed with what is opened for it. */
export async function openBringer(
  source: SourceRows,
  options: Pick<VerifyOptions, 'config' | 'name' | 'pipeline' | 'rules' | 'waitMs' | 'clock' | 'signal'>,
  cleanup: AsyncDisposableStack,
): Promise<Bringer> {
  const { config, name, pipeline, rules, clock } = options;
  const { source: of } = partsOf(config, pipeline);
  if (of.kind !== 'kafka') return byLane(source);
  const sink = cleanup.use(await postgresSink(sinkOptions(config, name, pipeline, rules, clock)));
  return besideTopics({ ...options, source, sink, name: pipeline.source, lane: laneOf(pipeline.source, of) });
}

/** A place in the log such that whoever looks from now on sees everything committed before it. */
async function placeToVerify(source: SourceRows, { waitMs, clock, signal }: VerifyOptions): Promise<string> {
  const place = await source.mark();
  const deadline = clock.monotonic() + waitMs;
  while (!(await source.settle(signal))) {
    signal.throwIfAborted();
    if (clock.monotonic() > deadline) {
      throw new PipelineError(
        'SOURCE_UNREACHABLE',
        'comparing with the source: its commits wait for a synchronous standby that does not answer',
      );
    }
  }
  return place;
}

type Lanes = ReadonlyMap<LaneId, Position>;

/** Waits while the lanes come nearer to the place. */
export async function catchUp(
  followed: Pick<Followed, 'passage' | 'isRead'>,
  target: TargetRows,
  lane: LaneId,
  place: string,
  { waitMs, clock, signal, onProgress, name }: Pick<VerifyOptions, 'waitMs' | 'clock' | 'signal' | 'onProgress' | 'name'>,
): Promise<{ readonly lanes: Lanes; readonly laneStands: boolean }> {
  let last = '';
  let movedAtMs = clock.monotonic();
  for (;;) {
    signal.throwIfAborted();
    await followed.passage.ask();
    const lanes = await target.positions(lane);
    if (lanes.size === 0) throw new NothingToVerify(`the lane of the pipeline ${name} is gone`, RUN_FIRST);
    const passed = followed.passage.passed(lanes);
    if (passed >= place) return { lanes, laneStands: false };
    const now = JSON.stringify([passed, ...lanes]);
    if (now !== last) movedAtMs = clock.monotonic();
    last = now;
    const isOver = clock.monotonic() - movedAtMs > waitMs || !(await followed.isRead());
    if (isOver) return { lanes, laneStands: true };
    onProgress({ kind: 'waiting', lane, behindBytes: passed === '' ? null : Number(toLsnNumber(place) - toLsnNumber(passed)) });
    await clock.sleep(POLL_MS, signal);
  }
}

/** Begins again where somebody changed the table meanwhile, so that a column or a type is not there any more. */
async function again<T>(work: () => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await work();
    } catch (error) {
      const cause = error instanceof PipelineError ? error.cause : null;
      if (!(cause instanceof PgError && RESHAPED.has(cause.code)) || attempt === ATTEMPTS_MAX) throw error;
    }
  }
}

interface TableParts extends Pick<Followed, 'source' | 'passage'> {
  readonly target: TargetRows;
  readonly lane: LaneId;
  readonly hash: HashKind;
  /** Null where nothing is to be repaired. */
  readonly bringer: Bringer | null;
  /** A place that all lanes have passed. */
  readonly passed: string;
  readonly quality: ReturnType<typeof qualityStage>;
  readonly table: string;
  readonly dataset: DatasetName;
}

async function verifyTable(options: VerifyOptions, parts: TableParts): Promise<TableResult> {
  const { waitMs, clock, signal, differencesMax, rowsPerSecond, onProgress } = options;
  const { source, target, lane, passage, quality, bringer } = parts;
  const table = await source.table(parts.table);
  const { dataset } = table.relation;
  const sides = await widenedSides(table, options, parts);
  const [sourceSums, targetSums] = [source.sums(sides.source), target.sums(sides.target)];
  const looking = { source, target, table, dataset, lane, passage, sourceSums, targetSums, waitMs, clock, signal };
  const suspects = new Suspects(looking);
  const tally = new Tally(differencesMax);
  let repaired = 0;
  const isLate = ({ sinceMs }: Differing): boolean => clock.monotonic() - sinceMs >= waitMs;
  const explaining = { source, target, table, dataset, lane, compared: sides.compared, quality, isLate, signal };
  const walk = new TableWalk({
    source: sourceSums,
    target: targetSums,
    isRanged: sides.isRanged,
    suspects,
    suspectsMax: Math.max(20, Math.min(1000, Math.floor(LOOK_CELLS_MAX / sides.compared.length))),
    rowsPerSecond,
    clock,
    signal,
    onDiffering: async (rows: readonly Differing[]) => {
      const { differences, changed } = await explain(rows, explaining);
      for (const { key, sinceMs } of changed) suspects.add(key, sinceMs);
      const wrong = bringer !== null ? differences.filter(({ difference }) => isRepairable(difference.reason)) : [];
      for (const one of differences) if (!wrong.includes(one)) tally.add(one.difference);
      if (bringer !== null && wrong.length > 0) {
        const asked = wrong.map(({ row }) => row);
        const onWaiting = (waiting: number, times: number) =>
          onProgress({ kind: 'repairing', dataset: dataset.name, rows: waiting, times });
        const stays = await repairRows(parts.table, asked, { ...looking, bringer, passed: suspects.passed, onWaiting });
        const left = await explain(stays, { ...explaining, isLate: () => true });
        repaired += wrong.length - left.differences.length;
        for (const { difference } of left.differences) tally.add(difference);
      }
      return !tally.isFull;
    },
    onRows: (rows) =>
      onProgress({ kind: 'comparing', dataset: dataset.name, rows, rowsEstimated: table.rowsEstimated, differing: tally.size }),
  });
  await walk.run();
  const state = tally.isFull ? 'left' : 'verified';
  const { counts, differences } = tally;
  return {
    pipeline: options.name,
    dataset: dataset.name,
    state,
    equal: state === 'verified' && sides.lacking.length === 0 && REASONS.every((reason) => isExplained(reason) || counts[reason] === 0),
    rows: walk.rows,
    repaired,
    counts,
    differences,
    leftOut: sides.leftOut,
    lacking: sides.lacking,
  };
}

/** Where the target lacks columns that it is to have, and is to be repaired, the lane makes them with the first row that it brings. */
async function widenedSides(table: SourceTable, { waitMs, clock, signal }: VerifyOptions, parts: TableParts): Promise<Sides> {
  const { source, target, bringer } = parts;
  const look = async (): Promise<Sides> => sidesOf(table, await target.table(table.relation.dataset), parts);
  let sides = await look();
  if (bringer === null || sides.lacking.length === 0) return sides;
  const [first] = await source.sums(sides.source).list({ after: null, to: null }, 1);
  if (first === undefined) return sides;
  await bringer.bring(parts.table, [first.key], parts.passed);
  const deadline = clock.monotonic() + waitMs;
  while (sides.lacking.length > 0 && clock.monotonic() < deadline) {
    await clock.sleep(POLL_MS, signal);
    sides = await look();
  }
  return sides;
}

/** Differences counted, the first of them kept. */
class Tally {
  readonly counts: Record<DifferenceReason, number> = newCounts();
  readonly #keptMax: number;
  readonly #unexplained: Difference[] = [];
  readonly #explained: Difference[] = [];
  size = 0;

  constructor(keptMax: number) {
    this.#keptMax = keptMax;
  }

  get isFull(): boolean {
    return this.#unexplained.length >= this.#keptMax;
  }

  get differences(): readonly Difference[] {
    return [...this.#unexplained, ...this.#explained].slice(0, this.#keptMax);
  }

  add(difference: Difference): void {
    this.size++;
    this.counts[difference.reason]++;
    const kept = isExplained(difference.reason) ? this.#explained : this.#unexplained;
    if (kept.length < this.#keptMax) kept.push(difference);
  }
}

const newCounts = (): Record<DifferenceReason, number> => ({
  held: 0,
  discarded: 0,
  superseded: 0,
  dropped: 0,
  partial: 0,
  lost: 0,
  surplus: 0,
  undecided: 0,
});

/** One of which nothing was looked at. */
const untouched = (pipeline: string, dataset: DatasetName): TableResult => ({
  pipeline,
  dataset,
  state: 'copying',
  equal: false,
  rows: 0,
  repaired: 0,
  counts: newCounts(),
  differences: [],
  leftOut: [],
  lacking: [],
});
