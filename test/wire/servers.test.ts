/** Urls that name several servers. */
import { expect, test } from 'vitest';
import { isPostgresUrl, parsePgServers } from '../../wire/postgres/ident.ts';

const shown = (url: string) => {
  const { addresses, session } = parsePgServers(url);
  return [addresses.map(({ host, port, user, password, database }) => `${user}:${password}@${host}:${port}/${database}`), session];
};

test('every host of a url is an address of its own, with everything else the same', () => {
  expect(shown('postgres://u:p@one/shop')).toEqual([['u:p@one:5432/shop'], 'any']);
  expect(shown('postgres://u:p%2Cq@one:1,[::1]:2,three/shop?sslmode=require')).toEqual([
    ['u:p,q@one:1/shop', 'u:p,q@::1:2/shop', 'u:p,q@three:5432/shop'],
    'primary',
  ]);
  expect(shown('postgresql://one,two/shop?target_session_attrs=any')[1]).toBe('any');
  expect(shown('postgres://u,v:a,b@one:1/shop')).toEqual([['u,v:a,b@one:1/shop'], 'any']);
  expect(shown('postgres://one/shop?target_session_attrs=read-write')[1]).toBe('primary');
});

test('a host that is a path is the folder of a Unix socket, as for libpq', () => {
  expect(shown('postgres://u:p@%2Fvar%2Frun%2Fpostgresql:5433/shop')[0]).toEqual(['u:p@/var/run/postgresql:5433/shop']);
  expect(shown('postgres:///shop?host=/var/run/postgresql&port=5433')[0]).toEqual(['postgres:@/var/run/postgresql:5433/shop']);
  expect(shown('postgres://u@%2Frun%2Fa,two:1/shop')[0]).toEqual(['u:@/run/a:5432/shop', 'u:@two:1/shop']);
  expect(parsePgServers('postgres://u@%2Frun%2Fa/shop?sslmode=require').addresses[0]?.sslmode).toBe('disable');
  expect(isPostgresUrl('postgres:///shop?host=/run/a')).toBe(true);
  expect(isPostgresUrl('postgres:///shop')).toBe(false);
});

test('TLS is asked for as libpq does', () => {
  const tls = (query: string) => {
    const { sslmode, sslrootcert, sslcert, sslkey, channelBinding } = parsePgServers(`postgres://one/shop?${query}`).addresses[0] ?? {};
    return [sslmode, sslrootcert, sslcert, sslkey, channelBinding];
  };
  expect(tls('')).toEqual(['prefer', null, null, null, 'prefer']);
  expect(tls('sslmode=require&channel_binding=require')).toEqual(['require', null, null, null, 'require']);
  expect(tls('sslmode=require&sslrootcert=/ca.pem')).toEqual(['verify-ca', '/ca.pem', null, null, 'prefer']);
  expect(tls('sslmode=verify-ca')).toEqual(['verify-ca', null, null, null, 'prefer']);
  expect(tls('sslrootcert=system')).toEqual(['verify-full', null, null, null, 'prefer']);
  expect(tls('sslmode=verify-full&sslcert=c&sslkey=k&channel_binding=disable')).toEqual(['verify-full', null, 'c', 'k', 'disable']);
  for (const query of ['sslmode=verify', 'sslmode=require&sslrootcert=system', 'sslcert=c', 'channel_binding=1'])
    expect(() => tls(query)).toThrow(TypeError);
});

test('what another client would heed behind the ?, and we do not, is refused by its name', () => {
  for (const name of ['options', 'ssl', 'sslcrl', 'require_auth', 'passfile', 'service', 'hostaddr'])
    expect(() => parsePgServers(`postgres://u:secret@one/shop?${name}=secret`)).toThrow(
      expect.objectContaining({ name: 'TypeError', message: expect.stringMatching(new RegExp(`^(?!.*secret).* ${name} `)) as unknown }),
    );
  expect(parsePgServers('postgres://one/shop?application_name=x&connect_timeout=3').session).toBe('any');
});

test('what is none is refused without a word of it', () => {
  for (const url of [
    'postgres://u:secret@one:1,two:x/shop',
    'postgres://u:secret@one,two/shop?target_session_attrs=standby',
    'mysql://u:secret@one,two/x',
    'postgres://u:secret@one/shop?sslmod=require',
    'postgres://u:1?secret@one/shop',
  ])
    expect(() => parsePgServers(url)).toThrow(
      expect.objectContaining({ name: 'TypeError', message: expect.not.stringContaining('secret') as unknown }),
    );
});
