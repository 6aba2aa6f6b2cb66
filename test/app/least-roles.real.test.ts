/** The service and every command with roles that have the privileges in the docs, and no others. */
import { randomBytes } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, inject, test } from 'vitest';
import { loadCommands } from '../../app/cli/cli.ts';
import { freePort } from '../../examples/embedded-postgres.ts';
import { PgConnection } from '../../wire/postgres/connection.ts';
import { linearModel, plainMapping } from '../inference/models.ts';
import { createDatabase, type TestDatabase } from '../support/databases.ts';
import { eventually } from '../support/eventually.ts';
import { LEAST, sqlOfDocs } from '../support/grants.ts';
import { ruleFile } from '../support/rules.ts';
import { cli, type CliRun } from './cli.ts';
import { ask, configFolder, startService, type TestConfig, untilReady } from './services.ts';

/** Reads topics alone. */
const NOT_OURS = ['quarantine import'];
const ORDERS = 'shop.public.orders';
const EVOLUTION = 'schema: {evolution: {add: hold}}';

const role = randomBytes(5).toString('hex');
const reader = `reader_${role}`;
const writer = `writer_${role}`;
const publication = `publication_${role}`;
const ran = new Set<string>(['run']);
let names: readonly string[];
let source: TestDatabase;
let target: TestDatabase;
let sql: PgConnection;
let lake: PgConnection;
let config: TestConfig;
let running: Awaited<ReturnType<typeof startService>> | null = null;

/** The database of these for this role. */
const as = (url: string, name: string): string => Object.assign(new URL(url), { username: name, password: 'least' }).href;
const nothingForPublic = ({ name }: TestDatabase): string =>
  `revoke all on database "${name}" from public; revoke all on schema public from public`;

beforeAll(async () => {
  names = (await loadCommands()).map(({ name }) => name);
  [source, target] = await Promise.all([createDatabase(inject('sourceServer'), 'least'), createDatabase(inject('targetServer'), 'least')]);
  sql = await PgConnection.connect({ url: source.url });
  lake = await PgConnection.connect({ url: target.url });
  const tables = (schema: string): string =>
    `create table ${schema}.orders (id bigint primary key, amount int, note text, at timestamptz default now());
     create table ${schema}.customers (id bigint primary key, name text);`;
  const atSource = { tidegate_reader: reader, shop: `"${source.name}"`, tidegate_shop: publication };
  const atTarget = { tidegate_writer: writer, warehouse: `"${target.name}"` };
  const [mayRead = ''] = await sqlOfDocs('slots.md', LEAST, atSource);
  const [mayWrite = ''] = await sqlOfDocs('postgres-target.md', LEAST, atTarget);
  await sql.script(`${nothingForPublic(source)}; ${tables('public')} ${mayRead}; alter role ${reader} password 'least'; alter table orders replica identity full;
    insert into orders select n, n, 'note ' || n from generate_series(1, 300) n; insert into customers select n, 'name ' || n from generate_series(1, 50) n`);
  await lake.script(
    `${nothingForPublic(target)}; create schema shop; ${tables('shop')} ${mayWrite}; alter role ${writer} password 'least'`,
  );
  const atReader = as(source.url, reader);
  config = configFolder(
    {
      sources: {
        shop: { kind: 'postgres', url: atReader, slot: source.name, publication, tables: ['public.orders', 'public.customers'] },
      },
      targets: { lake: { kind: 'postgres', url: as(target.url, writer), schema: 'shop', tables: { create: false, widen: false } } },
      http: { port: await freePort() },
    },
    {
      'orders.rules.yaml': `${ruleFile('orders', 'key', 'amount: [{id: small, between: {max: 1000}}, {mean: {between: [0, 500]}}]')}${EVOLUTION}
source: {event_time: after.at}
defaults: {window: {every: 1m, lateness: 1m}}
slo: [{objective: 90}]
`,
      'customers.rules.yaml': `${ruleFile('customers', 'event', 'name: [not_null]')}${EVOLUTION}\n`,
    },
  );
});

afterAll(async () => {
  await running?.[Symbol.asyncDispose]();
  config?.[Symbol.dispose]();
  await Promise.all([sql?.close(), lake?.close()]);
  await Promise.all([source?.[Symbol.asyncDispose](), target?.[Symbol.asyncDispose]()]);
  for (const [server, name] of [
    ['sourceServer', reader],
    ['targetServer', writer],
  ] as const) {
    await using admin = await PgConnection.connect({ url: inject(server) });
    await admin.script(`drop role if exists ${name}`);
  }
});

