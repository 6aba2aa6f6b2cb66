/** A rule file over the rows of one file, which are one window: what each rule says when all have been read. */
import { compileExpression } from '../core/expression.ts';
import type { ChangeEvent, Dataset, EncodedType } from '../core/event.ts';
import type { Problem } from '../core/problems.ts';
import { bindCheck } from './bind.ts';
import type { Check, Contract, FileCheck } from './contract.ts';
import { type EncodedTest, Undecided } from './encoded/cells.ts';
import type { Bound, Cell } from './expectation.ts';
import { fileColumn, FileRow } from './file-columns.ts';
import type { FileFacts } from './gx/expectation.ts';
import { ignoredRows } from './ignored-rows.ts';
import { Outcome } from './outcome.ts';
import { PassingColumns } from './passing-columns.ts';
import { PassingRows } from './passing-rows.ts';
import type { PlacedRow } from './placed-row.ts';
import { readEvent } from './read-event.ts';
import { schemaDrift } from './schema/drift.ts';
import { RestOfRow, type MakeCell } from './rest-of-row.ts';
import type { FileCell } from './states/cell.ts';

export interface RuleResult {
  readonly rule: string;
  readonly type: string;
  readonly column: string | null;
  readonly level: 'row' | 'window' | 'schema';
  /** null: it could not decide, or no row met it. */
  readonly success: boolean | null;
  readonly indeterminate: boolean;
  readonly observed: unknown;
  readonly element_count: number;
  readonly missing_count: number;
  readonly unexpected_count: number;
  /** Of the rows that have a value. */
  readonly unexpected_percent: number | null;
  readonly unexpected_index_list: readonly unknown[];
  readonly partial_unexpected_list: readonly unknown[];
  readonly error: { readonly code: string; readonly message: string; readonly path: string } | null;
}

/** What a check of single rows found in a part of a file: those of all parts, in their order, are that of the file. */
export interface RowPart {
  readonly elements: number;
  readonly missing: number;
  /** Of the rows that failed, counted from the beginning of the part. */
  readonly places: readonly number[];
  /** The values of the first of them. */
  readonly shown: readonly unknown[];
}

export interface Judging {
  /** Of single rows alone. */
  readonly tally?: { take(): RowPart; add(part: RowPart, rowsBefore: number): void };
  /** The columns of a row that it reads; left out where it looks at no row. */
  readonly columns?: readonly number[];
  row(values: readonly unknown[], cells: readonly FileCell[], index: number): void;
  end(facts: FileFacts): RuleResult;
}

/** Of which rows a check is. */
export interface Where {
  readonly columns: readonly number[];
  isMet(event: ChangeEvent): boolean;
}

const PARTIAL = 20;

/** What a run knows of a rule file. */
export type RunRules = Pick<Contract, 'dataset' | 'schema' | 'checks' | 'fileChecks' | 'place' | 'schemaFiles'>;

/** How checks over all rows are judged: what that takes is loaded where a rule file has one. */
export type JudgeFileCheck = (
  check: FileCheck,
  dataset: Dataset,
  event: ChangeEvent,
  parameters: Readonly<Record<string, unknown>>,
  nowMs: number,
) => Judging;

export class RuleRun {
  readonly #row: FileRow;
  readonly #dataset: Dataset;
  readonly #nowMs: number;
  readonly #judging: readonly Judging[];
  #passed: PassingRows | null = null;
  /** Whether any check asks for cells: those over all rows do. */
  readonly needsCells: boolean;

