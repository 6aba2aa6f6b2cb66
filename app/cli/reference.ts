/** tidegate reference: the shares that a column has now, in a file that rules are held against later. */
import { writeFileSync } from 'node:fs';
import { readTableRows } from '../../cdc/postgres/table-rows.ts';
import type { Dataset, DatasetName, Row } from '../../core/event.ts';
import type { WindowMemory } from '../../core/windows.ts';
import { cellReader, UNSEEN } from '../../quality/live/cells.ts';
import { readEvent } from '../../quality/read-event.ts';
import { PARTS_MAX, type StoredReference } from '../../quality/reference/form.ts';
import { referenceOfWindows } from '../../quality/reference/from-windows.ts';
import { NoReference, ReferenceMaker, type Wanted } from '../../quality/reference/make.ts';
import { nearest } from '../config-read.ts';
import { readTypes } from '../judge/cells.ts';
import { asFile } from '../judge/input.ts';
import { FileRows } from '../profile/file-rows.ts';
import { type Arguments, UsageError, wholeNumberOf } from './arguments.ts';
import { type Command, configOf } from './command.ts';
import { withDesks } from './desks.ts';
import { type Io, show } from './output.ts';
import { ROW_FLAGS, ROWS } from './row-flags.ts';
import { datasetOf, jsonOf, parsed, tableOf } from './profile.ts';

const EXAMPLE = { example: 1000 };

export const reference: Command = {
  name: 'reference',
  summary:
    'Counts how the values of a column are spread over bins or values, in a live table (reading only, a sample unless you say --all) or a file, and prints it as a reference: for rules such as psi: { reference: ./total.json, max: 0.25 }.',
  positionals: ['[CONFIG]', '[DATASET]'],
  flags: {
    column: { type: 'string', value: 'NAME', help: 'The column.' },
    bins: { type: 'string', value: 'N', help: 'Of numbers: so many bins, with about as many values in each; 10 if left out.' },
    values: { type: 'string', value: 'N', help: 'Of texts, or other values with names: the N most common ones, and all others together.' },
    ...ROW_FLAGS,
    'windows-of': {
      type: 'string',
      value: 'RULE',
      help: 'Of the windows that this rule with a rolling reference remembers, at the target.',
    },
    group: { type: 'string', value: 'JSON', help: 'Of these windows, those of one group alone, such as ["eu"].' },
    out: { type: 'string', value: 'FILE', help: 'Write it there, over what was there before, and not to standard output.' },
  },
  run: async (args, io) => {
    if (args.text('group') !== null && args.text('windows-of') === null)
      throw new UsageError('--group is of the windows that a rule remembers', 'Leave it out, or name the rule with --windows-of.');
    const made = await (args.text('windows-of') !== null ? ofWindows : args.text('input') === null ? ofTable : ofFile)(args, io);
    const text = `${JSON.stringify(made, null, 2)}\n`;
    const out = args.text('out');
    if (out !== null) write(out, text);
    const parts = made.bins === undefined ? `${made.weights.length} values` : `${made.weights.length + 2} bins`;
    show(io, args.is('json'), made, () =>
      out === null ? text : `wrote ${out}: ${parts} of ${made.rows - made.missing} values of ${made.column}\n`,
    );
    return 0;
  },
};

function write(path: string, text: string): void {
  try {
    writeFileSync(path, text);
  } catch {
    throw new UsageError(`${path} cannot be written`, 'Name a file in a folder that is there.');
  }
}

/** Sees the rows of a dataset go by. */
class ColumnRows {
  readonly #args: Arguments;
  #maker: ReferenceMaker | null = null;
  #see: (row: Row) => void = () => {};

  constructor(args: Arguments) {
    this.#args = args;
  }

