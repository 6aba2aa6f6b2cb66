/** How much log a server keeps for a slot that nobody reads: seen, told and warned of before it is lost. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { SlotWatch } from '../../app/slot-watch.ts';
import type { PipelineConfig, PostgresSourceConfig } from '../../app/config-schema.ts';
import { type EmbeddedServer, startEmbeddedPostgres } from '../../examples/embedded-postgres.ts';
import { systemClock } from '../../core/clock.ts';
import { Exposition } from '../../ops/prometheus.ts';
import { PgConnection } from '../../wire/postgres/connection.ts';
import { eventually } from '../support/eventually.ts';
import { cli } from './cli.ts';
import { configFolder, NOWHERE, type TestConfig } from './services.ts';

let server: EmbeddedServer;
let sql: PgConnection;
let config: TestConfig;

beforeAll(async () => {
  server = await startEmbeddedPostgres({ max_slot_wal_keep_size: '96MB', min_wal_size: '32MB', max_wal_size: '32MB' });
  sql = await PgConnection.connect({ url: server.url() });
  await sql.script('create table orders (id bigint primary key)');
  config = configFolder({}, {}, { source: server.url(), target: NOWHERE });
});
afterAll(async () => {
  config?.[Symbol.dispose]();
  await sql?.close();
  await server?.stop();
});

/** So many segments of log are written; a checkpoint removes what is not kept. */
async function write(segments: number): Promise<void> {
  for (let n = 0; n < segments; n++) await sql.script(`select pg_logical_emit_message(false, 'x', 'x'); select pg_switch_wal()`);
}

/** Bytes as the server says them. It writes log by itself too: what is seen lies between what is asked before and after. */
async function kept(): Promise<{ retained: number; left: number }> {
  const { rows } = await sql.query('select pg_current_wal_insert_lsn() - restart_lsn, safe_wal_size from pg_replication_slots');
  return { retained: Number(rows[0]?.[0]), left: Number(rows[0]?.[1]) };
}

function slotWatch(told: string[]): SlotWatch {
  const { config: loaded } = config.load();
  return new SlotWatch({
    source: loaded.sources['shop'] as PostgresSourceConfig,
    name: 'main',
    pipeline: loaded.pipelines['main'] as PipelineConfig,
    clock: systemClock,
    onRisk: ({ level, fix }) => void told.push(`${level}: ${fix.slice(0, 22)}`),
    onSafe: () => void told.push('safe'),
  });
}

test('what the server keeps, and what is left, is seen; a level that is worse is told once', async () => {
  const told: string[] = [];
  const watch = slotWatch(told);
  const { signal } = new AbortController();
  await watch.once(signal);
  expect([watch.view(), watch.problems()]).toEqual([null, []]);
  await sql.query("select pg_create_logical_replication_slot('tidegate_shop', 'pgoutput')");
  await watch.once(signal);
  expect(watch.view()).toMatchObject({ slot: 'tidegate_shop', level: 'ok', walStatus: 'reserved', limit: 'keep', fullInMs: null });

  await write(4);
  await watch.once(signal);
  const before = await kept();
  await watch.once(signal);
  const after = await kept();
  const view = watch.view();
  expect(view?.level).toBe('warning');
  expect(view?.retainedBytes).toBeGreaterThanOrEqual(before.retained);
  expect(view?.retainedBytes).toBeLessThanOrEqual(after.retained);
  expect(view?.leftBytes).toBeLessThanOrEqual(before.left);
  expect(view?.leftBytes).toBeGreaterThanOrEqual(after.left);
  expect(watch.problems()).toEqual([]);
  const out = new Exposition();
  watch.collect(out);
  expect(out.toString()).toContain(`tidegate_slot_retained_bytes{pipeline="main",slot="tidegate_shop"} ${view?.retainedBytes}`);
  expect(out.toString()).toContain(`tidegate_slot_left_bytes{pipeline="main",slot="tidegate_shop",limit="keep"} ${view?.leftBytes}`);

  const until = (level: string) =>
    eventually(async () => {
      await write(1);
      if (level === 'lost') await sql.script('checkpoint');
      await watch.once(signal);
      return watch.view()?.level === level;
    }, `it is ${level}`);
  await until('critical');
  expect([watch.view()?.level, watch.problems()]).toEqual([
    'critical',
    [expect.stringMatching(/keeps .* MiB of log for the slot tidegate_shop/)],
  ]);
  await until('lost');
  expect([watch.view()?.level, watch.problems()]).toEqual(['lost', ['the source has removed log that the slot tidegate_shop needed']]);
  expect(told).toEqual(['warning: See why the pipeline d', 'critical: See why the pipeline d', 'lost: Run `tidegate recover`']);
});

