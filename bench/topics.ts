/**
 * Tidegate beside Debezium's connector for PostgreSQL: the same inserts of the same table, from a slot into four partitions of the same broker; alternating runs, records counted
 * in the topic. A run is timed from a tenth of its records to the last one, since both take a moment to begin.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { NODE_FLAGS } from '../app/node-flags.ts';
import { type EmbeddedServer, startEmbeddedPostgres } from '../examples/embedded-postgres.ts';
import { type Format, mustRun, postgresConnector, putConnector, removeConnector } from '../examples/stack/debezium.ts';
import { type Stack, startStack } from '../examples/stack/stack.ts';
import { type Compression, kafkaClient } from '../wire/kafka/client.ts';
import { PgConnection } from '../wire/postgres/connection.ts';
import { cpuSeconds } from './cpu.ts';
import { ended } from './child.ts';
import { type KafkaBenchOptions, median, ORDERS, round, SETTINGS, until, VALUES } from './kafka.ts';
import type { TopicsTask } from './topics-child.ts';

type Side = { readonly name: string } & (
  | { readonly kind: 'debezium'; readonly compression: Compression }
  | { readonly kind: 'ours'; readonly compression: Compression; readonly exactlyOnce: boolean; readonly rules: 0 | 5 }
);

const SIDES: readonly Side[] = [
  { name: 'Debezium', kind: 'debezium', compression: 'none' },
  { name: 'Debezium, lz4', kind: 'debezium', compression: 'lz4' },
  { name: 'no rules', kind: 'ours', compression: 'none', exactlyOnce: false, rules: 0 },
  { name: 'five rules', kind: 'ours', compression: 'none', exactlyOnce: false, rules: 5 },
  { name: 'five rules, lz4', kind: 'ours', compression: 'lz4', exactlyOnce: false, rules: 5 },
  { name: 'five rules, exactly once', kind: 'ours', compression: 'none', exactlyOnce: true, rules: 5 },
];
export const TOPICS_SIDES: readonly string[] = SIDES.map(({ name }) => name);
const FORMATS: readonly Format[] = ['json', 'flat', 'avro'];
const PARTITIONS = 4;
const TRANSACTION_ROWS = 10_000;

interface Run {
  readonly rowsPerSecond: number;
  /** Microseconds a row. */
  readonly cpuSide: number;
  readonly cpuBroker: number;
}

export async function benchTopics(options: KafkaBenchOptions): Promise<void> {
  const say = (text: string): void => void process.stderr.write(`${text}\n`);
  const folder = mkdtempSync(join(tmpdir(), 'tidegate-bench-'));
  await using cleanup = new AsyncDisposableStack();
  cleanup.defer(() => rmSync(folder, { recursive: true, force: true }));
  const [stack, source, store] = await Promise.all([
    startStack(join(folder, 'stack'), { say, isLoaded: true }),
    startEmbeddedPostgres({ ...SETTINGS, wal_level: 'logical' }),
    startEmbeddedPostgres({ ...SETTINGS, max_prepared_transactions: '10' }),
  ]);
  for (const one of [stack, source, store]) cleanup.defer(() => one.stop());
  const sql = await PgConnection.connect({ url: source.url() });
  cleanup.defer(() => sql.close());
  const bench = { stack, source, store, sql, rows: options.rows };
  const results: { readonly format: Format; readonly side: string; readonly run: Run }[] = [];
  for (const format of FORMATS) {
    if (!format.includes(options.only)) continue;
    for (let round_ = 0; round_ < options.runs; round_++) {
      for (const side of SIDES) {
        if (!options.sides.includes(side.name)) continue;
        const run = await runSide(bench, format, side, `b${results.length}_${format}`);
        results.push({ format, side: side.name, run });
        say(`  ${format} | ${side.name}: ${Math.round(run.rowsPerSecond / 100) / 10}k rows/s, ${run.cpuSide.toFixed(1)} us a row`);
      }
    }
  }
  process.stdout.write(
    options.json ? `${JSON.stringify({ rows: options.rows, node: process.version, results }, null, 2)}\n` : tableOf(results),
  );
}

interface Bench {
  readonly stack: Stack;
  readonly source: EmbeddedServer;
  readonly store: EmbeddedServer;
  readonly sql: PgConnection;
  readonly rows: number;
}

