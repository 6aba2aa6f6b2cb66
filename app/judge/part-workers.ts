/** Workers that judge parts of files for `split.ts`, and how many a file is worth. Little is loaded for this: they are to be at work while all else is. */
import { stat } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import type { Worker } from 'node:worker_threads';
import type { Types } from './cells.ts';
import { isParquet } from './file-kind.ts';
import type { JudgeInput } from './input.ts';
import { packingOf } from './packing.ts';
import { endless, SILENCE_MS_MAX, WORKING } from './parquet.ts';
import type { PartAnswer, PartRequest, TypesRequest } from './part-worker.ts';
import { endWorker, startWorker } from './worker-end.ts';

/** A worker is started within the time in which so much is read. */
export const PART_BYTES_MIN = 1 << 24;
/** Parquet is packed, numbers and repeated texts very much so: one of its bytes may take as long as so many of another file. */
const PACKED = 32;
const PARTS_MAX = 4;
/** A row group is in memory at once. */
const MEMORY_MB_MAX = 2048;

/** How many parts a file is worth: Parquet one for each worker that judges it. */
export async function partCount(path: string, partBytes = PART_BYTES_MIN): Promise<number> {
  const found = await stat(path).catch(() => null);
  // What is no file, or is packed, is read once, from its beginning.
  const size = found?.isFile() === true && isPlain(path) ? found.size : 0;
  return Math.max(1, Math.min(PARTS_MAX, availableParallelism(), Math.floor((size * (isParquet({ path }) ? PACKED : 1)) / partBytes)));
}

function isPlain(path: string): boolean {
  try {
    return packingOf(path) === null;
  } catch {
    return false; // Whoever reads it says what is wrong with it.
  }
}

/** How many workers they are for: the reader of Parquet needs bounds, and is never the thread that asks. */
export function workerCount(path: string, parts: number): number {
  return isParquet({ path }) ? parts : parts - 1;
}

/** It takes one as long to load what it needs as it takes the thread that asks to load all else and to read the rules: so they may be started before. */
export class PartWorkers implements AsyncDisposable {
  #workers: Worker[] = [];
  /** What they say of the types of a Parquet file, which they were asked when they were started. */
  #types: { readonly path: string; readonly answers: Promise<readonly (Types | null)[]> } | null = null;

  /** For a file: of Parquet, they begin by reading what it says of itself. */
  startFor(path: string, count: number): void {
    this.start(count);
    if (!isParquet({ path }) || count === 0) return;
    const answers = Promise.all(this.#workers.map((worker) => this.#ask<Types>(worker, { typesOf: path }, path)));
    answers.catch(() => {}); // Told to whoever asks for it.
    this.#types = { path, answers };
  }

  start(count: number): void {
    const self = import.meta.url;
    while (this.#workers.length < count) {
      const worker = startWorker(
        new URL(self.endsWith('.ts') ? 'part-worker.ts' : 'part-worker.js', self),
        {},
        {
          stdout: true,
          resourceLimits: { maxOldGenerationSizeMb: MEMORY_MB_MAX },
        },
      );
      // What became of it is told by its answer.
      worker.on('error', () => {});
      // One that is gone before it is asked would never answer.
      worker.once('exit', () => (this.#workers = this.#workers.filter((one) => one !== worker)));
      this.#workers.push(worker);
    }
  }

  /** The types of a Parquet file, where there is a worker that has been started for it; null where another reader has to be asked. */
  async typesOf({ path }: Pick<JudgeInput, 'path'>): Promise<Types | null> {
    if (this.#types?.path === path) {
      const [types = null] = await this.#types.answers;
      this.#types = null;
      return types;
    }
    const [worker] = this.#workers;
    return worker === undefined || !isParquet({ path }) ? null : this.#ask<Types>(worker, { typesOf: path }, path);
  }

  async ask(requests: readonly PartRequest[], signal: AbortSignal): Promise<readonly PartAnswer[]> {
    // One thing after the other. Where nothing is under way they are asked at once, before the thread that asks begins with its own part.
    if (this.#types !== null) await this.#types.answers;
    // Those that were stopped have given no answer, and whoever wants all of it again would start others.
    signal.throwIfAborted();
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
    await Promise.all(workers.map(endWorker));
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.end();
  }
}
