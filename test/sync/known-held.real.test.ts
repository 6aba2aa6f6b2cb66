/** What a lane knows of its held keys, against the table itself: it misses none, and does not grow with those that were settled long ago. */
import { expect, inject, test } from 'vitest';
import type { Quarantined } from '../../core/contracts.ts';
import type { ChangeEvent } from '../../core/event.ts';
import { refOf } from '../../sync/postgres/held-keys.ts';
import { KnownHeld } from '../../sync/postgres/known-held.ts';
import { migrate } from '../../sync/postgres/migrations.ts';
import { PgConnection } from '../../wire/postgres/connection.ts';
import { createDatabase } from '../support/databases.ts';
import { Random } from '../support/random.ts';

const SEED = Number(process.env['HELD_SEED'] ?? 1);
const DATASET = 'shop.public.t';

/** An item, as far as its keys go. */
const itemOf = (id: string, key: string, movedFrom: string | null): Quarantined =>
  ({ id, event: { dataset: { name: DATASET }, key, movedFrom } as unknown as ChangeEvent }) as Quarantined;

test.each([
  ['one by one', 100_000],
  ['by a filter', 20],
])(`%s: no key is missed while items are held and settled, and what is known is bounded (seed ${SEED})`, async (_, exact) => {
  const random = new Random(SEED);
  await using database = await createDatabase(inject('targetServer'), 'known');
  await using sql = await PgConnection.connect({ url: database.url });
  await migrate(sql);
  const known = new KnownHeld({ exact, growth: 30, page: 7 });
  await known.begin(sql);
  const open = new Set<string>();
  let most = 0;
  for (let batch = 0; batch < 60; batch++) {
    const held = Array.from({ length: random.below(20) }, (_held, i) => {
      const key = `k"${batch} ${i}`;
      return itemOf(`${batch}/${i}`, key, random.chance(0.2) ? `${key} before` : null);
    });
    const { revision } = known;
    known.remember(held);
    expect(known.revision === revision, 'whoever looked before has to look again').toBe(held.length === 0);
    const prepared = held.flatMap(({ event: { key, movedFrom } }) => (movedFrom === null ? [key] : [key, movedFrom]));
    if (known.isDue) await known.read(sql);
    // As the batch before this one finds, which asks the target.
    known.forget(prepared.map((key) => refOf(DATASET, key)));
    for (const key of prepared) expect(known.of(DATASET)?.has(key), `${key} of a batch that is on its way`).toBe(true);
    for (const key of prepared) open.add(key);
    await sql.query(`insert into tidegate.held_keys (dataset, key, open) select $1, k, 1 from unnest($2::text[]) k`, [
      DATASET,
      `{${prepared.map((key) => JSON.stringify(key)).join()}}`,
    ]);
    known.applied(held);
    const settled = [...open].filter(() => random.chance(0.3));
    for (const key of settled) open.delete(key);
    await sql.query('delete from tidegate.held_keys where key = any($1::text[])', [
      `{${settled.map((key) => JSON.stringify(key)).join()}}`,
    ]);
    for (const key of open) expect(known.of(DATASET)?.has(key), `${key} is open`).toBe(true);
    most = Math.max(most, open.size);
    expect(known.size).toBeLessThan(2 * most + 30 + 40);
  }
  await known.begin(sql);
  expect(known.size).toBe(open.size);
  expect(known.of('shop.public.other'), 'another table').toBeNull();
  const strangers = Array.from({ length: 20_000 }, (_stranger, i) => `stranger ${i}`);
  expect(strangers.filter((key) => known.of(DATASET)?.has(key) === true).length).toBeLessThan(5);
});
