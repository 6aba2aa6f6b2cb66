/**
 * The keys that have something held, as the lane that writes them knows them without asking: every such key, and perhaps some that have nothing any more.
 * People settle items behind its back, so it is read anew whenever it may have doubled since. Up to a number keys are known one by one; beyond it by a Bloom filter,
 * which takes four bytes a key and never says no of one that is in it. A key that is wrongly said to be there costs its batch the careful road, which asks.
 */
import type { Quarantined } from '../../core/contracts.ts';
import type { PgConnection } from '../../wire/postgres/connection.ts';
import { keysOf, refOf } from './held-keys.ts';

export interface KnownHeldLimits {
  /** So many keys are known one by one. */
  readonly exact: number;
  /** It is not read anew for fewer keys than this. */
  readonly growth: number;
  /** Rows that are read at once. */
  readonly page: number;
}

const LIMITS: KnownHeldLimits = { exact: 100_000, growth: 10_000, page: 10_000 };
const FIRST_SQL = 'select dataset, key from tidegate.held_keys order by dataset, key limit $1';
const NEXT_SQL = 'select dataset, key from tidegate.held_keys where (dataset, key) > ($2, $3) order by dataset, key limit $1';

export class KnownHeld {
  readonly #limits: KnownHeldLimits;
  #keys: KeySet = new Set();
  /** Of items that are held by batches which are not in yet, by their ids: the target may not have these keys. */
  readonly #pending = new Map<string, readonly string[]>();
  #dueAt = 0;

  constructor(limits: Partial<KnownHeldLimits> = {}) {
    this.#limits = { ...LIMITS, ...limits };
  }

  /** 0 where nothing is held. */
  get size(): number {
    return this.#keys.size;
  }

  /** Whether to `read` before the next batch. */
  get isDue(): boolean {
    return this.#keys.size >= this.#dueAt;
  }

  /** `ref` as `refOf` has it. */
  has(ref: string): boolean {
    return this.#keys.has(ref);
  }

  /** The target has nothing held of these. What batches bring that are not in yet stays. */
  forget(refs: readonly string[]): void {
    if (refs.length === 0) return;
    const pending = new Set([...this.#pending.values()].flat());
    for (const ref of refs) if (!pending.has(ref)) this.#keys.delete(ref);
  }

  /** Before a batch is sent that holds them. */
  remember(held: readonly Quarantined[]): void {
    for (const { id, event } of held) {
      const refs = keysOf(event).map((key) => refOf(event.dataset.name, key));
      this.#pending.set(id, refs);
      for (const ref of refs) this.#keys.add(ref);
    }
  }

  /** The batch that holds them is in. */
  applied(held: readonly Quarantined[]): void {
    for (const { id } of held) this.#pending.delete(id);
  }

  /** For a run that begins: what an earlier one had prepared never comes. */
  async begin(sql: Pick<PgConnection, 'query'>): Promise<void> {
    this.#pending.clear();
    await this.read(sql);
  }

  /** Reads what the target has, outside of transactions. Batches may be prepared meanwhile, but none is applied. */
  async read(sql: Pick<PgConnection, 'query'>): Promise<void> {
    const { exact, growth, page: rowsMax } = this.#limits;
    let keys: KeySet = new Set();
    for (let page = (await sql.query(FIRST_SQL, [rowsMax])).rows; page.length > 0;) {
      for (const [dataset, key] of page) keys.add(refOf(dataset ?? '', key ?? ''));
      if (keys instanceof Set && keys.size > exact) {
        const count = Number((await sql.query('select count(*) from tidegate.held_keys')).rows[0]?.[0] ?? 0);
        keys = bloomOf(keys, 2 * Math.max(count, keys.size));
      }
      const [dataset = '', key = ''] = page.at(-1) ?? [];
      page = page.length < rowsMax ? [] : (await sql.query(NEXT_SQL, [rowsMax, dataset, key])).rows;
    }
    for (const refs of this.#pending.values()) for (const ref of refs) keys.add(ref);
    this.#keys = keys;
    this.#dueAt = Math.max(2 * keys.size, keys.size + growth);
  }
}

interface KeySet {
  /** How many were added. */
  readonly size: number;
  has(ref: string): boolean;
  add(ref: string): unknown;
  delete(ref: string): unknown;
}

function bloomOf(keys: Iterable<string>, capacity: number): BloomFilter {
  const filter = new BloomFilter(capacity);
  for (const key of keys) filter.add(key);
  return filter;
}

const BITS_A_KEY = 32;
const PROBES = 12;
/** At most 128 MB; with more keys than these hold it says yes more often. */
const BITS_MAX = 2 ** 30;

/** With as many keys as it was made for, one in three million that was never added is taken for one. */
class BloomFilter implements KeySet {
  readonly #words: Uint32Array;
  /** A power of two less one. */
  readonly #mask: number;
  size = 0;

  constructor(capacity: number) {
    const bits = Math.min(BITS_MAX, 2 ** Math.ceil(Math.log2(Math.max(1024, capacity * BITS_A_KEY))));
    this.#words = new Uint32Array(bits / 32);
    this.#mask = bits - 1;
  }

  add(ref: string): void {
    this.size++;
    for (const bit of this.#bitsOf(ref)) this.#words[bit >>> 5] = (this.#words[bit >>> 5] ?? 0) | (1 << (bit & 31));
  }

  has(ref: string): boolean {
    for (const bit of this.#bitsOf(ref)) if (((this.#words[bit >>> 5] ?? 0) & (1 << (bit & 31))) === 0) return false;
    return true;
  }

  /** What others have set as well cannot be taken back: it is gone with the next reading. */
  delete(): void {}

  /** Two hashes make all of them (Kirsch and Mitzenmacher, 2006). */
  *#bitsOf(ref: string): Generator<number> {
    const [first, second] = [hashOf(ref, 0x811c9dc5), hashOf(ref, 0x9747b28c) | 1];
    for (let probe = 0; probe < PROBES; probe++) yield (first + Math.imul(probe, second)) & this.#mask;
  }
}

/** FNV-1a over UTF-16 units, and the end of MurmurHash3 so that every bit counts. */
function hashOf(text: string, seed: number): number {
  let hash = seed;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return hash ^ (hash >>> 16);
}
