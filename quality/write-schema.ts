/** Writes schema/dataset-rules.v1.schema.json, for editors, from the schema that validates rule files: `node quality/write-schema.ts`. */
import { writeFileSync } from 'node:fs';
import { contractSchema } from './contract-schema.ts';

export const SCHEMA_FILE = 'schema/dataset-rules.v1.schema.json';

export function schemaText(): string {
  return `${JSON.stringify(contractSchema, null, 2)}\n`;
}

if (import.meta.main) writeFileSync(SCHEMA_FILE, schemaText());
