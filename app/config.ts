/** Loads tidegate.yaml and explains everything that is wrong with it at once. Touches no server: `check` and `run` do, with what comes out of here. */
import { readFileSync } from 'node:fs';
import { basename, dirname, resolve } from 'node:path';
import { type Document, isNode, LineCounter, parseDocument, visit } from 'yaml';
import type { DatasetName, LaneId } from '../core/event.ts';
import { isError, type Problem } from '../core/problems.ts';
import { checkEndpoints, type WebhookEndpoint } from '../ops/alerts/webhook.ts';
import { tableMatcher } from '../cdc/postgres/found-tables.ts';
import { topicName } from '../sync/kafka/topic-name.ts';
import { isPostgresUrl, parsePgServers, parsePgUrl, splitHosts } from '../wire/postgres/ident.ts';
import { nearest, readNode, show } from './config-read.ts';
import {
  type AlertConfig,
  type Config,
  configSchema,
  type LayoutConfig,
  type PipelineConfig,
  type PostgresTargetConfig,
  type SourceConfig,
  type TargetConfig,
} from './config-schema.ts';
import { kafkaSourceProblems, kafkaTargetProblems, quarantineTopicsProblems } from './kafka-config.ts';
import { patternProblems } from './pattern-config.ts';

/** A config that fits the schema and itself. */
export interface LoadedConfig {
  /** The absolute path of the file. */
  readonly file: string;
  readonly folder: string;
  readonly config: Config;
  /** `tidegate.yaml:12: sources.shop`: where a person finds a path of the config. */
  readonly place: (...path: (string | number)[]) => string;
}

export type ConfigResult =
  | { readonly kind: 'loaded'; readonly loaded: LoadedConfig; readonly warnings: readonly Problem[] }
  | { readonly kind: 'invalid'; readonly problems: readonly Problem[] };

export type Environment = Readonly<Record<string, string | undefined>>;

/** Reads and judges the file. Never throws for what is in it. */
export function loadConfig(file: string, env: Environment = process.env): ConfigResult {
  const path = resolve(file);
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? 'error';
    return {
      kind: 'invalid',
      problems: [
        {
          severity: 'error',
          path: file,
          message: `the config file cannot be read (${code})`,
          fix: 'Check the path, or write a first one with `tidegate init`.',
        },
      ],
    };
  }
  return parseConfig(text, path, env);
}

/** The same for a text that would stand at `file`. */
export function parseConfig(text: string, file: string, env: Environment): ConfigResult {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false });
  const name = basename(file);
  const problems: Problem[] = document.errors.map((error) => ({
    severity: 'error',
    path: `${name}:${lines.linePos(error.pos[0]).line}`,
    message: `is no valid YAML: ${error.message}`,
    fix: 'Correct the indentation or quoting on this line.',
  }));
  if (problems.length > 0) return { kind: 'invalid', problems };

  const place = (path: readonly (string | number)[]): string => {
    let line = 1;
    for (let depth = path.length; depth >= 0; depth--) {
      const found = keyLine(document.contents, path.slice(0, depth), lines);
      if (found === null) continue;
      line = found;
      break;
    }
    return path.length === 0 ? `${name}:${line}:` : `${name}:${line}: ${pathText(path)}`;
  };
  const folder = dirname(file);
  let value: unknown;
  try {
    value = document.toJS();
  } catch {
    return { kind: 'invalid', problems: [aliasProblem(document, name, lines)] };
  }
  const config = readNode(value ?? {}, configSchema, [], { folder, env, problems, place }) as Config | undefined;
  // What is wrong between the parts is told together with what is wrong within them, as far as the text itself shows it.
  problems.push(...crossProblems(value, place));
  problems.sort((a, b) => lineOf(a) - lineOf(b));
  if (config === undefined || problems.some(isError)) return { kind: 'invalid', problems };
  const loaded: LoadedConfig = { file, folder, config, place: (...path) => place(path) };
  problems.push(...loadedProblems(loaded));
  if (problems.some(isError)) return { kind: 'invalid', problems };
  return { kind: 'loaded', loaded, warnings: problems };
}

