/** A lane's log as the source has it: transactions of inserts, updates, deletes, key moves and truncates, and what they come to. */
import {
  type ChangeEvent,
  type Dataset,
  type DatasetName,
  type LaneId,
  type Position,
  type Row,
  UNCHANGED,
  type Value,
  ValueRow,
  type Version,
} from '../../core/event.ts';
import type { Random } from '../support/random.ts';

/** Columns of a simulated table. */
export const ID = 0;
export const AMOUNT = 1;
export const NOTE = 2;
/** An amount that the target's own check constraint does not take. */
export const REFUSED = 13;

export type HoldMode = 'event' | 'key';
export type Cells = readonly Value[];

export interface LaneLog {
  readonly lane: LaneId;
  readonly dataset: Dataset;
  readonly mode: HoldMode;
  readonly events: readonly ChangeEvent[];
  /** `positions[i]` is where the lane resumes after `events[i]`. */
  readonly positions: readonly Position[];
  readonly end: Position;
}

export interface LogOptions {
  readonly lane: string;
  readonly mode: HoldMode;
  /** Whether updates may leave cells out. */
  readonly partial: boolean;
  /** Whether the target may refuse a key move. */
  readonly refusedMoves: boolean;
  readonly transactions: number;
}

export const positionOf = (n: number) => n.toString(36).padStart(8, '0') as Position;

/** A place inside a transaction: after so many of its events. Sorts after the transaction's start and before its end. */
const within = (start: Position, events: number) => `${start}#${events.toString(36).padStart(4, '0')}` as Position;

/** Where a transaction begins that a place lies in. */
export const startOf = (position: Position): Position => position.slice(0, 8) as Position;

export const refOf = (dataset: string, key: string): string => `${dataset}/${key}`;

/** Both keys of a move, else the one; none of a truncate. */
export function refsOf(event: ChangeEvent): string[] {
  if (event.op === 'truncate') return [];
  const refs = [refOf(event.dataset.name, event.key)];
  if (event.movedFrom !== null) refs.push(refOf(event.dataset.name, event.movedFrom));
  return refs;
}

export const amountOf = (event: ChangeEvent): Value => event.after?.value(AMOUNT) ?? null;
export const isPartial = (row: Row): boolean => row.value(AMOUNT) === UNCHANGED || row.value(NOTE) === UNCHANGED;

export function makeLog(random: Random, { lane, mode, partial, refusedMoves, transactions }: LogOptions): LaneLog {
  const dataset: Dataset = {
    name: `shop.public.${lane}` as DatasetName,
    version: 1,
    columns: [
      { name: 'id', type: 'text', native: 'text', nullable: false },
      { name: 'amount', type: 'integer', native: 'int4', nullable: false },
      { name: 'note', type: 'text', native: 'text', nullable: false },
    ],
    key: [ID],
  };
  const events: ChangeEvent[] = [];
  const positions: Position[] = [];
  const live = new Map<string, Row>();
  for (let tx = 1; tx <= transactions; tx++) {
    const count = 1 + random.below(4);
    for (let ordinal = 0; ordinal < count; ordinal++) {
      const key = `k${random.below(4)}`;
      const place = { dataset, version: positionOf(tx) as string as Version, ordinal, committedAtMs: tx * 1000 };
      events.push(change(key, place, `${tx}.${ordinal}`));
      positions.push(ordinal + 1 === count ? positionOf(tx) : within(positionOf(tx - 1), ordinal + 1));
    }
  }
  return { lane: lane as LaneId, dataset, mode, events, positions, end: positionOf(transactions) };

  function change(key: string, place: Pick<ChangeEvent, 'dataset' | 'version' | 'ordinal' | 'committedAtMs'>, note: string): ChangeEvent {
    const before = live.get(key) ?? null;
    const base = { key, movedFrom: null, ...place };
    if (live.size > 1 && random.chance(0.04)) {
      live.clear();
      return { op: 'truncate', before: null, after: null, ...base, key: '' };
    }
    const whole = (id: string) => new ValueRow(id, random.below(60), note);
    if (before === null) {
      const after = whole(key);
      live.set(key, after);
      return { op: 'insert', before: null, after, ...base };
    }
    if (random.chance(0.2)) {
      live.delete(key);
      return { op: 'delete', before, after: null, ...base };
    }
    const to = `k${random.below(4)}`;
    const isMove = !live.has(to) && random.chance(0.5);
    // Under `hold: event` a key move without all its cells can be outrun at its old key, and its cells with it: docs/delivery.md.
    const mayLeaveOut = partial && !(isMove && mode === 'event');
    const cell = (value: Value) => (mayLeaveOut && random.chance(0.4) ? UNCHANGED : value);
    const amount = random.below(60);
    const after = new ValueRow(isMove ? to : key, cell(isMove && !refusedMoves && amount === REFUSED ? 0 : amount), cell(note));
    live.delete(key);
    live.set(isMove ? to : key, after);
    return { op: 'update', before, after, ...base, key: isMove ? to : key, movedFrom: isMove ? key : null };
  }
}

export interface FoldedLog {
  readonly rows: ReadonlyMap<string, Cells>;
  /**
   * Rows whose beginning was left out, with what later updates brought of them. An update alone finds no row and is stale; several that fall
   * into one batch and bring all cells together may make the row, which is then as the source has it.
   */
  readonly ghosts: ReadonlyMap<string, Cells>;
}

/** What the events not left out come to, one after the other, by no other means than the plain meaning of each. */
export function foldLog(events: readonly ChangeEvent[], isOut: (event: ChangeEvent) => boolean): FoldedLog {
  const rows = new Map<string, Cells>();
  const ghosts = new Map<string, Cells>();
  for (const event of events) {
    if (isOut(event)) continue;
    const { name } = event.dataset;
    const ref = refOf(name, event.key);
    const oldRef = refOf(name, event.movedFrom ?? event.key);
    if (event.op === 'truncate') {
      rows.clear();
      ghosts.clear();
    } else if (event.after === null) {
      rows.delete(ref);
      ghosts.delete(ref);
    } else {
      const old = rows.get(oldRef);
      const ghost = ghosts.get(oldRef);
      ghosts.delete(oldRef);
      if (old === undefined && isPartial(event.after)) {
        ghosts.set(ref, merged(event.after, ghost ?? [UNCHANGED, UNCHANGED, UNCHANGED]));
        continue;
      }
      rows.delete(oldRef);
      ghosts.delete(ref);
      rows.set(ref, merged(event.after, old));
      if (ghost !== undefined && isPartial(event.after)) ghosts.set(ref, merged(event.after, ghost));
    }
  }
  return { rows, ghosts };
}

/** The row's cells, those not sent taken from `old`. */
export function merged(row: Row, old: Cells | undefined): Cells {
  return [ID, AMOUNT, NOTE].map((column) => {
    const value = row.value(column);
    return value === UNCHANGED ? (old?.[column] ?? null) : value;
  });
}
