/**
 * A world of topics to break: a database that Debezium reads, a stack and two servers of its own, and two workers that share the partitions. The judge is the one of
 * the direct road: the source's triggers log every change, the target's what was written in which order (see ../e2e/oracle.ts).
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type EmbeddedServer, startEmbeddedPostgres } from '../../examples/embedded-postgres.ts';
import { postgresConnector, putConnector, removeConnector } from '../../examples/stack/debezium.ts';
import { type Stack, type StackAddress, startStack } from '../../examples/stack/stack.ts';
import { PgConnection } from '../../wire/postgres/connection.ts';
import { ask, logAfter, RULE, run, SOURCE_SQL, TARGET_SQL, writeChanges } from '../e2e/fault-world.ts';
import { agree, judgeHistory, judgeTable, TABLES, verifies } from '../e2e/judge.ts';
import { Oracle } from '../e2e/oracle.ts';
import { ServiceProcess } from '../e2e/service-process.ts';
import { eventually } from '../support/eventually.ts';
import type { Random } from '../support/random.ts';
import { ruleFile } from '../support/rules.ts';

const RECOVERY_MS = 90_000;
/** A connector confirms what it wrote once a minute, and `verify` waits for that for 3 of them. */
const VERIFY_MS = 240_000;
const LANES = "from tidegate.lanes where lane like 'shop/faults/%'";

const config = (stack: StackAddress, source: EmbeddedServer, target: EmbeddedServer): string => {
  const store = `postgres://tidegate@127.0.0.1:${target.port}/postgres`;
  return JSON.stringify({
    version: 1,
    state: store,
    lease: '2s',
    sources: {
      shop: {
        kind: 'kafka',
        brokers: [stack.broker],
        group: 'faults',
        session: '6s',
        prefix: 'faults',
        tables: TABLES.map((table) => `public.${table}`),
        database: { url: source.url(), slot: 'dbz_faults', publication: 'dbz_faults' },
      },
    },
    targets: { store: { kind: 'postgres', url: store, schema: 'shop', silence: '3s' } },
    pipelines: {
      faults: { source: 'shop', target: 'store', datasets: './*.rules.yaml', batch: { rows: 40 }, breaker: { enabled: false } },
    },
    http: { port: 0 },
  });
};

export class KafkaFaultWorld implements AsyncDisposable {
  readonly target: EmbeddedServer;
  readonly workers: ServiceProcess[] = [];
  /** Whether Debezium may have written some of its records again: it does after its end or the broker's, for it promises each at least once. */
  repeats = false;
  readonly #source: EmbeddedServer;
  readonly #stack: Stack | null;
  readonly #config: string;
  readonly #cleanup: AsyncDisposableStack;
  readonly #oracle = new Oracle({ items: 'key', marks: 'event' });

  private constructor(parts: {
    stack: Stack | null;
    source: EmbeddedServer;
    target: EmbeddedServer;
    config: string;
    cleanup: AsyncDisposableStack;
  }) {
    this.target = parts.target;
    this.#source = parts.source;
    this.#stack = parts.stack;
    this.#config = parts.config;
    this.#cleanup = parts.cleanup;
  }

  /** `shared`: a stack that others use too, so that none of its servers may be broken. */
  static async start(shared: StackAddress | null): Promise<KafkaFaultWorld> {
    await using cleanup = new AsyncDisposableStack();
    const folder = mkdtempSync(join(tmpdir(), 'tidegate-faults-'));
    cleanup.defer(() => rmSync(folder, { recursive: true, force: true }));
    const starting = [startEmbeddedPostgres(), startEmbeddedPostgres({ max_wal_size: '64MB' })] as const;
    const own = shared === null ? startStack(join(folder, 'stack')) : Promise.resolve(null);
    for (const one of [own, ...starting]) cleanup.defer(async () => (await one.catch(() => null))?.stop());
    const [started, source, target] = await Promise.all([own, ...starting]);
    const stack = shared ?? required(started);
    await Promise.all([run(source, SOURCE_SQL), run(target, TARGET_SQL)]);
    const tables = TABLES.map((table) => `public.${table}`);
    await putConnector(stack.connectUrl, 'faults', {
      ...postgresConnector(stack, { url: source.url(), prefix: 'faults', tables, format: 'json' }),
      'slot.drop.on.stop': 'false',
      'snapshot.mode': 'no_data',
    });
    if (shared !== null) cleanup.defer(() => removeConnector(stack.connectUrl, 'faults'));
    const isRunning = async (): Promise<boolean> =>
      (await ask(source, "select active from pg_replication_slots where slot_name = 'dbz_faults'")) === 't';
    await eventually(isRunning, 'Debezium reads', 60_000);
    writeFileSync(join(folder, 'tidegate.yaml'), config(stack, source, target));
    writeFileSync(join(folder, 'items.rules.yaml'), ruleFile('items', 'key', RULE));
    writeFileSync(join(folder, 'marks.rules.yaml'), ruleFile('marks', 'event', RULE));
    const world = new KafkaFaultWorld({ stack: started, source, target, config: join(folder, 'tidegate.yaml'), cleanup: cleanup.move() });
    for (const _ of TABLES) world.startWorker();
    return world;
  }

