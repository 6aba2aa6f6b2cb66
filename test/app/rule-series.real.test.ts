/** What rules found is there again after a restart, and after kill -9, in the state file and in a database that several instances share. */
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { expect, inject, test } from 'vitest';
import type { RuleSeriesView } from '../../app/http/rule-shapes.ts';
import { PgConnection } from '../../wire/postgres/connection.ts';
import { ServiceProcess } from '../e2e/service-process.ts';
import { createDatabase } from '../support/databases.ts';
import { eventually } from '../support/eventually.ts';
import { ask, configFolder } from './services.ts';

const RULES = `
apiVersion: quality/v1
kind: DatasetRules
dataset: shop.public.orders
columns: { total: [{ between: { min: 0 }, on_fail: tag }] }
`;

test.each(['file', 'database'])(
  'what rules found outlives the process, with the state in a %s',
  async (kind) => {
    const [source, target, memory] = await Promise.all([
      createDatabase(inject('sourceServer'), 'series'),
      createDatabase(inject('targetServer'), 'series'),
      createDatabase(inject('targetServer'), 'state'),
    ]);
    await using _databases = new AsyncDisposableStack();
    for (const one of [source, target, memory]) _databases.use(one);
    await using sql = await PgConnection.connect({ url: source.url });
    await sql.script('create table orders (id bigint primary key, total bigint not null); insert into orders values (1, -1)');
    using config = configFolder(
      {
        ...(kind === 'database' ? { state: memory.url } : {}),
        sources: {
          shop: { kind: 'postgres', url: source.url, slot: source.name, publication: 'tidegate_series', tables: ['public.orders'] },
        },
      },
      { 'orders.rules.yaml': RULES },
      { source: source.url, target: target.url },
    );
    await using services = new AsyncDisposableStack();
    const begin = (): ServiceProcess => services.use(new ServiceProcess(config.file));
    const found = async (service: ServiceProcess): Promise<string> => {
      const url = service.log.map((line) => /"url":"([^"]+)"/.exec(line)?.[1]).findLast((one) => one !== undefined);
      const answer = url === undefined ? null : await ask(url, '/api/rules').catch(() => null);
      const sum = (values: readonly number[] = []) => values.reduce((total, value) => total + value, 0);
      const of = (answer?.json as RuleSeriesView | undefined)?.datasets[0];
      return `${sum(of?.rules.find(({ rule }) => rule === 'total.between')?.failed)} of ${sum(of?.rows)}`;
    };
    const finds = (service: ServiceProcess, what: string): Promise<void> =>
      eventually(async () => (await found(service)) === what, `${what} rows are found (${service.lastWords})`, 30_000);
    let service = begin();
    await finds(service, '1 of 1');
    await sql.script('insert into orders values (2, -2), (3, 3)');
    await finds(service, '2 of 3');
    expect(await service.stop()).toBe(0);
    service = begin();
    await finds(service, '2 of 3');
    await sql.script('insert into orders values (4, -4)');
    await finds(service, '3 of 4');
    await keptIn(kind, config.folder, memory.url);
    await service.kill();
    service = begin();
    // One that was killed says nothing: after a while it is known to be gone.
    await service.setClock(60_000);
    await finds(service, '3 of 4');
  },
  90_000,
);

/** Until what was counted last is kept: three findings by the rule. */
async function keptIn(kind: string, folder: string, url: string): Promise<void> {
  const records = async (): Promise<readonly string[]> => {
    if (kind === 'file') {
      const database = new DatabaseSync(join(folder, 'tidegate.db'), { readOnly: true });
      try {
        return database
          .prepare('select record from rule_series')
          .all()
          .map((row) => String(row['record']));
      } finally {
        database.close();
      }
    }
    await using sql = await PgConnection.connect({ url });
    return (await sql.query('select record from tidegate_state.rule_series')).rows.map(([record]) => record ?? '');
  };
  await eventually(async () => (await records()).some((record) => record.includes('"count":3')), 'what was counted is kept', 30_000);
}
