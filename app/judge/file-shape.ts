/** The columns of a file with their types: as declared, else as all of its values are. */
import type { Column, ColumnType } from '../../core/event.ts';
import { ColumnSeen, fileColumn } from '../../quality/file-columns.ts';
import { kindOf } from '../../quality/schema/drift.ts';
import type { Types } from './cells.ts';
import { type CsvShape, csvShape, typesOfShape } from './csv.ts';
import { isCsv } from './file-kind.ts';
import { readRows, type RowFile } from './read-file.ts';

/** What is known before a row is read. */
export interface Declared {
  readonly types: Types;
  /** All columns, where the file itself tells them. */
  readonly own: readonly string[] | null;
  /** null: nothing says it. */
  readonly typeOf: (column: string) => string | null;
}

/** The columns in table order with their types, those of which nothing tells a type, and of CSV what its fields are. */
export interface FileShape {
  readonly columns: readonly Column[];
  readonly unseen: readonly string[];
  readonly csv: CsvShape | null;
}

/** `--types` says it, else what a rule file expects, else the file's `own`. */
export function declaredTypes(types: Types, expected: Types, own: Types): Declared {
  return {
    types,
    own: own.size === 0 ? null : [...own.keys()],
    typeOf: (column) => types.get(column) ?? expected.get(column) ?? own.get(column) ?? null,
  };
}

/** `found`: what the values of the columns are; null, or left out, where there are none. */
export function shapeOf(
  { types, typeOf }: Declared,
  names: readonly string[],
  found: ReadonlyMap<string, ColumnType | null>,
  csv: CsvShape | null = null,
): FileShape {
  const ordered = tableOrder(types, names);
  const foundOf = (name: string) => found.get(name) ?? null;
  return {
    columns: ordered.map((name) => fileColumn(name, typeOf(name), foundOf(name))),
    unseen: ordered.filter((name) => typeOf(name) === null && foundOf(name) === null),
    csv: csv === null ? null : withTexts(csv, typeOf),
  };
}

/** Fields of a column that is declared to be of texts are texts, whatever they look like: a postal code is no number. */
export function withTexts(csv: CsvShape, typeOf: Declared['typeOf']): CsvShape {
  const isText = (name: string) => kindOf(typeOf(name) ?? '') === 'text';
  return { ...csv, kinds: csv.header.map((name, at) => (isText(name) ? 'text' : (csv.kinds[at] ?? null))) };
}

/** Those of decimals: their numbers keep all their digits. */
export function exactColumns(columns: readonly { readonly name: string; readonly type: ColumnType | null }[]): ReadonlySet<string> {
  return new Set(columns.flatMap(({ name, type }) => (type === 'decimal' ? name : [])));
}

/** By all rows, which are read only where nothing else tells. */
export async function wholeShape(declared: Declared, file: RowFile): Promise<FileShape> {
  if (declared.own !== null) return shapeOf(declared, declared.own, new Map());
  if (!isCsv(file)) return seenShape(declared, file);
  const csv = await csvShape(file);
  return shapeOf(declared, csv.header, typesOfShape(csv), csv);
}

/** By the rows that are read. */
export async function seenShape(declared: Declared, file: RowFile): Promise<FileShape> {
  const seen: ColumnSeen[] = [];
  const { columns } = await readRows(file, 'all', (values) => {
    for (let at = 0; at < values.length; at++) (seen[at] ??= new ColumnSeen()).see(values[at]);
  });
  return shapeOf(declared, columns, new Map(columns.map((name, at) => [name, seen[at]?.type ?? null])));
}

/** Declared columns stand first, in their order; the others as the rows bring them. */
export function tableOrder(types: Types, seen: readonly string[]): readonly string[] {
  return [...types.keys(), ...seen.filter((column) => !types.has(column))];
}
