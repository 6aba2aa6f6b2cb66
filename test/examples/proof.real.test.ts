/** The demo's proof, held against targets that were made right and wrong by hand. */
import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { expect, inject, test } from 'vitest';
import type { ItemDetail, ItemView, LaneView } from '../../app/http/shapes.ts';
import { type Evidence, prove } from '../../examples/shop/proof.ts';
import { type Change, toSql, workload } from '../../examples/shop/workload.ts';
import { PgConnection } from '../../wire/postgres/connection.ts';

const options = { seed: 11, rows: 4_000, initial: 1_000, perTransaction: 40 };

test('a target without the held changes is proved, and each planted mistake is found', async () => {
  await using source = await database(inject('sourceServer'), 'proof_source');
  await using target = await database(inject('targetServer'), 'proof_target');
  const schema = readFileSync('examples/shop/schema.sql', 'utf8');
  await source.connection.script(schema);
  await target.connection.script(`create schema shop; set search_path = shop; ${schema.replaceAll('public.', 'shop.')}; reset search_path`);

  const bad: Change[] = [];
  for (const { ddl, changes } of workload(options)) {
    await source.connection.script(toSql({ ddl, changes }));
    bad.push(...changes.filter((change) => change.bad !== null));
    const passing = changes.filter((change) => change.bad === null);
    if (ddl !== null) await target.connection.script(ddl.replace('public.', 'shop.'));
    await target.connection.script(passing.map(upsert).join(';'));
  }
  const prover = (held: readonly Change[], ledgerCloses = true) =>
    prove(evidence(held, ledgerCloses), target.connection, source.url, options);

  const proof = await prover(bad);
  expect(proof.tables.map(({ missing, surplus, slipped }) => [missing, surplus, slipped])).toEqual([
    [0, 0, 0],
    [0, 0, 0],
    [0, 0, 0],
  ]);
  expect(proof.holds).toBe(true);
  expect((await prover(bad, false)).holds).toBe(false);
  expect((await prover(bad.slice(1))).holds).toBe(false);

  const planted = [
    'delete from shop.orders where id = (select max(id) from shop.orders)',
    'update shop.payments set amount = amount + 0.01 where id = (select max(id) from shop.payments)',
    'insert into shop.customers select 77777777, name, email, country, created_at, updated_at from shop.customers limit 1',
    "update shop.orders set note = 'x' where id = (select min(id) from shop.orders where note is null)",
  ];
  for (const mistake of planted) {
    await target.connection.script(
      `create temp table undo_c as table shop.customers; create temp table undo_o as table shop.orders; create temp table undo_p as table shop.payments`,
    );
    await target.connection.script(mistake);
    expect((await prover(bad)).holds).toBe(false);
    await target.connection.script(`truncate shop.customers, shop.orders, shop.payments;
      insert into shop.customers table undo_c; insert into shop.orders table undo_o; insert into shop.payments table undo_p; drop table undo_c, undo_o, undo_p`);
  }
  expect((await prover(bad)).holds).toBe(true);
});

/** What a target does with a change: writes the whole row, wherever it was. */
function upsert({ table, key, cells }: Change): string {
  const remove = `delete from shop.${table} where id = ${key}`;
  if (cells === null) return remove;
  const insert = toSql({ ddl: null, changes: [{ table, op: 'insert', key, newKey: null, cells, set: [], bad: null }] });
  return `${remove};${insert.replace('begin;', '').replace(';\ncommit', '').replace(`public.${table}`, `shop.${table}`)}`;
}

function evidence(held: readonly Change[], closed: boolean): Evidence {
  const items = held.map((change, i): ItemView => ({
    id: `item/${i}`,
    pipeline: 'p',
    lane: 'l',
    dataset: `shop.public.${change.table}`,
    op: change.op === 'insert' ? 'insert' : 'update',
    key: change.newKey ?? change.key,
    status: 'held',
    version: '1',
    committedAtMs: 0,
    heldAtMs: 0,
    settledAtMs: null,
    waitsUntilMs: null,
    by: null,
    why: null,
    revision: null,
    lotStartMs: null,
    findings: [],
  }));
  const ledger = { events: 1, upserts: closed ? 1 : 0, deletes: 0, truncates: 0, stale: 0, folded: 0, held: 0, dropped: 0 };
  const lane: LaneView = {
    pipeline: 'p',
    lane: 'l',
    role: 'main',
    state: 'running',
    epoch: 1,
    position: '0',
    updatedAtMs: 0,
    ledger,
    closed,
  };
  return {
    openItems: async () => items,
    lanes: async () => [lane],
    get: async <T>(path: string): Promise<T> => {
      const change = held[items.findIndex(({ id }) => path.endsWith(encodeURIComponent(id)))];
      const after = change?.cells?.['updated_at'] ?? null;
      const detail: Pick<ItemDetail, 'columns'> = {
        columns: [{ name: 'updated_at', type: 'timestamptz', key: false, before: null, after, note: null }],
      };
      return detail as T; // The proof reads nothing else.
    },
  };
}

async function database(serverUrl: string, name: string) {
  const unique = `${name}_${randomUUID().slice(0, 8)}`;
  const admin = await PgConnection.connect({ url: serverUrl });
  await admin.query(`create database ${unique}`);
  const url = serverUrl.replace(/\/[^/]*$/, `/${unique}`);
  const connection = await PgConnection.connect({ url });
  return {
    url,
    connection,
    async [Symbol.asyncDispose]() {
      await connection.close();
      await admin.query(`drop database ${unique} with (force)`);
      await admin.close();
    },
  };
}
