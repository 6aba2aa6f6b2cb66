/** Processes with different rule files over one target: what one has staged by its rules, no other publishes by others. */
import { expect, test } from 'vitest';
import { Batch } from '../../core/batch.ts';
import type { ChangeEvent, DatasetName, Position } from '../../core/event.ts';
import type { Contract } from '../../quality/contract.ts';
import { qualityStage } from '../../quality/stage.ts';
import { eventually } from '../support/eventually.ts';
import { Random } from '../support/random.ts';
import { contractOf, never, replaying, revisionsOf, world } from './lot-world.ts';
import { insertOf, LANE } from './shop.ts';

const WINDOWS = 'defaults: { window: { every: 10s, out_of_order: 0s, lateness: 0s } }';
const audited = (more = '') =>
  contractOf(`publish: after_window
${WINDOWS}
checks: [{ id: volume, row_count: { max: 2 } }${more}]
`);
/** The file before somebody had rows wait, and one of a process that has none. */
const OLD = contractOf(`${WINDOWS}\nchecks: [{ id: any, row_count: { min: 0 } }]\n`);
const NONE: ReadonlyMap<DatasetName, Contract> = new Map();

const hex = (n: number): string => n.toString(16).padStart(16, '0');
const insert = (n: number, seconds: number): ChangeEvent => ({ ...insertOf(n, n, hex(n)), committedAtMs: seconds * 1000 });
const batch = (n: number, ...events: readonly ChangeEvent[]): Batch => new Batch(events, { lane: LANE, position: hex(n) as Position });
/** The first window fails by the rules that audit it, the second passes. */
const BATCHES = () => [batch(10, insert(1, 1), insert(2, 2), insert(3, 3)), batch(20, insert(11, 11)), batch(30, insert(21, 21))];

type At = Awaited<ReturnType<typeof world>>;
const ids = async (at: At) => (await at.rows()).map(([id]) => Number(id));
const settled = (at: At) =>
  eventually(async () => (await at.statuses()).every(([status]) => status !== 'released'), 'what is published is in');

test.each([
  ['does not have rows wait', OLD, ['window.unjudged'], 'diverted', []],
  ['has no rules', NONE, ['volume'], 'published', [11]],
] as const)(
  'a process that %s publishes nothing of what another one has staged, and what it judged is no verdict on that',
  async (_, other, rules, second, rows) => {
    const contracts = audited();
    await using at = await world('key', contracts);
    await using desk = await at.sink();
    await desk.lots.say('other', revisionsOf(other), false);
    await desk.lots.say('audits', revisionsOf(contracts), false);
    await at.run(BATCHES(), async () => {}, new Map(), never, LANE, [qualityStage(contracts)]);
    expect(await at.close([desk], false, other)).toEqual([]);
    const [revision] = revisionsOf(contracts).values();
    const why = `rows of it were staged by the rules ${revision}, which another process has in force; the process that closes windows has`;
    const lots = (await desk.lots.lots(10)).map(({ startMs, status, waitsFor }) => [startMs, status, waitsFor?.startsWith(why)]);
    expect(lots.toReversed().slice(0, 2)).toEqual([
      [0, 'staged', true],
      [10_000, 'staged', true],
    ]);
    expect(await desk.lots.stuck()).toHaveLength(3);
    expect((await at.close([desk])).map((lot) => [lot.startMs, lot.status, lot.rules])).toEqual([
      [0, 'diverted', rules],
      [10_000, second, second === 'diverted' ? rules : []],
    ]);
    expect(await desk.lots.stuck()).toEqual([]);
    const replay = replaying(at.sink, new Random(1));
    await settled(at);
    if (rows.length > 0) expect(await ids(at)).toEqual(rows);
    await replay.stop();
  },
  60_000,
);

test('newer rules whose process is gone are waited for, until somebody takes the older ones up again', async () => {
  const contracts = audited();
  await using at = await world('key', contracts);
  await using desk = await at.sink();
  await desk.lots.say('other', revisionsOf(OLD), false);
  await desk.lots.say('audits', revisionsOf(contracts), false);
  await at.run(BATCHES(), async () => {}, new Map(), never, LANE, [qualityStage(contracts)]);
  await at.sql.query("update tidegate.rules_in_force set said_at = said_at - interval '3 minutes' where process = 'audits'");
  expect(await at.close([desk], false, OLD)).toEqual([]);
  expect((await desk.lots.stuck())[0]?.waitsFor).toContain('which are newer, and no process has in force now');
  // As after a rollback: the process with the older file begins anew.
  await desk.lots.say('other', new Map(), false);
  await desk.lots.say('other', revisionsOf(OLD), false);
  expect((await at.close([desk], false, OLD)).map(({ status }) => status)).toEqual(['published', 'published', 'published']);
}, 60_000);

test('while rules are changed process by process lots wait; then they go by what was said by rules that staged them', async () => {
  const contracts = audited();
  const newer = audited(', { id: rows, row_count: { max: 100 } }');
  await using at = await world('key', contracts);
  await using desk = await at.sink();
  await desk.lots.say('a', revisionsOf(contracts), false);
  await desk.lots.say('b', revisionsOf(newer), false);
  await at.run(BATCHES(), async () => {}, new Map(), never, LANE, [qualityStage(contracts)]);
  expect(await at.close([desk], false, newer)).toEqual([]);
  await desk.lots.say('a', revisionsOf(newer), false);
  expect((await at.close([desk], false, newer)).map(({ startMs, status, rules }) => [startMs, status, rules])).toEqual([
    [0, 'diverted', ['volume']],
    [10_000, 'published', []],
  ]);
  // One that reads alone knows that nobody else does.
  await desk.lots.say('b', revisionsOf(contracts), false);
  await desk.lots.say('c', revisionsOf(OLD), true);
  expect((await at.close([desk], false, OLD)).map(({ startMs, status }) => [startMs, status])).toEqual([[20_000, 'published']]);
}, 60_000);

test('however often a process begins anew, of each revision the last one that had it is known', async () => {
  const newer = audited(', { id: rows, row_count: { max: 100 } }');
  await using at = await world('key', audited());
  await using desk = await at.sink();
  const known = async () =>
    (await at.sql.query("select process, said_at > '-infinity' from tidegate.rules_in_force order by taken_at")).rows.map(([one, said]) => [
      one,
      said === 't',
    ]);
  for (const process of ['a', 'b', 'c']) await desk.lots.say(process, revisionsOf(audited()), true);
  for (const process of ['d', 'e']) await desk.lots.say(process, revisionsOf(newer), true);
  expect(await known()).toEqual([
    ['c', false],
    ['e', true],
  ]);
  // Beside others it may only be standing still.
  await desk.lots.say('f', revisionsOf(newer), false);
  expect((await known()).map(([one]) => one)).toEqual(['c', 'e', 'f']);
  await at.sql.query("update tidegate.rules_in_force set said_at = said_at - interval '2 hours' where process = 'e'");
  await desk.lots.say('f', revisionsOf(newer), false);
  expect((await known()).map(([one]) => one)).toEqual(['c', 'f']);
}, 60_000);
