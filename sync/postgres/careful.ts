/**
 * The careful road: an explicit transaction, for batches whose outcome has to be known before it commits. It locks the keys concerned,
 * decides event by event what is written, what waits and what is outrun, writes, settles, and moves the checkpoint. Where the target refuses rows, it looks
 * for them by halving the batch between savepoints.
 */
import { type Batch, type Finding, HOLD_KEY_RULE, Verdict } from '../../core/batch.ts';
import type { Applied, Lease, Quarantined, Refused } from '../../core/contracts.ts';
import { type ChangeEvent, type DatasetName, eventId, versionOf } from '../../core/event.ts';
import type { PgConnection, PgError } from '../../wire/postgres/connection.ts';
import { FrontendWriter } from '../../wire/postgres/messages.ts';
import { textArrayParameter } from './arrays.ts';
import { isRefusal, refusalText } from './failures.ts';
import { type HeldKey, keysOf, lockKeys, raiseAllVersions, raiseVersions, refOf, settleKeys, tableRefOf, TURN_SQL } from './held-keys.ts';
import { HeldTruncates, tablesHeld } from './held-truncates.ts';
import { emitHold, findingsJson, heldStatus, type HoldMode, putInLine, waitMsOf } from './items.ts';
import { emitAdvance } from './lanes.ts';
import type { KnownHeld } from './known-held.ts';
import { OpenBefore, refsOf } from './open-items.ts';
import { withoutOutrun } from './outrun.ts';
import type { RowVersions } from './row-versions.ts';
import { noteParked } from './parked-items.ts';
import { serverJson } from './server-texts.ts';
import { releaseUnblocked } from './unblocked.ts';
import { emitWindows } from './windows.ts';
import type { AskedDrafts } from './keyed/drafts.ts';
import type { Keyed } from './keyed/keyed.ts';

/** Where the events of a batch go: the target's tables, or topics whose lanes and quarantine are kept here. */
export interface RowWriter {
  /** Before the transaction: what would go with it is made. */
  prepare(batch: Batch): Promise<void>;
  /**
   * Writes `events[from, to)` inside of the transaction. An event keeps its place, so that an index means the same everywhere; null where nothing of one
   * is to be written.
   */
  write(batch: Batch, events: readonly (ChangeEvent | null)[], from: number, to: number): Promise<Written>;
  /** Whether the event leaves cells out that would be written. */
  isPartial(event: ChangeEvent): boolean;
  /** What the source calls a column of the target. */
  columnOf(event: ChangeEvent, column: string): string;
}

/** What became of written events. */
export interface Written {
  readonly upserts: number;
  readonly deletes: number;
  readonly truncates: number;
  readonly folded: number;
  /** Updates of rows that were not there. */
  readonly missing: number;
  /** Events that cannot be written as they are. */
  readonly refusals: readonly Finding[];
}

export interface CarefulParts {
  readonly sql: PgConnection;
  readonly rows: RowWriter;
  /** Ends the transaction, where something else has to be done for it first; left out, it is committed. */
  readonly commit?: (batch: Batch) => Promise<void>;
  readonly deferConstraints: boolean;
  /** The prepared statement that says in the log whose transaction it is; null where there is none. */
  readonly markStatement: string | null;
  readonly heldKeys: Pick<KnownHeld, 'size' | 'of' | 'forget'>;
  /** Left out where no version is kept of rows that have nothing held. */
  readonly rowVersions?: RowVersions | null;
  /** Rules that need other rows ask it; null where there are no rows that could be asked for. */
  readonly keyed: Keyed | null;
  /** Rules of drafts ask it too; left out where there are none. */
  readonly drafts?: AskedDrafts | null;
  readonly pipeline: string;
  readonly modeOf: (event: ChangeEvent) => HoldMode;
  readonly keepsRecords: boolean;
}

type Counts = Omit<Applied, 'kind' | 'checkpoint'>;

