/**
 * A pipeline in a process of its own, to see what memory it takes: runs until the target has the mark, and writes what it took to standard output.
 * Its argument is JSON: `from` and `to` (each the name and url of a database), `tables`, `mark`, and perhaps `rowBytes` and `isMarked`.
 */
import { spawn } from 'node:child_process';
import { NODE_FLAGS } from '../../app/node-flags.ts';
import { PgConnection } from '../../wire/postgres/connection.ts';
import { type Road, sync } from '../types/sync.ts';
import type { TestDatabase } from './databases.ts';

export interface Followed {
  /** Of the process, before it began and at its height, in MiB. */
  readonly beforeMiB: number;
  readonly peakMiB: number;
  readonly seconds: number;
}

type Wanted = Pick<Road, 'tables' | 'mark' | 'rowBytes' | 'isMarked'> & { readonly from: Named; readonly to: Named };
type Named = Pick<TestDatabase, 'name' | 'url'>;

/** Runs one and waits for its end. */
export async function follower({ from, to, ...rest }: Wanted): Promise<Followed> {
  const named = ({ name, url }: Named): Named => ({ name, url });
  const wanted: Wanted = { ...rest, from: named(from), to: named(to) };
  const child = spawn(process.execPath, [...NODE_FLAGS, import.meta.filename, JSON.stringify(wanted)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let text = '';
  child.stdout.on('data', (chunk: Buffer) => (text += chunk.toString()));
  const code = await new Promise<number | null>((resolve) => child.once('close', resolve));
  if (code !== 0) throw new Error(`the follower ended with ${code}`);
  return JSON.parse(text) as Followed; // As `main` writes it.
}

async function main(text: string): Promise<void> {
  const wanted = JSON.parse(text) as Wanted; // As `follower` writes it.
  const undisposed = (database: Named): TestDatabase => ({ ...database, [Symbol.asyncDispose]: async () => {} });
  await using source = await PgConnection.connect({ url: wanted.from.url });
  await using target = await PgConnection.connect({ url: wanted.to.url });
  const peak = () => Math.round(process.resourceUsage().maxRSS / 1024);
  const beforeMiB = peak();
  const started = performance.now();
  await sync(source, target, { ...wanted, from: undisposed(wanted.from), to: undisposed(wanted.to) });
  const followed: Followed = { beforeMiB, peakMiB: peak(), seconds: (performance.now() - started) / 1000 };
  process.stdout.write(JSON.stringify(followed));
}

if (process.argv[1] === import.meta.filename) await main(process.argv[2] ?? '');
