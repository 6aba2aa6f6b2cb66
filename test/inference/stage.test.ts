/** The inference stage on real children: who is scored, what becomes of whom, and what a model's failure means. */
import { expect, test } from 'vitest';
import { Batch, type EventRun, ScoreStatus, Verdict } from '../../core/batch.ts';
import type { Sink, Source, Stage } from '../../core/contracts.ts';
import { PipelineError } from '../../core/errors.ts';
import { type ChangeEvent, type Dataset, UNCHANGED, ValueRow } from '../../core/event.ts';
import type { Problem } from '../../core/problems.ts';
import { runPipeline } from '../../core/pipeline.ts';
import type { Mapping } from '../../inference/mapping-schema.ts';
import { ModelRegistry } from '../../inference/models/registry.ts';
import { MemoryModelStore } from '../../inference/models/store.ts';
import { Scorer } from '../../inference/scorer/supervisor.ts';
import { inferenceStage, type InferenceStage, type ModelUse } from '../../inference/stage.ts';
import { eventually } from '../support/eventually.ts';
import {
  batchOf,
  endlessModel,
  insertInto,
  linearModel,
  modelOf,
  plainDataset,
  plainInsert,
  plainMapping,
  registryOf,
  useOf,
} from './models.ts';

const never = new AbortController().signal;
const MICRO_BATCH_ROWS = 64;

/** Runs `work` with a stage of these parts and closes everything. */
async function withStage(
  registry: ModelRegistry,
  uses: readonly ModelUse[],
  work: (stage: InferenceStage, scorer: Scorer) => Promise<void>,
): Promise<void> {
  await using scorer = new Scorer({ runLimitMs: 150, microBatchRowsMax: MICRO_BATCH_ROWS });
  await using stage = inferenceStage({ registry, scorer, uses });
  await work(stage, scorer);
}

async function judged(stage: InferenceStage, ...events: readonly ChangeEvent[]): Promise<Batch> {
  const batch = batchOf(...events);
  await stage.run(batch, never);
  return batch;
}

const scoresOf = (batch: Batch) => [...(batch.scores[0]?.values ?? [])];
const statusOf = (batch: Batch) => [...(batch.scores[0]?.status ?? [])];
const rulesOf = (batch: Batch) => batch.findings.map(({ index, rule, verdict }) => `${index} ${rule} ${verdict}`);

test('events of the dataset and the operations are scored in their places, others are not asked for', async () => {
  const other: Dataset = { ...plainDataset, name: 'test.public.other' as Dataset['name'] };
  const update: ChangeEvent = { ...plainInsert(3, 3), op: 'update', before: null, after: new ValueRow(3, 3, 1) };
  const gone: ChangeEvent = { ...plainInsert(4, 4), op: 'delete', before: new ValueRow(4, 4, 1), after: null };
  const write = { score: 'risk', model: null, at: 'scored_at' };
  await withStage(await registryOf('plain', { bytes: linearModel([1, 100]) }), [useOf({ on: ['insert'], write })], async (stage) => {
    const batch = batchOf(plainInsert(1, 1), insertInto(other, 2, 2, 0), update, gone, plainInsert(5, 5), plainInsert(6, 6));
    batch.mark({
      index: 5,
      stage: 'quality',
      rule: 'r',
      column: null,
      verdict: Verdict.Quarantine,
      severity: 'info',
      message: '',
      notify: false,
    });
    await stage.run(batch, never);
    expect(scoresOf(batch)).toEqual([1, NaN, NaN, NaN, 5, NaN]);
    expect(statusOf(batch)).toEqual([ScoreStatus.Scored, 0, 0, 0, ScoreStatus.Scored, ScoreStatus.NotAsked]);
    expect(batch.scores[0]).toMatchObject({ dataset: plainDataset.name, model: 'plain', version: '1', write });
    const none = await judged(stage, gone);
    expect(none.scores).toEqual([]);
    // Rows of a snapshot, which the model is not asked about, are not made objects for it.
    const untouched = (): never => {
      throw new Error('nobody asks for it');
    };
    const [look, event, events] = [untouched, untouched, untouched];
    const run: EventRun = {
      dataset: plainDataset,
      length: 2,
      version: gone.version,
      committedAtMs: 0,
      pass: {},
      rows: {},
      look,
      event,
      events,
    };
    const copied = new Batch(run, batch.checkpoint, 'snapshot');
    await stage.run(copied, never);
    expect(copied.scores).toEqual([]);
  });
});

