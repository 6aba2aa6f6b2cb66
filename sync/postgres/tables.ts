/** The target's tables: made and widened from datasets, checked otherwise, and looked up once per dataset and connection. */
import type { ScoreColumns } from '../../core/batch.ts';
import { PipelineError } from '../../core/errors.ts';
import type { Column, Dataset, DatasetName } from '../../core/event.ts';
import { type PgConnection, PgError } from '../../wire/postgres/connection.ts';
import { arrayLiteral, quoteIdent, quoteQualified } from '../../wire/postgres/ident.ts';
import type { PgColumnType, PgRelation } from '../../wire/postgres/row.ts';
import { OBJECT_TYPES } from '../../wire/postgres/types.ts';
import { type ComparingColumn, type KeyMatch, keyMatchOf } from './key-match.ts';
import { aliveSql, type Layout, layoutFaults, type Layouts, placedLayout, STAMP_TYPES } from './layout.ts';
import { creationSql } from './new-tables.ts';
import type { Schemas } from './schemas.ts';
import { isOwn, type LackingType, type Passage, TargetTypes } from './target-types.ts';

export interface TableOptions {
  readonly layouts: Layouts;
  readonly create: boolean;
  readonly widen: boolean;
  readonly scores: ReadonlyMap<DatasetName, readonly ScoreColumns[]>;
  readonly schemas: Schemas;
}

export interface TargetColumn {
  readonly name: string;
  /** The column's type as SQL, with its modifier ("character varying(8)"). */
  readonly type: string;
  /** The same without: a cast to a type with its length would cut what an assignment refuses. */
  readonly base: string;
  readonly oid: number;
  /** Where its values as keys are not told apart as at the source. */
  readonly keyMatch: KeyMatch | null;
}

/** One dataset as this target has it. */
export interface Table {
  readonly dataset: Dataset;
  /** `"schema"."table"`. */
  readonly qualified: string;
  readonly layout: Layout;
  /** By the dataset's columns; null where one is not written: it is left out, or generated at the target. */
  readonly columns: readonly (TargetColumn | null)[];
  /** The target's names of the key's columns, quoted. */
  readonly key: readonly string[];
  /** The target's type of each column beside those of the dataset. */
  readonly besideOids: ReadonlyMap<string, number>;
  /** New rows may go into it by a COPY of its own: it is a plain table, without rules and without policies that hold for us. */
  readonly takesCopy: boolean;
  /** Two keys of encoded rows are the same if and only if their bytes are, also beside rows of another shape of the dataset. */
  readonly hasPlainKey: boolean;
  /**
   * Nothing but their keys ties its rows to each other or to those of other tables, and two keys are the same if and only if their texts are: so rows of
   * different keys may be written at the same time.
   */
  readonly standsAlone: boolean;
  readonly scores: readonly ScoreColumns[];
}

/** ` and t."deleted_at" is null`, where deleted rows stay. */
export function andAlive({ layout }: Pick<Table, 'layout'>, alias: string): string {
  const alive = aliveSql(layout, alias);
  return alive === null ? '' : ` and ${alive}`;
}

export class Tables {
  readonly #sql: PgConnection;
  readonly #options: TableOptions;
  readonly #tables = new Map<Dataset, Table>();
  readonly #types: TargetTypes;

  constructor(sql: PgConnection, options: TableOptions) {
    this.#sql = sql;
    this.#types = new TargetTypes(sql);
    this.#options = options;
  }

  known(dataset: Dataset): Table | undefined {
    return this.#tables.get(dataset);
  }

  /** Forgets what it knows: somebody changed the tables. */
  forget(): void {
    this.#tables.clear();
    this.#types.forget();
  }

