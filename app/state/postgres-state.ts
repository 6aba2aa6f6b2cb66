/** What several instances remember together in PostgreSQL: models, alerts on their way, and whose turn each pipeline is. */
import type { AlertOutbox, Delivery, OutboxItem } from '../../ops/alerts/outbox.ts';
import type { ModelAlias, ModelStore, ModelVersion } from '../../inference/models/store.ts';
import type { StateDatabase } from './postgres-database.ts';
import type { Claim, Instance, Turns } from './turns.ts';

/** Settled deliveries that are remembered for people to look at. */
const DELIVERIES_MAX = 10_000;
/** Alerts that may wait for one endpoint that does not answer; beyond it the oldest goes. */
const WAITING_MAX = 10_000;
/** How many alerts an instance takes at once, and how long they are left to it: if it dies, another one sends them. */
const TAKEN_MAX = 3;
const TAKEN_MS = 60_000;

export class PostgresModelStore implements ModelStore {
  readonly #database: StateDatabase;

  constructor(database: StateDatabase) {
    this.#database = database;
  }

  async load(): Promise<{ versions: ModelVersion[]; aliases: ModelAlias[] }> {
    const versions = await this.#database.query('select record from tidegate_state.model_version order by model, version');
    const aliases = await this.#database.query('select model, alias, version from tidegate_state.model_alias order by model, alias');
    return {
      versions: versions.rows.map(([record]) => JSON.parse(record ?? '') as ModelVersion), // Our own record.
      aliases: aliases.rows.map(([model, alias, version]) => ({ model: model ?? '', alias: alias ?? '', version: Number(version) })),
    };
  }

  async add(version: ModelVersion, bytes: Uint8Array): Promise<void> {
    await this.#database.query(
      `with told as (update tidegate_state.news set models = models + 1)
       insert into tidegate_state.model_version (model, version, record, bytes) values ($1, $2, $3, $4)`,
      [version.model, version.version, JSON.stringify(version), bytes],
    );
  }

  async bytes(model: string, version: number): Promise<Uint8Array> {
    const { rows } = await this.#database.query(
      `select encode(bytes, 'base64') from tidegate_state.model_version where model = $1 and version = $2`,
      [model, version],
    );
    const [bytes] = rows[0] ?? [];
    if (typeof bytes !== 'string') throw new Error(`there is no ${model}@${version}`);
    return Buffer.from(bytes, 'base64');
  }

  async setAlias({ model, alias, version }: ModelAlias): Promise<void> {
    await this.#database.query(
      `with told as (update tidegate_state.news set models = models + 1)
       insert into tidegate_state.model_alias (model, alias, version) values ($1, $2, $3)
       on conflict (model, alias) do update set version = excluded.version`,
      [model, alias, version],
    );
  }
}

export class PostgresOutbox implements AlertOutbox {
  readonly #database: StateDatabase;

  constructor(database: StateDatabase) {
    this.#database = database;
  }

