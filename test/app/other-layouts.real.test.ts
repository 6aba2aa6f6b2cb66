/**
 * Tables that change at the source, or in the config, so that their layout at the target is another: a layout that does not fit any more parks its table and
 * nobody else, and what is approved is made by the layout of then.
 */
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { PgConnection } from '../../wire/postgres/connection.ts';
import { eventually } from '../support/eventually.ts';
import { BothEnds, evolutionRules, Following, type Seen } from './changed-tables.ts';
import { cli } from './cli.ts';
import { ask, post } from './services.ts';

type Layout = Readonly<Record<string, unknown>>;

/** By table: how the target has it at first, and from the second start on. */
const LAYOUTS: Readonly<Record<string, readonly [Layout | null, Layout | null]>> = {
  keyed: [{ columns: ['id', 'b'] }, { columns: ['ident', 'b'] }],
  stamped: [{ write: { position: 'pos' } }, { write: { position: 'pos' }, rename: { pos: 'place' } }],
  chosen: [{ columns: ['id', 'b'] }, { columns: ['id', 'bb'] }],
  fewer: [{ columns: ['id', 'a', 'b'] }, { columns: ['id', 'a'] }],
  unnamed: [{ columns: ['id', 'b'] }, { columns: ['id', 'a'] }],
  more: [{ columns: ['id', 'b'] }, { columns: ['id', 'a', 'b'] }],
  called: [{ rename: { b: 'bee', a: 'ay' } }, { rename: { b: 'ay', a: 'bee' } }],
  plain: [null, { rename: { b: 'bee' } }],
  moved: [{ columns: ['id', 'b'] }, { schema: 'other', table: 'removed', columns: ['id', 'b', 'c'] }],
  soft: [
    { softDelete: { at: 'gone_at' }, columns: ['id', 'b'] },
    { softDelete: { at: 'gone_at' }, columns: ['id', 'c'] },
  ],
};
const IGNORED = ['ignored', 'ignored_key'];
const TABLES = [...Object.keys(LAYOUTS), ...IGNORED, 'made', 'free'];

let ends: BothEnds;
let sql: PgConnection;
let lake: PgConnection;
let it: Following;

function config(stage: 0 | 1, of = LAYOUTS): ReturnType<BothEnds['config']> {
  const layouts = Object.entries(of).flatMap(([table, both]) => {
    const layout = both[stage];
    return layout === null ? [] : [{ dataset: `shop.public.${table}`, ...layout }];
  });
  const files = Object.fromEntries(IGNORED.map((table) => [`${table}.rules.yaml`, evolutionRules(table, 'ignore', NO_ID)]));
  const targets = { lake: { kind: 'postgres', url: ends.target.url, schema: 'shop', layouts } };
  return ends.config({ tables: TABLES.map((table) => `public.${table}`) }, { targets }, files);
}
const NO_ID = { check: 'a: [{id: positive, between: {min: 0}}]' };

/** How the second layout has a table. */
function seen(table: string): Seen {
  const { columns, rename } = (LAYOUTS[table]?.[1] ?? {}) as { columns?: readonly string[]; rename?: Readonly<Record<string, string>> };
  return { place: (name) => (columns?.includes(name) === false ? null : (rename?.[name] ?? name)) };
}

async function verified(...tables: readonly string[]): Promise<void> {
  const datasets = tables.flatMap((table) => ['--dataset', `shop.public.${table}`]);
  const run = await cli('verify', it.config.file, ...datasets, '--json');
  expect([run.code, run.code === 0 ? '' : run.stdout + run.stderr]).toEqual([0, '']);
}

const rowsOf = (connection: PgConnection, query: string): Promise<string> =>
  connection.query(query).then(
    ({ rows }) => JSON.stringify(rows),
    (error: Error) => error.message,
  );

beforeAll(async () => {
  ends = await BothEnds.make('layouts');
  ({ sql, lake } = ends);
  for (const table of TABLES)
    await sql.script(`create table ${table} (id int, c text, a int, b text, constraint ${table}_pk primary key (id));
      insert into ${table} (id, c, a, b) select n, 'c' || n, n, 'r' || n from generate_series(1, 10) n`);
  it = await Following.start(ends, config(0));
});

afterAll(async () => {
  await it?.[Symbol.asyncDispose]();
  await ends?.[Symbol.asyncDispose]();
});

test.each([
  ['keyed', 'alter table keyed rename id to ident', `update keyed set b = 'new' where ident = 3`, 'its layout writes id, and not ident'],
  ['stamped', 'alter table stamped add pos int', `insert into stamped (id, b, pos) values (11, 'new', 7)`, 'would go to the column pos'],
  ['chosen', 'alter table chosen rename b to bb', `update chosen set bb = 'new' where id = 3`, 'its layout writes b, and not bb'],
  [
    'unnamed',
    'alter table unnamed rename b to bb',
    `update unnamed set bb = 'new', a = 99 where id = 3`,
    'its layout writes b, and not bb',
  ],
])(
  '%s: a layout that the table does not fit any more parks it, and is said to be what is in the way',
  async (table, change, write, why) => {
    await sql.script(`begin; ${change}; ${write}; commit`);
    const { id, problem } = await it.parked(table);
    expect(problem).toContain(why);
    await it.flows();
    const refused = await cli('schema', 'approve', it.config.file, id);
    expect([refused.code, refused.stderr]).toEqual([1, expect.stringMatching(/the layout of .* does not fit.*(?:\n|.)*restart/)]);
    await it.flows();
    expect((await it.parked(table)).id).toBe(id);
  },
);

