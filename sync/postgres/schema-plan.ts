/**
 * What is done to a table of the target when its dataset changes: actions, and the statements that are left of them to run. Nothing is ever dropped: a
 * column that is gone at the source stays and takes nulls, one that has to make room is renamed.
 */
import type { Dataset } from '../../core/event.ts';
import {
  formerColumns,
  isRemade,
  type JudgedChange,
  keyNames,
  type NumberedColumn,
  type Shape,
  type ShapeChange,
  type ShapeColumn,
} from '../../core/shape.ts';
import { PgError, type PgConnection } from '../../wire/postgres/connection.ts';
import { quoteIdent, quoteLiteral } from '../../wire/postgres/ident.ts';
import type { PgRelation } from '../../wire/postgres/row.ts';
import { textArrayParameter } from './arrays.ts';
import { aliveSql, type Layout, placesFaults } from './layout.ts';
import type { Creation } from './new-tables.ts';
import type { LackingType } from './target-types.ts';

/** A column of the source, and what it is called in the target's table; null where it is not written there. */
export interface PlacedColumn extends ShapeColumn {
  readonly place: string | null;
  /** What the target goes on taking it for, where a change of it is ignored: null for a column that is not there. Left out where none is. */
  readonly ignored?: Pick<ShapeColumn, 'name' | 'native'> | null;
}

/** A shape of the source as the target has taken it up. */
export interface PlacedShape extends Shape {
  readonly columns: readonly PlacedColumn[];
  /** Columns that the source has no more, and the target still has. */
  readonly dropped: readonly PlacedColumn[];
  /** See `PgRelation.storage`; null where it is not known. */
  readonly storage: string | null;
  /** The target's table, and which of its rows are there (`aliveSql`); left out by versions that did not write it down. */
  readonly at?: { readonly schema: string; readonly table: string; readonly alive: string | null };
}

export type Action =
  /** A column that was dropped at the source long ago makes room for one of its name. */
  | { readonly do: 'aside'; readonly column: string; readonly to: string }
  | { readonly do: 'rename'; readonly column: string; readonly to: string }
  | { readonly do: 'retype'; readonly column: string; readonly from: string; readonly type: string }
  | { readonly do: 'add'; readonly column: string; readonly type: string; readonly filled: string | null }
  | { readonly do: 'key'; readonly columns: readonly string[] }
  | { readonly do: 'relax'; readonly column: string }
  /** For people: a table is made when there is something to write. */
  | Creation;

export interface ChangePlan {
  readonly actions: readonly Action[];
  readonly after: PlacedShape;
  readonly needs: Needs;
  /** Why somebody has to look, whatever the policy: a column would not be written any more, or has nowhere to go. Null where nobody has. */
  readonly problem: string | null;
}

/**
 * What rows that the target has may hold otherwise at the source by now, of which there are no events: nothing; these columns, by their names at the target;
 * or who knows what.
 */
export type Needs = readonly string[] | 'rows';

export const needsBoth = (a: Needs, b: Needs): Needs => (a === 'rows' || b === 'rows' ? 'rows' : [...new Set([...a, ...b])]);

/** As the source knows them; null where whole rows have to be read: a part of one is told by its key from others. */
export function neededColumns(needs: Needs, { columns, key }: PlacedShape): readonly NumberedColumn[] | null {
  if (needs === 'rows') return null;
  const found = needs.map((place) => columns.find((column) => column.place === place));
  return found.every(isNumbered) && !found.some(({ name }) => key.includes(name)) ? found.map(({ id, name }) => ({ id, name })) : null;
}

const isNumbered = (column: PlacedColumn | undefined): column is PlacedColumn & { readonly id: number } =>
  column !== undefined && column.id !== null;

/** A shape of the source that the target is to take up, with all that a plan asks of it: what is kept of it may be planned again by another layout. */
export interface Arrival {
  readonly dataset: Dataset;
  /** See `PgRelation.storage`; null where it is not known. */
  readonly storage: string | null;
  /** By column: see `PgColumnType.filled`. */
  readonly filled: readonly (string | null)[];
  /** By column: its type at the target, as SQL. */
  readonly types: readonly string[];
  /** By column: the type that the target lacks for it, with nothing to stand for it; left out where it has all. */
  readonly lacking?: readonly (LackingType | null)[];
}

