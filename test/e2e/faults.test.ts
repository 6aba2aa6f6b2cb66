/**
 * The service under load while everything around it dies at random moments: kill -9 of the service, of the target's and the source's server,
 * connections cut in the middle, and a process that is stopped until others have taken its lane over, and then goes on. In the end the
 * target is what an oracle makes of the source's own log of changes: nothing lost, doubled or out of order, each held event held once, the ledger closed.
 *
 * FAULT_SEED and FAULT_ROUNDS repeat or widen it.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { type EmbeddedServer, startEmbeddedPostgres } from '../../examples/embedded-postgres.ts';
import { PgConnection } from '../../wire/postgres/connection.ts';
import { eventually } from '../support/eventually.ts';
import { Random } from '../support/random.ts';
import { expectedOf, type LoggedChange } from './oracle.ts';
import { CutProxy } from './proxy.ts';

const SEED = Number(process.env['FAULT_SEED'] ?? 1);
const ROUNDS = Number(process.env['FAULT_ROUNDS'] ?? 20);
const MAIN = join(import.meta.dirname, '../../app/cli/main.ts');

const FAULTS = ['kill service', 'kill target', 'kill source', 'cut target', 'cut source', 'stop and go on'] as const;

const SOURCE_SQL = `
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

const TARGET_SQL = `
  create schema shop;
  create table shop.items (id bigint primary key, seq bigint, amount integer, note text);
  create table shop.marks (id bigint primary key, seq bigint, amount integer);
  create table history (n bigserial primary key, tab text not null, id bigint not null, seq bigint not null);
  create function remember() returns trigger language plpgsql as $$ begin
    insert into public.history (tab, id, seq) values (tg_table_name, new.id, new.seq); return null; end $$;
  create trigger remember after insert or update on shop.items for each row execute function remember();
  create trigger remember after insert or update on shop.marks for each row execute function remember();`;

const rules = (table: string, hold: string): string => `
apiVersion: quality/v1
kind: DatasetRules
dataset: shop.public.${table}
version: 1
hold: ${hold}
columns:
  amount: [{between: {min: 0, max: 1000}}]
`;

function config(source: number, target: number): string {
  return `
version: 1
state: ./tidegate.db
sources:
  shop: {kind: postgres, url: 'postgres://postgres@127.0.0.1:${source}/postgres', slot: faults, publication: faults, tables: [public.items, public.marks]}
targets:
  store: {kind: postgres, url: 'postgres://postgres@127.0.0.1:${target}/postgres', schema: shop}
pipelines:
  faults: {source: shop, target: store, datasets: './*.rules.yaml', batch: {rows: 40}, breaker: {enabled: false}}
http: {port: 0}
`;
}

class Service {
  readonly child: ChildProcess;
  readonly log: string[] = [];
  readonly ended: Promise<void>;

  constructor(folder: string) {
    this.child = spawn(process.execPath, [MAIN, 'run', join(folder, 'tidegate.yaml')], { stdio: ['ignore', 'pipe', 'pipe'] });
    const keep = (chunk: Buffer): void => {
      this.log.push(...chunk.toString().split('\n'));
      if (this.log.length > 500) this.log.splice(0, 250);
    };
    this.child.stdout?.on('data', keep);
    this.child.stderr?.on('data', keep);
    this.ended = new Promise((resolve) => this.child.once('exit', () => resolve()));
  }

  async kill(): Promise<void> {
    this.child.kill('SIGKILL');
    await this.ended;
  }
}

/** Random transactions at the source, one after the other, whatever happens to the server meanwhile. */
async function write(server: EmbeddedServer, random: Random, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    try {
      await using sql = await PgConnection.connect({ url: server.url(), connectTimeoutMs: 2000 });
      while (!signal.aborted) {
        const statements = Array.from({ length: 1 + random.below(6) }, () => change(random));
        await sql.script(`begin; ${statements.join('; ')}; ${random.chance(0.05) ? 'rollback' : 'commit'}`);
        await new Promise((resolve) => setTimeout(resolve, 2));
      }
    } catch {
      // Killed in the middle; whether the last transaction committed is the source's to know.
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }
}

