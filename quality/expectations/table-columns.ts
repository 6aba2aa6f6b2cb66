/**
 * column_count, column_exists, columns_match and columns_in_order: the columns that a table has. They say the same of every row: what it came
 * out of is as it should be, or it is not. Of a table that is not when the rules are loaded, that is told at once.
 */
import { defineExpectation, type Bound, type Site } from '../expectation.ts';
import { Outcome } from '../outcome.ts';
import type { FromSchema } from '../schema-type.ts';
import { boundsProperties } from '../windows/words.ts';

const column = { type: 'string', minLength: 1 } as const;
const columnList = { type: 'array', minItems: 1, items: column } as const;
const count = { type: 'integer', minimum: 0 } as const;

export const COLUMN_COUNT = {
  title: 'Number of columns',
  description:
    'The table has so many columns: a number, or bounds, which are included unless strict_min or strict_max; one left out is open.',
  anyOf: [
    count,
    {
      type: 'object',
      additionalProperties: false,
      minProperties: 1,
      properties: {
        ...boundsProperties,
        between: {
          type: 'array',
          minItems: 2,
          maxItems: 2,
          items: { type: ['integer', 'null'] },
          description: boundsProperties.between.description,
        },
        min: { ...count, description: boundsProperties.min.description },
        max: { ...count, description: boundsProperties.max.description },
      },
    },
  ],
} as const;

export const COLUMN_EXISTS = {
  title: 'Column',
  description: 'The table has this column; with `index`, in that place, counted from 0.',
  anyOf: [
    column,
    {
      type: 'object',
      additionalProperties: false,
      required: ['column'],
      properties: { column: { ...column, description: 'The column.' }, index: { ...count, description: 'Its place, counted from 0.' } },
    },
  ],
} as const;

export const COLUMNS_MATCH = {
  title: 'Columns',
  description: 'The table has these columns, in any order, and no others unless exact_match is false.',
  anyOf: [
    columnList,
    {
      type: 'object',
      additionalProperties: false,
      required: ['columns'],
      properties: {
        columns: { ...columnList, description: 'The columns.' },
        exact_match: { type: 'boolean', default: true, description: 'No other columns.' },
      },
    },
  ],
} as const;

export const COLUMNS_IN_ORDER = {
  title: 'Columns in order',
  description: 'The table has these columns, in this order, and no others.',
  ...columnList,
} as const;

/** What an expectation of columns keeps out: null where the columns are as they should be. */
type Complaint = string | null;

/** The least and the greatest whole number that is meant. */
interface CountBounds {
  readonly least: number;
  readonly most: number;
}

export const columnCount = defineExpectation({
  name: 'column_count',
  on: 'row',
  judgesTable: true,
  schema: COLUMN_COUNT,
  bind: (parameters, site) => {
    const { least, most } = countBounds(parameters);
    if (least > most) return site.refuse('no number is within these bounds, so it always fails', 'Exchange min and max.');
    const { length } = site.dataset.columns;
    const wanted =
      least === most ? `${least}` : most === Infinity ? `${least} or more` : least === 0 ? `${most} or fewer` : `${least} to ${most}`;
    return ofTable(site, length >= least && length <= most ? null : `the table has ${length} columns, and not ${wanted}`);
  },
});

function countBounds(parameters: FromSchema<typeof COLUMN_COUNT>): CountBounds {
  if (typeof parameters === 'number') return { least: parameters, most: parameters };
  const { between, strict_min: isAbove = false, strict_max: isBelow = false } = parameters;
  const [min, max] = between ?? [parameters.min, parameters.max];
  return { least: (min ?? 0) + Number(isAbove && (min ?? null) !== null), most: (max ?? Infinity) - Number(isBelow) };
}

export const columnExists = defineExpectation({
  name: 'column_exists',
  on: 'row',
  judgesTable: true,
  schema: COLUMN_EXISTS,
  bind: (parameters, site) => {
    const { column: name, index } = typeof parameters === 'string' ? { column: parameters, index: undefined } : parameters;
    const found = site.dataset.columns.findIndex((candidate) => candidate.name === name);
    if (found < 0) return ofTable(site, `the table has no column ${name}`);
    return ofTable(site, index === undefined || index === found ? null : `${name} is column ${found} of the table, and not ${index}`);
  },
});

export const columnsMatch = defineExpectation({
  name: 'columns_match',
  on: 'row',
  judgesTable: true,
  schema: COLUMNS_MATCH,
  bind: (parameters, site) => {
    const { columns, exact_match: isExact = true } = 'columns' in parameters ? parameters : { columns: parameters };
    const there = namesOf(site);
    const missing = columns.filter((name) => !there.includes(name));
    const others = isExact ? there.filter((name) => !columns.includes(name)) : [];
    const said = [
      ...(missing.length === 0 ? [] : [`lacks ${missing.join(', ')}`]),
      ...(others.length === 0 ? [] : [`has ${others.join(', ')} as well`]),
    ];
    return ofTable(site, said.length === 0 ? null : `the table ${said.join(', and ')}`);
  },
});

export const columnsInOrder = defineExpectation({
  name: 'columns_in_order',
  on: 'row',
  judgesTable: true,
  schema: COLUMNS_IN_ORDER,
  bind: (columns, site) => {
    const there = namesOf(site);
    const at = Array.from({ length: Math.max(there.length, columns.length) }, (_, place) => place).find(
      (place) => there[place] !== columns[place],
    );
    if (at === undefined) return ofTable(site, null);
    const [found = 'nothing', wanted = 'nothing'] = [there[at], columns[at]];
    return ofTable(site, `column ${at} of the table is ${found}, and not ${wanted}`);
  },
});

const namesOf = ({ dataset }: Site): readonly string[] => dataset.columns.map(({ name }) => name);

function ofTable(site: Site, complaint: Complaint): Bound {
  if (complaint !== null) site.warn(`${complaint}: every row of it fails`, 'Correct the check, or the table.');
  const outcome = complaint === null ? Outcome.Pass : Outcome.Fail;
  return { columns: [], reason: complaint ?? '', test: () => outcome, encoded: () => () => outcome };
}
