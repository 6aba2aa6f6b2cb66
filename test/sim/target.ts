/**
 * A target in memory that commits as docs/delivery.md says: one transaction for rows, held events, versions, ledger and checkpoint. It folds with
 * the real target's code. Versions are kept with every row (`dense`), or only for keys that have something held.
 */
import { type Batch, type Finding, HOLD_KEY_RULE, Verdict } from '../../core/batch.ts';
import type { Applied, ItemStatus, Lease, Quarantined, Refused, ReleaseLog, Sink } from '../../core/contracts.ts';
import { PipelineError } from '../../core/errors.ts';
import { type ChangeEvent, type Checkpoint, eventId, type LaneId, type Position, versionOf } from '../../core/event.ts';
import { type Entry, fold, type Folded } from '../../sync/postgres/fold.ts';
import { Layouts } from '../../sync/postgres/layout.ts';
import type { Mutation } from './mutations.ts';
import { AMOUNT, amountOf, type Cells, type HoldMode, isPartial, merged, refOf, REFUSED, refsOf } from './source-log.ts';
import type { LaneWrites } from './windows.ts';

const LAYOUTS = new Layouts('sim');

export interface Item extends Quarantined {
  readonly status: ItemStatus;
  /** Its place in the log of releases; 0 where it is not in line. */
  readonly seq: number;
}
export type Ledger = Record<'events' | 'upserts' | 'deletes' | 'truncates' | 'stale' | 'folded' | 'held' | 'dropped', number>;
export interface LaneRow {
  readonly epoch: number;
  readonly checkpoint: Checkpoint | null;
  readonly ledger: Ledger;
}
interface State {
  readonly rows: Map<string, Cells>;
  readonly versions: Map<string, string>;
  /** The newest truncate of each dataset, where versions are dense. */
  readonly truncated: Map<string, string>;
  readonly items: Map<string, Item>;
  readonly lanes: Map<LaneId, LaneRow>;
  releases: number;
  windows: readonly LaneWrites[];
}
/** One process, as the observers' invariant sees it. */
export interface Commits {
  readonly committed: { lane: LaneId; position: Position }[];
}

export interface TargetOptions {
  readonly mutation: Mutation;
  /** The quarantine is kept by somebody else: events held are only counted here. */
  readonly elsewhere: boolean;
  readonly dense: boolean;
  readonly modeOf: (event: ChangeEvent) => HoldMode;
  /** Whether the next batch goes out before the one before it is answered. */
  readonly sendsAhead: () => boolean;
  /** Where time passes and the connection may fail. */
  readonly point: (signal?: AbortSignal) => Promise<void>;
  readonly violation: (what: string) => void;
}

interface Decision {
  readonly events: (ChangeEvent | null)[];
  readonly findings: Finding[];
  readonly settled: Map<string, ItemStatus>;
  stale: number;
  dropped: number;
  held: number;
}

const OUT_OF_TURN = 'out of turn';
const EMPTY: Ledger = { events: 0, upserts: 0, deletes: 0, truncates: 0, stale: 0, folded: 0, held: 0, dropped: 0 };
const OPEN: ReadonlySet<ItemStatus> = new Set(['held', 'waiting', 'released']);

export class Target {
  state: State = {
    rows: new Map(),
    versions: new Map(),
    truncated: new Map(),
    items: new Map(),
    lanes: new Map(),
    releases: 0,
    windows: [],
  };
  readonly #options: TargetOptions;
  #lock: Promise<void> = Promise.resolve();
  /** The newest version each key was ever written at, as nobody but this test knows it. Invariant 4. */
  readonly #written = new Map<string, string>();

  constructor(options: TargetOptions) {
    this.#options = options;
  }

