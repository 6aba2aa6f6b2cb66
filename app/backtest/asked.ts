/**
 * Rules that need other rows, over the rows that the target has now: how many of them would be refused if they came beside the others. Whole tables are asked, for a
 * sample says nothing of what is there twice or not at all.
 */
import { PipelineError } from '../../core/errors.ts';
import type { Check, Contract } from '../../quality/contract.ts';
import { referenceOf } from '../../quality/expectations/references.ts';
import { targetFailure } from '../../sync/postgres/failures.ts';
import { Parents, type ParentTable } from '../../sync/postgres/keyed/parents.ts';
import type { Layouts } from '../../sync/postgres/layout.ts';
import { PgConnection } from '../../wire/postgres/connection.ts';

export interface AskedCount {
  readonly rule: string;
  /** Rows of the target; of those that have one value all but one. */
  readonly failed: number;
}

export interface AskedCounts {
  readonly counted: readonly AskedCount[];
  readonly unusable: readonly { readonly rule: string; readonly message: string }[];
}

const TIMEOUT = '60s';

/** Which of them can be counted: those that say all there is to know, without a condition on the row or what was there before it. */
const isCountable = ({ expectation: { name }, where }: Check): boolean =>
  where === null && (name === 'unique' || name === 'compound_unique' || name === 'references');

export async function countAsked(url: string, layouts: Layouts, contract: Contract, signal: AbortSignal): Promise<AskedCounts> {
  const checks = contract.checks.filter(isCountable);
  if (checks.length === 0) return { counted: [], unusable: [] };
  const settings = { default_transaction_read_only: 'on', statement_timeout: TIMEOUT };
  await using sql = await PgConnection.connect({ url, applicationName: 'tidegate backtest', settings }, signal);
  const cut = (): void => sql.destroy();
  signal.addEventListener('abort', cut, { once: true });
  const parents = new Parents(layouts);
  const counted: AskedCount[] = [];
  const unusable: { rule: string; message: string }[] = [];
  try {
    for (const check of checks) {
      try {
        counted.push({ rule: check.id, failed: await count(sql, parents, contract, check) });
      } catch (error) {
        signal.throwIfAborted();
        const failure = targetFailure(error, `counting rows of the target took more than ${TIMEOUT}, or cannot be done`);
        if (!(failure instanceof PipelineError)) throw error;
        unusable.push({ rule: check.id, message: failure.message });
      }
    }
  } finally {
    signal.removeEventListener('abort', cut);
  }
  return { counted, unusable };
}

async function count(sql: PgConnection, parents: Parents, { dataset }: Contract, check: Check): Promise<number> {
  const reference = referenceOf(check);
  const columns = reference?.columns ?? (check.column === null ? (check.parameters as readonly string[]) : [check.column]); // As their schema has them.
  const own = await parents.of(sql, { dataset, columns });
  if (own === null) return 0;
  const text = reference === null ? twiceSql(own) : orphansSql(own, await parents.of(sql, reference.parent), reference.match === 'full');
  return Number((await sql.query(text)).rows[0]?.[0] ?? 0);
}

function twiceSql({ qualified, columns, andAlive }: ParentTable): string {
  const names = columns.map(({ name }) => `t.${name}`);
  const hasAny = names.map((name) => `${name} is not null`).join(' or ');
  return `select sum(n - 1) from (select count(*) as n from ${qualified} t where (${hasAny})${andAlive} group by ${names.join(', ')}) d`;
}

function orphansSql({ qualified, columns, andAlive }: ParentTable, parent: ParentTable | null, isFull: boolean): string {
  const cells = columns.map((_, i) => `o.c${i}`);
  const own = columns.map(({ name }, i) => `t.${name} as c${i}`).join(', ');
  const isNamed = cells.map((cell) => `${cell} is not null`).join(isFull ? ' or ' : ' and ');
  const same = parent?.columns.map(({ name, cast }, i) => `t.${name} = ${cells[i]}::${cast}`).join(' and ');
  const isThere = parent === null ? 'false' : `exists (select from ${parent.qualified} t where ${same}${parent.andAlive})`;
  return `with o as (select ${own} from ${qualified} t where true${andAlive}) select count(*) from o where (${isNamed}) and not ${isThere}`;
}