/** Every dataset that a source brings. */
export function datasetsOf(sourceName: string, source: SourceConfig): readonly DatasetName[] {
  return source.tables.map((table) => `${sourceName}.${table}` as DatasetName);
}

/** Whether a source may bring a dataset: what a pattern finds is known when it is there. */
export function mayBring(sourceName: string, source: SourceConfig, dataset: string): boolean {
  if (source.kind === 'kafka' && source.topicPattern !== null) return dataset.startsWith(`${sourceName}.`);
  if (source.kind === 'postgres' && dataset.startsWith(`${sourceName}.`) && tableMatcher(source)(dataset.slice(sourceName.length + 1)))
    return true;
  return (datasetsOf(sourceName, source) as readonly string[]).includes(dataset);
}

/** The lane of a source, as the source itself names it. */
export function laneOf(sourceName: string, source: SourceConfig): LaneId {
  return `${sourceName}/${source.kind === 'kafka' ? source.group : source.slot}` as LaneId;
}

/** Whether a lane is that of a source, or one of those that the source has under it. */
export function isLaneOf(lane: string, own: string): boolean {
  return lane === own || lane.startsWith(`${own}/`);
}

/** The lane that brings a pipeline's released events back. */
export function replayLaneOf(pipeline: string): LaneId {
  return `replay:${pipeline}` as LaneId;
}

export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127\.\d+\.\d+\.\d+$/.test(host);
}

/** The source and target of a pipeline of a loaded config: they exist, or it would not have loaded. */
export function partsOf(config: Config, pipeline: PipelineConfig) {
  const source = config.sources[pipeline.source];
  const target = config.targets[pipeline.target];
  if (source === undefined || target === undefined) throw new Error('a loaded config names only what it has');
  return { source, target };
}

/** What ops/ sends an alert's webhooks by. */
export function endpointOf(name: string, alert: AlertConfig): WebhookEndpoint {
  return { name, url: alert.url.reveal(), secrets: [alert.secret.reveal()], events: alert.events, allowNetworks: alert.allowNetworks };
}

/** References between the parts, told from the plain YAML so that they appear beside errors of form. */
function crossProblems(value: unknown, place: (path: readonly (string | number)[]) => string): Problem[] {
  const problems: Problem[] = [];
  const root = asObject(value);
  const sources = asObject(root['sources']);
  const targets = asObject(root['targets']);
  for (const [name, pipelineValue] of Object.entries(asObject(root['pipelines']))) {
    const pipeline = asObject(pipelineValue);
    for (const [role, known] of [
      ['source', sources],
      ['target', targets],
    ] as const) {
      const wanted = pipeline[role];
      if (typeof wanted !== 'string' || Object.hasOwn(known, wanted)) continue;
      const near = nearest(wanted, Object.keys(known));
      problems.push({
        severity: 'error',
        path: place(['pipelines', name, role]),
        message: `there is no ${role} named ${wanted.includes('://') ? show(wanted) : wanted}`,
        fix:
          near === null
            ? `Add it under ${role}s, or name one of: ${Object.keys(known).join(', ') || 'none yet'}.`
            : `Did you mean ${near}?`,
      });
    }
    const source = typeof pipeline['source'] === 'string' ? asObject(sources[pipeline['source']]) : {};
    const tables = asList(source['tables']).map((table) => `${String(pipeline['source'])}.${String(table)}`);
    for (const [index, useValue] of asList(pipeline['models']).entries()) {
      const dataset = asObject(useValue)['dataset'];
      if (
        typeof dataset !== 'string' ||
        tables.length === 0 ||
        tables.includes(dataset) ||
        'topicPattern' in source ||
        'patterns' in source
      )
        continue;
      const near = nearest(dataset, tables);
      problems.push({
        severity: 'error',
        path: place(['pipelines', name, 'models', index, 'dataset']),
        message: `${dataset} is no dataset of this pipeline's source`,
        fix: near === null ? `Name one of: ${tables.join(', ')}.` : `Did you mean ${near}?`,
      });
    }
  }
  return problems;
}

/** Beyond this a held row could not be read back: as text in hexadecimal it would be longer than a text may be. */
const ROW_BYTES_MAX = 256 << 20;
const ROW_BYTES_MIN = 1 << 20;

