/** As whom the target is written: with the least privileges, among triggers and foreign keys, as a client or as a replica. */
import { randomBytes } from 'node:crypto';
import { expect, inject, test } from 'vitest';
import { Batch } from '../../core/batch.ts';
import { type ChangeEvent, type Dataset, type DatasetName, type LaneId, type Position, ValueRow, type Version } from '../../core/event.ts';
import { runPipeline } from '../../core/pipeline.ts';
import { type PostgresSinkOptions, postgresSink, probePostgresTables, probePostgresTarget } from '../../sync/postgres/sink.ts';
import { PgConnection } from '../../wire/postgres/connection.ts';
import { createDatabase } from '../support/databases.ts';
import { LEAST, sqlOfDocs } from '../support/grants.ts';
import { Random } from '../support/random.ts';
import { batchOf, batchSource, DATASET, gate, insertOf, Shop } from './shop.ts';

const server = inject('targetServer');
const never = new AbortController().signal;
const TABLE = 'create schema shop; create table shop.items (id bigint primary key, n integer, note text)';

const claimsOf = (road: string): NonNullable<PostgresSinkOptions['claims']> => ({
  road: road as LaneId,
  hasDataset: () => true,
  takesOver: [],
});

const optionsOf = (url: string, more: Partial<PostgresSinkOptions> = {}): PostgresSinkOptions => ({
  name: 'store',
  url,
  schema: 'shop',
  tables: { create: false, widen: false },
  hold: () => 'key',
  scores: [],
  pipeline: 'p',
  claims: claimsOf('shop/slot'),
  ...more,
});

async function withRole(
  work: (parts: { url: string; role: string; admin: PgConnection; replica: string }) => Promise<void>,
): Promise<void> {
  await using database = await createDatabase(server, 'least');
  await using admin = await PgConnection.connect({ url: database.url });
  const role = `least_${randomBytes(5).toString('hex')}`;
  const [least = '', replica = ''] = await sqlOfDocs('postgres-target.md', LEAST, {
    tidegate_writer: role,
    warehouse: `"${database.name}"`,
  });
  await admin.script(`revoke all on database "${database.name}" from public; revoke all on schema public from public; ${TABLE}; ${least}`);
  const password = new URL(server).password;
  if (password !== '') await admin.script(`alter role ${role} password '${password}'`);
  const url = new URL(database.url);
  url.username = role;
  try {
    await work({ url: url.href, role, admin, replica });
  } finally {
    await admin.script(`reassign owned by ${role} to current_user; drop owned by ${role} cascade; drop role ${role}`);
  }
}

test('policies and rules that keep rows from being written in silence are told before', async () => {
  await withRole(async ({ url, role, admin }) => {
    await admin.script(`alter table shop.items enable row level security; create policy own on shop.items to ${role} using (n <> 3) with check (true);
      create rule keep as on delete to shop.items do instead nothing`);
    const told = async (options: PostgresSinkOptions) =>
      (await probePostgresTables(options, [DATASET])).map(
        ({ severity, message }) => `${severity}: ${message.slice(0, message.indexOf('"'))}`,
      );
    expect(await told(optionsOf(url))).toEqual(['warning: policies hold on ', 'warning: the rules keep on ']);
    expect(await told({ ...optionsOf(url), replicationRole: 'replica' })).toEqual(['warning: policies hold on ']);
    await admin.script(`alter role ${role} bypassrls; drop rule keep on shop.items`);
    expect(await told(optionsOf(url))).toEqual([]);
  });
});

test('a role with the privileges in the docs, and no others, does all the work', async () => {
  const seed = 1;
  const random = new Random(seed);
  const shop = new Shop(random, 'encoded', { moves: true, partial: true, truncates: true, keys: 200 });
  const batches = Array.from({ length: 8 }, () => {
    const events = Array.from({ length: 40 }, () => shop.transaction()).flat();
    return batchOf(events, shop.place);
  });
  await withRole(async ({ url, admin }) => {
    const options = optionsOf(url);
    expect([...(await probePostgresTarget(options)), ...(await probePostgresTables(options, [DATASET]))]).toEqual([]);
    await using sink = await postgresSink(options);
    await runPipeline({ source: batchSource(batches), stages: [gate(new Map())], sink }, { drain: never, abort: never });
    const { rows } = await admin.query('select id, n, note from shop.items order by id');
    const expected = [...shop.rows.values()].sort(([a], [b]) => a - b);
    expect(rows, `seed ${seed}`).toEqual(expected.map(([id, n, note]) => [String(id), n === null ? null : String(n), note]));
  });
});

