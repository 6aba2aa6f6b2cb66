/** The TypeScript type of a config that fits a JSON Schema value, so that the schema and the type are written once. */
import type { Secret } from './secret.ts';

/**
 * The keywords that the config's schema uses. `kind` names what the loader makes of a text: milliseconds, bytes, a `Secret`, an
 * absolute path, or either of the last two (`place`: a database's url is a secret, anything else a path). A property is either in `required` or has a `default`; a default of null means that the option may be left out.
 */
export interface SchemaNode {
  readonly type?:
    'object' | 'array' | 'string' | 'number' | 'integer' | 'boolean' | 'null' | readonly ['string' | 'number' | 'integer', 'null'];
  readonly title?: string;
  readonly description?: string;
  readonly default?: unknown;
  readonly examples?: readonly unknown[];
  readonly const?: string | number;
  readonly enum?: readonly string[];
  readonly pattern?: string;
  readonly minLength?: number;
  readonly minimum?: number;
  readonly maximum?: number;
  readonly minItems?: number;
  readonly minProperties?: number;
  readonly uniqueItems?: boolean;
  readonly items?: SchemaNode;
  readonly properties?: Readonly<Record<string, SchemaNode>>;
  readonly propertyNames?: { readonly pattern: string };
  readonly required?: readonly string[];
  readonly additionalProperties?: false | SchemaNode;
  readonly anyOf?: readonly SchemaNode[];
  readonly 'x-kind'?: 'duration' | 'size' | 'secret' | 'path' | 'place';
  readonly 'x-unit'?: string;
}

/** What the loader returns for a value that fits `S`. */
export type FromSchema<S> = S extends { readonly 'x-kind': 'secret' }
  ? Secret
  : S extends { readonly 'x-kind': 'place' }
    ? string | Secret
    : S extends { readonly 'x-kind': 'duration' | 'size' }
      ? number
      : S extends { readonly const: infer C }
        ? C
        : S extends { readonly enum: readonly (infer E)[] }
          ? E
          : S extends { readonly type: readonly ['string', 'null'] }
            ? string | null
            : S extends { readonly type: readonly ['number' | 'integer', 'null'] }
              ? number | null
              : S extends { readonly type: 'string' }
                ? string
                : S extends { readonly type: 'number' | 'integer' }
                  ? number
                  : S extends { readonly type: 'boolean' }
                    ? boolean
                    : S extends { readonly type: 'array'; readonly items: infer I }
                      ? readonly FromSchema<I>[]
                      : S extends { readonly type: 'object'; readonly properties: infer P }
                        ? { readonly [K in keyof P]: FromSchema<P[K]> | (P[K] extends { readonly default: null } ? null : never) }
                        : S extends { readonly type: 'object'; readonly additionalProperties: infer A }
                          ? Readonly<Record<string, FromSchema<A>>>
                          : S extends { readonly anyOf: readonly (infer O)[] }
                            ? FromSchema<O>
                            : S extends { readonly type: 'null' }
                              ? null
                              : unknown;