  /**
   * Sends batches ahead of the answer to the one before, as the real target does: all of them wait at the target, in whatever order they get there,
   * and one that comes out of turn changes nothing.
   */
  sink(process: Commits): Sink {
    let knownOpen = new Set<string>();
    const sent = new Map<Batch, Promise<Applied | Refused | typeof OUT_OF_TURN>>();
    return {
      name: 'simulated target',
      acquire: async (lane): Promise<Lease> => {
        await this.#options.point();
        return this.#transaction(async (tx) => {
          const known = tx.lanes.get(lane) ?? { epoch: 0, checkpoint: null, ledger: EMPTY };
          const mine = { ...known, epoch: known.epoch + 1 };
          tx.lanes.set(lane, mine);
          knownOpen = openRefs(tx, this.#options.mutation);
          return { lane, epoch: mine.epoch, checkpoint: mine.checkpoint };
        });
      },
      prepare: (batch, held, lease) => {
        if (batch.origin === 'replay' || !this.#options.sendsAhead()) return;
        const answer = this.#apply(process, batch, held, lease, knownOpen);
        answer.catch(() => {}); // Read by `apply`; a run that ends before that has no use for it.
        sent.set(batch, answer);
      },
      apply: async (batch, held, lease, signal) => {
        const early = await sent.get(batch);
        sent.delete(batch);
        if (early !== undefined && early !== OUT_OF_TURN) return early;
        const outcome = await this.#apply(process, batch, held, lease, knownOpen, signal);
        if (outcome === OUT_OF_TURN) throw new PipelineError('BUG', `${batch.lane} does not stand at ${batch.after}`);
        return outcome;
      },
      [Symbol.asyncDispose]: async () => {},
    };
  }

  // --- The quarantine, where it is kept here.

