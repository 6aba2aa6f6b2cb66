/** A broker that wants to know who comes, over TLS, with users and rights; and the registry behind a proxy that asks as well. */
import { createSign, generateKeyPairSync } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, request as plainRequest, type Server } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import avsc from 'avsc';
import kafkajs from 'kafkajs';
import { afterAll, beforeAll, expect, inject, test } from 'vitest';
import { parseConfig } from '../../app/config.ts';
import { createLogger } from '../../app/logger.ts';
import { Service } from '../../app/service.ts';
import type { PipelineError } from '../../core/errors.ts';
import { AvroReader, NeedsSchema } from '../../cdc/kafka/avro.ts';
import { openTopic } from '../../cdc/kafka/topic-reader.ts';
import { tokenFromFile, tokenFromServer } from '../../wire/kafka/bearer-token.ts';
import { kafkaClient, type KafkaConnection } from '../../wire/kafka/client.ts';
import { type Stack, startStack } from '../../examples/stack/stack.ts';
import { type RegistryAddress, schemaRegistryWriter } from '../../wire/kafka/registry.ts';
import { PgConnection } from '../../wire/postgres/connection.ts';
import { ask, configFolder, post, startService, untilReady } from '../app/services.ts';
import { createDatabase } from '../support/databases.ts';
import { makeAuthority } from '../support/certificate.ts';
import { eventually } from '../support/eventually.ts';
import { stack } from './support.ts';
import { makeTopics } from './topics.ts';

const PASSWORD = 'hunter2-of-the-brokers';
const CLIENT_SECRET = 'hunter2-of-the-client+/=';
const TOPIC = 'shop.public.t';
const KIND = 'application/vnd.schemaregistry.v1+json';
const TOKEN_SECONDS = 600;
const folder = mkdtempSync(join(tmpdir(), 'tidegate-security-'));
const authority = makeAuthority('the authority of the brokers');
const own = authority.issue(['tidegate']);
const keys = generateKeyPairSync('rsa', { modulusLength: 2048 });

/** AGAIN wants everybody to show who they are so often. The client does ten seconds before that. */
const LISTENERS = ['SECURE', 'CLEAR', 'MUTUAL', 'AGAIN'] as const;
const AGAIN_MS = 12_000;
let secured: Stack;
let idp: Server;
let tokensGiven = 0;