test.each(['insert', 'update', 'delete'])(
  'the right to %s is taken away in flight: the lane says so, holds no row, and goes on once it is given again',
  async (right) => {
    const shop = new Shop(new Random(7), 'encoded', { moves: true, partial: true, truncates: false, keys: 50 });
    const batches = Array.from({ length: 6 }, () => {
      const events = Array.from({ length: 30 }, () => shop.transaction()).flat();
      return batchOf(events, shop.place);
    });
    await withRole(async ({ url, role, admin }) => {
      await using sink = await postgresSink(optionsOf(url));
      const run = (source: ReturnType<typeof batchSource>) => runPipeline({ source, stages: [], sink }, { drain: never, abort: never });
      await run(batchSource(batches.slice(0, 2)));
      await admin.script(`revoke ${right} on shop.items from ${role}`);
      await expect(run(batchSource(batches))).rejects.toMatchObject({ code: 'TARGET_PRIVILEGE' });
      await admin.script(`grant ${right} on shop.items to ${role}`);
      await using again = await postgresSink(optionsOf(url));
      await runPipeline({ source: batchSource(batches), stages: [], sink: again }, { drain: never, abort: never });
      const { rows } = await admin.query('select id, n, note from shop.items order by id');
      const expected = [...shop.rows.values()].sort(([a], [b]) => a - b);
      expect(rows).toEqual(expected.map(([id, n, note]) => [String(id), n === null ? null : String(n), note]));
      expect((await admin.query('select from tidegate.quarantine')).rows).toEqual([]);
    });
  },
);

test('a process that has the number of a lane’s old session is not taken for it, where the role may not see when it began', async () => {
  await withRole(async ({ url, admin }) => {
    const run = async (road: string): Promise<void> => {
      await using sink = await postgresSink(optionsOf(url, { claims: claimsOf(road) }));
      const lease = await sink.acquire(road as LaneId);
      const batch = new Batch([insertOf(1, 1, '1'.padStart(16, '0'))], { lane: road as LaneId, position: '1' as Position });
      expect((await sink.apply(batch, [], lease, never)).kind).toBe('applied');
    };
    await run('shop/slot');
    await admin.script(`update tidegate.lanes set backend_pid = pg_backend_pid() where lane = 'shop/slot'`);
    await run('shop/next');
    expect((await admin.query('select road from tidegate.table_claims')).rows).toEqual([['shop/next']]);
  });
});

test('each privilege that is missing is named, with the statement that grants it', async () => {
  await withRole(async ({ url, role, admin, replica }) => {
    const options = optionsOf(url);
    const check = async (more: Partial<PostgresSinkOptions> = {}): Promise<void> => {
      const all = { ...options, ...more };
      const found = await probePostgresTarget(all);
      const problems = [...found, ...(found.length > 0 ? [] : await probePostgresTables(all, [DATASET]))];
      expect(problems).toHaveLength(1);
      const [statement] = /(?<=Run on the target: ).*;$/.exec(problems[0]?.fix ?? '') ?? [''];
      await admin.script(statement.replace('database …', `database "${new URL(url).pathname.slice(1)}"`));
      expect([...(await probePostgresTarget(all)), ...(await probePostgresTables(all, [DATASET]))]).toEqual([]);
    };
    for (const one of ['select', 'insert', 'update', 'delete', 'truncate']) {
      await admin.script(`revoke ${one} on shop.items from ${role}`);
      await check();
    }
    await admin.script(`revoke usage on schema shop from ${role}`);
    await check();
    await admin.script(`revoke temporary on database "${new URL(url).pathname.slice(1)}" from ${role}`);
    await check();
    await admin.script('alter table shop.items drop constraint items_pkey');
    await check();
    const version = Number((await admin.query('show server_version_num')).rows[0]?.[0]);
    if (version < 150_000) return;
    await check({ replicationRole: 'replica' });
    await admin.script(`revoke set on parameter session_replication_role from ${role}`);
    await admin.script(replica);
    expect(await probePostgresTarget({ ...options, replicationRole: 'replica' })).toEqual([]);
    await using sink = await postgresSink({ ...options, replicationRole: 'replica' });
    await sink.acquire('shop/slot' as Parameters<typeof sink.acquire>[0]);
    await admin.script(`revoke set on parameter session_replication_role from ${role}`);
  });
});

