/** A column that the source filled without an event: its values alone come to the rows that are there, whatever the table looks like and whatever is held. */
import { spawn } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, inject, test } from 'vitest';
import { PgConnection } from '../../wire/postgres/connection.ts';
import { createDatabase } from '../support/databases.ts';
import { eventually } from '../support/eventually.ts';
import { Random } from '../support/random.ts';
import { cli } from './cli.ts';
import { ask, configFolder, startService, untilReady } from './services.ts';

const SEED = Number(process.env['COLUMNS_SEED'] ?? 1);
const MAIN = join(import.meta.dirname, '../../app/cli/main.ts');
const ROWS = 200;
/** Rows of these tables come with the new column alone; of the others whole, for somebody has to see them. */
const ALONE = ['plain', 'soft', 'kept', 'waits', 'overtakes'];
const WHOLE = ['paired', 'marked'];
const TABLES = [...ALONE, ...WHOLE];
/** Too large for the rule; nobody changes some of them. */
const LARGE = [7, 60, 61, 150, 199];

const rules = (table: string, hold: string, max: number, extra = ''): string => `
apiVersion: quality/v1
kind: DatasetRules
dataset: shop.public.${table}
hold: ${hold}
columns:
  n: [{id: small, between: {max: ${max}}}]
${extra}`;

const RULES = (max: number): Readonly<Record<string, string>> => ({
  'waits.rules.yaml': rules('waits', 'key', max),
  'overtakes.rules.yaml': rules('overtakes', 'event', max),
  'paired.rules.yaml': rules('paired', 'key', max, `  m: [{id: filled, not_null: true, where: after.n >= 0, on_fail: warn}]\n`),
});

/** Changes of rows that leave those alone that are held, but for two; none of them deletes what the target never had. */
function traffic(random: Random, table: string): string {
  const id = 1 + random.below(ROWS);
  if (LARGE.includes(id)) return `update ${table} set note = note || '.' where id in (60, 61)`;
  if (random.chance(0.2)) return `delete from ${table} where id = ${id}`;
  if (random.chance(0.5)) return `update ${table} set note = note || '+' where id = ${id}`;
  return `insert into ${table} (id, n, note) values (${id}, ${random.below(100)}, 'new') on conflict (id) do update set n = excluded.n`;
}