test('the first route that is true counts', async () => {
  const routes = [
    { when: 'score >= 0.9 && after.b > 0', do: 'quarantine', severity: 'critical' },
    { when: 'score >= 0.8', do: 'alert', severity: 'warning' },
    { when: 'score >= 0.5', do: 'tag', severity: 'info' },
  ] as const;
  await withStage(await registryOf('plain', { bytes: linearModel([1, 0]) }), [useOf({ routes })], async (stage) => {
    const batch = await judged(stage, plainInsert(1, 0.95, 1), plainInsert(2, 0.95, 0), plainInsert(3, 0.6), plainInsert(4, 0.1));
    expect([...batch.verdicts]).toEqual([Verdict.Quarantine, Verdict.Tag, Verdict.Tag, Verdict.Pass]);
    expect(batch.findings.map(({ rule, severity, notify }) => [rule, severity, notify])).toEqual([
      ['plain.route[0]', 'critical', false],
      ['plain.route[1]', 'warning', true],
      ['plain.route[2]', 'info', false],
    ]);
    expect(batch.findings[0]?.message).toBe('plain@1 scores 0.9500: score >= 0.9 && after.b > 0');
  });
});

test('a route that can not be told from a row is a finding, and the next route is asked', async () => {
  const routes = [
    { when: '10 / after.id > 4 && score > 0.5', do: 'quarantine', severity: 'critical' },
    { when: 'score > 0.5', do: 'tag', severity: 'info' },
  ] as const;
  await withStage(await registryOf('plain', { bytes: linearModel([1, 0]) }), [useOf({ routes })], async (stage) => {
    const batch = await judged(stage, plainInsert(0, 0.9), plainInsert(2, 0.9), plainInsert(5, 0.9));
    expect(rulesOf(batch)).toEqual([
      `0 plain.unreadable ${Verdict.Warn}`,
      `0 plain.route[1] ${Verdict.Tag}`,
      `1 plain.route[0] ${Verdict.Quarantine}`,
      `2 plain.route[1] ${Verdict.Tag}`,
    ]);
    expect(batch.findings[0]?.message).toContain("can't be told from it");
    expect(scoresOf(batch)).toEqual([0.9, 0.9, 0.9].map(Math.fround));
  });
});

test('a released event is not held again by the route it was released from, and is by any other', async () => {
  const routes = [
    { when: 'score >= 0.9', do: 'quarantine', severity: 'critical' },
    { when: 'score >= 0.5', do: 'quarantine', severity: 'warning' },
  ] as const;
  await withStage(await registryOf('plain', { bytes: linearModel([1, 0]) }), [useOf({ routes })], async (stage) => {
    const held = await judged(stage, plainInsert(1, 0.95), plainInsert(2, 0.95));
    const heldFor = held.findings.map((finding, index) => [index === 0 ? finding : { ...finding, rule: 'total-is-positive' }]);
    const batch = new Batch(held.events, held.checkpoint, 'replay', heldFor);
    await stage.run(batch, never);
    expect([...batch.verdicts]).toEqual([Verdict.Tag, Verdict.Quarantine]);
    expect(batch.findings[0]?.message).toBe('plain@1 scores 0.9500: score >= 0.9 (released)');
  });
});

