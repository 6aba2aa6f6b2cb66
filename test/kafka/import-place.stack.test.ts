/**
 * Dead letters that could not be read when they were imported, and whose rows nobody knew: what the lanes write between their reading and their replay is never
 * overwritten by them.
 */
import type { IHeaders, Message } from 'kafkajs';
import { expect, test } from 'vitest';
import { decodedLog } from '../../app/decoded-log.ts';
import { importDeadLetters, tableNamed } from '../../app/dead-letters.ts';
import { DecodeAgain } from '../../cdc/kafka/decode-again.ts';
import { sourceLane } from '../../cdc/kafka/lane-place.ts';
import { type KafkaSourceOptions, kafkaSource } from '../../cdc/kafka/source.ts';
import { replaySource } from '../../cdc/replay.ts';
import { systemClock } from '../../core/clock.ts';
import { PipelineError } from '../../core/errors.ts';
import type { DatasetName, LaneId } from '../../core/event.ts';
import { type PipelineSignals, runPipeline } from '../../core/pipeline.ts';
import { fromLsnNumber } from '../../core/position.ts';
import { qualityStage } from '../../quality/stage.ts';
import type { PostgresSinkOptions } from '../../sync/postgres/sink.ts';
import { eventually } from '../support/eventually.ts';
import { gate } from '../sync/shop.ts';
import { admin, lake, producer, type Run, road, running, sourceOptions } from './road.ts';
import { brokers } from './support.ts';
import { makeTopics } from './topics.ts';

const never = new AbortController().signal;
const COLUMNS = { id: 'bigint', v: 'integer' };
const DAY_MS = 86_400_000;

const change = (id: number, v: number, lsn: number, headers: IHeaders = {}): Message => ({
  key: `{"id":${id}}`,
  value: `{"before":null,"after":{"id":${id},"v":${v}},"source":{"lsn":${lsn},"ts_ms":1},"op":"u"}`,
  headers,
});
const connect = (topic: string, offset: number): IHeaders => ({
  '__connect.errors.topic': topic,
  '__connect.errors.partition': '0',
  '__connect.errors.offset': String(offset),
  '__connect.errors.exception.class.name': 'org.apache.kafka.connect.errors.DataException',
});

/** As a lane's runner has it: one that lost its lease takes it again. */
function follow(run: Run): AsyncDisposable {
  const drain = new AbortController();
  const goOn = async (): Promise<void> => {
    while (!drain.signal.aborted)
      await run({ drain: drain.signal, abort: never }).catch((error: unknown) => {
        if (!(error instanceof PipelineError && error.code === 'LEASE_LOST')) throw error;
      });
  };
  const done = goOn();
  done.catch(() => {}); // Awaited below.
  return {
    [Symbol.asyncDispose]: async () => {
      drain.abort();
      await done;
    },
  };
}

async function world(more: Partial<PostgresSinkOptions> = {}) {
  await using cleanup = new AsyncDisposableStack();
  const it = await road(1, {}, {}, more);
  const bad = new Map<string, 'quarantine'>();
  const { name, topic } = it;
  const optionsOf = (columns: Readonly<Record<string, string>> | null): KafkaSourceOptions =>
    sourceOptions(name, topic, { tables: [{ table: 'public.t', topic, columns }] });
  const options = optionsOf(COLUMNS);
  const [queue, dataset] = [`${name}-dlq`, `${name}.public.t` as DatasetName];
  await makeTopics(admin, [{ topic: queue }]);
  const sink = cleanup.use(await it.sink());
  const again = cleanup.use(
    new DecodeAgain({
      ...options,
      lanes: sourceLane(options),
      client: brokers(),
      tableNamed: (one) => tableNamed(options, one),
      signal: never,
    }),
  );
  const log = decodedLog(sink.quarantine, again, 'tidegate');
  const items = async (): Promise<readonly string[]> =>
    (
      await lake.query(
        `select convert_from(coalesce(decode(substr(row_json->>'value', 3), 'hex'), ''), 'utf8'), row_json->>'v', status, findings->0->>'message'
         from tidegate.quarantine where pipeline = $1 order by version collate "C", id collate "C"`,
        [name],
      )
    ).rows.map(([value, v, status, message]) => `${v ?? /"v":(\d+)/.exec(value ?? '')?.[1]} ${status} ${message}`);
  const undo = cleanup.move();
  return {
    ...it,
    bad,
    items,
    run: async (signals: PipelineSignals): Promise<void> => {
      await using to = await it.sink();
      await using source = kafkaSource(options);
      await runPipeline({ source, stages: [gate(bad)], sink: to }, signals);
    },
    /** Into the quarantine, as what cannot be read, and from there in line. */
    letters: async (messages: Message[]): Promise<void> => {
      await producer.send({ topic: queue, messages });
      await importDeadLetters({ source: optionsOf(null), topic: queue, dataset, dryRun: false, sink, onProgress: () => {} }, never);
      const held = await sink.quarantine.find({ status: ['held'], limit: 100 });
      const found = held.filter(({ event }) => event.dataset.undecoded === true);
      expect(found.map(({ event }) => event.movedFrom)).toEqual(messages.map(() => null));
      const ids = found.map(({ id }) => id);
      expect((await sink.quarantine.release(ids, 'ann')).toSorted()).toEqual(ids.toSorted());
    },
    /** The lane has been taken again since the import, and is written by somebody who knows what was held then. */
    taken: async (): Promise<void> => {
      await it.send([change(0, 0, 155)]);
      await eventually(async () => (await it.rows()).includes('0 0'), 'the lane goes on');
    },
    /** They are read anew, as the replay source does before it hands them on. */
    read: () => log.releasedAfter(0n, 100),
    replay: async (): Promise<void> => {
      await using to = await it.sink();
      const source = replaySource({ log, lane: `replay:${name}` as LaneId, batchRows: 100, clock: systemClock });
      const run: Run = (signals) => runPipeline({ source, stages: [qualityStage(new Map())], sink: to }, signals);
      const isDone = async (): Promise<boolean> => !(await items()).some((line) => line.includes(' released '));
      await running(run, isDone, 'all are settled, or held again');
    },
    [Symbol.asyncDispose]: () => undo.disposeAsync(),
  };
}