function change(random: Random): string {
  const table = random.chance(0.5) ? 'items' : 'marks';
  const id = random.below(3000);
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
  const to = random.below(3000);
  return `update ${table} set id = ${to}, amount = ${amount} where id = ${id} and not exists (select from ${table} where id = ${to})`;
}

test(`nothing is lost, doubled or out of order through ${ROUNDS} faults (seed ${SEED})`, { timeout: 240_000 + ROUNDS * 5000 }, async () => {
  const random = new Random(SEED);
  await using cleanup = new AsyncDisposableStack();
  const [source, target] = await Promise.all([startEmbeddedPostgres({ wal_sender_timeout: '2s' }), startEmbeddedPostgres()]);
  cleanup.defer(() => source.stop());
  cleanup.defer(() => target.stop());
  await prepare(source, SOURCE_SQL);
  await prepare(target, TARGET_SQL);
  const toSource = await CutProxy.listen(source.port);
  cleanup.use(toSource);
  const toTarget = await CutProxy.listen(target.port);
  cleanup.use(toTarget);
  const folders = [0, 1].map(() => {
    const folder = mkdtempSync(join(tmpdir(), 'tidegate-faults-'));
    cleanup.defer(() => rmSync(folder, { recursive: true, force: true }));
    writeFileSync(join(folder, 'tidegate.yaml'), config(toSource.port, toTarget.port));
    writeFileSync(join(folder, 'items.rules.yaml'), rules('items', 'key'));
    writeFileSync(join(folder, 'marks.rules.yaml'), rules('marks', 'event'));
    return folder;
  });
  let turn = 0;
  const start = (): Service => {
    const started = new Service(folders[turn++ % 2] ?? '');
    cleanup.defer(() => started.kill());
    return started;
  };
  let service = start();
  // Every change is to come by the log: the snapshot of the empty tables first.
  await eventually(
    async () =>
      /^[0-9a-f]{16}(@[0-9a-f]+\.~.*)?$/.test((await ask(target, "select position from tidegate.lanes where lane = 'shop/faults'")) ?? ''),
    'the snapshot is done',
    60_000,
  );
  const stop = new AbortController();
  const writing = write(source, new Random(SEED + 1), stop.signal);
  cleanup.defer(async () => {
    stop.abort();
    await writing;
  });

  const events = async (): Promise<number> =>
    Number((await ask(target, "select sum(events) from tidegate.lanes where lane = 'shop/faults'")) ?? -1);
  const progress = async (rows: number, what: string): Promise<void> => {
    const from = await events();
    await eventually(
      async () => (await events()) >= Math.max(0, from) + rows,
      `the lane moved on ${what}:\n${service.log.slice(-8).join('\n')}`,
      60_000,
    );
  };

  const happened: string[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    await progress(1 + random.below(300), `before round ${round} (seed ${SEED}: ${happened.join(', ')})`);
    const fault = FAULTS[round < FAULTS.length ? round : random.below(FAULTS.length)] ?? 'kill service';
    happened.push(fault);
    await new Promise((resolve) => setTimeout(resolve, random.below(30))); // The moment within a batch.
    if (fault === 'kill service') {
      await service.kill();
      service = start();
    } else if (fault === 'kill target' || fault === 'kill source') {
      const server = fault === 'kill target' ? target : source;
      await server.kill();
      await server.start();
    } else if (fault === 'cut target') toTarget.cut();
    else if (fault === 'cut source') toSource.cut();
    else {
      const old = service;
      old.child.kill('SIGSTOP');
      service = start();
      await progress(1, `with a second instance, while the first is stopped (seed ${SEED}: ${happened.join(', ')})`);
      old.child.kill('SIGCONT');
      await progress(50, `with a first instance that woke up (seed ${SEED}: ${happened.join(', ')})`);
      await old.kill();
    }
  }

  await progress(1, 'after the last fault');
  stop.abort();
  await writing;
  const log = await readLog(source);
  await eventually(
    async () => (await events()) >= log.length,
    `all ${log.length} changes arrived:\n${service.log.slice(-8).join('\n')}`,
    90_000,
  );
  service.child.kill('SIGTERM');
  await service.ended;
  await judge(target, log, `seed ${SEED}: ${happened.join(', ')}`);
});

