/** Tables that are found by patterns: those that are there, and those that are made while others are read. */
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { eventually } from '../support/eventually.ts';
import { Random } from '../support/random.ts';
import { cli } from './cli.ts';
import { ends, notes, table } from './pattern-ends.ts';
import { ask, startService, untilReady } from './services.ts';

const MAIN = join(import.meta.dirname, '../../app/cli/main.ts');
const SEED = Number(process.env['PATTERN_SEED'] ?? 7);

/** Some changes of rows of a table. */
function traffic(random: Random, name: string): string {
  const id = (): number => 1 + random.below(12);
  return Array.from({ length: 6 }, () => {
    const kind = random.below(10);
    if (kind < 5)
      return `insert into ${name} values (${id()}, 'i${random.below(99)}') on conflict (id) do update set v = excluded.v || '+'`;
    if (kind < 8) return `update ${name} set v = 'u${random.below(99)}' where id = ${id()}`;
    if (kind < 9)
      return `update ${name} set id = id + 100 where id = ${id()} and not exists (select from ${name} o where o.id = ${name}.id + 100)`;
    return `delete from ${name} where id = ${id()}`;
  }).join(';');
}

test.concurrent.each([
  ['of all tables', 'create publication found for all tables with (publish_via_partition_root = true)'],
  ['that Tidegate makes', ''],
])(
  'tables are made and written to while others are read, and the service is killed: both ends are the same (publication %s)',
  async (_name, publication) => {
    const random = new Random(SEED);
    console.log(`PATTERN_SEED=${SEED}`);
    await using it = await ends(`${table('t0')}; insert into t0 select i, 'old' from generate_series(1, 10) i; ${publication}`, {
      patterns: ['public.t*'],
      except: ['public.t_not*'],
    });
    const { sql, config } = it;
    const made = ['t0'];
    const write = (): Promise<unknown> => sql.script(`begin; ${traffic(random, made[random.below(made.length)] ?? 't0')}; commit`);
    for (let round = 0; round < 3; round++) {
      const child = spawn(process.execPath, [MAIN, 'run', config.file], { stdio: 'ignore' });
      const ended = new Promise((resolve) => child.once('exit', resolve));
      for (let n = 0; n < 6; n++) await write();
      const name = `t${made.length}`;
      // Made in a transaction of its own, or together with its first rows, and with those of others.
      await sql.script(`begin; ${traffic(random, 't0')}; ${table(name)}; ${traffic(random, name)}; ${traffic(random, 't0')}; commit`);
      made.push(name, `t${made.length + 1}`);
      await sql.script(`${table(made.at(-1) ?? '')}; create table if not exists t_not_this (id int primary key)`);
      for (let n = 0; n < 6; n++) await write();
      // Now it is met, or copied, or has not been seen at all.
      if (round > 0)
        await eventually(async () => (await it.rows('target', made[2 * round - 1] ?? '')).length !== 1, 'the last round is copied');
      child.kill('SIGKILL');
      await ended;
      for (let n = 0; n < 3; n++) await write();
    }
    await using running = await startService(config);
    await untilReady(running.url);
    for (let n = 0; n < 6; n++) await write();
    await sql.script('insert into t_not_this values (1)');
    for (const name of made) await it.equal(name);
    expect((await it.rows('target', 't_not_this'))[0]).toEqual(['no such table']);
    const verified = await cli('verify', config.file, '--json');
    expect(verified.code).toBe(0);
    const status = (await ask(running.url, '/api/status')).json as { pipelines: { datasets: { dataset: string }[] }[] };
    expect(status.pipelines[0]?.datasets.map(({ dataset }) => dataset).toSorted()).toEqual(
      made.map((name) => `shop.public.${name}`).toSorted(),
    );
  },
);

