/** The values of expressions while they run, and what goes wrong with them. */

/** A result that cannot be computed from this row. The message never holds a value. */
export class ExpressionError extends Error {
  override readonly name = 'ExpressionError';
}

/**
 * By static type. int: number, or bigint beyond ±(2^53-1). double: number. decimal: its text or a Decimal. string: string.
 * timestamp: ISO text as PostgreSQL writes it in UTC, or microseconds since 1970 as bigint. duration: microseconds as bigint.
 * null is the value null; undefined is "unknown".
 */
export type Operand = undefined | null | boolean | number | bigint | string | Uint8Array | Decimal | readonly Operand[];

/** An exact decimal: unscaled / 10^scale. */
export class Decimal {
  /** The unscaled integer: a number where a double holds it, as it does for most columns, so that most arithmetic makes no bigint. */
  readonly digits: number | bigint;
  readonly scale: number;

  /** A number is a safe integer. */
  constructor(unscaled: number | bigint, scale: number) {
    this.digits = typeof unscaled === 'number' ? unscaled + 0 : shortest(unscaled); // Minus zero is zero.
    this.scale = scale;
  }

  get unscaled(): bigint {
    return BigInt(this.digits);
  }
}

function shortest(value: bigint): number | bigint {
  const near = Number(value);
  return Number.isSafeInteger(near) ? near : value;
}
