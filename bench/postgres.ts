/**
 * Tidegate beside CREATE SUBSCRIPTION: the same WAL (each run reads a copy of one slot), the same two servers, alternating runs,
 * medians and ratios. A run is timed from the moment its first change is visible at the target until its last one is.
 */
import type { ChildProcess } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { type EmbeddedServer, startEmbeddedPostgres } from '../examples/embedded-postgres.ts';
import { PgConnection } from '../wire/postgres/connection.ts';
import { type Child, ended, startChild } from './child.ts';
import { cpuSeconds, residentMiB } from './cpu.ts';

export interface BenchOptions {
  /** Rows of each run. */
  readonly rows: number;
  /** Runs of each side of a cell; the median counts. */
  readonly runs: number;
  /** Which of SIDES run. */
  readonly sides: readonly string[];
  /** Only cells whose name contains this. */
  readonly only: string;
  readonly json: boolean;
  readonly quick: boolean;
  /** logical_decoding_work_mem of the source, for both sides; null for the server's own. */
  readonly decodingMemory: string | null;
  /** Whether both sides come by the servers' Unix sockets. */
  readonly socket: boolean;
  /** By how many microseconds more the target's disk seems to take for a durable commit (its commit_delay), for both sides; null as it is. */
  readonly commitDelay: string | null;
}

interface Cell {
  readonly operation: 'insert' | 'update';
  readonly perTransaction: number;
  readonly synchronousCommit: 'on' | 'off';
}

/** Stands for all rows of a run in one transaction. */
const ALL = Number.POSITIVE_INFINITY;
/** A table that is copied has so many times the rows of a run. */
const SNAPSHOT_ROWS = 10;

/** What a side has to do to the rows: the subscription can only pass them on. */
export interface Work {
  readonly rules: 0 | 5 | 20;
  readonly model: boolean;
  /** It begins with the rows that are there. */
  readonly snapshot?: boolean;
}

interface Run {
  readonly rowsPerSecond: number;
  readonly cpuSource: number;
  readonly cpuService: number;
  readonly cpuTarget: number;
  readonly peakMiB: number;
}

const VARIANTS: readonly { readonly name: string; readonly work: Work }[] = [
  { name: 'no rules', work: { rules: 0, model: false } },
  { name: 'five rules', work: { rules: 5, model: false } },
  { name: 'twenty rules', work: { rules: 20, model: false } },
  { name: 'five rules, model', work: { rules: 5, model: true } },
];

export const SIDES: readonly string[] = ['subscription', ...VARIANTS.map(({ name }) => name)];

const COLUMNS = `id bigint primary key, customer_id bigint not null, status text not null, currency text not null, country text not null,
  net numeric(12,2) not null, tax numeric(12,2) not null, total numeric(12,2) not null, items integer not null, channel text not null, email text,
  note text, created_at timestamptz not null, updated_at timestamptz not null`;

const SETTINGS = {
  shared_buffers: '512MB',
  max_wal_size: '8GB',
  checkpoint_timeout: '30min',
  wal_retrieve_retry_interval: '10ms',
  max_replication_slots: '60',
  max_wal_senders: '60',
  autovacuum: 'off',
};

