/** Writes what is made from the schemas and tables: schema/*.json, docs/config.md, docs/errors.md and docs/expectations.md. `npm run generate`; a test fails where they differ. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { mappingSchema } from '../inference/mapping-schema.ts';
import { contractSchema } from '../quality/contract.ts';
import { configSchema, publishedConfigSchema } from './config-schema.ts';
import { errorsPage } from './errors-page.ts';
import { expectationsPage } from './expectations-page.ts';
import type { SchemaNode } from './schema-type.ts';

/** The generated files by their path in the repository. */
export function generatedFiles(): ReadonlyMap<string, string> {
  return new Map([
    ['schema/tidegate.v1.schema.json', `${JSON.stringify(publishedConfigSchema(), null, 2)}\n`],
    ['schema/dataset-rules.v1.schema.json', `${JSON.stringify(contractSchema, null, 2)}\n`],
    ['schema/feature-mapping.v1.schema.json', `${JSON.stringify(mappingSchema, null, 2)}\n`],
    ['docs/config.md', configPage()],
    ['docs/errors.md', errorsPage()],
    ['docs/expectations.md', expectationsPage()],
  ]);
}

function configPage(): string {
  const parts: string[] = [];
  section(parts, configSchema, [], 0);
  return `# The config

Made from the schema in app/config-schema.ts by \`npm run generate\`. \`tidegate check\` explains what is wrong with a config;
\`tidegate schema config\` prints the schema for editors. Texts may hold \`\${NAME}\` or \`\${NAME:-default}\` for environment variables; secrets
may also be \`{file: path}\`, and are never printed. Relative paths are relative to the config file.

${parts.join('\n')}`;
}

function section(out: string[], schema: SchemaNode, path: readonly string[], depth: number): void {
  const rows: string[] = [];
  const nested: [SchemaNode, readonly string[]][] = [];
  for (const [name, option] of Object.entries(schema.properties ?? {})) {
    const at = [...path, name];
    rows.push(
      `| \`${name}\` | ${typeText(option)} | ${defaultText(option, schema.required?.includes(name) === true)} | ${cell(option.description ?? '')} |`,
    );
    if (option['x-kind'] === 'secret' || option['x-kind'] === 'place') continue;
    if (option.type === 'object' && option.properties !== undefined) nested.push([option, at]);
    else if (option.type === 'object' && option.additionalProperties !== false && option.additionalProperties?.properties !== undefined)
      nested.push([option.additionalProperties, [...at, '<name>']]);
    else if (option.type === 'object' && option.additionalProperties !== false && option.additionalProperties?.anyOf !== undefined) {
      for (const kind of option.additionalProperties.anyOf) if (kind.properties !== undefined) nested.push([kind, [...at, '<name>']]);
    } else if (option.type === 'array' && option.items?.properties !== undefined)
      nested.push([option.items, [...at.slice(0, -1), `${name}[]`]]);
  }
  const kind = schema.properties?.['kind']?.const;
  const ofKind = (path[0] === 'sources' || path[0] === 'targets') && kind !== undefined ? ` of kind \`${kind}\`` : '';
  const title = path.length === 0 ? 'Top level' : `\`${path.join('.')}\`${ofKind}`;
  out.push(
    `${'#'.repeat(Math.min(4, 2 + Math.max(0, depth - 1)))} ${title}\n\n${path.length === 0 ? '' : `${schema.description ?? ''}\n\n`}| option | type | default | what it does |\n|---|---|---|---|\n${rows.join('\n')}\n`,
  );
  for (const [child, at] of nested) section(out, child, at, depth + 1);
}

function typeText(schema: SchemaNode): string {
  const kind = schema['x-kind'];
  if (kind === 'secret') return 'secret';
  if (kind === 'duration' || kind === 'size') return `${kind} (${schema['x-unit'] ?? ''})`;
  if (kind === 'path') return 'path';
  if (kind === 'place') return 'path or url';
  if (schema.const !== undefined) return `\`${schema.const}\``;
  if (schema.enum !== undefined) return schema.enum.map((value) => `\`${value}\``).join(', ');
  if (schema.anyOf !== undefined) return schema.anyOf.map(typeText).join(' or ');
  if (schema.type === 'array')
    return `list of ${schema.items === undefined ? 'values' : schema.items.properties === undefined ? typeText(schema.items) : 'blocks'}`;
  if (schema.type === 'object') return 'block';
  const unit = schema['x-unit'] === undefined ? '' : ` (${schema['x-unit']})`;
  const type = Array.isArray(schema.type) ? schema.type.join(' or ') : String(schema.type);
  return `${type === 'string' ? 'text' : type}${unit}`;
}

function defaultText(schema: SchemaNode, isRequired: boolean): string {
  if (isRequired) return '**required**';
  const value = schema.default;
  if (value === null || value === undefined) return '';
  if (schema.type === 'object') return '';
  return `\`${typeof value === 'string' ? value : JSON.stringify(value)}\``;
}

function cell(text: string): string {
  return text.replaceAll('|', '\\|').replaceAll('\n', ' ');
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  for (const [file, text] of generatedFiles()) {
    const path = fileURLToPath(new URL(`../${file}`, import.meta.url));
    mkdirSync(fileURLToPath(new URL('.', `file://${path}`)), { recursive: true });
    writeFileSync(path, text);
  }
}
