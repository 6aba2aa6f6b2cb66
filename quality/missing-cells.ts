/** `missing` over files and windows: values that stand for none are no cells. */
import { Kwargs } from './gx/kwargs.ts';
import { membership } from './gx/values.ts';
import type { Token } from './missing.ts';
import type { FileCell } from './states/cell.ts';

/** null where no value stands for none. Texts are compared to the letter, numbers and dates by their values. */
export function missingCells(tokens: readonly Token[]): ((cell: FileCell) => FileCell) | null {
  if (tokens.length === 0) return null;
  const isToken = membership(tokens, new Kwargs({}, 0));
  return (cell) => (cell !== null && isToken?.(cell) === true ? null : cell);
}
