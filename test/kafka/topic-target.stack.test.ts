/** Topics as a target: from a real database to a real broker, what the records say, and what becomes of them behind it. */
import { randomBytes } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, inject, test } from 'vitest';
import { jdbcSink } from '../../examples/stack/jdbc-sink.ts';
import { type Format, mustRun, putConnector, removeConnector } from '../../examples/stack/debezium.ts';
import { PgConnection } from '../../wire/postgres/connection.ts';
import { cli } from '../app/cli.ts';
import { ask, configFolder, post, startService, untilReady } from '../app/services.ts';
import { createDatabase, type TestDatabase } from '../support/databases.ts';
import { eventually } from '../support/eventually.ts';
import { ruleFile } from '../support/rules.ts';
import { stack } from './support.ts';
import { readTopic, type SeenRecord } from './topics.ts';

const RULES = ruleFile('orders', 'event', 'status: [{id: known-status, in_set: [new, paid]}]');
const COLUMNS = 'select id, status, total, note, at, day, done, tags, raw from';

let source: TestDatabase;
let store: TestDatabase;
let sql: PgConnection;
let kept: PgConnection;

beforeEach(async () => {
  [source, store] = await Promise.all([createDatabase(inject('sourceServer'), 'topic'), createDatabase(inject('targetServer'), 'topic')]);
  [sql, kept] = await Promise.all([PgConnection.connect({ url: source.url }), PgConnection.connect({ url: store.url })]);
  await sql.script(`create table orders (id bigint primary key, status text not null, total numeric(10,2), note text, at timestamptz,
    day date, done boolean, tags text[], raw bytea)`);
});
afterEach(async () => {
  await Promise.all([sql.close(), kept.close()]);
  await Promise.all([source[Symbol.asyncDispose](), store[Symbol.asyncDispose]()]);
});

const nameOfItsOwn = (): string => `t${randomBytes(4).toString('hex')}`;

/** From public.orders to a topic of the test's own, and, where it is asked for, from there to the table lake.orders. */
function configOf(prefix: string, bus: Readonly<Record<string, unknown>>, back: Readonly<Record<string, unknown>> | null = null) {
  const target = { kind: 'kafka', brokers: [stack.broker], store: store.url, topic: `${prefix}.{schema}.{table}`, ...bus };
  const database = { kind: 'postgres', url: source.url, slot: source.name, publication: 'topic', tables: ['public.orders'] };
  const topics = { kind: 'kafka', brokers: [stack.broker], group: `g-${prefix}`, prefix, tables: ['public.orders'], ...back };
  return configFolder(
    {
      sources: { shop: database, ...(back === null ? {} : { again: topics }) },
      targets: { bus: target, lake: { kind: 'postgres', url: store.url, schema: 'lake' } },
      pipelines: {
        main: { source: 'shop', target: 'bus', datasets: './*.rules.yaml' },
        ...(back === null ? {} : { back: { source: 'again', target: 'lake' } }),
      },
    },
    { 'orders.rules.yaml': RULES },
  );
}

const payload = ({ value }: SeenRecord): Record<string, Record<string, unknown> | null> =>
  (JSON.parse(value ?? '{}') as { payload: Record<string, Record<string, unknown> | null> }).payload;
const told = (record: SeenRecord): unknown[] => {
  const key = (JSON.parse(record.key ?? '{}') as { payload?: { id: number } }).payload?.id ?? null;
  if (record.value === null) return [key, null];
  const { op, before, after } = payload(record);
  return [key, op, before?.['status'] ?? null, after?.['status'] ?? null];
};

