/**
 * CSV with a header (`.tsv`: with tabs). It is read twice: a column whose fields are all whole numbers is one of integers, and so for numbers and
 * booleans, so that 007 or a lone "12" among words stays a text.
 */
import type { ColumnType } from '../../core/event.ts';
import { UsageError } from '../cli/arguments.ts';
import { fieldReader, type Fields, type Kind, kindOfField, Records } from './csv-records.ts';
import { chunksOf, type RowFile, type RowsRead, type TakeRow } from './read-file.ts';

/** What a first reading tells: the header, and what the fields of each column are; null where none has a value. */
export interface CsvShape {
  readonly header: readonly string[];
  readonly kinds: readonly (Kind | null)[];
  readonly rows: number;
}

export async function readCsv(file: RowFile, columns: readonly string[] | 'all', take: TakeRow): Promise<RowsRead> {
  const { header, kinds, rows } = file.csv ?? (await csvShape(file));
  if (columns !== 'all' && columns.length === 0) return { columns: header, rows };
  const places = (columns === 'all' ? header : columns).map((column) => header.indexOf(column));
  const readers = places.map((place) => fieldReader(kinds[place] ?? 'text'));
  const values: unknown[] = places.map(() => null);
  let row = 0;
  await eachRecord(file, (fields) => {
    for (let at = 0; at < places.length; at++) {
      const place = places[at] ?? NONE;
      values[at] = fields.isNull(place) ? null : readers[at]?.(fields, place);
    }
    take(values, row++);
  });
  return { columns: header, rows: row };
}

const NONE = -1;

export async function csvShape(file: RowFile): Promise<CsvShape> {
  const kinds: (Kind | null)[] = [];
  let rows = 0;
  const header = await eachRecord(file, (fields) => {
    rows++;
    for (let at = 0; at < fields.count; at++) {
      const kind = kinds[at] ?? null;
      if (kind === 'text' || fields.isNull(at)) continue;
      const own = kindOfField(fields, fields.start(at), fields.length(at));
      if (own !== kind) kinds[at] = kind === null ? own : wider(kind, own);
    }
  });
  return { header, kinds: header.map((_, at) => kinds[at] ?? null), rows };
}

function wider(a: Kind, b: Kind): Kind {
  return (a === 'integer' && b === 'float') || (a === 'float' && b === 'integer') ? 'float' : 'text';
}

/** The types of the columns, as those of the values that are made of them. */
export function typesOfShape({ header, kinds }: CsvShape): ReadonlyMap<string, ColumnType | null> {
  return new Map(header.map((name, at) => [name, kinds[at] ?? null]));
}

/** Calls `take` with every record behind the header, and returns the header. */
async function eachRecord(file: RowFile, take: (fields: Fields) => void): Promise<readonly string[]> {
  let header: readonly string[] | null = null;
  let record = 0;
  const records = new Records(file.path, (fields) => {
    record++;
    if (header === null) header = headerOf(fields, file.path);
    else if (fields.count === header.length) take(fields);
    else if (fields.count > 1 || !fields.isNull(0))
      throw new UsageError(
        `${file.path}: record ${record} has ${fields.count} fields, the header ${header.length}`,
        'Give every record a field for each column of the header.',
      );
  });
  for await (const chunk of chunksOf(file)) records.push(chunk);
  records.push(Buffer.alloc(0), true);
  if (header === null) throw new UsageError(`${file.path} is empty`, 'Begin it with a header: the names of the columns.');
  return header;
}

function headerOf(fields: Fields, path: string): readonly string[] {
  const names = Array.from({ length: fields.count }, (_, at) => (fields.isNull(at) ? '' : fields.text(at)).replace(/^\uFEFF/, ''));
  // Spreadsheets leave columns without a name at the end: no rule can mean those.
  const twice = names.find((name, at) => name !== '' && names.indexOf(name) < at);
  if (twice !== undefined)
    throw new UsageError(`${path}: the header names the column "${twice}" twice`, 'Give every column a name of its own.');
  return names;
}
