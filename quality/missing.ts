/** `missing`: values that stand for none beside a check, such as "" or N/A. Its cells are judged as if they were null. */
import { CELL_NULL, type Column, type Dataset, type EncodedType, type Row, UNCHANGED, type Value } from '../core/event.ts';
import { isCaseless, isPadded } from '../core/expression/columns.ts';
import { ByteSet } from './encoded/byte-set.ts';
import { type EncodedTest, formOf, lengthOf, offsetOf, Undecided } from './encoded/cells.ts';
import { type Bound, type Expectation, typeOf } from './expectation.ts';
import { canonicalizer, type Member } from './expectations/sets.ts';

export type Token = string | number | boolean;

export const missingSchema = {
  type: 'array',
  minItems: 1,
  items: { type: ['string', 'number', 'boolean'] },
  title: 'Missing',
  description: 'Values that stand for none, such as "" or N/A: the check judges them as if they were null.',
} as const;

/** Whether an expectation judges the values of the row by themselves; others look at the change, at other rows or at the table. */
export function readsCells({ name, asksTarget, needsBefore, judgesTable, on }: Expectation): boolean {
  return (
    asksTarget === null &&
    !needsBefore &&
    !judgesTable &&
    name !== 'expr' &&
    name !== 'no_delete' &&
    !(name === 'json_schema' && on === 'row')
  );
}

type Refuse = (message: string, fix: string) => null;

/** The check with such cells read as nulls; null, and a problem, where a token is a value of none of its columns. `refuse` null: such tokens are left out. */
export function withMissing(bound: Bound, tokens: readonly Token[], dataset: Dataset, refuse: Refuse | null): Bound | null {
  const sets = new Map<number, TokenSet>();
  for (const index of bound.columns) {
    const column = dataset.columns[index];
    const set = column === undefined ? null : tokenSet(column, tokens);
    if (set !== null && (refuse !== null || set.written.size > 0)) sets.set(index, set);
  }
  if (refuse === null && sets.size === 0) return bound;
  const known = [...sets.values()];
  const stray = tokens.find((token) => !known.some(({ written }) => written.has(token)));
  if (stray !== undefined && refuse !== null) {
    const named = bound.columns.map((index) => dataset.columns[index]).filter((column) => column !== undefined);
    const kinds = named.map((column) => `${column.name}, which is ${typeOf(column)}`).join(', or of ');
    return refuse(`${JSON.stringify(stray)} is no value of ${kinds}`, known[0]?.fix ?? 'Remove missing.');
  }
  const masked = new MaskedRow(sets);
  const { columns, reason, encoded } = bound;
  return {
    columns,
    reason,
    test: (row, event) => bound.test(masked.of(row), event),
    isMissing: (row, column) => masked.of(row).value(column) === null,
    ...(encoded !== undefined && { encoded: encodedBeside(encoded, columns, sets) }),
  };
}

/** What is wrong with tokens beside a column: one that is no value of it. Null where nothing is. */
export function strayToken(column: Column, tokens: readonly Token[]): { readonly message: string; readonly fix: string } | null {
  const set = tokenSet(column, tokens);
  const stray = tokens.find((token) => set?.written.has(token) !== true);
  if (stray === undefined) return null;
  return {
    message: `${JSON.stringify(stray)} is no value of ${column.name}, which is ${typeOf(column)}`,
    fix: set?.fix ?? 'Remove missing.',
  };
}

/** Those of the tokens that are values of the column. */
export function tokensOfColumn(column: Column | undefined, tokens: readonly Token[]): readonly Token[] {
  return column === undefined || tokens.length === 0 ? [] : [...(tokenSet(column, tokens)?.written ?? [])];
}

interface TokenSet {
  /** Those that are values of the column. */
  readonly written: ReadonlySet<Token>;
  readonly has: (value: Exclude<Value, null | typeof UNCHANGED>) => boolean;
  /** Where a text is compared byte by byte. */
  readonly bytes: ByteSet | null;
  readonly fix: string;
}

function tokenSet(column: Column, tokens: readonly Token[]): TokenSet | null {
  const canonical = canonicalizer(column);
  if (canonical === null) return null;
  const written = tokens.filter((token) => canonical.member(token) !== null);
  const members = new Set<Member | null>(written.map((token) => canonical.member(token)));
  const isPlain = column.type === 'text' && column.native !== 'uuid' && !isCaseless(column) && !isPadded(column);
  return {
    written: new Set(written),
    has: (value) => {
      try {
        return members.has(canonical.cell(value));
      } catch {
        return false; // The check says that it cannot be read.
      }
    },
    bytes: isPlain && written.length > 0 ? new ByteSet(written.map((token) => Buffer.from(String(token)))) : null,
    fix: canonical.fix,
  };
}

/** One row at a time, with nulls where tokens stand. */
class MaskedRow implements Row {
  readonly encoded = null;
  readonly #sets: ReadonlyMap<number, TokenSet>;
  #row: Row | null = null;

  constructor(sets: ReadonlyMap<number, TokenSet>) {
    this.#sets = sets;
  }

  of(row: Row): Row {
    this.#row = row;
    return this;
  }

  value(column: number): Value {
    const value = this.#row?.value(column) ?? null;
    return value !== null && value !== UNCHANGED && this.#sets.get(column)?.has(value) === true ? null : value;
  }
}

/** Rows whose cells are none of the tokens are judged where they lie. Null where that cannot be seen by the bytes. */
function encodedBeside(encoded: NonNullable<Bound['encoded']>, columns: readonly number[], sets: ReadonlyMap<number, TokenSet>) {
  return (types: readonly EncodedType[]): EncodedTest | null => {
    const test = encoded(types);
    const bytes = columns.flatMap((column) => {
      const set = sets.get(column);
      return set === undefined || set.written.size === 0
        ? []
        : [{ at: 2 * column, set: formOf(types, column) === 'text' ? set.bytes : null }];
    });
    if (test === null || bytes.some(({ set }) => set === null)) return null;
    return (row, event) => {
      for (let i = 0; i < bytes.length; i++) {
        const { at = 0, set = null } = bytes[i] ?? {};
        const length = lengthOf(row, at);
        if (length > CELL_NULL && set?.has(row.bytes, offsetOf(row, at), length) === true) return Undecided;
      }
      return test(row, event);
    };
  };
}
