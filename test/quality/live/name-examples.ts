/** The example of each name of Great Expectations: of the name itself, or of the short word for it. */
import { parse } from 'yaml';
import { NAME_EXAMPLES } from '../../../quality/gx/examples.ts';
import { CATALOGUE } from '../../../quality/gx/registry.ts';

export type Row = Readonly<Record<string, unknown>>;

/** Null where there is none. */
export function exampleKwargs(name: string): Row | null {
  const own = NAME_EXAMPLES[name];
  if (own !== undefined) return own.kwargs;
  const word = CATALOGUE.get(name)?.word;
  if (word === undefined) return null;
  const rule = parse(word.example.rule) as unknown;
  const [column, items] = word.on === 'column' ? (Object.entries(rule as object)[0] as [string, unknown[]]) : [null, rule as unknown[]];
  const [item] = items;
  const parameters = typeof item === 'string' ? true : (item as Row)[word.name];
  return { ...(column === null ? {} : { column }), ...word.kwargs(parameters) };
}

/** Rows that pass, and rows that do not. */
export function exampleRows(name: string): readonly Row[] {
  const { passes, fails } = NAME_EXAMPLES[name] ?? CATALOGUE.get(name)?.word?.example ?? { passes: [], fails: [] };
  return [...passes, ...fails];
}
