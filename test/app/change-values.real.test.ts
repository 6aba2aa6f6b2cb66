/** Values that only the source's types have: of columns whose change is ignored, of enums and of domains, under every policy; and rows that are read again while their table waits. */
import { isDeepStrictEqual } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { eventually } from '../support/eventually.ts';
import { BothEnds, evolutionRules, Following } from './changed-tables.ts';
import { cli } from './cli.ts';
import { ask, post } from './services.ts';

const POLICIES = ['accept', 'hold', 'quarantine', 'ignore'] as const;
const IDENTITIES = ['default', 'full', 'nothing', 'using index t_code', 'full', 'default'];
const READ_AGAIN = ['whole', 'where', 'keys', 'rejected'] as const;

let ends: BothEnds;
let it: Following;

beforeAll(async () => {
  ends = await BothEnds.make('cv');
  const tables: string[] = ['free'];
  const rules: Record<string, string> = {};
  const make = async (table: string, policy: string, columns: string, rows: string): Promise<void> => {
    await ends.sql.script(`create table ${table} (id bigint primary key, ${columns}); insert into ${table} ${rows}`);
    tables.push(table);
    rules[`${table}.rules.yaml`] = evolutionRules(table, policy);
  };
  await ends.sql.script('create table free (id bigint primary key)');
  for (const policy of POLICIES) {
    const types = `create type mood_${policy} as enum ('calm', 'sad'); create type hue_${policy} as enum ('red');
      create domain amount_${policy} as int constraint positive check (value > 0); create domain few_${policy} as smallint check (value < 200);`;
    await ends.sql.script(types);
    await ends.lake.script(types.replace(/create type hue.*;/, '')); // The target has it as text.
    await make(
      `enum_${policy}`,
      policy,
      `m mood_${policy}, ms mood_${policy}[], h hue_${policy}`,
      `select n, 'calm', '{sad}', 'red' from generate_series(1, 20) n`,
    );
    await make(`domain_${policy}`, policy, `v amount_${policy}, w text`, `select n, n, 'w' || n from generate_series(1, 20) n`);
    await make(`base_${policy}`, policy, `v amount_${policy}, w text`, `select n, n, 'w' || n from generate_series(1, 20) n`);
  }
  await make(
    'wider',
    'ignore',
    'a int, b varchar(8), c numeric(8,2), d text',
    `select n, n, 'b' || n, n, 'd' from generate_series(1, 20) n`,
  );
  await make('narrower', 'ignore', 'a bigint, b text, c numeric(12,2)', `select n, n, 'b' || n, n from generate_series(1, 20) n`);
  await make('identity', 'hold', 'code text not null, v int', `select n, 'c' || n, n from generate_series(1, 20) n`);
  await ends.sql.script('create unique index t_code on identity (code)');
  for (const kind of READ_AGAIN)
    await make(`again_${kind}`, 'hold', 'a int, b text', `select n, n, 'b' || n from generate_series(1, 200) n`);
  it = await Following.start(ends, ends.config({ tables: tables.map((table) => `public.${table}`) }, {}, rules));
});

afterAll(async () => {
  await it?.[Symbol.asyncDispose]();
  await ends?.[Symbol.asyncDispose]();
});

/** Waits until exactly these rows are held, by these rules, and nobody waits for a change. */
async function held(table: string, rows: Readonly<Record<string, string>>): Promise<void> {
  const found = async (): Promise<unknown> =>
    Object.fromEntries(
      (
        await ends.lake.query(
          `select key, string_agg(distinct array_to_string(rules, ' '), '|') from tidegate.quarantine where dataset = $1 and status in ('held', 'waiting') group by 1`,
          [`shop.public.${table}`],
        )
      ).rows.map(([key, rule]) => [key, rule]),
    );
  await eventually(async () => isDeepStrictEqual(await found(), rows), `${table} has held rows`, 20_000).catch(async () =>
    expect(await found()).toEqual(rows),
  );
  expect((await it.changesOf(table)).filter(({ status }) => status === 'held')).toEqual([]);
}
const inLine = async (table: string): Promise<boolean> =>
  (await ends.lake.query(`select from tidegate.quarantine where dataset = $1 and status = 'released'`, [`shop.public.${table}`])).rows
    .length > 0;
