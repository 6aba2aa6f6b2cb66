/** Records that could not be read, released once they can be: by the real registry, and out of the real topic. */
import { randomBytes } from 'node:crypto';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import avsc from 'avsc';
import kafkajs, { type Message } from 'kafkajs';
import { expect, inject, test } from 'vitest';
import { AvroReader, NeedsSchema } from '../../cdc/kafka/avro.ts';
import { systemClock } from '../../core/clock.ts';
import { PipelineError } from '../../core/errors.ts';
import { PgConnection } from '../../wire/postgres/connection.ts';
import { cli } from '../app/cli.ts';
import { configFolder, startService, untilReady } from '../app/services.ts';
import { createDatabase } from '../support/databases.ts';
import { eventually } from '../support/eventually.ts';
import { ruleFile } from '../support/rules.ts';
import { stack } from './support.ts';
import { makeTopics } from './topics.ts';

const { Kafka, logLevel } = kafkajs;
const COLUMNS = { id: 'bigint', v: 'text' };

const change = (id: number, v: string, lsn: number): Message => ({
  key: `{"id":${id}}`,
  value: `{"before":null,"after":{"id":${id},"v":"${v}"},"source":{"lsn":${lsn},"ts_ms":1},"op":"c"}`,
});

async function world(hold: 'event' | 'key') {
  await using cleanup = new AsyncDisposableStack();
  const name = `u${randomBytes(4).toString('hex')}`;
  const topic = `${name}.public.t`;
  const kafka = new Kafka({ brokers: [stack.broker], logLevel: logLevel.NOTHING });
  const [admin, producer] = [kafka.admin(), kafka.producer()];
  cleanup.defer(() => admin.disconnect());
  cleanup.defer(() => producer.disconnect());
  await Promise.all([admin.connect(), producer.connect()]);
  await makeTopics(admin, [{ topic }]);
  const target = cleanup.use(await createDatabase(inject('targetServer'), 'undecoded'));
  const lake = cleanup.use(await PgConnection.connect({ url: target.url }));
  const source = { kind: 'kafka', brokers: [stack.broker], group: `g-${name}`, prefix: name, tables: ['public.t'] };
  const configOf = (more: Readonly<Record<string, unknown>>) =>
    configFolder(
      { sources: { shop: { ...source, ...more } } },
      { 't.rules.yaml': ruleFile('t', hold, 'v: [{id: known, not_in_set: [bad]}]') },
      { source: target.url, target: target.url },
    );
  const rows = async (sql: string): Promise<readonly string[]> =>
    (await lake.query(sql).catch(() => ({ rows: [] }))).rows.map((row) => row.join(' '));
  const settled = async (): Promise<boolean> =>
    (await rows('select id from tidegate.quarantine where released_seq is not null and settled_at is null')).length === 0;
  const held = (n: number): Promise<void> =>
    eventually(async () => (await rows('select id from tidegate.quarantine')).length === n, `${n} are held`, 30_000);
  const release = async (file: string, ids: readonly string[]): Promise<void> => {
    const { code, stderr } = await cli('quarantine', 'release', file, ...ids);
    expect([code, stderr]).toEqual([0, '']);
    await eventually(settled, 'all are settled, or held again', 30_000);
  };
  const undo = cleanup.move();
  return {
    topic,
    admin,
    configOf,
    rows,
    held,
    release,
    send: (messages: Message[]) => producer.send({ topic, messages }),
    [Symbol.asyncDispose]: () => undo.disposeAsync(),
  };
}

const OF = "select (row_json->>'offset') || ' ' || id from tidegate.quarantine where row_json ? 'offset' order by id";
const STATUS = `select what, status, rule from (
  select coalesce(row_json->>'v', 'offset ' || (row_json->>'offset')) as what, status, rules[1] as rule from tidegate.quarantine) q order by what collate "C"`;

