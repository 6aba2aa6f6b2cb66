/** Getting in: every kind of password, TLS as sslmode says, and what answers on the port that is no Postgres. */
import { chownSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { type AddressInfo, connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect as connectTls, TLSSocket } from 'node:tls';
import { inspect } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type EmbeddedServer, startEmbeddedPostgres } from '../../examples/embedded-postgres.ts';
import { withCauses } from '../../core/errors.ts';
import { PgConnection, PgConnectionError } from '../../wire/postgres/connection.ts';
import { makeAuthority } from '../support/certificate.ts';
import { eventually } from '../support/eventually.ts';

let server: EmbeddedServer;
let plain: EmbeddedServer;
const folder = mkdtempSync(join(tmpdir(), 'tidegate-login-'));
const authority = join(folder, 'authority.pem');
const ours = makeAuthority('our authority');
const stranger = join(folder, 'stranger.pem');
/** With a colon, a space that is none in ASCII, a ligature that SCRAM spells out, and what a url has to escape. */
const PASSWORD = 'p:a@ss/w ör\u00a0d%ﬁ?#';

const url = (user: string, password: string, query = '', host = '127.0.0.1', port = server.port): string =>
  `postgres://${encodeURIComponent(user)}:${encodeURIComponent(password)}@${host}:${port}/postgres${query}`;
const login = (to: string): Promise<PgConnection> => PgConnection.connect({ url: to });
const isEncrypted = async (to: string): Promise<boolean> => {
  await using sql = await login(to);
  return (await sql.query('select ssl from pg_stat_ssl where pid = pg_backend_pid()')).rows[0]?.[0] === 't';
};

/** A file in the server's folder, of the user that it runs as. */
function write(name: string, text: string): void {
  const { uid, gid } = statSync(server.folder);
  const path = join(server.folder, name);
  writeFileSync(path, text, { mode: 0o600 });
  chownSync(path, uid, gid);
}

/** In a moment, for new connections. */
async function useCertificate(names: readonly string[]): Promise<void> {
  const { certificate, privateKey } = ours.issue(names);
  write('server.crt', certificate);
  write('server.key', privateKey);
  await using sql = await login(server.url());
  await sql.script('select pg_reload_conf()');
}

beforeAll(async () => {
  [server, plain] = await Promise.all([startEmbeddedPostgres(), startEmbeddedPostgres({ unix_socket_directories: '.' })]);
  writeFileSync(authority, ours.certificate);
  writeFileSync(stranger, makeAuthority('another authority').certificate);
  await using sql = await login(server.url());
  const literal = `'${PASSWORD}'`;
  await sql.script(`
    create role "of scram" login password ${literal}; create role "of cert" login;
    create role invisible login password U&'pa\\00ADss \\2003\\FB01'; create role controlled login password U&'\\FB01\\0007'; create role closed login password ${literal};
    set password_encryption = md5; create role "of md5" login password ${literal}; create role "in clear" login password ${literal}; create role open login`);
  const address = '127.0.0.1/32';
  write(
    'pg_hba.conf',
    `host all postgres,open ${address} trust
host all "of scram",invisible,controlled ${address} scram-sha-256
hostssl all "of cert" ${address} cert
host all "of md5" ${address} md5
host all "in clear" ${address} password
host all closed ${address} reject
`,
  );
  write('authority.pem', ours.certificate);
  await sql.script("alter system set ssl_ca_file = 'authority.pem'");
  await sql.script('alter system set ssl = on');
  await useCertificate(['localhost']);
  await eventually(async () => {
    await using again = await login(server.url());
    return (await again.query("select 1 from pg_settings where name = 'ssl' and setting = 'on'")).rows.length > 0;
  }, 'the server offers TLS');
});
afterAll(async () => {
  await Promise.all([server.stop(), plain.stop()]);
  rmSync(folder, { recursive: true });
});