beforeAll(async () => {
  const server = authority.issue(['127.0.0.1']);
  const keystore = join(folder, 'broker.pem');
  writeFileSync(keystore, server.privateKey + server.certificate);
  const truststore = join(folder, 'authority.pem');
  writeFileSync(truststore, authority.certificate);
  const jwks = join(folder, 'jwks.json');
  writeFileSync(jwks, JSON.stringify({ keys: [{ ...keys.publicKey.export({ format: 'jwk' }), kid: 'one', alg: 'RS256', use: 'sig' }] }));
  const module = 'org.apache.kafka.common.security';
  const mechanisms = ['SECURE', 'CLEAR', 'AGAIN'].flatMap((listener) => {
    const at = `listener.name.${listener.toLowerCase()}`;
    return [
      `${at}.sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512,OAUTHBEARER`,
      `${at}.plain.sasl.jaas.config=${module}.plain.PlainLoginModule required user_plain="${PASSWORD}" user_stranger="${PASSWORD}" user_writer="${PASSWORD}";`,
      `${at}.scram-sha-256.sasl.jaas.config=${module}.scram.ScramLoginModule required;`,
      `${at}.scram-sha-512.sasl.jaas.config=${module}.scram.ScramLoginModule required;`,
      `${at}.oauthbearer.sasl.jaas.config=${module}.oauthbearer.OAuthBearerLoginModule required;`,
      `${at}.oauthbearer.sasl.server.callback.handler.class=${module}.oauthbearer.OAuthBearerValidatorCallbackHandler`,
      `${at}.oauthbearer.sasl.oauthbearer.jwks.endpoint.url=file://${jwks}`,
      `${at}.oauthbearer.sasl.oauthbearer.expected.audience=kafka`,
    ];
  });
  secured = await startStack(join(folder, 'stack'), {
    servers: ['broker'],
    broker: {
      listeners: LISTENERS,
      flags: [`-Dorg.apache.kafka.sasl.oauthbearer.allowed.urls=file://${jwks}`],
      format: ['SCRAM-SHA-256', 'SCRAM-SHA-512'].flatMap((mechanism) => [
        '--add-scram',
        `${mechanism}=[name=${mechanism.toLowerCase()},password=${PASSWORD}]`,
      ]),
      settings: [
        'listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SECURE:SASL_SSL,CLEAR:SASL_PLAINTEXT,MUTUAL:SSL,AGAIN:SASL_PLAINTEXT',
        'ssl.keystore.type=PEM',
        `ssl.keystore.location=${keystore}`,
        'ssl.truststore.type=PEM',
        `ssl.truststore.location=${truststore}`,
        'listener.name.mutual.ssl.client.auth=required',
        ...mechanisms,
        ...['plain', 'scram-sha-512', 'oauthbearer'].map((one) => `listener.name.again.${one}.connections.max.reauth.ms=${AGAIN_MS}`),
        'authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer',
        'super.users=User:ANONYMOUS;User:plain;User:scram-sha-256;User:scram-sha-512;User:tidegate;User:CN=tidegate',
      ],
    },
  });
  idp = createServer((request, response) => {
    let body = '';
    request.on('data', (chunk: Buffer) => (body += chunk.toString()));
    request.on('end', () => {
      const given = Buffer.from(request.headers.authorization?.replace('Basic ', '') ?? '', 'base64').toString();
      const form = new URLSearchParams(body);
      const isRight =
        given === `tidegate:${encodeURIComponent(CLIENT_SECRET)}` &&
        form.get('grant_type') === 'client_credentials' &&
        form.get('scope') === 'kafka';
      if (isRight) tokensGiven++;
      response.writeHead(isRight ? 200 : 401, { 'content-type': 'application/json' });
      response.end(JSON.stringify(isRight ? { access_token: token(), expires_in: TOKEN_SECONDS } : { error: 'invalid_client' }));
    });
  });
  await new Promise<void>((resolve) => idp.listen(0, '127.0.0.1', resolve));
  writeFileSync(join(folder, 'token'), `${token()}\n`);
  for (const [name, text] of Object.entries({ 'own.pem': own.certificate, 'own.key': own.privateKey }))
    writeFileSync(join(folder, name), text);
});
afterAll(async () => {
  idp?.close();
  await secured?.stop();
  rmSync(folder, { recursive: true, force: true });
});

/** As an authorization server would sign it. */
function token(): string {
  const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url');
  const now = Math.floor(Date.now() / 1000);
  const said = { sub: 'tidegate', aud: 'kafka', iat: now, exp: now + TOKEN_SECONDS, scope: 'kafka' };
  const text = `${part({ alg: 'RS256', kid: 'one', typ: 'JWT' })}.${part(said)}`;
  return `${text}.${createSign('sha256').update(text).sign(keys.privateKey).toString('base64url')}`;
}

const tokenUrl = (): string => `http://127.0.0.1:${(idp.address() as AddressInfo).port}/token`;

