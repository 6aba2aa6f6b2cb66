/**
 * A whole Postgres road under whatever its users do: tables (see anything-tables.ts), the service as a process, operators, and checks that hold at any time
 * once the lane has caught up.
 */
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { freePort } from '../../examples/embedded-postgres.ts';
import type { PgConnection } from '../../wire/postgres/connection.ts';
import { ServiceProcess } from '../e2e/service-process.ts';
import { eventually } from '../support/eventually.ts';
import type { Random } from '../support/random.ts';
import { type AnyTable, MAX } from './anything-tables.ts';
import { BothEnds } from './changed-tables.ts';
import { cli } from './cli.ts';
import { ask, post, type TestConfig } from './services.ts';

const WAIT_MS = 40_000;
const LOOSE = 1_000_000;
/** Items of the quarantine that are not settled. */
const OPEN = `status in ('held', 'waiting', 'released', 'staged')`;

export interface Difference {
  readonly key: string;
  readonly kind: string;
  readonly reason: string;
}
interface Verified {
  readonly dataset: string;
  readonly equal: boolean;
  readonly state: string;
  readonly differences: readonly Difference[];
  readonly leftOut: readonly string[];
  readonly lacking: readonly string[];
}

export class AnyWorld implements AsyncDisposable {
  readonly ends: BothEnds;
  readonly tables: readonly AnyTable[];
  readonly config: TestConfig;
  readonly url: string;
  service!: ServiceProcess;
  /** What has been done, in words and statements. */
  readonly said: string[] = [];
  max = MAX;
  readonly #random: Random;
  readonly #configText: string;
  #policy: string | null = null;
  #marks = 0;

  private constructor(ends: BothEnds, tables: readonly AnyTable[], config: TestConfig, url: string, random: Random) {
    this.ends = ends;
    this.tables = tables;
    this.config = config;
    this.url = url;
    this.#random = random;
    this.#configText = readFileSync(config.file, 'utf8');
  }

  static async start(name: string, tables: readonly AnyTable[], random: Random): Promise<AnyWorld> {
    const ends = await BothEnds.make(name);
    try {
      await ends.sql.script(`create sequence changes; create table marks (id int primary key);
        create function number() returns trigger language plpgsql as $$ begin new.seq = nextval('changes'); return new; end $$;`);
      for (const table of tables) await ends.sql.script(table.made());
      await ends.lake.script(`create schema shop; create table public.writes (n bigserial primary key, tab text, key text, seq bigint)`);
      const port = await freePort();
      const workers = random.chance(0.5) ? 0 : 2;
      const snapshot = { chunkRows: 5, ...(random.chance(0.5) ? { parallel: 2 } : {}) };
      const rows = [7, 40, 5000][random.below(3)];
      const config = ends.config(
        { tables: [...tables.map((table) => `public.${table.name}`), 'public.marks'], snapshot, silence: '5s' },
        {
          targets: { lake: { kind: 'postgres', url: ends.target.url, schema: 'shop', workers, silence: '5s' } },
          pipelines: { main: { source: 'shop', target: 'lake', datasets: './*.rules.yaml', breaker: { enabled: false }, batch: { rows } } },
          http: { port },
        },
      );
      const world = new AnyWorld(ends, tables, config, `http://127.0.0.1:${port}`, random);
      world.say(`batch rows ${rows}, workers ${workers}, snapshot ${JSON.stringify(snapshot)}`);
      for (const table of tables) world.say(String(table));
      world.#write();
      world.#run();
      return world;
    } catch (error) {
      await ends[Symbol.asyncDispose]();
      throw error;
    }
  }

  get sql(): PgConnection {
    return this.ends.sql;
  }

  get lake(): PgConnection {
    return this.ends.lake;
  }

  say(what: string): void {
    this.said.push(what);
  }

