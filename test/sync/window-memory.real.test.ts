/**
 * Rules that remember windows, where several lanes fill them and several processes close them: anomalies, rolling references and volumes end as one worker without a
 * fault has them, whatever is killed or shared out anew, and what is remembered ends the same.
 */
import { expect, inject, test } from 'vitest';
import { type ChangeEvent, type LaneId, ValueRow, type Version } from '../../core/event.ts';
import { WindowCloser } from '../../quality/live/closer.ts';
import { windowStage } from '../../quality/live/stage.ts';
import { type PostgresSink, postgresSink } from '../../sync/postgres/sink.ts';
import { PgConnection } from '../../wire/postgres/connection.ts';
import { clockAt } from '../quality/live/support.ts';
import { createDatabase } from '../support/databases.ts';
import { Random } from '../support/random.ts';
import { contractOf } from './lot-world.ts';
import { type LaneEvents, PLAINEST, type Scene, SCENES, work } from './several-workers.ts';
import { DATASET } from './shop.ts';

const SEED = Number(process.env['TIDEGATE_SEED'] ?? 20_263);
const LANES = 3;
const STATUSES = ['new', 'paid', 'shipped', 'gone'];
const CLOCK = clockAt(() => 1_000_000);

const RULES = contractOf(`
defaults: { window: { every: 10s, out_of_order: 5s, lateness: 20s, idle: 1h } }
columns:
  n:
    - { ks: { reference: { rolling: { windows: 4, min_windows: 2 } }, max: 0.6 } }
    - { z_score: { baseline: 1m, threshold: 2, min_windows: 2 }, mostly: 0.9 }
  note:
    - { dimension_anomaly: { baseline: 1m, min_windows: 3 } }
    - { js: { reference: { rolling: { windows: 3, min_windows: 2, values: 4, learn: all } }, max: 0.2 } }
checks: [{ volume_anomaly: { baseline: 1m, min_windows: 3 } }]
`);

const isOddAt = (ms: number): boolean => Math.floor(ms / 10_000) % 7 === 5;

/** Rows of four minutes; in some of the windows there are more of them, other numbers, or a status that is new. */
function stream(random: Random): LaneEvents {
  const lanes = new Map<LaneId, ChangeEvent[][]>();
  for (let at = 1, commitMs = 0; commitMs < 240_000; at++) {
    commitMs += isOddAt(commitMs) ? 150 : 750;
    const isOdd = isOddAt(commitMs);
    const note = isOdd && random.chance(0.5) ? 'odd' : STATUSES[random.below(STATUSES.length)];
    const event = {
      op: 'insert',
      dataset: DATASET,
      before: null,
      after: new ValueRow(at, random.below(100) + (isOdd ? 80 : 0), note ?? null),
      key: String(at),
      movedFrom: null,
      version: String(at).padStart(8, '0') as Version,
      ordinal: 0,
      // Within what lanes may be out of order by.
      committedAtMs: Math.max(0, commitMs - random.below(1000)),
    } as ChangeEvent; // An insert has what it has.
    const lane = `shop/${random.below(LANES)}` as LaneId;
    const known = lanes.get(lane);
    if (known === undefined) lanes.set(lane, [[event]]);
    else known.push([event]);
  }
  return lanes;
}

async function judged(events: LaneEvents, scene: Scene, random: Random) {
  await using database = await createDatabase(inject('targetServer'), 'memory');
  await using sql = await PgConnection.connect({ url: database.url });
  const open = (): Promise<PostgresSink> =>
    postgresSink({
      name: 'store',
      url: database.url,
      schema: 'shop',
      tables: { create: true, widen: true },
      hold: () => 'event',
      scores: [],
      pipeline: 'p',
    });
  const closers = [new WindowCloser(() => RULES), new WindowCloser(() => RULES)];
  await using desks = new AsyncDisposableStack();
  const stores = [desks.use(await open()).windows, desks.use(await open()).windows];
  const live = { nowMs: 1_000_000, isCaughtUp: false, isCopied: () => true, lanesOf: () => [...events.keys()] };
  // What two processes do at once.
  const close = async (isCaughtUp = false): Promise<void> => {
    const at = isCaughtUp ? { ...live, nowMs: 2_000_000_000, isCaughtUp } : live;
    await Promise.all(stores.map(async (store, i) => closers[i]?.close(store, at)));
  };
  await work(
    events,
    scene,
    {
      open,
      stages: (sink) => {
        const { windows, lots } = sink as PostgresSink; // As it was opened.
        return [windowStage({ contracts: () => RULES, store: windows, lots, clock: CLOCK })];
      },
      beside: close,
    },
    random,
  );
  await close(true);
  const { rows: said } = await sql.query(
    `select rule, starts, grp, verdict, observed, rows from tidegate.window_results r where starts >= 0
       and revision = (select max(revision) from tidegate.window_results o where o.rule = r.rule and o.starts = r.starts and o.grp = r.grp) order by rule, starts, grp`,
  );
  const { rows: remembered } = await sql.query('select rule, grp, state from tidegate.window_memories order by rule, grp');
  return { said, remembered };
}

test(`the verdicts end the same, and so does what is remembered (seed ${SEED})`, async () => {
  const events = stream(new Random(SEED));
  const expected = await judged(events, PLAINEST, new Random(SEED));
  for (const rule of ['n.ks', 'n.z_score', 'note.dimension_anomaly', 'note.js', 'volume_anomaly']) {
    const verdicts = new Set(expected.said.filter(([of]) => of === rule).map(([, , , verdict]) => verdict));
    expect(verdicts, `what ${rule} said`).toEqual(new Set(['fail', 'indeterminate', 'pass']));
  }
  expect(expected.remembered.length).toBeGreaterThan(0);
  const outcomes = await Promise.all(
    Object.entries(SCENES).map(async ([name, scene], at) => [name, await judged(events, scene, new Random(SEED + at))] as const),
  );
  for (const [name, outcome] of outcomes) expect(outcome, `as ${name}`).toEqual(expected);
}, 90_000);
