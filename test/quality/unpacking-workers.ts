/** A process for worker-end.test.ts: it starts workers that do nothing but unpack, ends each of them at once, and says how many it has survived. */
import { once } from 'node:events';
import { isMainThread, parentPort } from 'node:worker_threads';
import { zstdCompressSync, zstdDecompressSync } from 'node:zlib';
import { endWorker, startWorker, uninterrupted } from '../../app/judge/worker-end.ts';

if (isMainThread) {
  const rounds = Number(process.argv[2]);
  for (let round = 0; round < rounds; round++) {
    const worker = startWorker(new URL(import.meta.url), {}, {});
    await once(worker, 'message');
    await endWorker(worker);
  }
  console.log(rounds);
} else {
  const packed = zstdCompressSync(Buffer.alloc(10, 1));
  parentPort?.postMessage('begun');
  for (;;) uninterrupted(() => zstdDecompressSync(packed));
}
