/**
 * Puts in line what waited for a key and waits for nothing any more. An item that waits stands behind one that is held, staged or waits itself, in the line of one of its keys; so when something is gone
 * from a key, only what stands next in its line can be free, and then what stands next to that in all of its lines. It is walked there, and nothing is read of what stays.
 */
import type { PgConnection } from '../../wire/postgres/connection.ts';
import { textArrayParameter } from './arrays.ts';
import { keyOfRef, lockKeys, refOf, split, tableRefOf } from './held-keys.ts';
import { behindTruncates, HeldTruncates } from './held-truncates.ts';
import { putInLine } from './items.ts';
import { ofKeySql } from './open-items.ts';

/** So many lines are walked at once, and so many steps beyond their first. */
const LINES_MAX = 1000;
const STEPS = 100;

const COLUMNS = 'q.id, q.dataset, q.key, q.moved_from, q.version, q.status';

/** By the version alone, as the index has it: with another column to sort by, all of the line may be read. Of one version there are more only where they came by several lanes. */
const NEXT = 'order by q.version fetch first 1 rows with ties';
const LAST = 'order by q.version desc fetch first 1 rows with ties';

/** What stands next in a line, if it waits; and what stands directly before that in each of its lines. */
const nextSql = (at: string, key: string): string => `
  select n.id, n.dataset, n.key, n.moved_from, n.version, b.before, b.is_blocked from (
    select * from (${ofKeySql(COLUMNS, `${at}.dataset`, key, 'standing', `and q.version > ${at}.version ${NEXT}`)}) q ${NEXT}) n
  cross join lateral (
    select coalesce(array_agg(p.id), '{}') as before, coalesce(bool_or(p.status <> 'waiting'), false) as is_blocked
    from (values (n.key), (n.moved_from)) r(key)
    cross join lateral (${ofKeySql('q.id, q.status', 'n.dataset', 'r.key', 'standing', `and q.version < n.version ${LAST}`)}) p) b
  where n.status = 'waiting'`;

/** Goes on from each item as if it were free: whoever asks knows better, and says how far. The first of each line come first. */
const WALK_SQL = `
  with recursive walk as (
    select n.* from unnest($1::text[], $2::text[], $3::text[]) f(dataset, key, version) cross join lateral (${nextSql('f', 'f.key')}) n
    union
    select n.* from walk w cross join lateral (values (w.key), (w.moved_from)) r(key) cross join lateral (${nextSql('w', 'r.key')}) n where not w.is_blocked)
  select id, dataset, key, moved_from, version, to_json(before) from walk limit $4`;

/** An item that waits. */
interface Waiting {
  readonly id: string;
  readonly version: string;
  readonly dataset: string;
  readonly refs: readonly string[];
  /** What it waits for, unless that is free. */
  readonly before: readonly string[];
}

/** Releases what waited for one of these keys and waits for nothing any more. In a transaction that has the pipeline's turn. */
export async function releaseUnblocked(sql: PgConnection, refs: ReadonlySet<string>): Promise<void> {
  await releaseFree(sql, refs);
  for await (const page of behindTruncates(sql, refs)) await releaseFree(sql, page);
}

/** The same of these keys alone, with all that is tied to them: in the source's order, as no row may come before one that it takes a unique value from. */
async function releaseFree(sql: PgConnection, refs: ReadonlySet<string>): Promise<void> {
  const walker = new Walker(sql, refs);
  const free = await walker.run();
  await putInLine(
    sql,
    free.sort(inOrder).map(({ id }) => id),
    null,
  );
}

class Walker {
  readonly #sql: PgConnection;
  /** Lines that are to be walked from the version that they are free up to, and that. */
  readonly #lines: Set<string>;
  readonly #freeUpTo = new Map<string, string>();
  readonly #locked = new Set<string>();
  readonly #free = new Map<string, Waiting>();
  #truncates: HeldTruncates | null = null;

  constructor(sql: PgConnection, refs: ReadonlySet<string>) {
    this.#sql = sql;
    this.#lines = new Set(refs);
  }

  /** A walk that found no more than it may is at the end of all its lines; of others those go on in which something was free. Where nothing was, the first of each line was none. */
  async run(): Promise<Waiting[]> {
    while (this.#lines.size > 0) {
      const lines = [...this.#lines].slice(0, LINES_MAX);
      for (const ref of lines) this.#lines.delete(ref);
      const found = await this.#walk(lines);
      for (const item of found.items.sort(inOrder)) {
        if (!(await this.#isFree(item))) continue;
        this.#free.set(item.id, item);
        for (const ref of item.refs) {
          this.#freeUpTo.set(ref, item.version);
          if (found.isCut) this.#lines.add(ref);
        }
      }
    }
    return [...this.#free.values()];
  }

  /** With all their keys locked, before they are read: whoever holds an item meanwhile waits for this transaction. */
  async #walk(lines: readonly string[]): Promise<{ readonly items: Waiting[]; readonly isCut: boolean }> {
    const steps = 2 * lines.length + STEPS;
    const parameters = [
      ...split(lines).map(textArrayParameter),
      textArrayParameter(lines.map((ref) => this.#freeUpTo.get(ref) ?? '')),
      String(steps),
    ];
    for (let refs = lines; ;) {
      await this.#lock(refs);
      const { rows } = await this.#sql.query(WALK_SQL, parameters);
      const items = rows.map(waitingFrom);
      refs = items.flatMap((item) => item.refs.filter((ref) => !this.#locked.has(ref)));
      if (refs.length === 0) return { items, isCut: items.length >= steps };
    }
  }

  async #lock(refs: readonly string[]): Promise<void> {
    const news = new Set(refs.filter((ref) => !this.#locked.has(ref)));
    if (news.size === 0) return;
    await lockKeys(this.#sql, news);
    for (const ref of news) this.#locked.add(ref);
  }

  /** In the source's order: what stands before it was asked about before. Whatever the policy: what is `waiting` under `hold: event` leaves cells out, and those are of the row that is held. */
  async #isFree({ before, dataset, version }: Waiting): Promise<boolean> {
    if (!before.every((id) => this.#free.has(id))) return false;
    this.#truncates ??= await HeldTruncates.read(this.#sql, new Set(Array.from(this.#locked, (ref) => tableRefOf(keyOfRef(ref).dataset))));
    return !this.#truncates.holdsBack(dataset, version);
  }
}

function waitingFrom([id, dataset, key, movedFrom, version, before]: readonly (string | null)[]): Waiting {
  const keys = [key, movedFrom].flatMap((one) => (one === null || one === undefined ? [] : [one]));
  return {
    id: id ?? '',
    dataset: dataset ?? '',
    refs: keys.map((one) => refOf(dataset ?? '', one)),
    version: version ?? '',
    before: JSON.parse(before ?? '[]') as string[], // Made by the query.
  };
}

const inOrder = (a: Waiting, b: Waiting): number =>
  a.version < b.version ? -1 : a.version > b.version ? 1 : a.id < b.id ? -1 : a.id > b.id ? 1 : 0;
