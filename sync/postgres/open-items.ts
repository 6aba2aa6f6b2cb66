/**
 * Open items by their keys. However many there are, and however moves tie their keys to each other, no more of them are read than what is asked about: in each key's line, which has an
 * index, one looks at what stands next.
 */
import { type ChangeEvent, eventId, versionOf } from '../../core/event.ts';
import type { PgConnection } from '../../wire/postgres/connection.ts';
import { textArrayParameter } from './arrays.ts';
import { keysOf, refOf, split } from './held-keys.ts';

/** As the indices of the open items have it. */
export const OPEN_SQL = "('held', 'waiting', 'staged', 'released')";

/** 0 of an open item that stands still, 1 of one that is in line already: as those indices have it, before the version. */
const inLineSql = (q: string): string => `(case when ${q}.status = 'released' then 1 else 0 end)`;

/**
 * The open items of a key, also of those that move from it; or only those in line, or only those that are not. `rest`: what else is asked, and in which order. Looked for key by key, whatever the planner
 * takes their number for: `offset 0` keeps it from joining the whole table.
 */
export function ofKeySql(columns: string, dataset: string, key: string, lines: 'all' | 'standing' | 'in line', rest = ''): string {
  const line = lines === 'all' ? '' : ` and ${inLineSql('q')} = ${lines === 'standing' ? 0 : 1}`;
  const of = (column: string): string =>
    `(select ${columns} from tidegate.quarantine q where q.dataset = ${dataset} and q.${column} = ${key} and q.status in ${OPEN_SQL}${line} ${rest} offset 0)`;
  return `${of('key')} union all ${of('moved_from')}`;
}

/** Of those in line as many as the batch has itself: what comes before one of them is among these, or stands behind one that is none of the batch. Of those that stand still the first. */
const FIRST_SQL = `
  select w.dataset, w.key, q.id, q.version from unnest($1::text[], $2::text[], $3::text[]) w(dataset, key, own)
  cross join lateral (
    ${ofKeySql('q.id, q.version', 'w.dataset', 'w.key', 'standing', 'order by q.version limit 1')}
    union all ${ofKeySql('q.id, q.version', 'w.dataset', 'w.key', 'in line', 'order by q.version limit w.own::bigint')}) q
  order by q.version`;

interface First {
  readonly id: string;
  readonly version: string;
}

/** What released events of a batch have before them. In the transaction that decides about them, with their keys locked. */
export class OpenBefore {
  /** Those of them that are in line, by their ids. */
  readonly #inLine: ReadonlySet<string>;
  /** By keys, in the source's order. */
  readonly #first: ReadonlyMap<string, First[]>;

  private constructor(inLine: ReadonlySet<string>, first: ReadonlyMap<string, First[]>) {
    this.#inLine = inLine;
    this.#first = first;
  }

  /** `mayWait`: of which events it will be asked. */
  static async read(sql: PgConnection, events: readonly ChangeEvent[], mayWait: (event: ChangeEvent) => boolean): Promise<OpenBefore> {
    const ids = textArrayParameter(events.map(eventId));
    const found = await sql.query('select id, status from tidegate.quarantine where id = any($1::text[])', [ids]);
    const own = new Map<string, number>();
    for (const event of events) for (const ref of refsOf(event)) own.set(ref, (own.get(ref) ?? 0) + 1);
    const asked = new Set(events.filter(mayWait).flatMap(refsOf));
    const first = new Map<string, First[]>();
    if (asked.size > 0) {
      const [datasets, keys] = split(asked);
      const counts = Array.from(asked, (ref) => String(own.get(ref)));
      const { rows } = await sql.query(FIRST_SQL, [textArrayParameter(datasets), textArrayParameter(keys), textArrayParameter(counts)]);
      for (const [dataset, key, id, version] of rows) {
        const ref = refOf(dataset ?? '', key ?? '');
        const item: First = { id: id ?? '', version: version ?? '' };
        const items = first.get(ref);
        if (items === undefined) first.set(ref, [item]);
        else items.push(item);
      }
    }
    return new OpenBefore(new Set(found.rows.flatMap(([id, status]) => (status === 'released' ? [id ?? ''] : []))), first);
  }

  isInLine(id: string): boolean {
    return this.#inLine.has(id);
  }

  /** Whether something of the event's keys is open before it, other than what is `settled`: once it is, it stays so. */
  isAnyBefore(event: ChangeEvent, settled: ReadonlySet<string>): boolean {
    const version = versionOf(event);
    return refsOf(event).some((ref) => {
      const items = this.#first.get(ref) ?? [];
      while (items[0] !== undefined && settled.has(items[0].id)) items.shift();
      return items[0] !== undefined && items[0].version < version;
    });
  }
}

/** The keys of an event, each as one string. */
export const refsOf = (event: ChangeEvent): string[] => keysOf(event).map((key) => refOf(event.dataset.name, key));

/** An item that stays with its key: not of a lot that it goes with, unless it was chosen itself. */
const IS_TIED = `and q.hold = 'key' and (q.lot_starts is null or q.status = 'waiting')`;

/** `asked`: the open ones of some items. `refs`: the keys of which everything goes along with them, directly or through a move, where the key is held. */
const TIED_SQL = `with recursive asked as (
    select id, dataset, key, moved_from, version, hold, status from tidegate.quarantine
    where id = any($1::text[]) and pipeline = $2 and status in ${OPEN_SQL}),
  refs(dataset, key) as (
    select a.dataset, r.key from asked a cross join lateral (values (a.key), (a.moved_from)) r(key) where a.hold = 'key' and r.key is not null
    union
    select refs.dataset, r.key from refs
    cross join lateral (${ofKeySql('q.key, q.moved_from', 'refs.dataset', 'refs.key', 'all', IS_TIED)}) q
    cross join lateral (values (q.key), (q.moved_from)) r(key) where q.moved_from is not null)`;

const LOCK_TIED_SQL = `${TIED_SQL},
  locked as (
    select h.open from tidegate.held_keys h
    join (select * from refs union select dataset, key from asked union select dataset, moved_from from asked) w using (dataset, key)
    order by h.dataset, h.key for update of h)
  select count(*) from locked`;

const READ_TIED_SQL = `${TIED_SQL}
  select id from (
    select id, version from asked where status <> 'released'
    union
    select q.id, q.version from refs
    cross join lateral (${ofKeySql('q.id, q.version', 'refs.dataset', 'refs.key', 'standing', IS_TIED)}) q) o
  order by version, id`;

/**
 * Those of some items that are not in line yet, in the source's order, with what shares a key with one of them where the key is held, and what shares one with these;
 * but for what goes with another lot. With all their keys locked; inside of a transaction that has the pipeline's turn.
 */
export async function tiedItems(sql: PgConnection, ids: readonly string[], pipeline: string): Promise<readonly string[]> {
  const parameters = [textArrayParameter(ids), pipeline];
  await sql.query(LOCK_TIED_SQL, parameters);
  const { rows } = await sql.query(READ_TIED_SQL, parameters);
  return rows.map(([id]) => id ?? '');
}
