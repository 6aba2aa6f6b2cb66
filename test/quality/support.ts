/** Builders: a table of every kind of column, rule files in one line, and what the stage says of events. */
import { Batch, type Finding, type Origin, Verdict } from '../../core/batch.ts';
import {
  type ChangeEvent,
  type Column,
  type ColumnType,
  type Dataset,
  type DatasetName,
  type LaneId,
  type Position,
  type Row,
  type Value,
  ValueRow,
  type Version,
} from '../../core/event.ts';
import type { Problem } from '../../core/problems.ts';
import { compileContract } from '../../quality/compile.ts';
import { type Contract, parseContract } from '../../quality/contract.ts';
import { qualityStage } from '../../quality/stage.ts';

export const FILE = 'datasets/orders.yaml';
export const HEAD = 'apiVersion: quality/v1\nkind: DatasetRules\ndataset: shop.public.orders\n';

const COLUMNS = {
  id: ['integer', 'bigint'],
  total: ['decimal', 'numeric(12,2)'],
  net: ['decimal', 'numeric(12,2)'],
  tax: ['decimal', 'numeric(12,2)'],
  items: ['integer', 'integer'],
  amount: ['decimal', 'numeric'],
  status: ['text', 'text'],
  email: ['text', 'text'],
  created_at: ['timestamp', 'timestamp with time zone'],
  shipped_at: ['timestamp', 'timestamp with time zone'],
  day: ['date', 'date'],
  opens: ['time', 'time without time zone'],
  risk: ['float', 'double precision'],
  paid: ['boolean', 'boolean'],
  body: ['json', 'jsonb'],
  hash: ['bytes', 'bytea'],
  place: ['other', 'point'],
  code: ['text', 'character(6)'],
  label: ['text', 'character varying(8)'],
  ref: ['text', 'uuid'],
  nick: ['text', 'citext'],
  closes: ['time', 'time without time zone'],
  zoned: ['time', 'time with time zone'],
  small: ['integer', 'smallint'],
} as const satisfies Record<string, readonly [ColumnType, string]>;

export const columns = Object.entries(COLUMNS).map(([name, [type, native]]): Column => ({ name, type, native, nullable: name !== 'id' }));
export const orders: Dataset = { name: 'shop.public.orders' as DatasetName, version: 1, columns, key: [0] };

export type Cells = Partial<Record<keyof typeof COLUMNS, Value>>;
export const row = (cells: Cells): Row => new ValueRow(...columns.map(({ name }) => (cells as Record<string, Value>)[name] ?? null));

const base = { dataset: orders, key: '1', movedFrom: null, version: '0a' as Version, ordinal: 3, committedAtMs: 0 };
export const insert = (cells: Cells, dataset: Dataset = orders): ChangeEvent => ({
  op: 'insert',
  before: null,
  after: row(cells),
  ...base,
  dataset,
});
export const read = (cells: Cells): ChangeEvent => ({ op: 'read', before: null, after: row(cells), ...base });
export const update = (before: Cells | null, after: Cells): ChangeEvent => ({
  op: 'update',
  before: before === null ? null : row(before),
  after: row(after),
  ...base,
});
export const removed = (before: Cells | null): ChangeEvent => ({
  op: 'delete',
  before: before === null ? null : row(before),
  after: null,
  ...base,
});
export const truncated = (): ChangeEvent => ({ op: 'truncate', before: null, after: null, ...base, key: '' });

/** The contract of a rule file without its first three lines; throws with all problems. */
export function contractOf(body: string): Contract {
  const parsed = parseContract(HEAD + body, FILE);
  if ('problems' in parsed) throw new Error(lines(parsed.problems).join('\n'));
  return parsed.contract;
}

/** The problems of the file, then those of its rules over the table `orders`. */
export function problemsOf(body: string, dataset: Dataset = orders): readonly Problem[] {
  const parsed = parseContract(HEAD + body, FILE);
  if ('problems' in parsed) return parsed.problems;
  const compiled = compileContract(parsed.contract, dataset);
  return [...parsed.contract.warnings, ...(Array.isArray(compiled) ? compiled : compiled.warnings)];
}

export const lines = (problems: readonly Problem[]) =>
  problems.map(({ severity, path, message, fix }) => `${severity === 'warning' ? '(warning) ' : ''}${path}: ${message} -> ${fix}`);

/** Every message of a file, without its severity and place. */
export const messages = (body: string) => problemsOf(body).map(({ message }) => message);

export const batchOf = (events: readonly ChangeEvent[], origin: Origin = 'stream') =>
  new Batch(events, { lane: 'lane' as LaneId, position: '0a' as Position }, origin, origin === 'replay' ? events.map(() => []) : null);

/** The batch after the stage judged it. */
export async function judged(contract: Contract, events: readonly ChangeEvent[], origin: Origin = 'stream'): Promise<Batch> {
  const batch = batchOf(events, origin);
  await qualityStage(new Map([[contract.dataset, contract]])).run(batch, new AbortController().signal);
  return batch;
}

/**
 * One rule as a function: true where the event passes, false where it fails, 'unreadable' where the rule cannot read it. `check` is the
 * short form at `column`, or the long form where column is null, in JSON (which is YAML).
 */
export function rule(column: keyof typeof COLUMNS | null, check: unknown): (event: ChangeEvent) => boolean | 'unreadable' {
  const name = JSON.stringify([column, check]);
  const known = rules.get(name);
  if (known !== undefined) return known;
  const made = makeRule(column, check);
  rules.set(name, made);
  return made;
}

/** Properties ask for the same rule many times. */
const rules = new Map<string, ReturnType<typeof rule>>();

function makeRule(column: keyof typeof COLUMNS | null, check: unknown): ReturnType<typeof rule> {
  const body = column === null ? { checks: [check] } : { columns: { [column]: [check] } };
  const contract = contractOf(
    JSON.stringify(body)
      .slice(1, -1)
      .replace(/^"(\w+)":/, '$1: '),
  );
  const compiled = compileContract(contract, orders);
  if (Array.isArray(compiled)) throw new Error(lines(compiled).join('\n'));
  return (event) => {
    const [only] = compiled.byOperation[event.op];
    if (only === undefined) return true;
    try {
      const outcome = only.test(event);
      return outcome === 2 ? 'unreadable' : outcome === 0;
    } catch {
      return 'unreadable';
    }
  };
}

export const verdictName = (verdict: number) => Object.entries(Verdict).find(([, value]) => value === verdict)?.[0];
export const said = ({ rule, column, verdict, severity, message }: Finding) =>
  `${rule} ${column ?? '-'} ${verdictName(verdict)} ${severity}: ${message}`;
