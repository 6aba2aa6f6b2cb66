/** What a world of faults is held against, whatever its road: the target's rows, quarantine and history against the oracle, and `tidegate verify`. */
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import type { PgConnection } from '../../wire/postgres/connection.ts';
import type { Oracle } from './oracle.ts';

const MAIN = join(import.meta.dirname, '../../app/cli/main.ts');

export const TABLES = ['items', 'marks'] as const;

/** Rows and held changes of a table. Throws what differs. */
export async function judgeTable(sql: PgConnection, table: (typeof TABLES)[number], oracle: Oracle): Promise<void> {
  const rows = await sql.query(`select to_jsonb(t) - 'risk' from shop.${table} t order by id`);
  const actual = rows.rows.map(([row]) => JSON.parse(row ?? 'null') as unknown);
  agree(`rows of ${table}`, actual, oracle.rows(table));
  const held = await sql.query(
    `select (row_json ->> 'seq')::bigint from tidegate.quarantine where dataset = $1 and 'amount.between' = any(rules) order by 1`,
    [`shop.public.${table}`],
  );
  agree(
    `held changes of ${table}`,
    held.rows.map(([seq]) => Number(seq)),
    oracle.bad(table),
  );
}

/** Every change was written once, and those of a key in order. `fromSeq`: those before were looked at. */
export async function judgeHistory(sql: PgConnection, fromSeq: number): Promise<void> {
  const doubled = await sql.query('select tab, seq, count(*) from history where seq > $1 group by 1, 2 having count(*) > 1', [fromSeq]);
  agree('changes that were written twice', doubled.rows, []);
  const disordered = await sql.query(
    'select * from (select tab, id, seq, lag(seq) over (partition by tab, id order by n) as before from history) h where before >= seq',
  );
  agree('changes of one key that were written out of order', disordered.rows, []);
}

/** What an operator would ask: `tidegate verify`, beside the running service. Throws what it says where it does not agree. */
export function verifies(config: string, timeoutMs: number): Promise<void> {
  return new Promise((resolve, reject) => {
    execFile(process.execPath, [MAIN, 'verify', config, '--json'], { timeout: timeoutMs }, (error, stdout, stderr) => {
      if (error === null) resolve();
      else reject(new Error(`tidegate verify ended with ${error.code ?? error.signal ?? 'an error'}:\n${stderr}${stdout.slice(0, 4000)}`));
    });
  });
}

/** Throws the first few members in which two lists differ, without their long cells. */
export function agree(what: string, actual: readonly unknown[], expected: readonly unknown[]): void {
  const [ours, theirs] = [actual, expected].map((list) => list.map((one) => JSON.stringify(one)));
  if (ours?.join('\n') === theirs?.join('\n')) return;
  const missing = theirs?.filter((text) => !ours?.includes(text)).map((text) => `missing ${text}`) ?? [];
  const surplus = ours?.filter((text) => !theirs?.includes(text)).map((text) => `surplus ${text}`) ?? [];
  const few = [...missing.slice(0, 5), ...surplus.slice(0, 5)].map((text) => text.replaceAll(/n{9,}/g, 'n…'));
  throw new Error(`${what}: ${missing.length} missing, ${surplus.length} surplus\n${few.join('\n')}`);
}