test('what a mended setting can read goes through rules and target as any event would, never over what came since; what cannot be read still is held with the reason of now', async () => {
  await using it = await world('event');
  using unread = it.configOf({});
  using mended = it.configOf({ columns: { 'public.t': COLUMNS } });
  await it.send([
    change(1, 'first', 100),
    change(2, 'alone', 110),
    change(3, 'bad', 120),
    change(1, 'second', 130),
    { key: null, value: 'no json' },
    change(5, 'forgotten', 140),
  ]);
  {
    await using running = await startService(unread);
    await it.held(6);
    await untilReady(running.url);
  }
  await using _running = await startService(mended);
  await it.send([change(1, 'newest', 200), change(6, 'at once', 210)]);
  await eventually(async () => (await it.rows('select v from shop.t')).length === 2, 'what can be read is there', 30_000);
  const idAt = new Map((await it.rows(OF)).map((line) => [line.split(' ')[0], line.split(' ').slice(1).join(' ')]));
  const ids = [0, 1, 2, 3, 4].map((offset) => idAt.get(String(offset)) ?? '');
  const tried = await cli('quarantine', 'release', mended.file, ...ids, '--dry-run', '--json');
  const { results } = tried.json as { results: { id: string; outcome: string; findings: { rule: string }[] }[] };
  expect(results.map(({ outcome, findings }) => [outcome, ...findings.map(({ rule }) => rule)])).toEqual([
    ['would-pass'],
    ['would-pass'],
    ['still-fails', 'known'],
    ['would-pass'],
    ['still-fails', 'source.undecoded'],
  ]);
  await it.release(mended.file, ids);
  expect(await it.rows('select id, v from shop.t order by id')).toEqual(['1 newest', '2 alone', '6 at once']);
  expect(await it.rows(STATUS)).toEqual([
    'alone applied source.undecoded',
    'bad held known',
    'first superseded source.undecoded',
    'offset 4 held source.undecoded',
    'offset 5 held source.undecoded',
    'second superseded source.undecoded',
  ]);
  const messageAt = (offset: number) =>
    it.rows(`select findings->0->>'message' from tidegate.quarantine where row_json->>'offset' = '${offset}'`);
  expect(await messageAt(4)).toEqual(['the record cannot be read: it is no valid JSON']);

  // The item is still found by the id under which it was released.
  const [shown] = [await cli('quarantine', 'show', mended.file, ids[1] ?? '', '--json')];
  expect(shown.json).toMatchObject({ status: 'applied', key: '2' });

  // What nobody can look into any more may hold a newer change of the row.
  await it.admin.fetchTopicOffsets(it.topic); // The client looks the leader up in what it knows already.
  await it.admin.deleteTopicRecords({ topic: it.topic, partitions: [{ partition: 0, offset: '8' }] });
  await it.release(mended.file, [idAt.get('5') ?? '']);
  expect(await messageAt(5)).toEqual([expect.stringContaining('not kept in its topic any more')]);
  expect(await it.rows('select v from shop.t where id = 5')).toEqual([]);
  const { rows: ledger } = { rows: await it.rows('select open, version is not null from tidegate.held_keys order by key') };
  expect(ledger.every((line) => line.startsWith('1 '))).toBe(true);
});

test('a record whose schema the registry has only later holds its row’s place meanwhile: changes behind it wait for it, and follow it in order', async () => {
  await using it = await world('key');
  const schema = {
    type: 'record',
    name: 'Envelope',
    namespace: it.topic.replaceAll(/[^a-z0-9.]/g, ''),
    fields: [
      { name: 'op', type: 'string' },
      {
        name: 'before',
        type: [
          'null',
          {
            type: 'record',
            name: 'Value',
            fields: [
              { name: 'id', type: 'long' },
              { name: 'v', type: 'string' },
            ],
          },
        ],
      },
      { name: 'after', type: ['null', 'Value'] },
      {
        name: 'source',
        type: {
          type: 'record',
          name: 'Source',
          fields: [
            { name: 'lsn', type: 'long' },
            { name: 'ts_ms', type: 'long' },
          ],
        },
      },
    ],
  } as const satisfies avsc.Schema;
  const type = avsc.Type.forSchema(schema as unknown as avsc.Schema);
  const subject = `${it.topic}-value`;
  const register = async (): Promise<number> => {
    const response = await fetch(`${stack.ccompatUrl}/subjects/${subject}/versions`, {
      method: 'POST',
      headers: { 'content-type': 'application/vnd.schemaregistry.v1+json' },
      body: JSON.stringify({ schema: JSON.stringify(schema) }),
    });
    return ((await response.json()) as { id: number }).id;
  };
  const id = await register();
  for (const flag of ['', '?permanent=true']) await fetch(`${stack.ccompatUrl}/subjects/${subject}${flag}`, { method: 'DELETE' });
  const byId = `${stack.ccompatUrl}/schemas/ids/${id}`;
  expect((await fetch(byId)).status).toBe(404);
  const avro = (row: { id: number; v: string }, lsn: number, op = 'u'): Message => {
    const head = Buffer.alloc(5);
    head.writeInt32BE(id, 1);
    const body = type.toBuffer({ op, before: null, after: row, source: { lsn, ts_ms: 1 } });
    return { key: `{"id":${row.id}}`, value: Buffer.concat([head, body]) };
  };
  using config = it.configOf({ columns: { 'public.t': COLUMNS }, registry: { url: stack.ccompatUrl } });
  await using _running = await startService(config);
  await it.send([
    change(7, 'before', 100),
    avro({ id: 7, v: 'not read' }, 110),
    change(7, 'behind it', 120),
    avro({ id: 8, v: 'bad' }, 130),
    change(8, 'behind bad', 140),
    change(9, 'free', 150),
  ]);
  await it.held(4);
  const held = 'select key, moved_from, status from tidegate.quarantine order by version collate "C"';
  expect(await it.rows(held)).toEqual([`["${it.topic}","0","1"] 7 held`, `["${it.topic}","0","3"] 8 held`, '7  waiting', '8  waiting']);
  expect(await it.rows('select id, v from shop.t order by id')).toEqual(['7 before', '9 free']);

  // Released too early, it waits on.
  const unread = (await it.rows(OF)).map((line) => line.split(' ').slice(1).join(' '));
  await it.release(config.file, unread);
  expect(await it.rows('select distinct findings->0->>$$message$$ from tidegate.quarantine where row_json ? $$offset$$')).toEqual([
    `the record cannot be read: the registry has no schema ${id}, which it names`,
  ]);
  expect(await it.rows('select id, v from shop.t order by id')).toEqual(['7 before', '9 free']);

  expect(await register()).toBe(id);
  await it.release(config.file, unread);
  expect(await it.rows(STATUS)).toEqual([
    'bad held known',
    'behind bad waiting hold.key',
    'behind it applied hold.key',
    'not read applied source.undecoded',
  ]);
  expect(await it.rows('select id, v from shop.t order by id')).toEqual(['7 behind it', '9 free']);
  const { code } = await cli('quarantine', 'discard', config.file, unread[1] ?? '', '--why', 'a test');
  expect(code).toBe(0);
  await eventually(async () => (await it.rows('select v from shop.t where id = 8')).length === 1, 'what waited for it goes on', 30_000);
  expect(await it.rows('select count(*) from tidegate.held_keys')).toEqual(['0']);
});

