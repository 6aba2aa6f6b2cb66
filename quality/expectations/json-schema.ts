/** json_schema: a JSON cell, or the whole row as an object, fits a JSON Schema. */
import { isPadded, unpadded } from '../../core/expression/columns.ts';
import { decimalText, parseDecimal } from '../../core/expression/decimal.ts';
import type { Column, Dataset, Row, Value } from '../../core/event.ts';
import { UNCHANGED } from '../../core/event.ts';
import { type Bound, defineExpectation, type Site, textTests, typeOf } from '../expectation.ts';
import { type CompiledSchema, compileJsonSchema } from '../json-schemas.ts';
import { Outcome } from '../outcome.ts';

export const jsonSchema = defineExpectation({
  name: 'json_schema',
  on: 'either',
  schema: {
    title: 'JSON Schema',
    description:
      'At a json or text column: the cell’s JSON fits this schema. Without a column: the row as an object does. A schema, or the path of a file beside the rule file.',
    type: ['object', 'string', 'boolean'],
  },
  bind: (parameters, site) => {
    const schema = typeof parameters === 'string' ? site.schemaFile(parameters) : parameters;
    if (schema === undefined) return null;
    const compiled = compileJsonSchema(schema);
    if ('refused' in compiled) return site.refuse(compiled.refused, compiled.fix);
    return site.column === null ? bindRow(compiled, site) : bindCell(compiled, site, site.column);
  },
});

function bindCell(schema: CompiledSchema, site: Site, column: Column & { readonly index: number }): Bound | null {
  if (column.type !== 'json' && column.type !== 'text' && column.type !== 'other') {
    return site.refuse(`${column.name} is ${typeOf(column)}, which holds no JSON`, 'Use it at a json or text column.');
  }
  // A text that is no JSON throws here, and so counts as a row that cannot be read.
  return {
    ...textTests(site, (text) => schema.validate(JSON.parse(text))),
    reason: 'does not fit its JSON Schema',
    columns: [column.index],
  };
}

function bindRow(schema: CompiledSchema, { dataset }: Site): Bound {
  return {
    test: (row) => {
      const { object, unsent } = rowObject(dataset, row);
      if (schema.validate(object)) return Outcome.Pass;
      // Cells that the source did not send are not judged, not even as missing.
      const missing = unsent.length === 0 ? null : schema.onlyMissing(object);
      return missing?.every((name) => unsent.includes(name)) === true ? Outcome.Pass : Outcome.Fail;
    },
    reason: 'the row does not fit its JSON Schema',
    columns: [],
  };
}

/**
 * The row as JSON: numbers as numbers (those beyond 2^53 are rounded here, for the schema's eyes only), timestamps as RFC 3339, json
 * columns parsed, bytes in base64. UNCHANGED cells are left out.
 */
function rowObject(dataset: Dataset, row: Row): { object: Record<string, unknown>; unsent: string[] } {
  const object: Record<string, unknown> = {};
  const unsent: string[] = [];
  for (const [index, column] of dataset.columns.entries()) {
    const value = row.value(index);
    if (value === UNCHANGED) unsent.push(column.name);
    else object[column.name] = jsonValue(column, value);
  }
  return { object, unsent };
}

function jsonValue(column: Column, value: Exclude<Value, typeof UNCHANGED>): unknown {
  if (value instanceof Uint8Array) return Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString('base64');
  if (typeof value === 'bigint') return Number(value);
  if (typeof value !== 'string') return value;
  switch (column.type) {
    case 'json':
      return JSON.parse(value) as unknown;
    case 'decimal': {
      const decimal = parseDecimal(value);
      return decimal === null ? value : Number(decimalText(decimal));
    }
    case 'timestamp':
      return value.replace(' ', 'T').replace(/\+00$/, 'Z');
    case 'text':
      return isPadded(column) ? unpadded(value) : value;
    default:
      return value;
  }
}
