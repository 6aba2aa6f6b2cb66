/** The programs of the streaming stack, fetched once by Maven into the user's cache: a folder for each version of pom.xml. */
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { ensureTools, type Java } from './java.ts';

const HERE = import.meta.dirname;
const run = promisify(execFile);
/** Without a manifest of its own the converter is not found by `plugin.discovery=service_load`. */
const CONVERTERS = ['AvroConverter', 'ExtJsonConverter'].map((name) => `io.apicurio.registry.utils.converter.${name}\n`).join('');

export interface Programs {
  readonly folder: string;
  readonly java: Java;
}

/** Where TIDEGATE_STACK_CACHE says, else in the user's cache. */
export function stackCache(): string {
  return process.env['TIDEGATE_STACK_CACHE'] ?? join(process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'tidegate/stack');
}

/** Fetches them where the cache has none for this version of pom.xml. */
export async function fetchPrograms(say: (line: string) => void = () => {}): Promise<Programs> {
  const { java, maven } = ensureTools(say);
  const pom = join(HERE, 'pom.xml');
  const folder = join(stackCache(), createHash('sha256').update(readFileSync(pom)).digest('hex').slice(0, 16));
  if (existsSync(folder)) return { folder, java };
  mkdirSync(dirname(folder), { recursive: true });
  // Beside its place, so that it is there whole or not at all; whoever comes second throws its own away.
  const out = mkdtempSync(`${folder}-`);
  try {
    say('fetching Kafka, Debezium and the schema registry by Maven (half a minute, 400 MB, once)');
    await run(maven, ['-q', '-B', '-ntp', '-f', pom, `-Dout=${out}`, 'package'], {
      env: { ...process.env, JAVA_HOME: java.home },
      maxBuffer: 1 << 26,
    });
    await addManifest(out, java);
    if (!existsSync(folder)) renameSync(out, folder);
  } finally {
    rmSync(out, { recursive: true, force: true });
  }
  return { folder, java };
}

async function addManifest(out: string, java: Java): Promise<void> {
  const services = join(out, 'shim/META-INF/services');
  mkdirSync(services, { recursive: true });
  writeFileSync(join(services, 'org.apache.kafka.connect.storage.Converter'), CONVERTERS);
  const jar = join(out, 'plugins/apicurio-converter/service-manifest-1.0.0.jar');
  await run(join(java.home, 'bin/jar'), ['--create', '--file', jar, '-C', join(out, 'shim'), 'META-INF']);
}
