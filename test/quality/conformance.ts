/** Great Expectations' own test definitions: which cases count, how a dataset becomes a call of `tidegate judge`, and whether an answer agrees. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

type Fields = Readonly<Record<string, unknown>>;

export interface Case {
  readonly title: string;
  readonly in: Fields | readonly unknown[];
  readonly out: Fields;
  readonly exact_match_out?: boolean;
  readonly only_for?: readonly string[];
  readonly suppress_test_for?: readonly string[];
  readonly tolerance?: number;
  readonly error?: unknown;
}

interface CaseDataset {
  readonly data:
    Readonly<Record<string, readonly unknown[]>> | readonly { readonly dataset_name: string; readonly data: Record<string, unknown[]> }[];
  readonly schemas?: Readonly<Record<string, Readonly<Record<string, string>>>>;
  readonly only_for?: readonly string[];
  readonly suppress_test_for?: readonly string[];
  readonly tests: readonly Case[];
}

/** One call of judge: the cases of a dataset that count. */
export interface Call {
  readonly name: string;
  readonly expectation: string;
  readonly rows: string;
  readonly types: Readonly<Record<string, string | null>>;
  readonly tables: Readonly<Record<string, string>>;
  readonly cases: readonly (Case & { readonly sort: 'portable' | 'refused'; readonly kwargs: Fields })[];
}

export interface LeftOut {
  readonly name: string;
  readonly title: string;
  readonly reason: string;
}

export function readCalls(folder: string): { readonly calls: readonly Call[]; readonly leftOut: readonly LeftOut[] } {
  const calls: Call[] = [];
  const leftOut: LeftOut[] = [];
  for (const kind of readdirSync(folder).sort()) {
    if (!kind.endsWith('_expectations')) continue;
    for (const file of readdirSync(join(folder, kind)).sort()) {
      const { expectation_type: expectation, datasets } = JSON.parse(readFileSync(join(folder, kind, file), 'utf8')) as {
        expectation_type: string;
        datasets: readonly CaseDataset[];
      };
      for (const [at, dataset] of datasets.entries()) calls.push(callOf(`${file}#${at}`, kind, expectation, dataset, leftOut));
    }
  }
  return { calls: calls.filter(({ cases }) => cases.length > 0), leftOut };
}

function callOf(name: string, kind: string, expectation: string, dataset: CaseDataset, leftOut: LeftOut[]): Call {
  const [first, ...others] = tablesOf(dataset);
  const index = kind.includes('map_');
  const data: Record<string, readonly unknown[]> = { ...first?.data };
  if (index) data['pk_index'] = Object.values(data)[0]?.map((_, row) => row) ?? [];
  const types = Object.fromEntries(Object.entries(data).map(([column, values]) => [column, dateTypeOf(column, values, dataset)]));
  const cases: Call['cases'][number][] = [];
  for (const test of dataset.tests) {
    const sort = sortOf(expectation, dataset, test);
    if (typeof sort !== 'string') leftOut.push({ name, title: test.title, reason: sort.reason });
    else cases.push({ ...test, sort, kwargs: kwargsOf(test.in as Fields, index) });
  }
  const tables = Object.fromEntries(others.map((other) => [other.dataset_name, ndjson(other.data, {})]));
  return { name, expectation, rows: ndjson(data, types), types, tables, cases };
}

interface CaseTable {
  readonly dataset_name: string;
  readonly data: Readonly<Record<string, readonly unknown[]>>;
}

function tablesOf({ data }: CaseDataset): readonly CaseTable[] {
  // Array.isArray does not narrow a read-only list away.
  return Array.isArray(data) ? (data as readonly CaseTable[]) : [{ dataset_name: '', data: data as CaseTable['data'] }];
}

function kwargsOf(kwargs: Fields, index: boolean): Fields {
  const name = kwargs['result_format'] ?? 'COMPLETE';
  if (typeof name !== 'string') return kwargs;
  return { ...kwargs, result_format: index ? { result_format: name, unexpected_index_column_names: ['pk_index'] } : name };
}

const TYPES: readonly (readonly [RegExp, string])[] = [
  [/^date(type)?$/i, 'date'],
  [/(tz|with time zone)/i, 'timestamptz'],
  [/^(datetime|timestamp)/i, 'timestamp'],
];

