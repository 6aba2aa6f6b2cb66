/**
 * Batches in transactions of Kafka's, one transactional id for each lane. The store's transaction is prepared first; Kafka's decides, for it says in a note which one it
 * belongs to; then the store's is committed. A crash in between leaves the store's transaction prepared, and whoever takes the lane over does with it what
 * the last note says. So the records and where the lane stands are committed both or neither, and what was cut off is never seen by who reads what is
 * committed.
 */
import { createHash, randomBytes } from 'node:crypto';
import type { Clock } from '../../core/clock.ts';
import { PipelineError } from '../../core/errors.ts';
import type { Lease } from '../../core/contracts.ts';
import type { LaneId } from '../../core/event.ts';
import type { Compression, KafkaClient } from '../../wire/kafka/client.ts';
import type { KafkaTransactions } from '../../wire/kafka/transactions.ts';
import { type PgConnection, PgError } from '../../wire/postgres/connection.ts';
import { quoteLiteral } from '../../wire/postgres/ident.ts';
import { chunksOf } from './sender.ts';
import type { SizedRecord } from './topic-rows.ts';
import { noteWritten, type TopicWatch } from './topic-watch.ts';

export interface ExactlyOnceParts {
  /** The target's, for messages. */
  readonly name: string;
  readonly client: Pick<KafkaClient, 'transact'>;
  readonly compression: Compression;
  readonly pipeline: string;
  /** The lanes' session at the store. */
  readonly sql: PgConnection;
  readonly clock: Clock;
  readonly watch: TopicWatch | null;
}

/** Brokers forget the last note of an id some days after it (offsets.retention.minutes, 7 days by default): one that is older is made anew before it is relied upon. */
const NOTE_FRESH_MS = 12 * 3_600_000;
/** How long a transaction may lock the lane before it is looked for once more, and how often. */
const LOCKED_MS = 2000;
const TAKES = 5;
const LOCK_NOT_AVAILABLE = '55P03';
const UNDEFINED_OBJECT = '42704';
const NOT_IN_STATE = '55000';

interface Lane {
  readonly transactions: KafkaTransactions;
  notedAtMs: number | null;
}

export class ExactlyOnce implements AsyncDisposable {
  readonly #parts: ExactlyOnceParts;
  readonly #lanes = new Map<LaneId, Lane>();

  constructor(parts: ExactlyOnceParts) {
    this.#parts = parts;
  }

  /** Has nobody else write the lane's records from now on, settles what the one before has left undecided, and takes the lane over in the store. */
  async acquire(lane: LaneId, take: () => Promise<Lease>): Promise<Lease> {
    const { client, compression, pipeline, sql } = this.#parts;
    await this.#lanes.get(lane)?.transactions[Symbol.asyncDispose]();
    const transactions = await client.transact(transactionalId(pipeline, lane), compression);
    this.#lanes.set(lane, { transactions, notedAtMs: null });
    for (let left = TAKES; ; left--) {
      await this.#settle(lane, transactions);
      await sql.script(`set lock_timeout = ${LOCKED_MS}`);
      try {
        return await take();
      } catch (error) {
        // Who woke up just now may have prepared one more. It is not committed any more, and locks the lane until it is settled.
        if (!(error instanceof PgError && error.code === LOCK_NOT_AVAILABLE) || left === 0) throw error;
      } finally {
        if (sql.open) await sql.script('set lock_timeout = 0');
      }
    }
  }