test('check says of the slot what may be lost, and what may fill up', async () => {
  const problems = async () => {
    const { json } = await cli('check', config.file, '--json');
    const found = (json as { problems: { severity: string; path: string; message: string; fix: string }[] }).problems;
    return found.filter(({ path }) => /sources\.shop\.(slot|wal)/.test(path)).map(({ severity, message }) => `${severity} ${message}`);
  };
  expect(await problems()).toEqual([
    expect.stringMatching(/^error .*wal_status lost/),
    'warning max_slot_wal_keep_size is 96 MB: a pipeline that stands still for some minutes may lose its slot.',
  ]);
  await sql.query("select pg_drop_replication_slot('tidegate_shop')");
  await sql.query("select pg_create_logical_replication_slot('tidegate_shop', 'pgoutput')");
  await write(5);
  expect((await problems())[0]).toMatch(/^warning The server keeps more log for the slot tidegate_shop than max_wal_size/);
  await sql.script('alter system set max_slot_wal_keep_size = -1');
});

test('a table that is not in the publication is a reason not to be ready, and one that leaves operations out is warned of', async () => {
  const watch = slotWatch([]);
  const { signal } = new AbortController();
  const problems = async (): Promise<readonly string[]> => {
    await watch.once(signal);
    return watch.problems();
  };
  await sql.script('create table other (id int primary key); create publication tidegate_shop for table other');
  expect(await problems()).toEqual(['shop.public.orders is not in the publication tidegate_shop: what changes there is not read']);
  await sql.script('alter publication tidegate_shop add table orders');
  expect(await problems()).toEqual([]);
  const warnings = async (): Promise<unknown> => {
    const { json } = await cli('check', config.file, '--json');
    return (json as { problems: { path: string; message: string }[] }).problems
      .filter(({ path }) => path.endsWith('.publication'))
      .map(({ message }) => message);
  };
  expect(await warnings()).toEqual([]);
  await sql.script(`alter publication tidegate_shop set (publish = 'insert, update')`);
  expect(await warnings()).toEqual([
    'The publication tidegate_shop leaves out delete, truncate: the target will not be what the source is.',
  ]);
  const unsent = 'the publication tidegate_shop leaves out delete, truncate: the target will not be what the source is';
  expect([await problems(), watch.notes()]).toEqual([[], [unsent]]);
  await sql.script('drop table orders');
  expect([await problems(), watch.notes()]).toEqual([
    [],
    [unsent, 'shop.public.orders: the source has no table of this name, and the target keeps what it has'],
  ]);
  await sql.script(
    'create table orders (id bigint primary key); drop publication tidegate_shop; create publication tidegate_shop for all tables',
  );
  expect([await problems(), await warnings()]).toEqual([[], []]);
  await sql.script('drop table orders; create table orders (id bigint primary key) partition by range (id)');
  const otherNames = 'shop.public.orders is not in the publication tidegate_shop: what changes there is not read';
  expect([await problems(), watch.notes()]).toEqual([[otherNames], []]);
  await sql.script('alter publication tidegate_shop set (publish_via_partition_root = true)');
  expect(await problems()).toEqual([]);
});
