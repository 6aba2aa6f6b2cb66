/** What has become of a table since its contract was written, and the policy for each kind of change. */
import type { Column, ColumnType, Dataset } from '../../core/event.ts';
import type { DRIFT_KINDS } from '../contract-schema.ts';
import { compareKinds, compareNative, isKind } from './types.ts';

export type DriftKind = (typeof DRIFT_KINDS)[number];
export type DriftPolicy = 'accept' | 'ignore' | 'warn' | 'hold' | 'quarantine' | 'halt';
export type Evolution = Readonly<Record<DriftKind, DriftPolicy>>;

export interface ExpectedColumn {
  readonly name: string;
  /** A kind of type, or the source's own name of one. */
  readonly type: string;
  /** null: not said, so not compared. */
  readonly nullable: boolean | null;
}

export interface ExpectedSchema {
  readonly columns: readonly ExpectedColumn[];
  readonly evolution: Evolution;
}

/** What a contract does about changes that it does not speak of: what adds or widens is harmless, what takes away stops the lane. */
export const DEFAULT_EVOLUTION: Evolution = {
  add_optional: 'accept',
  add_required: 'warn',
  widen: 'accept',
  nullable: 'warn',
  drop: 'halt',
  rename: 'halt',
  narrow: 'halt',
  retype: 'halt',
  key: 'hold',
  enum: 'accept',
};

export interface Drift {
  readonly kind: DriftKind;
  readonly column: string;
  readonly policy: DriftPolicy;
  /** What changed, in words. */
  readonly message: string;
}

/** Every difference between the expected columns and those of the dataset, in the order of its columns, then what is gone. */
export function schemaDrift(expected: ExpectedSchema, dataset: Dataset): readonly Drift[] {
  const drifts: Drift[] = [];
  const add = (kind: DriftKind, column: string, message: string) =>
    drifts.push({ kind, column, message, policy: expected.evolution[kind] });
  const known = new Map(expected.columns.map((column) => [column.name, column]));
  const present = new Set(dataset.columns.map((column) => column.name));
  const gone = new Set(expected.columns.filter((column) => !present.has(column.name)).map((column) => column.name));
  for (const [index, column] of dataset.columns.entries()) {
    const wanted = known.get(column.name);
    if (wanted === undefined) {
      const former = renamedFrom(expected, dataset, index, gone);
      if (former !== null) {
        gone.delete(former);
        add('rename', column.name, `column ${former} is called ${column.name} now`);
      } else if (column.nullable) add('add_optional', column.name, `column ${column.name} is new`);
      else add('add_required', column.name, `column ${column.name} is new, and may not be null`);
      continue;
    }
    const relation = relationOf(wanted, column);
    if (relation !== 'same')
      add(relation, column.name, `column ${column.name} is ${column.native || column.type}, and was to be ${wanted.type}`);
    if (wanted.nullable === false && column.nullable) add('nullable', column.name, `column ${column.name} may be null now`);
  }
  for (const name of gone) add('drop', name, `column ${name} is gone`);
  return drifts;
}

/** A column is renamed where one stands at the place of another that is gone and has its type, and nothing around it moved. */
function renamedFrom(expected: ExpectedSchema, dataset: Dataset, index: number, gone: ReadonlySet<string>): string | null {
  const column = dataset.columns[index];
  const former = expected.columns[index];
  if (column === undefined || former === undefined || !gone.has(former.name) || relationOf(former, column) !== 'same') return null;
  const neighbour = dataset.columns[index - 1];
  return neighbour === undefined || neighbour.name === expected.columns[index - 1]?.name ? former.name : null;
}

function relationOf(wanted: ExpectedColumn, column: Column): 'same' | 'widen' | 'narrow' | 'retype' {
  return isKind(wanted.type) ? compareKinds(wanted.type, column.type) : compareNative(wanted.type, column.native);
}

/** The kind of an expected type, as far as its name tells; null for a type of the source's own. */
export function kindOf(type: string): ColumnType | null {
  if (isKind(type)) return type;
  for (const [kind, names] of Object.entries(KIND_OF_NATIVE))
    if (names.some((name) => compareNative(name, type.replaceAll(/\(.*\)/g, '')) === 'same')) return kind as ColumnType;
  return null;
}

const KIND_OF_NATIVE: Readonly<Partial<Record<ColumnType, readonly string[]>>> = {
  integer: ['smallint', 'integer', 'bigint'],
  decimal: ['numeric'],
  float: ['real', 'double precision'],
  boolean: ['boolean'],
  text: ['text', 'character varying', 'character'],
  timestamp: ['timestamp with time zone', 'timestamp without time zone'],
  date: ['date'],
  time: ['time without time zone', 'time with time zone'],
  json: ['json', 'jsonb'],
  bytes: ['bytea'],
};
