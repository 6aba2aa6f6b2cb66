/**
 * Proves that the target is the source without what is held, row by row in SQL. The source's tables are brought into the target's server
 * (postgres_fdw); rows whose key has something held are replaced by what the workload says they were without the held changes; then the two
 * are compared as wholes, both ways.
 */
import type { ItemDetail, ItemView, LaneView } from '../../app/http/shapes.ts';
import type { PgConnection } from '../../wire/postgres/connection.ts';
import { parsePgUrl, quoteIdent, quoteLiteral } from '../../wire/postgres/ident.ts';
import { type Cells, type Change, type Table, TABLES, workload, type WorkloadOptions } from './workload.ts';

/** What the proof asks the service (ShopService has it). */
export interface Evidence {
  openItems(): Promise<readonly ItemView[]>;
  lanes(): Promise<readonly LaneView[]>;
  get<T>(path: string): Promise<T>;
}

export interface TableProof {
  readonly table: Table;
  readonly sourceRows: number;
  readonly targetRows: number;
  /** Rows that the target should have and has not, or has otherwise. */
  readonly missing: number;
  /** Rows that the target has and should not. */
  readonly surplus: number;
  /** Keys with something held. */
  readonly heldKeys: number;
  /** Changes that break a rule and are not held. */
  readonly slipped: number;
}

export interface Proof {
  readonly tables: readonly TableProof[];
  /** Invariant 8, summed over the lanes as the target keeps them. */
  readonly ledger: Readonly<Record<string, number>>;
  readonly ledgerClosed: boolean;
  readonly holds: boolean;
}

export async function prove(service: Evidence, target: PgConnection, sourceUrl: string, options: WorkloadOptions): Promise<Proof> {
  const items = await service.openItems();
  await bringSource(target, sourceUrl);
  const tables: TableProof[] = [];
  for (const table of TABLES) tables.push(await proveTable(service, target, table, items, options));
  const lanes = await service.lanes();
  const ledger: Record<string, number> = {};
  for (const lane of lanes) for (const [name, count] of Object.entries(lane.ledger)) ledger[name] = (ledger[name] ?? 0) + count;
  const ledgerClosed = lanes.length > 0 && lanes.every(({ closed }) => closed);
  const holds = ledgerClosed && tables.every(({ missing, surplus, slipped }) => missing + surplus + slipped === 0);
  return { tables, ledger, ledgerClosed, holds };
}

async function bringSource(target: PgConnection, sourceUrl: string): Promise<void> {
  const { host, port, user, database } = parsePgUrl(sourceUrl);
  await target.script(`
    create extension if not exists postgres_fdw;
    drop schema if exists proof cascade;
    drop server if exists proof_source cascade;
    create schema proof;
    create server proof_source foreign data wrapper postgres_fdw
      options (host ${quoteLiteral(host)}, port '${port}', dbname ${quoteLiteral(database)}, fetch_size '10000');
    create user mapping for current_user server proof_source options (user ${quoteLiteral(user)});
    import foreign schema public limit to (${TABLES.join(', ')}) from server proof_source into proof;`);
}

async function proveTable(
  service: Evidence,
  target: PgConnection,
  table: Table,
  items: readonly ItemView[],
  options: WorkloadOptions,
): Promise<TableProof> {
  const mine = items.filter(({ dataset }) => dataset === `shop.public.${table}`);
  const heldKeys = new Set(mine.map(({ key }) => key));
  const { rows, touched, slipped } = await withoutHeld(service, table, mine, heldKeys, options);

  const columns = await columnsOf(target, table);
  const list = columns.map(quoteIdent).join(', ');
  const expected = `proof.${quoteIdent(`expected_${table}`)}`;
  // Every row that no held change concerns comes from the source itself; the others from the workload, without the held changes.
  await target.script(`create unlogged table proof.touched_${table} (id bigint primary key)`);
  await insertAll(
    target,
    `proof.touched_${table} (id)`,
    [...touched].map((key) => `(${key})`),
  );
  await target.script(`
    create unlogged table ${expected} as
      select ${list} from proof.${quoteIdent(table)} as source
      where not exists (select from proof.touched_${table} as touched where touched.id = source.id)`);
  await insertAll(
    target,
    `${expected} (${list})`,
    rows.map((cells) => `(${columns.map((column) => literal(cells[column] ?? null)).join(', ')})`),
  );
  const count = async (sql: string): Promise<number> => Number((await target.query(sql)).rows[0]?.[0]);
  const actual = `shop.${quoteIdent(table)}`;
  return {
    table,
    sourceRows: await count(`select count(*) from proof.${quoteIdent(table)}`),
    targetRows: await count(`select count(*) from ${actual}`),
    missing: await count(`select count(*) from (select ${list} from ${expected} except all select ${list} from ${actual}) as missing`),
    surplus: await count(`select count(*) from (select ${list} from ${actual} except all select ${list} from ${expected}) as surplus`),
    heldKeys: heldKeys.size,
    slipped,
  };
}

