/**
 * Rounds of faults from seeds. A round writes to the source, has one fault strike, or two at once, and waits until the lane moves again, once or in several
 * steps; then it stops writing and holds the target against the oracle. Round after round takes the next seed: it says which faults, when, and what is written; only the machine's
 * own timing is not in it. A fault that had no effect strikes again; where it never has one, the round fails. A world serves some rounds and is then ended
 * in order; a failed round ends the run.
 */
import { Random } from '../support/random.ts';
import { type Fault, FAULTS } from './faults.ts';
import { FaultWorld, pause } from './fault-world.ts';

export interface Round {
  readonly round: number;
  readonly seed: number;
  /** What struck, in order; with a + between what struck at once. */
  readonly faults: readonly string[];
  /** What showed that each of them had an effect, in the same way. */
  readonly effects: readonly string[];
  /** Those that struck without an effect, once for each time, and struck again. */
  readonly idle: readonly string[];
  /** Those that cannot be had here, with the reason. */
  readonly lacking: readonly string[];
  /** Changes at the source in this round, and those of them that are held. */
  readonly changes: number;
  readonly held: number;
  readonly seconds: number;
  /** What differed, or did not go on; null where all is as it should be. */
  readonly failure: string | null;
}

export interface RoundsOptions {
  readonly rounds: number;
  readonly seed: number;
  /** How many times faults strike before the target is looked at; once if left out. */
  readonly steps?: number;
  /** Always one of the target's faults and another at once; if left out, either or both. */
  readonly both?: boolean;
  /** Only faults whose name contains this. */
  readonly only?: string;
  readonly signal?: AbortSignal;
}

/** A world's quarantine grows with its rounds, and keys that wait are no use for more. */
const ROUNDS_A_WORLD = 12;
/** A fault that shows no effect in so many strikes has none: what it does, or how that is looked for, is wrong. */
const STRIKES_MAX = 4;

export async function* faultRounds(options: RoundsOptions): AsyncGenerator<Round> {
  for (let first = 0; first < options.rounds; first += ROUNDS_A_WORLD) {
    await using world = await FaultWorld.start();
    for (let round = first; round < Math.min(options.rounds, first + ROUNDS_A_WORLD); round++) {
      if (options.signal?.aborted === true) return;
      const done = await oneRound(world, round, options);
      yield done;
      if (done.failure !== null) return;
    }
    await world.end();
  }
}

/** Of the target's faults one after the other, and of all others: either, or both at once. */
function choose(nth: number, random: Random, { only = '', both = false }: RoundsOptions): readonly Fault[] {
  const kinds = FAULTS.filter(({ name }) => name.includes(only));
  const ofTarget = kinds.filter(({ strikes }) => strikes === 'target');
  const others = kinds.filter(({ strikes }) => strikes !== 'target');
  const pair = [ofTarget[nth % ofTarget.length], others[nth % others.length]].filter((kind) => kind !== undefined);
  const dice = random.next();
  if (pair.length < 2 || both || dice < 1 / 3) return pair;
  return pair.slice(dice < 2 / 3 ? 0 : 1).slice(0, 1);
}

async function oneRound(world: FaultWorld, round: number, options: RoundsOptions): Promise<Round> {
  const seed = options.seed + round;
  const random = new Random(seed);
  const { steps = 1 } = options;
  const struck: string[] = [];
  const marks: Marks = { effects: [], idle: [], lacking: [] };
  const startedMs = performance.now();
  const [changes, held] = [world.changes, world.held];
  let failure: string | null = null;
  try {
    await underWrites(world, seed, async () => {
      for (let step = 0; step < steps; step++) {
        await world.progress(1 + random.below(300), 'before the fault');
        const faults = choose((seed - 1) * steps + step, random, options);
        struck.push(faults.map(({ name }) => name).join(' + '));
        const seeds = faults.map(() => random.below(2 ** 31));
        const effects = await Promise.all(faults.map((fault, i) => strike(world, fault, new Random(seeds[i] ?? 0), marks)));
        marks.effects.push(effects.filter((effect) => effect !== null).join(' + '));
      }
      await world.progress(1 + random.below(100), 'after the fault');
    });
    await world.judge();
  } catch (error) {
    failure = error instanceof Error ? error.message : String(error);
  }
  const seconds = (performance.now() - startedMs) / 1000;
  return { round, seed, faults: struck, ...marks, changes: world.changes - changes, held: world.held - held, seconds, failure };
}

interface Marks {
  readonly effects: string[];
  readonly idle: string[];
  readonly lacking: string[];
}

/** Answers the effect; null where the fault cannot be had here. */
async function strike(world: FaultWorld, fault: Fault, random: Random, marks: Marks): Promise<string | null> {
  const lacks = fault.lacks?.(world) ?? null;
  if (lacks !== null) {
    marks.lacking.push(`${fault.name}: ${lacks}`);
    return null;
  }
  for (let strikes = 1; ; strikes++) {
    await pause(random.below(30)); // The moment within a batch.
    const effect = await fault.strike(world, random);
    if (effect !== null) return effect;
    marks.idle.push(fault.name);
    if (strikes === STRIKES_MAX) throw new Error(`${fault.name}: no effect was seen of ${strikes} strikes`);
    await world.progress(1, 'to be struck again');
  }
}

async function underWrites(world: FaultWorld, seed: number, work: () => Promise<void>): Promise<void> {
  const stop = new AbortController();
  const writing = world.write(new Random(seed + 0x10000), stop.signal);
  try {
    await work();
  } finally {
    stop.abort();
    await writing;
  }
}
