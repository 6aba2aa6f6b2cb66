/** What goes with an item that is released, what it has before it, and what is free once one is gone, against the plainest way to find them: all open items, over and over. */
import { expect, inject, test } from 'vitest';
import type { ChangeEvent } from '../../core/event.ts';
import { textArrayParameter } from '../../sync/postgres/arrays.ts';
import { refOf } from '../../sync/postgres/held-keys.ts';
import { migrate } from '../../sync/postgres/migrations.ts';
import { OpenBefore, tiedItems } from '../../sync/postgres/open-items.ts';
import { releaseUnblocked } from '../../sync/postgres/unblocked.ts';
import { PgConnection } from '../../wire/postgres/connection.ts';
import { createDatabase } from '../support/databases.ts';
import { Random } from '../support/random.ts';

const seeds = process.env['OPEN_SEEDS']?.split(',').map(Number) ?? [1, 2, 3, 4, 5, 6, 9, 12];
const DATASETS = ['shop.public.a', 'shop.public.b'] as const;

interface Item {
  readonly id: string;
  readonly dataset: string;
  readonly key: string;
  readonly movedFrom: string | null;
  readonly version: string;
  readonly op: string;
  readonly hold: 'key' | 'event';
  readonly lot: number | null;
  status: string;
}

const refsOf = ({ dataset, key, movedFrom }: Item): string[] =>
  [key, movedFrom].flatMap((one) => (one === null ? [] : [refOf(dataset, one)]));
const sharesKey = (one: Item, other: Item): boolean => refsOf(one).some((ref) => refsOf(other).includes(ref));
const isOpen = ({ status }: Item): boolean => ['held', 'waiting', 'staged', 'released'].includes(status);
const stands = (item: Item): boolean => isOpen(item) && item.status !== 'released';
const isTruncateOfLot = (item: Item): boolean => item.op === 'truncate' && item.lot !== null;

/** As far as its keys and its place go. */
const eventOf = ({ dataset, key, movedFrom, version }: Item): ChangeEvent =>
  ({ dataset: { name: dataset }, key, movedFrom, version: version.split('#')[0], ordinal: 0 }) as unknown as ChangeEvent;

/** What is free, in the source's order. */
function freeOf(items: readonly Item[]): string[] {
  const free = new Set<string>();
  for (let before = -1; before < free.size;) {
    before = free.size;
    for (const item of items) {
      if (item.status !== 'waiting') continue;
      const isBehind = (other: Item): boolean =>
        other.version < item.version &&
        !free.has(other.id) &&
        ((stands(other) && sharesKey(item, other)) || (isOpen(other) && isTruncateOfLot(other) && other.dataset === item.dataset));
      if (!items.some(isBehind)) free.add(item.id);
    }
  }
  return items.flatMap(({ id }) => (free.has(id) ? [id] : []));
}

/** What goes along with those that were chosen, in the source's order. */
function tiedOf(items: readonly Item[], ids: readonly string[]): string[] {
  const chosen = new Set(items.flatMap((item) => (ids.includes(item.id) && isOpen(item) ? [item.id] : [])));
  const refs = new Set<string>();
  for (let before = -1; before < chosen.size + refs.size;) {
    before = chosen.size + refs.size;
    for (const item of items) {
      const goesWithLot = item.lot !== null && item.status !== 'waiting';
      if (!isOpen(item) || item.hold !== 'key' || (goesWithLot && !chosen.has(item.id))) continue;
      if (refsOf(item).some((ref) => refs.has(ref))) chosen.add(item.id);
      if (chosen.has(item.id)) for (const ref of refsOf(item)) refs.add(ref);
    }
  }
  return items.flatMap((item) => (chosen.has(item.id) && item.status !== 'released' ? [item.id] : []));
}