  /** The table changed: what is known of it, under all of the dataset's shapes, is old. */
  forgetTable(name: DatasetName): void {
    for (const dataset of this.#tables.keys()) if (dataset.name === name) this.#tables.delete(dataset);
    this.#types.forget();
  }

  /** What has to be known of a table to empty it, whatever its shape. */
  emptied(dataset: Dataset): Pick<Table, 'qualified' | 'layout'> {
    const layout = this.#options.layouts.of(dataset);
    return { qualified: quoteQualified(layout.schema, layout.table), layout };
  }

  /** Whether nothing of the table is known yet, so that it may have to be made. */
  isNew(dataset: Dataset): boolean {
    return !this.#options.schemas.isFollowed(dataset.name);
  }

  /**
   * Makes the table fit the dataset, or says with TARGET_SCHEMA what does not fit. Commits on its own; doing it again changes nothing. Throws
   * SchemaHeld where the dataset changed in a way that waits for a person.
   */
  async open(dataset: Dataset, relation: PgRelation | null): Promise<Table> {
    const known = this.#tables.get(dataset);
    if (known !== undefined) return known;
    const types = relation?.types ?? null;
    const { schemas, layouts } = this.#options;
    const wantedLayout = layouts.wanted(dataset);
    const scores = this.#options.scores.get(dataset.name) ?? [];
    if (this.isNew(dataset)) this.#checkLayout(dataset, scores);
    const qualified = quoteQualified(wantedLayout.schema, wantedLayout.table);
    const names = await schemas.place(dataset, relation, qualified, this.typesHere);
    const layout = placedLayout(wantedLayout, names);
    const written = types?.filter((_, i) => names[i] !== null) ?? [];
    await this.#types.lookUp(written);
    const typeOf = (i: number): string => {
      const column = dataset.columns[i];
      return column === undefined ? 'text' : this.#types.columnType(column, types?.[i]?.type);
    };
    const beside = besideColumns(layout, scores);
    const wanted = (): { name: string; type: string }[] => [
      ...names.flatMap((name, i) => (name === null ? [] : [{ name, type: typeOf(i) }])),
      ...beside,
    ];
    const key = dataset.key.map((i) => names[i] ?? '');
    const lacking = await this.#lacking(dataset, types, names, qualified);
    if (lacking !== null) throw await schemas.lacks(dataset, relation, lacking, this.typesHere);
    if (await this.#create(dataset, layout, qualified, wanted, key)) await this.#types.lookUp(written);
    let present = await this.#columns(qualified);
    const missing = wanted().filter((column) => !present.has(column.name));
    if (missing.length > 0) {
      if (!this.#options.widen) {
        throw new PipelineError(
          'TARGET_SCHEMA',
          `${qualified} at the target lacks the column ${missing.map((column) => column.name).join(', ')} of ${dataset.name}`,
        );
      }
      // Of a table that was whole before, somebody has dropped it: its values are at the source alone.
      if (missing.some((column) => names.includes(column.name))) await schemas.makeAgain(dataset, 'a column of its table at the target');
      await this.#sql.script(
        `alter table ${qualified} ${missing.map((column) => `add column if not exists ${quoteIdent(column.name)} ${column.type}`).join(', ')}`,
      );
      present = await this.#columns(qualified);
    }
    await this.#checkKey(layout, dataset, qualified, key);
    for (const name of names) {
      const column = name === null ? undefined : present.get(name);
      if (name === null || column === undefined || !(column.isIdentity || (column.isGenerated && key.includes(name)))) continue;
      const fix = column.isIdentity ? `: ${takesValuesSql(qualified, name)}` : ', and it is of the key: make it an ordinary one';
      throw new PipelineError('TARGET_SCHEMA', `${qualified} at the target makes the values of ${quoteIdent(name)} itself${fix}`);
    }
    for (const [i, column] of names.entries()) {
      if (column === null || !OBJECT_TYPES.has(types?.[i]?.oid ?? 0) || !OBJECT_TYPES.has(present.get(column)?.oid ?? 0)) continue;
      throw new PipelineError(
        'TARGET_SCHEMA',
        `${qualified}.${quoteIdent(column)} names an object by its number, and the source's numbers mean others here: make it oid`,
      );
    }
    const columns = names.map((name, i) => {
      const found = name === null ? undefined : present.get(name);
      return name === null || found === undefined || found.isGenerated
        ? null
        : { name, type: found.type, base: found.base, oid: found.oid, keyMatch: keyMatchOf(types?.[i], found) };
    });
    await schemas.opened(dataset, relation);
    const hasPlainTexts = dataset.key.every((i) => isPlainKey(dataset.columns[i], types?.[i]?.oid ?? null, columns[i]));
    const table: Table = {
      dataset,
      qualified,
      layout,
      columns,
      key: key.map(quoteIdent),
      besideOids: new Map(beside.map(({ name }) => [quoteIdent(name), present.get(name)?.oid ?? 0])),
      takesCopy: await this.#takesCopy(qualified),
      hasPlainKey: hasPlainTexts && types !== null,
      standsAlone: hasPlainTexts && (await this.#standsAlone(qualified, key)),
      scores,
    };
    this.#tables.set(dataset, table);
    return table;
  }

  /** Those of columns that are not written, or that the target has no type for, are the source's own. */
  readonly typesHere = async (dataset: Dataset, relation: PgRelation | null): Promise<readonly string[]> => {
    const { names } = this.#options.layouts.wanted(dataset);
    const types = relation?.types ?? [];
    await this.#types.lookUp(types.filter((_, i) => names[i] !== null));
    return dataset.columns.map((column, i) => {
      try {
        return names[i] === null ? column.native : this.#types.columnType(column, types[i]?.type);
      } catch (error) {
        if (!(error instanceof PipelineError)) throw error;
        return column.native; // Whoever uses it is told by the server.
      }
    });
  };

  /** How cells of a source column are staged here, and what has to be translated in them. */
  passage(type: PgColumnType): Passage {
    return this.#types.passage(type);
  }

  /** By column: the type that is missing for it here; null where none is. */
  async #lacking(
    { columns }: Dataset,
    types: readonly PgColumnType[] | null,
    names: readonly (string | null)[],
    qualified: string,
  ): Promise<readonly (LackingType | null)[] | null> {
    if (types === null || !types.some(({ type }) => type !== undefined && isOwn(type))) return null;
    const present = await this.#columns(qualified);
    const lacking = columns.map((column, i) => {
      const [name, type] = [names[i] ?? null, types[i]];
      return name === null || type === undefined ? null : this.#types.lacking(column, type, !present.has(name));
    });
    return lacking.every((type) => type === null) ? null : lacking;
  }

  #checkLayout(dataset: Dataset, scores: readonly ScoreColumns[]): void {
    const options = this.#options.layouts.optionsOf(dataset.name);
    const [fault] = options === undefined ? [] : layoutFaults(dataset, options, scores);
    if (fault !== undefined) throw new PipelineError('CONFIG_INVALID', `the layout of ${dataset.name}: ${fault.path} ${fault.message}`);
  }

