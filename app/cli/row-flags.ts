/** What commands are told that read the rows of a table or a file. */

/** Of a table, unless more are asked for. */
export const ROWS = 100_000;

export const ROW_FLAGS = {
  input: {
    type: 'string',
    value: 'FILE',
    help: 'Rows of a file instead: NDJSON, .csv, .tsv (each may be packed: rows.csv.gz, .zst) or .parquet; - reads NDJSON from standard input.',
  },
  dataset: { type: 'string', value: 'NAME', help: 'The dataset that the rows of a file are of (source.schema.table).' },
  types: { type: 'string', value: 'FILE', help: 'Of a file: JSON, column to type of PostgreSQL or null, as judge takes it.' },
  rows: { type: 'string', value: 'N', help: `A sample of about so many rows; ${ROWS} of a table if left out, all of a file.` },
  all: { type: 'boolean', help: 'Every row. A long read keeps the source from vacuuming what is newer.' },
  rate: { type: 'string', value: 'N', help: 'Read a table at no more than so many rows a second.' },
} as const;