function dateTypeOf(column: string, values: readonly unknown[], { schemas = {} }: CaseDataset): string | null {
  const schema = schemas['pandas'] ?? schemas['postgresql'] ?? schemas['sqlite'] ?? schemas['spark'];
  const type = TYPES.find(([words]) => words.test(schema?.[column] ?? ''))?.[1];
  const fits = values.every((value) => value === null || (typeof value === 'string' && !Number.isNaN(Date.parse(value))));
  return type !== undefined && fits && values.length > 0 ? type : null;
}

function ndjson(data: Readonly<Record<string, readonly unknown[]>>, types: Readonly<Record<string, string | null>>): string {
  const columns = Object.entries(data);
  const cell = (column: string, value: unknown) =>
    typeof value === 'string' && (types[column] ?? null) !== null ? isoOf(value) : (value ?? null);
  const rows = Array.from({ length: columns[0]?.[1].length ?? 0 }, (_, row) =>
    Object.fromEntries(columns.map(([column, values]) => [column, cell(column, values[row])])),
  );
  return rows.map((row) => `${JSON.stringify(row)}\n`).join('');
}

function isoOf(text: string): string {
  if (/^\d{4}-\d\d-\d\d/.test(text)) return text;
  return new Date(`${text} UTC`).toISOString().replace(/\.000Z$/, '');
}

const ENGINES: Readonly<Record<string, readonly string[]>> = {
  pandas: ['pandas', 'pandas_v3_api', 'pandas>=024'],
  spark: ['spark'],
  sqlite: ['sqlite', 'sqlalchemy'],
  postgresql: ['postgresql', 'sqlalchemy'],
};
const ENGINE_TYPES = ['expect_column_values_to_be_of_type', 'expect_column_values_to_be_in_type_list'];

/** Whether a case counts and how, by the rules that the folder's description gives. */
function sortOf(expectation: string, dataset: CaseDataset, test: Case): 'portable' | 'refused' | { readonly reason: string } {
  if (ENGINE_TYPES.includes(expectation)) return { reason: 'type names of an engine' };
  if (/chisquare|cramers_phi|ks_test/.test(expectation)) return { reason: 'p-values' };
  if (expectation === 'unexpected_rows_expectation') return { reason: 'SQL' };
  if (Array.isArray(test.in)) return { reason: 'positional kwargs' };
  const runs = Object.values(ENGINES).some((names) =>
    [dataset, test].every(
      ({ only_for: only, suppress_test_for: not }) =>
        (only === undefined || only.some((name) => names.includes(name))) && not?.some((name) => names.includes(name)) !== true,
    ),
  );
  if (!runs) return { reason: 'no engine of ours runs it' };
  const { min_value: min, max_value: max, value_set: values } = test.in as Fields;
  if (expectation.includes('stdev') && typeof min === 'number' && min === max && !Number.isInteger(min))
    return { reason: 'a last binary digit' };
  if (test.error === undefined && test.out['traceback_substring'] === undefined) return 'portable';
  const noBounds = (min ?? null) === null && (max ?? null) === null;
  if (/^expect_column_(min|max|mean|median|sum|stdev|unique_value_count|proportion)/.test(expectation) && noBounds)
    return { reason: 'an aggregate without bounds, which Great Expectations answers' };
  if (/^expect_table_.*_count_to_be_between$/.test(expectation) && typeof min === 'number' && typeof max === 'number' && min > max)
    return { reason: 'a table count with min > max, which Great Expectations answers' };
  if (/lengths/.test(expectation) && /has no len/.test(JSON.stringify(test.error ?? ''))) return { reason: 'lengths of integers' };
  if (/not_be_in_set/.test(expectation) && Array.isArray(values) && values.includes(null)) return { reason: 'not in a set with null' };
  return 'refused';
}

interface Answer {
  readonly success: boolean;
  readonly result: Fields;
  readonly exception_info: { readonly raised_exception: boolean };
}

