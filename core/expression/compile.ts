/** Type-checks a parsed expression against a dataset and turns it into closures over column indices. */
import type { CompiledExpression, CompileExpressionOptions, ExpressionResult, ExpressionType, RefusedExpression } from '../expression.ts';
import type { ChangeEvent } from '../event.ts';
import type { Problem } from '../problems.ts';
import { compileCall } from './calls.ts';
import { cellReader, COLUMN_TYPES } from './cells.ts';
import { hasTextOrder, isCaseless, isPadded } from './columns.ts';
import { decimalText } from './decimal.ts';
import {
  arithmetic,
  type Compare,
  compareInAnyCase,
  comparison,
  compareTexts,
  DECIMALS,
  DOUBLES,
  equals,
  INTEGERS,
  toDouble,
} from './operators.ts';
import { type ColumnCell, isOneOf } from './encoded-text.ts';
import { type BinaryOperator, type Node, place } from './parse.ts';
import { suggestion } from './suggest.ts';
import { words } from './type-words.ts';
import { microsOf, timeOfDay, timestampText } from './timestamp.ts';
import { Decimal, ExpressionError, type Operand } from './values.ts';

export type Evaluate = (event: ChangeEvent, variables: readonly Operand[]) => Operand;

export interface Typed {
  readonly type: ExpressionType;
  readonly evaluate: Evaluate;
  /** Reads neither the event nor a variable. */
  readonly constant: boolean;
  /** A number written with a fraction: a decimal, and a double beside a double. */
  readonly literal: boolean;
  readonly node: Node;
  /** Of a column: its cells are texts that are in no order (json, interval), times of day, or the same in any case (citext). */
  readonly texts?: 'unordered' | 'times' | 'caseless';
  /** Of a column of texts that are compared as they are. */
  readonly cell?: ColumnCell;
}

export function compileNode(root: Node, text: string, options: CompileExpressionOptions): CompiledExpression | RefusedExpression {
  const compiler = new Compiler(text, options);
  const typed = compiler.compile(root);
  if (typed !== null) compiler.checkResult(typed);
  const [first, ...more] = compiler.problems;
  if (first !== undefined) return { kind: 'refused', problems: [first, ...more] };
  if (typed === null) throw new Error('an expression that does not compile has a problem');
  return {
    kind: 'compiled',
    type: typed.type,
    constant: typed.constant,
    evaluate: options.want === 'number' ? asNumber(typed) : asResult(typed),
    columns: ascending(compiler.after),
    beforeColumns: ascending(compiler.before),
  };
}

function ascending(columns: ReadonlySet<number>): number[] {
  return [...columns].sort((a, b) => a - b);
}

function asResult({ type, evaluate }: Typed): CompiledExpression['evaluate'] {
  // The common conditions need no conversion at all.
  if (type === 'bool' || type === 'int' || type === 'double' || type === 'string')
    return (event, ...variables) => evaluate(event, variables) as ExpressionResult;
  return (event, ...variables) => {
    const value = evaluate(event, variables);
    if (value instanceof Decimal) return decimalText(value);
    if (type === 'timestamp' && typeof value === 'bigint') return timestampText(value);
    if (type === 'decimal' && (typeof value === 'number' || typeof value === 'bigint')) return String(value);
    return value as ExpressionResult;
  };
}

function asNumber({ evaluate }: Typed): CompiledExpression['evaluate'] {
  return (event, ...variables) => {
    const value = evaluate(event, variables);
    return value === null || value === undefined || typeof value === 'number' ? value : toDouble(value);
  };
}

const OPERATIONS = ['insert', 'update', 'delete', 'read', 'truncate'];

export class Compiler {
  readonly #text: string;
  readonly #options: CompileExpressionOptions;
  readonly #variables: readonly string[];
  readonly problems: Problem[] = [];
  readonly after = new Set<number>();
  readonly before = new Set<number>();

  constructor(text: string, options: CompileExpressionOptions) {
    this.#text = text;
    this.#options = options;
    this.#variables = Object.keys(options.variables ?? {});
  }