describe('passwords', () => {
  test.each(['of scram', 'of md5', 'in clear'])('%s: the right one lets us in, another does not', async (user) => {
    await using sql = await login(url(user, PASSWORD));
    expect((await sql.query('select current_user')).rows).toEqual([[user]]);
    await expect(login(url(user, 'wrong'))).rejects.toMatchObject({ code: '28P01' });
    await expect(login(url(user, ''))).rejects.toMatchObject({ code: '28P01' });
  });

  test.each([
    ['invisible', 'pa\u00adss \u2003ﬁ'],
    ['invisible', 'pass  fi'],
    ['controlled', 'ﬁ\u0007'],
  ])('%s: characters that SCRAM takes for others, or for none, or that have it take all as they are', async (user, password) => {
    await using sql = await login(url(user, password));
    expect(sql.open).toBe(true);
  });

  test('none is asked for, no role of that name, or nobody may come in this way', async () => {
    await using sql = await login(url('open', 'whatever'));
    expect(sql.open).toBe(true);
    await expect(login(url('nobody', PASSWORD))).rejects.toMatchObject({ code: '28000' });
    await expect(login(url('closed', PASSWORD))).rejects.toMatchObject({ code: '28000' });
  });

  test('are in no error', async () => {
    for (const to of [
      url('of scram', `${PASSWORD}x`),
      url('of scram', PASSWORD, '', '127.0.0.1', 1),
      url('of scram', PASSWORD, '?sslmode=what'),
    ]) {
      const failure = await login(to).then(
        () => 'no failure',
        (error: unknown) => inspect(error, { depth: 9 }),
      );
      expect(failure).toMatch(/Error/);
      expect(failure).not.toMatch(/p:a|p%3Aa/);
    }
  });
});