test(
  `it comes alone where it may, over a kill, and nothing else of a row or of what is held is touched (seed ${SEED})`,
  { timeout: 120_000 },
  async () => {
    const random = new Random(SEED);
    await using source = await createDatabase(inject('sourceServer'), 'columns');
    await using target = await createDatabase(inject('targetServer'), 'columns');
    await using sql = await PgConnection.connect({ url: source.url });
    await using lake = await PgConnection.connect({ url: target.url });
    for (const table of TABLES)
      await sql.script(`create table ${table} (id int primary key, n int not null, note text, m int);
      alter table ${table} alter note set storage external;
      insert into ${table} select i, case when i = any ('{${LARGE.join(',')}}'::int[]) then 5000 else i end, repeat('x', i % 2 * 3000), i from generate_series(1, ${ROWS}) i`);
    using config = configFolder(
      {
        sources: {
          shop: {
            kind: 'postgres',
            url: source.url,
            slot: source.name,
            publication: 'columns',
            tables: TABLES.map((table) => `public.${table}`),
            snapshot: { chunkRows: 25, rereadRows: 500 },
          },
        },
        targets: {
          lake: {
            kind: 'postgres',
            url: target.url,
            schema: 'shop',
            layouts: [
              { dataset: 'shop.public.soft', softDelete: { at: 'deleted_at' } },
              { dataset: 'shop.public.kept', history: { from: 'valid_from', to: 'valid_to' }, write: { operation: 'op' } },
              { dataset: 'shop.public.marked', write: { verdict: 'verdict' } },
            ],
          },
        },
      },
      RULES(1000),
    );
    const run = async (until: () => Promise<void>): Promise<void> => {
      const child = spawn(process.execPath, [MAIN, 'run', config.file], { stdio: 'ignore' });
      const ended = new Promise((resolve) => child.once('exit', resolve));
      try {
        await until();
      } finally {
        child.kill('SIGKILL');
        await ended;
      }
    };
    const alive = (table: string): string => ({ soft: 'deleted_at is null', kept: 'valid_to is null' })[table] ?? 'true';
    const differing = async (columns: string, but: string): Promise<Record<string, unknown>> => {
      const found: Record<string, unknown> = {};
      for (const table of TABLES) {
        const rowsOf = async (from: PgConnection, name: string, where: string): Promise<readonly (string | null)[]> =>
          (await from.query(`select jsonb_build_array(${columns})::text from ${name} where ${where} order by id`)).rows.map(
            ([row]) => row ?? null,
          );
        const theirs = await rowsOf(sql, table, but);
        const ours = await rowsOf(lake, `shop.${table}`, `${but} and ${alive(table)}`);
        const other = theirs.filter((row) => !ours.includes(row));
        if (other.length > 0 || ours.length !== theirs.length)
          found[table] = [ours.length, theirs.length, other.slice(0, 2).map((row) => row?.slice(0, 90))];
      }
      return found;
    };
    const equal = async (columns: string, but: string): Promise<void> => {
      await eventually(
        async () => Object.keys(await differing(columns, but).catch(() => ({ none: true }))).length === 0,
        'all are equal',
        60_000,
      ).catch(async () => expect(await differing(columns, but)).toEqual({}));
    };
    const reread = async (): Promise<readonly string[]> =>
      (await lake.query('select reread from tidegate.schema_changes order by 1')).rows.map(([state]) => state ?? 'none');
    const notLarge = `id not in (${LARGE.join(', ')})`;

    await run(async () => {
      await equal('id, n, note', `(n < 1000 or ${notLarge})`);
      // The target's own: whoever reads whole rows takes it back.
      for (const table of TABLES) await lake.script(`update shop.${table} set note = 'planted' where id in (3, 13) and ${alive(table)}`);
      for (const table of TABLES) {
        await sql.script(
          `alter table ${table} add d text default 'd' || id_free(), add e double precision not null default random(), alter m type text using 'm' || m`.replace(
            'id_free()',
            'random()',
          ),
        );
        for (let n = 0; n < 6; n++) await sql.script(traffic(random, table).replaceAll(/\b(3|13)\b/g, '5'));
        await sql.script(`update ${table} set n = n + 0 where id = 5; insert into ${table} (id, n) values (400, 4)`);
      }
      await eventually(async () => (await reread()).includes('begun'), 'some are read', 60_000);
    });
    await run(async () => {
      for (const table of TABLES) for (let n = 0; n < 4; n++) await sql.script(traffic(random, table).replaceAll(/\b(3|13)\b/g, '5'));
      await eventually(async () => (await reread()).every((state) => state === 'done'), 'all are read', 60_000);
      await equal('id, n, d, e, m', notLarge);
    });
    const { rows: alone } = await lake.query('select dataset, reread_columns is not null from tidegate.schema_changes order by dataset');
    expect(Object.fromEntries(alone)).toEqual(
      Object.fromEntries(TABLES.toSorted().map((table) => [`shop.public.${table}`, ALONE.includes(table) ? 't' : 'f'])),
    );
    for (const table of TABLES) {
      const { rows } = await lake.query(`select count(*) from shop.${table} where note = 'planted' and ${alive(table)}`);
      expect([table, rows[0]?.[0]]).toEqual([table, ALONE.includes(table) ? '2' : '0']);
      await lake.script(`update shop.${table} set note = 'x' where note = 'planted'`);
      await sql.script(`update ${table} set note = 'x' where id in (3, 13)`);
    }
    const { rows: versions } = await lake.query(`select count(*) from shop.kept where op = 'read'`);
    expect(Number(versions[0]?.[0])).toBeGreaterThan(ROWS);

    for (const [name, text] of Object.entries(RULES(10_000))) writeFileSync(join(config.folder, name), text);
    await using service = await startService(config);
    await untilReady(service.url, 60_000);
    for (const table of ['waits', 'overtakes', 'paired'])
      expect((await cli('quarantine', 'release', config.file, '--dataset', `shop.public.${table}`)).code).toBe(0);
    await equal('id, n, note, d, e, m', 'true');
    const { rows: open } = await lake.query(
      `select dataset, key, status from tidegate.quarantine where status in ('held', 'waiting', 'released')`,
    );
    expect(open).toEqual([]);
    const ledger = 'select events = upserts + deletes + truncates + stale + folded + held + dropped from tidegate.lanes';
    expect((await lake.query(ledger)).rows.every(([closed]) => closed === 't')).toBe(true);
    expect((await ask(service.url, '/readyz')).status).toBe(200);
  },
);
