/** The quarantine as people and the replay source see it, over a connection of its own beside the lanes'. */
import type {
  Became,
  HeldByRule,
  ItemStatus,
  Quarantine,
  Quarantined,
  QuarantineFilter,
  QuarantineItem,
  RecordPlace,
  ReleaseLog,
} from '../../core/contracts.ts';
import type { Clock } from '../../core/clock.ts';
import { type ChangeEvent, type DatasetName, type LaneId, versionOf } from '../../core/event.ts';
import type { PgConnection, PgParam } from '../../wire/postgres/connection.ts';
import type { EventFamilies } from '../../wire/postgres/event-bytes.ts';
import { textArrayParameter } from './arrays.ts';
import { become, type RowKept } from './become.ts';
import { lacksNumbers, numbered, readFormer } from './former-shapes.ts';
import { inTurn, lockKeys, refOf, settleKeys } from './held-keys.ts';
import { type HoldMode, HOLD_QUIETLY_SQL, HOLD_SQL, holdParameters, ITEM_COLUMNS, itemFrom, putInLine } from './items.ts';
import { POSITION_COLUMNS, positionFrom } from './lanes.ts';
import { OPEN_SQL, tiedItems } from './open-items.ts';
import { serverJson } from './server-texts.ts';
import type { Turns } from './turns.ts';
import { releaseUnblocked } from './unblocked.ts';

/** How long the replay source sleeps at most where a notification got lost. */
const CHANGED_MS = 2000;
/** Of more open items the newest are counted by rule: enough to see what it is that holds them. */
const OPEN_COUNTED_MAX = 100_000;
const RULES_MAX = 200;

/** So much of a lot is published in one transaction. */
const LOT_ROWS_MAX = 50_000;
const LOT_BYTES_MAX = 64 << 20;

const BY_RULE_SQL = `
  select dataset, rule, count(*), floor(extract(epoch from min(held_at)) * 1000), floor(extract(epoch from max(held_at)) * 1000)
  from (
    select dataset, held_at, rules from tidegate.quarantine
    where pipeline = $1 and status in ('held', 'waiting')
    order by held_at desc
    limit $2
  ) open
  cross join lateral (select distinct unnest(open.rules) as rule) of
  group by 1, 2
  order by 3 desc, 1, 2
  limit $3`;

/** No further than it may go: a lot may be far larger, and is read on from where this ends. */
const REST_OF_LOT_SQL = `
  select ${ITEM_COLUMNS}, released_seq from (
    select *, sum(octet_length(event)) over (order by released_seq) as bytes, released_seq - row_number() over (order by released_seq) as run
    from (
      select * from tidegate.quarantine
      where status = 'released' and released_seq > $1 and pipeline = $2 and dataset = $3 and lot_starts = $4 and lot_ends = $5
      order by released_seq limit $7) l) q
  where bytes <= $6 and run = $1::bigint order by released_seq`;

export interface QuarantineParts {
  readonly pipeline: string;
  readonly turns: Turns;
  readonly modeOf: (event: ChangeEvent) => HoldMode;
  readonly rowOf: (event: ChangeEvent) => Omit<RowKept, 'hold'>;
  readonly keepsRecords: boolean;
  readonly clock: Clock;
}

export class PostgresQuarantine implements Quarantine, ReleaseLog {
  readonly #parts: QuarantineParts;
  readonly #families: EventFamilies = new Map();
  #isListening = false;
  #wake = new AbortController();

  constructor(parts: QuarantineParts) {
    this.#parts = parts;
    parts.turns.connection.onNotification(() => {
      this.#wake.abort();
      this.#wake = new AbortController();
    });
  }