  begin(dataset: Dataset): void {
    const { column, index } = columnOf(this.#args, dataset);
    const maker = new ReferenceMaker({ dataset: dataset.name, column, parts: partsOf(this.#args) });
    const read = cellReader(column, index);
    this.#maker = maker;
    this.#see = (row) => {
      const cell = read(row, null, readEvent(row, dataset));
      if (cell !== UNSEEN) maker.see(cell);
    };
  }

  see(row: Row): void {
    this.#see(row);
  }

  end(): StoredReference {
    if (this.#maker === null) throw new Error('rows were read without a table');
    return this.#maker.end();
  }
}

async function made(args: Arguments, read: (rows: ColumnRows) => Promise<void>): Promise<StoredReference> {
  const rows = new ColumnRows(args);
  return orUsageError(async () => {
    await read(rows);
    return rows.end();
  });
}

/** What nothing can be made of is a matter of what was asked for. */
async function orUsageError<T>(make: () => T | Promise<T>): Promise<T> {
  try {
    return await make();
  } catch (error) {
    throw error instanceof NoReference ? new UsageError(error.message, error.fix) : error;
  }
}

function ofTable(args: Arguments, io: Io): Promise<StoredReference> {
  for (const flag of ['dataset', 'types'] as const)
    if (args.text(flag) !== null)
      throw new UsageError(`--${flag} is for files`, 'Name a table as `tidegate reference CONFIG DATASET`, or a file with --input.');
  if (args.positionals[0] === undefined)
    throw new UsageError('of what is not said', 'Write tidegate reference CONFIG DATASET, or --input rows.ndjson.');
  const { name, table, url } = tableOf(args, configOf(args, io));
  const limits = {
    rowsMax: args.is('all') ? null : (wholeNumberOf(args, 'rows', EXAMPLE) ?? ROWS),
    rate: wholeNumberOf(args, 'rate', EXAMPLE),
  };
  return made(args, async (rows) => {
    await readTableRows(
      { name, url, table, ...limits, signal: io.stop },
      (dataset) => rows.begin(dataset),
      (row) => rows.see(row),
    );
  });
}

async function ofWindows(args: Arguments, io: Io): Promise<StoredReference> {
  for (const flag of ['input', 'column', 'dataset', 'types', 'rows', 'rate'] as const)
    if (args.text(flag) !== null) throw new UsageError(`--${flag} does not go with --windows-of`, 'Leave it out.');
  const [config, dataset] = args.positionals;
  if (config === undefined || dataset === undefined)
    throw new UsageError('of which dataset is not said', 'Write tidegate reference CONFIG DATASET --windows-of RULE.');
  const group = groupOf(args);
  const memories: WindowMemory[] = [];
  await withDesks(args, io, async (desks) => {
    for (const desk of desks)
      memories.push(...(await desk.withSink((sink) => sink.windows.memoriesOf(dataset as DatasetName, args.text('windows-of') ?? ''))));
    return 0;
  });
  const wanted = memories.filter((memory) => group === null || memory.group === group);
  return orUsageError(() => referenceOfWindows(dataset, wanted, { parts: partsOf(args) }));
}

/** As windows have it, whatever blanks are in what was written; null: all of them. */
function groupOf(args: Arguments): string | null {
  const text = args.text('group');
  if (text === null) return null;
  const values = parsed(text);
  if (!Array.isArray(values))
    throw new UsageError(`--group ${text} is no list in JSON`, 'Write it as `tidegate windows list` shows it: ["eu"].');
  return JSON.stringify(values);
}

function ofFile(args: Arguments, io: Io): Promise<StoredReference> {
  if (args.positionals.length > 0) throw new UsageError('a file is read without a config', 'Leave CONFIG and DATASET out, or --input.');
  if (args.text('rate') !== null) throw new UsageError('--rate is for tables', 'Leave it out.');
  const path = args.text('input') ?? '-';
  const types = args.text('types');
  return made(args, async (rows) => {
    await using given = await asFile({ path, stdin: process.stdin, signal: io.stop });
    const file = await FileRows.open(given.file, types === null ? new Map() : readTypes(jsonOf(types), types), datasetOf(args, path));
    rows.begin(file.dataset);
    await file.each(args.is('all') ? null : wholeNumberOf(args, 'rows', EXAMPLE), (row) => rows.see(row));
  });
}

function columnOf(args: Arguments, dataset: Dataset): { readonly column: Wanted['column']; readonly index: number } {
  const names = dataset.columns.map(({ name }) => name);
  if (names.length === 0) throw new UsageError(`${dataset.name} has no rows, and so no columns`, 'Give rows.');
  const named = args.text('column');
  if (named === null) throw new UsageError('which column is not said', `Write --column with one of ${names.join(', ')}.`);
  const index = names.indexOf(named);
  const column = dataset.columns[index];
  if (column !== undefined) return { column, index };
  const near = nearest(named, names);
  throw new UsageError(
    `${dataset.name} has no column "${named}"`,
    near === null ? `Name one of ${names.join(', ')}.` : `Did you mean ${near}?`,
  );
}

function partsOf(args: Arguments): Wanted['parts'] {
  const values = wholeNumberOf(args, 'values', { most: PARTS_MAX, example: 100 });
  const bins = wholeNumberOf(args, 'bins', { least: 2, most: 100, example: 10 });
  if (values !== null && bins !== null) throw new UsageError('--bins and --values exclude each other', 'Give one of them.');
  return values === null ? { bins: bins ?? 10 } : { values };
}
