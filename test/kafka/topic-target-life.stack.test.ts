/** What becomes of topics as a target while their surroundings change: registries that refuse, tables that wait, topics and brokers that go and come, rows that are too large. */
import { randomBytes } from 'node:crypto';
import { mkdtempSync, readdirSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, inject, test } from 'vitest';
import { startStack } from '../../examples/stack/stack.ts';
import { PgConnection } from '../../wire/postgres/connection.ts';
import { cli } from '../app/cli.ts';
import { ask, configFolder, startService, untilReady } from '../app/services.ts';
import { createDatabase } from '../support/databases.ts';
import { eventually } from '../support/eventually.ts';
import { admin, change, producer } from './road.ts';
import { stack } from './support.ts';
import { makeTopics, readTopic, type TopicReader } from './topics.ts';

interface Told {
  readonly bus?: Readonly<Record<string, unknown>>;
  readonly rules?: Readonly<Record<string, string>>;
  readonly source?: Readonly<Record<string, unknown>>;
}

/** Tables a and b with two rows each, and a config from them to topics of the test's own. */
async function world({ bus = {}, rules = {}, source: from }: Told = {}) {
  const prefix = `l${randomBytes(4).toString('hex')}`;
  const [source, store] = await Promise.all([
    createDatabase(inject('sourceServer'), 'life'),
    createDatabase(inject('targetServer'), 'life'),
  ]);
  const [sql, kept] = await Promise.all([PgConnection.connect({ url: source.url }), PgConnection.connect({ url: store.url })]);
  await sql.script(`create table a (id int primary key, v int, at timestamptz); create table b (id int primary key, v int); alter table a replica identity full;
    insert into a values (1, 1), (2, 2); insert into b values (1, 1), (2, 2)`);
  const config = configFolder(
    {
      sources: {
        shop: from ?? { kind: 'postgres', url: source.url, slot: source.name, publication: 'life', tables: ['public.a', 'public.b'] },
      },
      targets: { bus: { kind: 'kafka', brokers: [stack.broker], store: store.url, topic: `${prefix}.{table}`, schemas: false, ...bus } },
      pipelines: { main: { source: 'shop', target: 'bus', datasets: './*.rules.yaml' } },
    },
    rules,
  );
  return {
    prefix,
    sql,
    kept,
    config,
    [Symbol.asyncDispose]: async () => {
      config[Symbol.dispose]();
      await Promise.all([sql.close(), kept.close()]);
      await Promise.all([source[Symbol.asyncDispose](), store[Symbol.asyncDispose]()]);
    },
  };
}

/** In the order in which they came. */
const ids = ({ records }: TopicReader): number[] =>
  records.flatMap(({ key, value }) => {
    const { id, payload } = JSON.parse(key ?? '{}') as { id?: number; payload?: { id: number } };
    return value === null ? [] : [payload?.id ?? id ?? 0];
  });
const values = ({ records }: TopicReader): unknown[] =>
  records.map(({ value }) => (JSON.parse(value ?? '{}') as { after?: { v?: unknown } }).after?.v);
const hasAll = (reader: TopicReader, count: number, what: string): Promise<void> =>
  eventually(() => Promise.resolve(reader.records.length >= count), what, 30_000);

const ruleFile = (more: string): string => `{apiVersion: quality/v1, kind: DatasetRules, dataset: shop.public.a, ${more}}`;

test.each([
  ['its rules have wait', {}, { 'a.rules.yaml': ruleFile('schema: {evolution: {retype: hold}}') }],
  ['the schema registry refuses', { format: 'avro', registry: { url: stack.ccompatUrl }, schemas: true }, {}],
] as const)('a change of a table that %s parks that table and no other, until a person approves it', async (_, bus, rules) => {
  await using at = await world({ bus, rules });
  const subject = `${stack.ccompatUrl}/config/${at.prefix}.a-value`;
  const permit = async (compatibility: string): Promise<void> => {
    const answer = await fetch(subject, {
      method: 'PUT',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ compatibility }),
    });
    expect(answer.status).toBe(200);
  };
  await using running = await startService(at.config);
  await untilReady(running.url);
  if ('format' in bus) await permit('BACKWARD');
  await using a = await readTopic(stack.broker, `${at.prefix}.a`);
  await using b = await readTopic(stack.broker, `${at.prefix}.b`);
  await at.sql.script(
    "alter table a alter column v type text using 'v' || v; insert into a values (3, 'three'); insert into b values (3, 3)",
  );
  await hasAll(b, 3, 'the other table goes on');
  const changes = async () =>
    (await cli('schema', 'list', at.config.file, '--json')).json as { changes: { id: string; status: string; held: number }[] };
  await eventually(
    async () => (await changes()).changes.some(({ status, held }) => status === 'held' && held === 1),
    'the table is parked',
  );
  expect(a.records).toHaveLength(2);
  await eventually(async () => (await ask(running.url, '/readyz')).text.includes('is parked'), 'it is told');
  const [parked] = (await changes()).changes;
  const shown = await cli('schema', 'show', at.config.file, parked?.id ?? '');
  if ('format' in bus) {
    expect(shown.stdout).toMatch(/the target did not take it: registering a schema under .*a-value: refused \(409\): \S/);
    await permit('NONE');
  }
  expect((await cli('schema', 'approve', at.config.file, parked?.id ?? '', '--by', 'ann')).code).toBe(0);
  await hasAll(a, 3, 'what was held is there');
  await at.sql.script("insert into a values (4, 'four')");
  await hasAll(a, 4, 'and what comes after it');
  if (!('format' in bus)) expect(values(a)).toEqual([1, 2, 'three', 'four']);
  await untilReady(running.url);
});