describe('sslmode', () => {
  test('prefer takes TLS where it is offered, and does without where not; disable does without', async () => {
    expect(await isEncrypted(url('open', ''))).toBe(true);
    expect(await isEncrypted(url('of scram', PASSWORD, '?sslmode=prefer'))).toBe(true);
    expect(await isEncrypted(url('open', '', '?sslmode=disable'))).toBe(false);
    expect(await isEncrypted(plain.url())).toBe(false);
  });

  test('require wants TLS, from whomever', async () => {
    expect(await isEncrypted(url('open', '', '?sslmode=require'))).toBe(true);
    await expect(login(`${plain.url()}?sslmode=require`)).rejects.toThrow('does not offer TLS');
  });

  test.each([
    ['127.0.0.1', 'localhost'],
    ['localhost', '127.0.0.1'],
  ])('verify-full takes a certificate of the authority for the very host, and no other: %s', async (host, another) => {
    await useCertificate([host, 'db.example']);
    const trusted = `?sslmode=verify-full&sslrootcert=${encodeURIComponent(authority)}`;
    await eventually(() => isEncrypted(url('open', '', trusted, host)).catch(() => false), 'the server has the certificate');
    const why = (query: string, at: string): Promise<unknown> =>
      login(url('open', '', query, at)).then(
        (connection) => connection.close(),
        (error: unknown) => (error as PgConnectionError).cause, // All that is thrown where TLS fails.
      );
    expect(await why(trusted, another)).toMatchObject({ code: 'ERR_TLS_CERT_ALTNAME_INVALID' });
    expect(await isEncrypted(url('open', '', '?sslmode=require', another))).toBe(true);
    expect(await why(`?sslmode=verify-full&sslrootcert=${encodeURIComponent(stranger)}`, host)).toMatchObject({
      code: expect.stringMatching(/VERIFY|CERT/) as string,
    });
    expect(await why('?sslmode=verify-full', host)).toMatchObject({ code: expect.stringMatching(/VERIFY|CERT/) as string });
  });

  test('verify-ca takes a certificate of the authority for whomever, and so does require where it names one', async () => {
    await useCertificate(['db.example']);
    for (const mode of ['verify-ca', 'require']) {
      const by = (file: string): string => url('open', '', `?sslmode=${mode}&sslrootcert=${encodeURIComponent(file)}`);
      await eventually(() => isEncrypted(by(authority)).catch(() => false), 'the server has the certificate');
      // What is wrong is said, and not only that it is.
      const failure = await login(by(stranger)).catch((error: unknown) => error as Error);
      expect(withCauses(failure as Error)).toMatch(/^TLS with the Postgres server at .* failed: .*certificate/);
    }
  });

  test('a server that wants a certificate is shown the one that the url names', async () => {
    const { certificate, privateKey } = ours.issue(['of cert']);
    const other = makeAuthority('another authority').issue(['of cert']);
    const shown = (name: string, text: string): string => {
      const file = join(folder, name);
      writeFileSync(file, text);
      return encodeURIComponent(file);
    };
    const by = (cert: string, key: string): string => url('of cert', '', `?sslmode=require&sslcert=${cert}&sslkey=${key}`);
    const [cert, key] = [shown('client.crt', certificate), shown('client.key', privateKey)];
    await using sql = await login(by(cert, key));
    expect((await sql.query('select client_dn from pg_stat_ssl where pid = pg_backend_pid()')).rows).toEqual([['/CN=of cert']]);
    await expect(login(url('of cert', '', '?sslmode=require'))).rejects.toMatchObject({ code: '28000' });
    await expect(login(by(shown('other.crt', other.certificate), shown('other.key', other.privateKey)))).rejects.toThrow(PgConnectionError);
    await expect(login(by(cert, shown('none.key', 'no key')))).rejects.toThrow(/no certificate or key/);
    await expect(login(by(cert, '%2Fno%2Fsuch%2Ffile'))).rejects.toThrow(/the file that sslkey names cannot be read/);
  });

  test('a login by SCRAM is bound to the certificate: who stands between with another one gets nobody in', async () => {
    const bound = '?sslmode=require&channel_binding=require';
    await using sql = await login(url('of scram', PASSWORD, bound));
    expect(sql.open).toBe(true);
    for (const to of [
      url('of scram', PASSWORD, '?sslmode=disable&channel_binding=require'),
      url('of md5', PASSWORD, bound),
      url('open', '', bound),
    ])
      await expect(login(to)).rejects.toThrow(/channel_binding=require takes TLS/);
    const { certificate, privateKey } = ours.issue(['127.0.0.1']);
    const between = createServer((client) => {
      client.on('error', () => {});
      client.once('data', (request) => {
        const upstream = connect({ port: server.port, host: '127.0.0.1' }, () => upstream.write(request));
        upstream.on('error', () => {});
        upstream.once('data', (offer) => {
          client.write(offer);
          const inside = new TLSSocket(client, { isServer: true, cert: certificate, key: privateKey });
          const outside = connectTls({ socket: upstream, rejectUnauthorized: false });
          for (const [from, to] of [
            [inside, outside],
            [outside, inside],
          ] as const)
            from.on('error', () => {}).pipe(to);
        });
      });
    });
    await new Promise<void>((resolve) => between.listen(0, '127.0.0.1', resolve));
    const { port } = between.address() as AddressInfo;
    const through = (query: string): Promise<PgConnection> => login(url('of scram', PASSWORD, query, '127.0.0.1', port));
    await expect(through('?sslmode=require')).rejects.toThrow(/channel binding/);
    await using unbound = await through('?sslmode=require&channel_binding=disable');
    expect(unbound.open).toBe(true);
    between.close();
  });

  test('a large result and a large parameter come and go whole', async () => {
    await using sql = await login(url('open', '', '?sslmode=require'));
    const text = 'ä'.repeat(3_000_000);
    const { rows } = await sql.query('select $1::text || $1', [text]);
    expect(rows[0]?.[0] === text + text).toBe(true);
  });

  test('a replication stream is told once of all that is there, not of each record', async () => {
    await using sql = await login(server.url());
    await sql.script('create table streamed (n integer primary key, pad text); create publication p for table streamed');
    await sql.query("select pg_create_logical_replication_slot('tls', 'pgoutput')");
    await sql.script("insert into streamed select n, repeat('x', 200) from generate_series(1, 10000) n");
    await using replication = await PgConnection.connect({ url: `${server.url()}?sslmode=require`, replication: 'database' });
    const told: number[] = [];
    let rows = 0;
    const stream = await replication.copyBoth(
      `START_REPLICATION SLOT tls LOGICAL 0/0 (proto_version '1', binary 'true', publication_names 'p')`,
      {
        message: (bytes, from) => {
          if (bytes[from] === 0x77 && bytes[from + 25] === 0x49 && ++rows === 1) stream.pause();
        },
        isBehind: () => true,
        drained: () => void told.push(rows),
      },
    );
    await eventually(() => rows > 0 && replication.bytesRead > 60_000, 'more has come than is read');
    const before = rows;
    told.length = 0;
    stream.resume();
    await eventually(() => told.length > 0, 'some of it was read');
    expect(((told[0] ?? 0) - before) * 200).toBeGreaterThan(32_768);
    await eventually(() => rows === 10_000, 'all of it was read');
  });
});

