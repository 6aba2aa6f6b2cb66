/** Records as bytes: JSON, alone or with its schema as Kafka Connect's JsonConverter writes it, or Avro by a schema registry. */
import type { ConnectSchema } from './connect-columns.ts';
import { jsonOf, type Shape, type Struct } from './envelope.ts';

/** Made once for a shape of a dataset. */
export interface RecordEncoder {
  readonly key: (key: Struct) => Buffer | string;
  readonly value: (value: Struct) => Buffer | string;
}

/** May ask a registry, so it is made before anything is written. */
export type RecordFormat = (shape: Shape, topic: string) => Promise<RecordEncoder>;

/** `schemas`: every record brings its own (`schemas.enable=true`). */
export function jsonFormat(schemas: boolean): RecordFormat {
  if (!schemas) return () => Promise.resolve({ key: jsonOf, value: jsonOf });
  return (shape) => Promise.resolve({ key: withSchema(shape.key), value: withSchema(shape.value) });
}

function withSchema(schema: ConnectSchema): (payload: Struct) => string {
  const head = `{"schema":${JSON.stringify(schema)},"payload":`;
  return (payload) => `${head}${jsonOf(payload)}}`;
}