/** A command that is to answer with this code; its JSON. */
async function says(code: number, ...args: readonly string[]): Promise<CliRun> {
  const name = names.find((one) => args.slice(0, one.split(' ').length).join(' ') === one);
  if (name === undefined) throw new Error(`${args.join(' ')} is no command`);
  ran.add(name);
  const words = args.slice(0, name.split(' ').length);
  const rest = args.slice(words.length);
  const done = await cli(...words, ...(takesConfig(name) ? [config.file] : []), ...rest, '--json');
  expect([args, done.code, done.stderr || done.stdout.slice(0, 2000)]).toEqual([args, code, expect.anything()]);
  expect(done.stdout).not.toMatch(/permission denied|must be (?:owner|superuser)/);
  return done;
}
const takesConfig = (name: string): boolean =>
  !['init', 'judge', 'version'].includes(name) && !/^schema (?:diff|config|rules|mapping)$/.test(name);
const file = (name: string, text: string | Uint8Array): string => {
  const path = join(config.folder, name);
  writeFileSync(path, text);
  return path;
};
const countOf = async (table: string, where = 'true'): Promise<number> =>
  Number((await lake.query(`select count(*) from ${table} where ${where}`)).rows[0]?.[0]);
const isEqual = async (): Promise<void> => {
  expect((await says(0, 'verify', '--wait', '10s')).json).toMatchObject({ equal: true });
};

test('before there is a service: looking at the tables, and the config', async () => {
  const urls = ['--source', as(source.url, reader), '--target', as(target.url, writer)];
  await says(0, 'init', ...urls, '--out', join(config.folder, 'made'), '--name', 'shop');
  const checked = await says(0, 'check');
  expect((checked.json as { problems: { severity: string }[] }).problems.filter(({ severity }) => severity === 'error')).toEqual([]);
  await says(0, 'profile', ORDERS);
  await says(0, 'reference', ORDERS, '--column', 'amount');
  await says(0, 'models', 'register', 'm', file('m.onnx', linearModel([1, 2])), '--mapping', file('m.json', JSON.stringify(plainMapping)));
  await says(0, 'models', 'list');
});

test('the service copies, follows and holds', async () => {
  running = await startService(config);
  await untilReady(running.url);
  await sql.script(`update orders set amount = 5000 where id in (7, 8); delete from orders where id = 9; insert into orders values (400, 1, 'new'),
    (401, 6000, 'held'); update customers set id = id + 1000 where id < 5; truncate customers; insert into customers values (1, 'one'), (2, null)`);
  await eventually(async () => (await countOf('tidegate.quarantine')) === 4, 'four are held');
  await eventually(
    async () => (await countOf('shop.customers')) === 1 && (await countOf('shop.orders', 'id = 400')) === 1,
    'the rest is in',
  );
  for (const command of ['status', 'lanes', 'rules', 'reload', 'slo']) await says(0, command);
  await says(0, 'windows', 'list');
  await says(0, 'windows', 'lots');
  // Nothing of it is held: it has no lots.
  await says(2, 'windows', 'resume', ORDERS);
  await isEqual();
});

test('what is held is listed, shown, given up and released', async () => {
  const { items } = (await says(0, 'quarantine', 'list')).json as { items: { id: string; key: string }[] };
  const idOf = (key: string): string => items.find((item) => item.key === key)?.id ?? '';
  await says(0, 'quarantine', 'show', idOf('401'));
  await says(1, 'backtest', '--rules', file('looser.yaml', ruleFile('orders', 'key', 'amount: [{id: small, between: {max: 5500}}]')));
  writeFileSync(
    join(config.folder, 'orders.rules.yaml'),
    ruleFile('orders', 'key', 'amount: [{id: small, between: {max: 5500}}]') + EVOLUTION,
  );
  await says(0, 'reload');
  await says(0, 'quarantine', 'release', idOf('7'), '--dry-run');
  await says(0, 'quarantine', 'release', idOf('7'), idOf('8'));
  await eventually(async () => (await countOf('shop.orders', 'amount = 5000')) === 2, 'they are in');
  await says(0, 'quarantine', 'discard', idOf('401'), '--why', 'a test');
  await isEqual();
});

test('rows are read again, and what was made different at the target is found and mended', async () => {
  await says(0, 'snapshot', 'pause');
  await lake.script(
    `delete from shop.orders where id between 20 and 29; update shop.orders set note = 'other' where id = 30; insert into shop.orders values (999, 1)`,
  );
  const { id } = (await says(0, 'resnapshot', 'main', ORDERS, '--where', 'id between 20 and 25')).json as { id: string };
  await says(0, 'snapshot', 'resume');
  await eventually(async () => {
    const { rereads } = (await says(0, 'snapshot', 'status')).json as { rereads: { id: string; state: string }[] };
    return rereads.every((one) => one.id !== id || one.state === 'done');
  }, 'they are read');
  await says(0, 'resnapshot', 'main', ORDERS, '--keys', '26');
  await eventually(async () => (await countOf('shop.orders', 'id between 20 and 29')) === 7, 'they are back');
  expect((await says(1, 'verify', '--wait', '10s')).json).toMatchObject({ equal: false });
  expect((await says(0, 'verify', '--repair', '--wait', '10s')).json).toMatchObject({ equal: true });
  expect(await countOf('shop.orders', 'id between 20 and 30 or id = 999')).toBe(11);
});