  release(ids: readonly string[]): Promise<void> {
    return this.#transaction(async (tx) => {
      const chosen = new Set(ids);
      const refs = new Set<string>();
      const open = openItems(tx);
      // What shares a key with a chosen item goes along where the key is held; so do those that share one with these.
      for (let before = -1; before < chosen.size + refs.size;) {
        before = chosen.size + refs.size;
        for (const { id, event } of open) {
          if (this.#options.modeOf(event) !== 'key') continue;
          if (refsOf(event).some((ref) => refs.has(ref))) chosen.add(id);
          if (chosen.has(id)) for (const ref of refsOf(event)) refs.add(ref);
        }
      }
      for (const item of open) if (chosen.has(item.id) && item.status !== 'released') putInLine(tx, item);
    });
  }

  discard(id: string): Promise<void> {
    return this.#transaction(async (tx) => {
      const item = tx.items.get(id);
      if (item === undefined || !OPEN.has(item.status)) return;
      tx.items.set(id, { ...item, status: 'discarded' });
      this.#afterSettling(tx, [item]);
    });
  }

  /** Calls `nothingLeft` where a real log would wait for more. */
  releaseLog(nothingLeft: () => void): ReleaseLog {
    return {
      releasedAfter: async (after, limit) => {
        await this.#options.point();
        return [...this.state.items.values()]
          .filter(({ status, seq }) => status === 'released' && BigInt(seq) > after)
          .sort((a, b) => a.seq - b.seq)
          .slice(0, limit)
          .map((item) => ({ seq: BigInt(item.seq), item }));
      },
      changed: async () => nothingLeft(),
    };
  }

  // --- One batch.

  async #apply(
    process: Commits,
    batch: Batch,
    held: readonly Quarantined[],
    lease: Lease,
    knownOpen: ReadonlySet<string>,
    signal?: AbortSignal,
  ): Promise<Applied | Refused | typeof OUT_OF_TURN> {
    const { mutation, point } = this.#options;
    await point(signal);
    const settledLater: Item[] = [];
    const outcome = await this.#transaction(async (tx): Promise<Applied | Refused | typeof OUT_OF_TURN> => {
      const lane = tx.lanes.get(lease.lane);
      if (lane === undefined || (lane.epoch !== lease.epoch && mutation !== 'no-fence')) {
        throw new PipelineError('LEASE_LOST', `${lease.lane} belongs to another run`); // Invariant 3
      }
      if ((lane.checkpoint?.position ?? null) !== batch.after && mutation !== 'out-of-turn') return OUT_OF_TURN; // Invariant 6
      const isReplay = batch.origin === 'replay' && !this.#options.elsewhere;
      const decision = isReplay
        ? this.#decideReplay(tx, batch, held)
        : this.#decide(tx, batch, mutation === 'stale-held-keys' ? knownOpen : openRefs(tx, mutation));
      const written = decision.findings.length > 0 ? null : this.#write(tx, batch, decision);
      const [first, ...more] = decision.findings;
      if (first !== undefined || written === null) return { kind: 'refused', findings: [first ?? targetCheck(0), ...more] };

      const counts = {
        upserts: written.folded.upserts - written.missing,
        deletes: written.folded.deletes,
        truncates: written.folded.truncates,
        stale: decision.stale + written.missing,
        folded: written.folded.folded,
        held: decision.held,
        dropped: decision.dropped,
      };
      const ledger = { ...lane.ledger, events: lane.ledger.events + batch.events.length };
      for (const [name, count] of Object.entries(counts)) ledger[name as keyof typeof counts] += count;
      const moved = { epoch: lease.epoch, checkpoint: batch.checkpoint, ledger };
      if (batch.windows !== null) tx.windows = [...tx.windows, { lane: batch.lane, writes: batch.windows }];
      if (mutation === 'windows-apart') this.state.windows = tx.windows;
      if (mutation === 'ledger-apart') this.state.lanes.set(lease.lane, { ...lane, ledger });

      if (isReplay) this.#settle(tx, held, decision, settledLater);
      else if (!this.#options.elsewhere) this.#hold(tx, held);
      this.#raise(tx, decision.events, batch);
      await point(signal);
      if (mutation === 'checkpoint-before-rows') {
        this.state.lanes.set(lease.lane, moved);
        await point(signal);
      }
      tx.lanes.set(lease.lane, moved); // Invariant 2
      this.#audit(decision.events, batch);
      process.committed.push({ lane: lease.lane, position: batch.checkpoint.position });
      return { kind: 'applied', checkpoint: batch.checkpoint, ...counts };
    });
    await point(); // The commit happened, and the answer is lost.
    if (settledLater.length > 0) {
      await this.#transaction(async (tx) => {
        for (const item of settledLater) tx.items.set(item.id, item);
        this.#afterSettling(tx, settledLater);
      });
    }
    return outcome;
  }

  /** The lane's own events. Those whose key waits are refused. */
  #decide(tx: State, batch: Batch, open: ReadonlySet<string>): Decision {
    const { elsewhere, mutation, modeOf } = this.#options;
    const decision = newDecision(batch);
    const blocked = new Set(open);
    const seen = new Map<string, string>(); // Of released events kept elsewhere, which come in the order of their release.
    for (const [index, event] of batch.events.entries()) {
      const verdict = batch.verdicts[index];
      const mode = modeOf(event);
      if (verdict === Verdict.Quarantine) {
        decision.held++;
        for (const ref of heldRefs(event, mutation)) blocked.add(ref);
      } else if (verdict === Verdict.Drop) {
        decision.dropped++;
      } else if (!elsewhere && refsOf(event).some((ref) => blocked.has(ref)) && this.#waits(event, mode)) {
        decision.findings.push(waits(index));
        for (const ref of refsOf(event)) blocked.add(ref);
      } else {
        const left = event.op === 'truncate' ? event : this.#withoutOutrun(tx, event, seen);
        decision.events[index] = left;
        if (left === null) decision.stale++;
        else for (const ref of refsOf(left)) seen.set(ref, versionOf(event));
        continue;
      }
      decision.events[index] = null;
    }
    return decision;
  }

  /** Released events: those outrun are superseded, those behind a key that is held again wait again. */
  #decideReplay(tx: State, batch: Batch, held: readonly Quarantined[]): Decision {
    const { mutation, modeOf } = this.#options;
    const decision = newDecision(batch);
    const open = openItems(tx);
    const heldAgain = new Set(held.map(({ id }) => id));
    const seen = new Map<string, string>();
    for (const [index, event] of batch.events.entries()) {
      const id = eventId(event);
      const version = versionOf(event);
      const refs = refsOf(event);
      const waitsFor = mutation !== 'free-while-held' || modeOf(event) === 'key';
      const isBehind = open.some(
        (item) => versionOf(item.event) < version && !decision.settled.has(item.id) && refsOf(item.event).some((ref) => refs.includes(ref)),
      );
      decision.events[index] = null;
      if (tx.items.get(id)?.status !== 'released') {
        decision.stale++; // Settled by somebody since it was read.
      } else if (heldAgain.has(id)) {
        decision.held++;
      } else if (batch.verdicts[index] === Verdict.Drop) {
        decision.dropped++;
        decision.settled.set(id, 'discarded');
      } else if (isBehind && waitsFor && this.#waits(event, modeOf(event)) && mutation !== 'release-overtakes') {
        decision.findings.push(waits(index));
      } else {
        const left = this.#withoutOutrun(tx, event, seen);
        decision.events[index] = left;
        decision.settled.set(id, left === null ? 'superseded' : 'applied');
        if (left === null) decision.stale++;
        else for (const ref of refsOf(left)) seen.set(ref, version);
      }
    }
    return decision;
  }

  /** Whether an event of a key with something held waits: always where keys are held, else where it leaves cells out. */
  #waits(event: ChangeEvent, mode: HoldMode): boolean {
    if (this.#options.mutation === 'key-does-not-wait') return false;
    return event.op !== 'truncate' && (mode === 'key' || (event.after !== null && isPartial(event.after)));
  }

  /** What of an event the target does not have newer. Invariant 4. */
  #withoutOutrun(tx: State, event: ChangeEvent, seen: ReadonlyMap<string, string> = new Map()): ChangeEvent | null {
    if (this.#options.mutation === 'no-version-guard') return event;
    const { name } = event.dataset;
    const isOutrun = (key: string) => {
      const ref = refOf(name, key);
      const known = [tx.versions.get(ref), tx.truncated.get(name), seen.get(ref)];
      return known.some((version) => version !== undefined && version >= versionOf(event));
    };
    const keyOutrun = isOutrun(event.key);
    if (event.movedFrom === null || event.op !== 'update') return keyOutrun ? null : event;
    const oldOutrun = isOutrun(event.movedFrom);
    if (keyOutrun && oldOutrun) return null;
    if (keyOutrun) return { ...event, op: 'delete', after: null, key: event.movedFrom, movedFrom: null };
    if (oldOutrun) return isPartial(event.after) ? null : { ...event, movedFrom: null };
    return event;
  }

  #write(tx: State, batch: Batch, decision: Decision): { folded: Folded; missing: number } {
    const { mutation, dense } = this.#options;
    const events = decision.events.map((event, index) => event ?? batch.events[index]).filter((event) => event !== undefined);
    const folded = fold(events, { takes: (i) => decision.events[i] !== null && batch.passes(i), layouts: LAYOUTS, keepsRow: () => false });
    let missing = 0;
    const put = (entry: Entry): void => {
      const { name } = entry.event.dataset;
      const ref = refOf(name, entry.event.key);
      const row = mutation === 'fold-loses-cells' && entry.index >= 0 ? entry.event.after : entry.row;
      const oldRef = refOf(name, entry.event.movedFrom ?? entry.event.key);
      if (entry.index < 0 || row === null) {
        if (mutation === 'move-leaves-old-row' && entry.index < 0) return;
        tx.rows.delete(oldRef); // Of a move, what goes is the row at its old key.
        return;
      }
      const isMove = entry.event.movedFrom !== null && entry.partial;
      // A row that was deleted and made anew in this batch has nothing of the target's old one.
      if (entry.fresh && isPartial(row) && !isMove) tx.rows.delete(ref);
      const old = tx.rows.get(isMove ? oldRef : ref);
      if (isPartial(row) && old === undefined && mutation !== 'partial-inserts') {
        missing++;
        return;
      }
      if (isMove && mutation !== 'move-leaves-old-row') tx.rows.delete(oldRef);
      tx.rows.set(ref, merged(row, mutation === 'partial-as-null' ? undefined : old));
    };
    const refused = folded.groups.some(({ entries, move }) =>
      [...entries.values(), ...(move === null ? [] : [move])].some(({ row }) => row?.value(AMOUNT) === REFUSED),
    );
    if (refused) {
      for (const [index, event] of events.entries())
        if (decision.events[index] !== null && batch.passes(index) && amountOf(event) === REFUSED)
          decision.findings.push(targetCheck(index));
      return { folded, missing };
    }
    for (const { dataset, truncate, entries, move } of folded.groups) {
      if (truncate) {
        const version = batch.events.findLast((event) => event.op === 'truncate' && event.dataset === dataset);
        for (const ref of tx.rows.keys()) {
          const isNewer = dense && version !== undefined && (tx.versions.get(ref) ?? '') > versionOf(version);
          if (ref.startsWith(`${dataset.name}/`) && !isNewer) tx.rows.delete(ref);
        }
      }
      for (const entry of entries.values()) put(entry);
      if (move !== null) put(move);
    }
    return { folded, missing };
  }

  /** Remembers what the target took: of every key, or of those with something held. */
  #raise(tx: State, events: readonly (ChangeEvent | null)[], batch: Batch): void {
    const { dense, mutation } = this.#options;
    const open = openRefs(tx, mutation);
    for (const [index, event] of events.entries()) {
      if (event === null || !batch.passes(index)) continue;
      const version = versionOf(event);
      const raise = (ref: string) => {
        if ((tx.versions.get(ref) ?? '') < version) tx.versions.set(ref, version);
      };
      if (event.op === 'truncate') {
        if (mutation === 'truncate-skips-held') continue;
        if (dense) tx.truncated.set(event.dataset.name, version);
        for (const ref of open) if (ref.startsWith(`${event.dataset.name}/`)) raise(ref);
      } else if (event.after === null && mutation === 'forget-tombstones') {
        for (const ref of refsOf(event)) tx.versions.delete(ref);
      } else {
        for (const ref of refsOf(event)) if (dense || open.has(ref)) raise(ref);
      }
    }
    this.#forget(tx);
  }

  #forget(tx: State): void {
    if (this.#options.dense) return;
    const open = openRefs(tx, this.#options.mutation);
    for (const ref of tx.versions.keys()) if (!open.has(ref)) tx.versions.delete(ref);
  }

  #hold(tx: State, held: readonly Quarantined[]): void {
    for (const item of held) {
      if (tx.items.has(item.id)) this.#options.violation(`${item.id} is held twice`);
      else tx.items.set(item.id, { ...item, status: heldStatus(item.findings), seq: 0 });
    }
    // What it waited for may be settled by now: the batch was judged before.
    const waiting = held.filter(({ findings }) => heldStatus(findings) === 'waiting').map(({ event }) => event);
    if (this.#options.mutation !== 'waiting-forgotten') releaseUnblocked(tx, waiting, this.#options);
  }

  #settle(tx: State, held: readonly Quarantined[], { settled }: Decision, later: Item[]): void {
    const items: Item[] = [];
    const again: Item[] = [];
    for (const [id, status] of settled) {
      const item = tx.items.get(id);
      if (item === undefined) continue;
      items.push({ ...item, status, seq: 0 });
    }
    for (const { id, findings } of held) {
      const item = tx.items.get(id);
      if (item?.status === 'released') again.push({ ...item, findings, status: heldStatus(findings), seq: 0 });
    }
    for (const item of again) tx.items.set(item.id, item);
    if (this.#options.mutation === 'settle-apart') {
      later.push(...items);
      return;
    }
    for (const item of items) tx.items.set(item.id, item);
    this.#afterSettling(tx, items);
    releaseUnblocked(
      tx,
      again.map(({ event }) => event),
      this.#options,
    );
  }

  #afterSettling(tx: State, items: readonly Item[]): void {
    const { mutation } = this.#options;
    if (mutation === 'forget-key-early') for (const { event } of items) for (const ref of refsOf(event)) tx.versions.delete(ref);
    const settled = items.map(({ event }) => event);
    if (mutation !== 'settle-without-release') releaseUnblocked(tx, settled, this.#options);
    this.#forget(tx);
  }

  #audit(events: readonly (ChangeEvent | null)[], batch: Batch): void {
    for (const [index, event] of events.entries()) {
      if (event === null || !batch.passes(index)) continue;
      const refs = event.op === 'truncate' ? [event.dataset.name] : refsOf(event);
      for (const ref of refs) {
        const version = versionOf(event);
        const known = [this.#written.get(ref), event.op === 'truncate' ? undefined : this.#written.get(event.dataset.name)];
        if (known.some((one) => one !== undefined && one >= version)) this.#options.violation(`${ref} returns to ${version}`);
        this.#written.set(ref, version);
      }
    }
  }

  /** One at a time, all or nothing. */
  async #transaction<T>(work: (tx: State) => Promise<T>): Promise<T> {
    const before = this.#lock;
    let unlock = (): void => {};
    this.#lock = new Promise((resolve) => {
      unlock = resolve;
    });
    await before;
    try {
      const { rows, versions, truncated, items, lanes, releases, windows } = this.state;
      const tx: State = {
        rows: new Map(rows),
        versions: new Map(versions),
        truncated: new Map(truncated),
        items: new Map(items),
        lanes: new Map(lanes),
        releases,
        windows,
      };
      const result = await work(tx);
      // A refusal changes nothing, and what it tried is not kept.
      if (!(typeof result === 'object' && result !== null && 'kind' in result && result.kind === 'refused')) this.state = tx;
      return result;
    } finally {
      unlock();
    }
  }
}

