/**
 * Large files in several parts at once. A part begins behind the first line break after its share of the file, as if that were the end of a record; whether
 * it is, the part before it tells, for it ends with its last record. Where it is not (the line break is within quotes), or a part meets anything that it does
 * not expect, nothing of it counts and the file is judged from its beginning to its end. So what is said never depends on the parts. The parts of a Parquet
 * file are of row groups, and workers judge all of them: a reader of such a file needs bounds.
 */
import { open, stat } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { Worker } from 'node:worker_threads';
import type { Contract } from '../../quality/contract.ts';
import { ColumnSeen } from '../../quality/file-columns.ts';
import type { Types } from './cells.ts';
import { type FilePart, OtherKind, WHOLE_FILE } from './csv-records.ts';
import type { JudgeInput } from './input.ts';
import { endless, SILENCE_MS_MAX } from './parquet.ts';
import { judgePart, nothingJudged, type PartJudged, type PartTask, WORKING } from './part.ts';
import type { PartAnswer, PartRequest, TypesRequest } from './part-worker.ts';
import { isParquet } from './read-file.ts';

/** A worker is started within the time in which so much is read. */
export const PART_BYTES_MIN = 1 << 24;
/** Parquet is packed, numbers and repeated texts very much so: one of its bytes may take as long as so many of another file. */
const PACKED = 32;
const PARTS_MAX = 4;
/** A row group is in memory at once. */
const MEMORY_MB_MAX = 2048;
const LINE_BYTES_MAX = 1 << 20;

export interface RuleFile {
  readonly text: string;
  readonly path: string;
}

/** How many parts a file is worth. */
export async function partCount(path: string, partBytes = PART_BYTES_MIN): Promise<number> {
  const found = await stat(path).catch(() => null);
  // What is no file is read once, from its beginning.
  const size = found?.isFile() === true ? found.size : 0;
  return Math.max(1, Math.min(PARTS_MAX, availableParallelism(), Math.floor((size * (isParquet({ path }) ? PACKED : 1)) / partBytes)));
}

/** How many workers they are for. */
export function workerCount(path: string, parts: number): number {
  return isParquet({ path }) && parts > 1 ? parts : parts - 1;
}

/** The parts of the file; one part is the whole. Only checks of single rows can be put together. */
export async function partsOf({ path }: JudgeInput, { fileChecks }: Contract, partBytes?: number): Promise<readonly FilePart[]> {
  const count = fileChecks.length > 0 ? 1 : await partCount(path, partBytes);
  if (count < 2) return [WHOLE_FILE];
  if (isParquet({ path })) return Array.from({ length: count }, (_, from) => ({ from, until: from + 1, shares: count }));
  const { size } = await stat(path);
  const starts = [0];
  for (let at = 1; at < count; at++) {
    const start = await lineBehind(path, Math.floor((size * at) / count));
    if (start !== null && start > (starts.at(-1) ?? 0) && start < size) starts.push(start);
  }
  return starts.map((from, at) => ({ from, until: starts[at + 1] ?? Infinity }));
}

async function lineBehind(path: string, place: number): Promise<number | null> {
  await using file = await open(path);
  const { buffer, bytesRead } = await file.read(Buffer.alloc(LINE_BYTES_MAX), 0, LINE_BYTES_MAX, place);
  const at = buffer.subarray(0, bytesRead).indexOf(10);
  return at < 0 ? null : place + at + 1;
}

/** All parts put together, or the only one; null where the file has to be judged in one, or is not of that shape. */
export async function judgeParts(
  contract: Contract,
  rules: RuleFile,
  input: JudgeInput,
  parts: readonly FilePart[],
  task: PartTask,
  workers: PartWorkers,
): Promise<PartJudged | null> {
  const [first = WHOLE_FILE, ...others] = parts;
  const isShared = first.shares !== undefined;
  const asked = isShared ? parts : others;
  // No function goes to another thread, and none is asked for types where there are only checks of single rows.
  const { typeOf: _, ...plain } = task;
  const answers = workers.ask(
    asked.map((part) => ({ ...plain, rules: rules.text, rulesPath: rules.path, path: input.path, part })),
    input.signal,
  );
  try {
    const own = isShared ? nothingJudged(contract, task) : await judgePart(contract, { ...input, part: first }, task);
    return together(own, await answers, asked);
  } catch (error) {
    // They are at work on what nobody asks for any more.
    await workers.end();
    if (error instanceof OtherKind) return null;
    throw error;
  }
}

