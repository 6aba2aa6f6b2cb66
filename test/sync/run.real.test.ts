/** Rows that are no objects, at a real target: what passes is there as it was read, what is held is held, and keys that were there are written over. */
import { expect, inject, test } from 'vitest';
import { Batch, Verdict } from '../../core/batch.ts';
import type { Stage } from '../../core/contracts.ts';
import type { DatasetName, Version } from '../../core/event.ts';
import { runPipeline } from '../../core/pipeline.ts';
import { CopyReader } from '../../cdc/postgres/copy-reader.ts';
import { RowRun } from '../../cdc/postgres/row-run.ts';
import type { DatasetOptions } from '../../sync/postgres/layout.ts';
import { postgresSink } from '../../sync/postgres/sink.ts';
import { PgConnection } from '../../wire/postgres/connection.ts';
import { CopyPool } from '../../wire/postgres/copy-memory.ts';
import { createDatabase } from '../support/databases.ts';
import { Random } from '../support/random.ts';
import { copyOf, place, RELATION, type Values } from './copied.ts';
import { batchSource, PLAIN } from './shop.ts';

const server = inject('targetServer');
const never = new AbortController().signal;
const seeds = process.env['SYNC_SEEDS']?.split(',').map(Number) ?? [1, 2];
const ROWS = 60;

/** Says whether somebody asked for all rows as objects. */
class Watched extends RowRun {
  isMade = false;
  override events(): ReturnType<RowRun['events']> {
    this.isMade = true;
    return super.events();
  }
}

function runOf(rows: readonly Values[], random: Random, pass: object): Watched {
  const reader = new CopyReader(RELATION, Number.POSITIVE_INFINITY, new CopyPool().memory());
  const bytes = copyOf(rows);
  for (let at = 0; at < bytes.length;) {
    const to = Math.min(bytes.length, at + 1 + random.below(900));
    reader.push(Buffer.from(bytes.subarray(at, to)));
    at = to;
  }
  return new Watched(reader.take(), '0a' as Version, 0, 1000, pass);
}

const LAYOUTS: readonly (readonly [string, DatasetOptions | null])[] = [
  ['as they are', null],
  ['with columns beside them', { ...PLAIN, write: { position: null, committedAt: 'at', operation: 'op', verdict: 'verdict' } }],
  ['some of their columns', { ...PLAIN, columns: ['id', 'note'], rename: { note: 'remark' } }],
];

test.each(seeds.flatMap((seed) => LAYOUTS.map(([name, options]) => [seed, name, options] as const)))(
  'seed %i, rows %s',
  async (seed, _, options) => {
    const random = new Random(seed);
    await using database = await createDatabase(server, 'run');
    await using sql = await PgConnection.connect({ url: database.url });
    // Workers learn a table's form from rows as objects.
    const isBeside = seed % 2 === 0;
    await using sink = await postgresSink({
      name: 'store',
      url: database.url,
      schema: 'shop',
      tables: { create: true, widen: true },
      hold: () => 'event',
      scores: [],
      pipeline: 'p',
      besideRowsMin: isBeside ? 1 : 256,
      ...(options === null ? {} : { datasets: new Map([[RELATION.dataset.name as DatasetName, options]]) }),
    });
    const firstPass = {};
    const expected = new Map<number, Values>();
    const held: number[] = [];
    const runs: Watched[] = [];
    const batches: Batch[] = [];
    // The last ones have keys that are there, among others: what is copied straight into the table is refused, and written over.
    for (let n = 0; n < 9; n++) {
      const first = n < 7 ? n * ROWS : (n - 3) * ROWS - ROWS / 2;
      const rows = Array.from({ length: ROWS }, (__, i): Values => {
        const note = random.chance(0.2) ? null : `${n} ${'x'.repeat(random.below(300))}`;
        return [first + i + 1, random.chance(0.2) ? null : random.below(100), note];
      });
      const run = runOf(rows, random, n < 7 ? firstPass : {});
      runs.push(run);
      const batch = new Batch(run, place(n + 1), 'snapshot');
      batches.push(batch);
    }
    const marks: Stage = {
      name: 'quality',
      run: (batch) => {
        for (let index = 0; index < batch.size; index++) {
          const row = batch.run?.look(index).after;
          const values = [0, 1, 2].map((column) => row?.value(column)) as unknown as Values;
          const chance = random.below(20);
          const verdict = chance === 0 ? Verdict.Quarantine : chance === 1 ? Verdict.Drop : chance === 2 ? Verdict.Tag : null;
          const finding = {
            index,
            stage: 'quality',
            rule: 'bad',
            column: null,
            severity: 'warning',
            message: 'bad',
            notify: false,
          } as const;
          if (verdict !== null) batch.mark({ ...finding, verdict });
          if (verdict === null || verdict === Verdict.Tag) expected.set(values[0], values);
          if (verdict === Verdict.Quarantine) held.push(values[0]);
        }
        return Promise.resolve();
      },
    };
    await runPipeline({ source: batchSource(batches), stages: [marks], sink }, { drain: never, abort: never });

    const note = options?.rename['note'] ?? 'note';
    const n = options?.columns === null || options === null ? 'n' : 'null::integer';
    const { rows } = await sql.query(`select id, ${n}, ${note} from shop.items order by id`);
    const wanted = [...expected.values()].toSorted(([a], [b]) => a - b);
    expect(rows).toEqual(
      wanted.map(([id, own, text]) => [String(id), options?.columns == null && own !== null ? String(own) : null, text]),
    );
    if (options?.write.verdict !== undefined && options.write.verdict !== null) {
      const { rows: verdicts } = await sql.query('select distinct op, verdict, at from shop.items order by 2');
      expect(verdicts).toEqual(['pass', 'tag'].map((verdict) => ['read', verdict, '1970-01-01 00:00:01+00']));
    }
    const items = await sink.quarantine.find({ limit: 1000 });
    expect(items.map(({ event }) => Number(event.key)).toSorted((a, b) => a - b)).toEqual(held.toSorted((a, b) => a - b));
    const [lane] = await sink.lanes();
    const { events, ...out } = lane?.ledger ?? { events: -1n };
    expect(events).toBe(BigInt(9 * ROWS));
    expect(Object.values(out).reduce((sum, count) => sum + count, 0n)).toBe(events);
    // The first makes the table while two more are got ready; behind the last ones, some rows met keys that were there.
    if (!isBeside) expect(runs.map(({ isMade }) => isMade).slice(3, 7)).not.toContain(true);
    expect(runs.slice(7).map(({ isMade }) => isMade)).toContain(true);
  },
);
