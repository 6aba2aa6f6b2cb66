/**
 * The target's side of a comparison with its source: its tables as checksums, and looks that see rows, the lane's place and the quarantine in one
 * snapshot. Nothing is written.
 */
import type { ItemStatus } from '../../core/contracts.ts';
import { PipelineError } from '../../core/errors.ts';
import type { ChangeEvent, Dataset, DatasetName, LaneId, Position } from '../../core/event.ts';
import { PgConnection, type PgResult } from '../../wire/postgres/connection.ts';
import { type EventFamilies, unpackEvent } from '../../wire/postgres/event-bytes.ts';
import { arrayLiteral, quoteQualified } from '../../wire/postgres/ident.ts';
import {
  absentTable,
  type ComparedTable,
  COMPARING,
  describeColumns,
  describeTables,
  type KeyTexts,
  plainTable,
  type RowSight,
  RowSums,
  searchBy,
  type SideColumn,
} from '../../wire/postgres/row-sums.ts';
import { targetFailure } from './failures.ts';
import { OPEN_SQL } from './open-items.ts';
import { type Followed, placesAtTarget, readFollowed, readFollowedOf } from './kept-shapes.ts';
import { positionFrom } from './lanes.ts';
import { aliveSql, markOf, type DatasetsOptions, type Layout, Layouts } from './layout.ts';

export interface TargetTable {
  /** As `ComparedTable` has them. */
  readonly from: string;
  readonly version: string;
  /** Of the rows that are there: deleted ones may stay. */
  readonly filter: string | null;
  /**
   * In the order of the dataset's columns; `left-out` where the target does not take the source's values, for they are not to be written or it makes its
   * own, `lacking` where it has no such column.
   */
  readonly columns: readonly (SideColumn | 'left-out' | 'lacking')[];
  /** Whether an index serves ranges of the key in the order that the dataset has. */
  readonly ranged: boolean;
}

export interface TargetLook {
  readonly sights: readonly RowSight[];
  /** Where the lanes stood. */
  readonly lanes: ReadonlyMap<LaneId, Position>;
  /** By key as events write it: open items of the quarantine. */
  readonly open: ReadonlySet<string>;
}

/** An item that is settled: the newest of its key. */
export interface SettledItem {
  readonly id: string;
  readonly status: ItemStatus;
  readonly event: ChangeEvent;
}

/** A key with something open. */
export interface OpenKey {
  readonly key: string;
  /** The newest open event that concerns it. */
  readonly event: ChangeEvent;
  /** The newest version that the target took of it since, as `versionOf` writes it; null where it took none. */
  readonly taken: string | null;
}

/** In `TargetLook.open` for a truncate that is held: it concerns every key. No key has this text. */
export const EVERY_KEY = '\0';

export class TargetRows implements AsyncDisposable {
  readonly sql: PgConnection;
  readonly #name: string;
  readonly #pipeline: string;
  readonly #layouts: Layouts;
  readonly #families: EventFamilies = new Map();

  private constructor(sql: PgConnection, name: string, pipeline: string, layouts: Layouts) {
    this.sql = sql;
    this.#name = name;
    this.#pipeline = pipeline;
    this.#layouts = layouts;
  }

