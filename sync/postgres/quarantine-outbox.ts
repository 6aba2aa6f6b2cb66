/**
 * What is still to be told of a pipeline's quarantine, in `tidegate.quarantine_news`: written by triggers in the transactions that change items, and only of pipelines that are
 * named in `tidegate.quarantine_tellers`. One process at a time tells: who has the session lock.
 */
import { createHash } from 'node:crypto';
import type { Finding } from '../../core/batch.ts';
import { type Clock, systemClock } from '../../core/clock.ts';
import type { ItemStatus, QuarantineNews, QuarantineOutbox } from '../../core/contracts.ts';
import { unpackRecord } from '../../wire/kafka/record-bytes.ts';
import { PgConnection } from '../../wire/postgres/connection.ts';
import type { EventFamilies } from '../../wire/postgres/event-bytes.ts';
import { endWhereItHangs } from '../../wire/postgres/hanging.ts';
import { targetFailure } from './failures.ts';
import { inTurn } from './held-keys.ts';
import { ITEM_COLUMNS, itemFrom } from './items.ts';
import { migrate } from './migrations.ts';
import { Turns } from './turns.ts';

export interface OutboxOptions {
  readonly url: string;
  readonly pipeline: string;
  readonly silenceMs?: number;
  readonly clock?: Clock;
}

/** How long whoever tells sleeps at most where a notification got lost. */
const CHANGED_MS = 1000;
const SILENCE_MS = 30_000;
const LOCK_SQL = "select pg_try_advisory_lock(hashtext('tidegate.news'), hashtext($1::text))";
/** Sizes are known without reading what is large. */
const NEXT_SQL = `select seq, told_status, extract(epoch from told_at) * 1000000, told_findings, told_by, told_why, record, ${ITEM_COLUMNS}
  from (select *, sum(size) over (order by seq) - size as before from (
    select n.seq, n.id, n.status as told_status, n.at as told_at, n.findings as told_findings, n.by_whom as told_by, n.why as told_why,
      octet_length(i.event) + coalesce(octet_length(i.record), 0) as size
    from (select * from tidegate.quarantine_news where pipeline = $1 order by seq limit $2) n join tidegate.quarantine i using (id)) s) n
  join tidegate.quarantine using (id) where before = 0 or before + size <= $3 order by seq`;
/** Of items that somebody has removed by hand. */
const FORGET_SQL = `delete from tidegate.quarantine_news n where pipeline = $1 and not exists (select from tidegate.quarantine q where q.id = n.id)`;

/**
 * Says whether a pipeline tells. One that begins to tell has all its open items to be told first; one that ends has nothing to tell any more. Asks first, so that a role
 * that may only read is refused nothing where nothing changes.
 */
export async function setTelling(sql: PgConnection, pipeline: string, tells: boolean): Promise<void> {
  const { rows } = await sql.query('select exists (select from tidegate.quarantine_tellers where pipeline = $1)', [pipeline]);
  if ((rows[0]?.[0] === 't') === tells) return;
  await inTurn(sql, pipeline, async () => {
    if (tells) return beginTelling(sql, pipeline);
    await sql.query('delete from tidegate.quarantine_tellers where pipeline = $1', [pipeline]);
    await sql.query('delete from tidegate.quarantine_news where pipeline = $1', [pipeline]);
  });
}

async function beginTelling(sql: PgConnection, pipeline: string): Promise<void> {
  const { affected } = await sql.query('insert into tidegate.quarantine_tellers (pipeline) values ($1) on conflict do nothing', [pipeline]);
  if (affected === 0) return; // Another process was first.
  await sql.query(
    `insert into tidegate.quarantine_news (pipeline, id, status, at, findings, by_whom, why)
     select pipeline, id, status, held_at, case when status <> 'released' then findings end, by_whom, why from tidegate.quarantine
     where pipeline = $1 and status in ('held', 'waiting', 'released') and not quiet order by held_at, version, id`,
    [pipeline],
  );
}

