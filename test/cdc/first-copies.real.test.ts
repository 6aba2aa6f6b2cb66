/** Lanes that were to follow changes alone, and are to have all rows from some day on. */
import { expect, inject, test } from 'vitest';
import type { DatasetName } from '../../core/event.ts';
import { catchUp, Model, run, sameAsTable, testDatabase } from './support.ts';

const server = inject('sourceServer');
const never = { snapshot: { mode: 'never' as const, chunkRows: 10, parallel: 1 }, tables: ['public.t', 'public.u'] };
const initial = { ...never, snapshot: { ...never.snapshot, mode: 'initial' as const } };

test.each([false, true])(
  'what a lane has never copied is copied once it is asked to, and once; rows read again before: %s',
  async (hasReread) => {
    await using db = await testDatabase(server, 'create table t (id int primary key, n int)', 'create table u (id int primary key)');
    await db.sql.script('insert into t select i, 0 from generate_series(1, 30) i; insert into u select generate_series(1, 30)');
    const model = new Model();
    await catchUp(db.source(never), model, db.sql);
    if (hasReread) {
      const source = db.source(never);
      const asked: Promise<string>[] = [];
      await db.sql.script('insert into t values (98, 0)');
      await run(source, model, () => {
        if (asked.length === 0)
          asked.push(source.reread({ dataset: 'shop.public.t' as DatasetName, where: 'id < 4', keys: null }, new AbortController().signal));
        return model.rows('shop.public.t').length === 4 && source.rereads().every(({ state }) => state === 'done');
      });
      await Promise.all(asked);
    }
    await db.sql.script('insert into t values (99, 0); update u set id = 99 where id = 1');
    await catchUp(db.source(never), model, db.sql);
    expect(
      model
        .rows('shop.public.t')
        .map(({ id }) => Number(id))
        .toSorted((a, b) => a - b),
    ).toEqual(hasReread ? [1, 2, 3, 98, 99] : [99]);

    const { events } = model;
    await catchUp(db.source(initial), model, db.sql);
    await sameAsTable(model, db, 't');
    await sameAsTable(model, db, 'u');
    expect(model.events).toBeGreaterThan(events);
    const copied = model.events;
    await catchUp(db.source(initial), model, db.sql);
    expect(model.events).toBe(copied);
  },
);
