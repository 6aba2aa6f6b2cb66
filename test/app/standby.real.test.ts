/** Several instances of one config: one has the pipeline, the others stand by, take it over when it is gone or stands still, and share what they remember. */
import { expect, inject, test } from 'vitest';
import type { Status } from '../../app/http/shapes.ts';
import { freePort } from '../../examples/embedded-postgres.ts';
import { PgConnection } from '../../wire/postgres/connection.ts';
import { CutProxy } from '../e2e/proxy.ts';
import { ServiceProcess } from '../e2e/service-process.ts';
import { createDatabase } from '../support/databases.ts';
import { eventually } from '../support/eventually.ts';
import { ask, configFolder, post, type TestConfig } from './services.ts';

const TABLE = 'create table orders (id bigint primary key, note text)';

test('an instance that is killed, or stands still for longer than the lease, is followed by the next one, and nothing is lost or written twice', async () => {
  await using world = await twoDatabases();
  await using memory = await createDatabase(inject('targetServer'), 'state');
  using config = configFolder({ state: memory.url, lease: '2s' }, {}, world.urls);
  const inserted = inserts(world.shop);

  await using first = await started(config);
  await inserted(10);
  await world.arrived(10);
  await using second = await started(config);
  expect(await stateOf(second)).toEqual(['standby', first.process.pid]);
  // Ready to take over is what is asked of it.
  expect(await ask(second.url, '/readyz')).toMatchObject({
    status: 200,
    json: { ready: true, pipelines: [{ reasons: [], standby: { pid: first.process.pid } }] },
  });

  await Promise.all([first.process.kill(), inserted(100)]);
  await world.arrived(110);
  await eventually(async () => (await stateOf(second)).join() === 'running,', 'the second has the pipeline');

  await using third = await started(config);
  expect(await stateOf(third)).toEqual(['standby', second.process.pid]);
  second.process.signal('SIGSTOP');
  await inserted(100);
  await world.arrived(210);
  second.process.signal('SIGCONT');
  await eventually(async () => (await stateOf(second))[0] === 'standby', 'the one that stood still has noticed', 20_000);
  await inserted(10);
  await world.arrived(220);
  await eventually(async () => (await stateOf(third)).join() === 'running,', 'the third says that it works', 5000);
  // Each counted once: what the one that stood still had on its way was refused.
  const { rows } = await world.lake.query("select events, upserts + folded from tidegate.lanes where lane not like 'replay:%'");
  expect(rows).toEqual([['220', '220']]);

  await third.process.stop();
  await inserted(1);
  await world.arrived(221);
});

test('a halt told to one instance halts the pipeline, whoever has it and whoever takes it over', async () => {
  await using world = await twoDatabases();
  await using memory = await createDatabase(inject('targetServer'), 'state');
  using config = configFolder({ state: memory.url, lease: '2s' }, {}, world.urls);
  await using first = await started(config);
  await using second = await started(config);
  const states = async (): Promise<string> => (await Promise.all([first, second].map(async (one) => (await stateOf(one))[0]))).join();
  expect((await post(second.url, '/api/pipelines/main/halt', { why: 'a look' })).status).toBe(202);
  await eventually(async () => (await states()) === 'halted,halted', 'both have halted', 10_000);
  expect((await post(first.url, '/api/pipelines/main/resume', {})).status).toBe(202);
  await eventually(async () => (await states()) === 'running,standby', 'one goes on, and the other stands by', 10_000);
  await post(first.url, '/api/pipelines/main/halt', { why: 'the night' });
  await first.process.kill();
  await inserts(world.shop)(1);
  await eventually(async () => (await pipelineOf(second)).standby === null, 'the other has it', 10_000);
  expect(await pipelineOf(second)).toMatchObject({ state: 'halted', error: { code: 'OPERATOR' } });
  await post(second.url, '/api/pipelines/main/resume', {});
  await world.arrived(1);
});

test('on one machine, with a state file, the second instance takes over the lanes and the port', async () => {
  await using world = await twoDatabases();
  using config = configFolder({ http: { port: await freePort() }, lease: '60s' }, {}, world.urls);
  const inserted = inserts(world.shop);
  await using first = await started(config);
  await using second = new ServiceProcess(config.file);
  await eventually(() => second.log.some((line) => line.includes('taken over when it is free')), 'the second waits', 20_000);
  await first.process.kill();
  await inserted(5);
  await world.arrived(5);
  await eventually(async () => (await ask(first.url, '/readyz').catch(() => null))?.status === 200, 'the port is taken over', 20_000);
  expect(((await ask(first.url, '/api/status')).json as Status).instance).not.toBe(first.instance);
  expect(await second.stop()).toBe(0);
});

