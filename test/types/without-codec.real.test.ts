/** Types that nobody here can read: those without a codec go as their bytes, those without a binary form as their text. */
import { expect, inject, test } from 'vitest';
import { itemDetail } from '../../app/items.ts';
import { Verdict } from '../../core/batch.ts';
import type { Stage } from '../../core/contracts.ts';
import type { LaneId } from '../../core/event.ts';
import { postgresSink } from '../../sync/postgres/sink.ts';
import { PgConnection } from '../../wire/postgres/connection.ts';
import { createDatabase } from '../support/databases.ts';
import { sync } from './sync.ts';
import { replayReleased } from '../support/replay.ts';

const hold: Stage = {
  name: 'quality',
  run: async (batch) => {
    for (const [index, { key, dataset }] of batch.events.entries()) {
      if (batch.origin === 'replay' || dataset.name !== 'shop.public.t' || key !== '3') continue;
      batch.mark({
        index,
        stage: 'quality',
        rule: 'r',
        column: null,
        verdict: Verdict.Quarantine,
        severity: 'info',
        message: 'm',
        notify: false,
      });
    }
  },
};

test('types that cannot be read arrive by the snapshot, by the stream, and out of the quarantine', async () => {
  await using from = await createDatabase(inject('sourceServer'), 'raw');
  await using to = await createDatabase(inject('targetServer'), 'raw');
  await using source = await PgConnection.connect({ url: from.url });
  await using target = await PgConnection.connect({ url: to.url });
  const extensions = 'create extension cube; create extension seg; create extension isn; create extension intarray';
  await target.script(`create type other as enum ('x'); ${extensions}`);
  await source.script(`${extensions}; create table marks (k integer primary key, v text);
    create table t (id integer primary key, c cube, cs cube[], s seg, i isbn, a aclitem, q query_int);
    insert into t values (1, '(1, 2.5),(3, 4)', '{"(0)",NULL}', '1.50 .. 2', '0-11-000533-3', 'postgres=r/postgres', '1&(2|!3)');
    insert into t (id) values (2)`);
  const tables = ['public.t', 'public.marks'];
  await sync(source, target, { from, to, tables, mark: 1 });
  await source.script('insert into t select id + 2, c, cs, s, i, a, q from t; update t set c = c where id = 1');
  await sync(source, target, { from, to, tables, mark: 2, stages: [hold] });

  const options = { name: 'target', url: to.url, schema: 'public', tables: { create: true, widen: false }, pipeline: 'keys' };
  await using sink = await postgresSink({ ...options, hold: () => 'event', scores: [] });
  const [item] = await sink.quarantine.find({ limit: 2 });
  if (item === undefined) throw new Error('nothing is held');
  expect(itemDetail('keys', item).columns.map(({ after }) => after)).toEqual([
    '3',
    expect.stringMatching(/^\\x[0-9a-f]+$/),
    expect.any(String),
    '1.50 .. 2',
    '0-11-000533-3',
    'postgres=r/postgres',
    '1 & ( 2 | !3 )',
  ]);
  await sink.quarantine.release([item.id], 'test');
  await replayReleased(sink, { lane: 'replay:keys' as LaneId, stages: [hold], batchRows: 25 });

  const rows = 'select id, c::text, cs::text, s::text, i::text, a::text, q::text from t order by id';
  expect((await target.query(rows)).rows).toEqual((await source.query(rows)).rows);
  expect((await target.query('select count(*) from t')).rows).toEqual([['4']]);
});
