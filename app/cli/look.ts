/** tidegate status and lanes: how things are. */
import { systemClock } from '../../core/clock.ts';
import { isLaneOf, laneOf, partsOf, replayLaneOf } from '../config.ts';
import { openSink } from '../connect.ts';
import type { LaneView, RulesView, SlotView } from '../http/shapes.ts';
import { ledgerView } from '../ledger.ts';
import { silentLogger } from '../logger.ts';
import { formatDuration, formatSize } from '../units.ts';
import { statusOf } from './client.ts';
import { type Command, configOf } from './command.ts';
import { show, table, timeText } from './output.ts';

export const status: Command = {
  name: 'status',
  summary: 'Asks the running service how its pipelines are. Exit code 1 where it does not run or is not ready.',
  positionals: ['CONFIG'],
  flags: {},
  run: async (args, io) => {
    const now = await statusOf(configOf(args, io), io.stop);
    if (now === null) {
      show(io, args.is('json'), { running: false }, () => 'The service does not run.\n');
      return 1;
    }
    show(io, args.is('json'), { running: true, ...now }, () => {
      const pipelines = now.pipelines.map(({ name, state, lagMs, slot, ready, notReady, standby, datasets, rules }) => {
        const held = datasets.reduce((sum, { quarantine }) => sum + (quarantine['held'] ?? 0), 0);
        return [
          name,
          state,
          lagMs === null ? '-' : formatDuration(lagMs),
          String(held),
          slotText(slot),
          [ready ? (standby?.message ?? 'ready') : notReady.join('; '), ...rulesText(rules)].join('; '),
        ];
      });
      return table(['PIPELINE', 'STATE', 'LAG', 'HELD', 'LOG KEPT', ''], pipelines);
    });
    return now.ready ? 0 : 1;
  },
};

/** What is to be known of its rules; nothing where they are as their files say. */
function rulesText({ refused, changedOnDisk }: RulesView): string[] {
  const first = refused?.problems[0];
  if (first !== undefined) return [`new rules were refused (${first.path}: ${first.message})`];
  return changedOnDisk ? ['rule files were changed: `tidegate reload` takes them up'] : [];
}

/** What the source keeps for the slot, and when that comes to an end where it is foreseen. */
function slotText(slot: SlotView | null): string {
  if (slot === null) return '-';
  if (slot.level === 'lost') return 'LOST';
  const text = formatSize(slot.retainedBytes) + (slot.fullInMs === null ? '' : `, full in ${formatDuration(slot.fullInMs)}`);
  return slot.level === 'ok' ? text : `${text} (${slot.level})`;
}

export const lanes: Command = {
  name: 'lanes',
  summary: 'Shows the lanes as the targets keep them: where each resumes, and whether its ledger closes. Exit code 1 where one does not.',
  positionals: ['CONFIG'],
  flags: {},
  run: async (args, io) => {
    const { config } = configOf(args, io);
    const found: Omit<LaneView, 'role' | 'state'>[] = [];
    for (const [pipeline, of] of Object.entries(config.pipelines)) {
      const own = [laneOf(of.source, partsOf(config, of).source), replayLaneOf(pipeline)];
      await using sink = await openSink(config, pipeline, of, new Map(), systemClock, silentLogger);
      for (const lane of await sink.lanes()) {
        if (!own.some((one) => isLaneOf(lane.lane, one))) continue;
        found.push({
          pipeline,
          lane: lane.lane,
          epoch: lane.epoch,
          position: lane.position,
          updatedAtMs: lane.updatedAtMs,
          ...ledgerView(lane.ledger),
        });
      }
    }
    show(io, args.is('json'), { lanes: found }, () =>
      table(
        ['LANE', 'POSITION', 'EPOCH', 'UPDATED', 'EVENTS', 'WRITTEN', 'HELD', 'LEDGER'],
        found.map(({ lane, position, epoch, updatedAtMs, ledger, closed }) => [
          lane,
          position ?? '-',
          String(epoch),
          timeText(updatedAtMs),
          String(ledger['events'] ?? 0),
          String((ledger['upserts'] ?? 0) + (ledger['deletes'] ?? 0) + (ledger['truncates'] ?? 0)),
          String(ledger['held'] ?? 0),
          closed ? 'closed' : 'DOES NOT CLOSE',
        ]),
      ),
    );
    return found.every(({ closed }) => closed) ? 0 : 1;
  },
};