  #write(): void {
    const config = JSON.parse(this.#configText) as { sources: { shop: { tables: string[] } }; targets: { lake: { layouts?: unknown[] } } };
    config.sources.shop.tables = [...this.tables.flatMap(({ name, isOut }) => (isOut ? [] : [`public.${name}`])), 'public.marks'];
    config.targets.lake.layouts = this.tables.flatMap((table) => (table.isOut ? [] : (table.layout() ?? [])));
    writeFileSync(this.config.file, JSON.stringify(config));
    for (const table of this.tables) {
      const file = join(this.config.folder, `${table.name}.rules.yaml`);
      if (table.isOut) rmSync(file, { force: true });
      else writeFileSync(file, table.rules(this.max, this.#policy));
    }
  }

  #run(): void {
    this.service = new ServiceProcess(this.config.file);
  }

  async source(script: string): Promise<void> {
    this.say(script);
    await this.sql.script(script);
  }

  async restart(how: 'kill' | 'stop'): Promise<void> {
    await this.down(how);
    this.start();
  }

  async down(how: 'kill' | 'stop'): Promise<void> {
    this.say(`-- ${how}`);
    if (how === 'kill') await this.service.kill();
    else {
      await this.up(); // Told to end before it listens to signals, it is killed.
      const code = await this.service.stop();
      if (code !== 0) throw new Error(`stopped, the service ended with ${code}: ${this.service.lastWords}`);
    }
  }

  start(): void {
    this.say('-- start');
    this.#write();
    this.#run();
  }

  /** Rules that let everything through, and policies that accept everything. */
  async loosen(): Promise<void> {
    this.max = LOOSE;
    this.#policy = 'accept';
    for (const table of this.tables) table.isOut = false;
    await this.restart(this.#random.chance(0.5) ? 'kill' : 'stop');
  }

  async until(condition: () => Promise<boolean>, what: string): Promise<void> {
    const { service } = this;
    const holds = async (): Promise<boolean> => {
      if (service.hasHalted) throw new Error(`the lane halted while waiting until ${what}:\n${service.lastWords}`);
      if (service.child.exitCode !== null) throw new Error(`the service ended while waiting until ${what}:\n${service.lastWords}`);
      return condition();
    };
    await eventually(holds, what, WAIT_MS).catch(async (error: Error) => {
      const status = (await ask(this.url, '/readyz').catch(() => null))?.text;
      throw new Error(`${error.message}\n${status}\n${service.lastWords}`, { cause: error });
    });
  }

  /** Whether a statement at the target answers with a row. */
  async #is(statement: string): Promise<boolean> {
    return (await this.lake.query(`${statement} limit 1`)).rows.length > 0;
  }

  async #mark(): Promise<void> {
    const mark = ++this.#marks;
    await this.sql.script(`insert into marks values (${mark})`);
    await this.until(() => this.#is(`select from shop.marks where id = ${mark}`).catch(() => false), `mark ${mark} is at the target`);
  }

  /** Waits until the lane has all of the source, and nothing is on its way beside it. */
  async rest(): Promise<void> {
    await this.up();
    for (;;) {
      await this.#mark();
      await this.until(async () => !(await this.#isBusy()), 'nothing is read again or released');
      await this.#mark();
      if (!(await this.#isBusy())) return;
    }
  }

  async #isBusy(): Promise<boolean> {
    // What is wanted of a table that the config leaves out waits until it has it again.
    const followed = this.tables.flatMap(({ name, isOut }) => (isOut ? [] : [`'shop.public.${name}'`])).join(', ');
    if (followed === '') return false;
    if (await this.#is(`select from tidegate.quarantine where status = 'released' and dataset in (${followed})`)) return true;
    if (
      await this.#is(
        `select from tidegate.schema_changes where status in ('approved', 'accepted') and reread in ('wanted', 'begun') and dataset in (${followed})`,
      )
    )
      return true;
    const { json } = await ask(this.url, '/api/pipelines/main/snapshot');
    const { tables, rereads } = json as { tables: readonly { state: string }[]; rereads: readonly { state: string }[] };
    return tables.some(({ state }) => state !== 'done') || rereads.some(({ state }) => state === 'reading');
  }

  /** Waits until it answers. */
  async up(): Promise<void> {
    await this.until(async () => (await ask(this.url, '/healthz').catch(() => null))?.status === 200, 'the service answers');
  }

  async post(path: string, body: unknown): Promise<{ status: number; json: unknown; text: string }> {
    await this.up();
    this.say(`-- POST ${path} ${JSON.stringify(body).slice(0, 300)}`);
    const answer = await post(this.url, path, body);
    this.say(`--   ${answer.status} ${answer.text.slice(0, 200)}`);
    return answer;
  }

  /** Open items of the quarantine. */
  async open(): Promise<readonly { id: string; dataset: string; status: string; rules: string }[]> {
    const { rows } = await this.lake
      .query(`select id, dataset, status, rules::text from tidegate.quarantine where ${OPEN} order by version`)
      .catch(() => ({ rows: [] }));
    return rows.map(([id, dataset, status, rules]) => ({ id: id ?? '', dataset: dataset ?? '', status: status ?? '', rules: rules ?? '' }));
  }

  /** Changes that wait for somebody, the oldest first. */
  async parked(): Promise<readonly { id: string; dataset: string }[]> {
    const { rows } = await this.lake
      .query(`select id, dataset from tidegate.schema_changes where status in ('held', 'rejected') order by id`)
      .catch(() => ({ rows: [] }));
    return rows.map(([id, dataset]) => ({ id: `main-${id}`, dataset: dataset ?? '' }));
  }

  async verify(...flags: readonly string[]): Promise<{ code: number; tables: readonly Verified[]; text: string }> {
    await this.up();
    const { code, json, stderr, stdout } = await cli('verify', this.config.file, '--json', '--limit', '5000', ...flags);
    const { pipelines = [] } = (json ?? {}) as { pipelines?: readonly { tables: readonly Verified[] }[] };
    const tables = pipelines.flatMap((one) => one.tables);
    this.say(
      `-- verify ${flags.join(' ')}: ${code} ${stderr.trim()} ${JSON.stringify(tables.filter((one) => one.differences.length > 0 || !one.equal))}`,
    );
    return { code, tables, text: stderr + stdout };
  }

  /** Rows by key, each with its cells under the source's names. */
  async #rows(connection: PgConnection, table: AnyTable, columns: readonly string[]): Promise<ReadonlyMap<string, string>> {
    const isSource = connection === this.sql;
    const key = this.#keySql(table);
    const cells = columns.map((column) => `"${isSource ? column : table.place(column)}"`).join(', ');
    const from = isSource ? table.name : `shop.${table.name} where ${table.look.where ?? 'true'}`;
    const { rows } = await connection.query(`select ${key}, jsonb_build_array(${cells})::text from ${from}`);
    const found = new Map<string, string>();
    for (const [id, row] of rows) {
      if (found.has(id ?? '')) throw new Error(`${table.name} has ${id} twice ${isSource ? 'at the source' : 'at the target'}`);
      found.set(id ?? '', row ?? '');
    }
    return found;
  }

  /** Keys of rows that differ in these columns, each with both rows. */
  async differing(table: AnyTable, columns: readonly string[]): Promise<ReadonlyMap<string, string>> {
    const [theirs, ours] = [await this.#rows(this.sql, table, columns), await this.#rows(this.lake, table, columns)];
    const differing = new Map<string, string>();
    for (const key of new Set([...theirs.keys(), ...ours.keys()]))
      if (theirs.get(key) !== ours.get(key))
        differing.set(key, `${short(theirs.get(key))} at the source, ${short(ours.get(key))} at the target`);
    return differing;
  }

  /** Columns of the source that the target has, as they are. */
  async columns(table: AnyTable): Promise<readonly string[]> {
    const present = await this.ends.columnsOf(this.lake, `shop.${table.name}`);
    return [...(await this.ends.columnsOf(this.sql, table.name))].flatMap(([column, type]) => {
      const place = table.place(column);
      return place !== null && present.get(place) === type ? [column] : [];
    });
  }

  /** At rest: what differs is explained by what is held or was given up, and verify says of just these rows that they differ. */
  async check(isDamaged = false): Promise<void> {
    await this.rest();
    const { tables, text } = await this.verify();
    if (tables.length === 0) throw new Error(`verify says nothing: ${text}`);
    const parked = new Set((await this.parked()).map(({ dataset }) => dataset));
    for (const table of this.tables) {
      if (table.isOut) continue;
      const dataset = `shop.public.${table.name}`;
      const told = tables.find((one) => one.dataset === dataset);
      if (told?.state !== 'verified') throw new Error(`verify says of ${table.name}: ${JSON.stringify(told)} ${text}`);
      const mayLack = await this.#mayLose(table);
      const unexplained = told.differences.filter(
        ({ reason, kind }) =>
          // Of a table that waits the source may have dropped, added or written anew columns without an event.
          !(parked.has(dataset) && kind === 'changed') &&
          (['lost', 'surplus', 'undecided'].includes(reason) || (reason === 'partial' && !mayLack)),
      );
      if (unexplained.length > 0 && !isDamaged && !(await this.#isDocumented(table)))
        throw new Error(`verify says of ${table.name}: ${JSON.stringify(unexplained)}${await this.#evidence(table)}`);
      await this.#checkItems(table);
      await this.#checkHistory(table);
      if (parked.has(dataset)) continue;
      const columns = (await this.columns(table)).filter((column) => !told.leftOut.includes(column) && !told.lacking.includes(column));
      const differing = await this.differing(table, columns);
      const [ours, theirs] = [[...differing.keys()].toSorted(), told.differences.map(({ key }) => key).toSorted()];
      if (ours.join() !== theirs.join())
        throw new Error(
          `of ${table.name} differ ${JSON.stringify(ours)}, and verify says ${JSON.stringify(told.differences)}${await this.#evidence(table)}`,
        );
      const { rows } = await this.lake.query(
        `select key from tidegate.quarantine where dataset = $1 and status <> 'applied' union select moved_from from tidegate.quarantine where dataset = $1 and status <> 'applied'`,
        [dataset],
      );
      const known = new Set(rows.map(([key]) => key));
      const unknown = [...differing].filter(([key]) => !known.has(key));
      if (unknown.length > 0 && !isDamaged && !(await this.#isDocumented(table)))
        throw new Error(`of ${table.name} differ without anything in quarantine ${JSON.stringify(unknown)}`);
    }
    await this.#checkLedger();
  }

  /** Whether something of a table was given up, so that a later partial change may have had no row. */
  async #mayLose(table: AnyTable): Promise<boolean> {
    return (
      table.isLossy ||
      (await this.#is(
        `select from tidegate.quarantine where dataset = 'shop.public.${table.name}' and status in ('discarded', 'superseded')`,
      ))
    );
  }

  /** Whether something was done to a table that is documented to leave rows as they were; so is what was held of a former key. */
  async #isDocumented(table: AnyTable): Promise<boolean> {
    return (
      table.isLossy ||
      (await this.#is(
        `select from tidegate.quarantine where dataset = 'shop.public.${table.name}' and rules @> '{schema.former_key}' and status <> 'applied'`,
      ))
    );
  }

  /** Somebody else writes to the target's tables: verify says what is otherwise since, and has it mended. */
  async damage(table: AnyTable): Promise<void> {
    if (table.isOut) return;
    await this.rest();
    const { rows } = await this.lake.query(
      `select ctid::text from shop.${table.name} t where ${table.look.where ?? 'true'}
         and not exists (select from tidegate.held_keys h where h.dataset = 'shop.public.${table.name}' and h.key = ${this.#keySql(table)}) order by ctid`,
    );
    const place = this.#random.below(rows.length + 1);
    const ctid = rows[place]?.[0];
    if (typeof ctid !== 'string') return;
    const what = this.#random.chance(0.5) ? `delete from shop.${table.name}` : `update shop.${table.name} set ${table.place('n')} = -7`;
    this.say(`-- at the target: ${what} where ctid = '${ctid}'`);
    await this.lake.script(`${what} where ctid = '${ctid}'`);
    await this.check(true);
    await this.repairAll();
  }

  /** After it nothing differs without an explanation, but in tables that wait for somebody. */
  async repairAll(): Promise<void> {
    await this.rest();
    const { tables, text } = await this.verify('--repair', '--wait', '20s');
    const parked = new Set((await this.parked()).map(({ dataset }) => dataset));
    const left = tables.filter(({ dataset, equal, lacking }) => !equal && lacking.length === 0 && !parked.has(dataset));
    if (left.length > 0 || tables.length === 0) throw new Error(`verify --repair leaves ${JSON.stringify(left)} ${text}`);
    await this.check();
  }

  #keySql({ key }: AnyTable): string {
    const [only = 'id'] = key[0] ?? [];
    return key.length === 1 ? `${only}::text` : `'["' || id || '","' || code || '"]'`;
  }

  /** Of a key that waits the newest item is what the source has. */
  async #checkItems(table: AnyTable): Promise<void> {
    if (table.hold !== 'key' || table.isTruncated || table.isLossy) return;
    const { rows } = await this.lake.query(
      `select key, op, row_json ->> 'seq', id from (select distinct on (key) * from tidegate.quarantine
         where dataset = $1 and status <> 'applied' and not rules @> '{schema.former_key}' and (op = 'delete' or row_json ? 'seq') order by key, version desc, id desc) q where ${OPEN}`,
      [`shop.public.${table.name}`],
    );
    const theirs = await this.#rows(this.sql, table, ['seq']);
    for (const [key, op, seq, id] of rows) {
      const now = theirs.get(key ?? '');
      const wanted = op === 'delete' ? undefined : `[${seq}]`;
      if (now === wanted) continue;
      // A row that moved on has its last item under its new key.
      const { rows: moved } = await this.lake.query(
        `select from tidegate.quarantine where dataset = $1 and moved_from = $2 and ${OPEN} and version >= (select version from tidegate.quarantine where id = $3)`,
        [`shop.public.${table.name}`, key ?? '', id ?? ''],
      );
      if (moved.length === 0)
        throw new Error(`${table.name}: ${key} is ${now} at the source, and its newest item ${id} says ${op} ${wanted}`);
    }
  }

  /** What differs, and what is known of the keys that do. */
  async #evidence(table: AnyTable): Promise<string> {
    const differing = await this.differing(table, await this.columns(table));
    const { rows } = await this.lake.query(
      `select id, op, status, rules, row_json::text, released_seq, held_at, settled_at from tidegate.quarantine where dataset = $1 and (key = any ($2) or moved_from = any ($2)) order by version, id`,
      [`shop.public.${table.name}`, `{${[...differing.keys()].map((key) => JSON.stringify(key)).join(',')}}`],
    );
    const { rows: changes } = await this.lake.query(
      `select id, version, status, message, problem, reread, reread_columns, at, settled_at from tidegate.schema_changes where dataset = $1 order by id`,
      [`shop.public.${table.name}`],
    );
    return [...differing, ...rows.map((row) => row.map((cell) => short(cell ?? 'null'))), ...changes]
      .map((one) => `\n  ${JSON.stringify(one)}`)
      .join('');
  }

  /** Versions of a row follow each other. */
  async #checkHistory(table: AnyTable): Promise<void> {
    if (table.lookName !== 'history') return;
    const keys = table.key.map(([column]) => column).join(', ');
    const { rows } = await this.lake.query(
      `select * from (select ${keys}, since, until, lead(since) over w as next, seq, lead(seq) over w as next_seq from shop.${table.name} window w as (partition by ${keys} order by since, until nulls last, seq)) v
       where until < since or (next is not null and (until is null or until > next)) or next_seq < seq`,
    );
    if (rows.length > 0) throw new Error(`${table.name}: versions overlap: ${JSON.stringify(rows)}`);
  }

