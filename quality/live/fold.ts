/**
 * What is kept of one window and group: of each slot a state and its counts. Rows are added and taken back; folds of lanes, or of batches of one lane,
 * are put together in any order; and what is encoded goes on as it would have.
 */
import type { ChangeEvent, Row } from '../../core/event.ts';
import type { Sketch, SketchKind } from '../states/sketch.ts';
import { type Encoded, fieldsOf, type State, type StateKind, type TellCell } from '../states/state.ts';
import { TEXT_BYTES, VALUE_BYTES } from './budget.ts';
import { type ReadCell, UNSEEN } from './cells.ts';
import type { PutInPlace } from './in-place.ts';
import { KeySet } from './keys.ts';
import type { Slot } from './slots.ts';

/** How one shape of the dataset's table is read, slot by slot. */
export interface SlotReader {
  /** null: the slot counts rows alone. */
  readonly read: ReadCell | null;
  /** Of an event whose `after` is the row meant; undefined where it depends on cells that were not sent. */
  readonly where: ((event: ChangeEvent) => boolean | undefined) | null;
  /** null: it is always for `read` to make a value of the cell. */
  readonly put: PutInPlace | null;
}

export class SlotState {
  readonly kind: StateKind<State>;
  readonly #sketchKinds: readonly SketchKind<Sketch>[];
  /** All values, while there are no sketches. */
  state: State;
  /** By their kinds, once there were more values than there is room for; one that is not there was not asked for when they began. */
  sketches: Map<string, Sketch> | null = null;
  /** What was taken back of a state that cannot take anything back. */
  taken: State | null = null;
  rows = 0;
  missing = 0;
  /** Rows that do not say their value, or whose old value is not known. */
  unseen = 0;
  /** Rows that came before the slot was there: the rules were changed meanwhile. */
  absent = 0;
  /** More values than there is room for: nothing can be said. */
  full = false;

  constructor({ kind, sketches }: Pick<Slot, 'kind' | 'sketches'>) {
    this.kind = kind;
    this.#sketchKinds = sketches;
    this.state = kind.create();
  }

  get isEmpty(): boolean {
    const { rows, missing, unseen, absent, full, state, taken, sketches } = this;
    return (
      rows === 0 &&
      missing === 0 &&
      unseen === 0 &&
      absent === 0 &&
      !full &&
      taken === null &&
      sketches === null &&
      (state.isEmpty || this.kind.name === 'nothing')
    );
  }

  /** What its values take up, where it grows with them. */
  get bytes(): number {
    const { kind, sketches, state } = this;
    const { held = 0, textBytes = 0 } = state;
    if (sketches === null) return held * VALUE_BYTES[kind.size] + Math.max(0, textBytes - held * TEXT_BYTES);
    return [...sketches.values()].reduce((sum, { bytes }) => sum + bytes, 0);
  }

