/** Turns in the state file: instances of one machine, which can see whether each other's process is there. */
import type { DatabaseSync } from 'node:sqlite';
import { type Clock, systemClock } from '../../core/clock.ts';
import { inTransaction } from './database.ts';
import type { Claim, Holder, Instance, Turns } from './turns.ts';

export class SqliteTurns implements Turns {
  readonly #database: DatabaseSync;
  readonly #clock: Clock;

  constructor(database: DatabaseSync, clock: Clock = systemClock) {
    this.#database = database;
    this.#clock = clock;
  }

  async claim(pipeline: string, me: Instance, leaseMs: number): Promise<Claim> {
    const nowMs = this.#clock.now();
    return inTransaction(this.#database, (): Claim => {
      const held = this.#holder(pipeline);
      const isOurs = held?.id === me.id;
      if (held !== null && !isOurs && held.beatMs > nowMs - leaseMs && isThere(held, me)) return { kind: 'theirs', holder: held };
      // Whoever is not there any more thinks nothing.
      const isTaken = isOurs ? held.isTaken : held !== null && isThere(held, me);
      this.#database
        .prepare(
          `insert into turn (pipeline, instance, host, pid, since_ms, beat_ms, taken) values (?, ?, ?, ?, ?, ?, ?)
           on conflict (pipeline) do update set instance = excluded.instance, host = excluded.host, pid = excluded.pid,
             since_ms = excluded.since_ms, beat_ms = excluded.beat_ms, taken = excluded.taken`,
        )
        .run(pipeline, me.id, me.host, me.pid, isOurs ? held.sinceMs : nowMs, nowMs, isTaken ? 1 : 0);
      return { kind: 'ours', isTaken };
    });
  }

  async release(pipeline: string, me: Instance): Promise<void> {
    this.#database.prepare('delete from turn where pipeline = ? and instance = ?').run(pipeline, me.id);
  }

  #holder(pipeline: string): (Holder & { readonly beatMs: number; readonly isTaken: boolean }) | null {
    const row = this.#database.prepare('select * from turn where pipeline = ?').get(pipeline);
    if (row === undefined) return null;
    return {
      id: String(row['instance']),
      host: String(row['host']),
      pid: Number(row['pid']),
      sinceMs: Number(row['since_ms']),
      beatMs: Number(row['beat_ms']),
      isTaken: row['taken'] === 1,
    };
  }
}

/** On another machine nobody can see it: then its claims tell. One of our own number is what we were before a restart. */
function isThere({ host, pid }: Holder, me: Instance): boolean {
  if (host !== me.host) return true;
  if (pid === me.pid) return false;
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}
