/** Rounds of faults over Kafka from seeds: as ../e2e/fault-rounds.ts has them for the direct road, in one world. */
import type { StackAddress } from '../../examples/stack/stack.ts';
import type { Round } from '../e2e/fault-rounds.ts';
import { Random } from '../support/random.ts';
import { pause } from '../e2e/fault-world.ts';
import { killServer } from '../e2e/faults.ts';
import { isStopped } from '../e2e/service-process.ts';
import { KafkaFaultWorld } from './fault-world.ts';

interface KafkaFault {
  readonly name: string;
  /** Answers what showed that it had an effect; null where nothing did, and the round fails. */
  readonly strike: (world: KafkaFaultWorld, random: Random) => Promise<string | null>;
}

/** Quick ones first. After the last two Debezium writes some records again, so that less can be asked of the rounds that follow in their world: they come last. */
export const KAFKA_FAULTS: readonly KafkaFault[] = [
  {
    name: 'a worker is killed',
    strike: async (world, random) => {
      const worker = world.takeWorker(random);
      await worker.kill();
      world.startWorker();
      return worker.child.signalCode === 'SIGKILL' ? 'ended by SIGKILL' : null;
    },
  },
  {
    name: 'the target is killed',
    strike: ({ target }, random) => killServer(target, random),
  },
  {
    name: 'a worker ends, and another comes',
    strike: async (world, random) => {
      world.startWorker();
      return (await world.takeWorker(random).stop()) === 0 ? 'ended in order' : null;
    },
  },
  { name: 'the broker stands still', strike: (world, random) => pauseServer(world, 'broker', random) },
  { name: 'a worker stands still until others have its partitions', strike: standStill },
  { name: 'Connect stands still', strike: (world, random) => pauseServer(world, 'connect', random) },
  { name: 'Connect is killed', strike: (world, random) => killOfStack(world, 'connect', random) },
  { name: 'the broker is killed', strike: (world, random) => killOfStack(world, 'broker', random) },
];

/** What wakes up has lost its lanes, and must write nothing more of them. */
async function standStill(world: KafkaFaultWorld, random: Random): Promise<string | null> {
  const still = world.workers[random.below(world.workers.length)];
  still?.signal('SIGSTOP');
  const wakeAtMs = performance.now() + 7000 + random.below(2000);
  while (performance.now() < wakeAtMs) await pause(50);
  await world.progress(1, 'while a worker stands still');
  const isStill = still !== undefined && isStopped(still.pid);
  still?.signal('SIGCONT');
  await world.progress(50, 'with a worker that woke up');
  return isStill ? 'its process was stopped' : null;
}

async function pauseServer({ stack }: KafkaFaultWorld, server: 'broker' | 'connect', random: Random): Promise<string | null> {
  const pid = stack.pids[server];
  process.kill(pid, 'SIGSTOP');
  try {
    await pause(500 + random.below(3000));
    return isStopped(pid) ? 'its process was stopped' : null;
  } finally {
    process.kill(pid, 'SIGCONT');
  }
}

async function killOfStack(world: KafkaFaultWorld, server: 'broker' | 'connect', random: Random): Promise<string | null> {
  world.repeats = true;
  const before = world.stack.pids[server];
  await world.stack.kill(server);
  await pause(random.below(300));
  await world.stack.start(server);
  return world.stack.pids[server] === before ? null : 'started again';
}

export async function* kafkaFaultRounds(options: {
  readonly rounds: number;
  readonly seed: number;
  readonly only?: string;
  /** One that others use too, for faults that break none of its servers; left out, each world has its own. */
  readonly stack?: StackAddress;
  readonly signal?: AbortSignal;
}): AsyncGenerator<Round> {
  const kinds = KAFKA_FAULTS.filter(({ name }) => name.includes(options.only ?? ''));
  for (let first = 0; first < options.rounds; first += kinds.length) {
    await using world = await KafkaFaultWorld.start(options.stack ?? null);
    for (let round = first; round < Math.min(options.rounds, first + kinds.length); round++) {
      if (options.signal?.aborted === true) return;
      const fault = kinds[round % kinds.length];
      if (fault === undefined) return;
      const done = await oneRound(world, fault, round, options.seed + round);
      yield done;
      if (done.failure !== null) return;
    }
    await world.end();
  }
}

async function oneRound(world: KafkaFaultWorld, fault: KafkaFault, round: number, seed: number): Promise<Round> {
  const random = new Random(seed);
  const startedMs = performance.now();
  const [changes, held] = [world.changes, world.held];
  const stop = new AbortController();
  const writing = world.write(new Random(seed + 0x10000), stop.signal);
  const effects: string[] = [];
  let failure: string | null = null;
  try {
    try {
      await world.progress(1 + random.below(200), 'before the fault');
      const effect = await fault.strike(world, random);
      if (effect === null) throw new Error(`${fault.name}: no effect was seen`);
      effects.push(effect);
      await world.progress(1 + random.below(100), 'after the fault');
    } finally {
      stop.abort();
      await writing;
    }
    await world.judge();
  } catch (error) {
    failure = error instanceof Error ? error.message : String(error);
  }
  const seconds = (performance.now() - startedMs) / 1000;
  return {
    round,
    seed,
    faults: [fault.name],
    effects,
    idle: [],
    lacking: [],
    changes: world.changes - changes,
    held: world.held - held,
    seconds,
    failure,
  };
}
