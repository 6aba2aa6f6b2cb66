/** The golden rows of a mapping as a matrix, made by the very code that encodes rows of a pipeline. */
import { type ChangeEvent, type Dataset, type DatasetName, type Row, type Value, ValueRow, type Version } from '../../core/event.ts';
import type { Problem } from '../../core/problems.ts';
import { compileFeatures, ENCODED } from '../features.ts';
import type { GoldenRow, Mapping } from '../mapping-schema.ts';

export interface EncodedGolden {
  readonly matrix: Float32Array;
  readonly rows: number;
  readonly problems: readonly Problem[];
}

/** Compiles the mapping against the columns it declares (so its expressions are checked even without golden rows) and encodes them. */
export function encodeGolden(mapping: Mapping): EncodedGolden {
  const dataset = declaredDataset(mapping);
  const features = compileFeatures(mapping, dataset);
  if (features.kind === 'refused') return { matrix: new Float32Array(0), rows: 0, problems: features.problems };
  const golden = mapping.golden ?? [];
  const matrix = new Float32Array(golden.length * features.width);
  const problems: Problem[] = [];
  for (const [index, row] of golden.entries()) {
    const rejected = features.encode(goldenEvent(dataset, row), matrix, index * features.width);
    if (rejected === ENCODED) continue;
    problems.push({
      severity: 'error',
      path: `mapping: golden[${index}].row`,
      message: `The feature "${mapping.features[rejected]?.name ?? ''}" rejects this row.`,
      fix: 'Give the row what the feature reads, or the feature a policy for it.',
    });
  }
  return { matrix, rows: golden.length, problems };
}

/** The golden rows whose scores are not those that the mapping expects. */
export function wrongGolden(mapping: Mapping, scores: Float32Array): readonly { index: number; got: number; score: number }[] {
  return (mapping.golden ?? []).flatMap(({ score, tolerance }, index) => {
    const got = scores[index] ?? NaN;
    return Math.abs(got - score) <= (tolerance ?? 1e-5) ? [] : [{ index, got, score }];
  });
}

/** A dataset with just the columns that the mapping declares. */
export function declaredDataset(mapping: Mapping): Dataset {
  const columns = Object.entries(mapping.columns).map(([name, type]) => ({ name, type, native: type, nullable: true }));
  return { name: 'mapping.declared.columns' as DatasetName, version: 1, columns, key: [] };
}

/** A change as a golden row describes it: an update where it has a `before`, else an insert. */
export function goldenEvent(dataset: Dataset, golden: Pick<GoldenRow, 'row' | 'before'>): ChangeEvent {
  const rest = { dataset, key: '', movedFrom: null, version: '' as Version, ordinal: 0, committedAtMs: 0 };
  const after = rowOf(dataset, golden.row);
  if (golden.before === undefined) return { op: 'insert', before: null, after, ...rest };
  return { op: 'update', before: rowOf(dataset, golden.before), after, ...rest };
}

function rowOf(dataset: Dataset, cells: GoldenRow['row']): Row {
  return new ValueRow(
    ...dataset.columns.map(({ name, type }): Value => {
      const cell = cells[name] ?? null;
      // Decimals are texts in rows, and people write them as numbers.
      return type === 'decimal' && typeof cell === 'number' ? String(cell) : cell;
    }),
  );
}