const release = async (table: string): Promise<void> => {
  expect((await cli('quarantine', 'release', it.config.file, '--dataset', `shop.public.${table}`)).code).toBe(0);
  await ends.equal(table);
};

describe('of columns whose change is ignored', () => {
  test('what does not go into the narrower column is held row by row, and released once somebody has made it wider', async () => {
    await ends.sql
      .script(`begin; alter table wider alter a type bigint, alter b type varchar(40), alter c type numeric(16,2), alter d type varchar(40);
      insert into wider values (101, 1, 'fits', 1, 'd'), (102, 1::bigint << 40, 'fits', 1, 'd'); commit;
      insert into wider values (103, 1, 'does not fit', 1, 'd'), (104, 1, 'fits', 1e9, 'd'); update wider set b = 'nor does it' where id = 3; update wider set c = 5 where id in (1, 2, 4, 5)`);
    await held('wider', { 102: 'target.22003', 103: 'target.22001', 104: 'target.22003', 3: 'target.22001' });
    const { rows } = await ends.lake.query('select id, c from shop.wider where id < 6 or id > 100 order by id');
    expect(rows.map((row) => row.join())).toEqual(['1,5.00', '2,5.00', '3,3.00', '4,5.00', '5,5.00', '101,1.00']);
    await it.flows();
    await ends.lake.script('alter table shop.wider alter a type bigint, alter b type varchar(40), alter c type numeric(16,2)');
    await release('wider');
  });

  test('a column that is narrower, and then wider than it ever was', async () => {
    await ends.sql
      .script(`begin; alter table narrower alter a type smallint, alter b type varchar(3), alter c type numeric(8,2); insert into narrower values (101, 5, 'new', 1); commit;
      update narrower set a = 7 where id = 1`);
    await ends.equal('narrower');
    await ends.sql
      .script(`begin; alter table narrower alter a type numeric, alter b type text, alter c type numeric(20,2); insert into narrower values (102, 1e20, 'b', 1), (103, 5, 'a text as long as it likes', 1); commit;
      insert into narrower values (104, 5, 'b', 1e12)`);
    await held('narrower', { 102: 'target.22003', 104: 'target.22003' });
    await ends.lake.script('alter table shop.narrower alter a type numeric, alter c type numeric(20,2)');
    await release('narrower');
  });
});

describe.each(POLICIES)('%s', (policy) => {
  test('a value of an enum that the target lacks', async () => {
    const table = `enum_${policy}`;
    await ends.sql.script(`alter type mood_${policy} add value 'glad'; alter type hue_${policy} add value 'blue'`);
    await ends.sql.script(`begin; insert into ${table} values (101, 'sad', '{}', 'blue'), (102, 'glad', null, null); commit;
      insert into ${table} values (103, null, '{calm,glad}', 'red'); update ${table} set m = 'glad' where id = 3; update ${table} set h = 'blue' where id = 4`);
    if (policy !== 'accept') {
      await held(table, { 102: 'target.22P02', 103: 'target.22P02', 3: 'target.22P02' });
      await eventually(async () => (await ends.differences(table)).length === 4, 'all others are there');
      await ends.lake.script(`alter type mood_${policy} add value 'glad'`);
      await release(table);
    }
    await ends.equal(table);
  });

  test('a domain that has other constraints: those of the target hold', async () => {
    const table = `domain_${policy}`;
    await ends.sql
      .script(`alter domain amount_${policy} drop constraint positive; insert into ${table} values (101, -1, 'w'), (102, 1, 'w'); update ${table} set v = -3 where id = 3;
      alter domain amount_${policy} add constraint other check (value <> 0); insert into ${table} values (103, -4, 'w')`);
    await held(table, { 101: 'target.23514', 103: 'target.23514', 3: 'target.23514' });
    await ends.lake.script(`alter domain amount_${policy} drop constraint positive`);
    await release(table);
  });

  test('a domain with a narrower base', async () => {
    const table = `base_${policy}`;
    await ends.sql
      .script(`begin; update ${table} set w = 'changed' where id = 2; alter table ${table} alter v type few_${policy} using v + 100; insert into ${table} values (101, 150, 'w'); commit;
      update ${table} set w = 'again' where id < 5; delete from ${table} where id = 7`);
    if (policy === 'ignore') {
      await eventually(
        async () => (await ends.lake.query(`select from shop.${table} where id = 7`)).rows.length === 0,
        'what came after it is there',
      );
      const { rows } = await ends.lake.query(`select v from shop.${table} where id in (4, 5, 101) order by id`);
      expect(rows).toEqual([['104'], ['5'], ['150']]); // The source wrote its rows anew, and said so of none.
      expect(await ends.heldRules(table)).toBe('');
    } else if (policy === 'accept') await ends.equal(table);
    else await it.approved(table, (await it.parked(table)).id);
    const type = (await ends.columnsOf(ends.lake, `shop.${table}`)).get('v');
    expect(type).toBe(policy === 'ignore' ? `amount_${policy}` : `few_${policy}`);
  });
});