test('a host that is a path is where the server has its Unix socket: statements, cancelling and replication go over it', async () => {
  const over = (folder: string): string => `postgres://postgres@${encodeURIComponent(folder)}:${plain.port}/postgres?sslmode=require`;
  await using sql = await login(over(plain.folder));
  expect((await sql.query('select inet_client_addr()')).rows).toEqual([[null]]);
  const slow = sql.query('select pg_sleep(30)').catch((e: unknown) => e);
  await using other = await login(plain.url());
  const running = "select 1 from pg_stat_activity where pid = $1 and wait_event = 'PgSleep'";
  await eventually(async () => (await other.query(running, [sql.backendPid])).rows.length > 0, 'the statement runs');
  await sql.cancel();
  expect(await slow).toMatchObject({ code: '57014' });
  await sql.script('create table socketed (n integer primary key); create publication q for table socketed');
  await sql.query("select pg_create_logical_replication_slot('socketed', 'pgoutput')");
  await sql.script('insert into socketed select generate_series(1, 10000)');
  await using replication = await PgConnection.connect({ url: over(plain.folder), replication: 'database' });
  let rows = 0;
  await replication.copyBoth(`START_REPLICATION SLOT socketed LOGICAL 0/0 (proto_version '1', publication_names 'q')`, {
    message: (bytes, from) => {
      if (bytes[from] === 0x77 && bytes[from + 25] === 0x49) rows++;
    },
    isBehind: () => true,
    drained: () => {},
  });
  await eventually(() => rows === 10_000, 'all rows came');
  await expect(login(over(folder))).rejects.toThrow(`the Postgres server at ${folder}/.s.PGSQL.${plain.port} cannot be reached`);
});

test('what is said in the clear behind the offer of TLS is not taken for what the server says by TLS', async () => {
  const { certificate, privateKey } = ours.issue(['127.0.0.1']);
  const loggedIn = Buffer.from('5200000008000000005a0000000549', 'hex'); // AuthenticationOk, ReadyForQuery.
  const between = createServer((socket) => {
    socket.on('error', () => {});
    socket.once('data', () => {
      socket.write(Buffer.concat([Buffer.from('S'), loggedIn]));
      new TLSSocket(socket, { isServer: true, cert: certificate, key: privateKey }).on('error', () => {}).resume();
    });
  });
  await new Promise<void>((resolve) => between.listen(0, '127.0.0.1', resolve));
  const { port } = between.address() as AddressInfo;
  const trusted = `?sslmode=verify-full&sslrootcert=${encodeURIComponent(authority)}`;
  await expect(login(url('open', '', trusted, '127.0.0.1', port))).rejects.toThrow('does not speak the protocol');
  between.close();
});

describe('what is no Postgres', () => {
  test.each([
    ['speaks another protocol', Buffer.from('HTTP/1.1 400 Bad Request\r\n\r\n'), ''],
    ['speaks another protocol, to one who asks for no TLS', Buffer.from('HTTP/1.1 400 Bad Request\r\n\r\n'), '?sslmode=disable'],
    ['sends lengths below nothing', Buffer.from('52ffffffff0000000052ffffffff', 'hex'), '?sslmode=disable'],
    ['sends a message that is shorter than it says', Buffer.from('52000000060000', 'hex'), '?sslmode=disable'],
    ['says nothing', Buffer.alloc(0), ''],
    ['says nothing, to one who asks for no TLS', Buffer.alloc(0), '?sslmode=disable'],
    ['hangs up', null, ''],
  ])('%s', async (_, answer, query) => {
    const other = createServer((socket) => {
      socket.on('error', () => {});
      socket.once('data', () => (answer === null ? socket.destroy() : socket.write(answer)));
    });
    await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve));
    const to = `postgres://postgres@127.0.0.1:${(other.address() as AddressInfo).port}/x${query}`;
    await expect(PgConnection.connect({ url: to, connectTimeoutMs: 300 })).rejects.toBeInstanceOf(PgConnectionError);
    await new Promise<void>((resolve) => other.close(() => resolve()));
  });
});
