/**
 * Lanes of topics that lost their place go on: at the oldest record that is kept, of a topic that was made anew at its beginning. What was lost with the others is found by comparing both ends,
 * and brought beside the topics; the target notes meanwhile what was lost.
 */
import { kafkaClient } from '../wire/kafka/client.ts';
import type { LaneId } from '../core/event.ts';
import { lostPlaces } from '../cdc/kafka/lost-places.ts';
import { TargetRows } from '../sync/postgres/target-rows.ts';
import { postgresSink } from '../sync/postgres/sink.ts';
import { laneOf } from './config.ts';
import type { KafkaSourceConfig } from './config-schema.ts';
import { kafkaOptions, layoutOptions, sinkOptions, tableTarget } from './connect.ts';
import { bringHeld, NothingToRecover, type Recovered, type RecoverOptions } from './recover.ts';
import { NothingToVerify, openFollowed } from './verify/passage.ts';
import { catchUp, openBringer, verifyPipeline } from './verify/verify.ts';

const DIFFERENCES_MAX = 100;

export async function recoverTopics(options: RecoverOptions, of: KafkaSourceConfig): Promise<Recovered> {
  const { config, name, pipeline, rules, clock, halted, resume, signal } = options;
  if (of.database === null)
    throw new NothingToVerify(
      `the pipeline ${name} reads topics, which no longer have what was lost: it takes the database behind them`,
      `Name it in the config: sources.${pipeline.source}.database, with its url and the connector’s slot.`,
    );
  const lane = laneOf(pipeline.source, of);
  await using sink = await postgresSink(sinkOptions(config, name, pipeline, rules, clock));
  const lanes = (await sink.lanes()).filter((one) => one.lane.startsWith(`${lane}/`));
  if (lanes.length === 0) throw new NothingToRecover(`the pipeline ${name} has never run: its lanes have no checkpoint`);

  const moved: MovedTopicLane[] = [];
  {
    await using client = kafkaClient(kafkaOptions(pipeline, of, clock).connection);
    for (const lost of await lostPlaces(client, lane, lanes)) {
      // One that has moved on meanwhile had its place.
      if (!(await sink.moveLane(lost.lane, lost.from, lost.to))) continue;
      moved.push({ lane: lost.lane, why: lost.why, from: lost.fromText, to: lost.toText });
    }
  }
  if (moved.length > 0 || halted !== null) await resume();
  const losses = (await sink.lanes()).flatMap((one) =>
    one.lane.startsWith(`${lane}/`) && one.lost !== null ? [{ lane: one.lane, to: one.lost.to }] : [],
  );
  const unfinished = { pipeline: name, moved: null, topics: moved, isRunning: true, held: [], verified: null };
  if (losses.length === 0) return { ...unfinished, isWhole: true };

  const { schema, url } = tableTarget(config, pipeline);
  await using target = await TargetRows.open(
    { name: pipeline.target, pipeline: name, url: url.reveal(), schema, datasets: layoutOptions(tableTarget(config, pipeline)) },
    signal,
  );
  await using cleanup = new AsyncDisposableStack();
  const followed = cleanup.use(await openFollowed(config, name, clock, signal));
  const { source } = followed;
  const tables = followed.tables(new Map());
  const place = await source.mark();
  const { laneStands } = await catchUp(followed, target, lane, place, options);
  if (laneStands) return { ...unfinished, isRunning: false, isWhole: false };
  const bringer = await openBringer(source, options, cleanup);
  const held = await bringHeld({ source, target, lane, bringer, passed: place }, tables, options);
  const verified = await verifyPipeline({ ...options, datasets: null, differencesMax: DIFFERENCES_MAX, repair: true });
  const isWhole = verified.tables.every(({ equal }) => equal) && held.every(({ left, isTruncateHeld }) => left === 0 && !isTruncateHeld);
  if (isWhole) for (const one of losses) await sink.forgetLoss(one.lane, one.to);
  return { ...unfinished, held, verified, isWhole };
}

export interface MovedTopicLane {
  readonly lane: LaneId;
  readonly why: string;
  /** Offsets: the records between them are in no topic any more. Of a topic that was made anew, `from` is one of the old topic's. */
  readonly from: string;
  readonly to: string;
}