test('a service reads by every mechanism, and its log has none of the secrets', async () => {
  await using target = await createDatabase(inject('targetServer'), 'security');
  await using lake = await PgConnection.connect({ url: target.url });
  const kafka = new kafkajs.Kafka({ brokers: [secured.broker], logLevel: kafkajs.logLevel.NOTHING });
  const producer = kafka.producer();
  await producer.connect();
  const value =
    '{"before":null,"after":{"id":1,"v":"a"},"source":{"connector":"postgresql","ts_ms":1795439041136,"lsn":8,"schema":"public","table":"t"},"op":"c"}';
  await producer.send({ topic: TOPIC, messages: [{ key: '{"id":1}', value }] });
  await producer.disconnect();
  const tls = { ca: { file: './authority.pem' } };
  const { SECURE, CLEAR, MUTUAL } = secured.listeners;
  const oauth = { tokenUrl: tokenUrl(), clientId: 'tidegate', clientSecret: '${CLIENT_SECRET}', scope: 'kafka' };
  const password = (mechanism: string) => ({ mechanism, username: mechanism, password: '${PASSWORD}' });
  const roads: Record<string, object> = {
    plain: { brokers: [SECURE], tls, sasl: password('plain') },
    clear: { brokers: [CLEAR], sasl: password('plain') },
    scram256: { brokers: [SECURE], tls, sasl: password('scram-sha-256') },
    scram512: { brokers: [CLEAR], sasl: password('scram-sha-512') },
    oauth: { brokers: [SECURE], tls, sasl: { mechanism: 'oauthbearer', oauth } },
    file: { brokers: [SECURE], tls, sasl: { mechanism: 'oauthbearer', tokenFile: './token', extensions: { traceId: 'abc' } } },
    mutual: { brokers: [MUTUAL], tls: { ...tls, cert: { file: './own.pem' }, key: { file: './own.key' } } },
  };
  const names = Object.keys(roads);
  const each = <T>(make: (name: string) => T): Record<string, T> => Object.fromEntries(names.map((name) => [name, make(name)]));
  const text = JSON.stringify({
    version: 1,
    sources: each((name) => ({
      kind: 'kafka',
      group: `g-${name}`,
      prefix: 'shop',
      tables: ['public.t'],
      columns: { 'public.t': { id: 'bigint', v: 'text' } },
      ...roads[name],
    })),
    targets: each((name) => ({ kind: 'postgres', url: target.url, schema: name })),
    pipelines: each((name) => ({ source: name, target: name, datasets: './*.rules.yaml' })),
    http: { port: 0 },
  });
  const loaded = parseConfig(text, join(folder, 'tidegate.yaml'), { PASSWORD, CLIENT_SECRET });
  if (loaded.kind === 'invalid') throw new Error(JSON.stringify(loaded.problems));
  let log = '';
  const logger = createLogger({ level: 'debug', format: 'json', write: (line) => (log += line), clock: { now: () => 0 } });
  const service = await Service.start(loaded.loaded, { logger });
  try {
    const count = async (name: string): Promise<number> =>
      (await lake.query(`select 1 from ${name}.t`).catch(() => ({ rows: [] }))).rows.length;
    for (const name of names) await eventually(async () => (await count(name)) === 1, `the row came by ${name}`, 30_000);
  } finally {
    await service.stop(5000);
  }
  expect(tokensGiven).toBe(1);
  for (const secret of [PASSWORD, CLIENT_SECRET, 'PRIVATE KEY', token().slice(0, 40)]) expect(log).not.toContain(secret);
});

