/**
 * Tidegate beside Debezium's JDBC sink: the same topics, as Debezium's source wrote them in four partitions, upserted into the same server; alternating runs,
 * rows counted in the target. A run is timed from a tenth of its rows to the last one, since both take a second to begin.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { NODE_FLAGS } from '../app/node-flags.ts';
import { type EmbeddedServer, startEmbeddedPostgres } from '../examples/embedded-postgres.ts';
import {
  type ConnectorConfig,
  type Format,
  mustRun,
  postgresConnector,
  putConnector,
  removeConnector,
} from '../examples/stack/debezium.ts';
import { fetchJdbcSink, jdbcSink } from '../examples/stack/jdbc-sink.ts';
import { type Stack, startStack } from '../examples/stack/stack.ts';
import { kafkaClient } from '../wire/kafka/client.ts';
import { PgConnection } from '../wire/postgres/connection.ts';
import { ended } from './child.ts';
import { cpuSeconds } from './cpu.ts';
import type { KafkaTask } from './kafka-child.ts';

export interface KafkaBenchOptions {
  readonly rows: number;
  readonly runs: number;
  /** Only cells whose name contains this. */
  readonly only: string;
  /** Which of KAFKA_SIDES run. */
  readonly sides: readonly string[];
  readonly json: boolean;
}

type Side = { readonly name: string } & (
  { readonly kind: 'sink'; readonly tasks: number } | { readonly kind: 'ours'; readonly workers: number; readonly rules: 0 | 5 }
);

const SIDES: readonly Side[] = [
  { name: 'sink, 1 task', kind: 'sink', tasks: 1 },
  { name: 'sink, 4 tasks', kind: 'sink', tasks: 4 },
  { name: 'no rules', kind: 'ours', workers: 1, rules: 0 },
  { name: 'five rules', kind: 'ours', workers: 1, rules: 5 },
  { name: 'five rules, 2 workers', kind: 'ours', workers: 2, rules: 5 },
  { name: 'five rules, 4 workers', kind: 'ours', workers: 4, rules: 5 },
];

export const KAFKA_SIDES: readonly string[] = SIDES.map(({ name }) => name);

const PARTITIONS = 4;
export const ORDERS = `id bigint primary key, customer_id bigint not null, status text not null, currency text not null, country text not null,
  net numeric(12,2) not null, tax numeric(12,2) not null, total numeric(12,2) not null, items integer not null, channel text not null, email text,
  note text, created_at timestamptz not null, updated_at timestamptz not null`;
export const VALUES = `n, 1 + n % 50000, (array['new','paid','shipped','cancelled'])[1 + n % 4], (array['EUR','USD','GBP'])[1 + n % 3],
  (array['DE','US','GB','FR','NL'])[1 + n % 5], (n % 90000) / 100.0, 1.90, (n % 90000) / 100.0 + 1.90, 1 + n % 9, (array['web','app','store'])[1 + n % 3],
  'customer' || (n % 50000) || '@example.com', 'left at the door', clock_timestamp(), clock_timestamp()`;
/** What the sink can only take without its fast way of writing, though most tables have some of it. */
const TABLES = {
  orders: { columns: ORDERS, values: VALUES, isPlain: true },
  parcels: {
    columns: `${ORDERS}, day date not null, packed_at timestamp not null, label bytea not null`,
    values: `${VALUES}, date '2026-01-01' + n % 365, localtimestamp, decode(md5(n::text), 'hex')`,
    isPlain: false,
  },
} as const;
type Table = keyof typeof TABLES;

interface Run {
  readonly rowsPerSecond: number;
  /** CPU-seconds for a million rows, and so microseconds a row. */
  readonly cpuSide: number;
  readonly cpuTarget: number;
  readonly cpuBroker: number;
}

export const SETTINGS = { shared_buffers: '512MB', max_wal_size: '8GB', checkpoint_timeout: '30min', autovacuum: 'off' };

export async function benchKafka(options: KafkaBenchOptions): Promise<void> {
  const say = (text: string): void => void process.stderr.write(`${text}\n`);
  const folder = mkdtempSync(join(tmpdir(), 'tidegate-bench-'));
  await using cleanup = new AsyncDisposableStack();
  cleanup.defer(() => rmSync(folder, { recursive: true, force: true }));
  const [stack, source, target] = await Promise.all([
    startStack(join(folder, 'stack'), { say, isLoaded: true, plugins: [fetchJdbcSink(say)] }),
    startEmbeddedPostgres(SETTINGS),
    startEmbeddedPostgres(SETTINGS),
  ]);
  for (const one of [stack, source, target]) cleanup.defer(() => one.stop());
  const bench = await Bench.open(stack, source, target, options.rows);
  cleanup.defer(() => bench.close());
  const cells: Cell[] = [];
  for (const table of Object.keys(TABLES) as Table[]) {
    for (const format of ['avro', 'json'] as const) {
      const name = `${format} ${table}`;
      if (!name.includes(options.only)) continue;
      say(`Debezium writes ${options.rows} rows: ${name} …`);
      const topic = await bench.fill(table, format);
      const runs = new Map<string, Run[]>();
      for (let round = 0; round < options.runs; round++) {
        for (const side of SIDES) {
          if (!options.sides.includes(side.name)) continue;
          const run = await bench.run(table, format, topic, side);
          runs.set(side.name, [...(runs.get(side.name) ?? []), run]);
          say(`  ${name} | ${side.name}: ${Math.round(run.rowsPerSecond / 100) / 10}k rows/s, ${run.cpuSide.toFixed(1)} us a row`);
        }
      }
      cells.push(compared(name, runs));
    }
  }
  const result = { rows: options.rows, runs: options.runs, node: process.version, cells };
  process.stdout.write(options.json ? `${JSON.stringify(result, null, 2)}\n` : tableOf(cells));
}

