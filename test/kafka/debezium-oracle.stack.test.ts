/** Topics that Tidegate writes beside those of Debezium's own connector, from the same rows: keys, schemas and cells are the same, but for what is on a list. */
import { randomBytes } from 'node:crypto';
import { expect, inject, test } from 'vitest';
import { AvroReader, NeedsSchema } from '../../cdc/kafka/avro.ts';
import { PgConnection } from '../../wire/postgres/connection.ts';
import { configFolder, startService, untilReady } from '../app/services.ts';
import { createDatabase } from '../support/databases.ts';
import { eventually } from '../support/eventually.ts';
import { COLUMNS, MORE_COLUMNS, rowsOf } from './kinds.ts';
import { stack, startConnector } from './support.ts';
import { readTopic, type SeenRecord, type TopicReader } from './topics.ts';

type Format = 'json' | 'avro';
type Fields = Readonly<Record<string, unknown>>;

/** NaN is null to Debezium, and held by us. */
const { nnan: _none, ...KINDS } = { ...COLUMNS, ...MORE_COLUMNS };

const OMITTED = 'Debezium leaves out columns of types that it does not know';
const DEFAULTS = 'we write no defaults into schemas, and a column of a row that is gone may be null';
/** By column: where it differs, and why. */
const DIFFERENCES: Readonly<Record<string, { readonly in: readonly ('schema' | 'value')[]; readonly why: string }>> = {
  f4: { in: ['value'], why: 'the least real is 1e-45 to PostgreSQL and 1.4e-45 to Java: the same number' },
  dold: { in: ['value'], why: 'its snapshot reads dates as java.sql.Date, which forgets BC' },
  dinf: { in: ['value'], why: 'its snapshot has other numbers for infinite dates than its stream' },
  ttz: { in: ['value'], why: 'it moves a timetz to UTC; we keep the zone' },
  nm: { in: ['value'], why: 'it writes a name from the log as null' },
  nn: { in: ['schema', 'value'], why: 'it takes a negative scale for 2046' },
  mood: { in: ['schema'], why: 'we do not know the labels of an enum, which its logical type names' },
  ea: { in: ['schema', 'value'], why: 'we cannot tell an array of an enum from one of a composite, and write its text' },
  pos: { in: ['schema'], why: 'we do not know the base type of a domain, and write the widest' },
  def: { in: ['schema', 'value'], why: DEFAULTS },
  word: { in: ['schema'], why: DEFAULTS },
  ...Object.fromEntries(
    ['ln', 'bx', 'pg', 'cc', 'mr', 'tq', 'iva', 'cp'].map((name) => [name, { in: ['schema', 'value'] as const, why: OMITTED }]),
  ),
};
/** Where a format has it otherwise: Avro keeps the bits of a real, and Apicurio's converter writes the default for an explicit null. */
const OF_FORMAT: Readonly<Record<Format, Readonly<Record<string, readonly string[]>>>> = {
  json: {},
  avro: { f4: [], word: ['schema', 'value'] },
};

interface Change {
  readonly key: unknown;
  readonly before: Fields | null;
  readonly after: Fields | null;
  readonly schema: ReadonlyMap<string, unknown>;
  readonly moved: Fields;
}

test.each(['json', 'avro'] as const)('what is written in %s is what Debezium writes of the same changes', async (format) => {
  await using source = await createDatabase(inject('sourceServer'), 'oracle');
  await using store = await createDatabase(inject('targetServer'), 'oracle');
  await using sql = await PgConnection.connect({ url: source.url });
  const columns = Object.entries(KINDS).map(([name, [type]]) => `${name} ${type}`);
  await sql.script(`create extension citext; create extension ltree; create extension hstore;
    create type mood as enum ('sad', 'happy'); create domain positive as integer check (value > 0); create type pair as (a integer, b text);
    create table kinds (id bigint primary key, ${columns.join(', ')}, def integer not null default 7, word text default 'x')`);
  const insert = async (from: number): Promise<void> => {
    for (const [i, cells] of rowsOf(KINDS).entries()) {
      const [names, values] = [cells.map(([name]) => name), cells.map(([, value]) => value)];
      await sql.script(`insert into kinds (id, ${names.join(', ')}) values (${from + i}, ${values.join(', ')})`);
    }
  };
  await insert(1);
  // The other form of intervals with the other format.
  const intervals = format === 'json' ? 'numeric' : 'string';
  await using theirs = await startConnector(source.url, ['public.kinds'], format, { 'interval.handling.mode': intervals });
  const prefix = `o${randomBytes(4).toString('hex')}`;
  const more = format === 'avro' ? { format, registry: { url: stack.ccompatUrl } } : {};
  using config = configFolder({
    sources: { shop: { kind: 'postgres', url: source.url, slot: source.name, publication: 'oracle', tables: ['public.kinds'] } },
    targets: { bus: { kind: 'kafka', brokers: [stack.broker], store: store.url, topic: `${prefix}.{schema}.{table}`, intervals, ...more } },
    pipelines: { main: { source: 'shop', target: 'bus' } },
  });
  await using running = await startService(config);
  await untilReady(running.url);
  await insert(101);
  await sql.script(`update kinds set i4 = 5 where id = 101; update kinds set id = 500 where id = 102; delete from kinds where id = 103;
    truncate kinds; insert into kinds (id, i4) values (-1, 77)`);
  await using debezium = await readTopic(stack.broker, `${theirs.prefix}.public.kinds`);
  await using tidegate = await readTopic(stack.broker, `${prefix}.public.kinds`);
  const [expected, written] = [new Reader(format, theirs.prefix), new Reader(format, prefix)];
  const both = [
    [debezium, expected],
    [tidegate, written],
  ] as const;
  for (const [topic, reader] of both) await eventually(() => reader.hasEnd(topic), 'all changes are there', 60_000);
  const [there, here] = [await expected.changes(debezium), await written.changes(tidegate)];
  expect([...here.keys()]).toEqual([...there.keys()]);
  await using kept = await PgConnection.connect({ url: store.url });
  expect((await kept.query('select key, findings from tidegate.quarantine')).rows).toEqual([]);

  const found = new Map<string, Set<string>>();
  const samples: string[] = [];
  const differs = (column: string, part: 'schema' | 'value', a: unknown, b: unknown): void => {
    const parts = found.get(column) ?? new Set();
    if (!parts.has(part)) samples.push(`${column} (${part}): Debezium ${text(a)}, we ${text(b)}`);
    found.set(column, parts.add(part));
  };
  for (const [name, change] of there) {
    const ours = here.get(name);
    expect([name, ours?.key, ours?.moved]).toEqual([name, change.key, change.moved]);
    for (const column of [...Object.keys(KINDS), 'def', 'word']) {
      for (const part of ['before', 'after'] as const) {
        const [a, b] = [change[part]?.[column], ours?.[part]?.[column]];
        if (text(a ?? null) !== text(b ?? null)) differs(column, 'value', a, b);
      }
      const [a, b] = [change.schema.get(column), ours?.schema.get(column)];
      if (text(a) !== text(b)) differs(column, 'schema', a, b);
    }
  }
  const listed = Object.entries(DIFFERENCES).map(([name, { in: parts }]) => [name, OF_FORMAT[format][name] ?? parts] as const);
  const asFound = [...found].map(([name, parts]) => [name, [...parts].sort()]);
  expect(Object.fromEntries(asFound), `what differs:\n${samples.join('\n')}`).toEqual(
    Object.fromEntries(listed.filter(([, parts]) => parts.length > 0)),
  );
});