  /** Its servers are this world's to break. */
  get stack(): Stack {
    return required(this.#stack);
  }

  startWorker(): ServiceProcess {
    const worker = this.#cleanup.use(new ServiceProcess(this.#config));
    this.workers.push(worker);
    return worker;
  }

  /** One of the workers, which is none any more. */
  takeWorker(random: Random): ServiceProcess {
    const [worker] = this.workers.splice(random.below(this.workers.length), 1);
    if (worker === undefined) throw new Error('there is no worker');
    return worker;
  }

  write(random: Random, signal: AbortSignal): Promise<void> {
    return writeChanges(() => this.#source, random, signal);
  }

  /** Waits until the lanes have moved on by so many events from where they stand. */
  async progress(events: number, when: string): Promise<void> {
    let from: number | null = null;
    await this.until(async () => {
      const sum = await ask(this.target, `select coalesce(sum(events), 0) ${LANES}`);
      const now = sum === null ? null : Number(sum);
      from ??= now;
      return now !== null && from !== null && now >= from + events;
    }, `the lanes moved on by ${events} events ${when}`);
  }

  async until(condition: () => Promise<boolean>, what: string): Promise<void> {
    const holds = async (): Promise<boolean> => {
      for (const worker of this.workers)
        if (worker.hasHalted || worker.child.exitCode !== null)
          throw new Error(`a worker halted or ended while waiting until ${what}:\n${worker.lastWords}`);
      return condition();
    };
    await eventually(holds, what, RECOVERY_MS).catch((error: Error) => {
      throw new Error(`${error.message}\n${this.workers.map(({ lastWords }) => lastWords).join('\n')}`, { cause: error });
    });
  }

  /** Waits until all that was written has arrived, and holds the target against the oracle. Throws what differs. */
  async judge(): Promise<void> {
    await using source = await PgConnection.connect({ url: this.#source.url() });
    await using sql = await PgConnection.connect({ url: this.target.url() });
    this.#oracle.take(await logAfter(source, this.#oracle.lastSeq));
    const differs = async (): Promise<string | null> => {
      try {
        for (const table of TABLES) await judgeTable(sql, table, this.#oracle);
        await this.#judgeLedger(sql);
        return null;
      } catch (error) {
        return error instanceof Error ? error.message : String(error);
      }
    };
    let difference = await differs();
    await this.until(async () => (difference = await differs()) === null, 'the target is the source').catch((error: Error) => {
      throw new Error(`${difference ?? ''}\n${error.message}`, { cause: error });
    });
    if (!this.repeats) await judgeHistory(sql, 0);
    await verifies(this.#config, VERIFY_MS);
  }

  get changes(): number {
    return this.#oracle.changes;
  }

  get held(): number {
    return this.#oracle.held;
  }

  async end(): Promise<void> {
    for (const worker of this.workers) {
      const code = await worker.stop();
      if (code !== 0) throw new Error(`a worker ended with ${code ?? 'a signal'} when it was told to stop:\n${worker.lastWords}`);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#cleanup.disposeAsync();
  }

  async #judgeLedger(sql: PgConnection): Promise<void> {
    const { rows } = await sql.query(
      `select sum(events), sum(upserts + deletes + truncates + stale + folded + held + dropped), sum(held) ${LANES}`,
    );
    const { changes, held } = this.#oracle;
    const [[events, sum] = []] = rows;
    if (this.repeats) agree('the ledger: events and their sum', [events], [sum]);
    else agree('the ledger: events, their sum, held', rows, [[String(changes), String(changes), String(held)]]);
  }
}

function required(own: Stack | null): Stack {
  if (own === null) throw new Error('the stack is not this world’s own');
  return own;
}