const DEAD = 'org.apache.kafka.connect.errors.DataException';

test('one that says where it stood has its place among the changes of its row: those behind it win, also one that is written between its reading and its replay', async () => {
  await using it = await world();
  const { topic } = it;
  await using _lane = follow(it.run);
  const stood = [change(1, 10, 100), change(2, 20, 110), change(1, 11, 120), change(3, 30, 130), change(4, 40, 140)];
  await it.send(stood);
  await eventually(async () => (await it.rows()).length === 4, 'the lane has them');
  await lake.query(`delete from ${it.name}.t where id = 3`);
  await it.letters([
    { ...stood[0], value: stood[0]?.value ?? null, headers: connect(topic, 0) },
    { ...stood[1], value: stood[1]?.value ?? null, headers: connect(topic, 1) },
    { ...stood[3], value: stood[3]?.value ?? null, headers: connect(topic, 3) },
    change(4, 39, 90, connect(topic, 4)),
    change(5, 50, 150, connect(topic, 50)),
    change(4, 38, 80),
  ]);
  await it.taken();
  await it.read();
  await it.send([change(2, 21, 160), change(4, 41, 170)]);
  await eventually(async () => (await it.rows()).includes('4 41'), 'the lane goes on');
  await it.replay();
  const [other, nowhere, ahead, ...read] = await it.items();
  expect(other).toMatch(/^39 held .*not kept in its topic any more/);
  expect(nowhere).toMatch(/^38 held .*nobody knows where it stood in its topic/);
  expect(ahead).toMatch(/^50 held .*not been read as far as its record yet/);
  expect(read).toEqual([`10 superseded ${DEAD}`, `20 superseded ${DEAD}`, `30 applied ${DEAD}`]);
  expect(await it.rows()).toEqual(['0 0', '1 11', '2 21', '3 30', '4 41']);
});

test('one that says nothing of it, or nothing that is true, goes by the versions that the target keeps of rows, as long as it keeps them', async () => {
  await using it = await world({ rowVersions: { epoch: 0, keepMs: DAY_MS } });
  await using _lane = follow(it.run);
  await it.send([change(1, 10, 100), change(2, 20, 110), change(3, 30, 120)]);
  await eventually(async () => (await it.rows()).length === 3, 'the lane has them');
  await it.letters([change(1, 9, 90), change(2, 25, 115), change(3, 35, 130, connect(it.topic, 1))]);
  await it.taken();
  await it.read();
  await it.send([change(2, 26, 200)]);
  await eventually(async () => (await it.rows()).includes('2 26'), 'the lane goes on');
  await it.replay();
  const why = `it was in ${it.name}-dlq`;
  expect(await it.items()).toEqual([`9 superseded ${why}`, `25 superseded ${why}`, `35 applied ${DEAD}`]);
  expect(await it.rows()).toEqual(['0 0', '1 10', '2 26', '3 35']);

  // What may be forgotten by now is not known to be old.
  await it.letters([change(3, 36, 140)]);
  await lake.query(`update tidegate.quarantine set held_at = held_at - $1 * interval '1 millisecond' where pipeline = $2`, [
    String(2 * DAY_MS),
    it.name,
  ]);
  await it.replay();
  expect((await it.items())[0]).toMatch(/^36 held .*nobody knows where it stood in its topic/);
  expect(await it.rows()).toEqual(['0 0', '1 10', '2 26', '3 35']);
});

test('a later move of its row to another key that is held itself has not passed it, and one that was taken has', async () => {
  await using it = await world();
  const { name, topic } = it;
  const moved = (from: number, to: number, v: number, lsn: number): Message[] => [
    {
      key: `{"id":${from}}`,
      value: `{"before":{"id":${from},"v":0},"after":null,"source":{"lsn":${lsn},"ts_ms":1},"op":"d"}`,
      headers: { '__debezium.newkey': `{"id":${to}}` },
    },
    { key: `{"id":${from}}`, value: null },
    { ...change(to, v, lsn, { '__debezium.oldkey': `{"id":${from}}` }), value: String(change(to, v, lsn).value).replace('"u"', '"c"') },
  ];
  const lsn = 200;
  it.bad.set(`${name}.public.t/7@${fromLsnNumber(BigInt(lsn))}#0`, 'quarantine');
  const stood = [change(1, 10, 100), change(2, 20, 110)];
  await it.send([...stood, ...moved(1, 7, 70, lsn), ...moved(2, 8, 80, 300)]);
  {
    await using _lane = follow(it.run);
    await eventually(async () => (await it.rows()).includes('8 80'), 'the lane has them');
  }
  expect(await it.items()).toEqual([`70 held it is bad`]);
  expect(await it.rows()).toEqual(['1 10', '8 80']);
  await lake.query(`delete from ${name}.t where id = 1`);
  await it.letters(stood.map((one, offset) => ({ ...one, value: one.value, headers: connect(topic, offset) })));
  await it.replay();
  expect(await it.items()).toEqual([`10 applied ${DEAD}`, `20 superseded ${DEAD}`, `70 held it is bad`]);
  expect(await it.rows()).toEqual(['1 10', '8 80']);
});
