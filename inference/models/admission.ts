/**
 * Decides whether an uploaded model may serve: first by looking at the file (nothing of it runs), then by loading and running it in
 * a child that is thrown away. Either gives findings that say where and why, or a report of what the model is and costs.
 */
import { systemClock } from '../../core/clock.ts';
import { featureWidth, mappingWidth } from '../mapping.ts';
import type { Mapping } from '../mapping-schema.ts';
import { LAST_COLUMN } from '../scorer/frames.ts';
import { ScorerError, ScorerProcess, type ScorerProcessOptions } from '../scorer/process.ts';
import { encodeGolden, wrongGolden } from './golden.ts';
import { OnnxError, type OnnxModel, type OnnxValue, readOnnx } from './onnx.ts';
import { stripZipMap } from './zipmap.ts';

export type AdmissionRule =
  | 'MAPPING'
  | 'TOO_LARGE'
  | 'NOT_A_MODEL'
  | 'GRAPH_TOO_LARGE'
  | 'EXTERNAL_DATA'
  | 'CONTROL_FLOW_NOT_ALLOWED'
  | 'DOMAIN_NOT_ALLOWED'
  | 'INPUT_MISMATCH'
  | 'OUTPUT_MISMATCH'
  | 'LOAD_FAILED'
  | 'LOAD_TIMEOUT'
  | 'RUN_FAILED'
  | 'RUN_TIMEOUT'
  | 'MODEL_CRASHED'
  | 'NOT_DETERMINISTIC'
  | 'GOLDEN_MISMATCH'
  | 'FIXED_BATCH'
  | 'NAN_SCORED'
  | 'ZIPMAP_STRIPPED';

/** One thing that is wrong with a model (`error`), or good to know (`warning`). `path` is a place in the file or the mapping. */
export interface AdmissionFinding {
  readonly rule: AdmissionRule;
  readonly severity: 'error' | 'warning';
  readonly path: string;
  readonly detail: string;
}

/** What admission learnt about a model that may serve. */
export interface AdmissionReport {
  readonly bytes: number;
  readonly irVersion: number;
  readonly opsets: Readonly<Record<string, number>>;
  readonly producer: string;
  readonly metadata: Readonly<Record<string, string>>;
  readonly inputs: readonly OnnxValue[];
  readonly outputs: readonly OnnxValue[];
  readonly operators: Readonly<Record<string, number>>;
  readonly nodes: number;
  readonly parameters: number;
  readonly treeNodes: number;
  /** The tensor that gets the features, and the one whose column `index` is the score; -1 is its last. */
  readonly input: { readonly name: string; readonly width: number };
  readonly output: { readonly name: string; readonly index: number };
  /** 1 where the model takes one row at a time. */
  readonly batchRowsMax: number;
  readonly loadMs: number;
  /** Memory of the child with the model loaded. */
  readonly rssBytes: number;
  /** The best of some runs, round trip to the child included. */
  readonly costs: readonly { readonly rows: number; readonly microsPerRow: number }[];
  readonly goldenRows: number;
  /** Whether a row of NaN gives a number. Then only our own gate keeps such rows from being scored. */
  readonly scoresNaN: boolean;
  /** Things to know that did not keep the model out. */
  readonly findings: readonly AdmissionFinding[];
}

export type Admission =
  | {
      readonly kind: 'admitted';
      /** What to serve: the upload, or the upload without its ZipMap. */ readonly bytes: Uint8Array;
      readonly report: AdmissionReport;
    }
  | { readonly kind: 'rejected'; readonly findings: readonly AdmissionFinding[] };

export interface AdmissionOptions extends ScorerProcessOptions {
  /** Default 64 MB. */
  readonly modelBytesMax?: number;
  /** Default 20,000 nodes, 8 levels, 5,000,000 tree nodes. */
  readonly nodesMax?: number;
  readonly nestingMax?: number;
  readonly treeNodesMax?: number;
  /** Operator domains besides ai.onnx and ai.onnx.ml. Default none. */
  readonly domains?: readonly string[];
  /** What a probing run may take. Default 2 s. */
  readonly runTimeoutMs?: number;
}

const CONTROL_FLOW = new Set(['Loop', 'Scan', 'If', 'SequenceMap']);
const BATCH_SIZES = [1, 64, 256] as const;
/** Scores may differ this much between batch sizes: the runtime has other kernels for other sizes. */
const BATCH_TOLERANCE = 1e-5;

