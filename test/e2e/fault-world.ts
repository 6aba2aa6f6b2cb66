/**
 * A world to break: two servers, ways to them that can be cut, the service as a process with rules and a model, somebody who writes to the source
 * all the time, and a judge. The source's triggers number every change and keep a log of them, the target's keep what was written in which order;
 * so the judge knows what the target has to hold (see oracle.ts), and that nothing was written twice or out of order.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type EmbeddedServer, freePort, startEmbeddedPostgres } from '../../examples/embedded-postgres.ts';
import { PgConnection, type PgResult } from '../../wire/postgres/connection.ts';
import { linearModel } from '../inference/models.ts';
import { eventually } from '../support/eventually.ts';
import { Random } from '../support/random.ts';
import { ruleFile } from '../support/rules.ts';
import { STANDBY_SLOT, startStandby, syncSlots } from '../support/standby.ts';
import { agree, judgeHistory, judgeTable, TABLES, verifies } from './judge.ts';
import { type LoggedChange, Oracle } from './oracle.ts';
import { CutProxy } from './proxy.ts';
import { ServiceProcess } from './service-process.ts';
import { SmallDisk } from './small-disk.ts';

const IDS = 3000;
const DISK_MEGABYTES = 320;
/** Longer than the service waits (`silence` below): who frees a slot that a hung connection holds is the service, unless it was killed since. */
const WALSENDER_TIMEOUT = '8s';
/** After a fault the lane moves again within this, waits between attempts included. */
const RECOVERY_MS = 90_000;

export const SOURCE_SQL = `
  create sequence changes;
  create table log (seq bigint primary key, tab text not null, op text not null, id bigint not null, old_id bigint, row jsonb);
  create table items (id bigint primary key, seq bigint not null, amount integer not null, note text);
  alter table items alter note set storage external;
  create table marks (id bigint primary key, seq bigint not null, amount integer not null);
  create function number() returns trigger language plpgsql as $$ begin new.seq = nextval('changes'); return new; end $$;
  create function remember() returns trigger language plpgsql as $$ begin
    if tg_op = 'DELETE' then insert into log values (nextval('changes'), tg_table_name, tg_op, old.id, null, null);
    else insert into log values (new.seq, tg_table_name, tg_op, new.id, case when tg_op = 'UPDATE' and old.id <> new.id then old.id end, to_jsonb(new)); end if;
    return null; end $$;
  create trigger number before insert or update on items for each row execute function number();
  create trigger number before insert or update on marks for each row execute function number();
  create trigger remember after insert or update or delete on items for each row execute function remember();
  create trigger remember after insert or update or delete on marks for each row execute function remember();`;

/**
 * The service has a role of its own, whose settings a fault can change. Each write adds to `growth`, which begins with 20 MB of rows of the same size: so there
 * is a size of files that is above that of the log's, and below that of the next page of this table, which is soon wanted. Nothing in it ever makes room, and no
 * page of it has any left: a table whose free pages are known, as they are after a crash, needs no others for long.
 */
export const TARGET_SQL = `
  create role tidegate login;
  grant create on database postgres to tidegate;
  create schema shop;
  grant usage on schema shop to tidegate;
  create table shop.items (id bigint primary key, seq bigint, amount integer, note text, risk double precision);
  create table shop.marks (id bigint primary key, seq bigint, amount integer);
  create table history (n bigserial primary key, tab text not null, id bigint not null, seq bigint not null);
  create table growth (filler text);
  insert into growth select repeat('x', 200) from generate_series(1, 90000);
  create index on history (tab, seq);
  create index on history (tab, id, n);
  grant select, insert, update, delete, truncate on all tables in schema shop to tidegate;
  create function remember() returns trigger security definer language plpgsql as $$ begin
    insert into public.history (tab, id, seq) values (tg_table_name, new.id, new.seq);
    insert into public.growth values (repeat('x', 200)); return null; end $$;
  create trigger remember after insert or update on shop.items for each row execute function remember();
  create trigger remember after insert or update on shop.marks for each row execute function remember();`;

/** The score is the amount, so that every row tells whether it was scored, and with its own cells. */
const MAPPING = {
  apiVersion: 'inference/v1',
  columns: { amount: 'integer', seq: 'integer' },
  features: [
    { name: 'amount', type: 'number', from: 'amount' },
    { name: 'seq', type: 'number', from: 'seq' },
  ],
};

export const RULE = 'amount: [{between: {min: 0, max: 1000}}]';

interface Ports {
  /** Of the two hosts that the source may be at. */
  readonly source: readonly number[];
  readonly target: number;
  readonly http: number;
}

