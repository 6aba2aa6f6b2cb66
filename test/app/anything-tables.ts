/** Tables of every layout, key, identity and policy, drawn from a seed, and random changes of their rows and of themselves. */
import type { Random } from '../support/random.ts';
import { isCastable } from './changed-tables.ts';

const KINDS = ['add', 'drop', 'rename', 'widen', 'narrow', 'retype', 'key', 'nullable'] as const;
const POLICIES = ['accept', 'hold', 'quarantine'];
/** What a rule lets through, until somebody loosens it. */
export const MAX = 1000;
const BAD = 5000;
const IDS = 30;
/** Keys that rows are moved to. */
const AWAY = 1000;

/** How a target has a table. Columns that are not named go by their names. */
interface Look {
  readonly options: Readonly<Record<string, unknown>>;
  readonly rename?: Readonly<Record<string, string>>;
  /** The columns that are written, beside those of the key; all where it is left out. */
  readonly columns?: readonly string[];
  /** Of the rows that count. */
  readonly where?: string;
}

const WRITTEN = ['id', 'code', 'seq', 'n', 'big', 'a', 'b'];
const PLAINLY = { n: 'number', big: 'large' };
const CROSSED = { a: 'b', b: 'a', c: 'third', n: 'number' };

const LOOKS: Readonly<Record<string, Look>> = {
  plain: { options: {} },
  subset: { options: {}, columns: WRITTEN },
  crossed: { options: { rename: CROSSED }, rename: CROSSED },
  stamped: { options: { write: { position: 'at_lsn', verdict: 'said', operation: 'op' } } },
  soft: { options: { softDelete: { flag: 'gone' } }, where: 'gone is not true' },
  history: { options: { history: { from: 'since', to: 'until' } }, where: 'until is null' },
};

const KEYS = {
  int: [['id', 'int']],
  text: [['id', 'text']],
  pair: [
    ['id', 'int'],
    ['code', 'text'],
  ],
} as const;

/** A value for the number n, by type. */
const VALUES: Readonly<Record<string, (n: number) => string>> = {
  int: (n) => `${n}`,
  bigint: (n) => `${n}00000000000`,
  text: (n) => `'text ${n}'`,
  'varchar(12)': (n) => `'v${n}'`,
  'numeric(20,4)': (n) => `${n}.25`,
  date: (n) => `date '2026-01-01' + ${n}`,
  uuid: (n) => `md5('${n}')::uuid`,
  boolean: (n) => `${n % 2 === 0}`,
};
/** What the values of a column become: by the type before, and the one after. */
const RETYPES: readonly (readonly [string, string, string])[] = [
  ['int', 'bigint', 'C'],
  ['int', 'bigint', 'C * 3'],
  ['int', 'text', `'n' || C`],
  ['bigint', 'numeric(20,4)', 'C % 1000'],
  ['text', 'varchar(12)', 'left(C, 12)'],
  ['varchar(12)', 'text', 'C'],
  ['numeric(20,4)', 'text', 'C'],
  ['date', 'text', 'C'],
  ['uuid', 'text', 'C'],
];
const NAMES = ['a', 'b', 'c', 'd', 'e', 'f'];

/** One table: what it is, and what may be done to it. */
export class AnyTable {
  readonly name: string;
  look: Look;
  /** Whether the config leaves it out for now. */
  isOut = false;
  #touches = 0;
  readonly lookName: string;
  key: readonly (readonly [string, string])[];
  /** Whether it has another column that could be its key. */
  readonly hasOther: boolean;
  readonly hold: 'event' | 'key';
  readonly identity: 'default' | 'full' | 'using index';
  readonly isPartitioned: boolean;
  readonly policies: Readonly<Record<string, string>>;
  columns: ReadonlyMap<string, string> = new Map([
    ['a', 'int'],
    ['b', 'text'],
    ['c', 'numeric(20,4)'],
  ]);
  isTruncated = false;
  /** Whether something was done to it that is documented to leave rows at the target, until they are repaired. */
  isLossy = false;
  /** By every name that was one: the type of the column that had it last. */
  readonly #types = new Map<string, string>();
  /** What a table of its name has beside its columns, as statements. */
  #storage = '';
  readonly #settled = new Set<string>();
  readonly #random: Random;

