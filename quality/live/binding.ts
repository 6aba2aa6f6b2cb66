/** The sets of a contract over one shape of its table: columns found, conditions compiled, times and groups read. */
import { compileExpression } from '../../core/expression.ts';
import { microsOf } from '../../core/expression/timestamp.ts';
import { type ChangeEvent, type Dataset, type Row, UNCHANGED, type Value } from '../../core/event.ts';
import { suggestion } from '../../core/expression/suggest.ts';
import type { Problem } from '../../core/problems.ts';
import { cutText } from '../../core/text.ts';
import type { Contract } from '../contract.ts';
import { comparableOf } from '../reference/form.ts';
import type { Keys } from '../rule-text.ts';
import { strayToken, tokensOfColumn } from '../missing.ts';
import { missingCells } from '../missing-cells.ts';
import { type FileCell, Unusable } from '../states/cell.ts';
import { Timed } from '../states/course.ts';
import { cellReader, joinedReader, presenceReader, type ReadCell, SAMPLES, timedReader, UNSEEN, unseen } from './cells.ts';
import { nothing } from '../windows/check.ts';
import type { LiveCheck, LiveRules } from './check.ts';
import type { SlotReader } from './fold.ts';
import { putInPlace } from './in-place.ts';
import { scoreReader, ScoreSight } from './scores.ts';
import { shareReader } from './share.ts';
import type { SetPlan, Slot } from './slots.ts';

export interface SetBinding {
  readonly readers: readonly SlotReader[];
  /** The group of a row; `other` has the cells that an update did not send. */
  readonly groupOf: (row: Row, other: Row | null) => string;
}

export interface Binding {
  readonly sets: readonly SetBinding[];
  /** When a row happened, in ms, where a column says it; null where it does not. */
  readonly timeOf: (row: Row, other: Row | null) => number | null;
  /** The row that there was; null also where the source sent nothing but the key of one that was deleted. */
  readonly oldRowOf: (event: ChangeEvent) => Row | null;
}

/** `sight`: where readers of scores look; left out, there are none. */
export function bindSets(contract: Contract, sets: readonly SetPlan[], dataset: Dataset, sight = new ScoreSight()): Binding {
  const columnOf = (name: string) => dataset.columns.findIndex((column) => column.name === name);
  const { eventTime } = contract.live;
  const others = dataset.columns.flatMap((column, i) => (dataset.key.includes(i) ? [] : [presenceReader(column, i)]));
  const hasKeyAlone = (row: Row, event: ChangeEvent) => others.length > 0 && others.every((read) => read(row, null, event) === null);
  return {
    oldRowOf: (event) => (event.op === 'delete' && event.before !== null && hasKeyAlone(event.before, event) ? null : event.before),
    timeOf: eventTime.kind === 'commit' ? () => null : timeReader(columnOf(eventTime.column)),
    sets: sets.map(({ slots, groupBy }) => ({
      readers: slots.map((slot) => readerOf(slot, dataset, contract, sight)),
      groupOf: groupBy.length === 0 ? () => '' : groupReader(groupBy.map(columnOf)),
    })),
  };
}

function readerOf(slot: Slot, dataset: Dataset, contract: Contract, sight: ScoreSight): SlotReader {
  const compiled = slot.where === null ? null : compileExpression(slot.where, { dataset, path: 'where', want: 'bool' });
  const where: SlotReader['where'] = compiled === null || compiled.kind === 'refused' ? null : (event) => fits(compiled.evaluate, event);
  if (slot.reads?.kind === 'score') {
    const reader = scoreReader(slot.reads, dataset.name, sight, where);
    return compiled?.kind === 'refused' ? { ...reader, read: unseen } : reader;
  }
  return {
    // A table that changed since: nothing can be read of it, and the checks say so.
    read: compiled?.kind === 'refused' ? unseen : readOf(slot, dataset, contract),
    put: compiled?.kind === 'refused' ? null : putInPlace(slot, dataset),
    where,
  };
}

