/** Records of a table's topic become changes: Debezium's envelope, or the row alone (ExtractNewRecordState). */
import {
  type ChangeEvent,
  type Column,
  type Dataset,
  type DatasetName,
  keyOf,
  type Operation,
  type Row,
  UNCHANGED,
  type Value,
  ValueRow,
  type Version,
} from '../../core/event.ts';
import { fromOffset, unplaced } from '../../core/position.ts';
import type { Shape as TableShape } from '../../core/shape.ts';
import { AddedFields, type AddedFieldsOptions, oldKeyOf } from './added-fields.ts';
import { avroEnvelope, avroKey } from './avro-envelope.ts';
import { AVRO_HEAD, AvroReader, type KnownAvro, NeedsSchema } from './avro.ts';
import { cellForm, type CellForm } from './cell-forms.ts';
import { CellWriter } from './cell-writer.ts';
import type { BinlogHistory } from './binlog-history.ts';
import type { KafkaRecord } from '../../wire/kafka/client.ts';
import { type Slice, sliceOf } from '../../wire/kafka/fetched-record.ts';
import type { RegistryAddress } from '../../wire/kafka/registry.ts';
import type { PgRelation } from '../../wire/postgres/row.ts';
import { asStruct, type ConnectData, type ConnectSchema, fieldOf, isTooDeep, Undecodable } from './connect-schema.ts';
import { columnOf, declaredIn, type DecodeCell, Inexact, withDurations } from './connect-types.ts';
import { isControl, isNamedControl } from './control-records.ts';
import { declaredSchema } from './declared.ts';
import { followedColumns, NeedsShape } from './followed-shape.ts';
import type { Envelope } from './envelope.ts';
import { type Head, JsonReader } from './json.ts';
import { jsonEnvelope, jsonValue } from './json-envelope.ts';
import { type SourceVersion, SourceVersions } from './source-version.ts';
import { rawCells, rawDataset } from './undecoded.ts';

export interface DecoderOptions {
  readonly dataset: DatasetName;
  readonly topic: string;
  /** `debezium`: the envelope, with tombstones that repeat deletes. `unwrapped`: rows alone, where a tombstone is the delete. */
  readonly envelope: 'debezium' | 'unwrapped';
  /** Types of the columns as PostgreSQL names them, for records without schemas; null where they bring them. */
  readonly columns: Readonly<Record<string, string>> | null;
  /** What stands for a value that the connector did not get. */
  readonly unavailable: string;
  readonly registry: RegistryAddress | null;
  /** `full`: deletes bring the row that there was, and not its key alone. Default `key`; binary logs always bring it. */
  readonly oldRows?: 'key' | 'full';
  /** Of rows alone: what is added to them. */
  readonly added?: AddedFieldsOptions;
  /** How the target has the table of rows alone, for a delete before any row of it; null where it has none. Left out, there is no target to ask. */
  readonly followed?: (dataset: DatasetName) => Promise<TableShape | null>;
}

/** What a record is: a change, or nothing to us. `movedTo`: the delete that is the first half of a key move; `movedFrom`: its second half. */
export interface Decoded {
  readonly event: ChangeEvent | null;
  readonly half: 'movedTo' | 'movedFrom' | null;
  /** Of a second half that says so itself: the key of the first. Else both are of one version. */
  readonly oldKey?: string | null;
}

const NOTHING: Decoded = { event: null, half: null };

interface Shape {
  readonly dataset: Dataset;
  /** How its rows are written where every cell of one is as usual. */
  readonly relation: PgRelation;
  readonly forms: readonly CellForm[];
  readonly decode: readonly DecodeCell[];
  /** Places of the key's columns. */
  readonly isKey: readonly boolean[];
}

/** Of records whose value and key are of two schemas. */
interface EnvelopeReader {
  readonly envelope: Envelope;
  readonly dataset: Dataset;
  /** Whether it reads what a connector of MySQL's or MariaDB's writes. */
  readonly isBinlog: boolean;
  readonly isKey: (bytes: Buffer, from: number, to: number) => boolean;
}

/** What a key or a value is written in: one object for each schema in Avro, and for each that JSON brings. */
type RecordForm = KnownAvro | Head;

