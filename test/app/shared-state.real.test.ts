/** What instances remember together in PostgreSQL. */
import { expect, inject, test } from 'vitest';
import { systemClock } from '../../core/clock.ts';
import { Secret } from '../../app/secret.ts';
import { existingServiceState, openServiceState, type State, whenThere } from '../../app/state/state.ts';
import type { Instance } from '../../app/state/turns.ts';
import { ModelRegistry } from '../../inference/models/registry.ts';
import type { ModelVersion } from '../../inference/models/store.ts';
import type { OutboxItem } from '../../ops/alerts/outbox.ts';
import { PgConnection } from '../../wire/postgres/connection.ts';
import { createDatabase } from '../support/databases.ts';
import { NOWHERE } from './services.ts';
import { eventually } from '../support/eventually.ts';

const item = (n: number): OutboxItem => ({
  id: `msg_${n}`,
  endpoint: 'oncall',
  type: 'lane.halted',
  body: '{}',
  createdAtMs: n,
  attempts: 0,
  nextAttemptAtMs: n,
});
const ids = (items: readonly OutboxItem[]): readonly string[] => items.map(({ id }) => id);

async function twoInstances() {
  await using open = new AsyncDisposableStack();
  const database = open.use(await createDatabase(inject('targetServer'), 'shared'));
  const place = new Secret(database.url);
  expect(await existingServiceState(place)).toBe(null);
  // At once, as they are after a deployment: one of the two makes the tables.
  const [one, two] = await Promise.all([openServiceState(place), openServiceState(place)]);
  open.use(one);
  open.use(two);
  const kept = open.move();
  return { one, two, url: database.url, [Symbol.asyncDispose]: () => kept.disposeAsync() };
}

test('an alert is sent by one of the instances, and by another where that one says nothing of it', async () => {
  await using world = await twoInstances();
  const [one, two] = [world.one.outbox, world.two.outbox];
  await one.add([1, 2, 3, 4, 5].map(item));
  await two.add([item(1)]);
  const [here, there] = await Promise.all([one.due('oncall', 10, 20), two.due('oncall', 10, 20)]);
  expect(ids([...here, ...there]).toSorted()).toEqual(['msg_1', 'msg_2', 'msg_3', 'msg_4', 'msg_5']);
  expect(await one.due('oncall', 10, 20)).toEqual([]);
  expect(await one.due('other', 10, 20)).toEqual([]);
  for (const taken of here) await one.settle(taken, { kind: 'delivered', atMs: 20, status: 200 });
  const late = (await one.nextAttemptAtMs('oncall')) ?? 0;
  expect(ids(await one.due('oncall', late, 20))).toEqual(ids(there));
  for (const [n, taken] of there.entries())
    await one.settle(
      taken,
      n === 0 ? { kind: 'retry', atMs: 30, nextAttemptAtMs: 40, why: 'no' } : { kind: 'given-up', atMs: 30, why: 'no' },
    );
  expect(await two.due('oncall', 40, 20)).toEqual([{ ...there[0], attempts: 1, nextAttemptAtMs: 40 }]);
});

test('a model registered at one instance is taken up by the other, byte for byte, and numbered after it', async () => {
  await using world = await twoInstances();
  const [here, there] = await Promise.all([ModelRegistry.open(world.one.models), ModelRegistry.open(world.two.models)]);
  const told: string[] = [];
  there.onChange((model, isOurs) => void told.push(`${model} ${isOurs}`));
  const bytes = Uint8Array.from({ length: 1000 }, (_, n) => n % 256);
  // Only what the store is asked by; admission is tested elsewhere.
  const version = { model: 'risk', version: 1, digest: 'd', sha256: 's', registeredAtMs: 1 } as ModelVersion;
  await world.one.models.add(version, bytes);
  await world.one.models.setAlias({ model: 'risk', alias: 'production', version: 1 });
  expect(await news(world.two)).toEqual({ notes: false, models: true });
  await Promise.all([here.refresh(), there.refresh()]);
  expect([there.resolve('risk'), told]).toEqual([version, ['risk false']]);
  expect(Buffer.from(await there.bytes(version))).toEqual(Buffer.from(bytes));
  await expect(world.two.models.add(version, bytes)).rejects.toThrow();
  expect(await news(world.two)).toEqual({ notes: false, models: false });
});

