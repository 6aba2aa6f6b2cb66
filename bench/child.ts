/** Processes that benchmarks start: they say `up` when they are ready, and nothing waits for one that has ended. */
import { type ChildProcess, spawn } from 'node:child_process';
import { NODE_FLAGS } from '../app/node-flags.ts';

/** Of what a child says, so much of its end is kept for the error. */
const KEPT_CHARACTERS = 16_384;

export interface Child {
  readonly process: ChildProcess;
  /** Once it has sent its first message. Rejects with what it has said if it ends before, or cannot be started. */
  readonly up: Promise<void>;
  /** Throws with what it has said if it has ended. */
  readonly check: () => void;
}

/** Runs a script of ours with one argument and a channel. What it says on stderr is said on ours too. */
export function startChild(script: string, argument: string): Child {
  const child = spawn(process.execPath, [...NODE_FLAGS, script, argument], { stdio: ['ignore', 'pipe', 'pipe', 'ipc'] });
  let said = '';
  const keep = (text: string): void => void (said = (said + text).slice(-KEPT_CHARACTERS));
  child.stdout?.setEncoding('utf8').on('data', keep);
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    keep(text);
    process.stderr.write(text);
  });
  const died = (): Error =>
    new Error(`${script} ended with ${child.signalCode ?? `exit code ${child.exitCode ?? 'unknown'}`}, having said:\n${said}`);
  const up = new Promise<void>((resolve, reject) => {
    child.once('message', () => resolve());
    child.once('error', reject);
    child.once('close', () => reject(died())); // Not at `exit`: some of what it said may come after.
  });
  const check = (): void => {
    if (child.exitCode !== null || child.signalCode !== null) throw died();
  };
  return { process: child, up, check };
}

/** Ends it with SIGTERM, if it has not ended by itself. */
export async function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const gone = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  child.kill('SIGTERM');
  await gone;
}
