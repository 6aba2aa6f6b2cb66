/** Whole numbers in JSON with all their digits: JSON.parse rounds those beyond 2^53 unless it is told not to. */

/** For JSON.parse, as its reviver: whole numbers beyond ±(2^53-1) are bigints. Takes several times as long as to parse without it. */
export function exactNumber(_key: string, value: unknown, context?: { readonly source?: string }): unknown {
  if (typeof value !== 'number' || Number.isSafeInteger(value) || context?.source === undefined) return value;
  return /^-?\d+$/.test(context.source) ? BigInt(context.source) : value;
}