const CLOSING_BRACE = 0x7d;
/** Beside what the schema is of. In JSON the payload stands in an object with it. */
const headBytes = (form: RecordForm): number => ('root' in form ? AVRO_HEAD : form.bytes.length);
const tailBytes = (form: RecordForm): number => ('root' in form ? 0 : 1);

export class TableDecoder {
  readonly #options: DecoderOptions;
  readonly #json = new JsonReader();
  readonly #avro: AvroReader;
  /** By the row's schema, then the names of the key's fields. */
  readonly #shapes = new WeakMap<ConnectSchema, Map<string, Shape>>();
  readonly #known = new Map<string, PgRelation>();
  readonly #declared: ConnectSchema | null;
  readonly #raw: Dataset;
  /** The same in a later history of a binlog, which has to be known once the record can be read. */
  readonly #rawLater: Dataset;
  /** Of the last row that brought its schema: a tombstone brings none. */
  #lastRow: ConnectSchema | null = null;
  /** Until there is one: what the target has; undefined until it was asked. */
  #followed: TableShape | null | undefined = undefined;
  readonly #added: AddedFields;
  /** By partition: the key of a row that its last record said to be deleted. */
  readonly #deleted = new Map<number, Buffer>();
  readonly #places = new SourceVersions();
  readonly #writer = new CellWriter();
  /** By what a record's value and its key are written in. */
  readonly #envelopes = new WeakMap<RecordForm, WeakMap<RecordForm, EnvelopeReader | null>>();
  #versions = 0;

  constructor(options: DecoderOptions) {
    this.#options = options;
    this.#added = new AddedFields(options.added);
    this.#avro = new AvroReader(options.registry);
    this.#declared = options.columns === null ? null : declaredSchema(options.columns);
    this.#raw = rawDataset(options.dataset, false);
    this.#rawLater = rawDataset(options.dataset, true);
  }

  /**
   * Asks the registry for a schema that is met for the first time. Whatever cannot be read comes back as an undecoded event. `after`: what is known of the binlog's history
   * before the record; left out, what the records until now have told. `waiting`: it, and others of its topic that come later.
   */
  async decodeAsking(
    record: KafkaRecord,
    partition: number,
    after: BinlogHistory | null = null,
    waiting: readonly KafkaRecord[] = [],
  ): Promise<Decoded> {
    for (;;) {
      if (after !== null) this.resume(partition, after);
      try {
        return this.decode(record, partition);
      } catch (error) {
        if (error instanceof NeedsSchema) await this.#avro.load(error.id);
        else if (error instanceof NeedsShape) await this.#askForShape(waiting);
        else throw error;
      }
    }
  }

  /** The target knows the table as it was; where it has none, the next row tells of it as it will be. */
  async #askForShape(waiting: readonly KafkaRecord[]): Promise<void> {
    this.#followed = (await this.#options.followed?.(this.#options.dataset)) ?? null;
    if (this.#followed === null) this.#lastRow = await this.#nextRow(waiting);
  }

