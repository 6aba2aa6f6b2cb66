/** Rule files that change under a running service: taken up, refused, over kill -9, and what is told of it. */
import type { AddressInfo } from 'node:net';
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, inject, test } from 'vitest';
import type { PipelineStatus, Ready, Status } from '../../app/http/shapes.ts';
import { freePort } from '../../examples/embedded-postgres.ts';
import { PgConnection } from '../../wire/postgres/connection.ts';
import { ServiceProcess } from '../e2e/service-process.ts';
import { type Told, webhookReceiver } from '../support/receiver.ts';
import { createDatabase, type TestDatabase } from '../support/databases.ts';
import { eventually } from '../support/eventually.ts';
import { ruleFile } from '../support/rules.ts';
import { cli } from './cli.ts';
import { ask, configFolder, type TestConfig } from './services.ts';

const below = (max: number, version: number, hold: 'event' | 'key' = 'event') =>
  ruleFile('orders', hold, `amount: [{id: few, between: {max: ${max}}}]`).replace('version: 1', `version: ${version}`);

let from: TestDatabase;
let to: TestDatabase;
let source: PgConnection;
let target: PgConnection;
let config: TestConfig;
let url: string;
const told: Told[] = [];
const receiver = webhookReceiver(told);

beforeEach(async () => {
  from = await createDatabase(inject('sourceServer'), 'reload');
  to = await createDatabase(inject('targetServer'), 'reload');
  source = await PgConnection.connect({ url: from.url });
  target = await PgConnection.connect({ url: to.url });
  await source.script('create table orders (id bigint primary key, amount int not null)');
  await new Promise<void>((resolve) => receiver.listen(0, '127.0.0.1', resolve));
});

afterEach(async () => {
  receiver.close();
  told.length = 0;
  config[Symbol.dispose]();
  await Promise.all([source.close(), target.close()]);
  await Promise.all([from[Symbol.asyncDispose](), to[Symbol.asyncDispose]()]);
});

async function configured(reload: 'ask' | 'watch', rules: string): Promise<void> {
  const port = await freePort();
  url = `http://127.0.0.1:${port}`;
  config = configFolder(
    {
      sources: { shop: { kind: 'postgres', url: from.url, slot: from.name, publication: 'reload', tables: ['public.orders'] } },
      pipelines: { main: { source: 'shop', target: 'lake', datasets: './*.rules.yaml', reload } },
      http: { port },
      alerts: {
        someone: {
          kind: 'webhook',
          url: `http://127.0.0.1:${(receiver.address() as AddressInfo).port}/`,
          secret: `whsec_${Buffer.alloc(24, 7).toString('base64')}`,
          events: ['rules.*'],
          allowNetworks: ['127.0.0.1/32'],
        },
      },
    },
    { 'orders.rules.yaml': rules },
    { source: from.url, target: to.url },
  );
}

const untilUp = () => eventually(async () => (await ask(url, '/readyz').catch(() => null))?.status === 200, 'the service is up and ready');
const write = (text: string) => writeFileSync(join(config.folder, 'orders.rules.yaml'), text);
const pipeline = async (): Promise<PipelineStatus> => {
  const [first] = ((await ask(url, '/api/status')).json as Status).pipelines;
  if (first === undefined) throw new Error('no pipeline');
  return first;
};
const revision = async () => (await pipeline()).rules.datasets[0]?.revision ?? null;
const version = async () => Number((await revision())?.split('@')[0]);
const inForce = (wanted: number) => eventually(async () => (await version()) === wanted, `version ${wanted} is in force`);
const rows = async (sql: string) => (await target.query(sql)).rows.map((row) => row.join(' '));

/** The row is judged: `at the target`, or held by which version under which policy. */
async function judged(id: number, amount: number): Promise<string> {
  await source.script(`insert into orders values (${id}, ${amount})`);
  let outcome: readonly string[] = [];
  await eventually(async () => {
    outcome = await rows(
      `select 'passed' from shop.orders where id = ${id} union all select 'held by ' || revision || ' ' || hold from tidegate.quarantine where key = '${id}'`,
    );
    return outcome.length > 0;
  }, `row ${id} is judged`);
  return outcome.join();
}

