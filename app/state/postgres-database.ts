/** The schema `tidegate_state` of a PostgreSQL database, in which several instances keep what they remember together. */
import { PipelineError } from '../../core/errors.ts';
import { PgConnection, PgConnectionError, PgError, type PgParam, type PgResult } from '../../wire/postgres/connection.ts';
import { endWhereItHangs } from '../../wire/postgres/hanging.ts';
import { changesSessions, POOLED } from '../../wire/postgres/pooled.ts';
import type { Secret } from '../secret.ts';

/** Of the tables, as numbered steps: never edited once released, only followed by more. */
const MIGRATIONS: readonly string[] = [
  /* 1: what the service remembers, and whose turn a pipeline is */ `
  -- What is noted of pipelines: halts, pauses of the snapshot, rules that are kept.
  create table tidegate_state.note (kind text not null, pipeline text not null, record text not null, primary key (kind, pipeline));
  create table tidegate_state.model_version (
    model text not null, version integer not null, record text not null, bytes bytea not null, primary key (model, version)
  );
  create table tidegate_state.model_alias (
    model text not null, alias text not null, version integer not null, primary key (model, alias),
    foreign key (model, version) references tidegate_state.model_version
  );
  create table tidegate_state.alert_outbox (
    seq bigint generated always as identity primary key, id text not null, endpoint text not null, type text not null, body text not null,
    created_at_ms bigint not null, attempts integer not null, next_attempt_at_ms bigint not null, unique (id, endpoint)
  );
  create index on tidegate_state.alert_outbox (endpoint, next_attempt_at_ms);
  create table tidegate_state.alert_delivery (
    id text not null, endpoint text not null, type text not null, created_at_ms bigint not null, settled_at_ms bigint not null,
    attempts integer not null, outcome text not null, why text, primary key (id, endpoint)
  );
  create index on tidegate_state.alert_delivery (settled_at_ms);
  create table tidegate_state.turn (
    pipeline text primary key, instance text not null, host text not null, pid integer not null,
    since timestamptz not null, beat timestamptz not null, taken boolean not null, backend_pid integer not null, backend_start timestamptz not null
  );
  -- How often notes and models have changed: whoever has seen less looks again.
  create table tidegate_state.news (notes bigint not null, models bigint not null);
  insert into tidegate_state.news values (0, 0);
  `,
  /* 2: what each instance has counted of its rules */ `
  create table tidegate_state.rule_series (
    pipeline text not null, instance text not null, record text not null, said_at timestamptz not null, primary key (pipeline, instance)
  );
  `,
];
const SILENCE_MS = 10_000;
const CONNECT_MS = 5000;

export class StateDatabase {
  readonly #url: string;
  #opening: Promise<PgConnection> | null = null;
  #isClosed = false;

  private constructor(url: string) {
    this.#url = url;
  }

  /** Makes or brings up to date what is kept there. */
  static async open(url: Secret): Promise<StateDatabase> {
    const database = new StateDatabase(url.reveal());
    try {
      const connection = await database.#connected();
      if (await changesSessions(connection, url.reveal())) throw new PipelineError('CONFIG_INVALID', `the url of state ${POOLED}`);
      await migrate(connection);
      return database;
    } catch (error) {
      await database.close();
      throw stateFailure(error);
    }
  }

  /** Null where nobody has kept anything there yet: for a command that only looks. */
  static async existing(url: Secret): Promise<StateDatabase | null> {
    const database = new StateDatabase(url.reveal());
    try {
      const known = await (await database.#connected()).query("select to_regclass('tidegate_state.news')");
      if ((known.rows[0]?.[0] ?? null) !== null) return database;
      await database.close();
      return null;
    } catch (error) {
      await database.close();
      throw stateFailure(error);
    }
  }

  /** One statement. A connection that was lost meanwhile is made again, and the statement sent again: all that is asked here may be asked twice. */
  async query(sql: string, params: readonly PgParam[] = []): Promise<PgResult> {
    const isNew = this.#opening === null;
    try {
      return await (await this.#connected()).query(sql, params);
    } catch (error) {
      if (isNew || this.#isClosed || !isCut(error)) throw stateFailure(error);
      this.#drop();
    }
    try {
      return await (await this.#connected()).query(sql, params);
    } catch (error) {
      this.#drop();
      throw stateFailure(error);
    }
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#opening?.then((connection) => connection.close()).catch(() => {}); // On its way out; it may be away already.
  }

  #connected(): Promise<PgConnection> {
    if (this.#isClosed) return Promise.reject(new PgConnectionError('the state is closed'));
    this.#opening ??= PgConnection.connect({ url: this.#url, applicationName: 'tidegate state', connectTimeoutMs: CONNECT_MS }).then(
      (connection) => {
        endWhereItHangs(connection, { url: this.#url, silenceMs: SILENCE_MS });
        return connection;
      },
    );
    const opening = this.#opening;
    opening.catch(() => {
      if (this.#opening === opening) this.#opening = null;
    });
    return opening;
  }

  #drop(): void {
    const opening = this.#opening;
    this.#opening = null;
    void opening?.then((connection) => connection.destroy()).catch(() => {}); // It is broken anyway.
  }
}

/** Nobody is there, or the server starts, stops or ends the session: another time it may be there. */
export function isCut(error: unknown): boolean {
  return error instanceof PgConnectionError || (error instanceof PgError && /^57P0[123]/.test(error.code));
}

function stateFailure(error: unknown): unknown {
  if (error instanceof PipelineError) return error;
  if (error instanceof TypeError) return new PipelineError('CONFIG_INVALID', `state: ${error.message}`, { cause: error });
  return new PipelineError('STATE_UNREACHABLE', 'asking the database of the state', { cause: error });
}

async function migrate(sql: PgConnection): Promise<void> {
  // Most often there is nothing to do, and a role that may not create must not fail then.
  const known = await sql.query("select to_regclass('tidegate_state.migration')");
  if ((known.rows[0]?.[0] ?? null) !== null && (await count(sql)) >= MIGRATIONS.length) return mustKnow(await count(sql));
  await sql.script('begin');
  await sql.query("select pg_advisory_xact_lock(hashtext('tidegate_state.migration'))");
  const present = await sql.query("select to_regnamespace('tidegate_state')");
  if ((present.rows[0]?.[0] ?? null) === null) await sql.script('create schema tidegate_state');
  await sql.script(
    'create table if not exists tidegate_state.migration (number integer primary key, ran_at timestamptz not null default now())',
  );
  for (let number = await count(sql); number < MIGRATIONS.length; number++) {
    await sql.script(MIGRATIONS[number] ?? '');
    await sql.query('insert into tidegate_state.migration (number) values ($1)', [number + 1]);
  }
  await sql.script('commit');
}

function mustKnow(version: number): void {
  if (version > MIGRATIONS.length)
    throw new PipelineError(
      'CONFIG_INVALID',
      `state: its tables were written by a newer Tidegate (${version} > ${MIGRATIONS.length}): update, or name another database`,
    );
}

async function count(sql: PgConnection): Promise<number> {
  return Number((await sql.query('select count(*) from tidegate_state.migration')).rows[0]?.[0]);
}
