/**
 * `npm run soak`: the service for a quarter of an hour at the highest rate that it keeps up with, with rules and a model, and a look now and then at what must
 * not grow: its memory and that of the scorer, its descriptors, the log that the source keeps for it, how far it is behind.
 *
 * The source is written by statements of a thousand rows, inserts, updates and deletes, so that it is never the slow part; whenever the service is more
 * than LAG_MAX behind, the writer waits for it. Tables keep their size: what is inserted is deleted later. Held rows are discarded once a minute, as somebody would
 * settle them. It runs what is built, as users do: a service that Node runs from its sources takes up to 30 MB more, for the reading of types.
 */
import { cpSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { execFile, execFileSync } from 'node:child_process';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { cpuSeconds, residentMiB } from '../../bench/cpu.ts';
import { freePort, startEmbeddedPostgres } from '../../examples/embedded-postgres.ts';
import { ShopService } from '../../examples/shop/service.ts';
import { PgConnection } from '../../wire/postgres/connection.ts';
import { medianOf, trendOf } from './trend.ts';

const ROOT = join(import.meta.dirname, '../..');
const SHOP = join(ROOT, 'examples/shop');
const LAG_MAX_BYTES = 32 << 20;
const DISCARD_MS = 60_000;
/** Rows of the table of orders, and of a statement. */
const WINDOW = 100_000;
const STEP = 1000;

const HELP = `npm run soak -- [--minutes N] [--every SECONDS] [--note BYTES] [--json]

  --minutes N      How long; 15 if left out. In less than five, what fills at the start looks like growth.
  --every SECONDS  How often it looks; 10 if left out.
  --note BYTES     Text that is in each order, beside 200 bytes of its own; 0 if left out.
  --json           One JSON document on stdout; the table goes to stderr.

Exit code 1 where something grows, the ledger is not closed, or \`tidegate verify\` finds a difference in the end.
`;

const CONFIG = `
version: 1
state: ./tidegate.db
sources:
  shop: {kind: postgres, url: '\${SHOP_URL}', slot: soak, publication: soak, tables: [public.customers, public.orders, public.payments]}
targets:
  warehouse: {kind: postgres, url: '\${WAREHOUSE_URL}', schema: shop}
pipelines:
  soak:
    source: shop
    target: warehouse
    datasets: ./datasets/*.yaml
    breaker: {enabled: false}
    models: [{model: order-risk, dataset: shop.public.orders, write: {score: risk_score, model: risk_model, at: risk_scored_at}, failure: hold, deadline: 5s}]
http:
  port: \${TIDEGATE_PORT}
`;

/** One in a thousand orders breaks a rule. */
const sourceSql = (noteBytes: number): string => `
  create sequence steps;
  create procedure step() language plpgsql as $$
  declare n bigint := nextval('steps'); first bigint := n * ${STEP}; old bigint := first - ${WINDOW};
  begin
    insert into orders select first + i, i, case when random() < 0.001 then 'lost' else 'new' end, 'EUR', 'DE', net, 1, net + 1, 1 + i % 5, 'web', 'c' || i || '@example.org',
      ${noteBytes > 0 ? `repeat(md5(i::text), ${Math.ceil(noteBytes / 32)})` : "case when i % 10 = 0 then repeat('please leave it at the door ', 4) end"}, now(), now()
      from (select i, 1 + (random() * 400)::int as net from generate_series(0, ${STEP - 1}) i) made;
    update orders set status = 'paid', updated_at = now() where id between first - ${STEP} and first - 1;
    update orders set status = 'shipped', updated_at = now() where id between first - ${WINDOW / 2} and first - ${WINDOW / 2 - STEP + 1};
    delete from orders where id between old and old + ${STEP - 1};
    insert into payments select first + i, first + i, 'card', 'authorized', 10.5, 'EUR', now(), now() from generate_series(0, ${STEP / 2 - 1}) i;
    update payments set status = 'captured', updated_at = now() where id between first - ${STEP} and first - 1;
    delete from payments where id between old and old + ${STEP - 1};
  end $$;`;

interface Sample {
  readonly atSeconds: number;
  readonly rowsPerSecond: number;
  readonly cpuPerMillion: number;
  readonly mainMiB: number;
  readonly scorerMiB: number;
  readonly descriptors: number;
  readonly walMiB: number;
  readonly lagMiB: number;
}

/**
 * What must not grow, and by how much its trend over the second half of the time may all the same: a share of its median, or so much of its unit if that is more. The
 * rate itself is told and not judged, for it is also that of whatever else the machine does; what a change costs is the service's own.
 */
const LIMITS = [
  { name: 'mainMiB', what: 'memory of the service, MiB', share: 0.05, atLeast: 15 },
  { name: 'scorerMiB', what: 'memory of the scorer, MiB', share: 0.05, atLeast: 10 },
  { name: 'descriptors', what: 'open descriptors', share: 0, atLeast: 2 },
  { name: 'walMiB', what: 'log that the source keeps, MiB', share: 0.25, atLeast: 64 },
  { name: 'lagMiB', what: 'behind the source, MiB', share: 0.25, atLeast: 16 },
  { name: 'cpuPerMillion', what: 'CPU seconds of the service a million changes', share: 0.25, atLeast: 0 },
] as const;

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      minutes: { type: 'string', default: '15' },
      every: { type: 'string', default: '10' },
      note: { type: 'string', default: '0' },
      json: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  const [minutes, every, noteBytes] = [Number(values.minutes), Number(values.every), Number(values.note)];
  if (values.help || !(minutes > 0 && every > 0 && noteBytes >= 0)) {
    (values.help ? process.stdout : process.stderr).write(HELP);
    return values.help ? 0 : 2;
  }
  const say = (text: string): void => void (values.json ? process.stderr : process.stdout).write(`${text}\n`);
  await using world = await SoakWorld.start(noteBytes);
  say(LINE_HEAD);
  const { samples, waitedShare } = await soak(world, minutes * 60, every, say);
  const verdicts = judge(samples);
  const end = await world.end();
  const isFlat = verdicts.every(({ flat }) => flat);
  say(`\n${verdicts.map(verdictText).join('\n')}`);
  say(
    `The writer waited for the service ${Math.round(waitedShare * 100)} % of the time. ${end.events} changes; ledger ${end.ledgerClosed ? 'closed' : 'NOT CLOSED'}.`,
  );
  say(end.difference ?? 'tidegate verify: the target is the source without what is held.');
  if (values.json) process.stdout.write(`${JSON.stringify({ minutes, waitedShare, isFlat, verdicts, end, samples }, null, 2)}\n`);
  return isFlat && end.ledgerClosed && end.difference === null ? 0 : 1;
}

