/** The service under test: `tidegate run` as a process that can be killed, stopped, have its scorer killed, and its clock set. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { join } from 'node:path';

const MAIN = join(import.meta.dirname, '../../app/cli/main.ts');
const CLOCK = join(import.meta.dirname, 'movable-clock.ts');

export class ServiceProcess implements AsyncDisposable {
  readonly child: ChildProcess;
  readonly log: string[] = [];
  readonly ended: Promise<void>;

  constructor(config: string) {
    this.child = spawn(process.execPath, ['--import', CLOCK, MAIN, 'run', config], { stdio: ['ignore', 'pipe', 'pipe', 'ipc'] });
    const keep = (chunk: Buffer): void => {
      this.log.push(...chunk.toString().split('\n'));
      if (this.log.length > 500) this.log.splice(0, 250);
    };
    this.child.stdout?.on('data', keep);
    this.child.stderr?.on('data', keep);
    this.child.on('error', () => {}); // A message to a process that has just died.
    this.ended = new Promise((resolve) => this.child.once('exit', () => resolve()));
  }

  get pid(): number {
    return this.child.pid ?? 0;
  }

  /** What it said last, for whoever wonders. */
  get lastWords(): string {
    return this.log.slice(-8).join('\n');
  }

  /** Whether it gave up by itself: nothing moves until a person resumes. */
  get hasHalted(): boolean {
    return this.log.some((line) => line.includes('the lane cannot go on by itself'));
  }

  /** Of the process that scores; null while there is none. */
  get scorerPid(): number | null {
    const listed = processes().find(({ parent, command }) => parent === this.pid && command.includes('scorer/child'));
    return listed?.pid ?? null;
  }

  /** Answers by how much its clock is ahead then, give or take a millisecond; null where the process is none any more. */
  setClock(aheadMs: number): Promise<number | null> {
    if (!this.child.connected) return Promise.resolve(null);
    const answered = new Promise<number>((resolve) => this.child.once('message', (setMs) => resolve(Number(setMs))));
    this.child.send(aheadMs);
    return Promise.race([answered, this.ended.then(() => null)]);
  }

  signal(name: NodeJS.Signals): void {
    this.child.kill(name);
  }

  async kill(): Promise<void> {
    this.child.kill('SIGKILL');
    await this.ended;
  }

  /** Asks it to end, and answers its exit code; null where a signal ended it. */
  async stop(): Promise<number | null> {
    this.child.kill('SIGTERM');
    await this.ended;
    return this.child.exitCode;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
  }
}

/** Whether the process is there, and does nothing until it is told to go on. */
export function isStopped(pid: number): boolean {
  return processes().some((one) => one.pid === pid && one.state.startsWith('T'));
}

function processes(): { pid: number; parent: number; state: string; command: string }[] {
  return execFileSync('ps', ['-eo', 'pid=,ppid=,stat=,args='], { encoding: 'utf8' })
    .split('\n')
    .map((line) => /^\s*(\d+)\s+(\d+)\s+(\S+)\s+(.*)$/.exec(line))
    .filter((match) => match !== null)
    .map(([, pid, parent, state = '', command = '']) => ({ pid: Number(pid), parent: Number(parent), state, command }));
}