const hosts = (ports: readonly number[]): string => ports.map((port) => `127.0.0.1:${port}`).join(',');
const config = ({ source, target, http }: Ports): string => `
version: 1
state: ./tidegate.db
sources:
  shop: {kind: postgres, url: 'postgres://postgres@${hosts(source)}/postgres', slot: faults, publication: faults, silence: 3s, tables: [public.items, public.marks]}
targets:
  store: {kind: postgres, url: 'postgres://tidegate@127.0.0.1:${target}/postgres', schema: shop, silence: 3s}
pipelines:
  faults:
    source: shop
    target: store
    datasets: './*.rules.yaml'
    batch: {rows: 40}
    breaker: {enabled: false}
    models: [{model: amount, dataset: shop.public.items, write: {score: risk}, failure: hold, deadline: 5s}]
http: {port: ${http}}
`;

export class FaultWorld implements AsyncDisposable {
  readonly target: EmbeddedServer;
  readonly toTarget: CutProxy;
  /** Where the target's files are; null where it cannot be made full. */
  readonly disk: SmallDisk | null;
  service!: ServiceProcess;
  readonly #cleanup: AsyncDisposableStack;
  readonly #oracle = new Oracle({ items: 'key', marks: 'event' });
  readonly #folders: readonly string[];
  #source: EmbeddedServer;
  /** The way to the host that has the source, and to the one where it is after the next failover. */
  #toSource: CutProxy;
  #toStandby: CutProxy;
  #turn = 0;
  /** The quarantine's part of the judgement, per table, that is done already. */
  #judgedTo = 0;