  /** Records a problem at a node; gives null so that the caller can pass it on. */
  refuse(node: Node, message: string, fix: string): null {
    this.problems.push({ severity: 'error', path: this.#options.path, message: `${message} ${place(this.#text, node.at)}`, fix });
    return null;
  }

  checkResult(typed: Typed): void {
    const { want } = this.#options;
    if (want === 'bool' && typed.type !== 'bool') {
      this.refuse(typed.node, `a condition is wanted, and this gives ${words(typed.type)}`, 'Compare it with something, such as … > 0.');
    } else if (want === 'number' && !['bool', 'int', 'double', 'decimal'].includes(typed.type)) {
      this.refuse(
        typed.node,
        `a number is wanted, and this gives ${words(typed.type)}`,
        'Turn it into a number, such as size(…) or double(…).',
      );
    }
  }

  compile(node: Node): Typed | null {
    const typed = this.#node(node);
    return typed === null ? null : this.#fold(typed);
  }

  /** Several at once, so that the problems of all of them are told. */
  compileAll(nodes: readonly Node[]): Typed[] | null {
    const typed = nodes.map((node) => this.compile(node));
    return typed.every((item) => item !== null) ? typed : null;
  }

  /** Constants are computed once, now. */
  #fold(typed: Typed): Typed | null {
    if (!typed.constant || typed.node.kind === 'literal' || typed.node.kind === 'number') return typed;
    try {
      const value = typed.evaluate(NO_EVENT, []);
      return { ...typed, evaluate: () => value };
    } catch (error) {
      if (!(error instanceof ExpressionError)) throw error;
      return this.refuse(typed.node, `this cannot be computed: ${error.message}`, 'Correct the constants.');
    }
  }

  #node(node: Node): Typed | null {
    switch (node.kind) {
      case 'literal':
        return typed(node, node.type, () => node.value, true);
      case 'number': {
        if (!node.integer) return { ...typed(node, 'decimal', () => node.text, true), literal: true };
        const value = BigInt(node.text);
        const small = value <= 9007199254740991n ? Number(value) : value;
        return typed(node, 'int', () => small, true);
      }
      case 'name':
        return this.#name(node, node.name);
      case 'member':
        return this.#member(node, node.target, node.name);
      case 'list': {
        const items = this.compileAll(node.items);
        if (items === null) return null;
        return typed(
          node,
          'list',
          (event, variables) => items.map((item) => item.evaluate(event, variables)),
          items.every((item) => item.constant),
        );
      }
      case 'call':
        return compileCall(this, node, node.target, node.name, node.args);
      case 'unary':
        return this.#unary(node, node.operator, node.operand);
      case 'binary':
        return this.#binary(node, node.operator, node.left, node.right);
      case 'choice':
        return this.#choice(node, node.condition, node.yes, node.no);
    }
  }

