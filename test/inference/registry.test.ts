/** Versions, aliases and keeping them. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { ModelRegistry, type Registration } from '../../inference/models/registry.ts';
import { FolderModelStore, MemoryModelStore, type ModelStore } from '../../inference/models/store.ts';
import { linearModel, plainMapping } from './models.ts';

const brief = (registration: Registration) =>
  registration.kind === 'registered'
    ? `${registration.created ? 'new' : 'old'} ${registration.version.version}`
    : registration.findings.map(({ rule }) => rule).join();

test('versions count up, the same upload is the same version, and a bad one leaves everything as it was', async () => {
  const registry = await ModelRegistry.open(new MemoryModelStore());
  const register = async (weight: number, mapping: unknown = plainMapping) =>
    brief(await registry.register('m', linearModel([weight, 0]), mapping));
  const seen: string[] = [];
  registry.onChange((model) => seen.push(`${model}@${registry.resolve('m')?.version ?? 'none'}`));
  expect([await register(1), await register(2), await register(1)]).toEqual(['new 1', 'new 2', 'old 1']);
  expect(seen).toEqual(['m@1', 'm@2', 'm@1']);
  expect(await register(1, { ...plainMapping, golden: [{ row: { a: 1 }, score: 1 }] })).toBe('new 3');
  expect(await register(1, { ...plainMapping, features: [] })).toBe('MAPPING');
  expect(await register(1, { ...plainMapping, features: plainMapping.features.slice(1) })).toBe('INPUT_MISMATCH');
  expect(registry.versions('m').map(({ version }) => version)).toEqual([1, 2, 3]);
  expect(registry.models()).toEqual(['m']);
});

test('references mean a number, an alias, or production', async () => {
  const registry = await ModelRegistry.open(new MemoryModelStore());
  for (const weight of [1, 2]) await registry.register('m', linearModel([weight, 0]), plainMapping);
  await registry.register('m', linearModel([3, 0]), plainMapping, { promote: false });
  expect(await registry.setAlias('m', 'canary', 3)).toBe(true);
  expect(await registry.setAlias('m', 'canary', 4)).toBe(false);
  const resolved = ['m', 'm@production', 'm@1', 'm@canary', 'm@4', 'm@nobody', 'other'].map(
    (reference) => registry.resolve(reference)?.version ?? null,
  );
  expect(resolved).toEqual([2, 2, 1, 3, null, null, null]);
  expect(registry.aliases('m')).toEqual([
    { model: 'm', alias: 'production', version: 2 },
    { model: 'm', alias: 'canary', version: 3 },
  ]);
});

test('the first version is production even where nobody promotes it', async () => {
  const registry = await ModelRegistry.open(new MemoryModelStore());
  await registry.register('m', linearModel([1, 0]), plainMapping, { promote: false });
  expect(registry.resolve('m')?.version).toBe(1);
});

test('uploads at once are numbered in their order', async () => {
  const registry = await ModelRegistry.open(new MemoryModelStore());
  const registrations = await Promise.all([1, 2, 2, 3].map((weight) => registry.register('m', linearModel([weight, 0]), plainMapping)));
  expect(registrations.map(brief)).toEqual(['new 1', 'new 2', 'old 2', 'new 3']);
});

test('what a folder keeps is there again after a restart', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'tidegate-models-'));
  try {
    const registry = await ModelRegistry.open(new FolderModelStore(folder));
    for (const weight of [1, 2]) await registry.register('m', linearModel([weight, 0]), plainMapping);
    await registry.setAlias('m', 'stable', 1);
    const again = await ModelRegistry.open(new FolderModelStore(folder));
    expect([again.versions('m'), again.aliases('m')]).toEqual([registry.versions('m'), registry.aliases('m')]);
    const version = again.resolve('m@stable');
    expect(version === null ? null : new Uint8Array(await again.bytes(version))).toEqual(linearModel([1, 0]));
    expect(brief(await again.register('m', linearModel([2, 0]), plainMapping))).toBe('old 2');
  } finally {
    await rm(folder, { recursive: true });
  }
});

const stores: readonly [string, () => Promise<ModelStore>][] = [
  ['memory', async () => new MemoryModelStore()],
  ['a folder', async () => new FolderModelStore(join(tmpdir(), `tidegate-none-${process.pid}`))],
];
test.each(stores)('%s without models is empty and says so', async (_name, make) => {
  const store = await make();
  expect(await store.load()).toEqual({ versions: [], aliases: [] });
  await expect(store.bytes('m', 1)).rejects.toThrow();
});
