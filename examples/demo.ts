/**
 * `npm run demo`: Tidegate's main job on embedded parts. Two PostgreSQL servers, a made-up shop, the real service with its page and a
 * model, and a receiver for its alerts. Runs until Ctrl-C and leaves nothing behind.
 *
 * `npm run demo -- --kafka`: the same, but the changes come by Debezium and Kafka, over a streaming stack of its own.
 *
 * `npm run demo -- --once --rows 200000 [--seed 1] [--json]`: sends so many changes through, then proves row by row that the target is
 * the source without what is held, and that every change is accounted for. Exit code 1 where that does not hold.
 */
import { cpSync, mkdtempSync, rmSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { PgConnection } from '../wire/postgres/connection.ts';
import { freePort, startEmbeddedPostgres } from './embedded-postgres.ts';
import { type Proof, prove } from './shop/proof.ts';
import { type ReceivedAlert, startReceiver } from './shop/receiver.ts';
import { ShopService } from './shop/service.ts';
import { postgresConnector, putConnector } from './stack/debezium.ts';
import { type Stack, startStack } from './stack/stack.ts';
import { SENTINEL_KEY, TABLES, toSql, type Transaction, workload, type WorkloadOptions } from './shop/workload.ts';

const values = readOptions();
const ROWS = positive('--rows', values.rows);
const SEED = positive('--seed', values.seed);
const RATE = positive('--rate', values.rate);
const SHOP_TABLES = TABLES.map((table) => `public.${table}`);
const SHOP = join(import.meta.dirname, 'shop');

async function main(): Promise<number> {
  const stop = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => stop.abort());
  for (const stream of [process.stdout, process.stderr]) stream.on('error', () => stop.abort()); // The terminal is gone.
  const startedMs = performance.now();
  const seconds = () => `${((performance.now() - startedMs) / 1000).toFixed(1)} s`;

  await using cleanup = new AsyncDisposableStack();
  try {
    say('Starting two PostgreSQL servers: the shop, and the warehouse that follows it …');
    const starting = [startEmbeddedPostgres(), startEmbeddedPostgres()] as const;
    // Also where the other one fails; what it failed by is told below.
    for (const one of starting) cleanup.defer(async () => (await one.catch(() => null))?.stop());
    const stack = values.kafka ? await ownStack(cleanup) : null;
    const [source, target] = await Promise.all(starting);
    stop.signal.throwIfAborted();
    const shopUrl = await createDatabase(source.url(), 'shop');
    const warehouseUrl = await createDatabase(target.url(), 'warehouse');
    const shop = await PgConnection.connect({ url: shopUrl, applicationName: 'shop' });
    cleanup.defer(() => shop.close());
    await shop.script(await readFile(join(SHOP, 'schema.sql'), 'utf8'));

    const options = workloadOptions();
    const transactions = workload(options);
    const initial = [next(transactions), next(transactions), next(transactions)];
    for (const transaction of initial) await shop.script(toSql(transaction));
    say(`The shop is open: ${count(initial.flatMap(({ changes }) => changes).length)} rows in customers, orders and payments.`);

    const receiver = await startReceiver(sayAlert);
    cleanup.use(receiver);
    // A copy of the example, since the service keeps its state beside its config.
    const folder = mkdtempSync(join(tmpdir(), 'tidegate-demo-'));
    cleanup.defer(() => rmSync(folder, { recursive: true, force: true }));
    cpSync(join(SHOP, stack === null ? 'tidegate.yaml' : 'tidegate.kafka.yaml'), join(folder, 'tidegate.yaml'));
    cpSync(join(SHOP, 'datasets'), join(folder, 'datasets'), { recursive: true });
    stop.signal.throwIfAborted();
    const env = {
      SHOP_URL: shopUrl,
      SHOP_BROKER: stack?.broker ?? '',
      WAREHOUSE_URL: warehouseUrl,
      WEBHOOK_URL: receiver.url,
      WEBHOOK_SECRET: receiver.secret,
    };
    await ShopService.registerModelAhead(join(folder, 'tidegate.yaml'), env);
    say('Registered the model order-risk; it scores every order before it goes on.');
    if (stack !== null) {
      await putConnector(
        stack.connectUrl,
        'shop',
        postgresConnector(stack, { url: shopUrl, prefix: 'shop', tables: SHOP_TABLES, format: 'json' }),
      );
      say('Debezium reads the shop, and writes a topic for each of its tables.');
    }
    const service = await ShopService.start(join(folder, 'tidegate.yaml'), await pagePort(), env);
    cleanup.use(service);
    say(`Tidegate runs, after ${seconds()}. Its page:\n\n    ${service.url}\n`);
    await service.until('the first copy', 300_000, () => (stack === null ? copied(service) : caughtUp(service)), stop.signal);
    say(`The first copy is done, after ${seconds()}: rows that break a rule are held, the others are in the warehouse.`);

    if (!values.once) {
      await openShop(shop, service, transactions, stop.signal);
      say('\nStopping: what was read is committed first …');
      return 0;
    }
    return await drain({ shop, service, transactions, options, shopUrl, warehouseUrl, receiver, signal: stop.signal });
  } catch (error) {
    if (stop.signal.aborted) {
      say('\nStopping …');
      return values.once ? 130 : 0;
    }
    process.stderr.write(`The demo failed: ${error instanceof Error ? error.message : String(error)}\n`);
    return 1;
  }
}

