/** Folded groups become messages to the target: entries of one form together, in bulk where they are many. */
import { type Batch, type EventRun, type Scores, ScoreStatus, type ScoreColumns } from '../../core/batch.ts';
import type { ChangeEvent, Dataset, Row } from '../../core/event.ts';
import { PipelineError } from '../../core/errors.ts';
import type { PgResult } from '../../wire/postgres/connection.ts';
import { Format, type FrontendWriter, type ParameterBytes } from '../../wire/postgres/messages.ts';
import { CopiedRows } from '../../wire/postgres/copied-rows.ts';
import { type PgColumnType, type PgRelation, PgRow } from '../../wire/postgres/row.ts';
import { copyText, isEncoded, valueText, writeEncoded } from './cells.ts';
import { emitEmptying, EmptiedTables, type Emptying } from './emptying.ts';
import { type Entry, type Group, isPartial, isUnchanged, MergedRow } from './fold.ts';
import type { Layout } from './layout.ts';
import { stampBytes, stampText, timeBytes } from './stamps.ts';
import { allOf, copyBytes, CopyMessages, emitNewRows, emitRun, type NewRowsPart, passes, type RunPart, Stretches } from './new-rows.ts';
import { type Form, type Prepared, type StagedCell, type Statements, type WriteKind, writeStaged } from './statements.ts';
import type { Table, Tables } from './tables.ts';
import { WholeEntries, type WholeGroup, type WrittenRows, WrittenAs } from './whole-rows.ts';

/** From here on rows are staged by COPY; below, one statement each is cheaper (see bench/sync.ts). */
const BULK_ROWS_MIN = 24;
/** So many plans after a key that was there, appends are tried again. */
const APPENDS_AFTER = 256;

type Entries = readonly Entry[] | WholeEntries;

/** Entries of one form in one group. */
interface Part {
  readonly form: Form;
  readonly prepared: Prepared;
  readonly entries: Entries;
}

/** What of a batch is written beside its rows. */
type Judged = Pick<Batch, 'scores' | 'verdicts'>;

export interface Plan {
  readonly steps: readonly (Emptying | Part | RunPart | NewRowsPart)[];
  /** Some of what will be counted as written may turn out to have no row at the target. */
  readonly isUncertain: boolean;
  /** Some rows are added without looking whether their keys are there. */
  readonly appends: boolean;
}

/**
 * `common`: for the common road. `careful`: for the careful one, before its transaction; no row is added without looking. `inside`: inside that
 * transaction, where all tables must be known already and what was not staged before goes row by row.
 */
export type How = 'common' | 'careful' | 'inside';

export class Writes {
  readonly #tables: Tables;
  readonly #statements: Statements;
  /** Up to which plan a table takes no appends, because a key was there after all. */
  readonly #appendsAfter = new Map<Table, number>();
  #emitted = 0;

  constructor(tables: Tables, statements: Statements) {
    this.#tables = tables;
    this.#statements = statements;
  }

  /** Opens tables and prepares statements, each once. Not inside a transaction. Throws TARGET_SCHEMA. */
  async plan(folded: Pick<WrittenRows, 'groups'>, scores: readonly Scores[], how: How): Promise<Plan> {
    const known = this.planKnown(folded, scores, how);
    if (known !== null) return known;
    await this.#open(folded);
    await this.learn(folded, scores, how);
    return planned(this.planKnown(folded, scores, how));
  }

