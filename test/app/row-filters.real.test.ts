/**
 * Publications that have only rows of a condition: an update that moves a row into it comes as an insert, one that moves it out as a delete. Random changes while the
 * rows are copied and after, and differences at the target, against what `select … where` says.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { freePort } from '../../examples/embedded-postgres.ts';
import type { PgConnection } from '../../wire/postgres/connection.ts';
import { eventually } from '../support/eventually.ts';
import { sharedVersion } from '../support/postgres-versions.ts';
import { Random } from '../support/random.ts';
import { BothEnds } from './changed-tables.ts';
import { cli } from './cli.ts';
import { startService, type TestConfig, untilReady } from './services.ts';

const SEED = Number(process.env['FILTERS_SEED'] ?? 1);
const KEYS = 60;

interface Filtered {
  /** Columns of the key, whose first is `id`. */
  readonly key: string;
  /** What a target has of it, and of which rows. */
  readonly columns: string;
  readonly where: string;
}

/** The server asks that the filter of updates be over the replica identity. */
const TABLES: Readonly<Record<string, Filtered>> = {
  whole: { key: 'id', columns: 'id, n, tag, big', where: `n % 3 = 0 and tag is distinct from 'x'` },
  keyed: { key: 'id, n', columns: 'id, n, tag, big', where: 'n % 2 = 0' },
};
const NAMES = Object.keys(TABLES);