test('a row that can not be read is a finding, and the rest of the batch is scored', async () => {
  const mapping: Mapping = { ...plainMapping, unreadable: { do: 'quarantine', severity: 'info' } };
  await withStage(await registryOf('plain', { bytes: linearModel([1, 0]), mapping }), [useOf()], async (stage) => {
    const batch = await judged(
      stage,
      plainInsert(1, 1),
      plainInsert(2, null),
      plainInsert(3, NaN),
      plainInsert(4, UNCHANGED),
      plainInsert(5, Infinity),
      plainInsert(6, 6),
    );
    expect(scoresOf(batch)).toEqual([1, NaN, NaN, NaN, NaN, 6]);
    const { Scored, FeatureMissing } = ScoreStatus;
    expect(statusOf(batch)).toEqual([Scored, FeatureMissing, FeatureMissing, FeatureMissing, FeatureMissing, Scored]);
    expect(rulesOf(batch)).toEqual([1, 2, 3, 4].map((index) => `${index} plain.unreadable ${Verdict.Quarantine}`));
    expect(batch.findings[0]).toMatchObject({
      severity: 'info',
      message: 'plain@1 can\'t score this row: the feature "a" can\'t be read from it',
    });
    expect(stage.status()).toMatchObject([{ scored: 2, unreadable: 4, unavailable: 0, problem: null }]);
  });
});

test('a score that is no number is no score', async () => {
  const root = modelOf(
    [
      { op: 'ReduceSum', inputs: ['features'], outputs: ['sum'], attributes: { keepdims: { kind: 'int', value: 1 } } },
      { op: 'Sqrt', inputs: ['features'], outputs: ['score'] },
    ],
    { width: 2 },
  );
  await withStage(
    await registryOf('plain', { bytes: root }),
    [useOf({ routes: [{ when: 'score < 100', do: 'quarantine', severity: 'info' }] })],
    async (stage) => {
      const batch = await judged(stage, plainInsert(1, -4), plainInsert(2, 4));
      expect(scoresOf(batch)).toEqual([NaN, 2]);
      expect(rulesOf(batch)).toEqual([`0 plain.unreadable ${Verdict.Warn}`, `1 plain.route[0] ${Verdict.Quarantine}`]);
    },
  );
});

const failing: readonly [string, (use: Partial<ModelUse>, work: (stage: InferenceStage) => Promise<void>) => Promise<void>][] = [
  ['not registered', async (use, work) => withStage(await ModelRegistry.open(new MemoryModelStore()), [useOf(use)], work)],
  [
    'stuck',
    async (use, work) => withStage(await registryOf('plain', { bytes: endlessModel() }), [useOf({ ...use, deadlineMs: 100 })], work),
  ],
  [
    'not loadable',
    async (use, work) => withStage(await registryOf('plain', { bytes: new Uint8Array([9]) }), [useOf({ ...use, deadlineMs: 10 })], work),
  ],
  [
    'reading a column that is no more',
    async (use, work) =>
      withStage(
        await registryOf('plain', {
          bytes: linearModel([1, 0]),
          mapping: { ...plainMapping, columns: { ...plainMapping.columns, gone: 'text' } },
        }),
        [useOf(use)],
        work,
      ),
  ],
];

test.each(failing)('a model that is %s: fail_open passes, fail_closed quarantines, hold stops the lane', async (_name, run) => {
  const events = [plainInsert(1, 1, 1), plainInsert(2, 2, 1)];
  await run({ failure: 'fail_open' }, async (stage) => {
    const batch = await judged(stage, ...events);
    expect([statusOf(batch), rulesOf(batch)]).toEqual([[ScoreStatus.Unavailable, ScoreStatus.Unavailable], []]);
    expect(stage.status()).toMatchObject([{ unavailable: 2 }]);
    expect(stage.status()[0]?.problem).not.toBeNull();
  });
  await run({ failure: 'fail_closed' }, async (stage) => {
    expect(rulesOf(await judged(stage, ...events))).toEqual([0, 1].map((index) => `${index} plain.unavailable ${Verdict.Quarantine}`));
  });
  await run({ failure: 'hold' }, async (stage) => {
    const error = await judged(stage, ...events).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(PipelineError);
    expect(error).toMatchObject({ code: 'MODEL_UNAVAILABLE', message: 'scoring test.public.plain by plain' });
  });
});

