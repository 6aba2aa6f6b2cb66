/** Types whose binary form is their text, or nearly so. */

export type DecodeText = (bytes: Buffer, offset: number, length: number) => string;

export const utf8: DecodeText = (bytes, offset, length) => bytes.toString('utf8', offset, offset + length);

/** jsonb, jsonpath, ltree: a version byte first. */
export const afterVersion: DecodeText = (bytes, offset, length) => bytes.toString('utf8', offset + 1, offset + length);

/** "char": one byte; zero is the empty text, and what is not ASCII is written in octal. */
export const charText: DecodeText = (bytes, offset) => {
  const byte = bytes[offset] ?? 0;
  return byte === 0 ? '' : byte < 128 ? String.fromCharCode(byte) : `\\${byte.toString(8)}`;
};

export const uuidText: DecodeText = (bytes, offset) => {
  const hex = bytes.toString('hex', offset, offset + 16);
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
};

export const bitsText: DecodeText = (bytes, offset) => {
  const count = bytes.readInt32BE(offset);
  let digits = '';
  for (let i = 0; i < count; i++) digits += ((bytes[offset + 4 + (i >> 3)] ?? 0) >> (7 - (i & 7))) & 1;
  return digits;
};

export const lsnText: DecodeText = (bytes, offset) => {
  const part = (at: number): string => bytes.readUInt32BE(at).toString(16).toUpperCase();
  return `${part(offset)}/${part(offset + 4)}`;
};

/** A place in a table: block and number. */
export const tidText: DecodeText = (bytes, offset) => `(${bytes.readUInt32BE(offset)},${bytes.readUInt16BE(offset + 4)})`;

/** pg_snapshot: a count, xmin, xmax, then so many transactions under way. */
export const snapshotText: DecodeText = (bytes, offset) => {
  const id = (place: number): string => String(bytes.readBigUInt64BE(offset + 4 + 8 * place));
  const running = Array.from({ length: bytes.readInt32BE(offset) }, (_, i) => id(2 + i));
  return `${id(0)}:${id(1)}:${running.join(',')}`;
};
