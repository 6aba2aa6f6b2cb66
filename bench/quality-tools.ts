/**
 * Twelve row checks over a million rows of ten columns: `tidegate judge` on CSV, NDJSON and Parquet files beside Great Expectations, pandera and
 * pointblank on polars, each in a process of its own that starts, reads the same file and checks it. What the others take for their checks alone, in
 * memory, is theirs; ours reads while it checks. Without Python the others are left out, and Parquet with them: a file of it is written by polars.
 */
import { spawn, spawnSync } from 'node:child_process';
import { createWriteStream, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { fileURLToPath } from 'node:url';
import { NODE_FLAGS } from '../app/node-flags.ts';

const root = fileURLToPath(new URL('..', import.meta.url));
const SCRIPT = join(root, 'bench', 'quality-tools.py');
/** Of its own, and nothing of the project: deleted, it is made again. */
const VENV = join(root, 'node_modules', '.cache', 'tidegate-bench', 'venv');
const PACKAGES = ['great_expectations', 'pandera', 'pointblank', 'polars', 'pyarrow'];
const TOOLS = ['great_expectations', 'pandera', 'pointblank'] as const;
const KINDS = ['csv', 'ndjson', 'parquet'] as const;

const RULES = `apiVersion: quality/v1
kind: DatasetRules
dataset: shop.public.orders
columns:
  id: [not_null, { between: { min: 1 } }]
  customer_id: [not_null, { between: { min: 1 } }]
  status: [{ in_set: [new, paid, shipped, cancelled] }]
  currency: [{ match_regex: '^[A-Z]{3}$' }]
  email: [{ match_regex: '^[^@ ]+@[^@ ]+$' }, { length: { max: 100 } }]
  items: [{ between: { min: 1, max: 100 } }]
  total: [{ between: { min: 0, max: 1000000 } }]
  note: [{ length: { min: 1, max: 200 } }, not_null]
`;

export interface ToolRun {
  readonly tool: string;
  readonly file: string;
  readonly rowsPerSecond: number;
  readonly seconds: number;
  /** All cores together. */
  readonly cpuSeconds: number;
  readonly peakMiB: number;
  /** Of the others: their checks alone, of what is in memory already. */
  readonly checkSeconds: number | null;
  readonly failing: number;
}

export interface ToolsReport {
  readonly rows: number;
  readonly checks: 12;
  readonly runs: readonly ToolRun[];
  readonly leftOut: readonly string[];
}

export async function benchTools(rows: number, say: (text: string) => void): Promise<ToolsReport> {
  const folder = await mkdtemp(join(tmpdir(), 'tidegate-bench-'));
  try {
    const leftOut: string[] = [];
    const python = pythonWithTools(say, leftOut);
    await writeFiles(folder, rows);
    writeFileSync(join(folder, 'rules.yaml'), RULES);
    if (python !== null) await measured(python, [SCRIPT, 'parquet', join(folder, 'orders.csv')]);
    const runs: ToolRun[] = [];
    for (const kind of KINDS) {
      const path = join(folder, `orders.${kind}`);
      if (!existsSync(path)) continue;
      for (const tool of ['tidegate judge', ...(python === null ? [] : TOOLS)]) {
        say(`${tool}, ${kind}`);
        const run = tool === 'tidegate judge' ? await ours(folder, path) : await theirs(python ?? '', tool, path);
        if (run === null) leftOut.push(`${tool} on ${kind}: it ended with an error`);
        else runs.push({ ...run, tool, file: kind, rowsPerSecond: Math.round(rows / run.seconds) });
      }
    }
    const found = new Set(runs.map(({ failing }) => failing));
    if (found.size > 1) throw new Error(`the tools do not find the same cells: ${JSON.stringify(runs)}`);
    return { rows, checks: 12, runs, leftOut };
  } finally {
    await rm(folder, { recursive: true });
  }
}

type Run = Omit<ToolRun, 'tool' | 'file' | 'rowsPerSecond'>;

async function ours(folder: string, path: string): Promise<Run | null> {
  const built = join(root, 'dist', 'app', 'cli', 'main.js');
  const command = existsSync(built) ? built : join(root, 'app', 'cli', 'main.ts');
  const args = [...NODE_FLAGS, command, 'judge', '--rules', join(folder, 'rules.yaml'), '--input', path, '--json'];
  const { stdout, ...run } = await measured(process.execPath, args);
  const { rules } = JSON.parse(stdout) as { readonly rules: readonly { readonly unexpected_count: number }[] };
  return { ...run, checkSeconds: null, failing: rules.reduce((sum, rule) => sum + rule.unexpected_count, 0) };
}

async function theirs(python: string, tool: string, path: string): Promise<Run | null> {
  const { stdout, ...run } = await measured(python, [SCRIPT, tool, path]);
  const line = stdout.trim().split('\n').at(-1) ?? '';
  if (!line.startsWith('{')) return null;
  const { failing, checkSeconds } = JSON.parse(line) as { readonly failing: number; readonly checkSeconds: number };
  return { ...run, failing, checkSeconds };
}

const TICKS_PER_SECOND = 100; // USER_HZ, fixed at 100 on Linux for user space.

async function measured(command: string, args: readonly string[]) {
  const started = performance.now();
  const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'ignore'] });
  let [stdout, peakMiB, cpuSeconds] = ['', 0, 0];
  child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text));
  const watch = setInterval(() => {
    const [status, stat] = [procFile(child.pid, 'status'), procFile(child.pid, 'stat')];
    peakMiB = Math.max(peakMiB, Math.round(Number(/VmHWM:\s+(\d+) kB/.exec(status)?.[1] ?? 0) / 1024));
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    if (fields.length > 13) cpuSeconds = Math.max(cpuSeconds, (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND);
  }, 20);
  await new Promise((resolve, reject) => child.once('close', resolve).once('error', reject));
  clearInterval(watch);
  return { stdout, peakMiB, cpuSeconds, seconds: Number(((performance.now() - started) / 1000).toFixed(2)) };
}