test('schemas are asked for at once and stay apart; one that the registry lacks is asked for again after a while, and by a lane too', async () => {
  const subject = `a${randomBytes(4).toString('hex')}`;
  const schemas = ['one', 'two'].map((name): avsc.Schema => ({
    type: 'record',
    name,
    namespace: subject,
    fields: [{ name, type: 'long' }],
  }));
  const register = async (schema: avsc.Schema, at: number): Promise<number> => {
    const response = await fetch(`${stack.ccompatUrl}/subjects/${subject}-${at}/versions`, {
      method: 'POST',
      headers: { 'content-type': 'application/vnd.schemaregistry.v1+json' },
      body: JSON.stringify({ schema: JSON.stringify(schema) }),
    });
    return ((await response.json()) as { id: number }).id;
  };
  const ids = await Promise.all(schemas.map(register));
  const recordOf = (i: number): Buffer => {
    const head = Buffer.alloc(5);
    head.writeInt32BE(ids[i] ?? 0, 1);
    return Buffer.concat([head, avsc.Type.forSchema(schemas[i] ?? 'null').toBuffer({ [i === 0 ? 'one' : 'two']: 7 })]);
  };
  let nowMs = 0;
  const clock = { ...systemClock, monotonic: () => nowMs };
  for (const flag of ['', '?permanent=true']) await fetch(`${stack.ccompatUrl}/subjects/${subject}-0${flag}`, { method: 'DELETE' });
  const later = new AvroReader({ url: stack.ccompatUrl }, clock);
  await later.load(ids[0] ?? 0);
  expect(() => later.read(recordOf(0), false)).toThrow('the registry has no schema');
  expect(await register(schemas[0] ?? 'null', 0)).toBe(ids[0]);
  expect(() => later.read(recordOf(0), false)).toThrow('the registry has no schema');
  nowMs += 10_000;
  expect(() => later.read(recordOf(0), false)).toThrow(NeedsSchema);
  await later.load(ids[0] ?? 0);
  expect(later.read(recordOf(0), false).payload).toEqual({ one: 7 });

  const reader = new AvroReader({ url: stack.ccompatUrl }, clock);
  await Promise.all([...ids, ...ids].map((id) => reader.load(id)));
  expect([0, 1].map((i) => reader.read(recordOf(i), false).schema?.fields?.map(({ field }) => field))).toEqual([['one'], ['two']]);
});