  /** `name`: the target's, as the config has it; `pipeline`: the one that writes it. */
  static async open(
    options: {
      readonly name: string;
      readonly pipeline: string;
      readonly url: string;
      readonly schema: string;
      readonly datasets?: DatasetsOptions;
    },
    signal: AbortSignal,
  ): Promise<TargetRows> {
    try {
      const { name, pipeline, url, schema, datasets } = options;
      const settings = { ...COMPARING, default_transaction_read_only: 'on' };
      const sql = await PgConnection.connect({ url, applicationName: 'tidegate verify', settings }, signal);
      signal.addEventListener('abort', () => sql.destroy(), { once: true });
      return new TargetRows(sql, name, pipeline, new Layouts(schema, datasets));
    } catch (error) {
      throw targetFailure(error, `opening the target ${options.name}`);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.sql.close();
  }

  /** Where the lane stands; null for one that was never begun. */
  async position(lane: LaneId): Promise<Position | null> {
    return this.#asked('looking at the lane', async () => {
      const known = await this.sql.query(`select to_regclass('tidegate.lanes')`);
      if ((known.rows[0]?.[0] ?? null) === null) return null;
      const [place, long] = (await this.sql.query(LANE_SQL, [lane])).rows[0] ?? [];
      return positionFrom(place, long);
    });
  }

  /** Where a source's lane stands, or each of those under it; none that was never begun. */
  async positions(lane: LaneId): Promise<ReadonlyMap<LaneId, Position>> {
    return this.#asked('looking at the lanes', async () => {
      const known = await this.sql.query(`select to_regclass('tidegate.lanes')`);
      return (known.rows[0]?.[0] ?? null) === null ? new Map() : positionsOf(await this.sql.query(LANES_SQL, [lane]));
    });
  }

  /** The dataset's table. One that is not there yet has no rows. Throws TARGET_SCHEMA where it lacks the key, or what marks rows as deleted. */
  async table(dataset: Dataset): Promise<TargetTable> {
    return this.#asked(`looking at the table of ${dataset.name}`, async () => {
      await this.sql.script('set search_path = pg_catalog');
      const followed = await readFollowed(this.sql, this.#pipeline, dataset.name);
      const layout = this.#layoutOf(dataset, followed);
      const [oid = null, kind] = (await this.sql.query(KIND_SQL, [quoteQualified(layout.schema, layout.table)])).rows[0] ?? [];
      if (oid === null) return { ...notThere(layout), ranged: true };
      const described = await describeColumns(this.sql, Number(oid));
      const { key, ...found } = tableFrom(dataset, layout, followed, kind === 'p', described);
      await searchBy(this.sql, key);
      const indexed = await this.sql.query(INDEX_SQL, [oid, arrayLiteral(key.map((column) => column.name))]);
      return { ...found, ranged: indexed.rows.length > 0 };
    });
  }

  /** The tables of several datasets, to be read as wholes: no index and no operators of their keys' types are looked for. One that `table` would refuse is left out. */
  async wholeTables(datasets: readonly Dataset[]): Promise<ReadonlyMap<DatasetName, TargetTable>> {
    return this.#asked('looking at tables', async () => {
      await this.sql.script('set search_path = pg_catalog');
      const followed = await readFollowedOf(
        this.sql,
        this.#pipeline,
        datasets.map(({ name }) => name),
      );
      const layouts = datasets.map((dataset) => this.#layoutOf(dataset, followed.get(dataset.name) ?? null));
      const { rows } = await this.sql.query(KINDS_SQL, [arrayLiteral(layouts.map(({ schema, table }) => quoteQualified(schema, table)))]);
      const kinds = new Map(rows.map(([n, oid, kind]) => [Number(n) - 1, { oid: Number(oid), isPartitioned: kind === 'p' }]));
      const described = await describeTables(
        this.sql,
        [...kinds.values()].map(({ oid }) => oid),
      );
      const found = new Map<DatasetName, TargetTable>();
      for (const [i, dataset] of datasets.entries()) {
        const [layout, kind] = [layouts[i], kinds.get(i)];
        if (layout === undefined) continue;
        const columns = kind === undefined ? undefined : described.get(kind.oid);
        try {
          if (kind === undefined) found.set(dataset.name, { ...notThere(layout), ranged: false });
          else if (columns !== undefined) {
            const { key: _, ...table } = tableFrom(dataset, layout, followed.get(dataset.name) ?? null, kind.isPartitioned, columns);
            found.set(dataset.name, { ...table, ranged: false });
          }
        } catch (error) {
          if (!(error instanceof PipelineError && error.code === 'TARGET_SCHEMA')) throw error;
        }
      }
      return found;
    });
  }

  #layoutOf(dataset: Dataset, followed: Followed | null): Layout {
    if (followed !== null) this.#layouts.follow(dataset.name, placesAtTarget(followed));
    return this.#layouts.of(dataset);
  }

  /** Rows, the places of the source's lanes and the quarantine, all in one snapshot. `eventKeys` are the keys as events write them. */
  async look(
    sums: RowSums,
    lane: LaneId,
    dataset: DatasetName,
    keys: readonly KeyTexts[],
    eventKeys: readonly string[],
  ): Promise<TargetLook> {
    const given = [dataset, arrayLiteral([...eventKeys, ''])];
    const [, lanes, sights, items] = await this.#asked('looking at rows', () =>
      Promise.all([
        this.sql.script('begin isolation level repeatable read read only'),
        this.sql.query(LANES_SQL, [lane]),
        sums.sights(keys),
        this.sql.query(OPEN_OF_SQL, given),
        this.sql.script('commit'),
      ]),
    );
    const open = new Set<string>();
    for (const [key, movedFrom, op] of items.rows) {
      open.add(op === 'truncate' ? EVERY_KEY : (key ?? ''));
      if (movedFrom !== null && movedFrom !== undefined) open.add(movedFrom);
    }
    return { sights, lanes: positionsOf(lanes), open };
  }

  /** Of each key the newest item that is settled, whatever became of it. */
  async settled(dataset: DatasetName, eventKeys: readonly string[]): Promise<ReadonlyMap<string, SettledItem>> {
    const { rows } = await this.#asked('looking into the quarantine', () =>
      this.sql.query(SETTLED_SQL, [dataset, arrayLiteral(eventKeys)]),
    );
    return new Map(
      rows.map(([key, id, status, event]) => [
        key ?? '',
        // A check constraint holds the status.
        { id: id ?? '', status: status as ItemStatus, event: unpackEvent(Buffer.from((event ?? '').slice(2), 'hex'), this.#families) },
      ]),
    );
  }

  /** Keys of a dataset that have something open, in order, after one of them. */
  openKeys(dataset: DatasetName, after: string | null, limit: number): Promise<readonly OpenKey[]> {
    return this.#openKeys(`${OPEN_KEYS_SQL} and ($2::text is null or k > $2) order by k, version desc limit $3${OPEN_KEYS_END}`, [
      dataset,
      after,
      limit,
    ]);
  }

  /** Of these keys, those that still have something open. */
  openAmong(dataset: DatasetName, keys: readonly string[]): Promise<readonly OpenKey[]> {
    return this.#openKeys(`${OPEN_KEYS_SQL} and k = any($2::text[]) order by k, version desc${OPEN_KEYS_END}`, [
      dataset,
      arrayLiteral(keys),
    ]);
  }

  /** Whether a truncate of the dataset is open: it concerns every key. */
  async isTruncateOpen(dataset: DatasetName): Promise<boolean> {
    const open = await this.#asked('looking into the quarantine', () => this.sql.query(OPEN_OF_SQL, [dataset, arrayLiteral([''])]));
    return open.rows.some(([, , op]) => op === 'truncate');
  }

  async #openKeys(sql: string, params: readonly (string | number | null)[]): Promise<readonly OpenKey[]> {
    const { rows } = await this.#asked('looking into the quarantine', () => this.sql.query(sql, params));
    return rows.map(([key, event, taken]) => ({
      key: key ?? '',
      event: unpackEvent(Buffer.from((event ?? '').slice(2), 'hex'), this.#families),
      taken: taken ?? null,
    }));
  }

  /** Reads a table for a comparison. */
  sums(table: ComparedTable): RowSums {
    return new RowSums({ query: (sql, params) => this.#asked('comparing rows', () => this.sql.query(sql, params)) }, table);
  }

  async #asked<T>(doing: string, work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      throw targetFailure(error, `${doing} at ${this.#name}`);
    }
  }
}

