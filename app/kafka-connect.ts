/** From the config's words to how brokers and registries are reached. */
import { tokenFromFile, tokenFromServer } from '../wire/kafka/bearer-token.ts';
import type { KafkaConnection, SaslOptions, TlsOptions } from '../wire/kafka/client.ts';
import type { RegistryAddress } from '../wire/kafka/registry.ts';
import type { Clock } from '../core/clock.ts';
import type { KafkaSourceConfig } from './config-schema.ts';
import { Secret } from './secret.ts';

export function kafkaConnection(
  { brokers, sasl, tls }: Pick<KafkaSourceConfig, 'brokers' | 'sasl' | 'tls'>,
  clock: Clock,
): KafkaConnection {
  return {
    brokers,
    sasl: sasl === null ? null : saslOptions(sasl, clock),
    tls: tls === null ? null : { ...revealed(tls), ...(tls.serverName === null ? {} : { servername: tls.serverName }) },
  };
}

function saslOptions(sasl: NonNullable<KafkaSourceConfig['sasl']>, clock: Clock): SaslOptions {
  const { mechanism, oauth, tokenFile, extensions } = sasl;
  if (mechanism !== 'oauthbearer') return { mechanism, username: sasl.username ?? '', password: sasl.password?.reveal() ?? '' };
  const token =
    oauth === null ? tokenFromFile(tokenFile ?? '') : tokenFromServer({ ...oauth, clientSecret: oauth.clientSecret.reveal() }, clock);
  return { mechanism, token, extensions };
}

export function registryOptions({ url, username, password, token, tls }: NonNullable<KafkaSourceConfig['registry']>): RegistryAddress {
  return {
    url: url.reveal(),
    username,
    password: password?.reveal() ?? null,
    token: token?.reveal() ?? null,
    tls: tls === null ? null : revealed(tls),
  };
}

/** Those that are there. */
export function revealed(options: Readonly<Record<string, Secret | string | null>>): TlsOptions {
  return Object.fromEntries(Object.entries(options).flatMap(([name, one]) => (one instanceof Secret ? [[name, one.reveal()]] : [])));
}

/**
 * Which table a topic is of that fits a pattern, as `schema.table`: what its groups `schema` and `table` say, else the two parts behind the prefix. Topics that
 * have no such parts are of no table: those of heartbeats, transactions and changes of schemas.
 */
export function tableOfTopic(pattern: string, prefix: string): (topic: string) => string | null {
  const whole = new RegExp(`^(?:${pattern})$`, 'u');
  return (topic) => {
    const found = whole.exec(topic);
    if (found === null) return null;
    const { schema, table } = found.groups ?? {};
    if (schema !== undefined && table !== undefined) return `${schema}.${table}`;
    const rest = topic.startsWith(`${prefix}.`) ? topic.slice(prefix.length + 1) : '';
    return /^[^.]+\.[^.]+$/.test(rest) ? rest : null;
  };
}
