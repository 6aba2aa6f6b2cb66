/** The page about types says what is so: of every type its kind, and an example as rules see it. */
import { readFileSync } from 'node:fs';
import { expect, inject, test } from 'vitest';
import { PgConnection } from '../../wire/postgres/connection.ts';
import { Format, FrontendWriter } from '../../wire/postgres/messages.ts';
import { describeTypes, type PgType } from '../../wire/postgres/types.ts';
import { createDatabase } from '../support/databases.ts';
import { TYPES_SQL, VALUES } from '../support/types.ts';

const page = readFileSync(new URL('../../docs/types.md', import.meta.url), 'utf8');

/** Rows of the table: what the first cell names, the kind, the example. */
const rows = [...page.matchAll(/^\| (.+?) \| (.+?) \| (.*?) ?\|$/gm)]
  .map(([, names = '', kind = '', example = '']) => ({ names, kind, example: /^`(.*)`$/.exec(example.replaceAll('\\|', '|'))?.[1] }))
  .filter(({ names }) => names !== 'type' && !names.startsWith('---'));

/** The row that speaks of a type. */
function rowOf(sqlName: string, type: PgType): (typeof rows)[number] | undefined {
  const kinds: Partial<Record<PgType['kind'], string>> = { e: 'enums', d: 'domains', c: 'composites', r: 'ranges', m: 'multiranges' };
  const name = type.isArray ? 'arrays' : (kinds[type.kind] ?? `\`${sqlName.replace(/\(.*\)$/, '')}\``);
  return rows.find(({ names }) => names.split(', ').includes(name));
}

test('every type is on the page with its kind, and examples are what rules see', async () => {
  await using database = await createDatabase(inject('sourceServer'), 'page');
  await using sql = await PgConnection.connect({ url: database.url });
  await sql.script(TYPES_SQL);
  const seen = new Set<unknown>();
  for (const sqlName of Object.keys(VALUES)) {
    const { rows: found } = await sql.query('select $1::regtype::oid', [sqlName.replace('[][]', '[]')]);
    const type = (await describeTypes(sql, [Number(found[0]?.[0])])).get(Number(found[0]?.[0]));
    if (type === undefined) throw new Error(`no such type: ${sqlName}`);
    const row = rowOf(sqlName, type);
    expect(row, `${sqlName} is not on the page`).toBeDefined();
    seen.add(row);
    if (type.kind !== 'd') expect(row?.kind, `type ${sqlName}`).toBe(type.columnType);
    if (row?.example === undefined || ['arrays', 'enums', 'composites', 'ranges', 'multiranges'].includes(row.names)) continue;
    expect(await read(sql, sqlName.replace(/\(.*\)$/, ''), type, row.example), `type ${sqlName}`).toBe(row.example);
  }
  for (const [sqlName, names] of Object.entries({
    'integer[]': 'arrays',
    mood: 'enums',
    pair: 'composites',
    int4range: 'ranges',
    int4multirange: 'multiranges',
  })) {
    const { rows: found } = await sql.query('select $1::regtype::oid', [sqlName]);
    const type = (await describeTypes(sql, [Number(found[0]?.[0])])).get(Number(found[0]?.[0]));
    const example = rows.find((row) => row.names === names)?.example ?? '';
    expect(type === undefined ? null : await read(sql, sqlName, type, example), `type of ${names}`).toBe(example);
  }
  expect(rows.filter((row) => !seen.has(row)).map(({ names }) => names)).toEqual([]);
});

async function read(sql: PgConnection, sqlName: string, type: PgType, literal: string): Promise<string> {
  const writer = new FrontendWriter().parse('', `select $1::text::${sqlName}`).bind('', '', [literal], Format.Text, Format.Binary);
  const [result] = await sql.exchange(writer.describe('P', '').execute().sync().bytes(), 1, true);
  const cell = result?.raw[0]?.[0] ?? Buffer.alloc(0);
  const value = type.decode(Buffer.from(cell), 0, cell.length);
  return value instanceof Uint8Array ? `\\x${Buffer.from(value).toString('hex')}` : String(value);
}