class Bench {
  readonly #stack: Stack;
  readonly #source: EmbeddedServer;
  readonly #target: EmbeddedServer;
  readonly #sourceSql: PgConnection;
  readonly #targetSql: PgConnection;
  readonly #rows: number;
  #runs = 0;

  private constructor(
    stack: Stack,
    source: EmbeddedServer,
    target: EmbeddedServer,
    sql: readonly [PgConnection, PgConnection],
    rows: number,
  ) {
    this.#stack = stack;
    this.#source = source;
    this.#target = target;
    [this.#sourceSql, this.#targetSql] = sql;
    this.#rows = rows;
  }

  static async open(stack: Stack, source: EmbeddedServer, target: EmbeddedServer, rows: number): Promise<Bench> {
    const sql = await Promise.all([PgConnection.connect({ url: source.url() }), PgConnection.connect({ url: target.url() })]);
    return new Bench(stack, source, target, sql, rows);
  }

  async close(): Promise<void> {
    await Promise.all([this.#sourceSql.close(), this.#targetSql.close()]);
  }

  /** Has Debezium write a topic of all rows, and answers its name. */
  async fill(table: Table, format: Format): Promise<string> {
    const { columns, values } = TABLES[table];
    await this.#sourceSql.script(`drop table if exists ${table}; create table ${table} (${columns})`);
    await this.#sourceSql.script(`insert into ${table} select ${values} from generate_series(1, ${this.#rows}) n`);
    const prefix = `${format}_${table}`;
    const config = postgresConnector(this.#stack, { url: this.#source.url(), prefix, tables: [`public.${table}`], format });
    await putConnector(this.#stack.connectUrl, prefix, {
      ...config,
      'topic.creation.default.partitions': String(PARTITIONS),
      'snapshot.fetch.size': '10000',
      'max.batch.size': '8192',
      'max.queue.size': '32768',
    });
    const topic = `${prefix}.public.${table}`;
    await using client = kafkaClient({ brokers: [this.#stack.broker] });
    await until(async () => {
      const kept = await client.watermarks(topic).catch(() => null); // Its partitions have no leaders yet.
      return [...(kept ?? []).values()].reduce((sum, { high }) => sum + Number(high), 0) >= this.#rows;
    });
    await removeConnector(this.#stack.connectUrl, prefix);
    return topic;
  }

  async run(table: Table, format: Format, topic: string, side: Side): Promise<Run> {
    await this.#targetSql.script(
      `drop table if exists ${table}; drop schema if exists tidegate cascade; create table ${table} (${TABLES[table].columns})`,
    );
    await this.#targetSql.script('checkpoint');
    const name = `run_${++this.#runs}`;
    const children: ChildProcess[] = [];
    if (side.kind === 'sink')
      await putConnector(this.#stack.connectUrl, name, sinkConfig(this.#stack, this.#target, topic, table, format, side.tasks));
    else for (let n = 0; n < side.workers; n++) children.push(this.#worker(table, format, topic, name, side.rules));
    const pids = side.kind === 'sink' ? [this.#stack.pids.connect] : children.map(({ pid }) => pid ?? 0);
    try {
      const first = await this.#count(table, this.#rows / 10, name, side);
      const before = this.#cpu(pids);
      const began = performance.now();
      const rest = this.#rows - first;
      await this.#count(table, this.#rows, name, side);
      const seconds = (performance.now() - began) / 1000;
      const after = this.#cpu(pids);
      await this.#verify(table);
      const cost = (of: 0 | 1 | 2): number => ((after[of] - before[of]) / rest) * 1e6;
      return { rowsPerSecond: rest / seconds, cpuSide: cost(0), cpuTarget: cost(1), cpuBroker: cost(2) };
    } finally {
      if (side.kind === 'sink') await removeConnector(this.#stack.connectUrl, name);
      await Promise.all(children.map(ended));
    }
  }

  #worker(table: Table, format: Format, topic: string, group: string, rules: 0 | 5): ChildProcess {
    const task: KafkaTask = {
      broker: this.#stack.broker,
      registry: format === 'avro' ? this.#stack.ccompatUrl : null,
      group,
      table: { table: `public.${table}`, topic, columns: null },
      target: this.#target.url(),
      rules,
    };
    const script = fileURLToPath(new URL('./kafka-child.ts', import.meta.url));
    return spawn(process.execPath, [...NODE_FLAGS, '--disable-warning=TimeoutNegativeWarning', script, JSON.stringify(task)], {
      stdio: ['ignore', 'ignore', 'inherit'],
    });
  }

  /** Waits for so many rows, and answers how many there are by then. */
  async #count(table: Table, rows: number, name: string, side: Side): Promise<number> {
    let seen = 0;
    await until(async () => {
      seen = Number((await this.#targetSql.query(`select count(*) from ${table}`)).rows[0]?.[0]);
      if (seen === 0 && side.kind === 'sink') await mustRun(this.#stack.connectUrl, name);
      return seen >= rows;
    });
    return seen;
  }

  #cpu(pids: readonly number[]): readonly [number, number, number] {
    const own = pids.reduce((sum, pid) => sum + cpuSeconds(pid), 0);
    return [own, cpuSeconds(this.#target.pid ?? 0), cpuSeconds(this.#stack.pids.broker)];
  }

  /** A fast side that lost a row, or a digit, would be no side at all. */
  async #verify(table: Table): Promise<void> {
    const digest = `select count(*), sum(hashtextextended(row(t.*)::text, 0)) from ${table} t`;
    const [ours, theirs] = [await this.#targetSql.query(digest), await this.#sourceSql.query(digest)];
    if (ours.rows[0]?.join() !== theirs.rows[0]?.join())
      throw new Error(`the target differs from the source: ${ours.rows[0]?.join()} / ${theirs.rows[0]?.join()}`);
  }
}

/** The best settings that were found, for a table that is there: as ours is. */
function sinkConfig(stack: Stack, target: EmbeddedServer, topic: string, table: Table, format: Format, tasks: number): ConnectorConfig {
  return {
    ...jdbcSink(stack, { url: target.url(), topic, table, format }),
    'tasks.max': String(tasks),
    'schema.evolution': 'none',
    'batch.size': '5000',
    'use.reduction.buffer': 'true',
    'dialect.postgres.unnest.insert.enabled': String(TABLES[table].isPlain),
    'consumer.override.max.poll.records': '5000',
    'consumer.override.max.partition.fetch.bytes': '33554432',
    'consumer.override.fetch.max.bytes': '134217728',
  };
}

export async function until(condition: () => Promise<boolean>): Promise<void> {
  const deadline = performance.now() + 300_000;
  while (!(await condition())) {
    if (performance.now() > deadline) throw new Error('nothing moves any more: gave up after 300 s');
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

interface Cell {
  readonly cell: string;
  /** Rows a second, and CPU of the side, as times of the sink's better one. */
  readonly ratios: Readonly<Record<string, { readonly rows: number; readonly cpu: number }>>;
  readonly medians: Readonly<Record<string, Run>>;
}

export const median = (values: readonly number[]): number => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;
export const round = (value: number): number => Math.round(value * 100) / 100;

function compared(cell: string, runs: ReadonlyMap<string, readonly Run[]>): Cell {
  const medians = Object.fromEntries(
    [...runs].map(([side, all]) => {
      const of = (key: keyof Run): number => round(median(all.map((run) => run[key])));
      return [side, { rowsPerSecond: of('rowsPerSecond'), cpuSide: of('cpuSide'), cpuTarget: of('cpuTarget'), cpuBroker: of('cpuBroker') }];
    }),
  );
  const sinks = Object.entries(medians).flatMap(([side, run]) => (side.startsWith('sink') ? [run] : []));
  const best = { rows: Math.max(...sinks.map((run) => run.rowsPerSecond)), cpu: Math.min(...sinks.map((run) => run.cpuSide)) };
  const ratios = Object.fromEntries(
    Object.entries(medians).map(([side, run]) => [
      side,
      { rows: round(run.rowsPerSecond / best.rows), cpu: round(best.cpu / run.cpuSide) },
    ]),
  );
  return { cell, ratios, medians };
}

function tableOf(cells: readonly Cell[]): string {
  const lines = ['cell | side | rows/s | ratio | CPU us a row: side / target / broker | ratio of the CPU'];
  for (const { cell, ratios, medians } of cells)
    for (const [side, run] of Object.entries(medians))
      lines.push(
        `${cell} | ${side} | ${Math.round(run.rowsPerSecond)} | ${ratios[side]?.rows} | ${run.cpuSide} / ${run.cpuTarget} / ${run.cpuBroker} | ${ratios[side]?.cpu}`,
      );
  return `${lines.join('\n')}\n`;
}
