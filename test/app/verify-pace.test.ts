/** `verify --rate`: how many rows a second are looked at, by a clock that only waiting moves. */
import { expect, test } from 'vitest';
import { TableWalk, type TableWalkParts } from '../../app/verify/table.ts';
import type { Clock } from '../../core/clock.ts';

const ROWS = 6000;
/** As much as is looked at at once. */
const CHUNK_SECONDS = 0.2;

interface Look {
  readonly atMs: number;
  readonly rows: number;
}

/** A table with the keys from 1 to ROWS on both sides, and one row that differs at first sight where `stallMs` is not 0: to decide about it takes so long. */
async function walk(
  rowsPerSecond: number | null,
  isRanged: boolean,
  stallMs = 0,
): Promise<{ looks: readonly Look[]; rows: number; atMs: number }> {
  let atMs = 0;
  const clock: Clock = { now: () => atMs, monotonic: () => atMs, random: () => 0, sleep: async (ms) => void (atMs += ms) };
  const looks: Look[] = [];
  const isOpen = new Set<string>();
  const from = (after: readonly string[] | null): number => Number(after?.[0] ?? 0);
  const to = (key: readonly string[] | null): number => Number(key?.[0] ?? ROWS);
  const side = (isSource: boolean): TableWalkParts['source'] => ({
    boundary: async ({ after, to: end }, rows) => (from(after) + rows >= to(end) ? null : [String(from(after) + rows)]),
    sum: async ({ after, to: end }) => {
      const rows = to(end) - from(after);
      if (isSource) looks.push({ atMs, rows });
      return { rows, sum: stallMs > 0 && from(after) === 0 && isSource ? 'other' : 'same' };
    },
    list: async ({ after, to: end }, most) => {
      const last = Math.min(to(end), from(after) + (most ?? ROWS));
      const rows = Array.from({ length: last - from(after) }, (_, i) => ({ key: [String(from(after) + i + 1)], hash: 'same' }));
      if (!isRanged) looks.push({ atMs, rows: rows.length });
      return stallMs > 0 && isSource ? rows.map((row) => (row.key[0] === '1' ? { ...row, hash: 'other' } : row)) : rows;
    },
    listOf: async (keys) => keys.map((key) => ({ key, hash: 'same' })),
  });
  const table = new TableWalk({
    source: side(true),
    target: side(false),
    isRanged,
    suspects: {
      add: (key) => void isOpen.add(String(key)),
      get size() {
        return isOpen.size;
      },
      decide: async () => {
        isOpen.clear();
        atMs += stallMs;
        return [];
      },
    },
    suspectsMax: 1,
    onDiffering: async () => true,
    onRows: () => {},
    rowsPerSecond,
    clock,
    signal: new AbortController().signal,
  });
  await table.run();
  return { looks, rows: table.rows, atMs };
}

test.each([
  [50, true, 0],
  [700, true, 0],
  [20_000, true, 0],
  [700, false, 0],
  // What was not read while something was decided is not read all at once afterwards.
  [700, true, 60_000],
  [700, false, 60_000],
])(
  'at %i rows a second, by ranges: %s, with a stall of %i ms: no second has more, and it goes on at that pace',
  async (rate, isRanged, stallMs) => {
    const { looks, rows, atMs } = await walk(rate, isRanged, stallMs);
    expect(rows).toBe(ROWS);
    // Sets are looked at from both sides.
    const all = isRanged ? ROWS : 2 * ROWS;
    expect((1000 * all) / (atMs - stallMs)).toBeGreaterThan(0.95 * rate);
    const most = rate * (1 + CHUNK_SECONDS);
    // What differs is looked at closer, for which a few hundred rows are read again.
    const again = stallMs > 0 ? 2 * CHUNK_SECONDS * rate + 256 : 0;
    for (const { atMs: begin } of looks) {
      const within = looks.filter((look) => look.atMs >= begin && look.atMs < begin + 1000).reduce((sum, look) => sum + look.rows, 0);
      expect(within, `in the second from ${begin} ms on`).toBeLessThanOrEqual(most + again);
    }
  },
);

test('without a rate nothing waits', async () => {
  expect(await walk(null, true)).toMatchObject({ rows: ROWS, atMs: 0 });
});
