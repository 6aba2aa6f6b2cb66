/** Looks every so often what has become of a pipeline's schemas: tells of changes, and has rows read anew where a change needs it. */
import type { LiveSource } from '../core/contracts.ts';
import type { DatasetName } from '../core/event.ts';
import type { SchemaChangeItem } from '../sync/postgres/schema-desk.ts';
import type { Desk } from './desk.ts';

export interface SchemaWatchParts {
  readonly desk: Desk;
  readonly source: LiveSource;
  readonly tell: (data: { dataset: string; changes: readonly string[]; policy: string }) => void;
}

/** Changes that are looked at in one go: more of them are told of the next time. */
const LOOK_MAX = 100;

export class SchemaWatch {
  readonly #parts: SchemaWatchParts;
  #open: readonly SchemaChangeItem[] = [];
  /** The newest change that was told of; null before the first look. */
  #told: bigint | null = null;
  /** The change for which each dataset is being read anew. */
  readonly #rereading = new Map<DatasetName, string>();

  constructor(parts: SchemaWatchParts) {
    this.#parts = parts;
  }

  /** Changes that wait for a person or were rejected, newest first. */
  get open(): readonly SchemaChangeItem[] {
    return this.#open;
  }

  async look(): Promise<void> {
    const { desk } = this.#parts;
    const newest = await desk.withSink((sink) => sink.schemas.list({ open: false, limit: LOOK_MAX }));
    this.#tellOf(newest);
    this.#open =
      newest.some(({ status }) => status === 'held' || status === 'rejected') || newest.length === LOOK_MAX
        ? await desk.withSink((sink) => sink.schemas.list({ open: true, limit: LOOK_MAX }))
        : [];
    await this.#readAgain();
  }

  #tellOf(newest: readonly SchemaChangeItem[]): void {
    const last = this.#told;
    this.#told = newest[0] === undefined ? (last ?? 0n) : BigInt(newest[0].id);
    if (last === null) return;
    for (const { id, dataset, kinds, status, message } of newest.toReversed()) {
      if (BigInt(id) <= last) continue;
      const changes = kinds.length === 0 ? [message] : kinds.map((kind) => kind.message);
      this.#parts.tell({ dataset, changes, policy: status === 'held' ? 'hold' : 'accept' });
    }
  }

  async #readAgain(): Promise<void> {
    const { desk, source } = this.#parts;
    const { state: sourceState } = source.status();
    if (sourceState !== 'streaming' && sourceState !== 'snapshot') return;
    for (const { dataset, id, state } of await desk.withSink((sink) => sink.schemas.rereads())) {
      const isDone = source.progress().find((progress) => progress.dataset === dataset)?.state === 'done';
      const known = this.#rereading.get(dataset);
      if (known === id) {
        if (!isDone) continue;
        await desk.withSink((sink) => sink.schemas.markReread(dataset, id, 'done'));
        this.#rereading.delete(dataset);
      } else if (known === undefined && state === 'begun' && !isDone) {
        // Begun before a restart; the lane's checkpoint has gone on with it.
        this.#rereading.set(dataset, id);
      } else if (source.readAgain(dataset)) {
        this.#rereading.set(dataset, id);
        await desk.withSink((sink) => sink.schemas.markReread(dataset, id, 'begun'));
      }
    }
  }
}