test('a service that is killed while its connection to the source hangs does not keep the slot from the next one', async () => {
  await using world = await twoDatabases();
  await using proxy = await CutProxy.listen(Number(new URL(world.urls.source).port));
  const source = Object.assign(new URL(world.urls.source), { port: proxy.port }).href;
  // The server itself never ends a session that says nothing.
  await world.shop.script(`alter database ${new URL(world.urls.source).pathname.slice(1)} set wal_sender_timeout = 0`);
  using config = configFolder({}, {}, { ...world.urls, source });
  const inserted = inserts(world.shop);
  await using first = await started(config);
  await inserted(1);
  await world.arrived(1);
  const reader = async () =>
    (await world.shop.query(`select active_pid from pg_replication_slots where database = current_database()`)).rows.join();
  const hung = await reader();
  proxy.forget();
  await first.process.kill();
  await inserted(1);
  expect([hung, await reader()]).toEqual([expect.stringMatching(/^[0-9]+$/), hung]);
  await using second = await started(config);
  await world.arrived(2);
  expect(await reader()).not.toBe(hung);
  expect(await stateOf(second)).toEqual(['running', null]);
});

test('while the state is away the pipeline goes on, and a state that is away at the start is told by its place in the config', async () => {
  await using world = await twoDatabases();
  const memory = await createDatabase(inject('targetServer'), 'state');
  using config = configFolder({ state: memory.url, lease: '1s' }, {}, world.urls);
  const inserted = inserts(world.shop);
  await using first = await started(config);
  await inserted(1);
  await world.arrived(1);
  await memory[Symbol.asyncDispose]();
  await eventually(() => first.process.log.some((line) => line.includes('could not be asked')), 'it has noticed', 20_000);
  await inserted(9);
  await world.arrived(10);
  await using second = new ServiceProcess(config.file);
  await second.ended;
  expect(second.child.exitCode).not.toBe(0);
  expect(second.lastWords).toMatch(/named by `state` in the config/);
});

test('an instance that is told to stop while it waits for its state ends at once, and in peace', async () => {
  await using world = await twoDatabases();
  using config = configFolder({ state: `postgres://nobody@127.0.0.1:${await freePort()}/none` }, {}, world.urls);
  await using waiting = new ServiceProcess(config.file);
  await eventually(() => waiting.log.some((line) => line.includes('waited for')), 'it waits', 60_000);
  expect(await waiting.stop()).toBe(0);
  expect(waiting.lastWords).toContain('told to stop before everything was started');
});

interface Started extends AsyncDisposable {
  readonly process: ServiceProcess;
  readonly url: string;
  readonly instance: string;
}

async function started(config: TestConfig): Promise<Started> {
  const service = new ServiceProcess(config.file);
  let url: string | null = null;
  await eventually(
    async () => {
      for (const line of service.log) url = /"url":"([^"]+)"/.exec(line)?.[1] ?? url;
      return url !== null && (await ask(url, '/readyz').catch(() => null))?.status === 200;
    },
    'the instance is ready',
    30_000,
  ).catch((error: unknown) => {
    throw new Error(service.lastWords, { cause: error });
  });
  if (url === null) throw new Error('it does not listen');
  const { instance } = (await ask(url, '/api/status')).json as Status;
  return { process: service, url, instance, [Symbol.asyncDispose]: () => service[Symbol.asyncDispose]() };
}

async function pipelineOf({ url }: Started): Promise<Status['pipelines'][number]> {
  const [pipeline] = ((await ask(url, '/api/status')).json as Status).pipelines;
  if (pipeline === undefined) throw new Error('there is no pipeline');
  return pipeline;
}

const stateOf = async (one: Started): Promise<[string, number | null]> => {
  const { state, standby } = await pipelineOf(one);
  return [state, standby?.pid ?? null];
};

async function twoDatabases() {
  await using open = new AsyncDisposableStack();
  const source = open.use(await createDatabase(inject('sourceServer'), 'standby'));
  const target = open.use(await createDatabase(inject('targetServer'), 'standby'));
  const shop = open.use(await PgConnection.connect({ url: source.url }));
  const lake = open.use(await PgConnection.connect({ url: target.url }));
  await shop.script(TABLE);
  const kept = open.move();
  return {
    urls: { source: source.url, target: target.url },
    shop,
    lake,
    arrived: (rows: number) =>
      eventually(
        async () =>
          (
            await lake.query('select count(*), count(distinct id), max(id) from shop.orders').catch(() => ({ rows: [] }))
          ).rows[0]?.join() === `${rows},${rows},${rows}`,
        `${rows} rows have arrived`,
        40_000,
      ),
    [Symbol.asyncDispose]: () => kept.disposeAsync(),
  };
}

/** Rows one transaction each, so that something is always on its way. */
function inserts(shop: PgConnection): (rows: number) => Promise<void> {
  let last = 0;
  return async (rows) => {
    for (const to = last + rows; last < to;) await shop.query('insert into orders values ($1, $2)', [++last, 'new']);
  };
}
