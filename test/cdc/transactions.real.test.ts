/** Transactions as sources have them: of thousands of subtransactions, prepared, and with messages of others in between. */
import { expect, inject, test } from 'vitest';
import { eventually } from '../support/eventually.ts';
import { Random } from '../support/random.ts';
import { catchUp, Model, run, sameAsTable, testDatabase } from './support.ts';

const server = inject('sourceServer');
const SEED = Number(process.env['TRANSACTIONS_SEED'] ?? 1);

/** Small, so that a transaction is cut many times; and a server that keeps hardly anything of it in memory. */
const CUT = { batch: { rows: 100, bytes: 1 << 20, ageMs: 0 } };
const SPILLING = (database: string): string => `alter database ${database} set logical_decoding_work_mem = '64kB'`;

/** Every third block fails after it has written, every fifth fails around one that did not. */
const BLOCKS = `do $$ begin
  for i in 1..1500 loop
    begin
      insert into t values (i, 0, repeat('x', 40));
      begin
        update t set n = n + 1 where id in (i, i - 1, i / 2);
        delete from t where id = i - 500 and i % 7 = 0;
        if i % 3 = 0 then raise exception 'inside'; end if;
      exception when others then null;
      end;
      if i % 5 = 0 then raise exception 'outside'; end if;
    exception when others then null;
    end;
  end loop; end $$`;

/** Savepoints opened, released and rolled back to at random, as deep as it comes. */
function savepoints(random: Random, statements: number): string {
  const open: number[] = [];
  const script: string[] = [];
  for (let n = 0; n < statements; n++) {
    const dice = random.next();
    const at = random.below(open.length);
    if (dice < 0.3) script.push(`savepoint s${open.push(n) - 1}`);
    else if (dice < 0.4 && open.length > 0) script.push(`rollback to savepoint s${at}`);
    else if (dice < 0.5 && open.length > 0) script.push(`release savepoint s${at}`);
    else
      script.push(`insert into t values (${10_000 + n}, 0, 's') on conflict do nothing; update t set n = n + 1 where id % 50 = ${n % 50}`);
    if (dice >= 0.3 && dice < 0.5) open.length = dice < 0.4 ? Math.min(open.length, at + 1) : Math.min(open.length, at);
  }
  return script.join('; ');
}

test(`of thousands of subtransactions what is kept arrives once, what is rolled back never, over restarts inside (seed ${SEED})`, async () => {
  await using db = await testDatabase(
    server,
    'create table t (id int primary key, n int, note text)',
    'create publication tidegate for table t',
  );
  await db.sql.script(SPILLING(db.name));
  const model = new Model();
  await catchUp(db.source(CUT), model, db.sql);
  await db.sql.script(`begin; ${BLOCKS}; ${savepoints(new Random(SEED), 1500)}; commit`);
  // Begun anew inside it, twice.
  for (const events of [500, 2000]) await run(db.source(CUT), model, () => model.events >= events);
  expect(model.checkpoint).toContain('#');
  await catchUp(db.source(CUT), model, db.sql);
  await sameAsTable(model, db, 't');
  const { rows } = await db.sql.query('select spill_txns > 0 from pg_stat_replication_slots where slot_name = $1', [db.slot]);
  expect(rows).toEqual([['t']]);
});

test('a table that changes in a subtransaction is of its new shape behind it, and of the old one where that was rolled back', async () => {
  await using db = await testDatabase(server, 'create table t (id int primary key, n int)', 'create publication tidegate for table t');
  const model = new Model();
  await catchUp(db.source(), model, db.sql);
  await db.sql.script(`begin; insert into t values (1, 1);
    savepoint a; alter table t add column gone text; insert into t values (2, 2, 'gone'); rollback to a;
    insert into t values (2, 2);
    savepoint b; alter table t add column kept text default 'd'; insert into t values (3, 3, 'kept'); release b;
    do $$ begin alter table t rename n to m; insert into t values (4, 4, 'k'); raise exception 'no'; exception when others then null; end $$;
    insert into t values (5, 5, 'last'); commit`);
  await catchUp(db.source(), model, db.sql);
  expect(model.rows('shop.public.t')).toEqual([
    { id: 1, n: 1 },
    { id: 2, n: 2 },
    { id: 3, n: 3, kept: 'kept' },
    { id: 5, n: 5, kept: 'last' },
  ]);
});

