/** What a file of rows is, by its extension: NDJSON where it is neither of these. */

export function isCsv({ path }: { readonly path: string }): boolean {
  return /\.[ct]sv$/i.test(path);
}

export function isParquet({ path }: { readonly path: string }): boolean {
  return /\.parquet$/i.test(path);
}