  /** `unseen`: columns without a value in any row; their type is what their rules want it to be. */
  constructor(
    contract: RunRules,
    dataset: Dataset,
    unseen: readonly string[],
    parameters: Readonly<Record<string, unknown>>,
    nowMs: number,
    judgeFileCheck: JudgeFileCheck | null,
  ) {
    if (judgeFileCheck === null && contract.fileChecks.length > 0) throw new Error('checks over all rows without what judges them');
    this.#row = new FileRow(dataset.columns);
    this.#dataset = dataset;
    this.#nowMs = nowMs;
    this.needsCells = contract.fileChecks.length > 0;
    const event = readEvent(this.#row, dataset, nowMs);
    this.#judging = [
      ...columnsJudged(contract, dataset),
      ...contract.checks.map((check) => rowCheck(check, contract, dataset, unseen, event)),
      ...contract.fileChecks.flatMap((check) => judgeFileCheck?.(check, dataset, event, parameters, nowMs) ?? []),
    ];
  }

  /** `values` in the order of the dataset's columns, and as the cells of expectations over files. */
  row(values: readonly unknown[], cells: readonly FileCell[], index: number): void {
    this.#row.values = values;
    for (const judging of this.#judging) judging.row(values, cells, index);
  }

  /**
   * Rows judged where they lie, by the checks of single rows that have no condition: those that pass them are counted, and their values are given to the checks
   * that are left; of the others nothing is: they are for `row`. `makers`: of the cells that checks over all rows ask for.
   */
  passing(row: PlacedRow, makers: readonly MakeCell[]): PassingRows {
    const checks = this.#judging
      .filter((judging) => judging instanceof RowCheck)
      .filter(({ where, countsNulls }) => where === null && countsNulls);
    this.#passed = new PassingRows(row, checks, this.#without(checks, makers), readEvent(row, this.#dataset, this.#nowMs));
    return this.#passed;
  }

  /** The same column by column, by the checks that read one. Null where there are none, or a check asks for cells. */
  passingColumns(): PassingColumns | null {
    const checks = this.#judging
      .filter((judging) => judging instanceof RowCheck)
      .filter(({ where, columns, countsNulls }) => where === null && countsNulls && columns.length === 1);
    if (this.needsCells || checks.length === 0) return null;
    return new PassingColumns(checks, this.#without(checks, []), this.#dataset, this.#nowMs);
  }

  #without(checks: readonly Judging[], makers: readonly MakeCell[]): RestOfRow | null {
    const rest = this.#judging.filter((judging) => judging.columns !== undefined && !checks.includes(judging));
    return rest.length === 0 ? null : new RestOfRow(this.#row, rest, makers);
  }

  /** What was found so far, for a run over the whole file to add. Only where no check asks for cells. */
  parts(): (RowPart | null)[] {
    this.#passed?.settle();
    return this.#judging.map(({ tally }) => tally?.take() ?? null);
  }

  /** Adds what a run of the same checks found in the part that begins behind so many rows. */
  add(parts: readonly (RowPart | null)[], rowsBefore: number): void {
    for (const [at, part] of parts.entries()) if (part !== null) this.#judging[at]?.tally?.add(part, rowsBefore);
  }

  end(facts: FileFacts): readonly RuleResult[] {
    this.#passed?.settle();
    return this.#judging.map((judging) => judging.end(facts));
  }
}

export const NOTHING = {
  success: null,
  indeterminate: false,
  observed: null,
  element_count: 0,
  missing_count: 0,
  unexpected_count: 0,
  unexpected_percent: null,
  unexpected_index_list: [],
  partial_unexpected_list: [],
  error: null,
} as const;

type Named = Pick<RuleResult, 'rule' | 'type' | 'column' | 'level'>;

export function pathOf(keys: readonly (string | number)[]): string {
  return `/${keys.join('/')}`;
}

export function unusable(named: Named, message: string, keys: readonly (string | number)[]): Judging {
  const error = { code: 'UNUSABLE', message, path: pathOf(keys) };
  return { row: () => {}, end: () => ({ ...named, ...NOTHING, success: false, error }) };
}

function rowCheck(check: Check, contract: RunRules, dataset: Dataset, unseen: readonly string[], event: ChangeEvent): Judging {
  const named = { rule: check.id, type: check.expectation.name, column: check.column, level: 'row' } as const;
  const bound = bindToSome(check, contract, dataset, unseen);
  if (typeof bound === 'string') return unusable(named, bound, check.keys);
  const where = whereOf(check.where, dataset);
  if (typeof where === 'string') return unusable(named, where, [...check.keys, 'where']);
  // Rows of a file are those of a snapshot: they change nothing.
  if (!check.ops.some((op) => op === 'read' || op === 'insert'))
    return { row: () => {}, end: () => ({ ...named, ...NOTHING, indeterminate: true }) };
  return new RowCheck(named, check, bound, where, dataset, event);
}

/** Counts what one check says of the rows. */
class RowCheck implements Judging {
  readonly #named: Named;
  readonly #check: Check;
  readonly #bound: Bound;
  readonly where: Where | null;
  readonly #isIgnored: ReturnType<typeof ignoredRows>;
  readonly #event: ChangeEvent;
  /** The column whose nulls are not judged; -1 where there is none. */
  readonly column: number;
  readonly columns: readonly number[];
  readonly #names: readonly string[];
  #elements = 0;
  #missing = 0;
  readonly #places: number[] = [];
  readonly #shown: unknown[] = [];
  readonly tally: NonNullable<Judging['tally']> = {
    take: () => ({ elements: this.#elements, missing: this.#missing, places: this.#places, shown: this.#shown }),
    add: ({ elements, missing, places, shown }, rowsBefore) => {
      this.#elements += elements;
      this.#missing += missing;
      for (const place of places) this.#places.push(rowsBefore + place);
      this.#shown.push(...shown.slice(0, PARTIAL - this.#shown.length));
    },
  };

  constructor(named: Named, check: Check, bound: Bound, where: Where | null, dataset: Dataset, event: ChangeEvent) {
    this.#named = named;
    this.#check = check;
    this.#bound = bound;
    this.where = where;
    this.#isIgnored = ignoredRows(check, bound);
    this.#event = event;
    const skipsNulls = !check.expectation.judgesNulls && check.nulls === 'skip';
    this.column = skipsNulls && check.column !== null ? (bound.columns[0] ?? -1) : -1;
    this.#names = bound.columns.map((column) => dataset.columns[column]?.name ?? '');
    // A check that names none may read all of them.
    this.columns = bound.columns.length === 0 ? [...dataset.columns.keys()] : [...new Set([...bound.columns, ...(where?.columns ?? [])])];
  }

  row(values: readonly unknown[], _cells: readonly FileCell[], index: number): void {
    if (this.where?.isMet(this.#event) === false) return;
    this.#elements++;
    if (this.column >= 0 && this.#isMissing(values)) this.#missing++;
    else if (this.#isIgnored !== null && this.#event.after !== null && this.#isIgnored(this.#event.after)) this.#missing++;
    else if (outcomeOf(this.#bound, this.#event) !== Outcome.Pass) this.#fail(values, index);
  }

  #isMissing(values: readonly unknown[]): boolean {
    if ((values[this.column] ?? null) === null) return true;
    const { isMissing } = this.#bound;
    return isMissing !== undefined && this.#event.after !== null && isMissing(this.#event.after, this.column);
  }

  /** Whether its nulls can be counted without it: no other value stands for none, and no rows are ignored. */
  get countsNulls(): boolean {
    return this.#bound.isMissing === undefined && this.#isIgnored === null;
  }

  /** Of a cell that has a value; null where a row is needed. */
  get cell(): ((cell: Cell) => boolean) | null {
    return this.#bound.cell ?? null;
  }

  get isInterval(): boolean {
    return this.#bound.isInterval === true;
  }

  readonly byValue: EncodedTest = (_row, event) => outcomeOf(this.#bound, event);

  /** The test of rows whose cells are of these types. */
  testOf(types: readonly EncodedType[]): EncodedTest {
    const { byValue } = this;
    const byBytes = this.#bound.encoded?.(types) ?? null;
    if (byBytes === null) return byValue;
    return (row, event) => {
      const judged = byBytes(row, event);
      return judged === Undecided ? byValue(row, event) : judged;
    };
  }

  /** Rows that passed, of which so many had no value. */
  passed(rows: number, nulls: number): void {
    this.#elements += rows;
    this.#missing += nulls;
  }

  #fail(values: readonly unknown[], index: number): void {
    this.#places.push(index);
    if (this.#shown.length >= PARTIAL) return;
    const cells = this.#bound.columns.map((column) => values[column] ?? null);
    this.#shown.push(cells.length === 1 ? cells[0] : Object.fromEntries(this.#names.map((name, at) => [name, cells[at]])));
  }

  end(): RuleResult {
    const judged = this.#elements - this.#missing;
    const failed = this.#places.length;
    return {
      ...this.#named,
      ...NOTHING,
      success: judged === 0 || (judged - failed) / judged >= this.#check.mostly,
      element_count: this.#elements,
      missing_count: this.#missing,
      unexpected_count: failed,
      unexpected_percent: judged === 0 ? null : (failed / judged) * 100,
      unexpected_index_list: this.#places,
      partial_unexpected_list: this.#shown,
    };
  }
}

function outcomeOf(bound: Bound, event: ChangeEvent): Outcome {
  try {
    return event.after === null ? Outcome.Pass : bound.test(event.after, event);
  } catch {
    return Outcome.Unreadable;
  }
}

const TRIED = ['text', 'integer', 'decimal', 'timestamp', 'boolean', 'json'] as const;

/** The bound check, or what is wrong with it for this file: unseen columns are of the first type that its rule takes. */
function bindToSome(check: Check, contract: RunRules, dataset: Dataset, unseen: readonly string[]): Bound | string {
  let said = '';
  for (const type of TRIED) {
    const columns = dataset.columns.map((column) => (unseen.includes(column.name) ? fileColumn(column.name, null, type) : column));
    const problems: Problem[] = [];
    const bound = bindCheck(check, {
      dataset: { ...dataset, columns },
      place: contract.place,
      schemaFiles: contract.schemaFiles,
      problems,
    });
    const problem = problems.find(({ severity }) => severity === 'error');
    if (bound !== null && problem === undefined) return bound;
    said ||= problem === undefined ? 'it cannot be used' : `${problem.message}. ${problem.fix}`;
    if (unseen.length === 0) break;
  }
  return said;
}

export function whereOf(text: string | null, dataset: Dataset): Where | null | string {
  if (text === null) return null;
  const compiled = compileExpression(text, { dataset, path: 'where', want: 'bool' });
  if (compiled.kind === 'refused') return compiled.problems.map(({ message, fix }) => `${message}. ${fix}`).join(' ');
  const isMet = (event: ChangeEvent) => {
    try {
      return compiled.evaluate(event) === true;
    } catch {
      return false;
    }
  };
  return { columns: compiled.columns, isMet };
}

/** The columns that the schema section lists are there, and others only where it accepts them. A file does not say types as a table does. */
function columnsJudged({ schema }: RunRules, dataset: Dataset): Judging[] {
  if (schema === null) return [];
  const drift = schemaDrift(schema, dataset).filter(({ kind }) => kind === 'drop' || kind === 'add_optional' || kind === 'add_required');
  const failed = drift.filter(({ policy }) => policy !== 'accept' && policy !== 'ignore' && policy !== 'warn');
  const named = { rule: 'schema.columns', type: 'columns', column: null, level: 'schema' } as const;
  const observed = dataset.columns.map(({ name }) => name);
  const list = drift.map(({ message }) => message);
  return [{ row: () => {}, end: () => ({ ...named, ...NOTHING, success: failed.length === 0, observed, partial_unexpected_list: list }) }];
}
