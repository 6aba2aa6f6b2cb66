/** Contract + dataset become check functions over column indices. */
import type { Finding, Severity } from '../core/batch.ts';
import { Verdict } from '../core/batch.ts';
import { compileExpression } from '../core/expression.ts';
import { type ChangeEvent, type Dataset, type EncodedType, type Operation, type Row, UNCHANGED, type Value } from '../core/event.ts';
import type { Question } from '../core/keyed.ts';
import type { Problem } from '../core/problems.ts';
import { cutText } from '../core/text.ts';
import { bindCheck } from './bind.ts';
import type { Check, Contract, OnFail } from './contract.ts';
import { allPass, type AllPass } from './encoded/all.ts';
import type { EncodedTest } from './encoded/cells.ts';
import type { Bound, Test } from './expectation.ts';
import { liveProblems } from './live/binding.ts';
import { Outcome } from './outcome.ts';
import { type Drift, schemaDrift } from './schema/drift.ts';

/** A rule that is ready to judge events of one dataset. */
export interface Rule {
  readonly id: string;
  /** The rule's place in its contract: where its counters are. */
  readonly index: number;
  readonly column: string | null;
  readonly ops: readonly Operation[];
  readonly onFail: OnFail;
  readonly verdict: Finding['verdict'];
  readonly severity: Severity;
  /** Judges the event by its values. `where` not being true is a pass. May throw, which means that the row cannot be read. */
  readonly test: (event: ChangeEvent) => Outcome;
  /** Judges the encoded row of an event, as `test` does, where its cells need not be decoded for it. Null where that can never be. */
  readonly encoded: ((types: readonly EncodedType[]) => EncodedTest | null) | null;
  /** What the target is asked about a row; null where the row says it all. */
  readonly question: Question | null;
  readonly where: ((event: ChangeEvent) => boolean) | null;
  /** Says of an event that did not pass why, without values unless the contract allows them. */
  readonly describe: (event: ChangeEvent, outcome: Outcome) => string;
}

export interface CompiledChecks {
  readonly contract: Contract;
  readonly dataset: Dataset;
  readonly rules: readonly Rule[];
  /** The rules that each operation meets. */
  readonly byOperation: Readonly<Record<Operation, readonly Rule[]>>;
  /** The encoded tests of the same rules, in the same order, for rows of these types. */
  readonly encoded: (types: readonly EncodedType[]) => EncodedRules;
  /** Differences between the dataset and the contract's schema section that its policies do not accept. */
  readonly drift: readonly Drift[];
  readonly warnings: readonly Problem[];
}

/** The rules that an operation meets, as tests of encoded rows. */
export interface EncodedChecks {
  /** In the order of the rules; null for those that ask for values. */
  readonly tests: readonly (EncodedTest | null)[];
  /** Most rows pass all of them. Null where some ask for values. */
  readonly allPass: AllPass | null;
}

export type EncodedRules = Readonly<Record<Operation, EncodedChecks>>;

export interface CompileOptions {
  /**
   * What the source sends of old rows, where it is known: `full` (REPLICA IDENTITY FULL) or only the `key`. With `key`, rules that
   * compare with the old row are warned about.
   */
  readonly oldRows?: 'full' | 'key';
}

/** Every rule of the contract over this dataset, or everything that keeps a rule from being used. Compile once for each Dataset object. */
export function compileContract(contract: Contract, dataset: Dataset, options: CompileOptions = {}): CompiledChecks | Problem[] {
  const problems: Problem[] = [];
  const rules = contract.checks.map((check, index) => compileCheck(contract, check, index, dataset, options, problems));
  problems.push(...liveProblems(contract, dataset, options.oldRows));
  if (problems.some(({ severity }) => severity === 'error')) return problems;
  const drift = driftOf(contract, dataset);
  return checksOf(
    contract,
    dataset,
    rules.filter((rule) => rule !== null),
    [...problems, ...driftProblems(contract, drift)],
    drift,
  );
}

/**
 * The same for a dataset that changed while the service runs: a rule that can no longer be used fails every row as unreadable, so that
 * nothing passes unjudged. The schema section's policies say what else happens.
 */