/** What is to be done with a batch. */
interface Decision {
  /** The batch's events, some of them cut down to what the target does not have newer; null where nothing of one is to be written. */
  readonly events: (ChangeEvent | null)[];
  readonly findings: Finding[];
  /** Versions of keys with something held, as the target takes newer ones. */
  readonly versions: Map<string, string>;
  readonly truncated: Map<DatasetName, string>;
  stale: number;
  dropped: number;
  held: number;
  /** Of released items: id to what became of it. */
  readonly settled: Map<string, { status: 'applied' | 'superseded' | 'discarded'; readonly index: number; readonly event: ChangeEvent }>;
}

export class CarefulRoad {
  readonly #parts: CarefulParts;

  constructor(parts: CarefulParts) {
    this.#parts = parts;
  }

  async apply(batch: Batch, held: readonly Quarantined[], lease: Lease): Promise<Applied | Refused> {
    try {
      return await this.#attempt(batch, held, lease, false);
    } catch (error) {
      if (!isRefusal(error)) throw error;
      return this.#attempt(batch, held, lease, true);
    }
  }

  async #attempt(batch: Batch, held: readonly Quarantined[], lease: Lease, halving: boolean): Promise<Applied | Refused> {
    const { sql, rows, keyed, commit = () => sql.script('commit') } = this.#parts;
    await rows.prepare(batch);
    await keyed?.prepare(batch);
    try {
      await sql.script(this.#begin());
      const outcome = await this.#inside(batch, held, lease, halving);
      await (outcome.kind === 'applied' ? commit(batch) : sql.script('rollback'));
      return outcome;
    } catch (error) {
      if (sql.open) await sql.script('rollback');
      throw error;
    }
  }

