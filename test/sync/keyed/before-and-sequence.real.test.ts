/** before_matches and sequence_gap, asked of a real target: what was lost or came twice is told, and nothing else is. */
import { expect, test } from 'vitest';
import { Batch } from '../../../core/batch.ts';
import { type ChangeEvent, eventId, type Position, ValueRow, type Version } from '../../../core/event.ts';
import { Random } from '../../support/random.ts';
import { batchOf, DATASET, LANE } from '../shop.ts';
import { contract, target } from './support.ts';

type Values = readonly [id: number, n: number | null, note: string | null];

const place = (at: number): Position => String(at).padStart(8, '0') as Position;
const row = (values: Values | null) => (values === null ? null : new ValueRow(...values));

function change(at: number, before: Values | null, after: Values | null): ChangeEvent {
  const [id] = after ?? before ?? [0];
  return {
    op: before === null ? 'insert' : after === null ? 'delete' : 'update',
    dataset: DATASET,
    before: row(before),
    after: row(after),
    key: String(id),
    movedFrom: before !== null && after !== null && before[0] !== after[0] ? String(before[0]) : null,
    version: place(at) as string as Version,
    ordinal: 0,
    committedAtMs: 0,
  } as ChangeEvent; // The rows are those that the operation has.
}

/** Changes of a table with their old rows, of which some are lost on the way and others come twice. */
function stream(random: Random, faults: number) {
  const source = new Map<number, Values>();
  const said = new Map<string, string>();
  const sent: ChangeEvent[] = [];
  const expected: string[] = [];
  const send = (event: ChangeEvent, before: Values | null, after: Values | null): void => {
    sent.push(event);
    const old = event.movedFrom ?? event.key;
    const last = said.get(old);
    // Of a key without a row nothing is said: it may not have been copied yet.
    if (before !== null && last !== undefined && last !== JSON.stringify(before)) expected.push(eventId(event));
    said.delete(old);
    if (after !== null) said.set(event.key, JSON.stringify(after));
  };
  for (let at = 1; at <= 150; at++) {
    const id = random.below(12);
    const before = source.get(id) ?? null;
    const to = before !== null && random.chance(0.1) ? 12 + random.below(8) : id;
    const isGone = before !== null && random.chance(0.2);
    const after: Values | null =
      isGone || (to !== id && source.has(to)) ? null : [to, random.below(1000), random.chance(0.3) ? null : `x${at}`];
    source.delete(id);
    if (after !== null) source.set(after[0], after);
    const event = change(at, before, after);
    if (random.chance(faults)) continue;
    send(event, before, after);
    if (random.chance(faults)) send({ ...event, ordinal: 1 }, before, after);
  }
  return { sent, expected };
}

function batches(random: Random, events: readonly ChangeEvent[]): Batch[] {
  const made: Batch[] = [];
  let after: Position | null = null;
  for (let from = 0; from < events.length;) {
    const some = events.slice(from, from + 1 + random.below(12));
    from += some.length;
    made.push(batchOf(some, place(made.length + 1), after));
    after = place(made.length);
  }
  return made;
}

test.each([1, 2, 3, 4].map((seed) => [seed, seed % 2 === 0 ? 0 : 0.1] as const))(
  'seed %s: of changes of which %s are lost or come twice, those are told whose old row is another',
  async (seed, faults) => {
    const random = new Random(seed);
    const { sent, expected } = stream(random, faults);
    await using at = await target([contract(DATASET.name, 'hold: event\nchecks: [{ before_matches: true, on_fail: warn }]')]);
    const sentAs = batches(random, sent);
    await at.run(sentAs);
    const told = sentAs.flatMap((batch) =>
      batch.findings.map(({ index }) => batch.event(index)).map((event) => (event === undefined ? '' : eventId(event))),
    );
    expect(told.sort()).toEqual(expected.sort());
    expect(expected.length > 3).toBe(faults > 0);
  },
  60_000,
);

test.each([
  ['skip', 1],
  ['skip', 4],
  ['fail', 1],
  ['fail', 4],
])(
  'a key that a row has left has no row: missing is %s, batches of %s',
  async (missing, size) => {
    await using at = await target([
      contract(DATASET.name, `hold: event\nchecks: [{ before_matches: { missing: ${missing} }, on_fail: warn }]`),
    ]);
    const moved = change(2, [1, 10, null], [13, 10, null]);
    // The move comes twice; the insert of another row of the key is lost.
    const events = [change(1, null, [1, 10, null]), moved, { ...moved, ordinal: 1 }, change(4, [1, 20, null], [1, 30, null])];
    const told: string[] = [];
    const sent = Array.from({ length: events.length / size }, (_, i) =>
      batchOf(events.slice(i * size, (i + 1) * size), place(i + 1), i === 0 ? null : place(i)),
    );
    await at.run(sent);
    for (const [i, batch] of sent.entries())
      for (const { index, message } of batch.findings) told.push(`${i * size + index}: ${message.split(': ').at(-1)}`);
    expect(told).toEqual(missing === 'skip' ? [] : ['2: there is no row of the key', '3: there is no row of the key']);
  },
  30_000,
);

test.each([
  [0, [1, 2, 4, 5, 3, 6], [4]],
  [2, [10, 12, 11, 14, 13, 15, 17, 18, 19, 20], [19]],
  // What is in quarantine has come.
  [0, [12, 13, 14, 16], [16]],
])(
  'numbers that come out of order by %s: %j',
  async (outOfOrder, numbers, gaps) => {
    const told: number[] = [];
    for (const size of [1, 3]) {
      await using at = await target([
        contract(DATASET.name, `columns: { n: [{ sequence_gap: { out_of_order: ${outOfOrder} } }, { not_in_set: [13] }] }`),
      ]);
      const events = numbers.map((n, i) => change(i + 1, null, [i, n, null]));
      for (let from = 0; from < events.length; from += size) {
        const batch = new Batch(events.slice(from, from + size), { lane: LANE, position: place(from + 1) });
        await at.run([batch]);
        for (const { index, rule } of batch.findings) if (rule === 'n.sequence_gap') told.push(numbers[from + index] ?? 0);
      }
    }
    expect(told).toEqual([...gaps, ...gaps]);
  },
  30_000,
);

test('a row that is staged has come: no number is missing for it, and an old row is not held against the one before it', async () => {
  await using at = await target([
    contract(
      DATASET.name,
      'hold: event\ncolumns: { n: [{ sequence_gap: { out_of_order: 0 }, on_fail: warn }] }\nchecks: [{ before_matches: true, on_fail: warn }]',
    ),
  ]);
  const batches = [
    [change(1, null, [1, 1, 'a'])],
    [change(2, null, [2, 2, 'b']), change(3, [1, 1, 'a'], [1, 1, 'staged'])],
    [change(4, null, [3, 3, 'c']), change(5, [1, 1, 'staged'], [1, 1, 'd'])],
    [change(6, null, [5, 5, 'e'])],
  ].map((events, i) => batchOf(events, place(i + 1), i === 0 ? null : place(i)));
  for (const index of [0, 1]) batches[1]?.stage(index, { startMs: 0, endMs: 10_000 });
  await at.run(batches);
  expect((await at.sql.query(`select count(*) from tidegate.quarantine where status = 'staged'`)).rows).toEqual([['2']]);
  expect(batches.flatMap(({ findings }, i) => findings.map(({ index, rule }) => [i, index, rule]))).toEqual([[3, 0, 'n.sequence_gap']]);
});