test('after an endless run and after a killed child the service goes on scoring', async () => {
  await withStage(await registryOf('plain', { bytes: endlessModel() }), [useOf()], async (stage, scorer) => {
    expect(scoresOf(await judged(stage, plainInsert(1, 1)))).toEqual([1]);
    expect(statusOf(await judged(stage, plainInsert(2, 2, 1)))).toEqual([ScoreStatus.Unavailable]); // Runs without an end.
    expect(scoresOf(await judged(stage, plainInsert(3, 3)))).toEqual([3]);
    process.kill(scorer.status()[0]?.pid ?? 0, 'SIGKILL');
    await eventually(async () => scoresOf(await judged(stage, plainInsert(4, 4)))[0] === 4, 'a score by the next child');
    expect(scorer.status()[0]?.restarts).toBe(2);
  });
});

test('a new version is taken up between batches, without a batch that waits or goes unscored', async () => {
  const registry = await ModelRegistry.open(new MemoryModelStore());
  expect((await registry.register('plain', linearModel([1, 0]), plainMapping)).kind).toBe('registered');
  await withStage(registry, [useOf()], async (stage, scorer) => {
    const first = await judged(stage, plainInsert(1, 1));
    expect([scoresOf(first), first.scores[0]?.version]).toEqual([[1], '1']);
    expect((await registry.register('plain', linearModel([100, 0]), plainMapping)).kind).toBe('registered');
    const seen = new Set<string>();
    await eventually(async () => {
      const batch = await judged(stage, plainInsert(2, 2));
      const { version } = batch.scores[0] ?? { version: 'none' };
      seen.add(`${version}: ${scoresOf(batch).join()}`);
      return version === '2';
    }, 'the new version');
    expect([...seen]).toEqual(['1: 2', '2: 200']);
    await eventually(() => scorer.status().length === 1, 'the end of the old child');
    // And back again, to what has no child any more.
    await registry.setAlias('plain', 'production', 1);
    await eventually(async () => (await judged(stage, plainInsert(3, 3))).scores[0]?.version === '1', 'the old version');
  });
});

test('models are ready before a batch needs them, where the stage is told to keep them so', async () => {
  const registry = await ModelRegistry.open(new MemoryModelStore());
  await withStage(registry, [useOf()], async (stage, scorer) => {
    const isReady = (version: number) =>
      eventually(() => stage.status()[0]?.version === version && stage.status()[0]?.nextVersion === null, `version ${version}`);
    stage.keepReady();
    expect(stage.status()).toMatchObject([{ version: null, nextVersion: null, problem: null }]);
    await registry.register('plain', linearModel([1, 0]), plainMapping);
    await isReady(1);
    const [pid] = scorer.status().map((child) => child.pid);
    expect(scoresOf(await judged(stage, plainInsert(2, 2)))).toEqual([2]);
    expect(scorer.status()).toMatchObject([{ pid, runs: 1 }]);
    await registry.register('plain', linearModel([10, 0]), plainMapping);
    await isReady(2);
    await eventually(() => scorer.status().length === 1, 'the end of the old child, though no batch comes');
    const batch = await judged(stage, plainInsert(2, 2));
    expect([scoresOf(batch), batch.scores[0]?.version]).toEqual([[20], '2']);
    await stage[Symbol.asyncDispose]();
    await registry.register('plain', linearModel([100, 0]), plainMapping);
    await eventually(() => scorer.status().length === 0, 'the end of every child');
  });
});