function workloadOptions(): WorkloadOptions {
  const rows = values.once ? Math.max(ROWS, 1_000) : Number.MAX_SAFE_INTEGER;
  const initial = values.once ? Math.min(50_000, Math.floor(rows / 5)) : 10_000;
  return { seed: SEED, rows, initial, perTransaction: values.once ? 100 : 10 };
}

/** Sends traffic at the asked rate and tells now and then what became of it. */
async function openShop(shop: PgConnection, service: ShopService, transactions: Iterator<Transaction>, signal: AbortSignal): Promise<void> {
  say(`Traffic now: about ${RATE} changes a second, one in a hundred of them bad. Watch the page; Ctrl-C stops everything.\n`);
  const startedMs = performance.now();
  let sent = 0;
  let toldMs = startedMs;
  while (!signal.aborted) {
    const transaction = next(transactions);
    await shop.script(toSql(transaction));
    sent += transaction.changes.length;
    if (transaction.ddl !== null) say(`The shop changed a table while running: ${transaction.ddl}. The warehouse follows.`);
    const aheadMs = startedMs + (sent / RATE) * 1000 - performance.now();
    if (aheadMs > 5) await pause(aheadMs, signal);
    if (performance.now() - toldMs < 10_000) continue;
    toldMs = performance.now();
    await tell(service).catch(() => say('The service does not answer just now.'));
  }
}

async function tell(service: ShopService): Promise<void> {
  const [pipeline] = (await service.status()).pipelines;
  if (pipeline === undefined) return;
  if (pipeline.error !== null) return say(`${pipeline.state}: ${pipeline.error.message} ${pipeline.error.fix}`);
  const { datasets } = pipeline;
  const sum = (of: (one: (typeof datasets)[number]) => number) => datasets.reduce((total, one) => total + of(one), 0);
  const held = sum(({ quarantine }) => (quarantine['held'] ?? 0) + (quarantine['waiting'] ?? 0));
  const late = Math.max(0, ...datasets.map(({ latencyMs }) => latencyMs.p50 ?? 0));
  const worst = datasets
    .flatMap(({ rules }) => rules.filter(({ verdict }) => verdict === 'quarantine'))
    .sort((a, b) => b.count - a.count)[0];
  const mostly = worst === undefined ? '' : `, mostly by ${worst.rule}`;
  say(
    `${count(sum(({ totals }) => totals.in))} changes judged; ${count(held)} held${mostly}; from commit to commit in ${Math.round(late)} ms (median).`,
  );
}

interface Drain {
  readonly shop: PgConnection;
  readonly service: ShopService;
  readonly transactions: Iterator<Transaction>;
  readonly options: WorkloadOptions;
  readonly shopUrl: string;
  readonly warehouseUrl: string;
  readonly receiver: { readonly alerts: readonly ReceivedAlert[]; readonly refused: number };
  readonly signal: AbortSignal;
}