export async function admitModel(upload: Uint8Array, mapping: Mapping, options: AdmissionOptions = {}): Promise<Admission> {
  const looked = look(upload, mapping, options);
  if (looked.kind === 'rejected') return looked;
  return probe(looked, mapping, options);
}

interface Looked {
  readonly kind: 'looked';
  readonly bytes: Uint8Array;
  readonly model: OnnxModel;
  readonly input: { readonly name: string; readonly width: number };
  readonly output: { readonly name: string; readonly index: number };
  readonly batchRowsMax: number;
  readonly findings: readonly AdmissionFinding[];
}
type Rejected = Extract<Admission, { kind: 'rejected' }>;

/** The static part: everything that can be said without running the file. */
function look(upload: Uint8Array, mapping: Mapping, options: AdmissionOptions): Looked | Rejected {
  const bytesMax = options.modelBytesMax ?? 64 * 1024 * 1024;
  if (upload.length > bytesMax) {
    return rejected('TOO_LARGE', 'model', `the file has ${upload.length} bytes, more than the ${bytesMax} allowed`);
  }
  const limits = { nodes: options.nodesMax ?? 20_000, nesting: options.nestingMax ?? 8, treeNodes: options.treeNodesMax ?? 5_000_000 };
  const findings: AdmissionFinding[] = [];
  try {
    let bytes = upload;
    let model = readOnnx(bytes, limits);
    if (model.operators['ai.onnx.ml/ZipMap'] !== undefined) {
      const stripped = stripZipMap(bytes);
      if (stripped !== null) {
        bytes = stripped;
        model = readOnnx(bytes, limits);
        findings.push(warning('ZIPMAP_STRIPPED', 'graph', 'the output was a list of maps; it is served as the tensor it is made of'));
      }
    }
    findings.push(...graphFindings(model, options.domains ?? []));
    const input = chooseInput(model, mapping, findings);
    const output = chooseOutput(model, mapping, findings);
    const errors = findings.filter(({ severity }) => severity === 'error');
    if (errors.length > 0 || input === null || output === null) return { kind: 'rejected', findings };
    return { kind: 'looked', bytes, model, input, output, batchRowsMax: input.fixedRows ?? Number.MAX_SAFE_INTEGER, findings };
  } catch (error) {
    if (error instanceof OnnxError) return rejected(error.rule, error.path, error.message);
    throw error;
  }
}

function graphFindings(model: OnnxModel, domains: readonly string[]): AdmissionFinding[] {
  const findings = model.external
    .slice(0, 10)
    .map(({ path, location }) =>
      failure('EXTERNAL_DATA', path, `the tensor is kept outside the file (${JSON.stringify(location)}); export the model as one file`),
    );
  for (const operator of Object.keys(model.operators)) {
    const [domain, name] = operator.includes('/')
      ? [operator.slice(0, operator.lastIndexOf('/')), operator.slice(operator.lastIndexOf('/') + 1)]
      : ['', operator];
    if (CONTROL_FLOW.has(name)) {
      findings.push(
        failure('CONTROL_FLOW_NOT_ALLOWED', `graph.${name}`, `the operator ${name} may run without an end; export the model without it`),
      );
    }
    if (domain !== '' && domain !== 'ai.onnx.ml' && !domains.includes(domain)) {
      findings.push(failure('DOMAIN_NOT_ALLOWED', `graph.${name}`, `operators of the domain "${domain}" are not allowed`));
    }
  }
  return findings;
}

interface ChosenInput {
  readonly name: string;
  readonly width: number;
  readonly fixedRows: number | null;
}