/** Whatever order the names of its fields have. */
function text(value: unknown): string {
  return JSON.stringify(value, (_, one: unknown) => {
    if (typeof one === 'bigint') return String(one);
    if (typeof one !== 'object' || one === null || Array.isArray(one) || one instanceof Uint8Array) return one;
    return Object.fromEntries(Object.entries(one).sort(([a], [b]) => (a < b ? -1 : 1)));
  });
}

class Reader {
  readonly #format: Format;
  readonly #prefix: string;
  readonly #avro = new AvroReader({ url: stack.ccompatUrl });
  readonly #schemas = new Map<number, unknown>();

  constructor(format: Format, prefix: string) {
    this.#format = format;
    this.#prefix = prefix;
  }

  async hasEnd(topic: TopicReader): Promise<boolean> {
    return [...(await this.changes(topic)).keys()].some((name) => name.startsWith('-1 '));
  }

  /** By the row's key, the operation and how many there were before it. */
  async changes({ records }: TopicReader): Promise<ReadonlyMap<string, Change>> {
    const changes = new Map<string, Change>();
    for (const { rawKey, rawValue, headers } of records) {
      const [key, value] = [await this.#payload(rawKey), await this.#payload(rawValue)];
      const { op, before = null, after = null } = (value ?? {}) as { op?: string; before?: Fields | null; after?: Fields | null };
      const name = `${(key as { id: number } | null)?.id ?? 'all'} ${op ?? 'gone'}`;
      const moved = Object.fromEntries(Object.entries(headers).filter(([header]) => /^__debezium\.(new|old)key$/.test(header)));
      changes.set(name, { key, before, after, moved, schema: rawValue === null ? new Map() : await this.#schemaOf(rawValue) });
    }
    return changes;
  }

  async #payload(bytes: SeenRecord['rawKey']): Promise<unknown> {
    if (bytes === null) return null;
    if (this.#format === 'json') return (JSON.parse(bytes.toString()) as { payload: unknown }).payload;
    try {
      return this.#avro.read(bytes, true).payload;
    } catch (error) {
      if (!(error instanceof NeedsSchema)) throw error;
      await this.#avro.load(error.id);
      return this.#avro.read(bytes, true).payload;
    }
  }

  /** What the record's own schema says of each column. */
  async #schemaOf(bytes: Buffer): Promise<ReadonlyMap<string, unknown>> {
    if (this.#format === 'json') {
      const { schema } = JSON.parse(bytes.toString()) as { schema: { fields: { field: string; fields: { field: string }[] }[] } };
      return new Map(schema.fields.find(({ field }) => field === 'before')?.fields.map((column) => [column.field, column]));
    }
    const id = bytes.readInt32BE(1);
    const known = this.#schemas.get(id) ?? (await this.#registered(id));
    this.#schemas.set(id, known);
    const { fields } = known as { fields: { name: string; type: ['null', { fields: { name: string; type: unknown }[] }] }[] };
    return new Map(fields.find(({ name }) => name === 'before')?.type[1].fields.map(({ name, ...column }) => [name, column]));
  }

  async #registered(id: number): Promise<unknown> {
    const { schema } = (await (await fetch(`${stack.ccompatUrl}/schemas/ids/${id}`)).json()) as { schema: string };
    return JSON.parse(schema.replaceAll(this.#prefix, 'prefix'));
  }
}