  async add(items: readonly OutboxItem[]): Promise<void> {
    for (const { id, endpoint, type, body, createdAtMs, attempts, nextAttemptAtMs } of items) {
      await this.#database.query(
        `insert into tidegate_state.alert_outbox (id, endpoint, type, body, created_at_ms, attempts, next_attempt_at_ms)
         values ($1, $2, $3, $4, $5, $6, $7) on conflict do nothing`,
        [id, endpoint, type, body, createdAtMs, attempts, nextAttemptAtMs],
      );
      await this.#database.query(
        `delete from tidegate_state.alert_outbox where endpoint = $1
            and seq <= (select seq from tidegate_state.alert_outbox where endpoint = $1 order by seq desc limit 1 offset $2)`,
        [endpoint, WAITING_MAX],
      );
    }
  }

  /** Those that it answers are left to this instance for a while. */
  async due(endpoint: string, nowMs: number, limit: number): Promise<readonly OutboxItem[]> {
    const { rows } = await this.#database.query(
      `with due as (
         select seq, next_attempt_at_ms from tidegate_state.alert_outbox where endpoint = $1 and next_attempt_at_ms <= $2
         order by seq limit $3 for update skip locked
       ), taken as (
         update tidegate_state.alert_outbox o set next_attempt_at_ms = $4 from due where o.seq = due.seq
         returning o.seq, o.id, o.type, o.body, o.created_at_ms, o.attempts, due.next_attempt_at_ms
       ) select id, type, body, created_at_ms, attempts, next_attempt_at_ms from taken order by seq`,
      [endpoint, nowMs, Math.min(limit, TAKEN_MAX), nowMs + TAKEN_MS],
    );
    return rows.map(([id, type, body, createdAtMs, attempts, nextAttemptAtMs]) => ({
      id: id ?? '',
      endpoint,
      type: type ?? '',
      body: body ?? '',
      createdAtMs: Number(createdAtMs),
      attempts: Number(attempts),
      nextAttemptAtMs: Number(nextAttemptAtMs),
    }));
  }

  async nextAttemptAtMs(endpoint: string): Promise<number | null> {
    const { rows } = await this.#database.query('select min(next_attempt_at_ms) from tidegate_state.alert_outbox where endpoint = $1', [
      endpoint,
    ]);
    const [next] = rows[0] ?? [];
    return typeof next === 'string' ? Number(next) : null;
  }

  async settle(item: OutboxItem, delivery: Delivery): Promise<void> {
    if (delivery.kind === 'retry') {
      await this.#database.query(
        'update tidegate_state.alert_outbox set attempts = $3, next_attempt_at_ms = $4 where id = $1 and endpoint = $2',
        [item.id, item.endpoint, item.attempts + 1, delivery.nextAttemptAtMs],
      );
      return;
    }
    const why = delivery.kind === 'given-up' ? delivery.why : null;
    await this.#database.query(
      `with gone as (delete from tidegate_state.alert_outbox where id = $1 and endpoint = $2),
            old as (delete from tidegate_state.alert_delivery where settled_at_ms <
                      (select settled_at_ms from tidegate_state.alert_delivery order by settled_at_ms desc limit 1 offset $9))
       insert into tidegate_state.alert_delivery (id, endpoint, type, created_at_ms, settled_at_ms, attempts, outcome, why)
       values ($1, $2, $3, $4, $5, $6, $7, $8) on conflict do nothing`,
      [item.id, item.endpoint, item.type, item.createdAtMs, delivery.atMs, item.attempts + 1, delivery.kind, why, DELIVERIES_MAX],
    );
  }
}

/**
 * A turn belongs to the session by which it was claimed last: with the process goes its session, and the next one need not wait. By the server's clock, which
 * is the same for all of them.
 */
const CLAIM = `
  insert into tidegate_state.turn as t (pipeline, instance, host, pid, since, beat, taken, backend_pid, backend_start)
  select $1, $2, $3, $4::integer, clock_timestamp(), clock_timestamp(), false, a.pid, a.backend_start
    from pg_catalog.pg_stat_activity a where a.pid = pg_catalog.pg_backend_pid()
  on conflict (pipeline) do update set instance = excluded.instance, host = excluded.host, pid = excluded.pid, beat = excluded.beat,
     since = case when t.instance = excluded.instance then t.since else excluded.since end,
     taken = t.instance <> excluded.instance or t.taken,
     backend_pid = excluded.backend_pid, backend_start = excluded.backend_start
   where t.instance = excluded.instance or t.beat < clock_timestamp() - $5::integer * interval '1 ms'
      or not exists (select from pg_catalog.pg_stat_activity a where a.pid = t.backend_pid and a.backend_start = t.backend_start)
  returning taken`;

export class PostgresTurns implements Turns {
  readonly #database: StateDatabase;

  constructor(database: StateDatabase) {
    this.#database = database;
  }

  async claim(pipeline: string, me: Instance, leaseMs: number): Promise<Claim> {
    for (;;) {
      const { rows } = await this.#database.query(CLAIM, [pipeline, me.id, me.host, me.pid, leaseMs]);
      const [ours] = rows;
      if (ours !== undefined) return { kind: 'ours', isTaken: ours[0] === 't' };
      const held = await this.#database.query(
        'select instance, host, pid, floor(extract(epoch from since) * 1000) from tidegate_state.turn where pipeline = $1',
        [pipeline],
      );
      const [id, host, pid, sinceMs] = held.rows[0] ?? [];
      // Given up just now where there is none.
      if (typeof id === 'string') return { kind: 'theirs', holder: { id, host: host ?? '', pid: Number(pid), sinceMs: Number(sinceMs) } };
    }
  }

  async release(pipeline: string, me: Instance): Promise<void> {
    await this.#database.query('delete from tidegate_state.turn where pipeline = $1 and instance = $2', [pipeline, me.id]);
  }
}
