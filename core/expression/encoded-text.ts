/** Texts beside constants, compared as the bytes that their source encoded: conditions ask little else, and to make a text of them takes most of the time. */
import { CELL_NULL, CELL_UNCHANGED, type ChangeEvent, type EncodedRow, type EncodedType } from '../event.ts';
import type { Evaluate } from './compile.ts';

/** Where a column is read. */
export interface ColumnCell {
  readonly column: number;
  readonly image: 'after' | 'before';
}

/** Whether the cell is one of the texts: null is none of them, and what was not sent is unknown. `otherwise` answers for rows that are not encoded. */
export function isOneOf({ column, image }: ColumnCell, texts: readonly string[], otherwise: Evaluate): Evaluate {
  const members = texts.map((text) => Buffer.from(text));
  let types: readonly EncodedType[] | null = null;
  let isText = false;
  return (event: ChangeEvent, variables) => {
    const row = (image === 'after' ? event.after : event.before)?.encoded ?? null;
    if (row === null) return otherwise(event, variables);
    if (row.types !== types) {
      types = row.types;
      isText = types[column]?.format === 'binary' && types[column].type?.isText === true;
    }
    if (!isText) return otherwise(event, variables);
    const length = row.cells[row.at + 2 * column + 1] ?? CELL_NULL;
    if (length < 0) return length === CELL_UNCHANGED ? undefined : false;
    const at = row.cells[row.at + 2 * column] ?? 0;
    for (let i = 0; i < members.length; i++) {
      const member = members[i];
      if (member !== undefined && member.length === length && isAt(row, at, member)) return true;
    }
    return false;
  };
}

function isAt({ bytes }: EncodedRow, at: number, member: Uint8Array): boolean {
  for (let i = 0; i < member.length; i++) if (bytes[at + i] !== member[i]) return false;
  return true;
}
