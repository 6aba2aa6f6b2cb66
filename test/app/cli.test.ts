/** The command line: what it explains, what it refuses, how it exits. What needs databases is in service.real.test.ts. */
import { execFile } from 'node:child_process';
import { existsSync, readdirSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { loadCommands } from '../../app/cli/cli.ts';
import { linearModel, plainMapping } from '../inference/models.ts';
import { eventually } from '../support/eventually.ts';
import { cli, stoppedCli } from './cli.ts';
import { configFolder, NOWHERE, startService, type TestConfig } from './services.ts';

const COMMANDS = await loadCommands();
const rules = 'apiVersion: quality/v1\nkind: DatasetRules\ndataset: shop.public.orders\nversion: 1\ncolumns: {id: [not_null]}\n';
let config: TestConfig;
beforeAll(() => {
  config = configFolder({}, { 'orders.rules.yaml': rules, 'broken.yaml': 'version: 2\n' });
});
afterAll(() => config[Symbol.dispose]());

describe('what it explains', () => {
  test('without a command and by help it lists every command; --version says the version', async () => {
    const help = await cli('help');
    for (const { name } of COMMANDS) expect(help.stdout).toContain(`  ${name}`);
    expect([help.code, (await cli()).code, (await cli('--help')).stdout]).toEqual([0, 2, help.stdout]);
    expect(await cli('--version')).toMatchObject({ code: 0, stdout: expect.stringMatching(/^tidegate \d+\.\d+\.\d+\n$/) as unknown });
  });

  test.each(COMMANDS.map(({ name }) => name))('%s --help names its options and does nothing', async (name) => {
    const command = COMMANDS.find((one) => one.name === name);
    const { code, stdout, stderr } = await cli(...name.split(' '), '--help');
    expect([code, stderr, stdout.split('\n')[0]]).toEqual([
      0,
      '',
      `tidegate ${[name, ...(command?.positionals ?? [])].join(' ')} [options]`,
    ]);
    for (const flag of [...Object.keys(command?.flags ?? {}), 'json', 'help']) expect(stdout).toMatch(new RegExp(`^ +--${flag}\\b`, 'm'));
    expect(stdout).toContain(command?.summary ?? '');
    expect((await cli(...name.split(' '), '-h')).stdout).toBe(stdout);
    expect((await cli('help', ...name.split(' '))).stdout).toBe(stdout);
  });
});

describe('what it refuses, with exit code 2 and how to say it right', () => {
  test.each<[readonly string[], RegExp]>([
    [['chekc', 'x'], /there is no command chekc\n +Did you mean tidegate check\?/],
    [['pause', 'x'], /there is no command pause\n +Did you mean tidegate halt\?/],
    [['constructor'], /there is no command constructor\n +See tidegate help\./],
    [['frobnicate'], /there is no command frobnicate\n +See tidegate help\./],
    [['quarantine'], /tidegate quarantine needs one more word\n +Write quarantine list, /],
    [['quarantine', 'lst'], /there is no tidegate quarantine lst\n +Did you mean tidegate quarantine list\?/],
    [['check'], /tidegate check needs CONFIG\n +Write tidegate check CONFIG/],
    [['check', 'a', 'b'], /takes CONFIG and was given more/],
    [['version', 'a'], /takes nothing and was given more/],
    [['check', 'a', '--offlien'], /tidegate check knows no --offlien\n +Did you mean --offline\?/],
    [['check', 'a', '--zzz'], /knows no --zzz\n +Try tidegate check --help\./],
    [['check', 'a', '-x'], /knows no --x/],
    [['check', 'a', '--offline=yes'], /--offline takes no value/],
    [['quarantine', 'list', 'a', '--rule'], /--rule needs a value\n +Write --rule ID\./],
    [['init'], /--source is missing/],
    [['init', '--source', 'mysql://a', '--target', 'postgres://b/c'], /--source is no postgres url/],
  ])('%j', async (args, message) => {
    const { code, stdout, stderr } = await cli(...args);
    expect([code, stdout, stderr]).toEqual([2, '', expect.stringMatching(message)]);
    const asJson = await cli(...args, '--json');
    expect([asJson.code, asJson.stderr, asJson.json]).toMatchObject([2, '', { ok: false, error: { code: 'USAGE' } }]);
  });

  test.each<[readonly string[], RegExp]>([
    [['quarantine', 'list', '--limit', 'x'], /--limit is no number/],
    [['quarantine', 'list', '--since', 'yesterday'], /--since yesterday is no time/],
    [['quarantine', 'release', '--pipeline', 'zzz'], /there is no pipeline zzz\n +Name one of main\./],
    [['quarantine', 'list', '--status', 'lost'], /there is no status lost\n +Use held, waiting/],
    [['quarantine', 'release'], /nothing is chosen\n +Name ids, a filter/],
    [['quarantine', 'release', 'id', '--rule', 'x'], /both ids and a filter are given/],
    [['quarantine', 'discard', '--all'], /--why is missing/],
    [['models', 'register', 'm', 'nowhere.onnx', '--mapping', 'nowhere.json'], /nowhere\.onnx cannot be read \(ENOENT\)/],
    [['models', 'register', 'm', 'nowhere.onnx'], /--mapping is missing/],
    [['models', 'register', 'My Model@1', 'nowhere.onnx'], /"My Model@1" is no name of a model\n +Use lower-case letters/],
    [['teardown'], /nothing was dropped\n +Answer yes, or give --yes/],
    [['teardown', '--pipeline', 'other'], /there is no pipeline other\n +Name one of main/],
    [['halt', 'other'], /there is no pipeline other\n +Name one of main/],
    [['resume', 'other'], /there is no pipeline other\n +Name one of main/],
    [['snapshot', 'stop'], /a snapshot has no stop\n +Use pause, resume, status\./],
    [['snapshot', 'pause', 'other'], /there is no pipeline other\n +Name one of main/],
    [['snapshot', 'pause'], /no running service was reached: [^]*\n +Start it/],
    [['resnapshot', 'other', 'd'], /there is no pipeline other\n +Name one of main/],
    [['resnapshot', 'main', 'd', '--where', 'x', '--keys', '1'], /both --where and --keys are given/],
    [['resnapshot', 'main', 'd', '--keys', '[1'], /--keys \[1 is no key\n +Write --keys 17/],
    [['resnapshot', 'main', 'd', '--keys', '[1]'], /--keys \[1\] is no key\n +Write --keys 17/],
  ])('%j of a config', async (args, message) => {
    const words = COMMANDS.find(({ name }) => args.slice(0, 2).join(' ') === name) === undefined ? 1 : 2;
    const { code, stderr } = await cli(...args.slice(0, words), config.file, ...args.slice(words));
    expect([code, stderr]).toEqual([2, expect.stringMatching(message)]);
  });

  const withConfig = COMMANDS.filter(({ positionals }) => positionals[0] === 'CONFIG').map(
    ({ name, positionals }) => [name, positionals.length] as const,
  );
  test.each(withConfig)('%s of a broken config tells every problem of it', async (name, count) => {
    const rest = Array.from({ length: count - 1 }, () => 'x');
    const args = [...name.split(' '), join(config.folder, 'broken.yaml'), ...rest];
    const words = await cli(...args);
    expect([words.code, words.stdout + words.stderr]).toEqual([
      2,
      expect.stringMatching(/✗ broken\.yaml:1: version: must be 1[^]*sources: is missing[^]*\n\d errors\n$/) as unknown,
    ]);
    const { code, json } = await cli(...args, '--json');
    expect(code).toBe(2);
    expect((json as { problems: { path: string }[] }).problems.map(({ path }) => path)).toEqual(
      expect.arrayContaining(['broken.yaml:1: version', 'broken.yaml:1: sources', 'broken.yaml:1: targets', 'broken.yaml:1: pipelines']),
    );
  });
});

describe('what it does', () => {
  test('check looks at the files alone with --offline: 0 where they are right, 2 where a rule file is wrong', async () => {
    expect(await cli('check', config.file, '--offline', '--json')).toMatchObject({
      code: 0,
      json: { ok: true, problems: [{ severity: 'warning' }] },
    });
    expect((await cli('check', config.file, '--offline')).stdout).toMatch(/It can run\.\n$/);
    using wrong = configFolder({}, { 'orders.rules.yaml': rules.replace('not_null', 'not_nul') });
    expect(await cli('check', wrong.file, '--json')).toMatchObject({ code: 2, json: { ok: false } });
  });

  test('check says 1 where a server is away, and of each what to do', async () => {
    const { code, json } = await cli('check', config.file, '--json');
    const problems = (json as { problems: { severity: string; path: string; fix: string }[] }).problems.filter(
      ({ severity }) => severity === 'error',
    );
    expect([code, problems.length]).toEqual([1, 2]);
    expect(problems.map(({ path, fix }) => `${path} ${fix}`)).toEqual([
      expect.stringMatching(/^tidegate\.yaml:1: sources\.shop.* is up and reachable/),
      expect.stringMatching(/^tidegate\.yaml:1: targets\.lake.* is up and reachable/),
    ]);
  });

  test('run with a wrong rule file starts nothing', async () => {
    using wrong = configFolder({}, { 'orders.rules.yaml': rules.replace('not_null', 'not_nul') });
    const { code, stderr } = await cli('run', wrong.file);
    expect([code, stderr]).toEqual([2, expect.stringMatching(/^✗ .*orders\.rules\.yaml[^]*not_null/) as unknown]);
    expect(readdirSync(wrong.folder).sort()).toEqual(['orders.rules.yaml', 'tidegate.yaml']);
  });

  test('where a server is away, commands that need it fail with 1, its code and a fix, and no password', async () => {
    for (const args of [['lanes'], ['quarantine', 'list'], ['teardown', '--yes']]) {
      const words = args.filter((word) => !word.startsWith('-'));
      const flags = args.filter((word) => word.startsWith('-'));
      const { code, json, stdout } = await cli(...words, config.file, ...flags, '--json');
      expect([args, code, json]).toMatchObject([
        args,
        1,
        { ok: false, error: { code: expect.stringMatching(/_UNREACHABLE$/) as unknown } },
      ]);
      expect(stdout).not.toContain('hunter1');
    }
  });

  test('status says that nothing runs, and what runs', async () => {
    expect(await cli('status', config.file, '--json')).toMatchObject({ code: 1, json: { running: false } });
    await using running = await startService(config);
    using known = configFolder({ http: { port: Number(new URL(running.url).port) } });
    const { code, json } = await cli('status', known.file, '--json');
    expect([code, json]).toMatchObject([1, { running: true, ready: false, pipelines: [{ name: 'main' }] }]);
    expect((await cli('status', known.file)).stdout).toMatch(/^PIPELINE +STATE +LAG +HELD +LOG KEPT\nmain /);
  });

  test('a pipeline is halted and resumed: by the service where it runs, for its next start where it does not', async () => {
    expect(await cli('halt', config.file, 'main', '--why', 'the night', '--json')).toMatchObject({
      code: 0,
      json: { pipeline: 'main', halted: true, running: false },
    });
    expect((await cli('halt', config.file, '--why', 'the night')).stdout).toMatch(/^main is halted\.\nNo running service was reached/);
    await using running = await startService(config);
    const state = () => running.service.status().then(({ pipelines }) => pipelines.map((one) => [one.state, one.error?.message]));
    expect(await state()).toEqual([['halted', expect.stringMatching(/^halted by .+: the night$/) as unknown]]);
    using known = configFolder({ http: { port: Number(new URL(running.url).port) } });
    expect(await cli('resume', known.file, '--json')).toMatchObject({ code: 0, json: { pipeline: 'main', resumed: true, running: true } });
    await eventually(async () => (await state())[0]?.[0] === 'backing-off', 'it tries again');
    expect(await cli('halt', known.file, '--why', 'the day')).toMatchObject({ code: 0, stdout: 'main is halted.\n' });
    expect(await state()).toEqual([['halted', 'halted by local: the day']]);
    await running[Symbol.asyncDispose]();
    expect((await cli('resume', config.file)).stdout).toMatch(/^main goes on\.\nNo running service was reached/);
    await using again = await startService(config);
    expect((await again.service.status()).pipelines.map((one) => one.state)).not.toContain('halted');
  });

  test('a snapshot is paused and resumed; rows are not read again while the source is away', async () => {
    await using running = await startService(config);
    using known = configFolder({ http: { port: Number(new URL(running.url).port) } });
    const waits = async () => ((await cli('snapshot', known.file, 'status', '--json')).json as { waits: string | null }).waits;
    expect(await waits()).toBe(null);
    expect(await cli('snapshot', known.file, 'pause', '--json')).toMatchObject({ code: 0, json: { pipeline: 'main', paused: true } });
    expect(await waits()).toBe('paused');
    expect((await cli('snapshot', known.file, 'resume', 'main')).stdout).toBe('The snapshot of main goes on.\n');
    expect(await waits()).toBe(null);
    expect(await cli('resnapshot', known.file, 'main', 'shop.public.orders', '--json')).toMatchObject({
      code: 1,
      json: { ok: false, error: { code: 'SOURCE_UNREACHABLE' } },
    });
  });

  test('which of several pipelines is meant has to be said', async () => {
    const shop = { kind: 'postgres', url: NOWHERE, tables: ['public.orders'] };
    using two = configFolder({
      sources: { a: { ...shop, slot: 's1', publication: 'p' }, b: { ...shop, slot: 's2', publication: 'p' } },
      targets: { lake: { kind: 'postgres', url: NOWHERE, schema: 'a' }, pond: { kind: 'postgres', url: NOWHERE, schema: 'b' } },
      pipelines: { one: { source: 'a', target: 'lake' }, other: { source: 'b', target: 'pond' } },
    });
    for (const command of ['halt', 'resume']) {
      expect((await cli(command, two.file)).stderr).toMatch(/which pipeline is not said\n +Name one of one, other\./);
      expect((await cli(command, two.file, 'other')).code).toBe(0);
    }
  });

  test('a model is registered in the state file where nothing runs, through the service where it does', async () => {
    const model = join(config.folder, 'm.onnx');
    const mapping = join(config.folder, 'm.json');
    writeFileSync(model, linearModel([1, 2]));
    writeFileSync(mapping, JSON.stringify(plainMapping));
    const register = (file: string, ...rest: readonly string[]) =>
      cli('models', 'register', file, 'm', model, '--mapping', mapping, '--json', ...rest);
    expect(await register(config.file)).toMatchObject({ code: 0, json: { kind: 'registered', model: 'm', version: 1, created: true } });
    await using running = await startService(config);
    using known = configFolder({ http: { port: Number(new URL(running.url).port) }, state: join(config.folder, 'tidegate.db') });
    expect(await register(known.file)).toMatchObject({ code: 0, json: { version: 1, created: false } });
    writeFileSync(model, 'no model');
    expect(await register(known.file)).toMatchObject({ code: 1, json: { kind: 'rejected', findings: [{ rule: 'NOT_A_MODEL' }] } });
    expect(await cli('models', 'list', known.file, '--json')).toMatchObject({
      code: 0,
      json: { versions: [{ model: 'm', version: 1, aliases: ['production'] }] },
    });
    expect((await cli('models', 'list', known.file)).stdout).toMatch(/^MODEL +VERSION .*\nm +1 +production /);
    using small = configFolder({ http: { port: 0, modelBytes: '1KiB' } });
    writeFileSync(model, new Uint8Array(1025));
    expect(await register(small.file)).toMatchObject({ code: 1, json: { findings: [{ rule: 'TOO_LARGE' }] } });
  });

  test('the schemas are printed for editors', async () => {
    expect((await cli('schema', 'config')).json).toMatchObject({ title: 'Tidegate', properties: { version: { const: 1 } } });
    expect((await cli('schema', 'rules', '--json')).json).toHaveProperty('$schema');
    expect((await cli('schema', 'mapping')).json).toMatchObject({ title: 'Feature mapping', properties: { apiVersion: {} } });
  });

  test('init writes nothing where the source is away', async () => {
    const out = join(config.folder, 'new');
    const { code, stderr } = await cli(
      'init',
      '--source',
      'postgres://a:hunter1@127.0.0.1:1/x',
      '--target',
      'postgres://b/c',
      '--out',
      out,
    );
    expect([code, stderr, existsSync(out)]).toEqual([1, expect.stringMatching(/^✗ SOURCE_UNREACHABLE/), false]);
    expect(stderr).not.toContain('hunter1');
  });
});

test('a command that a signal stopped says so, with exit code 130', async () => {
  const { code, stderr } = await stoppedCli('judge', '--rules', 'examples/judge/orders.yaml', '--input', 'examples/judge/orders.csv');
  expect({ code, stderr }).toEqual({ code: 130, stderr: '✗ STOPPED: a signal stopped it before it was done\n' });
});

test('as a process: the exit code is the command’s, and SIGTERM ends run with 0', async () => {
  const main = resolve('app/cli/main.ts');
  const wrong = await new Promise((done) => execFile(process.execPath, [main, 'chekc'], (error) => done(error?.code)));
  expect(wrong).toBe(2);
  const stopped = await new Promise<{ code: number | null; stdout: string }>((done) => {
    const child = execFile(process.execPath, [main, 'run', config.file, '--json']);
    let stdout = '';
    child.stdout?.on('data', (chunk: string) => {
      stdout += chunk;
      if (stdout.endsWith('\n')) child.kill('SIGTERM');
    });
    child.once('close', (code) => done({ code, stdout }));
  });
  expect(stopped.code).toBe(0);
  expect(JSON.parse(stopped.stdout)).toMatchObject({ url: expect.stringMatching(/^http:\/\/127\.0\.0\.1:\d+$/) as unknown });
});
