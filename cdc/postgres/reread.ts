/** What somebody wants to have read again, looked at before it is begun: what the source cannot read is told to who asked, and not to the lane. */
import type { DatasetName } from '../../core/event.ts';
import { PgError, withCode } from '../../wire/postgres/errors.ts';
import type { PgConnection } from '../../wire/postgres/connection.ts';
import { keyRows, type KeyTexts } from '../../wire/postgres/row-sums.ts';
import { Datasets, readTable } from './catalog.ts';
import { checkCondition } from './chunk.ts';
import type { Reread } from './lane-position.ts';

/** All rows of a dataset where it names neither a condition nor keys. */
export interface RereadRequest {
  readonly dataset: DatasetName;
  /** A condition as the source's SQL. */
  readonly where: string | null;
  /** Each the texts of the key's columns, in their order. */
  readonly keys: readonly KeyTexts[] | null;
}

export interface RereadStatus extends RereadRequest {
  readonly id: string;
  /** Those that are read beside the key, because of a change of the table; null where whole rows are. */
  readonly columns: readonly string[] | null;
  readonly rowsDone: number;
  readonly rowsEstimated: number | null;
  /** `failed`: given up, for the reason in `problem`. */
  readonly state: 'reading' | 'done' | 'failed';
  readonly problem: string | null;
}

/** Positions have all of it, and are written with every batch. */
export const WHERE_CHARACTERS_MAX = 2000;
export const REREAD_KEYS_MAX = 1000;
const KEY_CHARACTERS_MAX = 50_000;
export const REREADS_MAX = 20;
/** Beyond them columns wait, so that people are not kept from asking. */
export const COLUMN_PARTS_MAX = 10;

/** What is asked for cannot be done; nothing was begun. */
export class RereadRefused extends Error {
  override readonly name = 'RereadRefused';
  readonly fix: string;
  constructor(message: string, fix: string) {
    super(message);
    this.fix = fix;
  }
}

/** Answers what is to be read, with how many rows that is about. Throws RereadRefused. */
export async function checkReread(
  connection: PgConnection,
  name: string,
  table: string,
  publication: string,
  { where, keys }: RereadRequest,
): Promise<Omit<Reread, 'id'>> {
  const present = await readTable(connection, table, publication);
  if (present === null) throw new RereadRefused(`the source has no table ${table}`, 'See whether it was renamed or dropped.');
  const relation = await new Datasets(name).relationOf(connection, table, present.message, present);
  if (relation.dataset.keyless === true)
    throw new RereadRefused(`${table} has no primary key`, 'Give it one: its rows are read in its order.');
  if (where !== null && keys !== null) throw new RereadRefused('a condition and keys are too much', 'Give one of the two.');
  if (where !== null) {
    if (where.length > WHERE_CHARACTERS_MAX)
      throw new RereadRefused('the condition is too long', `Keep it within ${WHERE_CHARACTERS_MAX} characters.`);
    const rowsEstimated = await understood('the condition', () => checkCondition(connection, present, relation, where));
    return { where, keys: null, rowsEstimated };
  }
  if (keys === null) return { where: null, keys: null, rowsEstimated: present.rowsEstimated };
  const { key, columns } = relation.dataset;
  const names = key.map((column) => columns[column]?.name ?? '');
  if (keys.length === 0 || keys.length > REREAD_KEYS_MAX || JSON.stringify(keys).length > KEY_CHARACTERS_MAX)
    throw new RereadRefused(`${keys.length} keys are none or too many`, `Name up to ${REREAD_KEYS_MAX}, or give a condition.`);
  if (keys.some((texts) => texts.length !== names.length))
    throw new RereadRefused(`the key of ${table} is (${names.join(', ')})`, 'Give each key one text for each of these columns.');
  const { from, params } = keyRows(names.length, keys);
  const cells = key.map((column, i) => `k.tidegate_k${i}::${columns[column]?.native ?? 'text'}`);
  await understood('a key', () => connection.query(`select ${cells.join(', ')} from ${from}`, params));
  return { where: null, keys, rowsEstimated: keys.length };
}

async function understood<T>(what: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof PgError)) throw error;
    throw new RereadRefused(
      `the source does not understand ${what}: ${withCode(error)}`,
      'Write it as in `select … where`, with the names of functions and types qualified by their schema unless they are PostgreSQL’s own.',
    );
  }
}