  #name(node: Node, name: string): Typed | null {
    if (name === 'op') return typed(node, 'string', (event) => event.op, false);
    const variable = this.#variables.indexOf(name);
    if (variable >= 0) {
      const type = this.#options.variables?.[name] ?? 'double';
      return typed(node, type, (_, variables) => variables[variable], false);
    }
    if (name === 'after' || name === 'before')
      return this.refuse(
        node,
        `"${name}" is a row, not a value`,
        `Name a column of it, such as ${name}.${this.#options.dataset.columns[0]?.name ?? 'id'}.`,
      );
    const column = this.#options.dataset.columns.find((candidate) => candidate.name === name);
    if (column !== undefined)
      return this.refuse(node, `"${name}" stands alone`, `Write after.${name} for its new value or before.${name} for the old one.`);
    return this.refuse(node, `"${name}" is not known`, suggestion(name, ['after', 'before', 'op', ...this.#variables]));
  }

  #member(node: Node, target: Node, name: string): Typed | null {
    if (target.kind !== 'name' || (target.name !== 'after' && target.name !== 'before')) {
      return this.refuse(
        node,
        `".${name}" has nothing to be a part of`,
        'Only after.<column> and before.<column> have parts; functions are written with brackets, such as .size().',
      );
    }
    return this.column(node, target.name, name);
  }

  /** A cell of the after or before image. */
  column(node: Node, image: 'after' | 'before', name: string): Typed | null {
    const found = this.columnIndex(node, image, name);
    if (found === null) return null;
    const column = this.#options.dataset.columns[found];
    if (column === undefined) throw new Error('a column that was found is not there');
    const type = COLUMN_TYPES[column.type];
    const cell = typed(node, type, cellReader(type, isPadded(column), found, image), false);
    if (type !== 'string') return cell;
    if (!hasTextOrder(column)) return { ...cell, texts: 'unordered' };
    if (column.type === 'time') return { ...cell, texts: 'times' };
    if (isCaseless(column)) return { ...cell, texts: 'caseless' };
    return isPadded(column) ? cell : { ...cell, cell: { column: found, image } };
  }

  columnIndex(node: Node, image: 'after' | 'before', name: string): number | null {
    const { dataset } = this.#options;
    const index = dataset.columns.findIndex((column) => column.name === name);
    if (index < 0) {
      const names = dataset.columns.map((column) => column.name);
      return this.refuse(node, `${dataset.name} has no column "${name}"`, suggestion(name, names, 'column'));
    }
    if (image === 'before' && this.#options.wantBefore === false) {
      return this.refuse(node, 'the old row cannot be used here', `Use after.${name}.`);
    }
    this[image].add(index);
    return index;
  }

  #unary(node: Node, operator: '!' | '-', operandNode: Node): Typed | null {
    const operand = this.compile(operandNode);
    if (operand === null) return null;
    const { evaluate } = operand;
    if (operator === '!') {
      if (operand.type !== 'bool')
        return this.refuse(node, `"!" turns a condition around, and this is ${words(operand.type)}`, 'Compare it with something first.');
      return typed(node, 'bool', not(evaluate), operand.constant);
    }
    const negate = {
      int: INTEGERS['-'],
      double: DOUBLES['-'],
      decimal: DECIMALS['-'],
      duration: (_: Operand, b: Operand) => -(b as bigint),
    }[operand.type as string];
    if (negate === undefined) return this.refuse(node, `"-" needs a number, and this is ${words(operand.type)}`, 'Remove it.');
    return {
      ...typed(
        node,
        operand.type,
        (event, variables) => {
          const value = evaluate(event, variables);
          return value === null || value === undefined ? undefined : negate(0, value);
        },
        operand.constant,
      ),
      literal: operand.literal,
    };
  }

