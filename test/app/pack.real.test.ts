/**
 * The package as users get it: packed, installed into a folder that is no clone, started by its bin and imported with its types. The
 * dependencies come through npm, from its cache where they are there.
 */
import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { NODE_FLAGS } from '../../app/node-flags.ts';

const root = resolve(import.meta.dirname, '../..');
let folder: string;
let home: string;

interface Ran {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a program away from the clone; a failing one is an answer too. */
function run(cwd: string, program: string, ...args: readonly string[]): Promise<Ran> {
  // The runtime of the models has what we need in its package; the rest of its install would be drivers of graphics cards.
  const env = { ...process.env, ONNXRUNTIME_NODE_INSTALL: 'skip', npm_config_update_notifier: 'false', npm_config_loglevel: 'error' };
  return new Promise((done) => {
    execFile(program, args, { cwd, env, maxBuffer: 1 << 24 }, (error, stdout, stderr) => {
      const code = error === null ? 0 : typeof error.code === 'number' ? error.code : 1;
      done({ code, stdout, stderr });
    });
  });
}

const tidegate = (...args: readonly string[]) => run(home, 'npx', '--no-install', 'tidegate', ...args);

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'tidegate-pack-'));
  home = join(folder, 'home');
  await mkdir(home);
  const packed = await run(root, 'npm', 'pack', '--pack-destination', folder);
  const tarball = (await readdir(folder)).find((name) => name.endsWith('.tgz'));
  if (tarball === undefined) throw new Error(`npm pack: ${packed.stderr}${packed.stdout}`);
  await writeFile(join(home, 'package.json'), JSON.stringify({ name: 'home', private: true, type: 'module' }));
  const installed = await run(home, 'npm', 'install', '--prefer-offline', '--no-audit', '--no-fund', join(folder, tarball));
  if (installed.code !== 0) throw new Error(`npm install: ${installed.stderr}`);
}, 300_000);

afterAll(async () => {
  await rm(folder, { recursive: true, force: true });
});

test('the bin starts outside the clone, and knows its version', async () => {
  const [version, json, help] = await Promise.all([tidegate('--version'), tidegate('version', '--json'), tidegate('init', '--help')]);
  const { version: expected } = (await import('../../package.json', { with: { type: 'json' } })).default;
  expect(version).toEqual({ code: 0, stdout: `tidegate ${expected}\n`, stderr: '' });
  expect(JSON.parse(json.stdout)).toEqual({ version: expected, node: process.version });
  expect(help.stdout).toMatch(/^tidegate init \[options\]/);
  expect(await tidegate('check', 'nowhere.yaml')).toMatchObject({ code: 2 });
});

test('its command starts Node as a service wants it', async () => {
  const main = await readFile(join(home, 'node_modules', 'tidegate', 'dist/app/cli/main.js'), 'utf8');
  expect(main.split('\n')[0]).toBe(`#!/usr/bin/env -S node ${NODE_FLAGS.join(' ')}`);
});