  /** Goes over to sketches where these take up less. */
  condense(): void {
    const { state, sketches } = this;
    if (this.full || sketches !== null || this.#sketchKinds.length === 0) return;
    const before = this.bytes;
    this.#turn();
    if (this.bytes < before) return;
    this.sketches = sketches;
    this.state = state;
  }

  #turn(): Map<string, Sketch> {
    const { state } = this;
    this.state = this.kind.create();
    this.sketches = new Map(this.#sketchKinds.map((kind) => [kind.id, kind.create()]));
    pour(state, this.sketches);
    return this.sketches;
  }

  giveUp(): void {
    this.full = true;
    this.state = this.kind.create();
    this.sketches = null;
    this.taken = null;
  }

  /** Adds what came after this, and leaves it alone. */
  merge(other: SlotState): void {
    this.rows += other.rows;
    this.missing += other.missing;
    this.unseen += other.unseen;
    this.absent += other.absent;
    if (this.full || other.full) this.giveUp();
    else this.#mergeValues(other);
  }

  #mergeValues(other: SlotState): void {
    if (this.sketches === null && other.sketches === null) this.state = this.kind.merge(this.state, other.state);
    else {
      const own = this.sketches ?? this.#turn();
      if (other.sketches === null) pour(other.state, own);
      else for (const kind of this.#sketchKinds) mergeSketch(kind, own, other.sketches);
    }
    if (other.taken !== null) this.taken = this.kind.merge(this.taken ?? this.kind.create(), other.taken);
  }

  encode(): KeptSlot {
    const { rows, missing, unseen, absent, full, state, sketches, taken, kind } = this;
    if (full) return [rows, missing, unseen, absent, 'full'];
    const values =
      sketches !== null
        ? { sketches: Object.fromEntries([...sketches].map(([id, sketch]) => [id, sketch.encode()])) }
        : kind.name === 'nothing'
          ? 0
          : state.encode();
    return taken === null ? [rows, missing, unseen, absent, values] : [rows, missing, unseen, absent, values, taken.encode()];
  }

  restore([rows, missing, unseen, absent, values, taken]: KeptSlot): void {
    this.rows = rows;
    this.missing = missing;
    this.unseen = unseen;
    this.absent = absent;
    if (values === 'full') this.full = true;
    else if (isSketched(values)) this.#restoreSketches(fieldsOf(values.sketches));
    else if (values !== undefined) this.state = this.kind.decode(values);
    if (taken !== undefined) this.taken = this.kind.decode(taken);
  }

  #restoreSketches(kept: Readonly<Record<string, Encoded>>): void {
    this.sketches = new Map();
    for (const kind of this.#sketchKinds) {
      const own = kept[kind.id];
      if (own !== undefined) this.sketches.set(kind.id, kind.decode(own));
    }
  }
}

function pour(state: State, sketches: ReadonlyMap<string, Sketch>): void {
  for (const sketch of sketches.values()) {
    const { putText } = sketch;
    const put: TellCell = (cell, times) => sketch.put(cell, times);
    if (putText === undefined) state.each?.(put);
    else state.each?.(put, (bytes, at, length, times) => putText.call(sketch, bytes, at, length, times));
  }
}

/** What one of the two does not know, nobody knows of both. */
function mergeSketch(kind: SketchKind<Sketch>, own: Map<string, Sketch>, others: ReadonlyMap<string, Sketch>): void {
  const [mine, other] = [own.get(kind.id), others.get(kind.id)];
  if (mine === undefined || other === undefined) own.delete(kind.id);
  else own.set(kind.id, kind.merge(mine, other));
}

function isSketched(values: Encoded | undefined): values is { readonly sketches: Encoded } {
  return typeof values === 'object' && values !== null && 'sketches' in values;
}

/** Whether the row is one of those that the slot is about. */
function counts(slot: SlotState, { where }: SlotReader, event: ChangeEvent): boolean {
  if (where === null) return true;
  const fits = where(event);
  if (fits === undefined) slot.unseen++;
  return fits === true;
}

function isPut({ state }: SlotState, { put }: SlotReader, { encoded }: Row, times: 1 | -1): boolean {
  return put !== null && encoded !== null && put(state, encoded, times);
}

export class Fold {
  readonly slots: readonly SlotState[];
  rows = 0;
  /** Updates and deletes of rows of which it is no longer known whether they are in here. */
  unknown = 0;
  /** Rows whose keys had no room. */
  unkept = 0;
  /** Keys of the rows in here, and of rows that were taken out of what came before this fold. */
  readonly keys = new KeySet();
  readonly gone = new KeySet();

  constructor(slots: readonly Slot[]) {
    this.slots = slots.map((slot) => new SlotState(slot));
  }

  get isEmpty(): boolean {
    return (
      this.rows === 0 &&
      this.unknown === 0 &&
      this.unkept === 0 &&
      this.keys.size === 0 &&
      this.gone.size === 0 &&
      this.slots.every((slot) => slot.isEmpty)
    );
  }

