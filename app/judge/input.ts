/** What a judgement is about: the file, the types of its columns, and what rules may ask for beside it. */
import { createWriteStream, readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { UsageError } from '../cli/arguments.ts';
import type { Types } from './cells.ts';
import { readRows, type RowFile } from './read-file.ts';

export interface JudgeInput {
  readonly path: string;
  readonly types: Types;
  /** Files by the names of their datasets. */
  readonly tables: ReadonlyMap<string, string>;
  readonly parameters: Readonly<Record<string, unknown>>;
  readonly stdin: Readable;
  readonly signal: AbortSignal;
  readonly nowMs: number;
}

/** The rows of every further table. */
export async function countTables(input: JudgeInput): Promise<ReadonlyMap<string, number>> {
  const counts = new Map<string, number>();
  for (const [name, path] of input.tables)
    counts.set(name, (await readRows({ path, stdin: input.stdin, signal: input.signal }, [], () => {})).rows);
  return counts;
}

/** Standard input can be read once alone, so it is put into a file first. */
export async function asFile<F extends RowFile & { readonly stdin: Readable }>(given: F): Promise<AsyncDisposable & { readonly file: F }> {
  if (given.path !== '-') return { file: given, [Symbol.asyncDispose]: () => Promise.resolve() };
  await using unfinished = new AsyncDisposableStack();
  const folder = await mkdtemp(join(tmpdir(), 'tidegate-rows-'));
  unfinished.defer(() => rm(folder, { recursive: true }));
  const path = join(folder, 'rows.ndjson');
  await pipeline(given.stdin, createWriteStream(path), { signal: given.signal });
  const kept = unfinished.move();
  return { file: { ...given, path }, [Symbol.asyncDispose]: () => kept.disposeAsync() };
}

export function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    throw new UsageError(`${path} cannot be read`, 'Give the path of a file that is there.');
  }
}
