/**
 * What an expectation is: the parameters it takes in a rule file, and how it becomes a test of one row. Each lies in a file of its own
 * in expectations/, and expectations/registry.ts names them all.
 */
import {
  type ChangeEvent,
  type Column,
  type Dataset,
  type EncodedType,
  type Operation,
  type Row,
  UNCHANGED,
  type Value,
} from '../core/event.ts';
import type { Question } from '../core/keyed.ts';
import { isPadded, unpadded } from '../core/expression/columns.ts';
import { type EncodedCells, type EncodedTest, formOf } from './encoded/cells.ts';
import { Outcome } from './outcome.ts';
import type { OnFail } from './contract.ts';
import type { FromSchema, SchemaNode } from './schema-type.ts';

/** `row` is the image that is judged: the new row, or the old one where a check names deletes. May throw: that is `Unreadable`. */
export type Test = (row: Row, event: ChangeEvent) => Outcome;

/** A cell that has a value: neither null nor UNCHANGED. */
export type Cell = Exclude<Value, null | typeof UNCHANGED>;

/** What a null does where the check does not speak of nulls. `skip` and `pass`: nothing; a window will count them differently. */
export type Nulls = 'skip' | 'fail' | 'pass';

/** What an expectation may ask while it is bound to a dataset, and where it says what is wrong. */
export interface Site {
  readonly dataset: Dataset;
  /** The column the check stands at; null for checks of the whole row. */
  readonly column: (Column & { readonly index: number }) | null;
  readonly nulls: Nulls;
  /** What a check of old and new values does where the source sent no old ones. */
  readonly noBefore: 'skip' | 'fail';
  /** Where the rule lies, for the problems of parts that make their own (expressions). */
  path(...inParameters: readonly (string | number)[]): string;
  /** A JSON Schema that the parameters name as a file, already read. */
  schemaFile(path: string): unknown;
  /** Says what is wrong; the rule is refused. `at` leads into the parameters. */
  refuse(message: string, fix: string, ...at: readonly (string | number)[]): null;
  /** Says what is odd; the rule stands. */
  warn(message: string, fix: string, ...at: readonly (string | number)[]): void;
  /** The place of a column named in the parameters, or null and a problem. */
  columnIndex(name: string, ...at: readonly (string | number)[]): number | null;
}

export interface Tests {
  readonly test: Test;
  /** What `test` says of a cell of its column that has a value, where that is all it looks at: whether it passes. May throw, too. */
  readonly cell?: (cell: Cell) => boolean;
  /** Of numbers, `cell` passes all that lie between two that it passes. */
  readonly isInterval?: boolean;
  /** The same over rows of a relation as they came, where their cells can be judged so; absent, or null, where only `test` can. */
  readonly encoded?: (types: readonly EncodedType[]) => EncodedTest | null;
}

/** A rule that is ready to judge rows of one dataset. */
export interface Bound extends Tests {
  /** Completes "<column> …" or, for a row, says it all: "is null", "net and tax do not add up". No values of the row. */
  readonly reason: string;
  /** The columns it reads, by index: what `allow_values` may show. */
  readonly columns: readonly number[];
  /** Whether a cell of the row has no value, by tokens that stand for none; absent where only a null has none. */
  readonly isMissing?: (row: Row, column: number) => boolean;
  /** What the target is asked; absent where the row says it all. */
  readonly question?: Question;
}

export interface Expectation {
  readonly name: string;
  /** Whether it stands at a column (`columns:`, or `column:` in the long form) or judges whole rows; `either`: both. */
  readonly on: 'column' | 'row' | 'either';
  /** It may be written as its bare name. */
  readonly bare: boolean;
  /** It speaks of nulls itself: `nulls` does not apply. */
  readonly judgesNulls: boolean;
  /** Its columns, column_A and column_B, may well be of different kinds. */
  readonly mixesKinds: boolean;
  /** It compares with the old row, so it is asked of updates alone. */
  readonly needsBefore: boolean;
  /**
   * It needs other rows, which the target has (core/keyed.ts): `all rows`, where each counts whatever `where` says, or `some`. Null: the row says it all.
   */
  readonly asksTarget: 'all rows' | 'some' | null;
  /** It is about the table, and says the same of every row: no rows of it are chosen. */
  readonly judgesTable: boolean;
  /** What `on_fail` may be; null: anything. */
  readonly onFail: readonly OnFail[] | null;
  /** The operations that it is about, where these are not for the rule file to say. */
  readonly ops: readonly Operation[] | null;
  /** JSON Schema of its parameters, with title and description for editors. */
  readonly schema: SchemaNode;
  bind(parameters: unknown, site: Site): Bound | null;
}

