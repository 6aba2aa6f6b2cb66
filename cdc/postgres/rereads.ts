/** What is read again for somebody, from the request to its end: between who asks, the stream that reads it and the checkpoints that remember it. */
import { PipelineError } from '../../core/errors.ts';
import type { DatasetName } from '../../core/event.ts';
import type { RereadProgress, SnapshotMark } from './lane-position.ts';
import type { RereadStatus } from './reread.ts';
import type { SlotStream } from './stream.ts';

/** What has ended is told of for a while. */
const ENDED_MAX = 20;

interface Asked {
  readonly progress: RereadProgress;
  /** The step of the snapshot that it is part of, once it is begun. */
  seq: number | null;
  /** To be called once a checkpoint has it. */
  readonly begun: () => void;
}

export class Rereads {
  readonly #nameOf: (table: string) => DatasetName;
  /** Those of which no checkpoint knows yet. */
  readonly #asked = new Map<string, Asked>();
  /** Those that were taken back before that; a position that has them may still be on its way. */
  readonly #takenBack = new Set<string>();
  /** What the newest checkpoint says is being read again. */
  #open: readonly RereadProgress[] = [];
  /** The last ones that have ended, the newest first. */
  readonly #ended: RereadStatus[] = [];
  readonly #problems = new Map<string, string>();
  readonly #rowsDone = new Map<string, number>();

  constructor(nameOf: (table: string) => DatasetName) {
    this.#nameOf = nameOf;
  }

  /** How many are not at their end. */
  get count(): number {
    return this.#open.length + this.#asked.size;
  }

  /** Answers its id once a checkpoint has it. When `signal` aborts before, it is not read. `stream`: the one that reads at the time. */
  async ask(progress: RereadProgress, stream: () => SlotStream | null, signal: AbortSignal): Promise<string> {
    const { id } = progress.reread;
    const { promise, resolve, reject } = Promise.withResolvers<string>();
    this.#asked.set(id, { progress, seq: null, begun: () => resolve(id) });
    if (stream()?.reread(progress) !== true) {
      this.#asked.delete(id);
      throw new PipelineError('SOURCE_UNREACHABLE', `reading rows of ${progress.table} again: the lane does not read its source just now`);
    }
    const cut = (): void => {
      if (!this.#asked.delete(id)) return;
      this.#takenBack.add(id);
      stream()?.dropReread(id);
      reject(signal.reason);
    };
    signal.addEventListener('abort', cut, { once: true });
    if (signal.aborted) cut();
    return promise.finally(() => signal.removeEventListener('abort', cut));
  }

  /**
   * Has some columns of a table read, as part of what `progress` names, if that is not done already. It stays asked for until a checkpoint has it, whatever
   * run that is of.
   */
  askColumns(progress: RereadProgress, stream: SlotStream): void {
    const { id } = progress.reread;
    if (this.stateOf(id) !== null) return;
    this.#asked.set(id, { progress, seq: null, begun: () => {} });
    stream.reread(progress);
  }

  /** What has become of one: null where nobody has asked for it, or nobody remembers. */
  stateOf(id: string): 'asked' | 'reading' | 'ended' | null {
    if (this.#asked.has(id)) return 'asked';
    if (this.#open.some(({ reread }) => reread.id === id)) return 'reading';
    return this.#ended.some((one) => one.id === id) ? 'ended' : null;
  }

  /** A run begins at a checkpoint. */
  resume(mark: SnapshotMark | null): void {
    this.#takenBack.clear();
    this.#open = mark?.rereads ?? [];
  }

  /** What no checkpoint has is begun again in each run. */
  beginAll(stream: SlotStream): void {
    for (const asked of this.#asked.values()) {
      asked.seq = null;
      stream.reread(asked.progress);
    }
  }

  /** The positions have these from that step of the snapshot on. */
  begun(ids: readonly string[], seq: number): void {
    for (const id of ids) {
      const asked = this.#asked.get(id);
      if (asked !== undefined) asked.seq = seq;
    }
  }

  progressed({ rowsDone, reread }: RereadProgress): void {
    this.#rowsDone.set(reread.id, rowsDone);
  }

  gaveUp(id: string, why: string): void {
    this.#problems.set(id, why);
  }

  /** A checkpoint says this. What it does not know any more has ended with it. */
  acknowledged(mark: SnapshotMark | null): void {
    for (const [id, { seq, begun }] of this.#asked) {
      if (seq === null || mark === null || seq > mark.seq) continue;
      this.#asked.delete(id);
      begun();
    }
    const open = (mark?.rereads ?? []).filter(({ reread }) => !this.#takenBack.has(reread.id));
    const ended = this.#open.filter((one) => !open.some(({ reread }) => reread.id === one.reread.id));
    for (const one of ended) this.#end(one);
    this.#open = open;
  }

  /** `newest`: as far as anything was read. */
  list(newest: SnapshotMark | null): readonly RereadStatus[] {
    const read = new Map(newest?.rereads.map((one) => [one.reread.id, one]));
    return [...this.#open.map((one) => this.#statusOf(read.get(one.reread.id) ?? one, 'reading', null)), ...this.#ended];
  }

  #end(one: RereadProgress): void {
    const { id } = one.reread;
    const problem = this.#problems.get(id) ?? null;
    const rowsDone = this.#rowsDone.get(id) ?? one.rowsDone;
    this.#problems.delete(id);
    this.#rowsDone.delete(id);
    this.#ended.unshift(this.#statusOf({ ...one, rowsDone }, problem === null ? 'done' : 'failed', problem));
    this.#ended.splice(ENDED_MAX);
  }

  #statusOf({ table, rowsDone, reread }: RereadProgress, state: RereadStatus['state'], problem: string | null): RereadStatus {
    const { id, where, keys, rowsEstimated } = reread;
    const columns = reread.columns?.map(({ name }) => name) ?? null;
    return { id, dataset: this.#nameOf(table), where, keys, columns, rowsDone, rowsEstimated, state, problem };
  }
}
