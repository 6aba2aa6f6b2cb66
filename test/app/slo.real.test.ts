/** Service levels in the service, between two real databases: killed at will it counts every row once, and people are told of what begins and of what is over. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { AddressInfo } from 'node:net';
import { expect, inject, test } from 'vitest';
import { PgConnection } from '../../wire/postgres/connection.ts';
import { ServiceProcess } from '../e2e/service-process.ts';
import { createDatabase } from '../support/databases.ts';
import { eventually } from '../support/eventually.ts';
import { Random } from '../support/random.ts';
import { type Told, webhookReceiver } from '../support/receiver.ts';
import { cli } from './cli.ts';
import { ask, configFolder, post } from './services.ts';

const SEED = 20_260_801;
const HOUR = 3_600_000;

const RULES = `
apiVersion: quality/v1
kind: DatasetRules
dataset: shop.public.orders
columns:
  total: [{ between: { min: 0 } }]
checks:
  - { id: fresh, freshness: { max: 1h } }
breaker: { open_when: { quarantined_ratio: 1, over: 1m, min_rows: 100000 } }
slo:
  - { objective: 90, min_count: 10, burn: [{ window: 2m, short: 1m, rate: 2, page: true }] }
  - { objective: 50, of: minutes }
`;

interface Level {
  readonly id: string;
  readonly good: number;
  readonly bad: number;
  readonly budgetLeft: number | null;
  readonly troubles: readonly string[];
}
interface Levels {
  readonly objectives: readonly Level[];
  readonly incidents: readonly { readonly id: string; readonly slo: string; readonly cause: string; readonly resolvedMs: number | null }[];
}

interface RulesOverTime {
  readonly datasets: readonly {
    readonly rows: readonly number[];
    readonly rules: readonly {
      readonly rule: string;
      readonly verdict: string;
      readonly failed: readonly number[];
      readonly passed: readonly number[];
    }[];
  }[];
}

async function world(told: Told[]) {
  const [source, target] = await Promise.all([
    createDatabase(inject('sourceServer'), 'slo'),
    createDatabase(inject('targetServer'), 'slo'),
  ]);
  const [sql, lake] = await Promise.all([PgConnection.connect({ url: source.url }), PgConnection.connect({ url: target.url })]);
  // What is there before the service counts for nothing: good or bad, it says nothing of now.
  await sql.script('create table orders (id bigint primary key, total integer not null); insert into orders values (-1, -1), (-2, 2)');
  const receiver = webhookReceiver(told);
  await new Promise<void>((resolve) => receiver.listen(0, '127.0.0.1', resolve));
  const config = configFolder(
    {
      sources: { shop: { kind: 'postgres', url: source.url, slot: source.name, publication: 'tidegate_slo', tables: ['public.orders'] } },
      alerts: {
        someone: {
          kind: 'webhook',
          url: `http://127.0.0.1:${(receiver.address() as AddressInfo).port}/`,
          secret: `whsec_${Buffer.alloc(24, 7).toString('base64')}`,
          events: ['slo.*'],
          allowNetworks: ['127.0.0.1/32'],
        },
      },
    },
    { 'orders.rules.yaml': RULES },
    { source: source.url, target: target.url },
  );
  return {
    sql,
    config,
    /** How many rows have come to the target, held ones too. */
    async arrived(): Promise<number> {
      const known = await lake.query("select to_regclass('shop.orders'), to_regclass('tidegate.quarantine')");
      if (known.rows[0]?.includes(null) !== false) return 0;
      const { rows } = await lake.query('select (select count(*) from shop.orders) + (select count(*) from tidegate.quarantine)');
      return Number(rows[0]?.[0]);
    },
    async levels(): Promise<Levels> {
      return (await cli('slo', config.file, '--json')).json as Levels;
    },
    async [Symbol.asyncDispose]() {
      receiver.close();
      config[Symbol.dispose]();
      await Promise.all([sql.close(), lake.close()]);
      await Promise.all([source[Symbol.asyncDispose](), target[Symbol.asyncDispose]()]);
    },
  };
}

