/** What goes wrong with tables of a source, and what becomes of them: on real servers. */
import { describe, expect, inject, test } from 'vitest';
import type { Batch } from '../../core/batch.ts';
import { catchUp, code, failureOf, isCopying, Model, run, sameAsTable, testDatabase } from './support.ts';

const server = inject('sourceServer');
const T = 'create table t (id int primary key, s text)';
const initial = { snapshot: { mode: 'initial' as const, chunkRows: 100, parallel: 1 } };

describe('tables', () => {
  test.each([
    ['no such table', '', 'SOURCE_TABLE_MISSING'],
    ['a view', 'create view t as select 1 as id', 'SOURCE_TABLE_MISSING'],
    ['no key', 'create table t (id int)', 'SOURCE_NO_KEY'],
    ['a replica identity of nothing', `${T}; alter table t replica identity nothing`, 'SOURCE_NO_KEY'],
    ['identity full without any key', 'create table t (id int unique); alter table t replica identity full', 'SOURCE_NO_KEY'],
    [
      'a partition whose old rows come without the key of its table',
      `create table t (id int primary key, n int not null) partition by range (id); create table t1 partition of t default;
       create unique index by_n on t1 (n); alter table t1 replica identity using index by_n`,
      'SOURCE_NO_KEY',
    ],
    ['not in the log', 'create unlogged table t (id int primary key)', 'CONFIG_INVALID'],
    [
      'a partition beside its root',
      `create table p (id int primary key) partition by range (id); create table t partition of p default`,
      'SOURCE_PUBLICATION_MISSING',
      ['public.p', 'public.t'],
    ],
    [
      'a root whose partitions are published by themselves',
      `create table t (id int primary key) partition by range (id); create table t1 partition of t default; create publication tidegate for table t`,
      'SOURCE_PUBLICATION_MISSING',
    ],
    [
      'a root, in a publication of all tables that has its partitions',
      `create table t (id int primary key) partition by range (id); create table t1 partition of t default; create publication tidegate for all tables`,
      'SOURCE_PUBLICATION_MISSING',
    ],
    [
      'a partition, in a publication of all tables that has its root',
      `create table p (id int primary key) partition by range (id); create table t partition of p default; create publication tidegate for all tables with (publish_via_partition_root = true)`,
      'SOURCE_PUBLICATION_MISSING',
    ],
  ] as const)('%s: %s', async (_, sql, expected, tables?: readonly string[]) => {
    await using db = await testDatabase(server, ...(sql === '' ? [] : [sql]));
    const model = new Model();
    const failure = await failureOf(db.source({ ...initial, ...(tables === undefined ? {} : { tables }) }), model);
    expect(failure).toEqual(code(expected));
    expect((await db.sql.query('select 1 from pg_replication_slots where slot_name = $1', [db.slot])).rows).toEqual([]);
  });

  test('no key, but a unique index that would do: the statement that is told makes it one', async () => {
    await using db = await testDatabase(
      server,
      'create table t (id int not null, a int); create unique index "T a" on t (a); create unique index by_id on t (id)',
    );
    const failure = String(await failureOf(db.source(initial), new Model()));
    const [, statement = ''] = /its unique index would do: (.*)$/.exec(failure) ?? [];
    expect(statement).toBe('alter table "public"."t" replica identity using index by_id');
    await db.sql.script(`${statement}; insert into t values (1, 1)`);
    const model = new Model();
    await catchUp(db.source(initial), model, db.sql);
    await db.sql.script('update t set id = 2');
    await catchUp(db.source(initial), model, db.sql);
    expect(model.rows('shop.public.t')).toEqual([{ id: 2, a: 1 }]);
  });

  test.each([
    ['before a row of it was copied', 0, 1, false],
    ['in the middle of its copy', 10, 2, false],
    ['in the middle of its copy, while nobody reads', 10, 1, true],
  ])('dropped %s: it is left out and told, the rest goes on, and one that is made anew is copied', async (_, rows, parallel, isAway) => {
    await using db = await testDatabase(server, 'create table t (id int primary key)', 'create table u (id int primary key)');
    await db.sql.script('insert into t select generate_series(1, 50); insert into u select generate_series(1, 50)');
    const leftOut: string[] = [];
    const options = {
      snapshot: { mode: 'initial' as const, chunkRows: 10, parallel },
      // Of these the second waits until the first is copied.
      tables: rows === 0 ? ['public.t', 'public.u'] : ['public.u', 'public.t'],
      onLeftOut: (dataset: string) => void leftOut.push(dataset),
    };
    const model = new Model();
    let dropped = false;
    await run(db.source(options), model, async () => {
      const isThere = model.rows('shop.public.t').length + model.rows('shop.public.u').length >= 10;
      if (isThere && !dropped) {
        dropped = true;
        if (!isAway) await db.sql.script('drop table u');
      }
      return dropped && (isAway || !isCopying(model));
    });
    if (isAway) await db.sql.script('drop table u');
    await db.sql.script('insert into t values (100)');
    await catchUp(db.source(options), model, db.sql);
    await sameAsTable(model, db, 't');
    expect(leftOut).toEqual(['shop.public.u']);
    await db.sql.script('create table u (id int primary key); insert into u values (7), (700)');
    await catchUp(db.source(options), model, db.sql);
    expect(model.rows('shop.public.u')).toEqual(expect.arrayContaining([{ id: 7 }, { id: 700 }]));
  });

  test.each([
    ['while the lane reads', false, false],
    ['and the lane begins anew before it has its name again', false, true],
    ['while nobody reads', true, true],
  ])(
    'renamed %s: it is told, the rest goes on, and what was missed is copied once it has its name again',
    async (_, isAway, isRestarted) => {
      await using db = await testDatabase(server, 'create table t (id int primary key, n int)', 'create table u (id int primary key)');
      await db.sql.script('insert into t select i, 0 from generate_series(1, 30) i');
      const told: string[] = [];
      const options = {
        snapshot: { mode: 'initial' as const, chunkRows: 10, parallel: 1 },
        tables: ['public.t', 'public.u'],
        onRenamed: (...what: readonly string[]) => void told.push(what.join(' ')),
      };
      const model = new Model();
      await catchUp(db.source(options), model, db.sql);
      const rename =
        'alter table t rename to "T"; insert into "T" values (31, 31); update "T" set n = 1 where id = 1; insert into u values (1)';
      const back = 'alter table "T" rename to t; update t set n = 2 where id = 2; insert into u values (2)';
      await db.sql.script(isAway ? rename : 'update t set n = 3 where id = 3');
      const source = db.source(options);
      let done = 0;
      await run(source, model, async () => {
        if (done === 0) {
          done = 1;
          if (!isAway) await db.sql.script(rename);
        }
        if (done === 1 && model.rows('shop.public.u').length === 1) {
          done = 2;
          expect(source.progress().map(({ state }) => state)).toEqual(['away', 'done']);
          if (!isRestarted) await db.sql.script(back);
        }
        const isBack = model.rows('shop.public.t').length === 31 && source.progress().every(({ state }) => state === 'done');
        return done === 2 && (isRestarted || isBack);
      });
      if (isRestarted) {
        await db.sql.script(back);
        await catchUp(db.source(options), model, db.sql);
      }
      await sameAsTable(model, db, 't');
      await sameAsTable(model, db, 'u');
      expect(told).toEqual(isAway ? [] : ['shop.public.t public.T']);
    },
  );

  test('renamed again in the transaction that gives it its name back: it stays away, and is copied once that is over', async () => {
    await using db = await testDatabase(server, 'create table t (id int primary key, n int)', 'create table u (id int primary key)');
    await db.sql.script('insert into t select i, 0 from generate_series(1, 30) i');
    const options = { snapshot: { mode: 'initial' as const, chunkRows: 10, parallel: 1 }, tables: ['public.t', 'public.u'] };
    const model = new Model();
    await catchUp(db.source(options), model, db.sql);
    await db.sql.script('alter table t rename to x; update x set n = 1 where id = 1; insert into u values (1)');
    await db.sql.script(`alter table x rename to t; update t set n = 2 where id = 2;
      alter table t rename to x; update x set n = 3 where id = 3; insert into u values (2)`);
    const source = db.source(options);
    await run(source, model, () => model.rows('shop.public.u').length === 2);
    expect(source.progress().map(({ state }) => state)).toEqual(['away', 'done']);
    await db.sql.script('alter table x rename to t; update t set n = 4 where id = 4');
    await catchUp(db.source(options), model, db.sql);
    await sameAsTable(model, db, 't');
  });

  test.each([
    ['renamed, and written under its new name', 'insert into was values (900, 900)'],
    ['renamed', ''],
    ['dropped', 'drop table was'],
  ])('%s while another one takes its name, of which all is published: the rows of that one are copied', async (_, more) => {
    await using db = await testDatabase(
      server,
      'create table t (id int primary key, n int)',
      'create table next (id int primary key, n int)',
    );
    await db.sql
      .script(`insert into t select i, 0 from generate_series(1, 30) i; insert into next select i, 7 from generate_series(1, 40) i;
      create publication tidegate for all tables`);
    const options = { snapshot: { mode: 'initial' as const, chunkRows: 10, parallel: 1 }, tables: ['public.t'] };
    const model = new Model();
    await catchUp(db.source(options), model, db.sql);
    await db.sql.script('update t set n = 1 where id = 1');
    const source = db.source(options);
    let done = false;
    await run(source, model, async () => {
      if (!done) {
        await db.sql.script('begin; alter table t rename to was; alter table next rename to t; commit; update t set n = 8 where id = 8');
        if (more !== '') await db.sql.script(more);
        await db.sql.script('update t set n = 9 where id = 9');
      }
      done = true;
      const rows = new Map(model.rows('shop.public.t').map(({ id, n }) => [id, n]));
      return rows.get(9) === 9 && rows.size === 40 && source.progress().every(({ state }) => state === 'done');
    });
    await sameAsTable(model, db, 't');
  });

  test.each([
    [
      'for a while',
      'alter publication tidegate drop table t; update t set n = 7 where id = 1; insert into t values (31, 31)',
      'alter publication tidegate add table t',
    ],
    [
      'without some of its rows',
      'alter publication tidegate set table t where (id <> 5), u; update t set n = 7 where id = 5',
      'alter publication tidegate set table t, u',
    ],
  ])('out of the publication %s: what was not sent is copied once it is sent again', async (what, leave, back) => {
    await using db = await testDatabase(server, 'create table t (id int primary key, n int)', 'create table u (id int primary key)');
    if (what !== 'for a while' && db.sql.majorVersion < 15) return; // There are no row filters before.
    await db.sql.script('insert into t select i, 0 from generate_series(1, 30) i');
    const options = { snapshot: { mode: 'initial' as const, chunkRows: 10, parallel: 1 }, tables: ['public.t', 'public.u'] };
    const model = new Model();
    await catchUp(db.source(options), model, db.sql);
    await db.sql.script('update t set n = 1 where id = 2');
    let done = false;
    const source = db.source(options);
    await run(source, model, async () => {
      if (!done) for (const statement of [...leave.split('; '), back, 'update t set n = 3 where id = 3']) await db.sql.script(statement);
      done = true;
      const rows = new Map(model.rows('shop.public.t').map(({ id, n }) => [id, n]));
      return rows.get(3) === 3 && [...rows.values()].includes(7) && source.progress().every(({ state }) => state === 'done');
    });
    await sameAsTable(model, db, 't');
  });

  test.each([
    [
      'out of a publication of tables, and back',
      '',
      'alter publication tidegate drop table t',
      'alter publication tidegate add table t',
      14,
    ],
    [
      'out of a publication of schemas, and back',
      'create publication tidegate for tables in schema public',
      'alter publication tidegate drop tables in schema public',
      'alter publication tidegate add tables in schema public',
      15,
    ],
    [
      'without some of its rows for a while',
      '',
      'alter publication tidegate set table t where (id <> 5), u',
      'alter publication tidegate set table t, u',
      15,
    ],
    [
      'another that takes its name, of which all is published',
      'create publication tidegate for all tables',
      'alter table t rename to was; create table t (id int primary key, n int); insert into t values (1, 5)',
      'update was set n = 9',
      14,
    ],
  ])('%s, all while nobody reads: it is copied again, once; the others are not', async (_, publication, leave, back, since) => {
    await using db = await testDatabase(server, 'create table t (id int primary key, n int)', 'create table u (id int primary key)');
    if (db.sql.majorVersion < since) return; // There is no such publication before.
    await db.sql.script(`insert into t select i, 0 from generate_series(1, 30) i; insert into u values (1); ${publication}`);
    const options = { snapshot: { mode: 'initial' as const, chunkRows: 10, parallel: 1 }, tables: ['public.t', 'public.u'] };
    const model = new Model();
    await catchUp(db.source(options), model, db.sql);
    for (const statement of [
      ...leave.split('; '),
      'update t set n = 7 where id = 1',
      'insert into t values (31, 31), (5, 5) on conflict (id) do update set n = 6',
    ])
      await db.sql.script(statement);
    await db.sql.script(back);
    const copied: string[] = [];
    const note = ({ events }: Batch): boolean => {
      copied.push(...events.flatMap(({ op, dataset }) => (op === 'read' ? [dataset.name] : [])));
      return false;
    };
    const source = db.source(options);
    const there = new Map((await db.sql.query('select id, n from t')).rows.map(([id, n]) => [Number(id), Number(n)]));
    await run(source, model, (batch) => {
      note(batch);
      const rows = new Map(model.rows('shop.public.t').map(({ id, n }) => [Number(id), Number(n)]));
      return [...there].every(([id, n]) => rows.get(id) === n) && source.progress().every(({ state }) => state === 'done');
    });
    expect(new Set(copied)).toEqual(new Set(leave.includes('schema') ? ['shop.public.t', 'shop.public.u'] : ['shop.public.t']));
    await db.sql.script('insert into u values (2)');
    copied.length = 0;
    await run(db.source(options), model, (batch) => {
      note(batch);
      return model.rows('shop.public.u').length === 2;
    });
    expect(copied).toEqual([]);
  });

  test.each([
    ['and back before anybody looks', true, ''],
    ['and back later', false, 'update t set n = 1 where id = 1'],
    ['and back later, with nothing that changes it', false, ''],
  ])('renamed in the middle of its first copy, %s: it is copied to its end', async (_, atOnce, change) => {
    await using db = await testDatabase(server, 'create table t (id int primary key, n int)', 'create table u (id int primary key)');
    await db.sql.script('insert into t select i, 0 from generate_series(1, 200) i');
    const told: string[] = [];
    const options = {
      snapshot: { mode: 'initial' as const, chunkRows: 10, parallel: 1 },
      tables: ['public.t', 'public.u'],
      onLeftOut: (dataset: string) => void told.push(`${dataset} is left out`),
    };
    const model = new Model();
    const source = db.source(options);
    let step = 0;
    await run(source, model, async () => {
      if (step === 0 && model.rows('shop.public.t').length >= 10) {
        step = 1;
        await db.sql.script('alter table t rename to x');
        if (atOnce) await db.sql.script('alter table x rename to t');
      }
      if (step === 1 && !atOnce && source.progress()[0]?.state === 'away') {
        step = 2;
        await db.sql.script(`alter table x rename to t; ${change}`);
      }
      return source.progress().every(({ state }) => state === 'done');
    });
    await sameAsTable(model, db, 't');
    expect(told).toEqual([]);
  });

  test('taken out of the publication in the middle of its first copy, while nobody reads: the copy begins anew', async () => {
    await using db = await testDatabase(server, 'create table t (id int primary key, n int)', 'create table u (id int primary key)');
    await db.sql.script('insert into t select i, 0 from generate_series(1, 200) i');
    const options = { snapshot: { mode: 'initial' as const, chunkRows: 10, parallel: 1 }, tables: ['public.t', 'public.u'] };
    const model = new Model();
    await run(db.source(options), model, () => model.rows('shop.public.t').length >= 10);
    expect(model.rows('shop.public.t').length).toBeLessThan(200);
    await db.sql.script('alter publication tidegate drop table t; update t set n = 1 where id = 1');
    const source = db.source(options);
    await run(source, model, () => source.progress().every(({ state }) => state === 'done'));
    await sameAsTable(model, db, 't');
  });

  test('without a key when a row came, and given one afterwards: the lane goes on, and its rows say that nothing tells them apart', async () => {
    await using db = await testDatabase(server, T);
    const model = new Model();
    await run(db.source(), model, () => true);
    await db.sql.script('alter table t drop constraint t_pkey; insert into t values (1)');
    const keyless: unknown[] = [];
    const note = (batch: Batch): boolean => {
      keyless.push(...batch.events.map(({ dataset }) => dataset.keyless));
      return batch.events.length > 0;
    };
    await run(db.source(), model, note);
    await db.sql.script('alter table t add primary key (id); insert into t values (2)');
    await run(db.source(), model, note);
    expect(keyless).toEqual([true, undefined]);
  });
});
