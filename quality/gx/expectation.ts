/**
 * What an expectation of a Great Expectations suite is here: the kwargs it takes, and how it judges the rows of a file that are read once, in
 * order. Those that judge single rows are made by `defineMap` and its relatives; those of the whole file are the window expectations in
 * windows/, by their Great Expectations names. gx/registry.ts names them all.
 */
import { compareAny, type FileCell, type Present, Unusable } from '../states/cell.ts';
import type { SchemaNode } from '../schema-type.ts';
import type { WindowCheck } from '../windows/check.ts';
import { suggestion } from '../../core/expression/suggest.ts';
import { Kwargs, refuse } from './kwargs.ts';

/** The columns that anything reads, each at a place of its own in the rows that are handed around. */
export class Slots {
  readonly #places = new Map<string, number>();

  slotOf(column: string): number {
    const known = this.#places.get(column);
    if (known !== undefined) return known;
    this.#places.set(column, this.#places.size);
    return this.#places.size - 1;
  }

  get columns(): readonly string[] {
    return [...this.#places.keys()];
  }
}

/** What is known of a file when it has been read. */
export interface FileFacts {
  /** In table order. */
  readonly columns: readonly string[];
  readonly rows: number;
  /** The rows of another table; null where there is none of that name. */
  rowsOf(table: string): number | null;
}

export type ResultFormat = 'BOOLEAN_ONLY' | 'BASIC' | 'SUMMARY' | 'COMPLETE';

export interface Format {
  readonly name: ResultFormat;
  /** Columns that name a row in unexpected_index_list, with their slots. */
  readonly indexColumns: readonly (readonly [string, number])[];
  readonly partialCount: number;
  /** exclude_unexpected_values: places and counts alone. */
  readonly hidesValues: boolean;
}

export interface Outcome {
  readonly success: boolean;
  readonly result: Readonly<Record<string, unknown>>;
}

export interface GxCheck {
  /** `cells` is reused for the next row. */
  row(cells: readonly FileCell[], index: number): void;
  end(facts: FileFacts): Outcome;
}

/** How an expectation is written in a rule file: its short word, and the kwargs that its parameters mean. */
export interface Word {
  readonly name: string;
  readonly on: 'column' | 'row';
  readonly level: 'row' | 'window' | 'schema';
  /** It may be written as its bare name. */
  readonly bare?: boolean;
  /** JSON Schema of its parameters, with a description for editors and for the reference page. */
  readonly schema: SchemaNode;
  readonly kwargs: (parameters: unknown) => Readonly<Record<string, unknown>>;
  /** What it is where its parameters have a key that says so; left out: always the same. */
  readonly or?: OtherMeaning;
  /** Parameters with this key are those of a check of single rows, which is in the registry of these. */
  readonly ofRows?: string;
  /** What it is where a number stands in the place of its parameters. */
  readonly orNumber?: Pick<OtherMeaning, 'expectation' | 'kwargs'>;
  /** Lines for the reference page, as YAML under the column or as an item of checks. */
  readonly example: WordExample;
}

/** The same word for another expectation. */
export interface OtherMeaning {
  readonly key: string;
  /** The value of the key that says nothing. */
  readonly unless?: string;
  /** Nothing stands beside the key. */
  readonly alone?: boolean;
  readonly expectation: GxExpectation;
  readonly kwargs: Word['kwargs'];
}

export interface WordExample {
  readonly rule: string;
  /** So many windows of these rows came before, where it is held against such. */
  readonly after?: { readonly windows: number; readonly rows: readonly Readonly<Record<string, unknown>>[] };
  /** The model whose scores of rows are given, in the place of their cells: a number, or why there is none. */
  readonly scoredBy?: string;
  /** Rows that pass, and rows that do not: a test judges both. */
  readonly passes: readonly Readonly<Record<string, unknown>>[];
  readonly fails: readonly Readonly<Record<string, unknown>>[];
}

export interface GxExpectation {
  /** `expect_…` */
  readonly name: string;
  readonly word?: Word;
  /** The same as a check over the state of a window: for windows that are merged, taken back from and saved. */
  readonly window?: (kwargs: Kwargs) => WindowCheck;
  readonly takes: readonly string[];
  /** Whether `row_condition` chooses the rows it judges. */
  readonly takesRows: boolean;
  prepare(kwargs: Kwargs, slots: Slots, format: Format): GxCheck;
}

const ASIDE_MAX = 10_000;

/** Counts the rows of a check of single rows, and keeps those that are unexpected: as many as the result format shows. */
export class RowTally {
  elements = 0;
  missing = 0;
  unexpected = 0;
  readonly #format: Format;
  readonly #names: readonly (readonly [string, number])[];
  readonly #kept: { readonly value: unknown; readonly place: unknown; readonly index: number }[] = [];
  readonly #keepMax: number;