async function runSide({ stack, source, store, sql, rows }: Bench, format: Format, side: Side, prefix: string): Promise<Run> {
  await sql.script(
    `drop table if exists orders; create table orders (${ORDERS}); insert into orders select ${VALUES} from generate_series(0, 0) n`,
  );
  await using client = kafkaClient({ brokers: [stack.broker] });
  const topic = `${prefix}.public.orders`;
  const count = async (): Promise<number> => {
    if (side.kind === 'debezium') await mustRun(stack.connectUrl, prefix);
    const kept = await client.watermarks(topic).catch(() => null); // Its partitions have no leaders yet.
    return [...(kept?.values() ?? [])].reduce((sum, { high }) => sum + Number(high), 0);
  };
  const child = side.kind === 'ours' ? ours({ stack, source, store }, format, side, prefix) : null;
  if (side.kind === 'debezium') await putConnector(stack.connectUrl, prefix, debezium(stack, source, format, prefix, side.compression));
  const cpu = (): readonly [number, number] => [cpuSeconds(child?.pid ?? stack.pids.connect), cpuSeconds(stack.pids.broker)];
  try {
    await until(async () => (await count()) >= 1);
    const writing = write(sql, rows);
    await until(async () => (await count()) >= rows / 10);
    const [first, before, began] = [await count(), cpu(), performance.now()];
    await until(async () => (await count()) >= rows + 1);
    const seconds = (performance.now() - began) / 1000;
    const after = cpu();
    await writing;
    const rest = rows + 1 - first;
    const cost = (of: 0 | 1): number => ((after[of] - before[of]) / rest) * 1e6;
    return { rowsPerSecond: rest / seconds, cpuSide: cost(0), cpuBroker: cost(1) };
  } finally {
    if (child === null) await removeConnector(stack.connectUrl, prefix);
    else await ended(child);
    await sql.query('select pg_drop_replication_slot(slot_name) from pg_replication_slots where not active');
  }
}

async function write(sql: PgConnection, rows: number): Promise<void> {
  for (let from = 1; from <= rows; from += TRANSACTION_ROWS)
    await sql.script(`insert into orders select ${VALUES} from generate_series(${from}, ${Math.min(rows, from + TRANSACTION_ROWS - 1)}) n`);
}

function ours(
  { stack, source, store }: Pick<Bench, 'stack' | 'source' | 'store'>,
  format: Format,
  { compression, exactlyOnce, rules }: Extract<Side, { kind: 'ours' }>,
  prefix: string,
): ChildProcess {
  const task: TopicsTask = {
    broker: stack.broker,
    registry: format === 'avro' ? stack.ccompatUrl : null,
    schemas: format === 'json',
    source: source.url(),
    store: store.url(),
    prefix,
    partitions: PARTITIONS,
    compression,
    exactlyOnce,
    rules,
  };
  const script = fileURLToPath(new URL('./topics-child.ts', import.meta.url));
  return spawn(process.execPath, [...NODE_FLAGS, '--disable-warning=TimeoutNegativeWarning', script, JSON.stringify(task)], {
    stdio: ['ignore', 'ignore', 'inherit'],
  });
}

/** The best settings that were found. */
const debezium = (stack: Stack, source: EmbeddedServer, format: Format, prefix: string, compression: Compression) => ({
  ...postgresConnector(stack, { url: source.url(), prefix, tables: ['public.orders'], format }),
  'topic.creation.default.partitions': String(PARTITIONS),
  'max.batch.size': '8192',
  'max.queue.size': '32768',
  'producer.override.compression.type': compression,
  'producer.override.linger.ms': '5',
  'producer.override.batch.size': '524288',
});

function tableOf(results: readonly { readonly format: Format; readonly side: string; readonly run: Run }[]): string {
  const lines = ['format | side | rows/s | CPU us a row: side / broker'];
  for (const format of FORMATS)
    for (const side of TOPICS_SIDES) {
      const runs = results.flatMap((one) => (one.format === format && one.side === side ? [one.run] : []));
      if (runs.length === 0) continue;
      const of = (key: keyof Run): number => round(median(runs.map((run) => run[key])));
      lines.push(`${format} | ${side} | ${Math.round(of('rowsPerSecond'))} | ${of('cpuSide')} / ${of('cpuBroker')}`);
    }
  return `${lines.join('\n')}\n`;
}
