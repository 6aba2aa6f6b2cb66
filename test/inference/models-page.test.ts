/** docs/models.md: its mapping is one, its features make of the rows beside them what the page says, and no finding is left out. */
import { readFileSync } from 'node:fs';
import { Ajv } from 'ajv';
import { expect, test } from 'vitest';
import { parse as parseYaml } from 'yaml';
import { configSchema } from '../../app/config-schema.ts';
import { compileFeatures, ENCODED } from '../../inference/features.ts';
import type { GoldenRow, Mapping } from '../../inference/mapping-schema.ts';
import { parseMapping } from '../../inference/mapping.ts';
import type { AdmissionRule } from '../../inference/models/admission.ts';
import { declaredDataset, encodeGolden, goldenEvent } from '../../inference/models/golden.ts';
import { compileRoutes, type Route } from '../../inference/routes.ts';

const page = readFileSync(new URL('../../docs/models.md', import.meta.url), 'utf8');
const blocks = (language: string) => [...page.matchAll(new RegExp(`\`\`\`${language}\\n(.*?)\`\`\``, 'gs'))].map((match) => match[1] ?? '');
const columns: Mapping['columns'] = {
  total: 'decimal',
  items: 'integer',
  paid: 'boolean',
  country: 'text',
  email: 'text',
  created_at: 'timestamp',
  day: 'date',
};

function parsed(value: unknown): Mapping {
  const result = parseMapping(value, 'docs/models.md');
  if (result.kind === 'refused') throw new Error(JSON.stringify(result.problems));
  return result.mapping;
}

test('the mapping is one, and its golden row can be read', () => {
  const mappings = blocks('json').map((block) => parsed(JSON.parse(block)));
  expect(mappings.map((mapping) => encodeGolden(mapping).problems)).toEqual([[]]);
});

const examples = blocks('features')
  .flatMap((block) => block.split('\n\n'))
  .map((example) => {
    const [feature = '', ...rows] = example.trim().split('\n');
    return [feature, rows] as const;
  });

test.each(examples)('%s', (text, rows) => {
  const mapping = parsed({ apiVersion: 'inference/v1', columns, features: [JSON.parse(text)] });
  const dataset = declaredDataset(mapping);
  const features = compileFeatures(mapping, dataset);
  if (features.kind === 'refused') throw new Error(JSON.stringify(features.problems));
  expect(rows.length).toBeGreaterThan(0);
  for (const line of rows) {
    const [, row = '', before, made = ''] = /^# (\{.*?\})(?: before (\{.*\}))? -> (.*)$/.exec(line) ?? [];
    const cells: Pick<GoldenRow, 'row' | 'before'> = {
      row: JSON.parse(row) as GoldenRow['row'],
      ...(before === undefined ? {} : { before: JSON.parse(before) as GoldenRow['row'] }),
    };
    const out = new Float32Array(features.width);
    const isEncoded = features.encode(goldenEvent(dataset, cells), out, 0) === ENCODED;
    const rounded = [...out].map((value) => Math.round(value * 1e6) / 1e6 + 0);
    expect([line, isEncoded ? rounded.join(', ') : 'rejected']).toEqual([line, made]);
  }
});

test('the models of a pipeline are what the config takes, and their routes compile', () => {
  const { models } = parseYaml(blocks('yaml')[0] ?? '') as { models: readonly { routes: readonly Route[] }[] };
  const validate = new Ajv({ strict: false }).compile(
    configSchema.properties.pipelines.additionalProperties.properties.models as Record<string, unknown>,
  );
  expect([validate(models), validate.errors]).toEqual([true, null]);
  const dataset = declaredDataset(parsed({ apiVersion: 'inference/v1', columns, features: [{ name: 'f', type: 'const', value: 1 }] }));
  expect(models.map(({ routes }) => compileRoutes(routes, dataset, 'page'))).toMatchObject([{ kind: 'compiled' }]);
});

test('every kind of feature has an example', () => {
  const kinds = examples.map(([feature]) => (JSON.parse(feature) as { type: string }).type);
  expect([...new Set(kinds)].sort()).toEqual(['bool', 'changed', 'const', 'expr', 'hash', 'number', 'onehot', 'ordinal', 'time'].sort());
});

test('every finding is in the table', () => {
  const findings: Record<AdmissionRule, true> = {
    MAPPING: true, TOO_LARGE: true, NOT_A_MODEL: true, GRAPH_TOO_LARGE: true, EXTERNAL_DATA: true, CONTROL_FLOW_NOT_ALLOWED: true,
    DOMAIN_NOT_ALLOWED: true, INPUT_MISMATCH: true, OUTPUT_MISMATCH: true, LOAD_FAILED: true, LOAD_TIMEOUT: true, RUN_FAILED: true,
    RUN_TIMEOUT: true, MODEL_CRASHED: true, NOT_DETERMINISTIC: true, GOLDEN_MISMATCH: true, FIXED_BATCH: true, NAN_SCORED: true,
    ZIPMAP_STRIPPED: true,
  }; // prettier-ignore
  expect(Object.keys(findings).filter((rule) => !page.includes(`\`${rule}\``))).toEqual([]);
});