/** null where rows alone are counted. */
function readOf({ column, rows, reads, kind, missing, missingIsDefault }: Slot, dataset: Dataset, contract: Contract): ReadCell | null {
  const cellOf = (name: string, tokens = missing): ReadCell => {
    const index = dataset.columns.findIndex((candidate) => candidate.name === name);
    const found = dataset.columns[index];
    if (found === undefined) return unseen;
    const withoutTokens = missingCells(missingIsDefault ? tokensOfColumn(found, tokens) : tokens);
    if (withoutTokens !== null) return readWith(withoutTokens, cellReader(found, index));
    return kind === nothing ? presenceReader(found, index) : cellReader(found, index);
  };
  if (rows !== null) return column !== null && cellOf(column) === unseen ? unseen : shareReader(rows, contract, dataset);
  if (reads?.kind === 'columns') return joinedReader(reads.columns.map((name) => cellOf(name)));
  if (column === null) return null;
  const { eventTime } = contract.live;
  if (reads?.kind !== 'timed') return cellOf(column);
  return eventTime.kind === 'column' ? timedReader(cellOf(column), cellOf(eventTime.column, [])) : unseen;
}

function readWith(withoutTokens: (cell: FileCell) => FileCell, read: ReadCell): ReadCell {
  return (row, other, event) => {
    const cell = read(row, other, event);
    return cell === UNSEEN ? UNSEEN : withoutTokens(cell);
  };
}

function fits(evaluate: (event: ChangeEvent) => unknown, event: ChangeEvent): boolean | undefined {
  try {
    const said = evaluate(event);
    return said === undefined ? undefined : said === true;
  } catch {
    return false;
  }
}

function valueOf(row: Row, other: Row | null, index: number): Value {
  if (index < 0) return null;
  const value = row.value(index);
  return value === UNCHANGED ? (other === null ? null : other.value(index)) : value;
}

function timeReader(index: number): Binding['timeOf'] {
  let lastText = '';
  let lastMs: number | null = null;
  return (row, other) => {
    try {
      const value = valueOf(row, other, index);
      if (typeof value !== 'string') return null;
      if (value === lastText) return lastMs;
      const micros = microsOf(value);
      const ms = micros === null ? null : Number(micros / 1000n);
      lastText = value;
      lastMs = ms !== null && Number.isSafeInteger(ms) && ms >= 0 ? ms : null;
      return lastMs;
    } catch {
      return null;
    }
  };
}

const GROUPS_KNOWN_MAX = 1000;
const TEXT_MAX = 200;

/** Groups are few: the text of one is made once. */
function groupReader(indexes: readonly number[]): SetBinding['groupOf'] {
  const [only = -1] = indexes;
  const known = new Map<unknown, string>();
  const textOf = (row: Row, other: Row | null) => JSON.stringify(indexes.map((index) => shown(valueOf(row, other, index))));
  if (indexes.length > 1) return textOf;
  return (row, other) => {
    const value = valueOf(row, other, only);
    const found = known.get(value);
    if (found !== undefined) return found;
    if (known.size >= GROUPS_KNOWN_MAX) known.clear();
    const made = textOf(row, other);
    known.set(value, made);
    return made;
  };
}

function shown(value: Value): string | number | boolean | null {
  if (typeof value === 'number' || typeof value === 'boolean' || value === null) return value;
  const text = value instanceof Uint8Array ? Buffer.from(value).toString('hex') : String(value);
  return cutText(text, TEXT_MAX);
}

/** What keeps the contract's window checks from being used over this table, and what its old rows do to them. */
export function liveProblems({ live, place }: Contract, dataset: Dataset, oldRows: 'full' | 'key' | undefined): Problem[] {
  const problems: Problem[] = [];
  const say = (severity: Problem['severity'], keys: Keys, message: string, fix: string) =>
    void problems.push({ severity, path: place(keys), message, fix });
  const names = dataset.columns.map(({ name }) => name);
  const needsColumn = (keys: Keys, name: string) => {
    if (!names.includes(name)) say('error', keys, `${dataset.name} has no column "${name}"`, suggestion(name, names, 'column'));
  };
  const { eventTime, checks } = live;
  if (checks.length > 0 && eventTime.kind === 'column') eventTimeProblems(eventTime.column, dataset, say);
  for (const check of checks) {
    if (check.column !== null) needsColumn(check.keys[0] === 'columns' ? check.keys.slice(0, 2) : check.keys, check.column);
    for (const name of check.groupBy) needsColumn([...check.keys, 'group_by'], name);
    whereProblems(check, dataset, place, problems, say);
    const reason = check.rows === null ? misfit(check, dataset) : null;
    if (reason !== null) say('error', check.keys, `${check.id}: ${reason}`, 'Correct the check, or remove it.');
    const own = check.rows === null ? dataset.columns.find(({ name }) => name === check.column) : undefined;
    const stray = own === undefined || check.missingIsDefault ? null : strayToken(own, check.missing);
    if (stray !== null) say('error', [...check.keys, 'missing'], `${check.id}: ${stray.message}`, stray.fix);
    const { reads } = check.check;
    if (reads?.kind === 'columns') for (const name of reads.columns) needsColumn(check.keys, name);
    if (oldRows === 'key' && needsOldRows(check, live)) oldRowsProblem(check, eventTime.kind === 'column', dataset, say);
  }
  return problems;
}