test('columns that become required are optional to a registry that would have readers of older records lose them, and nothing waits', async () => {
  await using at = await world({ bus: { format: 'avro', registry: { url: stack.ccompatUrl }, schemas: true } });
  await using running = await startService(at.config);
  await untilReady(running.url);
  const permitted = await fetch(`${stack.ccompatUrl}/config/${at.prefix}.a-value`, {
    method: 'PUT',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ compatibility: 'BACKWARD' }),
  });
  expect(permitted.status).toBe(200);
  await using a = await readTopic(stack.broker, `${at.prefix}.a`);
  await at.sql.script('alter table a alter v set not null');
  await at.sql.script('insert into a values (3, 3)');
  await at.sql.script('alter table a add column token uuid not null default gen_random_uuid()');
  await at.sql.script('insert into a values (4, 4)');
  await hasAll(a, 4, 'all rows are there');
  await untilReady(running.url);
  const [newest, first] = await Promise.all(
    ['latest', '1'].map(async (version) => {
      const answer = await fetch(`${stack.ccompatUrl}/subjects/${at.prefix}.a-value/versions/${version}`);
      const { schema } = (await answer.json()) as { schema: string };
      const row = (JSON.parse(schema) as { fields: { name: string; type: [string, { fields: { name: string; type: unknown }[] }] }[] })
        .fields[0];
      return row?.type[1].fields.map(({ name, type }) => [name, Array.isArray(type)]);
    }),
  );
  expect(first).toEqual([
    ['id', false],
    ['v', true],
    ['at', true],
  ]);
  expect(newest).toEqual([
    ['id', false],
    ['v', true],
    ['at', true],
    ['token', true],
  ]);
});

const WINDOW = 'source: {event_time: after.at}, defaults: {window: {every: 1m, out_of_order: 0s, lateness: 0s, idle: 1h}}';
const minute = (id: number, at: string): string => `insert into a values (${id}, ${id}, '2026-05-01 ${at}+00');`;

test('rows of windows that pass come to their topic when those are judged, those of others when their lot is released', async () => {
  const rules = ruleFile(`${WINDOW}, publish: after_window, checks: [{id: volume, row_count: {min: 2}}]`);
  await using at = await world({ rules: { 'a.rules.yaml': rules } });
  await using running = await startService(at.config);
  await untilReady(running.url);
  await using a = await readTopic(stack.broker, `${at.prefix}.a`);
  await hasAll(a, 2, 'what was there is copied');
  for (const row of [minute(11, '10:00:05'), minute(12, '10:00:45'), minute(13, '10:01:10'), minute(99, '10:09:00')])
    await at.sql.script(row);
  await hasAll(a, 4, 'the window that passed is published');
  const lots = async () => (await ask(running.url, '/api/lots')).text;
  await eventually(async () => (await lots()).includes('diverted'), 'the other is held as a lot', 30_000);
  expect(ids(a)).toEqual([1, 2, 11, 12]);
  const lot = ['--dataset', 'shop.public.a', '--window', '2026-05-01T10:01:00Z'];
  expect((await cli('quarantine', 'release', at.config.file, ...lot)).code).toBe(0);
  await hasAll(a, 5, 'the lot is released');
  expect(ids(a)).toEqual([1, 2, 11, 12, 13]);
});

