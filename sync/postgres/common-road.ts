/**
 * The common road: batches that need no answer before they commit. Each is sent as soon as it is known, behind those before it, so that the target never waits
 * for us: in one write with one Sync, as one implicit transaction, that `tidegate.advance` fails where the batch before it is not in. One that has no row in
 * common with those on their way is written by a worker beside them.
 */
import { type Batch, type EventRun, HOLD_KEY_RULE, Verdict } from '../../core/batch.ts';
import type { Applied, Lease, Quarantined } from '../../core/contracts.ts';
import { PipelineError } from '../../core/errors.ts';
import type { ChangeEvent, Dataset } from '../../core/event.ts';
import { type PgConnection, PgError, type PgResult } from '../../wire/postgres/connection.ts';
import { Format, FrontendWriter } from '../../wire/postgres/messages.ts';
import type { WriterPool } from '../../wire/postgres/writer-pool.ts';
import { WRITTEN_PREFIX } from '../../wire/postgres/written.ts';
import { isOutOfTurn, isRefusal } from './failures.ts';
import { fold } from './fold.ts';
import { TABLE_KEY, TURN_SQL } from './held-keys.ts';
import { emitHold, type HoldMode, prepareHold } from './items.ts';
import type { AskedDrafts } from './keyed/drafts.ts';
import type { Keyed } from './keyed/keyed.ts';
import type { KnownHeld } from './known-held.ts';
import { emitAdvance, prepareAdvance } from './lanes.ts';
import type { Layouts } from './layout.ts';
import type { RowVersions } from './row-versions.ts';
import { isParkedItem } from './parked-items.ts';
import type { Schemas } from './schemas.ts';
import { serverJson } from './server-texts.ts';
import type { TableClaims } from './table-claims.ts';
import type { Tables } from './tables.ts';
import { areDisjoint, type Touched, touchedBy } from './touched.ts';
import { wholeRowsOf, type WrittenRows } from './whole-rows.ts';
import { emitWindows, prepareWindows } from './windows.ts';
import { emitCommit, NotInTurn, type Worker, type Workers } from './workers.ts';
import { keepsScore, type Plan, type Writes } from './writes.ts';

export interface CommonParts {
  readonly sql: PgConnection;
  readonly tables: Tables;
  readonly writes: Writes;
  readonly schemas: Schemas;
  /** Null where nobody asks. */
  readonly claims: TableClaims | null;
  readonly layouts: Layouts;
  /** Only the lane that writes a key adds to what is held of it, so what its one writer knows misses nothing. */
  readonly heldKeys: KnownHeld;
  /** With them every batch takes the careful road. */
  readonly rowVersions: RowVersions | null;
  readonly keyed: Keyed;
  readonly drafts: AskedDrafts | null;
  readonly workers: Workers;
  readonly writers: WriterPool;
  readonly pipeline: string;
  /** Each transaction says in the log that it is ours. */
  readonly isMarked: boolean;
  readonly deferConstraints: boolean;
  readonly modeOf: (event: ChangeEvent) => HoldMode;
  readonly keepsRecords: boolean;
  /** Smaller batches are not worth a transaction beside another's. */
  readonly besideRowsMin: number;
}

/** What is written of a batch, and what that comes to. */
interface Planned {
  /** Null for new rows that were not folded. */
  readonly rows: Pick<WrittenRows, 'groups'> | EventRun | null;
  readonly plan: Plan;
  readonly counts: Pick<WrittenRows, 'upserts' | 'deletes' | 'truncates' | 'folded'>;
}

interface Ready extends Planned {
  readonly writer: FrontendWriter;
  /** Whose plan it is; null for the lane's own session. */
  readonly worker: Worker | null;
  /** Of the batch when it was encoded: a batch that was marked since has to be encoded anew. */
  readonly findings: number;
  readonly generation: number;
}

interface Sent {
  readonly plan: Plan;
  readonly answer: Promise<readonly PgResult[]>;
  /** Whether the target has it; never rejects. */
  readonly isIn: Promise<boolean>;
  /** What the batch comes to if the target takes it. */
  readonly applied: Applied;
  /** Every batch before it was in when it was sent. */
  readonly inTurn: boolean;
  readonly worker: Worker | null;
  /** Null where it may have rows in common with any other. */
  readonly touched: () => Touched | null;
}

