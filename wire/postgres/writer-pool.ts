/**
 * Writers that are used again. A batch fills megabytes: taken anew each time they would stay where they are until the collector comes by, and be copied
 * each time they have to grow.
 */
import { PipelineError } from '../../core/errors.ts';
import { FrontendWriter } from './messages.ts';

const FIRST_BYTES = 1 << 18;
/** What is free beyond this is left to the collector, and so is a buffer that a large row has made larger than this. */
export const WRITERS_FREE_BYTES_MAX = 64 << 20;

export class WriterPool {
  readonly #free: FrontendWriter[] = [];
  #freeBytes = 0;

  /** What all that are free take up. */
  get freeBytes(): number {
    return this.#freeBytes;
  }

  /** An empty one. */
  take(): FrontendWriter {
    const writer = this.#free.pop();
    if (writer === undefined) return new FrontendWriter(FIRST_BYTES);
    this.#freeBytes -= writer.capacity;
    return writer.reset();
  }

  /** Nobody may read what is in it any more, or write to it. */
  release(writer: FrontendWriter): void {
    // Two batches would be written over each other.
    if (this.#free.includes(writer)) throw new PipelineError('BUG', 'a writer is released twice');
    if (this.#freeBytes + writer.capacity > WRITERS_FREE_BYTES_MAX) return;
    this.#freeBytes += writer.capacity;
    this.#free.push(writer);
  }
}
