/**
 * What can be said of a check before its table is known: that no type of column would make sense of it (bounds the wrong way round, an
 * unsafe regex, an empty set). The check is tried on a column of every kind; where none will do, the reason that the best fitting ones give is told.
 */
import type { Column, ColumnType, DatasetName } from '../core/event.ts';
import { parseExpression } from '../core/expression/parse.ts';
import { suggestion } from '../core/expression/suggest.ts';
import type { Problem } from '../core/problems.ts';
import { bindCheck } from './bind.ts';
import type { Check } from './contract.ts';
import { COLUMN_TYPES } from './schema/types.ts';
import { isObject, type RuleText } from './rule-text.ts';
import { kindOf } from './schema/drift.ts';

export function lintCheck(
  check: Check,
  file: Readonly<Record<string, unknown>>,
  rules: RuleText,
  schemaFiles: ReadonlyMap<string, unknown>,
): void {
  if (check.expectation.name === 'expr') {
    if (typeof check.parameters !== 'string') return;
    const parsed = parseExpression(check.parameters, rules.place(check.parameterKeys));
    if (parsed.kind === 'refused') rules.problems.push(...parsed.problems);
    return;
  }
  if (!rules.fits(check.expectation.schema, check.parameters)) return; // Told already, with the file's schema.
  if (check.expectation.name === 'json_schema' && typeof check.parameters === 'string' && !schemaFiles.has(check.parameters)) return;
  const expected = expectedTypes(file);
  if (check.column !== null && expected !== null && !expected.has(check.column)) {
    const keys = check.keys[0] === 'columns' ? check.keys.slice(0, 2) : [...check.keys, 'column'];
    const warned = rules.problems.some((problem) => problem.path === rules.place(keys));
    if (!warned)
      rules.warn(keys, `schema.columns does not list "${check.column}"`, suggestion(check.column, [...expected.keys()], 'column'));
  }
  const known = check.column === null ? null : (expected?.get(check.column) ?? null);
  const attempts: Problem[][] = [];
  for (const kindsOf of known === null ? kindsToTry(check) : [() => known]) {
    const problems = attempt(check, kindsOf, rules, schemaFiles).filter(({ severity }) => severity === 'error');
    if (problems.length === 0) return;
    attempts.push(problems);
  }
  rules.problems.push(...likeliest(attempts));
}

type KindsOf = (column: string) => ColumnType;

/** Kinds whose values can be listed. */
const LISTED = COLUMN_TYPES.filter((type) => type !== 'json' && type !== 'bytes');

/** One kind for all columns; for checks that say of each what its values are, every two. */
function kindsToTry({ expectation, parameters }: Check): readonly KindsOf[] {
  if (!expectation.mixesKinds || !isObject(parameters)) return COLUMN_TYPES.map((type) => () => type);
  const { column_A: first } = parameters;
  return LISTED.flatMap((a) =>
    LISTED.map(
      (b): KindsOf =>
        (column) =>
          column === first ? a : b,
    ),
  );
}

/** The kind of column that the check fits best is the one that most was meant for: fewest problems, then those that most kinds share. */
function likeliest(attempts: readonly Problem[][]): readonly Problem[] {
  const fewest = Math.min(...attempts.map(({ length }) => length));
  const idOf = ({ path, message }: Problem) => `${path} ${message}`;
  const shared = (problems: readonly Problem[]) => {
    const ids = new Set(problems.map(idOf));
    return attempts.flat().filter((problem) => ids.has(idOf(problem))).length;
  };
  const [best = []] = attempts.filter(({ length }) => length === fewest).sort((a, b) => shared(b) - shared(a));
  return best;
}

/** The problems of the check on a dataset with columns of these kinds. */
function attempt(check: Check, kindsOf: KindsOf, rules: RuleText, schemaFiles: ReadonlyMap<string, unknown>): Problem[] {
  const { column, expectation, parameters } = check;
  const names = new Set(column === null ? [] : [column]);
  // A check of a column that asks the target may name others beside it.
  if (column === null || expectation.asksTarget !== null) for (const name of textsIn(parameters)) names.add(name);
  const columns: Column[] = [...names].map((name) => {
    const type = kindsOf(name);
    return { name, type, native: type === 'integer' ? 'bigint' : '', nullable: true };
  });
  const problems: Problem[] = [];
  const dataset = { name: 'any' as DatasetName, version: 0, columns, key: [] };
  bindCheck(check, { dataset, place: (keys) => rules.place(keys), schemaFiles, problems });
  return problems;
}

/** All texts in the parameters of a check of rows: the names of columns are among them. */
function textsIn(value: unknown): string[] {
  if (typeof value === 'string') return [value];
  if (Array.isArray(value)) return value.flatMap(textsIn);
  return isObject(value) ? Object.entries(value).flatMap(([key, one]) => [key, ...textsIn(one)]) : [];
}

/** The kinds of the columns that the schema section lists; null where it lists none. */
function expectedTypes(file: Readonly<Record<string, unknown>>): ReadonlyMap<string, ColumnType | null> | null {
  const { schema } = file;
  if (!isObject(schema) || !isObject(schema['columns'])) return null;
  return new Map(
    Object.entries(schema['columns']).map(([name, column]) => {
      const type = isObject(column) ? column['type'] : column;
      return [name, typeof type === 'string' ? kindOf(type) : null];
    }),
  );
}
