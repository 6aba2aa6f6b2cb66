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
  readonly unscaled: bigint;
  readonly scale: number;
  constructor(unscaled: bigint, scale: number) {
    this.unscaled = unscaled;
    this.scale = scale;
  }
}
