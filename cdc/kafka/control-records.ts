/**
 * Records that connectors write beside changes: heartbeats, beginnings and ends of transactions, schema changes. Each has a topic of its own, unless a transform puts them into one
 * with the changes. Nothing is made of them: rows bring their schemas themselves, and a lane is moved on by any record.
 */
import { asStruct, type ConnectData } from './connect-schema.ts';

const NAMES = /^io\.debezium\.connector\.\w+\.(?:Heartbeat|SchemaChangeValue|TransactionMetadataValue)$/;

/** By the name of its schema: no row of a table has that. */
export const isNamedControl = ({ schema }: ConnectData): boolean => NAMES.test(schema?.name ?? '');

/** By its fields, where every change has an envelope: these have none. */
export function isControl(value: ConnectData): boolean {
  const fields = asStruct(value.payload);
  if (fields === null || 'op' in fields) return false;
  const names = Object.keys(fields);
  return (
    isNamedControl(value) ||
    (names.length === 1 && names[0] === 'ts_ms') ||
    ('ddl' in fields && 'source' in fields) ||
    ('status' in fields && 'event_count' in fields && 'data_collections' in fields)
  );
}