  async #checkLedger(): Promise<void> {
    const { rows } = await this.lake.query(
      `select lane, events, upserts, deletes, truncates, stale, folded, held, dropped from tidegate.lanes where events <> upserts + deletes + truncates + stale + folded + held + dropped`,
    );
    if (rows.length > 0) throw new Error(`the ledger does not close: ${JSON.stringify(rows)}`);
  }

  /** Lets everything through, settles all that is open, and then the target is the source. */
  async settle(): Promise<void> {
    await this.loosen();
    await this.post('/api/pipelines/main/resume', {});
    await this.post('/api/pipelines/main/snapshot/resume', {});
    // A change of a table is met with the next change of its rows.
    for (const table of this.tables) await this.source(table.touched());
    await this.rest();
    let before = '';
    for (let rounds = 0; ; rounds++) {
      const parked = await this.parked();
      const seen = new Set<string>();
      for (const { id, dataset } of parked) {
        if (seen.has(dataset)) continue;
        seen.add(dataset);
        const { status, text } = await this.post(`/api/schema/changes/${id}/approve`, {});
        if (status !== 200) throw new Error(`${id} of ${dataset} is not approved: ${text}`);
      }
      await this.rest();
      const open = await this.open();
      if (open.length === 0 && parked.length === 0) break;
      const held = open.filter(({ status }) => status === 'held');
      const now = open.map(({ id }) => id).join();
      // Of a former key, or of a type whose values do not fit into the one of now.
      if (parked.length === 0 && now === before && held.every(({ rules }) => /schema\.former_key|target\.22/.test(rules))) {
        for (const table of this.tables) table.isLossy ||= open.some(({ dataset }) => dataset.endsWith(`.${table.name}`));
        await this.post('/api/quarantine/discard', { ids: open.map(({ id }) => id), why: 'does not fit' });
        continue;
      }
      before = now;
      if (rounds > 25) throw new Error(`still open: ${JSON.stringify(open.slice(0, 20))} ${JSON.stringify(parked)}`);
      if (open.length > 0 && parked.length === 0) {
        await this.post('/api/quarantine/release', { filter: { pipeline: 'main' } });
        await this.rest();
      }
    }
    await this.check();
    for (const table of this.tables) {
      if (await this.#mayLose(table)) continue;
      const columns = (await this.ends.columnsOf(this.sql, table.name)).keys();
      const differing = await this.differing(
        table,
        [...columns].filter((column) => table.place(column) !== null),
      );
      if (differing.size > 0) throw new Error(`all of ${table.name} was let through, and differs:${await this.#evidence(table)}`);
    }
  }

  /** What was given up as well comes from the source: `verify --repair` leaves no difference. */
  async repair(): Promise<void> {
    const { code, text } = await this.verify('--repair');
    if (code !== 0) throw new Error(`verify --repair ended with ${code}: ${text}`);
    await this.check();
    await this.until(async () => (await ask(this.url, '/readyz')).status === 200, 'it is ready');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.service[Symbol.asyncDispose]();
    await this.ends[Symbol.asyncDispose]();
  }
}

const short = (row: string | undefined): string => (row ?? 'none').replaceAll(/([xyz])\1{20,}/g, '$1…');