  #binary(node: Node, operator: BinaryOperator, leftNode: Node, rightNode: Node): Typed | null {
    const both = this.compileAll([leftNode, rightNode]);
    const [left, right] = both ?? [];
    if (left === undefined || right === undefined) return null;
    switch (operator) {
      case '&&':
      case '||':
        return this.#logic(node, operator, left, right);
      case 'in':
        return this.#in(node, left, right);
      case '==':
      case '!=':
      case '<':
      case '<=':
      case '>':
      case '>=':
        return this.#comparison(node, operator, left, right);
      case '+':
      case '-':
      case '*':
      case '/':
      case '%':
        return this.#arithmetic(node, operator, left, right);
    }
  }

  /** Three-valued, as in SQL: false && unknown is false, true || unknown is true, otherwise unknown stays unknown. */
  #logic(node: Node, operator: '&&' | '||', left: Typed, right: Typed): Typed | null {
    for (const side of [left, right]) {
      if (side.type !== 'bool')
        this.refuse(
          side.node,
          `"${operator}" joins conditions, and this is ${words(side.type)}`,
          'Compare it with something, such as … != null.',
        );
    }
    if (left.type !== 'bool' || right.type !== 'bool') return null;
    const [a, b] = [left.evaluate, right.evaluate];
    const decisive = operator === '||';
    // One side that decides is the whole: what the other reads does not matter, and who asks for a condition is told that it is none.
    if ([left, right].some((side) => side.constant && side.evaluate(NO_EVENT, []) === decisive))
      return typed(node, 'bool', () => decisive, true);
    return typed(
      node,
      'bool',
      (event, variables) => {
        const first = a(event, variables);
        if (first === decisive) return decisive;
        const second = b(event, variables);
        if (second === decisive) return decisive;
        return typeof first === 'boolean' && typeof second === 'boolean' ? !decisive : undefined;
      },
      left.constant && right.constant,
    );
  }

  #comparison(node: Node, operator: '==' | '!=' | '<' | '<=' | '>' | '>=', left: Typed, right: Typed): Typed | null {
    const isEquality = operator === '==' || operator === '!=';
    const comparable = this.comparable(node, left, right, isEquality);
    if (comparable === null) return null;
    if (isEquality) this.#checkOperation(left, right);
    // x == x is how people ask whether a float is NaN.
    if (!left.constant && !(isEquality && left.type === 'double') && isSame(left.node, right.node))
      return this.refuse(node, 'this compares something with itself', 'Compare it with something else.');
    const [a, b] = [comparable.left.evaluate, comparable.right.evaluate];
    const { compare } = comparable;
    const constant = left.constant && right.constant;
    if (operator === '==' || operator === '!=') {
      const byValue: Evaluate = (event, variables) => equals(compare, a(event, variables), b(event, variables));
      const equal = besideText(left, right, byValue) ?? besideText(right, left, byValue) ?? byValue;
      return typed(node, 'bool', operator === '==' ? equal : not(equal), constant);
    }
    const holds = ORDER[operator];
    return typed(
      node,
      'bool',
      (event, variables) => {
        const x = a(event, variables);
        const y = b(event, variables);
        if (x === null || y === null || x === undefined || y === undefined) return undefined;
        const order = compare(x, y);
        if (Number.isNaN(order)) throw new ExpressionError('NaN has no order');
        return holds(order);
      },
      constant,
    );
  }

  /** `op == "create"` would never hold. */
  #checkOperation(left: Typed, right: Typed): void {
    for (const [side, other] of [
      [left, right],
      [right, left],
    ] as const) {
      if (side.node.kind !== 'name' || side.node.name !== 'op' || other.node.kind !== 'literal' || typeof other.node.value !== 'string')
        continue;
      if (!OPERATIONS.includes(other.node.value))
        this.refuse(other.node, `op is never "${other.node.value}"`, suggestion(other.node.value, OPERATIONS, 'operation'));
    }
  }

  /** How two operands compare, with texts beside timestamps and literals beside doubles converted; null (and a problem) where they never can. */
  comparable(node: Node, left: Typed, right: Typed, equality: boolean): { left: Typed; right: Typed; compare: Compare } | null {
    if (left.type === 'null' || right.type === 'null') {
      if (equality) return { left, right, compare: compareTexts };
      return this.refuse(node, 'nothing is less or greater than null', 'Write == null or != null.');
    }
    const unordered = [left, right].find(({ texts }) => texts === 'unordered');
    if (!equality && unordered !== undefined)
      return this.refuse(
        unordered.node,
        'the texts of this column are not in the order of its values',
        'Use == or !=, or a function of it.',
      );
    const [a, b] = [this.#beside(left, right), this.#beside(right, left)];
    if (a === null || b === null) return null;
    const caseless = (a.texts === 'caseless' || b.texts === 'caseless') && a.type === 'string' && b.type === 'string';
    const compare = caseless ? compareInAnyCase : comparison(a.type, b.type);
    if (compare !== null && (equality || (a.type !== 'bool' && a.type !== 'bytes'))) return { left: a, right: b, compare };
    const never = equality ? 'are never equal' : 'have no order';
    return this.refuse(node, `${words(a.type)} and ${words(b.type)} ${never}`, comparisonFix(a, b));
  }

  /** An operand as it is meant beside another: '2026-01-01' beside a timestamp, 0.5 beside a double. */
  #beside(operand: Typed, other: Typed): Typed | null {
    if (operand.literal && other.type === 'double') return toDoubleNode(operand);
    if (operand.type === 'string' && other.type === 'timestamp' && operand.constant) {
      const text = operand.evaluate(NO_EVENT, []);
      const micros = typeof text === 'string' ? microsOf(text) : null;
      if (micros === null)
        return this.refuse(
          operand.node,
          'the text beside a timestamp is no date or timestamp',
          'Write it as "2026-11-24" or "2026-11-24T13:45:00Z".',
        );
      const canonical = timestampText(micros);
      return typed(operand.node, 'timestamp', () => canonical, true);
    }
    if (operand.type === 'string' && other.texts === 'times' && operand.constant) {
      const text = operand.evaluate(NO_EVENT, []);
      const canonical = typeof text === 'string' ? timeOfDay(text) : null;
      if (canonical === null)
        return this.refuse(operand.node, 'the text beside a time of day is none', 'Write it as "17:00" or "17:00:00.5".');
      return typed(operand.node, 'string', () => canonical, true);
    }
    return operand;
  }

  #in(node: Node, left: Typed, right: Typed): Typed | null {
    if (right.node.kind !== 'list') {
      return this.refuse(
        right.node,
        '"in" looks in a list',
        right.type === 'string' ? 'To look in a text, write text.contains(part).' : 'Write the list: in [1, 2, 3].',
      );
    }
    const items = this.compileAll(right.node.items);
    if (items === null) return null;
    const pairs = items.map((item) => this.comparable(item.node, left, item, true));
    for (const item of items) this.#checkOperation(left, item);
    if (!pairs.every((pair) => pair !== null)) return null;
    const { evaluate } = left;
    const texts =
      left.texts !== 'caseless' && (left.type === 'string' || left.type === 'int') ? constantsOf(pairs.map((pair) => pair.right)) : null;
    const constant = left.constant && items.every((item) => item.constant);
    if (texts !== null) {
      const byValue: Evaluate = (event, variables) => {
        const value = evaluate(event, variables);
        return value === undefined ? undefined : texts.has(value);
      };
      const strings = [...texts].filter((text) => typeof text === 'string');
      const byBytes = left.cell !== undefined && strings.length === texts.size ? isOneOf(left.cell, strings, byValue) : byValue;
      return typed(node, 'bool', byBytes, constant);
    }
    return typed(
      node,
      'bool',
      (event, variables) => {
        let result: boolean | undefined = false;
        for (const pair of pairs) {
          const equal = equals(pair.compare, pair.left.evaluate(event, variables), pair.right.evaluate(event, variables));
          if (equal === true) return true;
          if (equal === undefined) result = undefined;
        }
        return result;
      },
      constant,
    );
  }

  #arithmetic(node: Node, operator: '+' | '-' | '*' | '/' | '%', left: Typed, right: Typed): Typed | null {
    const [a, b] = [this.#beside(left, right), this.#beside(right, left)];
    if (a === null || b === null) return null;
    const operation = arithmetic(operator, a.type, b.type);
    if (operation === null) {
      const fix =
        a.type === 'string' || b.type === 'string'
          ? 'Turn the text into a number with int(…), decimal(…) or double(…), or the number into a text with string(…).'
          : (a.type === 'decimal' && b.type === 'double') || (a.type === 'double' && b.type === 'decimal')
            ? 'A decimal is exact and a float is not: write double(…) around the decimal.'
            : 'See docs/rules.md for what can be computed.';
      return this.refuse(node, `"${operator}" cannot take ${words(a.type)} and ${words(b.type)}`, fix);
    }
    const { type, compute } = operation;
    const [first, second] = [a.evaluate, b.evaluate];
    return {
      ...typed(
        node,
        type,
        (event, variables) => {
          const x = first(event, variables);
          const y = second(event, variables);
          if (x === null || y === null || x === undefined || y === undefined) return undefined;
          return compute(x, y);
        },
        a.constant && b.constant,
      ),
      literal: type === 'decimal' && a.constant && b.constant,
    };
  }

  #choice(node: Node, conditionNode: Node, yesNode: Node, noNode: Node): Typed | null {
    const parts = this.compileAll([conditionNode, yesNode, noNode]);
    const [condition, yes, no] = parts ?? [];
    if (condition === undefined || yes === undefined || no === undefined) return null;
    if (condition.type !== 'bool')
      return this.refuse(condition.node, `"?" asks a condition, and this is ${words(condition.type)}`, 'Compare it with something.');
    const unified = this.unify(node, [yes, no]);
    const [a, b] = unified?.items ?? [];
    if (unified === null || a === undefined || b === undefined) return null;
    return typed(
      node,
      unified.type,
      (event, variables) => {
        const chosen = condition.evaluate(event, variables);
        if (chosen === true) return a.evaluate(event, variables);
        return chosen === false ? b.evaluate(event, variables) : undefined;
      },
      parts?.every((part) => part.constant) === true,
    );
  }

  /** One type for several alternatives: null goes with any, whole numbers with decimals and doubles. */
  unify(node: Node, items: readonly Typed[]): { type: ExpressionType; items: readonly Typed[] } | null {
    const types = new Set(items.map((item) => item.type));
    types.delete('null');
    if (types.has('double') && items.every((item) => item.type !== 'decimal' || item.literal)) {
      types.delete('int');
      if (items.some((item) => item.literal)) types.delete('decimal');
    } else if (types.has('decimal')) types.delete('int');
    const [type = 'null', ...others] = types;
    if (others.length > 0) {
      return this.refuse(
        node,
        `the alternatives are ${[type, ...others].map(words).join(' and ')}`,
        'Make them of one type, for instance with double(…) or string(…).',
      );
    }
    return { type, items: type === 'double' ? items.map((item) => (item.literal ? toDoubleNode(item) : item)) : items };
  }
}

