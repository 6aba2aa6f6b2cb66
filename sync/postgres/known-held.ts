/**
 * The keys that have something held, as the lane that writes them knows them without asking: every such key, and perhaps some that have nothing any more.
 * People settle items behind its back, so it is read anew whenever it may have doubled since. Up to a number keys are known one by one; beyond it by a Bloom filter,
 * which takes four bytes a key and never says no of one that is in it. A key that is wrongly said to be there costs its batch the careful road, which asks.
 */
import type { Quarantined } from '../../core/contracts.ts';
import type { PgConnection } from '../../wire/postgres/connection.ts';
import { keyOfRef, type KeyRef, keysOf, refOf } from './held-keys.ts';

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

/** The keys of one dataset. */
export interface HeldOf {
  has(key: string): boolean;
}

export class KnownHeld {
  readonly #limits: KnownHeldLimits;
  #keys: Keys = new ExactKeys();
  /** Of items that are held by batches which are not in yet, by their ids: the target may not have these keys. */
  readonly #pending = new Map<string, readonly KeyRef[]>();
  #dueAt = 0;
  #revision = 0;

  constructor(limits: Partial<KnownHeldLimits> = {}) {
    this.#limits = { ...LIMITS, ...limits };
  }

  /** 0 where nothing is held. */
  get size(): number {
    return this.#keys.size;
  }

  /** Another one once there are keys that were not there before. */
  get revision(): number {
    return this.#revision;
  }

  /** Whether to `read` before the next batch. */
  get isDue(): boolean {
    return this.#keys.size >= this.#dueAt;
  }

  /** Null where nothing is held of the dataset: then none of its events has to be looked at. For as long as nothing is remembered or read. */
  of(dataset: string): HeldOf | null {
    return this.#keys.of(dataset);
  }