test('halts are known to all, also those told while the database was away', async () => {
  await using world = await twoInstances();
  const { one, two } = world;
  const halt = { pipeline: 'main', code: 'OPERATOR', message: 'm', fix: 'f', atMs: 5 };
  one.halts.set(halt);
  await one.save();
  expect([two.halts.get('main'), await news(two), two.halts.get('main')]).toEqual([null, { notes: true, models: false }, halt]);
  await using admin = await PgConnection.connect({ url: world.url });
  await admin.script(
    "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'tidegate state' and datname = current_database()",
  );
  expect(two.halts.clear('main')).toBe(true);
  await two.save();
  expect([await news(one), one.halts.get('main'), one.halts.clear('main')]).toEqual([{ notes: true, models: false }, null, false]);
});

test('a turn is one instance’s, until it gives it up, its session is gone, or it is silent for the lease', async () => {
  await using world = await twoInstances();
  const [a, b]: readonly [Instance, Instance] = [
    { id: 'a', host: 'h', pid: 1 },
    { id: 'b', host: 'h', pid: 1 },
  ];
  const first = await Promise.all([world.one.turns.claim('main', a, 60_000), world.two.turns.claim('main', b, 60_000)]);
  expect(first.map(({ kind }) => kind).toSorted()).toEqual(['ours', 'theirs']);
  await world.one.turns.release('main', a);
  await world.two.turns.release('main', b);
  expect(await world.one.turns.claim('main', a, 60_000)).toEqual({ kind: 'ours', isTaken: false });
  expect(await world.two.turns.claim('main', b, 60_000)).toMatchObject({ kind: 'theirs', holder: a });
  expect(await world.two.turns.claim('other', b, 60_000)).toEqual({ kind: 'ours', isTaken: false });
  // Silent: it may still think that it has it.
  await eventually(async () => (await world.two.turns.claim('main', b, 50)).kind === 'ours', 'the lease has ended');
  expect(await world.two.turns.claim('main', b, 60_000)).toEqual({ kind: 'ours', isTaken: true });
  expect(await world.one.turns.claim('main', a, 60_000)).toMatchObject({ kind: 'theirs', holder: b });
  await world.one.turns.release('main', a); // Not its own any more.
  expect(await world.one.turns.claim('main', a, 60_000)).toMatchObject({ kind: 'theirs', holder: b });
  await world.two[Symbol.asyncDispose]();
  await eventually(async () => (await world.one.turns.claim('main', a, 60_000)).kind === 'ours', 'the session is gone');
});

test('a database that is away is waited for, and one that is there and has no such database is not', async () => {
  await using database = await createDatabase(inject('targetServer'), 'shared');
  const told: string[] = [];
  const never = new AbortController().signal;
  const places = [NOWHERE, NOWHERE, database.url];
  const sleep = (): Promise<void> => Promise.resolve(void told.push('slept'));
  const open = (): Promise<State> => openServiceState(new Secret(places.shift() ?? NOWHERE));
  await using state = await whenThere(open, { ...systemClock, sleep }, never, () => void told.push('away'));
  expect([told, state.halts.get('main')]).toEqual([['away', 'slept', 'slept'], null]);
  const missing = new Secret(`${database.url}_none`);
  const opened = whenThere(
    () => openServiceState(missing),
    systemClock,
    never,
    () => void told.push('away'),
  );
  await expect(opened).rejects.toMatchObject({ code: 'STATE_UNREACHABLE' });
  expect(told).toHaveLength(3);
});

async function news(state: State): Promise<unknown> {
  return state.news?.();
}
