/** What keeps a lane running: backoff, halts that outlive the process, draining. Source and target are in memory, the state file is real. */
import type { DatabaseSync } from 'node:sqlite';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { LaneRunState, Reason } from '../../app/http/shapes.ts';
import { LaneRunner, type LaneRunnerOptions } from '../../app/lane-runner.ts';
import { createLogger, silentLogger } from '../../app/logger.ts';
import { openState } from '../../app/state/database.ts';
import { type Halt, Halts } from '../../app/state/halts.ts';
import { Batch } from '../../core/batch.ts';
import type { Applied, Lease, Sink, Source } from '../../core/contracts.ts';
import { PipelineError } from '../../core/errors.ts';
import type { Checkpoint, LaneId, Position } from '../../core/event.ts';
import { eventually } from '../support/eventually.ts';
import { ManualClock } from './manual-clock.ts';

const lane = 'shop/slot' as LaneId;

/** A log of numbered batches and a target that keeps where it is: the promises of core/contracts.ts, in memory. */
class Road {
  readonly log: number[] = [];
  readonly committed: number[] = [];
  opened = 0;
  /** Thrown by the next openings, then by the next commits. */
  readonly openErrors: unknown[] = [];
  readonly commitErrors: unknown[] = [];
  /** While set, a commit waits for it, or for being cut off. */
  gate: Promise<void> | null = null;
  #checkpoint: Checkpoint | null = null;
  #epoch = 0;
  #news = Promise.withResolvers<void>();

  append(...batches: readonly number[]): void {
    this.log.push(...batches);
    this.#news.resolve();
    this.#news = Promise.withResolvers<void>();
  }

