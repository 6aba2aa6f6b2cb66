/** Two databases whose tables change, services between them, and one oracle for all of it: what a table of the target lacks of the source's, or has too much. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, inject } from 'vitest';
import { PgConnection } from '../../wire/postgres/connection.ts';
import { createDatabase, type TestDatabase } from '../support/databases.ts';
import { eventually } from '../support/eventually.ts';
import { cli } from './cli.ts';
import { ask, configFolder, startService, type TestConfig, untilReady } from './services.ts';

export interface Change {
  readonly id: string;
  readonly dataset: string;
  readonly status: string;
  readonly message: string;
  readonly problem: string | null;
  readonly by: string | null;
  readonly why: string | null;
}

/** How a table of the target differs from the source's on purpose; left out, not at all. */
export interface Seen {
  /** The target's name of a column; null where it is not written. */
  readonly place?: (column: string) => string | null;
  /** Rows of the target that count. */
  readonly where?: string;
}

/** Two databases and what is in both. */
export class BothEnds implements AsyncDisposable {
  readonly source: TestDatabase;
  readonly target: TestDatabase;
  readonly sql: PgConnection;
  readonly lake: PgConnection;
  readonly #stack: AsyncDisposableStack;

  constructor(source: TestDatabase, target: TestDatabase, sql: PgConnection, lake: PgConnection, stack: AsyncDisposableStack) {
    this.source = source;
    this.target = target;
    this.sql = sql;
    this.lake = lake;
    this.#stack = stack;
  }

  static async make(name: string): Promise<BothEnds> {
    const stack = new AsyncDisposableStack();
    const [source, target] = (
      await Promise.all([createDatabase(inject('sourceServer'), name), createDatabase(inject('targetServer'), name)])
    ).map((database) => stack.use(database)) as [TestDatabase, TestDatabase];
    const sql = stack.use(await PgConnection.connect({ url: source.url }));
    const lake = stack.use(await PgConnection.connect({ url: target.url }));
    return new BothEnds(source, target, sql, lake, stack);
  }

  /** A config from tables of the source to the schema `shop`; `own` for a second one between the same databases. Gone with the databases. */
  config(
    source: Readonly<Record<string, unknown>>,
    config: Readonly<Record<string, unknown>> = {},
    files: Readonly<Record<string, string>> = {},
    own = '',
  ): TestConfig {
    const shop = { kind: 'postgres', url: this.source.url, slot: `${this.source.name}${own}`, publication: `changes${own}`, ...source };
    const urls = { source: this.source.url, target: this.target.url };
    return this.#stack.use(configFolder({ sources: { shop }, ...config }, files, urls));
  }

  /** Columns of a table with their types, by name. */
  async columnsOf(connection: PgConnection, table: string): Promise<ReadonlyMap<string, string>> {
    const { rows } = await connection.query(
      `select attname, format_type(atttypid, atttypmod) from pg_attribute
        where attrelid = $1::text::regclass and attnum > 0 and not attisdropped order by attname`,
      [table],
    );
    return new Map(rows.map(([name, type]) => [name ?? '', type ?? '']));
  }

  /** What differs, row by row, in the columns that the source has. */
  async differences(table: string, { place = (column) => column, where = 'true' }: Seen = {}): Promise<readonly string[]> {
    const places = [...(await this.columnsOf(this.sql, table)).keys()].flatMap((column) => {
      const placed = place(column);
      return placed === null ? [] : [[column, placed] as const];
    });
    const present = await this.columnsOf(this.lake, `shop.${table}`);
    const missing = places.filter(([, placed]) => !present.has(placed));
    if (missing.length > 0) return missing.map(([column]) => `no column ${column}`);
    // Not as text: a number is none. And with how often it is there: no row comes twice.
    const rowsOf = async (connection: PgConnection, columns: readonly string[], from: string): Promise<readonly string[]> => {
      const array = `jsonb_build_array(${columns.map((column) => `"${column}"`).join(', ')})::text`;
      const { rows } = await connection.query(`select ${array} || ' x' || count(*) from ${from} group by ${array}`);
      return rows.map(([row]) => row ?? '');
    };
    const ours = new Set(
      await rowsOf(
        this.lake,
        places.map(([, placed]) => placed),
        `shop.${table} where ${where}`,
      ),
    );
    const theirs = new Set(
      await rowsOf(
        this.sql,
        places.map(([column]) => column),
        table,
      ),
    );
    return [
      ...[...theirs].filter((row) => !ours.has(row)).map((row) => `missing ${row}`),
      ...[...ours].filter((row) => !theirs.has(row)).map((row) => `surplus ${row}`),
    ];
  }

  /** Waits until a table is at the target what it is at the source. Says what it is otherwise. */
  equal(table: string, seen: Seen = {}, timeoutMs?: number): Promise<void> {
    return eventually(async () => (await this.differences(table, seen)).length === 0, `${table} is equal`, timeoutMs).catch(async () => {
      const { rows: held } = await this.lake.query(
        'select key, status, version, rules, findings from tidegate.quarantine where dataset = $1 order by version',
        [`shop.public.${table}`],
      );
      const { rows: changes } = await this.lake.query(
        'select id, status, message, problem, reread, held, actions from tidegate.schema_changes where dataset = $1 order by id',
        [`shop.public.${table}`],
      );
      expect([await this.differences(table, seen), held, changes]).toEqual([]);
    });
  }