  private constructor(parts: Omit<Parts, 'folders'> & { readonly folders: readonly string[] }) {
    this.#source = parts.source;
    this.target = parts.target;
    [this.#toSource, this.#toStandby] = parts.toSources;
    this.toTarget = parts.toTarget;
    this.disk = parts.disk;
    this.#folders = parts.folders;
    this.#cleanup = parts.cleanup;
  }

  /** Resolves once the service follows the (empty) tables, so that every change comes by the log, and has the model. */
  static async start(): Promise<FaultWorld> {
    await using cleanup = new AsyncDisposableStack();
    const disk = SmallDisk.mount(DISK_MEGABYTES);
    if (disk !== null) cleanup.use(disk);
    const starting = [
      startEmbeddedPostgres({ wal_sender_timeout: WALSENDER_TIMEOUT }),
      startEmbeddedPostgres({ max_wal_size: '64MB', log_lock_waits: 'on' }, undefined, disk?.folder),
    ] as const;
    for (const one of starting) cleanup.defer(async () => (await one.catch(() => null))?.stop());
    const [source, target] = await Promise.all(starting);
    await Promise.all([run(source, SOURCE_SQL), run(target, TARGET_SQL)]);
    const toSources = [cleanup.use(await CutProxy.listen(source.port)), cleanup.use(await CutProxy.listen(null))] as const;
    const toTarget = cleanup.use(await CutProxy.listen(target.port));
    const folders: string[] = [];
    for (const _ of [0, 1]) {
      const folder = mkdtempSync(join(tmpdir(), 'tidegate-faults-'));
      cleanup.defer(() => rmSync(folder, { recursive: true, force: true }));
      const http = await freePort();
      writeFileSync(join(folder, 'tidegate.yaml'), config({ source: toSources.map(({ port }) => port), target: toTarget.port, http }));
      writeFileSync(join(folder, 'items.rules.yaml'), ruleFile('items', 'key', RULE));
      writeFileSync(join(folder, 'marks.rules.yaml'), ruleFile('marks', 'event', RULE));
      await using first = new ServiceProcess(join(folder, 'tidegate.yaml'));
      await registerModel(`http://127.0.0.1:${http}`, first);
      await first.stop();
      folders.push(folder);
    }
    const world = new FaultWorld({ source, target, toSources, toTarget, disk, folders, cleanup: cleanup.move() });
    world.startService();
    await eventually(
      async () => /^[0-9a-f]{16}(@[0-9a-f]+\.[~=].*)?$/.test((await world.askTarget(`select position ${LANE}`)) ?? ''),
      'the snapshot is done',
      60_000,
    );
    return world;
  }

  get source(): EmbeddedServer {
    return this.#source;
  }

  get toSource(): CutProxy {
    return this.#toSource;
  }

  /** A standby of the source at its other host, with a copy of the slot and all that the lane may have read: ready to take over. */
  async startStandby(): Promise<EmbeddedServer> {
    const standby = await startStandby(this.source);
    this.#cleanup.defer(() => standby.stop());
    this.#toStandby.lead(standby.port);
    // From here on the lane reads nothing that the standby lacks; what it has read before comes first.
    await run(this.source, `alter system set synchronized_standby_slots = '${STANDBY_SLOT}'`);
    await run(this.source, 'select pg_reload_conf()');
    const written = (await this.askSource('select pg_current_wal_lsn()')) ?? '';
    const isReady = async (): Promise<boolean> => {
      await run(this.source, 'select pg_log_standby_snapshot()'); // The slot is copied from a place that both servers have.
      return (await syncSlots(standby)) && (await ask(standby, `select pg_last_wal_replay_lsn() >= '${written}'`)) === 't';
    };
    await this.until(isReady, 'the standby has a copy of the slot');
    return standby;
  }

  /** The standby is the source from now on, and the server that was it is gone. Answers whether it was promoted. */
  async failOver(standby: EmbeddedServer): Promise<boolean> {
    const old = this.#source;
    await old.kill();
    const [promoted] = await run(standby, 'select pg_promote()');
    this.#source = standby;
    [this.#toSource, this.#toStandby] = [this.#toStandby, this.#toSource];
    this.#toStandby.lead(null);
    await old.stop();
    return promoted?.rows[0]?.[0] === 't';
  }

  /** Starts another instance, with a state file other than that of the one before. */
  startService(): ServiceProcess {
    this.service = this.#cleanup.use(new ServiceProcess(this.#config(this.#turn++)));
    return this.service;
  }

  #config(turn: number): string {
    return join(this.#folders[turn % this.#folders.length] ?? '', 'tidegate.yaml');
  }

  /** One value of the target; null where it is down, or does not have it. */
  askTarget(query: string): Promise<string | null> {
    return ask(this.target, query);
  }

  askSource(query: string): Promise<string | null> {
    return ask(this.source, query);
  }

  /** How many events the lane has behind it; null while the target does not say. */
  async events(): Promise<number | null> {
    const sum = await this.askTarget(`select events ${LANE}`);
    return sum === null ? null : Number(sum);
  }

  /** Waits until the lane has moved on by so many events from where it stands. */
  async progress(events: number, when: string): Promise<void> {
    let from: number | null = null;
    await this.until(async () => {
      const now = await this.events();
      from ??= now;
      return now !== null && from !== null && now >= from + events;
    }, `the lane moved on by ${events} events ${when}`);
  }

  async until(condition: () => Promise<boolean>, what: string): Promise<void> {
    const { service } = this;
    const holds = async (): Promise<boolean> => {
      if (service.hasHalted) throw new Error(`the lane halted while waiting until ${what}:\n${service.lastWords}`);
      return condition();
    };
    await eventually(holds, what, RECOVERY_MS).catch((error: Error) => {
      throw new Error(`${error.message}\n${service.lastWords}`, { cause: error });
    });
  }

  /** Random transactions at the source, one after the other, whatever happens to it meanwhile. */
  async write(random: Random, signal: AbortSignal): Promise<void> {
    await writeChanges(() => this.source, random, signal);
  }

  /** Waits until all that was written has arrived, and holds the target against the oracle. Throws what differs. */
  async judge(): Promise<void> {
    const log = await this.#newLog();
    this.#oracle.take(log);
    const { changes } = this.#oracle;
    await this.until(async () => ((await this.events()) ?? 0) >= changes, `all ${changes} changes arrived`);
    await using sql = await PgConnection.connect({ url: this.target.url() });
    for (const table of TABLES) await judgeTable(sql, table, this.#oracle);
    await judgeHistory(sql, this.#judgedTo);
    await this.#judgeScores(sql);
    await this.#judgeLedger(sql);
    await verifies(this.#config(this.#turn - 1), RECOVERY_MS);
    this.#judgedTo = this.#oracle.lastSeq;
  }

  get changes(): number {
    return this.#oracle.changes;
  }

  get held(): number {
    return this.#oracle.held;
  }

  /** Stops the service as an operator does. */
  async end(): Promise<void> {
    const code = await this.service.stop();
    if (code !== 0) throw new Error(`the service ended with ${code ?? 'a signal'} when it was told to stop:\n${this.service.lastWords}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#cleanup.disposeAsync();
  }

  async #newLog(): Promise<LoggedChange[]> {
    await using sql = await PgConnection.connect({ url: this.source.url() });
    return logAfter(sql, this.#oracle.lastSeq);
  }

  async #judgeScores(sql: PgConnection): Promise<void> {
    const unscored = await sql.query('select id, amount, risk from shop.items where risk is distinct from amount');
    agree('rows with a score that is not theirs', unscored.rows, []);
  }

  async #judgeLedger(sql: PgConnection): Promise<void> {
    const { rows } = await sql.query(`select events, upserts + deletes + truncates + stale + folded + held + dropped, held ${LANE}`);
    const { changes, held } = this.#oracle;
    agree('the ledger: events, their sum, held', rows, [[String(changes), String(changes), String(held)]]);
  }
}

interface Parts {
  readonly source: EmbeddedServer;
  readonly target: EmbeddedServer;
  /** The second has no server yet. */
  readonly toSources: readonly [CutProxy, CutProxy];
  readonly toTarget: CutProxy;
  readonly disk: SmallDisk | null;
  readonly folders: readonly string[];
  readonly cleanup: AsyncDisposableStack;
}

const LANE = "from tidegate.lanes where lane = 'shop/faults'";

export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** Runs statements at a server over a connection of their own. */
export async function run(server: EmbeddedServer, script: string, settings: Readonly<Record<string, string>> = {}): Promise<PgResult[]> {
  await using sql = await PgConnection.connect({ url: server.url(), settings });
  return await sql.script(script);
}

/** One value; null where the server is down, or does not have it. */
export async function ask(server: EmbeddedServer, query: string): Promise<string | null> {
  try {
    await using sql = await PgConnection.connect({ url: server.url(), connectTimeoutMs: 2000 });
    return (await sql.query(query)).rows[0]?.[0] ?? null;
  } catch {
    return null;
  }
}

async function registerModel(url: string, service: ServiceProcess): Promise<void> {
  const isThere = async (): Promise<boolean> => (await fetch(new URL('/healthz', url)).catch(() => null))?.ok === true;
  await eventually(isThere, `the service answers:\n${service.lastWords}`, 60_000);
  const form = new FormData();
  form.set('mapping', JSON.stringify(MAPPING));
  form.set('model', new Blob([new Uint8Array(linearModel([1, 0]))]), 'amount.onnx');
  const answer = await fetch(new URL('/api/models/amount/versions', url), { method: 'POST', body: form });
  if (!answer.ok) throw new Error(`the model was not registered: ${answer.status} ${await answer.text()}`);
}

/** What the source's triggers have noted since. */
export async function logAfter(sql: PgConnection, seq: number): Promise<LoggedChange[]> {
  const { rows } = await sql.query('select seq, tab, op, id, old_id, row from log where seq > $1 order by seq', [seq]);
  return rows.map(([at, table, op, id, oldId, row]) => ({
    seq: Number(at),
    table: table ?? '',
    op: op ?? '',
    id: Number(id),
    oldId: oldId === null || oldId === undefined ? null : Number(oldId),
    row: row === null || row === undefined ? null : (JSON.parse(row) as LoggedChange['row']),
  }));
}

/** Random transactions at the source, one after the other, whatever happens to it meanwhile. */
export async function writeChanges(source: () => EmbeddedServer, random: Random, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    try {
      await using sql = await PgConnection.connect({ url: source().url(), connectTimeoutMs: 2000 });
      while (!signal.aborted) {
        const statements = Array.from({ length: 1 + random.below(6) }, () => change(random));
        await sql.script(`begin; ${statements.join('; ')}; ${random.chance(0.05) ? 'rollback' : 'commit'}`);
        await pause(8);
      }
    } catch {
      // Killed in the middle; whether the last transaction committed is the source's to know.
      await pause(20);
    }
  }
}

function change(random: Random): string {
  const table = TABLES[random.below(TABLES.length)] ?? 'items';
  const id = random.below(IDS);
  const amount = random.chance(0.004) ? -1 : random.below(1000);
  const dice = random.next();
  if (dice < 0.5) {
    const note = random.chance(0.2) ? 5000 : 8;
    const row =
      table === 'items' ? `(id, seq, amount, note) values (${id}, 0, ${amount}, repeat('n', ${note}))` : `values (${id}, 0, ${amount})`;
    return `insert into ${table} ${row} on conflict (id) do update set amount = excluded.amount`;
  }
  if (dice < 0.75) return `update ${table} set amount = ${amount} where id between ${id} and ${id + 20}`;
  if (dice < 0.88) return `delete from ${table} where id = ${id}`;
  const to = random.below(IDS);
  return `update ${table} set id = ${to}, amount = ${amount} where id = ${id} and not exists (select from ${table} where id = ${to})`;
}
