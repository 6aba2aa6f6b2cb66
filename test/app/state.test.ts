/** The state file: what was said to be remembered is there again, whatever became of the process that said it. */
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import type { DatabaseSync } from 'node:sqlite';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from '../support/fast-check.ts';
import { afterAll, beforeEach, describe, expect, test } from 'vitest';
import { existingState, inTransaction, openState } from '../../app/state/database.ts';
import { type Halt, Halts } from '../../app/state/halts.ts';
import { MIGRATIONS } from '../../app/state/migrations.ts';
import { SqliteModelStore } from '../../app/state/model-store.ts';
import { SqliteOutbox } from '../../app/state/outbox.ts';
import { ModelRegistry } from '../../inference/models/registry.ts';
import { type AlertOutbox, type Delivery, memoryOutbox, type OutboxItem } from '../../ops/alerts/outbox.ts';
import { linearModel, plainMapping } from '../inference/models.ts';

const folder = mkdtempSync(join(tmpdir(), 'tidegate-state-'));
afterAll(() => rmSync(folder, { recursive: true }));
let file: string;
let files = 0;
beforeEach(() => {
  file = join(folder, 'deep', `${files++}.db`);
});

async function withState<T>(work: (database: DatabaseSync) => T | Promise<T>): Promise<T> {
  const database = openState(file);
  try {
    return await work(database);
  } finally {
    database.close();
  }
}

const halt: Halt = { pipeline: 'main', code: 'RULE_HALT', message: 'a check failed', fix: 'Look.', atMs: 5 };
const item = (n: number, rest: Partial<OutboxItem> = {}): OutboxItem => ({
  id: `msg_${n}`,
  endpoint: 'oncall',
  type: 'lane.halted',
  body: `{"n":${n}}`,
  createdAtMs: n,
  attempts: 0,
  nextAttemptAtMs: n,
  ...rest,
});

describe('the file', () => {
  test('is made with its folder, brought up to date once, and opened again as it is', async () => {
    expect(existingState(file)).toBe(null);
    expect(existsSync(file)).toBe(false);
    const version = (database: DatabaseSync) => database.prepare('pragma user_version').get()?.['user_version'];
    expect([await withState(version), await withState(version)]).toEqual([MIGRATIONS.length, MIGRATIONS.length]);
    existingState(file)?.close();
  });

  test('that a newer version wrote, or that is none, is refused as it is', async () => {
    await withState((database) => database.exec('pragma user_version = 99'));
    expect(() => openState(file)).toThrow(/written by a newer Tidegate \(99 > \d+\)/);
    const other = join(folder, 'other.db');
    writeFileSync(other, 'this is a text, and long enough to be one: '.repeat(50));
    expect(() => openState(other)).toThrow(expect.objectContaining({ code: 'CONFIG_INVALID' }));
    expect(() => openState(folder)).toThrow(expect.objectContaining({ code: 'CONFIG_INVALID' }));
  });

  test('a step that fails leaves nothing of its transaction', async () => {
    await withState((database) => {
      const halts = new Halts(database);
      expect(() =>
        inTransaction(database, () => {
          halts.set(halt);
          throw new Error('in the middle');
        }),
      ).toThrow('in the middle');
      expect(halts.get('main')).toBe(null);
    });
  });

  test('a command looks into it while the service writes', async () => {
    await withState(async (service) => {
      await withState((command) => {
        new Halts(service).set(halt);
        inTransaction(service, () => {
          new Halts(service).set({ ...halt, message: 'not yet committed' });
          expect(new Halts(command).get('main')).toEqual(halt);
        });
        expect(new Halts(command).get('main')?.message).toBe('not yet committed');
        expect(new Halts(command).clear('main')).toBe(true);
      });
      expect(new Halts(service).get('main')).toBe(null);
    });
  });

  test('a process that is killed keeps what it was told was kept, and nothing of what it was in the middle of', async () => {
    const at = (path: string) => new URL(`../../${path}`, import.meta.url).href;
    const script = `
      import { openState } from '${at('app/state/database.ts')}';
      import { Halts } from '${at('app/state/halts.ts')}';
      import { SqliteOutbox } from '${at('app/state/outbox.ts')}';
      import { SqliteModelStore } from '${at('app/state/model-store.ts')}';
      const database = openState(${JSON.stringify(file)});
      new Halts(database).set(${JSON.stringify(halt)});
      await new SqliteOutbox(database).add([${JSON.stringify(item(1))}]);
      await new SqliteModelStore(database).add({ model: 'm', version: 1, sha256: 'x' }, new Uint8Array([1, 2, 3]));
      database.exec('begin immediate');
      new Halts(database).set({ ...${JSON.stringify(halt)}, pipeline: 'other' });
      database.prepare('delete from alert_outbox').run();
      process.kill(process.pid, 'SIGKILL');
    `;
    const child = spawn(process.execPath, ['--input-type=module', '-e', script], { stdio: ['ignore', 'ignore', 'inherit'] });
    const signal = await new Promise((ended) => child.once('exit', (_code, by) => ended(by)));
    expect(signal).toBe('SIGKILL');
    await withState(async (database) => {
      expect([new Halts(database).get('main'), new Halts(database).get('other')]).toEqual([halt, null]);
      expect(await new SqliteOutbox(database).due('oncall', 10, 10)).toEqual([item(1)]);
      expect(await new SqliteModelStore(database).bytes('m', 1)).toEqual(new Uint8Array([1, 2, 3]));
    });
  });
});