  /** The schema of the first row among records; null where it cannot be read, which is told where it comes. */
  async #nextRow(records: readonly KafkaRecord[]): Promise<ConnectSchema | null> {
    try {
      for (const { value } of records) {
        if (value === null) continue;
        if (AvroReader.matches(value)) await this.#avro.load(value.readInt32BE(1));
        const read = this.#read(value, false);
        if (!isNamedControl(read)) return read.schema;
      }
      return null;
    } catch (error) {
      if (error instanceof Undecodable || error instanceof Inexact || isTooDeep(error)) return null;
      throw error;
    }
  }

  /** Has the partition go on from where its binlog's history is known to stand (see binlog-history.ts): a lane's records come in order from there. */
  resume(partition: number, history: BinlogHistory): void {
    this.#places.resume(partition, history);
  }

  history(partition: number): BinlogHistory {
    return this.#places.history(partition);
  }

  /** Null where the registry has to be asked first. */
  decodeKnown(record: KafkaRecord, partition: number): Decoded | null {
    try {
      return this.decode(record, partition);
    } catch (error) {
      if (error instanceof NeedsSchema || error instanceof NeedsShape) return null;
      throw error;
    }
  }

  /** What the registry did not have it is asked for again at once, and so is the target. */
  askAnew(): void {
    this.#avro.askAnew();
    this.#followed = undefined;
  }

  /** The same at once. Throws NeedsSchema where the registry has to be asked first. */
  decode(record: KafkaRecord, partition: number): Decoded {
    return this.#attempt(record, partition, false);
  }

  #attempt(record: KafkaRecord, partition: number, exact: boolean): Decoded {
    try {
      return this.#decode(record, partition, exact);
    } catch (error) {
      if (error instanceof Inexact && !exact) return this.#attempt(record, partition, true);
      if (error instanceof Inexact)
        return { event: this.#undecoded(record, partition, 'a whole number is not written as one'), half: null };
      if (error instanceof Undecodable) return { event: this.#undecoded(record, partition, error.message), half: null };
      if (isTooDeep(error))
        return { event: this.#undecoded(record, partition, 'its schema or a value of it is nested too deeply'), half: null };
      throw error;
    }
  }

  #decode(record: KafkaRecord, partition: number, exact: boolean): Decoded {
    if (this.#options.envelope === 'debezium') {
      if (sliceOf(record, 'value') === null) return NOTHING; // It repeats the delete before it, for compaction.
      const read = this.#envelope(record, partition);
      if (read !== null) return read;
    }
    const value = record.value === null ? null : this.#read(record.value, exact);
    const key = record.key === null ? null : this.#read(record.key, exact);
    return this.#options.envelope === 'debezium'
      ? this.#change(record, value, key, partition)
      : this.#row(record, value, key, partition, exact);
  }

  /** A change, without making an object of its record. Null where it is not sure of it: then it is read as any other. */
  #envelope(record: KafkaRecord, partition: number): Decoded | null {
    const [value, key] = [sliceOf(record, 'value'), sliceOf(record, 'key')];
    if (value === null || key === null) return null;
    const [valueForm, keyForm] = [this.#formOf(value), this.#formOf(key)];
    if (valueForm === null || keyForm === null) return null;
    const known = this.#envelopes.get(valueForm)?.get(keyForm);
    const reader = known === undefined ? this.#openEnvelope(valueForm, keyForm, false) : known;
    if (reader === null || !reader.isKey(key.bytes, key.from + headBytes(keyForm), key.to - tailBytes(keyForm))) return null;
    const read = reader.envelope.read(value.bytes, value.from + headBytes(valueForm), value.to - tailBytes(valueForm));
    if (read === null) return null;
    const { source, before, after } = read;
    if (BINLOG.has(String(source.connector)) !== reader.isBinlog) {
      this.#openEnvelope(valueForm, keyForm, !reader.isBinlog);
      return null;
    }
    const op = OPERATIONS[read.op];
    if (after === null || op === undefined || op === 'delete' || op === 'truncate') return null;
    const place = this.#places.of(source, partition);
    const half = record.headers['__debezium.oldkey'] === undefined ? null : 'movedFrom';
    return { event: event(op, reader.dataset, op === 'update' ? before : null, after, place, Number(source.ts_ms ?? 0)), half };
  }

  /** Null where its schema was not read before, or is none. */
  #formOf(bytes: Slice): RecordForm | null {
    if (AvroReader.matchesAt(bytes)) return this.#avro.written(AvroReader.schemaAt(bytes));
    return bytes.bytes[bytes.to - 1] === CLOSING_BRACE ? this.#json.known(bytes) : null;
  }

  #openEnvelope(value: RecordForm, key: RecordForm, isBinlog: boolean): EnvelopeReader | null {
    const made = this.#makeEnvelope(value, key, isBinlog);
    const byKey = this.#envelopes.get(value) ?? new WeakMap<RecordForm, EnvelopeReader | null>();
    this.#envelopes.set(value, byKey.set(key, made));
    return made;
  }

  #makeEnvelope(value: RecordForm, key: RecordForm, isBinlog: boolean): EnvelopeReader | null {
    const rowSchema = fieldOf(value.schema, 'after');
    if (value.schema === null || key.schema === null || rowSchema === undefined) return null;
    const oldSchema = fieldOf(value.schema, 'before') ?? rowSchema;
    if (JSON.stringify(oldSchema.fields) !== JSON.stringify(rowSchema.fields)) return null; // Both are read by the same places and forms.
    const { dataset, relation, forms } = this.#shapeOf(rowSchema, { schema: key.schema, payload: null }, isBinlog);
    const envelope =
      'root' in value ? avroEnvelope(value, relation, forms, this.#writer) : jsonEnvelope(value.schema, relation, forms, this.#writer);
    return envelope === null ? null : { envelope, dataset, isBinlog, isKey: 'root' in key ? avroKey(key) : jsonValue() };
  }

  #read(bytes: Buffer, exact: boolean): ConnectData {
    return AvroReader.matches(bytes) ? this.#avro.read(bytes, exact) : this.#json.read(bytes, exact);
  }

  #change({ headers }: KafkaRecord, value: ConnectData | null, key: ConnectData | null, partition: number): Decoded {
    if (value !== null && isControl(value, key)) return NOTHING;
    const envelope = asStruct(value?.payload);
    const source = asStruct(envelope?.['source']);
    if (value === null || envelope === null || source === null || typeof envelope['op'] !== 'string')
      throw new Undecodable('it is no change as Debezium writes them');
    const op = OPERATIONS[envelope['op']];
    if (op === undefined) return NOTHING; // A message of the source's own, and what may come yet.
    const place = this.#places.of(source, partition);
    const committedAtMs = Number(source['ts_ms'] ?? 0);
    const rowSchema = fieldOf(value.schema, 'after') ?? fieldOf(value.schema, 'before') ?? this.#declaredSchema();
    const isBinlog = BINLOG.has(String(source['connector']));
    const shape = this.#shapeOf(rowSchema, key, isBinlog);
    if (op === 'truncate') return { event: event(op, shape.dataset, null, null, place, committedAtMs), half: null };
    const after = asStruct(envelope['after']);
    if (op === 'delete') {
      // Of what a row had, only the key is true unless its table says so (replica identity full), and a record does not tell which: others are made up.
      const before = asStruct(envelope['before']);
      const isWhole = shape.dataset.keyless === true || (before !== null && (isBinlog || this.#options.oldRows === 'full'));
      const row = isWhole ? this.#fullRow(shape, before) : this.#keyRow(shape, asStruct(key?.payload));
      const half = headers['__debezium.newkey'] === undefined ? null : 'movedTo';
      return { event: event(op, shape.dataset, row, null, place, committedAtMs), half };
    }
    const row = this.#fullRow(shape, after);
    const before = op === 'update' ? asStruct(envelope['before']) : null;
    const half = headers['__debezium.oldkey'] === undefined ? null : 'movedFrom';
    return { event: event(op, shape.dataset, before === null ? null : this.#fullRow(shape, before), row, place, committedAtMs), half };
  }

  #row(record: KafkaRecord, value: ConnectData | null, key: ConnectData | null, partition: number, exact: boolean): Decoded {
    const { offset, timestampMs, headers } = record;
    if (value !== null && isNamedControl(value)) return NOTHING;
    const payload = asStruct(value?.payload);
    // JsonConverter writes a tombstone with the schema of what is gone where it knows that.
    const isGone = value === null || value.payload === null;
    if (!isGone && payload === null) throw new Undecodable('it is no row');
    const deleted = this.#deleted.get(partition);
    if (payload === null && deleted !== undefined && record.key?.equals(deleted) === true) return NOTHING; // It repeats the delete before it.
    const added = (name: string): unknown => this.#added.value(payload, headers, name);
    const whole = value?.schema ?? this.#lastRow ?? this.#declared;
    const isBinlog = BINLOG.has(String(added('connector')));
    const shape = whole === null ? this.#shapeFollowed(isGone, key) : this.#shapeOf(whole, key, isBinlog);
    if (value !== null) this.#lastRow = value.schema ?? this.#lastRow;
    const place = this.#placeOfRow(added, offset, partition);
    const atMs = Number(added('source_ts_ms') ?? added('ts_ms') ?? timestampMs);
    const op = added('op');
    if (payload === null || op === 'd' || this.#added.isDeleted(payload)) {
      const row = this.#keyRow(shape, asStruct(key?.payload));
      if (payload !== null && record.key !== null) this.#deleted.set(partition, record.key);
      // A tombstone does not say that its row moved to another key: the next record does.
      const half = payload === null || headers['__debezium.newkey'] !== undefined ? 'movedTo' : null;
      return { event: event('delete', shape.dataset, row, null, place, atMs), half };
    }
    const row = this.#fullRow(shape, payload);
    this.#deleted.delete(partition);
    const written = event(op === 'r' ? 'read' : op === 'c' ? 'insert' : 'update', shape.dataset, null, row, place, atMs);
    if (headers['__debezium.oldkey'] === undefined) return { event: written, half: null };
    const oldKey = oldKeyOf(headers, exact);
    return { event: written, half: 'movedFrom', oldKey: oldKey === null ? null : keyOf(shape.dataset, keyValues(shape, oldKey)) };
  }

  /** Of a row without its envelope: what was added of the source block, else its place in the topic. */
  #placeOfRow(added: (name: string) => unknown, offset: bigint, partition: number): SourceVersion {
    const source = {
      lsn: added('lsn'),
      sequence: added('sequence'),
      file: added('file'),
      pos: added('pos'),
      row: added('row'),
      gtid: added('gtid'),
    };
    const isPlaced = [source.lsn, source.sequence, source.file].some((one) => one !== null);
    return isPlaced ? this.#places.of(source, partition) : { version: unplaced(offset), ordinal: 0 };
  }

  #declaredSchema(): ConnectSchema {
    if (this.#declared !== null) return this.#declared;
    throw new Undecodable(NO_SCHEMA);
  }

  #fullRow(shape: Shape, struct: Readonly<Record<string, unknown>> | null): Row {
    if (struct === null) throw new Undecodable('it has no row');
    return this.#written(shape, struct) ?? valueRow(shape, struct);
  }

  /** Null where a cell of it is none that `CellForm` takes. `isWhole`: not its key alone. */
  #written({ dataset: { columns }, forms, relation, isKey }: Shape, struct: Readonly<Record<string, unknown>>, isWhole = true): Row | null {
    const writer = this.#writer;
    writer.begin(columns.length);
    for (let i = 0; i < columns.length; i++) {
      const raw = isWhole || isKey[i] === true ? struct[columns[i]?.name ?? ''] : null;
      if (raw === null || raw === undefined) writer.null();
      else if (forms[i]?.value(raw, writer) !== true) {
        writer.giveUp();
        return null;
      }
    }
    return writer.end(relation);
  }

  #keyRow(shape: Shape, key: Readonly<Record<string, unknown>> | null): Row {
    if (key === null) throw new Undecodable('it is a delete without a key');
    return this.#written(shape, key, false) ?? keyValues(shape, key);
  }

  #shapeOf(schema: ConnectSchema, key: ConnectData | null, isBinlog = false): Shape {
    const names = key === null ? [] : (key.schema?.fields?.map(({ field }) => field ?? '') ?? Object.keys(asStruct(key.payload) ?? {}));
    const byKey = this.#shapes.get(schema) ?? new Map<string, Shape>();
    this.#shapes.set(schema, byKey);
    const keyText = JSON.stringify([names, isBinlog]);
    const known = byKey.get(keyText);
    if (known !== undefined) return known;
    const made = this.#makeShape(isBinlog ? withDurations(schema) : schema, names);
    byKey.set(keyText, made);
    return made;
  }

  /** Of a table whose rows bring their schemas, and of which there was none yet. Throws NeedsShape where the target has to be asked first. */
  #shapeFollowed(isGone: boolean, key: ConnectData | null): Shape {
    const fields = key?.schema?.fields;
    const { dataset: name, followed } = this.#options;
    if (!isGone || fields === undefined || followed === undefined) throw new Undecodable(NO_SCHEMA);
    if (this.#followed === undefined) throw new NeedsShape();
    const found = this.#followed === null ? null : followedColumns(this.#followed, fields);
    if (found === null)
      throw new Undecodable('it brings no schema, no row of its table was read yet, and the target does not have it by this key');
    const { columns, key: places, decode } = found;
    const text = JSON.stringify([columns, places]);
    const dataset = this.#known.get(text)?.dataset ?? { name, version: ++this.#versions, columns, key: places };
    const relation = { dataset, types: [] };
    this.#known.set(text, relation);
    return { dataset, relation, forms: [], decode, isKey: columns.map((_, i) => places.includes(i)) };
  }

  /** The same columns, written in the same forms, are the same Dataset, whichever schema or encoding describes them. */
  #makeShape({ fields = [] }: ConnectSchema, keyNames: readonly string[]): Shape {
    const { dataset: name, envelope, unavailable } = this.#options;
    const own = envelope === 'debezium' ? fields : fields.filter(({ field = '' }) => !this.#added.has(field));
    const found = own.map((field) => ({ field, ...columnOf(field, unavailable) }));
    const columns: Column[] = found.map(({ field, type, native }) => ({
      name: field.field ?? '',
      type,
      native,
      nullable: field.optional,
      ...declaredIn(field),
    }));
    const places = keyNames.map((one) => columns.findIndex((column) => column.name === one));
    if (places.includes(-1)) throw new Undecodable('its key is none of its columns');
    const keyless = places.length === 0;
    const key = keyless ? columns.map((_, i) => i) : places;
    const forms = found.map((column) => cellForm(column.field, column, unavailable));
    const types = forms.map(({ type }) => type);
    const text = JSON.stringify([columns, key, keyless, types.map(({ oid, format }) => [oid, format])]);
    let relation = this.#known.get(text);
    if (relation === undefined) {
      relation = { dataset: { name, version: ++this.#versions, columns, key, ...(keyless ? { keyless } : {}) }, types };
      this.#known.set(text, relation);
    }
    // What a cell means is the schema's own: seconds may be told in other units from there on.
    const decode = found.map((column) => column.decode);
    return { dataset: relation.dataset, relation, forms, decode, isKey: columns.map((_, i) => key.includes(i)) };
  }

  /**
   * The key of a record that cannot be read otherwise, as its row would have it; null where that is not known for sure. Held under it as well, the record has its
   * place among the changes of its row.
   */
  #keyAlone(bytes: Buffer | null, exact = false): string | null {
    if (bytes === null) return null;
    try {
      const { schema, payload } = this.#read(bytes, exact);
      const cells = asStruct(payload);
      const described = schema ?? this.#declared;
      if (cells === null || described === null) return null;
      const names = schema?.fields?.map(({ field }) => field ?? '') ?? Object.keys(cells);
      const fields = names.flatMap((name) => fieldOf(described, name) ?? []);
      if (names.length === 0 || fields.length < names.length) return null;
      const shape = this.#shapeOfFields(fields);
      return keyOf(shape.dataset, new ValueRow(...fields.map(({ field = '' }, i) => cell(shape, i, cells[field]))));
    } catch (error) {
      if (error instanceof Inexact && !exact) return this.#keyAlone(bytes, true);
      if (error instanceof Undecodable || error instanceof Inexact || isTooDeep(error)) return null;
      throw error;
    }
  }

  #shapeOfFields(fields: readonly ConnectSchema[]): Shape {
    const { dataset: name, unavailable } = this.#options;
    const found = fields.map((field) => ({ field, ...columnOf(field, unavailable) }));
    const columns: Column[] = found.map(({ field, type, native }) => ({ name: field.field ?? '', type, native, nullable: field.optional }));
    const key = columns.map((_, i) => i);
    const dataset: Dataset = { name, version: 0, columns, key };
    const decode = found.map((column) => column.decode);
    return { dataset, relation: { dataset, types: [] }, forms: [], decode, isKey: key.map(() => true) };
  }

  /** A row that came to a new key from another partition without the cells that did not change: nobody here can say what they are. */
  incomplete({ version }: ChangeEvent, record: KafkaRecord, partition: number): ChangeEvent {
    const problem =
      'the key of its row changed, and the connector left out cells that did not: their values are at the old key, which is in another partition';
    return { ...this.#undecoded(record, partition, problem), movedFrom: null, version } as ChangeEvent; // Later changes may be whole, and mend it.
  }

  /** The record as it came, for the quarantine. Throws NeedsSchema for that of its key. */
  #undecoded(record: KafkaRecord, partition: number, problem: string): ChangeEvent {
    const { offset, timestampMs, key } = record;
    const history = this.history(partition);
    const isFirst = history.number === 0;
    const row = new ValueRow(...rawCells({ topic: this.#options.topic, partition }, record, problem, isFirst ? null : history));
    const place = { version: offsetVersion(offset), ordinal: 0 };
    const held = event('insert', isFirst ? this.#raw : this.#rawLater, null, row, place, timestampMs);
    return { ...held, movedFrom: this.#keyAlone(key) };
  }
}

const NO_SCHEMA = 'it brings no schema: name the types of its columns in the config of the source, under columns';

/** Connectors whose times are lengths of time: up to 838 hours, and below zero too. */
const BINLOG: ReadonlySet<string> = new Set(['mysql', 'mariadb']);

const OPERATIONS: Readonly<Record<string, Operation>> = { r: 'read', c: 'insert', u: 'update', d: 'delete', t: 'truncate' };

function cell({ decode, dataset }: Shape, i: number, raw: unknown): Value {
  if (raw === null || raw === undefined) return null;
  try {
    return decode[i]?.(raw) ?? null;
  } catch (error) {
    if (error instanceof Undecodable) throw new Undecodable(`the column ${dataset.columns[i]?.name ?? i}: ${error.message}`);
    if (isTooDeep(error)) throw new Undecodable(`the column ${dataset.columns[i]?.name ?? i}: a cell is nested too deeply`);
    // Numbers that no clock and no decimal has.
    if (error instanceof RangeError) throw new Undecodable(`the column ${dataset.columns[i]?.name ?? i}: a cell is out of range`);
    throw error;
  }
}

function valueRow(shape: Shape, struct: Readonly<Record<string, unknown>>): Row {
  return new ValueRow(...shape.dataset.columns.map(({ name }, i) => cell(shape, i, struct[name])));
}

function keyValues(shape: Shape, key: Readonly<Record<string, unknown>>): Row {
  const { columns } = shape.dataset;
  return new ValueRow(...columns.map((column, i) => (shape.isKey[i] === true ? cell(shape, i, key[column.name]) : null)));
}

const offsetVersion = (offset: bigint): Version => fromOffset(offset) as string as Version; // Order within a partition, where a key stays.

function event(
  op: Operation,
  dataset: Dataset,
  before: Row | null,
  after: Row | null,
  { version, ordinal }: SourceVersion,
  committedAtMs: number,
): ChangeEvent {
  const row = after ?? before;
  const key = row === null ? '' : keyOf(dataset, row);
  return { op, before, after, dataset, key, movedFrom: null, version, ordinal, committedAtMs } as ChangeEvent; // Rows as the operation has them.
}

/** Both halves of a key move as the one event that it is: what the row had and was not sent is still at its old key. */
export function moved(from: ChangeEvent, to: ChangeEvent): ChangeEvent {
  const { dataset, key, version, ordinal, committedAtMs, after } = to;
  return {
    op: 'update',
    before: rowUnder(dataset, from),
    after,
    dataset,
    key,
    movedFrom: from.key,
    version,
    ordinal,
    committedAtMs,
  } as ChangeEvent;
}

/** The row before, with the columns of another shape of its table. */
function rowUnder(dataset: Dataset, { dataset: own, before }: ChangeEvent): Row | null {
  if (own === dataset || before === null) return before;
  const cells = dataset.columns.map(({ name }) => own.columns.findIndex((column) => column.name === name));
  return new ValueRow(...cells.map((at) => (at < 0 ? null : before.value(at))));
}

/** Whether a delete and an insert are the halves of one key move. `oldKey`: of a second half that says so itself. */
export const isSameMove = (from: ChangeEvent, to: ChangeEvent, oldKey: string | null): boolean =>
  oldKey === null ? from.version === to.version : from.key === oldKey;

/** Whether the source left cells out that the target cannot have. */
export function isPartial({ after, dataset }: ChangeEvent): boolean {
  if (after === null) return false;
  for (let i = 0; i < dataset.columns.length; i++) if (after.value(i) === UNCHANGED) return true;
  return false;
}