/** Sends all changes as fast as the shop can, waits until they have arrived, and proves the result. */
async function drain({ shop, service, transactions, options, shopUrl, warehouseUrl, receiver, signal }: Drain): Promise<number> {
  await using warehouse = await PgConnection.connect({ url: warehouseUrl, applicationName: 'proof' });
  const startedMs = performance.now();
  let sent = 0;
  let running = Promise.resolve<unknown>(null);
  for (let step = transactions.next(); step.done !== true; step = transactions.next()) {
    const sql = toSql(step.value); // Made while the one before it runs.
    await running;
    signal.throwIfAborted();
    running = shop.script(sql);
    sent += step.value.changes.length;
  }
  await running;
  const sentMs = performance.now() - startedMs;
  say(`${count(sent)} changes made in ${(sentMs / 1000).toFixed(1)} s. Waiting for the last of them to arrive …`);
  await service.until(
    'the last change to arrive',
    600_000,
    async () => {
      const [pipeline] = (await service.status()).pipelines;
      if (pipeline?.state === 'halted') throw new Error(`the pipeline is halted: ${pipeline.error?.message ?? ''}`);
      if ((await warehouse.query('select 1 from shop.customers where id = $1', [SENTINEL_KEY])).rows.length === 0) return false;
      // Topics are lanes of their own: the last change of one may be there before those of another.
      const lanes = await service.lanes();
      return lanes.reduce((sum, { ledger }) => sum + (ledger['events'] ?? 0), 0) >= options.rows;
    },
    signal,
  );
  const drainedMs = performance.now() - startedMs;
  const proof = await prove(service, warehouse, shopUrl, options);
  const [pipeline] = (await service.status()).pipelines;
  const rules = (pipeline?.datasets ?? []).flatMap(({ dataset, rules: of }) => of.map((rule) => ({ dataset, ...rule })));
  const summary = {
    seed: options.seed,
    rows: options.rows,
    initialRows: options.initial,
    streamed: sent,
    madeSeconds: round(sentMs / 1000),
    drainedSeconds: round(drainedMs / 1000),
    rowsPerSecond: Math.round((sent / drainedMs) * 1000),
    latencyMs: Object.fromEntries((pipeline?.datasets ?? []).map(({ dataset, latencyMs }) => [dataset, latencyMs])),
    rules: rules.map(({ dataset, rule, column, verdict, count: n }) => ({ dataset, rule, column, verdict, count: n })),
    alerts: receiver.alerts.length,
    alertsRefused: receiver.refused,
    ...proof,
  };
  if (values.json) process.stdout.write(`${JSON.stringify(summary, null, 2)}\n`);
  else saySummary(summary.rowsPerSecond, proof);
  return proof.holds ? 0 : 1;
}

function saySummary(rowsPerSecond: number, { tables, ledger, ledgerClosed, holds }: Proof): void {
  say(`All of them have arrived: ${count(rowsPerSecond)} changes a second from the shop through checks and model into the warehouse.\n`);
  say('table        source rows   target rows   keys held   missing   surplus   slipped');
  for (const { table, sourceRows, targetRows, heldKeys, missing, surplus, slipped } of tables) {
    const cells = [sourceRows, targetRows, heldKeys, missing, surplus, slipped].map(count);
    const widths = [14, 14, 12, 10, 10, 10];
    say(table.padEnd(10) + cells.map((cell, i) => cell.padStart(widths[i] ?? 0)).join(''));
  }
  const parts = Object.entries(ledger).map(([name, n]) => `${count(n)} ${name}`);
  say(`\nLedger ${ledgerClosed ? 'closed' : 'NOT CLOSED'}: ${parts.join(', ')}.`);
  say(holds ? 'Proved: the target is the source without what is held, row by row.' : 'NOT PROVED: see missing, surplus and slipped above.');
}

