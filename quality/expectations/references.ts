/** references: the row that another one names is there, as a foreign key has it; but it may come later, and the row waits for it. */
import type { DatasetName } from '../../core/event.ts';
import { durationSchema } from '../../core/duration.ts';
import { durationMicros } from '../../core/expression/timestamp.ts';
import type { Match, Parent } from '../../core/keyed.ts';
import type { Check } from '../contract.ts';
import { askedTests, type Bound, columnOf, defineExpectation, type Site, typeOf } from '../expectation.ts';
import type { FromSchema } from '../schema-type.ts';
import { isComparable } from './unique.ts';

const name = { type: 'string', minLength: 1 } as const;
const schema = {
  type: 'object',
  title: 'References',
  description:
    'The row that the column names is there: in the table of dataset, with this value in column. Of several columns: columns, each with the one that it names. wait: for so long it may come later.',
  additionalProperties: false,
  required: ['dataset'],
  properties: {
    dataset: {
      type: 'string',
      pattern: '^[^.\\s]+\\.[^.\\s]([^.]*[^.\\s])?\\.[^.\\s]([\\s\\S]*[^.\\s])?$',
      description: 'source.schema.table of the rows that are named: of the same pipeline.',
    },
    column: { ...name, description: 'Of the check at a column: the column of that dataset.' },
    columns: {
      type: 'object',
      minProperties: 1,
      additionalProperties: name,
      description: 'Of a check of whole rows: each column with the one of that dataset that it names ({region: region, customer: number}).',
    },
    match: {
      enum: ['simple', 'full'],
      default: 'simple',
      description:
        'Of several columns: whether a null in one of them means that nothing is named (simple), or is an error unless all are null (full).',
    },
    wait: {
      ...durationSchema,
      description:
        'a duration such as 2m: for so long a row waits in quarantine for the one that it names before it is judged; 0s: not at all. 1m if left out where rows that fail are held or dropped, else 0s.',
    },
  },
} as const;

type Parameters = FromSchema<typeof schema>;

export const references = defineExpectation({
  name: 'references',
  on: 'either',
  judgesNulls: true,
  asksTarget: 'some',
  schema,
  bind: (parameters, site) => {
    const pairs = pairsOf(parameters, site);
    if (pairs === null) return null;
    const places = pairs.map(({ own, at }) => site.columnIndex(own, ...at));
    if (places.includes(null)) return null;
    const columns = places.filter((place) => place !== null);
    const theirs = pairs.map(({ their }) => their);
    if (new Set(theirs).size < theirs.length)
      return site.refuse('a column of the other dataset is named twice', 'Name each once.', 'columns');
    return bindReference(parameters, { columns, theirs }, site);
  },
});

interface Pair {
  readonly own: string;
  readonly their: string;
  readonly at: readonly string[];
}

function pairsOf({ column, columns }: Parameters, site: Site): Pair[] | null {
  if (site.column === null) {
    if (columns === undefined || column !== undefined)
      return site.refuse(
        'a check of whole rows says which column names which',
        'Write columns: {<column>: <column of the other dataset>}, or place the check at its column.',
      );
    return Object.entries(columns).map(([own, their]) => ({ own, their, at: ['columns', own] }));
  }
  if (column === undefined || columns !== undefined)
    return site.refuse(
      'a check at a column says which column of the other dataset it names',
      'Write column: <its column>, or several columns under checks.',
    );
  return [{ own: columnOf(site).name, their: column, at: ['column'] }];
}

function bindReference(
  { dataset, match = 'simple', wait }: Parameters,
  { columns, theirs }: { readonly columns: readonly number[]; readonly theirs: readonly string[] },
  site: Site,
): Bound | null {
  for (const place of columns) {
    const column = site.dataset.columns[place];
    if (column !== undefined && !isComparable(column))
      return site.refuse(`${column.name} is ${typeOf(column)}, whose values are not equal or unequal`, 'Name another column.');
  }
  const own = columns.map((place) => site.dataset.columns[place]?.name);
  if (dataset === site.dataset.name && own.every((column, i) => column === theirs[i]))
    return site.refuse('each row names itself, so it cannot fail', 'Name another dataset, or other columns.');
  return {
    columns,
    reason: site.column === null ? `${own.join(', ')} name no row of ${dataset}` : `names no row of ${dataset}`,
    ...askedTests(columns),
    question: {
      kind: 'reference',
      columns,
      parent: { dataset: dataset as DatasetName, columns: theirs }, // The schema's pattern is that of a dataset's name.
      match,
      waitMs: wait === undefined ? null : millisOf(wait),
    },
  };
}

function millisOf(text: string): number | null {
  const micros = durationMicros(text);
  return micros === null ? null : Number(micros / 1000n);
}

/** What a check of this kind names, by the rule file alone; null for others. */
export function referenceOf({ expectation, column, parameters }: Check): Reference | null {
  if (expectation !== references) return null;
  const { dataset, column: their, columns, match = 'simple' } = parameters as Parameters; // Validated with this schema when the file was read.
  const pairs = column === null || their === undefined ? Object.entries(columns ?? {}) : [[column, their] as const];
  return {
    columns: pairs.map(([own]) => own),
    parent: { dataset: dataset as DatasetName, columns: pairs.map(([, one]) => one) }, // As in bindReference.
    match,
  };
}

export interface Reference {
  readonly columns: readonly string[];
  readonly parent: Parent;
  readonly match: Match;
}
