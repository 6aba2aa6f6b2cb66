/** Versions of rows from the source block: of two changes of one row the later one's is greater, whichever of the two roads brings either. */
import { expect, test } from 'vitest';
import { SourceVersions } from '../../cdc/kafka/source-version.ts';
import { fromLsnNumber } from '../../core/position.ts';
import { Random } from '../support/random.ts';

interface Transaction {
  readonly changes: { readonly row: number; readonly lsn: bigint }[];
  commit: { readonly start: bigint; readonly end: bigint } | null;
}

/** Transactions that are open at the same time, of which none changes a row that another one has changed: in the order of their commits. */
function committed(random: Random): Transaction[] {
  let lsn = 1000n;
  const step = (): bigint => (lsn += 8n * BigInt(1 + random.below(4)));
  const open: Transaction[] = [];
  const done: Transaction[] = [];
  while (done.length < 40) {
    if (open.length < 4 && random.chance(0.4)) open.push({ changes: [], commit: null });
    const one = open[random.below(Math.max(1, open.length))];
    if (one === undefined) continue;
    const row = random.below(6);
    if (random.chance(0.3)) {
      const start = lsn;
      one.commit = { start, end: step() };
      open.splice(open.indexOf(one), 1);
      if (one.changes.length > 0) done.push(one);
    } else if (!open.some((other) => other !== one && other.changes.some((change) => change.row === row))) {
      one.changes.push({ row, lsn });
      step();
    }
  }
  return done;
}

test('the later change of a row has the greater version, by the place of its commit and by what Debezium says of it', () => {
  for (let seed = 1; seed <= 50; seed++) {
    const versions = new SourceVersions();
    /** By row, of each transaction that changed it: the least and the greatest version. */
    const ofRows = new Map<number, { readonly least: string; readonly greatest: string }[]>();
    let before: bigint | null = null;
    for (const { changes, commit } of committed(new Random(seed))) {
      const found = new Map<number, string[]>();
      for (const [ordinal, { row, lsn }] of changes.entries()) {
        const sequence = JSON.stringify([before === null ? null : String(before), String(lsn)]);
        const streamed = versions.of({ connector: 'postgresql', lsn, sequence, snapshot: 'false' });
        const direct = `${fromLsnNumber(commit?.start ?? 0n)}#${ordinal.toString(16).padStart(8, '0')}`;
        const own = found.get(row) ?? [];
        // Within a transaction each road has its changes in their order.
        const last = own.at(-1);
        if (last !== undefined) expect(`${streamed.version}#00000000` > last, `seed ${seed}`).toBe(true);
        found.set(row, [...own, direct, `${streamed.version}#00000000`]);
      }
      for (const [row, all] of found) {
        const sorted = [...all].sort();
        const earlier = ofRows.get(row) ?? [];
        for (const { greatest } of earlier) expect((sorted[0] ?? '') > greatest, `seed ${seed}: ${sorted[0]} and ${greatest}`).toBe(true);
        ofRows.set(row, [...earlier, { least: sorted[0] ?? '', greatest: sorted.at(-1) ?? '' }]);
      }
      before = commit?.end ?? null;
    }
  }
});

test('what was open when the snapshot was taken is newer than the snapshot, and rows of an incremental one stand among the changes', () => {
  const versions = new SourceVersions();
  const of = (snapshot: string, sequence: string, lsn: number | null): string =>
    versions.of({ connector: 'postgresql', snapshot, sequence, lsn }).version;
  const read = of('last', '[null,"29317344"]', 29317344);
  const open = of('false', '[null,"29317000"]', 29317000);
  const next = of('false', '["29317400","29317600"]', 29317600);
  const again = of('incremental', '["29317700","29317700"]', null);
  const later = of('false', '["29317700","29317800"]', 29317800);
  expect([read, open, next, again, later]).toEqual([read, open, next, again, later].sort());
});
