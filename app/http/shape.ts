/** The words in which the shapes of the HTTP API are written: JSON Schemas, each with a description. */
import type { SchemaNode } from '../schema-type.ts';

export const text = (description: string) => ({ type: 'string', description }) as const;
export const textOrNull = (description: string) => ({ type: ['string', 'null'], description }) as const;
export const whole = (description: string) => ({ type: 'integer', description }) as const;
export const numberOrNull = (description: string) => ({ type: ['number', 'null'], description }) as const;
export const yes = (description: string) => ({ type: 'boolean', description }) as const;
export const list = <const S extends SchemaNode>(items: S, description: string) => ({ type: 'array', items, description }) as const;
export const record = <const S extends SchemaNode>(additionalProperties: S, description: string) =>
  ({ type: 'object', additionalProperties, description }) as const;
export const orNull = <const S extends SchemaNode>(schema: S, description: string) =>
  ({ anyOf: [schema, { type: 'null' }], description }) as const;
export function shape<const P extends Readonly<Record<string, SchemaNode>>>(description: string, properties: P) {
  return {
    type: 'object',
    description,
    properties,
    required: Object.keys(properties) as readonly string[],
    additionalProperties: false,
  } as const;
}