export const arrivalOf = (dataset: Dataset, relation: PgRelation | null, types: readonly string[]): Arrival => ({
  dataset,
  storage: relation?.storage ?? null,
  filled: dataset.columns.map((_, i) => relation?.types[i]?.filled ?? null),
  types,
});

/** How the target is to have a table: `beside` are the names of what is written there beside the dataset's columns. */
export interface Wanted {
  readonly layout: Layout;
  readonly beside: readonly string[];
}

/** The shape of a dataset that the target takes as its layout has it. */
export function placedAsIs(dataset: Dataset, layout: Layout, storage: string | null): PlacedShape {
  return {
    columns: dataset.columns.map(({ name, native, id }, i) => ({ name, native, id: id ?? null, place: layout.names[i] ?? null })),
    dropped: [],
    key: keyNames(dataset),
    storage,
    ...identityOf(dataset, layout),
  };
}

/** Whether the config has the rows elsewhere by now. */
export const isElsewhere = ({ at }: PlacedShape, { schema, table }: Layout): boolean =>
  at !== undefined && (at.schema !== schema || at.table !== table);

function identityOf(dataset: Dataset, layout: Layout): Pick<PlacedShape, 'table' | 'at'> {
  const { schema, table } = layout;
  return { at: { schema, table, alive: aliveSql(layout, '') }, ...(dataset.table === undefined ? {} : { table: dataset.table }) };
}

/** Where each of the dataset's columns is at the target; null where it is not written. Of an older shape: what has become of its columns since. */
export function placesOf(shape: PlacedShape, dataset: Dataset): (string | null)[] {
  return placedColumns(shape, dataset).map((column) => column?.place ?? null);
}

/** What the target has each of the dataset's columns for; null for one that it does not know. */
export function placedColumns(shape: PlacedShape, dataset: Dataset): (PlacedColumn | null)[] {
  const current = formerColumns(shape, dataset);
  const dropped = formerColumns({ ...shape, columns: shape.dropped }, dataset);
  return dataset.columns.map((_, i) => current[i] ?? dropped[i] ?? null);
}

/** The shape as it would be had the source not made the changes that are ignored. Those of a former table of the name are over with it: its columns are told by their names of last. */
export function asTaken(shape: PlacedShape, dataset: Dataset): PlacedShape {
  if (shape.columns.every(({ ignored }) => ignored === undefined)) return shape;
  const isOver = isRemade(shape, dataset);
  const taken = new Map(shape.columns.map((column) => [column.name, takenAs(column, isOver)]));
  return {
    ...shape,
    columns: [...taken.values()].filter((column) => column !== null),
    key: shape.key.map((name) => taken.get(name)?.name ?? name),
  };
}

function takenAs({ ignored, ...column }: PlacedColumn, isOver: boolean): PlacedColumn | null {
  if (ignored === null) return null;
  return ignored === undefined || isOver ? column : { ...column, ...ignored };
}

/** Whether the target has every column where the layout wants it, but for those whose changes are ignored. */
export function isAsWanted(shape: PlacedShape, dataset: Dataset, layout: Layout): boolean {
  if (isElsewhere(shape, layout) || (shape.at !== undefined && shape.at.alive !== aliveSql(layout, ''))) return false;
  const columns = formerColumns(shape, dataset);
  return columns.every((column, i) => column === null || isPlaceIgnored(column) || column.place === layout.names[i]);
}

/** Whether it is where it is because its name, or all of it, is ignored. */
const isPlaceIgnored = ({ ignored, name }: PlacedColumn): boolean => ignored !== undefined && ignored?.name !== name;