test('what it needs at run time is in the package: built files, page and schemas, and nothing of the tests', async () => {
  const at = join(home, 'node_modules', 'tidegate');
  const files = (await readdir(at, { recursive: true })).map(String);
  const wanted = ['dist/app/cli/main.js', 'dist/app/web/index.html', 'dist/app/web/style.css', 'dist/inference/scorer/child.js'];
  expect(wanted.filter((name) => !files.includes(name))).toEqual([]);
  expect(files.filter((name) => name.startsWith('schema/'))).toEqual(
    expect.arrayContaining(['schema/dataset-rules.v1.schema.json', 'schema/tidegate.v1.schema.json']),
  );
  expect(files.filter((name) => /(^|\/)(test|examples|bench)\//.test(name) || /(?<!\.d)\.ts$/.test(name))).toEqual([]);
});

test('a file is judged by what the build has put together: by its workers, and what is wrong with it is told as everything is', async () => {
  const rules =
    'apiVersion: quality/v1\nkind: DatasetRules\ndataset: a.b.c\ncolumns:\n  id: [not_null]\n  small: [{ between: { min: 1e6 } }]\n';
  await writeFile(join(home, 'rules.yaml'), rules);
  await writeFile(join(home, 'bad.yaml'), rules.replace('not_null', 'no_null'));
  const path = join(root, 'test/quality/parquet/types.parquet');
  const judge = (name: string, input: string) => tidegate('judge', '--rules', name, '--input', input, '--json');
  const [judged, unusable, gone] = await Promise.all([
    judge('rules.yaml', path),
    judge('bad.yaml', path),
    judge('rules.yaml', 'gone.parquet'),
  ]);
  expect(judged).toMatchObject({ code: 1, stderr: '' });
  const [known, small] = (JSON.parse(judged.stdout) as { rules: { success: boolean; element_count: number; unexpected_count: number }[] })
    .rules;
  expect(known).toMatchObject({ success: true, element_count: 30 });
  expect(small).toMatchObject({ success: false });
  expect(unusable.code).toBe(2);
  expect(unusable.stdout).toContain('bad.yaml');
  expect(gone.code).toBe(2);
  expect(gone.stdout).toContain('"code": "USAGE"');
  expect(await readFile(join(home, 'node_modules/tidegate/dist/app/judge/LICENSES.txt'), 'utf8')).toContain('Permission is hereby granted');
});

test('the installed service starts: page and health answer, and a model is judged in a process of its own', async () => {
  // No server is needed to see that every file is found: the pipelines back off, and the page says so.
  const script = `
    import { loadConfig, parseConfig, Service } from 'tidegate';
    const url = 'postgres://nobody@127.0.0.1:1/none';
    const text = JSON.stringify({ version: 1, state: './state.db', sources: { shop: { kind: 'postgres', url, slot: 's', publication: 'p', tables: ['public.t'] } },
      targets: { lake: { kind: 'postgres', url, schema: 'lake' } }, pipelines: { main: { source: 'shop', target: 'lake' } }, http: { port: 0 } });
    const result = parseConfig(text, process.cwd() + '/tidegate.yaml', {});
    await using service = await Service.start(result.loaded);
    const form = new FormData();
    form.set('mapping', '{"input":"x","features":[{"column":"a"}],"output":{"tensor":"y"}}');
    form.set('model', new Blob(['no model']), 'm.onnx');
    const answers = [];
    for (const [path, init] of [['/', {}], ['/healthz', {}], ['/readyz', {}], ['/api/models/m/versions', { method: 'POST', body: form }]])
      answers.push((await fetch(service.url + path, init)).status);
    console.log(JSON.stringify(answers));
  `;
  await writeFile(join(home, 'start.js'), script);
  const ran = await run(home, process.execPath, 'start.js');
  expect(ran).toMatchObject({ code: 0, stdout: '[200,200,503,422]\n' });
});

test('its types resolve from a strict project', async () => {
  await mkdir(join(home, 'node_modules/@types'), { recursive: true });
  for (const name of ['node_modules/@types/node', 'node_modules/undici-types']) {
    await rm(join(home, name), { recursive: true, force: true }); // One of the dependencies may bring another version.
    await symlink(join(root, name), join(home, name), 'dir');
  }
  const source = `
    import { loadConfig, Service, type ChangeEvent, type Sink, type Stage } from 'tidegate';
    const result = loadConfig('tidegate.yaml');
    export const start = result.kind === 'loaded' ? () => Service.start(result.loaded) : null;
    export const names: readonly string[] = result.kind === 'loaded' ? Object.values(result.loaded.config.sources).map((source) => source.kind === 'postgres' ? source.slot : source.group) : [];
    export const stage: Stage = { name: 'quality', run: async (batch) => void batch.events.map((event: ChangeEvent) => event.key) };
    // @ts-expect-error A sink does more than have a name: the types are there, and are no any.
    export const sink: Sink = { name: 'half' };
  `;
  await writeFile(join(home, 'uses.ts'), source);
  const options = {
    strict: true,
    noEmit: true,
    module: 'nodenext',
    target: 'es2024',
    lib: ['es2024', 'esnext.disposable', 'dom'],
    types: ['node'],
  };
  await writeFile(join(home, 'tsconfig.json'), JSON.stringify({ compilerOptions: options, files: ['uses.ts'] }));
  expect(await run(home, join(root, 'node_modules/.bin/tsc'), '-p', '.')).toEqual({ code: 0, stdout: '', stderr: '' });
});