const ORDER: Readonly<Record<'<' | '<=' | '>' | '>=', (order: number) => boolean>> = {
  '<': (order) => order < 0,
  '<=': (order) => order <= 0,
  '>': (order) => order > 0,
  '>=': (order) => order >= 0,
};

function not(condition: Evaluate): Evaluate {
  return (event, variables) => {
    const value = condition(event, variables);
    return typeof value === 'boolean' ? !value : undefined;
  };
}

/** A column of texts beside a text that is written out; null for all else. */
function besideText(column: Typed, text: Typed, byValue: Evaluate): Evaluate | null {
  const value = column.cell !== undefined && text.constant ? text.evaluate(NO_EVENT, []) : null;
  return column.cell !== undefined && typeof value === 'string' ? isOneOf(column.cell, [value], byValue) : null;
}

/** Whether two parts of an expression are written alike. */
function isSame(a: Node, b: Node): boolean {
  const shape = (node: Node) => JSON.stringify(node, (key, value: unknown) => (key === 'at' ? undefined : value));
  return shape(a) === shape(b);
}

export function typed(node: Node, type: ExpressionType, evaluate: Evaluate, constant: boolean): Typed {
  return { type, evaluate, constant, literal: false, node };
}

/** Passed where constants are folded: nothing constant reads it. */
const NO_EVENT = Object.freeze({}) as ChangeEvent;

