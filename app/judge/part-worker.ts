/** The worker that judges a part of a file for `split.ts`. */
import { Readable } from 'node:stream';
import { parentPort } from 'node:worker_threads';
import { parseContract } from '../../quality/contract.ts';
import type { RowPart } from '../../quality/file-run.ts';
import type { FilePart } from './csv-records.ts';
import type { FileShape } from './file-shape.ts';
import { judgePart } from './part.ts';

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
    const file = { path, part, stdin: Readable.from([]), signal: new AbortController().signal };
    const { run, rows, names, seen, end } = await judgePart(parsed.contract, file, { ...task, typeOf: () => null });
    return { parts: run.parts(), rows, names, kinds: seen.map(({ kinds }) => kinds), end };
  } catch {
    return null;
  }
}

// split.ts alone starts this, and asks for one part after the other.
parentPort?.on('message', (request: PartRequest) => void judged(request).then((answer) => parentPort?.postMessage(answer)));
