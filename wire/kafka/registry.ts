/** Schemas are registered at a registry with a Confluent-compatible API. */
import { request as httpRequest } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { PipelineError } from '../../core/errors.ts';
import type { TlsOptions } from './client.ts';

export interface RegistryAddress {
  /** The root of the Confluent-compatible API. */
  readonly url: string;
  readonly username?: string | null;
  readonly password?: string | null;
  /** Instead of both: a bearer token. */
  readonly token?: string | null;
  readonly tls?: TlsOptions | null;
}

export interface SchemaRegistryWriter {
  /** The id of the schema under its subject, where it is made if there is none yet. Throws TARGET_* errors. */
  register(subject: string, schema: string): Promise<number>;
  /** Throws as `register` does where the registry cannot be asked. */
  probe(): Promise<void>;
}

/** A version of a subject, as it was registered. */
export interface SubjectVersion {
  readonly version: number;
  /** AVRO, JSON or PROTOBUF. */
  readonly type: string;
  readonly schema: string;
  /** The texts of the schemas that it refers to, the ones that these refer to first. */
  readonly references: readonly string[];
}

export interface SchemaRegistryReader {
  /** The versions of a subject, the oldest first; none where there is no such subject. Throws SOURCE_* errors. */
  versions(subject: string): Promise<readonly number[]>;
  version(subject: string, version: number): Promise<SubjectVersion>;
}

const ANSWER_MS = 10_000;
/** Schemas that one refers to, all of them together. */
const REFERENCES_MAX = 100;
const KIND = 'application/vnd.schemaregistry.v1+json';

export function schemaRegistryWriter(address: RegistryAddress): SchemaRegistryWriter {
  const ids = new Map<string, number>();
  return {
    register: async (subject, schema) => {
      const name = `${subject}\0${schema}`;
      const known = ids.get(name);
      if (known !== undefined) return known;
      const doing = `registering a schema under ${subject}`;
      const { id } = await ask(address, 'POST', `/subjects/${encodeURIComponent(subject)}/versions`, { schema }, doing);
      if (typeof id !== 'number') throw new PipelineError('TARGET_UNREACHABLE', `${doing}: the registry answers without an id`);
      ids.set(name, id);
      return id;
    },
    probe: async () => {
      await ask(address, 'GET', '/subjects', null, 'asking the schema registry');
    },
  };
}

export function schemaRegistryReader(address: RegistryAddress): SchemaRegistryReader {
  const get = async (path: string, doing: string): Promise<{ readonly status: number; readonly answer: object }> => {
    let status: number;
    let text: string;
    try {
      ({ status, text } = await send(address, 'GET', path, ''));
    } catch (error) {
      throw new PipelineError('SOURCE_UNREACHABLE', `${doing}: the registry does not answer`, { cause: error });
    }
    if (status === 401 || status === 403) throw new PipelineError('SOURCE_AUTH', `${doing}: not authorized (${status})`);
    if (status !== 200 && status !== 404) throw new PipelineError('SOURCE_UNREACHABLE', `${doing}: the registry answers ${status}`);
    return { status, answer: parsed(text) };
  };
  const read = async (subject: string, version: number, met: Map<string, string>): Promise<SubjectVersion> => {
    const doing = `asking for version ${version} of ${subject}`;
    const { answer } = await get(`/subjects/${encodeURIComponent(subject)}/versions/${version}`, doing);
    const { schema, schemaType = 'AVRO', references = [] } = answer as { schema?: unknown; schemaType?: unknown; references?: unknown };
    if (typeof schema !== 'string') throw new PipelineError('SOURCE_UNREACHABLE', `${doing}: the registry answers without a schema`);
    for (const one of Array.isArray(references) ? (references as readonly { subject?: unknown; version?: unknown }[]) : []) {
      const name = `${String(one.subject)} ${String(one.version)}`;
      if (typeof one.subject !== 'string' || typeof one.version !== 'number' || met.has(name)) continue;
      if (met.size >= REFERENCES_MAX)
        throw new PipelineError('SOURCE_UNREACHABLE', `${doing}: it refers to more than ${REFERENCES_MAX} others`);
      const referred = await read(one.subject, one.version, met);
      met.set(name, referred.schema);
    }
    return { version, type: String(schemaType), schema, references: [...met.values()] };
  };
  return {
    versions: async (subject) => {
      const { status, answer } = await get(`/subjects/${encodeURIComponent(subject)}/versions`, `asking for the versions of ${subject}`);
      if (status === 404 || !Array.isArray(answer)) return [];
      return answer.filter((one) => typeof one === 'number').sort((a, b) => a - b);
    },
    version: (subject, version) => read(subject, version, new Map()),
  };
}

async function ask(
  address: RegistryAddress,
  method: string,
  path: string,
  body: object | null,
  doing: string,
): Promise<{ readonly id?: unknown }> {
  let status: number;
  let text: string;
  try {
    ({ status, text } = await send(address, method, path, body === null ? '' : JSON.stringify(body)));
  } catch (error) {
    throw new PipelineError('TARGET_UNREACHABLE', `${doing}: the registry does not answer`, { cause: error });
  }
  if (status === 401 || status === 403) throw new PipelineError('TARGET_AUTH', `${doing}: not authorized (${status})`);
  // What it says of schemas names fields and types, and no values.
  if (status === 409 || status === 422) throw new PipelineError('TARGET_SCHEMA', `${doing}: refused (${status}): ${messageOf(text)}`);
  if (status !== 200) throw new PipelineError('TARGET_UNREACHABLE', `${doing}: the registry answers ${status}`);
  return parsed(text) as { readonly id?: unknown };
}

function send(
  { url, username = null, password = null, token = null, tls = null }: RegistryAddress,
  method: string,
  path: string,
  body: string,
): Promise<{ readonly status: number; readonly text: string }> {
  const at = new URL(url);
  const [user, secret] = [username ?? decodeURIComponent(at.username), password ?? decodeURIComponent(at.password)];
  const authorization =
    token !== null ? `Bearer ${token}` : user === '' ? null : `Basic ${Buffer.from(`${user}:${secret}`).toString('base64')}`;
  at.username = '';
  at.password = '';
  const target = `${at.href.replace(/\/$/, '')}${path}`;
  const options = {
    method,
    timeout: ANSWER_MS,
    headers: {
      accept: KIND,
      ...(body === '' ? {} : { 'content-type': KIND, 'content-length': Buffer.byteLength(body) }),
      ...(authorization === null ? {} : { authorization }),
    },
  };
  return new Promise((resolve, reject) => {
    const request = at.protocol === 'https:' ? httpsRequest(target, { ...options, ...tls }) : httpRequest(target, options);
    request.on('timeout', () => request.destroy(new Error(`no answer within ${ANSWER_MS / 1000} s`)));
    request.on('error', reject);
    request.on('response', (response) => {
      let text = '';
      response.setEncoding('utf8');
      response.on('data', (chunk: string) => (text += chunk));
      response.on('error', reject);
      response.on('end', () => resolve({ status: response.statusCode ?? 0, text }));
    });
    request.end(body);
  });
}

function messageOf(text: string): string {
  const answer = parsed(text);
  const message = 'message' in answer ? answer.message : 'detail' in answer ? answer.detail : null;
  return typeof message === 'string' ? message.slice(0, 300) : 'without a reason';
}

function parsed(text: string): object {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null ? value : {};
  } catch {
    return {};
  }
}
