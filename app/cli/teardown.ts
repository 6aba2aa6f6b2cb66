/** tidegate teardown: removes what was made on the sources. */
import { systemClock } from '../../core/clock.ts';
import { teardownKafkaSource } from '../../cdc/kafka/probe.ts';
import { teardownPostgresSource } from '../../cdc/postgres/source.ts';
import { partsOf } from '../config.ts';
import { kafkaOptions, sourceOptions } from '../connect.ts';
import { UsageError } from './arguments.ts';
import { type Command, configOf } from './command.ts';
import { show } from './output.ts';

export const teardown: Command = {
  name: 'teardown',
  summary:
    'Drops the replication slots and publications of the config’s sources, so that they keep no log for us any more, and forgets the offsets of consumer groups. Tables on the targets stay. To start again afterwards means a new snapshot.',
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
    for (const [, pipeline] of chosen) {
      const { source } = partsOf(config, pipeline);
      if (source.kind === 'kafka') await teardownKafkaSource(kafkaOptions(pipeline, source, systemClock));
      else await teardownPostgresSource(sourceOptions(config, pipeline, systemClock));
    }
    show(io, args.is('json'), { dropped: what }, () =>
      what.map((one) => `${one.source}: ${namesOf(one)} ${'group' in one ? 'is' : 'are'} gone.\n`).join(''),
    );
    return 0;
  },
};

function namesOf(one: { readonly group: string } | { readonly slot: string; readonly publication: string }): string {
  return 'group' in one ? `group ${one.group}` : `slot ${one.slot} and publication ${one.publication}`;
}
