/** The checks of a contract that need other rows, as the target is asked them: one list for each shape of the dataset. */
import { Verdict } from '../core/batch.ts';
import type { ChangeEvent, Dataset } from '../core/event.ts';
import type { KeyedRule, Question, WaitRule } from '../core/keyed.ts';
import { recompileContract, type Rule } from './compile.ts';
import type { Contract } from './contract.ts';
import { referenceOf } from './expectations/references.ts';
import { Outcome } from './outcome.ts';

const known = new WeakMap<Contract, WeakMap<Dataset, readonly KeyedRule[]>>();

/** Asked for every batch: compiled once. */
export function keyedRules(contract: Contract, dataset: Dataset): readonly KeyedRule[] {
  if (!contract.checks.some(({ expectation }) => expectation.asksTarget !== null)) return NONE;
  const ofContract = known.get(contract) ?? new WeakMap<Dataset, readonly KeyedRule[]>();
  known.set(contract, ofContract);
  const found = ofContract.get(dataset);
  if (found !== undefined) return found;
  const made = recompileContract(contract, dataset).rules.flatMap((rule) => keyedRule(rule, contract) ?? []);
  ofContract.set(dataset, made);
  return made;
}

const NONE: readonly KeyedRule[] = [];

function keyedRule(rule: Rule, { mode }: Contract): KeyedRule | null {
  if (rule.question === null) return null;
  const holds = mode !== 'shadow' && rule.verdict >= Verdict.Drop;
  return {
    id: rule.id,
    column: rule.column,
    question: withWait(rule.question, mode === 'shadow' || rule.onFail === 'halt' ? 0 : holds ? WAIT_MS : null),
    verdict: mode === 'shadow' ? Verdict.Tag : rule.verdict,
    severity: rule.severity,
    halts: rule.onFail === 'halt',
    meets: (event) => rule.ops.includes(event.op) && meets(rule, event),
    describe: (event) => rule.describe(event, Outcome.Fail),
  };
}

/** For so long rows that would be held wait for what they name, where the file does not say. */
const WAIT_MS = 60_000;

/** `usual`: where nothing is said; 0: whatever is said, for nothing is held there, or the lane stops. */
function withWait(question: Question, usual: number | null): Question {
  if (question.kind !== 'reference') return question;
  return { ...question, waitMs: usual === 0 ? 0 : (question.waitMs ?? usual ?? 0) };
}

/** The rules of references, for rows that wait. */
export function waitRules(contracts: Iterable<Contract>): readonly WaitRule[] {
  return [...contracts].flatMap(({ dataset, mode, checks }) =>
    mode === 'shadow'
      ? []
      : checks.flatMap((check) => {
          const reference = referenceOf(check);
          if (reference === null) return [];
          const holds = check.onFail === 'quarantine' || check.onFail === 'halt';
          return [{ dataset, rule: check.id, ...reference, holds, fails: holds || check.onFail === 'drop' }];
        }),
  );
}

/** A condition that cannot be read has failed the row already. */
function meets({ where }: Rule, event: ChangeEvent): boolean {
  try {
    return where === null || where(event);
  } catch {
    return false;
  }
}
