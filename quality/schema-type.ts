/** The TypeScript type of what fits a JSON Schema value, for the keywords that the rule file's schema uses: so each shape is written once. */

type JsonTypes = {
  string: string;
  number: number;
  integer: number;
  boolean: boolean;
  null: null;
  object: Readonly<Record<string, unknown>>;
  array: readonly unknown[];
};

type ObjectOf<P, R extends string> = { readonly [K in keyof P as K extends R ? K : never]: FromSchema<P[K]> } & {
  readonly [K in keyof P as K extends R ? never : K]?: FromSchema<P[K]>;
};

export type FromSchema<S> = S extends { readonly const: infer C }
  ? C
  : S extends { readonly enum: readonly (infer E)[] }
    ? E
    : S extends { readonly anyOf: readonly (infer O)[] }
      ? FromSchema<O>
      : S extends { readonly type: 'array'; readonly items: infer I }
        ? readonly FromSchema<I>[]
        : S extends { readonly type: 'object'; readonly properties: infer P; readonly required: readonly (infer R extends string)[] }
          ? ObjectOf<P, R>
          : S extends { readonly type: 'object'; readonly properties: infer P }
            ? ObjectOf<P, never>
            : S extends { readonly type: 'object'; readonly additionalProperties: infer A extends object }
              ? Readonly<Record<string, FromSchema<A>>>
              : S extends { readonly type: readonly (infer T extends keyof JsonTypes)[] }
                ? JsonTypes[T]
                : S extends { readonly type: infer T extends keyof JsonTypes }
                  ? JsonTypes[T]
                  : unknown;

/** A JSON Schema value, as far as this folder writes them. */
export interface SchemaNode {
  readonly [keyword: string]: unknown;
}
