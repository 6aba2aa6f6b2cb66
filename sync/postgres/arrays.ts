/** Arrays of text and bytea as binary parameters. */

const TEXT = 25;
const BYTEA = 17;

export const textArrayParameter = (values: readonly (string | null)[]): Buffer =>
  arrayParameter(
    TEXT,
    values.map((value) => (value === null ? null : Buffer.from(value))),
  );

export const byteaArrayParameter = (values: readonly (Uint8Array | null)[]): Buffer => arrayParameter(BYTEA, values);

/** The binary form of a one-dimensional array (array_recv in PostgreSQL's arrayfuncs.c). */
function arrayParameter(element: number, values: readonly (Uint8Array | null)[]): Buffer {
  const header = Buffer.alloc(values.length === 0 ? 12 : 20);
  header.writeInt32BE(values.length === 0 ? 0 : 1, 0);
  header.writeInt32BE(values.includes(null) ? 1 : 0, 4);
  header.writeInt32BE(element, 8);
  if (values.length > 0) {
    header.writeInt32BE(values.length, 12);
    header.writeInt32BE(1, 16);
  }
  const parts: Uint8Array[] = [header];
  for (const value of values) {
    const length = Buffer.alloc(4);
    length.writeInt32BE(value === null ? -1 : value.length);
    parts.push(length);
    if (value !== null) parts.push(value);
  }
  return Buffer.concat(parts);
}