function chooseInput(model: OnnxModel, mapping: Mapping, findings: AdmissionFinding[]): ChosenInput | null {
  const width = mappingWidth(mapping);
  const named = mapping.input === undefined ? model.inputs[0] : model.inputs.find(({ name }) => name === mapping.input);
  const names = model.inputs.map(({ name }) => name).join(', ');
  if (named === undefined) {
    findings.push(failure('INPUT_MISMATCH', 'mapping: input', `the model has no such input; it has: ${names}`));
    return null;
  }
  if (model.inputs.length > 1) {
    findings.push(
      failure('INPUT_MISMATCH', 'graph.input', `the model wants ${model.inputs.length} inputs (${names}); export it with one float matrix`),
    );
    return null;
  }
  const path = `graph.input[${named.name}]`;
  if (named.type !== 'float') {
    findings.push(failure('INPUT_MISMATCH', path, `the input is of type ${named.type}; a float tensor [rows, features] is needed`));
    return null;
  }
  const [rows, columns] = named.shape ?? [null, null];
  if (named.shape !== null && named.shape.length !== 2) {
    findings.push(failure('INPUT_MISMATCH', path, `the input has ${named.shape.length} dimensions; [rows, features] is needed`));
    return null;
  }
  if (typeof columns === 'number' && columns !== width) {
    const widths = mapping.features.map((feature) => `${feature.name} ${featureWidth(feature)}`).join(', ');
    findings.push(
      failure(
        'INPUT_MISMATCH',
        path,
        `the model takes ${columns} features a row and the mapping makes ${width} (${widths})`.slice(0, 1000),
      ),
    );
    return null;
  }
  const fixedRows = typeof rows === 'number' && rows > 0 ? rows : null;
  if (fixedRows !== null && fixedRows > 1) {
    findings.push(failure('INPUT_MISMATCH', path, `the model takes exactly ${fixedRows} rows; export it with a dynamic first dimension`));
    return null;
  }
  if (fixedRows === 1) {
    findings.push(
      warning('FIXED_BATCH', path, 'the model takes one row at a time, which is slow; export it with a dynamic first dimension'),
    );
  }
  return { name: named.name, width, fixedRows };
}

function chooseOutput(model: OnnxModel, mapping: Mapping, findings: AdmissionFinding[]): { name: string; index: number } | null {
  const wanted = mapping.output?.tensor;
  // Of several, the last is the one with the probabilities in what the usual converters write.
  const named = wanted === undefined ? model.outputs.at(-1) : model.outputs.find(({ name }) => name === wanted);
  if (named === undefined) {
    const names = model.outputs.map(({ name }) => name).join(', ');
    findings.push(failure('OUTPUT_MISMATCH', 'mapping: output.tensor', `the model has no such output; it has: ${names}`));
    return null;
  }
  const path = `graph.output[${named.name}]`;
  if (!['float', 'double', 'undefined'].includes(named.type)) {
    findings.push(failure('OUTPUT_MISMATCH', path, `the output is of type ${named.type}; a float tensor is needed`));
    return null;
  }
  const columns = named.shape === null ? null : named.shape.length >= 2 ? (named.shape[1] ?? null) : 1;
  const index = mapping.output?.index ?? LAST_COLUMN;
  if (typeof columns === 'number' && index >= columns) {
    findings.push(failure('OUTPUT_MISMATCH', path, `the output has ${columns} columns and the mapping reads column ${index}`));
    return null;
  }
  return { name: named.name, index };
}

/** The part that runs the file, where it can do no harm. */
async function probe(looked: Looked, mapping: Mapping, options: AdmissionOptions): Promise<Admission> {
  const { bytes, model, input, output, batchRowsMax } = looked;
  const findings = [...looked.findings];
  const runTimeoutMs = options.runTimeoutMs ?? 2000;
  let child: ScorerProcess;
  try {
    child = await ScorerProcess.start({ bytes, input, output, rowsMax: batchRowsMax }, options);
  } catch (error) {
    return { kind: 'rejected', findings: [...findings, probeFinding(error, 'LOAD_FAILED', 'LOAD_TIMEOUT', 'loading it')] };
  }
  try {
    const run = (matrix: Float32Array) => child.run(matrix, runTimeoutMs);
    const zeros = new Float32Array(input.width);
    const zero = await run(zeros);
    if (zero.length !== 1)
      return rejected('OUTPUT_MISMATCH', `graph.output[${output.name}]`, `one row gives ${zero.length} scores`, findings);
    const nan = (await run(new Float32Array(input.width).fill(NaN)))[0] ?? NaN;
    if (!Number.isNaN(nan)) {
      findings.push(
        warning('NAN_SCORED', 'graph', 'a row of NaN gets a score; such rows are kept from the model unless a feature says `null: nan`'),
      );
    }

    const golden = encodeGolden(mapping);
    if (golden.problems.length > 0) {
      const wrong = golden.problems.map(({ path, message, fix }) => failure('MAPPING', path, `${message} ${fix}`));
      return { kind: 'rejected', findings: [...findings, ...wrong] };
    }
    if (golden.rows > 0) findings.push(...goldenFindings(mapping, await run(golden.matrix)));
    const costs: { rows: number; microsPerRow: number }[] = [];
    const sample = golden.rows > 0 ? golden.matrix : zeros;
    for (const rows of BATCH_SIZES) {
      const matrix = repeated(sample, input.width, rows);
      const { scores, micros } = await timed(run, matrix);
      costs.push({ rows, microsPerRow: micros / rows });
      findings.push(...determinismFindings(scores, await run(matrix), await run(matrix.subarray(0, input.width)), rows));
    }
    if (findings.some(({ severity }) => severity === 'error')) return { kind: 'rejected', findings };
    const { irVersion, opsets, producer, metadata, inputs, outputs, operators, nodes, parameters, treeNodes } = model;
    const { loadMs, rssBytes } = child.loaded;
    return {
      kind: 'admitted',
      bytes,
      report: {
        bytes: bytes.length, irVersion, opsets, producer, metadata, inputs, outputs, operators, nodes, parameters, treeNodes,
        input: { name: input.name, width: input.width }, output, batchRowsMax, loadMs, rssBytes, costs,
        goldenRows: golden.rows, scoresNaN: !Number.isNaN(nan), findings,
      }, // prettier-ignore
    };
  } catch (error) {
    return { kind: 'rejected', findings: [...findings, probeFinding(error, 'RUN_FAILED', 'RUN_TIMEOUT', 'running it')] };
  } finally {
    await child.kill();
  }
}

