/** What `check` says of a connector by its settings. */
import { expect, test } from 'vitest';
import { type CheckedSource, type ConnectorConfig, connectorProblems } from '../../cdc/kafka/connector-check.ts';

const SOURCE: CheckedSource = {
  name: 'shop',
  envelope: 'debezium',
  unavailable: '__debezium_unavailable_value',
  tables: [{ table: 'public.orders', topic: 'shop.public.orders', columns: null }],
};
const JSON_CONVERTER = 'org.apache.kafka.connect.json.JsonConverter';
const GOOD: ConnectorConfig = {
  'connector.class': 'io.debezium.connector.postgresql.PostgresConnector',
  'value.converter': JSON_CONVERTER,
  'value.converter.schemas.enable': 'true',
  'value.converter.replace.null.with.default': 'false',
  'skipped.operations': 'none',
  'table.include.list': 'public\\..*',
};

const said = (changed: Readonly<Record<string, string | undefined>>, source: Partial<CheckedSource> = {}): readonly string[] => {
  const all = Object.entries({ ...GOOD, ...changed }).flatMap(([name, value]) => (value === undefined ? [] : [[name, value]]));
  return connectorProblems('c', Object.fromEntries(all) as ConnectorConfig, { ...SOURCE, ...source }).map(
    ({ severity, message, fix }) => `${severity}: ${message.replace('the connector c: ', '')} | ${fix}`,
  );
};

test('nothing is said of a connector that loses nothing it could keep', () => {
  expect(said({})).toEqual([]);
});

test.each<[what: string, changed: Readonly<Record<string, string | undefined>>, expected: RegExp]>([
  ['nulls', { 'value.converter.replace.null.with.default': undefined }, /^warning: an explicit null .* \| Set value\.converter\.replace/],
  ['nulls, Confluent', { 'value.converter': 'io.confluent.connect.avro.AvroConverter' }, /ignore\.default\.for\.nullables=true/],
  ['nulls, Apicurio', { 'value.converter': 'io.apicurio.registry.utils.converter.AvroConverter' }, /cannot be told otherwise/],
  ['truncates', { 'skipped.operations': undefined }, /^warning: truncates/],
  ['deletes', { 'skipped.operations': 'c, d' }, /^warning: deletes/],
  ['decimals', { 'decimal.handling.mode': 'double' }, /rounded.*decimal\.handling\.mode=precise/],
  ['times', { 'time.precision.mode': 'connect' }, /millisecond/],
  ['skipped changes', { 'event.processing.failure.handling.mode': 'skip' }, /left out/],
  ['tolerated errors', { 'errors.tolerance': 'all' }, /errors\.tolerance=none/],
  ['no snapshot', { 'snapshot.mode': 'no_data' }, /snapshot\.mode=initial/],
  ['placeholder', { 'unavailable.value.placeholder': 'gone' }, /^error: .*overwritten.*unavailable: "gone"/],
  ['no schemas', { 'value.converter.schemas.enable': 'false' }, /^error: .*public\.orders/],
  ['a table', { 'table.include.list': 'public.items,PUBLIC.orders_old' }, /^warning: it does not follow public\.orders/],
  [
    'rows alone',
    { transforms: 'u', 'transforms.u.type': 'io.debezium.transforms.ExtractNewRecordState' },
    /^error: it writes rows alone \(u\)/,
  ],
])('%s: what is lost, and how it is not', (_, changed, expected) => {
  const lines = said(changed);
  expect(lines).toHaveLength(1);
  expect(lines[0]).toMatch(expected);
});

test('rows alone: deletes that are dropped, and an envelope where none is expected', () => {
  const unwrapped = { transforms: 'a,u', 'transforms.u.type': 'io.debezium.transforms.ExtractNewRecordState' };
  expect(said(unwrapped, { envelope: 'unwrapped' })).toEqual([]);
  expect(said({ ...unwrapped, 'transforms.u.delete.tombstone.handling.mode': 'drop' }, { envelope: 'unwrapped' })[0]).toMatch(
    /^error: deletes/,
  );
  expect(said({}, { envelope: 'unwrapped' })[0]).toMatch(/^error: it writes Debezium’s envelope/);
  const added = { ...unwrapped, 'transforms.u.add.fields': 'op, source.ts_ms,lsn:place' };
  expect(said(added, { envelope: 'unwrapped' })).toEqual([]);
  const bare = { ...added, 'transforms.u.add.fields.prefix': '' };
  expect(said(bare, { envelope: 'unwrapped' })[0]).toMatch(
    /^error: it adds op, source_ts_ms, place .* added\.names: \[op, source_ts_ms, place\]\.$/,
  );
  const names = ['op', 'source_ts_ms', 'place'];
  expect(said(bare, { envelope: 'unwrapped', added: { prefix: '', names } })).toEqual([]);
  expect(said({ ...added, 'transforms.u.add.fields.prefix': 'dbz.' }, { envelope: 'unwrapped' })[0]).toMatch(/Set added\.prefix: "dbz\."/);
});

test('MySQL: unsigned numbers', () => {
  const mysql = { 'connector.class': 'io.debezium.connector.mysql.MySqlConnector' };
  expect(said(mysql)[0]).toMatch(/below zero.*precise/);
  expect(said({ ...mysql, 'bigint.unsigned.handling.mode': 'precise' })).toEqual([]);
});
