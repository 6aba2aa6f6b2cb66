/** How bounds and sets are written in rule files, for the window expectations that take them. */
import type { WordExample, Word } from '../gx/expectation.ts';
import type { SchemaNode } from '../schema-type.ts';

const bound = { type: ['number', 'string'] } as const;
const list = { type: 'array', minItems: 2, maxItems: 2, items: { type: ['number', 'string', 'null'] } } as const;

export const boundsProperties = {
  between: { ...list, description: 'The least and the greatest in a list; null is open.' },
  min: { ...bound, description: 'The least.' },
  max: { ...bound, description: 'The greatest.' },
  strict_min: { type: 'boolean', default: false, description: 'It has to be greater than min.' },
  strict_max: { type: 'boolean', default: false, description: 'It has to be less than max.' },
} as const;

export function boundsSchema(title: string, description: string): SchemaNode {
  return {
    title,
    description: `${description} Bounds are included unless strict_min or strict_max; one left out is open.`,
    type: 'object',
    additionalProperties: false,
    minProperties: 1,
    properties: boundsProperties,
  };
}

type Written = Readonly<Record<string, unknown>>;

/** `{between: [20, 200]}` or `{min: 20, max: 200}` as kwargs. The schema was held against it. */
export function boundsKwargs(parameters: unknown): Written {
  const { between, min, max, strict_min, strict_max } = parameters as Written;
  const [low, high] = Array.isArray(between) ? (between as unknown[]) : [min, max];
  return given({ min_value: low, max_value: high, strict_min, strict_max });
}

export function given(kwargs: Written): Written {
  return Object.fromEntries(Object.entries(kwargs).filter(([, value]) => value !== undefined && value !== null));
}

/** The word of a metric between bounds. */
export function metricWord(name: string, title: string, description: string, example: WordExample): Word {
  return { name, on: 'column', level: 'window', schema: boundsSchema(title, description), kwargs: boundsKwargs, example };
}

export const setSchema = (title: string, description: string): SchemaNode => ({
  title,
  description,
  type: 'array',
  minItems: 1,
  items: { type: ['number', 'string', 'boolean'] },
});

export const setKwargs = (parameters: unknown): Written => ({ value_set: parameters });

/** Rows of one column, for examples. */
export function rowsOf(column: string, ...values: readonly unknown[]): Readonly<Record<string, unknown>>[] {
  return values.map((value) => ({ [column]: value }));
}
