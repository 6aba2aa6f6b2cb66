/** A table's random changes as a source would bring them, and what the table holds after each. */
import { Batch, type Finding, Verdict } from '../../core/batch.ts';
import type { Resume, Source, Stage } from '../../core/contracts.ts';
import {
  type ChangeEvent,
  type Dataset,
  type DatasetName,
  eventId,
  type LaneId,
  type Position,
  type Row,
  UNCHANGED,
  type Value,
  ValueRow,
  type Version,
} from '../../core/event.ts';
import type { DatasetOptions } from '../../sync/postgres/layout.ts';
import { type PgRelation, PgRow } from '../../wire/postgres/row.ts';
import { builtinType, rawBytes } from '../../wire/postgres/types.ts';
import type { Random } from '../support/random.ts';

export const LANE = 'shop/slot' as LaneId;

export const DATASET: Dataset = {
  name: 'shop.public.items' as DatasetName,
  version: 1,
  columns: [
    { name: 'id', type: 'integer', native: 'bigint', nullable: false },
    { name: 'n', type: 'integer', native: 'integer', nullable: true },
    { name: 'note', type: 'text', native: 'text', nullable: true },
  ],
  key: [0],
};

export const RELATION: PgRelation = {
  dataset: DATASET,
  types: [20, 23, 25].map((oid) => {
    const type = builtinType(oid);
    return { oid, typmod: -1, format: 'binary' as const, decode: type?.decode ?? rawBytes, ...(type === undefined ? {} : { type }) };
  }),
};

/** A table as it is: all of its columns, nothing beside them. */
export const PLAIN: DatasetOptions = {
  schema: null,
  table: null,
  columns: null,
  rename: {},
  softDelete: { at: null, flag: null },
  history: { from: null, to: null },
  write: { position: null, committedAt: null, operation: null, verdict: null },
};

export type Values = readonly [id: number, n: number | null, note: string | null | typeof UNCHANGED];

/** A row as pgoutput would have encoded it. */
export function encoded(...values: readonly Value[]): PgRow {
  const cells = new Int32Array(2 * values.length);
  const parts: Buffer[] = [];
  let at = 0;
  for (const [i, value] of values.entries()) {
    cells[2 * i] = at;
    if (value === null || value === UNCHANGED) {
      cells[2 * i + 1] = value === null ? -1 : -2;
      continue;
    }
    const bytes = i === 0 ? Buffer.alloc(8) : i === 1 ? Buffer.alloc(4) : Buffer.from(String(value));
    if (i === 0) bytes.writeBigInt64BE(BigInt(value as number));
    else if (i === 1) bytes.writeInt32BE(value as number);
    parts.push(bytes);
    cells[2 * i + 1] = bytes.length;
    at += bytes.length;
  }
  return new PgRow(RELATION, Buffer.concat(parts), cells, 0);
}

export interface ShopOptions {
  readonly moves: boolean;
  readonly partial: boolean;
  readonly truncates: boolean;
  /** How many keys there are, and the first of them. */
  readonly keys?: number;
  /** How many numbers there are. */
  readonly numbers?: number;
  readonly firstKey?: number;
}

/** What rows are made of. `mixed`: a source that encodes most of them, and not those with a cell that it is not sure of. */
export type RowForm = 'encoded' | 'values' | 'mixed';

export function rowForm(random: Random): RowForm {
  const place = random.next();
  return place < 0.3 ? 'encoded' : place < 0.6 ? 'mixed' : 'values';
}

/** The changes of one table, made up one by one. */
export class Shop {
  readonly #random: Random;
  readonly #row: (...values: readonly Value[]) => Row;
  readonly #options: ShopOptions;
  readonly rows = new Map<number, Values>();
  #commit = 0;
  #ordinal = 0;

  constructor(random: Random, form: RowForm, options: ShopOptions) {
    this.#random = random;
    let made = 0;
    this.#row = (...values) => (form === 'encoded' || (form === 'mixed' && ++made % 3 > 0) ? encoded(...values) : new ValueRow(...values));
    this.#options = options;
  }

  get place(): Position {
    return this.#commit.toString(16).padStart(16, '0') as Position;
  }

