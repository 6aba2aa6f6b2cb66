/**
 * Truncates in the quarantine. One concerns every row of its table, and would take newer rows along when it comes. Where it waits for its lot, all that comes behind it waits until it is in,
 * or a later one is, whatever `hold` says; where it is held by itself, what passes outruns it. What came before it is outrun once it is in.
 */
import type { DatasetName } from '../../core/event.ts';
import type { PgConnection } from '../../wire/postgres/connection.ts';
import { textArrayParameter } from './arrays.ts';
import { refOf, split, TABLE_KEY, tableRefOf } from './held-keys.ts';
import type { KnownHeld } from './known-held.ts';

/** Those that are outrun already hold nothing back. */
const TRUNCATES_SQL = `
  select q.id, q.dataset, q.version, q.lot_starts is not null from tidegate.quarantine q left join tidegate.held_keys h on h.dataset = q.dataset and h.key = q.key
  where q.dataset = any($1::text[]) and q.key = '' and q.op = 'truncate'
    and q.status in ('held', 'waiting', 'staged', 'released') and q.version > coalesce(h.version, '')`;

/** In the source's order, so that what is put in line page by page is in that order too. */
const WAITING_SQL = `declare tidegate_waiting no scroll cursor for
  select dataset, key, moved_from from tidegate.quarantine where dataset = any($1::text[]) and status = 'waiting' order by version, id`;

/** As many rows as are in memory at once. */
const PAGE = 1000;

interface HeldTruncate {
  readonly version: string;
  readonly isOfLot: boolean;
}

export class HeldTruncates {
  /** By tables and ids. */
  readonly #open = new Map<string, Map<string, HeldTruncate>>();

  /** Those of some tables, each given as the ref of its truncates. In the transaction that decides by them. */
  static async read(sql: PgConnection, tables: Iterable<string>): Promise<HeldTruncates> {
    const truncates = new HeldTruncates();
    const [datasets] = split(tables);
    if (datasets.length === 0) return truncates;
    const { rows } = await sql.query(TRUNCATES_SQL, [textArrayParameter(datasets)]);
    for (const [id, dataset, version, isOfLot] of rows)
      truncates.add(dataset ?? '', id ?? '', { version: version ?? '', isOfLot: isOfLot === 't' });
    return truncates;
  }

  add(dataset: string, id: string, truncate: HeldTruncate): void {
    const known = this.#open.get(dataset);
    if (known === undefined) this.#open.set(dataset, new Map([[id, truncate]]));
    else known.set(id, truncate);
  }

  /** It is in, or will never be. */
  settled(dataset: string, id: string): void {
    this.#open.get(dataset)?.delete(id);
  }

  /** One of that version is in: nothing that came before it is waited for. */
  isIn(dataset: string, version: string): void {
    const known = this.#open.get(dataset);
    for (const [id, other] of known ?? []) if (other.version <= version) known?.delete(id);
  }

  /** Whether what has that version comes behind one that it waits for. */
  holdsBack(dataset: string, version: string): boolean {
    return this.#isAnyBefore(dataset, version, true);
  }

  /** Whether it outruns one as it passes. */
  areOutrun(dataset: string, version: string): boolean {
    return this.#isAnyBefore(dataset, version, false);
  }

  #isAnyBefore(dataset: string, version: string, ofLot: boolean): boolean {
    for (const other of this.#open.get(dataset)?.values() ?? []) if (other.isOfLot === ofLot && other.version < version) return true;
    return false;
  }
}

/**
 * The keys of all that waits in tables of which a truncate is among `refs`, for it may have waited for that: page by page, as there may be as many as are held. Inside of a
 * transaction.
 */
export async function* behindTruncates(sql: PgConnection, refs: ReadonlySet<string>): AsyncGenerator<ReadonlySet<string>> {
  const [datasets] = split([...refs].filter((ref) => ref.endsWith('\0')));
  if (datasets.length === 0) return;
  await sql.query(WAITING_SQL, [textArrayParameter(datasets)]);
  for (;;) {
    const { rows } = await sql.query(`fetch ${PAGE} from tidegate_waiting`);
    if (rows.length > 0)
      yield new Set(
        rows.flatMap(([dataset, key, movedFrom]) =>
          [key, movedFrom].flatMap((one) => (one === null || one === undefined ? [] : [refOf(dataset ?? '', one)])),
        ),
      );
    if (rows.length < PAGE) break;
  }
  await sql.script('close tidegate_waiting');
}

/** The refs of the truncates of those tables of which one may be held. */
export function tablesHeld(
  events: readonly { readonly dataset: { readonly name: DatasetName } }[],
  heldKeys: Pick<KnownHeld, 'of'>,
): ReadonlySet<string> {
  const refs = new Set<string>();
  const seen = new Set<DatasetName>();
  for (const { dataset } of events) {
    if (seen.has(dataset.name)) continue;
    seen.add(dataset.name);
    if (heldKeys.of(dataset.name)?.has(TABLE_KEY) === true) refs.add(tableRefOf(dataset.name));
  }
  return refs;
}
