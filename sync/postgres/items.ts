/** Items of the quarantine as rows of `tidegate.quarantine`: written, read, and put in line again. */
import { type Finding, HOLD_KEY_RULE, Verdict } from '../../core/batch.ts';
import type { ItemStatus, Quarantined, QuarantineItem } from '../../core/contracts.ts';
import { type ChangeEvent, type LaneId, type Row, UNCHANGED, type Value, versionOf } from '../../core/event.ts';
import type { PgConnection } from '../../wire/postgres/connection.ts';
import { type DatasetThen, type EventFamilies, packEvent, unpackEvent } from '../../wire/postgres/event-bytes.ts';
import { packRecord } from '../../wire/kafka/record-bytes.ts';
import { Format, type FrontendWriter, type ParameterBytes } from '../../wire/postgres/messages.ts';
import { byteaArrayParameter, textArrayParameter } from './arrays.ts';
import type { ServerJson } from './server-texts.ts';

export type HoldMode = 'event' | 'key';

/** Beside the items that are staged, so that nobody has to count them to know which lots there are. */
const ADD_LOTS_SQL = `insert into tidegate.lots as l (pipeline, dataset, starts, ends, rows, staged, revisions)
    select $13::text, dataset, lot_starts, lot_ends, count(*), count(*), array_remove(array_agg(distinct revision), null)
    from inserted where lot_ends is not null group by 2, 3, 4 order by 2, 3, 4
    on conflict (pipeline, dataset, starts, ends) do update set rows = l.rows + excluded.rows, staged = l.staged + excluded.staged,
      revisions = case when l.staged = 0 then excluded.revisions when l.revisions @> excluded.revisions then l.revisions
        else array(select distinct r from unnest(l.revisions || excluded.revisions) r) end`;

/** `quiet`: of which items nobody is told. Holding an item again changes nothing: only items that are new count on their keys. */
const holdSql = (quiet: string): string => `with given as (
    select * from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::bytea[], $9::text[], $10::text[], $11::text[], $12::text[], $14::text[], $15::bytea[], $16::text[], $17::text[], $18::text[])
      g(id, lane, dataset, key, moved_from, version, op, event, row_json, findings, hold, status, revision, record, lot_starts, lot_ends, wait_ms)),
  inserted as (
    insert into tidegate.quarantine (id, pipeline, lane, dataset, key, moved_from, version, op, event, row_json, findings, rules, hold, status, revision, record,
      lot_starts, lot_ends, quiet, waits_until)
    select id, $13::text, lane, dataset, key, moved_from, version, op, event, row_json::jsonb, findings::jsonb,
      array(select distinct f ->> 'rule' from jsonb_array_elements(findings::jsonb) f), hold, status, revision, record,
      lot_starts::bigint, lot_ends::bigint, ${quiet},
      case when status = 'held' then clock_timestamp() + wait_ms::float8 * interval '1 millisecond' end from given
    on conflict (id) do nothing returning dataset, key, moved_from, lot_starts, lot_ends, revision),
  lots as (${ADD_LOTS_SQL}),
  keys as (select dataset, key from inserted union all select dataset, moved_from from inserted where moved_from is not null)
  insert into tidegate.held_keys (dataset, key, open) select dataset, key, count(*) from keys group by 1, 2 order by 1, 2
  on conflict (dataset, key) do update set open = held_keys.open + excluded.open`;

export const HOLD_SQL = holdSql('lot_ends is not null');
/** Of rows that are brought from the source: with nothing wrong about them, they are gone once they are in. */
export const HOLD_QUIETLY_SQL = holdSql('true');

const HOLD = 'tg_hold';

export function prepareHold(writer: FrontendWriter): void {
  writer.parse(HOLD, HOLD_SQL);
}

/** In the transaction of the batch's checkpoint. */
export function emitHold(writer: FrontendWriter, ...given: Parameters<typeof holdParameters>): void {
  const parameters = holdParameters(...given);
  const formats = parameters.map((parameter) => (typeof parameter === 'string' ? Format.Text : Format.Binary));
  writer.bind('', HOLD, parameters, formats).execute();
}

/** The parameters of HOLD_SQL: arrays in binary, and the pipeline's name. */
export function holdParameters(
  items: readonly Quarantined[],
  pipeline: string,
  modeOf: (event: ChangeEvent) => HoldMode,
  keepsRecords: boolean,
  json: ServerJson,
): readonly ParameterBytes[] {
  const texts = (of: (item: Quarantined) => string | null): Buffer => textArrayParameter(items.map(of));
  return [
    texts(({ id }) => id),
    texts(({ lane }) => lane),
    texts(({ event }) => event.dataset.name),
    texts(({ event }) => event.key),
    texts(({ event }) => event.movedFrom),
    texts(({ event }) => versionOf(event)),
    texts(({ event }) => event.op),
    byteaArrayParameter(items.map(({ event }) => packEvent(event))),
    texts(({ event }) => json(rowJson(event.after ?? event.before, event))),
    texts(({ findings }) => json(findingsJson(findings))),
    texts(({ event }) => modeOf(event)),
    texts(({ findings, lot }) => (lot ? 'staged' : heldStatus(findings))),
    pipeline,
    texts(({ revision }) => revision),
    byteaArrayParameter(items.map(({ record }) => (keepsRecords && record ? packRecord(record) : null))),
    texts(({ lot }) => (lot ? String(lot.startMs) : null)),
    texts(({ lot }) => (lot ? String(lot.endMs) : null)),
    texts(({ findings }) => waitMsOf(findings)),
  ];
}