interface Definition<S extends SchemaNode> {
  readonly name: string;
  readonly on?: 'column' | 'row' | 'either';
  readonly bare?: boolean;
  readonly judgesNulls?: boolean;
  readonly mixesKinds?: boolean;
  readonly needsBefore?: boolean;
  readonly asksTarget?: 'all rows' | 'some';
  readonly judgesTable?: boolean;
  readonly onFail?: readonly OnFail[];
  readonly ops?: readonly Operation[];
  readonly schema: S;
  readonly bind: (parameters: FromSchema<S>, site: Site) => Bound | null;
}

/** An expectation whose parameters have the type of its schema. */
export function defineExpectation<const S extends SchemaNode>(definition: Definition<S>): Expectation {
  const { bind } = definition;
  return {
    on: 'column',
    bare: false,
    judgesNulls: false,
    mixesKinds: false,
    needsBefore: false,
    asksTarget: null,
    judgesTable: false,
    onFail: null,
    ops: definition.needsBefore === true ? ['update'] : null,
    ...definition,
    // The rule file was validated with this very schema before anything is bound.
    bind: (parameters, site) => bind(parameters as FromSchema<S>, site),
  };
}

/** The column a column check stands at; the parser lets none through without. */
export function columnOf(site: Site): Column & { readonly index: number } {
  if (site.column === null) throw new Error('a check of a column is bound without one');
  return site.column;
}

/**
 * Tests of one cell: UNCHANGED cells are never judged, nulls go by the policy, of a char(n) the text without its padding is judged. `encoded`
 * has to say of a cell's bytes what `passes` says of its value.
 */
export function cellTests(site: Site, passes: (cell: Cell) => boolean, encoded?: EncodedCells): Tests {
  const column = columnOf(site);
  const { index } = column;
  const whenNull = site.nulls === 'fail' ? Outcome.Fail : Outcome.Pass;
  const judges = isPadded(column) ? (cell: Cell) => passes(typeof cell === 'string' ? unpadded(cell) : cell) : passes;
  const test: Test = (row) => {
    const value = row.value(index);
    if (value === null) return whenNull;
    if (value === UNCHANGED) return Outcome.Pass;
    return judges(value) ? Outcome.Pass : Outcome.Fail;
  };
  return encoded === undefined ? { test, cell: judges } : { test, cell: judges, encoded: encodedCell(column, whenNull, encoded) };
}

/** The same of a cell that is a text; a cell of another kind cannot be read. */
export function textTests(site: Site, passes: (text: string) => boolean, encoded?: EncodedCells): Tests {
  const column = columnOf(site);
  const { index } = column;
  const whenNull = site.nulls === 'fail' ? Outcome.Fail : Outcome.Pass;
  const judges = isPadded(column) ? (text: string) => passes(unpadded(text)) : passes;
  const test: Test = (row) => {
    const value = row.value(index);
    if (typeof value === 'string') return judges(value) ? Outcome.Pass : Outcome.Fail;
    if (value === null) return whenNull;
    return value === UNCHANGED ? Outcome.Pass : Outcome.Unreadable;
  };
  return encoded === undefined ? { test } : { test, encoded: encodedCell(column, whenNull, encoded) };
}

/** Of a check that the target is asked: by itself a row passes, as long as its cells can be read. */
export function askedTests(columns: readonly number[]): Tests {
  const test: Test = (row) => {
    for (const column of columns) row.value(column);
    return Outcome.Pass;
  };
  return { test };
}

function encodedCell(column: Column & { readonly index: number }, whenNull: Outcome, cells: EncodedCells): NonNullable<Tests['encoded']> {
  const place = { at: 2 * column.index, whenNull, padded: isPadded(column) };
  return (types) => {
    const form = formOf(types, column.index);
    return form === null ? null : cells(form, place);
  };
}

/** What a type is called in problems. */
export function typeOf(column: Column): string {
  return column.native === '' ? column.type : column.native;
}
