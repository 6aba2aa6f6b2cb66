/** Webhooks against real receivers on loopback; only the clock is ours, so that no retry is waited for. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import fc from '../support/fast-check.ts';
import { afterEach, describe, expect, test } from 'vitest';
import type { Clock } from '../../core/clock.ts';
import { ALERT_TYPES, idlePatterns, takes } from '../../ops/alerts/events.ts';
import { networks, OutboundRefused, postGuarded, refusedUrl } from '../../ops/alerts/outbound.ts';
import { type Delivery, memoryOutbox } from '../../ops/alerts/outbox.ts';
import { modelAlerts } from '../../ops/alerts/model-alerts.ts';
import { scoreAlerts } from '../../ops/alerts/score-alerts.ts';
import { newWebhookSecret, signWebhook, verifyWebhook, webhookKey } from '../../ops/alerts/signature.ts';
import { checkEndpoints, RETRY_AFTER_S, type WebhookEndpoint, webhookSender } from '../../ops/alerts/webhook.ts';
import { datasetOf, eventOf, findingOf, reportOf } from './reports.ts';

const SECRET = 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw';

describe('signatures', () => {
  test("the specification's own example comes out", () => {
    const headers = signWebhook('msg_p5jXN8AQM9LWM0D4loKWxJek', 1614265330, '{"test": 2432232314}', [SECRET]);
    expect(headers['webhook-signature']).toBe('v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=');
  });

  test('whatever is signed verifies, and nothing that was changed does', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), fc.integer({ min: 1, max: 2_000_000_000 }), fc.nat(3), (body, atS, change) => {
        const id = 'msg_1';
        const headers = signWebhook(id, atS, body, [SECRET]);
        expect(verifyWebhook({ ...headers }, body, [SECRET], atS * 1000)).toEqual({ kind: 'genuine' });
        const forged = [
          () => verifyWebhook({ ...headers }, `${body} `, [SECRET], atS * 1000),
          () => verifyWebhook({ ...headers, 'webhook-id': 'msg_2' }, body, [SECRET], atS * 1000),
          () => verifyWebhook({ ...headers, 'webhook-timestamp': String(atS + 1) }, body, [SECRET], atS * 1000),
          () => verifyWebhook({ ...headers }, body, [newWebhookSecret()], atS * 1000),
        ][change];
        expect(forged?.().kind).toBe('refused');
      }),
    );
  });

  test('while a secret is rotated, the old and the new one both verify', () => {
    const [old, fresh] = [newWebhookSecret(), newWebhookSecret()];
    const headers = signWebhook('msg_1', 1000, 'body', [fresh, old]);
    expect(headers['webhook-signature'].split(' ')).toHaveLength(2);
    for (const secrets of [[old], [fresh], [newWebhookSecret(), old]]) {
      expect(verifyWebhook({ ...headers }, 'body', secrets, 1_000_000).kind).toBe('genuine');
    }
    expect(verifyWebhook({ ...headers }, 'body', [newWebhookSecret()], 1_000_000).kind).toBe('refused');
  });

  test('a recorded webhook is refused five minutes later, and one from the future as well', () => {
    const headers = { ...signWebhook('msg_1', 1000, 'body', [SECRET]) };
    expect(verifyWebhook(headers, 'body', [SECRET], 1_300_000).kind).toBe('genuine');
    expect(verifyWebhook(headers, 'body', [SECRET], 1_301_000).kind).toBe('refused');
    expect(verifyWebhook(headers, 'body', [SECRET], 699_000).kind).toBe('refused');
  });

  test('missing headers and malformed secrets are refused, never an exception', () => {
    expect(verifyWebhook({}, 'body', [SECRET], 0).kind).toBe('refused');
    const headers = { ...signWebhook('msg_1', 0, 'body', [SECRET]), 'webhook-signature': 'v1, v1a,x v1,AAAA' };
    expect(verifyWebhook(headers, 'body', ['whsec_short', SECRET], 0).kind).toBe('refused');
    expect(webhookKey('whsec_short')).toBeNull();
    expect(webhookKey('whsec_not base64 at all, but long enough')).toBeNull();
    expect(webhookKey(newWebhookSecret())).toHaveLength(32);
    expect(() => signWebhook('m', 0, '', ['nonsense'])).toThrow(TypeError);
  });
});

describe('where a webhook may go', () => {
  const strict = { allowNetworks: [] };
  test.each([
    'http://example.com/hook',
    'https://127.0.0.1/',
    'https://0x7f.1/',
    'https://2130706433/',
    'https://0177.0.0.1/',
    'https://10.0.0.8/',
    'https://172.31.255.255/',
    'https://192.168.1.1/',
    'https://169.254.169.254/latest/meta-data',
    'https://100.64.0.1/',
    'https://0.0.0.0/',
    'https://[::1]/',
    'https://[::ffff:127.0.0.1]/',
    'https://[fd00::1]/',
    'https://[fe80::1]/',
    'https://[64:ff9b::7f00:1]/',
    'https://[2002:7f00:1::]/',
    'https://example.com:22/',
    'https://user:password@example.com/',
    'ftp://example.com/',
    'file:///etc/passwd',
    'not a url',
  ])('%s is refused', (url) => {
    expect(refusedUrl(url, strict)).not.toBeNull();
  });

  test.each(['https://example.com/hook', 'https://example.com:8443/hook', 'https://93.184.216.34/'])('%s is not', (url) => {
    expect(refusedUrl(url, strict)).toBeNull();
  });

  test('an allowed network opens just itself', () => {
    const policy = { allowNetworks: ['10.1.0.0/16', 'fd00::/64'] };
    expect(refusedUrl('http://10.1.2.3:9000/', policy)).toBeNull();
    expect(refusedUrl('http://[fd00::5]/', policy)).toBeNull();
    expect(refusedUrl('http://10.2.0.1/', policy)).not.toBeNull();
    expect(refusedUrl('https://127.0.0.1/', policy)).not.toBeNull();
    for (const malformed of ['10.0.0.0/33', 'example.com', '10.0.0/8', '::/x']) expect(() => networks([malformed])).toThrow(TypeError);
  });

  test('a name that stands for a private address is refused, also when only its second answer is private', async () => {
    const receiver = await receive(() => 200);
    const request = { url: `https://hooks.example.com/`, headers: {}, body: '{}', timeoutMs: 2_000 };
    await expect(postGuarded(resolvesTo('127.0.0.1'), request)).rejects.toThrow(OutboundRefused);
    await expect(postGuarded(resolvesTo('10.0.0.1', '192.168.0.1'), request)).rejects.toThrow(OutboundRefused);
    await expect(postGuarded(resolvesTo(), request)).rejects.toThrow(OutboundRefused);
    expect(receiver.requests).toEqual([]);
  });

  test('the addresses that were judged are the ones connected to: the name is asked for once', async () => {
    const receiver = await receive(() => 200);
    let asked = 0;
    const resolve = async () => [{ address: asked++ === 0 ? '127.0.0.1' : '127.0.0.2', family: 4 }];
    const url = `http://rebinding.example:${new URL(receiver.url).port}/`;
    const answer = await postGuarded({ allowNetworks: ['127.0.0.1/32'], resolve }, { url, headers: {}, body: 'x', timeoutMs: 2_000 });
    expect([answer.status, asked]).toEqual([200, 1]);
  });

  test('a redirect is an answer, and is not followed', async () => {
    const inner = await receive(() => 200);
    const outer = await receive((_, answer) => {
      answer.setHeader('location', inner.url);
      return 302;
    });
    const answer = await postGuarded({ allowNetworks: ['127.0.0.1'] }, { url: outer.url, headers: {}, body: 'x', timeoutMs: 2_000 });
    expect(answer.status).toBe(302);
    expect(inner.requests).toEqual([]);
  });

  test('a receiver that never answers is given up after the timeout, one that never stops answering is cut off', async () => {
    const silent = await receive(() => null);
    await expect(post(silent.url, 50)).rejects.toThrow('no answer within 50 ms');
    const endless = await receive((_, answer) => {
      answer.writeHead(200);
      const write = () => {
        while (!answer.destroyed && answer.write('x'.repeat(65_536)));
      };
      answer.on('drain', write);
      write();
      return null;
    });
    expect((await post(endless.url, 5_000)).status).toBe(200);
  });
});

describe('delivery', () => {
  test('an alert arrives signed, once, with its type and data', async () => {
    const receiver = await receive(() => 204);
    await using sending = start([endpoint(receiver.url)]);
    await sending.sender.emit('model.registered', { model: 'order-risk', version: '2', aliases: ['production'] });
    await sending.settled(1);
    const [request] = receiver.requests;
    expect(verifyWebhook(request?.headers ?? {}, request?.body ?? '', [SECRET], sending.clock.now())).toEqual({ kind: 'genuine' });
    expect(JSON.parse(request?.body ?? '')).toEqual({
      type: 'model.registered',
      timestamp: '2026-11-24T14:00:00.000Z',
      data: { model: 'order-risk', version: '2', aliases: ['production'] },
    });
    expect(sending.sender.status()).toMatchObject([{ name: 'oncall', delivered: 1, failures: 0, gone: false }]);
  });

  test('a failed attempt is repeated on schedule under the same id and body, with a new timestamp', async () => {
    const receiver = await receive((n) => (n < 3 ? 503 : 200));
    await using sending = start([endpoint(receiver.url)]);
    await sending.sender.emit('webhook.test', { message: 'hello' });
    await sending.settled(1);
    const ids = receiver.requests.map(({ headers }) => headers['webhook-id']);
    expect(new Set(ids).size).toBe(1);
    expect(new Set(receiver.requests.map(({ body }) => body)).size).toBe(1);
    const times = receiver.requests.map(({ headers }) => Number(headers['webhook-timestamp']));
    const pauses = times.slice(1).map((time, i) => time - (times[i] ?? 0));
    expect(pauses).toEqual([expect.toSatisfy(within(5, 6)), expect.toSatisfy(within(30, 36)), expect.toSatisfy(within(120, 144))]);
    for (const { headers, body } of receiver.requests) {
      expect(verifyWebhook(headers, body, [SECRET], Number(headers['webhook-timestamp']) * 1000).kind).toBe('genuine');
    }
  });

  test('Retry-After puts the next attempt off', async () => {
    const receiver = await receive((n, answer) => {
      if (n > 0) return 200;
      answer.setHeader('retry-after', '90');
      return 429;
    });
    await using sending = start([endpoint(receiver.url)]);
    await sending.sender.emit('webhook.test', { message: 'hello' });
    await sending.settled(1);
    const [first, second] = receiver.requests.map(({ headers }) => Number(headers['webhook-timestamp']));
    expect((second ?? 0) - (first ?? 0)).toBeGreaterThanOrEqual(90);
  });

  test('410 ends it: the alert is given up, and so are the ones after it, unsent', async () => {
    const receiver = await receive(() => 410);
    await using sending = start([endpoint(receiver.url)]);
    await sending.sender.emit('webhook.test', { message: '1' });
    await sending.settled(1);
    await sending.sender.emit('webhook.test', { message: '2' });
    await sending.settled(2);
    expect(receiver.requests).toHaveLength(1);
    expect(sending.deliveries.map(({ kind }) => kind)).toEqual(['given-up', 'given-up']);
    expect(sending.sender.status()[0]?.gone).toBe(true);
  });

  test('after the last attempt of the schedule it is given up', async () => {
    const receiver = await receive(() => 500);
    await using sending = start([endpoint(receiver.url)]);
    await sending.sender.emit('webhook.test', { message: 'hello' });
    await sending.settled(1);
    expect(receiver.requests).toHaveLength(RETRY_AFTER_S.length + 1);
    expect(sending.deliveries.at(-1)).toMatchObject({ kind: 'given-up', why: 'the endpoint answered 500, at the last of 9 attempts' });
  });

  test('an endpoint whose url the policy forbids is never called, and says why', async () => {
    const receiver = await receive(() => 200);
    await using sending = start([{ ...endpoint(receiver.url), allowNetworks: [] }]);
    await sending.sender.emit('webhook.test', { message: 'hello' });
    await sending.settled(1);
    expect(receiver.requests).toEqual([]);
    expect(sending.deliveries[0]).toMatchObject({ kind: 'given-up' });
  });

  test('each endpoint gets what its patterns take, and a dead one does not keep the others waiting', async () => {
    const alive = await receive(() => 200);
    const dead = await receive(() => null);
    await using sending = start([
      { ...endpoint(dead.url), name: 'dead' },
      { ...endpoint(alive.url), events: ['breaker.*', 'score.alert'] },
    ]);
    await sending.sender.emit('webhook.test', { message: 'not for the second' });
    await sending.sender.emit('breaker.closed', { pipeline: 'p', dataset: 'd' });
    await sending.settled(1);
    expect(alive.requests.map(({ body }) => (JSON.parse(body) as { type: string }).type)).toEqual(['breaker.closed']);
  });

  test('what was not delivered when the service stopped is delivered when it starts again', async () => {
    let broken = true;
    const receiver = await receive(() => (broken ? null : 200));
    const outbox = memoryOutbox();
    await using first = start([endpoint(receiver.url)], outbox);
    await first.sender.emit('webhook.test', { message: 'hello' });
    await receiver.arrived(1);
    await first[Symbol.asyncDispose]();
    broken = false;
    await using second = start([endpoint(receiver.url)], outbox);
    await second.settled(1);
    expect(second.deliveries).toMatchObject([{ kind: 'delivered' }]);
    expect(receiver.requests[0]?.headers['webhook-id']).toBe(receiver.requests[1]?.headers['webhook-id']);
  });
});

describe('configuration', () => {
  test('every problem of an endpoint is named with its path and a fix', () => {
    const bad: WebhookEndpoint = {
      name: 'oncall',
      url: 'http://10.0.0.1/',
      secrets: ['whsec_x'],
      events: ['breaker.*', 'braker.open'],
      allowNetworks: [],
    };
    const problems = checkEndpoints([bad, { ...bad, name: 'b', allowNetworks: ['10.0.0.0/99'] }], 'alerts');
    expect(problems.map(({ path, severity }) => [path, severity])).toEqual([
      ['alerts.oncall.url', 'error'],
      ['alerts.oncall.secret', 'error'],
      ['alerts.oncall.events', 'warning'],
      ['alerts.b.allowNetworks', 'error'],
      ['alerts.b.secret', 'error'],
      ['alerts.b.events', 'warning'],
    ]);
    expect(problems.every(({ fix, message }) => fix.endsWith('.') && message.endsWith('.'))).toBe(true);
    expect(checkEndpoints([{ ...bad, url: 'https://hooks.example.com/x', secrets: [SECRET], events: ['*'] }], 'alerts')).toEqual([]);
  });

  test('patterns take whole words only', () => {
    expect(takes('breaker.*', 'breaker.opened')).toBe(true);
    expect(takes('breaker.*', 'breakers.opened')).toBe(false);
    expect(takes('*', 'model.registered')).toBe(true);
    expect(takes('model.registered', 'model.registered.again')).toBe(false);
    expect(idlePatterns([...ALERT_TYPES, '*', 'lane.*'])).toEqual([]);
  });
});

test('score alerts name the keys, come at most once in a while a rule, and count what they withheld', () => {
  const orders = datasetOf('shop.public.orders');
  const told: { count: number; keys: readonly string[]; withheld: number }[] = [];
  let nowMs = 0;
  const observe = scoreAlerts({ pipeline: 'p', emit: (alert) => told.push(alert), clock: { monotonic: () => nowMs } });
  const risky = (...keys: number[]) =>
    reportOf(
      keys.map((key) => eventOf(orders, key)),
      keys.map((_, i) => findingOf(i, 'order-risk.route[1]', { notify: true, verdict: 1, severity: 'warning' })),
    );
  observe(risky(1, 2));
  observe(reportOf([eventOf(orders, 9)], [findingOf(0, 'total')]));
  nowMs = 5_000;
  observe(risky(3));
  nowMs = 11_000;
  observe(risky(4));
  expect(told.map(({ count, keys, withheld }) => ({ count, keys, withheld }))).toEqual([
    { count: 2, keys: ['1', '2'], withheld: 0 },
    { count: 1, keys: ['4'], withheld: 1 },
  ]);
});

test('a model that does not answer is told of once, and again only when it failed anew and a while later', () => {
  const told: string[] = [];
  let nowMs = 0;
  const look = modelAlerts({ pipeline: 'p', emit: ({ message }) => told.push(message), clock: { monotonic: () => nowMs } });
  const is = (problem: string | null, unavailable = 0, model = 'risk') =>
    look([{ model, dataset: 'a.b.c', failure: 'fail_open', problem, unavailable }]);
  for (const problem of [null, 'first', 'still', null, 'too soon', null]) is(problem);
  is('another', 0, 'fraud');
  nowMs = 300_000;
  for (const problem of [null, 'again', 'still', null]) is(problem);
  nowMs = 900_000;
  is(null, 7); // It failed and answered again between two looks.
  is(null, 7);
  expect(told).toEqual(['first', 'another', 'again', '7 rows were not scored in time']);
});

const resolvesTo = (...addresses: string[]) => ({
  allowNetworks: [],
  resolve: async () => addresses.map((address) => ({ address, family: 4 })),
});
const post = (url: string, timeoutMs: number) => postGuarded({ allowNetworks: ['127.0.0.1'] }, { url, headers: {}, body: 'x', timeoutMs });

const servers: Server[] = [];
afterEach(async () => {
  for (const server of servers.splice(0)) {
    server.closeAllConnections();
    await new Promise((closed) => server.close(closed));
  }
});

interface Received {
  readonly headers: IncomingMessage['headers'];
  readonly body: string;
}

/** A receiver on loopback. `answer` gives the status of the n-th request, or null to answer nothing (more). */
async function receive(answer: (n: number, response: ServerResponse) => number | null) {
  const requests: Received[] = [];
  const waiting: { n: number; done: () => void }[] = [];
  const server = createServer((request, response) => {
    let body = '';
    request.setEncoding('utf8');
    request.on('data', (chunk: string) => (body += chunk));
    request.on('end', () => {
      requests.push({ headers: request.headers, body });
      for (const one of waiting) if (requests.length >= one.n) one.done();
      const status = answer(requests.length - 1, response);
      if (status !== null) response.writeHead(status).end();
    });
  });
  servers.push(server);
  await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening));
  const { port } = server.address() as AddressInfo;
  const arrived = (n: number) => new Promise<void>((done) => (requests.length >= n ? done() : waiting.push({ n, done })));
  return { url: `http://127.0.0.1:${port}/hook`, requests, arrived };
}

