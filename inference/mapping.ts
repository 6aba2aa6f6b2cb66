/** Reads a feature mapping and says everything that is wrong with it at once. */
import { Ajv, type ErrorObject, type ValidateFunction } from 'ajv';
import type { Problem } from '../core/problems.ts';
import { type Feature, featureSchemas, type FeatureType, type Mapping, mappingSchema } from './mapping-schema.ts';

export type ParsedMapping =
  | { readonly kind: 'parsed'; readonly mapping: Mapping }
  | { readonly kind: 'refused'; readonly problems: readonly [Problem, ...Problem[]] };

/** Of a row of the matrix: 256 KiB. The memory that a batch takes on its way to the model is bounded by it. */
const WIDTH_MAX = 65_536;

const ajv = new Ajv({ allErrors: true, strict: true, allowUnionTypes: true });
// Features are validated by their `type`, one by one: a failing anyOf would list what every other kind of feature lacks.
const { features, ...restProperties } = mappingSchema.properties;
const validateMapping = ajv.compile<Mapping>({
  ...mappingSchema,
  properties: {
    ...restProperties,
    features: { type: 'array', minItems: features.minItems, maxItems: features.maxItems, items: { type: 'object' } },
  },
});
const validateFeature = Object.fromEntries(Object.entries(featureSchemas).map(([type, schema]) => [type, ajv.compile(schema)])) as Record<
  FeatureType,
  ValidateFunction
>;

/** Checks a mapping as it comes from JSON. `path` is what the problems' paths begin with (`order-risk.mapping.json`). */
export function parseMapping(value: unknown, path: string): ParsedMapping {
  const problems: Problem[] = [];
  if (!validateMapping(value)) problems.push(...problemsOf(validateMapping.errors, path));
  const { features } = (value ?? {}) as { features?: unknown };
  if (Array.isArray(features)) {
    for (const [index, feature] of features.entries()) problems.push(...featureProblems(feature, `${path}: features[${index}]`));
  }
  if (problems.length === 0) problems.push(...agreementProblems(value as Mapping, path)); // It fits the schema.
  const [first, ...others] = problems;
  if (first !== undefined) return { kind: 'refused', problems: [first, ...others] };
  return { kind: 'parsed', mapping: value as Mapping };
}

/** How many columns of the matrix a feature fills. */
export function featureWidth(feature: Feature): number {
  const indicator = 'null' in feature && feature.null === 'indicator' ? 1 : 0;
  switch (feature.type) {
    case 'onehot':
      return feature.vocab.length + (feature.unknown === 'other' ? 1 : 0) + indicator;
    case 'hash':
      return feature.buckets + indicator;
    case 'time':
      return (feature.encode === 'sincos' ? 2 : 1) + indicator;
    case 'number':
    case 'bool':
    case 'ordinal':
    case 'expr':
    case 'changed':
    case 'const':
      return 1 + indicator;
  }
}

/** The columns of the model's input that the mapping fills. */
export function mappingWidth(mapping: Mapping): number {
  return mapping.features.reduce((sum, feature) => sum + featureWidth(feature), 0);
}

/** `after.total`, `before.total` and `total` as image and column. */
export function readReference(from: string): { readonly image: 'after' | 'before'; readonly column: string } {
  if (from.startsWith('after.')) return { image: 'after', column: from.slice('after.'.length) };
  if (from.startsWith('before.')) return { image: 'before', column: from.slice('before.'.length) };
  return { image: 'after', column: from };
}

function featureProblems(feature: unknown, path: string): Problem[] {
  const { type } = (feature ?? {}) as { type?: unknown };
  const validate = typeof type === 'string' && Object.hasOwn(validateFeature, type) ? validateFeature[type as FeatureType] : null;
  if (validate === null) {
    const kinds = Object.keys(featureSchemas).join(', ');
    return [{ severity: 'error', path: `${path}.type`, message: 'This is no type of feature.', fix: `Use one of: ${kinds}.` }];
  }
  return validate(feature) ? [] : problemsOf(validate.errors, path);
}

/** What a schema can't say: names are unique, columns that are read are declared, and a row stays within bounds. */
function agreementProblems(mapping: Mapping, path: string): Problem[] {
  const problems: Problem[] = [];
  const width = mappingWidth(mapping);
  if (width > WIDTH_MAX) {
    problems.push({
      severity: 'error',
      path: `${path}: features`,
      message: `They make ${width} columns of each row, more than the ${WIDTH_MAX} that there may be.`,
      fix: 'Hash into fewer buckets, or leave the rarest words out of the vocabularies.',
    });
  }
  const names = new Set<string>();
  for (const [index, feature] of mapping.features.entries()) {
    const at = `${path}: features[${index}]`;
    if (names.has(feature.name)) {
      problems.push({
        severity: 'error',
        path: `${at}.name`,
        message: `Another feature is called "${feature.name}" already.`,
        fix: 'Give each feature a name of its own.',
      });
    }
    names.add(feature.name);
    if (!('from' in feature)) continue;
    const { column } = readReference(feature.from);
    if (!Object.hasOwn(mapping.columns, column)) {
      problems.push({
        severity: 'error',
        path: `${at}.from`,
        message: `The column "${column}" is not among the mapping's columns.`,
        fix: `Add "${column}" with its type to \`columns\`, or name one of: ${Object.keys(mapping.columns).join(', ')}.`,
      });
    }
  }
  return problems;
}

function problemsOf(errors: readonly ErrorObject[] | null | undefined, path: string): Problem[] {
  return (errors ?? []).map((error) => {
    const place = error.instancePath
      .split('/')
      .slice(1)
      .map((part) => (/^[0-9]+$/.test(part) ? `[${part}]` : `.${part.replaceAll('~1', '/').replaceAll('~0', '~')}`))
      .join('');
    const at = place === '' ? path : path.includes(': ') ? `${path}${place}` : `${path}: ${place.replace(/^\./, '')}`;
    return { severity: 'error' as const, path: at, message: `It ${error.message ?? 'is not valid'}.`, fix: fixOf(error) };
  });
}

function fixOf(error: ErrorObject): string {
  const params = error.params as {
    additionalProperty?: string;
    missingProperty?: string;
    allowedValues?: readonly unknown[];
    allowedValue?: unknown;
  };
  if (params.additionalProperty !== undefined) return `Remove "${params.additionalProperty}".`;
  if (params.missingProperty !== undefined) return `Add "${params.missingProperty}".`;
  if (params.allowedValues !== undefined) return `Use one of: ${params.allowedValues.join(', ')}.`;
  if (params.allowedValue !== undefined) return `Write ${JSON.stringify(params.allowedValue)}.`;
  return 'Correct it as docs/models.md describes.';
}