  /** Rules that what is held of a table is held by. */
  async heldRules(table: string): Promise<string> {
    const { rows } = await this.lake.query(
      `select string_agg(distinct array_to_string(rules, ' '), '|') from tidegate.quarantine where dataset = $1 and status in ('held', 'waiting', 'released')`,
      [`shop.public.${table}`],
    );
    return rows[0]?.[0] ?? '';
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#stack.disposeAsync();
  }
}

/** The service over a config, and what it says of the tables that change. */
export class Following implements AsyncDisposable {
  readonly ends: BothEnds;
  readonly config: TestConfig;
  #running: Awaited<ReturnType<typeof startService>> | null = null;

  constructor(ends: BothEnds, config: TestConfig) {
    this.ends = ends;
    this.config = config;
  }

  static async start(ends: BothEnds, config: TestConfig, readyMs = 60_000): Promise<Following> {
    const following = new Following(ends, config);
    await following.restart();
    await untilReady(following.url, readyMs);
    return following;
  }

  get url(): string {
    return this.#running?.url ?? '';
  }

  async stop(): Promise<void> {
    await this.#running?.[Symbol.asyncDispose]();
    this.#running = null;
  }

  /** Ends it and starts it anew, with other rule files where some are named. */
  async restart(rules: Readonly<Record<string, string>> = {}): Promise<void> {
    await this.stop();
    for (const [table, text] of Object.entries(rules)) writeFileSync(join(this.config.folder, `${table}.rules.yaml`), text);
    this.#running = await startService(this.config);
  }

  /** Newest first. */
  async changesOf(table: string): Promise<readonly Change[]> {
    const { json } = await ask(this.url, '/api/schema/changes');
    return (json as { changes: readonly Change[] }).changes.filter(({ dataset }) => dataset === `shop.public.${table}`);
  }

  /** The newest change of a table that waits, once there are so many. */
  async parked(table: string, count = 1): Promise<Change> {
    const held = async () => (await this.changesOf(table)).filter(({ status }) => status === 'held');
    await eventually(async () => (await held()).length === count, `${table} waits for ${count} changes`);
    const [change] = await held();
    if (change === undefined) throw new Error(`${table} does not wait`);
    return change;
  }

  /** Its exit code. */
  async approve(id: string): Promise<number> {
    return (await cli('schema', 'approve', this.config.file, id)).code;
  }

  async reject(id: string): Promise<number> {
    return (await cli('schema', 'reject', this.config.file, id, '--why', 'not agreed upon')).code;
  }

  /** Approves the change, and all that waits before it: the table is then as at the source, and nothing of it is held. */
  async approved(table: string, id: string, seen: Seen = {}): Promise<void> {
    expect(await this.approve(id)).toBe(0);
    await this.followed(table, seen);
  }

  async followed(table: string, seen: Seen = {}): Promise<void> {
    await this.ends.equal(table, seen);
    await eventually(async () => (await this.ends.heldRules(table)) === '', `nothing of ${table} is held`);
  }

  /** What `tidegate verify` finds otherwise, once no table is read again any more: the last rows of one may be there before that is known. */
  async unequal(): Promise<readonly string[]> {
    type Verified = { readonly dataset: string; readonly equal: boolean; readonly state: string };
    let tables: readonly Verified[] = [];
    await eventually(
      async () => {
        const { json } = await cli('verify', this.config.file, '--json');
        tables = (json as { pipelines: readonly { tables: readonly Verified[] }[] }).pipelines.flatMap((one) => one.tables);
        return tables.every(({ state }) => state !== 'copying');
      },
      'nothing is read again',
      60_000,
    );
    return tables.flatMap(({ dataset, equal }) => (equal ? [] : [dataset]));
  }

  /** Another table is followed all the same: one with an id, that is free for it. */
  async flows(table = 'free'): Promise<void> {
    await this.ends.sql.script(`insert into ${table} (id) select coalesce(max(id), 0) + 1 from ${table}`);
    await this.ends.equal(table);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }
}

/** A rule file of one table, with a policy for every kind of change and a rule that rows pass. */
export function evolutionRules(
  table: string,
  policy: string,
  { columns = '', check = 'id: [{id: positive, between: {min: 0}}]' } = {},
): string {
  const evolution = ['add', 'drop', 'rename', 'widen', 'narrow', 'retype', 'key', 'enum'].map((kind) => `${kind}: ${policy}`).join(', ');
  return `
apiVersion: quality/v1
kind: DatasetRules
dataset: shop.public.${table}
hold: key
schema: {${columns === '' ? '' : `columns: ${columns}, `}evolution: {${evolution}}}
columns:
  ${check}
`;
}

/**
 * Whether values of one type can be cast to the other, of those that tests retype. Where they cannot, the target keeps the old column beside a new one: tests leave such a
 * column alone, and give no name to a column that has to be taken for such a change before the source tells them apart.
 */
export const isCastable = (from: string, to: string): boolean => from === to || to === 'text' || (from === 'int' && to === 'bigint');