  constructor(format: Format, names: readonly (readonly [string, number])[]) {
    this.#format = format;
    this.#names = [...names, ...format.indexColumns.filter(([name]) => !names.some(([other]) => other === name))];
    this.#keepMax = format.name === 'COMPLETE' ? Infinity : format.name === 'BOOLEAN_ONLY' ? 0 : format.partialCount;
  }

  fail(value: unknown, cells: readonly FileCell[], index: number): void {
    this.unexpected++;
    if (this.#kept.length < this.#keepMax) this.#kept.push({ value, place: this.placeOf(cells, index), index });
  }

  /** Takes a row that was put aside with its place. */
  failLater(value: unknown, place: unknown, index: number): void {
    this.unexpected++;
    this.#kept.push({ value, place, index });
    // Rows put aside come in no order, so that the first ones are known only when more have come.
    if (this.#kept.length > this.#keepMax + ASIDE_MAX) {
      this.#kept.sort((a, b) => a.index - b.index);
      this.#kept.length = this.#keepMax;
    }
  }

  placeOf(cells: readonly FileCell[], index: number): unknown {
    if (this.#format.indexColumns.length === 0) return index;
    return Object.fromEntries(this.#names.map(([name, slot]) => [name, cells[slot] ?? null]));
  }

  outcome(mostly: number, countsMissing = true): Outcome {
    const judged = this.elements - this.missing;
    const success = judged === 0 || (judged - this.unexpected) / judged >= mostly;
    return { success, result: this.#result(judged, countsMissing) };
  }

  #result(judged: number, countsMissing: boolean): Record<string, unknown> {
    const { elements, missing, unexpected } = this;
    const { name, partialCount } = this.#format;
    if (name === 'BOOLEAN_ONLY') return {};
    const kept = this.#kept.sort((a, b) => a.index - b.index);
    const shown = kept.slice(0, partialCount);
    const { hidesValues } = this.#format;
    const result: Record<string, unknown> = {
      element_count: elements,
      unexpected_count: unexpected,
      unexpected_percent: percent(unexpected, judged),
      ...(!hidesValues && { partial_unexpected_list: shown.map(({ value }) => value) }),
    };
    if (countsMissing) {
      result['missing_count'] = missing;
      result['missing_percent'] = percent(missing, elements);
      result['unexpected_percent_total'] = percent(unexpected, elements);
      result['unexpected_percent_nonmissing'] = percent(unexpected, judged);
    }
    if (name === 'BASIC') return result;
    if (partialCount > 0) {
      result['partial_unexpected_index_list'] = shown.map(({ place }) => place);
      const counted = (name === 'COMPLETE' ? kept : shown).map(({ value }) => value);
      if (!hidesValues) result['partial_unexpected_counts'] = mostCommon(counted, partialCount);
    }
    if (name === 'SUMMARY') return result;
    if (!hidesValues) result['unexpected_list'] = kept.map(({ value }) => value);
    result['unexpected_index_list'] = kept.map(({ place }) => place);
    return result;
  }
}

function percent(part: number, whole: number): number | null {
  return whole === 0 ? null : (part / whole) * 100;
}

interface Counted {
  readonly value: unknown;
  count: number;
}

/** The most common values: the first ones of those that are equally common, and all in the order of their values. Rows are shown as lists. */
function mostCommon(values: readonly unknown[], most: number): readonly Counted[] {
  const counts = new Map<string, Counted>();
  for (const written of values) {
    const value = isRow(written) ? Object.values(written) : written;
    const key = JSON.stringify(value, (_, item: unknown) => (typeof item === 'bigint' ? `${item}n` : item)) ?? '';
    const known = counts.get(key);
    if (known === undefined) counts.set(key, { value, count: 1 });
    else known.count++;
  }
  const common = [...counts.values()].sort((a, b) => b.count - a.count).slice(0, most);
  return common.sort((a, b) => b.count - a.count || compareShown(a.value, b.value));
}

function isRow(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && Object.getPrototypeOf(value) === Object.prototype;
}

function compareShown(a: unknown, b: unknown): number {
  if (Array.isArray(a) && Array.isArray(b)) {
    for (const [at, value] of a.entries()) {
      const order = compareShown(value, b[at]);
      if (order !== 0) return order;
    }
    return a.length - b.length;
  }
  if ((a ?? null) === null || (b ?? null) === null) return Number((a ?? null) !== null) - Number((b ?? null) !== null);
  return compareAny(a as Present, b as Present);
}

/** Throws where a column is not among those of the file. */
export function mustExist(columns: readonly string[], facts: FileFacts, kwarg: string): void {
  for (const column of columns) {
    if (!facts.columns.includes(column))
      throw new Unusable(`${kwarg} names the column "${column}", which does not exist. ${suggestion(column, facts.columns, 'column')}`);
  }
}

interface MapDefinition {
  readonly name: string;
  readonly takes?: readonly string[];
  readonly word?: Word;
  /** Whether a cell that has a value is as expected. Made anew for each file: it may remember rows. */
  readonly bind: (kwargs: Kwargs) => (cell: Present) => boolean;
}

/** An expectation of the cells of one column that have a value. */
export function defineMap({ name, takes = [], bind, word }: MapDefinition): GxExpectation {
  return {
    ...(word === undefined ? {} : { word }),
    name,
    takes: ['column', 'mostly', ...takes],
    takesRows: true,
    prepare: (kwargs, slots, format) =>
      prepareColumn(kwargs, slots, format, (tally) => {
        const passes = bind(kwargs);
        return {
          cell: (cell, cells, index) => {
            if (!passes(cell)) tally.fail(cell, cells, index);
          },
        };
      }),
  };
}

interface ColumnJudge {
  /** Of a cell that has a value. */
  cell(cell: Present, cells: readonly FileCell[], index: number): void;
  /** Once all rows were there, for what only they tell. */
  end?(): void;
}

/** The rows of one column: nulls are counted, and what has a value is judged, at once or at the end. */
export function prepareColumn(kwargs: Kwargs, slots: Slots, format: Format, bind: (tally: RowTally) => ColumnJudge): GxCheck {
  const column = kwargs.column();
  const mostly = kwargs.share('mostly', 1);
  const slot = slots.slotOf(column);
  const tally = new RowTally(format, [[column, slot]]);
  const judge = bind(tally);
  return {
    row: (cells, index) => {
      tally.elements++;
      const cell = cells[slot] ?? null;
      if (cell === null) tally.missing++;
      else judge.cell(cell, cells, index);
    },
    end: (facts) => {
      mustExist([column], facts, 'column');
      judge.end?.();
      return tally.outcome(mostly);
    },
  };
}

/** An expectation about nulls: all rows count. */
export function defineNulls(name: string, expectsNull: boolean): GxExpectation {
  return {
    name,
    takes: ['column', 'mostly'],
    takesRows: true,
    prepare: (kwargs, slots, format) => {
      const column = kwargs.column();
      const mostly = kwargs.share('mostly', 1);
      const slot = slots.slotOf(column);
      const tally = new RowTally(format, [[column, slot]]);
      return {
        row: (cells, index) => {
          tally.elements++;
          const cell = cells[slot] ?? null;
          if ((cell === null) !== expectsNull) tally.fail(cell, cells, index);
        },
        end: (facts) => {
          mustExist([column], facts, 'column');
          return tally.outcome(mostly, false);
        },
      };
    },
  };
}

interface PairDefinition {
  readonly name: string;
  readonly word?: Word;
  readonly takes?: readonly string[];
  readonly bind: (kwargs: Kwargs) => (a: FileCell, b: FileCell) => boolean;
}

export function definePair({ name, takes = [], bind, word }: PairDefinition): GxExpectation {
  return {
    ...(word === undefined ? {} : { word }),
    name,
    takes: ['column_A', 'column_B', 'ignore_row_if', 'mostly', ...takes],
    takesRows: true,
    prepare: (kwargs, slots, format) => {
      const [a, b] = [kwargs.column('column_A'), kwargs.column('column_B')];
      const mostly = kwargs.share('mostly', 1);
      const [slotA, slotB] = [slots.slotOf(a), slots.slotOf(b)];
      const ignore = kwargs.oneOf(
        'ignore_row_if',
        ['both_values_are_missing', 'either_value_is_missing', 'neither'],
        'both_values_are_missing',
      );
      const passes = bind(kwargs);
      const tally = new RowTally(format, [
        [a, slotA],
        [b, slotB],
      ]);
      const isIgnored = (x: FileCell, y: FileCell) =>
        ignore === 'both_values_are_missing'
          ? x === null && y === null
          : ignore === 'either_value_is_missing' && (x === null || y === null);
      return {
        row: (cells, index) => {
          tally.elements++;
          const [x, y] = [cells[slotA] ?? null, cells[slotB] ?? null];
          if (isIgnored(x, y)) tally.missing++;
          else if (!passes(x, y)) tally.fail([x, y], cells, index);
        },
        end: (facts) => {
          mustExist([a], facts, 'column_A');
          mustExist([b], facts, 'column_B');
          return tally.outcome(mostly);
        },
      };
    },
  };
}

interface ManyDefinition {
  readonly name: string;
  readonly takes?: readonly string[];
  readonly word?: Word;
  readonly bind: (kwargs: Kwargs) => (values: readonly FileCell[]) => boolean;
}

export const IGNORE_MANY = ['all_values_are_missing', 'any_value_is_missing', 'never'] as const;

/** An expectation of several columns of a row. */
export function defineMany({ name, takes = [], bind, word }: ManyDefinition): GxExpectation {
  return {
    ...(word === undefined ? {} : { word }),
    name,
    takes: ['column_list', 'ignore_row_if', 'mostly', ...takes],
    takesRows: true,
    prepare: (kwargs, slots, format) => {
      const passes = bind(kwargs);
      return prepareMany(kwargs, slots, format, (tally, object, values, cells, index) => {
        if (!passes(values)) tally.fail(object(), cells, index);
      });
    },
  };
}

type JudgeMany = (
  tally: RowTally,
  object: () => Record<string, FileCell>,
  values: readonly FileCell[],
  cells: readonly FileCell[],
  index: number,
) => void;

/** The rows of a column list: those that are not ignored are judged one by one, and `finish` may judge the rest. */
export function prepareMany(kwargs: Kwargs, slots: Slots, format: Format, judge: JudgeMany, finish?: (tally: RowTally) => void): GxCheck {
  const columns = kwargs.columns();
  if (columns.length < 2) refuse('column_list', 'names one column', 'Name two columns at least.');
  const mostly = kwargs.share('mostly', 1);
  const places = columns.map((column) => slots.slotOf(column));
  const ignore = kwargs.oneOf('ignore_row_if', IGNORE_MANY, 'all_values_are_missing');
  const tally = new RowTally(
    format,
    columns.map((column, at) => [column, places[at] ?? 0]),
  );
  const isNull = (value: FileCell) => value === null;
  return {
    row: (cells, index) => {
      tally.elements++;
      const values = places.map((slot) => cells[slot] ?? null);
      const ignored = ignore === 'all_values_are_missing' ? values.every(isNull) : ignore === 'any_value_is_missing' && values.some(isNull);
      if (ignored) tally.missing++;
      else judge(tally, () => Object.fromEntries(columns.map((column, at) => [column, values[at] ?? null])), values, cells, index);
    },
    end: (facts) => {
      mustExist(columns, facts, 'column_list');
      finish?.(tally);
      return tally.outcome(mostly);
    },
  };
}