const LEASE_MIN_MS = 1000;
/** The group is told every second that a worker lives, and misses of that are no reason to share anew. */
const SESSION_MIN_MS = 3000;

/** What only the loaded values show. */
function loadedProblems({ config, place }: LoadedConfig): Problem[] {
  const problems: Problem[] = [];
  const error = (path: string, message: string, fix: string) => problems.push({ severity: 'error', path, message, fix });
  const warning = (path: string, message: string, fix: string) => problems.push({ severity: 'warning', path, message, fix });

  const slots = new Map<string, string>();
  const kafka: { readonly name: string; readonly group: string; readonly brokers: readonly string[] }[] = [];
  for (const [name, source] of Object.entries(config.sources)) {
    if (source.kind === 'kafka') {
      if (source.session < SESSION_MIN_MS)
        error(place('sources', name, 'session'), 'is shorter than 3 s', 'Write 3s or more; brokers ask for 6s unless told otherwise.');
      problems.push(...kafkaSourceProblems(source, (...path) => place('sources', name, ...path)));
      const wrong = source.database === null ? null : urlProblem(source.database.url.reveal());
      if (wrong !== null) error(place('sources', name, 'database', 'url'), wrong, URL_FIX);
      const group = kafka.find((other) => other.group === source.group && other.brokers.some((broker) => source.brokers.includes(broker)));
      if (group !== undefined)
        error(
          place('sources', name, 'group'),
          `the group ${source.group} is also that of the source ${group.name}, and would be given its partitions`,
          'Give each source a group of its own.',
        );
      kafka.push({ name, group: source.group, brokers: source.brokers });
      continue;
    }
    const wrong = urlProblem(source.url.reveal());
    if (wrong !== null) {
      error(place('sources', name, 'url'), wrong, URL_FIX);
      continue;
    }
    problems.push(...patternProblems(source, ownSchemas(config, name, source.url.reveal()), (...path) => place('sources', name, ...path)));
    if (source.rowBytes < ROW_BYTES_MIN || source.rowBytes > ROW_BYTES_MAX)
      error(place('sources', name, 'rowBytes'), 'must lie between 1MiB and 256MiB', 'Leave rows out that are larger, or their columns.');
    const slot = `${serverOf(source.url.reveal())} ${source.slot}`;
    const other = slots.get(slot);
    if (other !== undefined)
      error(
        place('sources', name, 'slot'),
        `the slot ${source.slot} is also that of the source ${other}`,
        'Give each source a slot of its own.',
      );
    slots.set(slot, name);
  }
  for (const [name, target] of Object.entries(config.targets)) {
    if (target.kind === 'kafka') {
      problems.push(...kafkaTargetProblems(config, name, target, (...path) => place('targets', name, ...path)));
      continue;
    }
    const wrong = urlProblem(target.url.reveal());
    if (wrong !== null) error(place('targets', name, 'url'), wrong, URL_FIX);
    if (target.schema === 'tidegate')
      error(place('targets', name, 'schema'), 'tidegate is the schema of lanes and quarantine', 'Choose another schema for your tables.');
    else if (target.schema.startsWith('pg_'))
      error(place('targets', name, 'schema'), 'PostgreSQL keeps schemas beginning with pg_ for itself', 'Choose another schema.');
    for (const problem of layoutProblems(config, name, target))
      problems.push({ severity: 'error', ...problem, path: place('targets', name, 'layouts', ...problem.path) });
  }

  for (const [name, pipeline] of Object.entries(config.pipelines)) {
    const at = (...path: string[]) => place('pipelines', name, 'quarantineTopics', ...path);
    problems.push(...quarantineTopicsProblems(pipeline.quarantineTopics, partsOf(config, pipeline).source, at));
  }
  for (const [name, pipeline] of Object.entries(config.pipelines)) {
    const { source, target } = partsOf(config, pipeline);
    if (pipeline.verify.every !== null && target.kind === 'kafka')
      error(place('pipelines', name, 'verify', 'every'), 'topics hold changes, and not rows that could be compared', 'Leave it out.');
    if (pipeline.verify.every === null || source.kind !== 'kafka') continue;
    if (source.database === null)
      error(
        place('pipelines', name, 'verify', 'every'),
        'topics do not say what rows there are',
        `Name the database behind them under sources.${pipeline.source}.database, or leave it out.`,
      );
  }
  const readBy = new Map<string, string>();
  const writtenBy = new Map<string, string>();
  for (const [name, pipeline] of Object.entries(config.pipelines)) {
    const { source, target } = partsOf(config, pipeline);
    const reader = readBy.get(pipeline.source);
    if (reader !== undefined) {
      error(
        place('pipelines', name, 'source'),
        `the ${source.kind === 'kafka' ? 'group' : 'slot'} of ${pipeline.source} is already read by the pipeline ${reader}`,
        `Add a second source with a ${source.kind === 'kafka' ? 'group' : 'slot'} of its own for this pipeline.`,
      );
    }
    readBy.set(pipeline.source, name);
    for (const table of source.tables) {
      const written = writtenAs(name, pipeline.source, table, target);
      const place_ = `${placeOf(target)} ${written}`;
      const writer = writtenBy.get(place_);
      const isSameRow = hasVersions(target) && writer?.endsWith(` ${table}`) === true && isVersioned(config, writer);
      if (writer !== undefined && writer !== `${name} ${table}` && !isSameRow) {
        error(
          place('pipelines', name, 'target'),
          `${written} would be written from two tables (${writer.replace(' ', ': ')} and ${name}: ${table})`,
          target.kind === 'kafka'
            ? 'Give one of them a target whose topic is named otherwise.'
            : 'Give one of them another name in the layouts of its target, or a target with another schema. If they are the same rows by two roads, add rowVersions to the target.',
        );
      }
      writtenBy.set(place_, `${name} ${table}`);
    }
    if (
      source.kind === 'postgres' &&
      target.kind === 'postgres' &&
      serverOf(source.url.reveal()) === serverOf(target.url.reveal()) &&
      source.tables.some((table) => source.tables.includes(writtenTable(pipeline.source, table, target)))
    ) {
      error(place('pipelines', name, 'target'), 'source and target are the same tables', 'Write to another schema or database.');
    }
    const used = new Set<string>();
    const layouts = target.kind === 'postgres' ? target.layouts : [];
    for (const layout of layouts) for (const column of columnsBeside(layout)) used.add(`${layout.dataset} ${column}`);
    for (const [index, use] of pipeline.models.entries()) {
      for (const [role, column] of Object.entries(use.write)) {
        if (column === null) continue;
        if (used.has(`${use.dataset} ${column}`)) {
          error(
            place('pipelines', name, 'models', index, 'write', role),
            `the column ${column} is written twice`,
            'Give each score a column of its own.',
          );
        }
        used.add(`${use.dataset} ${column}`);
      }
    }
  }

  for (const [name, other] of loopsOf(config)) {
    error(
      place('sources', name, 'changes'),
      `what this source's pipeline writes comes back by the source ${other}, for ever`,
      'Set `changes: own` for both sources: two databases may follow each other then.',
    );
  }

  if (config.http.enabled && !isLoopback(config.http.host) && config.http.tokens.length === 0) {
    error(
      place('http', 'host'),
      `${config.http.host} is beyond loopback, and nobody would be asked who they are`,
      'Set http.tokens, or listen on 127.0.0.1.',
    );
  }
  if (config.lease < LEASE_MIN_MS)
    error(place('lease'), 'is shorter than a second', 'Write 1s or more: whoever has a pipeline says so every second.');
  for (const [index, token] of config.http.tokens.entries()) {
    if (token.token.reveal().length < 16)
      error(place('http', 'tokens', index, 'token'), 'is shorter than 16 characters', 'Make one with `openssl rand -hex 24`.');
  }
  for (const [name, alert] of Object.entries(config.alerts)) {
    const root = 'alerts';
    for (const problem of checkEndpoints([endpointOf(name, alert)], root)) {
      problems.push({ ...problem, path: place(root, name, problem.path.slice(`${root}.${name}.`.length)) });
    }
  }
  if (Object.keys(config.alerts).length === 0) {
    warning(place('alerts'), 'nobody is told when a lane halts', 'Add a webhook under alerts, or watch /readyz.');
  }
  return problems;
}

