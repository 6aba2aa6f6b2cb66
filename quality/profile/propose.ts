/**
 * Rules that all rows seen keep, each with what speaks for it. What the table itself promises (NOT NULL) is held; what its rows merely look like is proposed
 * to tag, until somebody has looked.
 */
import type { Column, Dataset, Row } from '../../core/event.ts';
import { compileContract } from '../compile.ts';
import { parseContract } from '../contract.ts';
import { type ColumnFacts, ColumnSight, LEAST_VALUES } from './column-sight.ts';
import { PairSight } from './pair-sight.ts';
import { ruleFileText } from './rule-text.ts';

export interface Proposal {
  readonly id: string;
  /** null: of the whole row. */
  readonly column: string | null;
  readonly word: string;
  readonly parameters: unknown;
  /** Who says so: the table's own definition, or the rows that were seen. */
  readonly basis: 'table' | 'rows';
  /** What speaks for it, in words. */
  readonly evidence: string;
  /** Of many rows: the windows of a live stream that it is judged over. A failed one alerts, and holds no row. */
  readonly window?: { readonly every: string; readonly of?: 'changes' };
  /** Of no row: it is looked at by the clock, and alerts. */
  readonly isOfClock?: boolean;
}

export interface TableProfile {
  readonly dataset: string;
  readonly rows: number;
  readonly columns: readonly ColumnFacts[];
  readonly rules: readonly Proposal[];
}

/** Collects what rows show; `promised`: whether the columns' `nullable` is the word of a table, and not a guess. */
export class Profiler {
  readonly #dataset: Dataset;
  readonly #promised: boolean;
  readonly #columns: readonly ColumnSight[];
  readonly #pairs: PairSight;
  rows = 0;

  constructor(dataset: Dataset, promised: boolean) {
    this.#dataset = dataset;
    this.#promised = promised;
    this.#columns = dataset.columns.map((column) => new ColumnSight(column));
    this.#pairs = new PairSight(dataset.columns);
  }

