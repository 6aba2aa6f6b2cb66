/** The TypeScript type of a value that fits a JSON Schema, so that the schema and the type are written once. */

type Properties<S extends { properties: unknown }> = S['properties'];
type Required<S> = S extends { readonly required: readonly (infer R)[] } ? R : never;

/** The keywords that the mapping's schema uses. A property is either in `required` or may be left out. */
export type FromSchema<S> = S extends { readonly const: infer C }
  ? C
  : S extends { readonly enum: readonly (infer E)[] }
    ? E
    : S extends { readonly anyOf: readonly (infer O)[] }
      ? FromSchema<O>
      : S extends { readonly type: 'string' }
        ? string
        : S extends { readonly type: 'number' | 'integer' }
          ? number
          : S extends { readonly type: 'boolean' }
            ? boolean
            : S extends { readonly type: 'null' }
              ? null
              : S extends { readonly type: 'array'; readonly items: infer I }
                ? readonly FromSchema<I>[]
                : S extends { readonly type: 'object'; readonly properties: unknown }
                  ? { readonly [K in keyof Properties<S> as K extends Required<S> ? K : never]: FromSchema<Properties<S>[K]> } & {
                      readonly [K in keyof Properties<S> as K extends Required<S> ? never : K]?: FromSchema<Properties<S>[K]>;
                    }
                  : S extends { readonly type: 'object'; readonly additionalProperties: infer A }
                    ? Readonly<Record<string, FromSchema<A>>>
                    : unknown;
