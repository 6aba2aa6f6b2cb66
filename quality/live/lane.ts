/** The open windows of one dataset in one lane: where each row goes, what is known of it, and what a batch adds to what is kept at the target. */
import type { ChangeEvent, Dataset, DatasetName, Row } from '../../core/event.ts';
import type { Lot } from '../../core/lots.ts';
import { SNAPSHOT_WINDOW, type WindowKey, type WindowMark, type WindowPart } from '../../core/windows.ts';
import type { Contract } from '../contract.ts';
import { type Binding, bindSets, type SetBinding } from './binding.ts';
import type { Budget } from './budget.ts';
import { budgetOf } from './budget.ts';
import type { LiveCheck, LiveRules } from './check.ts';
import { Fold, type SlotState } from './fold.ts';
import { hashKey } from './keys.ts';
import { ScoreSight } from './scores.ts';
import { planSets, type SetPlan } from './slots.ts';

/** The rows of all groups beyond those that are kept apart. */
export const OTHER_GROUPS = '(other)';
/** A lane says at least so often that it is alive, however few rows of a dataset it has. */
const MARK_MS = 1000;

/**
 * Stands in for the beginning of a window that never ends, and that no row is in: it has the keys of rows that were left out because their time was far from being
 * there. Once it is near, they are known not to be in its window. (The last moment that a Date knows.)
 */
const LEFT_OUT = 8_640_000_000_000_000;
/** More of them are forgotten: a source whose clock is that wrong has no windows worth the memory. */
const LEFT_OUT_MAX = 10_000;

export type StoredPart = WindowKey & { readonly rows: number; readonly state: string };

/** What is kept of one window, group and lateness: all of it, and what the batch under way adds. */
class Cell {
  readonly key: WindowKey;
  readonly plan: SetPlan;
  readonly whole: Fold;
  added: Fold | null = null;
  /** Of its values. */
  bytes = 0;
  /** Characters of what was last written as a whole, and of all that was added to it since. */
  #wholeSize = 0;
  #addedSize = 0;

  constructor(key: WindowKey, plan: SetPlan, whole: Fold) {
    this.key = key;
    this.plan = plan;
    this.whole = whole;
  }

  get now(): Fold {
    return (this.added ??= new Fold(this.plan.slots));
  }

  holds(key: number): boolean {
    const { added, whole } = this;
    return added?.keys.has(key) === true || (whole.keys.has(key) && added?.gone.has(key) !== true);
  }

  putKey(key: number): boolean {
    if (this.holds(key)) return false;
    const { added, whole } = this;
    if (whole.keys.has(key)) added?.gone.delete(key);
    else this.now.keys.add(key);
    return true;
  }

  dropKey(key: number): void {
    const { now, whole } = this;
    if (!now.keys.delete(key) && whole.keys.has(key)) now.gone.add(key);
  }

  /** Adds what was kept of it. */
  restore(kept: Fold): void {
    this.whole.merge(kept);
    this.bytes = bytesOf(this.whole);
  }

  lessen(how: (slot: SlotState) => void): void {
    for (const slot of this.whole.slots) if (slot.bytes > 0) how(slot);
    this.bytes = bytesOf(this.whole);
  }

