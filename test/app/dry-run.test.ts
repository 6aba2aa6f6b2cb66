/** What a dry run says of items by their status alone. */
import { expect, test } from 'vitest';
import { dryRunRelease } from '../../app/dry-run.ts';
import type { ItemStatus, QuarantineItem } from '../../core/contracts.ts';
import { type DatasetName, eventId } from '../../core/event.ts';
import { insertOf, LANE } from '../sync/shop.ts';

const item = (status: ItemStatus, n: number): QuarantineItem => {
  const event = insertOf(n, 1, '01');
  const settled = { heldAtMs: 0, settledAtMs: null, waitsUntilMs: null, by: null, why: null };
  return { id: eventId(event), lane: LANE, event, findings: [], revision: null, status, ...settled };
};

test('what release would put in line is judged, and what is settled is said to be', async () => {
  const all = ['held', 'waiting', 'staged', 'released', 'applied', 'superseded', 'discarded'] as const;
  const items = all.map(item);
  const byId = new Map(items.map((one) => [one.id, one]));
  const quarantine = { outrun: async () => new Set<string>() };
  const asked = { look: async () => ({ findings: [], unasked: new Set<DatasetName>() }) };
  const { results: outcomes } = await dryRunRelease(byId, { quarantine, asked, stages: [], again: null }, new AbortController().signal);
  const said = (wanted: string) => outcomes.filter(({ outcome }) => outcome === wanted).map(({ id }) => byId.get(id)?.status);
  expect(said('would-pass')).toEqual(['held', 'waiting', 'staged', 'released']);
  expect(said('settled')).toEqual(['applied', 'superseded', 'discarded']);
});
