/**
 * Every type from a source to a target whose OIDs differ, by the snapshot and by the stream, in bulk and row by row, through rules, features and the
 * quarantine and back: what arrives is what left, as text and byte for byte. On the oldest and the newest PostgreSQL that are
 * supported, and between them; `npm run test:matrix` takes every pair.
 */
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import { itemDetail } from '../../app/items.ts';
import { reachedLsn } from '../../cdc/postgres/lane-position.ts';
import { postgresSource } from '../../cdc/postgres/source.ts';
import { Batch, Verdict } from '../../core/batch.ts';
import type { Source, Stage } from '../../core/contracts.ts';
import { type ChangeEvent, type Dataset, type DatasetName, type LaneId, type Position, UNCHANGED, ValueRow } from '../../core/event.ts';
import { runPipeline } from '../../core/pipeline.ts';
import { cutText } from '../../core/text.ts';
import type { EmbeddedServer } from '../../examples/embedded-postgres.ts';
import { compileFeatures, ENCODED } from '../../inference/features.ts';
import type { Mapping } from '../../inference/mapping-schema.ts';
import { compileContract } from '../../quality/compile.ts';
import { parseContract } from '../../quality/contract.ts';
import { qualityStage } from '../../quality/stage.ts';
import { copyText } from '../../sync/postgres/cells.ts';
import { type PostgresSink, postgresSink } from '../../sync/postgres/sink.ts';
import { PgConnection } from '../../wire/postgres/connection.ts';
import { quoteIdent, quoteLiteral } from '../../wire/postgres/ident.ts';
import { createDatabase, type TestDatabase } from '../support/databases.ts';
import { isInstalled, NEWEST, OLDEST, type PostgresVersion, sharedVersion, startPostgres, VERSIONS } from '../support/postgres-versions.ts';
import { replayReleased } from '../support/replay.ts';
import { COMPARED_AS, LARGE_VALUES, TYPES_SQL, VALUES, valuesOf } from '../support/types.ts';

const never = new AbortController().signal;
/** Versions between which every pair is tried, instead of the usual ones. */
const asked = process.env['TIDEGATE_POSTGRES_PAIRS']?.split(',').map(Number);
const versions = VERSIONS.filter((version) => (asked ?? [OLDEST, NEWEST]).includes(version) && isInstalled(version));
const pairs = versions
  .flatMap((source) => versions.map((target) => ({ source, target })))
  .filter(({ source, target }) => asked !== undefined || source <= target);

const servers = new Map<PostgresVersion, EmbeddedServer>();
const urlOf = (version: PostgresVersion): string =>
  version === sharedVersion() ? inject('sourceServer') : (servers.get(version)?.url() ?? '');

beforeAll(async () => {
  const others = versions.filter((version) => version !== sharedVersion());
  const started = await Promise.all(others.map(async (version) => [version, await startPostgres(version)] as const));
  for (const [version, server] of started) servers.set(version, server);
});
afterAll(async () => {
  await Promise.all([...servers.values()].map((server) => server.stop()));
});

const TYPES = Object.keys(VALUES);
const DATASET = 'shop.public.everything' as DatasetName;
const LANE = 'shop/types' as LaneId;
/** Rows from here on are held. */
const HELD_FROM = 300;

describe.each(pairs)('PostgreSQL $source -> $target', ({ source, target }) => {
  let road: Road;
  beforeAll(async () => {
    road = await Road.open(source, target);
  });
  afterAll(() => road[Symbol.asyncDispose]());

  test('what is there already arrives in bulk', async () => {
    await road.insert(1, 40);
    await road.run({ rows: 1000 });
    await road.expectSame();
  });

  test('what changes arrives, in bulk and row by row', async () => {
    await road.sql.source.script('begin');
    await road.insert(101, 140);
    await road.sql.source.script('commit');
    await road.run({ rows: 1000 });
    await road.insert(201, 220);
    // Large values are stored apart, and left out where an update does not change them.
    await road.sql.source.script('update everything set "text" = "text" || \'!\' where id between 101 and 140');
    await road.sql.source.script('update everything set id = id + 40 where id between 210 and 212');
    await road.sql.source.script('delete from everything where id in (3, 104, 204)');
    await road.run({ rows: 7 });
    expect(road.events.some((event) => event.after?.value(road.column('numeric')) === UNCHANGED)).toBe(true);
    await road.expectSame();
  });

  test('what is held is shown as it is, and arrives when it is released', async () => {
    await road.insert(HELD_FROM, HELD_FROM + 39);
    await road.run({ rows: 1000 });
    await road.expectShown();
    await road.release();
    await road.expectSame();
  });

  test('rules read what the source has', () => road.expectRules());
  test('features read what the source has', () => road.expectFeatures());
  test('values as rules read them, written as texts, are the same again', async () => {
    await road.expectSame('plain', await road.writeValues());
  });
});