/** Connects. Throws TARGET_* errors, as everything that is asked of it does. */
export async function postgresOutbox(options: OutboxOptions): Promise<QuarantineOutbox> {
  const { url, pipeline, silenceMs = SILENCE_MS, clock = systemClock } = options;
  try {
    const connection = await PgConnection.connect({
      url,
      applicationName: `tidegate ${pipeline} news`,
      // A process that stands still holds the lock no longer than this, and another one tells.
      settings: { idle_session_timeout: '60s', idle_in_transaction_session_timeout: '10s', statement_timeout: '0', lock_timeout: '0' },
    });
    endWhereItHangs(connection, { url, silenceMs, clock });
    try {
      await migrate(connection);
      await setTelling(connection, pipeline, true);
      return new Outbox(connection, pipeline, clock);
    } catch (error) {
      connection.destroy();
      throw error;
    }
  } catch (error) {
    throw targetFailure(error, `opening the outbox of the quarantine of ${pipeline}`);
  }
}

class Outbox implements QuarantineOutbox {
  readonly #pipeline: string;
  readonly #clock: Clock;
  readonly #families: EventFamilies = new Map();
  readonly #turns: Turns;
  #isMine = false;
  #isListening = false;
  #wake = new AbortController();

  constructor(connection: PgConnection, pipeline: string, clock: Clock) {
    this.#turns = new Turns(connection);
    this.#pipeline = pipeline;
    this.#clock = clock;
    connection.onNotification(() => {
      this.#wake.abort();
      this.#wake = new AbortController();
    });
  }

  next(limit: number, bytesMax: number): Promise<readonly QuarantineNews[]> {
    return this.#turns.take('reading news of the quarantine', async (sql) => {
      this.#isMine ||= (await sql.query(LOCK_SQL, [this.#pipeline])).rows[0]?.[0] === 't';
      if (!this.#isMine) return [];
      const { rows } = await sql.query(NEXT_SQL, [this.#pipeline, limit, bytesMax]);
      if (rows.length === 0) await sql.query(FORGET_SQL, [this.#pipeline]);
      return rows.map((row) => this.#newsOf(row));
    });
  }

  async told(news: readonly QuarantineNews[]): Promise<void> {
    const told = `{${news.map(({ seq }) => seq).join(',')}}`;
    await this.#turns.take('noting that news of the quarantine were told', (sql) =>
      sql.query('delete from tidegate.quarantine_news where seq = any($1::bigint[])', [told]),
    );
  }

  backlog(): Promise<{ readonly count: number; readonly sinceMs: number | null }> {
    return this.#turns.take('counting news of the quarantine', async (sql) => {
      const { rows } = await sql.query(
        'select count(*), floor(extract(epoch from min(at)) * 1000) from tidegate.quarantine_news where pipeline = $1',
        [this.#pipeline],
      );
      const [count, since = null] = rows[0] ?? [];
      return { count: Number(count), sinceMs: since === null ? null : Number(since) };
    });
  }

  async changed(signal: AbortSignal): Promise<void> {
    const wake = this.#wake.signal;
    if (!this.#isListening) {
      await this.#turns.take('listening', (sql) => sql.script('listen tidegate_news'));
      this.#isListening = true;
      return; // What came before it listened is to be read first.
    }
    await this.#clock.sleep(CHANGED_MS, AbortSignal.any([signal, wake]));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#turns.connection.close();
  }

  #newsOf([seq, status, atMicros, findings, by, why, record = null, ...row]: readonly (string | null)[]): QuarantineNews {
    const item = itemFrom(row, this.#families);
    const told = `${this.#pipeline}\0${item.id}\0${status}\0${Math.round(Number(atMicros))}`;
    return {
      seq: BigInt(seq ?? '0'),
      messageId: createHash('sha256').update(told).digest('hex').slice(0, 32),
      item: { ...item, record: record === null ? null : unpackRecord(Buffer.from(record.slice(2), 'hex')) },
      status: status as ItemStatus, // Written from an item's.
      atMs: Math.floor(Number(atMicros) / 1000),
      findings: (JSON.parse(findings ?? '[]') as Finding[]).map((finding) => ({ ...finding, index: 0 })), // Written by findingsJson.
      by: by ?? null,
      why: why ?? null,
    };
  }
}
