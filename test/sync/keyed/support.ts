/** A target that is asked by rules: its sink, lanes that are cut off on the way, and what came of it. */
import { inject } from 'vitest';
import type { Batch } from '../../../core/batch.ts';
import type { LiveSource } from '../../../core/contracts.ts';
import type { DatasetName, LaneId } from '../../../core/event.ts';
import type { WaitsSettled } from '../../../core/keyed.ts';
import { runPipeline } from '../../../core/pipeline.ts';
import { replaySource } from '../../../cdc/replay.ts';
import type { Contract } from '../../../quality/contract.ts';
import { parseContract } from '../../../quality/contract.ts';
import { keyedRules, waitRules } from '../../../quality/keyed.ts';
import { sloStage } from '../../../quality/slo/stage.ts';
import { qualityStage } from '../../../quality/stage.ts';
import { type PostgresSink, postgresSink, type PostgresSinkOptions } from '../../../sync/postgres/sink.ts';
import { PgConnection } from '../../../wire/postgres/connection.ts';
import { createDatabase } from '../../support/databases.ts';
import { eventually } from '../../support/eventually.ts';
import type { Random } from '../../support/random.ts';
import { batchSource } from '../shop.ts';

const never = new AbortController().signal;

export function contract(dataset: string, body: string): Contract {
  const parsed = parseContract(`apiVersion: quality/v1\nkind: DatasetRules\ndataset: ${dataset}\n${body}\n`, `${dataset}.yaml`);
  if ('problems' in parsed) throw new Error(parsed.problems.map(({ path, message }) => `${path}: ${message}`).join('\n'));
  return parsed.contract;
}

export interface Target extends AsyncDisposable {
  readonly url: string;
  readonly sql: PgConnection;
  sink(options?: Partial<PostgresSinkOptions>): Promise<PostgresSink>;
  /** Sends these batches through, from wherever the lane stands. */
  run(batches: readonly Batch[], options?: Partial<PostgresSinkOptions>): Promise<void>;
  /** The same, cut off at every few batches as the seed says, each time with a new sink. */
  runWithCrashes(batches: readonly Batch[], random: Random, options?: Partial<PostgresSinkOptions>): Promise<number>;
  /** Released rows, until none is in line. */
  replay(): Promise<void>;
  /** Rows that wait are looked after, as the running service does; `passes`: whether their time passes. Answers what came of it. */
  settle(passes?: boolean): Promise<WaitsSettled>;
  /** Open items: `key: rules`. */
  held(): Promise<string[]>;
}

export async function target(contracts: readonly Contract[], common: Partial<PostgresSinkOptions> = {}, setup = ''): Promise<Target> {
  const database = await createDatabase(inject('targetServer'), 'keyed');
  const sql = await PgConnection.connect({ url: database.url });
  if (setup !== '') await sql.script(setup);
  const byName = new Map<DatasetName, Contract>(contracts.map((one) => [one.dataset, one]));
  const sink = (options: Partial<PostgresSinkOptions> = {}) =>
    postgresSink({
      name: 'store',
      url: database.url,
      schema: 'shop',
      tables: { create: true, widen: true },
      hold: (dataset) => byName.get(dataset)?.hold ?? null,
      keyed: (dataset) => {
        const found = byName.get(dataset.name);
        return found === undefined ? [] : keyedRules(found, dataset);
      },
      scores: [],
      pipeline: 'p',
      ...common,
      ...options,
    });
  const through = async (
    source: Pick<LiveSource, 'name' | 'read' | 'acknowledge' | typeof Symbol.asyncDispose>,
    into: PostgresSink,
    abort = never,
  ) => runPipeline({ source, stages: [qualityStage(byName), sloStage(() => byName)], sink: into }, { drain: never, abort });
  return {
    url: database.url,
    sql,
    sink,
    run: async (batches, options) => {
      await using into = await sink(options);
      await through(batchSource(batches, undefined, batches[0]?.checkpoint.lane), into);
    },
    runWithCrashes: async (batches, random, options) => {
      for (let crashes = 0; ; crashes++) {
        await using into = await sink(options);
        const crash = new AbortController();
        const source = batchSource(batches.map(again), () => {
          if (crashes < 25 && random.chance(0.15)) crash.abort(new Error('crashed'));
          return Promise.resolve();
        });
        try {
          await through(source, into, crash.signal);
          return crashes;
        } catch (error) {
          if (!crash.signal.aborted) throw error;
        }
      }
    },
    replay: async () => {
      await using into = await sink();
      const drain = new AbortController();
      const running = runPipeline(
        {
          source: replaySource({ log: into.quarantine, lane: 'replay:p' as LaneId, batchRows: 7 }),
          stages: [qualityStage(byName)],
          sink: into,
        },
        { drain: drain.signal, abort: never },
      );
      try {
        await Promise.race([
          running,
          eventually(
            async () => !(await into.quarantine.counts()).some(({ status, count }) => status === 'released' && count > 0),
            'what was released is judged',
          ),
        ]);
      } finally {
        drain.abort();
        await running;
      }
    },
    settle: async (passes = true) => {
      await using into = await sink();
      return await into.waits.settle(waitRules(contracts), () => passes);
    },
    held: async () => {
      const { rows } = await sql.query(
        `select key, array_to_string(rules, ' ') from tidegate.quarantine where status in ('held', 'waiting') order by version`,
      );
      return rows.map(([key, rules]) => `${key}: ${rules}`);
    },
    async [Symbol.asyncDispose]() {
      await sql.close();
      await database[Symbol.asyncDispose]();
    },
  };
}

/** A batch is marked where it stands: another run has another. */
function again(batch: Batch): Batch {
  const { events, checkpoint, origin } = batch;
  return new (batch.constructor as typeof Batch)(events, checkpoint, origin); // It is a Batch.
}
