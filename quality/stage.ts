/** The quality stage: judges every event of a batch by its dataset's contract, in place. */
import { type Batch, type EventRun, Verdict } from '../core/batch.ts';
import type { Stage } from '../core/contracts.ts';
import { PipelineError } from '../core/errors.ts';
import type { ChangeEvent, Dataset, DatasetName, EncodedRow, EncodedType } from '../core/event.ts';
import { type CompiledChecks, type EncodedChecks, type EncodedRules, imageOf, recompileContract, type Rule } from './compile.ts';
import type { Contract } from './contract.ts';
import { Undecided } from './encoded/cells.ts';
import { Outcome } from './outcome.ts';
import { outcomeOf } from './read-event.ts';
import type { Drift } from './schema/drift.ts';

/** How often a rule judged and how often it did not pass, since the contract was taken up. */
export interface RuleStats {
  readonly dataset: DatasetName;
  readonly rule: string;
  readonly column: string | null;
  readonly evaluated: number;
  readonly failed: number;
  /** Of the failed: rows that the rule could not read. */
  readonly unreadable: number;
}

export interface QualityOptions {
  /** Events judged before other work of the process gets its turn. Default 2000. */
  readonly sliceEvents?: number;
}

export interface QualityStage extends Stage {
  readonly name: 'quality';
  /** Takes up a contract, new or changed, from the next batch on. Its rules' counters start again. */
  replaceContract(contract: Contract): void;
  /** Events of the dataset pass unjudged from the next batch on. */
  removeContract(dataset: DatasetName): void;
  /** The counters of every rule, in the order of the contracts. */
  stats(): readonly RuleStats[];
}

export function qualityStage(contracts: ReadonlyMap<DatasetName, Contract>, options: QualityOptions = {}): QualityStage {
  return new Judge(contracts, options.sliceEvents ?? 2000);
}

/** A contract in use: what it compiled to for each Dataset object, and the counters of its rules. */
class ContractInUse {
  readonly contract: Contract;
  readonly #compiled = new WeakMap<Dataset, CompiledChecks>();
  readonly evaluated: Float64Array;
  readonly failed: Float64Array;
  readonly unreadable: Float64Array;

  constructor(contract: Contract) {
    this.contract = contract;
    this.evaluated = new Float64Array(contract.checks.length);
    this.failed = new Float64Array(contract.checks.length);
    this.unreadable = new Float64Array(contract.checks.length);
  }

  checksOf(dataset: Dataset): CompiledChecks {
    const known = this.#compiled.get(dataset);
    if (known !== undefined) return known;
    const compiled = recompileContract(this.contract, dataset);
    this.#compiled.set(dataset, compiled);
    return compiled;
  }
}

class Judge implements QualityStage {
  readonly name = 'quality';
  readonly #sliceEvents: number;
  #contracts: ReadonlyMap<DatasetName, ContractInUse>;

  constructor(contracts: ReadonlyMap<DatasetName, Contract>, sliceEvents: number) {
    this.#sliceEvents = sliceEvents;
    this.#contracts = new Map([...contracts].map(([name, contract]) => [name, new ContractInUse(contract)]));
  }

  replaceContract(contract: Contract): void {
    this.#contracts = new Map(this.#contracts).set(contract.dataset, new ContractInUse(contract));
  }