  /** A plan without asking the target; null where it has to be asked first. */
  planKnown({ groups }: Pick<WrittenRows, 'groups'>, scores: readonly Scores[], how: How): Plan | null {
    const uses = new Map<Prepared, number>();
    const steps: (Emptying | Part)[] = [];
    let isUncertain = false;
    let appends = false;
    const emptying = new EmptiedTables();
    for (const group of groups) {
      if (group.truncate !== null) {
        const step = emptying.add(group.dataset.name, { truncate: this.#tables.emptied(group.dataset), ...group.truncate });
        if (step !== null) steps.push(step);
      }
      emptying.begun(group.dataset.name);
      if (isEmpty(group) && !this.#tables.isNew(group.dataset)) continue;
      const table = this.#tables.known(group.dataset);
      if (table === undefined) return null;
      const own = scores.filter(({ dataset }) => dataset === group.dataset.name);
      for (const [key, { kind, entries }] of partition(group, own, this.#mayAppend(table, how))) {
        const prepared = this.#statements.known(table, key);
        if (prepared === undefined) return null;
        if (how !== 'inside' && isBulk(kind, entries)) {
          const use = (uses.get(prepared) ?? 0) + 1;
          uses.set(prepared, use);
          if (!this.#statements.isStaged(prepared, use)) return null;
          appends ||= prepared.isDirect;
        }
        isUncertain ||= kind === 'partial' || (kind === 'move' && entries.at(0)?.partial === true);
        steps.push({ form: prepared.form, prepared, entries });
      }
    }
    return { steps, isUncertain, appends };
  }

  /**
   * A plan for a run of new rows, of which those that pass need not be objects; null where that can't be, or the target has to be asked first
   * (`mayLearn`): then they are folded like any others.
   */
  planRun(run: EventRun, scores: readonly Scores[]): Plan | null {
    const { rows } = run;
    const table = this.#tables.known(run.dataset);
    if (table === undefined || !(rows instanceof CopiedRows) || !goesAsItIs(run, scores) || !this.#mayAppend(table, 'common')) return null;
    const prepared = this.#statements.known(table, keyOfNew(run.look(0)));
    if (prepared?.isDirect !== true || prepared.plain === null || prepared.bulk.length === 0) return null;
    return { steps: [{ form: prepared.form, prepared, run, rows }], isUncertain: false, appends: true };
  }

  /** Whether there may be a plan for the run once `learnRun` has asked the target. Until then there is none by its events either. */
  mayLearn(run: EventRun, scores: readonly Scores[]): boolean {
    if (!goesAsItIs(run, scores)) return false;
    const table = this.#tables.known(run.dataset);
    if (table === undefined) return true;
    const prepared = this.#mayAppend(table, 'common') ? this.#statements.known(table, keyOfNew(run.look(0))) : null;
    return prepared === undefined || (prepared?.isDirect === true && prepared.bulk.length === 0);
  }

  /** Opens the table of a run and prepares what its rows are added by. Not inside a transaction. Throws TARGET_SCHEMA. */
  async learnRun(run: EventRun): Promise<void> {
    const first = entryOfNew(run.look(0));
    const key = keyOfNew(run.look(0));
    const table = this.#tables.known(run.dataset) ?? (await this.#tables.open(run.dataset, encodedRelation(first.row)));
    const prepared = this.#statements.known(table, key) ?? (await this.#statements.prepare(key, formOf('append', table, [first], [])));
    if (prepared.isDirect) await this.#statements.stage(prepared, 1);
  }

  /**
   * A plan for a batch of nothing but new rows of one table. No key of theirs comes twice, so there is nothing to be folded; should one do so after all (the
   * source leaves deletes out), the target says so, as of any key that is there. Null where there is no such plan, or the target has to be asked first.
   */
  planNewRows({ run, size, events, scores, verdicts }: Batch): Plan | null {
    if (run !== null || size < BULK_ROWS_MIN || scores.length > 0) return null;
    const [first] = events;
    const table = first === undefined ? undefined : this.#tables.known(first.dataset);
    if (first === undefined || table === undefined || !this.#mayAppend(table, 'common')) return null;
    const prepared = this.#statements.known(table, keyOfNew(first));
    if (prepared?.isDirect !== true || prepared.plain === null || prepared.bulk.length === 0) return null;
    const { skipped } = table.layout;
    const isSimple = events.every((event, index) => isWholeNewRow(event, first.dataset, skipped) || !passes(verdicts, index));
    return isSimple ? { steps: [{ form: prepared.form, prepared, newRows: events }], isUncertain: false, appends: true } : null;
  }

  /** A plan with appends found a key that was there: its tables are looked at before they are written for a while. */
  avoidAppends({ steps }: Plan): void {
    for (const step of steps)
      if ('prepared' in step && step.prepared.isDirect) this.#appendsAfter.set(step.form.table, this.#emitted + APPENDS_AFTER);
  }

  #mayAppend(table: Table, how: How): boolean {
    return how === 'common' && (this.#appendsAfter.get(table) ?? 0) <= this.#emitted;
  }

  /** Opening one table may change it, and with it what is known of others of its name: so all are opened before anything is prepared. */
  async #open({ groups }: Pick<WrittenRows, 'groups'>): Promise<void> {
    for (let rounds = 0; ; rounds++) {
      const closed = groups.filter(
        (group) => this.#tables.known(group.dataset) === undefined && (!isEmpty(group) || this.#tables.isNew(group.dataset)),
      );
      if (closed.length === 0) return;
      if (rounds > groups.length) throw new PipelineError('BUG', `the tables of ${closed[0]?.dataset.name ?? ''} change without end`);
      for (const group of closed) await this.#tables.open(group.dataset, relationOf(group));
    }
  }

  /** Prepares statements of tables that are open. Not inside a transaction. */
  async learn({ groups }: Pick<WrittenRows, 'groups'>, scores: readonly Scores[], how: How = 'common'): Promise<void> {
    const uses = new Map<Prepared, number>();
    for (const group of groups) {
      const table = this.#tables.known(group.dataset);
      if (table === undefined) continue; // A table that is emptied is as it is.
      const own = scores.filter(({ dataset }) => dataset === group.dataset.name);
      for (const [key, { kind, entries }] of partition(group, own, this.#mayAppend(table, how))) {
        let prepared = this.#statements.known(table, key);
        if (prepared === undefined) prepared = await this.#statements.prepare(key, formOf(kind, table, entries, own));
        if (how === 'inside' || !isBulk(kind, entries)) continue;
        const use = (uses.get(prepared) ?? 0) + 1;
        uses.set(prepared, use);
        await this.#statements.stage(prepared, use);
      }
    }
  }

  /**
   * Writes the messages of a plan, and answers a reader of their results: how many partial updates (and moves with cells missing) found
   * no row at the target. `inside`: what another plan staged in the same transaction is not written once more.
   */
  emit(plan: Plan, { scores, verdicts }: Judged, writer: FrontendWriter, how: How = 'common'): (results: readonly PgResult[]) => number {
    this.#emitted++;
    const uses = new Map<Prepared, number>();
    /** Per statement how many rows it has to touch; -1 where it does not matter. */
    const expected: number[] = [];
    for (const step of plan.steps) {
      if ('truncate' in step) {
        emitEmptying(writer, step, verdicts);
        expected.push(-1);
        continue;
      }
      if ('run' in step) {
        emitRun(writer, step, verdicts);
        expected.push(-1);
        continue;
      }
      if ('newRows' in step) {
        emitNewRows(writer, step, verdicts);
        expected.push(-1);
        continue;
      }
      const { prepared, entries, form } = step;
      const own = scores.filter(({ dataset }) => dataset === form.table.dataset.name);
      const isPartial = form.kind === 'partial' || (form.kind === 'move' && prepared.row.length === 2);
      const use = uses.get(prepared) ?? 0;
      const bulk = prepared.bulk[prepared.isDirect ? 0 : use];
      if (entries.length >= BULK_ROWS_MIN && bulk !== undefined) {
        uses.set(prepared, use + 1);
        if (how === 'inside' && bulk.clear !== null) {
          writer.parse('', bulk.clear).bind('', '', [], Format.Text).execute();
          expected.push(-1);
        }
        writer.bind('', bulk.copy, [], Format.Text).execute();
        if (form.types === null) copyAsText(writer, prepared, entries, own, verdicts);
        else copyBinary(writer, prepared, entries, own, verdicts);
        writer.copyDone();
        expected.push(-1);
        const results = writeStaged(writer, bulk, entries.length);
        for (let i = 1; i <= results; i++) expected.push(isPartial && i === results ? entries.length : -1);
        continue;
      }
      for (let place = 0; place < entries.length; place++) {
        const entry = entries.at(place) as Entry;
        const parameters = prepared.cells.map((cell) => parameterOf(cell, entry, own, verdicts, form));
        for (const [i, name] of prepared.row.entries()) {
          writer.bind('', name, parameters, form.types === null ? Format.Text : Format.Binary).execute();
          expected.push(isPartial && i === prepared.row.length - 1 ? 1 : -1);
        }
      }
    }
    return (results) => {
      let missing = 0;
      for (const [i, rows] of expected.entries()) if (rows > 0) missing += rows - (results[i]?.affected ?? 0);
      return missing;
    };
  }
}

/** Whether rows can be copied as they came: all of their cells, with nothing beside them that each has of its own. */
const goesAsItIs = ({ rows, length }: EventRun, scores: readonly Scores[]): boolean =>
  rows instanceof CopiedRows && rows.isWhole && scores.length === 0 && length >= BULK_ROWS_MIN;

const isWholeNewRow = ({ op, dataset: own, after, movedFrom }: ChangeEvent, dataset: Dataset, skipped: Uint8Array | null): boolean =>
  (op === 'insert' || op === 'read') &&
  own === dataset &&
  after instanceof PgRow &&
  movedFrom === null &&
  !isPartial(after, dataset, skipped);

const entryOfNew = (event: ChangeEvent): Entry => ({ index: 0, event, row: event.after, partial: false, earlier: null, fresh: false });

const keyOfNew = (event: ChangeEvent): string => keyOfForm('append', entryOfNew(event), event.dataset.columns.length, []);

const isBulk = (kind: WriteKind, entries: Entries): boolean => kind !== 'move' && entries.length >= BULK_ROWS_MIN;

function planned(plan: Plan | null): Plan {
  if (plan === null) throw new PipelineError('BUG', 'a plan that is not known after all');
  return plan;
}

type Parts = ReadonlyMap<string, { readonly kind: WriteKind; readonly entries: Entries }>;
type EntryParts = Map<string, { kind: WriteKind; entries: Entry[] }>;

const partition = (group: Group | WholeGroup, scores: readonly Scores[], mayAppend: boolean): Parts =>
  'last' in group ? wholeParts(group, mayAppend) : entryParts(group, scores, mayAppend);

/** The same of rows that are no entries. */
function wholeParts({ dataset, last }: WholeGroup, mayAppend: boolean): Parts {
  const parts = new Map<string, { kind: WriteKind; entries: WholeEntries }>();
  const put = (kind: WriteKind, ...as: readonly WrittenAs[]): void => {
    const entries = last.entries(dataset, ...as);
    if (entries !== null) parts.set(keyOfForm(kind, entries.at(0), dataset.columns.length, []), { kind, entries });
  };
  put('delete', WrittenAs.Delete);
  if (mayAppend) put('upsert', WrittenAs.Upsert);
  else put('upsert', WrittenAs.Upsert, WrittenAs.New);
  if (mayAppend) put('append', WrittenAs.New);
  return parts;
}

/**
 * Entries by their form's key, in an order in which unique values are free before somebody takes them: deletes, changes of rows, new rows. Nearly all
 * of a batch are whole rows as they came from the source, and are told apart without a text for each.
 */
function entryParts(group: Group, scores: readonly Scores[], mayAppend: boolean): Parts {
  const parts: EntryParts = new Map();
  const columns = group.dataset.columns.length;
  if (group.move !== null) {
    parts.set(keyOfForm('move', group.move, columns, scores), { kind: 'move', entries: [group.move] });
    return parts;
  }
  const deletes: EntryParts = new Map();
  const appends: EntryParts = new Map();
  const put = (to: EntryParts, key: string, kind: WriteKind, entry: Entry): Entry[] => {
    const known = to.get(key);
    if (known !== undefined) {
      known.entries.push(entry);
      return known.entries;
    }
    const entries = [entry];
    to.set(key, { kind, entries });
    return entries;
  };
  // By twice the set of scores that are written, and whether the row is new.
  const whole: (Entry[] | undefined)[] = [];
  for (const last of group.entries.values()) {
    const entry = last.row === null && group.layout.isSoft ? remains(last, group.layout) : last;
    const { row } = entry;
    if (entry !== last && (row === null || entry.partial)) put(deletes, keyOfForm('bury', entry, columns, scores), 'bury', entry);
    else if (row === null) put(deletes, keyOfForm('delete', entry, columns, []), 'delete', entry);
    else if (entry.partial) put(parts, keyOfForm('partial', entry, columns, scores), 'partial', entry);
    else if (!(row instanceof PgRow) || scores.length > WHOLE_SCORES_MAX)
      put(parts, keyOfForm('upsert', entry, columns, scores), 'upsert', entry);
    else {
      const isNew = mayAppend && isNewRow(entry);
      const at = askedOf(entry, scores) * 2 + (isNew ? 1 : 0);
      const known = whole[at];
      if (known !== undefined) known.push(entry);
      else if (isNew) whole[at] = put(appends, keyOfForm('append', entry, columns, scores), 'append', entry);
      else whole[at] = put(parts, keyOfForm('upsert', entry, columns, scores), 'upsert', entry);
    }
  }
  return new Map([...deletes, ...parts, ...appends]);
}

/**
 * What stays of a deleted row: the last state that it had in this batch, under the event that deleted it. Of a row that only moved to another key
 * nothing stays at the old one, but its versions; else the entry is answered as it is.
 */
function remains(entry: Entry, { isHistory }: Layout): Entry {
  if (entry.event.op !== 'delete') return isHistory ? { ...entry } : entry;
  const { earlier } = entry;
  return earlier === null ? { ...entry } : { ...entry, row: earlier.row, partial: earlier.partial, fresh: earlier.fresh };
}

/** Beyond so many scores of one dataset, rows are told apart by texts. */
const WHOLE_SCORES_MAX = 8;

/** The source made the row, and nothing of its key was in this batch before. */
const isNewRow = ({ event, earlier, fresh }: Entry): boolean =>
  (event.op === 'insert' || event.op === 'read') && earlier === null && !fresh && event.movedFrom === null;

/** The scores that are written with an entry's row, a bit for each. */
function askedOf(entry: Entry, scores: readonly Scores[]): number {
  let asked = 0;
  for (let i = 0; i < scores.length; i++) if (scoreOf(entry, scores[i] as Scores) !== NOT_ASKED) asked |= 1 << i;
  return asked;
}

/** Whether all cells of an entry are encoded. Those of its key may be in the row before, which a source may have made otherwise. */
function goesEncoded(kind: WriteKind, entry: Entry, columns: number): boolean {
  const row = entry.row ?? entry.event.before;
  if (row === null || !isEncoded(row, columns)) return false;
  return kind === 'upsert' || kind === 'append' || isEncoded(keyRow(entry, kind), columns);
}

/** What tells forms of one table apart: kind, encoding, cells that are brought, scores that are written. */
function keyOfForm(kind: WriteKind, entry: Entry, columns: number, scores: readonly Scores[]): string {
  const row = entry.row ?? entry.event.before;
  const encoding = goesEncoded(kind, entry, columns) ? 'b' : 't';
  if (entry.row === null) return `${kind} ${encoding}`;
  let cells = '*';
  if (entry.partial && row !== null) {
    cells = '';
    for (let column = 0; column < columns; column++) cells += isUnchanged(row, column) ? '-' : '+';
  }
  let asked = '';
  for (const score of scores) asked += scoreOf(entry, score) === NOT_ASKED ? '-' : '+';
  return `${kind} ${encoding} ${cells}${asked.includes('+') ? ` ${asked}` : ''}`;
}

function formOf(kind: WriteKind, table: Table, entries: Entries, scores: readonly Scores[]): Form {
  const entry = entries.at(0);
  if (entry === undefined) throw new PipelineError('BUG', 'a form without entries');
  const { columns: all, key } = table.dataset;
  const row = entry.row ?? entry.event.before;
  const types = goesEncoded(kind, entry, all.length) ? encodedTypes(row) : null;
  const written = scores.flatMap((score) => (entry.row !== null && scoreOf(entry, score) !== NOT_ASKED ? [score.write] : []));
  let columns = all.map((_, i) => i).filter((column) => table.columns[column] !== null);
  if (row !== null && entry.partial) columns = columns.filter((column) => !isUnchanged(row, column));
  if (kind === 'bury') columns = entry.row === null ? [] : columns.filter((column) => !key.includes(column));
  if (kind === 'partial') {
    const beside = columns.filter((column) => !key.includes(column));
    columns = beside.length === 0 && written.length === 0 ? columns.filter((column) => column === key[0]) : beside;
  }
  return { kind, table, types, columns, partial: entry.partial, scores: written satisfies readonly ScoreColumns[] };
}

const isEmpty = (group: Group | WholeGroup): boolean => !('last' in group) && group.entries.size === 0 && group.move === null;

function relationOf(group: Group | WholeGroup): PgRelation | null {
  if ('last' in group) return null; // Its table is known already.
  const { entries, move } = group;
  for (const { row, event } of move === null ? entries.values() : [move]) {
    const relation = encodedRelation(row ?? event.before);
    if (relation !== null) return relation;
  }
  return null;
}

function encodedRelation(row: Row | null): PgRelation | null {
  const origin = row instanceof MergedRow ? row.origin(0) : row;
  return origin instanceof PgRow ? origin.relation : null;
}

const encodedTypes = (row: Row | null): readonly PgColumnType[] | null => encodedRelation(row)?.types ?? null;

const NOT_ASKED = -1;
const NO_SCORE = -2;

/** The index of the event whose score an entry's row has; NOT_ASKED where the row's score stays as it is, NO_SCORE where it has none. */
function scoreOf(entry: Entry, score: Scores): number {
  for (let at: Entry | null = entry; at !== null; at = at.earlier) {
    const status = score.status[at.index];
    if (status === ScoreStatus.Scored) return at.index;
    if (status !== undefined && status !== ScoreStatus.NotAsked) return NO_SCORE;
  }
  return entry.fresh ? NO_SCORE : NOT_ASKED;
}

/** The scores that a form writes, in its order: those asked for in this entry. */
function scoreFor(entry: Entry, scores: readonly Scores[], place: number): { score: Scores; index: number } {
  let at = 0;
  for (const score of scores) {
    const index = scoreOf(entry, score);
    if (index === NOT_ASKED) continue;
    if (at === place) return { score, index };
    at++;
  }
  throw new PipelineError('BUG', 'an entry without the score of its form');
}

/** The row that a key cell is read from: of a move and a delete, the row before. */
function keyRow({ event, row }: Pick<Entry, 'event' | 'row'>, kind: WriteKind): Row {
  const from = kind === 'partial' ? row : (event.before ?? row);
  if (from === null) throw new PipelineError('BUG', `a ${event.op} of ${event.dataset.name} brings no key`);
  return from;
}

function cellRow(cell: StagedCell, entry: Entry, kind: WriteKind): Row {
  if (cell.from === 'key') return keyRow(entry, kind);
  if (entry.row === null) throw new PipelineError('BUG', `no row to write for a ${entry.event.op} of ${entry.event.dataset.name}`);
  return entry.row;
}

function copyBinary(writer: FrontendWriter, prepared: Prepared, entries: Entries, scores: readonly Scores[], verdicts: Uint8Array): void {
  const { cells, plain, form } = prepared;
  const messages = new CopyMessages(writer);
  const count = cells.length;
  const stretches = new Stretches(writer, messages, count);
  // Of a row with so many columns, its first cells are the row: one that is framed already goes as it is.
  const all = allOf(plain);
  for (let place = 0; place < entries.length; place++) {
    const row = entries instanceof WholeEntries ? entries.row(place) : (entries[place] as Entry).row;
    const isFramed = row instanceof PgRow && row.framedTo > 0 && all === row.relation.types.length;
    if (isFramed && all === count) {
      stretches.add(row);
      continue;
    }
    const entry = entries.at(place) as Entry;
    stretches.end();
    messages.next();
    let done = 0;
    if (plain !== null && row instanceof PgRow) {
      if (isFramed) writer.int16(count).rawRange(row.bytes, row.framedFrom, row.framedTo);
      else writer.copyRow(count, row.bytes, row.cells, row.at, plain);
      done = plain.length;
    } else writer.int16(count);
    for (let i = done; i < count; i++) {
      const cell = cells[i] as StagedCell;
      if (cell.from === 'score') copyScore(writer, cell, entry, scores);
      else if (cell.from === 'stamp') copyBytes(writer, stampBytes(cell.stamp, entry.event, verdicts[entry.index]));
      else writeEncoded(writer, cellRow(cell, entry, form.kind), cell.column, cell.translate);
    }
  }
  stretches.end();
  messages.end();
}

function copyAsText(
  writer: FrontendWriter,
  { cells, form }: Prepared,
  entries: Entries,
  scores: readonly Scores[],
  verdicts: Uint8Array,
): void {
  for (let place = 0; place < entries.length; place++) {
    const entry = entries.at(place) as Entry;
    const texts = cells.map((cell) => copyText(cellText(cell, entry, scores, verdicts, form.kind)));
    writer.copyData(Buffer.from(`${texts.join('\t')}\n`));
  }
}

function parameterOf(
  cell: StagedCell,
  entry: Entry,
  scores: readonly Scores[],
  verdicts: Uint8Array,
  { kind, types }: Form,
): ParameterBytes {
  if (types === null) return cellText(cell, entry, scores, verdicts, kind);
  if (cell.from === 'score' || cell.from === 'stamp') return besideBytes(cell, entry, scores, verdicts);
  return encodedCell(cellRow(cell, entry, kind), cell);
}

function encodedCell(row: Row, { column, translate }: Extract<StagedCell, { column: number }>): Buffer | null {
  const origin = row instanceof MergedRow ? row.origin(column) : row;
  if (!(origin instanceof PgRow)) throw new PipelineError('BUG', 'a row of plain values among encoded ones');
  const from = origin.cells[origin.at + 2 * column] ?? 0;
  const length = origin.cells[origin.at + 2 * column + 1] ?? -1;
  if (length < 0) return null;
  return translate === null ? origin.bytes.subarray(from, from + length) : translate(origin.bytes, from, length);
}

function cellText(cell: StagedCell, entry: Entry, scores: readonly Scores[], verdicts: Uint8Array, kind: WriteKind): string | null {
  if (cell.from === 'stamp') return stampText(cell.stamp, entry.event, verdicts[entry.index]);
  if (cell.from !== 'score') return valueText(cellRow(cell, entry, kind).value(cell.column));
  const { score, index } = scoreFor(entry, scores, cell.score);
  if (index === NO_SCORE) return null;
  if (cell.part === 'score') return String(score.values[index]);
  return cell.part === 'model' ? modelText(score) : new Date(score.atMs).toISOString();
}

const besideBytes = (
  cell: Extract<StagedCell, { from: 'score' | 'stamp' }>,
  entry: Entry,
  scores: readonly Scores[],
  verdicts: Uint8Array,
): Buffer | null => (cell.from === 'score' ? scoreBytes(cell, entry, scores) : stampBytes(cell.stamp, entry.event, verdicts[entry.index]));

function scoreBytes(cell: Extract<StagedCell, { from: 'score' }>, entry: Entry, scores: readonly Scores[]): Buffer | null {
  const { score, index } = scoreFor(entry, scores, cell.score);
  if (index === NO_SCORE) return null;
  if (cell.part !== 'score') return constantsOf(score)[cell.part];
  const bytes = Buffer.alloc(8);
  bytes.writeDoubleBE(score.values[index] ?? Number.NaN);
  return bytes;
}

function copyScore(writer: FrontendWriter, cell: Extract<StagedCell, { from: 'score' }>, entry: Entry, scores: readonly Scores[]): void {
  const { score, index } = scoreFor(entry, scores, cell.score);
  if (index === NO_SCORE) writer.int32(-1);
  else if (cell.part === 'score') {
    writer.int32(8);
    writer.float64(score.values[index] ?? Number.NaN);
  } else copyBytes(writer, constantsOf(score)[cell.part]);
}

/** What all scores of a batch have in common, encoded once. */
const constants = new WeakMap<Scores, { readonly model: Buffer; readonly at: Buffer }>();

function constantsOf(score: Scores): { readonly model: Buffer; readonly at: Buffer } {
  const known = constants.get(score);
  if (known !== undefined) return known;
  const made = { model: Buffer.from(modelText(score)), at: timeBytes(score.atMs) };
  constants.set(score, made);
  return made;
}

/** "order-risk@3". */
const modelText = ({ model, version }: Scores): string => `${model}@${version}`;

/** Whether the row at a move's old key has a score that stays. For `fold`. */
export function keepsScore(event: ChangeEvent, index: number, scores: readonly Scores[]): boolean {
  return scores.some(({ dataset, status }) => dataset === event.dataset.name && status[index] === ScoreStatus.NotAsked);
}
