/** The worker that judges a part of a file for `split.ts`. */
import { parentPort } from 'node:worker_threads';
import type { Check } from '../../quality/contract.ts';
import { EXPECTATIONS } from '../../quality/expectations/registry.ts';
import type { RowPart, RunRules } from '../../quality/file-run.ts';
import type { Types } from './cells.ts';
import type { FilePart } from './csv-records.ts';
import type { FileShape } from './file-shape.ts';
import { WORKING } from './parquet.ts';
import { judgePart } from './part.ts';

/** The checks of a rule file as another thread can be given them: what they expect is called by its name. Their texts have been read without a problem. */
export interface SentRules extends Pick<RunRules, 'dataset' | 'schema' | 'schemaFiles'> {
  readonly checks: readonly (Omit<Check, 'expectation'> & { readonly expectation: string })[];
}

function givenRules({ checks, ...rules }: SentRules): RunRules {
  const known = checks.flatMap((check) => {
    const expectation = EXPECTATIONS.get(check.expectation);
    return expectation === undefined ? [] : { ...check, expectation };
  });
  // Where a problem stands in the file is told by the thread that has read it.
  return { ...rules, checks: known, fileChecks: [], place: (keys) => keys.join('.') };
}

export interface PartRequest {
  readonly rules: SentRules;
  readonly path: string;
  readonly part: FilePart;
  readonly shape: FileShape;
  readonly parameters: Readonly<Record<string, unknown>>;
  readonly nowMs: number;
  readonly watches: boolean;
}

/** Of a Parquet file. The thread that asks for its parts needs them first. */
export interface TypesRequest {
  readonly typesOf: string;
}

/** null: it cannot be read, and the thread that asked finds out why. */
export type TypesAnswer = Types | null;

/** null: its rows are not what they were taken for. The thread that asked finds out what that is, and tells it. */
export type PartAnswer = {
  readonly parts: readonly (RowPart | null)[];
  readonly rows: number;
  readonly names: readonly string[];
  readonly kinds: readonly number[];
  readonly end: number | null;
} | null;

async function judged({ rules, path, part, ...task }: PartRequest): Promise<PartAnswer> {
  try {
    const working = () => parentPort?.postMessage(WORKING);
    const file = { path, part, working, signal: new AbortController().signal };
    const { run, rows, names, seen, end } = await judgePart(givenRules(rules), file, { ...task, typeOf: () => null });
    return { parts: run.parts(), rows, names, kinds: seen.map(({ kinds }) => kinds), end };
  } catch {
    return null;
  }
}

async function typesIn(path: string): Promise<TypesAnswer> {
  try {
    await using file = await (await import('./parquet-file.ts')).openParquet(path);
    return new Map(file.columns.map(({ name, type }) => [name, type]));
  } catch {
    return null;
  }
}

// split.ts alone starts this, and asks for one thing after the other.
parentPort?.on('message', (request: PartRequest | TypesRequest) => {
  const asked: Promise<PartAnswer | TypesAnswer> = 'typesOf' in request ? typesIn(request.typesOf) : judged(request);
  void asked.then((answer) => parentPort?.postMessage(answer));
});