test.runIf(versions.includes(OLDEST) && versions.includes(NEWEST))(
  'an infinite interval is refused by a target that knows none, and nothing else is made of it',
  async () => {
    await using road = await Road.open(NEWEST, OLDEST);
    await road.sql.source.script(`insert into everything (id, "interval") values (1, 'infinity'), (2, '1 day'), (3, '-infinity')`);
    await road.run({ rows: 1000 });
    expect((await road.sql.target.query('select id, "interval" from everything')).rows).toEqual([['2', '1 day']]);
  },
);

class Road implements AsyncDisposable {
  readonly sql: { readonly source: PgConnection; readonly target: PgConnection };
  /** Every event that came, as its stages saw it. */
  readonly events: ChangeEvent[] = [];
  readonly #databases: readonly [TestDatabase, TestDatabase];
  readonly #version: number;

  static async open(source: PostgresVersion, target: PostgresVersion): Promise<Road> {
    const databases = await Promise.all([createDatabase(urlOf(source), 'from'), createDatabase(urlOf(target), 'to')]);
    const [from, to] = await Promise.all(databases.map(({ url }) => PgConnection.connect({ url })));
    if (from === undefined || to === undefined) throw new Error('not connected');
    const road = new Road({ source: from, target: to }, databases, Math.min(source, target));
    // Other types come first at the target, so that no type of theirs has one OID on both.
    await to.script(`${Array.from({ length: 9 }, (_, i) => `create type other${i} as enum ('x')`).join('; ')}; ${TYPES_SQL}`);
    await from.script(TYPES_SQL);
    const oids = await Promise.all(
      [from, to].map((sql) => sql.query("select 'mood'::regtype::oid, 'pair'::regtype::oid, 'hstore'::regtype::oid")),
    );
    for (const place of [0, 1, 2]) expect(oids[0]?.rows[0]?.[place]).not.toBe(oids[1]?.rows[0]?.[place]);
    await from.script(`create table everything (id integer primary key, ${TYPES.map((type) => `${quoteIdent(type)} ${type}`).join(', ')})`);
    await from.script('create table marks (id integer primary key generated always as identity)');
    // Stored apart, so that updates leave them out.
    await from.script('alter table everything alter "numeric" set storage external, alter "text[]" set storage external');
    return road;
  }

  private constructor(sql: Road['sql'], databases: readonly [TestDatabase, TestDatabase], version: number) {
    this.sql = sql;
    this.#databases = databases;
    this.#version = version;
  }

