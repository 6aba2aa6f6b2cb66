/**
 * Expressions over a change, in a subset of CEL (https://cel.dev): `after.total >= 0 && op != "delete"`. Rules (`expr`, `where`), features
 * and routes are written in it. Parsed and type-checked against a dataset once, then run as closures over column indices.
 * docs/rules.md says what the language has.
 */
import { compileNode } from './expression/compile.ts';
import { parseExpression } from './expression/parse.ts';
import type { ChangeEvent, Dataset, Value } from './event.ts';
import type { Problem } from './problems.ts';

/** What an expression gives. `number` is a CEL int or double, `decimal` comes out as its text, `timestamp` as ISO text, `duration` as its microseconds. */
export type ExpressionType = 'bool' | 'int' | 'double' | 'decimal' | 'string' | 'timestamp' | 'duration' | 'bytes' | 'null' | 'list';

export interface CompileExpressionOptions {
  readonly dataset: Dataset;
  /** Where the text stands, for the problems (`datasets/orders.yaml: checks[0].expr`). */
  readonly path: string;
  /** Whether `before.<column>` and `changed(<column>)` may be used. Default true. */
  readonly wantBefore?: boolean;
  /** Further names the text may use, with their types; their values are passed to `evaluate` in this order (a route's `score`). */
  readonly variables?: Readonly<Record<string, 'int' | 'double' | 'string' | 'bool'>>;
  /** What it has to give: `bool` for conditions, `number` for features (a bool, int, double or decimal). Default: anything. */
  readonly want?: 'bool' | 'number';
}

/** What `evaluate` gives: `undefined` is "unknown" (computed from a null or an UNCHANGED cell, or a before image that was not sent). */
export type ExpressionResult = Exclude<Value, symbol> | undefined;

export interface CompiledExpression {
  readonly kind: 'compiled';
  readonly type: ExpressionType;
  /** It gives the same for every event: it reads nothing, or nothing that matters (`… || true`). */
  readonly constant: boolean;
  /** Throws `ExpressionError` where a result cannot be computed (division by zero, a text that is no number): treat the row as unreadable. */
  readonly evaluate: (event: ChangeEvent, ...variables: readonly (number | string | boolean | null)[]) => ExpressionResult;
  /** Indices of the columns that are read from `after` and from `before`, ascending. */
  readonly columns: readonly number[];
  readonly beforeColumns: readonly number[];
}
export interface RefusedExpression {
  readonly kind: 'refused';
  readonly problems: readonly [Problem, ...Problem[]];
}

export { ExpressionError } from './expression/values.ts';

/** Parses and type-checks `text` against the dataset's columns. All problems at once, each with its place in the text. */
export function compileExpression(text: string, options: CompileExpressionOptions): CompiledExpression | RefusedExpression {
  const parsed = parseExpression(text, options.path);
  if (parsed.kind === 'refused') return parsed;
  return compileNode(parsed.root, text, options);
}