test(`killed again and again it counts each row once; what burns is told, and that it is over (seed ${SEED})`, async () => {
  const random = new Random(SEED);
  const told: Told[] = [];
  await using at = await world(told);
  let service = new ServiceProcess(at.config.file);
  try {
    await eventually(async () => (await at.arrived()) === 2, 'what was there has been copied');
    const counts = { good: 0, bad: 0 };
    let id = 0;
    for (let round = 0; round < 4; round++) {
      for (let batch = 0; batch < 5; batch++) {
        const rows = Array.from({ length: 1 + random.below(40) }, () => (random.chance(0.4) ? -1 : 1));
        await at.sql.script(`insert into orders values ${rows.map((total) => `(${++id}, ${total})`).join(', ')}`);
        counts.bad += rows.filter((total) => total < 0).length;
        counts.good += rows.filter((total) => total > 0).length;
      }
      // At whatever it is just doing with them, and in the last round when it has them.
      const enough = round === 3 ? id + 2 : 1 + random.below(id);
      await eventually(async () => (await at.arrived()) >= enough, `${enough} rows have come`, 30_000);
      await service.kill();
      service = new ServiceProcess(at.config.file);
    }
    const levelOf = (levels: Levels, of: string) => levels.objectives.find((level) => level.id === of);
    expect(levelOf(await at.levels(), 'rows')).toMatchObject(counts);
    const isTold = (type: string, of: string, cause: string) =>
      told.some((one) => one.type === type && one.data['slo'] === of && one.data['cause'] === cause);
    await eventually(() => isTold('slo.opened', 'rows', 'burn') && isTold('slo.opened', 'rows', 'budget'), 'people are told', 30_000);
    expect((await cli('slo', at.config.file)).code).toBe(1);
    expect((await cli('slo', at.config.file, '--dataset', 'shop.public.others')).code).toBe(0);

    // Three hours on nothing burns any more, and nothing has come for as long: of the minutes since the row was too old, none was fresh.
    await service.setClock(3 * HOUR);
    await eventually(() => isTold('slo.resolved', 'rows', 'burn'), 'it is over', 30_000);
    expect(isTold('slo.resolved', 'rows', 'budget')).toBe(false);
    await eventually(() => isTold('slo.opened', 'minutes', 'budget'), 'the table is not fresh for too long', 30_000);
    const minutes = levelOf(await at.levels(), 'minutes');
    expect(minutes?.good).toBeGreaterThanOrEqual(58);
    expect(minutes?.good).toBeLessThanOrEqual(62);
    expect((minutes?.good ?? 0) + (minutes?.bad ?? 0)).toBeGreaterThanOrEqual(179);

    const url = /http:\/\/127\.0\.0\.1:\d+/.exec(service.log.find((line) => line.includes('listening')) ?? '')?.[0] ?? '';
    const metrics = (await ask(url, '/metrics')).text;
    const labels = 'pipeline="main",dataset="shop.public.orders",slo="rows"';
    expect(metrics).toContain(`tidegate_slo_counted{${labels},result="bad"} ${counts.bad}\n`);
    expect(metrics).toContain(`tidegate_slo_objective_ratio{${labels}} 0.9\n`);
    expect(metrics).toContain(`tidegate_slo_in_trouble{${labels},cause="budget"} 1\n`);
    expect(metrics).toMatch(/tidegate_slo_error_budget_left_ratio\{.*slo="rows"\} -\d/);
    const { json } = await ask(url, '/api/slo?dataset=shop.public.orders');
    expect(json).toMatchObject({ objectives: [{ id: 'rows', ...counts }, { id: 'minutes' }] });
    const { json: status } = await ask(url, '/api/status');
    expect(status).toMatchObject({ pipelines: [{ slo: [{ id: 'rows', ...counts }, { id: 'minutes' }] }] });

    // And what the rule found, over time, in this process.
    await at.sql.script(`insert into orders values (${id + 1}, -1), (${id + 2}, 1), (${id + 3}, 1)`);
    const overTime = async () => (await ask(url, '/api/rules?dataset=shop.public.orders')).json as RulesOverTime;
    const sum = (values: readonly number[] = []) => values.reduce((total, n) => total + n, 0);
    await eventually(async () => sum((await overTime()).datasets[0]?.rows) === 3, 'they are counted');
    const [rule, ...others] = (await overTime()).datasets[0]?.rules ?? [];
    expect([rule?.rule, rule?.verdict, sum(rule?.failed), sum(rule?.passed), others]).toEqual(['total.between', 'quarantine', 1, 2, []]);

    // What nobody promises any more is no trouble.
    writeFileSync(join(at.config.folder, 'orders.rules.yaml'), RULES.replace(/slo:[^]*/, ''));
    expect((await post(url, '/api/pipelines/main/rules/reload', {})).status).toBe(200);
    await eventually(() => isTold('slo.resolved', 'rows', 'budget'), 'the promise is gone', 30_000);
    const left = await at.levels();
    expect([left.objectives, left.incidents.filter(({ resolvedMs }) => resolvedMs === null)]).toEqual([[], []]);
    // Of one incident the same is not told twice, and each was opened once, whatever was killed.
    expect(new Set(left.incidents.map(({ slo, cause }) => `${slo} ${cause}`)).size).toBe(left.incidents.length);
  } finally {
    await service[Symbol.asyncDispose]();
  }
}, 120_000);
