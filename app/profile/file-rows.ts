/** The rows of a file for a profile: as `tidegate judge` has them, so that what is proposed from them holds for it. */
import type { Dataset, DatasetName, Row } from '../../core/event.ts';
import { parseContract } from '../../quality/contract.ts';
import { FileRow } from '../../quality/file-columns.ts';
import { fileCheck } from '../../quality/file-check.ts';
import { RuleRun } from '../../quality/file-run.ts';
import type { Proposal } from '../../quality/profile/propose.ts';
import { ruleFileText } from '../../quality/profile/rule-text.ts';
import type { FileCell } from '../../quality/states/cell.ts';
import { cellMaker, type Types } from '../judge/cells.ts';
import { type Declared, declaredTypes, exactColumns, wholeShape } from '../judge/file-shape.ts';
import { readRows, type RowFile, typesOfFile } from '../judge/read-file.ts';

export class FileRows {
  readonly #file: RowFile;
  readonly #declared: Declared;
  readonly #dataset: Dataset;
  readonly #unseen: readonly string[];

  private constructor(file: RowFile, declared: Declared, dataset: Dataset, unseen: readonly string[]) {
    this.#file = file;
    this.#declared = declared;
    this.#dataset = dataset;
    this.#unseen = unseen;
  }

  /** Reads it once, for the types of its columns; where the file itself tells them, not at all. */
  static async open(file: RowFile, types: Types, name: DatasetName): Promise<FileRows> {
    const declared = declaredTypes(types, new Map(), await typesOfFile(file));
    const { columns, unseen, csv } = await wholeShape(declared, file);
    return new FileRows({ ...file, csv, exact: exactColumns(columns) }, declared, { name, version: 1, columns, key: [] }, unseen);
  }

  get dataset(): Dataset {
    return this.#dataset;
  }

  async each(rowsMax: number | null, take: (row: Row) => void): Promise<{ readonly rows: number; readonly left: number }> {
    const row = new FileRow(this.#dataset.columns);
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
    const run = new RuleRun(parsed.contract, this.#dataset, this.#unseen, {}, 0, fileCheck);
    const makers = this.#names().map((name) => cellMaker(this.#declared.typeOf(name)));
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
