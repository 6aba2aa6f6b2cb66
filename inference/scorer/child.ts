/**
 * The process that runs ONNX Runtime: one model, one run at a time, frames on file descriptor 3. It is started with an empty
 * environment and an empty folder (process.ts), holds no secret, and is killed when it does not answer: a run can't be cancelled.
 */
import { createRequire } from 'node:module';
import { Socket } from 'node:net';
import type { InferenceSession, Tensor } from 'onnxruntime-node';
import { bytesOf, floatsOf, type Frame, frameHeader, FrameKind, FrameReader, LAST_COLUMN } from './frames.ts';

/** What a `Load` frame begins with: a u32 length and this as JSON; the model's bytes follow. */
export interface LoadHeader {
  readonly input: string;
  readonly width: number;
  readonly output: string;
  /** Which column of the output is the score; `LAST_COLUMN` for its last. */
  readonly index: number;
  /** Rows that the model takes at once: 1 where its first dimension is fixed. */
  readonly rowsMax: number;
}

/** What a `Loaded` frame holds, as JSON. */
export interface Loaded {
  readonly loadMs: number;
  readonly rssBytes: number;
  /** As ONNX Runtime sees them: tensors only have `type` and `shape`. */
  readonly inputs: readonly InferenceSession.ValueMetadata[];
  readonly outputs: readonly InferenceSession.ValueMetadata[];
}

// The runtime by its absolute path, as this process has no folder of its own and no NODE_PATH.
const ort = createRequire(import.meta.url)(process.argv[2] ?? '') as typeof import('onnxruntime-node');
const pipe = new Socket({ fd: 3, readable: true, writable: true });
let model: { session: InferenceSession; header: LoadHeader } | null = null;

async function load(payload: Uint8Array<ArrayBuffer>): Promise<Loaded> {
  const headerBytes = new DataView(payload.buffer).getUint32(0, true);
  const header = JSON.parse(Buffer.from(payload.buffer, 4, headerBytes).toString()) as LoadHeader; // Our own parent wrote it.
  const started = performance.now();
  const session = await ort.InferenceSession.create(payload.subarray(4 + headerBytes), {
    executionProviders: ['cpu'],
    // One thread: less CPU a row than many, and scores that do not depend on the batch's size.
    intraOpNumThreads: 1,
    interOpNumThreads: 1,
    logSeverityLevel: 3,
  });
  model = { session, header };
  const loadMs = performance.now() - started;
  return { loadMs, rssBytes: process.memoryUsage.rss(), inputs: session.inputMetadata, outputs: session.outputMetadata };
}

async function run(payload: Uint8Array<ArrayBuffer>): Promise<Float32Array> {
  if (model === null) throw new Error('no model is loaded');
  const { width, rowsMax } = model.header;
  const matrix = floatsOf(payload);
  const rows = matrix.length / width;
  if (rows <= rowsMax) return runOnce(model, matrix, rows);
  const scores = new Float32Array(rows);
  for (let from = 0; from < rows; from += rowsMax) {
    const to = Math.min(rows, from + rowsMax);
    scores.set(await runOnce(model, matrix.subarray(from * width, to * width), to - from), from);
  }
  return scores;
}

async function runOnce({ session, header }: NonNullable<typeof model>, matrix: Float32Array, rows: number): Promise<Float32Array> {
  // Only the output that is needed: asking for all of them costs up to half at small batches.
  const outputs = await session.run({ [header.input]: new ort.Tensor('float32', matrix, [rows, header.width]) }, [header.output]);
  return column(outputs[header.output], header.index, rows);
}

/** The scores: column `index` of a [rows], [rows, 1] or [rows, k] tensor. */
function column(tensor: Tensor | undefined, index: number, rows: number): Float32Array {
  if (tensor === undefined) throw new Error('the model gave no output');
  const { data } = tensor;
  if (!(data instanceof Float32Array || data instanceof Float64Array)) throw new Error(`the output is ${tensor.type}, not float or double`);
  const width = rows === 0 ? 1 : data.length / rows;
  const place = index === LAST_COLUMN ? width - 1 : index;
  if (!Number.isInteger(width) || place < 0 || place >= width) {
    throw new Error(`the output has shape [${tensor.dims.join(', ')}] for ${rows} rows, and column ${place} is asked for`);
  }
  if (width === 1 && data instanceof Float32Array) return data;
  const scores = new Float32Array(rows);
  for (let row = 0; row < rows; row++) scores[row] = data[row * width + place] ?? NaN;
  return scores;
}

function answer(kind: FrameKind, id: number, payload: Uint8Array): void {
  pipe.cork();
  pipe.write(frameHeader(kind, id, payload.length));
  pipe.write(payload);
  pipe.uncork();
}

async function handle(frame: Frame): Promise<void> {
  try {
    if (frame.kind === FrameKind.Load) {
      const loaded = await load(frame.payload);
      answer(FrameKind.Loaded, frame.id, Buffer.from(JSON.stringify(loaded)));
    } else {
      answer(FrameKind.Result, frame.id, bytesOf(await run(frame.payload)));
    }
  } catch (error) {
    answer(FrameKind.Failed, frame.id, Buffer.from(error instanceof Error ? error.message : String(error)));
  }
}

let turn = Promise.resolve();
const reader = new FrameReader((frame) => {
  turn = turn.then(() => handle(frame));
});
pipe.on('data', (chunk: Buffer) => reader.push(chunk));
// The service is gone or has closed us: nothing is kept here, so nothing is lost.
pipe.on('end', () => process.exit(0));
pipe.on('error', () => process.exit(0));