/** A batch that was prepared and not sent. */
interface Waiting {
  readonly batch: Batch;
  readonly held: readonly Quarantined[];
  readonly lease: Lease;
  /** Its place in the order in which batches were prepared. */
  readonly place: number;
  /** Of the batch by then: what is held of one that was marked since is for `apply` to say. */
  readonly findings: number;
  /** For the lane's own session; null where the target has to be asked first. */
  ready: Ready | null;
}

const TURN = 'tg_turn';
const DEFER = 'tg_defer';
export const WRITTEN = 'tg_written';

/** What a session that writes batches has prepared. */
export function laneStatements(isMarked: boolean): FrontendWriter {
  const writer = new FrontendWriter();
  prepareAdvance(writer);
  prepareWindows(writer);
  prepareHold(writer);
  writer.parse(TURN, TURN_SQL).parse(DEFER, 'select tidegate.defer_constraints()');
  if (isMarked) writer.parse(WRITTEN, `select pg_catalog.pg_logical_emit_message(true, '${WRITTEN_PREFIX}', '')`);
  return writer;
}

export class CommonRoad {
  readonly #parts: CommonParts;
  readonly #sent = new WeakMap<Batch, Sent>();
  /** Those that were sent and are not answered for, in their order. */
  readonly #ahead: Sent[] = [];
  readonly #waiting: Waiting[] = [];
  readonly #places = new WeakMap<Batch, number>();
  /** Batches that concern no key with something held, and the revision of these by which that is so. */
  readonly #untouched = new WeakMap<Batch, number>();
  #prepared = 0;
  /** The place of the last batch that was sent, with all before it, and not in vain. */
  #sentTo = 0;
  /** Changes whenever what was got ready ahead is worth nothing any more. */
  #generation = 0;
  /** How many transactions of others are under way on the lane's own session. */
  #aside = 0;

  constructor(parts: CommonParts) {
    this.#parts = parts;
  }

  /** Plans that are made already are worth nothing any more. */
  forget(): void {
    this.#generation++;
  }