/** Sources that read all changes of a table which another source of this config brings back to where they were made; with that one. */
function loopsOf(config: Config): ReadonlyMap<string, string> {
  const roads = Object.values(config.pipelines).flatMap((pipeline) => {
    const { source, target } = partsOf(config, pipeline);
    if (source.kind !== 'postgres' || target.kind !== 'postgres') return [];
    const [here, there] = [serverOf(source.url.reveal()), serverOf(target.url.reveal())];
    return source.tables.map((table) => ({
      source: pipeline.source,
      changes: source.changes,
      from: `${here} ${table}`,
      to: `${there} ${writtenTable(pipeline.source, table, target)}`,
    }));
  });
  const loops = roads.flatMap(({ source, changes, from, to }) => {
    const back = roads.find((road) => road.from === to && road.to === from && road.source !== source);
    return changes === 'all' && back !== undefined ? [[source, back.source] as const] : [];
  });
  return new Map(loops);
}

/** What is wrong with the layouts of a target, as far as they show it themselves. */
function layoutProblems(config: Config, name: string, target: PostgresTargetConfig) {
  const problems: { path: (string | number)[]; message: string; fix: string }[] = [];
  const written = Object.values(config.pipelines).filter((pipeline) => pipeline.target === name);
  const known = written.flatMap((pipeline) => datasetsOf(pipeline.source, partsOf(config, pipeline).source)) as readonly string[];
  const described = new Set<string>();
  for (const [index, layout] of target.layouts.entries()) {
    const problem = (path: string | readonly string[], message: string, fix: string) =>
      problems.push({ path: [index, ...[path].flat()], message, fix });
    const { dataset, schema, columns, rename } = layout;
    if (!written.some((pipeline) => mayBring(pipeline.source, partsOf(config, pipeline).source, dataset))) {
      const near = nearest(dataset, known);
      const names = known.join(', ') || 'none: no pipeline writes to this target';
      problem(
        'dataset',
        `${dataset} is no dataset that comes to this target`,
        near === null ? `Name one of: ${names}.` : `Did you mean ${near}?`,
      );
    }
    if (described.has(dataset)) problem('dataset', `${dataset} is described twice`, 'Put both into one layout.');
    described.add(dataset);
    if (schema === 'tidegate' || schema?.startsWith('pg_') === true)
      problem('schema', `${schema} is not yours to use`, 'Choose another schema.');
    for (const column of Object.keys(rename)) {
      if (columns !== null && !columns.includes(column))
        problem(['rename', column], 'is not among the columns that are written', 'Add it to columns, or remove it here.');
    }
    const [versions, marks] = [layout.history, layout.softDelete].map((one) => Object.values(one).filter((name) => name !== null));
    if (versions?.length === 1) problem('history', 'names only one of its two columns', 'Name both from and to, or neither.');
    if (versions?.length === 2 && marks !== undefined && marks.length > 0)
      problem('softDelete', 'is of no use beside a history, where deleted rows stay anyway', 'Remove one of the two.');
    const names = [
      ...Object.values(rename),
      ...(columns ?? []).filter((column) => !Object.hasOwn(rename, column)),
      ...columnsBeside(layout),
    ];
    for (const column of new Set(names.filter((one, i) => names.indexOf(one) < i)))
      problem([], `two things would go to the column ${column}`, 'Give each a column of its own.');
  }
  return problems;
}

