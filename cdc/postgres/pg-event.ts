/** A change event over encoded rows: its key is decoded when somebody asks for it. */
import type { EncodedRow, Dataset, ChangeEvent, Operation, Row, Version } from '../../core/event.ts';
import { keyOf } from '../../core/event.ts';

/** An event's objects beside its bytes: cells, row, event. */
export const EVENT_OVERHEAD_BYTES = 240;

/** One hidden class for every event of the source, whatever its operation: stages stay monomorphic. */
export class PgEvent {
  readonly op: Operation;
  readonly before: (Row & EncodedRow) | null;
  readonly after: (Row & EncodedRow) | null;
  readonly dataset: Dataset;
  readonly version: Version;
  /** Changes in an event only whose row is looked at and not kept. */
  ordinal: number;
  readonly committedAtMs: number;
  /** Whether the key's bytes changed. */
  readonly #moved: boolean;
  #key: string | null;

  constructor(
    op: Operation,
    before: (Row & EncodedRow) | null,
    after: (Row & EncodedRow) | null,
    dataset: Dataset,
    version: Version,
    ordinal: number,
    committedAtMs: number,
    moved: boolean,
  ) {
    this.op = op;
    this.before = before;
    this.after = after;
    this.dataset = dataset;
    this.version = version;
    this.ordinal = ordinal;
    this.committedAtMs = committedAtMs;
    this.#moved = moved;
    this.#key = null;
  }

  /** The event of another row, which it has by now. */
  becomes(ordinal: number): void {
    this.ordinal = ordinal;
    this.#key = null;
  }

  get key(): string {
    return (this.#key ??= this.#text(this.after ?? this.before));
  }

  get movedFrom(): string | null {
    return this.#moved ? this.#text(this.before) : null;
  }

  #text(row: Row | null): string {
    return row === null ? '' : keyOf(this.dataset, row); // A truncate has no row, and the empty key.
  }
}

/** The class keeps what the union `ChangeEvent` promises (which rows an operation has); the compiler can't see that. */
export const asChangeEvent = (event: PgEvent): ChangeEvent => event as unknown as ChangeEvent;
