/** `npm run test:faults`: rounds of faults, as many as one likes; the first that fails is named with the command that replays it. */
import { parseArgs } from 'node:util';
import { KAFKA_FAULTS, kafkaFaultRounds } from '../kafka/fault-rounds.ts';
import { FAULTS } from './faults.ts';
import { faultRounds, type Round } from './fault-rounds.ts';

const HELP = `npm run test:faults -- [--road direct|kafka] [--rounds N] [--seed S] [--steps N] [--both] [--only TEXT] [--json]

  --road R     direct: one instance on a slot; kafka: two workers on Debezium's topics (a JDK and Maven are needed). direct if left out.
  --rounds N   How many rounds; 100 if left out.
  --seed S     Of the first round, 1 if left out; each round takes the next.
  --steps N    Of the direct road: how many times faults strike in a round before the target is looked at; 1 if left out.
  --both       Of the direct road: always a fault of the target and another at once; if left out, either or both.
  --only TEXT  Only faults whose name contains it, of:
${[...FAULTS, ...KAFKA_FAULTS.map(({ name }) => ({ name: `${name} (kafka)` }))].map(({ name }) => `                 ${name}`).join('\n')}
  --json       One JSON document on stdout; progress goes to stderr.

Exit code 1 where a round fails: the command that replays it is printed. The faults and what is written come from the seed, the timing does not.
`;

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      road: { type: 'string', default: 'direct' },
      rounds: { type: 'string', default: '100' },
      seed: { type: 'string', default: '1' },
      steps: { type: 'string', default: '1' },
      both: { type: 'boolean', default: false },
      only: { type: 'string', default: '' },
      json: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  const { both, only, json, road } = values;
  const [rounds, seed, steps] = [Number(values.rounds), Number(values.seed), Number(values.steps)];
  const isUsable = [rounds, seed, steps].every((number) => Number.isSafeInteger(number) && number > 0);
  const kinds = road === 'kafka' ? KAFKA_FAULTS : road === 'direct' ? FAULTS : [];
  if (values.help || !isUsable || !kinds.some(({ name }) => name.includes(only))) {
    (values.help ? process.stdout : process.stderr).write(HELP);
    return values.help ? 0 : 2;
  }
  const stop = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => stop.abort()); // Stays: whoever starts servers looks whether somebody handles it.
  const say = (text: string): void => void (json ? process.stderr : process.stdout).write(`${text}\n`);
  const done: Round[] = [];
  const { signal } = stop;
  const running =
    road === 'kafka' ? kafkaFaultRounds({ rounds, seed, only, signal }) : faultRounds({ rounds, seed, steps, both, only, signal });
  for await (const round of running) {
    done.push(round);
    say(line(round));
  }
  const failed = done.find(({ failure }) => failure !== null);
  // Over Kafka the fault of a round goes by its number: it is replayed by its name.
  const replay =
    failed === undefined
      ? null
      : road === 'kafka'
        ? `npm run test:faults -- --road kafka --rounds 1 --seed ${failed.seed} --only '${failed.faults.join()}'`
        : replayOf(failed.seed, { steps, both, only });
  if (json) process.stdout.write(`${JSON.stringify({ seed, asked: rounds, replay, rounds: done }, null, 2)}\n`);
  say(replay === null ? summary(done) : `Round ${failed?.round} failed. To replay it: ${replay}`);
  if (stop.signal.aborted) return 130;
  return replay === null ? 0 : 1;
}

function replayOf(seed: number, { steps, both, only }: { readonly steps: number; readonly both: boolean; readonly only: string }): string {
  const flags = [steps === 1 ? '' : ` --steps ${steps}`, both ? ' --both' : '', only === '' ? '' : ` --only '${only}'`];
  return `npm run test:faults -- --rounds 1 --seed ${seed}${flags.join('')}`;
}

function line({ round, seed, faults, effects, idle, lacking, changes, held, seconds, failure }: Round): string {
  const marks = [
    ...(effects.length === 0 ? [] : [`seen: ${effects.join(', ')}`]),
    ...(idle.length === 0 ? [] : [`struck again, for want of an effect: ${idle.join(', ')}`]),
    ...(lacking.length === 0 ? [] : [`not to be had here: ${lacking.join(', ')}`]),
  ];
  const what = `${faults.join(', ')} (${marks.join('; ')})`;
  const outcome = failure === null ? 'ok' : `FAILED\n${failure}`;
  return `round ${round}, seed ${seed}: ${what}; ${changes} changes, ${held} held, ${seconds.toFixed(1)} s: ${outcome}`;
}

function summary(rounds: readonly Round[]): string {
  const changes = rounds.reduce((sum, round) => sum + round.changes, 0);
  const lacking = rounds.flatMap((round) => round.lacking.map((text) => text.replace(/:.*/, '')));
  const kinds = new Set(rounds.flatMap(({ faults }) => faults.flatMap((struck) => struck.split(' + '))));
  for (const kind of lacking) kinds.delete(kind);
  return `${rounds.length} rounds, ${kinds.size} kinds of faults with an effect, ${changes} changes: nothing lost, doubled or out of order; ledger closed, verified.`;
}

process.exitCode = await main();
