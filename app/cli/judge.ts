/** tidegate judge: a file of rows, judged as one window by a rule file or by a suite of Great Expectations. */
import { partCount, PartWorkers, workerCount } from '../judge/part-workers.ts';
import { UsageError } from './arguments.ts';
import type { Command } from './command.ts';

export const judge: Command = {
  name: 'judge',
  summary:
    'Judges a file of rows as one window, by a rule file or a suite of Great Expectations. Exit code 1 where a judgement is negative, 2 where something could not be judged.',
  positionals: [],
  flags: {
    rules: { type: 'string', value: 'FILE', help: 'The rule file.' },
    suite: { type: 'string', value: 'FILE', help: 'A suite instead, as Great Expectations writes it.' },
    format: { type: 'string', value: 'gx', help: 'The format of the suite; gx is the only one.' },
    input: {
      type: 'string',
      value: 'FILE',
      help: 'The rows: NDJSON, .csv, .tsv (each may be packed: rows.csv.gz, .zst) or .parquet; - reads NDJSON from standard input.',
    },
    types: { type: 'string', value: 'FILE', help: 'JSON, column to type of PostgreSQL or null, in table order.' },
    table: { type: 'string', multiple: true, value: 'NAME=FILE', help: 'A further dataset that a rule names.' },
    params: { type: 'string', value: 'FILE', help: 'JSON, values for {"$PARAMETER": "name"}.' },
  },
  run: async (args, io) => {
    const [rules, suite] = [args.text('rules'), args.text('suite')];
    if ((rules === null) === (suite === null))
      throw new UsageError('judge needs either --rules or --suite', 'Write --rules rules.yaml, or --suite suite.json.');
    const format = args.text('format') ?? 'gx';
    if (format !== 'gx') throw new UsageError(`there is no format ${format}`, 'Write --format gx, or leave it out.');
    const path = args.text('input');
    if (path === null) throw new UsageError('--input is missing', 'Write --input rows.ndjson, or --input - for standard input.');
    // What judges is loaded while the workers load the same.
    await using workers = new PartWorkers();
    if (suite === null) workers.startFor(path, workerCount(path, await partCount(path)));
    const input = (await import('../judge/given-input.ts')).inputOf(path, args, io);
    if (suite !== null) return (await import('../judge/judge-suite.ts')).judgeSuite(suite, input, args.is('json'), io);
    return await (await import('../judge/judge-rules.ts')).judgeRules(rules ?? '', input, workers, args.is('json'), io);
  },
};