/** `shape`: as the target follows it. `judged`: all that is different from what it has taken of that (`asTaken`). */
export function planChange(
  shape: PlacedShape,
  judged: readonly JudgedChange[],
  { dataset, storage, filled, types }: Arrival,
  { layout, beside }: Wanted,
): ChangePlan {
  const actions: Action[] = [];
  const before = asTaken(shape, dataset);
  const formers = formerColumns(before, dataset);
  /** A column that is there already and was ignored so far: nobody read it. */
  const wasIgnored = formerColumns(shape, dataset).map((former, i) => former !== null && formers[i] === null);
  const hasOtherTable = isRemade(before, dataset);
  const unnumbered = (column: PlacedColumn): PlacedColumn => (hasOtherTable ? { ...column, id: null } : column);
  const dropped: PlacedColumn[] = before.dropped.map(unnumbered);
  const hasOtherKey = judged.some(({ change }) => change.kind === 'key');
  const indexOf = ({ column }: ShapeChange): number => dataset.columns.findIndex(({ name }) => name === column);
  // Another key waits for a person whatever the policy: rows are written by it, and so its columns are.
  const ignored = new Set<ShapeChange>(
    judged.flatMap(({ change, policy }) =>
      policy === 'ignore' && change.kind !== 'key' && !(hasOtherKey && dataset.key.includes(indexOf(change))) ? [change] : [],
    ),
  );
  const isIgnored = (i: number, kind: ShapeChange['kind']): boolean =>
    [...ignored].some((change) => change.kind === kind && indexOf(change) === i);
  /** Whether the source may have written all rows anew, with values that no event told of. */
  const isRewritten = storage === null || storage !== before.storage;
  const newest = Math.max(0, ...[...before.columns, ...before.dropped].map(({ id }) => id ?? 0));
  /** Numbers only grow: what was generated is sent once it is a column like others, and rows have had values in it. */
  const wasThere = (id: number): boolean => id <= newest;
  /** A column has come and gone, unseen: events that had it may be taken for ones of a later column of its name. */
  const hasSkipped = dataset.columns.some(
    ({ id }) => id !== undefined && id > newest + 1 && !dataset.columns.some((one) => one.id === id - 1),
  );
  /** What looks like a column that is gone and another one made may be a rename. */
  const isUnsure = hasOtherTable || hasSkipped || before.columns.some((column) => column.id === null && !formers.includes(column));
  let needs: Needs = [];
  let problem: string | null = null;
  const places = formers.map((former) => former?.place ?? null);
  for (const { change } of judged) {
    if (change.kind === 'drop') {
      const column = before.columns.find(({ name }) => name === change.column);
      if (column === undefined) continue;
      dropped.push(unnumbered(column));
      if (!ignored.has(change) && column.place !== null) actions.push({ do: 'relax', column: column.place });
    }
  }
  const makeRoom = (name: string): void => {
    const at = dropped.findIndex(({ place }) => place === name);
    const old = dropped[at];
    if (old === undefined) return;
    const to = freeName(name, (one) => [...before.columns, ...dropped].some((column) => column.place === one));
    actions.push({ do: 'aside', column: name, to });
    dropped[at] = { ...old, place: to };
  };
  // Where the columns go that stay what they are: by their layout, which may be another since, or by their names, which may. First those that are left out from now on.
  const moved = formers.flatMap((former, i) =>
    former === null || former.place === (layout.names[i] ?? null) || isIgnored(i, 'rename')
      ? []
      : [{ i, former, name: layout.names[i] ?? null }],
  );
  for (const { i, former, name } of moved) {
    if (name !== null) continue;
    if (layout.chosen?.includes(former.name) === true)
      problem ??= `its layout writes ${former.name}, and not ${dataset.columns[i]?.name ?? ''}, as that is called now`;
    if (former.place === null) continue;
    places[i] = null;
    dropped.push(unnumbered(former));
    actions.push({ do: 'relax', column: former.place });
  }
  for (const { i, former, name } of moved) {
    if (name === null) continue;
    let { place } = former;
    if (place === null) {
      needs = needsBoth(needs, [name]);
      const at = dropped.findIndex((column) => column.id !== null && column.id === former.id && column.place !== null);
      const left = dropped[at];
      if (left !== undefined) {
        dropped.splice(at, 1);
        place = left.place;
        if (left.native !== dataset.columns[i]?.native)
          actions.push({ do: 'retype', column: name, from: left.native, type: types[i] ?? 'text' });
      }
    }
    places[i] = name;
    if (place === name) continue;
    makeRoom(name);
    actions.push(
      place === null ? { do: 'add', column: name, type: types[i] ?? 'text', filled: null } : { do: 'rename', column: place, to: name },
    );
  }
  for (const { change } of judged) {
    if (ignored.has(change)) continue;
    const i = indexOf(change);
    // Under a name that was another column's, its rows may have been taken for that one's before the source told them apart.
    if ((change.kind === 'rename' || change.kind === 'add') && before.columns.some(({ name }) => name === change.column)) needs = 'rows';
    const name = layout.names[i] ?? null;
    const place = places[i] ?? null;
    if (change.kind === 'type' && place !== null) {
      actions.push({ do: 'retype', column: place, from: change.from, type: types[i] ?? 'text' });
      if (isRewritten) needs = needsBoth(needs, [place]);
    } else if (change.kind === 'add' && name !== null) {
      if (places.includes(name)) {
        problem ??= `${change.column} has nowhere to go: another column of the source is written to ${name}`;
        continue;
      }
      makeRoom(name);
      actions.push({ do: 'add', column: name, type: types[i] ?? 'text', filled: filled[i] ?? null });
      places[i] = name;
      if ((filled[i] ?? null) !== null && wasIgnored[i] !== true) continue;
      if (isUnsure || dataset.columns[i]?.id === undefined || dataset.key.includes(i)) needs = 'rows';
      else if (isRewritten || wasIgnored[i] === true || wasThere(dataset.columns[i]?.id ?? 0)) needs = needsBoth(needs, [name]);
    } else if (change.kind === 'key' && !change.keyless) {
      actions.push({ do: 'key', columns: dataset.key.map((column) => places[column] ?? dataset.columns[column]?.name ?? '') });
    }
  }
  const [fault] = placesFaults(dataset, places, beside);
  problem ??= fault?.message ?? null;
  return {
    actions: ORDER.flatMap((kind) => actions.filter((action) => action.do === kind)),
    after: {
      columns: dataset.columns.map(({ name, native, id }, i) => {
        const former = formers[i] ?? null;
        const taken = {
          name: former !== null && isIgnored(i, 'rename') ? former.name : name,
          native: former !== null && isIgnored(i, 'type') ? former.native : native,
        };
        const isTakenAsIs = taken.name === name && taken.native === native;
        return {
          name,
          native,
          id: id ?? (hasOtherTable ? null : (former?.id ?? null)),
          place: places[i] ?? null,
          ...(isIgnored(i, 'add') ? { ignored: null } : isTakenAsIs ? {} : { ignored: taken }),
        };
      }),
      dropped,
      key: keyNames(dataset),
      // What was rewritten for another reason (or later than this change) is not forgotten before rows were read for it.
      storage: needs.length > 0 ? storage : before.storage,
      ...identityOf(dataset, layout),
    },
    needs,
    problem,
  };
}