test('rules are taken up on request, refused where they are wrong, and the same are in force after kill -9', async () => {
  await configured('ask', below(10, 1));
  {
    await using service = new ServiceProcess(config.file);
    await untilUp();
    const first = await revision();
    expect(first).toMatch(/^1@[0-9a-f]{12}$/);
    expect(await judged(1, 11)).toBe(`held by ${first} event`);

    write(below(20, 2));
    await eventually(async () => (await pipeline()).rules.changedOnDisk, 'it is seen that the file has changed');
    expect(await revision()).toBe(first);
    service.signal('SIGHUP');
    await inForce(2);
    expect((await pipeline()).rules.changedOnDisk).toBe(false);
    expect(await judged(2, 11)).toBe('passed');
    expect(await judged(3, 21)).toBe(`held by ${await revision()} event`);

    // Two at once: one of them takes it up, and the other finds that there is nothing to do.
    write(below(30, 3));
    const both = await Promise.all([cli('reload', config.file, '--json'), cli('reload', config.file, 'main', '--json')]);
    expect(both.map(({ code }) => code)).toEqual([0, 0]);
    expect(
      both.map(({ json }) => (json as { pipelines: { outcome: string }[] }).pipelines.map(({ outcome }) => outcome).join()).sort(),
    ).toEqual(['taken-up', 'unchanged']);

    const good = await revision();
    for (const [bad, words] of [
      [below(40, 4).replace('few, between', 'few, betwixt'), 'betwixt'],
      [below(40, 4).replace('amount:', 'amounts:'), 'amounts'],
      ['', 'empty'],
    ] as const) {
      write(bad);
      const refused = await cli('reload', config.file);
      expect(refused.code).toBe(2);
      expect(refused.stdout).toContain(words);
      expect(await revision()).toBe(good);
    }
    expect(await judged(4, 31)).toBe(`held by ${good} event`);
    const ready = await ask(url, '/readyz');
    expect(ready.status).toBe(200);
    expect((ready.json as Ready).pipelines[0]?.notes.join()).toContain('was refused');
    expect((await ask(url, '/metrics')).text).toContain('tidegate_rules_refused{pipeline="main"} 1');
    expect((await cli('status', config.file)).stdout).toContain('new rules were refused');
    await service.kill();
  }
  {
    // The file is still wrong: what was in force is again, and says so.
    await using service = new ServiceProcess(config.file);
    await untilUp();
    expect(await version()).toBe(3);
    expect((await pipeline()).rules.refused?.problems[0]?.message).toContain('empty');
    expect(await judged(5, 31)).toBe(`held by ${await revision()} event`);
    rmSync(join(config.folder, 'orders.rules.yaml'));
    const gone = await cli('reload', config.file);
    expect([gone.code, gone.stdout.includes('is gone')]).toEqual([2, true]);
    // Holding keys is for the target's session: it is another one from then on.
    write(below(50, 5, 'key'));
    expect((await cli('reload', config.file)).code).toBe(0);
    await untilUp();
    expect((await pipeline()).rules.refused).toBeNull();
    expect(await judged(6, 51)).toBe(`held by ${await revision()} key`);
    // What is released is judged by the rules of now, and says so.
    write(below(40, 6, 'key'));
    expect((await cli('reload', config.file)).code).toBe(0);
    await cli('quarantine', 'release', config.file, '--all');
    const again = `6 ${await revision()} held`;
    await eventually(
      async () =>
        (await rows("select key, revision, status from tidegate.quarantine where status in ('held', 'released')")).join() === again,
      'all but one have passed, and that one is held again by the new rules',
    );
    rmSync(join(config.folder, 'orders.rules.yaml'));
    expect((await cli('reload', config.file, '--allow-removed')).code).toBe(0);
    expect(await judged(7, 51)).toBe('passed');
    await eventually(() => told.filter(({ type }) => type === 'rules.changed').length >= 5, 'the receiver is told of every change');
    expect(told.filter(({ type }) => type === 'rules.refused').map(({ data }) => data['problems'])).toEqual([1, 1, 1, 1]);
    expect(await service.stop()).toBe(0);
  }
  // Refused by a running service is one thing, started by a wrong file another.
  write('');
  await using wrong = new ServiceProcess(config.file);
  await wrong.ended;
  expect(wrong.child.exitCode).toBe(2);
  const stopped = await cli('reload', config.file);
  expect([stopped.code, stopped.stdout]).toEqual([1, 'The service does not run: it reads its rule files when it starts.\n']);
});

test('with reload: watch a file is taken up once it stands still; a wrong one, and one that is gone, are not', async () => {
  await configured('watch', below(10, 1));
  await using service = new ServiceProcess(config.file);
  await untilUp();
  write(below(20, 2));
  await inForce(2);
  write('apiVersion: quality/v1\nkind: Data');
  await eventually(async () => (await pipeline()).rules.refused !== null, 'it is refused');
  write(below(20, 2));
  await eventually(async () => (await pipeline()).rules.refused === null, 'the file is as it was');
  rmSync(join(config.folder, 'orders.rules.yaml'));
  await eventually(async () => (await pipeline()).rules.refused !== null, 'it is refused');
  expect(await judged(1, 21)).toBe(`held by ${await revision()} event`);
  write(below(30, 3));
  await inForce(3);
  expect(await judged(2, 21)).toBe('passed');
  expect(await service.stop()).toBe(0);
});
