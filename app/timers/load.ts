/** What keeps rules that databases are asked by from being used: no database, and what it says of a query without running it. */
import type { DatasetName } from '../../core/event.ts';
import type { Problem } from '../../core/problems.ts';
import type { Contract } from '../../quality/contract.ts';
import type { TimerCheck } from '../../quality/live/check.ts';
import type { Side } from '../../quality/timers/check.ts';
import type { Config, PipelineConfig } from '../config-schema.ts';
import { nearest } from '../config-read.ts';
import { type Askable, askable, queryProblems, type Wrong } from './query.ts';
import { registryOf } from './versions.ts';

/** How long a database may take to say what it thinks of a query. */
const ASK_MS = 5000;
/** There is no such table, or schema, yet: at the target it may be made with the first row. */
const NOT_THERE: ReadonlySet<string> = new Set(['42P01', '3F000']);

export interface TimerSurroundings {
  readonly config: Config;
  readonly name: string;
  readonly pipeline: PipelineConfig;
  /** The datasets that the pipeline is known to have. */
  readonly datasets: readonly DatasetName[];
  readonly mayBring: (dataset: DatasetName) => boolean;
}

/** Rules that nobody can be asked by. */
export function unasked(contract: Contract, { config, name, pipeline, datasets, mayBring }: TimerSurroundings): Problem[] {
  return contract.live.timers.flatMap(({ timer: { question }, type, parameterKeys }) => {
    const error = (message: string, fix: string, ...at: readonly string[]): Problem[] => [
      { severity: 'error', path: contract.place([...parameterKeys, ...at]), message: `${type}: ${message}`, fix },
    ];
    if (question.kind === 'versions') {
      const fix = `Write sources.${pipeline.source}.registry, or judge it in a pipeline that reads or writes topics with schemas of a registry.`;
      return registryOf({ config, name, pipeline }) === null ? error('neither the source nor the target has a schema registry', fix) : [];
    }
    const sides = question.kind === 'proof' ? (['target', 'source'] as const) : [question.side];
    const missing = sides.find((side) => askable(config, pipeline, side) === null);
    if (missing === 'target')
      return error('the pipeline writes topics, and no database that could be asked', 'Judge it in a pipeline that writes to PostgreSQL.');
    if (missing === 'source')
      return error(
        `the source ${pipeline.source} reads topics, and no database behind them is known`,
        `Write sources.${pipeline.source}.database.`,
      );
    if (question.kind !== 'comparison') return [];
    const { other } = question;
    if (other === contract.dataset)
      return error('it is the dataset itself: there is nothing to differ', 'Name another one, or source.', 'with');
    if (mayBring(other as DatasetName)) return []; // As written: compared with names alone.
    const near = nearest(other, [...datasets, 'source']);
    return error(
      `${other} is none of the tables of the pipeline ${name}`,
      near === null ? `Write source, or one of ${datasets.join(', ')}.` : `Did you mean ${near}?`,
      'with',
    );
  });
}

/** What the databases say. One that cannot be asked now says nothing: that is told elsewhere, and the rule is not judged meanwhile. */
export async function timerProblems(
  contracts: readonly Contract[],
  config: Config,
  pipeline: PipelineConfig,
  signal?: AbortSignal,
): Promise<readonly TimerProblem[]> {
  const sides: readonly Side[] = ['target', 'source'];
  const found = await Promise.all(sides.map((side) => problemsAt(side, contracts, askable(config, pipeline, side), signal)));
  return found.flat();
}

export interface TimerProblem {
  readonly dataset: DatasetName;
  readonly problem: Problem;
}

async function problemsAt(
  side: Side,
  contracts: readonly Contract[],
  of: Askable | null,
  signal: AbortSignal | undefined,
): Promise<readonly TimerProblem[]> {
  const asked = contracts.flatMap((contract) =>
    contract.live.timers.flatMap((check) => {
      const { question } = check.timer;
      return question.kind === 'proof' || question.kind === 'versions' || question.side !== side
        ? []
        : [{ contract, check, question, dataset: contract.dataset }];
    }),
  );
  if (of === null || asked.length === 0) return [];
  const ending = AbortSignal.any([AbortSignal.timeout(ASK_MS), ...(signal === undefined ? [] : [signal])]);
  const wrongs = await queryProblems(asked, ASK_MS, of, ending);
  return asked.flatMap(({ contract, check, dataset }, i) => {
    const wrong = wrongs[i] ?? null;
    return wrong === null ? [] : [{ dataset, problem: problemOf(check, contract, side, wrong) }];
  });
}

function problemOf({ type, parameterKeys }: TimerCheck, contract: Contract, side: Side, { message, code }: Wrong): Problem {
  const isLater = side === 'target' && code !== null && NOT_THERE.has(code);
  return {
    severity: isLater ? 'warning' : 'error',
    path: contract.place(parameterKeys),
    message: `${type}: ${message}`,
    fix: isLater ? 'It is asked again once the rule is due; nothing is said until then.' : 'Correct the query.',
  };
}