  #begin(): string {
    const { deferConstraints, markStatement } = this.#parts;
    const defer = deferConstraints ? '; set constraints all deferred' : '';
    return `begin${defer}${markStatement === null ? '' : `; execute ${markStatement}`}`;
  }

  async #inside(batch: Batch, held: readonly Quarantined[], lease: Lease, halving: boolean): Promise<Applied | Refused> {
    const { sql } = this.#parts;
    const isReplay = batch.origin === 'replay';
    if (isReplay || held.length > 0 || this.#isTouched(batch)) await sql.query(TURN_SQL, [this.#parts.pipeline]);
    const decision = isReplay ? await this.#decideReplay(batch, held) : await this.#decide(batch);
    const [first, ...more] = decision.findings;
    if (first !== undefined) return { kind: 'refused', findings: [first, ...more] };
    const newer = await this.#leaveOutrun(decision);
    if (newer !== null) return newer;
    const unasked = await this.#ask(batch, decision, halving);
    const [failed, ...others] = decision.findings;
    if (failed !== undefined) return { kind: 'refused', findings: [failed, ...others] };

    // What the rules in force hold is still to be judged by a draft.
    await this.#parts.drafts?.ask(batch, (index) =>
      batch.passes(index) ? (decision.events[index] ?? null) : (batch.event(index) ?? null),
    );
    const written = halving ? await this.#writeHalving(batch, decision) : await this.#write(batch, decision, 0, batch.events.length);
    const [refused, ...rest] = decision.findings;
    if (refused !== undefined) return { kind: 'refused', findings: [refused, ...rest] };
    // The target took every row, and would not read one of them as a question: nothing passes unjudged.
    if (unasked !== null) throw unasked;

    await this.#advance(batch, isReplay ? [] : held, lease, countsOf(decision, written));
    await raiseVersions(sql, decision.versions);
    for (const [dataset, version] of decision.truncated) await raiseAllVersions(sql, dataset, version);
    if (isReplay) await this.#settle(batch, held, decision);
    else await this.#releaseFree(held);
    return { kind: 'applied', checkpoint: batch.checkpoint, ...countsOf(decision, written) };
  }

  /** What the target has newer, by whichever lane, is not written. Answers a refusal of truncates that would take newer rows with them. */
  async #leaveOutrun(decision: Decision): Promise<Refused | null> {
    const { rowVersions = null } = this.#parts;
    if (rowVersions === null) return null;
    const { stale, truncates } = await rowVersions.claim(decision.events);
    decision.stale += stale;
    for (const settled of decision.settled.values())
      if (settled.status === 'applied' && decision.events[settled.index] === null) settled.status = 'superseded';
    const [first, ...more] = truncates.map(outrunTruncate);
    return first === undefined ? null : { kind: 'refused', findings: [first, ...more] };
  }

  /**
   * Rules that need other rows are asked once it is known what waits. Where the target cannot read a cell of the question it will not take it as a row
   * either: the error is answered, and the row is looked for.
   */
  async #ask(batch: Batch, decision: Decision, halving: boolean): Promise<PgError | null> {
    const { keyed, sql } = this.#parts;
    if (keyed === null || !keyed.concerns(batch)) return null;
    if (halving) await sql.script('savepoint tidegate_asked');
    try {
      decision.findings.push(...(await keyed.judge(batch, (index) => (batch.passes(index) ? (decision.events[index] ?? null) : null))));
      return null;
    } catch (error) {
      if (!halving || !isRefusal(error)) throw error;
      await sql.script('rollback to savepoint tidegate_asked');
      return error;
    }
  }

  #isTouched({ events }: Batch): boolean {
    const { heldKeys } = this.#parts;
    if (heldKeys.size === 0) return false;
    if (events.some((event) => event.op === 'truncate' || heldRefsOf(event, heldKeys).length > 0)) return true;
    return tablesHeld(events, heldKeys).size > 0;
  }

  /** The lane's own events: those whose key waits are refused, and what the target takes of keys with something held is remembered. */
  async #decide(batch: Batch): Promise<Decision> {
    const { heldKeys, modeOf, rows } = this.#parts;
    const decision = newDecision(batch);
    const tables = tablesHeld(batch.events, heldKeys);
    const touched = new Set(tables);
    for (const event of batch.events) {
      for (const ref of heldRefsOf(event, heldKeys)) touched.add(ref);
    }
    const open = touched.size === 0 ? new Map<string, HeldKey>() : await lockKeys(this.#parts.sql, touched);
    heldKeys.forget([...touched].filter((ref) => !open.has(ref)));

    const blocked = new Set([...open].flatMap(([ref, key]) => (key.open > 0 ? [ref] : [])));
    const truncates = await HeldTruncates.read(
      this.#parts.sql,
      [...tables].filter((ref) => open.has(ref)),
    );
    for (const [index, event] of batch.events.entries()) {
      const verdict = batch.verdicts[index];
      const refs = refsOf(event);
      const { name } = event.dataset;
      const version = versionOf(event);
      if (isKept(verdict)) {
        decision.held++;
        for (const ref of refs) blocked.add(ref);
        if (event.op === 'truncate') truncates.add(name, eventId(event), { version, isOfLot: verdict === Verdict.Staged });
      } else if (verdict === Verdict.Drop) {
        decision.dropped++;
      } else if (event.op === 'truncate') {
        if (heldKeys.size > 0) decision.truncated.set(name, version);
        truncates.isIn(name, version);
        continue;
      } else if (truncates.holdsBack(name, version)) {
        decision.findings.push(waiting(index, BEHIND_TRUNCATE));
        for (const ref of refs) blocked.add(ref);
        continue;
      } else if (refs.some((ref) => blocked.has(ref))) {
        // An update that leaves cells out would mix them with those of a row that is not there yet.
        if (modeOf(event) === 'key' || rows.isPartial(event)) {
          decision.findings.push(waiting(index));
          for (const ref of refs) blocked.add(ref);
          continue;
        }
        for (const ref of refs) if (blocked.has(ref)) decision.versions.set(ref, version);
        outrun(decision, truncates, name, version);
        continue;
      } else {
        outrun(decision, truncates, name, version);
        continue;
      }
      decision.events[index] = null;
    }
    return decision;
  }

  /** Released events: those outrun by newer ones are superseded, those behind a key that waits again wait too. */
  async #decideReplay(batch: Batch, held: readonly Quarantined[]): Promise<Decision> {
    const { sql, modeOf, rows } = this.#parts;
    const decision = newDecision(batch);
    const tables = new Set(batch.events.map(({ dataset }) => tableRefOf(dataset.name)));
    const refs = new Set([...batch.events.flatMap(refsOf), ...tables]);
    const locked = await lockKeys(sql, refs);
    const mayWait = (event: ChangeEvent): boolean => event.op !== 'truncate' && (modeOf(event) === 'key' || rows.isPartial(event));
    const open = await OpenBefore.read(sql, batch.events, mayWait);
    const truncates = await HeldTruncates.read(sql, tables);
    const heldAgain = new Set(held.map(({ id }) => id));
    const settled = new Set<string>();
    const newest = (ref: string): string => decision.versions.get(ref) ?? locked.get(ref)?.version ?? '';
    for (const [index, event] of batch.events.entries()) {
      const id = eventId(event);
      const version = versionOf(event);
      const { name } = event.dataset;
      if (!open.isInLine(id)) {
        decision.stale++; // Settled by somebody since it was read.
        decision.events[index] = null;
      } else if (heldAgain.has(id)) {
        decision.held++;
        decision.events[index] = null;
      } else if (batch.verdicts[index] === Verdict.Drop) {
        decision.dropped++;
        decision.events[index] = null;
        decision.settled.set(id, { status: 'discarded', index, event });
        settled.add(id);
        truncates.settled(name, id);
      } else if (event.op !== 'truncate' && truncates.holdsBack(name, version)) {
        decision.findings.push(waiting(index, BEHIND_TRUNCATE));
      } else if (mayWait(event) && open.isAnyBefore(event, settled)) {
        decision.findings.push(waiting(index));
      } else {
        const left = withoutOutrun(
          event,
          (one) => rows.isPartial(one),
          (key) => newest(refOf(name, key)) >= version || (decision.truncated.get(name) ?? '') >= version,
        );
        decision.events[index] = left;
        decision.settled.set(id, { status: left === null ? 'superseded' : 'applied', index, event });
        settled.add(id);
        truncates.settled(name, id);
        if (left === null) decision.stale++;
        else {
          if (left.op === 'truncate') {
            decision.truncated.set(name, version);
            truncates.isIn(name, version);
          } else outrun(decision, truncates, name, version);
          for (const ref of refsOf(left)) decision.versions.set(ref, version);
        }
      }
    }
    return decision;
  }

  async #write(batch: Batch, decision: Decision, from: number, to: number): Promise<Written> {
    const written = await this.#parts.rows.write(batch, decision.events, from, to);
    decision.findings.push(...written.refusals);
    return written;
  }

  /** In the source's own order, so that what it never held at once (two rows with one unique value) is not held here either. */
  async #writeHalving(batch: Batch, decision: Decision): Promise<Written> {
    const total = { folded: 0, truncates: 0, upserts: 0, deletes: 0, missing: 0 };
    const { sql, rows } = this.#parts;
    const attempt = async (from: number, to: number): Promise<PgError | null> => {
      await sql.script('savepoint tidegate_range');
      try {
        const written = await this.#write(batch, decision, from, to);
        // Deferred constraints would only speak at the commit, and not of a row.
        await sql.script('set constraints all immediate; set constraints all deferred; release savepoint tidegate_range');
        for (const name of ['folded', 'truncates', 'upserts', 'deletes', 'missing'] as const) total[name] += written[name];
        return null;
      } catch (error) {
        if (!isRefusal(error)) throw error;
        await sql.script('rollback to savepoint tidegate_range; release savepoint tidegate_range');
        return error;
      }
    };
    const refuse = (index: number, error: PgError): void => {
      const event = batch.events[index];
      const column = event === undefined || error.column === null ? error.column : rows.columnOf(event, error.column);
      decision.findings.push(refusal(index, error, column));
      decision.events[index] = null;
    };
    /** One by one, and once more those that another was in the way of. */
    const singly = async (indices: readonly number[]): Promise<void> => {
      const refused: { readonly index: number; readonly error: PgError }[] = [];
      for (const index of indices) {
        const error = await attempt(index, index + 1);
        if (error !== null) refused.push({ index, error });
      }
      if (refused.length === indices.length) for (const { index, error } of refused) refuse(index, error);
      else if (refused.length > 0) await singly(refused.map(({ index }) => index));
    };
    const range = async (from: number, to: number): Promise<void> => {
      const error = await attempt(from, to);
      if (error === null) return;
      if (to - from === 1) return refuse(from, error);
      const middle = middleOf(batch.events, from, to);
      if (middle === null) return singly(Array.from({ length: to - from }, (_, i) => from + i));
      await range(from, middle);
      await range(middle, to);
    };
    await range(0, batch.events.length);
    return { ...total, refusals: [] };
  }

  async #advance(batch: Batch, held: readonly Quarantined[], lease: Lease, counts: Counts): Promise<void> {
    const { sql, pipeline, modeOf, keepsRecords } = this.#parts;
    const writer = new FrontendWriter();
    emitAdvance(writer, batch, lease, counts);
    if (batch.windows !== null) emitWindows(writer, batch.windows, pipeline, batch.lane);
    if (held.length > 0) emitHold(writer, held, pipeline, modeOf, keepsRecords, serverJson(sql));
    await sql.exchange(writer.sync().bytes());
  }

  /** What was held as waiting may have nothing to wait for by now: the last item of its key was settled after the batch was judged. */
  async #releaseFree(held: readonly Quarantined[]): Promise<void> {
    await putInLine(this.#parts.sql, await noteParked(this.#parts.sql, this.#parts.pipeline, held), null);
    const waits = held.filter(({ findings }) => heldStatus(findings) === 'waiting');
    if (waits.length > 0) await releaseUnblocked(this.#parts.sql, new Set(waits.flatMap(({ event }) => refsOf(event))));
  }

  async #settle(batch: Batch, held: readonly Quarantined[], { settled }: Decision): Promise<void> {
    const { sql } = this.#parts;
    if (settled.size > 0) {
      await sql.query(
        // Of what was only staged nothing is left once it is in.
        `with w as (select * from unnest($1::text[], $2::text[]) w(id, status)),
         gone as (delete from tidegate.quarantine q using w where q.id = w.id and q.quiet and w.status <> 'discarded')
         update tidegate.quarantine q set status = w.status, settled_at = clock_timestamp()
         from w where q.id = w.id and (not q.quiet or w.status = 'discarded')`,
        [textArrayParameter([...settled.keys()]), textArrayParameter([...settled.values()].map(({ status }) => status))],
      );
      await settleKeys(
        sql,
        [...settled.values()].flatMap(({ event }) => keysOf(event).map((key) => ({ dataset: event.dataset.name, key }))),
      );
    }
    if (held.length > 0) {
      await sql.query(
        `update tidegate.quarantine q set status = w.status, findings = w.findings::jsonb, settled_at = null, released_seq = null, revision = w.revision,
           quiet = q.quiet and w.status = 'waiting',
           -- One that has waited goes on to do so, and does not begin anew.
           waits_until = case when q.waits_until is null then clock_timestamp() + w.wait_ms::float8 * interval '1 millisecond' when w.wait_ms is not null then q.waits_until end,
           rules = array(select distinct f ->> 'rule' from jsonb_array_elements(w.findings::jsonb) f)
         from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[]) w(id, status, findings, revision, wait_ms) where q.id = w.id and q.status = 'released'`,
        [
          textArrayParameter(held.map(({ id }) => id)),
          textArrayParameter(held.map(({ findings }) => heldStatus(findings))),
          textArrayParameter(held.map(({ findings }) => serverJson(sql)(findingsJson(findings)))),
          textArrayParameter(held.map(({ revision }) => revision)),
          textArrayParameter(held.map(({ findings }) => waitMsOf(findings))),
        ],
      );
      await putInLine(sql, await noteParked(sql, this.#parts.pipeline, held), null);
    }
    await releaseUnblocked(sql, new Set(batch.events.flatMap(refsOf)));
  }
}

/** Where to part `events[from, to)`: tables that are emptied one behind the other may refer to each other. Null where there is nothing else. */
function middleOf(events: readonly ChangeEvent[], from: number, to: number): number | null {
  const isWithin = (at: number): boolean => events[at - 1]?.op === 'truncate' && events[at]?.op === 'truncate';
  const half = (from + to) >> 1;
  let [before, after] = [half, half];
  while (before > from && isWithin(before)) before--;
  while (after < to && isWithin(after)) after++;
  if (before > from) return before;
  return after < to ? after : null;
}

function newDecision(batch: Batch): Decision {
  return {
    events: [...batch.events],
    findings: [],
    versions: new Map(),
    truncated: new Map(),
    stale: 0,
    dropped: 0,
    held: 0,
    settled: new Map(),
  };
}

/** In the quarantine, held or staged. */
const isKept = (verdict: number | undefined): boolean => verdict === Verdict.Quarantine || verdict === Verdict.Staged;

/** Of an event's keys those that have, or may have, something held. */
function heldRefsOf({ dataset, key, movedFrom }: ChangeEvent, known: Pick<KnownHeld, 'of'>): readonly string[] {
  const keys = known.of(dataset.name);
  if (keys === null || (movedFrom === null && !keys.has(key))) return [];
  return [key, movedFrom].flatMap((one) => (one !== null && keys.has(one) ? [refOf(dataset.name, one)] : []));
}

function countsOf(decision: Decision, { upserts, deletes, truncates, folded, missing }: Written): Counts {
  return {
    // A partial update without a row at the target is stale: its row, when it comes, has newer cells.
    upserts: upserts - missing,
    deletes,
    truncates,
    stale: decision.stale + missing,
    folded,
    held: decision.held,
    dropped: decision.dropped,
  };
}

/** Truncates of the table that are held by themselves would take the row along if they came later. */
function outrun({ versions }: Decision, truncates: HeldTruncates, dataset: DatasetName, version: string): void {
  const ref = tableRefOf(dataset);
  if (truncates.areOutrun(dataset, version) && version > (versions.get(ref) ?? '')) versions.set(ref, version);
}

const BEHIND_KEY = 'an earlier event of the key is in quarantine';
const BEHIND_TRUNCATE = 'an earlier truncate of the table waits for its window';

function waiting(index: number, message = BEHIND_KEY): Finding {
  return {
    index,
    stage: 'sync',
    rule: HOLD_KEY_RULE,
    column: null,
    verdict: Verdict.Quarantine,
    severity: 'info',
    message,
    notify: false,
  };
}

function outrunTruncate(index: number): Finding {
  return {
    index,
    stage: 'sync',
    rule: 'truncate.outrun',
    column: null,
    verdict: Verdict.Quarantine,
    severity: 'warning',
    message: 'the table has rows that are newer than the truncate, which would take them with it',
    notify: true,
  };
}

function refusal(index: number, error: PgError, column: string | null): Finding {
  return {
    index,
    stage: 'sync',
    rule: `target.${error.code}`,
    column,
    verdict: Verdict.Quarantine,
    severity: 'warning',
    message: refusalText(error),
    notify: true,
  };
}
