/** tidegate init: looks at a source database and writes a first config and rule files that `tidegate check` accepts. */
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { stringify } from 'yaml';
import { tableMatcher } from '../../cdc/postgres/found-tables.ts';
import { TABLE_PATTERN } from '../config-schema/options.ts';
import { UsageError } from './arguments.ts';
import type { Command } from './command.ts';
import { show } from './output.ts';
import { type ProbedColumn, type ProbedTable, probeTables } from './probe-tables.ts';

export const init: Command = {
  name: 'init',
  summary:
    'Looks at a source database (reading only) and writes tidegate.yaml and a rule file for each table, with checks that the tables and a sample of their rows suggest. The urls stay out of the files: they name SOURCE_URL and TARGET_URL.',
  positionals: [],
  flags: {
    source: { type: 'string', value: 'URL', help: 'The source: postgres://user:password@host:port/database. Required.' },
    target: { type: 'string', value: 'URL', help: 'The target. Required.' },
    out: { type: 'string', value: 'DIR', help: 'Where to write; here if left out.' },
    name: { type: 'string', value: 'NAME', help: 'A name for the source; its database’s if left out.' },
    schema: { type: 'string', value: 'NAME', help: 'The schema on the target; the source’s name if left out.' },
    table: { type: 'string', multiple: true, value: 'SCHEMA.TABLE', help: 'Only this table. May be repeated.' },
    pattern: {
      type: 'string',
      multiple: true,
      value: 'SCHEMA.TABLE',
      help: 'Read the tables that this fits, where * stands for any characters and ? for one, also those that are made later. May be repeated, and beside --table.',
    },
  },
  run: async (args, io) => {
    const source = urlOf(args.text('source'), 'source');
    const target = urlOf(args.text('target'), 'target');
    const out = args.text('out') ?? '.';
    const name = nameOf(args.text('name') ?? decodeURIComponent(new URL(source).pathname.slice(1)), 'source');
    const wanted = args.list('table');
    const patterns = args.list('pattern');
    const unlike = patterns.find((pattern) => !new RegExp(TABLE_PATTERN, 'u').test(pattern));
    if (unlike !== undefined) throw new UsageError(`--pattern ${unlike} is no schema.table`, 'Write it as public.* or sales.order_*.');
    const fits = tableMatcher({ patterns, except: [] });
    const isWanted = (table: string): boolean => wanted.includes(table) || fits(table);
    const probed = await probeTables(source, patterns.length > 0 ? [] : wanted);
    const found = patterns.length > 0 ? probed.filter((table) => isWanted(`${table.schema}.${table.name}`)) : probed;
    const missing = wanted.filter((table) => !found.some((probed) => `${probed.schema}.${probed.name}` === table));
    if (missing.length > 0) throw new UsageError(`there is no table ${missing.join(', ')}`, 'Name tables as schema.table.');
    const usable = found.filter((table) => whyNot(table) === null);
    const skipped = found.filter((table) => !usable.includes(table));
    // Where tables are found by patterns, the first may be made later.
    if (usable.length === 0 && patterns.length === 0)
      throw new UsageError('the source has no table with a primary key', 'Give its tables primary keys, or name another database.');

    const pipeline = nameOf(decodeURIComponent(new URL(target).pathname.slice(1)), 'target');
    const files = new Map([
      [
        join(out, 'tidegate.yaml'),
        configText(name, pipeline === name ? `${name}-target` : pipeline, args.text('schema') ?? name, usable, { patterns, named: wanted }),
      ],
    ]);
    // Some file systems do not tell a from A.
    const fileNames = distinct(
      usable.map((table) => [table.name, `${table.schema}.${table.name}`].map(fileName)),
      (file) => file.toLowerCase(),
    );
    for (const [index, table] of usable.entries()) {
      const path = join(out, 'datasets', `${fileNames[index] ?? index}.yaml`);
      files.set(path, ruleText(`${name}.${table.schema}.${table.name}`, table));
    }
    const there = [...files.keys()].filter((file) => existsSync(file));
    if (there.length > 0) throw new UsageError(`${there.join(', ')} exists already`, 'Move it away, or name another folder with --out.');
    for (const [file, text] of files) {
      mkdirSync(dirname(file), { recursive: true });
      writeFileSync(file, text);
    }
    const left = skipped.map((table) => `${table.schema}.${table.name}`);
    show(io, args.is('json'), { files: [...files.keys()], skipped: left }, () => {
      const notes = skipped.map((table, index) => `! ${left[index] ?? ''} is left out: ${whyNot(table) ?? ''}.\n`).join('');
      return `${[...files.keys()].map((file) => `wrote ${file}\n`).join('')}${notes}\nNext: set SOURCE_URL and TARGET_URL, then run  tidegate check ${join(out, 'tidegate.yaml')}\n`;
    });
    return 0;
  },
};

