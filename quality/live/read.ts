/** From the checks of a rule file to those over the windows of a live stream, with everything that keeps one from being used. */
import type { Severity } from '../../core/batch.ts';
import { STAGED_ROWS_MAX } from '../../core/lots.ts';
import { decimalOf } from '../../core/expression/decimal.ts';
import type { Check, FileCheck, Use } from '../contract.ts';
import { isObject, type Keys, type RuleText } from '../rule-text.ts';
import {
  type ClockCheck,
  type EventTime,
  judgesLots,
  type LiveCheck,
  type LiveRules,
  millis,
  type PublishRule,
  type TimerCheck,
  windowCheckOf,
  type WindowOnFail,
  type WindowSpec,
} from './check.ts';
import { budgetOf } from './budget.ts';
import { pastProblem } from './memory.ts';
import { shareCheck } from './share.ts';
import type { DatasetName } from '../../core/event.ts';
import { suggestion } from '../../core/expression/suggest.ts';
import { CLOCK } from '../clock/registry.ts';
import type { TimerExpectation } from '../timers/check.ts';
import { TIMERS, TIMERS_OF_GX } from '../timers/registry.ts';
import { CATALOGUE } from '../gx/registry.ts';

type Fields = Readonly<Record<string, unknown>>;

/** Each row is put into so many windows at most. */
const OVERLAP_MAX = 60;
const EVERY_MIN_MS = 1000;

const DEFAULTS = {
  every: '5m',
  out_of_order: '30s',
  lateness: '10m',
  idle: '1m',
  of: 'rows',
  min_rows: 1,
  on_empty: 'skip',
  max_state: '64MB',
};

export class LiveReader {
  readonly #rules: RuleText;
  readonly #defaults: Fields;
  readonly #severity: Severity;
  readonly #eventTime: EventTime;
  readonly #publish: unknown;
  readonly #isShadow: boolean;
  readonly #dataset: DatasetName;
  readonly #checks: LiveCheck[] = [];
  readonly #clock: ClockCheck[] = [];
  readonly #timers: TimerCheck[] = [];

  constructor(rules: RuleText, file: Fields) {
    this.#rules = rules;
    const defaults = isObject(file['defaults']) ? file['defaults'] : {};
    this.#defaults = { ...DEFAULTS, ...(isObject(defaults['window']) ? defaults['window'] : {}) };
    this.#severity = (defaults['severity'] as Severity | undefined) ?? 'critical';
    const source = isObject(file['source']) ? file['source'] : {};
    this.#eventTime = eventTimeOf(source['event_time']);
    this.#publish = file['publish'];
    this.#isShadow = file['mode'] === 'shadow';
    this.#dataset = String(file['dataset']) as DatasetName; // What is none is told by the schema.
  }

  /** `item` is what stands in the file: its modifiers. Null where it is refused. */
  add(found: FileCheck, item: Fields): LiveCheck | null {
    const { keys, expectation, kwargs } = found;
    const before = this.#rules.problems.length;
    if (JSON.stringify(kwargs).includes('"$PARAMETER"'))
      this.#rules.refuse([...keys, 'kwargs'], 'parameters are given to `tidegate judge` alone', 'Write the value.');
    if (this.#rules.problems.length > before) return null;
    const check = windowCheckOf(expectation, kwargs);
    if (check === null) return this.#rules.refuse(keys, `${expectation} is not judged over the windows of a stream`, 'Remove the check.');
    if (check.reads?.kind === 'timed' && !this.#hasOrder(found)) return null;
    if (check.beside !== undefined && !this.#standsBeside(check.beside, item, found)) return null;
    const written = this.#spec(item['window'], keys);
    const onFail = this.#onFail(item, keys);
    if (written === null || onFail === null) return null;
    const spec = check.reads?.kind === 'score' ? this.#ofScores(written, item['window'], found) : written;
    this.#refuseRowWords(item, keys, expectation);
    const beside = check.beside === undefined ? null : { own: this.#dataset, other: check.beside as DatasetName };
    const live = { ...this.#common(found, item), check, rows: null, spec, onFail, beside };
    const past = check.memory === undefined ? null : pastProblem(check.memory, live);
    if (past !== null) return this.#rules.refuse(keys, past.message, past.fix);
    this.#checks.push(live);
    return live;
  }

  #standsBeside(other: string, item: Fields, { keys, type }: FileCheck): boolean {
    if (other === this.#dataset)
      this.#rules.refuse(keys, `${type} names the dataset itself: it cannot fail`, 'Name another dataset, or write a number.');
    else if (item['group_by'] !== undefined)
      this.#rules.refuse(
        [...keys, 'group_by'],
        `the rows of ${other} are counted together, and are in no groups of this table`,
        'Remove group_by.',
      );
    else return true;
    return false;
  }

  /** A score is given to a change: what the old row's was, when it is taken back, nobody knows. */
  #ofScores(spec: WindowSpec, written: unknown, { keys, expectation }: FileCheck): WindowSpec {
    if (isObject(written) && written['of'] === 'rows')
      this.#rules.refuse([...keys, 'window', 'of'], `${expectation} counts each time that a model was asked`, 'Remove of: rows.');
    return { ...spec, of: 'changes' };
  }

  /** Whether the rows of a window have an order that does not depend on how they come, and that is not the column's own. */
  #hasOrder({ column, expectation, keys }: FileCheck): boolean {
    const time = this.#eventTime;
    const name = expectation.replace('expect_column_values_to_be_', '');
    if (time.kind === 'commit')
      this.#rules.refuse(
        keys,
        `${name} needs the time of each row: by commit, rows of one transaction have no order, and an old row that is taken back does not say when it came`,
        'Write source: { event_time: after.<column> } at the top of the file.',
      );
    else if (time.column === column)
      this.#rules.refuse(
        keys,
        `${name}: the rows of a window are put in the order of this very column, so that it cannot fail`,
        'Remove the check.',
      );
    else return true;
    return false;
  }