const newDecision = (batch: Batch): Decision => ({
  events: [...batch.events],
  findings: [],
  settled: new Map(),
  stale: 0,
  dropped: 0,
  held: 0,
});

export function heldStatus(findings: readonly Finding[]): 'held' | 'waiting' {
  return findings.length > 0 && findings.every(({ rule }) => rule === HOLD_KEY_RULE) ? 'waiting' : 'held';
}

/** Open items in the source's order. */
function openItems(tx: State): Item[] {
  return [...tx.items.values()].filter(({ status }) => OPEN.has(status)).sort((a, b) => (versionOf(a.event) < versionOf(b.event) ? -1 : 1));
}

function heldRefs(event: ChangeEvent, mutation: Mutation): string[] {
  return mutation === 'move-holds-one-key' ? refsOf(event).slice(0, 1) : refsOf(event);
}

function openRefs(tx: State, mutation: Mutation): Set<string> {
  const refs = new Set<string>();
  for (const { status, event } of tx.items.values()) if (OPEN.has(status)) for (const ref of heldRefs(event, mutation)) refs.add(ref);
  return refs;
}

function putInLine(tx: State, item: Item): void {
  tx.items.set(item.id, { ...item, status: 'released', seq: ++tx.releases });
}

/** All keys that share an open item with one of these, directly or through a move. */
function connected(tx: State, events: readonly ChangeEvent[]): Set<string> {
  const refs = new Set(events.flatMap(refsOf));
  for (let before = -1; before < refs.size;) {
    before = refs.size;
    for (const { event } of openItems(tx)) if (refsOf(event).some((ref) => refs.has(ref))) for (const ref of refsOf(event)) refs.add(ref);
  }
  return refs;
}

/** Releases what waits for nothing any more, of the keys of these events. */
function releaseUnblocked(tx: State, events: readonly ChangeEvent[], { mutation, modeOf }: TargetOptions): void {
  const refs = connected(tx, events);
  const blocked = new Set<string>();
  for (const item of openItems(tx)) {
    if (!refsOf(item.event).some((ref) => refs.has(ref))) continue;
    const isBlocked = item.status === 'held' || refsOf(item.event).some((ref) => blocked.has(ref));
    const blocks = mutation !== 'free-while-held' || modeOf(item.event) === 'key';
    if (isBlocked && blocks) for (const ref of heldRefs(item.event, mutation)) blocked.add(ref);
    else if (item.status === 'waiting') putInLine(tx, item);
  }
}

function waits(index: number): Finding {
  return { ...targetCheck(index), rule: HOLD_KEY_RULE, column: null, severity: 'info', message: 'an earlier event of the key is held' };
}

function targetCheck(index: number): Finding {
  return {
    index,
    stage: 'sync',
    rule: 'target.23514',
    column: 'amount',
    verdict: Verdict.Quarantine,
    severity: 'critical',
    message: 'amount breaks a check constraint',
    notify: false,
  };
}