function together(first: PartJudged, others: readonly PartAnswer[], parts: readonly FilePart[]): PartJudged | null {
  const { run } = first;
  let { rows, end } = first;
  const names = new Set(first.names);
  const kinds = first.seen.map((seen) => seen.kinds);
  for (const [at, answer] of others.entries()) {
    if (answer === null || end !== parts[at]?.from) return null;
    run.add(answer.parts, rows);
    rows += answer.rows;
    end = answer.end;
    for (const name of answer.names) names.add(name);
    for (const [column, own] of answer.kinds.entries()) kinds[column] = (kinds[column] ?? 0) | own;
  }
  return { run, rows, names: [...names], seen: kinds.map((own) => new ColumnSeen(own)), end };
}

/** Workers that judge parts. It takes one as long to load what it needs as it takes the thread that asks to read the rules: so they may be started before. */
export class PartWorkers implements AsyncDisposable {
  #workers: Worker[] = [];

  start(count: number): void {
    const self = import.meta.url;
    while (this.#workers.length < count) {
      const worker = new Worker(new URL(self.endsWith('.ts') ? 'part-worker.ts' : 'part-worker.js', self), {
        stdout: true,
        resourceLimits: { maxOldGenerationSizeMb: MEMORY_MB_MAX },
      });
      // What became of it is told by its answer.
      worker.on('error', () => {});
      // One that is gone before it is asked would never answer.
      worker.once('exit', () => (this.#workers = this.#workers.filter((one) => one !== worker)));
      this.#workers.push(worker);
    }
  }

  /** The types of a Parquet file, where there is a worker that has been started for it; null where another reader has to be asked. */
  async typesOf({ path }: Pick<JudgeInput, 'path'>): Promise<Types | null> {
    const [worker] = this.#workers;
    return worker === undefined || !isParquet({ path }) ? null : this.#ask<Types>(worker, { typesOf: path }, path);
  }

  async ask(requests: readonly PartRequest[], signal: AbortSignal): Promise<readonly PartAnswer[]> {
    this.start(requests.length);
    const stop = () => void this.end();
    signal.addEventListener('abort', stop, { once: true });
    try {
      return await Promise.all(
        requests.map((request, at) =>
          // Of other files the reader always comes to an end.
          this.#ask<NonNullable<PartAnswer>>(this.#workers[at], request, request.part.shares === undefined ? null : request.path),
        ),
      );
    } finally {
      signal.removeEventListener('abort', stop);
    }
  }

  /** `watched`: the file whose reader may come to no end. */
  #ask<A>(worker: Worker | undefined, request: PartRequest | TypesRequest, watched: string | null): Promise<A | null> {
    const { promise, resolve, reject } = Promise.withResolvers<A | null>();
    const silence = watched === null ? undefined : setTimeout(() => reject(endless(watched)), SILENCE_MS_MAX);
    const answered = (message: A | null | typeof WORKING) => (message === WORKING ? silence?.refresh() : resolve(message));
    // Whatever became of it, the file is judged in one.
    const gone = () => resolve(null);
    worker?.on('message', answered).on('exit', gone).postMessage(request);
    return promise.finally(() => {
      clearTimeout(silence);
      worker?.off('message', answered).off('exit', gone);
    });
  }

  async end(): Promise<void> {
    const workers = this.#workers;
    this.#workers = [];
    await Promise.all(workers.map((worker) => worker.terminate()));
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.end();
  }
}
