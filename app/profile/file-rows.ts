/** The rows of a file for a profile: as `tidegate judge` has them, so that what is proposed from them holds for it. */
import { createWriteStream } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import type { Column, Dataset, DatasetName, Row, Value } from '../../core/event.ts';
import { parseContract } from '../../quality/contract.ts';
import { cellOf, ColumnSeen, fileColumn } from '../../quality/file-columns.ts';
import { RuleRun } from '../../quality/file-run.ts';
import type { Proposal } from '../../quality/profile/propose.ts';
import { ruleFileText } from '../../quality/profile/rule-text.ts';
import type { FileCell } from '../../quality/states/cell.ts';
import { cellMaker, type Types } from '../judge/cells.ts';
import { tableOrder } from '../judge/input.ts';
import { readRows, type RowFile } from '../judge/read-file.ts';

export class FileRows {
  readonly #file: RowFile;
  readonly #types: Types;
  readonly #dataset: Dataset;
  readonly #unseen: readonly string[];

  private constructor(file: RowFile, types: Types, dataset: Dataset, unseen: readonly string[]) {
    this.#file = file;
    this.#types = types;
    this.#dataset = dataset;
    this.#unseen = unseen;
  }

  /** Reads it once, for the types of its columns. */
  static async open(file: RowFile, types: Types, name: DatasetName): Promise<FileRows> {
    const seen: ColumnSeen[] = [];
    const { columns } = await readRows(file, 'all', (values) => {
      for (let at = 0; at < values.length; at++) (seen[at] ??= new ColumnSeen()).see(values[at]);
    });
    const found = new Map(columns.map((column, at) => [column, seen[at]?.type ?? null]));
    const names = tableOrder(types, columns);
    const typed = names.map((column) => fileColumn(column, types.get(column) ?? null, found.get(column) ?? null));
    const unseen = names.filter((column) => (types.get(column) ?? null) === null && (found.get(column) ?? null) === null);
    return new FileRows(file, types, { name, version: 1, columns: typed, key: [] }, unseen);
  }

  get dataset(): Dataset {
    return this.#dataset;
  }

  async each(rowsMax: number | null, take: (row: Row) => void): Promise<{ readonly rows: number; readonly left: number }> {
    const row = new ReadRow(this.#dataset.columns);
    let left = 0;
    const { rows } = await readRows(this.#file, this.#names(), (values, index) => {
      if (rowsMax !== null && index >= rowsMax) left++;
      else {
        row.values = values;
        take(row);
      }
    });
    return { rows: rows - left, left };
  }

  /** Those of the rules that the whole file keeps, by the word of what judges files. */
  async kept(rules: readonly Proposal[]): Promise<readonly Proposal[]> {
    const parsed = parseContract(ruleFileText({ dataset: this.#dataset.name, rows: 0, columns: [], rules }, null), 'profile.yaml', 'file');
    if ('problems' in parsed) throw new Error(`a proposed rule file is refused: ${parsed.problems[0].message}`);
    const run = new RuleRun(parsed.contract, this.#dataset, this.#unseen, {}, 0);
    const makers = this.#names().map((name) => cellMaker(this.#types.get(name) ?? null));
    const cells: FileCell[] = makers.map(() => null);
    const { rows } = await readRows(this.#file, this.#names(), (values, index) => {
      for (let at = 0; at < makers.length; at++) cells[at] = makers[at]?.(values[at]) ?? null;
      run.row(values, cells, index);
    });
    const results = run.end({ columns: this.#names(), rows, rowsOf: () => null });
    const broken = new Set(results.filter(({ success, error }) => success === false || error !== null).map(({ rule }) => rule));
    return rules.filter(({ id }) => !broken.has(id));
  }

  #names(): readonly string[] {
    return this.#dataset.columns.map(({ name }) => name);
  }
}

/** The values of one row after the other, as cells of their columns. */
class ReadRow implements Row {
  readonly encoded = null;
  readonly #columns: readonly Column[];
  values: readonly unknown[] = [];

  constructor(columns: readonly Column[]) {
    this.#columns = columns;
  }

  value(at: number): Value {
    const column = this.#columns[at];
    return column === undefined ? null : cellOf(this.values[at], column);
  }
}

/** Standard input can be read once alone, so it is put into a file first. */
export async function asFile(file: RowFile): Promise<AsyncDisposable & { readonly file: RowFile }> {
  if (file.path !== '-') return { file, [Symbol.asyncDispose]: () => Promise.resolve() };
  const folder = await mkdtemp(join(tmpdir(), 'tidegate-profile-'));
  const path = join(folder, 'rows.ndjson');
  const remove = () => rm(folder, { recursive: true });
  try {
    await pipeline(file.stdin, createWriteStream(path), { signal: file.signal });
  } catch (error) {
    await remove();
    throw error;
  }
  return { file: { ...file, path }, [Symbol.asyncDispose]: remove };
}