test('behind a window whose check says `on_fail: hold` rows wait until the dataset is let go on, and come in order', async () => {
  const rules = ruleFile(`${WINDOW}, checks: [{id: volume, row_count: {min: 2}, on_fail: hold}]`);
  await using at = await world({ rules: { 'a.rules.yaml': rules } });
  await using running = await startService(at.config);
  await untilReady(running.url);
  await using a = await readTopic(stack.broker, `${at.prefix}.a`);
  await using b = await readTopic(stack.broker, `${at.prefix}.b`);
  await at.sql.script(minute(11, '10:00:05'));
  await at.sql.script(minute(12, '10:02:00'));
  await eventually(async () => (await ask(running.url, '/api/lots')).text.includes('"volume"'), 'the dataset is held', 30_000);
  // From the next second on.
  let last = 12;
  await eventually(async () => {
    await at.sql.script(minute(++last, '10:02:10'));
    return (await at.kept.query("select 1 from tidegate.quarantine where status = 'staged'")).rows.length > 0;
  }, 'a row waits');
  await at.sql.script(minute(++last, '10:02:10'));
  await at.sql.script('insert into b values (3, 3)');
  await hasAll(b, 3, 'the other table goes on');
  expect(ids(a)).not.toContain(last);
  expect((await cli('windows', 'resume', at.config.file, 'shop.public.a')).code).toBe(0);
  await eventually(() => Promise.resolve(ids(a).includes(last)), 'what waited is there', 30_000);
  expect(ids(a)).toEqual([1, 2, ...Array.from({ length: last - 10 }, (_, at) => 11 + at)]);
});

test('a topic that is deleted while it is written is made anew, and nothing that comes after is lost', async () => {
  await using at = await world({ bus: { partitions: 2 } });
  await using running = await startService(at.config);
  await untilReady(running.url);
  const topic = `${at.prefix}.a`;
  await admin.deleteTopics({ topics: [topic] });
  await at.sql.script('insert into a values (3, 3)');
  await using a = await eventuallyRead(topic);
  await at.sql.script('insert into a values (4, 4)');
  await eventually(() => Promise.resolve(ids(a).includes(3) && ids(a).includes(4)), 'later rows are there', 30_000);
});

async function eventuallyRead(topic: string): Promise<TopicReader> {
  await eventually(
    async () =>
      (await admin.fetchTopicMetadata({ topics: [topic] }).catch(() => ({ topics: [] }))).topics.some(
        ({ partitions }) => partitions.length === 2,
      ),
    `${topic} is there`,
    30_000,
  );
  return readTopic(stack.broker, topic);
}

test.each([false, true])(
  'a row that is larger than a record may be is held, and the rest goes on (exactlyOnce: %s)',
  async (exactlyOnce) => {
    await using at = await world({ bus: { exactlyOnce } });
    await at.sql.script('alter table a add column note text');
    for (const [table, value] of [
      ['a', '1000000'],
      ['b', '600'],
    ] as const) {
      const configEntries = [{ name: 'max.message.bytes', value }];
      await makeTopics(admin, [{ topic: `${at.prefix}.${table}`, numPartitions: 1, configEntries }]);
    }
    await using running = await startService(at.config);
    await untilReady(running.url);
    await using a = await readTopic(stack.broker, `${at.prefix}.a`);
    await at.sql.script("begin; insert into a (id, note) values (3, null), (4, ''), (5, repeat('x', 3000000)), (6, 'small'); commit");
    // Each fits, and all of them do not fit into one request.
    await at.sql.script("insert into a select n, n, null, repeat('y', 400000) from generate_series(10, 19) n");
    // And each of these, but not two of them, into what their topic takes at once.
    await at.sql.script('insert into b select n, n from generate_series(3, 60) n');
    await using b = await readTopic(stack.broker, `${at.prefix}.b`);
    await hasAll(b, 60, 'those of the other table are there');
    await hasAll(a, 15, 'the others are there');
    expect(ids(a)).toEqual([1, 2, 3, 4, 6, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19]);
    const { rows } = await at.kept.query("select key, status, findings->0->>'rule' from tidegate.quarantine");
    expect(rows).toEqual([['5', 'held', 'target.record_too_large']]);
  },
);