  #common(found: FileCheck, item: Fields): Omit<LiveCheck, 'check' | 'rows' | 'spec' | 'onFail' | 'beside'> {
    const group = item['group_by'];
    return {
      ...found,
      groupBy: group === undefined ? [] : [group].flat().map(String),
      maxGroups: (item['max_groups'] as number | undefined) ?? 100,
      minRows: (item['min_rows'] ?? this.#defaults['min_rows']) as number,
      onEmpty: (item['on_empty'] ?? this.#defaults['on_empty']) as LiveCheck['onEmpty'],
      severity: (item['severity'] as Severity | undefined) ?? this.#severity,
      message: typeof item['message'] === 'string' ? item['message'] : null,
      allowValues: item['allow_values'] === true,
      countsRows: found.expectation.startsWith('expect_table_row_count') || found.expectation === 'volume_anomaly',
    };
  }

  /** The share of rows that pass a check of rows, whose `mostly` is below 1. */
  share(rows: Check, item: Fields): void {
    const { id, expectation, column, where, missing, missingIsDefault, keys, mostly } = rows;
    const looksAtChange = expectation.name === 'expr' && /\b(before|op|changed)\b/.test(String(rows.parameters));
    if (expectation.ops !== null || looksAtChange) {
      this.#rules.refuse([...keys, 'mostly'], `${id} judges changes, and not the rows that a window holds`, 'Remove mostly.');
      return;
    }
    const spec = this.#spec(item['window'], keys);
    if (spec === null) return;
    const found = {
      id,
      type: expectation.name,
      level: 'window',
      column,
      expectation: expectation.name,
      kwargs: {},
      where,
      missing,
      missingIsDefault,
      keys,
    } as const;
    this.#checks.push({ ...this.#common(found, item), check: shareCheck(mostly), rows, spec, onFail: 'alert', beside: null });
  }

  /** A check of the clock, whose form has been held against the schema, or is told by it. */
  clock(type: string, item: Fields, keys: Keys, use: Use): ClockCheck | null {
    const expectation = CLOCK.get(type);
    const parameters = item[type];
    const timed = this.#timed(type, item, keys, use);
    if (expectation === undefined || timed === null || !isObject(parameters) || !this.#rules.fits(expectation.schema, parameters))
      return null;
    const rule = expectation.bind(parameters, (message, fix, ...at) => this.#rules.refuse([...keys, type, ...at], message, fix));
    if (rule === null) return null;
    const check: ClockCheck = { ...timed, rule };
    this.#clock.push(check);
    return check;
  }

  /** A check that databases are asked by, its parameters by its word, or as the kwargs of a name of Great Expectations; `at`, where they stand elsewhere. */
  timer(type: string, item: Fields, keys: Keys, use: Use, at: Keys | null = null): TimerCheck | null {
    const byName = TIMERS_OF_GX.get(type);
    const expectation = byName ?? TIMERS.get(type);
    const timed = this.#timed(type, item, keys, use);
    if (expectation === undefined || timed === null) return null;
    const parameterKeys = at ?? [...keys, byName === undefined ? type : 'kwargs'];
    const parameters = byName === undefined ? item[type] : this.#ofKwargs(byName, item['kwargs'], parameterKeys);
    // What does not fit was told by the schema, but where kwargs are what was written.
    if (byName !== undefined && parameters !== null && !this.#rules.fits(byName.schema, parameters))
      return this.#rules.refuse(parameterKeys, `${type} needs its kwargs: ${byName.gx?.takes[0] ?? ''}, a text`, 'Write it.');
    if (parameters === null || !this.#rules.fits(expectation.schema, parameters)) return null;
    const timer = expectation.bind(parameters, (message, fix, ...at) => this.#rules.refuse([...parameterKeys, ...at], message, fix));
    if (timer === null) return null;
    const check: TimerCheck = { ...timed, timer, parameterKeys, allowValues: item['allow_values'] === true };
    this.#timers.push(check);
    return check;
  }

  /** schema.compatibility is a check of the registry. Over a file it says nothing. */
  compatibility(section: unknown, use: Use): TimerCheck | null {
    if (!isObject(section) || use === 'file') return null;
    const { compatibility: level, subject, policy } = section;
    if (level === undefined || level === 'NONE') return null;
    const parameters = { level, ...(subject === undefined ? {} : { subject }), ...(policy === undefined ? {} : { policy }) };
    return this.timer('schema_compatible', { id: 'schema.compatibility', schema_compatible: parameters }, ['schema'], use, ['schema']);
  }

  #ofKwargs({ gx }: TimerExpectation, written: unknown, keys: Keys): Fields | null {
    const kwargs = isObject(written) ? written : {};
    const strange = Object.keys(kwargs).filter((name) => gx?.takes.includes(name) !== true);
    for (const name of strange)
      this.#rules.refuse([...keys, name], `${gx?.name ?? ''} takes no "${name}"`, suggestion(name, gx?.takes ?? [], 'keyword'));
    return strange.length > 0 ? null : (gx?.parameters(kwargs) ?? {});
  }

  /** What all checks have that are about no rows that come; null where it is refused. */
  #timed(type: string, item: Fields, keys: Keys, use: Use): Omit<ClockCheck, 'rule'> | null {
    if (use === 'file') return this.#rules.refuse(keys, `${type} is judged on a live stream alone`, 'Remove the check here.');
    const onFail = this.#onFail(item, keys);
    if (onFail === null) return null;
    if (onFail === 'hold')
      return this.#rules.refuse(
        [...keys, 'on_fail'],
        `${type} is about no rows that come: there is nothing to hold`,
        'Write on_fail: alert (the default) or on_fail: halt.',
      );
    this.#refuseRowWords(item, keys);
    for (const name of ['window', 'group_by', 'max_groups', 'on_empty', 'min_rows', 'where', 'missing', 'column'])
      if (item[name] !== undefined)
        this.#rules.refuse([...keys, name], `${type} is looked at by the clock, and not about rows that are chosen`, `Remove ${name}.`);
    return {
      id: typeof item['id'] === 'string' ? item['id'] : type,
      type,
      onFail,
      severity: (item['severity'] as Severity | undefined) ?? this.#severity,
      message: typeof item['message'] === 'string' ? item['message'] : null,
      keys,
    };
  }

  /** Once all are read; refuses what cannot fit into the memory that the file allows. Over a file there are no windows, and nothing is published. */
  end(use: 'stream' | 'file'): LiveRules {
    const rules = {
      eventTime: this.#eventTime,
      maxStateBytes: bytesOf(this.#defaults['max_state']),
      checks: this.#checks,
      clock: this.#clock,
      timers: this.#timers,
      publish: use === 'stream' ? this.#publishRule() : null,
    };
    const { problem } = budgetOf(rules);
    if (problem !== null) this.#rules.refuse(problem.keys, problem.message, problem.fix);
    return rules;
  }

  /** Null where rows are published as they come, and where the file is refused. */
  #publishRule(): PublishRule | null {
    const said = this.#publish;
    const own = isObject(said) ? said : {};
    if (said !== 'after_window' && own['when'] !== 'after_window') return null;
    const spec = this.#spec(undefined, ['publish']);
    if (spec === null) return null;
    if (spec.sizeMs !== spec.everyMs)
      return this.#rules.refuse(
        ['publish'],
        'the windows of defaults.window overlap: a row would be in several lots',
        'Leave size out of defaults.window, and write it beside the checks that need it.',
      );
    const judges = this.#checks.filter((check) => judgesLots(spec, check));
    if (judges.length === 0)
      return this.#rules.refuse(
        ['publish'],
        'no check is judged over the windows of defaults.window: nothing would have a say in what is published',
        'Write a check over windows without a window of its own, such as row_count: { min: 1 }.',
      );
    if (this.#isShadow) return null;
    return {
      everyMs: spec.everyMs,
      outOfOrderMs: Math.max(...judges.map((check) => check.spec.outOfOrderMs)),
      divertsIndeterminate: own['on_indeterminate'] === 'divert',
      maxRows: (own['max_rows'] as number | undefined) ?? STAGED_ROWS_MAX,
    };
  }

  #spec(written: unknown, keys: Keys): WindowSpec | null {
    const own = isObject(written) ? written : {};
    const all = { ...this.#defaults, ...own };
    // A size that stands in the defaults is that of the windows there.
    const size = own['size'] ?? (own['every'] === undefined ? this.#defaults['size'] : undefined) ?? all['every'];
    const read = (name: string, value: unknown): number => millis(value) ?? this.#badDuration([...keys, 'window', name]);
    const spec: WindowSpec = {
      everyMs: read('every', all['every']),
      sizeMs: read('size', size),
      outOfOrderMs: read('out_of_order', all['out_of_order']),
      latenessMs: read('lateness', all['lateness']),
      idleMs: read('idle', all['idle']),
      of: all['of'] === 'changes' ? 'changes' : 'rows',
    };
    const at = isObject(written) ? [...keys, 'window'] : ['defaults', 'window'];
    if (spec.everyMs < EVERY_MIN_MS)
      return this.#rules.refuse([...at, 'every'], 'windows begin every second at most', 'Write every: 1s or more.');
    if (spec.sizeMs < spec.everyMs)
      return this.#rules.refuse(
        [...at, 'size'],
        'the windows are shorter than the time between them: rows in between would be in none',
        'Make size as long as every, or longer.',
      );
    if (spec.sizeMs > OVERLAP_MAX * spec.everyMs)
      return this.#rules.refuse(
        [...at, 'size'],
        `each row would be in more than ${OVERLAP_MAX} windows`,
        'Make every longer, or size shorter.',
      );
    return spec;
  }

  #badDuration(keys: Keys): number {
    this.#rules.refuse(keys, 'this is no duration', 'Write 30s, 5m or 1h.');
    return 0;
  }

