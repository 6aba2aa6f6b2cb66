/** What a file of rows is, by its extension: NDJSON where it is neither of these. CSV and NDJSON may be packed: rows.csv.gz. */

const PACKED = /\.(?:(gz)|zst)$/i;

/** How the name says that the file is packed; null where it does not. */
export function packedName(path: string): 'gzip' | 'zstd' | null {
  const [packed, gz] = PACKED.exec(path) ?? [];
  return packed === undefined ? null : gz === undefined ? 'zstd' : 'gzip';
}

/** The name of what is packed. */
export function plainName(path: string): string {
  return path.replace(PACKED, '');
}

export function isCsv({ path }: { readonly path: string }): boolean {
  return /\.[ct]sv$/i.test(plainName(path));
}

export function isParquet({ path }: { readonly path: string }): boolean {
  return /\.parquet$/i.test(path);
}