export async function benchPostgres(options: BenchOptions): Promise<void> {
  const say = (text: string): void => void process.stderr.write(`${text}\n`);
  const decoding = options.decodingMemory === null ? {} : { logical_decoding_work_mem: options.decodingMemory };
  const settings = { ...SETTINGS, ...(options.socket ? { unix_socket_directories: '.' } : {}) }; // Relative to the data folder.
  const slower = options.commitDelay === null ? {} : { commit_delay: options.commitDelay, commit_siblings: '0' };
  const [source, target] = await Promise.all([
    startEmbeddedPostgres({ ...settings, ...decoding }),
    startEmbeddedPostgres({ ...settings, ...slower }),
  ]);
  try {
    const bench = await Bench.open(source, target, options);
    const cells: Record<string, unknown>[] = [];
    for (const operation of ['insert', 'update'] as const) {
      for (const perTransaction of [1, 10, 1000, ALL]) {
        const names = (['off', 'on'] as const).map((synchronousCommit) => ({ operation, perTransaction, synchronousCommit }));
        const wanted = names.filter((cell) => nameOf(cell).includes(options.only) || options.only.includes(nameOf(cell)));
        if (wanted.length === 0) continue;
        say(`writing ${operation}s in transactions of ${sizeOf(perTransaction)} …`);
        await bench.write(operation, perTransaction, options.rows);
        for (const cell of wanted) cells.push(await bench.compare(cell, options, say));
      }
    }
    if ('snapshot'.includes(options.only)) cells.push(await bench.snapshot(options, say));
    const latency = 'latency'.includes(options.only) ? await bench.latency(options.quick ? 5 : 12, say) : null;
    await bench.close();
    if (options.json)
      process.stdout.write(
        `${JSON.stringify({ rows: options.rows, runs: options.runs, node: process.version, cells, latency }, null, 2)}\n`,
      );
    else process.stdout.write(table(cells, latency));
  } finally {
    await Promise.all([source.stop(), target.stop()]);
  }
}

const sizeOf = (perTransaction: number): string => (perTransaction === ALL ? 'all' : String(perTransaction));
const nameOf = (cell: Cell): string => `${cell.operation} tx${sizeOf(cell.perTransaction)} sync ${cell.synchronousCommit}`;

/** The two servers with the table on both, and one recorded stretch of WAL at a time. */
class Bench {
  readonly #source: EmbeddedServer;
  readonly #target: EmbeddedServer;
  readonly #sourceSql: PgConnection;
  readonly #targetSql: PgConnection;
  /** Rows of the workload that is recorded now. */
  #rows: number;
  readonly #socket: boolean;
  #mark = 0;
  #copies = 0;
  /** Throws if the process that is measured has ended. */
  #check: () => void = () => {};

  private constructor(
    source: EmbeddedServer,
    target: EmbeddedServer,
    sourceSql: PgConnection,
    targetSql: PgConnection,
    { rows, socket }: Pick<BenchOptions, 'rows' | 'socket'>,
  ) {
    this.#source = source;
    this.#target = target;
    this.#sourceSql = sourceSql;
    this.#targetSql = targetSql;
    this.#rows = rows;
    this.#socket = socket;
  }

  static async open(source: EmbeddedServer, target: EmbeddedServer, options: Pick<BenchOptions, 'rows' | 'socket'>): Promise<Bench> {
    const sourceSql = await PgConnection.connect({ url: source.url() });
    const targetSql = await PgConnection.connect({ url: target.url() });
    const tables = (extra: string): string =>
      `create table orders (${COLUMNS}${extra}); create table marks (id bigint primary key, at timestamptz not null default clock_timestamp());`;
    await sourceSql.script(tables(''));
    // What a run has to write again is kept beside it, so that every run of updates starts from the same rows.
    await targetSql.script(`${tables(', applied_at timestamptz default clock_timestamp()')} create table orders_base (like orders);`);
    await sourceSql.script(`
      create publication bench for table orders, marks;
      create function order_row(n bigint, round integer) returns orders language sql volatile as $$
        select n, 1 + n % 50000, (array['new','paid','shipped','cancelled'])[1 + (n + round) % 4], (array['EUR','USD','GBP'])[1 + n % 3],
          (array['DE','US','GB','FR','NL'])[1 + n % 5], (n % 90000) / 100.0 + round, 1.90, (n % 90000) / 100.0 + round + 1.90, (1 + n % 9)::integer,
          (array['web','app','store'])[1 + n % 3], 'customer' || (n % 50000) || '@example.com', 'left at the door, round ' || round, clock_timestamp(), clock_timestamp() $$;
      create procedure write_inserts(amount bigint, size bigint) language plpgsql as $$
        begin for n in 0 .. amount / size - 1 loop
          insert into orders select made.* from generate_series(1, size) i, order_row(n * size + i, 0) made; commit; end loop; end $$;
      create procedure write_updates(amount bigint, size bigint, round integer) language plpgsql as $$
        begin for n in 0 .. amount / size - 1 loop
          update orders set status = (array['new','paid','shipped','cancelled'])[1 + (id + round) % 4], net = net + 1, total = total + 1, items = items % 9 + 1,
            note = 'left at the door, round ' || round, updated_at = clock_timestamp()
            where id = any (array(select 1 + (((n * size + i) * 7919) % amount) from generate_series(1, size) i)); commit; end loop; end $$;`);
    return new Bench(source, target, sourceSql, targetSql, options);
  }