const ORDER: readonly Action['do'][] = ['aside', 'rename', 'retype', 'add', 'key', 'relax'];

/** A name for a column that makes room, within what a name may have. */
function freeName(name: string, isTaken: (name: string) => boolean): string {
  const stem = Buffer.from(name).subarray(0, 52).toString().replace(/�$/, '');
  for (let n = 1; ; n++) {
    const free = `${stem}_old${n === 1 ? '' : n}`;
    if (!isTaken(free)) return free;
  }
}

interface PresentColumn {
  readonly type: string;
  readonly oid: number;
  readonly notNull: boolean;
  readonly hasDefault: boolean;
}
/** The target's table as it is. */
interface Present {
  readonly exists: boolean;
  readonly columns: Map<string, PresentColumn>;
  readonly primaryKey: { readonly name: string; readonly columns: readonly string[] } | null;
  /** Columns of its unique indexes. */
  readonly unique: readonly (readonly string[])[];
  /** The target's own number of types of the source by their names. */
  readonly types: ReadonlyMap<string, number | null>;
}

/** How values of a column become those of its new type: by the type's own cast; by their text; or not at all, in a column of its own. */
export const CASTS = ['cast', 'text', 'anew'] as const;
export type Cast = (typeof CASTS)[number];

export interface Left {
  /** In order; none where the table is as it should be. */
  readonly statements: readonly string[];
  /** A column was there already, and nobody knows what with. */
  readonly needs: Needs;
  /** Columns that keep what could not be cast, by their names from then on. */
  readonly kept: readonly string[];
}