test.concurrent('what cannot be followed is left out with the reason, and followed once it can be', async () => {
  await using it = await ends(
    `${table('a')}; create table public.nokey (id int, v text); create unlogged table public.fast (id int primary key);
     create schema other; create table other.a (id int primary key); insert into a values (1, 'a'); insert into nokey values (1, 'n')`,
    { patterns: ['*.*'] },
  );
  const check = async () =>
    ((await cli('check', it.config.file, '--json')).json as { problems: { path: string; severity: string; message: string }[] }).problems
      .filter(({ path }) => path.endsWith('sources.shop.patterns'))
      .map(({ severity, message }) => `${severity} ${message}`)
      .toSorted();
  const why = {
    fast: 'public.fast is left out: its changes are not in the log, for it is unlogged',
    nokey: 'public.nokey is left out: it has no primary key',
    other: 'public.a is left out: the target has other.a under the same name: give one of them another by a layout',
  };
  expect(await check()).toEqual([why.other, why.fast, why.nokey].map((text) => `warning ${text}.`));
  await using running = await startService(it.config);
  await untilReady(running.url);
  await eventually(async () => (await notes(running.url)).length === 3, 'what is left out is noted', 30_000);
  expect(await notes(running.url)).toEqual([why.other, why.fast, why.nokey].map((text) => `shop.${text}`));
  await it.sql.script('alter table nokey add primary key (id)');
  await it.equal('nokey');
  await it.sql.script(`insert into nokey values (2, 'n')`);
  await it.equal('nokey');
});

test.concurrent('new tables that are to be ignored are noted, also over a restart; those of the beginning are followed', async () => {
  await using it = await ends(`${table('a')}; create publication found for all tables`, { patterns: ['public.*'], newTables: 'ignore' });
  for (let run = 0; run < 2; run++) {
    await using running = await startService(it.config);
    await untilReady(running.url);
    if (run === 0) await it.sql.script(`${table('b')}; insert into b values (1, 'b')`);
    await it.sql.script(`insert into a values (${run}, 'a')`);
    await it.equal('a');
    await eventually(async () => (await notes(running.url)).length === 1, 'it is noted', 30_000);
    expect(await notes(running.url)).toEqual(['shop.public.b is left out: it is new, and newTables says ignore']);
  }
  expect((await it.rows('target', 'b'))[0]).toEqual(['no such table']);
});

test.concurrent('where no table fits yet, the first that is made begins the lane', async () => {
  await using it = await ends('select 1', { patterns: ['public.*'] });
  await using running = await startService(it.config);
  await it.sql.script(`${table('a')}; insert into a values (1, 'a')`);
  await it.equal('a');
  await it.sql.script(`insert into a values (2, 'a'); ${table('b')}; insert into b values (1, 'b')`);
  await it.equal('a');
  await it.equal('b');
  await untilReady(running.url);
});

test.concurrent('where nothing is copied, a table that the log brings is followed from its first row on', async () => {
  const publication = 'create publication found for all tables';
  await using it = await ends(`${table('a')}; insert into a values (1, 'old'); ${publication}`, {
    patterns: ['public.*'],
    snapshot: { mode: 'never' },
  });
  await using running = await startService(it.config);
  await untilReady(running.url);
  for (const name of ['b', 'c']) {
    await it.sql.script(
      `begin; ${table(name)}; insert into ${name} values (1, 'first'); insert into a values (${name === 'b' ? 2 : 3}, 'new'); commit`,
    );
    await it.sql.script(`insert into ${name} values (2, 'second')`);
    await it.equal(name);
  }
  await eventually(async () => (await it.rows('target', 'a')).length === 2, 'the others go on');
});

test.concurrent('a table that was found and is dropped, renamed or loses its key is in nobody’s way, also over a restart', async () => {
  await using it = await ends(['a', 'b', 'c', 'd'].map((name) => `${table(name)}; insert into ${name} values (1, 'old')`).join(';'), {
    patterns: ['public.*'],
  });
  for (let run = 0; run < 2; run++) {
    await using running = await startService(it.config);
    await untilReady(running.url);
    if (run === 0)
      await it.sql.script(
        `insert into b values (2, 'last'); drop table b; alter table c rename to c2; alter table d drop constraint d_pkey`,
      );
    await it.sql.script(`insert into a values (${run + 2}, 'new'); insert into c2 values (${run + 2}, 'new')`);
    await it.equal('a');
    await it.equal('c2');
  }
  expect(await it.rows('target', 'b')).toEqual([
    ['1', 'old'],
    ['2', 'last'],
  ]);
});
