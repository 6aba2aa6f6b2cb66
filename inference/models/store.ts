/** Where the registry keeps models: the promise, and two keepers of it. The service has one in its state database. */
import { mkdir, readdir, readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Mapping } from '../mapping-schema.ts';
import type { AdmissionReport } from './admission.ts';

/** One version of a model, as kept. Never changes. */
export interface ModelVersion {
  readonly model: string;
  /** 1, 2, 3 … */
  readonly version: number;
  /** SHA-256 of the uploaded bytes and the mapping: the same upload again is the same version. Hex. */
  readonly digest: string;
  /** SHA-256 of the bytes that are served. Hex. */
  readonly sha256: string;
  readonly mapping: Mapping;
  readonly report: AdmissionReport;
  readonly registeredAtMs: number;
}

/** A name for a version that can be moved: `@production`. */
export interface ModelAlias {
  readonly model: string;
  readonly alias: string;
  readonly version: number;
}

export interface ModelStore {
  /** Everything but the bytes. */
  load(): Promise<{ readonly versions: readonly ModelVersion[]; readonly aliases: readonly ModelAlias[] }>;
  /** Durable when it resolves; rejects where the model has this version already. */
  add(version: ModelVersion, bytes: Uint8Array): Promise<void>;
  /** The bytes to serve; rejects where there are none. */
  bytes(model: string, version: number): Promise<Uint8Array>;
  /** Makes the alias, or moves it. */
  setAlias(alias: ModelAlias): Promise<void>;
}

/** Keeps models as long as the process lives: for tests and `--once` runs. */
export class MemoryModelStore implements ModelStore {
  readonly #versions: { version: ModelVersion; bytes: Uint8Array }[] = [];
  readonly #aliases = new Map<string, ModelAlias>();

  async load(): Promise<{ versions: ModelVersion[]; aliases: ModelAlias[] }> {
    return { versions: this.#versions.map(({ version }) => version), aliases: [...this.#aliases.values()] };
  }

  async add(version: ModelVersion, bytes: Uint8Array): Promise<void> {
    if (this.#find(version.model, version.version) !== undefined) throw new Error(`${version.model}@${version.version} exists`);
    this.#versions.push({ version, bytes });
  }

  async bytes(model: string, version: number): Promise<Uint8Array> {
    const found = this.#find(model, version);
    if (found === undefined) throw new Error(`there is no ${model}@${version}`);
    return found.bytes;
  }

  async setAlias(alias: ModelAlias): Promise<void> {
    this.#aliases.set(`${alias.model}@${alias.alias}`, alias);
  }

  #find(model: string, version: number): { version: ModelVersion; bytes: Uint8Array } | undefined {
    return this.#versions.find((kept) => kept.version.model === model && kept.version.version === version);
  }
}

/**
 * Keeps models in a folder: `<model>/<version>/model.onnx` and `version.json`, aliases in `<model>/aliases.json`. A version counts
 * once its `version.json` stands, which is written last. For one process at a time.
 */
export class FolderModelStore implements ModelStore {
  readonly #folder: string;

  constructor(folder: string) {
    this.#folder = folder;
  }

  async load(): Promise<{ versions: ModelVersion[]; aliases: ModelAlias[] }> {
    const versions: ModelVersion[] = [];
    const aliases: ModelAlias[] = [];
    for (const model of await entries(this.#folder)) {
      for (const entry of await entries(join(this.#folder, model))) {
        const text = await readIfThere(join(this.#folder, model, entry, 'version.json'));
        if (text !== null) versions.push(JSON.parse(text) as ModelVersion); // Our own file.
      }
      const text = await readIfThere(join(this.#folder, model, 'aliases.json'));
      for (const [alias, version] of Object.entries(JSON.parse(text ?? '{}') as Record<string, number>))
        aliases.push({ model, alias, version });
    }
    return { versions, aliases };
  }

  async add(version: ModelVersion, bytes: Uint8Array): Promise<void> {
    const folder = join(this.#folder, version.model, String(version.version));
    if ((await readIfThere(join(folder, 'version.json'))) !== null) throw new Error(`${version.model}@${version.version} exists`);
    await mkdir(folder, { recursive: true });
    await writeFile(join(folder, 'model.onnx'), bytes, { flush: true });
    await replaceFile(join(folder, 'version.json'), JSON.stringify(version, null, 2));
  }

  bytes(model: string, version: number): Promise<Uint8Array> {
    return readFile(join(this.#folder, model, String(version), 'model.onnx'));
  }

  async setAlias(alias: ModelAlias): Promise<void> {
    const file = join(this.#folder, alias.model, 'aliases.json');
    const aliases = JSON.parse((await readIfThere(file)) ?? '{}') as Record<string, number>; // Our own file.
    await replaceFile(file, JSON.stringify({ ...aliases, [alias.alias]: alias.version }));
  }
}

async function replaceFile(file: string, text: string): Promise<void> {
  await writeFile(`${file}.new`, text, { flush: true });
  await rename(`${file}.new`, file);
}

async function readIfThere(file: string): Promise<string | null> {
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    if (error instanceof Error && 'code' in error && (error.code === 'ENOENT' || error.code === 'ENOTDIR')) return null;
    throw error;
  }
}

async function entries(folder: string): Promise<string[]> {
  try {
    return await readdir(folder);
  } catch (error) {
    if (error instanceof Error && 'code' in error && (error.code === 'ENOENT' || error.code === 'ENOTDIR')) return [];
    throw error;
  }
}
