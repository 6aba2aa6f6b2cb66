/** The dataset's rule file as users write it: read, validated with all problems at once, and brought into one form. */
import { createHash, type Hash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import type { Severity } from '../core/batch.ts';
import type { DatasetName, Operation } from '../core/event.ts';
import { parseExpression } from '../core/expression/parse.ts';
import { suggestion } from '../core/expression/suggest.ts';
import { REVISION_DIGITS } from '../core/lots.ts';
import type { Problem } from '../core/problems.ts';
import type { Objective } from '../core/slo.ts';
import { refuseRows, refuseUnasked } from './asked.ts';
import { type CheckItem, contractSchema, MODIFIERS, type RuleFile } from './contract-schema.ts';
import { breakerRule, evolutionOf, expectedSchema } from './contract-sections.ts';
import type { Expectation, Nulls } from './expectation.ts';
import { EXPECTATIONS } from './expectations/registry.ts';
import { translateExpectation } from './great-expectations.ts';
import { importedChecks } from './imports.ts';
import type { Word } from './gx/expectation.ts';
import { withRowsAsWhere } from './gx/asked-on-stream.ts';
import { CATALOGUE, LEFT_OUT, WORDS } from './gx/registry.ts';
import { problemOf } from './gx/suite.ts';
import { withoutLater } from './later.ts';
import { type ClockCheck, judgesWindows, type LiveRules, type TimerCheck, unfitForFiles } from './live/check.ts';
import { LiveReader } from './live/read.ts';
import { lintCheck } from './lint.ts';
import { CLOCK } from './clock/registry.ts';
import { withReference } from './reference/in-rules.ts';
import { readsCells, type Token } from './missing.ts';
import { inFileOrder, isObject, type Keys, RuleText } from './rule-text.ts';
import { SchemaFiles, type SchemaTexts } from './schema-files.ts';
import { readObjectives } from './slo/read.ts';
import type { Evolution, ExpectedSchema } from './schema/drift.ts';
import { TIMERS, TIMERS_OF_GX } from './timers/registry.ts';
import { DEFAULT_OPERATIONS, operations } from './operations.ts';

export { contractSchema } from './contract-schema.ts';

export type OnFail = 'tag' | 'warn' | 'quarantine' | 'drop' | 'halt';

/** One rule of a contract, with everything said that the file left to defaults. */
export interface Check {
  readonly id: string;
  readonly expectation: Expectation;
  /** null for checks of whole rows. */
  readonly column: string | null;
  readonly parameters: unknown;
  readonly where: string | null;
  readonly onFail: OnFail;
  readonly severity: Severity;
  readonly nulls: Nulls;
  readonly ops: readonly Operation[];
  readonly message: string | null;
  readonly allowValues: boolean;
  readonly noBefore: 'skip' | 'fail';
  /** Values that stand for none. */
  readonly missing: readonly Token[];
  /** They are those of the file: each counts in the columns of which it is a value. */
  readonly missingIsDefault: boolean;
  /** The share of rows that has to pass: below 1 over a file alone. */
  readonly mostly: number;
  /** Where the check stands in the file, and where its parameters do. */
  readonly keys: Keys;
  readonly parameterKeys: Keys;
}

/** A check that is judged over all rows of a file: by a word of its own, or by a name and kwargs of Great Expectations. */
export interface FileCheck {
  readonly id: string;
  /** The word, or the name. */
  readonly type: string;
  readonly level: Word['level'];
  readonly column: string | null;
  readonly expectation: string;
  readonly kwargs: Readonly<Record<string, unknown>>;
  readonly where: string | null;
  /** Values that stand for none. */
  readonly missing: readonly Token[];
  readonly missingIsDefault: boolean;
  readonly keys: Keys;
}

/** When too much of a dataset is quarantined: for ops' breaker. */
export interface BreakerRule {
  readonly quarantinedRatio: number;
  readonly overMs: number;
  readonly minRows: number;
}

export interface Contract {
  readonly file: string;
  readonly dataset: DatasetName;
  readonly version: number;
  /** sha256 of the file, and of the schemas that it names, in hex: tells two texts of one version apart. */
  readonly digest: string;
  /** The version and the beginning of the digest, as it stands beside every verdict: `7@3fa9c1d2e4b5`. */
  readonly revision: string;
  readonly owner: string | null;
  readonly description: string | null;
  readonly tags: readonly string[];
  readonly mode: 'enforce' | 'shadow';
  /** null: the default of the dataset. */
  readonly hold: 'event' | 'key' | null;
  readonly schema: ExpectedSchema | null;
  /** What happens when the table changes. In shadow mode, and where the file says nothing of schemas, every change is accepted. */
  readonly evolution: Evolution;
  readonly checks: readonly Check[];
  /** Empty on a stream. */
  readonly fileChecks: readonly FileCheck[];
  /** The checks over windows; none over a file, which is one itself. */
  readonly live: LiveRules;
  readonly breaker: BreakerRule | null;
  /** What the dataset is promised to be. */
  readonly slo: readonly Objective[];
  /** What is odd in the file and does not keep it from being used. */
  readonly warnings: readonly Problem[];
  /** `datasets/orders.yaml:12:9: columns.total[0]`: where a part of the file stands. */
  readonly place: (keys: Keys) => string;
  /** The JSON Schemas that the file names, by the path it writes. */
  readonly schemaFiles: ReadonlyMap<string, unknown>;
}

export type ParsedContract = { readonly contract: Contract } | { readonly problems: readonly [Problem, ...Problem[]] };

/** What a rule file is read for: a live stream, or the rows of a file, which are all there. */
export type Use = 'stream' | 'file';

const readBeside =
  (file: string): SchemaTexts =>
  (path) =>
    readFileSync(resolve(dirname(file), path), 'utf8');

/** Reads a rule file. `file` is its path: for the problems, and to find the files it names. Warnings come with the contract, or among the problems. */
export function parseContract(text: string, file: string, use: Use = 'stream', schemas: SchemaTexts = readBeside(file)): ParsedContract {
  const rules = new RuleText(text, file);
  if (rules.value !== null || rules.problems.length === 0) {
    const contract = new Reader(rules, text, use, schemas).read();
    if (contract !== null) return { contract };
  }
  const [first, ...more] = inFileOrder(rules.problems);
  if (first === undefined) throw new Error(`${file} is refused without a problem`);
  return { problems: [first, ...more] };
}

type AnyCheck = Check | FileCheck | ClockCheck | TimerCheck;
type Worded = NonNullable<ReturnType<typeof WORDS.get>>;

/** What a word means with its parameters. */
interface Meant {
  readonly expectation: string;
  readonly level: Word['level'];
  readonly kwargs: Word['kwargs'];
}

class Reader {
  readonly #rules: RuleText;
  readonly #hash: Hash;
  readonly #use: Use;
  readonly #schemas: SchemaFiles;
  readonly #fileChecks: FileCheck[] = [];
  readonly #live: LiveReader;
  readonly #missing: readonly Token[];

  constructor(rules: RuleText, text: string, use: Use, schemaTexts: SchemaTexts) {
    this.#rules = rules;
    this.#hash = createHash('sha256').update(text);
    this.#use = use;
    this.#schemas = new SchemaFiles(rules, schemaTexts, this.#hash);
    const file = isObject(rules.value) ? rules.value : {};
    this.#live = new LiveReader(rules, file);
    this.#missing = tokensOf(isObject(file['defaults']) ? file['defaults']['missing'] : undefined);
  }

  read(): Contract | null {
    const rules = this.#rules;
    if (!isObject(rules.value)) {
      return rules.refuse(
        [],
        'the file is empty or no set of keys',
        'Write apiVersion: quality/v1, kind: DatasetRules, dataset: <source>.<schema>.<table>, and columns with checks.',
      );
    }
    const value = withoutLater(rules.value, rules, (item, name) => this.#passesModifier(item, name));
    const fits = rules.check(contractSchema, value);
    // The checks are read even so, as far as they can be: all problems are told at once.
    const checks = this.#checks(value);
    const live = this.#live.end(this.#use);
    const slo = this.#use === 'file' ? [] : readObjectives(rules, value['slo'], live);
    if (!fits || checks === null || rules.problems.some((problem) => problem.severity === 'error')) return null;
    const file = value as unknown as RuleFile; // ajv has just said so.
    const digest = this.#hash.digest('hex');
    return {
      file: rules.file,
      dataset: file.dataset as DatasetName,
      version: file.version ?? 1,
      digest,
      revision: `${file.version ?? 1}@${digest.slice(0, REVISION_DIGITS)}`,
      owner: file.owner ?? null,
      description: file.description ?? null,
      tags: file.tags ?? [],
      mode: file.mode ?? 'enforce',
      hold: file.hold ?? null,
      schema: expectedSchema(file),
      evolution: evolutionOf(file),
      checks,
      fileChecks: this.#fileChecks,
      live,
      breaker: breakerRule(file),
      slo,
      warnings: inFileOrder(rules.problems),
      place: (keys) => rules.place(keys),
      schemaFiles: this.#schemas.files,
    };
  }

  /** Judged over all rows: of a file, or of a window of the stream. */
  #isOfFiles(name: string, parameters: unknown): boolean {
    const found = WORDS.get(name);
    if (found === undefined) return false;
    const { orNumber, ofRows } = found.word;
    if (ofRows !== undefined && isObject(parameters) && ofRows in parameters) return false;
    const meant = orNumber !== undefined && typeof parameters === 'number' ? orNumber.expectation : found;
    return this.#use === 'file' || judgesWindows(meant.name);
  }

  /** Whether a modifier that other versions read is left to the schema; `drop`: it says nothing here. */
  #passesModifier(item: Readonly<Record<string, unknown>>, name: string): boolean | 'drop' {
    // A file is one window, however long the windows of a stream are.
    if (this.#use === 'file' && name === 'window') return 'drop';
    return this.#isLive(item);
  }

  /** A check over windows of a stream, by its word or its name. */
  #isLive(item: Readonly<Record<string, unknown>>): boolean {
    if (this.#use === 'file') return false;
    if (typeof item['mostly'] === 'number' && item['mostly'] < 1) return true;
    return typeof item['expect'] === 'string'
      ? judgesWindows(item['expect'])
      : Object.entries(item).some(([name, value]) => this.#isOfFiles(name, value));
  }

  #checks(value: Readonly<Record<string, unknown>>): Check[] | null {
    const defaults = isObject(value['defaults']) ? value['defaults'] : {};
    const source = isObject(value['source']) ? value['source'] : {};
    const settings: Settings = {
      onFail: (defaults['on_fail'] as OnFail | undefined) ?? 'quarantine',
      severity: (defaults['severity'] as Severity | undefined) ?? 'critical',
      nulls: (defaults['nulls'] as Nulls | undefined) ?? 'skip',
      ops: Array.isArray(source['ops']) ? operations(source['ops'] as readonly string[]) : DEFAULT_OPERATIONS,
    };
    const checks: Check[] = [];
    const byId = new Map<string, Pick<Check, 'keys' | 'id'>>();
    const add = (check: AnyCheck | null) => {
      if (check === null) return;
      if ('parameters' in check) checks.push(check);
      else if ('kwargs' in check && this.#use === 'file') this.#fileChecks.push(check);
      const other = byId.get(check.id);
      if (other !== undefined) {
        const elsewhere = this.#rules
          .place(other.keys)
          .replace(`${this.#rules.file}:`, 'line ')
          .replace(/:\d+:.*$/, '');
        this.#rules.refuse(
          check.keys,
          `the id "${check.id}" is taken by another rule (${elsewhere})`,
          'Give one of them an id of its own: `id: …`.',
        );
        return;
      }
      byId.set(check.id, check);
    };
    if (isObject(value['columns'])) {
      for (const [column, items] of Object.entries(value['columns'])) {
        if (!Array.isArray(items)) continue;
        for (const [index, item] of items.entries()) add(this.#check(item as unknown, column, ['columns', column, index], settings));
      }
    }
    if (Array.isArray(value['checks'])) {
      for (const [index, item] of value['checks'].entries()) add(this.#check(item as unknown, null, ['checks', index], settings));
    }
    for (const { item, keys } of importedChecks(this.#rules, value['imports'], (path, at) => this.#schemas.read(path, at)))
      add(this.#check(item, null, keys, settings));
    add(this.#recordSchema(value, settings));
    add(this.#live.compatibility(value['schema'], this.#use));
    for (const check of checks) lintCheck(check, value, this.#rules, this.#schemas.files);
    return checks;
  }

  /** schema.record_schema is a check of the whole row. */
  #recordSchema(value: Readonly<Record<string, unknown>>, settings: Settings): Check | null {
    const { schema } = value;
    if (!isObject(schema) || schema['record_schema'] === undefined) return null;
    const expectation = EXPECTATIONS.get('json_schema');
    if (expectation === undefined) return null;
    const keys = ['schema', 'record_schema'];
    return this.#complete(
      { expectation, column: null, parameters: schema['record_schema'], keys, parameterKeys: keys },
      { id: 'schema.record' } as CheckItem,
      settings,
    );
  }

  #check(item: unknown, column: string | null, keys: Keys, settings: Settings): AnyCheck | null {
    if (typeof item === 'string' && this.#isOfFiles(item, true)) return this.#word(item, { [item]: true }, column, keys);
    if (item === null || typeof item === 'string') {
      const expectation = EXPECTATIONS.get(item ?? 'null');
      // A name that is not known, or needs parameters, was told by the schema.
      if (expectation?.bare !== true || column === null) return null;
      return this.#complete({ expectation, column, parameters: true, keys, parameterKeys: keys }, {} as CheckItem, settings);
    }
    if (!isObject(item)) return null;
    const asked = this.#use === 'stream' ? withRowsAsWhere(this.#rules, item, keys) : item;
    return asked === null ? null : this.#named(asked, column, keys, settings);
  }

  /** The check that stands in an item, by its word or its name. */
  #named(item: Readonly<Record<string, unknown>>, column: string | null, keys: Keys, settings: Settings): AnyCheck | null {
    const check = item as CheckItem;
    const names = Object.keys(item).filter(
      (name) => EXPECTATIONS.has(name) || this.#isOfFiles(name, item[name]) || name === 'expect' || CLOCK.has(name) || TIMERS.has(name),
    );
    if (names.length > 1)
      return this.#rules.refuse(
        keys,
        `${names.join(' and ')} stand in one check`,
        'Make each a check of its own: begin every one with a dash.',
      );
    const [name] = names;
    if (name === undefined) {
      const strange = Object.keys(item).some((key) => !MODIFIERS.includes(key) && key !== 'column');
      if (!strange)
        this.#rules.refuse(
          keys,
          'no check stands here',
          `Add one, such as ${column === null ? "expr: 'after.total >= 0'" : 'not_null: true'}.`,
        );
      return null;
    }
    if (this.#isOfFiles(name, item[name])) return this.#word(name, item, column, keys);
    if (CLOCK.has(name)) return this.#live.clock(name, item, keys, this.#use);
    if (TIMERS.has(name)) return this.#live.timer(name, item, keys, this.#use);
    if (name === 'expect' && this.#use === 'stream' && TIMERS_OF_GX.has(check.expect ?? ''))
      return this.#live.timer(check.expect ?? '', item, keys, this.#use);
    if (name === 'expect' && (this.#use === 'file' || (typeof check.expect === 'string' && judgesWindows(check.expect))))
      return this.#expectedOfFile(check, column, keys);
    if (name === 'expect') return this.#expected(check, column, keys, settings);
    const expectation = EXPECTATIONS.get(name);
    if (expectation === undefined) return null;
    if ('kwargs' in item) this.#rules.refuse([...keys, 'kwargs'], 'kwargs go with expect', `Write the parameters under ${name}.`);
    const on = column ?? (typeof check.column === 'string' ? check.column : null);
    if (expectation.on === 'column' && on === null)
      return this.#rules.refuse(
        [...keys, name],
        `${name} judges a column, and none is named`,
        'Add column: <name>, or move it under columns.',
      );
    if (expectation.on === 'row' && check.column !== undefined)
      return this.#rules.refuse([...keys, 'column'], `${name} judges whole rows`, 'Remove column.');
    return this.#complete({ expectation, column: on, parameters: item[name], keys, parameterKeys: [...keys, name] }, check, settings);
  }

  /** A check over all rows, by its word. */
  #word(name: string, item: Readonly<Record<string, unknown>>, column: string | null, keys: Keys): FileCheck | null {
    const found = WORDS.get(name);
    if (found === undefined || !this.#rules.fits(found.word.schema, item[name])) return null; // Told by the schema.
    const on = column ?? (typeof item['column'] === 'string' ? item['column'] : null);
    if (found.word.on === 'column' && on === null)
      return this.#rules.refuse(
        [...keys, name],
        `${name} judges a column, and none is named`,
        'Add column: <name>, or move it under columns.',
      );
    const meant = this.#meantBy(found, item[name], [...keys, name]);
    if (meant === null) return null;
    const kwargs = {
      ...meant.kwargs(item[name]),
      ...(on === null ? {} : { column: on }),
      ...(item['mostly'] === undefined ? {} : { mostly: item['mostly'] }),
    };
    return this.#fileCheck({ type: name, level: meant.level, column: on, expectation: meant.expectation, kwargs, keys }, item);
  }

  /** Some words mean another expectation where their parameters say so. */
  #meantBy({ name, word }: Worded, parameters: unknown, keys: Keys): Meant | null {
    const { or, orNumber } = word;
    if (orNumber !== undefined && typeof parameters === 'number')
      return { expectation: orNumber.expectation.name, level: word.level, kwargs: orNumber.kwargs };
    const said = or === undefined || !isObject(parameters) ? undefined : parameters[or.key];
    if (or === undefined || !isObject(parameters) || said === undefined || said === or.unless)
      return { expectation: name, level: word.level, kwargs: word.kwargs };
    const [other] = Object.keys(parameters).filter((key) => key !== or.key);
    if (or.alone === true && other !== undefined)
      return this.#rules.refuse(
        [...keys, other],
        `${or.key} stands alone, and ${other} is beside it`,
        'Make each a check of its own: begin every one with a dash.',
      );
    return { expectation: or.expectation.name, level: 'window', kwargs: or.kwargs };
  }

  /** Over a file, names of Great Expectations mean what they mean there, to the last kwarg. */
  #expectedOfFile(check: CheckItem, column: string | null, keys: Keys): FileCheck | null {
    const { expect: name } = check;
    if (typeof name !== 'string') return null; // Told by the schema.
    const expectation = CATALOGUE.get(name);
    if (expectation === undefined) return this.#noExpectation(name, [...keys, 'expect']);
    const own = isObject(check.kwargs) ? check.kwargs : {};
    const kwargs = {
      ...(column === null || 'column' in own ? {} : { column }),
      ...(check.mostly === undefined ? {} : { mostly: check.mostly }),
      ...own,
    };
    const on = typeof kwargs['column'] === 'string' ? kwargs['column'] : null;
    const level = expectation.word?.level ?? (expectation.window !== undefined ? 'window' : expectation.takesRows ? 'row' : 'schema');
    return this.#fileCheck({ type: name, level, column: on, expectation: name, kwargs, keys }, check);
  }

  #noExpectation(name: string, at: Keys): null {
    const leftOut = LEFT_OUT.get(name);
    if (leftOut !== undefined) return this.#rules.refuse(at, `${name} is not judged: ${leftOut.reason}`, leftOut.fix);
    const known = [...CATALOGUE.keys(), ...TIMERS_OF_GX.keys()].filter((other) => other.includes('expect'));
    return this.#rules.refuse(at, `there is no expectation ${name}`, suggestion(name, known, 'expectation'));
  }

  #fileCheck(
    written: Omit<FileCheck, 'id' | 'where' | 'missing' | 'missingIsDefault'>,
    item: Readonly<Record<string, unknown>>,
  ): FileCheck | null {
    const { type, column, expectation, keys } = written;
    const kwargs = withReference(this.#rules, written, (path, at) => this.#schemas.read(path, at));
    if (kwargs === null) return null;
    const found = { ...written, kwargs };
    const problem = problemOf({ type: expectation, kwargs, meta: {} });
    if (problem !== null) {
      const [message = problem, fix = ''] = problem.split(/(?<=\.) (?=[^.]+\.?$)/);
      return this.#rules.refuse(keys, `${type}: ${message.replace(/\.$/, '')}`, fix === '' ? 'Correct it.' : fix);
    }
    const unfit = this.#use === 'file' ? unfitForFiles(expectation, kwargs) : null;
    if (unfit !== null) return this.#rules.refuse(keys, `${type} ${unfit.message}`, unfit.fix);
    const id = typeof item['id'] === 'string' ? item['id'] : column === null ? type : `${column}.${type}`;
    const where = typeof item['where'] === 'string' ? item['where'] : null;
    const parsed = where === null ? null : parseExpression(where, this.#rules.place([...keys, 'where']));
    if (parsed?.kind === 'refused') this.#rules.problems.push(...parsed.problems);
    const own = tokensOf(item['missing']);
    // Of those of several columns each cell counts by itself; of what has no column there is none.
    if (own.length > 0 && !hasCells(found))
      return this.#rules.refuse([...keys, 'missing'], `${type} judges no values of rows`, 'Remove missing.');
    const missingIsDefault = item['missing'] === undefined;
    const check = { ...found, id, where, missing: missingIsDefault && hasCells(found) ? this.#missing : own, missingIsDefault };
    return this.#use === 'file' ? check : this.#live.add(check, item);
  }

  /** Where some rows may fail, none that does is at fault by itself: its window decides. */
  #mostly(check: Check, item: CheckItem): void {
    if (check.onFail === 'tag' || check.onFail === 'warn') this.#live.share(check, item);
    else
      this.#rules.refuse(
        [...check.keys, 'mostly'],
        'mostly below 1 is for windows to judge, and no row that fails is at fault by itself',
        'Write on_fail: tag (rows that fail are marked and pass), or remove mostly.',
      );
  }

  /** `expect:` with a name and kwargs of Great Expectations. */
  #expected(check: CheckItem, column: string | null, keys: Keys, settings: Settings): Check | null {
    const { expect: name } = check;
    if (typeof name !== 'string') return null; // Told by the schema.
    const kwargs = isObject(check.kwargs) ? check.kwargs : {};
    const translated = translateExpectation(name, column === null ? kwargs : { column, ...kwargs });
    const at = [...keys, 'expect'];
    if (translated === null) return this.#noExpectation(name, at);
    if ('unknown' in translated) {
      for (const key of translated.unknown)
        this.#rules.refuse([...keys, 'kwargs', key], `${name} takes no "${key}"`, suggestion(key, translated.takes, 'keyword'));
      for (const key of translated.missing)
        this.#rules.refuse([...keys, 'kwargs'], `${name} needs "${key}"`, `Add ${key}: … to the kwargs.`);
      return null;
    }
    const expectation = EXPECTATIONS.get(translated.name);
    if (expectation === undefined) return null;
    const parameterKeys = [...keys, 'kwargs'];
    if (expectation.on !== 'row' && translated.column === null)
      return this.#rules.refuse(parameterKeys, `${name} needs a column`, 'Add column: <name> to the kwargs.');
    const before = this.#rules.problems.length;
    if (
      !this.#rules.check({ type: 'object', properties: { kwargs: expectation.schema } }, { kwargs: translated.parameters }) &&
      this.#rules.problems.length > before
    ) {
      // The schema speaks of our own parameters: the place that counts is that of the kwargs.
      const found = this.#rules.problems.splice(before);
      for (const problem of found) this.#rules.refuse(parameterKeys, `${name}: ${problem.message}`, problem.fix);
      return null;
    }
    return this.#complete(
      { expectation, column: translated.column, parameters: translated.parameters, keys, parameterKeys },
      typeof translated.mostly === 'number' ? { ...check, mostly: translated.mostly } : check,
      settings,
    );
  }

  #complete(
    found: Pick<Check, 'expectation' | 'column' | 'parameters' | 'keys' | 'parameterKeys'>,
    item: CheckItem,
    settings: Settings,
  ): Check {
    const { expectation, column, keys } = found;
    const own = Array.isArray(item.ops) ? operations(item.ops as readonly string[]) : null; // What is none was told by the schema.
    const check: Check = {
      ...found,
      id: typeof item.id === 'string' ? item.id : column === null ? expectation.name : `${column}.${expectation.name}`,
      where: typeof item.where === 'string' ? item.where : null,
      onFail:
        this.#rowFail(item, keys) ??
        (expectation.onFail?.includes(settings.onFail) === false ? expectation.onFail[0] : null) ??
        settings.onFail,
      severity: item.severity ?? settings.severity,
      nulls: item.nulls ?? settings.nulls,
      ops: expectation.ops ?? own ?? settings.ops,
      message: item.message ?? null,
      allowValues: item.allow_values === true,
      noBefore: item.no_before ?? 'skip',
      missing: readsCells(expectation) ? (item.missing === undefined ? this.#missing : tokensOf(item.missing)) : [],
      missingIsDefault: item.missing === undefined,
      mostly: typeof item.mostly === 'number' ? item.mostly : 1,
    };
    if (item.missing !== undefined && !readsCells(expectation))
      this.#rules.refuse([...keys, 'missing'], `${expectation.name} does not judge the values of a row by themselves`, 'Remove missing.');
    if (expectation.ops !== null && own?.some((op) => expectation.ops?.includes(op) !== true) === true)
      this.#rules.refuse([...keys, 'ops'], `${expectation.name} is about ${expectation.ops.join(' and ')} alone`, 'Remove ops.');
    if (!expectation.needsBefore && item.no_before !== undefined)
      this.#rules.warn([...keys, 'no_before'], `${expectation.name} does not look at the old row`, 'Remove no_before.');
    if (expectation.judgesNulls && item.nulls !== undefined)
      this.#rules.warn([...keys, 'nulls'], `${expectation.name} speaks of nulls itself`, 'Remove nulls.');
    if (own?.includes('truncate') === true && expectation.name !== 'expr' && expectation.ops === null)
      this.#rules.refuse([...keys, 'ops'], 'a truncate has no row to judge', 'Use an expr on op, such as expr: \'op != "truncate"\'.');
    if (check.where !== null) {
      const parsed = parseExpression(check.where, this.#rules.place([...keys, 'where']));
      if (parsed.kind === 'refused') this.#rules.problems.push(...parsed.problems);
    }
    if (typeof found.parameters === 'string' && expectation.name === 'json_schema')
      this.#schemas.read(found.parameters, found.parameterKeys);
    if (expectation.judgesTable) refuseRows(this.#rules, check, item);
    else if (expectation.asksTarget !== null) refuseUnasked(this.#rules, check, item, this.#use);
    else if (check.mostly < 1 && this.#use === 'stream') this.#mostly(check, item);
    return check;
  }

  #rowFail({ on_fail: onFail }: CheckItem, keys: Keys): OnFail | null {
    if (onFail !== 'alert' && onFail !== 'hold') return onFail ?? null;
    return this.#rules.refuse(
      [...keys, 'on_fail'],
      `on_fail: ${onFail} is for checks over windows`,
      onFail === 'alert' ? 'Write warn: the row passes with a finding.' : 'Write quarantine: the row is held.',
    );
  }
}

/** What is no list was told by the schema. */
const tokensOf = (missing: unknown): readonly Token[] => (Array.isArray(missing) ? (missing as readonly Token[]) : []);

const hasCells = ({ column, kwargs }: Pick<FileCheck, 'column' | 'kwargs'>): boolean =>
  column !== null || ['column_A', 'column_list', 'columns'].some((name) => name in kwargs);

interface Settings {
  readonly onFail: OnFail;
  readonly severity: Severity;
  readonly nulls: Nulls;
  readonly ops: readonly Operation[];
}