describe.runIf(sharedVersion() >= 15)(`seed ${SEED}`, () => {
  const random = new Random(SEED);
  let ends: BothEnds;
  let sql: PgConnection;
  let lake: PgConnection;
  let config: TestConfig;
  let running: Awaited<ReturnType<typeof startService>>;
  let marks = 0;

  beforeAll(async () => {
    ends = await BothEnds.make('rf');
    ({ sql, lake } = ends);
    // Large values are stored apart, and left out of updates that do not change them.
    for (const [table, { key }] of Object.entries(TABLES))
      await sql.script(`create table ${table} (id int, n int not null, tag text, big text, secret text default 'secret', primary key (${key}));
        alter table ${table} alter big set storage external;
        insert into ${table} select i, i % 7, 'tag', repeat(chr(97 + i % 26), case when i % 3 = 0 then 3000 else 3 end) from generate_series(1, ${KEYS}) i`);
    await sql.script(`alter table whole replica identity full; create table marks (id int primary key);
      create publication filtered for table marks, whole where (${TABLES['whole']?.where}), keyed (${TABLES['keyed']?.columns}) where (${TABLES['keyed']?.where})`);
    const tables = ['marks', ...NAMES].map((name) => `public.${name}`);
    const snapshot = { chunkRows: 7, rate: 400 };
    config = ends.config({ publication: 'filtered', tables, snapshot }, { http: { port: await freePort() } });
    running = await startService(config);
  });

  afterAll(async () => {
    await running?.[Symbol.asyncDispose]();
    await ends?.[Symbol.asyncDispose]();
  });

  /** Rows of these keys, where there are none. */
  const refill = (table: string, from: number, to: number, n: number, tag: string): string =>
    `insert into ${table} (id, n, tag, big) select i, ${n} + i % 7, ${tag}, repeat('i', ${random.chance(0.5) ? 3000 : 3}) from generate_series(${from}, ${to}) i
     where not exists (select from ${table} where id = i)`;

  /** A change of one table, of one row or several. */
  function change(table: string): string {
    const id = 1 + random.below(KEYS);
    const some = random.chance(0.2) ? `id between ${id} and ${id + 9}` : `id = ${id}`;
    const tag = random.chance(0.4) ? `'x'` : random.chance(0.3) ? 'null' : `'t${random.below(9)}'`;
    switch (random.below(8)) {
      case 0:
        return `delete from ${table} where id = ${id}`;
      case 1:
        return refill(table, id, id + random.below(6), random.below(9), tag);
      case 2:
        // To another key, which may be in or out itself.
        return `update ${table} set id = ${id + KEYS}, n = n + ${random.below(3)} where id = ${id} and not exists (select from ${table} where id = ${id + KEYS})`;
      case 3:
        return `update ${table} set id = ${id}, n = n + ${random.below(3)} where id = ${id + KEYS} and not exists (select from ${table} where id = ${id})`;
      case 4:
        return `update ${table} set big = repeat('u', ${random.chance(0.5) ? 3000 : 3}), tag = ${tag} where ${some}`;
      case 5:
        return `update ${table} set tag = ${tag} where ${some}`;
      default:
        // Into the condition, or out of it, with the large value left out.
        return `update ${table} set n = n + ${1 + random.below(5)} where ${some}`;
    }
  }

  async function traffic(rounds: number): Promise<void> {
    for (let i = 0; i < rounds; i++) {
      const statements = Array.from({ length: 1 + random.below(4) }, () => change(NAMES[random.below(NAMES.length)] ?? ''));
      if (random.chance(0.05)) {
        const table = NAMES[random.below(NAMES.length)] ?? '';
        statements.push(`truncate ${table}`, refill(table, 1, KEYS, random.below(9), `'new'`));
      }
      await sql.script(`begin; ${statements.join('; ')}; ${random.chance(0.1) ? 'rollback' : 'commit'}`);
    }
  }

  const rowsOf = async (connection: PgConnection, statement: string): Promise<readonly string[]> =>
    (await connection.query(statement)).rows.map(([row]) => row ?? '');
  /** Once the target has all of it: it is what the condition says. */
  async function expectSame(): Promise<void> {
    const mark = ++marks;
    await sql.script(`insert into marks values (${mark})`);
    await eventually(async () => (await rowsOf(lake, `select id from shop.marks where id = ${mark}`)).length === 1, 'the mark is in');
    for (const [table, { columns, where }] of Object.entries(TABLES)) {
      const wanted = await rowsOf(sql, `select row(${columns})::text from ${table} where ${where} order by id, n`);
      expect(wanted.length, `seed ${SEED}, ${table} has rows`).toBeGreaterThan(0);
      expect(await rowsOf(lake, `select row(${columns})::text from shop.${table} order by id, n`), `seed ${SEED}, ${table}`).toEqual(
        wanted,
      );
    }
  }

  test('while rows are copied and after, the target has those of the condition, and no column that is not in the list', async () => {
    await traffic(60);
    await untilReady(running.url);
    await expectSame();
    for (let round = 0; round < 6; round++) {
      // Read late, most rows have changed again, moved or gone since.
      if (round % 2 === 1) expect((await cli('halt', config.file)).code).toBe(0);
      await traffic(40);
      if (round % 2 === 1) expect((await cli('resume', config.file)).code).toBe(0);
      await expectSame();
    }
    const secret = `select attname from pg_attribute where attrelid = 'shop.keyed'::regclass and attname = 'secret'`;
    expect(await rowsOf(lake, secret)).toEqual([]);
  });

  test('verify finds nothing, also where rows outside of the condition change; and repairs what somebody made different', async () => {
    expect((await cli('verify', config.file, '--wait', '10s')).code).toBe(0);
    for (let round = 0; round < 3; round++) {
      for (const [table, { where }] of Object.entries(TABLES)) {
        // Rows that are in and gone, changed, or at the target though the condition leaves them out or nobody has them.
        const outside = await rowsOf(sql, `select row(id, n)::text from ${table} where not coalesce(${where}, false) order by id limit 5`);
        expect(outside.length).toBeGreaterThan(0);
        const values = outside.map((row) => row.replace(')', `, 'stale')`)).join(', ');
        await lake.script(`delete from shop.${table} where id % 5 = ${round}; update shop.${table} set tag = 'other' where id % 5 = ${round + 1};
          insert into shop.${table} (id, n, tag) values ${values}, (${1000 + round}, 0, 'nobody')`);
      }
      const changes = traffic(20);
      const { code, stdout } = await cli('verify', config.file, '--repair', '--wait', '20s');
      await changes;
      expect([code, stdout]).toEqual([0, expect.anything()]);
      await expectSame();
    }
  });

  test('keys that are read again are deleted at the target where the condition leaves them out', async () => {
    const [outside = ''] = await rowsOf(sql, `select id from whole where not coalesce(${TABLES['whole']?.where}, false) limit 1`);
    const [inside = ''] = await rowsOf(sql, `select id from whole where ${TABLES['whole']?.where} limit 1`);
    await lake.script(`insert into shop.whole values (${outside}, 1, 'stale'); delete from shop.whole where id = ${inside}`);
    const { code, stderr } = await cli('resnapshot', config.file, 'main', 'shop.public.whole', '--keys', outside, '--keys', inside);
    expect([code, stderr]).toEqual([0, '']);
    await eventually(
      async () => (await rowsOf(lake, `select id from shop.whole where id in (${outside}, ${inside})`)).join() === inside,
      'one is deleted, and one is back',
    );
    await expectSame();
  });
});
