/** Sequences of changes from a seed: tables under every layout and policy, several changes each, with rows of every shape between them. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { eventually } from '../support/eventually.ts';
import { Random } from '../support/random.ts';
import { BothEnds, evolutionRules, Following, isCastable, type Seen } from './changed-tables.ts';
import { post } from './services.ts';

const SEED = Number(process.env['SEQUENCE_SEED'] ?? 5);
const EACH = Number(process.env['SEQUENCE_TABLES'] ?? 1);
/** Whether the source changes on while the lane is behind. */
const IS_AHEAD = process.env['SEQUENCE_AHEAD'] !== undefined;
const CHANGES = 5;

const NAMES = ['a', 'b', 'c', 'd', 'e', 'f'];
const CROSSED: Readonly<Record<string, string>> = { key: 'no', a: 'b', b: 'a', c: 'third', d: 'e', e: 'd_old' };
const WRITTEN = ['key', 'a', 'b', 'd'];

const LOOKS: Readonly<Record<string, Seen & { readonly options: Readonly<Record<string, unknown>> | null }>> = {
  plain: { options: null },
  subset: { options: { columns: WRITTEN }, place: (column) => (WRITTEN.includes(column) ? column : null) },
  crossed: { options: { rename: CROSSED }, place: (column) => CROSSED[column] ?? column },
  stamped: { options: { write: { position: 'at_lsn', verdict: 'said' } } },
  soft: { options: { softDelete: { flag: 'gone' } }, where: 'gone is not true' },
  history: { options: { history: { from: 'since', to: 'until' } }, where: 'until is null' },
};
const POLICIES = ['accept', 'hold', 'quarantine'] as const;
const tables = Object.keys(LOOKS).flatMap((look) =>
  POLICIES.flatMap((policy) => Array.from({ length: EACH }, (_, n) => ({ look, policy, table: `${look}_${policy}_${n}` }))),
);

/** A value for the number n, by type. */
const VALUES: Readonly<Record<string, (n: number) => string>> = {
  int: (n) => `${n}`,
  bigint: (n) => `${n}00000000000`,
  text: (n) => `'text ${n}'`,
  'varchar(12)': (n) => `'v${n}'`,
  'numeric(14,4)': (n) => `${n}.25`,
  date: (n) => `date '2026-01-01' + ${n}`,
  uuid: (n) => `md5('${n}')::uuid`,
  boolean: (n) => `${n % 2 === 0}`,
};
/** What the values of a column become: by the type before, and the one after. */
const RETYPES: readonly (readonly [string, string, string])[] = [
  ['int', 'bigint', 'C'],
  ['int', 'bigint', 'C * 3'],
  ['int', 'text', `'n' || C`],
  ['int', 'date', `date '2026-01-01' + C`],
  ['bigint', 'numeric(14,4)', 'C % 1000'],
  ['text', 'varchar(12)', 'left(C, 12)'],
  ['text', 'int', 'length(C)'],
  ['text', 'uuid', 'md5(C)::uuid'],
  ['varchar(12)', 'text', 'C'],
  ['varchar(12)', 'boolean', 'length(C) > 3'],
  ['numeric(14,4)', 'int', 'C % 1000'],
  ['numeric(14,4)', 'text', 'C'],
  ['date', 'text', 'C'],
  ['date', 'int', `C - date '2026-01-01'`],
  ['uuid', 'text', 'C'],
  ['boolean', 'int', 'C::int'],
];

class Table {
  readonly name: string;
  readonly isSubset: boolean;
  readonly columns = new Map([
    ['a', 'int'],
    ['b', 'text'],
    ['c', 'numeric(14,4)'],
    ['d', 'varchar(12)'],
  ]);
  /** By every name that was one: the type of the column that had it last. */
  readonly #types = new Map<string, string>();
  readonly #settled = new Set<string>();
  readonly #random: Random;

  constructor(name: string, random: Random) {
    this.name = name;
    this.isSubset = name.startsWith('subset');
    this.#random = random;
  }

  made(): string {
    const columns = [...this.columns].map(([name, type]) => `${name} ${type}`).join(', ');
    return `create table ${this.name} (key int primary key, ${columns}); insert into ${this.name} select n, n, 'text ' || n, n, 'v' || n from generate_series(0, 20) n`;
  }

  #one<T>(all: readonly T[]): T {
    return all[this.#random.below(all.length)] as T;
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
    return !this.isSubset || WRITTEN.includes(name) === WRITTEN.includes(like);
  }

