/** The functions of expressions: what each takes and gives. */
import type { ExpressionType } from '../expression.ts';
import { UNCHANGED } from '../event.ts';
import { type Compiler, type Evaluate, type Typed, typed } from './compile.ts';
import { words } from './type-words.ts';
import { decimalText, parseDecimal } from './decimal.ts';
import { compareDecimalOperands, integer, toDecimal, toDouble, toMicros } from './operators.ts';
import type { Node } from './parse.ts';
import { compileRegex } from './regex.ts';
import { suggestion } from './suggest.ts';
import { durationMicros, microsOf, timeParts, timestampText } from './timestamp.ts';
import { Decimal, ExpressionError, type Operand } from './values.ts';

/** A function of values: never called with null or unknown, which make the result unknown. */
interface Plain {
  readonly takes: readonly (readonly ExpressionType[])[];
  readonly gives: ExpressionType;
  readonly compute: (a: Operand, b: Operand) => Operand;
}

const STRING = ['string'] as const;
const TIMESTAMP = ['timestamp'] as const;
const NUMBERS = ['int', 'double', 'decimal'] as const;

/** Written text.name(…); size and matches also name(text, …). */
const METHODS: Readonly<Record<string, Plain>> = {
  size: { takes: [['string', 'bytes', 'list']], gives: 'int', compute: (a) => size(a) },
  startsWith: { takes: [STRING, STRING], gives: 'bool', compute: (a, b) => (a as string).startsWith(b as string) },
  endsWith: { takes: [STRING, STRING], gives: 'bool', compute: (a, b) => (a as string).endsWith(b as string) },
  contains: { takes: [STRING, STRING], gives: 'bool', compute: (a, b) => (a as string).includes(b as string) },
  lowerAscii: { takes: [STRING], gives: 'string', compute: (a) => (a as string).replace(/[A-Z]+/g, (run) => run.toLowerCase()) },
  upperAscii: { takes: [STRING], gives: 'string', compute: (a) => (a as string).replace(/[a-z]+/g, (run) => run.toUpperCase()) },
  trim: { takes: [STRING], gives: 'string', compute: (a) => (a as string).trim() },
  getFullYear: part((parts) => parts.year),
  getMonth: part((parts) => parts.month - 1),
  getDate: part((parts) => parts.day),
  getDayOfMonth: part((parts) => parts.day - 1),
  getDayOfWeek: part((parts) => parts.dayOfWeek),
  getDayOfYear: part((parts) => parts.dayOfYear),
  getHours: part((parts) => parts.hour, 3_600_000_000n),
  getMinutes: part((parts) => parts.minute, 60_000_000n),
  getSeconds: part((parts) => parts.second, 1_000_000n),
};

/** Parts of a timestamp in UTC, counted as CEL does (months, days of month and year from 0); of a duration, the whole units in it. */
function part(pick: (parts: ReturnType<typeof timeParts>) => number, unit: bigint | null = null): Plain {
  return {
    takes: [unit === null ? TIMESTAMP : ['timestamp', 'duration']],
    gives: 'int',
    compute: (a) => {
      if (typeof a === 'bigint' && unit !== null) return integer(a / unit);
      const micros = toMicros(a);
      if (micros > 1n << 62n || micros < -(1n << 62n)) throw new ExpressionError('infinity has no parts');
      return pick(timeParts(micros));
    },
  };
}

const FUNCTIONS: Readonly<Record<string, Plain>> = {
  timestamp: {
    takes: [['string', 'timestamp', 'int']],
    gives: 'timestamp',
    compute: (a) => {
      if (typeof a === 'number' || typeof a === 'bigint') return BigInt(a) * 1_000_000n;
      if (typeof a === 'string' && microsOf(a) === null) throw new ExpressionError('not a timestamp');
      return a;
    },
  },
  duration: {
    takes: [['string', 'duration']],
    gives: 'duration',
    compute: (a) => {
      const micros = typeof a === 'string' ? durationMicros(a) : a;
      if (micros === null) throw new ExpressionError('not a duration, such as 1h30m');
      return micros;
    },
  },
  int: { takes: [['int', 'double', 'decimal', 'string', 'timestamp', 'bool']], gives: 'int', compute: toInteger },
  double: { takes: [['int', 'double', 'decimal', 'string', 'bool', 'duration']], gives: 'double', compute: toDouble },
  decimal: {
    takes: [['int', 'double', 'decimal', 'string']],
    gives: 'decimal',
    compute: (a) => (typeof a === 'string' && parseDecimal(a.trim()) !== null ? a.trim() : toDecimal(a)),
  },
  string: { takes: [['int', 'double', 'decimal', 'string', 'bool', 'timestamp']], gives: 'string', compute: toText },
};

/** A timestamp that was computed is a bigint of microseconds. */
const TIMESTAMP_TEXT: Plain = { takes: [TIMESTAMP], gives: 'string', compute: (a) => (typeof a === 'bigint' ? timestampText(a) : a) };

