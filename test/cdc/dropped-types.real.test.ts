/** Types that are gone by the time the log is read: what was written while they were there arrives as it was, in columns of a type that there is. */
import { expect, inject, test } from 'vitest';
import type { ChangeEvent } from '../../core/event.ts';
import { catchUp, Model, run, testDatabase } from './support.ts';

const server = inject('sourceServer');

test.each([
  ['by who knew them', true, 'int_like', { w: 'public.word', g: 'public.gone', n: 'public.int_like' }],
  ['by who did not', false, 'int', { w: 'text', g: 'text', n: 'integer' }],
] as const)('enums that make room for others of their name, and domains: read %s', async (_, isKnown, type, natives) => {
  await using db = await testDatabase(
    server,
    `create type mood as enum ('a', 'b'); create type gone as enum ('x'); create domain word as text; create domain int_like as int`,
    `create table t (id int primary key, m mood, ms mood[], w word, g gone, n ${type})`,
  );
  const model = new Model();
  const source = db.source();
  await catchUp(source, model, db.sql);
  const insert = (id: number, m: string) => `insert into t values (${id}, '${m}', '{${m},a}', 'word', 'x', 7)`;
  await db.sql.script(insert(1, 'a'));
  await catchUp(source, model, db.sql);
  await db.sql.script(insert(2, 'b'));
  await db.sql.script(`begin; alter type mood rename to mood_old; create type mood as enum ('a', 'b', 'c');
    alter table t alter m type mood using m::text::mood, alter ms type mood[] using ms::text::mood[], alter w type text, alter g type text, alter n type int;
    drop type mood_old; drop type gone; drop domain word; drop domain int_like; ${insert(3, 'c')}; commit`);
  const events: ChangeEvent[] = [];
  await run(isKnown ? source : db.source(), model, (batch) => events.push(...batch.events) > 0 && events.at(-1)?.after?.value(0) === 3);
  expect(model.rows('shop.public.t')).toMatchObject([1, 2, 3].map((id) => ({ id, w: 'word', g: 'x', n: 7 })));
  expect(model.rows('shop.public.t').map(({ m, ms }) => [m, ms])).toEqual(
    [1, 2, 3].map((id) => ['', 'a', 'b', 'c'][id]).map((m) => [m, `{${m},a}`]),
  );
  const nativesOf = (event: ChangeEvent | undefined) =>
    Object.fromEntries((event?.dataset.columns ?? []).map(({ name, native }) => [name, native]));
  expect(nativesOf(events[0])).toEqual({ id: 'integer', m: 'public.mood', ms: 'public.mood[]', ...natives });
  expect(nativesOf(events.at(-1))).toEqual({ id: 'integer', m: 'public.mood', ms: 'public.mood[]', w: 'text', g: 'text', n: 'integer' });
});