test('what tells rows apart in the log changes while the table waits, in every way that there is: approved one by one, all is written', async () => {
  await ends.sql.script(`begin; alter table identity add w int default 7; insert into identity values (100, 'c100', 1); commit`);
  await it.parked('identity');
  for (const [i, identity] of IDENTITIES.entries()) {
    const n = 101 + i;
    // Without an identity the source itself refuses all but new rows.
    const others = `update identity set v = v + 1, code = code || '+' where id % 3 = 0; update identity set id = id + 1000 where id = ${n - 90}; delete from identity where id = ${n - 1};`;
    await ends.sql.script(`alter table identity replica identity ${identity}; insert into identity values (${n}, 'c${n}', 1);
      ${identity === 'nothing' ? '' : others} insert into identity values (${n + 100}, 'c${n + 100}', 1)`);
    await it.flows();
  }
  const open = (await it.changesOf('identity')).filter(({ status }) => status === 'held').toReversed();
  // The index is its key while it is the identity, and there is none without one: each is a change of its own.
  expect(open.map(({ message }) => message)).toEqual([
    'column w is new',
    'the source has no key that tells its rows apart',
    expect.stringMatching(/^its key is code, /),
    'its key is id, and was code',
  ]);
  for (const { id, message } of open) {
    expect(await it.approve(id)).toBe(message.includes('no key') ? 1 : 0);
    await eventually(async () => !(await inLine('identity')), 'what was released is written');
  }
  await ends.equal('identity');
  await ends.sql.script('update identity set v = 0; delete from identity where id = 3');
  await ends.equal('identity');
  // Rows that came while it had no key: they have been read again since.
  expect(await ends.heldRules('identity')).toBe('schema.former_key');
});

test.each(READ_AGAIN)('rows that are read again while their table waits: %s', async (kind) => {
  const table = `again_${kind}`;
  // Somebody's hand at the target, as far as the rows that are read reach.
  await ends.lake.script(`update shop.${table} set b = 'wrong' where id between 1 and 40`);
  await ends.sql.script(
    `begin; update ${table} set a = 0 where id = 5; alter table ${table} add d int default 3; insert into ${table} values (300, 1, 'b', 4); commit`,
  );
  const { id } = await it.parked(table);
  if (kind === 'rejected') expect(await it.reject(id)).toBe(0);
  const what =
    kind === 'where'
      ? { where: 'd = 3 and id < 50' }
      : kind === 'keys'
        ? { keys: Array.from({ length: 40 }, (_, i) => [String(i + 1)]) }
        : {};
  const { status, json } = await post(it.url, '/api/pipelines/main/rereads', { dataset: `shop.public.${table}`, ...what });
  expect([status, json]).toEqual([202, expect.anything()]);
  const before = (await ends.lake.query(`select count(*) from shop.${table} where b = 'wrong'`)).rows;
  await ends.sql.script(
    `update ${table} set a = a + 1 where id between 30 and 60; delete from ${table} where id = 31; insert into ${table} values (301, 1, 'b', 5)`,
  );
  const state = async (): Promise<string> => {
    const view = (await ask(it.url, '/api/pipelines/main/snapshot')).json as { rereads: readonly { dataset: string; state: string }[] };
    return view.rereads
      .filter(({ dataset }) => dataset === `shop.public.${table}`)
      .map((one) => one.state)
      .join();
  };
  await eventually(async () => (await state()) === 'done', 'they were read');
  expect((await ends.lake.query(`select count(*) from shop.${table} where b = 'wrong'`)).rows).toEqual(before);
  await it.approved(table, id);
});

test('all tables are verified', async () => {
  // Of the one whose new base is ignored, rows that the source wrote anew are as they were.
  expect(await it.unequal()).toEqual(['shop.public.base_ignore']);
});
