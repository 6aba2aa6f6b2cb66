/** Orders as Postgres encodes them. */
import type { ChangeEvent, Column, ColumnType, Dataset, DatasetName, Version } from '../core/event.ts';
import { type PgRelation, PgRow } from '../wire/postgres/row.ts';
import { numericBytes } from '../wire/postgres/types-numeric.ts';
import { builtinType } from '../wire/postgres/types.ts';

const COLUMNS: readonly (readonly [string, ColumnType, string, number])[] = [
  ['id', 'integer', 'bigint', 20],
  ['customer_id', 'integer', 'bigint', 20],
  ['status', 'text', 'text', 25],
  ['currency', 'text', 'text', 25],
  ['email', 'text', 'text', 25],
  ['items', 'integer', 'integer', 23],
  ['net', 'decimal', 'numeric', 1700],
  ['tax', 'decimal', 'numeric', 1700],
  ['total', 'decimal', 'numeric', 1700],
  ['note', 'text', 'text', 25],
];
export const columns = COLUMNS.map(([name, type, native]): Column => ({ name, type, native, nullable: name !== 'id' }));
export const dataset: Dataset = { name: 'shop.public.orders' as DatasetName, version: 1, columns, key: [0] };
const CHUNK_ROWS = 250;

/** Rows lie one behind the other in what was read at once, and so do their places: as the reader of the log has them. */
class Chunk {
  readonly #bytes = Buffer.alloc(CHUNK_ROWS * 512);
  readonly #places = new Int32Array(CHUNK_ROWS * 2 * COLUMNS.length);
  #used = 0;
  #rows = 0;

  row(relation: PgRelation, cells: readonly Buffer[]): PgRow {
    const first = this.#rows++ * 2 * COLUMNS.length;
    for (const [index, cell] of cells.entries()) {
      this.#places[first + 2 * index] = this.#used;
      this.#places[first + 2 * index + 1] = cell.length;
      this.#used += cell.copy(this.#bytes, this.#used);
    }
    return new PgRow(relation, this.#bytes, this.#places, first);
  }
}

/** Orders as COPY BINARY and pgoutput have them, one in a hundred bad in one of its cells. */
export function encodedOrders(count: number): ChangeEvent[] {
  const types = COLUMNS.map(([name, , , oid]) => {
    const type = builtinType(oid);
    if (type === undefined) throw new Error(`no codec for ${name}`);
    return { oid, typmod: -1, format: 'binary' as const, decode: type.decode, type };
  });
  const relation: PgRelation = { dataset, types };
  const made: ChangeEvent[] = [];
  let chunk = new Chunk();
  for (let n = 1; n <= count; n++) {
    if (n % CHUNK_ROWS === 0) chunk = new Chunk();
    const bad = n % 100 === 0 ? Math.floor(n / 100) % 4 : -1;
    const [net, tax] = [(n % 9000) + 1, n % 19];
    const money = (amount: number) => `${amount}.${String(n % 100).padStart(2, '0')}`;
    const total = ((net * 100 + tax * 100 + 2 * (n % 100) + (bad === 3 ? 1 : 0)) / 100).toFixed(2);
    const cells = [
      int8(n),
      int8(n * 7),
      Buffer.from(bad === 0 ? 'lost' : (['new', 'paid', 'shipped'][n % 3] ?? 'new')),
      Buffer.from(bad === 1 ? 'eur' : 'EUR'),
      Buffer.from(bad === 2 ? `user${n}` : `user${n}@mail.example.org`),
      Buffer.from([0, 0, 0, (n % 50) + 1]),
      Buffer.from(numericBytes(money(net))),
      Buffer.from(numericBytes(money(tax))),
      Buffer.from(numericBytes(total)),
      Buffer.from('leave it at the door, please, and ring twice'),
    ];
    made.push({
      op: 'insert',
      before: null,
      after: chunk.row(relation, cells),
      dataset,
      key: String(n),
      movedFrom: null,
      version: n.toString(16).padStart(16, '0') as Version,
      ordinal: 0,
      committedAtMs: 0,
    });
  }
  return made;
}

function int8(value: number): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigInt64BE(BigInt(value));
  return bytes;
}
