/** `npm run bench -- <name> [--quick] [--json]`: benchmarks against the alternatives, side by side in one run. */
import { parseArgs } from 'node:util';
import { benchKafka, KAFKA_SIDES } from './kafka.ts';
import { benchPostgres, SIDES } from './postgres.ts';
import { benchTopics, TOPICS_SIDES } from './topics.ts';

const HELP = `npm run bench -- postgres|kafka|topics|quality|scoring [--quick] [--json] [--rows N] [--runs N] [--only TEXT] [--sides 'A|B']

  postgres   Tidegate beside PostgreSQL's own CREATE SUBSCRIPTION, on the same WAL between the same two servers.
  kafka      Tidegate beside Debezium's JDBC sink, on the same topics into the same server (a JDK and Maven are needed).
  topics     Tidegate beside Debezium's connector for PostgreSQL, from the same table into topics of the same broker.
  quality    Ten row checks beside a loop by hand and ajv; twelve over CSV, NDJSON and Parquet files beside Great Expectations, pandera and
             pointblank, which it installs into a folder of its own (--file-rows N; without Python they are left out).
  scoring    What scoring a row costs, from encoded cells and from decoded values.
  --quick    Fewer rows and runs: minutes instead of half an hour.
  --rows N   Rows a run.   --runs N   Runs of each side; the median counts.
  --only T   Only the cells whose name contains T ("insert tx10", "sync on", "latency"); of quality: rows, windows or files.
  --sides S  Only these sides, of: ${SIDES.join(' | ')} (separated by |);
             of kafka: ${KAFKA_SIDES.join(' | ')};
             of topics: ${TOPICS_SIDES.join(' | ')}.
  --decoding-memory SIZE   logical_decoding_work_mem of the source, for both sides: large transactions are not spilled.
  --socket   Over the servers' Unix sockets, for both sides, instead of TCP on the loopback interface.
  --commit-delay US   So many microseconds more for each durable commit at the target, for both sides: a disk that is slower than this one.
  --json     One JSON document on stdout; progress goes to stderr.
`;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    quick: { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
    rows: { type: 'string' },
    runs: { type: 'string' },
    only: { type: 'string' },
    sides: { type: 'string' },
    'decoding-memory': { type: 'string' },
    socket: { type: 'boolean', default: false },
    'commit-delay': { type: 'string' },
    'file-rows': { type: 'string' },
    help: { type: 'boolean', default: false },
  },
});

if (positionals[0] === 'quality') {
  await import('./quality.ts');
} else if (positionals[0] === 'scoring') {
  await import('./scoring.ts');
} else if (positionals[0] === 'kafka' && !values.help) {
  await benchKafka({
    rows: Number(values.rows ?? (values.quick ? 100_000 : 300_000)),
    runs: Number(values.runs ?? (values.quick ? 1 : 3)),
    only: values.only ?? '',
    sides: values.sides?.split('|') ?? KAFKA_SIDES,
    json: values.json,
  });
} else if (positionals[0] === 'topics' && !values.help) {
  await benchTopics({
    rows: Number(values.rows ?? (values.quick ? 50_000 : 200_000)),
    runs: Number(values.runs ?? (values.quick ? 1 : 3)),
    only: values.only ?? '',
    sides: values.sides?.split('|') ?? TOPICS_SIDES,
    json: values.json,
  });
} else if (values.help || positionals[0] !== 'postgres') {
  process.stderr.write(HELP);
  process.exitCode = values.help ? 0 : 2;
} else {
  await benchPostgres({
    rows: Number(values.rows ?? (values.quick ? 100_000 : 300_000)),
    runs: Number(values.runs ?? (values.quick ? 3 : 5)),
    only: values.only ?? '',
    sides: values.sides?.split('|') ?? SIDES,
    decodingMemory: values['decoding-memory'] ?? null,
    socket: values.socket,
    commitDelay: values['commit-delay'] ?? null,
    json: values.json,
    quick: values.quick,
  });
}