  #onFail(item: Fields, keys: Keys): WindowOnFail | null {
    const said = item['on_fail'];
    if (said === undefined || said === 'alert') return 'alert';
    if (said === 'halt' || said === 'hold') return said;
    return this.#rules.refuse(
      [...keys, 'on_fail'],
      `a window that fails is one result, and no row of it is at fault: on_fail: ${JSON.stringify(said)} is for checks of rows`,
      'Write on_fail: alert (the default), on_fail: halt or on_fail: hold.',
    );
  }

  #refuseRowWords(item: Fields, keys: Keys, expectation?: string): void {
    const taken = expectation === undefined ? [] : (CATALOGUE.get(expectation)?.takes ?? []);
    for (const name of ['nulls', 'ops', 'no_before', 'mostly'])
      if (item[name] !== undefined && !taken.includes(name))
        this.#rules.refuse([...keys, name], `${name} is for checks of rows`, `Remove ${name}.`);
  }
}

const COMMIT_WORDS = ['commit', 'source.ts_ms'];

function eventTimeOf(written: unknown): EventTime {
  if (typeof written !== 'string' || COMMIT_WORDS.includes(written)) return { kind: 'commit' };
  return { kind: 'column', column: written.replace(/^after\./, '') };
}

const SIZES: Readonly<Record<string, number>> = { B: 1, kB: 1e3, MB: 1e6, GB: 1e9, KiB: 2 ** 10, MiB: 2 ** 20, GiB: 2 ** 30 };

function bytesOf(text: unknown): number {
  const [, amount = '', unit = ''] = /^([\d.]+)(\w+)$/.exec(String(text)) ?? [];
  return decimalOf(amount) === null ? 64e6 : Math.floor(Number(amount) * (SIZES[unit] ?? 1));
}
