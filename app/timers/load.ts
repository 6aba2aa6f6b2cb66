/** What keeps rules that databases are asked by from being used: no database, and what it says of a query without running it. */
import type { DatasetName } from '../../core/event.ts';
import type { Problem } from '../../core/problems.ts';
import type { Contract } from '../../quality/contract.ts';
import type { TimerCheck } from '../../quality/live/check.ts';
import type { Config, PipelineConfig } from '../config-schema.ts';
import { askable, queryProblem } from './query.ts';

/** How long a database may take to say what it thinks of a query. */
const ASK_MS = 5000;
/** There is no such table, or schema, yet: at the target it may be made with the first row. */
const NOT_THERE: ReadonlySet<string> = new Set(['42P01', '3F000']);

/** Rules that nobody can be asked by. */
export function unasked(contract: Contract, config: Config, pipeline: PipelineConfig): Problem[] {
  return contract.live.timers.flatMap(({ timer: { question }, type, parameterKeys }) => {
    if (askable(config, pipeline, question.side) !== null) return [];
    const [message, fix] =
      question.side === 'target'
        ? [
            'the pipeline writes topics, and no database that could be asked',
            'Write on: source, or judge it in a pipeline that writes to PostgreSQL.',
          ]
        : [
            `the source ${pipeline.source} reads topics, and no database behind them is known`,
            `Write sources.${pipeline.source}.database, or on: target.`,
          ];
    return [{ severity: 'error', path: contract.place(parameterKeys), message: `${type}: ${message}`, fix } as const];
  });
}

/** What the databases say. One that cannot be asked now says nothing: that is told elsewhere, and the rule is not judged meanwhile. */
export async function timerProblems(
  contract: Contract,
  config: Config,
  pipeline: PipelineConfig,
  signal?: AbortSignal,
): Promise<readonly Problem[]> {
  const found = await Promise.all(contract.live.timers.map((check) => problemOf(check, contract, config, pipeline, signal)));
  return found.filter((problem) => problem !== null);
}

async function problemOf(
  { timer: { question }, type, parameterKeys }: TimerCheck,
  contract: Contract,
  config: Config,
  pipeline: PipelineConfig,
  signal: AbortSignal | undefined,
): Promise<Problem | null> {
  const of = askable(config, pipeline, question.side);
  if (of === null) return null;
  const ending = AbortSignal.any([AbortSignal.timeout(ASK_MS), ...(signal === undefined ? [] : [signal])]);
  const dataset: DatasetName = contract.dataset;
  const wrong = await queryProblem({ ...question, timeoutMs: ASK_MS }, dataset, of, ending).catch(() => null); // As above.
  if (wrong === null) return null;
  const isLater = question.side === 'target' && wrong.code !== null && NOT_THERE.has(wrong.code);
  return {
    severity: isLater ? 'warning' : 'error',
    path: contract.place(parameterKeys),
    message: `${type}: ${wrong.message}`,
    fix: isLater ? 'It is asked again once the rule is due; nothing is said until then.' : 'Correct the query.',
  };
}
