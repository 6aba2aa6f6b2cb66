/** Lanes of one pipeline that are shared out to workers, which are killed, stand still and have lanes taken from them; batches are cut anew each time. */
import { Batch } from '../../core/batch.ts';
import type { Sink, Source, Stage } from '../../core/contracts.ts';
import { PipelineError } from '../../core/errors.ts';
import { type ChangeEvent, eventId, type LaneId, type Position } from '../../core/event.ts';
import { runPipeline } from '../../core/pipeline.ts';
import type { Random } from '../support/random.ts';

export interface Scene {
  readonly workers: number;
  /** How often workers are killed, or stand still while others have their lanes, at most. */
  readonly kills: number;
  /** Of so many transactions a batch is made at most. */
  readonly batchMax: number;
}

/** Nothing happens, and each transaction is judged by itself. */
export const PLAINEST: Scene = { workers: 1, kills: 0, batchMax: 1 };

export const SCENES: Readonly<Record<string, Scene>> = {
  'one worker': { workers: 1, kills: 0, batchMax: 9 },
  'one worker that is killed': { workers: 1, kills: 8, batchMax: 6 },
  'several workers that are killed and shared out anew': { workers: 3, kills: 8, batchMax: 6 },
};

/** What each lane has, in its order: a transaction of the source each. */
export type LaneEvents = ReadonlyMap<LaneId, readonly (readonly ChangeEvent[])[]>;

export interface Worker {
  readonly open: () => Promise<Sink>;
  readonly stages: (sink: Sink) => readonly Stage[];
  /** Beside the workers, now and then: whoever closes windows, or looks after rows that wait. */
  readonly beside?: () => Promise<void>;
}

const never = new AbortController().signal;
const placeOf = (at: number): Position => String(at).padStart(8, '0') as Position;

/** Until every lane is at its end. Answers what rules found of each event, by its id, as it was committed. */
export async function work(
  events: LaneEvents,
  { workers, kills, batchMax }: Scene,
  worker: Worker,
  random: Random,
): Promise<ReadonlyMap<string, readonly string[]>> {
  const found = new Found();
  const standing: Promise<void>[] = [];
  for (let left = kills, isOver = false; !isOver;) {
    const shares = share([...events.keys()], workers, random);
    const ends = new AbortController();
    const strike = (own: AbortController, standStill: () => void) => async () => {
      if (random.chance(0.2)) await worker.beside?.();
      if (left === 0 || ends.signal.aborted || !random.chance(0.1)) return;
      left--;
      // Of one worker nobody else could take the lanes meanwhile.
      if (workers > 1 && random.chance(0.5)) standStill();
      else own.abort(new Error('killed'));
      ends.abort(new Error('shared out anew'));
    };
    const running = shares.map((lanes) => {
      const own = new AbortController();
      const stands = Promise.withResolvers<'stands'>();
      const cut = (): void => own.abort(new Error('shared out anew'));
      const run = async (): Promise<void> => {
        await using sink = await worker.open();
        const between = strike(own, () => {
          ends.signal.removeEventListener('abort', cut);
          stands.resolve('stands');
        });
        const source = laneSource(events, lanes, batchMax, random, between);
        await runPipeline({ source, stages: worker.stages(sink), sink: found.by(sink) }, { drain: never, abort: own.signal });
      };
      ends.signal.addEventListener('abort', cut, { once: true });
      const ran = run().catch((error: unknown) => {
        // One that was thought dead finds its lanes taken, or its session ended by whoever took them.
        const isFenced = ends.signal.aborted && error instanceof PipelineError && error.after !== 'bug';
        if (!own.signal.aborted && !isFenced) throw error;
      });
      standing.push(ran);
      return Promise.race([ran, stands.promise]);
    });
    await Promise.all(running);
    isOver = !ends.signal.aborted;
  }
  await Promise.all(standing);
  return found.byEvent;
}

function share(lanes: readonly LaneId[], workers: number, random: Random): LaneId[][] {
  const shares = Array.from({ length: workers }, (): LaneId[] => []);
  const first = random.below(workers);
  for (const [at, lane] of lanes.entries()) shares[(at + first) % workers]?.push(lane);
  return shares.filter((some) => some.length > 0);
}

function laneSource(events: LaneEvents, lanes: readonly LaneId[], batchMax: number, random: Random, between: () => Promise<void>): Source {
  return {
    name: 'shop',
    async *read(resume) {
      const places = new Map<LaneId, number>();
      for (const lane of lanes) places.set(lane, Number((await resume(lane)).checkpoint?.position ?? 0));
      for (;;) {
        const behind = [...places].filter(([lane, at]) => at < (events.get(lane)?.length ?? 0));
        const [lane, at] = behind[random.below(behind.length)] ?? [];
        if (lane === undefined || at === undefined) return;
        await between();
        const some = events.get(lane)?.slice(at, at + 1 + random.below(batchMax)) ?? [];
        places.set(lane, at + some.length);
        yield new Batch(some.flat(), { lane, position: placeOf(at + some.length) });
      }
    },
    acknowledge: () => Promise.resolve(),
    [Symbol.asyncDispose]: () => Promise.resolve(),
  };
}

/** What was found of an event by whoever wrote it. A batch that was cut off may be in: that counts unless it comes again. */
class Found {
  readonly byEvent = new Map<string, readonly string[]>();
  readonly #written = new Set<string>();

  by(sink: Sink): Sink {
    return {
      name: sink.name,
      acquire: (lane) => sink.acquire(lane),
      ...(sink.prepare === undefined ? {} : { prepare: sink.prepare.bind(sink) }),
      apply: async (batch, held, lease, signal) => {
        try {
          const outcome = await sink.apply(batch, held, lease, signal);
          if (outcome.kind === 'applied') this.#note(batch, true);
          return outcome;
        } catch (error) {
          if (!(error instanceof PipelineError && error.code === 'LEASE_LOST')) this.#note(batch, false);
          throw error;
        }
      },
      [Symbol.asyncDispose]: () => Promise.resolve(),
    };
  }

  #note(batch: Batch, isWritten: boolean): void {
    for (const [at, event] of batch.events.entries()) {
      const id = eventId(event);
      if (!isWritten && this.#written.has(id)) continue;
      if (isWritten) this.#written.add(id);
      const rules = batch.findings.flatMap(({ index, rule }) => (index === at ? [rule] : []));
      if (rules.length === 0) this.byEvent.delete(id);
      else this.byEvent.set(id, rules.sort());
    }
  }
}
