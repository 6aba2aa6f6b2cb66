/** Files that are packed whole by gzip or zstd, told by their first bytes, whatever they are called. */
import { closeSync, createReadStream, openSync, readSync, statSync } from 'node:fs';
import { pipeline, type Transform } from 'node:stream';
import { UsageError } from '../cli/arguments.ts';
import { isParquet, packedName, plainName } from './file-kind.ts';

interface Packing {
  readonly name: 'gzip' | 'zstd';
  readonly magic: Buffer;
  /** Loaded where there is such a file. */
  readonly create: () => Promise<Transform & { readonly bytesWritten: number }>;
}

const PACKINGS: readonly Packing[] = [
  { name: 'gzip', magic: Buffer.from([0x1f, 0x8b]), create: async () => (await import('node:zlib')).createGunzip() },
  { name: 'zstd', magic: Buffer.from([0x28, 0xb5, 0x2f, 0xfd]), create: async () => (await import('node:zlib')).createZstdDecompress() },
];
const MAGIC_BYTES = 4;

/** How a file is packed; null where it is not, and where it is no file. Throws where it is not what its name says. */
export function packingOf(path: string): Packing | null {
  if (path === '-' || statSync(path, { throwIfNoEntry: false })?.isFile() !== true) return null;
  const said = packedName(path);
  if (said !== null && isParquet({ path: plainName(path) }))
    throw new UsageError(`${path} cannot be read: Parquet is packed within`, 'Unpack the file, and give it as .parquet.');
  const begin = firstBytes(path);
  const packing = PACKINGS.find(({ magic }) => begin.subarray(0, magic.length).equals(magic)) ?? null;
  if (said !== null && packing?.name !== said)
    throw new UsageError(`${path} is not packed by ${said}`, `Give it a name without .${path.split('.').at(-1)}, or pack it.`);
  return packing;
}

function firstBytes(path: string): Buffer {
  const file = openSync(path, 'r');
  try {
    const bytes = Buffer.alloc(MAGIC_BYTES);
    return bytes.subarray(0, readSync(file, bytes, 0, MAGIC_BYTES, 0));
  } finally {
    closeSync(file);
  }
}

/** The bytes that are in the file. */
export async function* unpacked(path: string, { name, create }: Packing, chunkBytes: number): AsyncGenerator<Buffer> {
  const unpacking = await create();
  // What becomes of one of the two becomes of the other.
  pipeline(createReadStream(path, { highWaterMark: chunkBytes }), unpacking, () => {});
  for await (const chunk of unpacking) yield chunk as Buffer;
  if (unpacking.bytesWritten >= statSync(path).size) return;
  // Of zstd Node reads what comes behind the end of a frame only where it comes by itself, and is silent of the rest; of gzip it leaves out zeros, and all behind them.
  const how = name === 'zstd' ? 'it is packed in several pieces' : 'there are zeros behind what is packed';
  throw new UsageError(`${path} cannot be unpacked: ${how}`, 'Unpack the file, or pack it anew in one piece.');
}

/** What zlib says of bytes that are not packed as they should be; null where an error is another one. */
export function unpackProblem(error: unknown, path: string): UsageError | null {
  if (!(error instanceof Error && 'code' in error && /^Z(STD)?_/i.test(String(error.code)))) return null;
  const how = error.code === 'Z_BUF_ERROR' ? 'it ends too early' : `it is damaged (${String(error.code)})`;
  return new UsageError(`${path} cannot be unpacked: ${how}`, 'Give the whole file, or pack it anew.');
}
