/** of_type: the column is of one of these types, by the names that pandas, Spark and SQL databases have for them. */
import type { Column } from '../../core/event.ts';
import { anyValue } from '../encoded/tests.ts';
import { cellTests, columnOf, defineExpectation, typeOf } from '../expectation.ts';
import { nativeType } from '../schema/types.ts';
import { kindOfWord, type WordKind } from '../type-words.ts';
import { holdsType } from './type.ts';

const name = { type: 'string', minLength: 1 } as const;

export const OF_TYPE = {
  title: 'Of type',
  description:
    'Every value is of this type, or of one of these, as pandas, Spark or SQL call it (int, str, datetime, VARCHAR). On a stream that is what the column is declared as; texts are not read, which is what `type` does.',
  anyOf: [name, { type: 'array', minItems: 1, items: name }],
} as const;

export const ofType = defineExpectation({
  name: 'of_type',
  schema: OF_TYPE,
  bind: (parameters, site) => {
    const wanted: readonly string[] = typeof parameters === 'string' ? [parameters] : parameters;
    const column = columnOf(site);
    if (!wanted.some((word) => isOf(column, word)))
      return site.refuse(
        `${column.name} is ${typeOf(column)}, so it is never ${wanted.join(' or ')}`,
        wanted.every((word) => kindOfWord(word) === null)
          ? `Write int, float, str, bool, datetime, or a type of SQL: ${typeOf(column)}.`
          : column.type === 'text'
            ? 'Write of_type: str; or type: with integer, decimal or another, which reads the texts.'
            : `Write of_type: ${typeOf(column)}, or remove the check.`,
      );
    return { ...cellTests(site, holdsType(column.type), anyValue), reason: `is no ${wanted.join(' or ')}`, columns: [column.index] };
  },
});

/** The name that the source has for it, in any way of writing it; `numeric` is one for numeric(12,2). Before the table is known, any other name may be. */
function isNative({ native }: Column, word: string): boolean {
  if (native === '') return kindOfWord(word) === null;
  const [own, meant] = [nativeType(native), nativeType(word)];
  const isSame = own.base === meant.base && own.suffix === meant.suffix;
  return isSame && (meant.modifiers.length === 0 || String(meant.modifiers) === String(own.modifiers));
}

function isOf(column: Column, word: string): boolean {
  if (isNative(column, word)) return true;
  const kind = kindOfWord(word);
  // numeric(12,3) is the name of one type, and not of all numbers.
  return kind !== null && (column.native === '' || !word.includes('(')) && KINDS[kind](column);
}

const KINDS: Readonly<Record<WordKind, (column: Column) => boolean>> = {
  integer: ({ type }) => type === 'integer',
  float: ({ type }) => type === 'float',
  number: ({ type }) => type === 'integer' || type === 'float' || type === 'decimal',
  text: ({ type }) => type === 'text',
  boolean: ({ type }) => type === 'boolean',
  moment: ({ type }) => type === 'timestamp' || type === 'date',
  nested: ({ type, native }) => type === 'json' || native.endsWith('[]'),
};