  /** Ends the store's transaction, which has the batch's own part done. Throws with it ended, or prepared where nobody knows what Kafka has. */
  async commit(lane: LaneId, records: readonly SizedRecord[]): Promise<void> {
    const { sql, clock, watch } = this.#parts;
    const [first] = records;
    if (first === undefined) {
      await sql.script('commit');
      return;
    }
    const known = this.#lanes.get(lane);
    if (known === undefined) throw new PipelineError('BUG', `the lane ${lane} is written and was never taken over`);
    const { transactions } = known;
    await this.#freshNote(known, first.topic);
    const started = clock.monotonic();
    const gid = `${gidPrefix(this.#parts.pipeline, lane)}${randomBytes(12).toString('hex')}`;
    let isAsked = false;
    try {
      for (const chunk of chunksOf(records)) await transactions.send(chunk);
      await sql.script(`prepare transaction ${quoteLiteral(gid)}`);
      isAsked = true;
      await transactions.commit(first.topic, gid);
    } catch (error) {
      watch?.ended(isAsked ? 'undecided' : 'aborted');
      throw error;
    }
    watch?.ended('committed');
    noteWritten(watch, records, clock.monotonic() - started);
    known.notedAtMs = clock.now();
    if (!(await this.#commitPrepared(gid)))
      throw new PipelineError('LEASE_LOST', `writing to ${this.#parts.name}: who took the lane ${lane} over has settled its last batch`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const lanes = [...this.#lanes.values()];
    this.#lanes.clear();
    await Promise.all(lanes.map(({ transactions }) => transactions[Symbol.asyncDispose]()));
  }

  async #settle(lane: LaneId, { last }: KafkaTransactions): Promise<void> {
    const { name, pipeline, sql } = this.#parts;
    const { rows } = await sql.query(
      `select gid from pg_catalog.pg_prepared_xacts where database = current_database() and starts_with(gid, $1)`,
      [gidPrefix(pipeline, lane)],
    );
    for (const [gid] of rows) {
      if (gid === null || gid === undefined) continue;
      if (last === null)
        throw new PipelineError(
          'TARGET_UNDECIDED',
          `taking over the lane ${lane} at ${name}: the prepared transaction ${gid} of its store`,
        );
      if (last.text === gid) await this.#commitPrepared(gid);
      else await this.#end(`rollback prepared ${quoteLiteral(gid)}`);
    }
  }

  /** False where somebody else has settled it. */
  async #commitPrepared(gid: string): Promise<boolean> {
    if (!(await this.#end(`commit prepared ${quoteLiteral(gid)}`))) return false;
    // A transaction that is to be prepared may wake nobody itself.
    await this.#parts.sql.script("select pg_notify('tidegate', ''), pg_notify('tidegate_news', '')");
    return true;
  }

  /** Of a prepared transaction. False where it is none any more, or another session is ending it: two may take a lane over from a third that wakes up while they do. */
  async #end(statement: string): Promise<boolean> {
    try {
      await this.#parts.sql.script(statement);
      return true;
    } catch (error) {
      if (error instanceof PgError && (error.code === UNDEFINED_OBJECT || error.code === NOT_IN_STATE)) return false;
      throw error;
    }
  }

  /** So that a lane that was left undecided always finds a note: without any, nobody could tell what was not committed from what was forgotten. */
  async #freshNote(lane: Lane, topic: string): Promise<void> {
    const now = this.#parts.clock.now();
    if (lane.notedAtMs !== null && now - lane.notedAtMs < NOTE_FRESH_MS) return;
    await lane.transactions.commit(topic, 'begun');
    lane.notedAtMs = now;
  }
}

/** What the ids of a lane's prepared transactions begin with: they may not be as long as its name. */
export const gidPrefix = (pipeline: string, lane: LaneId): string =>
  `tidegate-${createHash('sha256').update(`${pipeline}\0${lane}`).digest('hex').slice(0, 32)}-`;

/** Also the group under which its notes are: what a user has to be granted begins with `tidegate.`. */
export const transactionalId = (pipeline: string, lane: LaneId): string => `tidegate.${pipeline}.${lane}`;

/** Whether the store lets transactions be prepared. */
export async function mayPrepare(sql: PgConnection): Promise<boolean> {
  const { rows } = await sql.query("select current_setting('max_prepared_transactions')::int > 0");
  return rows[0]?.[0] === 't';
}