/**
 * Runs the workload again for the keys that have something held, and leaves out the held changes. `touched`: those keys, and the ones
 * they were moved from or to. A held change is found by its `updated_at`, which differs in every change.
 */
async function withoutHeld(
  service: Evidence,
  table: Table,
  items: readonly ItemView[],
  heldKeys: ReadonlySet<string>,
  options: WorkloadOptions,
): Promise<{ readonly rows: readonly Cells[]; readonly touched: ReadonlySet<string>; readonly slipped: number }> {
  const touched = new Set(heldKeys);
  const changes: Change[] = [];
  let slipped = 0;
  // A row that was moved is followed back to its first key, so two passes: the first finds the keys.
  for (const { changes: all } of workload(options)) {
    for (const change of all) {
      if (change.table !== table || change.newKey === null) continue;
      if (touched.has(change.key) || touched.has(change.newKey)) touched.add(change.key).add(change.newKey);
    }
  }
  for (const { changes: all } of workload(options)) {
    for (const change of all) {
      if (change.table !== table) continue;
      if (change.bad !== null && !heldKeys.has(change.newKey ?? change.key)) slipped++;
      if (touched.has(change.key) || (change.newKey !== null && touched.has(change.newKey))) changes.push(change);
    }
  }
  const { stamps, deletes } = await heldChanges(service, items);
  const rows = new Map<string, Cells>();
  for (const { key, newKey, cells } of changes) {
    const isHeld = cells === null ? deletes.has(key) : stamps.has(stampOf(cells['updated_at']));
    if (isHeld) continue;
    if (cells === null || newKey !== null) rows.delete(key);
    if (cells !== null) rows.set(newKey ?? key, cells);
  }
  return { rows: [...rows.values()], touched, slipped };
}

async function heldChanges(
  service: Evidence,
  items: readonly ItemView[],
): Promise<{ readonly stamps: ReadonlySet<string>; readonly deletes: ReadonlySet<string> }> {
  const stamps = new Set<string>();
  const deletes = new Set<string>();
  const rest = items.filter((item) => {
    if (item.op === 'delete') deletes.add(item.key);
    return item.op !== 'delete';
  });
  for (let from = 0; from < rest.length; from += 20) {
    const details = rest.slice(from, from + 20).map(({ id }) => service.get<ItemDetail>(`api/quarantine/${encodeURIComponent(id)}`));
    for (const { columns } of await Promise.all(details)) {
      const stamp = columns.find(({ name }) => name === 'updated_at')?.after;
      if (stamp === undefined || stamp === null) throw new Error('a quarantined row has no updated_at');
      stamps.add(stampOf(stamp));
    }
  }
  return { stamps, deletes };
}

/** The same moment as the same text: fractions of a second lose their trailing zeros, as PostgreSQL writes them. */
function stampOf(text: string | null | undefined): string {
  return (text ?? '').replace(/(\.\d*?)0*\+00$/, '$1+00').replace('.+00', '+00');
}

async function columnsOf(target: PgConnection, table: Table): Promise<readonly string[]> {
  const sql = `select attname from pg_attribute where attrelid = 'proof.${table}'::regclass and attnum > 0 and not attisdropped order by attnum`;
  return (await target.query(sql)).rows.map(([name]) => name ?? '');
}

async function insertAll(target: PgConnection, into: string, rows: readonly string[]): Promise<void> {
  for (let from = 0; from < rows.length; from += 1_000) {
    await target.script(`insert into ${into} values ${rows.slice(from, from + 1_000).join(', ')}`);
  }
}

const literal = (value: string | null) => (value === null ? 'null' : quoteLiteral(value));