const PARENTS: Dataset = { ...DATASET, name: 'shop.public.parents' as DatasetName };
const CHILDREN: Dataset = {
  name: 'shop.public.children' as DatasetName,
  version: 1,
  columns: [
    { name: 'id', type: 'integer', native: 'bigint', nullable: false },
    { name: 'parent', type: 'integer', native: 'bigint', nullable: true },
  ],
  key: [0],
};

function family(version: string, ...rows: readonly (readonly ['parent', number] | readonly ['child', number, number])[]) {
  const events = rows.map(([kind, id, parent = null], ordinal) => ({
    op: 'insert',
    dataset: kind === 'parent' ? PARENTS : CHILDREN,
    before: null,
    after: kind === 'parent' ? new ValueRow(id, 1, 'x') : new ValueRow(id, parent),
    key: String(id),
    movedFrom: null,
    version: version as Version,
    ordinal,
    committedAtMs: 0,
  }));
  return batchOf(events as ChangeEvent[], version as Position); // By construction rows are what an insert has.
}

/** Children come before their parents, as a source with deferred keys sends them; the last one's parent never comes. */
const families = () => [
  family('01', ['parent', 1], ['child', 10, 1], ['child', 20, 2], ['parent', 2]),
  family('02', ['child', 30, 3], ['parent', 3]),
  family('03', ['child', 90, 9], ['parent', 4], ['child', 40, 4]),
];

test.each([
  ['as a client, each row is checked as it is written', {}, ['10', '20', '40'], ['30', '90'], 7],
  ['deferred, each batch as a whole', { deferConstraints: true }, ['10', '20', '30', '40'], ['90'], 8],
  ['as a replica, nothing is, and no trigger fires', { replicationRole: 'replica' }, ['10', '20', '30', '40', '90'], [], 0],
] as const)('foreign keys and triggers: %s', async (_, options, children, held, fired) => {
  await using database = await createDatabase(server, 'keys');
  await using sql = await PgConnection.connect({ url: database.url });
  await sql.script(`create schema shop; create table shop.parents (id bigint primary key, n integer, note text);
    create table shop.children (id bigint primary key, parent bigint references shop.parents deferrable);
    create table shop.fired (n int); create function shop.fire() returns trigger language plpgsql as $$ begin insert into shop.fired values (1); return null; end $$;
    create trigger fire after insert on shop.parents for each row execute function shop.fire();
    create trigger fire after insert on shop.children for each row execute function shop.fire()`);
  await using sink = await postgresSink(optionsOf(database.url, { ...options, hold: () => 'event' }));
  await runPipeline({ source: batchSource(families()), stages: [], sink }, { drain: never, abort: never });
  const column = async (of: string): Promise<unknown> => (await sql.query(of)).rows.map(([cell]) => cell);
  expect(await column('select id from shop.children order by id')).toEqual(children);
  expect(await column('select id from shop.parents order by id')).toEqual(['1', '2', '3', '4']);
  const items = await sink.quarantine.find({ limit: 10 });
  expect(items.map(({ event }) => event.key).sort()).toEqual(held);
  expect(items.every(({ findings }) => findings.every(({ rule }) => rule === 'target.23503'))).toBe(true);
  expect(await column('select count(*) from shop.fired')).toEqual([String(fired)]);
});