/** Whether a row that goes from a window has to be known as it was. */
const needsOldRows = ({ spec, column, check: { reads } }: LiveCheck, { eventTime }: LiveRules): boolean =>
  spec.of === 'rows' && (column !== null || reads !== undefined || eventTime.kind === 'column');

/** What topics do to them that are not known to bring whole old rows. No record tells, and the tables behind them are not asked. */
export function oldRowsOfTopics({ live, place, dataset }: Contract, source: string): Problem[] {
  return live.checks
    .filter((check) => needsOldRows(check, live))
    .map(({ id, keys }) => ({
      severity: 'warning',
      path: place(keys),
      message: `${id}: of a row that is deleted ${source} brings the key of ${dataset} alone, and a window that may have lost one is indeterminate`,
      fix: `Say oldRows: full under sources.${source} where its tables have replica identity full, or are of MySQL or MariaDB; or write window: { of: changes }.`,
    }));
}

type Say = (severity: Problem['severity'], keys: Keys, message: string, fix: string) => void;

function eventTimeProblems(name: string, dataset: Dataset, say: Say): void {
  const column = dataset.columns.find((candidate) => candidate.name === name);
  const keys = ['source', 'event_time'];
  const times = dataset.columns.filter(({ type }) => type === 'timestamp' || type === 'date').map((candidate) => candidate.name);
  if (column === undefined) say('error', keys, `${dataset.name} has no column "${name}"`, suggestion(name, times, 'column'));
  else if (column.type !== 'timestamp' && column.type !== 'date')
    say(
      'error',
      keys,
      `${name} is of type ${column.native}, and says no time`,
      times.length === 0 ? 'Write commit.' : `Name one of ${times.join(', ')}, or write commit.`,
    );
}

/** A row is taken back by what it was: its condition has to be a matter of the row alone. */
function whereProblems(check: LiveCheck, dataset: Dataset, place: Contract['place'], problems: Problem[], say: Say): void {
  if (check.where === null) return;
  const keys = [...check.keys, 'where'];
  const compiled = compileExpression(check.where, { dataset, path: place(keys), want: 'bool' });
  if (compiled.kind === 'refused' && check.rows === null) problems.push(...compiled.problems);
  const words = check.where.replace(/r?"[^"]*"|r?'[^']*'/g, '');
  if (check.spec.of === 'rows' && /\b(before|op|changed)\b/.test(words))
    say(
      'error',
      keys,
      `${check.id}: a window of rows takes a row back by what it was, and this condition also looks at the change`,
      'Write window: { of: changes }, or a condition on after alone.',
    );
}

/** Tries the check on one value of the column's type. */
function misfit({ check, column }: LiveCheck, dataset: Dataset): string | null {
  const found = dataset.columns.find(({ name }) => name === column);
  if (found === undefined) return null;
  if (check.comparable !== undefined && check.comparable !== comparableOf(found.type))
    return `its reference is of ${check.comparable}, and ${column} is of type ${found.native}`;
  try {
    const state = check.kind.create();
    const sample = SAMPLES[found.type];
    state.add(check.reads?.kind === 'timed' ? new Timed(0, sample) : sample);
    check.judge(state, { rows: 1, missing: 0 });
    return null;
  } catch (error) {
    if (!(error instanceof Unusable)) throw error;
    return `${error.message.replace(/\.$/, '')} (${column} is of type ${found.native})`;
  }
}

function oldRowsProblem(check: LiveCheck, byColumn: boolean, dataset: Dataset, say: Say): void {
  const fix = `Run \`alter table … replica identity full\` on the source, or write window: { of: changes }.`;
  if (byColumn)
    say(
      'error',
      check.keys,
      `${check.id}: the source sends only old keys of ${dataset.name}, so that nobody knows which window an updated row was in`,
      fix,
    );
  else
    say(
      'warning',
      check.keys,
      `${check.id}: the source sends only old keys of ${dataset.name}: a window in which a row is changed twice, or deleted, is indeterminate`,
      fix,
    );
}