  async close(): Promise<void> {
    await this.#sourceSql.close();
    await this.#targetSql.close();
  }

  /** Records one workload between two marks, after a slot of its own; the target's starting rows are put aside. */
  async write(operation: 'insert' | 'update', perTransaction: number, rows: number): Promise<void> {
    this.#rows = rows;
    const size = Math.min(perTransaction, rows);
    const sql = this.#sourceSql;
    await this.#dropSlots();
    if (operation === 'insert') await sql.script('truncate orders');
    else if ((await sql.query('select count(*) from orders')).rows[0]?.[0] !== String(this.#rows)) {
      await sql.script('truncate orders');
      await sql.script(`call write_inserts(${this.#rows}, 1000)`);
    }
    await this.#targetSql.script('truncate orders, orders_base');
    if (operation === 'update') await this.#copyBase();
    await sql.query("select pg_create_logical_replication_slot('base', 'pgoutput')");
    this.#mark += 2;
    await sql.query('insert into marks (id) values ($1)', [this.#mark]);
    await sql.script(
      operation === 'insert' ? `call write_inserts(${rows}, ${size})` : `call write_updates(${rows}, ${size}, ${this.#mark})`,
    );
    await sql.query('insert into marks (id) values ($1)', [this.#mark + 1]);
    await sql.script('checkpoint');
  }

  async #copyBase(): Promise<void> {
    const columns = 'id, customer_id, status, currency, country, net, tax, total, items, channel, email, note, created_at, updated_at';
    const out = this.#sourceSql.copyOut(`copy (select ${columns} from orders) to stdout (format binary)`);
    await this.#targetSql.copyIn(`copy orders_base (${columns}) from stdin (format binary)`, out);
  }

  async #dropSlots(): Promise<void> {
    await this.#sourceSql.query('select pg_drop_replication_slot(slot_name) from pg_replication_slots where not active');
  }

  /** Alternating runs of both sides of one cell: subscription, then each variant of ours, and again. */
  async compare(cell: Cell, { runs, sides }: BenchOptions, say: (text: string) => void): Promise<Record<string, unknown>> {
    const bySide = new Map<string, Run[]>();
    for (let round = 0; round < runs; round++) {
      for (const side of sides) {
        const variant = VARIANTS.find(({ name }) => name === side);
        const run = await this.#run(cell, variant?.work ?? null);
        bySide.set(side, [...(bySide.get(side) ?? []), run]);
        say(`  ${nameOf(cell)} | ${side}: ${Math.round(run.rowsPerSecond / 100) / 10}k rows/s`);
      }
    }
    return this.#compared(nameOf(cell), bySide);
  }

  #compared(cell: string, bySide: ReadonlyMap<string, readonly Run[]>): Record<string, unknown> {
    const medians = Object.fromEntries([...bySide].map(([side, all]) => [side, medianRun(all, this.#rows)]));
    const bar = medians['subscription']?.rowsPerSecond ?? Number.NaN;
    const ratios = Object.fromEntries(Object.entries(medians).map(([side, { rowsPerSecond }]) => [side, round2(rowsPerSecond / bar)]));
    return { cell, ratios, medians };
  }

  async #run(cell: Cell, work: Work | null): Promise<Run> {
    const { slot, start, stop } = await this.#prepare(cell, work);
    try {
      const child = await start();
      await this.#seen(this.#mark);
      const before = this.#cpu(child);
      const began = performance.now();
      let peakMiB = 0;
      await this.#seen(this.#mark + 1, () => void (peakMiB = Math.max(peakMiB, child?.pid === undefined ? 0 : residentMiB(child.pid))));
      const seconds = (performance.now() - began) / 1000;
      const after = this.#cpu(child);
      await this.#verify();
      const cost = (index: 0 | 1 | 2): number => after[index] - before[index];
      return { rowsPerSecond: this.#rows / seconds, cpuSource: cost(0), cpuService: cost(1), cpuTarget: cost(2), peakMiB };
    } finally {
      await stop();
      await this.#sourceSql.query(
        'select pg_drop_replication_slot(slot_name) from pg_replication_slots where slot_name = $1 and not active',
        [slot],
      );
    }
  }

  async #prepare(
    cell: Cell,
    work: Work | null,
  ): Promise<{ slot: string; start: () => Promise<ChildProcess | null>; stop: () => Promise<void> }> {
    await this.#targetSql.script(
      'truncate orders, marks; insert into orders select * from orders_base; checkpoint; drop schema if exists tidegate cascade',
    );
    const slot = `run_${++this.#copies}`;
    await this.#sourceSql.query("select pg_copy_logical_replication_slot('base', $1::name, false)", [slot]);
    if (work === null) return { slot, ...this.#subscription(slot, cell) };
    return { slot, ...this.#tidegate(slot, cell.synchronousCommit, work) };
  }

  #subscription(slot: string, cell: Pick<Cell, 'synchronousCommit'>): { start: () => Promise<null>; stop: () => Promise<void> } {
    const dsn = this.#dsn();
    return {
      start: async () => {
        await this.#targetSql.script(
          `create subscription bench connection '${dsn}' publication bench with (create_slot = false, slot_name = '${slot}', copy_data = false, binary = true, synchronous_commit = '${cell.synchronousCommit}')`,
        );
        return null;
      },
      stop: async () => {
        await this.#targetSql.script(
          'alter subscription bench disable; alter subscription bench set (slot_name = none); drop subscription bench',
        );
        await until(
          async () =>
            (await this.#sourceSql.query('select 1 from pg_replication_slots where slot_name = $1 and active', [slot])).rows.length === 0,
        );
      },
    };
  }

  /** The copy of a table that is there: from the start of each side until the target has all rows of it. */
  async snapshot({ rows, runs, sides }: BenchOptions, say: (text: string) => void): Promise<Record<string, unknown>> {
    await this.#dropSlots();
    this.#rows = rows * SNAPSHOT_ROWS;
    for (const sql of ['truncate orders', `call write_inserts(${this.#rows}, 10000)`, 'vacuum analyze orders', 'checkpoint'])
      await this.#sourceSql.script(sql); // Each by itself: in one they were one transaction.
    await this.#targetSql.script('truncate orders_base');
    const bySide = new Map<string, Run[]>();
    for (let round = 0; round < runs; round++) {
      for (const side of sides.filter((name) => name === 'subscription' || name === 'no rules' || name === 'five rules')) {
        const work = VARIANTS.find(({ name }) => name === side)?.work ?? null;
        const run = await this.#copy(work);
        bySide.set(side, [...(bySide.get(side) ?? []), run]);
        say(`  snapshot | ${side}: ${Math.round(run.rowsPerSecond / 100) / 10}k rows/s`);
      }
    }
    return this.#compared('snapshot', bySide);
  }

  async #copy(work: Work | null): Promise<Run> {
    await this.#targetSql.script('truncate orders, marks; checkpoint; drop schema if exists tidegate cascade');
    const slot = `run_${++this.#copies}`;
    const dsn = this.#dsn();
    const ours = work === null ? null : this.#tidegate(slot, 'off', { ...work, snapshot: true });
    // A server is there before it gets a subscription, and so are we.
    const child = (await ours?.up()) ?? null;
    const before = this.#cpu(child);
    const began = performance.now();
    let peakMiB = 0;
    if (ours === null)
      await this.#targetSql.script(
        `create subscription bench connection '${dsn}' publication bench with (slot_name = '${slot}', binary = true)`,
      );
    else child?.send('begin');
    try {
      await until(async () => {
        this.#check();
        if (child?.pid !== undefined) peakMiB = Math.max(peakMiB, residentMiB(child.pid));
        return (await this.#targetSql.query('select 1 from orders where id = $1', [this.#rows])).rows.length > 0;
      });
      const seconds = (performance.now() - began) / 1000;
      const after = this.#cpu(child);
      await this.#verify();
      const cost = (index: 0 | 1 | 2): number => after[index] - before[index];
      return { rowsPerSecond: this.#rows / seconds, cpuSource: cost(0), cpuService: cost(1), cpuTarget: cost(2), peakMiB };
    } finally {
      if (ours !== null) await ours.stop();
      else await this.#targetSql.script('drop subscription bench');
      await this.#dropSlots();
    }
  }

  /** For the subscription. */
  #dsn(): string {
    return `host=${this.#socket ? this.#source.folder : '127.0.0.1'} port=${this.#source.port} user=postgres dbname=postgres`;
  }

  /** For us. */
  #url(server: EmbeddedServer): string {
    const { folder, port } = server;
    return this.#socket ? `postgres://postgres@${encodeURIComponent(folder)}:${port}/postgres` : server.url();
  }

  #tidegate(
    slot: string,
    synchronousCommit: 'on' | 'off',
    work: Work,
  ): { up: () => Promise<ChildProcess>; start: () => Promise<ChildProcess>; stop: () => Promise<void> } {
    let child: Child | null = null;
    const task = { source: this.#url(this.#source), target: this.#url(this.#target), slot, synchronousCommit, work };
    const up = async (): Promise<ChildProcess> => {
      const script = fileURLToPath(new URL('./tidegate-child.ts', import.meta.url));
      child = startChild(script, JSON.stringify(task));
      this.#check = child.check;
      await child.up;
      return child.process;
    };
    return {
      up,
      start: async () => {
        const started = await up();
        started.send('begin');
        return started;
      },
      stop: async () => {
        this.#check = () => {};
        if (child !== null) await ended(child.process);
      },
    };
  }

  #cpu(child: ChildProcess | null): readonly [number, number, number] {
    return [cpuSeconds(this.#source.pid ?? 0), child?.pid === undefined ? 0 : cpuSeconds(child.pid), cpuSeconds(this.#target.pid ?? 0)];
  }

  async #seen(mark: number, meanwhile: () => void = () => {}): Promise<void> {
    await until(async () => {
      this.#check();
      meanwhile();
      return (await this.#targetSql.query('select 1 from marks where id = $1', [mark])).rows.length > 0;
    });
  }

  /** A fast side that lost a row would be no side at all. */
  async #verify(): Promise<void> {
    const digest =
      'select count(*), coalesce(sum(hashtextextended(row(id, status, total, items, note, updated_at)::text, 0)), 0) from orders';
    const [ours, theirs] = [await this.#targetSql.query(digest), await this.#sourceSql.query(digest)];
    if (ours.rows[0]?.join() !== theirs.rows[0]?.join())
      throw new Error(`the target differs from the source: ${ours.rows[0]?.join()} / ${theirs.rows[0]?.join()}`);
  }

  /** 1,000 single-row transactions a second: from the insert's clock at the source to the row's default at the target. */
  async latency(seconds: number, say: (text: string) => void): Promise<Record<string, unknown>> {
    const results: Record<string, unknown> = {};
    for (const synchronousCommit of ['off', 'on'] as const) {
      for (const side of ['subscription', 'five rules']) {
        await this.#dropSlots();
        await this.#sourceSql.script('truncate orders');
        await this.#targetSql.script('truncate orders, orders_base');
        await this.#sourceSql.query("select pg_create_logical_replication_slot('base', 'pgoutput')");
        const { start, stop } = await this.#prepare(
          { operation: 'insert', perTransaction: 1, synchronousCommit },
          side === 'subscription' ? null : { rules: 5, model: false },
        );
        try {
          await start();
          this.#mark += 2;
          await this.#sourceSql.query('insert into marks (id) values ($1)', [this.#mark]);
          await this.#seen(this.#mark);
          await this.#paced(seconds);
          await this.#sourceSql.query('insert into marks (id) values ($1)', [this.#mark + 1]);
          await this.#seen(this.#mark + 1);
          const { rows } = await this.#targetSql.query(
            `select percentile_cont(0.5) within group (order by ms), percentile_cont(0.99) within group (order by ms), count(*)
             from (select extract(epoch from applied_at - created_at) * 1000 as ms from orders where id > 1000) s`,
          );
          const [p50, p99, count] = (rows[0] ?? []).map(Number);
          results[`${side} sync ${synchronousCommit}`] = {
            p50Ms: round2(p50 ?? Number.NaN),
            p99Ms: round2(p99 ?? Number.NaN),
            rows: count,
          };
          say(`  latency | ${side} sync ${synchronousCommit}: p50 ${p50?.toFixed(2)} ms, p99 ${p99?.toFixed(2)} ms`);
        } finally {
          await stop();
        }
      }
    }
    return results;
  }