  see(row: Row): void {
    this.rows++;
    for (let at = 0; at < this.#columns.length; at++) this.#columns[at]?.see(row, at);
    this.#pairs.see(row);
  }

  /** `isWhole`: every row was seen, so that what is said of all of them is true. */
  profile(isWhole = true): TableProfile {
    const columns = this.#columns.map((sight) => sight.facts());
    const proposals = [
      ...this.#columns.flatMap((sight, at) => [...this.#ofColumn(sight, columns[at]), ...this.#ofWindows(sight, columns[at], isWhole)]),
      ...paceProposals(columns, this.#promised),
      ...this.#pairs.orders(LEAST_VALUES).map(orderProposal),
      ...this.#pairs.sums(LEAST_VALUES).map(sumProposal),
    ];
    const rules = proposals.filter((proposal) => isUsable(proposal, this.#dataset));
    return { dataset: this.#dataset.name, rows: this.rows, columns, rules };
  }

  #ofColumn(sight: ColumnSight, facts: ColumnFacts | undefined): readonly Proposal[] {
    const { column } = sight;
    if (facts === undefined || sight.unreadable) return [];
    const isKey = this.#dataset.key.some((at) => this.#dataset.columns[at] === column);
    const found: Proposal[] = [];
    const add = (word: string, parameters: unknown, evidence: string, basis: Proposal['basis'] = 'rows') =>
      found.push({ id: `${column.name}.${word}`, column: column.name, word, parameters, basis, evidence });
    if (this.#promised && !column.nullable) add('not_null', true, 'the column is NOT NULL', 'table');
    else if (facts.nulls === 0 && facts.values >= LEAST_VALUES) add('not_null', true, `none of ${facts.values} is null`);
    if (facts.values < LEAST_VALUES) return found;
    if (facts.set !== null)
      add(
        'in_set',
        facts.set.map(({ value }) => value),
        `${facts.values} values, and only these: ${countsOf(facts.set)}`,
      );
    else if (column.type === 'text') addText(facts, add);
    else if (!isKey) addBounds(column, facts, add);
    return found;
  }

  /** What is true of many rows together: keys, shares of nulls, how many values there are. */
  #ofWindows({ column, unreadable }: ColumnSight, facts: ColumnFacts | undefined, isWhole: boolean): readonly Proposal[] {
    if (facts === undefined || unreadable) return [];
    const { name } = column;
    const { nulls, values, distinct, set, unique } = facts;
    const found: Proposal[] = [];
    const add = (word: string, parameters: unknown, evidence: string, more: Pick<Proposal, 'window'> = {}) =>
      found.push({ id: `${name}.${word}`, column: name, word, parameters, basis: 'rows', evidence, ...more });
    const isKey = this.#dataset.key.length === 1 && this.#dataset.columns[this.#dataset.key[0] ?? -1] === column;
    if (unique === true && isWhole && !isKey) add('unique', true, `all ${values} values are different`);
    const share = nulls / (nulls + values);
    const max = shareFrom(share);
    if (nulls > 0 && values + nulls >= LEAST_ROWS && max < 1) add('null_rate', { max }, `${nulls} of ${nulls + values} are null`, CHANGES);
    if (set === null && distinct !== null && distinct * REPEATED <= values && values >= LEAST_ROWS)
      add('distinct_count', { max: Number(rounded(String(distinct))) }, `${distinct} different values in ${values} rows`, CHANGES);
    return found;
  }
}

/**
 * Half of what the emptiest window had: with less, something has stopped. What is too much for one window, and how long nothing may come, is asked of a table whose changes
 * are followed: a file is judged as one window, and nobody waits for its rows.
 */
function paceProposals(columns: readonly ColumnFacts[], isLive: boolean): readonly Proposal[] {
  // The windows of a stream are those of its commits: of several columns, the one by which most comes in the shortest time tells most of them.
  const [busiest] = columns
    .flatMap(({ name, pace }) => (pace === null ? [] : [{ name, ...pace }]))
    .sort((a, b) => Number(b.every === '1h') - Number(a.every === '1h') || b.windows - a.windows);
  if (busiest === undefined) return [];
  const { name, every, what, windows, min, max } = busiest;
  const evidence = `by ${name}, ${min} to ${max} rows in each of ${windows} ${what}`;
  const common = { column: null, basis: 'rows', evidence } as const;
  const volume = { ...common, id: 'volume', word: 'row_count', window: { every } };
  if (!isLive) return [{ ...volume, parameters: { min: Math.floor(min / 2) } }];
  // Between two windows that follow each other, and both have rows, less than twice their length passes.
  const fresh = { max: every === '1h' ? '2h' : '2d' };
  return [
    { ...volume, parameters: { min: Math.floor(min / 2), max: Number(rounded(String(max))) } },
    {
      ...common,
      id: 'freshness',
      word: 'freshness',
      parameters: fresh,
      evidence: `by ${name}, rows in each of ${windows} ${what}`,
      isOfClock: true,
    },
  ];
}

type Add = (word: string, parameters: unknown, evidence: string) => void;

function addText({ values, formats, reads, pattern, lengths }: ColumnFacts, add: Add): void {
  const [format] = formats;
  if (format !== undefined) return add('format', format, `all ${values} are of this format`);
  if (reads !== null) return add('type', reads, `all ${values} read as ${reads}`);
  if (pattern !== null) add('match_regex', pattern, `all ${values} have this form`);
  if (lengths === null || pattern !== null) return;
  const min = lengths.min > 0 ? 1 : 0;
  const max = powerOfTwoFrom(lengths.max);
  add('length', min === 0 ? { max } : { min, max }, `${values} texts of ${lengths.min} to ${lengths.max} characters`);
}

function addBounds({ type }: Column, { values, min, max }: ColumnFacts, add: Add): void {
  if (min === null || max === null) return;
  const evidence = `${values} values from ${min} to ${max}`;
  if (type === 'timestamp' || type === 'date') {
    const year = /^(\d{4})-/.exec(min)?.[1];
    if (year !== undefined && !min.endsWith('BC')) add('between', { min: `${year}-01-01` }, evidence);
    return;
  }
  // Bounds of a day are those of the type; what is between is a habit.
  if (type === 'time') return;
  const [least, most] = [lowerBound(min), upperBound(max)];
  const isBeyond = type === 'float' && !Number.isFinite(Number(most['max']));
  add('between', isBeyond ? least : { ...least, ...most }, evidence);
}

/** Zero where nothing lies below it; else twice as far below it as anything, rounded. */
function lowerBound(min: string): Record<string, number | string | boolean> {
  if (!min.startsWith('-')) return /[1-9]/.test(min.replace(/e.*$/i, '')) ? { min: 0, strict_min: true } : { min: 0 };
  return { min: asBound(`-${rounded(min.slice(1))}`) };
}

function upperBound(max: string): Record<string, number | string | boolean> {
  if (max.startsWith('-')) return { max: 0 };
  return { max: asBound(rounded(max)) };
}

/** At least twice a number, as the next of 1, 2, 5, 10, 20, 50 …; of what is less than one, one. */
function rounded(text: string): string {
  const whole = Number(text) < 1e21 && !/e/i.test(text) ? (text.split('.')[0] ?? '0') : BigInt(Math.ceil(Number(text))).toString();
  const twice = (BigInt(whole === '' ? '0' : whole) + 1n) * 2n;
  const zeros = '0'.repeat(Math.max(0, twice.toString().length - 1));
  for (const first of ['1', '2', '5', '10']) if (BigInt(first + zeros) >= twice) return first + zeros;
  return `10${zeros}`;
}

/** Numbers that YAML would round are written as texts. */
const asBound = (text: string): number | string => (text.length <= 15 ? Number(text) : text);

function powerOfTwoFrom(length: number): number {
  let power = 8;
  while (power < length) power *= 2;
  return power;
}

function orderProposal({ later, earlier, rows, strictly }: ReturnType<PairSight['orders']>[number]): Proposal {
  return {
    id: `${later}-not-before-${earlier}`,
    column: null,
    word: 'pair_greater',
    parameters: { column_A: later, column_B: earlier, or_equal: true, ignore_row_if: 'either_value_is_missing' },
    basis: 'rows',
    evidence: `so in all ${rows} rows with both, and later in ${strictly} of them`,
  };
}

function sumProposal({ parts, sum, rows, telling }: ReturnType<PairSight['sums']>[number]): Proposal {
  return {
    id: `${parts.join('-and-')}-add-up-to-${sum}`,
    column: null,
    word: 'sum_equals',
    parameters: { column_list: [...parts], sum_column: sum, ignore_row_if: 'any_value_is_missing' },
    basis: 'rows',
    evidence: `so in all ${rows} rows with the three, and in ${telling} of them neither part is zero`,
  };
}

/** Fewer rows say nothing of shares. */
const LEAST_ROWS = 100;
/** How often each of a few values was seen at least, on average. */
const REPEATED = 10;
/** Every insert and update counts, and no old rows are needed. */
const CHANGES = { window: { every: '1h', of: 'changes' } } as const;

/** At least twice a share, as the next of 1, 2 or 5 hundredths, tenths …; 1 where that is nothing to hold on to. */
function shareFrom(share: number): number {
  for (const bound of [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5]) if (bound >= share * 2) return bound;
  return 1;
}

const SHOWN_MAX = 8;

function countsOf(set: NonNullable<ColumnFacts['set']>): string {
  const shown = set.slice(0, SHOWN_MAX).map(({ value, count }) => `${JSON.stringify(value)} (${count})`);
  return shown.join(', ') + (set.length > SHOWN_MAX ? `, and ${set.length - SHOWN_MAX} more` : '');
}

/** Whether a rule file may say so, and means something by it: what no value of the type can break is refused, or warned of. */
function isUsable(proposal: Proposal, dataset: Dataset): boolean {
  const parsed = parseContract(ruleFileText({ dataset: dataset.name, rows: 0, columns: [], rules: [proposal] }, null), 'profile.yaml');
  if ('problems' in parsed) return false;
  const compiled = compileContract(parsed.contract, dataset);
  return 'rules' in compiled && parsed.contract.warnings.length + compiled.warnings.length === 0;
}