  async open() {
    this.opened++;
    const error = this.openErrors.shift();
    if (error !== undefined) throw error;
    return {
      parts: { source: this.#source(), stages: [], sink: this.#sink() },
      isWorking: () => true,
      [Symbol.asyncDispose]: async () => {},
    };
  }

  #source(): Source {
    const road = this;
    return {
      name: 'numbers',
      async *read(resume, signal) {
        const { checkpoint } = await resume(lane);
        const ended = Promise.withResolvers<void>();
        signal.addEventListener('abort', () => ended.resolve(), { once: true });
        for (let index = checkpoint === null ? 0 : Number(checkpoint.position); ; index++) {
          while (index >= road.log.length && !signal.aborted) await Promise.race([road.#news.promise, ended.promise]);
          if (signal.aborted) return;
          yield new Batch([], { lane, position: String(index + 1).padStart(6, '0') as Position });
        }
      },
      acknowledge: async () => {},
      [Symbol.asyncDispose]: async () => {},
    };
  }

  #sink(): Sink {
    return {
      name: 'list',
      acquire: async (): Promise<Lease> => ({ lane, epoch: ++this.#epoch, checkpoint: this.#checkpoint }),
      apply: async (batch, _held, _lease, signal): Promise<Applied> => {
        const cut = Promise.withResolvers<void>();
        signal.addEventListener('abort', () => cut.resolve(), { once: true });
        if (this.gate !== null) await Promise.race([this.gate, cut.promise]);
        signal.throwIfAborted();
        const error = this.commitErrors.shift();
        if (error !== undefined) throw error;
        this.#checkpoint = batch.checkpoint;
        this.committed.push(this.log[Number(batch.checkpoint.position) - 1] ?? Number.NaN);
        const none = { upserts: 0, deletes: 0, truncates: 0, stale: 0, folded: 0, held: 0, dropped: 0 };
        return { kind: 'applied', checkpoint: batch.checkpoint, ...none };
      },
      [Symbol.asyncDispose]: async () => {},
    };
  }
}

let clock: ManualClock;
let database: DatabaseSync;
let halts: Halts;
let road: Road;
let seen: string[];
const runners: LaneRunner[] = [];
beforeEach(() => {
  clock = new ManualClock();
  database = openState(':memory:');
  halts = new Halts(database);
  road = new Road();
  seen = [];
});
afterEach(async () => {
  await Promise.all(runners.splice(0).map((runner) => runner.drain(0)));
  database.close();
});

/** A runner over the road; another one after it is the service started again. */
function start(options: Partial<LaneRunnerOptions> = {}): LaneRunner {
  const onState = (state: LaneRunState, reason: Reason | null) => void seen.push(reason === null ? state : `${state} ${reason.code}`);
  const open = () => road.open();
  const runner = new LaneRunner({
    lane,
    role: 'main',
    haltName: 'main',
    open,
    observers: [],
    halts,
    clock,
    logger: silentLogger,
    onState,
    ...options,
  });
  runners.push(runner);
  runner.start();
  return runner;
}

const reaches = (runner: LaneRunner, state: LaneRunState) => eventually(() => runner.state === state, `the lane is ${state}`);
const commits = (...numbers: readonly number[]) =>
  eventually(() => road.committed.length >= numbers.length, `${numbers.join()} are committed`);
const away = () =>
  new PipelineError('TARGET_UNREACHABLE', 'connecting to lake', { cause: new Error('no route to postgres://me:hunter2@lake') });

describe('backoff', () => {
  test('each failure waits twice as long as the one before, to 30 s, and a run that works starts again at the shortest', async () => {
    road.openErrors.push(...Array.from({ length: 10 }, away));
    const runner = start();
    const waits: number[] = [];
    for (let attempt = 1; attempt <= 10; attempt++) {
      await eventually(() => runner.status().attempts === attempt && runner.status().retryAtMs !== null, `attempt ${attempt} failed`);
      const { retryAtMs, reason } = runner.status();
      expect(reason).toMatchObject({ code: 'TARGET_UNREACHABLE', fix: 'Check that the target is up and reachable.' });
      const wait = (retryAtMs ?? 0) - clock.now();
      waits.push(wait);
      clock.advance(wait - 1);
      expect(road.opened).toBe(attempt);
      clock.advance(1);
    }
    expect(waits).toEqual([200, 400, 800, 1600, 3200, 6400, 12_800, 25_600, 30_000, 30_000]);
    await reaches(runner, 'running');
    expect(runner.status()).toMatchObject({ attempts: 0, reason: null, retryAtMs: null });
    road.commitErrors.push(away());
    road.append(1);
    await reaches(runner, 'backing-off');
    await eventually(() => runner.status().retryAtMs === clock.now() + 200, 'it waits 200 ms again');
    expect(seen).toEqual(['backing-off TARGET_UNREACHABLE', 'running', 'backing-off TARGET_UNREACHABLE']);
  });

  test('what was in flight is read again from the checkpoint, and committed once', async () => {
    road.append(1, 2, 3);
    const runner = start();
    await commits(1, 2, 3);
    road.commitErrors.push(away());
    road.append(4, 5);
    await reaches(runner, 'backing-off');
    await eventually(() => runner.status().retryAtMs !== null, 'it waits');
    clock.advance(200);
    await commits(1, 2, 3, 4, 5);
    expect(road.committed).toEqual([1, 2, 3, 4, 5]);
  });

  test('a person who resumes does not wait for it', async () => {
    road.openErrors.push(away());
    const runner = start();
    await eventually(() => runner.status().retryAtMs !== null, 'it waits');
    runner.resume();
    await reaches(runner, 'running');
  });

  test('the reason holds what the server said, and no password', async () => {
    road.openErrors.push(away());
    const runner = start();
    await reaches(runner, 'backing-off');
    expect(runner.status().reason?.message).toBe('connecting to lake: no route to postgres://[secret]@lake');
  });
});

describe('a halt', () => {
  test.each([
    ['that a person must mend', new PipelineError('RULE_HALT', 'rule x of shop.public.orders failed'), 'RULE_HALT'],
    ['that nobody expected', new TypeError('undefined is not a function'), 'BUG'],
  ])('follows an error %s, is remembered, and lasts over restarts until somebody resumes', async (_kind, error, code) => {
    road.append(1, 2);
    road.commitErrors.push(error);
    const first = start();
    await reaches(first, 'halted');
    expect(halts.get('main')).toMatchObject({ pipeline: 'main', code });
    await first.drain(1000);

    const second = start();
    expect(second.status()).toMatchObject({ state: 'halted', reason: { code, atMs: clock.now() } });
    clock.advance(3_600_000);
    await Promise.resolve();
    expect([road.opened, road.committed]).toEqual([1, []]);
    second.resume();
    await commits(1, 2);
    expect(halts.get('main')).toBe(null);
    await second.drain(1000);
    await reaches(start(), 'running');
  });

  test('by a person stops at the checkpoint, in the middle of a commit too, and goes on from there', async () => {
    road.append(1, 2, 3);
    const runner = start();
    await commits(1, 2, 3);
    await reaches(runner, 'running');
    const gate = Promise.withResolvers<void>();
    road.gate = gate.promise;
    road.append(4);
    runner.halt('OPERATOR', 'maintenance of postgres://me:hunter2@lake', 'Resume it.');
    expect(halts.get('main')).toMatchObject({ code: 'OPERATOR', message: 'maintenance of postgres://[secret]@lake' });
    expect(runner.state).toBe('halted');
    gate.resolve();
    road.gate = null;
    road.append(5);
    runner.resume();
    await commits(1, 2, 3, 4, 5);
    expect(road.committed).toEqual([1, 2, 3, 4, 5]);
  });

  test('that cannot be remembered, for the disk of the state is full, holds all the same, and is remembered once it can be', async () => {
    let isFull = true;
    const set = (halt: Halt): void => {
      if (isFull) throw new Error('database or disk is full');
      halts.set(halt);
    };
    road.openErrors.push(new PipelineError('SOURCE_POSITION_LOST', 'the slot is gone'));
    const runner = start({ halts: { get: (name) => halts.get(name), set, clear: (name) => halts.clear(name) } });
    await reaches(runner, 'halted');
    runner.follow();
    clock.advance(30_000);
    expect([runner.state, halts.get('main')]).toEqual(['halted', null]);
    isFull = false;
    await eventually(() => {
      clock.advance(30_000);
      return halts.get('main')?.code === 'SOURCE_POSITION_LOST';
    }, 'it is remembered');
    expect(runner.state).toBe('halted');
    runner.resume();
    await reaches(runner, 'running');
    expect(halts.get('main')).toBeNull();
  });

  test('is in the log of each start that finds it', async () => {
    halts.set({ pipeline: 'main', code: 'SOURCE_WAL_LEVEL', message: 'wal_level is replica', fix: 'Set it.', atMs: 0 });
    const lines: string[] = [];
    const logger = createLogger({ level: 'info', format: 'json', write: (line) => void lines.push(line), clock });
    await reaches(start({ logger }), 'halted');
    expect(lines.map((line) => JSON.parse(line) as unknown)).toMatchObject([
      { level: 'warn', msg: 'still halted: `tidegate resume` lets it go on', code: 'SOURCE_WAL_LEVEL', since: '1970-01-01T00:00:00.000Z' },
    ]);
  });

  test.each(['SOURCE_AUTH', 'TARGET_AUTH'] as const)(
    'over %s lasts until the next start, which may have other credentials',
    async (code) => {
      road.openErrors.push(new PipelineError(code, 'refused'), new PipelineError(code, 'refused again'));
      const first = start();
      await reaches(first, 'halted');
      await first.drain(1000);
      const same = start();
      await eventually(() => road.opened === 2, 'they are tried');
      await reaches(same, 'halted');
      expect(halts.get('main')).toMatchObject({ code, message: 'refused again' });
      await same.drain(1000);
      await reaches(start(), 'running');
      expect(halts.get('main')).toBeNull();
    },
  );

  test('of one pipeline is none of another’s', async () => {
    halts.set({ pipeline: 'other', code: 'OPERATOR', message: '', fix: '', atMs: 1 });
    await reaches(start(), 'running');
  });
});

describe('draining', () => {
  test('commits what was read, then ends, and a new start goes on behind it', async () => {
    road.append(1, 2);
    const runner = start();
    await commits(1, 2);
    await reaches(runner, 'running');
    const gate = Promise.withResolvers<void>();
    road.gate = gate.promise;
    road.append(3);
    const drained = runner.drain(10_000);
    expect(runner.state).toBe('draining');
    gate.resolve();
    await drained;
    expect(runner.state).toBe('stopped');
    road.gate = null;
    start();
    road.append(4);
    await commits(1, 2, 3, 4);
    expect(road.committed).toEqual([1, 2, 3, 4]);
  });

  test('past its deadline it is cut off, and what was in flight is read again next time', async () => {
    road.append(1);
    road.gate = new Promise(() => {}); // A commit that does not come back.
    const runner = start();
    await reaches(runner, 'running');
    await runner.drain(20);
    expect([runner.state, road.committed]).toEqual(['stopped', []]);
    road.gate = null;
    start();
    await commits(1);
    expect(road.committed).toEqual([1]);
  });

  test('ends at once where the lane stands still', async () => {
    road.openErrors.push(away());
    const backingOff = start();
    await eventually(() => backingOff.status().retryAtMs !== null, 'it waits');
    await backingOff.drain(60_000);
    halts.set({ pipeline: 'main', code: 'OPERATOR', message: '', fix: '', atMs: 1 });
    await start().drain(60_000);
    expect(halts.get('main')?.code).toBe('OPERATOR');
  });

  test('a halt that comes after it changes nothing', async () => {
    const runner = start();
    await reaches(runner, 'running');
    await runner.drain(1000);
    runner.halt('OPERATOR', 'too late', '');
    expect([runner.state, halts.get('main')]).toEqual(['stopped', null]);
  });
});
