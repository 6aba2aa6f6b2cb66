/** Whole numbers out of JSON and other texts with all their digits: a number where one holds them, else a bigint. */

/** For JSON.parse, as its reviver: whole numbers beyond ±(2^53-1) are bigints. Takes several times as long as to parse without it. */
export function exactNumber(_key: string, value: unknown, context?: { readonly source?: string }): unknown {
  if (typeof value !== 'number' || Number.isSafeInteger(value) || context?.source === undefined) return value;
  return /^-?\d+$/.test(context.source) ? BigInt(context.source) : value;
}

/** The whole number of a text that is one. */
export function wholeNumber(text: string): number | bigint {
  const near = Number(text);
  return Number.isSafeInteger(near) ? near : BigInt(text);
}
