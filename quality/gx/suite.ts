/** A Great Expectations suite, read as that tool writes it and judged over the rows of one file. */
import { suggestion } from '../../core/expression/suggest.ts';
import { type FileCell, Unusable } from '../states/cell.ts';
import { type FileFacts, type Format, type GxCheck, type Outcome, type ResultFormat, Slots } from './expectation.ts';
import { EVERYWHERE, Kwargs, refuse, ROWS } from './kwargs.ts';
import { type Parameters, withParameters } from './parameters.ts';
import { parsePythonJson } from './python-json.ts';
import { CATALOGUE, LEFT_OUT } from './registry.ts';
import { columnsOfCondition } from './condition-syntax.ts';
import { askedRows } from './asked-rows.ts';
import { compileRowCondition, type RowCondition } from './row-condition.ts';

type Fields = Readonly<Record<string, unknown>>;

export interface SuiteItem {
  readonly type: string;
  readonly kwargs: Fields;
  readonly meta: Fields;
}

export interface Suite {
  readonly name: string;
  readonly items: readonly SuiteItem[];
}

/** The suite, or what is wrong with it. Expectations that cannot be used are told with the results. */
export function readSuite(text: string): Suite | { readonly problem: string; readonly fix: string } {
  const value = parsePythonJson(text);
  if (!isFields(value)) return { problem: 'the suite is no JSON object', fix: 'Give the file that Great Expectations wrote.' };
  const items = itemsOf(value);
  if (items === null) return { problem: 'the suite has no list of expectations', fix: 'Write {"expectations": […]}.' };
  const name = value['name'] ?? value['expectation_suite_name'];
  return { name: typeof name === 'string' ? name : '', items };
}

/** The expectations of a suite that was read; null where it has no list of them. */
export function itemsOf(suite: unknown): readonly SuiteItem[] | null {
  const expectations = isFields(suite) ? suite['expectations'] : null;
  return Array.isArray(expectations) ? expectations.map((item: unknown) => itemOf(item)) : null;
}

function itemOf(item: unknown): SuiteItem {
  const fields = isFields(item) ? item : {};
  const type = fields['type'] ?? fields['expectation_type'];
  const { kwargs, meta } = fields;
  return { type: typeof type === 'string' ? type : '', kwargs: isFields(kwargs) ? kwargs : {}, meta: isFields(meta) ? meta : {} };
}

function isFields(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

interface Prepared {
  readonly item: SuiteItem;
  readonly check: GxCheck | null;
  readonly condition: RowCondition | null;
  /** The columns of the condition. */
  readonly named: readonly string[];
  error: string | null;
}

export interface SuiteResult extends Outcome {
  readonly item: SuiteItem;
  /** Why it cannot be used; null where it was judged. */
  readonly error: string | null;
}

/** One expectation over the rows of a file, with its row condition and its result format. */
export class SuiteRun {
  readonly slots = new Slots();
  readonly #prepared: readonly Prepared[];

  constructor(items: readonly SuiteItem[], parameters: Parameters, nowMs: number) {
    this.#prepared = items.map((item) => this.#prepare(item, parameters, nowMs));
  }

  /** Of each expectation, what keeps it from being used so far. */
  get problems(): readonly (string | null)[] {
    return this.#prepared.map(({ error }) => error);
  }

  row(cells: readonly FileCell[], index: number): void {
    for (const prepared of this.#prepared) {
      if (prepared.error !== null || prepared.check === null) continue;
      try {
        if (prepared.condition === null || prepared.condition(cells)) prepared.check.row(cells, index);
      } catch (error) {
        prepared.error = reasonOf(error);
      }
    }
  }

  end(facts: FileFacts): readonly SuiteResult[] {
    return this.#prepared.map((prepared) => this.#end(prepared, facts));
  }

  #end({ item, check, named, error }: Prepared, facts: FileFacts): SuiteResult {
    const failed = (reason: string): SuiteResult => ({ item, error: reason, success: false, result: {} });
    if (error !== null || check === null) return failed(error ?? '');
    try {
      this.#columnsOfConditionExist(item, named, facts);
      return { item, error: null, ...check.end(facts) };
    } catch (thrown) {
      return failed(reasonOf(thrown));
    }
  }

  #columnsOfConditionExist({ kwargs }: SuiteItem, named: readonly string[], facts: FileFacts): void {
    const { result_format: format } = kwargs;
    const index = isFields(format) && Array.isArray(format['unexpected_index_column_names']) ? format['unexpected_index_column_names'] : [];
    for (const column of [...named, ...index.map(String)])
      if (!facts.columns.includes(column))
        refuse(
          'row_condition or result_format',
          `names the column "${column}", which does not exist`,
          suggestion(column, facts.columns, 'column'),
        );
  }

  #prepare(item: SuiteItem, parameters: Parameters, nowMs: number): Prepared {
    try {
      const values = withParameters(item.kwargs, parameters, nowMs) as Fields;
      const kwargs = new Kwargs(values, nowMs);
      const expectation = CATALOGUE.get(item.type) ?? unknownType(item.type);
      kwargs.refuseUnknown([...expectation.takes, ...EVERYWHERE, ...(expectation.takesRows ? ROWS : [])]);
      const format = formatOf(kwargs, this.slots);
      const asked = askedRows(kwargs);
      const condition =
        asked === null ? null : compileRowCondition(asked.condition, { slots: this.slots, nowMs, nullsDiffer: asked.nullsDiffer });
      const check = expectation.prepare(kwargs, this.slots, format);
      const named = asked === null ? [] : [...columnsOfCondition(asked.condition)];
      return { item, check, condition, named, error: null };
    } catch (error) {
      return { item, check: null, condition: null, named: [], error: reasonOf(error) };
    }
  }
}

