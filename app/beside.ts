/** What rules name that hold a window against the same window of another dataset: one of the same pipeline, whose rows have times that can be compared. */
import type { DatasetName } from '../core/event.ts';
import type { Problem } from '../core/problems.ts';
import type { Contract } from '../quality/contract.ts';
import type { Beside, LiveCheck } from '../quality/live/check.ts';
import { nearest } from './config-read.ts';

export interface BesideWhat {
  readonly pipeline: string;
  /** The datasets that the pipeline is known to have. */
  readonly datasets: readonly DatasetName[];
  readonly mayBring: (dataset: DatasetName) => boolean;
  /** Of the rule files that are in force together. */
  readonly contractOf: (dataset: DatasetName) => Contract | undefined;
}

type Wrong = Pick<Problem, 'message' | 'fix'>;

export function strangeBeside(contract: Contract, what: BesideWhat): Problem[] {
  return contract.live.checks.flatMap((check) => {
    const wrong = check.beside === null ? null : wrongWith(check, check.beside, contract, what);
    return wrong === null ? [] : [{ severity: 'error', path: contract.place(check.keys), ...wrong } as const];
  });
}

function wrongWith({ type }: LiveCheck, { other }: Beside, contract: Contract, what: BesideWhat): Wrong | null {
  if (!what.mayBring(other)) {
    const near = nearest(other, what.datasets);
    return {
      message: `${type}: ${other} is none of the tables of the pipeline ${what.pipeline}, and what others write is counted elsewhere`,
      fix: near === null ? `Name one of ${what.datasets.join(', ')}, or add its table to the source.` : `Did you mean ${near}?`,
    };
  }
  const beside = what.contractOf(other);
  if (beside === undefined)
    return {
      message: `${type}: ${other} has no rule file, and nothing says when its rows happened`,
      fix: `Write one, be it without a check: apiVersion: quality/v1, kind: DatasetRules, dataset: ${other}.`,
    };
  const [own, theirs] = [contract.live.eventTime, beside.live.eventTime];
  if (own.kind === theirs.kind) return null;
  const words = (kind: typeof own.kind) => (kind === 'commit' ? 'when they were committed' : 'the time in a column of theirs');
  return {
    message: `${type}: rows of this dataset are in windows by ${words(own.kind)}, and those of ${other} by ${words(theirs.kind)}: one window would not have the same rows`,
    fix: `Write the same source: { event_time: … } into both files, or leave it out of both.`,
  };
}
