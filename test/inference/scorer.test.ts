/** The scorer child on the real runtime: what it may see, what happens when it is stuck or dies, and how requests are batched. */
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, readdirSync, readlinkSync, statSync } from 'node:fs';
import { homedir, tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import fc from '../support/fast-check.ts';
import { expect, test } from 'vitest';
import { type Clock, systemClock } from '../../core/clock.ts';
import { bytesOf, frameHeader, FrameReader, type Frame, FrameKind } from '../../inference/scorer/frames.ts';
import { ScorerError, ScorerProcess } from '../../inference/scorer/process.ts';
import { Scorer, type ServedModel } from '../../inference/scorer/supervisor.ts';
import { eventually } from '../support/eventually.ts';
import { endlessModel, externalModel, linearModel, modelOf } from './models.ts';

const input = { name: 'features', width: 2 };
const output = { name: 'score', index: 0 };
const served = (bytes: Uint8Array, rest: Partial<ServedModel> = {}): ServedModel => ({
  id: 'test@1',
  bytes,
  input,
  output,
  microsPerRow: 1,
  ...rest,
});
const reachableByAll = ancestors(import.meta.dirname).every((folder) => (statSync(folder).mode & 0o001) !== 0);
const onLinux = process.platform === 'linux';

function ancestors(folder: string): string[] {
  return folder === dirname(folder) ? [folder] : [folder, ...ancestors(dirname(folder))];
}

/** Whether a user without rights may have a network of their own here. */
function canUnshare(): boolean {
  const user = process.getuid?.() === 0 ? { uid: 65_534, gid: 65_534 } : {};
  return spawnSync('/usr/bin/unshare', ['-Un', 'true'], user).status === 0;
}

async function failureOf(promise: Promise<unknown>): Promise<string> {
  try {
    await promise;
    return 'none';
  } catch (error) {
    return error instanceof ScorerError ? error.failure : String(error);
  }
}

test('frames come out as they went in, however the pipe cuts them', () => {
  const payloads = fc.array(fc.uint8Array({ maxLength: 50 }), { maxLength: 8 });
  fc.assert(
    fc.property(payloads, fc.integer({ min: 1, max: 40 }), (sent, cut) => {
      const whole = Buffer.concat(sent.flatMap((payload, index) => [frameHeader(FrameKind.Run, index, payload.length), payload]));
      const received: Frame[] = [];
      const reader = new FrameReader((frame) => received.push(frame));
      for (let at = 0; at < whole.length; at += cut) reader.push(whole.subarray(at, at + cut));
      expect(received.map(({ id, payload }) => [id, ...payload])).toEqual(sent.map((payload, index) => [index, ...payload]));
    }),
  );
  expect(() => new FrameReader(() => {}).push(new Uint8Array(12).fill(255))).toThrow('a frame of');
});

test.runIf(onLinux)('the child sees nothing of ours: no environment, no folder, no other rights, no core files', async () => {
  const home = mkdtempSync(join(tmpdir(), 'tidegate-home-'));
  const before = { HOME: process.env['HOME'], told: existsSync(join(homedir(), '.cache/Microsoft')) };
  Object.assign(process.env, { HOME: home, TIDEGATE_TEST_SECRET: 'hush' });
  try {
    await using child = await ScorerProcess.start({ bytes: linearModel([1, 2]), input, output });
    expect([...(await child.run(new Float32Array([1, 2]), 2000))]).toEqual([5]);
    const proc = `/proc/${child.pid}`;
    expect(
      readFileSync(`${proc}/environ`, 'utf8')
        .split('\0')
        .filter((entry) => entry !== '' && !/^(PWD|OLDPWD|SHLVL|_)=/.test(entry)),
    ).toEqual(['ORT_DISABLE_TELEMETRY=1']);
    expect(readlinkSync(`${proc}/cwd`)).toMatch(/tidegate-scorer-\w+ \(deleted\)$/);
    expect(readFileSync(`${proc}/limits`, 'utf8')).toMatch(/Max core file size +0 +/);
    expect(readFileSync(`${proc}/limits`, 'utf8')).toMatch(/Max data size +3000000512 +/);
    expect(readFileSync(`${proc}/limits`, 'utf8')).toMatch(/Max address space +7000000512 +/);
    expect(readFileSync(`${proc}/oom_score_adj`, 'utf8').trim()).toBe('1000');
    // Of root it becomes nobody, unless a folder above keeps nobody from reading the program.
    const user = /^Uid:\t(\d+)\t/m.exec(readFileSync(`${proc}/status`, 'utf8'))?.[1];
    expect(process.getuid?.() === 0 && reachableByAll ? ['65534'] : [String(process.getuid?.()), '65534']).toContain(user);
    expect(readFileSync(`${proc}/status`, 'utf8')).toMatch(existsSync('/usr/bin/setpriv') ? /NoNewPrivs:\t1/ : /NoNewPrivs/);
    // A network of its own, with no interface that is up; unless this machine lets nobody have one.
    expect(readlinkSync(`${proc}/ns/net`) === readlinkSync('/proc/self/ns/net')).toBe(!canUnshare());
    // The runtime's telemetry would write to one of these.
    expect(readdirSync(home)).toEqual([]);
    expect(existsSync(join(before.HOME ?? home, '.cache/Microsoft'))).toBe(before.told);
  } finally {
    Object.assign(process.env, { HOME: before.HOME });
    delete process.env['TIDEGATE_TEST_SECRET'];
  }
});

test('a model that reads a file of the current folder finds none', async () => {
  // Admission refuses it; this is the second wall.
  expect(await failureOf(ScorerProcess.start({ bytes: externalModel('package.json'), input, output }))).toBe('model');
});

test.runIf(onLinux)(
  'a model may take some hundred megabytes; where it wants more than it may have, it or its child fails, and the service does not',
  async () => {
    // Floats that are made by the run, and summed up.
    const hungry = (floats: number) =>
      modelOf([
        { op: 'Constant', inputs: [], outputs: ['shape'], attributes: { value_ints: { kind: 'ints', value: [floats] } } },
        { op: 'ConstantOfShape', inputs: ['shape'], outputs: ['huge'] },
        { op: 'ReduceSum', inputs: ['huge'], outputs: ['sum'] },
        { op: 'Add', inputs: ['features', 'sum'], outputs: ['score'] },
      ]);
    const attempt = async (floats: number, memoryBytesMax?: number) => {
      await using child = await ScorerProcess.start(
        { bytes: hungry(floats), input, output },
        memoryBytesMax === undefined ? {} : { memoryBytesMax },
      );
      await child.run(new Float32Array(2), 20_000);
    };
    expect(await failureOf(attempt(40_000_000))).toBe('none');
    expect(['model', 'crashed']).toContain(await failureOf(attempt(40_000_000, 1_000_000_000)));
  },
);

test('an endless run is killed at its limit, and the next child goes on', async () => {
  await using scorer = new Scorer({ runLimitMs: 150 });
  const session = scorer.open(served(endlessModel()));
  expect([...(await session.score(new Float32Array([7, 0]), 1, 5000))]).toEqual([7]);
  const { pid } = session.status();
  expect(await failureOf(session.score(new Float32Array([7, 1]), 1, 5000))).toBe('deadline');
  expect([...(await session.score(new Float32Array([8, 0]), 1, 5000))]).toEqual([8]);
  expect(session.status()).toMatchObject({ state: 'ready', restarts: 1 });
  expect(session.status().pid).not.toBe(pid);
  expect(() => process.kill(pid ?? 0, 0)).toThrow('ESRCH');
});

test.runIf(onLinux && existsSync('/usr/bin/setpriv'))('a child in an endless run does not outlive a service that is killed', async () => {
  const script = `
    const { ScorerProcess } = await import(${JSON.stringify(new URL('../../inference/scorer/process.ts', import.meta.url).href)});
    const { endlessModel } = await import(${JSON.stringify(new URL('./models.ts', import.meta.url).href)});
    const child = await ScorerProcess.start({ bytes: endlessModel(), input: ${JSON.stringify(input)}, output: ${JSON.stringify(output)} });
    child.run(new Float32Array([1, 1]), 60_000);
    console.log(child.pid);`;
  const service = spawn(process.execPath, ['--input-type=module', '-e', script], { stdio: ['ignore', 'pipe', 'inherit'] });
  const [printed] = (await once(service.stdout, 'data')) as [Buffer];
  const pid = Number(printed.toString());
  service.kill('SIGKILL');
  await eventually(() => !existsSync(`/proc/${pid}`), 'the child is gone');
});

test('a request past its own deadline fails, and the child that was only slow is kept', async () => {
  await using scorer = new Scorer();
  const session = scorer.open(served(endlessModel()));
  await session.ready();
  const { pid } = session.status();
  process.kill(pid ?? 0, 'SIGSTOP');
  expect(await failureOf(session.score(new Float32Array([1, 0]), 1, 30))).toBe('deadline');
  process.kill(pid ?? 0, 'SIGCONT');
  expect([...(await session.score(new Float32Array([2, 0]), 1, 5000))]).toEqual([2]);
  expect(session.status()).toMatchObject({ pid, restarts: 0, lateResults: 1 });
});

test('a service that was busy past a deadline takes the scores that came meanwhile', async () => {
  await using scorer = new Scorer({ runLimitMs: 50 });
  const session = scorer.open(served(linearModel([1, 0])));
  await session.ready();
  const { pid } = session.status();
  const scores = session.score(new Float32Array([5, 0]), 1, 50);
  await new Promise((resolve) => setImmediate(resolve)); // It is on its way.
  for (const until = performance.now() + 300; performance.now() < until;);
  expect([...(await scores)]).toEqual([5]);
  expect([...(await session.score(new Float32Array([6, 0]), 1, 5000))]).toEqual([6]);
  expect(session.status()).toMatchObject({ pid, restarts: 0 });
});

test('a child that is killed fails its requests and is started again', async () => {
  await using scorer = new Scorer();
  const session = scorer.open(served(linearModel([1, 0])));
  await session.ready();
  const { pid } = session.status();
  process.kill(pid ?? 0, 'SIGSTOP');
  const lost = failureOf(session.score(new Float32Array([1, 0]), 1, 5000));
  process.kill(pid ?? 0, 'SIGKILL');
  expect(await lost).toBe('crashed');
  expect([...(await session.score(new Float32Array([3, 0]), 1, 10_000))]).toEqual([3]);
  expect(session.status().restarts).toBe(1);
});

test('a model that does not load makes requests fail at once, not at their deadline', async () => {
  await using scorer = new Scorer();
  const session = scorer.open(served(new Uint8Array([1, 2, 3])));
  expect(await failureOf(session.ready())).toBe('model');
  // The clock's random backoff grows past 10 ms from the first attempt on.
  await eventually(() => session.status().state === 'backing-off', 'backing off');
  expect(await failureOf(session.score(new Float32Array(2), 1, 10))).toBe('unavailable');
  expect(session.status().lastFailure).not.toBeNull();
});

test('a child that goes again and again is started later each time, and soon after one that worked', async () => {
  const waits: number[] = [];
  const clock: Clock = {
    ...systemClock,
    random: () => 1,
    sleep: (ms, signal) => {
      if (ms >= 5000) return systemClock.sleep(ms, signal); // Limits of time, not backoffs.
      waits.push(ms);
      return Promise.resolve();
    },
  };
  await using scorer = new Scorer({ clock, runLimitMs: 10_000 });
  const bad = scorer.open(served(new Uint8Array([1, 2, 3])));
  await eventually(() => waits.length >= 4, 'four backoffs');
  await bad.release();
  expect(waits.slice(0, 4)).toEqual([200, 400, 800, 1600]);
  const good = scorer.open(served(linearModel([1, 0]), { id: 'test@2' }));
  waits.length = 0;
  for (let round = 1; round <= 2; round++) {
    await good.score(new Float32Array(2), 1, 60_000);
    process.kill(good.status().pid ?? 0, 'SIGKILL');
    await eventually(() => good.status().restarts === round, 'its end');
  }
  expect(waits.filter((ms) => ms !== 1000)).toEqual([200, 200]);
});

test('requests that wait while the child is busy go as one run, each with its own scores in order', async () => {
  await using scorer = new Scorer();
  const session = scorer.open(served(linearModel([1, 10])));
  await session.ready();
  const sizes = [1, 5, 300, 2, 64, 1, 17];
  let at = 0;
  const answers = sizes.map((rows) => {
    const matrix = Float32Array.from({ length: rows * 2 }, (_, cell) => (cell % 2 === 0 ? at++ : 1));
    return session.score(matrix, rows, 5000);
  });
  const scores = (await Promise.all(answers)).flatMap((answer) => [...answer]);
  expect(scores).toEqual(Array.from({ length: at }, (_, index) => index + 10));
  // The first went alone or with some; whatever waited for it went together.
  expect(session.status().runs).toBeLessThanOrEqual(2);
  expect(session.status().rows).toBe(at);
});

test('a model of one row at a time scores many in one run, in order', async () => {
  await using scorer = new Scorer();
  const session = scorer.open(served(linearModel([1, 10], 1), { rowsMax: 1 }));
  const matrix = Float32Array.from({ length: 600 }, (_, cell) => (cell % 2 === 0 ? cell / 2 : 1));
  expect([...(await session.score(matrix, 300, 10_000))]).toEqual(Array.from({ length: 300 }, (_, index) => index + 10));
  expect(session.status().runs).toBe(1);
});

test('a run is limited in rows and in memory, and so is a request', async () => {
  await using scorer = new Scorer({ microBatchRowsMax: 100, microBatchFloatsMax: 64 });
  const session = scorer.open(served(linearModel([1, 0])));
  expect(session.rowsMax).toBe(32);
  await session.ready();
  const rows = (count: number) => session.score(new Float32Array(2 * count).fill(1), count, 5000);
  const all = await Promise.all([rows(1), rows(16), rows(16), rows(1)]);
  expect(all.map((scores) => scores.length)).toEqual([1, 16, 16, 1]);
  // 32 rows a run: the third request did not fit into the first.
  expect(session.status().runs).toBe(2);
  expect(() => rows(33)).toThrow('33 rows are to be scored at once');
});

test('closing waits neither for a run without an end nor for a child that starts', async () => {
  const scorer = new Scorer({ runLimitMs: 600_000 });
  const [stuck, starting] = [scorer.open(served(endlessModel())), scorer.open(served(linearModel([1, 0]), { id: 'test@2' }))];
  const score = failureOf(stuck.score(new Float32Array([1, 1]), 1, 600_000));
  await stuck.ready();
  await eventually(() => stuck.status().queuedRows === 0, 'the run');
  const waiting = failureOf(starting.ready());
  await scorer[Symbol.asyncDispose]();
  expect(await score).toBe('closed');
  expect(['none', 'closed']).toContain(await waiting);
});

test('a queue that is full says so instead of growing', async () => {
  await using scorer = new Scorer({ queueRowsMax: 10 });
  const session = scorer.open(served(linearModel([1, 0])));
  const first = session.score(new Float32Array(16), 8, 5000);
  expect(await failureOf(session.score(new Float32Array(16), 8, 5000))).toBe('unavailable');
  expect(await first).toHaveLength(8);
});

test('sessions of one model share a child, which ends with the last of them', async () => {
  await using scorer = new Scorer();
  const [one, two] = [scorer.open(served(linearModel([1, 0]))), scorer.open(served(linearModel([1, 0])))];
  await Promise.all([one.ready(), two.ready()]);
  const { pid } = one.status();
  expect(two.status().pid).toBe(pid);
  await one.release();
  await one.release();
  expect([...(await two.score(new Float32Array([4, 0]), 1, 5000))]).toEqual([4]);
  await two.release();
  expect(() => process.kill(pid ?? 0, 0)).toThrow('ESRCH');
  expect(scorer.status()).toEqual([]);
  expect(await failureOf(two.score(new Float32Array(2), 1, 100))).toBe('closed');
});

test('a view on a larger buffer sends its own cells only', () => {
  const cells = new Float32Array([1, 2, 3, 4]);
  expect([...new Float32Array(bytesOf(cells.subarray(1, 3)).slice().buffer)]).toEqual([2, 3]);
});