  #parametersOf(items: readonly Quarantined[]): readonly PgParam[] {
    const { pipeline, modeOf, keepsRecords, turns } = this.#parts;
    return holdParameters(items, pipeline, modeOf, keepsRecords, serverJson(turns.connection)) as readonly PgParam[]; // Buffers and one text.
  }

  async hold(items: readonly Quarantined[]): Promise<void> {
    const parameters = this.#parametersOf(items);
    await this.#parts.turns.take('holding events', (sql) => sql.query(HOLD_SQL, parameters));
  }

  /** Those of the ids that are items, open or settled. */
  async known(ids: readonly string[]): Promise<ReadonlySet<string>> {
    const { rows } = await this.#parts.turns.take('looking into the quarantine', (sql) =>
      sql.query('select id, was from tidegate.quarantine where id = any($1::text[]) or was = any($1::text[])', [textArrayParameter(ids)]),
    );
    return new Set(rows.flatMap((row) => row.filter((id) => id !== null)));
  }

  /**
   * Holds items that come by none of the pipeline's lanes. Whoever writes these lanes knows nothing of keys that are held by others, so they lose their lease, and take it
   * again with what is held now: later changes of these keys wait, or are remembered, as if the lane itself had held them. With `isQuiet` nobody is told
   * of them, and nothing is left of them once they are in.
   */
  async takeIn(items: readonly Quarantined[], lanes: string, isQuiet = false): Promise<void> {
    const parameters = this.#parametersOf(items);
    await this.#transaction('taking events in', async (sql) => {
      await sql.query(isQuiet ? HOLD_QUIETLY_SQL : HOLD_SQL, parameters);
      await sql.query('update tidegate.lanes set epoch = epoch + 1 where lane = $1 or starts_with(lane, $2)', [lanes, `${lanes}/`]);
    });
  }

  /** Of what was taken in quietly, `ids` is put in line, and `gone` was never there. */
  async letIn(ids: readonly string[], gone: readonly string[]): Promise<void> {
    await this.#transaction('letting events in', async (sql) => {
      const { rows } = await sql.query(
        `delete from tidegate.quarantine where id = any($1::text[]) and quiet and status = 'held' returning dataset, key, moved_from`,
        [textArrayParameter(gone)],
      );
      const refs = rows.flatMap(([dataset, key, movedFrom]) => refsIn(dataset, key, movedFrom));
      await settleKeys(sql, refs);
      await releaseUnblocked(sql, new Set(refs.map(({ dataset, key }) => refOf(dataset, key))));
      const held = await sql.query(`select id from tidegate.quarantine where id = any($1::text[]) and status = 'held'`, [
        textArrayParameter(ids),
      ]);
      await putInLine(
        sql,
        held.rows.map(([id]) => id ?? ''),
        null,
      );
    });
  }

  /** How many of these are in line, and nothing has become of them yet. */
  async inLine(ids: readonly string[]): Promise<number> {
    const { rows } = await this.#parts.turns.take('looking into the quarantine', (sql) =>
      sql.query(`select count(*) filter (where status = 'released') from tidegate.quarantine where id = any($1::text[])`, [
        textArrayParameter(ids),
      ]),
    );
    return Number(rows[0]?.[0]);
  }

  /** A released item, whose record could not be read, becomes the event that it is. What came later in its lane is read before others wait for it, as far as there is then. */
  async become({ id, event: held }: Quarantined, event: ChangeEvent, place: RecordPlace): Promise<Became> {
    const { modeOf, rowOf } = this.#parts;
    if (place.lane !== null && held.movedFrom !== event.key) await this.#readAhead(place.lane, place);
    const kept = { hold: modeOf(event), ...rowOf(event) };
    return this.#transaction('taking up an event that could not be read', (sql) => become(sql, id, event, place, kept));
  }

  async #readAhead(lane: LaneId, { readLater }: RecordPlace): Promise<void> {
    const { rows } = await this.#parts.turns.take('looking for a lane', (sql) =>
      sql.query(`select ${POSITION_COLUMNS} from tidegate.lanes where lane = $1`, [lane]),
    );
    const position = positionFrom(rows[0]?.[0], rows[0]?.[1]);
    if (position !== null) await readLater(position);
  }

  async find(filter: QuarantineFilter): Promise<readonly QuarantineItem[]> {
    const rows = await this.#find(ITEM_COLUMNS, filter);
    return rows.map((row) => itemFrom(row, this.#families));
  }

  /** The same without reading them. */
  async ids(filter: QuarantineFilter): Promise<readonly string[]> {
    return (await this.#find('id', filter)).map(([id]) => id ?? '');
  }

  async #find(columns: string, filter: QuarantineFilter): Promise<readonly (readonly (string | null)[])[]> {
    const where: string[] = ['pipeline = $1'];
    const parameters: PgParam[] = [this.#parts.pipeline];
    const add = (sql: (place: string) => string, value: PgParam | undefined): void => {
      if (value === undefined) return;
      parameters.push(value);
      where.push(sql(`$${parameters.length}`));
    };
    add((place) => `dataset = ${place}`, filter.dataset);
    add((place) => `${place} = any(rules)`, filter.rule);
    add((place) => `(key = ${place} or moved_from = ${place})`, filter.key);
    add((place) => `status = any(${place}::text[])`, filter.status === undefined ? undefined : textArrayParameter(filter.status));
    add((place) => `lot_starts = ${place}`, filter.lotStartMs === undefined ? undefined : String(filter.lotStartMs));
    add((place) => `held_at >= to_timestamp(${place}::float8 / 1000)`, filter.heldFromMs);
    add((place) => `held_at < to_timestamp(${place}::float8 / 1000)`, filter.heldToMs);
    add((place) => `(held_at, id) < (select held_at, id from tidegate.quarantine where id = ${place})`, filter.after);
    parameters.push(filter.limit);
    const sql = `select ${columns} from tidegate.quarantine where ${where.join(' and ')} order by held_at desc, id desc limit $${parameters.length}`;
    const { rows } = await this.#parts.turns.take('looking into the quarantine', (connection) => connection.query(sql, parameters));
    return rows;
  }

  async get(id: string): Promise<QuarantineItem | null> {
    const { rows } = await this.#parts.turns.take('looking into the quarantine', (sql) =>
      sql.query(
        `select ${ITEM_COLUMNS} from tidegate.quarantine where (id = $1 or was = $1) and pipeline = $2 order by id = $1 desc limit 1`,
        [id, this.#parts.pipeline],
      ),
    );
    const row = rows[0];
    return row === undefined ? null : itemFrom(row, this.#families);
  }

  async counts(): Promise<readonly { dataset: DatasetName; status: ItemStatus; count: number }[]> {
    const { rows } = await this.#parts.turns.take('counting the quarantine', (sql) =>
      sql.query('select dataset, status, count from tidegate.quarantine_counts where pipeline = $1 and count <> 0 order by 1, 2', [
        this.#parts.pipeline,
      ]),
    );
    // Written by us from a dataset's name, and held by a check constraint.
    return rows.map(([dataset, status, count]) => ({
      dataset: dataset as DatasetName,
      status: status as ItemStatus,
      count: Number(count),
    }));
  }

  async openByRule(): Promise<readonly HeldByRule[]> {
    const { rows } = await this.#parts.turns.take('counting the quarantine by rules', (sql) =>
      sql.query(BY_RULE_SQL, [this.#parts.pipeline, OPEN_COUNTED_MAX, RULES_MAX]),
    );
    return rows.map(([dataset, rule, count, from, to]) => ({
      dataset: dataset as DatasetName, // Written by us from a dataset's name.
      rule: rule ?? '',
      count: Number(count),
      fromMs: Number(from),
      toMs: Number(to),
    }));
  }

  release(given: readonly string[], by: string): Promise<readonly string[]> {
    return this.#transaction('releasing', async (sql) => {
      const inLine = await tiedItems(sql, await this.#namesOf(sql, given), this.#parts.pipeline);
      await putInLine(sql, inLine, by);
      return inLine;
    });
  }

  discard(given: readonly string[], by: string, why: string): Promise<readonly string[]> {
    return this.#transaction('discarding', async (sql) => {
      const ids = await this.#namesOf(sql, given);
      const refs = await this.#refsOf(sql, ids);
      await lockKeys(sql, refs);
      const { rows } = await sql.query(
        `update tidegate.quarantine set status = 'discarded', settled_at = clock_timestamp(), by_whom = $2, why = $3
         where id = any($1::text[]) and pipeline = $4 and status in ${OPEN_SQL} returning id, dataset, key, moved_from`,
        [textArrayParameter(ids), by, why, this.#parts.pipeline],
      );
      await settleKeys(
        sql,
        rows.flatMap(([, dataset, key, movedFrom]) => refsIn(dataset, key, movedFrom)),
      );
      await releaseUnblocked(sql, refs);
      return rows.map(([id]) => id ?? '');
    });
  }

  async outrun(items: readonly Pick<Quarantined, 'id' | 'event'>[]): Promise<ReadonlySet<string>> {
    const { rows } = await this.#parts.turns.take('comparing versions', (sql) =>
      sql.query(
        `select i.id from unnest($1::text[], $2::text[], $3::text[], $4::text[]) i(id, dataset, key, version)
         join tidegate.held_keys h on h.dataset = i.dataset and h.key = i.key where h.version >= i.version`,
        [
          textArrayParameter(items.map(({ id }) => id)),
          textArrayParameter(items.map(({ event }) => event.dataset.name)),
          textArrayParameter(items.map(({ event }) => event.key)),
          textArrayParameter(items.map(({ event }) => versionOf(event))),
        ],
      ),
    );
    return new Set(rows.map(([id]) => id ?? ''));
  }

  async releasedAfter(after: bigint, limit: number): Promise<readonly { readonly seq: bigint; readonly item: Quarantined }[]> {
    const { rows } = await this.#parts.turns.take('reading released events', (sql) =>
      inLineOrder(sql, () =>
        sql.query(
          `select ${ITEM_COLUMNS}, released_seq from tidegate.quarantine
           where status = 'released' and released_seq > $1 and pipeline = $2 order by released_seq limit $3`,
          [after, this.#parts.pipeline, limit],
        ),
      ),
    );
    const released = await this.#releasedFrom(rows);
    const last = released.at(-1);
    return last?.item.lot && released.length >= limit ? [...released, ...(await this.#restOfLot(last.seq, last.item))] : released;
  }

  /** What is published of a lot lies side by side in the log, and goes in one batch, so that it is seen at the target all at once. */
  async #restOfLot(after: bigint, { event, lot }: Quarantined): Promise<readonly { readonly seq: bigint; readonly item: Quarantined }[]> {
    if (!lot) return [];
    const { rows } = await this.#parts.turns.take('reading released events', (sql) =>
      inLineOrder(sql, () =>
        sql.query(REST_OF_LOT_SQL, [
          after,
          this.#parts.pipeline,
          event.dataset.name,
          String(lot.startMs),
          String(lot.endMs),
          String(LOT_BYTES_MAX),
          String(LOT_ROWS_MAX),
        ]),
      ),
    );
    return this.#releasedFrom(rows);
  }

  /** Their datasets with the numbers of all columns that the target has followed: a name may be another column's by now. */
  async #releasedFrom(rows: readonly (readonly (string | null)[])[]): Promise<{ readonly seq: bigint; readonly item: QuarantineItem }[]> {
    const items = rows.map((row) => itemFrom(row, this.#families));
    const lacking = new Set(items.flatMap(({ event: { dataset } }) => (lacksNumbers(dataset) ? [dataset.name] : [])));
    if (lacking.size > 0) {
      const { pipeline } = this.#parts;
      const former = await this.#parts.turns.take('reading shapes', (sql) => readFormer(sql, pipeline, [...lacking]));
      const then = numbered(former);
      for (const [i, row] of rows.entries())
        if (lacking.has(items[i]?.event.dataset.name ?? ('' as DatasetName))) items[i] = itemFrom(row, this.#families, then);
    }
    return items.map((item, i) => ({ seq: BigInt(rows[i]?.at(-1) ?? '0'), item }));
  }

  async changed(signal: AbortSignal): Promise<void> {
    const { clock } = this.#parts;
    const wake = this.#wake.signal;
    if (!this.#isListening) {
      await this.#parts.turns.take('listening', (sql) => sql.script('listen tidegate'));
      this.#isListening = true;
      return; // What came before it listened is to be read first.
    }
    await clock.sleep(CHANGED_MS, AbortSignal.any([signal, wake]));
  }

  /** Items may be named as they were when their records could not be read. */
  async #namesOf(sql: PgConnection, given: readonly string[]): Promise<readonly string[]> {
    const { rows } = await sql.query('select was, id from tidegate.quarantine where was = any($1::text[])', [textArrayParameter(given)]);
    const now = new Map(rows.map(([was, id]) => [was ?? '', id ?? '']));
    return given.map((id) => now.get(id) ?? id);
  }

  async #refsOf(sql: PgConnection, ids: readonly string[]): Promise<Set<string>> {
    const { rows } = await sql.query(
      `select dataset, key, moved_from from tidegate.quarantine where id = any($1::text[]) and pipeline = $2`,
      [textArrayParameter(ids), this.#parts.pipeline],
    );
    return new Set(rows.flatMap(([dataset, key, movedFrom]) => refsIn(dataset, key, movedFrom).map((ref) => refOf(ref.dataset, ref.key))));
  }

  #transaction<T>(doing: string, work: (sql: PgConnection) => Promise<T>): Promise<T> {
    return this.#parts.turns.take(doing, (sql) => inTurn(sql, this.#parts.pipeline, () => work(sql)));
  }
}

/** By the index that has them in this order: the planner, which takes them for few, would read all that are in line and sort them, for each batch. */
async function inLineOrder<T>(sql: PgConnection, read: () => Promise<T>): Promise<T> {
  await sql.script('begin; set local enable_bitmapscan = off; set local enable_seqscan = off; set local enable_sort = off');
  try {
    return await read();
  } finally {
    if (sql.open) await sql.script('commit'); // Of a failed one it is a rollback.
  }
}

function refsIn(
  dataset: string | null | undefined,
  key: string | null | undefined,
  movedFrom: string | null | undefined,
): { dataset: string; key: string }[] {
  return [key, movedFrom].flatMap((one) => (one === null || one === undefined ? [] : [{ dataset: dataset ?? '', key: one }]));
}
