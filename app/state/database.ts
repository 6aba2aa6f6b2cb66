/** The SQLite file in which the service keeps what it itself must remember over a restart. */
import { existsSync, mkdirSync } from 'node:fs';
import { dirname } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { PipelineError } from '../../core/errors.ts';
import { MIGRATIONS } from './migrations.ts';

/**
 * Opens or makes the file and brings its tables up to date. WAL: a reader (the CLI beside a running service) and the writer do not
 * wait for each other. `synchronous = full`: what was said to be remembered is, after a power cut too.
 */
export function openState(file: string): DatabaseSync {
  let database: DatabaseSync;
  try {
    if (file !== ':memory:') mkdirSync(dirname(file), { recursive: true });
    database = new DatabaseSync(file, { enableForeignKeyConstraints: true, timeout: 5000 });
  } catch (error) {
    throw new PipelineError('CONFIG_INVALID', `the state file ${file} cannot be opened: check its folder's permissions`, { cause: error });
  }
  try {
    database.exec('pragma journal_mode = wal; pragma synchronous = full;');
    migrate(database, file);
    return database;
  } catch (error) {
    database.close();
    if (error instanceof PipelineError) throw error;
    throw new PipelineError('CONFIG_INVALID', `the state file ${file} cannot be used: is it a SQLite file, on a disk with space?`, {
      cause: error,
    });
  }
}

/** One transaction: all of `work` or nothing. */
export function inTransaction<T>(database: DatabaseSync, work: () => T): T {
  database.exec('begin immediate');
  try {
    const result = work();
    database.exec('commit');
    return result;
  } catch (error) {
    // SQLite has done so by itself where the disk is full.
    if (database.isTransaction) database.exec('rollback');
    throw error;
  }
}

function migrate(database: DatabaseSync, file: string): void {
  inTransaction(database, () => {
    const version = Number(database.prepare('pragma user_version').get()?.['user_version'] ?? 0);
    if (version > MIGRATIONS.length) {
      throw new PipelineError(
        'CONFIG_INVALID',
        `the state file ${file} was written by a newer Tidegate (${version} > ${MIGRATIONS.length}): update, or name another file`,
      );
    }
    for (const step of MIGRATIONS.slice(version)) database.exec(step);
    database.exec(`pragma user_version = ${MIGRATIONS.length}`);
  });
}

/** The state file where there is one, for a command that only looks; null where there is none yet. */
export function existingState(file: string): DatabaseSync | null {
  return existsSync(file) ? openState(file) : null;
}
