/** Rule files for the tests that run whole services. */

/** A rule file of a table of the source `shop`, whose breaker stays closed. Columns as YAML: `amount: [not_null]`. */
export const ruleFile = (table: string, hold: 'event' | 'key', ...columns: readonly string[]): string => `
apiVersion: quality/v1
kind: DatasetRules
dataset: shop.public.${table}
version: 1
hold: ${hold}
columns:
${columns.map((column) => `  ${column}`).join('\n')}
breaker: {open_when: {quarantined_ratio: 1, over: 1m, min_rows: 100000}}
`;