  /** The target has nothing held of these, each as `refOf` has it. What batches bring that are not in yet stays. */
  forget(refs: readonly string[]): void {
    if (refs.length === 0) return;
    const pending = new Set([...this.#pending.values()].flat().map(({ dataset, key }) => refOf(dataset, key)));
    for (const ref of refs) {
      const { dataset, key } = keyOfRef(ref);
      if (!pending.has(ref)) this.#keys.delete(dataset, key);
    }
  }

  /** Before a batch is sent that holds them. */
  remember(held: readonly Quarantined[]): void {
    const before = this.#keys.size;
    for (const { id, event } of held) {
      const refs = keysOf(event).map((key): KeyRef => ({ dataset: event.dataset.name, key }));
      this.#pending.set(id, refs);
      for (const { dataset, key } of refs) this.#keys.add(dataset, key);
    }
    if (this.#keys.size > before) this.#revision++;
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
    let keys: Keys = new ExactKeys();
    for (let page = (await sql.query(FIRST_SQL, [rowsMax])).rows; page.length > 0;) {
      for (const [dataset, key] of page) keys.add(dataset ?? '', key ?? '');
      if (keys instanceof ExactKeys && keys.size > exact) {
        const count = Number((await sql.query('select count(*) from tidegate.held_keys')).rows[0]?.[0] ?? 0);
        keys = keys.filtered(2 * Math.max(count, keys.size));
      }
      const [dataset = '', key = ''] = page.at(-1) ?? [];
      page = page.length < rowsMax ? [] : (await sql.query(NEXT_SQL, [rowsMax, dataset, key])).rows;
    }
    for (const refs of this.#pending.values()) for (const { dataset, key } of refs) keys.add(dataset, key);
    this.#keys = keys;
    this.#revision++;
    this.#dueAt = Math.max(2 * keys.size, keys.size + growth);
  }
}

interface Keys {
  /** How many were added. */
  readonly size: number;
  of(dataset: string): HeldOf | null;
  add(dataset: string, key: string): void;
  delete(dataset: string, key: string): void;
}

class ExactKeys implements Keys {
  readonly #byDataset = new Map<string, Set<string>>();
  size = 0;

  of(dataset: string): HeldOf | null {
    return this.#byDataset.get(dataset) ?? null;
  }

  add(dataset: string, key: string): void {
    let keys = this.#byDataset.get(dataset);
    if (keys === undefined) this.#byDataset.set(dataset, (keys = new Set()));
    const before = keys.size;
    keys.add(key);
    this.size += keys.size - before;
  }

  delete(dataset: string, key: string): void {
    const keys = this.#byDataset.get(dataset);
    if (keys?.delete(key) !== true) return;
    this.size--;
    if (keys.size === 0) this.#byDataset.delete(dataset);
  }

  /** The same keys, in a filter with room for as many as `capacity`. */
  filtered(capacity: number): FilteredKeys {
    const filtered = new FilteredKeys(capacity);
    for (const [dataset, keys] of this.#byDataset) for (const key of keys) filtered.add(dataset, key);
    return filtered;
  }
}

const BITS_A_KEY = 32;
const PROBES = 12;
/** At most 128 MB; with more keys than these hold it says yes more often. */
const BITS_MAX = 2 ** 30;

/** A Bloom filter. With as many keys as it was made for, one in three million that was never added is taken for one. */
class FilteredKeys implements Keys {
  readonly #words: Uint32Array;
  /** A power of two less one. */
  readonly #mask: number;
  readonly #byDataset = new Map<string, KeyProbes>();
  size = 0;

  constructor(capacity: number) {
    const bits = Math.min(BITS_MAX, 2 ** Math.ceil(Math.log2(Math.max(1024, capacity * BITS_A_KEY))));
    this.#words = new Uint32Array(bits / 32);
    this.#mask = bits - 1;
  }

  of(dataset: string): HeldOf | null {
    return this.#byDataset.get(dataset) ?? null;
  }

  add(dataset: string, key: string): void {
    let probes = this.#byDataset.get(dataset);
    if (probes === undefined) this.#byDataset.set(dataset, (probes = new KeyProbes(dataset, this.#words, this.#mask)));
    probes.add(key);
    this.size++;
  }

  /** What others have set as well cannot be taken back: it is gone with the next reading. */
  delete(): void {}
}

/** Where the keys of one dataset stand in the filter. Two hashes make all of their places (Kirsch and Mitzenmacher, 2006). */
class KeyProbes implements HeldOf {
  readonly #words: Uint32Array;
  readonly #mask: number;
  /** Of what stands before each key. */
  readonly #first: number;
  readonly #step: number;

  constructor(dataset: string, words: Uint32Array, mask: number) {
    this.#words = words;
    this.#mask = mask;
    this.#first = hashOn(0x811c9dc5, refOf(dataset, ''));
    this.#step = hashOn(0x9747b28c, refOf(dataset, ''));
  }

  add(key: string): void {
    const step = this.#stepOf(key);
    for (let probe = 0, at = this.#firstOf(key); probe < PROBES; probe++, at = (at + step) | 0) {
      const bit = at & this.#mask;
      this.#words[bit >>> 5] = (this.#words[bit >>> 5] ?? 0) | (1 << (bit & 31));
    }
  }

  has(key: string): boolean {
    const step = this.#stepOf(key);
    for (let probe = 0, at = this.#firstOf(key); probe < PROBES; probe++, at = (at + step) | 0) {
      const bit = at & this.#mask;
      if (((this.#words[bit >>> 5] ?? 0) & (1 << (bit & 31))) === 0) return false;
    }
    return true;
  }

  #firstOf(key: string): number {
    return mixed(hashOn(this.#first, key));
  }

  #stepOf(key: string): number {
    return mixed(hashOn(this.#step, key)) | 1;
  }
}

/** FNV-1a over UTF-16 units, going on from `hash` … */
function hashOn(hash: number, text: string): number {
  let on = hash;
  for (let i = 0; i < text.length; i++) on = Math.imul(on ^ text.charCodeAt(i), 0x01000193);
  return on;
}

/** … and the end of MurmurHash3, so that every bit counts. */
function mixed(hash: number): number {
  let bits = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  bits = Math.imul(bits ^ (bits >>> 13), 0xc2b2ae35);
  return bits ^ (bits >>> 16);
}
