/** increasing and decreasing per key, asked of a real target: the verdicts are those of a walk over the changes of each row, however the stream is cut into batches. */
import { expect, test } from 'vitest';
import type { Batch } from '../../../core/batch.ts';
import { type ChangeEvent, eventId, type Position, UNCHANGED, ValueRow, type Version } from '../../../core/event.ts';
import { Random } from '../../support/random.ts';
import { batchOf, DATASET } from '../shop.ts';
import { contract, target } from './support.ts';

const place = (at: number): Position => String(at).padStart(8, '0') as Position;

type N = number | null | typeof UNCHANGED;

function change(at: number, op: ChangeEvent['op'], id: number, n: N = null, movedFrom: number | null = null): ChangeEvent {
  const event = {
    op,
    dataset: DATASET,
    before: op === 'delete' || movedFrom !== null ? new ValueRow(movedFrom ?? id, null, null) : null,
    after: op === 'delete' || op === 'truncate' ? null : new ValueRow(id, n, 'x'),
    key: op === 'truncate' ? '' : String(id),
    movedFrom: movedFrom === null ? null : String(movedFrom),
    version: place(at) as string as Version,
    ordinal: 0,
    committedAtMs: 0,
  };
  return event as ChangeEvent; // The rows are those that the operation has.
}

interface Rules {
  readonly direction: 1 | -1;
  readonly strictly: boolean;
  readonly holds: boolean;
}

/** Changes of a few rows, and those that fail: walked through one by one. */
function stream(random: Random, { direction, strictly, holds }: Rules) {
  const rows = new Map<number, number | null>();
  const sent: ChangeEvent[] = [];
  const expected: string[] = [];
  for (let at = 1; at <= 120; at++) {
    const id = random.below(6);
    const n = random.chance(0.1) ? null : random.below(9);
    const there = rows.has(id);
    if (random.chance(0.02)) {
      sent.push(change(at, 'truncate', 0));
      rows.clear();
    } else if (!there) {
      sent.push(change(at, 'insert', id, n));
      rows.set(id, n);
    } else if (random.chance(0.12)) {
      sent.push(change(at, 'delete', id));
      rows.delete(id);
    } else {
      const last = rows.get(id) ?? null;
      const free = 6 + random.below(20);
      // A row that is held stays where it was; one that leaves its key for another would leave a gap behind it.
      const to = !holds && !rows.has(free) && random.chance(0.1) ? free : id;
      // A row without all cells waits behind one of its key that is held, whatever the rule says of it.
      const isSent = holds || random.chance(0.8);
      const event = change(at, 'update', to, isSent ? n : UNCHANGED, to === id ? null : id);
      sent.push(event);
      const isOff = last !== null && n !== null && (strictly ? (n - last) * direction <= 0 : (n - last) * direction < 0);
      const fails = isSent && isOff;
      if (fails) expected.push(eventId(event));
      if (fails && holds) continue;
      rows.delete(id);
      rows.set(to, isSent ? n : last);
    }
  }
  return { sent, expected };
}

function batches(random: Random, events: readonly ChangeEvent[]): Batch[] {
  const made: Batch[] = [];
  for (let from = 0; from < events.length;) {
    const some = events.slice(from, from + 1 + random.below(10));
    from += some.length;
    made.push(batchOf(some, place(made.length + 1), made.length === 0 ? null : place(made.length)));
  }
  return made;
}

test.each<[number, Rules]>([
  [1, { direction: 1, strictly: false, holds: false }],
  [2, { direction: -1, strictly: true, holds: false }],
  [3, { direction: 1, strictly: true, holds: true }],
  [4, { direction: -1, strictly: false, holds: true }],
])(
  'seed %s: %j',
  async (seed, rules) => {
    const random = new Random(seed);
    const { sent, expected } = stream(random, rules);
    const name = rules.direction === 1 ? 'increasing' : 'decreasing';
    const check = `{ ${name}: { per: key, strictly: ${rules.strictly} }, on_fail: ${rules.holds ? 'quarantine' : 'warn'} }`;
    await using at = await target([contract(DATASET.name, `hold: event\ncolumns: { n: [${check}] }`)]);
    const sentAs = batches(random, sent);
    await at.run(sentAs);
    const told = sentAs.flatMap((batch) =>
      batch.findings.map(({ index }) => batch.event(index)).flatMap((event) => (event === undefined ? [] : eventId(event))),
    );
    expect(told.toSorted()).toEqual(expected.toSorted());
    expect(expected.length).toBeGreaterThan(5);
  },
  60_000,
);