  async #create(
    dataset: Dataset,
    layout: Layout,
    qualified: string,
    wanted: () => readonly { name: string; type: string }[],
    key: readonly string[],
  ): Promise<boolean> {
    const { schema } = layout;
    const { rows } = await this.#sql.query('select to_regclass($1), to_regnamespace($2)', [qualified, quoteIdent(schema)]);
    const [table = null, namespace = null] = rows[0] ?? [];
    if (table !== null) return false;
    if (!this.#options.create) throw new PipelineError('TARGET_SCHEMA', `the target has no table ${qualified} for ${dataset.name}`);
    await this.#options.schemas.makeAgain(dataset, 'its table at the target');
    // Even where the schema is there, `if not exists` asks for the privilege to make one.
    if (namespace === null) await this.#make(`create schema if not exists ${quoteIdent(schema)}`);
    // Beside the key nothing is NOT NULL: what may be null is the contract's to say, and it can change.
    const where = layout.isHistory ? aliveSql(layout, '') : null;
    try {
      await this.#make(creationSql(qualified, { columns: wanted(), key, where }).join('; '));
    } catch (error) {
      // The other one's table came after ours was looked for, and before its row type was: unless that name is another type's.
      const isTypeThere = error instanceof PgError && error.code === '42710';
      if (!isTypeThere || (await this.#sql.query('select to_regclass($1)', [qualified])).rows[0]?.[0] === null) throw error;
    }
    return true;
  }

  /** Another lane may make the same at the same moment: `if not exists` does not see what is not committed yet, and finds it in the catalog when it comes to write it there. */
  async #make(script: string): Promise<void> {
    try {
      await this.#sql.script(script);
    } catch (error) {
      if (!(error instanceof PgError && error.code === '23505' && error.schema === 'pg_catalog')) throw error;
    }
  }

  async #columns(qualified: string): Promise<Map<string, PresentColumn>> {
    const { rows } = await this.#sql.query(PRESENT_SQL, [qualified]);
    return new Map(
      rows.map(([name, type, base, oid, generated, identity, baseOid, typmod, ignoresCase]) => [
        name ?? '',
        {
          type: type ?? '',
          base: base ?? '',
          oid: Number(oid),
          isGenerated: generated === 't',
          isIdentity: identity === 't',
          baseOid: Number(baseOid),
          typmod: Number(typmod),
          ignoresCase: ignoresCase === 't',
        },
      ]),
    );
  }

  async #takesCopy(qualified: string): Promise<boolean> {
    const { rows } = await this.#sql.query(
      `select relkind in ('r', 'p') and not relhasrules and not row_security_active(oid) from pg_class where oid = $1::text::regclass`,
      [qualified],
    );
    return rows[0]?.[0] === 't';
  }

  async #standsAlone(qualified: string, key: readonly string[]): Promise<boolean> {
    const { rows } = await this.#sql.query(ALONE_SQL, [qualified, arrayLiteral(key)]);
    return rows[0]?.[0] === 't';
  }

  /** ON CONFLICT wants a unique index on just the key's columns. */
  async #checkKey({ isHistory }: Layout, dataset: Dataset, qualified: string, names: readonly string[]): Promise<void> {
    const { rows } = await this.#sql.query(KEY_INDEX_SQL, [qualified, arrayLiteral(names), isHistory]);
    if (rows.length === 0) {
      throw new PipelineError(
        'TARGET_SCHEMA',
        `${qualified} at the target has no ${isHistory ? 'unique index of the open versions' : 'primary key or unique index'} on ${names.join(', ')}, the key of ${dataset.name}: add one`,
      );
    }
  }
}