test('what is ignored stays away, also under its key, and verify knows', async () => {
  await sql.script(`alter table ignored add d int default 5; update ignored set d = id where id > 5; alter table ignored rename b to bb;
    update ignored set bb = 'new' where id = 2; alter table ignored_key rename id to ident; update ignored_key set b = 'new' where ident = 4;
    insert into ignored_key (ident, b, a) values (11, 'eleven', 1)`);
  await ends.equal('ignored', { place: (name) => (name === 'd' ? null : name === 'bb' ? 'b' : name) });
  await ends.equal('ignored_key', { place: (name) => (name === 'ident' ? 'id' : name) });
  expect([...(await ends.columnsOf(lake, 'shop.ignored')).keys()]).toEqual(['a', 'b', 'c', 'id']);
  await verified('ignored', 'ignored_key');
});

test('a key over a column that was ignored so far: approved, it is written', async () => {
  await sql.script(`begin; alter table ignored_key add uid int; update ignored_key set uid = ident + 100; alter table ignored_key alter uid set not null;
    alter table ignored_key drop constraint ignored_key_pk, add primary key (uid); commit; update ignored_key set b = 'later' where uid = 105`);
  const { id } = await it.parked('ignored_key');
  // The target's rows have no values of it.
  const refused = await cli('schema', 'approve', it.config.file, id);
  expect([refused.code, refused.stderr]).toEqual([1, expect.stringMatching(/23502(?:.|\n)*empty the table/)]);
  await it.flows();
  await lake.script('truncate shop.ignored_key');
  await it.approved('ignored_key', id, { place: (name) => (name === 'ident' ? 'id' : name) });
  await verified('ignored_key');
});

test('a table that is made anew under its name is no renaming: values stay under their names', async () => {
  await sql.script(`begin; drop table made; create table made (b text, id int constraint made_pk primary key, a int, e text);
    insert into made (id, a, b, e) select n, n + 1000, 's' || n, 'e' || n from generate_series(1, 10) n; commit`);
  await it.flows();
});

test('the config is mended: what was parked is approved by the layout of now, and what was not is where the config wants it', async () => {
  const problems = new Map<string, string>();
  for (const table of ['keyed', 'stamped', 'chosen', 'unnamed']) problems.set(table, (await it.parked(table)).id);
  await it.stop();
  await sql.script(`update more set b = 'meanwhile' where id = 1; delete from soft where id = 9`);
  it = new Following(ends, config(1));
  await it.restart();
  await it.flows();
  for (const [table, id] of problems) await it.approved(table, id, seen(table));
  await sql.script(`update more set a = -1 where id = 2; update called set b = 'b2' where id = 2; update plain set b = 'b2' where id = 2;
    update fewer set a = -1, b = 'unseen' where id = 2; update soft set c = 'c-new' where id = 2; insert into soft (id, c) values (11, 'c11');
    update keyed set ident = 12 where ident = 2; insert into chosen (id, bb) values (12, 'twelve'); insert into stamped (id, pos) values (12, 1)`);
  for (const table of Object.keys(LAYOUTS).filter((one) => one !== 'moved'))
    await ends.equal(table, { ...seen(table), ...(table === 'soft' ? { where: 'gone_at is null' } : {}) });
  await sql.script(`update moved set b = 'b2' where id = 2`);
  const moved = await rowsOf(sql, 'select id, b, c from moved order by id');
  await eventually(
    async () => (await rowsOf(lake, 'select id, b, c from other.removed order by id')) === moved,
    'all rows are in the other table',
  );
  // Nothing at the target is dropped: what is not written any more stays as it was.
  expect(await rowsOf(lake, 'select b from shop.fewer where id = 2')).toBe('[["r2"]]');
  expect(await rowsOf(lake, 'select b from shop.unnamed where id = 3')).toBe('[["r3"]]');
  expect(await rowsOf(lake, 'select b from shop.moved where id = 2')).toBe('[["r2"]]');
  await verified(...Object.keys(LAYOUTS));
});

test('a remade table is followed from the next start on, and its columns are renamed as those of any other', async () => {
  await ends.equal('made');
  await sql.script(`alter table made rename e to c; update made set c = 'new' where id = 3`);
  await ends.equal('made');
  await verified('made');
});

test('a change that was ignored is made once the policy is to accept it', async () => {
  await it.restart({ ignored: evolutionRules('ignored', 'accept', NO_ID) });
  await sql.script(`update ignored set bb = 'accepted' where id = 7`);
  await ends.equal('ignored');
  await eventually(async () => (await it.changesOf('ignored')).every(({ status }) => status === 'accepted'), 'nothing waits');
  await verified('ignored');
});

test('rows that are marked as deleted by a layout of before are not taken for ones that are there', async () => {
  await it.stop();
  const { soft: _, ...others } = LAYOUTS;
  it = new Following(ends, config(1, others));
  await it.restart();
  await sql.script(`insert into soft (id, c) values (9, 'again')`);
  const fix = 'delete from "shop"."soft" where not ("gone_at" is null)';
  const ready = async (): Promise<{ pipelines: readonly { reasons: readonly string[] }[] }> => (await ask(it.url, '/readyz')).json as never;
  await eventually(
    async () => (await ready()).pipelines.some(({ reasons }) => reasons.join().includes(fix)),
    'the service says what to do',
  );
  await lake.script(fix);
  expect((await post(it.url, '/api/pipelines/main/resume', {})).status).toBe(202);
  await ends.equal('soft');
});
