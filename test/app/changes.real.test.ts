/** What only changes can be asked: each check of old and new rows, of deletes and of lost changes, in the service, between two real databases. */
import { expect, inject, test } from 'vitest';
import { freePort } from '../../examples/embedded-postgres.ts';
import { PgConnection } from '../../wire/postgres/connection.ts';
import { createDatabase } from '../support/databases.ts';
import { eventually } from '../support/eventually.ts';
import { cli } from './cli.ts';
import { ask, configFolder, startService, untilReady } from './services.ts';

const RULES = `
apiVersion: quality/v1
kind: DatasetRules
dataset: shop.public.tickets
columns:
  email: [immutable]
  status: [{ transitions: { new: [paid], paid: [shipped], shipped: [] } }]
  total: [{ change_between: { min: -20, max: 20, as: percent } }]
  number: [sequence_gap]
checks:
  - { id: kept, no_delete: true, where: 'before.status == "paid"' }
  - { id: lost, before_matches: { missing: fail }, on_fail: warn }
breaker: { open_when: { quarantined_ratio: 1, over: 1m, min_rows: 100000 } }
`;

test('updates, deletes and numbers are judged by what was there before', async () => {
  await using from = await createDatabase(inject('sourceServer'), 'changes');
  await using to = await createDatabase(inject('targetServer'), 'changes');
  const [source, target] = await Promise.all([from, to].map(({ url }) => PgConnection.connect({ url })));
  if (source === undefined || target === undefined) throw new Error('two were opened');
  try {
    await source.script(`
      create table tickets (id int primary key, email text, status text, total numeric(10, 2), number int);
      alter table tickets replica identity full;
      insert into tickets select n, 'm' || n, case when n > 5 then 'paid' else 'new' end, 100, n from generate_series(1, 8) n`);
    using config = configFolder(
      {
        sources: { shop: { kind: 'postgres', url: from.url, slot: from.name, publication: 'changes', tables: ['public.tickets'] } },
        http: { port: await freePort() },
      },
      { 'tickets.rules.yaml': RULES },
      { source: from.url, target: to.url },
    );
    expect(await cli('check', config.file)).toMatchObject({ code: 0 });
    await using running = await startService(config);
    await untilReady(running.url);
    const counted = async (): Promise<Record<string, number>> => {
      const text = (await ask(running.url, '/metrics')).text;
      const found = text.matchAll(/^tidegate_findings_total\{[^}]*rule="([^"]+)"[^}]*\} (\d+)$/gm);
      return Object.fromEntries([...found].map(([, rule = '', count]) => [rule, Number(count)]));
    };
    await target.script("update shop.tickets set status = 'odd' where id = 8; delete from shop.tickets where id = 7");
    await source.script(`
      update tickets set email = 'other' where id = 1;
      update tickets set status = 'shipped' where id = 2;
      update tickets set status = 'paid', total = 119.99 where id = 3;
      update tickets set total = 130 where id = 4;
      delete from tickets where id = 5;
      delete from tickets where id = 6;
      update tickets set total = 101 where id = 7;
      update tickets set total = 101 where id = 8;
      insert into tickets values (9, 'm9', 'new', 1, 9), (11, 'm11', 'new', 1, 11);
      insert into tickets values (100, 'last', 'new', 1, 12)`);
    await eventually(async () => (await target.query('select id from shop.tickets where id = 100')).rows.length === 1, 'all has come');
    const held = await target.query("select key, array_to_string(rules, ' ') from tidegate.quarantine order by key");
    expect(held.rows).toEqual([
      ['1', 'email.immutable'],
      ['2', 'status.transitions'],
      ['4', 'total.change_between'],
      ['6', 'kept'],
    ]);
    const { rows } = await target.query('select id, email, status, total from shop.tickets order by id');
    expect(rows.map((row) => row.join(' '))).toEqual([
      '1 m1 new 100.00',
      '2 m2 new 100.00',
      '3 m3 paid 119.99',
      '4 m4 new 100.00',
      '6 m6 paid 100.00',
      '7 m7 paid 101.00',
      '8 m8 paid 101.00',
      '9 m9 new 1.00',
      '11 m11 new 1.00',
      '100 last new 1.00',
    ]);
    await eventually(async () => (await counted())['lost'] === 2, 'the changes that do not fit are told of');
    expect(await counted()).toMatchObject({ 'number.sequence_gap': 1, kept: 1, 'email.immutable': 1 });
  } finally {
    await Promise.all([source.close(), target.close()]);
  }
});
