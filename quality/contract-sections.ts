/** The sections of a rule file that hold no checks, with everything said that the file left to defaults. */
import { durationMicros } from '../core/expression/timestamp.ts';
import type { BreakerRule } from './contract.ts';
import { DRIFT_KINDS, type RuleFile } from './contract-schema.ts';
import { DEFAULT_EVOLUTION, type DriftKind, type DriftPolicy, type Evolution, type ExpectedSchema } from './schema/drift.ts';

export function expectedSchema(file: RuleFile): ExpectedSchema | null {
  const columns = file.schema?.columns;
  if (columns === undefined) return null;
  return {
    columns: Object.entries(columns).map(([name, column]) =>
      typeof column === 'string' ? { name, type: column, nullable: null } : { name, type: column.type, nullable: column.nullable ?? null },
    ),
    evolution: evolutionOf(file),
  };
}

/** Only a table whose columns are written down is expected to stay as it is. */
export function evolutionOf({ schema, mode }: RuleFile): Evolution {
  const said: Readonly<Record<string, string | undefined>> =
    mode === 'shadow' && schema?.columns === undefined ? {} : (schema?.evolution ?? {});
  const policyOf = (kind: DriftKind): DriftPolicy => {
    const byDefault = schema?.columns === undefined ? 'accept' : DEFAULT_EVOLUTION[kind];
    return (said[kind] ?? (kind.startsWith('add_') ? said['add'] : undefined) ?? byDefault) as DriftPolicy; // As the schema has them.
  };
  return Object.fromEntries(DRIFT_KINDS.map((kind) => [kind, policyOf(kind)])) as Evolution;
}

export function breakerRule({ breaker }: RuleFile): BreakerRule | null {
  if (breaker === undefined) return null;
  const { quarantined_ratio: quarantinedRatio, over = '1m', min_rows: minRows = 200 } = breaker.open_when;
  return { quarantinedRatio, overMs: Number(durationMicros(over) ?? 60_000_000n) / 1000, minRows };
}
