/** Failures of the Kafka client (kafkajs) as ours. */
import { type ErrorCode, PipelineError } from '../../core/errors.ts';
import { NoToken } from './bearer-token.ts';

/** Whose failures they are. */
export type Side = 'SOURCE' | 'TARGET';

/** kafkajs's errors by their type on the wire, as one of the coded ones. */
export function failure(error: unknown, doing: string, side: Side): PipelineError {
  const own = [...causesOf(error)].find((one) => one instanceof PipelineError);
  if (own !== undefined) return own;
  const none = [...causesOf(error)].find((one) => one instanceof NoToken);
  if (none !== undefined)
    return new PipelineError(`${side}_${none.isRefused ? 'AUTH' : 'UNREACHABLE'}`, none.message, { cause: none.cause });
  const code = codeOf(error, side);
  if (code === 'BUG') return new PipelineError(code, `${doing} failed in a way that was not foreseen`, { cause: error });
  const parts = error instanceof Error ? partsOf(error) : [];
  const said = (parts.length > 0 ? parts : [error]).map((one) => (one instanceof Error ? one.message : String(one))).join('; ');
  // The answer to a token that is refused is no error to the client, which goes on as if it were let in.
  const text = typeOf(error) === 'ILLEGAL_SASL_STATE' ? 'the brokers do not take the token' : said;
  return new PipelineError(code, `${doing}: ${text}`, { cause: error });
}

function codeOf(error: unknown, side: Side): ErrorCode {
  const type = typeOf(error);
  const all = [...causesOf(error)];
  const names = all.map(({ name }) => name);
  if (names.includes('KafkaJSSASLAuthenticationError') || type === 'SASL_AUTHENTICATION_FAILED' || type === 'ILLEGAL_SASL_STATE')
    return `${side}_AUTH`;
  if (type === 'INVALID_PRODUCER_EPOCH' || type === 'PRODUCER_FENCED') return 'LEASE_LOST';
  if (isForbidden(error)) return `${side}_PRIVILEGE`;
  if (type === 'UNKNOWN_TOPIC_OR_PARTITION') return side === 'SOURCE' ? 'SOURCE_TOPIC_MISSING' : 'TARGET_TOPIC_MISSING';
  if (type === 'MESSAGE_TOO_LARGE' || type === 'RECORD_LIST_TOO_LARGE') return 'TARGET_RECORD_TOO_LARGE';
  if (all.some(isMistake)) return 'BUG';
  return names.some((name) => name.startsWith('KafkaJS')) ? `${side}_UNREACHABLE` : 'BUG';
}

/** Somebody may not do what they asked for. */
export const isForbidden = (error: unknown): boolean => typeOf(error)?.endsWith('_AUTHORIZATION_FAILED') === true;

/** The client takes those for the end of it, and wraps them as if the brokers had said so. */
const isMistake = (error: Error): boolean => /^(?:Type|Range|Reference|Syntax)Error$/.test(error.name);

/** The error that the broker named, also where a retry has wrapped it. */
export function typeOf(error: unknown): string | null {
  for (const one of causesOf(error)) if ('type' in one && typeof one.type === 'string') return one.type;
  return null;
}

/** Those that an error was made of, too: of topics that could not be made, say. */
function* causesOf(error: unknown): Generator<Error> {
  for (let at = error; at instanceof Error; at = at.cause) {
    yield at;
    for (const part of partsOf(at)) yield* causesOf(part);
  }
}

const partsOf = (error: Error): readonly unknown[] => ('errors' in error && Array.isArray(error.errors) ? error.errors : []);
