/** The checks of a contract that need other rows, as the target is asked them: one list for each shape of the dataset. */
import { Verdict } from '../core/batch.ts';
import type { ChangeEvent, Dataset, Row } from '../core/event.ts';
import type { KeyedRule } from '../core/keyed.ts';
import { recompileContract, type Rule } from './compile.ts';
import type { Contract } from './contract.ts';
import type { Bound, Test } from './expectation.ts';
import { Outcome } from './outcome.ts';

/** By itself a row passes such a check, as long as its cells can be read. */
export function askedTests(columns: readonly number[]): Pick<Bound, 'test'> {
  const test: Test = (row: Row) => {
    for (const column of columns) row.value(column);
    return Outcome.Pass;
  };
  return { test };
}

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
  const { question } = rule;
  if (question === null) return null;
  return {
    id: rule.id,
    column: rule.column,
    question,
    verdict: mode === 'shadow' ? Verdict.Tag : rule.verdict,
    severity: rule.severity,
    halts: rule.onFail === 'halt',
    meets: (event) => rule.ops.includes(event.op) && meets(rule, event),
    describe: (event) => rule.describe(event, Outcome.Fail),
  };
}

/** A condition that cannot be read has failed the row already. */
function meets({ where }: Rule, event: ChangeEvent): boolean {
  try {
    return where === null || where(event);
  } catch {
    return false;
  }
}