interface PresentColumn extends ComparingColumn {
  readonly oid: number;
  readonly isGenerated: boolean;
  /** `generated always`: it takes no values of others. */
  readonly isIdentity: boolean;
}

const PRESENT_SQL = `
  select a.attname, format_type(a.atttypid, a.atttypmod), format_type(a.atttypid, -1), a.atttypid, a.attgenerated <> '', a.attidentity = 'a',
    b.oid, case when b.oid = t.oid then a.atttypmod else t.typtypmod end, b.typname = 'citext' or coalesce(not l.collisdeterministic, false) or exists (
      select from pg_index i cross join unnest(i.indkey::int2[], i.indcollation::oid[]) k(attnum, under) join pg_collation c on c.oid = k.under
      where i.indrelid = a.attrelid and i.indisunique and k.attnum = a.attnum and not c.collisdeterministic)
  from pg_attribute a join pg_type t on t.oid = a.atttypid join pg_type b on b.oid = case when t.typtype = 'd' then t.typbasetype else t.oid end
  left join pg_collation l on l.oid = a.attcollation
  where a.attrelid = to_regclass($1) and a.attnum > 0 and not a.attisdropped`;

/** Has an identity column take the values that it is given. */
export const takesValuesSql = (qualified: string, column: string): string =>
  `alter table ${qualified} alter column ${quoteIdent(column)} set generated by default`;

/** The unique indices on just these columns, by which rows can be found to be replaced; of a table with versions those of some of its rows: the open ones. */
export const KEY_INDEX_SQL = `
  select 1 from pg_index i where i.indrelid = $1::text::regclass and i.indisunique and i.indisvalid and i.indimmediate and (i.indpred is not null) = $3::bool and i.indexprs is null and
   (select array_agg(a.attname::text order by a.attname) from unnest((i.indkey::int2[])[0:i.indnkeyatts - 1]) k join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k)
   = (select array_agg(n order by n) from unnest($2::text[]) n)`;

/** A second unique index, a constraint or a trigger may look at rows that are not in yet; what a replica does not fire, it need not fear. */
const ALONE_SQL = `
  select relkind = 'r' and not relhasrules and not row_security_active(c.oid) and not relhassubclass and not relispartition and
    (select count(*) from pg_index i where i.indrelid = c.oid and (i.indisunique or i.indisexclusion)) = 1 and
    not exists (select from pg_trigger g where g.tgrelid = c.oid and g.tgenabled = any (
      case current_setting('session_replication_role') when 'replica' then '{R,A}'::"char"[] else '{O,A}'::"char"[] end)) and
    not exists (select from pg_attribute a join pg_collation l on l.oid = a.attcollation
      where a.attrelid = c.oid and a.attname = any ($2::text[]) and not l.collisdeterministic)
  from pg_class c where c.oid = $1::text::regclass`;

/** bytea, int8, int2, int4, text, varchar, date, timestamp, timestamptz, uuid: each value has one text. */
const PLAIN_KEYS: ReadonlySet<number> = new Set([17, 20, 21, 23, 25, 1043, 1082, 1114, 1184, 2950]);

/** `source` is the type's number at a PostgreSQL; elsewhere only what the column is for rules is known. */
function isPlainKey(column: Column | undefined, source: number | null, target: TargetColumn | null | undefined): boolean {
  if (target === null || target === undefined || !PLAIN_KEYS.has(target.oid)) return false;
  if (target.type !== target.base) return false; // A shorter one may round or cut two to one.
  if (source !== null) return source === target.oid;
  return column?.type === 'integer' ? [20, 21, 23].includes(target.oid) : column?.type === 'text' && target.oid === 25;
}

export const SCORE_TYPES = {
  score: { type: 'double precision', oid: 701 },
  model: { type: 'text', oid: 25 },
  at: { type: 'timestamp with time zone', oid: 1184 },
} as const;

/** What is written beside the dataset's own columns. */
export const besideColumns = (layout: Layout, scores: readonly ScoreColumns[]): { name: string; type: string }[] => [
  ...scores.flatMap(scoreColumns),
  ...layout.stamps.map(({ stamp, name }) => ({ name, type: STAMP_TYPES[stamp].type })),
];

/** The columns that keep scores, with their types. */
export function scoreColumns(scores: ScoreColumns): { name: string; type: string }[] {
  return (['score', 'model', 'at'] as const).flatMap((part) => {
    const name = scores[part];
    return name === null ? [] : [{ name, type: SCORE_TYPES[part].type }];
  });
}