test('who is not let in hears why, and the error says what to look at', async () => {
  const { SECURE = '', CLEAR = '', MUTUAL = '' } = secured.listeners;
  const tls = { ca: authority.certificate };
  const plain = (username: string, password: string) => ({ mechanism: 'plain', username, password }) as const;
  const bearer = (from: ReturnType<typeof tokenFromFile>) => ({ mechanism: 'oauthbearer', token: from, extensions: {} }) as const;
  const credentials = { tokenUrl: tokenUrl(), clientId: 'tidegate', clientSecret: 'wrong', scope: 'kafka' };
  writeFileSync(join(folder, 'forged'), `${token().slice(0, -20)}AAAAAAAAAAAAAAAAAAAA`);
  writeFileSync(join(folder, 'empty'), '\n');
  const refused: readonly (readonly [KafkaConnection, string, RegExp])[] = [
    [{ brokers: [SECURE], tls, sasl: plain('plain', 'wrong') }, 'SOURCE_AUTH', /Invalid username or password/],
    [{ brokers: [CLEAR], sasl: { ...plain('nobody', PASSWORD), mechanism: 'scram-sha-256' } }, 'SOURCE_AUTH', /Authentication failed/],
    [
      { brokers: [CLEAR], sasl: { ...plain('scram-sha-256', PASSWORD), mechanism: 'scram-sha-512' } },
      'SOURCE_AUTH',
      /Authentication failed/,
    ],
    [{ brokers: [SECURE], tls, sasl: bearer(tokenFromFile(join(folder, 'forged'))) }, 'SOURCE_AUTH', /do not take the token/],
    [{ brokers: [SECURE], tls, sasl: bearer(tokenFromFile(join(folder, 'empty'))) }, 'SOURCE_AUTH', /is empty/],
    [{ brokers: [SECURE], tls, sasl: bearer(tokenFromFile(join(folder, 'none'))) }, 'SOURCE_AUTH', /reading the token/],
    [{ brokers: [SECURE], tls, sasl: bearer(tokenFromServer(credentials)) }, 'SOURCE_AUTH', /it answered 401 \(invalid_client\)/],
    [
      { brokers: [SECURE], tls, sasl: bearer(tokenFromServer({ ...credentials, tokenUrl: 'http://127.0.0.1:1/token' })) },
      'SOURCE_UNREACHABLE',
      /asking 127.0.0.1:1 for a token/,
    ],
    [{ brokers: [SECURE], tls, sasl: plain('stranger', PASSWORD) }, 'SOURCE_PRIVILEGE', /[Nn]ot authorized/],
    [{ brokers: [SECURE], tls: {}, sasl: plain('plain', PASSWORD) }, 'SOURCE_UNREACHABLE', /certificate/],
    [{ brokers: [SECURE], tls: { ...tls, servername: 'kafka' }, sasl: plain('plain', PASSWORD) }, 'SOURCE_UNREACHABLE', /certificate/],
    [{ brokers: [MUTUAL], tls }, 'SOURCE_UNREACHABLE', /certificate/],
  ];
  const all = refused.flatMap(([connection, code, message]) => [
    { connection, side: 'SOURCE', code, message } as const,
    { connection, side: 'TARGET', code: code.replace('SOURCE', 'TARGET'), message } as const,
  ]);
  for (const { connection, side, code, message } of all) {
    await using client = kafkaClient(connection, side);
    const error = await client.watermarks(TOPIC).then(
      () => null,
      (thrown: unknown) => thrown as Error,
    );
    expect({ code: (error as { code?: string } | null)?.code, message: error?.message }).toEqual({
      code,
      message: expect.stringMatching(message) as string,
    });
    expect(`${error?.message} ${String(error?.cause)}`).not.toContain(PASSWORD);
  }
});

test('who is asked anew who they are while they read and write shows it, and nothing is lost or fails meanwhile', async () => {
  const { AGAIN = '' } = secured.listeners;
  const password = (mechanism: 'plain' | 'scram-sha-512') => ({ mechanism, username: mechanism, password: PASSWORD }) as const;
  const oauth = { mechanism: 'oauthbearer', token: tokenFromFile(join(folder, 'token')), extensions: {} } as const;
  await Promise.all(
    [password('plain'), password('scram-sha-512'), oauth].map(async (sasl) => {
      const topic = `again-${sasl.mechanism}`;
      await using client = kafkaClient({ brokers: [AGAIN], sasl });
      await client.makeTopic({ topic, partitions: 1, replication: 1, options: {} });
      const offsets: bigint[] = [];
      const failures: PipelineError[] = [];
      await using consumer = await client.consume({
        group: `g-${topic}`,
        topics: [topic],
        fetch: { waitMs: 100, bytesMax: 1 << 20, partitionBytesMax: 1 << 20 },
        metadataMs: 5000,
        sessionMs: 10_000,
        onAssigned: (partitions) => setImmediate(() => partitions.forEach((one) => consumer.begin(one, 0n))),
        onRecords: ({ records }) => offsets.push(...records.map(({ offset }) => offset)),
        onOutOfRange: () => {},
        onFailure: (error) => failures.push(error),
      });
      await using producer = await client.produce();
      const untilMs = performance.now() + AGAIN_MS + 1000;
      let sent = 0;
      while (performance.now() < untilMs) {
        await producer.send([{ topic, key: null, value: Buffer.from('v'), headers: {} }]);
        sent++;
        await eventually(() => offsets.length >= sent || failures.length > 0, `record ${sent} came by ${sasl.mechanism}`, 10_000);
      }
      expect({ failures, offsets }).toEqual({ failures: [], offsets: Array.from({ length: sent }, (_, n) => BigInt(n)) });
      // Nobody has asked on this connection since the beginning.
      expect((await client.watermarks(topic))?.get(0)?.high).toBe(BigInt(sent));
    }),
  );
});

