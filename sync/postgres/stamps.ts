/** What columns hold that tell of the change by which a row was last written. */
import { Verdict } from '../../core/batch.ts';
import type { ChangeEvent } from '../../core/event.ts';
import { placeDigits, toLsn } from '../../core/position.ts';
import type { Stamp } from './layout.ts';

/** Milliseconds from 1970 to 2000, where PostgreSQL's timestamps begin. */
const EPOCH_MS = 946_684_800_000;

const TRUE = Buffer.from([1]);
const FALSE = Buffer.from([0]);
const WORDS: ReadonlyMap<string, Buffer> = new Map(
  ['read', 'insert', 'update', 'delete', 'truncate', 'pass', 'tag', 'warn'].map((word) => [word, Buffer.from(word)]),
);

/** A time in the binary form of timestamptz. */
export function timeBytes(ms: number): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigInt64BE(BigInt(Math.round((ms - EPOCH_MS) * 1000)));
  return bytes;
}

/** A stamp in the binary form of its type; null for SQL's null. */
export function stampBytes(stamp: Stamp, event: ChangeEvent, verdict: number | undefined): Buffer | null {
  switch (stamp) {
    case 'position':
      return Buffer.from(placeDigits(event.version), 'hex');
    case 'committedAt':
    case 'validFrom':
      return timeBytes(event.committedAtMs);
    case 'validTo':
      return null;
    case 'deletedAt':
      return isDeletion(event) ? timeBytes(event.committedAtMs) : null;
    case 'isDeleted':
      return isDeletion(event) ? TRUE : FALSE;
    case 'operation':
      return WORDS.get(event.op) ?? null;
    case 'verdict':
      return WORDS.get(verdictWord(verdict)) ?? null;
  }
}

/** The same as text. */
export function stampText(stamp: Stamp, event: ChangeEvent, verdict: number | undefined): string | null {
  switch (stamp) {
    case 'position':
      return toLsn(placeDigits(event.version));
    case 'validTo':
      return null;
    case 'committedAt':
    case 'validFrom':
      return new Date(event.committedAtMs).toISOString();
    case 'deletedAt':
      return isDeletion(event) ? new Date(event.committedAtMs).toISOString() : null;
    case 'isDeleted':
      return isDeletion(event) ? 't' : 'f';
    case 'operation':
      return event.op;
    case 'verdict':
      return verdictWord(verdict);
  }
}

const isDeletion = ({ op }: ChangeEvent): boolean => op === 'delete' || op === 'truncate';

/** Nothing else goes on to the target. */
const verdictWord = (verdict: number | undefined): string => (verdict === Verdict.Warn ? 'warn' : verdict === Verdict.Tag ? 'tag' : 'pass');
