/** Looks every so often what has become of a pipeline's schemas: tells of changes, and has rows read anew where a change needs it. */
import type { DecideNewTables } from '../cdc/postgres/followed-tables.ts';
import type { NewTablesPolicy } from '../cdc/postgres/found-tables.ts';
import type { LiveSource } from '../core/contracts.ts';
import type { DatasetName } from '../core/event.ts';
import type { NumberedColumn } from '../core/shape.ts';
import type { Exposition } from '../ops/prometheus.ts';
import { type LeftOut, NEW_TABLE } from '../sync/postgres/new-tables.ts';
import type { SchemaChangeItem, WantedRows } from '../sync/postgres/schema-desk.ts';
import type { Desk } from './desk.ts';
import { changeId } from './schema-changes.ts';

export interface SchemaWatchParts {
  readonly pipeline: string;
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

  /** Why the pipeline is not ready; empty where nobody has to decide. */
  problems(): readonly string[] {
    return this.#open.flatMap((change) => {
      const { dataset, message, status } = change;
      const id = changeId(this.#parts.pipeline, change.id);
      if (isUnread(change))
        return status === 'held'
          ? [`${dataset} is new and is not read: \`tidegate schema approve\` of ${id} has it copied and followed`]
          : [];
      const what = status === 'rejected' ? 'was rejected' : 'waits for you';
      return [`${dataset} is parked: the change ${id} of its table ${what} (${message})`];
    });
  }

  /** Datasets that nothing is known of but that they wait for somebody. */
  get waiting(): readonly DatasetName[] {
    return this.#open.flatMap((change) => (isUnread(change) && change.status === 'held' ? [change.dataset] : []));
  }

  collect(out: Exposition): void {
    const counts = new Map<string, number>();
    for (const { dataset, status } of this.#open) {
      const key = JSON.stringify([dataset, status]);
      counts.set(key, (counts.get(key) ?? 0) + 1);
    }
    for (const [key, count] of counts) {
      const [dataset, status] = JSON.parse(key) as [string, string]; // Written above.
      const labels = { pipeline: this.#parts.pipeline, dataset, status };
      out.gauge(
        'tidegate_schema_changes_open',
        'Changes of tables, and new ones, that wait for you (held) or were rejected.',
        labels,
        count,
      );
    }
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
    const { state } = source.status();
    if (state !== 'streaming' && state !== 'snapshot') return;
    for (const wanted of await desk.withSink((sink) => sink.schemas.rereads())) {
      const columns = this.#rereading.has(wanted.dataset) ? null : await this.#columnsOf(wanted);
      if (columns === null) await this.#readRows(wanted);
      else await this.#readColumns(wanted, columns);
    }
  }

  /** What of the rows is to be read, or being so, where that is less than all of it. */
  async #columnsOf({ dataset, state, columns }: WantedRows): Promise<readonly NumberedColumn[] | null> {
    const { desk, source } = this.#parts;
    if (columns === null || source.readColumns === undefined) return null;
    if (state === 'begun') return columns;
    const shape = await desk.withSink((sink) => sink.schemas.shapeOf(dataset));
    return shape !== null && desk.mayComeAlone(dataset, shape, columns) ? columns : null;
  }

  async #readRows({ dataset, id, state }: WantedRows): Promise<void> {
    const { desk, source } = this.#parts;
    const mark = (as: 'begun' | 'done'): Promise<void> =>
      desk.withSink((sink) => sink.schemas.markReread(dataset, id, as, { asRows: true }));
    const isDone = source.progress().find((progress) => progress.dataset === dataset)?.state === 'done';
    const known = this.#rereading.get(dataset);
    if (known === id) {
      if (!isDone) return;
      await mark('done');
      this.#rereading.delete(dataset);
    } else if (known === undefined && state === 'begun' && !isDone) {
      // Begun before a restart; the lane's checkpoint has gone on with it.
      this.#rereading.set(dataset, id);
    } else if (source.readAgain(dataset)) {
      this.#rereading.set(dataset, id);
      await mark('begun');
    }
  }

  /** Begun is what a checkpoint has: what none has is asked for again, and one that is not known any more has ended. */
  async #readColumns({ dataset, id, state }: WantedRows, columns: readonly NumberedColumn[]): Promise<void> {
    const { desk, source, pipeline } = this.#parts;
    const name = `schema ${changeId(pipeline, id)}`;
    const mark = (as: 'begun' | 'done'): Promise<void> =>
      desk.withSink((sink) => sink.schemas.markReread(dataset, id, as, { asRows: false }));
    const read = state === 'begun' ? source.columnsRead?.(name) : source.readColumns?.(dataset, columns, name);
    if (read === 'ended' || (state === 'begun' && read === null)) await mark('done');
    else if (read === 'reading' && state === 'wanted') await mark('begun');
  }
}

/** Whether it is a table of which nothing is read before somebody agrees. */
const isUnread = ({ kinds }: SchemaChangeItem): boolean => kinds[0]?.kind === NEW_TABLE && kinds[0].policy === 'hold';

/** What the lane asks before it follows a new table. `makesTables`: the target is one that tables are made at, which people want to see. */
export function newTablesDesk(desk: Desk, policy: NewTablesPolicy, makesTables: boolean): DecideNewTables {
  return async ({ tables, ...question }) => {
    const asked = makesTables ? tables : tables.map(({ dataset }) => ({ dataset, shape: null }));
    const left = await desk.withSink((sink) => sink.schemas.newTables({ ...question, policy, tables: asked }));
    return new Map([...left].map(([dataset, one]) => [dataset, leftWords(one)]));
  };
}

/** Null where that it waits is said elsewhere. */
function leftWords(left: LeftOut): string | null {
  switch (left.kind) {
    case 'held':
      return null;
    case 'rejected':
      return `${left.by} rejected it (${left.why})`;
    case 'ignored':
      return 'it is new, and newTables says ignore';
  }
}