test('brokers that are away at the start and in the middle are waited for, and every change comes once and in order', async () => {
  const settings = ['broker.session.timeout.ms=1500', 'broker.heartbeat.interval.ms=300'];
  const own = await startStack(mkdtempSync(join(tmpdir(), 'tidegate-broker-')), { servers: ['broker'], broker: { settings } });
  try {
    await own.kill('broker');
    await using at = await world({ bus: { brokers: [own.broker], exactlyOnce: true } });
    await using running = await startService(at.config);
    const state = async () =>
      ((await ask(running.url, '/api/status')).json as { pipelines: { state: string; error: { code: string } | null }[] }).pipelines[0];
    await eventually(async () => (await state())?.error?.code === 'TARGET_UNREACHABLE', 'it says that they are away', 30_000);
    expect((await state())?.state).not.toBe('halted');
    await own.start('broker');
    await untilReady(running.url, 60_000);
    await at.sql.script('update a set v = v + 1');
    await own.kill('broker');
    for (let i = 0; i < 5; i++) await at.sql.script('update a set v = v + 1');
    await own.start('broker');
    await using a = await readTopic(own.broker, `${at.prefix}.a`);
    await at.sql.script('update a set v = 100');
    const of = (id: number): unknown[] => values(a).filter((_, i) => ids(a)[i] === id);
    await eventually(() => Promise.resolve(of(1).at(-1) === 100 && of(2).at(-1) === 100), 'the last change is there', 60_000);
    for (const id of [1, 2]) {
      const seen = of(id);
      const expected = [...Array.from({ length: 7 }, (_, i) => id + i), 100];
      expect(seen).toEqual(expected);
    }
  } finally {
    await own.stop();
  }
}, 120_000);

test('`tidegate check` says of brokers and of a registry that are not reached which they are', async () => {
  await using at = await world({
    bus: { brokers: ['127.0.0.1:1'], format: 'avro', schemas: true, registry: { url: 'http://127.0.0.1:1' } },
  });
  const { code, json } = await cli('check', at.config.file, '--json');
  const { problems } = json as { problems: { path: string; severity: string }[] };
  expect(code).not.toBe(0);
  for (const path of ['targets.bus.brokers', 'targets.bus.registry'])
    expect(problems.filter((one) => one.path.endsWith(path))).toMatchObject([
      { severity: 'error', message: expect.stringContaining('ECONNREFUSED') as string },
    ]);
  expect(problems.filter(({ severity }) => severity === 'error')).toHaveLength(2);
});

test.each(['gzip', 'snappy', 'lz4', 'zstd'])(
  'records are compressed by %s on their way, and the brokers keep them so',
  async (compression) => {
    await using at = await world({ bus: { compression, partitions: 1, exactlyOnce: compression === 'zstd', schemas: true } });
    await at.sql.script('insert into a select n, n from generate_series(3, 500) n');
    await using _running = await startService(at.config);
    await using a = await eventuallyMade(`${at.prefix}.a`);
    await hasAll(a, 500, 'all are there');
    const bytes = a.records.reduce((sum, { value }) => sum + (value?.length ?? 0), 0);
    const folder = join(stack.folder, 'log', `${at.prefix}.a-0`);
    const kept = readdirSync(folder).reduce((sum, name) => sum + (name.endsWith('.log') ? statSync(join(folder, name)).size : 0), 0);
    expect(kept).toBeLessThan(bytes / 4);
    expect(ids(a).toSorted((x, y) => x - y)).toEqual(Array.from({ length: 500 }, (_, i) => i + 1));
  },
);

test('from topics with several partitions to topics every lane keeps the order of its rows', async () => {
  const from = `s${randomBytes(4).toString('hex')}`;
  const topic = `${from}.public.t`;
  await makeTopics(admin, [{ topic, numPartitions: 4 }]);
  const source = {
    kind: 'kafka',
    brokers: [stack.broker],
    group: `g-${from}`,
    prefix: from,
    tables: ['public.t'],
    columns: { 'public.t': { id: 'bigint', v: 'text' } },
  };
  await using at = await world({ source, bus: { exactlyOnce: true, partitions: 4, topic: `${from}.out.{table}` } });
  await producer.send({
    topic,
    messages: Array.from({ length: 400 }, (_, i) => change(i < 40 ? 'c' : 'u', i % 40, `v${Math.floor(i / 40)}`)),
  });
  await using running = await startService(at.config);
  await using out = await eventuallyMade(`${from}.out.t`);
  await hasAll(out, 400, 'all are there');
  expect(new Set(out.records.map(({ partition }) => partition)).size).toBe(4);
  for (let id = 0; id < 40; id++)
    expect(values(out).filter((_, i) => ids(out)[i] === id)).toEqual(Array.from({ length: 10 }, (_, i) => `v${i}`));
  const lanes = (await ask(running.url, '/api/lanes')).json as { lanes: { role: string; closed: boolean }[] };
  expect(lanes.lanes.filter(({ role }) => role === 'main').map(({ closed }) => closed)).toEqual([true, true, true, true]);
});

async function eventuallyMade(topic: string): Promise<TopicReader> {
  await eventually(async () => (await admin.listTopics()).includes(topic), `${topic} is there`, 30_000);
  return readTopic(stack.broker, topic);
}
