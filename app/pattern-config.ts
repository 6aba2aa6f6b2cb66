/** What only the loaded values show of the tables that a database source is to find by patterns. */
import { tableMatcher } from '../cdc/postgres/found-tables.ts';
import type { Problem } from '../core/problems.ts';
import type { PostgresSourceConfig } from './config-schema.ts';

type Place = (...path: (string | number)[]) => string;

/** `own`: schemas of the source's own database that its pipelines write to. */
export function patternProblems(source: PostgresSourceConfig, own: readonly string[], at: Place): Problem[] {
  const problems: Problem[] = [];
  const { tables, patterns, except, newTables, snapshot } = source;
  const add = (severity: Problem['severity'], path: string, message: string, fix: string) =>
    problems.push({ severity, path, message, fix });
  if (tables.length === 0 && patterns.length === 0)
    add('error', at('tables'), 'no table is read', 'Name the tables, or patterns that find them, as public.*.');
  for (const [index, table] of tables.entries())
    if (table.includes('*'))
      add(
        'warning',
        at('tables', index),
        `${table} is taken for the name of one table`,
        'If it is to find several, write it under patterns.',
      );
  if (except.length > 0 && patterns.length === 0)
    add('error', at('except'), 'there are no patterns that these could be excepted from', 'Remove it, or add patterns.');
  if (newTables !== 'accept' && snapshot.mode === 'never')
    add(
      'error',
      at('newTables'),
      'a lane that copies nothing does not remember which tables it began with',
      'Name the tables, or set snapshot.mode: initial.',
    );
  for (const schema of own)
    if (tableMatcher({ patterns: patterns.map(withAnyName), except: except.filter(isOfAny) })(`${schema}.x`))
      add(
        'error',
        at('patterns'),
        `they find what is written to the schema ${schema} of this very database`,
        `Except it (${schema}.*), or write to another schema or database.`,
      );
  return problems;
}

const withAnyName = (pattern: string): string => `${pattern.slice(0, pattern.indexOf('.'))}.*`;
/** Only what excepts all of a schema keeps what is written there away. */
const isOfAny = (pattern: string): boolean => pattern.endsWith('.*');