test('a pipeline is halted and goes on', async () => {
  await says(0, 'halt', '--why', 'a test');
  await sql.script(`insert into orders values (402, 1, 'while it stood')`);
  await says(0, 'resume');
  await eventually(async () => (await countOf('shop.orders', 'id = 402')) === 1, 'it has gone on');
});

test('a change of a table waits, is rejected, and is approved once the owner has made it', async () => {
  await sql.script(`alter table customers add since int; insert into customers values (3, 'three', 2026)`);
  type Listed = { readonly changes: readonly { readonly id: string; readonly dataset: string }[] };
  const list = async (code: number): Promise<string | undefined> => ((await says(code, 'schema', 'list')).json as Listed).changes[0]?.id;
  await eventually(async () => (await countOf('tidegate.schema_changes')) === 1, 'it waits');
  const id = (await list(1)) ?? '';
  await says(0, 'schema', 'reject', id, '--why', 'not yet');
  const { statements } = (await says(0, 'schema', 'show', id)).json as { statements: readonly string[] };
  // The role does not own the table: the owner runs what `show` says.
  const refused = await cli('schema', 'approve', config.file, id, '--json');
  expect([refused.code, refused.json]).toEqual([1, { ok: false, error: expect.objectContaining({ code: 'TARGET_SCHEMA' }) as unknown }]);
  expect(await countOf('shop.customers', 'id = 3')).toBe(0);
  await lake.script(statements.join('; '));
  await says(0, 'schema', 'approve', id);
  await eventually(async () => (await countOf('shop.customers', 'since = 2026')) === 1, 'it goes on');
  expect(await list(0)).toBeUndefined();
  await isEqual();
});

test('a place that is lost is made good', async () => {
  await running?.[Symbol.asyncDispose]();
  await sql.query('select pg_drop_replication_slot($1)', [source.name]);
  await sql.script(
    `delete from orders where id = 40; update orders set note = 'lost' where id = 41; insert into orders values (403, 1, 'lost')`,
  );
  running = await startService(config);
  const { url } = running;
  await eventually(async () => /SOURCE_POSITION_LOST/.test((await ask(url, '/api/status')).text), 'it is halted', 30_000);
  expect((await says(0, 'recover', '--wait', '10s')).json).toMatchObject({ isWhole: true });
  await isEqual();
});

test('teardown drops the slot, and says what the owner of the publication runs', async () => {
  await running?.[Symbol.asyncDispose]();
  running = null;
  const owner = (await sql.query('select pubowner::regrole::text from pg_publication')).rows[0]?.[0];
  const statement = `drop publication if exists "${publication}";`;
  const left = [{ source: 'shop', publication, owner, statement }];
  const { json } = await says(0, 'teardown', '--yes');
  expect(json).toEqual({ dropped: [{ source: 'shop', slot: source.name, publication: null }], left, failed: [] });
  expect((await sql.query('select from pg_replication_slots where slot_name = $1', [source.name])).rows).toEqual([]);
  const words = await cli('teardown', config.file, '--yes');
  expect([words.code, words.stdout]).toEqual([
    0,
    `shop: slot ${source.name} is gone.\nshop: publication ${publication} stays, for it belongs to ${owner}. It keeps no log. To be rid of it, ${owner} runs:\n    ${statement}\n`,
  ]);
  await sql.script(statement);
  expect((await says(0, 'teardown', '--yes')).json).toEqual({
    dropped: [{ source: 'shop', slot: source.name, publication }],
    left: [],
    failed: [],
  });
});

test('commands that ask no database work as ever, and each command was run', async () => {
  const csv = file('orders.csv', 'id,amount\n1,2\n');
  await says(0, 'judge', '--rules', file('judged.yaml', ruleFile('orders', 'event', 'amount: [not_null]')), '--input', csv);
  const schema = file('a.json', '{"type": "object", "properties": {"id": {"type": "integer"}}}');
  await says(0, 'schema', 'diff', '--from', schema, '--to', schema, '--format', 'json');
  for (const name of ['schema config', 'schema rules', 'schema mapping', 'version']) await says(0, ...name.split(' '));
  expect(names.filter((name) => !ran.has(name)).toSorted()).toEqual(NOT_OURS);
});
