/**
 * Keys that the source tells apart and the target may not: by `citext` or a collation that ignores case, by `character(n)`, whose trailing blanks mean nothing, by a type of
 * fewer digits. Found by the target's own reckoning, one row would take another's place in silence. So of such keys a row is only found by what its key is, and one
 * that the target would take for another's, or not keep as it is, is refused like any row that the target does not take.
 */
import type { PgColumnType } from '../../wire/postgres/row.ts';
import { KEY_TAKEN_FUNCTION } from './migrations.ts';

/**
 * How keys are held against each other: by their texts; by the numbers that these say, which one type may write as 1e+06 and the other as 1000000; or by their values, where the types
 * are one and differ in their digits alone.
 */
export interface KeyMatch {
  readonly by: 'text' | 'number' | 'value';
  /** The target's type, with its modifier and without. */
  readonly type: string;
  readonly base: string;
}

/** A column of the target, as far as it matters to who compares its values. */
export interface ComparingColumn {
  readonly type: string;
  readonly base: string;
  /** Of a domain, the type beneath. */
  readonly baseOid: number;
  readonly typmod: number;
  /** `citext`, or unique under a collation that takes different texts for one. */
  readonly ignoresCase: boolean;
}

const [INT8, INT4, FLOAT4, FLOAT8, BPCHAR, NUMERIC] = [20, 23, 700, 701, 1042, 1700];
const [TIME, TIMESTAMP, TIMESTAMPTZ, INTERVAL, TIMETZ] = [1083, 1114, 1184, 1186, 1266];
const TIMES: ReadonlySet<number> = new Set([TIME, TIMESTAMP, TIMESTAMPTZ, INTERVAL, TIMETZ]);

/** Types whose values floating points round, by their own type. */
const LOST_IN: Readonly<Record<number, readonly number[]>> = { [FLOAT4]: [INT4, INT8, FLOAT8, NUMERIC], [FLOAT8]: [INT8, NUMERIC] };

/** Null where the target tells apart what the source does, or nobody knows how the source does. */
export function keyMatchOf(source: PgColumnType | undefined, target: ComparingColumn): KeyMatch | null {
  let type = source?.type;
  while (type?.kind === 'd' && type.inner !== null) type = type.inner;
  if (source === undefined || type === undefined) return null;
  const { baseOid, typmod } = target;
  const match = (by: KeyMatch['by']): KeyMatch => ({ by, type: target.type, base: target.base });
  if (target.ignoresCase && type.name !== 'citext') return match('text');
  if (baseOid === BPCHAR && type.oid !== BPCHAR) return match('text');
  if (LOST_IN[baseOid]?.includes(type.oid) === true) return match('number');
  const isNarrowed = typmod >= 0 && baseOid === type.oid && source.typmod !== typmod && !(source.typmod >= 0 && source.typmod < typmod);
  if (TIMES.has(baseOid) && isNarrowed) return match('value');
  // The digits behind the point are the last eleven bits, a number that may be negative.
  if (baseOid === NUMERIC && type.oid === NUMERIC && typmod >= 0 && (source.typmod < 0 || scaleOf(source.typmod) > scaleOf(typmod)))
    return match('value');
  return null;
}

const scaleOf = (typmod: number): number => (((typmod - 4) & 0x7ff) ^ 1024) - 1024;

const comparedSql = ({ by }: KeyMatch, expression: string): string =>
  by === 'number' ? `(${expression})::text::numeric` : `(${expression})::text collate "C"`;

/** Beside what an index serves. `alive`: that a row is there; where deleted ones stay, the remains of another's are in nobody's way. */
export function isSameKeySql(match: KeyMatch, cell: string, given: string, equal: string, alive: string | null = null): string {
  if (match.by === 'value') return equal;
  const isSame = `${comparedSql(match, cell)} = ${comparedSql(match, given)}`;
  return `(${equal} and (${isSame}${alive === null ? '' : ` or not (${alive})`}))`;
}

/** The value to be written, where the target keeps it as it is. */
export function keptKeySql(match: KeyMatch, given: string, value: string): string {
  const { by, type, base } = match;
  const kept =
    by === 'value' ? `(${given})::${type} = ${given}` : `${comparedSql(match, `(${value})::${type}`)} = ${comparedSql(match, given)}`;
  return `case when ${kept} then ${value} else ${KEY_TAKEN_FUNCTION}()::${base} end`;
}

/** The key of the row that is there by the target's reckoning, where that is the one that is written, or the remains of a deleted one. */
export function keyInPlaceSql(match: KeyMatch, cell: string, written: string, alive: string | null): string {
  const overRemains = alive === null ? '' : ` when not (${alive}) then ${written}`;
  const isSame = `${comparedSql(match, cell)} = ${comparedSql(match, written)}`;
  return `case when ${isSame} then ${cell}${overRemains} else ${KEY_TAKEN_FUNCTION}()::${match.base} end`;
}
