/** Results as JSON: exact integers and decimals in their digits, infinities as 1e999, which every parser reads as one. */
import { decimalText } from '../../core/expression/decimal.ts';
import { Decimal } from '../../core/expression/values.ts';

/** Node has it; the library that types it comes later. */
const { rawJSON } = JSON as unknown as { rawJSON: (this: void, text: string) => unknown };

export function resultJson(value: unknown): string {
  return JSON.stringify(
    value,
    (_key, item: unknown) => {
      if (typeof item === 'bigint') return rawJSON(String(item));
      if (item instanceof Decimal) return rawJSON(decimalText(item));
      if (item === Infinity) return rawJSON('1e999');
      return item === -Infinity ? rawJSON('-1e999') : item;
    },
    2,
  );
}
