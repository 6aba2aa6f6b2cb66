/** A pipeline from one database to another that runs until the target has all that there is. */
import { postgresSource } from '../../cdc/postgres/source.ts';
import type { Source, Stage } from '../../core/contracts.ts';
import { runPipeline } from '../../core/pipeline.ts';
import { type DatasetsOptions, postgresSink } from '../../sync/postgres/sink.ts';
import type { PgConnection } from '../../wire/postgres/connection.ts';
import type { TestDatabase } from '../support/databases.ts';

const never = new AbortController().signal;

export interface Road {
  readonly from: TestDatabase;
  readonly to: TestDatabase;
  readonly tables: readonly string[];
  /** A new row of the table `marks`, behind all others. */
  readonly mark: number;
  readonly stages?: readonly Stage[];
  readonly datasets?: DatasetsOptions;
  readonly rowBytes?: number;
  /** Somebody else makes the mark, when all is written. */
  readonly isMarked?: boolean;
}

/** Runs the pipeline until the target has all that the source has now. */
export async function sync(
  source: PgConnection,
  target: PgConnection,
  { from, to, tables, mark, stages = [], datasets, rowBytes, isMarked = false }: Road,
): Promise<void> {
  if (!isMarked) await source.query("insert into marks values ($1, 'there') on conflict do nothing", [mark]);
  const slot = postgresSource({
    name: 'shop',
    url: from.url,
    slot: from.name,
    publication: 'tidegate',
    tables,
    snapshot: { mode: 'initial', chunkRows: 2, parallel: 2 },
    batch: { rows: 1000, bytes: 16 << 20, ageMs: 0 },
    ...(rowBytes === undefined ? {} : { rowBytes }),
  });
  const options = { name: 'target', url: to.url, schema: 'public', tables: { create: true, widen: false }, pipeline: 'keys' };
  await using sink = await postgresSink({ ...options, ...(datasets === undefined ? {} : { datasets }), hold: () => 'event', scores: [] });
  const drain = new AbortController();
  const until: Source = {
    name: slot.name,
    read: (resume, signal) => slot.read(resume, signal),
    acknowledge: async (checkpoint) => {
      await slot.acknowledge(checkpoint);
      if (slot.progress().some(({ state }) => state !== 'done')) return;
      const { rows } = await target.query('select count(*) from marks where k = $1', [mark]);
      if (rows[0]?.[0] === '1') drain.abort();
    },
    [Symbol.asyncDispose]: () => slot[Symbol.asyncDispose](),
  };
  await runPipeline({ source: until, stages, sink }, { drain: drain.signal, abort: never });
  const items = await sink.quarantine.find({ limit: 3 });
  const refused = items.filter(({ findings }) => findings.some(({ stage }) => stage === 'sync'));
  if (refused.length > 0) throw new Error(`the target refused ${JSON.stringify(refused.map(({ id, findings }) => [id, findings]))}`);
}
