/** What is set otherwise from one start to the next, while a large transaction is on its way and rows of it are held. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { eventually } from '../support/eventually.ts';
import { Random } from '../support/random.ts';
import { BothEnds, Following } from './changed-tables.ts';
import { cli } from './cli.ts';
import { untilReady } from './services.ts';

const ROWS = 6000;
const SEEDS = [Number(process.env['SEED'] ?? Math.floor(Math.random() * 1e6))];
const rules = (hold: 'event' | 'key'): string => `
apiVersion: quality/v1
kind: DatasetRules
dataset: shop.public.items
hold: ${hold}
columns:
  n: [{id: small, between: {max: 9}}]
`;

test.each(SEEDS)(
  'holding, sizes of batches, workers and a layout are set anew inside of a transaction (seed %i)',
  async (seed) => {
    const random = new Random(seed);
    await using ends = await BothEnds.make('othersettings');
    const { sql, lake } = ends;
    await sql.script(`create table items (id integer primary key, n integer, note text); create table free (id integer primary key);
    insert into items select i, 0, 'copied' from generate_series(1, ${ROWS}) i`);
    const source = { tables: ['public.items', 'public.free'] };
    const settings = (first: boolean) => {
      const layout = random.chance(0.5) ? { write: { position: 'at_position' } } : {};
      const target = {
        kind: 'postgres',
        url: ends.target.url,
        schema: 'shop',
        workers: random.below(4),
        layouts: [{ dataset: 'shop.public.items', ...layout }],
      };
      const batch = { rows: first ? 50 : 1 + random.below(2000) };
      const breaker = { enabled: false }; // Where only wrong rows are left, it halts.
      return {
        targets: { lake: target },
        pipelines: { main: { source: 'shop', target: 'lake', datasets: './*.rules.yaml', breaker, batch } },
      };
    };
    const holds = () => (random.chance(0.5) ? 'key' : 'event');
    let config = ends.config(source, settings(true), { 'items.rules.yaml': rules(holds()) });
    let following = await Following.start(ends, config);
    // In one transaction each row changes several times, and some are wrong in between.
    await sql.script(`begin; update items set n = 10 where id % 7 = 0; update items set note = 'second', n = n + 1; update items set n = 1 where id % 14 = 0;
    delete from items where id % 5 = 0; insert into items select i, 2, 'again' from generate_series(5, ${ROWS}, 10) i; commit`);
    const position = async (): Promise<string> =>
      (await lake.query(`select max(position) from tidegate.lanes where lane like 'shop/%'`)).rows[0]?.[0] ?? '';
    await sql.script('insert into free values (0)');
    const isOver = async (): Promise<boolean> =>
      (await lake.query("select to_regclass('shop.free')")).rows[0]?.[0] !== null &&
      (await lake.query('select from shop.free')).rows.length > 0;
    const seen: string[] = [];
    for (let start = 0; start < 6; start++) {
      const before = await position();
      await eventually(async () => (await position()) !== before || (await isOver()), 'the lane moves on');
      await following.stop();
      seen.push(await position());
      config = ends.config(source, settings(start < 3), { 'items.rules.yaml': rules(holds()) });
      following = new Following(ends, config);
      await following.restart();
    }
    await using last = following;
    await untilReady(last.url);
    await last.flows();
    expect(new Set(seen.map((place) => place.split('!')[0])).size, `seed ${seed}: ${seen.join(' ')}`).toBeGreaterThan(1);
    writeFileSync(join(config.folder, 'items.rules.yaml'), rules('key').replace('max: 9', 'max: 99'));
    await last.restart();
    await untilReady(last.url);
    expect((await cli('quarantine', 'release', config.file, '--status', 'held', '--status', 'waiting')).code).toBe(0);
    await ends.equal('items');
    const open = await lake.query(
      `select status, count(*) from tidegate.quarantine where status in ('held', 'waiting', 'released', 'staged') group by 1`,
    );
    expect([seed, open.rows, (await lake.query('select from tidegate.held_keys')).rows.length]).toEqual([seed, [], 0]);
    expect(await last.unequal()).toEqual([]);
  },
  90_000,
);
