/** Columns that the source filled without an event, read alone beside a busy stream: nothing else of a row comes, and no row that is not there. */
import { describe, expect, inject, test } from 'vitest';
import type { Batch } from '../../core/batch.ts';
import { type DatasetName, UNCHANGED } from '../../core/event.ts';
import type { NumberedColumn } from '../../core/shape.ts';
import type { PostgresSource, PostgresSourceOptions } from '../../cdc/postgres/source.ts';
import { PgConnection } from '../../wire/postgres/connection.ts';
import { eventually } from '../support/eventually.ts';
import { Random } from '../support/random.ts';
import { catchUp, endOfLog, isCopying, Model, run, runAgain, sameAsTable, testDatabase, type TestDatabase } from './support.ts';

const server = inject('sourceServer');
const seeds = process.env['CDC_SEEDS'] === undefined ? [1, 2] : process.env['CDC_SEEDS'].split(',').map(Number);
const DATASET = 'shop.public.t' as DatasetName;
const ROWS = 400;
/** Nobody changes these, and the target has none of them. */
const ABSENT = [1001, 1002, 1050, 1099];

/** A table whose rows are mostly large ones, which updates leave out. */
const SETUP = [
  `create table t (id int primary key, n int not null, big text not null); alter table t alter big set storage external`,
  `insert into t select i, i, repeat('s', i % 90 * 60) from generate_series(1, ${ROWS}) i; insert into t select i, i, '' from unnest('{${ABSENT.join(',')}}'::int[]) i`,
];
/** Their values are of rows that were there, some of them so large that updates leave them out. */
const ADD = `alter table t add d text default repeat(md5(random()::text), (random() * 150)::int), add e uuid not null default gen_random_uuid()`;

function change(random: Random): string {
  const id = 1 + random.below(ROWS + 20);
  const dice = random.next();
  if (dice < 0.2)
    return `insert into t (id, n, big) values (${id}, ${random.below(1000)}, repeat('i', ${random.below(6000)})) on conflict (id) do update set n = excluded.n`;
  if (dice < 0.4) return `update t set n = n + 1 where id between ${id} and ${Math.min(ROWS + 20, id + 9)}`;
  if (dice < 0.7) return `update t set e = gen_random_uuid(), d = 'new ' || n where id between ${id} and ${Math.min(ROWS + 20, id + 29)}`;
  if (dice < 0.8) return `delete from t where id = ${id}`;
  const to = 1 + random.below(ROWS + 20);
  return `update t set id = ${to}, n = n + 1 where id = ${id} and not exists (select from t where id = ${to})`;
}

async function columnsOf(sql: PgConnection, ...names: readonly string[]): Promise<readonly NumberedColumn[]> {
  const { rows } = await sql.query(
    `select attnum, attname from pg_attribute where attrelid = 't'::regclass and attname = any ('{${names.join(',')}}'::text[])`,
  );
  return rows.map(([id, name]) => ({ id: Number(id), name: name ?? '' }));
}

/** Of rows that were read: the names of the cells that came, each list once. */
function cellsRead(batches: readonly Batch[]): readonly string[] {
  const found = batches.flatMap(({ events }) =>
    events.flatMap(({ op, dataset, after }) =>
      op === 'read' && after !== null
        ? [dataset.columns.flatMap(({ name }, i) => (after.value(i) === UNCHANGED ? [] : [name])).join(' ')]
        : [],
    ),
  );
  return [...new Set(found)];
}

/** A model of the table before the change, without some rows, that has read the change. */
async function before(db: TestDatabase, statement: string): Promise<Model> {
  const model = new Model();
  await catchUp(db.source({ snapshot: { mode: 'initial', chunkRows: 1000, parallel: 1 } }), model, db.sql);
  for (const id of ABSENT) {
    model.tables.get(DATASET)?.delete(String(id));
    model.cells.get(DATASET)?.delete(String(id));
  }
  await db.sql.script(statement);
  return model;
}

/** Asks until a checkpoint has it, and reads to its end. */
async function readToItsEnd(source: PostgresSource, model: Model, columns: readonly NumberedColumn[]): Promise<readonly Batch[]> {
  const batches: Batch[] = [];
  const until = (batch: Batch): boolean => {
    batches.push(batch);
    source.readColumns(DATASET, columns, 'c');
    return source.columnsRead('c') === 'ended';
  };
  // Something has to come, or nobody is asked.
  const reading = run(source, model, until);
  await eventually(() => source.status().state === 'streaming', 'the lane runs', 20_000);
  source.readColumns(DATASET, columns, 'c');
  await reading;
  return batches;
}