export function recompileContract(contract: Contract, dataset: Dataset): CompiledChecks {
  const warnings: Problem[] = [];
  const rules = contract.checks.map((check, index) => {
    const problems: Problem[] = [];
    const rule = compileCheck(contract, check, index, dataset, {}, problems);
    warnings.push(...problems);
    return rule ?? unusable(contract, check, index, problems);
  });
  return checksOf(contract, dataset, rules, warnings, driftOf(contract, dataset));
}

function driftOf(contract: Contract, dataset: Dataset): readonly Drift[] {
  return contract.schema === null
    ? []
    : schemaDrift(contract.schema, dataset).filter(({ policy }) => policy !== 'accept' && policy !== 'ignore');
}

/** The drift of a dataset as problems: what `tidegate check` says of a table before anything runs. */
export function driftProblems(contract: Contract, drift: readonly Drift[]): Problem[] {
  return drift.map(({ kind, policy, message }) => ({
    severity: policy === 'halt' ? 'error' : 'warning',
    path: contract.place(['schema', 'columns']),
    message: `${message} (schema.${kind}: ${policy})`,
    fix: `Correct schema.columns, or set schema.evolution.${kind} to accept.`,
  }));
}

function checksOf(
  contract: Contract,
  dataset: Dataset,
  rules: readonly Rule[],
  warnings: readonly Problem[],
  drift: readonly Drift[],
): CompiledChecks {
  const byOperation = eachOperation((operation) => rules.filter((rule) => rule.ops.includes(operation)));
  return { contract, dataset, rules, byOperation, encoded: encodedBy(rules, byOperation), drift, warnings };
}

function eachOperation<T>(of: (operation: Operation) => T): Readonly<Record<Operation, T>> {
  return { insert: of('insert'), read: of('read'), update: of('update'), delete: of('delete'), truncate: of('truncate') };
}

function encodedBy(rules: readonly Rule[], byOperation: CompiledChecks['byOperation']): CompiledChecks['encoded'] {
  const known = new WeakMap<readonly EncodedType[], EncodedRules>();
  return (types) => {
    const found = known.get(types);
    if (found !== undefined) return found;
    const tests = new Map(rules.map((rule) => [rule, rule.encoded?.(types) ?? null]));
    const made = eachOperation((operation) => encodedChecks(byOperation[operation].map((rule) => tests.get(rule) ?? null)));
    known.set(types, made);
    return made;
  };
}

function encodedChecks(tests: readonly (EncodedTest | null)[]): EncodedChecks {
  return { tests, allPass: allPass(tests) };
}

function compileCheck(
  contract: Contract,
  check: Check,
  index: number,
  dataset: Dataset,
  options: CompileOptions,
  problems: Problem[],
): Rule | null {
  const bound = bindCheck(check, { dataset, place: contract.place, schemaFiles: contract.schemaFiles, problems });
  const where = check.where === null ? null : compileWhere(contract, check, dataset, problems);
  if (bound === null || where === 'refused') return null;
  if (check.expectation.needsBefore && options.oldRows === 'key' && bound.columns.some((column) => !dataset.key.includes(column))) {
    problems.push({
      severity: 'warning',
      path: contract.place(check.keys),
      message: `${check.id} compares with old values, and the source sends only old keys of ${dataset.name}`,
      fix: `Run \`alter table … replica identity full\` on the source; until then the check ${check.noBefore === 'fail' ? 'fails every update' : 'passes every update'}.`,
    });
  }
  return {
    ...common(contract, check, index),
    test: judged(check, bound, where),
    question: bound.question ?? null,
    where,
    encoded: bound.encoded === undefined ? null : where === null ? bound.encoded : limited(bound.encoded, where),
    describe: (event, outcome) => describe(check, bound, dataset, event, outcome),
  };
}

