/** What a judgement is about: the file, the types of its columns, and what rules may ask for beside it. */
import { readFileSync } from 'node:fs';
import type { Readable } from 'node:stream';
import { UsageError } from '../cli/arguments.ts';
import type { Types } from './cells.ts';
import { readRows } from './read-file.ts';

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

/** Declared columns stand first, in their order; the others as the rows bring them. */
export function tableOrder(types: Types, seen: readonly string[]): readonly string[] {
  return [...types.keys(), ...seen.filter((column) => !types.has(column))];
}

export function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    throw new UsageError(`${path} cannot be read`, 'Give the path of a file that is there.');
  }
}