function toDoubleNode(operand: Typed): Typed {
  const value = toDouble(operand.evaluate(NO_EVENT, []));
  return { ...operand, type: 'double', literal: false, evaluate: () => value };
}

function comparisonFix(a: Typed, b: Typed): string {
  const types = [a.type, b.type];
  if (types.includes('decimal') && types.includes('double'))
    return 'A decimal is exact and a float is not: write double(…) around the decimal.';
  if (types.includes('timestamp') && types.includes('string')) return 'Write timestamp(…) around the text.';
  if (types.includes('string') && types.some((type) => type === 'int' || type === 'decimal' || type === 'double')) {
    const [text, number] = a.type === 'string' ? [a, b] : [b, a];
    if (number.constant) return 'Put quotes around the number.';
    if (text.constant) return 'Remove the quotes.';
    return 'Turn one into the other with int(…), decimal(…) or string(…).';
  }
  return 'Compare two values of one kind.';
}

/** The values of a list of constant texts or integers as a set, or null where one is something else. */
function constantsOf(items: readonly Typed[]): ReadonlySet<Operand> | null {
  const values = new Set<Operand>();
  for (const item of items) {
    if (!item.constant || (item.type !== 'string' && item.type !== 'int' && item.type !== 'null')) return null;
    values.add(item.evaluate(NO_EVENT, []));
  }
  return values;
}
