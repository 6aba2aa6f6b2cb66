/** Whether one table of a pipeline's target is its source, as `tidegate verify` proves it. */
import type { Clock } from '../../core/clock.ts';
import type { DatasetName } from '../../core/event.ts';
import { cutText } from '../../core/text.ts';
import type { DifferingRow, Proof, ProofAnswer } from '../../quality/timers/check.ts';
import { partsOf } from '../config.ts';
import type { Config, PipelineConfig } from '../config-schema.ts';
import type { RuleFile } from '../rule-files.ts';
import { type Difference, isExplained, REASONS } from '../verify/explain.ts';
import { NothingToVerify, waitMsOf } from '../verify/passage.ts';
import { verifyPipeline } from '../verify/verify.ts';

export interface ProveParts {
  readonly config: Config;
  readonly name: string;
  readonly pipeline: PipelineConfig;
  readonly rules: ReadonlyMap<DatasetName, RuleFile>;
  readonly clock: Clock;
}

/** The walk ends where so many rows differ without an explanation. */
const DIFFERENCES_MAX = 100;

/** Rows that are named. */
const EXAMPLES_MAX = 5;
const KEY_CHARACTERS = 100;

/** Throws where nothing can be compared. */
export async function prove({ rate }: Proof, dataset: DatasetName, parts: ProveParts, signal: AbortSignal): Promise<ProofAnswer> {
  const { through, laneStands, tables } = await verifyPipeline({
    ...parts,
    datasets: [dataset],
    differencesMax: DIFFERENCES_MAX,
    waitMs: waitMsOf(partsOf(parts.config, parts.pipeline).source),
    rowsPerSecond: rate,
    repair: false,
    onProgress: () => {},
    signal,
  });
  const [table] = tables;
  if (table === undefined) throw new NothingToVerify(`${dataset} is not followed`, '`tidegate status` tells which tables are.');
  const { state, equal, rows, counts, differences, lacking } = table;
  const unexplained = REASONS.filter((reason) => !isExplained(reason) && reason !== 'undecided');
  return {
    through,
    state,
    isEqual: equal,
    laneStands,
    rows,
    differing: Object.fromEntries(unexplained.map((reason) => [reason, counts[reason]])),
    examples: differences
      .filter(({ reason }) => unexplained.includes(reason))
      .sort((a, b) => (a.key < b.key ? -1 : 1))
      .slice(0, EXAMPLES_MAX)
      .map(named),
    undecided: counts.undecided,
    lacking,
  };
}

const named = ({ key, reason, columns }: Difference): DifferingRow => ({
  key: cutText(key, KEY_CHARACTERS),
  reason,
  columns,
});

/** Why there is no answer. */
export const whyUnproved = (error: unknown): string =>
  error instanceof NothingToVerify ? error.message : 'source and target could not be compared';
