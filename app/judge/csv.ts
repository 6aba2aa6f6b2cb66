/**
 * CSV with a header (`.tsv`: with tabs). A column whose fields are all whole numbers is one of integers, and so for numbers and booleans, so that 007 or a lone
 * "12" among words stays a text: all of them have to be looked at for that, in a reading of their own or while rows are read by a guess.
 */
import type { ColumnType } from '../../core/event.ts';
import { UsageError } from '../cli/arguments.ts';
import { CsvCells } from './csv-cells.ts';
import { fieldReader, type Fields, type Kind, kindOfField, OtherKind, Records, separatorOf, WHOLE_FILE } from './csv-records.ts';
import { eachPiece, type RowFile, type RowsRead, type TakeRow } from './read-file.ts';

/** What a first reading tells: the header, and what the fields of each column are; null where none has a value. */
export interface CsvShape {
  readonly header: readonly string[];
  readonly kinds: readonly (Kind | null)[];
  readonly rows: number;
  /** It is that of some rows, and a reader throws `OtherKind` where another one is not so. */
  readonly isGuess: boolean;
}

export async function readCsv(file: RowFile, columns: readonly string[] | 'all', take: TakeRow): Promise<RowsRead> {
  const { header, kinds, rows, isGuess } = file.csv ?? (await csvShape(file));
  if (columns !== 'all' && columns.length === 0 && !isGuess) return { columns: header, rows, end: null };
  const places = (columns === 'all' ? header : columns).map((column) => header.indexOf(column));
  const isExact = (place: number) => file.exact?.has(header[place] ?? '') === true;
  const readers = places.map((place) => fieldReader(kinds[place] ?? null, isGuess, isExact(place)));
  const values: unknown[] = places.map(() => null);
  const { placed = null } = file;
  const cells =
    placed === null
      ? null
      : new CsvCells(
          placed,
          places,
          header.map((_, at) => kinds[at] ?? null),
          separatorOf(file.path),
        );
  let row = 0;
  const quick = (bytes: Buffer, from: number): number => {
    const next = cells?.take(bytes, from, row) ?? NONE;
    if (next >= 0) row++;
    return next;
  };
  const each = (fields: Fields) => {
    for (let at = 0; at < places.length; at++) {
      const place = places[at] ?? NONE;
      values[at] = fields.isNull(place) ? null : readers[at]?.(fields, place);
    }
    take(values, row++);
  };
  try {
    const { end } = await eachRecord(file, header, each, cells === null ? null : quick);
    return { columns: header, rows: row, end };
  } catch (error) {
    // All fields have been looked at before.
    if (error instanceof OtherKind && !isGuess)
      throw new UsageError(`${file.path} was changed while it was read`, 'Give a copy that nobody writes to.');
    throw error;
  }
}

const NONE = -1;

/** By all rows of the file, or of its part. */
export async function csvShape(file: RowFile): Promise<CsvShape> {
  const kinds = new Kinds();
  const { header } = await eachRecord(file, file.csv?.header ?? null, (fields) => kinds.see(fields));
  return { header, kinds: header.map((_, at) => kinds.kinds[at] ?? null), rows: kinds.rows, isGuess: false };
}

/** By the rows that begin in the first bytes, and in as many behind each of those places, where records begin most likely. */
export async function guessShape(file: RowFile, places: readonly number[], bytes: number): Promise<CsvShape> {
  const kinds = new Kinds();
  let header: readonly string[] | null = null;
  for (const from of [0, ...places]) {
    const part = { from, until: from + bytes };
    header = (await eachRecord({ ...file, part }, header, (fields) => kinds.see(fields))).header;
  }
  return { header: header ?? [], kinds: (header ?? []).map((_, at) => kinds.kinds[at] ?? null), rows: kinds.rows, isGuess: true };
}

class Kinds {
  readonly kinds: (Kind | null)[] = [];
  rows = 0;

  see(fields: Fields): void {
    this.rows++;
    for (let at = 0; at < fields.count; at++) {
      const kind = this.kinds[at] ?? null;
      if (kind === 'text' || fields.isNull(at)) continue;
      const own = kindOfField(fields, fields.start(at), fields.length(at));
      if (own !== kind) this.kinds[at] = kind === null ? own : wider(kind, own);
    }
  }
}

function wider(a: Kind, b: Kind): Kind {
  return (a === 'integer' && b === 'float') || (a === 'float' && b === 'integer') ? 'float' : 'text';
}

/** The types of the columns, as those of the values that are made of them. */
export function typesOfShape({ header, kinds }: CsvShape): ReadonlyMap<string, ColumnType | null> {
  return new Map(header.map((name, at) => [name, kinds[at] ?? null]));
}

/** Calls `take` with every record of the file, or of its part, that `quick` does not take; the first record is the header where it is not known. Says where the first record lies that it left. */
async function eachRecord(
  file: RowFile,
  known: readonly string[] | null,
  take: (fields: Fields) => void,
  quick: ((bytes: Buffer, from: number) => number) | null = null,
): Promise<{ readonly header: readonly string[]; readonly end: number }> {
  const part = file.part ?? WHOLE_FILE;
  let header = part.from === 0 ? null : known;
  let record = 0;
  const records = new Records(
    file.path,
    (fields) => {
      record++;
      if (header === null) header = headerOf(fields, file.path);
      else if (fields.count === header.length) take(fields);
      else if (fields.count > 1 || !fields.isNull(0))
        throw new UsageError(
          `${file.path}: record ${record} has ${fields.count} fields, the header ${header.length}`,
          'Give every record a field for each column of the header.',
        );
    },
    part,
    quick === null
      ? null
      : (bytes, from) => {
          const next = header === null ? NONE : quick(bytes, from);
          if (next >= 0) record++;
          return next;
        },
  );
  await eachPiece(file, (bytes, isEnd) => {
    const used = records.take(bytes, isEnd);
    return records.isDone ? null : used;
  });
  if (header === null) throw new UsageError(`${file.path} is empty`, 'Begin it with a header: the names of the columns.');
  return { header, end: records.offset };
}

function headerOf(fields: Fields, path: string): readonly string[] {
  const names = Array.from({ length: fields.count }, (_, at) => (fields.isNull(at) ? '' : fields.text(at)).replace(/^\uFEFF/, ''));
  // Spreadsheets leave columns without a name at the end: no rule can mean those.
  const twice = names.find((name, at) => name !== '' && names.indexOf(name) < at);
  if (twice !== undefined)
    throw new UsageError(`${path}: the header names the column "${twice}" twice`, 'Give every column a name of its own.');
  return names;
}