/** The best of a few runs: the first ones warm up, and other work on the machine only ever adds. */
async function timed(
  run: (matrix: Float32Array) => Promise<Float32Array>,
  matrix: Float32Array,
): Promise<{ scores: Float32Array; micros: number }> {
  let scores = await run(matrix);
  let micros = Infinity;
  for (let round = 0; round < 5; round++) {
    const started = systemClock.monotonic();
    scores = await run(matrix);
    micros = Math.min(micros, (systemClock.monotonic() - started) * 1000);
  }
  return { scores, micros };
}

function goldenFindings(mapping: Mapping, scores: Float32Array): AdmissionFinding[] {
  return wrongGolden(mapping, scores).map(({ index, got, score }) =>
    failure('GOLDEN_MISMATCH', `mapping: golden[${index}].score`, `the model gives ${got} where ${score} is expected`),
  );
}

function determinismFindings(first: Float32Array, second: Float32Array, alone: Float32Array, rows: number): AdmissionFinding[] {
  const differs = first.some((score, index) => !Object.is(score, second[index]));
  if (differs) return [failure('NOT_DETERMINISTIC', 'graph', `the same ${rows} rows get other scores when they are scored again`)];
  const difference = Math.abs((first[0] ?? NaN) - (alone[0] ?? NaN));
  if (difference > BATCH_TOLERANCE) {
    return [
      failure(
        'NOT_DETERMINISTIC',
        'graph',
        `a row's score depends on the other rows of its batch: it differs by ${difference} among ${rows} rows`,
      ),
    ];
  }
  return [];
}

function repeated(sample: Float32Array, width: number, rows: number): Float32Array {
  const matrix = new Float32Array(rows * width);
  for (let at = 0; at < matrix.length; at++) matrix[at] = sample[at % sample.length] ?? 0;
  return matrix;
}

function probeFinding(error: unknown, failed: AdmissionRule, late: AdmissionRule, doing: string): AdmissionFinding {
  if (!(error instanceof ScorerError)) throw error;
  switch (error.failure) {
    case 'deadline':
    case 'load-timeout':
      return failure(late, 'model', `${doing} takes too long: ${error.message}`);
    case 'crashed':
      return failure('MODEL_CRASHED', 'model', `${doing} ends the process: ${error.message}`);
    case 'model':
    case 'unavailable':
    case 'closed':
      return failure(failed, 'model', `${doing} fails: ${error.message.slice(0, 500)}`);
  }
}

function failure(rule: AdmissionRule, path: string, detail: string): AdmissionFinding {
  return { rule, severity: 'error', path, detail };
}

function warning(rule: AdmissionRule, path: string, detail: string): AdmissionFinding {
  return { rule, severity: 'warning', path, detail };
}

function rejected(rule: AdmissionRule, path: string, detail: string, others: readonly AdmissionFinding[] = []): Rejected {
  return { kind: 'rejected', findings: [...others, failure(rule, path, detail)] };
}
