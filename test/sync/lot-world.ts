/** Lanes, closers and the lane of released rows over one target, for tests of lots. */
import { inject } from 'vitest';
import type { Batch } from '../../core/batch.ts';
import type { Stage } from '../../core/contracts.ts';
import type { DatasetName, LaneId } from '../../core/event.ts';
import { runPipeline } from '../../core/pipeline.ts';
import { replaySource } from '../../cdc/replay.ts';
import { type Contract, parseContract } from '../../quality/contract.ts';
import { lotRules, WindowCloser } from '../../quality/live/closer.ts';
import { windowStage } from '../../quality/live/stage.ts';
import { type PostgresSink, postgresSink } from '../../sync/postgres/sink.ts';
import { PgConnection } from '../../wire/postgres/connection.ts';
import { clockAt } from '../quality/live/support.ts';
import { createDatabase } from '../support/databases.ts';
import type { Random } from '../support/random.ts';
import { batchSource, DATASET, gate, LANE } from './shop.ts';

export const never = new AbortController().signal;
const REPLAY = 'replay:p' as LaneId;
export const WINDOW_MS = 10_000;
const clock = clockAt(() => 1_000_000);

export type Hold = 'key' | 'event';

export function contractOf(rules: string) {
  const text = `apiVersion: quality/v1\nkind: DatasetRules\ndataset: ${DATASET.name}\n${rules}`;
  const parsed = parseContract(text, 'items.rules.yaml');
  if ('problems' in parsed) throw new Error(JSON.stringify(parsed.problems));
  return new Map([[DATASET.name, parsed.contract]]);
}

/** A window fails with more than so many inserts and updates in it. */
export const changesAtMost = (max: number, onFail = 'alert', publish = 'publish: after_window') =>
  contractOf(`${publish}
defaults: { window: { every: 10s, out_of_order: 0s, lateness: 20s, idle: 1m } }
checks: [{ id: volume, row_count: { max: ${max} }, window: { of: changes }, on_fail: ${onFail} }]
`);

export async function world(hold: Hold, contracts: ReturnType<typeof contractOf>) {
  const database = await createDatabase(inject('targetServer'), 'lots');
  const sql = await PgConnection.connect({ url: database.url });
  const sink = () =>
    postgresSink({
      name: 'store',
      url: database.url,
      schema: 'shop',
      tables: { create: true, widen: true },
      hold: () => hold,
      scores: [],
      pipeline: 'p',
    });
  const closers = [new WindowCloser(() => contracts), new WindowCloser(() => contracts)];
  return {
    sql,
    sink,
    rows: async () => (await sql.query('select id, n, note from shop.items order by id')).rows.map(([id, n, note]) => [id, n, note]),
    statuses: async () => (await sql.query('select status, count(*) from tidegate.quarantine group by 1 order by 1')).rows,
    /** A run of the lane, from its checkpoint to the end of the batches or until it is cut off. */
    async run(
      batches: readonly Batch[],
      between: () => Promise<void>,
      bad: ReadonlyMap<string, 'quarantine' | 'drop'>,
      abort: AbortSignal,
      lane = LANE,
      before: readonly Stage[] = [],
    ) {
      await using to = await sink();
      const windows = windowStage({ contracts: () => contracts, store: to.windows, lots: to.lots, clock });
      await runPipeline(
        { source: batchSource(batches, between, lane), stages: [gate(bad), ...before, windows], sink: to },
        { drain: never, abort },
      );
    },
    /** What two processes do at once. */
    async close(desks: readonly PostgresSink[], isOver = false, own: ReadonlyMap<DatasetName, Contract> = contracts) {
      const live = { nowMs: isOver ? 2_000_000_000 : 1_000_000, isCaughtUp: isOver, isCopied: () => true };
      const others = own === contracts ? closers : desks.map(() => new WindowCloser(() => own));
      await Promise.all(desks.map(async (desk, i) => others[i]?.close(desk.windows, live)));
      return (await Promise.all(desks.map((desk) => desk.lots.settle(lotRules(own.values()), revisionsOf(own))))).flat();
    },
    async [Symbol.asyncDispose]() {
      await sql.close();
      await database[Symbol.asyncDispose]();
    },
  };
}

/** Brings released rows back until it is told to end, being cut off and begun again now and then. */
export function replaying(open: () => Promise<PostgresSink>, random: Random, batchRows = 3, stages: readonly Stage[] = []) {
  const end = new AbortController();
  let run = new AbortController();
  const forever = async () => {
    while (!end.signal.aborted) {
      run = new AbortController();
      await using sink = await open();
      const source = replaySource({ log: sink.quarantine, lane: REPLAY, batchRows });
      try {
        await runPipeline({ source, stages, sink }, { drain: end.signal, abort: run.signal });
      } catch (error) {
        if (!run.signal.aborted) throw error;
      }
    }
  };
  const running = forever();
  return {
    perhapsKill: () => random.chance(0.2) && run.abort(new Error('killed')),
    async stop() {
      end.abort();
      await running;
    },
    running,
  };
}

export const revisionsOf = (contracts: ReadonlyMap<DatasetName, Contract>): ReadonlyMap<DatasetName, string> =>
  new Map([...contracts].map(([dataset, { revision }]) => [dataset, revision]));
