/**
 * One scorer child: started with nothing of ours (no environment, an empty folder, limits, another user where possible), given one
 * model, and killed when it misses a deadline. Nothing here starts it again; supervisor.ts does.
 */
import { type ChildProcess, spawn, type SpawnOptions } from 'node:child_process';
import { accessSync, constants, existsSync, mkdtempSync, rmSync, statSync, chmodSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import type { Duplex } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { type Clock, systemClock } from '../../core/clock.ts';
import type { Loaded, LoadHeader } from './child.ts';
import { bytesOf, floatsOf, type Frame, frameHeader, FrameKind, FrameReader } from './frames.ts';

/** Why there are no scores. `model`: the runtime refused the model or the run. The others say what happened to the child. */
export type ScorerFailure = 'model' | 'load-timeout' | 'deadline' | 'crashed' | 'unavailable' | 'closed';

export class ScorerError extends Error {
  override readonly name = 'ScorerError';
  readonly failure: ScorerFailure;

  constructor(failure: ScorerFailure, message: string) {
    super(message);
    this.failure = failure;
  }
}

/** A model as the child gets it: bytes, and which input and output column to use. */
export interface ScorableModel {
  readonly bytes: Uint8Array;
  readonly input: { readonly name: string; readonly width: number };
  readonly output: { readonly name: string; readonly index: number };
  /** Rows that it takes at once, where that is limited: 1 for a model whose first dimension is fixed. */
  readonly rowsMax?: number;
}

export interface ScorerProcessOptions {
  /** What the child may allocate, Node's own 600 MB included. Default 3 GB: fifteen times the largest model, as forests take. */
  readonly memoryBytesMax?: number;
  /** From spawning to the loaded model. Default 10 s. */
  readonly loadTimeoutMs?: number;
  readonly clock?: Clock;
}

/** Lets what has arrived be read: a service that was busy itself must not take its own delay for that of its child. */
export function arrivals(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

const CLOSED = 'the scorer was closed';
const LOG_BYTES_MAX = 8192;
const RESERVED_BYTES = 4_000_000_000;
const NOBODY = 65534;
const SETPRIV = '/usr/bin/setpriv';
const UNSHARE = '/usr/bin/unshare';
const CLOSE_TIMEOUT_MS = 1000;

export class ScorerProcess implements AsyncDisposable {
  readonly pid: number;
  readonly loaded: Loaded;
  /** Resolves with why, once the child is gone. */
  readonly exited: Promise<ScorerError>;
  readonly #link: Link;
  #busy = false;

  private constructor(link: Link, loaded: Loaded) {
    this.#link = link;
    this.pid = link.child.pid ?? 0;
    this.loaded = loaded;
    this.exited = link.exited;
  }

  /** Starts a child and loads the model into it. Throws `ScorerError`, with the child gone. `signal` ends the child, whatever it is at. */
  static async start(model: ScorableModel, options: ScorerProcessOptions = {}, signal?: AbortSignal): Promise<ScorerProcess> {
    const link = new Link(options);
    if (signal !== undefined) link.obey(signal);
    try {
      const header: LoadHeader = {
        input: model.input.name,
        width: model.input.width,
        output: model.output.name,
        index: model.output.index,
        rowsMax: model.rowsMax ?? Number.MAX_SAFE_INTEGER,
      };
      const text = Buffer.from(JSON.stringify(header));
      const length = new Uint8Array(4);
      new DataView(length.buffer).setUint32(0, text.length, true);
      const frame = await link.ask(FrameKind.Load, [length, text, model.bytes], options.loadTimeoutMs ?? 10_000, 'load-timeout');
      return new ScorerProcess(link, JSON.parse(Buffer.from(frame.payload).toString()) as Loaded);
    } catch (error) {
      await link.kill();
      throw error;
    } finally {
      // The child keeps standing in the folder that is no more: there is nothing to find in it, and nobody can put anything there.
      link.removeFolder();
    }
  }

  /** Scores `matrix` (rows × width, row-major). One at a time. Past `timeoutMs` the child is killed and the promise rejects. */
  async run(matrix: Float32Array, timeoutMs: number): Promise<Float32Array> {
    if (this.#busy) throw new Error('a scorer child runs one batch at a time');
    this.#busy = true;
    try {
      const frame = await this.#link.ask(FrameKind.Run, [bytesOf(matrix)], timeoutMs, 'deadline');
      return floatsOf(frame.payload);
    } finally {
      this.#busy = false;
    }
  }

  /** What the child last wrote to its standard output and error: for the log of whoever looks for the cause of a crash. */
  get output(): string {
    return this.#link.output;
  }

  /** Why the child is gone; null while it runs. */
  get gone(): ScorerError | null {
    return this.#link.gone;
  }

  /** Ends the child at once, whatever it is at: what it was asked fails with `closed`. */
  kill(): Promise<void> {
    return this.#link.kill();
  }

  /** Lets the child go by itself; kills it where it does not. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#link.close();
  }
}

/** The running child and the frames to and from it. */
class Link {
  readonly child: ChildProcess;
  readonly exited: Promise<ScorerError>;
  readonly #pipe: Duplex;
  readonly #folder: string;
  readonly #clock: Clock;
  #pending: { readonly id: number; resolve(frame: Frame): void; reject(error: ScorerError): void } | null = null;
  #nextId = 1;
  #gone: ScorerError | null = null;
  /** Why we killed it: what the pending request is rejected with. */
  #verdict: ScorerError | null = null;
  #output = '';

  constructor(options: ScorerProcessOptions) {
    this.#clock = options.clock ?? systemClock;
    this.#folder = mkdtempSync(join(tmpdir(), 'tidegate-scorer-'));
    chmodSync(this.#folder, 0o755); // Another user has to enter it.
    this.child = spawnScorer(this.#folder, options.memoryBytesMax ?? 3_000_000_000);
    this.#pipe = this.child.stdio[3] as Duplex; // 'pipe' makes a socket pair.
    const reader = new FrameReader((frame) => this.#receive(frame));
    this.#pipe.on('data', (chunk: Buffer) => {
      try {
        reader.push(chunk);
      } catch {
        this.#die(new ScorerError('crashed', 'the scorer child writes something that is no frame'));
      }
    });
    this.#pipe.on('error', () => {}); // The exit says it better.
    for (const stream of [this.child.stdout, this.child.stderr]) {
      stream?.on('data', (chunk: Buffer) => {
        this.#output = (this.#output + chunk.toString('latin1')).slice(-LOG_BYTES_MAX);
      });
    }
    this.exited = new Promise((resolve) => {
      this.child.once('error', (error) => resolve(this.#end(`the scorer child cannot be started: ${error.message}`)));
      this.child.once('exit', (code, signal) => resolve(this.#end(`the scorer child ended with ${signal ?? `exit code ${code}`}`)));
    });
  }

  get output(): string {
    return this.#output;
  }

  get gone(): ScorerError | null {
    return this.#gone;
  }

  /** Sends one request and waits for its answer, or kills the child. */
  async ask(kind: FrameKind, parts: readonly Uint8Array[], timeoutMs: number, late: 'deadline' | 'load-timeout'): Promise<Frame> {
    if (this.#gone !== null) throw this.#gone;
    const id = this.#nextId++;
    const answered = new AbortController();
    const answer = new Promise<Frame>((resolve, reject) => {
      this.#pending = { id, resolve, reject };
    });
    this.#pipe.cork();
    this.#pipe.write(
      frameHeader(
        kind,
        id,
        parts.reduce((sum, part) => sum + part.length, 0),
      ),
    );
    for (const part of parts) this.#pipe.write(part);
    this.#pipe.uncork();
    // Not awaited: it ends at the latest when `answered` aborts below.
    void this.#limit(timeoutMs, late, answered.signal);
    try {
      const frame = await answer;
      if (frame.kind === FrameKind.Failed) throw new ScorerError('model', Buffer.from(frame.payload).toString());
      return frame;
    } finally {
      answered.abort();
    }
  }

  async #limit(timeoutMs: number, late: 'deadline' | 'load-timeout', answered: AbortSignal): Promise<void> {
    await this.#clock.sleep(timeoutMs, answered);
    await arrivals();
    if (!answered.aborted) this.#die(new ScorerError(late, `no answer within ${Math.round(timeoutMs)} ms`));
  }

  /** Kills the child when `signal` aborts. */
  obey(signal: AbortSignal): void {
    const abort = (): void => this.#die(new ScorerError('closed', CLOSED));
    if (signal.aborted) abort();
    signal.addEventListener('abort', abort);
    void this.exited.then(() => signal.removeEventListener('abort', abort)); // Never rejects.
  }

  async kill(): Promise<void> {
    this.#die(new ScorerError('closed', CLOSED));
    await this.exited;
  }

  async close(): Promise<void> {
    this.#verdict ??= new ScorerError('closed', CLOSED);
    this.#pipe.end();
    const left = new AbortController();
    void this.#clock.sleep(CLOSE_TIMEOUT_MS, left.signal).then(() => this.child.kill('SIGKILL'));
    await this.exited;
    left.abort();
  }

  removeFolder(): void {
    try {
      rmSync(this.#folder, { recursive: true, force: true });
    } catch {
      // A system that does not let go of a folder in use: it is empty, and in the folder for temporary things.
    }
  }

  #receive(frame: Frame): void {
    const pending = this.#pending;
    if (pending === null || pending.id !== frame.id) return;
    this.#pending = null;
    pending.resolve(frame);
  }

  /** Kills the child; `verdict` is why it is gone. */
  #die(verdict: ScorerError): void {
    this.#verdict ??= verdict;
    this.child.kill('SIGKILL');
  }

  #end(what: string): ScorerError {
    this.#gone ??= this.#verdict ?? new ScorerError('crashed', what);
    this.#pipe.destroy();
    this.removeFolder();
    const pending = this.#pending;
    this.#pending = null;
    pending?.reject(this.#gone);
    return this.#gone;
  }
}

function spawnScorer(folder: string, memoryBytesMax: number): ChildProcess {
  const self = import.meta.url;
  const child = fileURLToPath(new URL(self.endsWith('.ts') ? './child.ts' : './child.js', self));
  const runtime = createRequire(self).resolve('onnxruntime-node');
  const args = [process.execPath, child, runtime];
  const [command = '', ...rest] = process.platform === 'win32' ? args : limited(args, memoryBytesMax);
  const options: SpawnOptions = {
    cwd: folder,
    // Nothing of ours, no secrets; and the runtime's telemetry, on by default since 1.29, off.
    env: { ORT_DISABLE_TELEMETRY: '1' },
    stdio: ['ignore', 'pipe', 'pipe', 'pipe'],
  };
  if (process.getuid?.() !== 0 || !args.every(readableByAll)) return spawn(command, rest, options);
  try {
    return spawn(command, rest, { ...options, uid: NOBODY, gid: NOBODY });
  } catch {
    return spawn(command, rest, options); // Root without the right to become another user, as in a container stripped of it.
  }
}

/** The command under limits that only a shell can set on itself. */
function limited(args: readonly string[], memoryBytesMax: number): string[] {
  const limits = [
    `ulimit -d ${Math.ceil(memoryBytesMax / 1024)}`,
    // Addresses cost nothing, and Node reserves gigabytes of them; this limit is for systems that count only the heap's end as data.
    `ulimit -v ${Math.ceil((memoryBytesMax + RESERVED_BYTES) / 1024)}`,
    'ulimit -c 0',
    // The kernel, short of memory, takes the scorer before the service.
    'echo 1000 > /proc/self/oom_score_adj',
  ].map((command) => `{ ${command}; } 2>/dev/null`);
  // Where the system lets anybody make namespaces, the child has a network of its own, with nobody in it.
  const alone = existsSync(UNSHARE) ? `if ${UNSHARE} -Un true 2>/dev/null; then set -- ${UNSHARE} -Un "$@"; fi` : 'true';
  // Where setpriv exists, the child dies with the service even in the middle of an endless run.
  const mortal = existsSync(SETPRIV) ? `set -- ${SETPRIV} --pdeathsig KILL --no-new-privs "$@"` : 'true';
  return ['/bin/sh', '-c', [...limits, mortal, alone, 'exec "$@"'].join('; '), 'sh', ...args];
}

/** Whether a user without any rights of their own can get to the file and read it. */
function readableByAll(file: string): boolean {
  try {
    accessSync(file, constants.R_OK);
    if ((statSync(file).mode & 0o004) === 0) return false;
    for (let folder = dirname(file); ; folder = dirname(folder)) {
      if ((statSync(folder).mode & 0o001) === 0) return false;
      if (folder === dirname(folder)) return true;
    }
  } catch {
    return false;
  }
}