  constructor(name: string, random: Random) {
    this.name = name;
    this.#random = random;
    this.lookName = this.#one(Object.keys(LOOKS));
    this.look = LOOKS[this.lookName] as Look;
    this.key = KEYS[this.#one(['int', 'int', 'text', 'pair'] as const)];
    this.hold = this.#one(['event', 'key', 'key'] as const);
    this.identity = this.#one(['default', 'full', 'using index'] as const);
    this.isPartitioned = random.chance(0.2);
    const [only] = this.key;
    this.hasOther =
      only?.[1] === 'int' &&
      this.key.length === 1 &&
      !this.isPartitioned &&
      this.identity !== 'using index' &&
      !['subset', 'history'].includes(this.lookName) &&
      random.chance(0.6);
    this.policies = Object.fromEntries(KINDS.map((kind) => [kind, this.#one(POLICIES)]));
  }

  /** What it is, for whoever reads of a failure. */
  toString(): string {
    const { name, lookName, key, hold, identity, isPartitioned, policies } = this;
    return `${name}: ${lookName}, key ${key.join(' ')}, hold ${hold}, identity ${identity}${isPartitioned ? ', partitioned' : ''}, ${JSON.stringify(policies)}`;
  }

  #one<T>(all: readonly T[]): T {
    return all[this.#random.below(all.length)] as T;
  }

  #id(n: number): string {
    return this.key[0]?.[1] === 'text' ? `'k${n}'` : `${n}`;
  }

  get #keyNames(): readonly string[] {
    return this.key.map(([column]) => column);
  }

  /** Columns of every key that it had or may have. */
  get #ids(): readonly (readonly [string, string])[] {
    return this.hasOther
      ? [
          ['id', 'int'],
          ['alt', 'int'],
        ]
      : this.key;
  }

  /** Statements that make it. Large values lie apart; who writes a row numbers it. */
  made(): string {
    const { name } = this;
    const unique = this.hasOther ? ' unique' : '';
    const columns = [
      ...this.#ids.map(([column, type]) => `${column} ${type} not null${unique}`),
      'seq bigint not null',
      'n int',
      'big text',
    ];
    for (const [column, type] of this.columns) columns.push(`${column} ${type}`);
    const keys = this.#keyNames.join(', ');
    const parts = this.isPartitioned
      ? `create table ${name}_0 partition of ${name} for values with (modulus 2, remainder 0); create table ${name}_1 partition of ${name} for values with (modulus 2, remainder 1);`
      : '';
    const identities = (this.isPartitioned ? [name, `${name}_0`, `${name}_1`] : [name])
      .map((one) => {
        if (this.identity !== 'using index') return `alter table ${one} replica identity ${this.identity};`;
        return `alter table ${one} replica identity using index ${one === name ? 'by' : 'by'}_${one};`;
      })
      .join(' ');
    const indexes =
      this.identity !== 'using index'
        ? ''
        : this.isPartitioned
          ? `create unique index by_${name} on only ${name} (${keys}); ${[0, 1].map((n) => `create unique index by_${name}_${n} on ${name}_${n} (${keys}); alter index by_${name} attach partition by_${name}_${n};`).join(' ')}`
          : `create unique index by_${name} on ${name} (${keys});`;
    this.#storage = `alter table ${name} alter big set storage external; ${parts} ${indexes} ${identities}
      create trigger number before insert or update on ${name} for each row execute function number();`;
    return `create table ${name} (${columns.join(', ')}, constraint ${name}_pk primary key (${keys})) ${this.isPartitioned ? 'partition by hash (id)' : ''};
      ${this.#storage}
      ${this.#inserted(0, IDS / 2)}`;
  }

  rules(max: number, policy: string | null = null): string {
    const evolution = KINDS.map((kind) => `${kind}: ${policy ?? this.policies[kind]}`).join(', ');
    return `
apiVersion: quality/v1
kind: DatasetRules
dataset: shop.public.${this.name}
hold: ${this.hold}
schema: {evolution: {${evolution}}}
columns:
  n: [{id: small, between: {max: ${max}}}]
breaker: {open_when: {quarantined_ratio: 1, over: 1m, min_rows: 100000}}
`;
  }

  /** Another layout, which the config names from the next start on. */
  relayout(): void {
    const { look } = this;
    if (this.lookName === 'plain')
      this.look = look.rename === undefined ? { options: { rename: PLAINLY }, rename: PLAINLY } : { options: {} };
    else if (look.columns !== undefined) {
      const one = this.#one(['c', 'd', 'big', 'b'].filter((name) => this.columns.has(name) || name === 'big'));
      if (one === undefined) return;
      this.look = { ...look, columns: look.columns.includes(one) ? look.columns.filter((name) => name !== one) : [...look.columns, one] };
    } else if (this.lookName !== 'crossed') {
      const { write, ...options } = look.options;
      this.look = { ...look, options: write === undefined ? { ...options, write: { committedAt: 'committed' } } : options };
    }
  }

  /** Its layout in the config; null where it has none. */
  layout(): Readonly<Record<string, unknown>> | null {
    const { options, columns } = this.look;
    if (this.lookName === 'plain' && Object.keys(options).length === 0) return null;
    const written = columns?.filter((column) => column !== 'code' || this.key.length > 1);
    return { dataset: `shop.public.${this.name}`, ...options, ...(written === undefined ? {} : { columns: written }) };
  }

  /** The target's name of a column; null where it is not written. */
  place(column: string): string | null {
    if (this.look.columns !== undefined && !this.look.columns.includes(column)) return null;
    return this.look.rename?.[column] ?? column;
  }

  #large(): string {
    if (this.#random.chance(0.4)) return 'null';
    // Under hold: event the documentation warns of large values that are left out where rows move.
    return this.hold === 'key' && this.#random.chance(0.6) ? `repeat('${this.#one(['x', 'y', 'z'])}', 3000)` : `'small'`;
  }

  #number(): number {
    return this.#random.chance(0.12) ? BAD + this.#random.below(9) : this.#random.below(MAX);
  }

  #value(column: string): string {
    return this.#random.chance(0.1) ? 'null' : (VALUES[this.columns.get(column) ?? '']?.(this.#random.below(90)) ?? 'null');
  }

  #inserted(from: number, count: number): string {
    const random = this.#random;
    const names = [...this.columns.keys()].filter(() => random.chance(0.7));
    const rows = Array.from({ length: count }, (_, i) => {
      const n = from + i;
      const key = this.hasOther ? [n, AWAY * 10 + n] : this.key.length > 1 ? [this.#id(n), `'c${n % 3}'`] : [this.#id(n)];
      return `(${[...key, 0, this.#number(), this.#large(), ...names.map((name) => this.#value(name))].join(', ')})`;
    });
    return `insert into ${this.name} (${[...this.#ids.map(([column]) => column), 'seq', 'n', 'big', ...names].join(', ')}) values ${rows.join(', ')} on conflict do nothing;`;
  }

  /** A change of a row, which there is. */
  touched(): string {
    const n = AWAY * 2 + this.#touches++;
    const key = this.hasOther ? [n, AWAY * 10 + n] : this.key.length > 1 ? [this.#id(n), `'c0'`] : [this.#id(n)];
    return `insert into ${this.name} (${this.#ids.map(([column]) => column).join(', ')}, seq, n) values (${key.join(', ')}, 0, 1);`;
  }

  /** One change of some of its rows. */
  rows(): string {
    const { name } = this;
    const random = this.#random;
    const n = random.below(IDS);
    const id = this.#id(n);
    const dice = random.below(100);
    const some =
      this.key[0]?.[1] === 'int' && random.chance(0.3)
        ? `id between ${n} and ${n + 4}`
        : `id = ${random.chance(0.85) ? id : this.#id(n + AWAY)}`;
    if (dice < 22) return this.#inserted(n, 1 + (random.chance(0.3) ? random.below(6) : 0));
    if (dice < 42) return `update ${name} set n = ${this.#number()} where ${some};`;
    if (dice < 55) {
      const column = this.#one([...this.columns.keys()]);
      return `update ${name} set ${column} = ${this.#value(column)} where ${some};`;
    }
    if (dice < 62) return `update ${name} set big = ${this.#large()} where ${some};`;
    if (dice < 74) return `delete from ${name} where ${some};`;
    if (dice < 80) return `delete from ${name} where id = ${id}; ${this.#inserted(n, 1)}`;
    if (dice < 90) {
      const [from, to] = random.chance(0.5) ? [n, n + AWAY] : [n + AWAY, n];
      const also = random.chance(0.3) ? `, n = ${this.#number()}` : '';
      return `update ${name} set id = ${this.#id(to)}${also} where id = ${this.#id(from)} and not exists (select from ${name} where id = ${this.#id(to)});`;
    }
    if (dice < 97) {
      const other = this.#id((n + 1 + random.below(IDS - 1)) % IDS);
      const apart = this.#id(-1);
      return `update ${name} set id = ${apart} where id = ${id}; update ${name} set id = ${id} where id = ${other}; update ${name} set id = ${other} where id = ${apart};`;
    }
    if (dice < 99 || this.isTruncated) return `update ${name} set n = n where ${some};`;
    this.isTruncated = true;
    return `truncate ${name}; ${this.#inserted(n, 5)}`;
  }

  #alter(what: string): string {
    return `alter table ${this.name} ${what};`;
  }

  /** A name that is free; of a subset of columns one that is written where `like` is, for a layout that loses a column waits for somebody. */
  #free(like: string | null, type: string | null = null): string | null {
    const free = NAMES.filter(
      (name) =>
        !this.columns.has(name) &&
        (like === null || this.#isLike(name, like)) &&
        (type === null || isCastable(this.#types.get(name) ?? type, type)),
    );
    return free.length === 0 ? null : this.#one(free);
  }

  #isLike(name: string, like: string): boolean {
    if (this.lookName === 'crossed') return !(name in CROSSED) && !(like in CROSSED);
    return this.look.columns === undefined || this.look.columns.includes(name) === this.look.columns.includes(like);
  }

  /** One change of the table itself; '' where the dice asked for one that it cannot have. */
  change(): string {
    const random = this.#random;
    const columns = new Map(this.columns);
    for (const [name, type] of columns) this.#types.set(name, type);
    this.columns = columns;
    const changeable = [...columns.keys()].filter((one) => !this.#settled.has(one));
    if (changeable.length === 0) return '';
    const name = this.#one(changeable);
    const type = columns.get(name) ?? '';
    const kind = random.below(7);
    if (kind === 0) {
      const free = this.#free(null);
      return free === null ? '' : this.#add(columns, free);
    }
    if (kind === 1 && columns.size > 2) {
      columns.delete(name);
      return this.#alter(`drop ${name}`) + (random.chance(0.5) ? this.#add(columns, name) : '');
    }
    if (kind === 2) {
      const to = this.#free(name, type);
      if (to === null || !this.#isLike(name, to)) return '';
      columns.delete(name);
      columns.set(to, type);
      return this.#alter(`rename ${name} to ${to}`);
    }
    if (kind === 3) {
      const other = this.#one(changeable);
      if (other === name || !this.#isLike(name, other) || columns.get(other) !== type) return '';
      return this.#alter(`rename ${name} to x`) + this.#alter(`rename ${other} to ${name}`) + this.#alter(`rename x to ${other}`);
    }
    if (kind === 4) {
      return `update ${this.name} set ${name} = ${VALUES[type]?.(random.below(90)) ?? ''} where ${name} is null; alter table ${this.name} alter ${name} set not null; alter table ${this.name} alter ${name} drop not null;`;
    }
    const retypes = RETYPES.filter(([from]) => from === type);
    if (retypes.length === 0) return '';
    const retype = this.#one(retypes);
    if (!isCastable(type, retype[1])) this.#settled.add(name);
    columns.set(name, retype[1]);
    return this.#alter(
      `alter ${name} drop default, alter ${name} type ${retype[1]} using (${retype[2].replaceAll('C', name)})::${retype[1]}`,
    );
  }

  /** Another column is its key; '' where it has none. */
  changeKey(): string {
    if (!this.hasOther) return '';
    const to = this.key[0]?.[0] === 'id' ? 'alt' : 'id';
    this.key = [[to, 'int']];
    return this.#alter(`drop constraint ${this.name}_pk, add constraint ${this.name}_pk primary key (${to})`);
  }

  /** Dropped, and made anew with some of its rows. */
  remade(): string {
    this.isLossy = this.isTruncated = true;
    const { name } = this;
    return this.isPartitioned
      ? ''
      : `create table kept as select * from ${name}; drop table ${name}; create table ${name} (like kept);
        alter table ${name} add constraint ${name}_pk primary key (${this.#keyNames.join(', ')}), alter seq set not null${this.hasOther ? ', add unique (id), add unique (alt)' : ''}${this.#ids.map(([column]) => `, alter ${column} set not null`).join('')};
        ${this.#storage} insert into ${name} select * from kept where n % 3 > 0; drop table kept;`;
  }

  #add(columns: Map<string, string>, name: string): string {
    const former = this.#types.get(name);
    const type = this.#one(Object.keys(VALUES).filter((one) => former === undefined || isCastable(former, one)));
    columns.set(name, type);
    const value = VALUES[type]?.(this.#random.below(90)) ?? '';
    const filled = this.#one(['', `default ${value}`, `not null default ${value}`]);
    const noted = type === 'int' && this.#random.chance(0.3) ? 'default (random() * 100)::int' : filled;
    return this.#alter(`add ${name} ${type} ${noted}`) + (noted.startsWith('not') ? this.#alter(`alter ${name} drop not null`) : '');
  }
}
