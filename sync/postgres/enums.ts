/**
 * Values that an enum of the source has got since the target's was made. The log does not tell of them: they turn up in a row, which the target refuses.
 * What it lacks is then added, and the batch applied again.
 */
import type { Batch, Finding } from '../../core/batch.ts';
import type { DatasetName } from '../../core/event.ts';
import type { PgConnection } from '../../wire/postgres/connection.ts';
import { quoteLiteral, quoteQualified } from '../../wire/postgres/ident.ts';
import { PgRow } from '../../wire/postgres/row.ts';
import type { PgType } from '../../wire/postgres/types.ts';
import { textArrayParameter } from './arrays.ts';

const REFUSED = 'target.22P02';

/** Whether a value was added, so that what was refused may be taken now. */
export async function growEnums(
  sql: PgConnection,
  batch: Batch,
  findings: readonly Finding[],
  mayGrow: (dataset: DatasetName) => boolean,
): Promise<boolean> {
  const labels = new Map<string, { readonly type: PgType; readonly values: Set<string> }>();
  for (const { index, rule } of findings) {
    const event = batch.events[index];
    if (rule !== REFUSED || event === undefined || !mayGrow(event.dataset.name) || !(event.after instanceof PgRow)) continue;
    for (const [column, { type }] of event.after.types.entries()) {
      const found = type === undefined ? null : enumOf(type);
      if (found === null) continue;
      const name = `${found.type.schema}.${found.type.name}`;
      const known = labels.get(name) ?? { type: found.type, values: new Set<string>() };
      labels.set(name, known);
      for (const value of valuesOf(event.after, column, found.isArray)) known.values.add(value);
    }
  }
  let grown = false;
  for (const { type, values } of labels.values()) {
    const { rows } = await sql.query(
      `select w.label from unnest($3::text[]) w(label), pg_type t join pg_namespace n on n.oid = t.typnamespace
       where n.nspname = $1 and t.typname = $2 and t.typtype = 'e' and not exists (select from pg_enum e where e.enumtypid = t.oid and e.enumlabel = w.label)`,
      [type.schema, type.name, textArrayParameter([...values])],
    );
    for (const [label] of rows) {
      await sql.script(`alter type ${quoteQualified(type.schema, type.name)} add value if not exists ${quoteLiteral(label ?? '')}`);
      grown = true;
    }
  }
  return grown;
}

function enumOf(type: PgType): { readonly type: PgType; readonly isArray: boolean } | null {
  if (type.kind === 'e') return { type, isArray: false };
  if (type.inner === null || (type.kind !== 'd' && !type.isArray)) return null;
  const inner = enumOf(type.inner);
  return inner === null ? null : { type: inner.type, isArray: inner.isArray || type.isArray };
}

/** An enum's binary form is its text. Of an array: a count of dimensions, a flag, the element's type, length and bound of each, then sized elements. */
function valuesOf(row: PgRow, column: number, isArray: boolean): string[] {
  const at = row.cells[row.at + 2 * column] ?? 0;
  const length = row.cells[row.at + 2 * column + 1] ?? -1;
  if (length < 0) return [];
  if (!isArray) return [row.bytes.toString('utf8', at, at + length)];
  const values: string[] = [];
  for (let next = at + 12 + 8 * row.bytes.readInt32BE(at); next < at + length;) {
    const size = row.bytes.readInt32BE(next);
    if (size >= 0) values.push(row.bytes.toString('utf8', next + 4, next + 4 + size));
    next += 4 + Math.max(0, size);
  }
  return values;
}