  change(): string {
    const random = this.#random;
    for (const [name, type] of this.columns) this.#types.set(name, type);
    const changeable = [...this.columns.keys()].filter((one) => !this.#settled.has(one));
    if (changeable.length === 0) return '';
    const name = this.#one(changeable);
    const type = this.columns.get(name) ?? '';
    const kind = random.below(6);
    if (kind === 0) {
      const free = this.#free(null);
      if (free === null) return '';
      return this.#add(free);
    }
    if (kind === 1 && this.columns.size > 2) {
      this.columns.delete(name);
      return this.#alter(`drop ${name}`) + (random.chance(0.5) ? this.#add(name) : '');
    }
    if (kind === 2) {
      const to = this.#free(name, type);
      if (to === null) return '';
      this.columns.delete(name);
      this.columns.set(to, type);
      return this.#alter(`rename ${name} to ${to}`);
    }
    if (kind === 3) {
      const other = this.#one(changeable);
      if (other === name || !this.#isLike(name, other) || this.columns.get(other) !== type) return '';
      const theirs = this.columns.get(other) ?? '';
      this.columns.set(name, theirs).set(other, type);
      return this.#alter(`rename ${name} to x`) + this.#alter(`rename ${other} to ${name}`) + this.#alter(`rename x to ${other}`);
    }
    const retype = this.#one(RETYPES.filter(([from]) => from === type));
    if (!isCastable(type, retype[1])) this.#settled.add(name);
    this.columns.set(name, retype[1]);
    return this.#alter(
      `alter ${name} drop default, alter ${name} type ${retype[1]} using (${retype[2].replaceAll('C', name)})::${retype[1]}`,
    );
  }

  #add(name: string): string {
    const former = this.#types.get(name);
    const type = this.#one(Object.keys(VALUES).filter((one) => former === undefined || isCastable(former, one)));
    this.columns.set(name, type);
    const value = VALUES[type]?.(this.#random.below(90)) ?? '';
    const filled = this.#one(['', `default ${value}`, `not null default ${value}`]);
    const noted = type === 'int' && this.#random.chance(0.3) ? 'default (random() * 100)::int' : filled;
    return this.#alter(`add ${name} ${type} ${noted}`) + (noted.startsWith('not') ? this.#alter(`alter ${name} drop not null`) : '');
  }

  rows(): string {
    const random = this.#random;
    return Array.from({ length: 3 }, () => {
      const key = 1 + random.below(40);
      const name = this.#one([...this.columns.keys()]);
      const value = (column: string): string =>
        random.chance(0.1) ? 'null' : (VALUES[this.columns.get(column) ?? '']?.(random.below(90)) ?? '');
      if (random.chance(0.2)) return `delete from ${this.name} where key = ${key};`;
      if (random.chance(0.1))
        return `update ${this.name} set key = key + 1000 where key = ${key} and not exists (select from ${this.name} where key = ${key + 1000});`;
      if (random.chance(0.5)) return `update ${this.name} set ${name} = ${value(name)} where key between ${key} and ${key + 3};`;
      const names = [...this.columns.keys()].filter(() => random.chance(0.7));
      return `insert into ${this.name} (${['key', ...names].join(', ')}) values (${[key, ...names.map(value)].join(', ')}) on conflict do nothing;`;
    }).join(' ');
  }
}

let ends: BothEnds;
let it: Following;
const made = new Map<string, Table>();
const said = new Map<string, string>();

beforeAll(async () => {
  console.log(`SEQUENCE_SEED=${SEED}`);
  const random = new Random(SEED);
  ends = await BothEnds.make('cs');
  for (const { table } of tables) {
    const one = new Table(table, random);
    made.set(table, one);
    await ends.sql.script(one.made());
  }
  await ends.sql.script('create table free (id int primary key)');
  const layouts = tables.flatMap(({ look, table }) => {
    const options = LOOKS[look]?.options ?? null;
    return options === null ? [] : [{ dataset: `shop.public.${table}`, ...options }];
  });
  const targets = { lake: { kind: 'postgres', url: ends.target.url, schema: 'shop', layouts } };
  const check = 'key: [{id: positive, between: {min: 0}}]';
  const rules = tables.map(({ table, policy }) => [`${table}.rules.yaml`, evolutionRules(table, policy, { check })] as const);
  it = await Following.start(ends, ends.config({ patterns: ['public.*'] }, { targets }, Object.fromEntries(rules)));
  for (let n = 0; n < CHANGES; n++) {
    for (const [name, table] of made) {
      const first = table.rows();
      const change = Array.from({ length: 1 + random.below(2) }, () => table.change()).join(' ');
      const script = random.chance(0.5) ? `${first} ${change} ${table.rows()}` : `begin; ${first} ${change} ${table.rows()} commit;`;
      said.set(name, `${said.get(name) ?? ''}${script}\n`);
      await ends.sql.script(`${script} update ${name} set key = key where key = 0`);
    }
    // The catalog is never ahead of the log by more than a transaction.
    if (!IS_AHEAD) await it.flows();
  }
  await approveAll();
}, 90_000);

/**
 * One change of each table after the other: a value of a type that a column had in between need not fit into the one that it got later, for the source wrote
 * it anew and says so of no row.
 */
async function approveAll(): Promise<void> {
  for (let isRead = false; ;) {
    const { rows } = await ends.lake.query(
      `select distinct on (dataset) dataset, id from tidegate.schema_changes where status = 'held' order by dataset, id`,
    );
    for (const [dataset, id] of rows) {
      const { status, text } = await post(it.url, `/api/schema/changes/main-${id}/approve`, {});
      if (status !== 200) console.log(dataset, text, said.get(dataset?.slice('shop.public.'.length) ?? ''));
      expect(status).toBe(200);
    }
    await eventually(
      async () => (await ends.lake.query(`select from tidegate.quarantine where status = 'released' limit 1`)).rows.length === 0,
      'what was released is written',
    );
    if (isRead && rows.length === 0) return;
    // The last change may be met still.
    if (rows.length === 0) {
      await it.flows();
      isRead = true;
    } else isRead = false;
  }
}

afterAll(async () => {
  await it?.[Symbol.asyncDispose]();
  await ends?.[Symbol.asyncDispose]();
});

test.each(tables)('$look: $table', async ({ look, table }) => {
  const seen = LOOKS[look] as Seen;
  try {
    await it.followed(table, seen);
    await ends.sql.script(made.get(table)?.rows() ?? '');
    await ends.equal(table, seen);
  } catch (error) {
    console.log(said.get(table));
    throw error;
  }
});

test('all tables are verified', async () => {
  expect(await it.unequal()).toEqual([]);
});