function columnsBeside({ softDelete, write }: LayoutConfig): string[] {
  return [...Object.values(softDelete), ...Object.values(write)].filter((column) => column !== null);
}

/** Whether the target of a pipeline keeps the versions of its rows. `writer`: its name, and more behind it. */
function isVersioned(config: Config, writer: string): boolean {
  const pipeline = config.pipelines[writer.split(' ')[0] ?? ''];
  return pipeline !== undefined && hasVersions(partsOf(config, pipeline).target);
}

const hasVersions = (target: TargetConfig): boolean => target.kind === 'postgres' && target.rowVersions !== null;

/** Schemas of a source's own database that its pipelines write to. */
function ownSchemas(config: Config, source: string, url: string): readonly string[] {
  const targets = Object.values(config.pipelines).flatMap((pipeline) =>
    pipeline.source === source ? [partsOf(config, pipeline).target] : [],
  );
  return targets.flatMap((target) => {
    if (target.kind !== 'postgres' || serverOf(target.url.reveal()) !== serverOf(url)) return [];
    return [target.schema, ...target.layouts.flatMap(({ schema }) => schema ?? [])];
  });
}

/** Where a table of a source goes: `schema.table`. */
function writtenTable(source: string, table: string, { schema, layouts }: PostgresTargetConfig): string {
  const layout = layouts.find(({ dataset }) => dataset === `${source}.${table}`);
  return `${layout?.schema ?? schema}.${layout?.table ?? table.slice(table.indexOf('.') + 1)}`;
}

