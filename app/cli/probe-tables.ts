/** What `tidegate init` learns of a source: its tables with keys and columns, the labels of enums, and what a sample of the texts looks like. */
import { PgConnection } from '../../wire/postgres/connection.ts';
import { PgConnectionError, PgError } from '../../wire/postgres/errors.ts';
import { quoteIdent, quoteQualified } from '../../wire/postgres/ident.ts';
import { PipelineError } from '../../core/errors.ts';

export interface ProbedColumn {
  readonly name: string;
  /** As format_type says it: `numeric(12,2)`, `text`, `order_status`. */
  readonly type: string;
  readonly nullable: boolean;
  readonly inKey: boolean;
  readonly comment: string | null;
  /** Of an enum type, in its order; else null. */
  readonly labels: readonly string[] | null;
  /** A format that every sampled text has; null where there is none, or too little to tell by. */
  readonly format: 'uuid' | 'email' | null;
  /** Whether every sampled number is zero or more, and the sample is worth something. */
  readonly notNegative: boolean;
}

export interface ProbedTable {
  readonly schema: string;
  readonly name: string;
  readonly comment: string | null;
  /** Empty where it has none, and so can't be read. */
  readonly key: readonly string[];
  readonly columns: readonly ProbedColumn[];
}

const SAMPLE_ROWS = 500;
/** Fewer texts say nothing about their form. */
const LEAST_TEXTS = 5;
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;
const EMAIL = /^[^\s@]+@[^\s@]+\.[^\s@]+$/;

/** Every ordinary table outside the system's own schemas, or those named. Reads at most 500 rows of each. Throws SOURCE_UNREACHABLE, SOURCE_AUTH and the like. */
export async function probeTables(url: string, only: readonly string[]): Promise<readonly ProbedTable[]> {
  try {
    await using connection = await PgConnection.connect({
      url,
      applicationName: 'tidegate init',
      settings: { search_path: 'pg_catalog', default_transaction_read_only: 'on', statement_timeout: '30000' },
    });
    const tables = await connection.query(
      `select n.nspname, c.relname, obj_description(c.oid, 'pg_class'), c.oid
         from pg_class c join pg_namespace n on n.oid = c.relnamespace
        where c.relkind in ('r', 'p') and not c.relispartition and c.relpersistence = 'p'
          and n.nspname not in ('pg_catalog', 'information_schema', 'tidegate') and n.nspname not like 'pg\\_%'
        order by 1, 2`,
    );
    const probed: ProbedTable[] = [];
    for (const [schema, name, comment, oid] of tables.rows) {
      if (only.length > 0 && !only.includes(`${schema ?? ''}.${name ?? ''}`)) continue;
      probed.push(await probeTable(connection, schema ?? '', name ?? '', comment ?? null, oid ?? '0'));
    }
    return probed;
  } catch (error) {
    if (error instanceof PgError)
      throw new PipelineError(error.code.startsWith('28') ? 'SOURCE_AUTH' : 'SOURCE_PRIVILEGE', 'looking at the tables of the source', {
        cause: error,
      });
    if (error instanceof PgConnectionError) throw new PipelineError('SOURCE_UNREACHABLE', 'connecting to the source', { cause: error });
    throw error;
  }
}

async function probeTable(
  connection: PgConnection,
  schema: string,
  name: string,
  comment: string | null,
  oid: string,
): Promise<ProbedTable> {
  const keys = await connection.query(
    `select a.attname from pg_index i join pg_attribute a on a.attrelid = i.indrelid and a.attnum = any (i.indkey)
      where i.indrelid = $1::oid and i.indisprimary order by array_position(i.indkey::int2[], a.attnum)`,
    [oid],
  );
  const key = keys.rows.map(([column]) => column ?? '');
  const columns = await connection.query(
    `select a.attname, format_type(a.atttypid, a.atttypmod), not a.attnotnull, col_description(a.attrelid, a.attnum), t.typcategory,
            (select json_agg(e.enumlabel order by e.enumsortorder) from pg_enum e where e.enumtypid = t.oid)
       from pg_attribute a join pg_type t on t.oid = a.atttypid
      where a.attrelid = $1::oid and a.attnum > 0 and not a.attisdropped and a.attgenerated = ''
      order by a.attnum`,
    [oid],
  );
  const sampled = columns.rows.filter(([, , , , category]) => category === 'S' || category === 'N').map(([column]) => column ?? '');
  const samples = await sample(connection, schema, name, sampled);
  return {
    schema,
    name,
    comment,
    key,
    columns: columns.rows.map(([column, type, nullable, text, category, labels]) => {
      const values = samples.get(column ?? '') ?? [];
      return {
        name: column ?? '',
        type: type ?? '',
        nullable: nullable === 't',
        inKey: key.includes(column ?? ''),
        comment: text ?? null,
        labels: labels === null || labels === undefined ? null : (JSON.parse(labels) as string[]),
        format: category === 'S' ? formatOf(column ?? '', values) : null,
        notNegative: category === 'N' && values.length >= LEAST_TEXTS && values.every((value) => !value.startsWith('-') && value !== 'NaN'),
      };
    }),
  };
}

async function sample(
  connection: PgConnection,
  schema: string,
  name: string,
  columns: readonly string[],
): Promise<ReadonlyMap<string, readonly string[]>> {
  if (columns.length === 0) return new Map();
  try {
    const list = columns.map((column) => `left(${quoteIdent(column)}::text, 400)`).join(', ');
    const { rows } = await connection.query(`select ${list} from ${quoteQualified(schema, name)} limit ${SAMPLE_ROWS}`);
    return new Map(columns.map((column, index) => [column, rows.flatMap((row) => (typeof row[index] === 'string' ? [row[index]] : []))]));
  } catch (error) {
    // A table that this role may not read yet: its shape alone must do, and `check` will say what to grant.
    if (error instanceof PgError) return new Map();
    throw error;
  }
}

/** The name suggests, the sample decides; a few bad rows are what the check is for. */
function formatOf(name: string, values: readonly string[]): ProbedColumn['format'] {
  const share = (pattern: RegExp) => values.filter((value) => pattern.test(value)).length / values.length;
  if (values.length < LEAST_TEXTS) return null;
  if (share(UUID) >= 0.95) return 'uuid';
  return /e_?mail/i.test(name) && share(EMAIL) >= 0.95 ? 'email' : null;
}