  /** One insert a millisecond, on a connection of its own, as a client would send them. */
  async #paced(seconds: number): Promise<void> {
    await using writer = await PgConnection.connect({ url: this.#source.url() });
    await writer.script('set synchronous_commit = on');
    const began = performance.now();
    for (let n = 1; n <= seconds * 1000; n++) {
      while (performance.now() - began < n) await new Promise((resolve) => setImmediate(resolve));
      await writer.query('insert into orders select (order_row($1, 0)).*', [n]);
    }
  }
}

async function until(condition: () => Promise<boolean>): Promise<void> {
  const deadline = performance.now() + 300_000;
  while (!(await condition())) {
    if (performance.now() > deadline) throw new Error('nothing moves any more: gave up after 300 s');
    await new Promise((resolve) => setTimeout(resolve, 3));
  }
}

const median = (values: readonly number[]): number => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;
const round2 = (value: number): number => Math.round(value * 100) / 100;

function medianRun(runs: readonly Run[], rows: number): Record<keyof Run, number> {
  const perMillion = 1e6 / rows;
  return {
    rowsPerSecond: Math.round(median(runs.map((run) => run.rowsPerSecond))),
    cpuSource: round2(median(runs.map((run) => run.cpuSource)) * perMillion),
    cpuService: round2(median(runs.map((run) => run.cpuService)) * perMillion),
    cpuTarget: round2(median(runs.map((run) => run.cpuTarget)) * perMillion),
    peakMiB: Math.round(Math.max(...runs.map((run) => run.peakMiB))),
  };
}

function table(cells: readonly Record<string, unknown>[], latency: Record<string, unknown> | null): string {
  const lines = ['cell | side | rows/s | ratio | CPU-s per M rows: source / service / target | peak MiB'];
  for (const cell of cells) {
    const ratios = cell['ratios'] as Record<string, number>; // Made by `compare`.
    for (const [side, run] of Object.entries(cell['medians'] as Record<string, Record<keyof Run, number>>)) {
      lines.push(
        `${String(cell['cell'])} | ${side} | ${run.rowsPerSecond} | ${ratios[side] ?? ''} | ${run.cpuSource} / ${run.cpuService} / ${run.cpuTarget} | ${run.peakMiB}`,
      );
    }
  }
  if (latency !== null)
    for (const [side, numbers] of Object.entries(latency)) lines.push(`latency at 1,000 rows/s | ${side} | ${JSON.stringify(numbers)}`);
  return `${lines.join('\n')}\n`;
}