/** Null where the answer agrees with the case, else what does not. */
export function disagreement(test: Call['cases'][number], answer: Answer): string | null {
  const raised = answer.exception_info.raised_exception;
  if (test.sort === 'refused') return raised && !answer.success ? null : 'it is not refused';
  if (raised) return `it is refused: ${JSON.stringify(answer.exception_info)}`;
  const { result: exact, ...rest } = test.out;
  const wanted: Fields = test.exact_match_out === true && isFields(exact) ? { ...rest, ...exact } : test.out;
  for (const [key, value] of Object.entries(wanted)) {
    const problem = differs(test, key, value, answer);
    if (problem !== null) return problem;
  }
  return null;
}

/** The order of columns is told by success alone. Keys of results that lie elsewhere in an answer, or for which absence means something. */
function differs(test: Call['cases'][number], key: string, wanted: unknown, { success, result }: Answer): string | null {
  const details = isFields(result['details']) ? result['details'] : {};
  const say = (found: unknown) => `${key}: ${JSON.stringify(wanted)} is expected, ${JSON.stringify(found)} found`;
  const tolerance = test.tolerance === undefined ? [1e-6, 0] : [test.tolerance, 1e-8];
  switch (key) {
    case 'success':
      return success === wanted ? null : say(success);
    case 'traceback_substring':
    case 'meta':
      return null;
    case 'unexpected_list':
    case 'partial_unexpected_list':
      return sameSet(wanted, result[key], tolerance) ? null : say(result[key]);
    case 'unexpected_index_list': {
      const [a, b] = [wanted ?? [], result[key] ?? []];
      return sameSet(a, b, tolerance) ? null : say(b);
    }
    case 'partial_unexpected_index_list':
    case 'unexpected_index_query':
      return null;
    case 'value_counts': {
      const found = details['value_counts'];
      const every =
        Array.isArray(wanted) && wanted.every((entry) => Array.isArray(found) && found.some((other) => same(entry, other, tolerance)));
      return every ? null : say(found);
    }
    case 'observed_partition':
    case 'expected_partition':
      return same(wanted, details[key], [1e-6, 1e-9]) ? null : say(details[key]);
    case 'details':
      return sameDetails(wanted, details) ? null : say(details);
    case 'observed_value':
      return sameSet(wanted, result[key] ?? null, tolerance) ? null : say(result[key]);
    default:
      if (!(key in result) && /count|percent/.test(key) && 'observed_value' in result) return null;
      return same(wanted, result[key] ?? null, tolerance) ? null : say(result[key]);
  }
}

function sameDetails(wanted: unknown, found: Fields): boolean {
  if (!isFields(wanted)) return false;
  return Object.entries(wanted).every(([key, value]) => key === 'partial_unexpected_counts_error' || same(value, found[key], [1e-6, 1e-9]));
}

function sameSet(wanted: unknown, found: unknown, tolerance: readonly number[]): boolean {
  if (!Array.isArray(wanted)) return same(wanted, found, tolerance);
  if (!Array.isArray(found) || wanted.length !== found.length) return false;
  const left = [...(found as unknown[])];
  return wanted.every((item) => {
    const at = left.findIndex((other) => same(item, other, tolerance));
    if (at >= 0) left.splice(at, 1);
    return at >= 0;
  });
}

function same(wanted: unknown, found: unknown, tolerance: readonly number[]): boolean {
  const [relative = 0, absolute = 0] = tolerance;
  if (typeof wanted === 'number' && typeof found === 'number')
    return wanted === found || Math.abs(wanted - found) <= absolute + relative * Math.max(Math.abs(wanted), Math.abs(found));
  if (typeof wanted === 'string' && typeof found === 'string') return wanted === found || sameMoment(wanted, found);
  if (Array.isArray(wanted))
    return Array.isArray(found) && wanted.length === found.length && wanted.every((item, at) => same(item, found[at], tolerance));
  if (isFields(wanted))
    return isFields(found) && Object.keys({ ...wanted, ...found }).every((key) => same(wanted[key], found[key], tolerance));
  return wanted === found;
}

function sameMoment(a: string, b: string): boolean {
  const date = /^\d{4}-\d\d-\d\d[T ]/;
  return date.test(a) && date.test(b) && Date.parse(a.replace(' ', 'T')) === Date.parse(b.replace(' ', 'T'));
}

function isFields(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