test('every change is in its topic as Debezium writes it, in the order of its row; what is held comes when it is released, unless it was outrun', async () => {
  const prefix = nameOfItsOwn();
  await sql.script(
    `insert into orders select n, 'new', n / 100.0, 'note', now(), current_date, true, '{a,b}', '\\x01' from generate_series(1, 3) n`,
  );
  using config = configOf(prefix, { partitions: 3, retention: '1h' });
  await using running = await startService(config);
  await untilReady(running.url);
  await using reader = await readTopic(stack.broker, `${prefix}.public.orders`);
  await sql.script("update orders set status = 'paid' where id = 1");
  await sql.script('update orders set id = 20 where id = 2');
  await sql.script('delete from orders where id = 3');
  await sql.script("insert into orders (id, status) values (4, 'odd'), (5, 'odd'), (6, 'new')");
  await sql.script("delete from orders where id = 5; insert into orders (id, status) values (5, 'new')");
  await eventually(() => Promise.resolve(reader.records.length >= 13), 'the records are there', 30_000);
  const of = (...ids: number[]) => reader.records.map(told).filter(([key]) => ids.includes(Number(key)));
  expect([of(1), of(2), of(20), of(3), of(6)]).toEqual([
    [
      [1, 'r', null, 'new'],
      [1, 'u', null, 'paid'],
    ],
    [
      [2, 'r', null, 'new'],
      [2, 'd', '', null], // What Debezium makes up for a column that cannot be null.
      [2, null],
    ],
    [[20, 'c', null, 'new']],
    [
      [3, 'r', null, 'new'],
      [3, 'd', '', null],
      [3, null],
    ],
    [[6, 'c', null, 'new']],
  ]);
  const moved = reader.records.filter(({ headers }) => Object.keys(headers).some((name) => name.startsWith('__debezium.')));
  expect(new Map(moved.map((record) => [told(record)[0], Object.keys(record.headers)]))).toEqual(
    new Map([
      [2, ['__debezium.newkey']],
      [20, ['__debezium.oldkey']],
    ]),
  );
  const { rows: items } = await kept.query("select id, key from tidegate.quarantine where status = 'held' order by key");
  expect(items.map(([, key]) => key)).toEqual(['4', '5']);
  // Once the rule lets them, 4 comes; 5 was deleted and made anew since, and what is in its topic is newer.
  writeFileSync(
    join(config.folder, 'orders.rules.yaml'),
    RULES.replace('[new, paid]', '[new, paid, odd]').replace('version: 1', 'version: 2'),
  );
  expect((await post(running.url, '/api/pipelines/main/rules/reload', {})).status).toBe(200);
  expect((await post(running.url, '/api/quarantine/release', { ids: items.map(([id]) => id) })).status).toBe(200);
  const open = "select count(*) from tidegate.quarantine where status in ('held', 'released')";
  await eventually(async () => (await kept.query(open)).rows[0]?.[0] === '0', 'both are settled', 30_000);
  const { rows: settled } = await kept.query('select key, status from tidegate.quarantine order by key');
  expect(settled).toEqual([
    ['4', 'applied'],
    ['5', 'superseded'],
  ]);
  await eventually(() => Promise.resolve(of(4).length === 1), 'what was released is there', 30_000);
  expect([of(4), of(5)]).toEqual([
    [[4, 'c', null, 'odd']],
    [
      [5, 'd', '', null],
      [5, null],
      [5, 'c', null, 'new'],
    ],
  ]);
  const lanes = (await ask(running.url, '/api/lanes')).json as { lanes: { closed: boolean }[] };
  expect(lanes.lanes.map(({ closed }) => closed)).toEqual([true, true]);
  const { json } = await cli('check', config.file, '--json');
  expect(json).toMatchObject({ ok: true });
  const metrics = await (await fetch(`${running.url}/metrics`)).text();
  const labels = `{pipeline="main",topic="${prefix}.public.orders"}`;
  expect(metrics).toContain(`tidegate_topic_records_total${labels} ${reader.records.length}\n`);
  expect(Number(new RegExp(`^tidegate_topic_bytes_total\\${labels} (\\d+)$`, 'm').exec(metrics)?.[1])).toBeGreaterThan(1000);
  expect(metrics).toMatch(/^tidegate_produce_seconds_count\{pipeline="main"\} [1-9]/m);
});

/** Also the one that the table is given later. */
const DECLARED = {
  id: 'bigint',
  status: 'text',
  total: 'numeric(10,2)',
  note: 'text',
  at: 'timestamptz',
  day: 'date',
  done: 'boolean',
  tags: 'text[]',
  raw: 'bytea',
  more: 'int',
};

const FORMATS: Readonly<Record<Format, readonly [bus: Readonly<Record<string, unknown>>, back: Readonly<Record<string, unknown>>]>> = {
  json: [{}, {}],
  flat: [{ schemas: false }, { columns: { 'public.orders': DECLARED } }],
  avro: [{ format: 'avro', registry: { url: stack.ccompatUrl } }, { registry: { url: stack.ccompatUrl } }],
};

test.each(['json', 'flat', 'avro'] as const)(
  'by its topics in %s another pipeline brings the same rows to a database, and follows a table that changes',
  async (format) => {
    const prefix = nameOfItsOwn();
    await sql.script(
      `insert into orders select n, 'new', n / 7.0, repeat('é', n), now(), current_date - n, n % 2 = 0, array['a,b', null], '\\x00ff' from generate_series(1, 50) n`,
    );
    await sql.script("insert into orders (id, status) values (9007199254740993, 'new'), (-1, 'paid')");
    const [bus, back] = FORMATS[format];
    using config = configOf(prefix, bus, back);
    await using running = await startService(config);
    await untilReady(running.url);
    await sql.script(`update orders set note = repeat('x', 5000) where id <= 10; update orders set total = total + 1 where id <= 20;
      delete from orders where id between 30 and 35; update orders set id = id + 1000 where id between 40 and 45`);
    const areSame = (columns: string) => async (): Promise<boolean> => {
      const [here, there] = await Promise.all([
        sql.query(`${columns} orders order by id`),
        kept.query(`${columns} lake.orders order by id`).catch(() => ({ rows: [] })),
      ]);
      return here.rows.length > 0 && JSON.stringify(here.rows) === JSON.stringify(there.rows);
    };
    await eventually(areSame(COLUMNS), 'the rows are the same', 30_000);
    await sql.script("alter table orders add column more int; insert into orders (id, status, more) values (5000, 'new', 7)");
    await eventually(areSame('select id, status, more from'), 'the new column is there', 30_000);
    await sql.script('truncate orders');
    await eventually(async () => (await kept.query('select count(*) from lake.orders')).rows[0]?.[0] === '0', 'nothing is left', 30_000);
  },
);

