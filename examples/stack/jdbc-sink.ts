/** Debezium's JDBC sink, as the benchmark and the tests run it: where its plugin is, and what it is told. */
import { execFileSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';
import { type ConnectorConfig, type Format, postgresConnector } from './debezium.ts';
import { ensureTools } from './java.ts';
import type { StackAddress } from './stack.ts';

export interface JdbcSinkOptions {
  /** Of the database that it writes. */
  readonly url: string;
  readonly topic: string;
  readonly table: string;
  readonly format: Format;
}

/** Rows are upserted and deleted by the key of their records; the table is made where there is none. */
export function jdbcSink(stack: Pick<StackAddress, 'registryUrl'>, { url, topic, table, format }: JdbcSinkOptions): ConnectorConfig {
  const { hostname, port, pathname, username, password } = new URL(url);
  const converters = Object.entries(postgresConnector(stack, { url, prefix: 'x', tables: [], format })).filter(([key]) =>
    /^(key|value)\.converter/.test(key),
  );
  return {
    'connector.class': 'io.debezium.connector.jdbc.JdbcSinkConnector',
    'tasks.max': '1',
    topics: topic,
    'connection.url': `jdbc:postgresql://${hostname}:${port}${pathname}?reWriteBatchedInserts=true`,
    'connection.username': username || 'postgres',
    'connection.password': password || 'none',
    'insert.mode': 'upsert',
    'delete.enabled': 'true',
    'primary.key.mode': 'record_key',
    'schema.evolution': 'basic',
    'collection.name.format': table,
    'consumer.override.auto.offset.reset': 'earliest',
    ...Object.fromEntries(converters),
  };
}

/** The folder with the sink's plugin, fetched once by Maven. */
export function fetchJdbcSink(say: (line: string) => void): string {
  const { java, maven } = ensureTools(say);
  const folder = join(process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'tidegate/jdbc-sink');
  if (existsSync(folder) && readdirSync(folder).length > 0) return folder;
  say("fetching Debezium's JDBC sink by Maven (58 MB, once)");
  const out = mkdtempSync(join(tmpdir(), 'tidegate-jdbc-'));
  execFileSync(maven, ['-q', '-B', '-ntp', '-f', join(import.meta.dirname, 'jdbc-sink.pom.xml'), `-Dout=${out}`, 'package'], {
    env: { ...process.env, JAVA_HOME: java.home },
    stdio: 'inherit',
  });
  mkdirSync(join(folder, '..'), { recursive: true });
  cpSync(join(out, 'plugins'), `${folder}.part`, { recursive: true });
  if (!existsSync(folder)) renameSync(`${folder}.part`, folder);
  rmSync(out, { recursive: true, force: true });
  return folder;
}
