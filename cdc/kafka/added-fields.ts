/** What ExtractNewRecordState adds to rows that it took out of their envelope: fields beside the columns (`add.fields`), or headers (`add.headers`). */
import { exactNumber } from '../../core/whole-numbers.ts';
import type { KafkaRecord } from '../../wire/kafka/client.ts';
import { asStruct } from './connect-schema.ts';

export interface AddedFieldsOptions {
  /** What their names begin with; '' where they have none of their own. */
  readonly prefix: string;
  /** Names of added fields that the prefix does not tell. */
  readonly names: readonly string[];
}

type Payload = Readonly<Record<string, unknown>> | null;

/** Its name is the transformation's own, whatever the prefix. */
const DELETED = '__deleted';

export class AddedFields {
  readonly #prefix: string;
  readonly #names: ReadonlySet<string>;

  constructor({ prefix, names }: AddedFieldsOptions = { prefix: '__', names: [] }) {
    this.#prefix = prefix;
    this.#names = new Set([DELETED, ...names]);
  }

  /** Whether a field is none of the row's own. */
  has(field: string): boolean {
    return (this.#prefix !== '' && field.startsWith(this.#prefix)) || this.#names.has(field);
  }

  isDeleted(payload: Payload): boolean {
    return payload?.[DELETED] === 'true' || payload?.[DELETED] === true;
  }

  /** Of the envelope or its source block: `op`, `lsn`. Null where it was not added. A tombstone has headers alone. */
  value(payload: Payload, headers: KafkaRecord['headers'], name: string): unknown {
    for (const field of [`${this.#prefix}${name}`, `${this.#prefix}source_${name}`]) {
      const value = this.has(field) ? payload?.[field] : undefined;
      if (value !== undefined && value !== null) return value;
      const header = headerText(headers[field]);
      if (header !== null) return headerValue(header);
    }
    return null;
  }
}

/** The key that a row had before it moved; null where the header does not tell it. Throws Undecodable. */
export function oldKeyOf(headers: KafkaRecord['headers'], exact: boolean): Payload {
  const text = headerText(headers['__debezium.oldkey']);
  if (text === null) return null;
  const key = asStruct(jsonOf(text, exact));
  return key === null ? null : (asStruct(key['payload']) ?? key); // By JsonConverter with schemas, the key is its payload.
}

/** Of several of one name the last is the newest. */
function headerText(value: KafkaRecord['headers'][string]): string | null {
  const one = Array.isArray(value) ? value.at(-1) : value;
  return one === undefined ? null : one.toString();
}

/** SimpleHeaderConverter writes texts as they are and the rest as JSON, JsonConverter all as JSON. */
function headerValue(text: string): unknown {
  const value = /^(?:-?\d|["{])/.test(text) ? jsonOf(text, true) : text;
  const struct = asStruct(value);
  return struct !== null && 'payload' in struct ? struct['payload'] : value;
}

function jsonOf(text: string, exact: boolean): unknown {
  try {
    return exact ? (JSON.parse(text, exactNumber) as unknown) : (JSON.parse(text) as unknown);
  } catch {
    return text;
  }
}
