/**
 * The logs of the simulation through the real target: whatever a person releases and discards meanwhile, the tables are the fold of the log without
 * what is in quarantine. A failure names its seed: SIM_SEED=n repeats it, SIM_SEEDS=n tries more.
 */
import { expect, inject, test } from 'vitest';
import { replaySource } from '../../cdc/replay.ts';
import { Batch, Verdict } from '../../core/batch.ts';
import type { QuarantineItem, ReleaseLog, Source, Stage } from '../../core/contracts.ts';
import { type ChangeEvent, eventId, type LaneId } from '../../core/event.ts';
import { runPipeline } from '../../core/pipeline.ts';
import { postgresSink, type PostgresSink } from '../../sync/postgres/sink.ts';
import { PgConnection } from '../../wire/postgres/connection.ts';
import { createDatabase } from '../support/databases.ts';
import { Random } from '../support/random.ts';
import { amountOf, type Cells, foldLog, type LaneLog, makeLog, REFUSED, refOf } from './source-log.ts';

const RULE = 'amount.ends_in_7';
const isDropped = (event: ChangeEvent): boolean => amountOf(event) === 50;
const never = new AbortController().signal;

const judge: Stage = {
  name: 'quality',
  run: async (batch) => {
    for (const [index, event] of batch.events.entries()) {
      const amount = amountOf(event);
      const isAccepted = batch.heldFor?.[index]?.some(({ rule }) => rule === RULE) === true;
      const isWrong = typeof amount === 'number' && amount % 10 === 7 && !isAccepted;
      if (!isWrong && !isDropped(event)) continue;
      const verdict = isWrong ? Verdict.Quarantine : Verdict.Drop;
      batch.mark({ index, stage: 'quality', rule: RULE, column: null, verdict, severity: 'info', message: 'is wrong', notify: false });
    }
  },
};

/** The next batches of the log, at most so many. */
function part(log: LaneLog, random: Random, batches: number): Source {
  return {
    name: log.lane,
    async *read(resume) {
      const { checkpoint } = await resume(log.lane);
      let next = checkpoint === null ? 0 : log.positions.indexOf(checkpoint.position) + 1;
      for (let n = 0; n < batches && next < log.events.length; n++) {
        const from = next;
        next = Math.min(log.events.length, next + 1 + random.below(6));
        const position = log.positions[next - 1];
        if (position !== undefined) yield new Batch(log.events.slice(from, next), { lane: log.lane, position });
      }
    },
    acknowledge: async () => {},
    [Symbol.asyncDispose]: async () => {},
  };
}

async function replay(sink: PostgresSink, main: PostgresSink, lane: LaneId, batchRows: number): Promise<void> {
  const drain = new AbortController();
  const log: ReleaseLog = {
    releasedAfter: (after, limit) => main.quarantine.releasedAfter(after, limit),
    changed: async () => drain.abort(),
  };
  const source = replaySource({ log, lane, batchRows });
  await runPipeline({ source, stages: [judge], sink }, { drain: drain.signal, abort: never });
}

async function simulate(seed: number, url: string, sql: PgConnection): Promise<string[]> {
  const random = new Random(seed);
  const mode = random.chance(0.5) ? 'key' : 'event';
  const name = `orders_${seed}`;
  const log = makeLog(random, { lane: name, mode, partial: true, refusedMoves: true, transactions: 14 });
  await sql.script(
    `create table public."${name}" (id text primary key, amount integer not null check (amount <> ${REFUSED}), note text not null)`,
  );
  const options = { name: 'target', url, schema: 'public', tables: { create: false, widen: false }, hold: () => mode, scores: [] } as const;
  const pipeline = `sim${seed}`;
  await using main = await postgresSink({ ...options, pipeline });
  await using again = await postgresSink({ ...options, pipeline });
  const replayLane = `replay:${pipeline}` as LaneId;
  const all = (): Promise<readonly QuarantineItem[]> => main.quarantine.find({ limit: 1000 });

  for (let done = false; !done;) {
    await runPipeline({ source: part(log, random, 1 + random.below(4)), stages: [judge], sink: main }, { drain: never, abort: never });
    const open = (await all()).filter(({ status }) => status === 'held' || status === 'waiting').sort((a, b) => (a.id < b.id ? -1 : 1));
    const item = open[random.below(open.length)];
    if (item !== undefined && random.chance(0.5)) {
      if (random.chance(0.7)) await main.quarantine.release([item.id], 'sim');
      else await main.quarantine.discard([item.id], 'sim', 'because');
    }
    if (random.chance(0.6)) await replay(again, main, replayLane, 1 + random.below(4));
    const lane = (await main.lanes()).find((one) => one.lane === log.lane);
    done = lane?.position === log.end;
  }
  await replay(again, main, replayLane, 3);

  const items = new Map((await all()).map((item) => [item.id, item]));
  const problems: string[] = [];
  for (const { id, status } of items.values()) if (status === 'released') problems.push(`still in line: ${id}`);
  const isOut = (event: ChangeEvent): boolean => {
    const status = items.get(eventId(event))?.status;
    return isDropped(event) || (status !== undefined && status !== 'applied' && status !== 'superseded');
  };
  const { rows, ghosts } = foldLog(log.events, isOut);
  const found = (await sql.query(`select id, amount::text, note from public."${name}"`)).rows;
  const isSame = (cells: readonly (string | null)[], other: Cells | undefined) =>
    other !== undefined && cells.every((cell, column) => cell === String(other[column]));
  const keys = new Set(found.map(([id]) => refOf(log.dataset.name, id ?? '')));
  for (const ref of rows.keys()) if (!keys.has(ref)) problems.push(`row ${ref} is missing`);
  for (const cells of found) {
    const ref = refOf(log.dataset.name, cells[0] ?? '');
    if (!isSame(cells, rows.get(ref)) && !isSame(cells, ghosts.get(ref))) problems.push(`row ${ref} is wrong`);
  }
  for (const { lane, ledger } of await main.lanes()) {
    const { events, ...outcomes } = ledger;
    if (Object.values(outcomes).reduce((sum, count) => sum + count, 0n) !== events) problems.push(`the ledger of ${lane} does not close`);
    if (lane === log.lane && events !== BigInt(log.events.length)) problems.push(`${lane}: ${events} in, ${log.events.length} in the log`);
    if (lane === log.lane && outcomes.held !== BigInt(items.size))
      problems.push(`${lane}: ${outcomes.held} held, ${items.size} in quarantine`);
  }
  return problems;
}

const only = process.env['SIM_SEED'];
const first = Number(only ?? 1);
const count = only === undefined ? Number(process.env['SIM_SEEDS'] ?? 20) : 1;

test(`the real target holds the fold of ${count} logs`, { timeout: 60_000 + 2000 * count }, async () => {
  await using database = await createDatabase(inject('targetServer'), 'sim');
  await using sql = await PgConnection.connect({ url: database.url });
  for (let seed = first; seed < first + count; seed++) {
    expect(await simulate(seed, database.url, sql), `SIM_SEED=${seed}`).toEqual([]);
  }
});