/** Of a table that is not there: compared as text, and as empty. */
const ABSENT_COLUMN = { oid: 25, type: 'text', base: 'text', order: 'bytes', schema: 'pg_catalog', generated: false };

type PlainTable = Omit<TargetTable, 'ranged'>;

function notThere({ names }: Layout): PlainTable {
  const columns = names.map((name) => (name === null ? 'left-out' : { ...ABSENT_COLUMN, name }));
  return { ...absentTable(names.filter((name) => name !== null)), filter: null, columns };
}

function tableFrom(
  dataset: Dataset,
  layout: Layout,
  followed: Followed | null,
  isPartitioned: boolean,
  described: ReadonlyMap<string, SideColumn>,
): PlainTable & { readonly key: readonly SideColumn[] } {
  const { schema, table, names } = layout;
  const qualified = quoteQualified(schema, table);
  // Beside the rows' own columns only what says which rows are there is asked for: a layout may not have been taken up yet.
  const mark = markOf(layout);
  const isMarked = mark !== undefined && described.has(mark.name);
  if (mark !== undefined && !isMarked && followed?.shape.at?.alive !== null)
    throw new PipelineError('TARGET_SCHEMA', `${qualified} at the target lacks the column ${mark.name} of the layout of ${dataset.name}`);
  const columns = names.map((name) => {
    const found = name === null ? undefined : described.get(name);
    if (found === undefined) return name === null ? 'left-out' : 'lacking';
    return found.generated ? 'left-out' : found;
  });
  const key = dataset.key.map((i) => columns[i]).filter((column) => typeof column === 'object');
  if (key.length < dataset.key.length)
    throw new PipelineError('TARGET_SCHEMA', `${qualified} at the target has not the key of ${dataset.name}, or makes it itself`);
  return { ...plainTable(schema, table, isPartitioned), filter: isMarked ? aliveSql(layout, 't') : null, columns, key };
}