test('a version that does not load is never switched to', async () => {
  const registry = await registryOf('plain', { bytes: linearModel([1, 0]) }, { bytes: new Uint8Array([9]) });
  await registry.setAlias('plain', 'production', 1);
  await withStage(registry, [useOf()], async (stage, scorer) => {
    await judged(stage, plainInsert(1, 1));
    await registry.setAlias('plain', 'production', 2);
    await judged(stage, plainInsert(1, 1));
    await eventually(() => scorer.status().some(({ lastFailure }) => lastFailure !== null), 'the failure to load');
    expect(scoresOf(await judged(stage, plainInsert(2, 2)))).toEqual([2]);
    expect(stage.status()).toMatchObject([
      { version: 1, nextVersion: 2, problem: expect.stringContaining('Failed to load model') as unknown },
    ]);
    await registry.setAlias('plain', 'production', 1);
    await judged(stage, plainInsert(3, 3));
    expect(stage.status()).toMatchObject([{ version: 1, nextVersion: null, problem: null }]);
  });
});

test('a route that does not compile is an error of the config, and check says so before', async () => {
  await withStage(
    await registryOf('plain', { bytes: linearModel([1, 0]) }),
    [useOf({ routes: [{ when: 'skore > 1', do: 'tag', severity: 'info' }] })],
    async (stage) => {
      expect((await stage.check([plainDataset])).map(({ path }) => path)).toEqual([
        expect.stringMatching(/^models\[0\]\.routes\[0\]\.when/),
      ]);
      await expect(judged(stage, plainInsert(1, 1))).rejects.toMatchObject({ code: 'CONFIG_INVALID' });
    },
  );
  await withStage(await ModelRegistry.open(new MemoryModelStore()), [useOf()], async (stage) => {
    expect(await stage.check([plainDataset])).toMatchObject([{ severity: 'warning', path: 'models[0].model' }]);
  });
});

test('a batch larger than a run goes in parts, every score at its event', async () => {
  await withStage(await registryOf('plain', { bytes: linearModel([1, 0]) }), [useOf()], async (stage, scorer) => {
    const events = Array.from({ length: 5 * MICRO_BATCH_ROWS + 1 }, (_, index) => plainInsert(index, index % 7 === 0 ? null : index));
    for (let round = 0; round < 3; round++) {
      const expected = events.map((_, index) => (index % 7 === 0 ? NaN : index));
      expect(scoresOf(await judged(stage, ...events))).toEqual(expected);
    }
    expect(scorer.status()[0]?.runs).toBe(3 * 6);
  });
});

test('rows that were scored before the model failed keep their scores, and the failure policy speaks of the others', async () => {
  await withStage(await registryOf('plain', { bytes: endlessModel() }), [useOf({ failure: 'fail_closed' })], async (stage) => {
    const rows = 3 * MICRO_BATCH_ROWS;
    const poisoned = 2 * MICRO_BATCH_ROWS; // In the last part.
    const events = Array.from({ length: rows }, (_, index) => plainInsert(index, index, index === poisoned ? 1 : 0));
    const batch = await judged(stage, ...events);
    expect(statusOf(batch)).toEqual(events.map((_, index) => (index < poisoned ? ScoreStatus.Scored : ScoreStatus.Unavailable)));
    expect([...batch.verdicts]).toEqual(events.map((_, index) => (index < poisoned ? Verdict.Pass : Verdict.Quarantine)));
    expect(stage.status()).toMatchObject([{ scored: poisoned, unavailable: rows - poisoned }]);
  });
});

