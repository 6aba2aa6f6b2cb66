/** Names of types as pandas, Spark and SQL databases have them, and the kind of values that each is of. */

export type WordKind = 'integer' | 'float' | 'number' | 'text' | 'boolean' | 'moment' | 'nested';

const TYPE_WORDS: readonly (readonly [RegExp, WordKind])[] = [
  [/^(u?int(eger)?\d*|u?int\d+dtype|(big|small|tiny|long|short)(int(eger)?)?(type)?|integertype|serial|int_)$/i, 'integer'],
  [/^(float\d*|float_|double|double[ _]precision|real|floattype|doubletype)$/i, 'float'],
  [/^(numeric|decimal|decimaltype|number)(\(.*\))?$/i, 'number'],
  [/^(str\d*|string(type|dtype)?|(var)?char(acter)?( varying)?(\(.*\))?|text|nvarchar|citext|uuid)$/i, 'text'],
  [/^(bool(ean)?_?|booleantype|booleandtype)$/i, 'boolean'],
  [/^(datetime(64)?(\[.*\])?|timestamp(tz|type)?( with(out)? time zone)?|date|datetype)$/i, 'moment'],
  [/^(object|json(b)?|dict|list|struct.*|array.*|map.*)$/i, 'nested'],
];

/** null: there is no such type. */
export function kindOfWord(name: string): WordKind | null {
  return TYPE_WORDS.find(([words]) => words.test(name))?.[1] ?? null;
}