async function copied(service: ShopService): Promise<boolean> {
  const [pipeline] = (await service.status()).pipelines;
  if (pipeline?.state === 'halted') throw new Error(`the pipeline is halted: ${pipeline.error?.message ?? ''}`);
  return pipeline !== undefined && pipeline.snapshot.length > 0 && pipeline.snapshot.every(({ state }) => state === 'done');
}

/** Topics do not say where the first copy ends: it is done where nothing is left of them. */
async function caughtUp(service: ShopService): Promise<boolean> {
  const [pipeline] = (await service.status()).pipelines;
  if (pipeline?.state === 'halted') throw new Error(`the pipeline is halted: ${pipeline.error?.message ?? ''}`);
  return pipeline !== undefined && pipeline.ready && pipeline.datasets.every(({ totals }) => totals.in > 0);
}

async function ownStack(cleanup: AsyncDisposableStack): Promise<Stack> {
  say('Starting Kafka, Connect with Debezium, and a schema registry …');
  const folder = mkdtempSync(join(tmpdir(), 'tidegate-stack-'));
  const stack = await startStack(folder, { say });
  cleanup.defer(() => stack.stop());
  return stack;
}

async function createDatabase(serverUrl: string, name: string): Promise<string> {
  await using connection = await PgConnection.connect({ url: serverUrl });
  await connection.query(`create database ${name}`);
  return serverUrl.replace(/\/[^/]*$/, `/${name}`);
}

/** The usual port where it is free. */
function pagePort(): Promise<number> {
  return new Promise((resolve) => {
    const probe = createServer();
    probe.once('error', () => resolve(freePort()));
    probe.listen(8420, '127.0.0.1', () => probe.close(() => resolve(8420)));
  });
}

let alertsTold = 0;
function sayAlert({ type, data }: ReceivedAlert): void {
  // The first few show what they look like; the rest is on the page.
  if (type === 'score.alert' && ++alertsTold > 3) return;
  const what =
    type === 'score.alert'
      ? `${String(data['count'])} risky row(s) of ${String(data['dataset'])}`
      : type === 'model.registered'
        ? `${String(data['model'])} version ${String(data['version'])}`
        : JSON.stringify(data);
  say(`Webhook received, signature verified: ${type}: ${what}`);
}

function next(transactions: Iterator<Transaction>): Transaction {
  const step = transactions.next();
  if (step.done === true) throw new Error('the workload has ended');
  return step.value;
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const wake = () => {
      clearTimeout(timer);
      signal.removeEventListener('abort', wake);
      resolve();
    };
    const timer = setTimeout(wake, ms);
    signal.addEventListener('abort', wake, { once: true });
  });
}

function readOptions() {
  try {
    const options = {
      once: { type: 'boolean', default: false },
      kafka: { type: 'boolean', default: false },
      rows: { type: 'string', default: '20000' },
      seed: { type: 'string', default: '1' },
      rate: { type: 'string', default: '400' },
      json: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    } as const;
    return parseArgs({ options }).values;
  } catch (error) {
    return refuse(error instanceof Error ? error.message : String(error));
  }
}

function positive(name: string, text: string): number {
  const number = Number(text);
  if (Number.isSafeInteger(number) && number > 0) return number;
  return refuse(`${name} must be a whole number above 0, and is "${text}"`);
}

function refuse(why: string): never {
  process.stderr.write(`${why}\nSee npm run demo -- --help.\n`);
  process.exit(2);
}

/** What people read; with --json it goes to standard error, so that standard output is the summary alone. */
function say(line: string): void {
  (values.json ? process.stderr : process.stdout).write(`${line}\n`);
}

function count(n: number): string {
  return new Intl.NumberFormat('en').format(n);
}

function round(n: number): number {
  return Math.round(n * 100) / 100;
}

if (values.help) {
  process.stdout.write(`npm run demo                       a shop in motion, with a live page, until Ctrl-C
  --rate 400                       changes a second
  --seed 1                         the same seed makes the same changes
npm run demo -- --kafka            the same by Debezium and Kafka (a JDK and Maven, which fetch them once)
npm run demo -- --once             sends changes through, proves the result, ends
  --rows 20000                     changes in all; at least 1000
  --json                           prints the summary as JSON
`);
} else {
  process.exitCode = await main();
}