const KINDS_SQL = `
  select k.n, c.oid, c.relkind from unnest($1::text[]) with ordinality k(name, n) join pg_class c on c.oid = to_regclass(k.name)`;
const KIND_SQL = 'select oid, relkind from pg_class where oid = to_regclass($1)';

/** By JSON, for nothing is made here: what an earlier version keeps has no such column yet. */
const PLACE = `position, to_jsonb(l) ->> 'position_long'`;
const LANE_SQL = `select ${PLACE} from tidegate.lanes l where lane = $1`;
const LANES_SQL = `select lane, ${PLACE} from tidegate.lanes l where position is not null and (lane = $1 or starts_with(lane, $1::text || '/'))`;

const positionsOf = ({ rows }: PgResult): ReadonlyMap<LaneId, Position> =>
  new Map(
    rows.flatMap(([lane, place, long]) => {
      const position = positionFrom(place, long);
      return position === null ? [] : [[lane as LaneId, position]]; // Written from one.
    }),
  );

/** One condition each, so that the indices of the open items serve both. A truncate has the empty key, as a row may have. */
const OPEN_OF_SQL = `
  select key, moved_from, op from tidegate.quarantine
   where dataset = $1 and key = any($2::text[]) and status in ${OPEN_SQL}
  union all
  select key, moved_from, op from tidegate.quarantine
   where dataset = $1 and moved_from = any($2::text[]) and status in ${OPEN_SQL}`;

const OPEN_KEYS_SQL = `
  with open as (
    select key collate "C" as k, id, version from tidegate.quarantine
     where dataset = $1 and op <> 'truncate' and status in ${OPEN_SQL}
    union all
    select moved_from collate "C", id, version from tidegate.quarantine
     where dataset = $1 and moved_from is not null and status in ${OPEN_SQL}),
  newest as (select distinct on (k) k, id, version from open where true`;
const OPEN_KEYS_END = `)
  select n.k, q.event, h.version from newest n join tidegate.quarantine q on q.id = n.id
    left join tidegate.held_keys h on h.dataset = $1 and h.key = n.k order by n.k`;

/** Read whole, once: only the open items have an index by key. */
const SETTLED_SQL = `
  with found as (
    select id, key, moved_from, version from tidegate.quarantine
     where dataset = $1 and status in ('applied', 'superseded', 'discarded') and (key = any($2::text[]) or moved_from = any($2::text[]))),
  newest as (
    select distinct on (k) k, id
      from (select key as k, id, version from found union all select moved_from, id, version from found) u
     where k = any($2::text[]) order by k, version desc)
  select n.k, q.id, q.status, q.event from newest n join tidegate.quarantine q on q.id = n.id`;

const INDEX_SQL = `
  select from pg_index i
   where i.indrelid = $1::oid and i.indisunique and i.indisvalid and i.indpred is null and i.indexprs is null
     and (select array_agg(a.attname::text order by k.n)
            from unnest((i.indkey::int2[])[0:i.indnkeyatts - 1]) with ordinality k(attnum, n)
            join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.attnum) = $2::text[]`;