  removeContract(dataset: DatasetName): void {
    const rest = new Map(this.#contracts);
    rest.delete(dataset);
    this.#contracts = rest;
  }

  stats(): readonly RuleStats[] {
    return [...this.#contracts.values()].flatMap(({ contract, evaluated, failed, unreadable }) =>
      contract.checks.map(({ id, column }, index) => ({
        dataset: contract.dataset,
        rule: id,
        column,
        evaluated: evaluated[index] ?? 0,
        failed: failed[index] ?? 0,
        unreadable: unreadable[index] ?? 0,
      })),
    );
  }

  async run(batch: Batch, signal: AbortSignal): Promise<void> {
    // A batch is judged by one set of contracts, even when one is replaced while it is.
    const contracts = this.#contracts;
    holdUndecoded(batch);
    if (contracts.size === 0) return;
    const drifting = new Set<Dataset>();
    for (let from = 0; from < batch.size; from += this.#sliceEvents) {
      if (from > 0) {
        // Judging is synchronous; the sockets and timers of the process get their turn in between.
        await new Promise<void>((resolve) => setImmediate(resolve));
        signal.throwIfAborted();
      }
      const to = Math.min(batch.size, from + this.#sliceEvents);
      if (batch.run === null) judge(batch, from, to, contracts, drifting);
      else judgeRun(batch, batch.run, from, to, contracts, drifting);
    }
  }
}

/** What the source could not read is in the quarantine with all that came of it, whether or not its dataset has a contract. */
function holdUndecoded(batch: Batch): void {
  if (batch.run !== null) return; // Rows that were read can be read.
  const { events } = batch;
  for (let index = 0; index < events.length; index++) {
    const event = events[index];
    if (event?.dataset.undecoded !== true) continue;
    const { dataset, after } = event;
    const problem = after?.value(dataset.columns.findIndex(({ name }) => name === 'problem'));
    const message = typeof problem === 'string' ? problem : 'the source cannot read it';
    batch.mark({
      index,
      stage: 'cdc',
      rule: 'source.undecoded',
      column: null,
      verdict: Verdict.Quarantine,
      severity: 'critical',
      message,
      notify: false,
    });
  }
}

function judge(batch: Batch, from: number, to: number, contracts: ReadonlyMap<DatasetName, ContractInUse>, drifting: Set<Dataset>): void {
  const { events } = batch;
  let dataset: Dataset | null = null;
  let use: ContractInUse | undefined;
  let checks: CompiledChecks | null = null;
  let types: readonly EncodedType[] | null = null;
  let encoded: EncodedRules | null = null;
  const count = new Counting();
  try {
    for (let index = from; index < to; index++) {
      const event = events[index];
      if (event === undefined) continue;
      if (event.dataset !== dataset) {
        dataset = event.dataset;
        use = dataset.undecoded === true ? undefined : contracts.get(dataset.name);
        checks = use?.checksOf(dataset) ?? null;
        if (use !== undefined) batch.revisions.set(dataset.name, use.contract.revision);
        types = null;
      }
      if (checks === null || use === undefined) continue;
      if (batch.passedBy?.[index] === use.contract.revision) {
        passAgain(batch, index);
        continue;
      }
      if (checks.drift.length > 0) judgeDrift(batch, index, checks, drifting);
      const rules = checks.byOperation[event.op];
      count.event(use, rules);
      const cells = imageOf(event)?.encoded ?? null;
      if (cells !== null && cells.types !== types) {
        types = cells.types;
        encoded = checks.encoded(types);
      }
      if (cells === null || encoded === null) judgeValues(batch, index, event, rules, use);
      else if (encoded[event.op].allPass?.(cells, event) !== true) judgeEncoded(batch, index, event, cells, rules, encoded[event.op], use);
    }
  } finally {
    count.flush();
  }
}

/** What these rules said when the event was staged is what they say: it is neither judged nor counted twice. */
function passAgain(batch: Batch, index: number): void {
  for (const finding of batch.heldFor?.[index] ?? [])
    if (finding.stage === 'quality' && finding.verdict < Verdict.Drop) batch.mark({ ...finding, index });
}

/** The same for rows that are no objects: those that pass stay none. */
function judgeRun(
  batch: Batch,
  run: EventRun,
  from: number,
  to: number,
  contracts: ReadonlyMap<DatasetName, ContractInUse>,
  drifting: Set<Dataset>,
): void {
  const use = contracts.get(run.dataset.name);
  if (use === undefined) return;
  const checks = use.checksOf(run.dataset);
  const first = imageOf(run.look(from))?.encoded ?? null;
  const encoded = first === null ? null : checks.encoded(first.types);
  // Rows that cannot be judged where they lie, and a table that is another one than its contract says, are no hot path.
  if (encoded === null || checks.drift.length > 0) return judge(batch, from, to, contracts, drifting);
  batch.revisions.set(run.dataset.name, use.contract.revision);
  const rules = checks.byOperation.read;
  const { read } = encoded;
  const count = new Counting();
  try {
    for (let index = from; index < to; index++) {
      const event = run.look(index);
      count.event(use, rules);
      const cells = imageOf(event)?.encoded;
      if (cells !== null && cells !== undefined && read.allPass?.(cells, event) === true) continue;
      const own = run.event(index);
      const image = imageOf(own)?.encoded;
      if (image !== null && image !== undefined) judgeEncoded(batch, index, own, image, rules, read, use);
    }
  } finally {
    count.flush();
  }
}

/** Events in a row that meet the same rules are counted at once. */
class Counting {
  #use: ContractInUse | null = null;
  #rules: readonly Rule[] = [];
  #events = 0;

  event(use: ContractInUse, rules: readonly Rule[]): void {
    if (rules !== this.#rules) {
      this.flush();
      this.#use = use;
      this.#rules = rules;
    }
    this.#events++;
  }

  flush(): void {
    const evaluated = this.#use?.evaluated;
    if (evaluated !== undefined) for (const { index } of this.#rules) evaluated[index] = (evaluated[index] ?? 0) + this.#events;
    this.#events = 0;
  }
}

/** Of a row that does not pass all of them at once: what failed, and why. */
function judgeEncoded(
  batch: Batch,
  index: number,
  event: ChangeEvent,
  cells: EncodedRow,
  rules: readonly Rule[],
  { tests }: EncodedChecks,
  use: ContractInUse,
): void {
  for (let i = 0; i < tests.length; i++) {
    const test = tests[i];
    const outcome = test === null || test === undefined ? Undecided : test(cells, event);
    if (outcome === Outcome.Pass) continue;
    const rule = rules[i];
    if (rule === undefined) continue;
    const found = outcome === Undecided ? outcomeOf(rule.test, event) : outcome;
    if (found !== Outcome.Pass) fail(batch, index, event, rule, found, use);
  }
}

function judgeValues(batch: Batch, index: number, event: ChangeEvent, rules: readonly Rule[], use: ContractInUse): void {
  for (let i = 0; i < rules.length; i++) {
    const rule = rules[i];
    if (rule === undefined) continue;
    const outcome = outcomeOf(rule.test, event);
    if (outcome !== Outcome.Pass) fail(batch, index, event, rule, outcome, use);
  }
}

function fail(batch: Batch, index: number, event: ChangeEvent, rule: Rule, outcome: Outcome, use: ContractInUse): void {
  use.failed[rule.index] = (use.failed[rule.index] ?? 0) + 1;
  if (outcome === Outcome.Unreadable) use.unreadable[rule.index] = (use.unreadable[rule.index] ?? 0) + 1;
  const message = rule.describe(event, outcome);
  // A released event that fails is held again: to halt would keep everything released after it waiting for this one.
  if (rule.onFail === 'halt' && batch.origin !== 'replay') {
    // The message may show values where the contract allows them in findings; an error never does.
    throw new PipelineError(
      'RULE_HALT',
      `judging ${event.dataset.name}: rule ${rule.id} failed for the event at ${event.version}#${event.ordinal}`,
    );
  }
  batch.mark({
    index,
    stage: 'quality',
    rule: rule.id,
    column: rule.column,
    verdict: rule.verdict,
    severity: rule.severity,
    message,
    notify: false,
  });
}

/** The policies of the contract's schema section: warn marks the first event of a batch, quarantine every one, halt throws (and holds a released event). */
function judgeDrift(batch: Batch, index: number, { contract, dataset, drift }: CompiledChecks, drifting: Set<Dataset>): void {
  const isFirst = !drifting.has(dataset);
  drifting.add(dataset);
  const shadow = contract.mode === 'shadow';
  for (const change of drift) {
    // The target holds the dataset: it knows which shape was approved.
    if (change.policy === 'hold') continue;
    const halts = change.policy === 'halt' && !shadow;
    // A released event may be of a table as it was before: it is held again, and the lane of released events goes on.
    if (halts && batch.origin !== 'replay') {
      throw new PipelineError('SCHEMA_DRIFT', `judging ${dataset.name}: ${change.message} (schema.${change.kind})`);
    }
    if (isFirst || halts || (change.policy === 'quarantine' && !shadow)) markDrift(batch, index, change, shadow);
  }
}

function markDrift(batch: Batch, index: number, { kind, column, policy, message }: Drift, shadow: boolean): void {
  const verdict = shadow ? Verdict.Tag : policy === 'quarantine' || policy === 'halt' ? Verdict.Quarantine : Verdict.Warn;
  batch.mark({
    index,
    stage: 'quality',
    rule: `schema.${kind}`,
    column,
    verdict,
    severity: policy === 'warn' ? 'warning' : 'critical',
    message,
    notify: false,
  });
}