  transaction(): ChangeEvent[] {
    this.#commit++;
    this.#ordinal = 0;
    return Array.from({ length: 1 + this.#random.below(6) }, () => this.change()).filter((event) => event !== null);
  }

  change(): ChangeEvent | null {
    const random = this.#random;
    const { keys = 40, numbers = 1000, firstKey = 0 } = this.#options;
    const id = firstKey + random.below(keys);
    const known = this.rows.get(id);
    const n = random.chance(0.1) ? null : random.below(numbers);
    if (this.#options.truncates && random.chance(0.01)) {
      this.rows.clear();
      return this.#event('truncate', null, null, '', null);
    }
    if (known === undefined) {
      const values: Values = [id, n, random.chance(0.2) ? null : `note ${random.below(100)}\t\\\n"é`];
      this.rows.set(id, values);
      return this.#event('insert', null, values, String(id), null);
    }
    const dice = random.next();
    if (dice < 0.25) {
      this.rows.delete(id);
      return this.#event('delete', [id, null, null], null, String(id), null);
    }
    const to = firstKey + random.below(keys);
    const keepsNote = random.chance(0.5);
    const note = keepsNote ? known[2] : `note ${random.below(100)}`;
    const sent = keepsNote && this.#options.partial ? UNCHANGED : note;
    if (dice < 0.45 && this.#options.moves && to !== id && !this.rows.has(to)) {
      this.rows.delete(id);
      this.rows.set(to, [to, n, note]);
      return this.#event('update', [id, null, null], [to, n, sent], String(to), String(id));
    }
    this.rows.set(id, [id, n, note]);
    return this.#event('update', null, [id, n, sent], String(id), null);
  }

  #event(op: ChangeEvent['op'], before: Values | null, after: Values | null, key: string, movedFrom: string | null): ChangeEvent {
    const row = (values: Values | null): Row | null => (values === null ? null : this.#row(...values));
    const version = this.place as string as Version;
    const event = {
      op,
      dataset: DATASET,
      before: row(before),
      after: row(after),
      key,
      movedFrom,
      version,
      ordinal: this.#ordinal++,
      committedAtMs: this.#commit * 1000,
    };
    return event as ChangeEvent; // By construction the rows are those that the operation has.
  }
}

/** Yields batches as a source does, from behind the lane's checkpoint, then ends. */
export function batchSource(batches: readonly Batch[], between: () => Promise<void> = async () => {}, lane = LANE): Source {
  return {
    name: 'shop',
    async *read(resume: Resume) {
      const { checkpoint } = await resume(lane);
      for (const batch of batches) {
        if (checkpoint !== null && batch.checkpoint.position <= checkpoint.position) continue;
        await between();
        yield batch;
      }
    },
    acknowledge: () => Promise.resolve(),
    [Symbol.asyncDispose]: () => Promise.resolve(),
  };
}

/** Holds or drops the events of a lane's own that it is told to. */
export function gate(bad: ReadonlyMap<string, 'quarantine' | 'drop'>): Stage {
  return {
    name: 'quality',
    run: (batch) => {
      for (const [index, event] of batch.events.entries()) {
        const verdict = bad.get(eventId(event));
        if (verdict === undefined || batch.origin === 'replay') continue;
        batch.mark(finding(index, verdict === 'drop' ? Verdict.Drop : Verdict.Quarantine));
      }
      return Promise.resolve();
    },
  };
}

/** Holds these whenever they come, released or not. */
export function failing(isBad: (event: ChangeEvent) => boolean): Stage {
  return {
    name: 'quality',
    run: (batch) => {
      for (const [index, event] of batch.events.entries()) if (isBad(event)) batch.mark(finding(index, Verdict.Quarantine));
      return Promise.resolve();
    },
  };
}

function finding(index: number, verdict: Finding['verdict']): Finding {
  return { index, stage: 'quality', rule: 'bad', column: null, verdict, severity: 'warning', message: 'it is bad', notify: false };
}

/** `after`: where the lane stands before; the runner says so where there is one. */
export function batchOf(events: readonly ChangeEvent[], position: Position, after: Position | null = null): Batch {
  const batch = new Batch(events, { lane: LANE, position });
  batch.after = after;
  return batch;
}

export function insertOf(id: number, n: number, version: string, ordinal = 0): ChangeEvent {
  return {
    op: 'insert',
    dataset: DATASET,
    before: null,
    after: encoded(id, n, 'x'),
    key: String(id),
    movedFrom: null,
    version: version as Version,
    ordinal,
    committedAtMs: 0,
  } as ChangeEvent; // An encoded row is a row.
}