class SoakWorld implements AsyncDisposable {
  readonly service: ShopService;
  readonly source: PgConnection;
  readonly #config: string;
  readonly #env: Readonly<Record<string, string>>;
  readonly #cleanup: AsyncDisposableStack;

  private constructor(
    parts: Pick<SoakWorld, 'service' | 'source'>,
    config: string,
    env: Readonly<Record<string, string>>,
    cleanup: AsyncDisposableStack,
  ) {
    this.service = parts.service;
    this.source = parts.source;
    this.#config = config;
    this.#env = env;
    this.#cleanup = cleanup;
  }

  /** Resolves once the first copy (of empty tables) is done and the model is there. */
  static async start(noteBytes: number): Promise<SoakWorld> {
    await using cleanup = new AsyncDisposableStack();
    const starting = [startEmbeddedPostgres(), startEmbeddedPostgres()] as const;
    for (const one of starting) cleanup.defer(async () => (await one.catch(() => null))?.stop());
    const [source, target] = await Promise.all(starting);
    const sql = cleanup.use(await PgConnection.connect({ url: source.url() }));
    await sql.script(await readFile(join(SHOP, 'schema.sql'), 'utf8'));
    await sql.script(sourceSql(noteBytes));
    const folder = mkdtempSync(join(tmpdir(), 'tidegate-soak-'));
    cleanup.defer(() => rmSync(folder, { recursive: true, force: true }));
    cpSync(join(SHOP, 'datasets'), join(folder, 'datasets'), { recursive: true });
    const config = join(folder, 'tidegate.yaml');
    writeFileSync(config, CONFIG);
    const port = await freePort();
    const env = { SHOP_URL: source.url(), WAREHOUSE_URL: target.url(), TIDEGATE_PORT: String(port) };
    const service = cleanup.use(await ShopService.start(config, port, env, join(ROOT, 'dist/app/cli/main.js')));
    await service.registerModel();
    const isCopied = async (): Promise<boolean> => (await fetch(new URL('readyz', service.url))).ok;
    await service.until('the first copy', 60_000, isCopied);
    return new SoakWorld({ service, source: sql }, config, env, cleanup.move());
  }

  async events(): Promise<number> {
    return (await this.service.lanes()).reduce((sum, { ledger }) => sum + (ledger['events'] ?? 0), 0);
  }

  /** Settles what is held. */
  async discard(): Promise<void> {
    const body = JSON.stringify({ filter: { pipeline: 'soak' }, why: 'soak' });
    const answer = await fetch(new URL('api/quarantine/discard', this.service.url), {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body,
    });
    if (!answer.ok) throw new Error(`nothing was discarded: ${answer.status} ${await answer.text()}`);
  }

  /** What the source keeps for the slot, and what the service has not confirmed, in bytes. */
  async slot(): Promise<{ readonly kept: number; readonly behind: number }> {
    const { rows } = await this.source.query(
      "select pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn), pg_wal_lsn_diff(pg_current_wal_lsn(), confirmed_flush_lsn) from pg_replication_slots where slot_name = 'soak'",
    );
    const [kept, behind] = rows[0] ?? [];
    return { kept: Number(kept), behind: Number(behind) };
  }