  /** Ends the batch: what is to be written, as an addition or, where additions have come to as much as the whole, as the whole. */
  flush(): WindowPart | null {
    const { added, whole, plan, key } = this;
    if (added === null) return null;
    this.added = null;
    const rows = added.rows;
    const text = added.encode(plan.slots);
    // Nobody says here when a snapshot has been judged: its rows are only ever added.
    if (key.startMs === SNAPSHOT_WINDOW) return { ...key, whole: false, rows, state: text };
    whole.merge(added);
    this.bytes = bytesOf(whole);
    this.#addedSize += text.length;
    if (this.#addedSize < this.#wholeSize) return { ...key, whole: false, rows, state: text };
    const all = whole.encode(plan.slots);
    this.#wholeSize = all.length;
    this.#addedSize = 0;
    return { ...key, whole: true, rows: whole.rows, state: all };
  }
}

/** What the windows of a dataset hold in other lanes of the process: all of them keep within one cap. */
export interface HeldElsewhere {
  /** How many they are. */
  readonly lanes: number;
  /** Of the values in states. */
  readonly bytes: number;
  /** Keys of rows. */
  readonly keys: number;
}

const NOWHERE: HeldElsewhere = { lanes: 0, bytes: 0, keys: 0 };

const LESSEN: readonly ((slot: SlotState) => void)[] = [(slot) => slot.condense(), (slot) => slot.giveUp()];
const bytesOf = (fold: Fold): number => fold.slots.reduce((sum, slot) => sum + slot.bytes, 0);

interface SetState {
  readonly plan: SetPlan;
  /** By beginning, group and lateness. */
  readonly cells: Map<string, Cell>;
  readonly groups: Map<number, Set<string>>;
  /** Beginnings of the windows that have cells. */
  readonly starts: Set<number>;
  /** Windows with rows whose keys had no room: of any other key it is not known whether its row is in there. */
  readonly overfull: Set<number>;
  /** Changed rows of this batch, of which that is so; by window and lateness. */
  readonly doubts: Map<string, { readonly startMs: number; readonly late: boolean; count: number }>;
  last: Cell | null;
}

export class DatasetWindows {
  readonly name: DatasetName;
  /** To be shown the scores of an event before it comes. */
  readonly scores = new ScoreSight();
  readonly #contract: Contract;
  readonly #rules: LiveRules;
  readonly #budget: Budget;
  readonly #sets: readonly SetState[];
  readonly #bindings = new WeakMap<Dataset, Binding>();
  readonly #aheadMs: number;
  /** The greatest time so far, of rows of the log. */
  #timeMs = -1;
  #rowMs = -1;
  /** When it last grew. */
  #grewAtMs = 0;
  #untimed = 0;
  #tooLate = 0;
  #keys = 0;
  #bytes = 0;
  #elsewhere = NOWHERE;
  #written: WindowMark | null = null;
  #writtenAtMs = 0;
  #lot: Lot | null = null;