const SPECIAL = ['has', 'changed', 'coalesce', 'abs', 'matches'];

export function compileCall(compiler: Compiler, node: Node, target: Node | null, name: string, args: readonly Node[]): Typed | null {
  if (target === null && name === 'has') return compileHas(compiler, node, args);
  if (target === null && name === 'changed') return compileChanged(compiler, node, args);
  const operands = compiler.compileAll(target === null ? args : [target, ...args]);
  if (operands === null) return null;
  if (name === 'matches') return compileMatches(compiler, node, operands);
  if (target === null && name === 'coalesce') return compileCoalesce(compiler, node, operands);
  if (target === null && name === 'abs') return compileAbsolute(compiler, node, operands);
  if (target === null && name === 'string' && operands[0]?.type === 'timestamp')
    return compilePlain(compiler, node, name, TIMESTAMP_TEXT, operands);
  const plain = target !== null ? own(METHODS, name) : (own(FUNCTIONS, name) ?? (name === 'size' ? METHODS['size'] : undefined));
  if (plain === undefined) {
    const known = target === null ? [...Object.keys(FUNCTIONS), ...SPECIAL, 'size'] : [...Object.keys(METHODS), 'matches'];
    const other = own(target === null ? METHODS : FUNCTIONS, name);
    const fix =
      other === undefined ? suggestion(name, known, 'function') : target === null ? `Write text.${name}(…).` : `Write ${name}(…).`;
    return compiler.refuse(node, `there is no function "${name}"`, fix);
  }
  return compilePlain(compiler, node, name, plain, operands);
}

/** A function of the language, and not one that every JavaScript object has ("constructor"). */
function own(functions: Readonly<Record<string, Plain>>, name: string): Plain | undefined {
  return Object.hasOwn(functions, name) ? functions[name] : undefined;
}

function compilePlain(compiler: Compiler, node: Node, name: string, plain: Plain, operands: readonly Typed[]): Typed | null {
  if (operands.length !== plain.takes.length) {
    return compiler.refuse(
      node,
      `${name} takes ${plain.takes.length} value${plain.takes.length === 1 ? '' : 's'}, and gets ${operands.length}`,
      'Give it as many as it takes.',
    );
  }
  for (const [index, operand] of operands.entries()) {
    const takes = plain.takes[index] ?? [];
    if (operand.type !== 'null' && !takes.includes(operand.type)) {
      const fix = takes.includes('string') && takes.length === 1 ? 'Write string(…) around it.' : 'Give it a value of another kind.';
      return compiler.refuse(operand.node, `${name} takes ${takes.map(words).join(' or ')}, and this is ${words(operand.type)}`, fix);
    }
  }
  const [a, b] = [operands[0]?.evaluate, operands[1]?.evaluate];
  if (a === undefined) throw new Error('every function takes a value');
  const { compute } = plain;
  const evaluate: Evaluate =
    b === undefined
      ? (event, variables) => {
          const x = a(event, variables);
          return x === null || x === undefined ? undefined : compute(x, undefined);
        }
      : (event, variables) => {
          const x = a(event, variables);
          const y = b(event, variables);
          return x === null || y === null || x === undefined || y === undefined ? undefined : compute(x, y);
        };
  return typed(
    node,
    plain.gives,
    evaluate,
    operands.every((operand) => operand.constant),
  );
}

/** `has(after.x)`: there is a value, not null. Unknown where the source did not say. */
function compileHas(compiler: Compiler, node: Node, args: readonly Node[]): Typed | null {
  const [only] = args;
  if (args.length !== 1 || only?.kind !== 'member')
    return compiler.refuse(node, 'has takes a column', 'Write has(after.<column>) or has(before.<column>).');
  const cell = compiler.compile(only);
  if (cell === null) return null;
  return typed(
    node,
    'bool',
    (event, variables) => {
      const value = cell.evaluate(event, variables);
      return value === undefined ? undefined : value !== null;
    },
    false,
  );
}

/**
 * `changed(x)`: an update gave the column another value. False for everything but updates, and for a cell that was not sent
 * (UNCHANGED); unknown where the old row was not sent.
 */
function compileChanged(compiler: Compiler, node: Node, args: readonly Node[]): Typed | null {
  const [only] = args;
  const name =
    only?.kind === 'name'
      ? only.name
      : only?.kind === 'member'
        ? only.name
        : only?.kind === 'literal' && typeof only.value === 'string'
          ? only.value
          : null;
  if (args.length !== 1 || only === undefined || name === null)
    return compiler.refuse(node, 'changed takes a column', 'Write changed(<column>).');
  const column = compiler.columnIndex(only, 'before', name);
  if (column === null) return null;
  compiler.after.add(column);
  return typed(
    node,
    'bool',
    (event) => {
      if (event.op !== 'update') return false;
      const after = event.after.value(column);
      if (after === UNCHANGED) return false;
      if (event.before === null) return undefined;
      const before = event.before.value(column);
      if (before === UNCHANGED) return undefined;
      if (before === after) return false;
      if (before instanceof Uint8Array && after instanceof Uint8Array) return Buffer.compare(before, after) !== 0;
      // Two texts of one decimal ("1.0", "1.00") are two values to the source, and so they are here. NaN is NaN.
      return !(typeof before === 'number' && typeof after === 'number' && Number.isNaN(before) && Number.isNaN(after));
    },
    false,
  );
}