  /** `other` is the row before this one, where an update did not send all cells. */
  add(readers: readonly SlotReader[], event: ChangeEvent, row: Row, other: Row | null): void {
    this.rows++;
    const { slots } = this;
    for (let i = 0; i < slots.length; i++) {
      const slot = slots[i];
      const reader = readers[i];
      if (slot === undefined || reader === undefined || slot.full) continue;
      if (!counts(slot, reader, event)) continue;
      slot.rows++;
      if (reader.read === null || isPut(slot, reader, row, 1)) continue;
      const cell = reader.read(row, other, event);
      if (cell === null) slot.missing++;
      else if (cell === UNSEEN) slot.unseen++;
      else slot.state.add(cell);
    }
  }

  /** Takes a row back that was added here, or to a fold that is or will be put together with this one. `event.after` is the row. */
  retract(readers: readonly SlotReader[], event: ChangeEvent, row: Row): void {
    this.rows--;
    const { slots } = this;
    for (let i = 0; i < slots.length; i++) {
      const slot = slots[i];
      const reader = readers[i];
      if (slot === undefined || reader === undefined || slot.full) continue;
      if (!counts(slot, reader, event)) continue;
      slot.rows--;
      if (reader.read === null || isPut(slot, reader, row, -1)) continue;
      const cell = reader.read(row, null, event);
      if (cell === null) slot.missing--;
      else if (cell === UNSEEN) slot.unseen++;
      else if (slot.kind.retract !== undefined) slot.kind.retract(slot.state, cell);
      else (slot.taken ??= slot.kind.create()).add(cell);
    }
  }

  /** A row is taken back whose cells the source did not send. */
  retractUnseen(readers: readonly SlotReader[]): void {
    this.rows--;
    for (const [i, slot] of this.slots.entries()) {
      const reader = readers[i];
      if (reader === undefined || slot.full) continue;
      if (reader.where === null) slot.rows--;
      if (reader.where !== null || reader.read !== null) slot.unseen++;
    }
  }

  /** Adds what came after this; `from` is left alone. */
  merge(from: Fold): void {
    this.rows += from.rows;
    this.unknown += from.unknown;
    this.unkept += from.unkept;
    for (const key of from.gone) if (!this.keys.delete(key)) this.gone.add(key);
    for (const key of from.keys) {
      this.keys.add(key);
      this.gone.delete(key);
    }
    for (const [i, slot] of this.slots.entries()) {
      const other = from.slots[i];
      if (other !== undefined) slot.merge(other);
    }
  }

  encode(slots: readonly Slot[]): string {
    const states = Object.fromEntries(this.slots.map((slot, i) => [slots[i]?.id ?? '', slot.encode()]));
    return JSON.stringify({
      rows: this.rows,
      ...(this.unknown > 0 && { unknown: this.unknown }),
      ...(this.unkept > 0 && { unkept: this.unkept }),
      ...(this.keys.size > 0 && { keys: this.keys.encode() }),
      ...(this.gone.size > 0 && { gone: this.gone.encode() }),
      slots: states,
    });
  }

  /** `withKeys`: whoever only judges has no use for them. */
  static decode(slots: readonly Slot[], text: string, withKeys: boolean): Fold {
    const kept = JSON.parse(text) as KeptFold; // Written by `encode`.
    const fold = new Fold(slots);
    fold.rows = kept.rows;
    fold.unknown = kept.unknown ?? 0;
    fold.unkept = kept.unkept ?? 0;
    if (withKeys) {
      for (const key of KeySet.decode(kept.keys ?? '')) fold.keys.add(key);
      for (const key of KeySet.decode(kept.gone ?? '')) fold.gone.add(key);
    }
    for (const [i, slot] of fold.slots.entries()) {
      const own = kept.slots[slots[i]?.id ?? ''];
      if (own === undefined) slot.absent = Math.abs(kept.rows);
      else slot.restore(own);
    }
    return fold;
  }
}

interface KeptFold {
  readonly rows: number;
  readonly unknown?: number;
  readonly unkept?: number;
  readonly keys?: string;
  readonly gone?: string;
  readonly slots: Readonly<Record<string, KeptSlot>>;
}

/** rows, missing, unseen, absent; then the state or the sketches, and what was taken back beside it. */
type KeptSlot = readonly [number, number, number, number, Encoded | undefined, Encoded?];