function common(contract: Contract, check: Check, index: number): Omit<Rule, 'test' | 'encoded' | 'describe' | 'question' | 'where'> {
  const shadow = contract.mode === 'shadow';
  return {
    id: check.id,
    index,
    column: check.column,
    ops: check.ops,
    // In shadow mode a rule is counted and never acts.
    onFail: shadow ? 'tag' : check.onFail,
    verdict: shadow ? Verdict.Tag : VERDICTS[check.onFail],
    severity: check.severity,
  };
}

/** halt is thrown by the stage; should its finding be seen, then as a held one. */
const VERDICTS: Readonly<Record<OnFail, Finding['verdict']>> = {
  tag: Verdict.Tag,
  warn: Verdict.Warn,
  drop: Verdict.Drop,
  quarantine: Verdict.Quarantine,
  halt: Verdict.Quarantine,
};

type Where = (event: ChangeEvent) => boolean;

function compileWhere(contract: Contract, check: Check, dataset: Dataset, problems: Problem[]): Where | null | 'refused' {
  const path = contract.place([...check.keys, 'where']);
  const compiled = compileExpression(check.where ?? '', { dataset, path, want: 'bool' });
  if (compiled.kind === 'refused') {
    problems.push(...compiled.problems);
    return 'refused';
  }
  const { evaluate } = compiled;
  if (compiled.constant) {
    problems.push({
      severity: 'error',
      path,
      message: 'the condition is the same for every row',
      fix: 'Write a condition on a column, or remove where.',
    });
    return 'refused';
  }
  return (event) => evaluate(event) === true;
}

function judged(check: Check, { test }: Bound, where: Where | null): Rule['test'] {
  const byImage =
    check.expectation.name === 'expr' || check.ops.includes('truncate') ? (event: ChangeEvent) => test(NO_ROW, event) : imageTest(test);
  if (where === null) return byImage;
  return (event) => (where(event) ? byImage(event) : Outcome.Pass);
}

function limited(encoded: NonNullable<Rule['encoded']>, where: Where): NonNullable<Rule['encoded']> {
  return (types) => {
    const test = encoded(types);
    if (test === null) return null;
    return (row, event) => {
      try {
        return where(event) ? test(row, event) : Outcome.Pass;
      } catch {
        return Outcome.Unreadable;
      }
    };
  };
}

function imageTest(test: Test): Rule['test'] {
  return (event) => {
    const row = imageOf(event);
    // A delete whose old row was not sent, or a truncate: nothing to judge.
    return row === null ? Outcome.Pass : test(row, event);
  };
}

/** The row that checks judge: the new one, and of a delete the old one. */
export function imageOf(event: ChangeEvent): Row | null {
  return event.after ?? event.before;
}

const NO_ROW: Row = { value: () => UNCHANGED, encoded: null };

function unusable(contract: Contract, check: Check, index: number, problems: readonly Problem[]): Rule {
  const reason = problems.find(({ severity }) => severity === 'error')?.message ?? 'the table changed';
  return {
    ...common(contract, check, index),
    test: () => Outcome.Unreadable,
    encoded: null,
    question: null,
    where: null,
    describe: () => `cannot be read: ${reason}`,
  };
}

function describe(check: Check, bound: Bound, dataset: Dataset, event: ChangeEvent, outcome: Outcome): string {
  const subject = check.column === null || check.expectation.name === 'expr' ? '' : `${check.column} `;
  const said = outcome === Outcome.Unreadable ? `${subject}cannot be read` : (check.message ?? `${subject}${bound.reason}`);
  if (!check.allowValues) return said;
  const row = event.after ?? event.before;
  const found = bound.columns.map((column) => `${dataset.columns[column]?.name} = ${row === null ? '' : shown(row, column)}`);
  return found.length === 0 ? said : `${said} (${found.join(', ')})`;
}

const SHOWN_MAX = 100;

function shown(row: Row, column: number): string {
  let value: Value;
  try {
    value = row.value(column);
  } catch {
    return '(cannot be decoded)';
  }
  if (value === UNCHANGED) return '(not sent)';
  if (value instanceof Uint8Array) return `(${value.length} bytes)`;
  const text = typeof value === 'string' ? JSON.stringify(value) : String(value);
  return cutText(text, SHOWN_MAX);
}
