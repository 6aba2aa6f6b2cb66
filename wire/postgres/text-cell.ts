/** A cell out of PostgreSQL's text of it. */
import type { Column } from '../../core/event.ts';

/** Texts are of the server's own output functions; those of conditions say `t` or, as SQL has it, `true`. */
export function cellOfText(text: string, type: Column['type']): boolean | number | bigint | string | Buffer {
  switch (type) {
    case 'boolean':
      return text === 't' || text === 'true';
    case 'integer': {
      const whole = BigInt(text);
      return Number.isSafeInteger(Number(whole)) ? Number(whole) : whole;
    }
    case 'float':
      return Number(text);
    case 'bytes':
      return Buffer.from(text.slice(2), 'hex');
    case 'decimal':
    case 'text':
    case 'timestamp':
    case 'date':
    case 'time':
    case 'json':
    case 'other':
      return text;
  }
}