/** What is left to do of the actions. */
export async function statementsLeft(sql: PgConnection, qualified: string, actions: readonly Action[], how: Cast = 'cast'): Promise<Left> {
  const present = await presentTable(sql, qualified, actions);
  // It is made as it should be when the first row comes.
  if (!present.exists) return { statements: [], needs: [], kept: [] };
  const statements: string[] = [];
  const kept: string[] = [];
  let needs: Needs = [];
  const alter = (what: string): void => {
    statements.push(`alter table ${qualified} ${what}`);
  };
  const { columns } = present;
  let { primaryKey, unique } = present;
  const move = (from: string, to: string): void => {
    const column = columns.get(from);
    if (column === undefined) return;
    columns.delete(from);
    columns.set(to, column);
    // Indexes stay on the column, whatever it is called.
    const moved = (names: readonly string[]): readonly string[] => names.map((name) => (name === from ? to : name));
    if (primaryKey !== null) primaryKey = { ...primaryKey, columns: moved(primaryKey.columns) };
    unique = unique.map(moved);
    alter(`rename column ${quoteIdent(from)} to ${quoteIdent(to)}`);
  };
  const add = (name: string, type: string, filled: string | null): void => {
    columns.set(name, { type, oid: 0, notNull: false, hasDefault: filled !== null });
    alter(`add column ${quoteIdent(name)} ${type}${filled === null ? '' : ` default ${quoteLiteral(filled)}::${type}`}`);
  };
  const relax = (name: string): void => {
    if (columns.get(name)?.notNull === true && primaryKey?.columns.includes(name) !== true)
      alter(`alter column ${quoteIdent(name)} drop not null`);
  };
  const renames = actions.filter((action) => action.do === 'rename');
  for (const action of actions) {
    switch (action.do) {
      case 'aside':
        if (!columns.has(action.to)) move(action.column, action.to);
        break;
      case 'rename':
        break; // All of them at once, below.
      case 'retype': {
        const column = columns.get(action.column);
        // What somebody made otherwise on purpose stays, and takes what can be cast to it.
        const isOurs = column !== undefined && (present.types.get(action.from) ?? TEXT) === column.oid;
        if (!isOurs || column.type === action.type) break;
        // A row is found by its key: without its value nobody could tell which it is.
        if (how === 'anew' && !unique.some((names) => names.includes(action.column))) {
          const name = freeName(action.column, (one) => columns.has(one));
          kept.push(name);
          move(action.column, name);
          add(action.column, action.type, null);
          needs = needsBoth(needs, [action.column]);
          break;
        }
        const name = quoteIdent(action.column);
        const byText = how !== 'cast';
        const unset = byText && column.hasDefault ? `alter column ${name} drop default, ` : '';
        alter(`${unset}alter column ${name} type ${action.type} using ${name}${byText ? '::text' : ''}::${action.type}`);
        break;
      }
      case 'add':
        if (columns.has(action.column)) needs = needsBoth(needs, [action.column]);
        else add(action.column, action.type, action.filled);
        break;
      case 'key': {
        if (unique.some((names) => sorted(names) === sorted(action.columns))) break;
        const drop = primaryKey === null ? '' : `drop constraint ${quoteIdent(primaryKey.name)}, `;
        alter(`${drop}add primary key (${action.columns.map(quoteIdent).join(', ')})`);
        for (const column of primaryKey?.columns ?? [])
          if (!action.columns.includes(column)) alter(`alter column ${quoteIdent(column)} drop not null`);
        break;
      }
      case 'relax':
        relax(action.column);
        break;
      case 'create':
        break;
    }
    // Names may be exchanged: what is in the way of another goes by a name of its own.
    if (action !== renames[0]) continue;
    let waiting = renames.filter(({ column, to }) => columns.has(column) && column !== to);
    while (waiting.length > 0) {
      const free = waiting.find(({ to }) => !columns.has(to));
      if (free !== undefined) move(free.column, free.to);
      const rest = waiting.filter((one) => one !== free);
      const next = rest[0];
      if (free === undefined && next !== undefined) {
        if (rest.some(({ column }) => column === next.to)) {
          const passing = freeName(next.to, (one) => columns.has(one));
          move(next.to, passing);
          waiting = rest.map((one) => (one.column === next.to ? { ...one, column: passing } : one));
          continue;
        }
        // A column of that name is there, made by somebody: it is taken, and the old one stays.
        relax(next.column);
        needs = 'rows';
        waiting = rest.slice(1);
        continue;
      }
      waiting = rest;
    }
  }
  return { statements, needs, kept };
}