test('a halt stays until it is cleared, and the newest reason counts', async () => {
  await withState((database) => new Halts(database).set(halt));
  await withState((database) => new Halts(database).set({ ...halt, code: 'OPERATOR', atMs: 9 }));
  await withState((database) => {
    const halts = new Halts(database);
    expect([halts.get('main'), halts.get('other')]).toEqual([{ ...halt, code: 'OPERATOR', atMs: 9 }, null]);
    expect([halts.clear('main'), halts.clear('main')]).toEqual([true, false]);
  });
  expect(await withState((database) => new Halts(database).get('main'))).toBe(null);
});

test('registered models, their aliases and their bytes are there again', async () => {
  const told = await withState(async (database) => {
    const registry = await ModelRegistry.open(new SqliteModelStore(database));
    for (const weight of [1, 2]) await registry.register('m', linearModel([weight, 0]), plainMapping);
    await registry.setAlias('m', 'stable', 1);
    return [registry.models(), registry.versions('m'), registry.aliases('m')];
  });
  await withState(async (database) => {
    const registry = await ModelRegistry.open(new SqliteModelStore(database));
    expect([registry.models(), registry.versions('m'), registry.aliases('m')]).toEqual(told);
    const stable = registry.resolve('m@stable');
    expect(stable === null ? null : new Uint8Array(await registry.bytes(stable))).toEqual(linearModel([1, 0]));
    expect(await registry.register('m', linearModel([2, 0]), plainMapping)).toMatchObject({ kind: 'registered', created: false });
  });
});

describe('alerts on their way', () => {
  type Step =
    | { readonly kind: 'add'; readonly ids: readonly number[] }
    | { readonly kind: 'settle'; readonly id: number; readonly as: Delivery['kind'] }
    | { readonly kind: 'reopen' };
  const step: fc.Arbitrary<Step> = fc.oneof(
    fc.record({ kind: fc.constant('add' as const), ids: fc.array(fc.nat(12), { maxLength: 4 }) }),
    fc.record({ kind: fc.constant('settle' as const), id: fc.nat(12), as: fc.constantFrom('delivered', 'retry', 'given-up') }),
    fc.constant({ kind: 'reopen' as const }),
  );
  const endpointOf = (id: number) => (id % 3 === 0 ? 'mail' : 'oncall');

  test('are kept as the outbox in memory keeps them, over any number of restarts', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 25 }), async (steps) => {
        file = join(folder, `${files++}.db`);
        let database = openState(file);
        const memory = memoryOutbox();
        const settled = new Set<number>(); // The one in memory forgets what it has settled: an id is not told of twice.
        let created = 0;
        try {
          for (const one of steps) {
            if (one.kind === 'reopen') {
              database.close();
              database = openState(file);
              continue;
            }
            const both: readonly AlertOutbox[] = [memory, new SqliteOutbox(database)];
            if (one.kind === 'add') {
              const items = one.ids
                .filter((id) => !settled.has(id))
                .map((id) => item(id, { endpoint: endpointOf(id), createdAtMs: created++ }));
              for (const outbox of both) await outbox.add(items);
            } else {
              const found = (await memory.due(endpointOf(one.id), 1e9, 99)).find(({ id }) => id === `msg_${one.id}`);
              if (found === undefined) continue;
              if (one.as !== 'retry') settled.add(one.id);
              const delivery: Delivery =
                one.as === 'delivered'
                  ? { kind: one.as, atMs: 1, status: 200 }
                  : one.as === 'retry'
                    ? { kind: one.as, atMs: 1, nextAttemptAtMs: created + 40, why: 'busy' }
                    : { kind: one.as, atMs: 1, why: 'gone' };
              for (const outbox of both) await outbox.settle(found, delivery);
            }
            const view = async (outbox: AlertOutbox) =>
              Promise.all(
                ['mail', 'oncall'].map(async (endpoint) => [
                  await outbox.due(endpoint, 6, 99),
                  await outbox.due(endpoint, 1e9, 3),
                  await outbox.nextAttemptAtMs(endpoint),
                ]),
              );
            expect(await view(new SqliteOutbox(database))).toEqual(await view(memory));
          }
        } finally {
          database.close();
        }
      }),
      { numRuns: 30 },
    );
  });

  test('are told of once under one id, and settled ones are remembered for people', async () => {
    await withState(async (database) => {
      const outbox = new SqliteOutbox(database);
      await outbox.add([item(1), item(2), item(1, { body: 'again' }), item(1, { endpoint: 'mail' })]);
      expect((await outbox.due('oncall', 10, 10)).map(({ body }) => body)).toEqual(['{"n":1}', '{"n":2}']);
      await outbox.settle(item(1), { kind: 'delivered', atMs: 7, status: 204 });
      await outbox.settle(item(2), { kind: 'given-up', atMs: 8, why: 'gone' });
      expect(outbox.deliveries(10).map(({ id, outcome, attempts }) => [id, outcome, attempts])).toEqual([
        ['msg_2', 'given-up', 1],
        ['msg_1', 'delivered', 1],
      ]);
      expect((await outbox.due('mail', 10, 10)).length).toBe(1);
    });
  });

  test('do not pile up for a receiver that is away: beyond 10,000 the oldest goes', async () => {
    await withState(async (database) => {
      const outbox = new SqliteOutbox(database);
      await outbox.add(Array.from({ length: 10_003 }, (_, n) => item(n)));
      await outbox.add([item(1, { endpoint: 'mail' })]);
      expect((await outbox.due('oncall', 1e9, 1))[0]?.id).toBe('msg_3');
      expect(database.prepare('select count(*) as n from alert_outbox').get()?.['n']).toBe(10_001);
    });
  });
});