test('what others say in the registry’s place is no schema, and no word on one: it is asked again, by many as by one', async () => {
  const schema: avsc.Schema = {
    type: 'record',
    name: 'only',
    namespace: `p${randomBytes(4).toString('hex')}`,
    fields: [{ name: 'n', type: 'long' }],
  };
  const registered = await fetch(`${stack.ccompatUrl}/subjects/${schema.namespace}/versions`, {
    method: 'POST',
    headers: { 'content-type': 'application/vnd.schemaregistry.v1+json' },
    body: JSON.stringify({ schema: JSON.stringify(schema) }),
  });
  const { id } = (await registered.json()) as { id: number };
  const html = { 'content-type': 'text/html' };
  const others: readonly (readonly [number, Readonly<Record<string, string>>, string])[] = [
    [200, html, '<html>maintenance</html>'],
    [200, { 'content-type': 'application/json' }, '{"status":"ok"}'],
    [302, { location: '/login' }, ''],
    [404, html, '<html>no such page</html>'],
    [503, {}, ''],
  ];
  let asked = 0;
  let answer: (typeof others)[number] | null = null;
  const proxy = createServer((request, response) => {
    asked++;
    if (answer !== null) return void response.writeHead(answer[0], answer[1]).end(answer[2]);
    void fetch(`${stack.ccompatUrl}${request.url ?? ''}`).then(async (real) =>
      response.writeHead(real.status, { 'content-type': real.headers.get('content-type') ?? '' }).end(await real.text()),
    );
  });
  await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve));
  await using cleanup = new AsyncDisposableStack();
  cleanup.defer(() => void proxy.close());
  let nowMs = 0;
  const { port } = proxy.address() as AddressInfo;
  const reader = new AvroReader({ url: `http://127.0.0.1:${port}` }, { ...systemClock, monotonic: () => nowMs });
  const written = Buffer.concat([Buffer.from([0, 0, 0, 0, 0]), avsc.Type.forSchema(schema).toBuffer({ n: 7 })]);
  written.writeInt32BE(id, 1);
  const codeOf = (error: unknown): string | null => (error instanceof PipelineError ? error.code : null);
  for (answer of others) {
    const what = `${answer[0]} ${answer[2]}`;
    asked = 0;
    const told = await Promise.all(Array.from({ length: 50 }, (_, i) => reader.load(id + i).catch((error: unknown) => codeOf(error))));
    expect([what, ...new Set(told)]).toEqual([what, 'SOURCE_UNREACHABLE']);
    expect(asked).toBeLessThanOrEqual(3); // With what the library tries again by itself.
    nowMs += 1000;
  }
  answer = null;
  expect(() => reader.read(written, false)).toThrow(NeedsSchema);
  await reader.load(id);
  expect(reader.read(written, false).payload).toEqual({ n: 7 });
  await reader.load(2_000_000_000);
  written.writeInt32BE(2_000_000_000, 1);
  expect(() => reader.read(written, false)).toThrow('the registry has no schema');
});

test('a schema may name types of other schemas, and those of others', async () => {
  const space = `r${randomBytes(4).toString('hex')}`;
  const size = { type: 'enum', name: 'Size', namespace: space, symbols: ['S', 'L'] };
  const inner = {
    type: 'record',
    name: 'Inner',
    namespace: space,
    fields: [
      { name: 'at', type: { type: 'long', 'connect.name': 'io.debezium.time.MicroTimestamp' } },
      { name: 'size', type: `${space}.Size` },
    ],
  };
  const outer = {
    type: 'record',
    name: 'Outer',
    namespace: space,
    fields: [
      { name: 'before', type: ['null', `${space}.Inner`] },
      { name: 'after', type: `${space}.Inner` },
      { name: 'n', type: 'int' },
    ],
  };
  const register = async (subject: string, schema: object, to: string | null): Promise<number> => {
    const references = to === null ? [] : [{ name: `${space}.${to}`, subject: `${space}-${to}`, version: 1 }];
    const response = await fetch(`${stack.ccompatUrl}/subjects/${space}-${subject}/versions`, {
      method: 'POST',
      headers: { 'content-type': 'application/vnd.schemaregistry.v1+json' },
      body: JSON.stringify({ schema: JSON.stringify(schema), references }),
    });
    return ((await response.json()) as { id: number }).id;
  };
  await register('Size', size, null);
  await register('Inner', inner, 'Size');
  const id = await register('Outer', outer, 'Inner');

  const registry: Record<string, avsc.Type> = {};
  avsc.Type.forSchema(size as avsc.Schema, { registry });
  avsc.Type.forSchema(inner as avsc.Schema, { registry });
  const head = Buffer.alloc(5);
  head.writeInt32BE(id, 1);
  const value = { before: null, after: { at: 5, size: 'L' }, n: 3 };
  const written = avsc.Type.forSchema(outer as avsc.Schema, { registry }).toBuffer(value);

  const reader = new AvroReader({ url: stack.ccompatUrl });
  await reader.load(id);
  const read = reader.read(Buffer.concat([head, written]), false);
  expect({ ...(read.payload as object) }).toMatchObject({ n: 3, after: { at: 5, size: 'L' } });
  expect(read.schema?.fields?.map(({ field }) => field)).toEqual(['before', 'after', 'n']);
  expect(read.schema?.fields?.[1]?.fields?.map(({ field, name }) => [field, name])).toEqual([
    ['at', 'io.debezium.time.MicroTimestamp'],
    ['size', 'Size'],
  ]);
});