test.each(seeds)('seed %i: what is tied and what is free is what it is among all', async (seed) => {
  const random = new Random(seed);
  await using database = await createDatabase(inject('targetServer'), 'open');
  await using sql = await PgConnection.connect({ url: database.url });
  await migrate(sql);
  const items: Item[] = [];
  // Long lines of a few keys, or many that hang together by moves.
  const keys = 1 + random.below(60);
  const moves = random.next();
  // Several lanes may bring changes of one version.
  const hasTies = seed % 3 === 0;
  const pick = <T>(list: readonly T[]): T => list[random.below(list.length)] as T; // There are some.

  const make = (): Item => {
    const isTruncate = random.chance(0.01);
    const lot = random.chance(0.1) ? random.below(3) : null;
    const key = isTruncate ? '' : String(random.below(keys));
    const from = String(random.below(keys));
    const version = (hasTies ? items.length >> 4 : items.length).toString(16).padStart(16, '0');
    const dataset = pick(DATASETS);
    return {
      id: `${dataset}/${key}@${version}#0`,
      dataset,
      key,
      movedFrom: !isTruncate && from !== key && random.chance(moves) ? from : null,
      version: `${version}#00000000`,
      op: isTruncate ? 'truncate' : 'update',
      hold: random.chance(0.8) ? 'key' : 'event',
      lot,
      status: isTruncate ? pick(['held', 'staged', 'released']) : random.chance(0.85) ? 'waiting' : pick(['held', 'staged', 'released']),
    };
  };
  const hold = async (made: readonly Item[]): Promise<void> => {
    const texts = (of: (item: Item) => string | null) => textArrayParameter(made.map(of));
    await sql.query(
      `insert into tidegate.quarantine (id, pipeline, lane, dataset, key, moved_from, version, op, event, row_json, findings, rules, hold, status, lot_starts, lot_ends)
       select id, 'p', 'l', dataset, key, moved_from, version, op, '', '{}', '[]', '{}', hold, status, lot::bigint, lot::bigint
       from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[])
         g(id, dataset, key, moved_from, version, op, hold, status, lot)`,
      [
        texts(({ id }) => id),
        texts(({ dataset }) => dataset),
        texts(({ key }) => key),
        texts(({ movedFrom }) => movedFrom),
        texts(({ version }) => version),
        texts(({ op }) => op),
        texts(({ hold: mode }) => mode),
        texts(({ status }) => status),
        texts(({ lot }) => (lot === null ? null : String(lot))),
      ],
    );
    items.push(...made);
  };
  /** What is put in line for these keys is all that is free, in the source's order. */
  const release = async (refs: ReadonlySet<string>, after: string): Promise<void> => {
    const expected = freeOf(items);
    const { rows: last } = await sql.query('select last_value from tidegate.releases');
    await sql.script('begin');
    await releaseUnblocked(sql, refs);
    await sql.script('commit');
    const { rows } = await sql.query('select id from tidegate.quarantine where released_seq > $1 order by released_seq', [
      last[0]?.[0] ?? '0',
    ]);
    const found = rows.map(([id]) => id ?? '');
    const placed = new Map(items.map((item, place) => [item.id, { item, place }]));
    const inOrder = found.toSorted((a, b) => (placed.get(a)?.place ?? 0) - (placed.get(b)?.place ?? 0));
    const isWrong = ([a, b]: readonly (Item | undefined)[]): boolean =>
      a !== undefined && b !== undefined && sharesKey(a, b) && a.version > b.version;
    const pairs = found.flatMap((id, n) => found.slice(n + 1).map((later) => [placed.get(id)?.item, placed.get(later)?.item]));
    const said = `${items.length} items, after ${after}`;
    expect(inOrder, `seed ${seed}, ${said}`).toEqual(expected);
    // All that waited behind a truncate comes page by page, and each with what is tied to it.
    if (hasTies || refs.has(refOf(DATASETS[0], '')) || refs.has(refOf(DATASETS[1], '')))
      expect(pairs.filter(isWrong), `seed ${seed}, ${said}`).toEqual([]);
    else expect(found, `seed ${seed}, ${said}`).toEqual(expected);
    for (const item of items) if (expected.includes(item.id)) item.status = 'released';
  };

  /** What a batch of released events has before it, while one after the other is settled or not. */
  const before = async (): Promise<void> => {
    const batch = items.filter(({ status }) => status === 'released' && random.chance(0.3)).sort(() => random.next() - 0.5);
    const open = await OpenBefore.read(sql, batch.map(eventOf), () => true);
    const settled = new Set<string>();
    for (const item of batch) {
      const isBehind = (other: Item): boolean =>
        isOpen(other) && !settled.has(other.id) && other.version < item.version && sharesKey(item, other);
      expect(open.isAnyBefore(eventOf(item), settled), `seed ${seed}, before ${item.id}`).toBe(items.some(isBehind));
      if (random.chance(0.7)) settled.add(item.id);
    }
  };

  await sql.query("select nextval('tidegate.releases')");
  for (let round = 0; round < 40; round++) {
    const made: Item[] = [];
    for (let count = random.below(20); count > 0; count--) {
      const item = make();
      if (items.some(({ id }) => id === item.id)) continue;
      made.push(item);
      await hold([item]);
    }
    await release(new Set(made.filter(({ status }) => status === 'waiting').flatMap(refsOf)), 'holding');
    const ids = Array.from({ length: 1 + random.below(3) }, () => pick([...items, ...(items.length === 0 ? [make()] : [])]).id);
    expect((await tiedItems(sql, ids, 'p')).toSorted(), `seed ${seed}, tied to ${ids.join()}`).toEqual(tiedOf(items, ids).toSorted());
    await before();
    const gone = items.filter((item) => isOpen(item) && item.status !== 'waiting' && random.chance(0.1));
    await sql.query(`update tidegate.quarantine set status = 'discarded' where id = any($1::text[])`, [
      textArrayParameter(gone.map(({ id }) => id)),
    ]);
    for (const item of gone) item.status = 'discarded';
    await release(new Set(gone.flatMap(refsOf)), 'discarding');
  }
});
