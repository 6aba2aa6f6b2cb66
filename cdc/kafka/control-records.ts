/**
 * Records that connectors write beside changes: heartbeats, beginnings and ends of transactions, schema changes. Each has a topic of its own, unless a transform puts them into one
 * with the changes. Nothing is made of them: rows bring their schemas themselves, and a lane is moved on by any record.
 */
import { asStruct, type ConnectData } from './connect-schema.ts';

const NAMES = /^io\.debezium\.connector\.\w+\.(?:Heartbeat|SchemaChangeValue|TransactionMetadataValue)$/;

/** By the name of its schema: no row of a table has that. */
export const isNamedControl = ({ schema }: ConnectData): boolean => NAMES.test(schema?.name ?? '');

type Struct = Readonly<Record<string, unknown>>;

/** By the only field of its key, what a record is known by: the columns of a row may well have the names of its fields, but hardly those of both. */
const FORMS: Readonly<Record<string, (value: Struct) => boolean>> = {
  serverName: (value) => 'ts_ms' in value && Object.keys(value).length === 1,
  databaseName: (value) => 'ddl' in value && asStruct(value['source']) !== null,
  id: ({ status, ...value }) => (status === 'BEGIN' || status === 'END') && 'event_count' in value && 'data_collections' in value,
};

/** Where every change has an envelope: these have none. A row without one is no control record, and is held. */
export function isControl(value: ConnectData, key: ConnectData | null): boolean {
  const fields = asStruct(value.payload);
  if (fields === null || 'op' in fields) return false;
  const [name = '', ...more] = Object.keys(asStruct(key?.payload) ?? {});
  return isNamedControl(value) || (more.length === 0 && Object.hasOwn(FORMS, name) && FORMS[name]?.(fields) === true);
}