test.each(['json', 'avro'] as const)('Debezium’s JDBC sink makes of its topics in %s the rows that the source has', async (format) => {
  const prefix = nameOfItsOwn();
  await sql.script(
    `insert into orders select n, 'new', n / 7.0, 'é', date_trunc('ms', now()), current_date - n, n % 2 = 0, array['a,b', null, 'é'], '\\x00ff' from generate_series(1, 50) n`,
  );
  // Java's clients read what is compressed here.
  using config = configOf(prefix, { ...FORMATS[format][0], compression: format === 'json' ? 'lz4' : 'zstd' });
  await using running = await startService(config);
  await untilReady(running.url);
  await sql.script(`update orders set note = null where id <= 10; delete from orders where id between 30 and 35;
    update orders set id = id + 1000 where id between 40 and 45; update orders set total = null where id = 7`);
  await putConnector(
    stack.connectUrl,
    prefix,
    jdbcSink(stack, { url: store.url, topic: `${prefix}.public.orders`, table: 'taken', format }),
  );
  try {
    const rows = 'select id, status, total, note, at::timestamptz, day, done, tags, raw from';
    await eventually(
      async () => {
        await mustRun(stack.connectUrl, prefix);
        const [here, there] = await Promise.all([
          sql.query(`${rows} orders order by id`),
          kept.query(`${rows} taken order by id`).catch(() => ({ rows: [] })),
        ]);
        return JSON.stringify(here.rows) === JSON.stringify(there.rows);
      },
      'the sink has brought the rows',
      60_000,
    );
  } finally {
    await removeConnector(stack.connectUrl, prefix);
  }
});

test('a column that may be null, then not, then again, and an enum that grows: schemas follow, no row is held for its past', async () => {
  const prefix = nameOfItsOwn();
  await sql.script(
    `create type mood as enum ('sad'); alter table orders add mood mood default 'sad'; insert into orders (id, status) values (1, 'new')`,
  );
  using config = configOf(prefix, {});
  await using running = await startService(config);
  await untilReady(running.url);
  await using reader = await readTopic(stack.broker, `${prefix}.public.orders`);
  await sql.script(
    "insert into orders (id, status) values (6, 'new'); update orders set raw = ''; alter table orders alter raw set not null",
  );
  // All at once, so that the catalogue is ahead of the log.
  for (const statement of [
    "insert into orders (id, status, done, raw) values (2, 'new', null, '')",
    'update orders set done = true',
    'alter table orders alter done set not null, alter done set default false',
    "insert into orders (id, status, raw) values (3, 'new', '')",
    "alter type mood add value 'happy'",
    'alter table orders alter done drop not null, alter status drop not null',
    "insert into orders (id, status, done, mood, raw) values (4, null, null, 'happy', '')",
    'delete from orders where id = 3',
    "insert into orders (id, status, done, raw) values (5, 'new', true, '')",
  ])
    await sql.query(statement);
  await eventually(() => Promise.resolve(reader.records.some((record) => told(record)[0] === 5)), 'all are there', 30_000);
  expect((await kept.query('select key, findings from tidegate.quarantine')).rows).toEqual([]);
  const columns = reader.records.flatMap(({ key, value }) => {
    const { payload: row, schema } = JSON.parse(value ?? '{}') as { payload?: { op: string }; schema?: { fields: { fields: Column[] }[] } };
    if (row === undefined) return [];
    const of = (name: string): Column | undefined => schema?.fields[1]?.fields.find(({ field }) => field === name);
    const id = (JSON.parse(key ?? '{}') as { payload: { id: number } }).payload.id;
    return [[id, row.op, of('done')?.optional, of('done')?.default, of('status')?.optional, of('mood')?.parameters?.['allowed']]];
  });
  expect(columns.filter(([id]) => id === 1).at(0)).toEqual([1, 'r', true, undefined, false, 'sad']);
  expect(columns.filter(([id]) => id === 4)).toEqual([[4, 'c', true, undefined, true, 'sad,happy']]);
  expect(columns.filter(([id]) => id === 5)).toEqual([[5, 'c', true, undefined, true, 'sad,happy']]);
});

interface Column {
  readonly field: string;
  readonly optional: boolean;
  readonly default?: unknown;
  readonly parameters?: Readonly<Record<string, string>>;
}
