/** The row groups of a Parquet file one after the other. Only for threads with bounds: a damaged file may make its reader do anything. */
import type { FilePart } from './csv-records.ts';
import { openParquet, type ParquetFile } from './parquet-file.ts';
import type { RowFile, RowsRead, TakeRow } from './read-file.ts';

export interface GroupRead {
  readonly rows: number;
  /** Column by column; null where the file does not have it. */
  readonly values: readonly (readonly unknown[] | null)[];
}

/** `working` is told of every column that was read. */
export async function* groupsOf(
  file: ParquetFile,
  asked: readonly string[] | 'all',
  working: () => void,
  [from, to]: readonly [number, number] = [0, file.groups.length],
): AsyncGenerator<GroupRead> {
  const columns = asked === 'all' ? file.columns : asked.map((name) => file.columns.find((column) => column.name === name) ?? null);
  for (const [at, group] of file.groups.entries()) {
    if (at < from || at >= to) continue;
    const values: (readonly unknown[] | null)[] = [];
    for (const column of columns) {
      values.push(column === null ? null : await file.read(column, group, at));
      working();
    }
    yield { rows: Number(group.num_rows), values };
  }
}

/** Reads some of the row groups in the thread that asks. */
export async function readShare(
  file: RowFile,
  { from, shares = 1 }: FilePart,
  asked: readonly string[] | 'all',
  take: TakeRow,
): Promise<RowsRead> {
  await using parquet = await openParquet(file.path);
  const places = [from, from + 1].map((share) => Math.floor((parquet.groups.length * share) / shares));
  const own: unknown[] = [];
  let read = 0;
  for await (const { rows, values } of groupsOf(parquet, asked, file.working ?? (() => {}), [places[0] ?? 0, places[1] ?? 0]))
    for (let row = 0; row < rows; row++) {
      for (let at = 0; at < values.length; at++) own[at] = values[at]?.[row] ?? null;
      take(own, read++);
    }
  return { columns: parquet.columns.map(({ name }) => name), rows: read, end: from + 1 };
}