  /** Rows of every value of every type; the last of a round are null, and columns with fewer values begin again. */
  async insert(from: number, to: number): Promise<void> {
    const names = TYPES.map((type) => quoteIdent(type)).join(', ');
    const casts = TYPES.map((type, i) => `$${i + 2}::text::${type}`).join(', ');
    for (let id = from; id <= to; id++) {
      const values = TYPES.map((type) => {
        const known = [...valuesOf(type, this.#version), ...(LARGE_VALUES[type] ?? [])];
        const place = (id - from) % (known.length + 1);
        return known[place] ?? null;
      });
      await this.sql.source.query(`insert into everything (id, ${names}) values ($1, ${casts})`, [id, ...values]);
    }
  }

  /** Runs the pipeline until it has what the source has now. */
  async run({ rows }: { readonly rows: number }): Promise<void> {
    await using sink = await this.#sink('public', 'types');
    const source = postgresSource({
      name: 'shop',
      url: this.#databases[0].url,
      slot: `types_${this.#databases[0].name}`,
      publication: 'tidegate',
      tables: ['public.everything', 'public.marks'],
      snapshot: { mode: 'initial', chunkRows: 1000, parallel: 1 },
      batch: { rows, bytes: 16 << 20, ageMs: 0 },
    });
    const { rows: ends } = await this.sql.source.query(`select lpad(to_hex((pg_current_wal_insert_lsn() - '0/0')::bigint), 16, '0')`);
    const end = ends[0]?.[0] ?? '';
    // Behind all others, so that the lane comes to stand behind them.
    await this.sql.source.script('insert into marks default values');
    const drain = new AbortController();
    const { lane } = source;
    const counted: Source = {
      name: source.name,
      read: (resume, signal) => source.read(resume, signal),
      acknowledge: async (checkpoint) => {
        await source.acknowledge(checkpoint);
        if (reachedLsn(checkpoint.position) >= end && source.progress().every(({ state }) => state === 'done')) drain.abort();
      },
      [Symbol.asyncDispose]: () => source[Symbol.asyncDispose](),
    };
    await runPipeline({ source: counted, stages: [this.#watch(), hold], sink }, { drain: drain.signal, abort: never });
    const position = (await sink.lanes()).find((one) => one.lane === lane)?.position ?? null;
    expect(position !== null && reachedLsn(position) >= end).toBe(true);
  }

  #watch(): Stage {
    return {
      name: 'cdc',
      run: async ({ events }) => {
        this.events.push(...events.filter(({ dataset }) => dataset.name === DATASET));
      },
    };
  }

  #sink(schema: string, pipeline: string): Promise<PostgresSink> {
    const options = { name: 'target', url: this.#databases[1].url, schema, tables: { create: true, widen: false } };
    return postgresSink({ ...options, hold: () => 'event', scores: [], pipeline });
  }

  get dataset(): Dataset {
    const dataset = this.events[0]?.dataset;
    if (dataset === undefined) throw new Error('no event came');
    return dataset;
  }

  column(type: string): number {
    return this.dataset.columns.findIndex(({ name }) => name === type);
  }

  /** The source's rows by id, as texts by type. */
  async #texts(): Promise<Map<number, Readonly<Record<string, string | null>>>> {
    const columns = TYPES.map((type) => textOf(type));
    const { rows } = await this.sql.source.query(`select id, ${columns.join(', ')} from everything order by id`);
    return new Map(rows.map(([id, ...cells]) => [Number(id), Object.fromEntries(TYPES.map((type, i) => [type, cells[i] ?? null]))]));
  }

  /** That the target's rows are the source's: all of them, or those with the given ids. */
  async expectSame(schema = 'public', ids: ReadonlySet<number> | null = null): Promise<void> {
    const texts = new Map([...(await this.#texts())].filter(([id]) => ids?.has(id) !== false));
    const { rows: refused } = await this.sql.target.query(
      "select findings -> 0 ->> 'message', count(*), min(key) from tidegate.quarantine where status = 'held' group by 1",
    );
    expect(refused, 'refused').toEqual([]);
    const target = this.sql.target;
    const qualified = `${schema}.everything`;
    const columns = TYPES.map((type) => textOf(type));
    const { rows } = await target.query(`select id, ${columns.join(', ')} from ${qualified} order by id`);
    expect(rows.map(([id]) => Number(id))).toEqual([...texts.keys()]);
    for (const [id, ...cells] of rows) {
      expect(Object.fromEntries(TYPES.map((type, i) => [type, cells[i] ?? null])), `row ${id} at ${qualified}`).toEqual(
        texts.get(Number(id)),
      );
    }
    // Byte for byte, against what the target itself makes of the texts.
    const names = TYPES.map((type) => quoteIdent(type));
    await target.script(`drop table if exists expected; create table expected (like ${qualified})`);
    const lines = [...texts].map(([id, row]) => `${[String(id), ...TYPES.map((type) => copyText(row[type] ?? null))].join('\t')}\n`);
    await target.copyIn(`copy expected (id, ${names.join(', ')}) from stdin`, [Buffer.from(lines.join(''))]);
    const differs = names.map(
      (name, i) => `case when not record_image_eq(row(e.${name}), row(t.${name})) then ${quoteLiteral(TYPES[i] ?? '')} end`,
    );
    const { rows: others } = await target.query(
      `select id, types from expected e join ${qualified} t using (id), array_to_string(array[${differs.join(', ')}], ', ') types where types <> ''`,
    );
    expect(others, `differ at ${qualified}`).toEqual([]);
  }

  /** The quarantine as people see it over HTTP, and as JSON in the target. */
  async expectShown(): Promise<void> {
    const texts = await this.#texts();
    await using sink = await this.#sink('public', 'types');
    const items = await sink.quarantine.find({ limit: 1000 });
    expect(items).toHaveLength(40);
    const { rows } = await this.sql.target.query('select q.id, j.key, j.value from tidegate.quarantine q, jsonb_each_text(row_json) j');
    const json = new Map(rows.map(([id, column, value]) => [`${id} ${column}`, value ?? null]));
    for (const item of items) {
      const detail = JSON.parse(JSON.stringify(itemDetail('types', item))) as ReturnType<typeof itemDetail>;
      const row = texts.get(Number(item.event.key));
      const shown = detail.columns.slice(1).map(({ name, after }) => [name, plain(name, after)]);
      const cut = (text: string | null): string | null => (text === null ? null : cutText(text, 2000)); // For people; releases have all of it.
      expect(shown, `item ${item.id}`).toEqual(TYPES.map((type) => [type, cut(plain(type, row?.[type] ?? null))]));
      // JSON has no -0.
      const kept = TYPES.map((type) => [type, plain(type, json.get(`${item.id} ${type}`) ?? null)]);
      const inJson = (type: string): string | null => (FLOATS.has(type) && row?.[type] === '-0' ? '0' : (row?.[type] ?? null));
      expect(kept, `${item.id} as JSON`).toEqual(TYPES.map((type) => [type, plain(type, inJson(type))]));
    }
  }

  async release(): Promise<void> {
    await using sink = await this.#sink('public', 'types');
    const items = await sink.quarantine.find({ limit: 1000 });
    await sink.quarantine.release(
      items.map(({ id }) => id),
      'test',
    );
    await replayReleased(sink, { lane: 'replay:types' as LaneId, stages: [this.#watch(), hold], batchRows: 25 });
    expect(new Set((await sink.quarantine.find({ limit: 1000 })).map(({ status }) => status))).toEqual(new Set(['applied']));
  }

  /** Of rows that were not changed since: the event that brought them. */
  #whole(): Map<number, ChangeEvent> {
    const whole = new Map<number, ChangeEvent>();
    for (const event of this.events) {
      if (event.movedFrom !== null) whole.delete(Number(event.movedFrom));
      if (event.op === 'insert' || event.op === 'read') whole.set(Number(event.key), event);
      else whole.delete(Number(event.key));
    }
    return whole;
  }

  /** Rules of every type against what SQL says: the first value alone passes, as a member of a set and in an expression; bounds of what has an order. */
  async expectRules(): Promise<void> {
    const events = [...this.#whole().values()];
    const texts = await this.#texts();
    for (const type of TYPES) {
      const kind = this.dataset.columns[this.column(type)]?.type ?? 'other';
      const values = [...new Set([...texts.values()].map((row) => row[type]))].filter((text) => typeof text === 'string');
      const value = values[0] ?? '';
      const cell = isNumber(kind) && !type.startsWith('reg') ? quoteIdent(type) : textOf(type);
      const equal = `${cell} = $1::text${isNumber(kind) && !type.startsWith('reg') ? `::${type}` : ''}`;
      const listed = kind === 'json' || kind === 'bytes' ? null : { in_set: [literal(kind, value)] };
      if (listed === null) await this.#expectRule(events, type, { not_null: true }, 'false', '');
      else await this.#expectRule(events, type, listed, equal, value);
      const written =
        kind === 'bytes'
          ? null
          : kind === 'integer'
            ? value
            : JSON.stringify(literal(kind, type.startsWith('character(') ? value.trimEnd() : value));
      if (written !== null)
        await this.#expectRule(
          events,
          type,
          { expr: `after[${JSON.stringify(type)}] == ${kind === 'decimal' ? `decimal(${JSON.stringify(value)})` : written}` },
          equal,
          value,
        );
      if (!isOrdered(kind, type)) continue;
      for (const bound of values.filter((text) => !/nan|infinity/i.test(text))) {
        const check = { between: { min: literal(kind, bound) } };
        const reaches = `${quoteIdent(type)} >= $1::text::${type} and ${quoteIdent(type)}::text <> 'NaN'`;
        await this.#expectRule(events, type, check, reaches, bound);
      }
    }
  }

  /** Only rows for which `condition` holds pass, and those whose cell is null, unless the rule is about that. */
  async #expectRule(
    events: readonly ChangeEvent[],
    type: string,
    check: Readonly<Record<string, unknown>>,
    condition: string,
    value: string,
  ) {
    const isOfRow = 'expr' in check;
    const rules = isOfRow ? `checks: ${JSON.stringify([check])}` : `columns: ${JSON.stringify({ [type]: [check] })}`;
    const parsed = parseContract(`apiVersion: quality/v1\nkind: DatasetRules\ndataset: ${DATASET}\n${rules}`, 'types.yaml');
    if ('problems' in parsed) throw new Error(`${type}: ${JSON.stringify(parsed.problems)}`);
    const compiled = compileContract(parsed.contract, this.dataset);
    const passed = new Set<number>();
    if (Array.isArray(compiled)) {
      // A rule that no value of the type could fail is refused: then all that have an order pass.
      expect(compiled.map(({ message }) => message).join(), `${type}: ${JSON.stringify(check)}`).toContain('can never fail');
      for (const { key } of events) passed.add(Number(key));
    } else {
      const batch = new Batch(events, { lane: LANE, position: '0' as Position });
      await qualityStage(new Map([[DATASET, parsed.contract]])).run(batch, never);
      for (const [i, { key }] of events.entries()) if (batch.passes(i)) passed.add(Number(key));
    }
    const isNull = `${quoteIdent(type)} is not distinct from null`;
    // In an expression a null is a value, and equal to no other.
    const passes = 'not_null' in check ? `not (${isNull}) or $1 <> $1` : isOfRow ? condition : `${isNull} or (${condition})`;
    const { rows } = await this.sql.source.query(`select id from everything where ${passes} order by id`, [value]);
    const ids = new Set(events.map(({ key }) => Number(key)));
    const wanted = rows.map(([id]) => Number(id)).filter((id) => ids.has(id));
    expect(
      [...passed].toSorted((x, y) => x - y),
      `${type}: ${JSON.stringify(check)}`,
    ).toEqual(wanted);
  }

  async expectFeatures(): Promise<void> {
    const texts = await this.#texts();
    const events = [...this.#whole().values()];
    const numeric = TYPES.filter((type) => isNumber(this.dataset.columns[this.column(type)]?.type ?? ''));
    expect(numeric.length).toBeGreaterThan(10);
    for (const type of numeric) {
      const column = this.dataset.columns[this.column(type)];
      const mapping: Mapping = {
        apiVersion: 'inference/v1',
        columns: { [type]: column?.type as 'integer' },
        features: [{ type: 'number', name: 'f', from: type, null: 'indicator' }],
      };
      const compiled = compileFeatures(mapping, this.dataset);
      if (compiled.kind === 'refused') throw new Error(`${type}: ${JSON.stringify(compiled.problems)}`);
      for (const event of events) {
        const text = texts.get(Number(event.key))?.[type];
        if (text === undefined) continue;
        const out = new Float32Array(2);
        const number = Math.fround(text === null ? 0 : Number(text));
        const outcome = compiled.encode(event, out, 0);

        if (Math.abs(Number(text)) <= 3.4028234663852886e38)
          expect([outcome, ...out], `${type} ${text}`).toEqual([ENCODED, number, text === null ? 1 : 0]);
        else expect(outcome, `${type} ${text}`).toBe(0); // Rejected: no model is asked about NaN or what is too large.
      }
    }
  }

  /** The same rows into tables of their own, as a source that brings plain values would. */
  async writeValues(): Promise<ReadonlySet<number>> {
    await using sink = await this.#sink('plain', 'plain');
    const plainEvents: ChangeEvent[] = [];
    for (const event of this.#whole().values()) {
      if (event.after === null) continue;
      const { after } = event;
      plainEvents.push({
        ...asPlain(event),
        op: 'insert',
        before: null,
        after: new ValueRow(...this.dataset.columns.map((_, i) => after.value(i))),
      });
    }
    const half = plainEvents.length - 20;
    const lane = 'plain' as LaneId;
    const batches = [
      new Batch(plainEvents.slice(0, half), { lane, position: '1' as Position }),
      ...plainEvents.slice(half).map((event, i) => new Batch([event], { lane, position: `2${String(i).padStart(2, '0')}` as Position })),
    ];
    const source: Source = {
      name: 'plain',
      async *read(resume) {
        await resume(lane);
        yield* batches;
      },
      acknowledge: async () => {},
      [Symbol.asyncDispose]: async () => {},
    };
    await runPipeline({ source, stages: [], sink }, { drain: never, abort: never });
    return new Set(plainEvents.map(({ key }) => Number(key)));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([this.sql.source.close(), this.sql.target.close()]);
    await Promise.all(this.#databases.map((database) => database[Symbol.asyncDispose]()));
  }
}

/** Holds the rows it is told to, but for those that a person released. */
const hold: Stage = {
  name: 'quality',
  run: async (batch) => {
    for (const [index, event] of batch.events.entries()) {
      if (batch.origin === 'replay' || event.dataset.name !== DATASET || Number(event.key) < HELD_FROM) continue;
      batch.mark({
        index,
        stage: 'quality',
        rule: 'held',
        column: null,
        verdict: Verdict.Quarantine,
        severity: 'info',
        message: 'is held',
        notify: false,
      });
    }
  },
};

const asPlain = ({ dataset, key, version, ordinal, committedAtMs }: ChangeEvent) => ({
  dataset,
  key,
  movedFrom: null,
  version,
  ordinal,
  committedAtMs,
});

/** A column as the server writes it (a cast to text may do otherwise), null where it is null. */
function textOf(type: string): string {
  const cell = `${quoteIdent(type)}${COMPARED_AS[type] === undefined ? '' : `::${COMPARED_AS[type]}`}`;
  return `case when ${cell} is distinct from null then format('%s', ${cell}) end`;
}

const isNumber = (kind: string): boolean => kind === 'integer' || kind === 'float' || kind === 'decimal';
const FLOATS = new Set(['real', 'double precision']);

/** A text of ours and one of the server's, made comparable: floats are numbers, and shown as JavaScript does. */
function plain(type: string, text: string | null): string | null {
  if (text === null) return null;
  if (type === 'boolean') return text.slice(0, 1);
  return FLOATS.has(type) ? (text === '-0' ? '-0' : String(Number(text))) : text;
}

/** A value as a rule file has it. */
function literal(kind: string, value: string): string | number | boolean {
  if (kind === 'boolean') return value === 't';
  if (kind === 'float') return Number(value);
  return (kind === 'integer' || kind === 'decimal') && /^-?\d{1,15}$/.test(value) ? Number(value) : value;
}

/** What rules order as the database does. */
const isOrdered = (kind: string, type: string): boolean =>
  (isNumber(kind) && !type.startsWith('reg') && type !== 'xid' && type !== 'cid') ||
  ['date', 'timestamp'].includes(kind) ||
  ['time', 'uuid', 'macaddr', 'bit(9)', 'bit varying'].includes(type);