/** What can be said against an expectation before any row is seen; null where nothing can. */
export function problemOf(item: SuiteItem): string | null {
  // What a parameter stands for is known when the file is judged.
  if (hasParameter(item.kwargs)) return null;
  return new SuiteRun([item], {}, 0).problems[0] ?? orderProblemOf(item);
}

/** A rule that nothing can pass is a mistake in a rule file, where no other tool has to agree. */
function orderProblemOf({ type, kwargs }: SuiteItem): string | null {
  if (CATALOGUE.get(type)?.takes.includes('min_value') !== true) return null;
  try {
    new Kwargs(kwargs, 0).orderedBounds();
    return null;
  } catch (error) {
    return reasonOf(error);
  }
}

function hasParameter(value: unknown): boolean {
  if (Array.isArray(value)) return value.some(hasParameter);
  return isFields(value) && ('$PARAMETER' in value || Object.values(value).some(hasParameter));
}

function unknownType(type: string): never {
  const leftOut = LEFT_OUT.get(type);
  if (leftOut !== undefined) throw new Unusable(`${type} is not judged: ${leftOut.reason}. ${leftOut.fix}`);
  throw new Unusable(`there is no expectation "${type}". ${suggestion(type, [...CATALOGUE.keys()], 'expectation')}`);
}

/** What a check throws is that it cannot judge; anything else is a bug, and must not look like a judgement. */
function reasonOf(error: unknown): string {
  if (error instanceof Unusable) return error.message;
  throw error;
}

const FORMATS: readonly ResultFormat[] = ['BOOLEAN_ONLY', 'BASIC', 'SUMMARY', 'COMPLETE'];

function formatOf(kwargs: Kwargs, slots: Slots): Format {
  const written = kwargs.get('result_format') ?? 'BASIC';
  const fields: Fields = isFields(written) ? written : { result_format: written };
  const name = FORMATS.find((format) => format === (fields['result_format'] ?? 'BASIC'));
  if (name === undefined) return refuse('result_format', `is not one of ${FORMATS.join(', ')}`, 'Write BASIC.');
  const columns = fields['unexpected_index_column_names'] ?? [];
  if (!Array.isArray(columns) || !columns.every((column) => typeof column === 'string'))
    return refuse('result_format', 'has unexpected_index_column_names that are no list of columns', 'Write their names in a list.');
  const partial = fields['partial_unexpected_count'] ?? 20;
  if (typeof partial !== 'number' || !Number.isInteger(partial) || partial < 0)
    return refuse('result_format', 'has a partial_unexpected_count that is no whole number', 'Write 20.');
  return {
    name,
    indexColumns: columns.map((column) => [column, slots.slotOf(column)] as const),
    partialCount: partial,
    hidesValues: fields['exclude_unexpected_values'] === true,
  };
}

/** The document that Great Expectations writes. */
export function suiteDocument(suite: Suite, results: readonly SuiteResult[]): Fields {
  const successful = results.filter(({ success }) => success).length;
  const evaluated = results.length;
  return {
    success: successful === evaluated,
    suite_name: suite.name,
    statistics: {
      evaluated_expectations: evaluated,
      successful_expectations: successful,
      unsuccessful_expectations: evaluated - successful,
      success_percent: evaluated === 0 ? null : (successful / evaluated) * 100,
    },
    results: results.map(({ item, success, result, error }) => ({
      success,
      expectation_config: { type: item.type, kwargs: item.kwargs, meta: item.meta },
      result,
      meta: {},
      exception_info: { raised_exception: error !== null, exception_message: error, exception_traceback: null },
    })),
    meta: {},
  };
}