/** The table or topic that a table of a source goes to. */
export function writtenAs(pipeline: string, source: string, table: string, target: TargetConfig): string {
  if (target.kind === 'postgres') return writtenTable(source, table, target);
  return topicName(target.topic, pipeline, `${source}.${table}` as DatasetName);
}

const placeOf = (target: TargetConfig): string =>
  target.kind === 'postgres' ? serverOf(target.url.reveal()) : target.brokers.toSorted().join(',');

const URL_FIX = 'Write postgres://user:password@host:port/database, with @, /, # and % of a password as %40, %2F, %23 and %25.';

/** What is wrong with a url of PostgreSQL servers, without a word of it; null where nothing is. */
function urlProblem(url: string): string | null {
  if (!isPostgresUrl(url)) return 'is no postgres url';
  try {
    parsePgServers(url);
    return null;
  } catch (error) {
    if (error instanceof TypeError) return error.message;
    throw error;
  }
}

function serverOf(url: string): string {
  const servers = splitHosts(url).map((one) => {
    if (urlProblem(one) !== null) return one;
    const { host, port, database } = parsePgUrl(one);
    return `${host}:${port}/${database}`;
  });
  return servers.join(',');
}

function pathText(path: readonly (string | number)[]): string {
  return path.reduce<string>((text, part) => (typeof part === 'number' ? `${text}[${part}]` : text === '' ? part : `${text}.${part}`), '');
}

/** What YAML's parser leaves to the reading of the values: a text such as *.yaml without quotes is an alias of something that is not there. */
function aliasProblem(document: Document.Parsed, name: string, lines: LineCounter): Problem {
  let line = 1;
  visit(document, {
    Alias: (_key, alias) => {
      if (alias.resolve(document) !== undefined) return undefined;
      line = lines.linePos(alias.range?.[0] ?? 0).line;
      return visit.BREAK;
    },
  });
  return {
    severity: 'error',
    path: `${name}:${line}`,
    message: 'a text that begins with * stands for an anchor, and this one stands for none that can be put in',
    fix: 'Put it in quotes, or name an anchor that stands above it.',
  };
}

/** The line that a path made by `place` begins with. */
function lineOf({ path }: Problem): number {
  return Number(/:(\d+):/.exec(path)?.[1] ?? 0);
}

/** The line on which the value at `path` is named, or null where the document has no such path. */
function keyLine(contents: unknown, path: readonly (string | number)[], lines: LineCounter): number | null {
  let node: unknown = contents;
  let named: unknown = contents;
  for (const part of path) {
    if (!isCollection(node)) return null;
    const items: readonly unknown[] = node.items;
    if (typeof part === 'number') {
      node = items[part];
      named = node;
    } else {
      const pair = items.find((item) => isPair(item) && String(item.key) === part);
      if (!isPair(pair)) return null;
      named = pair.key;
      node = pair.value;
    }
    if (named === undefined) return null;
  }
  return isNode(named) && named.range ? lines.linePos(named.range[0]).line : null;
}

function isCollection(node: unknown): node is { readonly items: readonly unknown[] } {
  return typeof node === 'object' && node !== null && 'items' in node && Array.isArray(node.items);
}

function isPair(item: unknown): item is { readonly key: unknown; readonly value: unknown } {
  return typeof item === 'object' && item !== null && 'key' in item && 'value' in item;
}

function asObject(value: unknown): Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>) : {};
}

function asList(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? (value as unknown[]) : [];
}