test('batches behind are read and judged while the model scores, and commit in their order', async () => {
  await withStage(await registryOf('plain', { bytes: linearModel([1, 0]) }), [useOf({ deadlineMs: 60_000 })], async (stage, scorer) => {
    await judged(stage, plainInsert(0, 0)); // The child runs.
    const pid = scorer.status()[0]?.pid ?? 0;
    const batches = [1, 2, 3].map((id) => batchOf(plainInsert(id, id)));
    const seen: string[] = [];
    const source: Source = {
      name: 'source',
      async *read(resume) {
        for (const batch of batches) {
          await resume(batch.lane);
          seen.push(`read ${batch.events[0]?.key}`);
          yield batch;
        }
      },
      acknowledge: () => Promise.resolve(),
      [Symbol.asyncDispose]: () => Promise.resolve(),
    };
    const judge: Stage = { name: 'quality', run: async (batch) => void seen.push(`judged ${batch.events[0]?.key}`) };
    const rest = { upserts: 1, deletes: 0, truncates: 0, stale: 0, folded: 0, held: 0, dropped: 0 };
    const sink: Sink = {
      name: 'sink',
      acquire: async (lane) => ({ lane, epoch: 1, checkpoint: null }),
      apply: async (batch) => {
        seen.push(`applied ${scoresOf(batch).join()}`);
        return { kind: 'applied', checkpoint: batch.checkpoint, ...rest };
      },
      [Symbol.asyncDispose]: () => Promise.resolve(),
    };
    process.kill(pid, 'SIGSTOP');
    const signals = { drain: never, abort: never };
    const run = runPipeline({ source, stages: [judge, stage], sink }, signals);
    await eventually(() => seen.includes('judged 2') && seen.includes('read 3'), 'what is behind the batch that the model is at');
    expect(seen.filter((step) => step.startsWith('applied'))).toEqual([]);
    process.kill(pid, 'SIGCONT');
    await run;
    expect(seen.filter((step) => step.startsWith('applied'))).toEqual(['applied 1', 'applied 2', 'applied 3']);
  });
});

test('check tries each model out: it has to run here, and to score its golden rows', async () => {
  const row = { row: { a: 1, b: 1 }, score: 3 };
  // More than go into one run.
  const golden = (score: number): Mapping => ({
    ...plainMapping,
    golden: [...Array.from({ length: MICRO_BATCH_ROWS }, () => row), { ...row, score }],
  });
  const checked = async (bytes: Uint8Array, mapping: Mapping) => {
    let problems: readonly Problem[] = [];
    await withStage(await registryOf('plain', { bytes, mapping }), [useOf()], async (stage, scorer) => {
      problems = await stage.check([plainDataset]);
      expect(scorer.status()).toEqual([]);
    });
    return problems.map(({ severity, path, message }) => `${severity} ${path}: ${message}`);
  };
  expect(await checked(linearModel([1, 2]), golden(3))).toEqual([]);
  expect(await checked(linearModel([1, 2]), golden(4))).toEqual([
    'error models[0].model: plain@1 gives 3 for its golden row 64, where 4 is expected.',
  ]);
  expect(await checked(new Uint8Array([9]), plainMapping)).toEqual([
    expect.stringMatching(/^error models\[0\]\.model: plain@1 does not run: Failed to load model/),
  ]);
});

test('an abort is obeyed while a model that is stuck scores', async () => {
  await using scorer = new Scorer({ runLimitMs: 600_000 });
  await using stage = inferenceStage({
    registry: await registryOf('plain', { bytes: endlessModel() }),
    scorer,
    uses: [useOf({ deadlineMs: 600_000 })],
  });
  await judged(stage, plainInsert(1, 1));
  const abort = new AbortController();
  const run = stage.run(batchOf(plainInsert(1, 1, 1)), abort.signal);
  await eventually(() => scorer.status()[0]?.queuedRows === 0, 'the run');
  abort.abort(new Error('stop'));
  await expect(run).rejects.toThrow('stop');
});

test('an abort is obeyed while the first child starts', async () => {
  await withStage(await registryOf('plain', { bytes: linearModel([1, 0]) }), [useOf()], async (stage) => {
    const abort = new AbortController();
    const run = stage.run(batchOf(plainInsert(1, 1)), abort.signal);
    abort.abort(new Error('stop'));
    await expect(run).rejects.toThrow('stop');
  });
});
