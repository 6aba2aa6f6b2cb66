/** The numbers that a batch brings, and the rows whose numbers it takes away: so that a batch says the same as its transactions one by one. */
import type { ChangeEvent } from '../../../core/event.ts';

/** A group's number. */
export interface GroupNumber {
  readonly group: readonly string[];
  readonly number: bigint;
}

const idOf = ({ group, number }: GroupNumber): string => JSON.stringify([...group, String(number)]);

export class BatchNumbers {
  /** Where rows that were deleted stay at the target, their numbers do. */
  readonly #goneStay: boolean;
  /** What is in quarantine has come. */
  readonly #held = new Set<string>();
  /** Rows that the batch has written, by key; null: gone. */
  readonly #rows = new Map<string, GroupNumber | null>();
  readonly #byId = new Map<string, number>();
  readonly #groups = new Map<string, Set<string>>();
  /** The turn in which a key was changed first; its row at the target says nothing from then on. */
  readonly #changed = new Map<string, number>();
  #emptied = Infinity;
  readonly touching: ChangeEvent[] = [];

  constructor(goneStay: boolean) {
    this.#goneStay = goneStay;
  }

  hold(number: GroupNumber): void {
    this.#held.add(idOf(number));
  }

  /** `number`: that of the row as the event leaves it; undefined: not sent, and so as it was. */
  write(event: ChangeEvent, number: GroupNumber | null | undefined, turn: number): void {
    const { op, key, movedFrom } = event;
    if (this.#goneStay) {
      if (number !== null && number !== undefined) this.#add(number, 1);
      return;
    }
    if (op === 'truncate') {
      for (const [one, row] of this.#rows) if (row !== null) this.#set(one, null);
      this.#emptied = Math.min(this.#emptied, turn);
      return;
    }
    const was = this.#rows.get(movedFrom ?? key);
    if (number === undefined && movedFrom === null) return;
    this.touching.push(event);
    for (const one of movedFrom === null ? [key] : [movedFrom, key]) if (!this.#changed.has(one)) this.#changed.set(one, turn);
    if (movedFrom !== null) this.#set(movedFrom, null);
    this.#set(key, number === undefined ? (was ?? null) : number);
  }

  has(number: GroupNumber): boolean {
    const id = idOf(number);
    return this.#held.has(id) || (this.#byId.get(id) ?? 0) > 0;
  }

  hasBefore({ group, number }: GroupNumber): boolean {
    for (const text of this.#groups.get(JSON.stringify(group)) ?? []) if (BigInt(text) < number) return true;
    return false;
  }

  /** Whether the row that this key has at the target is still there in `turn`. */
  isLeft(key: string | undefined, turn: number): boolean {
    if (this.#emptied <= turn) return false;
    return key === undefined || (this.#changed.get(key) ?? Infinity) > turn;
  }

  #set(key: string, number: GroupNumber | null): void {
    const was = this.#rows.get(key);
    if (was !== undefined && was !== null) this.#add(was, -1);
    this.#rows.set(key, number);
    if (number !== null) this.#add(number, 1);
  }

  #add(number: GroupNumber, by: number): void {
    const [id, group] = [idOf(number), JSON.stringify(number.group)];
    const count = (this.#byId.get(id) ?? 0) + by;
    this.#byId.set(id, count);
    const known = this.#groups.get(group) ?? new Set<string>();
    this.#groups.set(group, known);
    if (count > 0) known.add(String(number.number));
    else known.delete(String(number.number));
  }
}