/** As docs/kafka-target.md names them. */
const { AclOperationTypes: Operations, AclResourceTypes: Resources } = kafkajs;
const RIGHTS = ['DESCRIBE', 'WRITE', 'DESCRIBE_CONFIGS'].map((name) => [Resources.TOPIC, 'written.', name] as const);
const RIGHTS_EXACTLY_ONCE = [
  [Resources.TOPIC, 'written.', 'CREATE'],
  [Resources.TRANSACTIONAL_ID, 'tidegate.', 'WRITE'],
  [Resources.TRANSACTIONAL_ID, 'tidegate.', 'DESCRIBE'],
  [Resources.GROUP, 'tidegate.', 'READ'],
  [Resources.TOPIC, 'written.', 'READ'],
] as const;

test('topics are written by whoever has the rights that the docs name and no others; who lacks some hears of it, and goes on once they are granted', async () => {
  const secure = secured.listeners['SECURE'] ?? '';
  const connection = { ssl: { ca: authority.certificate }, sasl: { mechanism: 'plain', username: 'plain', password: PASSWORD } } as const;
  const admin = new kafkajs.Kafka({ brokers: [secure], logLevel: kafkajs.logLevel.NOTHING, ...connection }).admin();
  await admin.connect();
  const grant = async (rights: readonly (readonly [type: number, prefix: string, operation: string])[]): Promise<void> => {
    await admin.createAcls({
      acl: rights.map(([resourceType, resourceName, operation]) => ({
        resourceType,
        resourceName,
        resourcePatternType: kafkajs.ResourcePatternTypes.PREFIXED,
        principal: 'User:writer',
        host: '*',
        operation: Operations[operation as keyof typeof Operations],
        permissionType: kafkajs.AclPermissionTypes.ALLOW,
      })),
    });
    granted += rights.length;
    await eventually(async () => (await known()) === granted, 'the broker goes by these rights');
  };
  let granted = 0;
  const known = async (): Promise<number> => {
    const { resources } = await admin.describeAcls({
      resourceType: Resources.ANY,
      resourcePatternType: kafkajs.ResourcePatternTypes.ANY,
      principal: 'User:writer',
      operation: Operations.ANY,
      permissionType: kafkajs.AclPermissionTypes.ANY,
    });
    return resources.flatMap(({ acls }) => acls).length;
  };
  try {
    await using source = await createDatabase(inject('sourceServer'), 'rights');
    await using store = await createDatabase(inject('targetServer'), 'rights');
    await using sql = await PgConnection.connect({ url: source.url });
    await sql.script('create table t (id int primary key); insert into t values (1)');
    // One that is there, and one that it has to make.
    await makeTopics(admin, [{ topic: 'written.least.t', numPartitions: 1 }]);
    const sasl = { mechanism: 'plain', username: 'writer', password: PASSWORD };
    const target = { kind: 'kafka', brokers: [secure], sasl, tls: { ca: authority.certificate }, store: store.url };
    for (const [exactlyOnce, rights] of [
      [false, RIGHTS],
      [true, RIGHTS_EXACTLY_ONCE],
    ] as const) {
      const topic = `written.${exactlyOnce ? 'exactly' : 'least'}.t`;
      const slot = `${source.name}_${exactlyOnce}`;
      using config = configFolder({
        sources: { [`shop_${exactlyOnce}`]: { kind: 'postgres', url: source.url, slot, publication: slot, tables: ['public.t'] } },
        targets: { bus: { ...target, topic, exactlyOnce } },
        pipelines: { [`rights_${exactlyOnce}`]: { source: `shop_${exactlyOnce}`, target: 'bus' } },
      });
      await using running = await startService(config);
      await eventually(async () => (await ask(running.url, '/api/status')).text.includes('"TARGET_PRIVILEGE"'), 'it lacks a right', 30_000);
      await grant(rights);
      expect((await post(running.url, `/api/pipelines/rights_${exactlyOnce}/resume`, {})).status).toBe(202);
      await untilReady(running.url).catch(async (error: unknown) => {
        throw new Error((await ask(running.url, '/api/status')).text, { cause: error });
      });
      const written = async (): Promise<number> => (await admin.fetchTopicOffsets(topic)).reduce((sum, { high }) => sum + Number(high), 0);
      await eventually(async () => (await written()) > 0, 'the row is there', 30_000);
    }
    // Who reads without the right to its group hears of that as well.
    await using client = kafkaClient({ brokers: [secure], tls: { ca: authority.certificate }, sasl: { ...sasl, mechanism: 'plain' } });
    const reading = (await openTopic(client, 'written.exactly.t')).read(new AbortController().signal);
    await expect(reading.next()).rejects.toMatchObject({
      code: 'SOURCE_PRIVILEGE',
      message: expect.stringMatching(/group/i) as string,
    });
  } finally {
    await admin.disconnect();
  }
});