test.each(seeds)('columns read alone under random changes and kills equal the table (seed %i)', async (seed) => {
  const random = new Random(seed);
  await using db = await testDatabase(server, ...SETUP);
  const options = (): Partial<PostgresSourceOptions> => ({
    snapshot: { mode: 'initial', chunkRows: 10 + random.below(40), parallel: 1 + random.below(3) },
    batch: { rows: 3 + random.below(40), bytes: random.chance(0.3) ? 20_000 : 16 << 20, ageMs: 0 },
  });
  const model = await before(db, ADD);
  const columns = await columnsOf(db.sql, 'd', 'e');
  let stopped = false;
  const writer = (async () => {
    await using sql = await PgConnection.connect({ url: db.url });
    for (let changes = 0; !stopped; changes++) {
      await sql.script(`begin; ${change(random)}; ${change(random)}; commit`);
      await eventually(() => stopped || changes < 40 + 3 * model.batches, 'the source keeps up', 60_000);
    }
  })();
  let hasBegun = false;
  let kills = 0;
  const read = new Set<string>();
  try {
    for (; !hasBegun || isCopying(model); kills++) {
      const source = db.source(options());
      let batchesLeft = 1 + random.below(15 * (1 + kills));
      const until = (batch: Batch): boolean => {
        for (const cells of cellsRead([batch])) read.add(cells);
        if (!hasBegun) source.readColumns(DATASET, columns, 'c');
        hasBegun ||= source.columnsRead('c') === 'reading';
        return hasBegun && (--batchesLeft <= 0 || !isCopying(model));
      };
      // What was begun is in a checkpoint: the process may be killed.
      await runAgain(source, model, until, random.chance(0.7) || !hasBegun);
    }
  } finally {
    stopped = true;
    await writer;
  }
  expect([...(model.tables.get(DATASET) ?? [])].filter(([key]) => ABSENT.includes(Number(key)))).toEqual([]);
  await db.sql.script(`delete from t where id > 1000`);
  await catchUp(db.source(options()), model, db.sql);
  await sameAsTable(model, db, 't');
  expect(kills).toBeGreaterThan(1);
  // Where an update left cells out meanwhile, what it sent is laid over the row.
  expect([...read].filter((cells) => cells !== 'id n d e')).toEqual(['id d e']);
});

describe('what cannot come alone', () => {
  test('whole rows come where others were altered by the same transaction: only they may have changed as well', async () => {
    await using db = await testDatabase(server, ...SETUP);
    const model = await before(db, 'alter table t add d double precision default random(), alter n type int using n + 1000');
    const batches = await readToItsEnd(db.source(), model, await columnsOf(db.sql, 'd'));
    expect(cellsRead(batches)).toEqual(['id n big d']);
    await sameAsTable(model, db, 't');
  });

  test('a column that is gone by then is not read, and one that has another name is', async () => {
    await using db = await testDatabase(server, ...SETUP);
    const model = await before(db, ADD);
    const columns = await columnsOf(db.sql, 'd', 'e');
    await db.sql.script('alter table t drop d; alter table t rename e to f');
    const gone = columns.filter(({ name }) => name === 'd');
    expect(cellsRead(await readToItsEnd(db.source(), model, gone))).toEqual([]);
    expect(cellsRead(await readToItsEnd(db.source(), model, columns))).toEqual(['id f']);
    await db.sql.script('delete from t where id > 1000');
    await catchUp(db.source(), model, db.sql);
    expect(model.rows(DATASET).every((row) => typeof row['f'] === 'string')).toBe(true);
  });

  test('a cell that is larger than a row may be is marked, and its row is not', async () => {
    await using db = await testDatabase(server, ...SETUP);
    const model = await before(db, `alter table t add d text default repeat('x', (random() * 0)::int)`);
    await db.sql.script(`update t set d = repeat('y', 3000000) where id = 7`);
    const end = await endOfLog(db.sql);
    await run(db.source(), model, () => model.reachedLsn >= end);
    const batches = await readToItsEnd(db.source({ rowBytes: 1 << 20 }), model, await columnsOf(db.sql, 'd'));
    const marked = batches.flatMap(({ findings, events }) => findings.map(({ index, rule }) => [events[index]?.key, rule]));
    expect(marked).toEqual([['7', 'source.row_bytes']]);
  });
});