function endpoint(url: string): WebhookEndpoint {
  return { name: 'oncall', url, secrets: [SECRET], events: ['*'], allowNetworks: ['127.0.0.1/32'] };
}

/** A sender that runs on a clock of its own: a sleep with an end moves the clock there at once, a sleep of a minute waits to be woken. */
function start(endpoints: readonly WebhookEndpoint[], outbox = memoryOutbox()) {
  let nowMs = Date.parse('2026-11-24T14:00:00Z');
  const clock: Clock = {
    now: () => nowMs,
    monotonic: () => nowMs,
    random: () => 0.5,
    sleep: async (ms, signal) => {
      if ((await Promise.all(endpoints.map(({ name }) => outbox.nextAttemptAtMs(name)))).some((next) => next !== null)) nowMs += ms;
      else
        await new Promise<void>((woken) =>
          signal?.aborted === true ? woken() : signal?.addEventListener('abort', () => woken(), { once: true }),
        );
    },
  };
  const deliveries: Delivery[] = [];
  const waiting: { n: number; done: () => void }[] = [];
  const finished = () => deliveries.filter(({ kind }) => kind !== 'retry').length;
  const stop = new AbortController();
  const sender = webhookSender({
    endpoints,
    outbox,
    clock,
    timeoutMs: 5_000,
    onAttempt: (_endpoint, _item, delivery) => {
      deliveries.push(delivery);
      for (const one of waiting) if (finished() >= one.n) one.done();
    },
  });
  const running = sender.run(stop.signal);
  return {
    sender,
    clock,
    deliveries,
    settled: (n: number) => new Promise<void>((done) => (finished() >= n ? done() : waiting.push({ n, done }))),
    [Symbol.asyncDispose]: async () => {
      stop.abort();
      await running;
    },
  };
}

const within = (min: number, max: number) => (n: number) => n >= min && n <= max;