const TEXT = 25;
const sorted = (names: readonly string[]): string => JSON.stringify(names.toSorted());

async function presentTable(sql: PgConnection, qualified: string, actions: readonly Action[]): Promise<Present> {
  const found = await sql.query('select to_regclass($1)::oid', [qualified]);
  const oid = found.rows[0]?.[0] ?? null;
  const natives = actions.flatMap((action) => (action.do === 'retype' ? [action.from] : []));
  const types = await sql.query('select n, to_regtype(n)::oid from unnest($1::text[]) n', [textArrayParameter(natives)]);
  const columns = await sql.query(
    `select attname, format_type(atttypid, atttypmod), atttypid, attnotnull, atthasdef from pg_attribute
     where attrelid = $1::oid and attnum > 0 and not attisdropped`,
    [oid ?? '0'],
  );
  const keys = await sql.query(
    `select c.conname, array_to_json(array(select a.attname from unnest((i.indkey::int2[])[0:i.indnkeyatts - 1]) k join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k))
     from pg_index i left join pg_constraint c on c.conindid = i.indexrelid and c.contype = 'p'
     where i.indrelid = $1::oid and i.indisunique and i.indisvalid and i.indimmediate and i.indpred is null and i.indexprs is null`,
    [oid ?? '0'],
  );
  const indexes = keys.rows.map(([name, list]) => ({ name: name ?? null, columns: JSON.parse(list ?? '[]') as string[] }));
  const primary = indexes.find(({ name }) => name !== null);
  return {
    exists: oid !== null,
    columns: new Map(
      columns.rows.map(([name, type, number, notNull, hasDefault]) => [
        name ?? '',
        { type: type ?? '', oid: Number(number), notNull: notNull === 't', hasDefault: hasDefault === 't' },
      ]),
    ),
    primaryKey: primary === undefined || primary.name === null ? null : { name: primary.name, columns: primary.columns },
    unique: indexes.map((index) => index.columns),
    types: new Map(types.rows.map(([name, number]) => [name ?? '', number === null || number === undefined ? null : Number(number)])),
  };
}

/**
 * Runs what is left of the actions, inside the caller's transaction: each way to cast in turn, until one works. Throws the error of the last. Answers
 * the shape that the table has then, and what has to be read anew for it.
 */
export async function runPlan(sql: PgConnection, qualified: string, plan: ChangePlan): Promise<Pick<ChangePlan, 'after' | 'needs'>> {
  const { actions, after } = plan;
  const keyed = actions.some((action) => action.do === 'key');
  const ways = actions.some((action) => action.do === 'retype') ? CASTS.filter((cast) => cast !== 'anew' || !keyed) : CASTS.slice(0, 1);
  for (const [i, how] of ways.entries()) {
    await sql.script('savepoint tidegate_change');
    try {
      const { statements, needs, kept } = await statementsLeft(sql, qualified, actions, how);
      for (const statement of statements) await sql.script(statement);
      await sql.script('release savepoint tidegate_change');
      const dropped = [...after.dropped, ...kept.map((place) => ({ ...NOBODYS, place }))];
      return { after: kept.length === 0 ? after : { ...after, dropped }, needs: needsBoth(plan.needs, needs) };
    } catch (error) {
      if (!(error instanceof PgError) || i === ways.length - 1 || !isOfTheCast(error)) throw error;
      await sql.script('rollback to savepoint tidegate_change; release savepoint tidegate_change');
    }
  }
  return plan;
}

/** A column of the target that is none of the source's any more: no column has this name. */
const NOBODYS: Omit<PlacedColumn, 'place'> = { name: '', native: '', id: null };

/** Whether values have no such cast, or some of them cannot be cast: another way may do. What stands on the column, or whose it is, is in the way of any. */
const isOfTheCast = ({ code }: PgError): boolean => code.startsWith('22') || code === '42804' || code === '42846' || code === '42883';

/** Whether the target cannot take the change as it is, rather than being busy, away or full. */
export function isOfTheChange({ code }: PgError): boolean {
  return /^(0A|22|23|2B|42|44|54|55006|P0)/.test(code);
}