test('a registry that asks who you are, over TLS', async () => {
  const subject = `s${Date.now()}-value`;
  const schema: avsc.Schema = { type: 'record', name: 'R', fields: [{ name: 'n', type: 'long' }] };
  const registered = await fetch(`${stack.ccompatUrl}/subjects/${subject}/versions`, {
    method: 'POST',
    headers: { 'content-type': KIND },
    body: JSON.stringify({ schema: JSON.stringify(schema) }),
  });
  const { id } = (await registered.json()) as { id: number };
  const head = Buffer.alloc(5);
  head.writeInt32BE(id, 1);
  const record = Buffer.concat([head, avsc.Type.forSchema(schema).toBuffer({ n: 7 })]);

  const certificate = authority.issue(['127.0.0.1']);
  const basic = `Basic ${Buffer.from(`tidegate:${PASSWORD}`).toString('base64')}`;
  const proxy = createTlsServer({ key: certificate.privateKey, cert: certificate.certificate }, (request, response) => {
    if (request.headers.authorization !== basic && request.headers.authorization !== `Bearer ${PASSWORD}`) {
      response.writeHead(401, { 'content-type': 'application/json' }).end('{"error_code":401,"message":"who are you?"}');
      return;
    }
    const path = `${new URL(stack.ccompatUrl).pathname}${request.url}`;
    const asked = plainRequest(new URL(path, stack.ccompatUrl), { method: request.method, headers: { 'content-type': KIND } }, (answer) => {
      response.writeHead(answer.statusCode ?? 500, { 'content-type': 'application/json' });
      answer.pipe(response);
    });
    request.pipe(asked);
  });
  await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve));
  try {
    const at = `127.0.0.1:${(proxy.address() as AddressInfo).port}`;
    const tls = { ca: authority.certificate };
    const read = async (options: ConstructorParameters<typeof AvroReader>[0]): Promise<unknown> => {
      const reader = new AvroReader(options);
      expect(() => reader.read(record, false)).toThrow(NeedsSchema);
      await reader.load(id);
      return reader.read(record, false).payload;
    };
    expect(await read({ url: `https://${at}`, tls, username: 'tidegate', password: PASSWORD })).toMatchObject({ n: 7 });
    expect(await read({ url: `https://tidegate:${PASSWORD}@${at}/`, tls })).toMatchObject({ n: 7 });
    expect(await read({ url: `https://${at}`, tls, token: PASSWORD })).toMatchObject({ n: 7 });
    await expect(read({ url: `https://${at}`, tls, token: 'wrong' })).rejects.toMatchObject({ code: 'SOURCE_AUTH' });
    await expect(read({ url: `https://${at}`, token: PASSWORD })).rejects.toMatchObject({ code: 'SOURCE_UNREACHABLE' });
    const register = (options: RegistryAddress): Promise<number> => schemaRegistryWriter(options).register(subject, JSON.stringify(schema));
    expect(await register({ url: `https://${at}`, tls, username: 'tidegate', password: PASSWORD })).toBe(id);
    expect(await register({ url: `https://tidegate:${PASSWORD}@${at}/`, tls })).toBe(id);
    expect(await register({ url: `https://${at}`, tls, token: PASSWORD })).toBe(id);
    await expect(register({ url: `https://${at}`, tls, token: 'wrong' })).rejects.toMatchObject({ code: 'TARGET_AUTH' });
    await expect(register({ url: `https://${at}`, token: PASSWORD })).rejects.toMatchObject({ code: 'TARGET_UNREACHABLE' });
  } finally {
    proxy.close();
  }
});
