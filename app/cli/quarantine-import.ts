/** tidegate quarantine import: a dead letter queue that others have filled becomes items of the quarantine. */
import { systemClock } from '../../core/clock.ts';
import { partsOf } from '../config.ts';
import { kafkaOptions } from '../connect.ts';
import { datasetNamed, type Imported, importDeadLetters } from '../dead-letters.ts';
import { UsageError } from './arguments.ts';
import { type Command, pipelineNamed } from './command.ts';
import { withDesks } from './desks.ts';
import { show } from './output.ts';

/** How often it says how far it is. */
const PROGRESS_RECORDS = 1000;

export const importCommand: Command = {
  name: 'quarantine import',
  summary:
    'Takes a dead letter queue of Kafka Connect’s or Spring’s into the quarantine of a pipeline that reads topics, where its records are looked at, released and discarded like any other. Done again it takes what is new. The topic is left as it is.',
  positionals: ['CONFIG'],
  flags: {
    topic: { type: 'string', value: 'TOPIC', help: 'The dead letter queue. Required.' },
    pipeline: { type: 'string', value: 'NAME', help: 'Into the quarantine of this pipeline; left out, of the only one there is.' },
    dataset: {
      type: 'string',
      value: 'NAME',
      help: 'All of it are records of this dataset (source.schema.table). Left out, their headers say of which topic each is.',
    },
    'dry-run': { type: 'boolean', help: 'Only say what would be taken.' },
  },
  run: (args, io) =>
    withDesks(args, io, async (desks, loaded) => {
      const topic = args.text('topic');
      if (topic === null) throw new UsageError('--topic is missing', 'Name the dead letter queue: --topic orders-dlq.');
      const name = pipelineNamed(args.text('pipeline'), loaded);
      const pipeline = loaded.config.pipelines[name];
      const desk = desks.find((one) => one.pipeline === name);
      if (pipeline === undefined || desk === undefined) throw new UsageError(`there is no pipeline ${name}`, 'Name one of the config.');
      const { source } = partsOf(loaded.config, pipeline);
      if (source.kind !== 'kafka')
        throw new UsageError(
          `the pipeline ${name} reads no topics`,
          'Name a pipeline whose source is of the kind kafka: its topics say how records are read.',
        );
      const options = kafkaOptions(pipeline, source, systemClock);
      const dryRun = args.is('dry-run');
      const isJson = args.is('json');
      let told = 0;
      const imported = await desk.withSink((sink) =>
        importDeadLetters(
          {
            source: options,
            topic,
            dataset: datasetNamed(options, args.text('dataset')),
            dryRun,
            sink,
            onProgress: (read, total) => {
              if (isJson || read < told + PROGRESS_RECORDS) return;
              told = read;
              io.stderr(`${read} of ${total} records read\n`);
            },
          },
          io.stop,
        ),
      );
      show(io, isJson, { pipeline: name, topic, dryRun, ...imported }, () => importedText(imported, dryRun));
      return imported.stopped ? 1 : 0;
    }),
};

function importedText({ imported, present, nothing, foreign, datasets, stopped }: Imported, dryRun: boolean): string {
  const lines = [`${imported} ${dryRun ? 'would be imported' : 'imported'}, ${present} there already, ${nothing} without a change.`];
  for (const [dataset, count] of Object.entries(datasets)) lines.push(`  ${dataset}: ${count}`);
  for (const [topic, count] of Object.entries(foreign))
    lines.push(`${count} left out, of the topic ${topic}: the pipeline reads no such topic. Say whose they are by --dataset.`);
  if (stopped) lines.push('Stopped before the end: do it again for the rest.');
  return `${lines.join('\n')}\n`;
}