function urlOf(url: string | null, what: string): string {
  if (url === null) throw new UsageError(`--${what} is missing`, `Write --${what} postgres://user:password@host:port/database.`);
  if (!URL.canParse(url) || !/^postgres(ql)?:$/.test(new URL(url).protocol))
    throw new UsageError(`--${what} is no postgres url`, 'Write postgres://user:password@host:port/database.');
  return url;
}

/** What may stand as a name in a config, made of `text`. */
function nameOf(text: string, otherwise: string): string {
  const name = text
    .toLowerCase()
    .replaceAll(/[^a-z0-9_]+/g, '_')
    .replace(/^[^a-z]+/, '')
    .slice(0, 40);
  return name === '' ? otherwise : name;
}

/** Why a table cannot be read; null where it can. */
function whyNot({ schema, key }: ProbedTable): string | null {
  if (key.length === 0) return 'it has no primary key';
  return schema.includes('.') ? 'there is a dot in the name of its schema' : null;
}

/** For each the first of its names that nobody before it has; where all are taken, the last with a number. */
function distinct(names: readonly (readonly string[])[], sameAs: (name: string) => string = (name) => name): readonly string[] {
  const taken = new Set<string>();
  return names.map((choices) => {
    const last = choices.at(-1) ?? '';
    for (let n = 1; ; n++) {
      const free = [...choices, ...(n === 1 ? [] : [`${last}_${n}`])].find((choice) => !taken.has(sameAs(choice)));
      if (free === undefined) continue;
      taken.add(sameAs(free));
      return free;
    }
  });
}

function fileName(table: string): string {
  return table.replaceAll(/[^\p{L}\p{N}._-]+/gu, '_').replace(/^\.+/, '_');
}

function configText(
  source: string,
  target: string,
  schema: string,
  tables: readonly ProbedTable[],
  { patterns, named }: { readonly patterns: readonly string[]; readonly named: readonly string[] },
): string {
  // All tables go to one schema of the target, where a name can be used once.
  const inTurn = tables.toSorted((a, b) => Number(b.schema === 'public') - Number(a.schema === 'public'));
  const names = distinct(inTurn.map((table) => [table.name, `${table.schema}_${table.name}`]));
  const layouts = inTurn.flatMap((table, index) => {
    const name = names[index] ?? table.name;
    return name === table.name ? [] : [{ dataset: `${source}.${table.schema}.${table.name}`, table: name }];
  });
  const config = {
    version: 1,
    state: './tidegate.db',
    sources: {
      [source]: {
        kind: 'postgres',
        url: '${SOURCE_URL}',
        slot: `tidegate_${source}`,
        publication: `tidegate_${source}`,
        ...(patterns.length > 0
          ? { ...(named.length > 0 ? { tables: named } : {}), patterns }
          : { tables: tables.map((table) => `${table.schema}.${table.name}`) }),
      },
    },
    targets: { [target]: { kind: 'postgres', url: '${TARGET_URL}', schema, ...(layouts.length === 0 ? {} : { layouts }) } },
    pipelines: { [`${source}-to-${target}`]: { source, target, datasets: './datasets/*.yaml' } },
    http: { host: '127.0.0.1', port: 8420 },
  };
  return [
    '# yaml-language-server: $schema=./node_modules/tidegate/schema/tidegate.v1.schema.json',
    '# A first config by `tidegate init`. `tidegate check` says what is wrong with it, docs/config.md what else there is.',
    stringify(config),
  ].join('\n');
}

function ruleText(dataset: string, table: ProbedTable): string {
  const columns = table.columns.flatMap((column) => {
    const checks = checksOf(column);
    return checks.length === 0 ? [] : [[column.name, checks] as const];
  });
  const rules = {
    apiVersion: 'quality/v1',
    kind: 'DatasetRules',
    dataset,
    version: 1,
    ...(table.comment === null ? {} : { description: table.comment }),
    schema: { columns: Object.fromEntries(table.columns.map(({ name, type, nullable }) => [name, { type, nullable }])) },
    defaults: { on_fail: 'quarantine', severity: 'critical' },
    ...(columns.length === 0 ? {} : { columns: Object.fromEntries(columns) }),
  };
  return [
    '# yaml-language-server: $schema=../node_modules/tidegate/schema/dataset-rules.v1.schema.json',
    '# First checks by `tidegate init`, from the table and a sample of its rows. Keep what you agree with.',
    stringify(rules, { flowCollectionPadding: false }),
  ].join('\n');
}

/** Only what the table promises or the sample shows; guesses from a sample tag rows and never hold them. */
function checksOf(column: ProbedColumn): readonly unknown[] {
  const checks: unknown[] = [];
  if (!column.nullable) checks.push('not_null');
  if (column.inKey) checks.push({ immutable: true });
  if (column.labels !== null) checks.push({ in_set: column.labels });
  if (column.format !== null) checks.push({ format: column.format, on_fail: 'tag' });
  if (column.notNegative && !column.inKey) checks.push({ between: { min: 0 }, on_fail: 'tag' });
  return checks;
}