function procFile(pid: number | undefined, name: string): string {
  try {
    return readFileSync(`/proc/${pid}/${name}`, 'utf8');
  } catch {
    return ''; // It has ended, or there is no /proc.
  }
}

/** A Python that has the tools, in a folder of its own; null, and said why, where there is none. */
function pythonWithTools(say: (text: string) => void, leftOut: string[]): string | null {
  const python = join(VENV, 'bin', 'python');
  const done = join(VENV, 'installed');
  if (existsSync(done)) return python;
  say(`installing ${PACKAGES.join(', ')} into ${VENV}`);
  mkdirSync(VENV, { recursive: true });
  const steps = [
    ['python3', '-m', 'venv', VENV],
    [python, '-m', 'pip', 'install', '--quiet', ...PACKAGES],
  ] as const;
  for (const [command, ...args] of steps) {
    const { status, error } = spawnSync(command, args, { stdio: ['ignore', 'ignore', 'inherit'] });
    if (status === 0) continue;
    const why = error === undefined ? `${command} ${args.slice(0, 3).join(' ')} failed` : `there is no ${command}`;
    leftOut.push(`Great Expectations, pandera, pointblank and Parquet: ${why}`);
    return null;
  }
  writeFileSync(done, '');
  return python;
}

/** The orders of the other benchmark: one in a hundred is bad in one of its cells. */
async function writeFiles(folder: string, rows: number): Promise<void> {
  const header = 'id,customer_id,status,currency,email,items,net,tax,total,note\n';
  const write = (name: string, head: string, line: (n: number) => string) =>
    pipeline(Readable.from(chunks(head, rows, line)), createWriteStream(join(folder, name)));
  await write('orders.csv', header, (n) => `${Object.values(order(n)).join(',')},"${NOTE}"\n`);
  await write('orders.ndjson', '', (n) => {
    const { status, currency, email, ...numbers } = order(n);
    const written = Object.entries(numbers).map(([name, value]) => `"${name}":${value}`);
    return `{${written.join(',')},"status":"${status}","currency":"${currency}","email":"${email}","note":"${NOTE}"}\n`;
  });
}

const NOTE = 'leave it at the door, please, and ring twice';

function* chunks(head: string, rows: number, line: (n: number) => string): Generator<string> {
  let text = head;
  for (let n = 1; n <= rows; n++) {
    text += line(n);
    if (n % 10_000 !== 0 && n !== rows) continue;
    yield text;
    text = '';
  }
}

function order(n: number) {
  const bad = n % 100 === 0 ? Math.floor(n / 100) % 4 : -1;
  const [net, tax, cents] = [(n % 9000) + 1, n % 19, String(n % 100).padStart(2, '0')];
  return {
    id: n,
    customer_id: n * 7,
    status: bad === 0 ? 'lost' : (['new', 'paid', 'shipped'][n % 3] ?? 'new'),
    currency: bad === 1 ? 'eur' : 'EUR',
    email: bad === 2 ? `user${n}` : `user${n}@mail.example.org`,
    items: (n % 50) + 1,
    net: `${net}.${cents}`,
    tax: `${tax}.${cents}`,
    total: ((net * 100 + tax * 100 + 2 * (n % 100)) / 100).toFixed(2),
  };
}

export function toolsText({ rows, runs, leftOut }: ToolsReport): string {
  const lines = runs.map(
    ({ tool, file, seconds, cpuSeconds, rowsPerSecond, peakMiB, checkSeconds }) =>
      `  ${file.padEnd(8)} ${tool.padEnd(20)} ${seconds.toFixed(2).padStart(6)} s  ${(rowsPerSecond / 1e6).toFixed(2)} M rows/s  ${cpuSeconds.toFixed(1).padStart(5)} CPU s  ${String(peakMiB).padStart(5)} MiB${checkSeconds === null ? '' : `  (checks alone ${checkSeconds.toFixed(2)} s)`}`,
  );
  const out = leftOut.map((text) => `left out: ${text}`);
  return `${[`twelve checks over a file of ${rows} rows of ten columns, from the start of the process to its end`, ...lines, ...out].join('\n')}\n`;
}
