/** tidegate teardown: removes what was made on the sources. */
import { systemClock } from '../../core/clock.ts';
import { teardownKafkaSource } from '../../cdc/kafka/probe.ts';
import type { LeftPublication } from '../../cdc/postgres/slot.ts';
import { teardownPostgresSource } from '../../cdc/postgres/source.ts';
import { partsOf } from '../config.ts';
import { kafkaOptions, sourceOptions } from '../connect.ts';
import { UsageError } from './arguments.ts';
import { type Command, configOf } from './command.ts';
import { errorText, show } from './output.ts';

export const teardown: Command = {
  name: 'teardown',
  summary:
    'Drops the replication slots and publications of the config’s sources, so that they keep no log for us any more, and forgets the offsets of consumer groups. A publication of another role stays, and what its owner runs is told. Tables on the targets stay. To start again afterwards means a new snapshot.',
  positionals: ['CONFIG'],
  flags: {
    pipeline: { type: 'string', value: 'NAME', help: 'Only the source of this pipeline.' },
    yes: { type: 'boolean', help: 'Do not ask.' },
  },
  run: async (args, io) => {
    const { config } = configOf(args, io);
    const only = args.text('pipeline');
    if (only !== null && !Object.hasOwn(config.pipelines, only))
      throw new UsageError(`there is no pipeline ${only}`, `Name one of ${Object.keys(config.pipelines).join(', ')}.`);
    const chosen = Object.entries(config.pipelines).filter(([name]) => only === null || name === only);
    const what = chosen.map(([, pipeline]) => {
      const { source } = partsOf(config, pipeline);
      return source.kind === 'kafka'
        ? { source: pipeline.source, group: source.group }
        : { source: pipeline.source, slot: source.slot, publication: source.publication };
    });
    if (!args.is('yes')) {
      const names = what.map((one) => `${namesOf(one)} of ${one.source}`).join(', ');
      const answer = await io.ask(`Drop ${names}? Write yes: `);
      if (answer?.trim() !== 'yes') throw new UsageError('nothing was dropped', 'Answer yes, or give --yes.');
    }
    const left: Left[] = [];
    const failed: Failed[] = [];
    for (const [, pipeline] of chosen) {
      const { source } = partsOf(config, pipeline);
      // A slot that is left keeps log, and that of one source is no reason to leave those of the others.
      try {
        if (source.kind === 'kafka') await teardownKafkaSource(kafkaOptions(pipeline, source, systemClock));
        else {
          const another = await teardownPostgresSource(sourceOptions(config, pipeline, systemClock));
          if (another !== null) left.push({ source: pipeline.source, ...another });
        }
      } catch (error) {
        if (chosen.length === 1) throw error;
        failed.push({ source: pipeline.source, ...errorText(error) });
      }
    }
    const isOf = (parts: readonly { readonly source: string }[], source: string) => parts.some((one) => one.source === source);
    const dropped = what
      .filter(({ source }) => !isOf(failed, source))
      .map((one) => ('slot' in one && isOf(left, one.source) ? { ...one, publication: null } : one));
    show(io, args.is('json'), { dropped, left, failed }, () => [...dropped.map(goneText), ...left.map(leftText)].join(''));
    if (!args.is('json')) for (const one of failed) io.stderr(failedText(one));
    // What stays of another role keeps no log and costs nothing: what was asked for is done.
    return failed.length === 0 ? 0 : 1;
  },
};

interface Left extends LeftPublication {
  readonly source: string;
}

interface Failed {
  readonly source: string;
  readonly code: string;
  readonly message: string;
  readonly fix: string | null;
}

type Parts = { readonly group: string } | { readonly slot: string; readonly publication: string | null };

function goneText(one: Parts & { readonly source: string }): string {
  return `${one.source}: ${namesOf(one)} ${'group' in one || one.publication === null ? 'is' : 'are'} gone.\n`;
}

function leftText({ source, publication, owner, statement }: Left): string {
  return `${source}: publication ${publication} stays, for it belongs to ${owner}. It keeps no log. To be rid of it, ${owner} runs:\n    ${statement}\n`;
}

const failedText = ({ source, code, message, fix }: Failed): string =>
  `✗ ${source}: ${code}: ${message}\n${fix === null ? '' : `    ${fix}\n`}`;

function namesOf(one: Parts): string {
  if ('group' in one) return `group ${one.group}`;
  return one.publication === null ? `slot ${one.slot}` : `slot ${one.slot} and publication ${one.publication}`;
}
