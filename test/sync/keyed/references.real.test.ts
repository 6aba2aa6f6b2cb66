/** Which rows name one that is not there, asked of a real table and held against a model of both tables. */
import { inject, expect, test } from 'vitest';
import { type ChangeEvent, type Dataset, type DatasetName, type Position, ValueRow, type Version } from '../../../core/event.ts';
import { orphans, type Related } from '../../../sync/postgres/keyed/references.ts';
import { PgConnection } from '../../../wire/postgres/connection.ts';
import { createDatabase } from '../../support/databases.ts';
import { Random } from '../../support/random.ts';

const columns = ['id', 'a', 'b'].map((name) => ({ name, type: 'integer' as const, native: 'bigint', nullable: name !== 'id' }));
const datasetOf = (name: string): Dataset => ({ name: name as DatasetName, version: 1, columns, key: [0] });
const [PARENTS, CHILDREN] = [datasetOf('shop.public.parents'), datasetOf('shop.public.children')];
type Cells = readonly [id: number, a: number | null, b: number | null];

function event(dataset: Dataset, at: number, ordinal: number, before: Cells | null, after: Cells | null): ChangeEvent {
  return {
    op: before === null ? 'insert' : after === null ? 'delete' : 'update',
    dataset,
    before: before === null ? null : new ValueRow(...before),
    after: after === null ? null : new ValueRow(...after),
    key: String((after ?? before)?.[0]),
    movedFrom: before !== null && after !== null && before[0] !== after[0] ? String(before[0]) : null,
    version: String(at).padStart(8, '0') as Position as string as Version,
    ordinal,
    committedAtMs: 0,
  } as ChangeEvent; // The rows are those that the operation has.
}

/** Transactions over both tables; `rows` ends as the parents' table. */
function batch(random: Random, rows: Map<number, Cells>, match: 'simple' | 'full') {
  const changes: Related[] = [];
  const expected: number[] = [];
  const cell = () => (random.chance(0.2) ? null : random.below(4));
  for (let at = 1; at <= 6; at++) {
    const children: { readonly index: number; readonly cells: Cells }[] = [];
    for (let ordinal = 0; ordinal <= random.below(6); ordinal++) {
      const index = changes.length;
      if (random.chance(0.5)) {
        const cells: Cells = [index, cell(), cell()];
        children.push({ index, cells });
        changes.push({ index, event: event(CHILDREN, at, ordinal, null, cells), isJudged: true, isParent: false });
        continue;
      }
      const before = rows.get(random.below(8)) ?? null;
      const free = [0, 1, 2, 3, 4, 5, 6, 7].filter((id) => !rows.has(id));
      const id = before === null || random.chance(0.3) ? free[random.below(free.length)] : before[0];
      const after: Cells | null = (before !== null && random.chance(0.3)) || id === undefined ? null : [id, cell(), cell()];
      if (before === null && after === null) continue;
      if (before !== null) rows.delete(before[0]);
      if (after !== null) rows.set(after[0], after);
      changes.push({ index, event: event(PARENTS, at, ordinal, before, after), isJudged: false, isParent: true });
    }
    for (const {
      index,
      cells: [, a, b],
    } of children) {
      const nulls = [a, b].filter((one) => one === null).length;
      const isThere = [...rows.values()].some((row) => row[1] === a && row[2] === b);
      if (nulls === 0 ? !isThere : match === 'full' && nulls === 1) expected.push(index);
    }
  }
  return { changes, expected };
}

test.each([1, 2, 3, 4, 5, 6])('seed %s: a row fails that names none of those that are there when its transaction ends', async (seed) => {
  const random = new Random(seed);
  const match = seed % 2 === 0 ? 'simple' : 'full';
  await using database = await createDatabase(inject('targetServer'), 'refs');
  const sql = await PgConnection.connect({ url: database.url });
  try {
    await sql.script('create table parents (id bigint primary key, a bigint, b bigint)');
    const asked = (names: readonly string[]) => ({
      qualified: 'parents',
      columns: names.map((name) => ({ name, cast: 'bigint' })),
      andAlive: '',
    });
    let failures = 0;
    for (let round = 0; round < 20; round++) {
      await sql.script('delete from parents');
      const rows = new Map<number, Cells>();
      for (let id = 0; id < 8; id++) if (random.chance(0.4)) rows.set(id, [id, random.below(4), random.below(4)]);
      for (const cells of rows.values())
        await sql.query('insert into parents select $1::bigint, $2::bigint, $3::bigint', cells.map(String));
      const { changes, expected } = batch(random, rows, match);
      const found = await orphans(
        {
          sql,
          keysOf: (events) =>
            new Map(
              events.flatMap(({ key, movedFrom }) => [key, movedFrom].flatMap((one) => (one === null ? [] : [[one, [one]] as const]))),
            ),
          waits: () => false,
          transactions: (all) => [...Map.groupBy(all, (one) => one.event.version).values()],
        },
        {
          columns: [1, 2],
          parent: { dataset: PARENTS.name, columns: ['a', 'b'] },
          table: asked(['a', 'b']),
          key: asked(['id']),
          match,
          holds: true,
        },
        changes,
      );
      expect(found, `round ${round}`).toEqual(expected);
      failures += expected.length;
    }
    expect(failures).toBeGreaterThan(10);
  } finally {
    await sql.close();
  }
});