function compileMatches(compiler: Compiler, node: Node, operands: readonly Typed[]): Typed | null {
  const [text, pattern] = operands;
  if (operands.length !== 2 || text === undefined || pattern === undefined)
    return compiler.refuse(node, 'matches takes a text and a regex', "Write after.<column>.matches('regex').");
  if (text.type !== 'string')
    return compiler.refuse(text.node, `matches takes a text, and this is ${words(text.type)}`, 'Write string(…) around it.');
  if (pattern.node.kind !== 'literal' || typeof pattern.node.value !== 'string')
    return compiler.refuse(pattern.node, 'the regex has to be written out', 'Put the regex in quotes: it is compiled once.');
  const regex = compileRegex(pattern.node.value);
  if ('refused' in regex) return compiler.refuse(pattern.node, regex.refused, regex.fix);
  const { evaluate } = text;
  return typed(
    node,
    'bool',
    (event, variables) => {
      const value = evaluate(event, variables);
      return typeof value === 'string' ? regex.test(value) : undefined;
    },
    text.constant,
  );
}

/** The first value that is neither null nor unknown; null where all are. */
function compileCoalesce(compiler: Compiler, node: Node, operands: readonly Typed[]): Typed | null {
  if (operands.length < 2)
    return compiler.refuse(node, 'coalesce chooses among several values', 'Give it two or more: coalesce(after.<column>, 0).');
  const unified = compiler.unify(node, operands);
  if (unified === null) return null;
  const choices = unified.items.map((item) => item.evaluate);
  return typed(
    node,
    unified.type,
    (event, variables) => {
      for (const choice of choices) {
        const value = choice(event, variables);
        if (value !== null && value !== undefined) return value;
      }
      return null;
    },
    operands.every((operand) => operand.constant),
  );
}

function compileAbsolute(compiler: Compiler, node: Node, operands: readonly Typed[]): Typed | null {
  const [only] = operands;
  if (operands.length !== 1 || only === undefined) return compiler.refuse(node, 'abs takes one number', 'Write abs(…).');
  if (!(NUMBERS as readonly string[]).includes(only.type) && only.type !== 'duration')
    return compiler.refuse(only.node, `abs takes a number, and this is ${words(only.type)}`, 'Give it a number.');
  return compilePlain(
    compiler,
    node,
    'abs',
    { takes: [[only.type]], gives: only.type, compute: only.type === 'decimal' ? absoluteDecimal : absolute },
    operands,
  );
}

function absolute(value: Operand): Operand {
  return typeof value === 'bigint' ? (value < 0n ? -value : value) : Math.abs(value as number);
}

function absoluteDecimal(value: Operand): Operand {
  if (compareDecimalOperands(value, '0') >= 0) return value;
  const decimal = toDecimal(value);
  return new Decimal(-decimal.unscaled, decimal.scale);
}

/** Characters as people count them in SQL: code points. */
function size(value: Operand): number {
  if (typeof value !== 'string') return (value as readonly Operand[] | Uint8Array).length;
  return codePoints(value);
}

/** The number of code points of a text, without making an array of them. */
export function codePoints(text: string): number {
  let count = text.length;
  for (let i = 0; i < text.length - 1; i++) {
    const code = text.charCodeAt(i);
    if (code < 0xd800 || code > 0xdbff) continue;
    const next = text.charCodeAt(i + 1);
    if (next >= 0xdc00 && next <= 0xdfff) {
      count--;
      i++;
    }
  }
  return count;
}

function toInteger(value: Operand): Operand {
  switch (typeof value) {
    case 'number':
      if (!Number.isFinite(value)) throw new ExpressionError('not a whole number');
      return integer(BigInt(Math.trunc(value)));
    case 'boolean':
      return value ? 1 : 0;
    case 'string': {
      const micros = /^[+-]?\d/.test(value) && value.includes('-', 1) ? microsOf(value) : null;
      if (micros !== null) return integer(micros / 1_000_000n);
      return integer(truncated(toDecimal(value.trim())));
    }
    default:
      return value instanceof Decimal ? integer(truncated(value)) : (value as Operand);
  }
}

function truncated(value: Decimal): bigint {
  return value.unscaled / 10n ** BigInt(value.scale);
}

function toText(value: Operand): Operand {
  if (value instanceof Decimal) return decimalText(value);
  return typeof value === 'string' ? value : String(value as number | bigint | boolean);
}
