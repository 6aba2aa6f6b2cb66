/** What a socket reads into: every message arrives whole, and memory for it is not made anew again and again. */
import { expect, test } from 'vitest';
import { SETTLED_BYTES, Slab, SLAB_BYTES, STAYS_BYTES } from '../../wire/postgres/slab.ts';
import { Random } from '../support/random.ts';

/** A slab whose messages are a length and as many bytes of one value, sent as reads of any size find room for them. */
class Wire {
  readonly slab = new Slab();
  read = 0;
  /** Memory that was made for it, the first not counted. */
  made = 0;
  largest = SLAB_BYTES;
  readonly #random: Random;
  #memory: ArrayBufferLike;
  #waiting = Buffer.alloc(0);
  #sent = 0;
  #arrived = 0;

  constructor(random: Random) {
    this.#random = random;
    this.#memory = this.slab.buffer().buffer;
    this.slab.take((bytes, fresh) => this.#take(bytes, fresh));
  }

  get size(): number {
    return this.#memory.byteLength;
  }

  /** Sends the messages, the last of them to its end. */
  send(sizes: readonly number[]): void {
    for (const size of sizes) {
      const message = Buffer.alloc(size, this.#sent++ & 0xff);
      message.writeInt32BE(size, 0);
      this.#waiting = Buffer.concat([this.#waiting, message]);
      while (this.#waiting.length > SLAB_BYTES) this.#arrive();
    }
    while (this.#waiting.length > 0) this.#arrive();
    expect(this.#arrived).toBe(this.#sent);
  }

  /** One read, as a socket does it: into what room there is. */
  #arrive(): void {
    const room = this.slab.buffer();
    expect(room.length).toBeGreaterThan(0);
    const length = Math.min(room.length, this.#waiting.length, 1 + this.#random.below(1 << 16));
    this.#waiting.copy(room, 0, 0, length);
    this.#waiting = this.#waiting.subarray(length);
    this.read += length;
    this.slab.callback(length);
    const { buffer } = this.slab.buffer();
    if (buffer === this.#memory) return;
    this.#memory = buffer;
    this.made += buffer.byteLength;
    this.largest = Math.max(this.largest, buffer.byteLength);
  }

  #take(bytes: Buffer, fresh: number): number {
    expect(fresh).toBeLessThanOrEqual(bytes.length);
    let at = 0;
    while (bytes.length - at >= 4) {
      const end = at + bytes.readInt32BE(at);
      if (end > bytes.length) break;
      const value = this.#arrived++ & 0xff;
      // Every byte would take long: the first, the last and one in between.
      const middle = at + 4 + this.#random.below(Math.max(1, end - at - 4));
      if (end - at > 4) expect([bytes[at + 4], bytes[middle], bytes[end - 1]]).toEqual([value, value, value]);
      at = end;
    }
    return at;
  }
}

test.each([1, 2, 3])(
  'messages of any size arrive whole, and cost memory for one in sixteen at most while they are not huge (seed %i)',
  (seed) => {
    const random = new Random(seed);
    const wire = new Wire(random);
    // Between half of a slab and half of what stays: those for which it would have to grow each time.
    for (let round = 0; round < 100; round++) {
      const size = random.chance(0.5) ? 4 + random.below(500) : SLAB_BYTES / 2 + random.below(STAYS_BYTES / 2 - SLAB_BYTES / 2);
      wire.send(Array.from({ length: random.chance(0.5) ? 1 : 8 }, () => size));
    }
    expect(wire.read).toBeGreaterThan(2 * SETTLED_BYTES);
    expect(wire.largest).toBe(STAYS_BYTES);
    expect(wire.made).toBeLessThan(2 * STAYS_BYTES + (wire.read / SETTLED_BYTES) * 2 * STAYS_BYTES);
  },
);

test.each([1, 2])('one huge message leaves nothing behind, and large ones nothing for long (seed %i)', (seed) => {
  const random = new Random(seed);
  const wire = new Wire(random);
  wire.send([5_000_000]);
  expect(wire.largest).toBeLessThanOrEqual(16 << 20);
  expect(wire.size).toBe(STAYS_BYTES);
  for (let read = 0; read < 2 * SETTLED_BYTES + (1 << 20); read += 8 * 65_000) wire.send(Array.from({ length: 8 }, () => 65_000));
  expect(wire.size).toBe(SLAB_BYTES);
});