  prepare(batch: Batch, held: readonly Quarantined[], lease: Lease): void {
    const place = ++this.#prepared;
    this.#places.set(batch, place);
    this.#parts.heldKeys.remember(held);
    this.#waiting.push({ batch, held, lease, place, findings: batch.findings.length, ready: null });
    this.#sendAhead();
    // Not sent: it is at least encoded by the time its turn comes.
    const waiting = this.#waiting.at(-1);
    if (waiting?.batch !== batch || waiting.ready !== null || this.#isAsked(batch) || this.#isTouched(batch, held)) return;
    const planned = this.#planKnown(batch);
    if (planned !== null) waiting.ready = this.#encode(batch, planned, null);
  }

  /** Answers null, with the target as it was, where the careful road has to be taken. `done` follows once the batch is in. */
  async apply(batch: Batch, held: readonly Quarantined[], lease: Lease): Promise<Applied | null> {
    const { heldKeys, writes, workers } = this.#parts;
    heldKeys.remember(held);
    let sent = this.#sent.get(batch);
    this.#sent.delete(batch);
    for (;;) {
      if (sent !== undefined) {
        const outcome = await answered(sent);
        if (outcome === 'applied') return sent.applied;
        // What was sent behind it was sent in vain, and what is prepared from here on would be.
        this.#sentTo = (this.#places.get(batch) ?? 0) - 1;
        if (outcome === 'refused' || (outcome === 'key is there' && !sent.plan.appends)) return null;
        if (outcome === 'key is there') {
          writes.avoidAppends(sent.plan);
          workers.avoidAppends(sent.plan);
        } else if (sent.inTurn) {
          throw new PipelineError('BUG', `the lane ${batch.lane} does not stand at ${batch.after ?? 'its beginning'}`);
        }
      }
      let ready = this.#takeWaiting(batch);
      const isCareful = this.#isAsked(batch) || this.#isTouched(batch, held);
      if (ready !== null && (isCareful || !this.#isFresh(ready, batch))) ready = this.#giveUp(ready);
      if (isCareful) return null;
      if (ready === null) {
        const planned = await this.#plan(batch);
        if (planned === null) return null;
        ready = this.#encode(batch, planned, null);
      }
      sent = this.#send(batch, held, lease, ready, true);
      this.#sendAhead();
    }
  }

  /** Somebody else's transaction on the lane's own session: nothing is sent into it. What is prepared meanwhile waits for its turn. */
  async standAside<T>(transaction: () => Promise<T>): Promise<T> {
    this.#aside++;
    try {
      return await transaction();
    } finally {
      this.#aside--;
    }
  }

  /** The batch that was applied is in. */
  done(batch: Batch): void {
    this.#giveUp(this.#takeWaiting(batch));
    this.#sentTo = Math.max(this.#sentTo, this.#places.get(batch) ?? 0);
    this.#sendAhead();
  }

  /** Those before it were given up: batches are applied in the order in which they were prepared. */
  #takeWaiting(batch: Batch): Ready | null {
    const place = this.#places.get(batch) ?? 0;
    for (;;) {
      const [first] = this.#waiting;
      if (first === undefined || first.place > place) return null;
      this.#waiting.shift();
      if (first.batch === batch) return first.ready;
      this.#giveUp(first.ready);
    }
  }

  /** What was encoded and will not be sent. */
  #giveUp(ready: Ready | null): null {
    if (ready !== null) this.#parts.writers.release(ready.writer);
    return null;
  }

  /** Sends what waits, in its order: never into the middle of the careful road's transaction, nor behind a batch that was not sent itself. */
  #sendAhead(): void {
    for (;;) {
      const [next] = this.#waiting;
      if (next === undefined || this.#aside > 0 || next.place !== this.#sentTo + 1) return;
      const { batch, held, lease, findings } = next;
      if (batch.findings.length !== findings || this.#isAsked(batch) || !this.#areOpen(batch) || this.#isTouched(batch, held)) return;
      const ready = this.#readyToGo(next);
      if (ready === null) return;
      // What a worker is still at has to be in before the lane's own session can take its turn.
      if (ready.worker === null && this.#ahead.some(({ worker }) => worker !== null)) return;
      this.#waiting.shift();
      this.#sent.set(batch, this.#send(batch, held, lease, ready, false));
    }
  }

  /** Without asking the target; null where it has to be asked. */
  #readyToGo(waiting: Waiting): Ready | null {
    const { batch } = waiting;
    if (waiting.ready !== null && !this.#isFresh(waiting.ready, batch)) waiting.ready = this.#giveUp(waiting.ready);
    const planned = waiting.ready ?? this.#planKnown(batch);
    if (planned === null) return null;
    const worker = this.#workerFor(batch, planned);
    if (worker !== null) {
      waiting.ready = this.#giveUp(waiting.ready);
      waiting.ready = this.#encode(batch, { ...planned, plan: worker.plan }, worker.worker);
    }
    return (waiting.ready ??= this.#encode(batch, planned, null));
  }

  /** A worker for a batch that has no row in common with those that are on their way, and its plan there. */
  #workerFor(batch: Batch, { rows, plan: own }: Planned): { readonly worker: Worker; readonly plan: Plan } | null {
    const { workers } = this.#parts;
    if (this.#ahead.length === 0 || rows === null || (batch.run === null && isMostlyAppended(own, batch.size))) return null;
    const touched = this.#touchedBy(batch, rows);
    if (touched === null || !this.#ahead.every((sent) => isDisjoint(touched, sent.touched()))) return null;
    const worker = workers.free();
    if (worker === null) return null;
    const plan = 'look' in rows ? worker.writes.planRun(rows, batch.scores) : worker.writes.planKnown(rows, batch.scores, 'common');
    if (plan !== null) return { worker, plan };
    if (worker.isIdle) worker.learn(rows, batch.scores);
    return null;
  }

  #touchedBy(batch: Batch, rows: Planned['rows']): Touched | null {
    if (batch.size < this.#parts.besideRowsMin) return null;
    return touchedBy(rows ?? this.#foldOf(batch), (dataset) => this.#parts.tables.known(dataset));
  }

  async #plan(batch: Batch): Promise<Planned | null> {
    const { writes } = this.#parts;
    const { run, scores } = batch;
    if (run !== null && mayLearn(writes, batch, run)) await writes.learnRun(run);
    const asTheyAre = planAsTheyAre(writes, batch);
    if (asTheyAre !== null) return asTheyAre;
    const folded = this.#foldOf(batch);
    const plan = await writes.plan(folded, scores, 'common');
    return plan.isUncertain ? null : { rows: folded, counts: folded, plan };
  }

  /** The same without asking the target; null, too, where it has to be asked. */
  #planKnown(batch: Batch): Planned | null {
    const { writes } = this.#parts;
    const asTheyAre = planAsTheyAre(writes, batch);
    if (asTheyAre !== null) return asTheyAre;
    // Rows that nobody has to fold in the end are not made objects meanwhile.
    if (batch.run !== null && mayLearn(writes, batch, batch.run)) return null;
    const folded = this.#foldOf(batch);
    const plan = writes.planKnown(folded, batch.scores, 'common');
    return plan === null || plan.isUncertain ? null : { rows: folded, counts: folded, plan };
  }

  #foldOf(batch: Batch): WrittenRows {
    const { layouts, tables } = this.#parts;
    const whole = wholeRowsOf(batch, (dataset) => tables.known(dataset));
    if (whole !== null) return whole;
    return fold(batch.events, { layouts, takes: (i) => batch.passes(i), keepsRow: (i) => keepsRow(batch, i) });
  }

  #encode(batch: Batch, { plan, rows, counts }: Planned, worker: Worker | null): Ready {
    const writer = this.#parts.writers.take();
    const { writes } = worker ?? this.#parts;
    writes.emit(plan, batch, writer);
    return { plan, rows, counts, worker, writer: writer.sync(), findings: batch.findings.length, generation: this.#generation };
  }

  #isFresh({ findings, generation }: Ready, batch: Batch): boolean {
    return findings === batch.findings.length && generation === this.#generation;
  }

  /** One write, one Sync: the batch commits by itself, or fails as a whole. A worker's commits behind the batch before it. */
  #send(batch: Batch, held: readonly Quarantined[], lease: Lease, ready: Ready, inTurn: boolean): Sent {
    const { sql, writers, pipeline, isMarked, deferConstraints, modeOf, keepsRecords } = this.#parts;
    const { writer, worker, rows, plan } = ready;
    if (this.#aside > 0) throw new PipelineError('BUG', `a batch of ${batch.lane} would be written in the middle of another transaction`);
    const { upserts, deletes, truncates, folded } = ready.counts;
    const dropped = countOf(batch.verdicts, Verdict.Drop);
    const counts = { upserts, deletes, truncates, stale: 0, folded, held: held.length, dropped };
    const mark = new FrontendWriter(1 << 7);
    if (isMarked) mark.bind('', WRITTEN, [], Format.Text).execute();
    const place = new FrontendWriter(1 << 10);
    emitAdvance(place, batch, lease, counts);
    if (batch.windows !== null) emitWindows(place, batch.windows, pipeline, batch.lane);
    if (deferConstraints) place.bind('', DEFER, [], Format.Text).execute();
    if (held.length > 0) {
      place.bind('', TURN, [pipeline], Format.Text).execute();
      emitHold(place, held, pipeline, modeOf, keepsRecords, serverJson(sql));
    }
    const before = this.#ahead.at(-1)?.isIn ?? Promise.resolve(true);
    const answer = (
      worker === null
        ? sql.exchange([mark.bytes(), place.bytes(), writer.bytes()])
        : worker.write([mark.bytes(), writer.bytes()], emitCommit(place).bytes(), before)
    ).finally(() => {
      this.#ahead.splice(this.#ahead.indexOf(sent), 1);
    });
    const isIn = answer.then(
      () => {
        writers.release(writer);
        return true;
      },
      (error: unknown) => {
        // What a worker was not to go on with may be on its way to the server still.
        if (!(error instanceof NotInTurn) || error.cause !== undefined) writers.release(writer);
        return false; // Read by `apply`; a run that ends before that has no use for it.
      },
    );
    const applied: Applied = { kind: 'applied', checkpoint: batch.checkpoint, ...counts };
    const sent: Sent = { plan, answer, isIn, applied, inTurn, worker, touched: once(() => this.#touchedBy(batch, rows)) };
    this.#ahead.push(sent);
    this.#sentTo = Math.max(this.#sentTo, this.#places.get(batch) ?? 0);
    return sent;
  }

  /** Whether all tables that a batch writes are known, and nobody has to be asked for one. */
  #areOpen(batch: Batch): boolean {
    const { tables, schemas, claims } = this.#parts;
    if (claims?.has(batch) === false) return false;
    for (const dataset of datasetsIn(batch).keys()) if (schemas.isParked(dataset.name) || tables.known(dataset) === undefined) return false;
    return true;
  }

  /** Whether the target has to be asked first, whatever is held: about released events, because rows have versions, or by a rule. */
  #isAsked(batch: Batch): boolean {
    const { rowVersions, keyed, drafts } = this.#parts;
    return batch.origin === 'replay' || rowVersions !== null || keyed.concerns(batch) || drafts?.concerns(batch) === true;
  }

  /** The same because an event that passes concerns a key that has, or may have, something held. */
  #isTouched(batch: Batch, held: readonly Quarantined[]): boolean {
    const { heldKeys } = this.#parts;
    if (heldKeys.size === 0) return false;
    // Items that wait for their key may be free by now, and who only waits is told so in the transaction that holds it.
    if (held.some(({ findings }) => findings.some(({ rule }) => rule === HOLD_KEY_RULE) || isParkedItem(findings))) return true;
    // Looked at once, however often it is asked: what passes only gets less.
    if (this.#untouched.get(batch) === heldKeys.revision) return false;
    if (concernsHeld(batch, heldKeys)) return true;
    this.#untouched.set(batch, heldKeys.revision);
    return false;
  }
}

function concernsHeld(batch: Batch, known: KnownHeld): boolean {
  for (const { dataset, from, to } of batch.spans()) {
    const keys = known.of(dataset.name);
    if (keys === null) continue;
    const isTableHeld = keys.has(TABLE_KEY);
    for (let index = from; index < to; index++) {
      const event = batch.passes(index) ? (batch.run?.look(index) ?? batch.event(index)) : undefined;
      if (event === undefined) continue;
      if (isTableHeld || event.op === 'truncate' || keys.has(event.key)) return true;
      if (event.movedFrom !== null && keys.has(event.movedFrom)) return true;
    }
  }
  return false;
}

async function answered({ answer, plan }: Sent): Promise<'applied' | 'refused' | 'key is there' | 'out of turn'> {
  try {
    await answer;
    return 'applied';
  } catch (error) {
    if (error instanceof NotInTurn) return plan.appends && isKeyThere(error.cause) ? 'key is there' : 'out of turn';
    if (isOutOfTurn(error)) return 'out of turn';
    if (!isRefusal(error)) throw error;
    return isKeyThere(error) ? 'key is there' : 'refused';
  }
}

const isKeyThere = (error: unknown): boolean => error instanceof PgError && error.code === '23505';

/** New rows of a log cost the target no more than they cost the source to decode: a second session would only be in the way of both. */
function isMostlyAppended({ steps }: Plan, rows: number): boolean {
  let appended = 0;
  for (const step of steps) if ('entries' in step && step.prepared.isDirect) appended += step.entries.length;
  return 2 * appended > rows;
}

/** For rows none of which passes, the target is not asked: it may have no table for them. */
const mayLearn = (writes: Writes, batch: Batch, run: EventRun): boolean =>
  batch.verdicts.some((_, index) => batch.passes(index)) && writes.mayLearn(run, batch.scores);

/** Rows that the source made anew, in the bytes that they came in; those of a run are no objects yet. */
function planAsTheyAre(writes: Writes, batch: Batch): Planned | null {
  const { run } = batch;
  const plan = run === null ? writes.planNewRows(batch) : writes.planRun(run, batch.scores);
  if (plan === null) return null;
  let upserts = 0;
  for (let index = 0; index < batch.size; index++) if (batch.passes(index)) upserts++;
  return { rows: run, plan, counts: { upserts, deletes: 0, truncates: 0, folded: 0 } };
}

const isDisjoint = (one: Touched, other: Touched | null): boolean => other !== null && areDisjoint(one, other);

function once<T>(find: () => T): () => T {
  let found: { readonly value: T } | null = null;
  return () => (found ??= { value: find() }).value;
}

/** The datasets of a batch, each with one of its events; truncates know of no shape. */
export function datasetsIn(batch: Batch): ReadonlyMap<Dataset, ChangeEvent> {
  const { run } = batch;
  if (run !== null) return new Map([[run.dataset, run.event(0)]]);
  const found = new Map<Dataset, ChangeEvent>();
  let last: Dataset | null = null;
  for (const event of batch.events) {
    if (event.dataset === last || event.op === 'truncate' || event.dataset.undecoded === true) continue;
    last = event.dataset;
    if (!found.has(last)) found.set(last, event);
  }
  return found;
}

function keepsRow(batch: Batch, index: number): boolean {
  const event = batch.events[index];
  return event !== undefined && batch.scores.length > 0 && keepsScore(event, index, batch.scores);
}

function countOf(verdicts: Uint8Array, verdict: number): number {
  let count = 0;
  for (const one of verdicts) if (one === verdict) count++;
  return count;
}
