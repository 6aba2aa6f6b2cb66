/** unique and compound_unique on a live stream: no other row at the target has the values of this one. Over a file, both are expectations of the catalogue. */
import type { Column } from '../../core/event.ts';
import { askedTests, type Bound, columnOf, defineExpectation, type Site, typeOf } from '../expectation.ts';

export const unique = defineExpectation({
  name: 'unique',
  bare: true,
  judgesNulls: true,
  asksTarget: 'all rows',
  schema: { const: true, title: 'Unique values', description: 'No two rows have the same value. Nulls are none.' },
  bind: (_, site) => bindUnique([columnOf(site).index], 'has a value that another row has', site),
});

export const compoundUnique = defineExpectation({
  name: 'compound_unique',
  on: 'row',
  judgesNulls: true,
  asksTarget: 'all rows',
  schema: {
    type: 'array',
    title: 'Unique rows',
    description: 'No two rows have the same values in all of these columns. Nulls are equal; a row of nulls alone is not judged.',
    minItems: 2,
    items: { type: 'string', minLength: 1 },
  },
  bind: (parameters, site) => {
    const columns = parameters.map((name, at) => site.columnIndex(name, at));
    if (columns.includes(null)) return null;
    const places = columns.filter((place) => place !== null);
    if (new Set(places).size < places.length) return site.refuse('a column is named twice', 'Name each once.');
    return bindUnique(places, `another row has the same ${parameters.join(', ')}`, site);
  },
});

function bindUnique(columns: readonly number[], reason: string, site: Site): Bound | null {
  for (const place of columns) {
    const column = site.dataset.columns[place];
    if (column !== undefined && !isComparable(column))
      return site.refuse(`${column.name} is ${typeOf(column)}, whose values are not equal or unequal`, 'Name another column.');
  }
  const { key } = site.dataset;
  if (key.length > 0 && key.every((place) => columns.includes(place)))
    site.warn(
      'the columns hold the whole key, by which rows are told apart: on a stream it cannot fail',
      'Remove the check, or leave it for files.',
    );
  return { columns, reason, ...askedTests(columns), question: { kind: 'unique', columns } };
}

/** Texts of JSON, XML and the like differ without meaning anything else, and the target has no order of them. */
export function isComparable({ type, native }: Column): boolean {
  return type !== 'json' && !/^(?:json|jsonb|xml|point|line|lseg|box|path|polygon|circle)\b/.test(native);
}
