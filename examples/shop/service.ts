/** The real service as a child process, and its API as far as the demo asks it. */
import { NODE_FLAGS } from '../../app/node-flags.ts';
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { ItemView, LaneView, Status } from '../../app/http/shapes.ts';

const ROOT = join(import.meta.dirname, '../..');
const MODEL = join(ROOT, 'examples/models/order-risk');
const MAIN = join(ROOT, 'app/cli/main.ts');
const run = promisify(execFile);

export class ShopService implements AsyncDisposable {
  readonly url: string;
  readonly #child: ChildProcess;
  readonly #log: string[];
  readonly #ended: Promise<void>;

  private constructor(url: string, child: ChildProcess, log: string[]) {
    this.url = url;
    this.#child = child;
    this.#log = log;
    this.#ended = new Promise((resolve) => child.once('exit', () => resolve()));
  }

  /** Starts `tidegate run <config>` and resolves when it answers on `port`. `main`: the command, as its source or built. */
  static async start(config: string, port: number, env: Readonly<Record<string, string>>, main = MAIN): Promise<ShopService> {
    const log: string[] = [];
    // A process group of its own: Ctrl-C reaches the demo alone, which then stops the service before the databases.
    const child = spawn(process.execPath, [...NODE_FLAGS, main, 'run', config], {
      cwd: ROOT,
      env: { ...process.env, ...env, TIDEGATE_PORT: String(port) },
      stdio: ['ignore', 'pipe', 'pipe'],
      detached: true,
    });
    const keep = (chunk: Buffer): void => {
      log.push(
        ...chunk
          .toString('utf8')
          .split('\n')
          .filter((line) => line !== ''),
      );
      if (log.length > 400) log.splice(0, 200);
    };
    child.stdout?.on('data', keep);
    child.stderr?.on('data', keep);
    const service = new ShopService(`http://127.0.0.1:${port}/`, child, log);
    await service.until('the service to start', 60_000, async () => (await fetch(new URL('healthz', service.url))).ok);
    return service;
  }

  /** Registers the order-risk model before the service runs, by the command line: so that the first row finds it. */
  static async registerModelAhead(config: string, env: Readonly<Record<string, string>>): Promise<void> {
    const mapping = join(MODEL, 'order-risk.mapping.json');
    const words = ['models', 'register', config, 'order-risk', join(MODEL, 'order-risk.onnx'), '--mapping', mapping];
    // Port 0: whoever listens at the usual port is another service.
    await run(process.execPath, [...NODE_FLAGS, MAIN, ...words], {
      cwd: ROOT,
      env: { ...process.env, ...env, TIDEGATE_PORT: '0' },
    });
  }

  /** The last lines that the service logged. */
  get log(): readonly string[] {
    return this.#log.slice(-20);
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  get running(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null;
  }

  async get<T>(path: string): Promise<T> {
    const answer = await fetch(new URL(path, this.url), { signal: AbortSignal.timeout(30_000) });
    if (!answer.ok) throw new Error(`GET ${path} answered ${answer.status}: ${await answer.text()}`);
    return (await answer.json()) as T;
  }

  /** Registers the order-risk model as anybody would: a multipart upload of the model and its feature mapping. */
  async registerModel(): Promise<void> {
    const form = new FormData();
    form.set('mapping', await readFile(join(MODEL, 'order-risk.mapping.json'), 'utf8'));
    form.set('model', new Blob([await readFile(join(MODEL, 'order-risk.onnx'))]), 'order-risk.onnx');
    const answer = await fetch(new URL('api/models/order-risk/versions', this.url), { method: 'POST', body: form });
    if (!answer.ok) throw new Error(`the model was not registered: ${answer.status} ${await answer.text()}`);
  }

  status(): Promise<Status> {
    return this.get('api/status');
  }

  async lanes(): Promise<readonly LaneView[]> {
    return (await this.get<{ lanes: readonly LaneView[] }>('api/lanes')).lanes;
  }

  /** Every open item of the quarantine. */
  async openItems(): Promise<readonly ItemView[]> {
    const items: ItemView[] = [];
    for (let after: string | null = null; ;) {
      const query = `api/quarantine?limit=500&status=held&status=waiting&status=released${after === null ? '' : `&after=${encodeURIComponent(after)}`}`;
      const page: { items: readonly ItemView[]; next: string | null } = await this.get(query);
      items.push(...page.items);
      if (page.next === null) return items;
      after = page.next;
    }
  }

  /** Polls until `check` holds. What it throws counts as not yet. Fails when the service ends or time is up. */
  async until(what: string, timeoutMs: number, check: () => Promise<boolean>, signal?: AbortSignal): Promise<void> {
    const deadlineMs = Date.now() + timeoutMs;
    let last: unknown = null;
    for (;;) {
      signal?.throwIfAborted();
      try {
        if (await check()) return;
        last = null;
      } catch (error) {
        last = error;
      }
      if (!this.running) throw new Error(`the service ended while waiting for ${what}:\n${this.log.join('\n')}`);
      if (Date.now() > deadlineMs) {
        throw new Error(`waited ${timeoutMs / 1000} s in vain for ${what}; the service's log ends with:\n${this.log.join('\n')}`, {
          cause: last,
        });
      }
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }

  /** Asks the service to finish what it has read and end; cuts it off where it does not. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.running) return;
    this.#child.kill('SIGTERM');
    const slow = setTimeout(() => this.kill(), 30_000);
    await this.#ended;
    clearTimeout(slow);
  }

  /** Ends the service and its children at once. */
  kill(): void {
    if (this.#child.pid === undefined || !this.running) return;
    try {
      process.kill(-this.#child.pid, 'SIGKILL');
    } catch {
      // Already gone.
    }
  }
}
