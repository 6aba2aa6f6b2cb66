/** Alerts on their way, in the state file: an alert told before a crash is sent after it, under the same id. */
import type { DatabaseSync } from 'node:sqlite';
import type { AlertOutbox, Delivery, OutboxItem } from '../../ops/alerts/outbox.ts';
import { inTransaction } from './database.ts';

/** Settled deliveries that are remembered for people to look at. */
const DELIVERIES_MAX = 10_000;
/** Alerts that may wait for one endpoint that does not answer; beyond it the oldest goes. */
const WAITING_MAX = 10_000;

export class SqliteOutbox implements AlertOutbox {
  readonly #database: DatabaseSync;

  constructor(database: DatabaseSync) {
    this.#database = database;
  }

  async add(items: readonly OutboxItem[]): Promise<void> {
    inTransaction(this.#database, () => {
      const insert = this.#database.prepare(
        'insert into alert_outbox (id, endpoint, type, body, created_at_ms, attempts, next_attempt_at_ms) values (?, ?, ?, ?, ?, ?, ?) on conflict do nothing',
      );
      for (const item of items)
        insert.run(item.id, item.endpoint, item.type, item.body, item.createdAtMs, item.attempts, item.nextAttemptAtMs);
      const trim = this.#database.prepare(
        'delete from alert_outbox where endpoint = ? and seq <= (select seq from alert_outbox where endpoint = ? order by seq desc limit 1 offset ?)',
      );
      for (const endpoint of new Set(items.map((item) => item.endpoint))) trim.run(endpoint, endpoint, WAITING_MAX);
    });
  }

  async due(endpoint: string, nowMs: number, limit: number): Promise<readonly OutboxItem[]> {
    return this.#database
      .prepare('select * from alert_outbox where endpoint = ? and next_attempt_at_ms <= ? order by seq limit ?')
      .all(endpoint, nowMs, limit)
      .map((row) => ({
        id: String(row['id']),
        endpoint: String(row['endpoint']),
        type: String(row['type']),
        body: String(row['body']),
        createdAtMs: Number(row['created_at_ms']),
        attempts: Number(row['attempts']),
        nextAttemptAtMs: Number(row['next_attempt_at_ms']),
      }));
  }

  async nextAttemptAtMs(endpoint: string): Promise<number | null> {
    const next = this.#database.prepare('select min(next_attempt_at_ms) as next from alert_outbox where endpoint = ?').get(endpoint)?.[
      'next'
    ];
    return typeof next === 'number' ? next : null;
  }

  async settle(item: OutboxItem, delivery: Delivery): Promise<void> {
    inTransaction(this.#database, () => {
      if (delivery.kind === 'retry') {
        this.#database
          .prepare('update alert_outbox set attempts = attempts + 1, next_attempt_at_ms = ? where id = ? and endpoint = ?')
          .run(delivery.nextAttemptAtMs, item.id, item.endpoint);
        return;
      }
      this.#database.prepare('delete from alert_outbox where id = ? and endpoint = ?').run(item.id, item.endpoint);
      this.#database
        .prepare(
          'insert into alert_delivery (id, endpoint, type, created_at_ms, settled_at_ms, attempts, outcome, why) values (?, ?, ?, ?, ?, ?, ?, ?) on conflict do nothing',
        )
        .run(
          item.id,
          item.endpoint,
          item.type,
          item.createdAtMs,
          delivery.atMs,
          item.attempts + 1,
          delivery.kind,
          delivery.kind === 'given-up' ? delivery.why : null,
        );
      this.#database
        .prepare(
          'delete from alert_delivery where settled_at_ms < (select settled_at_ms from alert_delivery order by settled_at_ms desc limit 1 offset ?)',
        )
        .run(DELIVERIES_MAX);
    });
  }

  /** The newest settled alerts first, for people. */
  deliveries(limit: number): readonly {
    readonly id: string;
    readonly endpoint: string;
    readonly type: string;
    readonly outcome: string;
    readonly settledAtMs: number;
    readonly attempts: number;
  }[] {
    return this.#database
      .prepare('select id, endpoint, type, outcome, settled_at_ms, attempts from alert_delivery order by settled_at_ms desc limit ?')
      .all(limit)
      .map((row) => ({
        id: String(row['id']),
        endpoint: String(row['endpoint']),
        type: String(row['type']),
        outcome: String(row['outcome']),
        settledAtMs: Number(row['settled_at_ms']),
        attempts: Number(row['attempts']),
      }));
  }
}