/** An item that only waits for its key is released by itself. */
export function heldStatus(findings: readonly Finding[]): 'held' | 'waiting' {
  return findings.length > 0 && findings.every(({ rule }) => rule === HOLD_KEY_RULE) ? 'waiting' : 'held';
}

/** For how long an item waits for what it names; null where something else holds it as well, or nothing more is waited for. */
export function waitMsOf(findings: readonly Finding[]): string | null {
  const holding = findings.filter(({ verdict }) => verdict === Verdict.Quarantine).map(({ waitMs }) => waitMs ?? 0);
  return holding.length === 0 || holding.includes(0) ? null : String(Math.max(...holding));
}

export function findingsJson(findings: readonly Finding[]): string {
  return JSON.stringify(
    findings.map(({ index: _index, ...finding }) => finding),
    (_, value: unknown) => (typeof value === 'string' ? shown(value) : value),
  );
}

/** Without what no jsonb takes: MariaDB's texts may have a NUL, and JSON half a character. */
const shown = (text: string): string => text.replaceAll('\0', '\uFFFD').toWellFormed();

/** For people and their queries; what is released comes from `event`. */
export function rowJson(row: Row | null, { dataset }: ChangeEvent): string {
  const cells: Record<string, unknown> = {};
  for (const [i, { name }] of dataset.columns.entries()) {
    let value: Value;
    try {
      value = row === null ? null : row.value(i);
    } catch {
      value = null; // A cell that cannot be read is a finding already.
    }
    if (value === UNCHANGED) continue;
    cells[name] =
      typeof value === 'bigint' || (typeof value === 'number' && !Number.isFinite(value))
        ? String(value)
        : value instanceof Uint8Array
          ? `\\x${Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString('hex')}`
          : typeof value === 'string'
            ? shown(value)
            : value;
  }
  return JSON.stringify(cells);
}

/** Columns that `itemFrom` reads, in its order. */
export const ITEM_COLUMNS = `id, lane, event, findings, status, extract(epoch from held_at) * 1000, extract(epoch from settled_at) * 1000, by_whom, why, revision, lot_starts, lot_ends,
  case when status = 'held' then extract(epoch from waits_until) * 1000 end`;

export function itemFrom(row: readonly (string | null)[], families: EventFamilies, then?: DatasetThen): QuarantineItem {
  const [id, lane, event, findings, status, heldAt, settledAt, by, why, revision, lotStarts, lotEnds, waitsUntil] = row;
  return {
    id: id ?? '',
    lane: (lane ?? '') as LaneId,
    event: unpackEvent(Buffer.from((event ?? '').slice(2), 'hex'), families, then),
    findings: (JSON.parse(findings ?? '[]') as Finding[]).map((finding) => ({ ...finding, index: 0 })), // Written by findingsJson.
    status: status as ItemStatus, // A check constraint holds it.
    heldAtMs: Math.floor(Number(heldAt)),
    waitsUntilMs: typeof waitsUntil === 'string' ? Math.floor(Number(waitsUntil)) : null,
    settledAtMs: settledAt === null || settledAt === undefined ? null : Math.floor(Number(settledAt)),
    by: by ?? null,
    why: why ?? null,
    revision: revision ?? null,
    lot: typeof lotStarts === 'string' ? { startMs: Number(lotStarts), endMs: Number(lotEnds) } : null,
  };
}

/** Puts items in line for the replay source, in this order. Their numbers become visible in order, for the transaction holds the pipeline's turn. */
export async function putInLine(sql: PgConnection, ids: readonly string[], by: string | null): Promise<void> {
  if (ids.length === 0) return;
  await sql.query(
    `update tidegate.quarantine q set status = 'released', released_seq = w.seq, by_whom = coalesce($2, q.by_whom), quiet = q.quiet and $2::text is null
     from (select id, nextval('tidegate.releases') as seq from (select id from unnest($1::text[]) with ordinality u(id, n) order by n) o) w
     where q.id = w.id`,
    [textArrayParameter(ids), by],
  );
  // What is to be prepared may not notify: whoever commits it does.
  await sql.query("select pg_notify('tidegate', '') where current_setting('tidegate.prepares', true) is distinct from 'on'");
}