  /** Waits for the last change, and asks whether source and target agree. */
  async end(): Promise<{ readonly events: number; readonly ledgerClosed: boolean; readonly difference: string | null }> {
    const difference = await new Promise<string | null>((resolve) => {
      execFile(
        process.execPath,
        [join(ROOT, 'app/cli/main.ts'), 'verify', this.#config],
        { env: { ...process.env, ...this.#env } },
        (error, stdout, stderr) => resolve(error === null ? null : `tidegate verify found a difference:\n${stdout}${stderr}`),
      );
    });
    const ledgerClosed = (await this.service.lanes()).every(({ closed }) => closed);
    return { events: await this.events(), ledgerClosed, difference };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#cleanup.disposeAsync();
  }
}

async function soak(
  world: SoakWorld,
  seconds: number,
  every: number,
  say: (text: string) => void,
): Promise<{ samples: readonly Sample[]; waitedShare: number }> {
  const samples: Sample[] = [];
  const startedMs = performance.now();
  const atSeconds = (): number => (performance.now() - startedMs) / 1000;
  let [waitedMs, discardedMs, lastAt, lastEvents, lastCpu] = [0, startedMs, 0, await world.events(), cpuSeconds(world.service.pid)];
  while (atSeconds() < seconds) {
    const { behind, kept } = await world.slot();
    if (behind > LAG_MAX_BYTES) {
      const from = performance.now();
      await new Promise((resolve) => setTimeout(resolve, 20));
      waitedMs += performance.now() - from;
    } else await world.source.script('call step()');
    if (performance.now() - discardedMs > DISCARD_MS) {
      await world.discard();
      discardedMs = performance.now();
    }
    if (atSeconds() - lastAt < every) continue;
    const [now, events, cpu] = [atSeconds(), await world.events(), cpuSeconds(world.service.pid)];
    const sample = {
      atSeconds: now,
      rowsPerSecond: (events - lastEvents) / (now - lastAt),
      cpuPerMillion: ((cpu - lastCpu) / (events - lastEvents)) * 1e6,
      ...processes(world.service.pid),
      walMiB: kept / 2 ** 20,
      lagMiB: behind / 2 ** 20,
    };
    [lastAt, lastEvents, lastCpu] = [now, events, cpu];
    samples.push(sample);
    say(lineOf(sample));
  }
  return { samples, waitedShare: waitedMs / 1000 / seconds };
}

function processes(pid: number): Pick<Sample, 'mainMiB' | 'scorerMiB' | 'descriptors'> {
  const children = execFileSync('ps', ['-o', 'pid=', '--ppid', String(pid)], { encoding: 'utf8' })
    .trim()
    .split('\n')
    .map(Number);
  return {
    mainMiB: residentMiB(pid),
    scorerMiB: children.reduce((sum, child) => sum + residentMiB(child), 0),
    descriptors: readdirSync(`/proc/${pid}/fd`).length,
  };
}

interface Verdict {
  readonly what: string;
  readonly median: number;
  /** What the trend comes to over the second half. */
  readonly change: number;
  readonly allowed: number;
  readonly flat: boolean;
}

/** By the second half: the first has the start in it. */
function judge(samples: readonly Sample[]): Verdict[] {
  const half = samples.slice(Math.floor(samples.length / 2));
  const lasted = (half.at(-1)?.atSeconds ?? 0) - (half[0]?.atSeconds ?? 0);
  return LIMITS.map(({ name, what, share, atLeast }) => {
    const median = medianOf(half.map((sample) => sample[name]));
    const change = trendOf(half.map((sample) => [sample.atSeconds, sample[name]])) * lasted;
    const allowed = Math.max(share * median, atLeast);
    return { what, median, change, allowed, flat: change <= allowed };
  });
}

const verdictText = ({ what, median, change, allowed, flat }: Verdict): string =>
  `${flat ? 'flat    ' : 'NOT FLAT'}  ${what}: median ${round(median)}, ${change < 0 ? '' : '+'}${round(change)} over the second half (${round(allowed)} allowed)`;

const COLUMNS = ['seconds', 'changes/s', 'CPU s/M', 'main MiB', 'scorer MiB', 'fds', 'WAL MiB', 'lag MiB'];
const LINE_HEAD = COLUMNS.map((name) => name.padStart(11)).join('');

function lineOf({ atSeconds, rowsPerSecond, cpuPerMillion, mainMiB, scorerMiB, descriptors, walMiB, lagMiB }: Sample): string {
  return [atSeconds, rowsPerSecond, cpuPerMillion, mainMiB, scorerMiB, descriptors, walMiB, lagMiB]
    .map((number) => String(round(number)).padStart(11))
    .join('');
}

const round = (number: number): number => (Math.abs(number) >= 100 ? Math.round(number) : Math.round(number * 10) / 10);

process.exitCode = await main();