test('prepared transactions come when they are committed, whole, whatever is restarted before, between and inside', async () => {
  await using db = await testDatabase(server, 'create table t (id int primary key, n int)', 'create publication tidegate for table t');
  const names = [1, 2, 3].map((n) => `${db.name}_${n}`);
  const model = new Model();
  await catchUp(db.source(CUT), model, db.sql);
  await db.sql.script(
    `begin; insert into t select i, 1 from generate_series(1, 1000) i; savepoint s; insert into t values (5000, 1); rollback to s; prepare transaction '${names[0]}'`,
  );
  await db.sql.script(`begin; insert into t select i, 2 from generate_series(2001, 3000) i; prepare transaction '${names[1]}'`);
  await db.sql.script('insert into t values (4000, 4)');
  await catchUp(db.source(CUT), model, db.sql);
  expect(model.rows('shop.public.t')).toEqual([{ id: 4000, n: 4 }]);
  await db.sql.script(`rollback prepared '${names[1]}'`);
  await db.sql.script(`begin; insert into t select i, 3 from generate_series(2001, 2500) i; prepare transaction '${names[2]}'`);
  await db.sql.script(`commit prepared '${names[2]}'`);
  await db.sql.script('update t set n = 5 where id > 2400');
  await db.sql.script(`commit prepared '${names[0]}'`);
  await run(db.source(CUT), model, () => model.events >= 700);
  await run(db.source(CUT), model, () => model.checkpoint?.includes('#') === true);
  await catchUp(db.source(CUT), model, db.sql);
  await sameAsTable(model, db, 't');
  expect(model.eventsByOp).toEqual({ insert: 1501, update: 101 });
});

test('a table that joins while a prepared transaction has changed it is copied with what that did', async () => {
  await using db = await testDatabase(
    server,
    'create table t (id int primary key)',
    'create table late (id int primary key)',
    'create publication tidegate for table t',
  );
  const initial = { snapshot: { mode: 'initial' as const, chunkRows: 100, parallel: 1 } };
  const model = new Model();
  await catchUp(db.source(initial), model, db.sql);
  await db.sql.script(`begin; insert into late select generate_series(1, 10); prepare transaction '${db.name}'`);
  const both = { ...initial, tables: ['public.t', 'public.late'] };
  let committed = false;
  await run(db.source(both), model, async () => {
    // It waits for whoever has written the table before it was published.
    if (!committed) await db.sql.script(`commit prepared '${db.name}'`);
    committed = true;
    return model.events >= 10;
  });
  await catchUp(db.source(both), model, db.sql);
  await sameAsTable(model, db, 'late');
});

test('messages of others are of no account: any prefix, any content, of any size, inside transactions and outside', async () => {
  await using db = await testDatabase(server, 'create table t (id int primary key)', 'create publication tidegate for table t');
  const model = new Model();
  await catchUp(db.source(), model, db.sql);
  const own = `tidegate.${db.slot}`;
  const contents = [
    'low',
    'high',
    'low 1',
    'high 1',
    'low x y z',
    '',
    'place\\n',
    'rows',
    'rows {',
    'rows {"table":1}',
    '{"rows":[[]]}',
    '\\x00\\xff',
  ];
  const emit = (transactional: boolean, prefix: string, content: string): string =>
    `select pg_logical_emit_message(${transactional}, '${prefix}', ${content.includes('\\\\x') ? `'${content}'::bytea` : `'${content}'`})`;
  let id = 0;
  for (const prefix of [own, 'tidegate', 'tidegate.', `${own}x`, '', 'Größe'])
    for (const content of contents)
      await db.sql.script(
        `begin; insert into t values (${++id}); ${emit(true, prefix, content)}; ${emit(false, prefix, content)}; insert into t values (${++id}); commit; ${emit(false, prefix, content)}`,
      );
  await db.sql.script(`begin; insert into t values (-1); savepoint s; ${emit(true, 'x', 'rolled back')}; rollback to s; commit`);
  await db.sql.script(
    "begin; insert into t values (-2); select pg_logical_emit_message(true, 'big', repeat('0123456789', 2000000)); commit",
  );
  await db.sql.script("select pg_logical_emit_message(false, 'big', repeat('0123456789', 2000000)); insert into t values (-3)");
  await catchUp(db.source(), model, db.sql);
  await sameAsTable(model, db, 't');
  expect(model.events).toBe(id + 3);
});

test('what the source writes to files of a large transaction is less where it may use more memory', async () => {
  const spilled = async (decodingBytes: number | null): Promise<number> => {
    await using db = await testDatabase(
      server,
      'create table t (id int primary key, note text)',
      'create publication tidegate for table t',
    );
    await db.sql.script(SPILLING(db.name));
    const model = new Model();
    await catchUp(db.source({ ...CUT, decodingBytes }), model, db.sql);
    await db.sql.script("insert into t select n, repeat('x', 100) from generate_series(1, 5000) n");
    await catchUp(db.source({ ...CUT, decodingBytes }), model, db.sql);
    await sameAsTable(model, db, 't');
    let found: readonly (string | null)[] = [];
    // The slot's reader tells of it when it is done.
    await eventually(async () => {
      const { rows } = await db.sql.query('select spill_bytes, total_txns from pg_stat_replication_slots where slot_name = $1', [db.slot]);
      found = rows[0] ?? [];
      return Number(found[1]) > 0;
    }, 'the server has counted');
    return Number(found[0]);
  };
  expect(await spilled(null)).toBeGreaterThan(100_000);
  expect(await spilled(64 << 20)).toBe(0);
});