  /** `counters`: what others want to know of its windows. */
  constructor(contract: Contract, counters: readonly LiveCheck[] = []) {
    const rules = { ...contract.live, checks: [...contract.live.checks, ...counters] };
    const sets = planSets(rules.checks);
    this.name = contract.dataset;
    this.#contract = contract;
    this.#rules = rules;
    this.#budget = budgetOf(rules);
    this.#sets = sets.map((plan) => ({
      plan,
      cells: new Map(),
      groups: new Map(),
      starts: new Set(),
      overfull: new Set(),
      doubts: new Map(),
      last: null,
    }));
    this.#aheadMs = Math.max(0, ...sets.map(({ spec }) => spec.sizeMs + spec.outOfOrderMs));
  }

  /** Goes on from what the lane kept at the target. */
  restore(parts: readonly StoredPart[], mark: WindowMark | undefined): void {
    if (mark !== undefined) {
      this.#timeMs = mark.timeMs;
      this.#rowMs = mark.rowMs;
      this.#untimed = mark.untimed;
      this.#tooLate = mark.tooLate;
      this.#grewAtMs = mark.seenMs;
    }
    for (const { state, ...key } of parts) {
      const set = this.#sets.find(({ plan }) => plan.id === key.set);
      if (set === undefined || key.startMs === SNAPSHOT_WINDOW) continue;
      const cell = this.#cellOf(set, key.startMs, key.group, key.late);
      const before = cell.whole.keys.size;
      cell.restore(Fold.decode(set.plan.slots, state, true));
      this.#keys += cell.whole.keys.size - before;
      if (cell.whole.unkept > 0) set.overfull.add(key.startMs);
    }
  }

  /** What it holds now, for the same lane under other rules. */
  kept(): StoredPart[] {
    return this.#sets.flatMap(({ plan, cells }) =>
      [...cells.values()].map(({ key, whole }) => ({ ...key, rows: whole.rows, state: whole.encode(plan.slots) })),
    );
  }

  get mark(): WindowMark {
    return {
      dataset: this.name,
      timeMs: this.#timeMs,
      rowMs: this.#rowMs,
      seenMs: this.#grewAtMs,
      untimed: this.#untimed,
      tooLate: this.#tooLate,
    };
  }

  /** Of the values in states, as of the last batch. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Keys of rows that it knows. */
  get keys(): number {
    return this.#keys;
  }

  /** Told before a batch: room for its keys is what others leave, and for values it has its share at least, which others make room for with their next batch. */
  beside(elsewhere: HeldElsewhere): void {
    this.#elsewhere = elsewhere;
  }

  event(event: ChangeEvent, nowMs: number): void {
    const binding = this.#bindingOf(event.dataset);
    if (event.op === 'read') this.#snapshotRow(event, binding);
    else if (this.#rules.eventTime.kind === 'commit') this.#atCommit(event, binding, event.committedAtMs, nowMs);
    else this.#atColumn(event, binding, nowMs);
  }

  /**
   * The lot that an event waits for, once it is in its windows; null where it does not wait. It is the window of the row's time; a row without one, or for whose window
   * the lane is too late, goes with the next lot that is still open here: so no lot gets rows once its window may be judged. A truncate, which has no row, goes by its commit, or with the newest
   * row before it. Rows of a snapshot do not wait, for there are as many as the table has.
   */
  lotOf(event: ChangeEvent, nowMs: number): Lot | null {
    const { publish, eventTime } = this.#rules;
    if (publish === null || event.op === 'read') return null;
    const { everyMs, outOfOrderMs } = publish;
    const reachedMs = this.#timeMs < 0 ? event.committedAtMs : this.#timeMs;
    const ownMs = eventTime.kind === 'commit' ? event.committedAtMs : event.op === 'truncate' ? reachedMs : this.#rowTime(event, nowMs);
    const startMs = Math.max(0, Math.floor(Math.max(ownMs, reachedMs - outOfOrderMs) / everyMs) * everyMs);
    if (this.#lot?.startMs !== startMs) this.#lot = { startMs, endMs: startMs + everyMs };
    return this.#lot;
  }

  #rowTime(event: ChangeEvent, nowMs: number): number {
    const { before, after } = event;
    const row = after ?? before;
    const timeMs = row === null ? null : this.#bindingOf(event.dataset).timeOf(row, before);
    return this.#soon(timeMs, event, nowMs) ?? -1;
  }

  /** The lane has come so far: where commits are the time, no row of an earlier one comes any more. */
  passed(committedAtMs: number, nowMs: number): void {
    if (this.#rules.eventTime.kind === 'commit') this.#reach(committedAtMs, nowMs);
  }

  #reach(timeMs: number, nowMs: number): void {
    if (timeMs <= this.#timeMs) return;
    this.#timeMs = timeMs;
    this.#grewAtMs = nowMs;
  }

  /** Ends the batch. */
  flush(nowMs: number, parts: WindowPart[], marks: WindowMark[]): void {
    let wrote = false;
    for (const set of this.#sets) {
      const { cells, plan, groups, starts, overfull } = set;
      const { sizeMs, outOfOrderMs, latenessMs } = plan.spec;
      this.#doubtAll(set);
      for (const [id, cell] of cells) {
        const part = cell.flush();
        if (part !== null) {
          parts.push(part);
          wrote = true;
        }
        const { startMs } = cell.key;
        if (startMs !== SNAPSHOT_WINDOW && startMs + sizeMs + outOfOrderMs + latenessMs > this.#timeMs) continue;
        // Nothing is added to it any more; whoever closes it has what is at the target.
        this.#keys -= cell.whole.keys.size;
        cells.delete(id);
        groups.delete(startMs);
        starts.delete(startMs);
        overfull.delete(startMs);
      }
    }
    for (const set of this.#sets) set.last = null;
    const { valueBytes } = this.#budget;
    const { lanes, bytes } = this.#elsewhere;
    this.#keepWithin(Math.max(valueBytes - bytes, valueBytes / (lanes + 1)));
    this.#mark(nowMs, wrote, marks);
  }

  /** The old row may be in any group that the window has. */
  #doubtAll(set: SetState): void {
    const { doubts, groups, plan } = set;
    for (const { startMs, late, count } of doubts.values()) {
      const own = plan.groupBy.length === 0 ? [''] : [...(groups.get(startMs) ?? []), OTHER_GROUPS];
      for (const group of own) {
        const isThere = LATE.some((lateness) => set.cells.has(idOf(startMs, group, lateness)));
        if (isThere) this.#cellOf(set, startMs, group, late).now.unknown += count;
      }
    }
    doubts.clear();
  }

  /** What holds most goes over to sketches, or is given up where there are none or these do not fit. The target may go on having all of it; never a part. */
  #keepWithin(bytesMax: number): void {
    const cells = this.#sets.flatMap((set) => [...set.cells.values()]).filter(({ bytes }) => bytes > 0);
    this.#bytes = cells.reduce((sum, cell) => sum + cell.bytes, 0);
    for (const lessen of LESSEN) {
      if (this.#bytes <= bytesMax) return;
      for (const cell of cells.sort((a, b) => b.bytes - a.bytes)) {
        if (this.#bytes <= bytesMax) return;
        this.#bytes -= cell.bytes;
        cell.lessen(lessen);
        this.#bytes += cell.bytes;
      }
    }
  }

  /** Only what has moved is news: a lane that brings nothing of its time, be its batches empty or their rows old, is not waited for. */
  #mark(nowMs: number, wrote: boolean, marks: WindowMark[]): void {
    const last = this.#written;
    if (this.#timeMs < 0 && !wrote) return;
    if (this.#grewAtMs === 0) this.#grewAtMs = nowMs;
    const moved = last === null || this.#rowMs !== last.rowMs || this.#untimed !== last.untimed || this.#tooLate !== last.tooLate;
    const passed = last !== null && this.#timeMs > last.timeMs && nowMs - this.#writtenAtMs >= MARK_MS;
    if (!wrote && !moved && !passed) return;
    this.#writtenAtMs = nowMs;
    this.#written = this.mark;
    marks.push(this.#written);
  }

  #bindingOf(dataset: Dataset): Binding {
    const known = this.#bindings.get(dataset);
    if (known !== undefined) return known;
    const made = bindSets(
      this.#contract,
      this.#sets.map(({ plan }) => plan),
      dataset,
      this.scores,
    );
    this.#bindings.set(dataset, made);
    return made;
  }

  /** Rows that were there before the stream began are old and new at once: they have a window to themselves. */
  #snapshotRow(event: ChangeEvent, binding: Binding): void {
    const { after } = event;
    if (after === null) return;
    for (let i = 0; i < this.#sets.length; i++) {
      const [set, bound] = [this.#sets[i], binding.sets[i]];
      if (set === undefined || bound === undefined) continue;
      this.#cell(set, SNAPSHOT_WINDOW, bound.groupOf(after, null), false).now.add(bound.readers, event, after, null);
    }
  }

  /**
   * By commit, an old row lies in this window only if it was written in it: so the keys of its rows are known, as far as there is room. What was written
   * in an earlier window stays there.
   */
  #atCommit(event: ChangeEvent, binding: Binding, timeMs: number, nowMs: number): void {
    if (event.op === 'truncate') return;
    const key = hashKey(event.key);
    const oldKey = event.movedFrom === null ? key : hashKey(event.movedFrom);
    const before = binding.oldRowOf(event);
    let isTooLate = false;
    for (let i = 0; i < this.#sets.length; i++) {
      const [set, bound] = [this.#sets[i], binding.sets[i]];
      if (set === undefined || bound === undefined) continue;
      const { everyMs, sizeMs } = set.plan.spec;
      for (let startMs = Math.floor(timeMs / everyMs) * everyMs; startMs > timeMs - sizeMs; startMs -= everyMs) {
        const late = this.#lateness(set, startMs);
        if (late === 'over') {
          isTooLate = true;
          continue;
        }
        if (set.plan.spec.of === 'rows') this.#rowAtCommit(event, before, set, bound, startMs, late === 'late', key, oldKey);
        else if (event.after !== null)
          this.#cell(set, startMs, bound.groupOf(event.after, event.before), late === 'late').now.add(
            bound.readers,
            event,
            event.after,
            event.before,
          );
      }
    }
    if (isTooLate) this.#tooLate++;
    if (timeMs > this.#rowMs) this.#rowMs = timeMs;
    this.#reach(timeMs, nowMs);
  }

  #rowAtCommit(
    event: ChangeEvent,
    before: Row | null,
    set: SetState,
    bound: SetBinding,
    startMs: number,
    late: boolean,
    key: number,
    oldKey: number,
  ): void {
    const { after } = event;
    if (event.op !== 'insert') {
      // A row may have changed its group since.
      const holder = this.#holderOf(set, bound, startMs, before, oldKey);
      if (holder !== null) {
        this.#takeBack(holder, bound, event, before, startMs, late, set);
        holder.dropKey(oldKey);
        this.#keys--;
      } else if (set.overfull.has(startMs)) doubt(set, startMs, late);
    }
    if (after === null) return;
    const cell = this.#cell(set, startMs, bound.groupOf(after, before), late);
    cell.now.add(bound.readers, event, after, before);
    if (this.#keys >= this.#budget.keys - this.#elsewhere.keys) {
      cell.now.unkept++;
      set.overfull.add(startMs);
    } else if (cell.putKey(key)) this.#keys++;
  }

  /** The cell of this window that holds the key's row: in most cases that of the old row's own group. */
  #holderOf(set: SetState, bound: SetBinding, startMs: number, before: Row | null, key: number): Cell | null {
    const group = before === null ? '' : this.#groupIn(set, startMs, bound.groupOf(before, null), false);
    for (const late of LATE) {
      const likely = set.cells.get(idOf(startMs, group, late));
      if (likely?.holds(key) === true) return likely;
    }
    if (set.plan.groupBy.length === 0) return null;
    for (const other of [...(set.groups.get(startMs) ?? []), OTHER_GROUPS])
      for (const late of LATE) {
        const cell = set.cells.get(idOf(startMs, other, late));
        if (cell?.holds(key) === true) return cell;
      }
    return null;
  }

  #takeBack(holder: Cell, bound: SetBinding, event: ChangeEvent, before: Row | null, startMs: number, late: boolean, set: SetState): void {
    // What comes late is no part of the first verdict, so that it takes back from what came late with it.
    const cell = late === holder.key.late ? holder : this.#cell(set, startMs, holder.key.group, late);
    if (before === null) cell.now.retractUnseen(bound.readers);
    else cell.now.retract(bound.readers, oldRow(event, before), before);
  }

  /** By a column, the old row says itself in which window it is. */
  #atColumn(event: ChangeEvent, binding: Binding, nowMs: number): void {
    const { after } = event;
    const before = binding.oldRowOf(event);
    const takesBack = event.op === 'update' || event.op === 'delete';
    const oldMs = before === null || !takesBack ? null : this.#soon(binding.timeOf(before, null), event, nowMs);
    const newMs = after === null ? null : this.#soon(binding.timeOf(after, before), event, nowMs);
    if (after !== null && newMs === null) this.#untimed++;
    let isTooLate = false;
    for (let i = 0; i < this.#sets.length; i++) {
      const [set, bound] = [this.#sets[i], binding.sets[i]];
      if (set === undefined || bound === undefined) continue;
      const { everyMs, sizeMs, of } = set.plan.spec;
      if (of === 'rows' && event.op === 'delete' && before === null) this.#doubtOpen(set);
      if (of === 'rows' && takesBack && !this.#wasLeftOut(set, event) && before !== null && oldMs !== null) {
        const old = oldRow(event, before);
        for (let startMs = Math.floor(oldMs / everyMs) * everyMs; startMs > oldMs - sizeMs; startMs -= everyMs) {
          const late = this.#lateness(set, startMs);
          if (late === 'over') {
            isTooLate = true;
            continue;
          }
          this.#cell(set, startMs, bound.groupOf(before, null), late === 'late').now.retract(bound.readers, old, before);
        }
      }
      if (after !== null && newMs === null && of === 'rows') this.#leaveOut(set, binding.timeOf(after, before), event);
      if (after === null || newMs === null) continue;
      for (let startMs = Math.floor(newMs / everyMs) * everyMs; startMs > newMs - sizeMs; startMs -= everyMs) {
        const late = this.#lateness(set, startMs);
        if (late === 'over') {
          isTooLate = true;
          continue;
        }
        const cell = this.#cell(set, startMs, bound.groupOf(after, before), late === 'late');
        cell.now.add(bound.readers, event, after, before);
        if (of === 'rows' && event.op === 'update' && before === null) cell.now.unknown++;
      }
    }
    if (isTooLate) this.#tooLate++;
    // A time to come, most likely a mistake, must not make all that follows late.
    const reached = newMs === null ? -1 : Math.min(newMs, Math.max(event.committedAtMs, nowMs));
    if (reached > this.#rowMs) this.#rowMs = reached;
    this.#reach(reached, nowMs);
  }

  #leaveOut(set: SetState, timeMs: number | null, { key }: ChangeEvent): void {
    if (timeMs === null) return;
    const cell = this.#cellOf(set, LEFT_OUT, '', false);
    if (cell.whole.keys.size + cell.now.keys.size < LEFT_OUT_MAX) cell.putKey(hashKey(key));
  }

  /** Asked once of each old row: whatever becomes of it, it is not left out any more. */
  #wasLeftOut({ cells }: SetState, { movedFrom, key }: ChangeEvent): boolean {
    const cell = cells.get(LEFT_OUT_ID);
    if (cell === undefined) return false;
    const old = hashKey(movedFrom ?? key);
    if (!cell.holds(old)) return false;
    cell.dropKey(old);
    return true;
  }

  /** A row is gone of which nobody says where it was. */
  #doubtOpen(set: SetState): void {
    for (const startMs of set.starts) {
      const late = startMs === SNAPSHOT_WINDOW || startMs === LEFT_OUT ? 'over' : this.#lateness(set, startMs);
      if (late !== 'over') doubt(set, startMs, late === 'late');
    }
  }

  /** A time that is far from being there yet is none: windows of all times to come would be open. */
  #soon(timeMs: number | null, event: ChangeEvent, nowMs: number): number | null {
    return timeMs === null || timeMs > Math.max(event.committedAtMs, nowMs) + this.#aheadMs ? null : timeMs;
  }

  #lateness({ plan: { spec } }: SetState, startMs: number): 'in time' | 'late' | 'over' {
    const beyondMs = this.#timeMs - spec.outOfOrderMs - (startMs + spec.sizeMs);
    return beyondMs < 0 ? 'in time' : beyondMs < spec.latenessMs ? 'late' : 'over';
  }

  /** The group that rows of this one count under: its own while there is room. `make`: it may take up room. */
  #groupIn({ plan, groups }: SetState, startMs: number, group: string, make: boolean): string {
    if (plan.groupBy.length === 0) return group;
    let known = groups.get(startMs);
    if (known === undefined) {
      if (!make) return group;
      known = new Set();
      groups.set(startMs, known);
    }
    if (known.has(group)) return group;
    if (known.size >= plan.maxGroups) return OTHER_GROUPS;
    if (make) known.add(group);
    return group;
  }

  #cell(set: SetState, startMs: number, group: string, late: boolean): Cell {
    const { last } = set;
    if (last !== null && last.key.startMs === startMs && last.key.group === group && last.key.late === late) return last;
    const cell = this.#cellOf(set, startMs, this.#groupIn(set, startMs, group, true), late);
    set.last = cell;
    return cell;
  }

  #cellOf(set: SetState, startMs: number, group: string, late: boolean): Cell {
    const id = idOf(startMs, group, late);
    const known = set.cells.get(id);
    if (known !== undefined) return known;
    if (set.plan.groupBy.length > 0 && group !== OTHER_GROUPS) set.groups.set(startMs, (set.groups.get(startMs) ?? new Set()).add(group));
    const cell = new Cell({ dataset: this.name, set: set.plan.id, startMs, group, late }, set.plan, new Fold(set.plan.slots));
    set.cells.set(id, cell);
    set.starts.add(startMs);
    return cell;
  }
}

const LATE = [false, true] as const;
const idOf = (startMs: number, group: string, late: boolean): string => `${startMs}${late ? '+' : ' '}${group}`;

const LEFT_OUT_ID = idOf(LEFT_OUT, '', false);

function doubt({ doubts }: SetState, startMs: number, late: boolean): void {
  const id = idOf(startMs, '', late);
  const known = doubts.get(id);
  if (known === undefined) doubts.set(id, { startMs, late, count: 1 });
  else known.count++;
}

/** The event as it would have been when the old row was written, for conditions on the row. */
const oldRow = (event: ChangeEvent, before: Row): ChangeEvent => ({
  op: 'update',
  before: null,
  after: before,
  dataset: event.dataset,
  key: event.key,
  movedFrom: null,
  version: event.version,
  ordinal: event.ordinal,
  committedAtMs: event.committedAtMs,
});
