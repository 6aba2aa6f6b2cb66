/** Keys that the source tells apart and the target does not: no row takes another's place, and no other table waits for that. */
import { expect, test } from 'vitest';
import { arrayLiteral } from '../../wire/postgres/ident.ts';
import { cli } from './cli.ts';
import { BothEnds, Following } from './changed-tables.ts';

interface Keys {
  readonly source: string;
  readonly target: string;
  /** What its unique index is of; left out, the column as it is. */
  readonly index?: string;
  /** The second is another's at the target, or none that it keeps as it is. */
  readonly keys: readonly [string, string, string, string];
}

const KEYS: Readonly<Record<string, Keys>> = {
  citext: { source: 'text', target: 'citext', keys: ['A', 'a', 'b', 'c'] },
  ignoring: { source: 'varchar(9)', target: 'varchar(9) collate ignoring', keys: ['A', 'a', 'b', 'c'] },
  indexed: { source: 'text', target: 'text', index: 'k collate ignoring', keys: ['A', 'a', 'b', 'c'] },
  padded: { source: 'text', target: 'char(9)', keys: ['a', 'a ', 'b', 'c'] },
  times: { source: 'timestamp', target: 'timestamp(3)', keys: ['2026-01-01', '2026-01-01 00:00:00.0001', 'infinity', '-infinity'] },
  numbers: { source: 'numeric', target: 'numeric(9, 2)', keys: ['1.00', '1.001', '2.50', '-0.01'] },
  floats: { source: 'double precision', target: 'real', keys: ['1000000', '1000000.00000001', 'NaN', '1.1'] },
  large_numbers: {
    source: 'numeric(20)',
    target: 'double precision',
    keys: ['9007199254740992', '9007199254740993', '-1000000000000000', '0'],
  },
  integers: { source: 'numeric', target: 'integer', keys: ['1', '1.2', '2', '3'] },
};
const TABLES = Object.keys(KEYS);

interface Layout {
  readonly options: Readonly<Record<string, unknown>>;
  readonly columns: string;
  readonly alive: string;
  readonly unique: string;
}

const LAYOUTS: Readonly<Record<string, Layout>> = {
  'as they are': { options: {}, columns: '', alive: 'true', unique: '' },
  'that stay when they are deleted': {
    options: { softDelete: { at: 'deleted_at' } },
    columns: ', deleted_at timestamptz',
    alive: 'deleted_at is null',
    unique: '',
  },
  'with all their versions': {
    options: { history: { from: 'valid_from', to: 'valid_to' } },
    columns: ', valid_from timestamptz, valid_to timestamptz',
    alive: 'valid_to is null',
    unique: ' where valid_to is null',
  },
};

test.each(Object.entries(LAYOUTS))(
  'no row takes the place of another whose key is like its own: rows %s',
  async (_, { options, columns, alive, unique }) => {
    await using ends = await BothEnds.make('otherkeys');
    const { sql, lake } = ends;
    await lake.script(`create schema shop; create extension citext;
    create collation ignoring (provider = icu, locale = 'und-u-ks-level2', deterministic = false)`);
    await sql.script('create table free (id integer primary key)');
    for (const [table, { source, target, index = 'k', keys }] of Object.entries(KEYS)) {
      await lake.script(
        `create table shop.${table} (k ${target}, v text${columns}); create unique index on shop.${table} (${index})${unique}`,
      );
      await sql.script(`create table ${table} (k ${source} primary key, v text)`);
      await sql.query(`insert into ${table} select k::${source}, 'copied' from unnest($1::text[]) k`, [arrayLiteral(keys)]);
    }
    const layouts = TABLES.map((table) => ({ dataset: `shop.public.${table}`, ...options }));
    const targets = { lake: { kind: 'postgres', url: ends.target.url, schema: 'shop', layouts } };
    const config = ends.config({ tables: [...TABLES, 'free'].map((table) => `public.${table}`) }, { targets });
    await using following = await Following.start(ends, config);

    // What is held, is held: the others are there, and nothing is in their place.
    const expectWithoutSecond = async (): Promise<void> => {
      await following.flows();
      for (const [table, { source, keys }] of Object.entries(KEYS)) {
        const rows = `select k::text::${source}, v from ${table} where k <> $1::text::${source} order by 1`;
        const { rows: there } = await lake.query(`select k::text::${source}, v from shop.${table} where ${alive} order by 1`);
        expect([table, there]).toEqual([table, (await sql.query(rows, [keys[1]])).rows]);
        expect([table, await ends.heldRules(table)]).toEqual([table, expect.stringMatching(/target\.(?:TG003|23505|22P02)/)]);
      }
    };
    await expectWithoutSecond();
    await sql.script(TABLES.map((table) => `update ${table} set v = 'changed'`).join('; '));
    await expectWithoutSecond();
    // Where nothing is held of it any more, it still finds no row but its own; and none moves into the place of another.
    expect((await cli('quarantine', 'discard', config.file, '--status', 'held', '--status', 'waiting', '--why', 'not here')).code).toBe(0);
    for (const [table, { source, keys }] of Object.entries(KEYS))
      await sql.query(`delete from ${table} where k = $1::text::${source}`, [keys[1]]);
    for (const table of ['citext', 'ignoring']) await sql.script(`update ${table} set k = 'B' where k = 'c'`);
    await following.flows();
    for (const table of TABLES) {
      const { rows } = await lake.query(`select v, count(*) from shop.${table} where ${alive} group by 1`);
      expect([table, rows]).toEqual([table, [['changed', '3']]]);
    }
    await sql.script("delete from citext where k = 'b'; delete from ignoring where k = 'b'");
    await following.flows();
    const moved = ['citext', 'ignoring'];
    for (const table of moved) {
      expect([table, await ends.heldRules(table)]).toEqual([table, expect.stringMatching(/^target\.(?:TG003|23505)$/)]);
      expect((await cli('quarantine', 'release', config.file, '--dataset', `shop.public.${table}`, '--status', 'held')).code).toBe(0);
    }
    for (const table of TABLES)
      await ends.equal(table, { where: alive, place: (column) => (column === 'k' && table === 'padded' ? null : column) });
    expect(await following.unequal()).toEqual([]);
  },
  60_000,
);