/** One value; null where the server is down, or does not have it yet. */
async function ask(server: EmbeddedServer, query: string): Promise<string | null> {
  try {
    await using sql = await PgConnection.connect({ url: server.url(), connectTimeoutMs: 2000 });
    return (await sql.query(query)).rows[0]?.[0] ?? null;
  } catch {
    return null;
  }
}

/** The first few rows in which two tables differ, without their long cells. */
function differences(actual: readonly unknown[], expected: readonly unknown[]): string[] {
  const texts = (rows: readonly unknown[]) => new Set(rows.map((row) => JSON.stringify(row)));
  const [ours, theirs] = [texts(actual), texts(expected)];
  const short = (sign: string) => (text: string) => `${sign} ${text.replaceAll(/n{9,}/g, 'n…')}`;
  return [
    ...[...theirs]
      .filter((row) => !ours.has(row))
      .slice(0, 5)
      .map(short('missing')),
    ...[...ours]
      .filter((row) => !theirs.has(row))
      .slice(0, 5)
      .map(short('surplus')),
  ];
}

async function prepare(server: EmbeddedServer, script: string): Promise<void> {
  await using sql = await PgConnection.connect({ url: server.url() });
  await sql.script(script);
}

async function readLog(server: EmbeddedServer): Promise<LoggedChange[]> {
  await using sql = await PgConnection.connect({ url: server.url() });
  const { rows } = await sql.query('select seq, tab, op, id, old_id, row from log order by seq');
  return rows.map(([seq, table, op, id, oldId, row]) => ({
    seq: Number(seq),
    table: table ?? '',
    op: op ?? '',
    id: Number(id),
    oldId: oldId === null || oldId === undefined ? null : Number(oldId),
    row: row === null || row === undefined ? null : (JSON.parse(row) as LoggedChange['row']),
  }));
}

async function judge(server: EmbeddedServer, log: readonly LoggedChange[], what: string): Promise<void> {
  await using sql = await PgConnection.connect({ url: server.url() });
  const expected = expectedOf(log, { items: 'key', marks: 'event' });
  for (const table of ['items', 'marks']) {
    const { rows } = await sql.query(`select to_jsonb(t) from shop.${table} t order by id`);
    const actual = rows.map(([row]) => JSON.parse(row ?? 'null') as unknown);
    expect(differences(actual, expected.rows(table)), `${table} (${what})`).toEqual([]);
    const quarantine = await sql.query(
      `select (row_json ->> 'seq')::bigint from tidegate.quarantine where dataset = $1 and 'amount.between' = any(rules) order by 1`,
      [`shop.public.${table}`],
    );
    expect(
      quarantine.rows.map(([seq]) => Number(seq)),
      `held of ${table} (${what})`,
    ).toEqual(expected.bad(table));
  }
  const doubled = await sql.query('select tab, seq, count(*) from history group by 1, 2 having count(*) > 1');
  expect(doubled.rows, `changes written twice (${what})`).toEqual([]);
  const disordered = await sql.query(
    'select * from (select tab, id, seq, lag(seq) over (partition by tab, id order by n) as before from history) h where before >= seq',
  );
  expect(disordered.rows, `changes of one key out of order (${what})`).toEqual([]);
  const ledger = await sql.query(
    "select events, upserts + deletes + truncates + stale + folded + held + dropped, held from tidegate.lanes where lane = 'shop/faults'",
  );
  expect(ledger.rows[0], `the ledger (${what})`).toEqual([String(log.length), String(log.length), String(expected.held)]);
}
