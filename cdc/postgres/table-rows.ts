/** The rows of a live table as they are now, for who looks at them once: in one read-only transaction, in bounded memory, at a rate if need be. */
import { type Clock, systemClock } from '../../core/clock.ts';
import { PipelineError } from '../../core/errors.ts';
import type { Dataset, Row } from '../../core/event.ts';
import { CopyPool } from '../../wire/postgres/copy-memory.ts';
import { PgConnectionError, PgError } from '../../wire/postgres/errors.ts';
import { quoteIdent } from '../../wire/postgres/ident.ts';
import { Datasets, readTable, SESSION } from './catalog.ts';
import { fromTable, hasKeyTexts } from './chunk.ts';
import { connectSource } from './connect.ts';
import { CopyReader } from './copy-reader.ts';
import { sourceFailure } from './failures.ts';

export interface TableRowsOptions {
  /** The source's name, for the dataset's. */
  readonly name: string;
  readonly url: string;
  /** `schema.table` */
  readonly table: string;
  /** A sample of about so many rows where the table has more; null: all of them. */
  readonly rowsMax: number | null;
  /** Only rows that this holds for, as SQL over the table `t`. */
  readonly where?: string | null;
  /** Rows a second at most; null: as fast as they come. */
  readonly rate: number | null;
  readonly clock?: Clock;
  readonly signal: AbortSignal;
}

export interface TableRowsRead {
  readonly dataset: Dataset;
  readonly rows: number;
  /** Whether rows were left out. */
  readonly sampled: boolean;
  readonly rowsEstimated: number | null;
}

/** Of a table that the planner has no number for, the sample is its first rows. */
const SAMPLE_MARGIN = 1.2;
/** Of a table of so many rows or fewer single rows are drawn, and not pages: of few pages there may be none, or all, in the sample. */
const FEW_ROWS = 100_000;

/** `take` is called for every row, which it may look at and not keep, once `begin` has heard of the table. */
export async function readTableRows(
  options: TableRowsOptions,
  begin: (dataset: Dataset) => void,
  take: (row: Row) => void,
): Promise<TableRowsRead> {
  const { name, url, table, rowsMax, rate, signal, clock = systemClock } = options;
  const connection = await connectSource(name, url, false, { ...SESSION, default_transaction_read_only: 'on' }, signal);
  const cut = (): void => connection.destroy();
  signal.addEventListener('abort', cut, { once: true });
  try {
    await connection.script('begin isolation level repeatable read read only');
    const present = await readTable(connection, table, null);
    if (present === null) throw new PipelineError('SOURCE_TABLE_MISSING', `reading ${table}: there is no such table`);
    const relation = await new Datasets(name).relationOf(connection, table, present.message, present);
    begin(relation.dataset);
    const { rowsEstimated } = present;
    const share =
      rowsMax === null || rowsEstimated === null || rowsEstimated <= rowsMax ? null : (100 * SAMPLE_MARGIN * rowsMax) / rowsEstimated;
    const sample =
      share === null || share >= 100
        ? ''
        : ` tablesample ${(rowsEstimated ?? 0) > FEW_ROWS ? 'system' : 'bernoulli'} (${share}) repeatable (1)`;
    const cells = relation.dataset.columns.map(
      ({ name: column }, i) => `t.${quoteIdent(column)}${relation.types[i]?.format === 'text' ? '::text' : ''}`,
    );
    // The reader of copies finds the key's texts behind a row's cells, where it looks for them.
    const key = (hasKeyTexts(relation) ? relation.dataset.key : [])
      .flatMap((i) => relation.dataset.columns[i] ?? [])
      .map(({ name: column }) => `t.${quoteIdent(column)}::text`);
    const filter = (options.where ?? null) === null ? '' : ` where ${options.where}`;
    const limit = rowsMax === null ? '' : ` limit ${rowsMax + 1}`;
    const sql = `copy (select ${[...cells, ...key].join(', ')} from ${fromTable(present)} t${sample}${filter}${limit}) to stdout (format binary)`;
    const memory = new CopyPool().memory();
    const reader = new CopyReader(relation, Infinity, memory);
    const started = clock.monotonic();
    let rows = 0;
    let isMore = false;
    for await (const chunk of connection.copyOut(sql, signal)) {
      reader.push(chunk);
      const read = reader.take();
      for (let n = 0; n < read.length; n++) {
        isMore = rowsMax !== null && rows >= rowsMax;
        if (isMore) break;
        take(read.look(n));
        rows++;
      }
      memory.release();
      const aheadMs = rate === null ? 0 : (rows * 1000) / rate - (clock.monotonic() - started);
      if (aheadMs > 1) await clock.sleep(aheadMs, signal);
      signal.throwIfAborted();
    }
    return { dataset: relation.dataset, rows, sampled: isMore || sample !== '', rowsEstimated };
  } catch (error) {
    signal.throwIfAborted();
    // What the caller throws about the table and its rows is for who called.
    if (!(error instanceof PgError || error instanceof PgConnectionError)) throw error;
    throw sourceFailure(error, 'reading a chunk', `reading rows of ${table}`);
  } finally {
    signal.removeEventListener('abort', cut);
    connection.destroy();
  }
}
