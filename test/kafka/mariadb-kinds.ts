/** Columns of every kind that MariaDB has, with how both servers are asked for a cell so that the texts can be compared. */

export interface MariaKind {
  readonly type: string;
  /** As SQL; null is a value of all. */
  readonly values: readonly string[];
  /** Asks MariaDB for the cell as text; left out, as it writes it itself. */
  readonly there?: (column: string) => string;
  /** The same of PostgreSQL. */
  readonly here?: (column: string) => string;
  /** What is no difference: zeros at the end of a fraction, say. */
  readonly same?: (text: string) => string;
}

const plain = (type: string, ...values: string[]): MariaKind => ({ type, values });
/** Texts by their bytes, so that nobody's charset is between them. */
const text = (type: string, ...values: string[]): MariaKind => ({
  type,
  values,
  there: (column) => `hex(convert(${column} using utf8mb4))`,
  here: (column) => `upper(encode(convert_to(${column}::text, 'UTF8'), 'hex'))`,
});
const bytes = (type: string, ...values: string[]): MariaKind => ({
  type,
  values,
  there: (column) => `hex(${column})`,
  here: (column) => `upper(encode(${column}, 'hex'))`,
});
const float = (type: string, ...values: string[]): MariaKind => ({
  type,
  values,
  there: (column) => `cast(${column} as double)`,
  here: (column) => `${column}::float8`,
  same: (shown) => String(Number(shown)),
});
const bits = (length: number, ...values: string[]): MariaKind => ({
  type: `bit(${length})`,
  values,
  there: (column) => `lpad(bin(${column}), ${length}, '0')`,
});
const time = (type: string, ...values: string[]): MariaKind => ({
  type,
  values,
  same: (shown) =>
    shown
      .replace(/\+00$/, '')
      .replace(/(\.\d*?)0+$/, '$1')
      .replace(/\.$/, ''),
});
const shape = (type: string, ...values: string[]): MariaKind => ({ type, values, there: (column) => `lower(hex(st_aswkb(${column})))` });

export const KINDS: Readonly<Record<string, MariaKind>> = {
  bo: plain('boolean', 'true', 'false'),
  ti: plain('tinyint', '-128', '127'),
  tiu: plain('tinyint unsigned', '0', '255'),
  si: plain('smallint', '-32768', '32767'),
  siu: plain('smallint unsigned', '65535'),
  mi: plain('mediumint', '-8388608', '8388607'),
  miu: plain('mediumint unsigned', '16777215'),
  i: plain('int', '-2147483648', '2147483647'),
  iu: plain('int unsigned', '4294967295'),
  // The zeros are how it is shown.
  iz: { type: 'int(6) unsigned zerofill', values: ['7'], there: (column) => `cast(${column} + 0 as char)` },
  bi: plain('bigint', '-9223372036854775808', '9223372036854775807', '9007199254740993'),
  bu: plain('bigint unsigned', '0', '18446744073709551615'),
  n: plain('decimal(12,2)', '12.34', '-0.01', '9999999999.99', '0'),
  nl: plain('decimal(65,30)', '12345678901234567890123456789012345.123456789012345678901234567890', '-0.000000000000000000000000000001'),
  ni: plain('decimal(20,0) unsigned', '99999999999999999999'),
  f: float('float', '1.5', '3.4e38', '-1e-37'),
  f8: float('double', '0.1', '1.7976931348623157e308', '5e-308', '-1e20'),
  b1: bits(1, "b'1'", "b'0'"),
  b5: bits(5, "b'10110'", "b'1'"),
  b12: bits(12, "b'100000000001'"),
  b64: bits(64, "b'1000000000000000000000000000000000000000000000000000000000000001'"),
  d: plain('date', "'2026-01-02'", "'1000-01-01'", "'9999-12-31'"),
  t: time('time', "'03:04:05'", "'-25:00:00'", "'838:59:59'"),
  t3: time('time(3)', "'03:04:05.678'", "'-00:00:00.001'"),
  t6: time('time(6)', "'03:04:05.678901'", "'-838:59:58.999999'"),
  dt: time('datetime', "'2026-01-02 03:04:05'", "'1000-01-01 00:00:00'", "'9999-12-31 23:59:59'"),
  dt3: time('datetime(3)', "'2026-01-02 03:04:05.678'"),
  dt6: time('datetime(6)', "'2026-01-02 03:04:05.678901'", "'1969-12-31 23:59:59.999999'"),
  ts: time('timestamp null', "'2026-01-02 03:04:05'", "'1970-01-01 00:00:01'", "'2038-01-19 03:14:07'"),
  ts6: time('timestamp(6) null', "'2026-01-02 03:04:05.678901'"),
  y: plain('year', '1901', '2155', '2026'),
  e: text("enum('a', 'b c', 'é')", "'a'", "'b c'", "'é'"),
  s: text("set('x', 'y', 'z')", "'x,z'", "''", "'y'"),
  j: text('json', `'{"a": 12345678901234567890,  "é": [1.50, null]}'`, "'1'"),
  vc: text('varchar(20)', "'abc '", "''", "'😀'"),
  ch: text('char(5)', "'ab'", "'abcde'"),
  la: text('varchar(20) character set latin1', "'é€'"),
  cy: text('varchar(20) character set cp1251', "'Жук'"),
  uc: text('varchar(20) character set ucs2', "'éЖ漢'"),
  tt: text('tinytext', "'NULL'"),
  tx: text('text', "'line\\n\\ttab \\\\ \\'quoted\\''", "repeat('漢', 3000)"),
  lt: text('longtext', "repeat('x', 200000)"),
  bn: bytes('binary(5)', "'ab'", "x'0102030405'"),
  vb: bytes('varbinary(9)', "x'00ff10'", "''"),
  bl: bytes('blob', "x'00ff10'"),
  lb: bytes('longblob', "repeat(x'00ff', 50000)"),
  u: plain('uuid', "'550e8400-e29b-41d4-a716-446655441234'"),
  u0: plain('uuid', "'550e8400-e29b-41d4-a716-446655440000'"),
  pt: { type: 'point', values: ['point(1.5, -2)'], there: (column) => `concat('(', st_x(${column}), ',', st_y(${column}), ')')` },
  ge: shape('geometry', "st_geomfromtext('linestring(0 0, 1 2)')", "st_geomfromtext('polygon((0 0, 4 0, 4 4, 0 0))')"),
  df: plain('int default 7', '3', 'null'),
  gs: plain('bigint unsigned generated always as (id + 1) stored'),
  gv: plain('bigint unsigned generated always as (id + 2) virtual'),
};

/** Inserts as many rows as it takes until every value was in one, from the id on. */
export function rowsOfKinds(from: string): string {
  const most = Math.max(...Object.values(KINDS).map(({ values }) => values.length)) + 1;
  const rows = Array.from({ length: most }, (_, i) => {
    const cells = Object.entries(KINDS).flatMap(([name, { values }]) =>
      values.length === 0 ? [] : [[name, values[i % (values.length + 1)] ?? 'null'] as const],
    );
    return `insert into kinds (id, ${cells.map(([name]) => name).join(', ')}) values (${from} + ${i}, ${cells.map(([, value]) => value).join(', ')});`;
  });
  return rows.join('\n');
}
