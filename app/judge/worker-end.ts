/**
 * Workers that unpack, and their end. Node aborts its whole process where a worker is terminated between the making of one of zlib's handles and its
 * start (the assertion "close before init" of its CompressionStream). So whoever ends a worker and the worker itself take turns by a word of memory
 * that they share: unpacking is not interrupted, and once the end has begun nothing is unpacked any more.
 */
import { Worker, workerData, type WorkerOptions } from 'node:worker_threads';

const [FREE, UNPACKING, ENDING] = [0, 1, 2];

interface Shared {
  readonly turns: Int32Array<SharedArrayBuffer>;
}

const turnsOf = new WeakMap<Worker, Shared['turns']>();

/** A worker that `endWorker` ends. It is given `data` as its `workerData`, and the shared word beside it. */
export function startWorker(url: URL, data: object, options: WorkerOptions): Worker {
  const turns = new Int32Array(new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT));
  const worker = new Worker(url, { ...options, workerData: { ...data, turns } satisfies Shared });
  turnsOf.set(worker, turns);
  return worker;
}

/** Waits until nothing is being unpacked: one page, whose size is bounded. */
export async function endWorker(worker: Worker): Promise<void> {
  const turns = turnsOf.get(worker);
  while (turns !== undefined && Atomics.compareExchange(turns, 0, FREE, ENDING) === UNPACKING)
    await Atomics.waitAsync(turns, 0, UNPACKING).value;
  await worker.terminate();
}

const own = (workerData as Partial<Shared> | null)?.turns;

/** In the worker: what `unpack` does is not interrupted. In a thread that nobody ends it is done as it is. */
export function uninterrupted<T>(unpack: () => T): T {
  if (own === undefined) return unpack();
  if (Atomics.compareExchange(own, 0, FREE, UNPACKING) === ENDING) Atomics.wait(own, 0, ENDING); // Nobody wakes it: the end is under way.
  try {
    return unpack();
  } finally {
    Atomics.store(own, 0, FREE);
    Atomics.notify(own, 0);
  }
}
