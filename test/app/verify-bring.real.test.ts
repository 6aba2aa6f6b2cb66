/** Rows that are brought beside topics: what is put in line, and what is left out. */
import { expect, inject, test } from 'vitest';
import { besideTopics } from '../../app/verify/bring.ts';
import { SourceRows } from '../../cdc/postgres/source-rows.ts';
import { systemClock } from '../../core/clock.ts';
import type { LaneId } from '../../core/event.ts';
import { postgresSink } from '../../sync/postgres/sink.ts';
import { PgConnection } from '../../wire/postgres/connection.ts';
import { createDatabase } from '../support/databases.ts';

test('a row that is too large to be read as a whole is not brought without its large cells', async () => {
  await using from = await createDatabase(inject('sourceServer'), 'bring');
  await using to = await createDatabase(inject('targetServer'), 'bring');
  await using shop = await PgConnection.connect({ url: from.url });
  await using lake = await PgConnection.connect({ url: to.url });
  await shop.script("create table t (id int primary key, a text); insert into t values (1, 'small'), (2, repeat('x', 3000000))");
  const { signal } = new AbortController();
  await using source = await SourceRows.open({ name: 'shop', url: from.url, slot: 's', publication: 'p', rowBytes: 1 << 20 }, signal);
  const tables = { create: true, widen: true };
  await using sink = await postgresSink({
    name: 'lake',
    url: to.url,
    schema: 'shop',
    tables,
    hold: () => 'event',
    scores: [],
    pipeline: 'main',
  });
  // Nobody reads what is put in line here, so nobody is waited for.
  const bringer = besideTopics({ source, sink, name: 'shop', lane: 'shop/g' as LaneId, waitMs: 0, clock: systemClock, signal });
  await bringer.bring('public.t', [['1'], ['2'], ['3']], '0000000000000001');
  const { rows } = await lake.query('select key, op, status from tidegate.quarantine order by key');
  expect(rows).toEqual([
    ['1', 'read', 'released'],
    ['3', 'delete', 'released'],
  ]);
  expect((await lake.query('select key from tidegate.held_keys where open > 0 order by key')).rows).toEqual([['1'], ['3']]);
});
