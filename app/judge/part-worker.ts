/** The worker that judges a part of a file for `split.ts`. */
import { Readable } from 'node:stream';
import { parentPort } from 'node:worker_threads';
import { parseContract } from '../../quality/contract.ts';
import type { RowPart } from '../../quality/file-run.ts';
import type { Types } from './cells.ts';
import type { FilePart } from './csv-records.ts';
import type { FileShape } from './file-shape.ts';
import { judgePart, WORKING } from './part.ts';

export interface PartRequest {
  /** The rule file and where it is: it has been read without a problem. */
  readonly rules: string;
  readonly rulesPath: string;
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

async function judged({ rules, rulesPath, path, part, ...task }: PartRequest): Promise<PartAnswer> {
  const parsed = parseContract(rules, rulesPath, 'file');
  if ('problems' in parsed) return null;
  try {
    const working = () => parentPort?.postMessage(WORKING);
    const file = { path, part, working, stdin: Readable.from([]), signal: new AbortController().signal };
    const { run, rows, names, seen, end } = await judgePart(parsed.contract, file, { ...task, typeOf: () => null });
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
