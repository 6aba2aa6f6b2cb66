/** Registered models in the state file: what ModelRegistry keeps them by. */
import type { DatabaseSync } from 'node:sqlite';
import type { ModelAlias, ModelStore, ModelVersion } from '../../inference/models/store.ts';

export class SqliteModelStore implements ModelStore {
  readonly #database: DatabaseSync;

  constructor(database: DatabaseSync) {
    this.#database = database;
  }

  async load(): Promise<{ versions: ModelVersion[]; aliases: ModelAlias[] }> {
    const versions = this.#database.prepare('select record from model_version order by model, version').all();
    const aliases = this.#database.prepare('select model, alias, version from model_alias order by model, alias').all();
    return {
      versions: versions.map((row) => JSON.parse(String(row['record'])) as ModelVersion), // Our own record.
      aliases: aliases.map((row) => ({ model: String(row['model']), alias: String(row['alias']), version: Number(row['version']) })),
    };
  }

  async add(version: ModelVersion, bytes: Uint8Array): Promise<void> {
    this.#database
      .prepare('insert into model_version (model, version, record, bytes) values (?, ?, ?, ?)')
      .run(version.model, version.version, JSON.stringify(version), bytes);
  }

  async bytes(model: string, version: number): Promise<Uint8Array> {
    const row = this.#database.prepare('select bytes from model_version where model = ? and version = ?').get(model, version);
    const bytes = row?.['bytes'];
    if (!(bytes instanceof Uint8Array)) throw new Error(`there is no ${model}@${version}`);
    return bytes;
  }

  async setAlias({ model, alias, version }: ModelAlias): Promise<void> {
    this.#database
      .prepare(
        'insert into model_alias (model, alias, version) values (?, ?, ?) on conflict (model, alias) do update set version = excluded.version',
      )
      .run(model, alias, version);
  }
}
