/** The stage: consequences, severity, messages, counters, drift, and what it does with released events. */
import fc from '../support/fast-check.ts';
import { describe, expect, test } from 'vitest';
import { Verdict } from '../../core/batch.ts';
import { PipelineError } from '../../core/errors.ts';
import { type ChangeEvent, type Column, type Dataset, type DatasetName, type Row, UNCHANGED } from '../../core/event.ts';
import { DRIFT_KINDS } from '../../quality/contract-schema.ts';
import { EXPECTATIONS } from '../../quality/expectations/registry.ts';
import { qualityStage } from '../../quality/stage.ts';
import { batchOf, type Cells, columns, contractOf, insert, judged, orders, removed, row, said, update } from './support.ts';

const signal = new AbortController().signal;
const totals = (onFail: string, more = '') => contractOf(`columns: { total: [{ between: { min: 0 }, on_fail: ${onFail}${more} }] }`);
const failure = async (work: Promise<unknown>): Promise<PipelineError> => {
  try {
    await work;
  } catch (error) {
    if (error instanceof PipelineError) return error;
    throw error;
  }
  throw new Error('nothing was thrown');
};

describe('what becomes of a row that fails', () => {
  test.each([
    ['tag', Verdict.Tag, true],
    ['warn', Verdict.Warn, true],
    ['drop', Verdict.Drop, false],
    ['quarantine', Verdict.Quarantine, false],
  ] as const)('%s', async (onFail, verdict, passes) => {
    const batch = await judged(totals(onFail), [insert({ total: '1' }), insert({ total: '-1' })]);
    expect([...batch.verdicts]).toEqual([Verdict.Pass, verdict]);
    expect([batch.passes(0), batch.passes(1)]).toEqual([true, passes]);
    expect(batch.findings.map(({ index, stage, verdict: own, notify }) => ({ index, stage, own, notify }))).toEqual([
      { index: 1, stage: 'quality', own: verdict, notify: false },
    ]);
  });

  test('halt throws RULE_HALT, naming the rule and the place and no value', async () => {
    const error = await failure(judged(totals('halt', ', allow_values: true'), [insert({ total: '1' }), insert({ total: '-7.77' })]));
    expect(error.code).toBe('RULE_HALT');
    expect(error.message).toBe('judging shop.public.orders: rule total.between failed for the event at 0a#3');
  });

  test('a check that does not say is quarantined and critical; defaults say otherwise; severity never changes the verdict', async () => {
    const bare = await judged(contractOf('columns: { total: [{ between: { min: 0 } }] }'), [insert({ total: '-1' })]);
    expect(bare.findings.map(said)).toEqual(['total.between total Quarantine critical: total is less than 0']);
    const loud = contractOf(
      'defaults: { on_fail: tag, severity: info }\ncolumns: { total: [{ between: { min: 0 }, severity: warning }, not_null] }',
    );
    const batch = await judged(loud, [insert({ total: '-1' }), insert({})]);
    expect(batch.findings.map(said)).toEqual([
      'total.between total Tag warning: total is less than 0',
      'total.not_null total Tag info: total is null',
    ]);
  });

  test('the worst finding of an event wins, and every finding is kept', async () => {
    const contract = contractOf(
      'columns: { total: [{ between: { min: 0 }, on_fail: drop }, { id: much, between: { max: -5 }, on_fail: quarantine }, { id: odd, in_set: [1], on_fail: tag }] }',
    );
    const batch = await judged(contract, [insert({ total: '-1' })]);
    expect(batch.findings.map(({ rule }) => rule)).toEqual(['total.between', 'much', 'odd']);
    expect(batch.verdicts[0]).toBe(Verdict.Quarantine);
  });

  test('in shadow mode everything is counted and nothing acts, halt and drift included', async () => {
    const contract = contractOf(
      'mode: shadow\nschema: { columns: { id: bigint, gone: text }, evolution: { drop: halt } }\ncolumns: { total: [{ between: { min: 0 }, on_fail: halt }] }',
    );
    const batch = await judged(contract, [insert({ total: '-1' })]);
    expect(new Set(batch.findings.map(({ verdict }) => verdict))).toEqual(new Set([Verdict.Tag]));
    expect(batch.findings.map(({ rule }) => rule)).toEqual(expect.arrayContaining(['schema.drop', 'total.between']));
  });
});

describe('values stay out of messages', () => {
  const secret = 'zq7zq7zq7';
  const contract = (more: string) =>
    contractOf(`
columns:
  status: [{ in_set: [a]${more} }, { match_regex: '^b$'${more} }, { length: 1${more} }, { format: uuid${more} }, { type: integer${more} }, { immutable: true${more} }]
  email: [{ match_like: 'x'${more} }, { not_in_set: [${secret}]${more} }, { transitions: { a: [] }${more} }]
checks:
  - { pair_equal: { column_A: status, column_B: email }${more} }
  - { expr: 'after.status == "a"'${more} }
  - { json_schema: { properties: { status: { const: a } } }${more} }
  - { id: broken, expr: 'int(after.status) > 1'${more} }`);
  const event = update({ status: 'a', email: 'b' }, { status: secret, email: `${secret}2` });

  test('no finding has one unless the contract allows it', async () => {
    const batch = await judged(contract(''), [event]);
    expect(batch.findings.length).toBe(12);
    expect(JSON.stringify(batch.findings)).not.toContain(secret);
  });

  test('where it does, the columns that the check reads are shown, cut short', async () => {
    const batch = await judged(contract(', allow_values: true'), [event]);
    expect(batch.findings.map(({ message }) => message).filter((message) => !message.includes(secret))).toEqual([
      'the row does not fit its JSON Schema',
    ]);
    const long = contractOf('columns: { status: [{ length: { max: 1 }, allow_values: true }], hash: [{ length: 1, allow_values: true }] }');
    const { findings } = await judged(long, [insert({ status: 'y'.repeat(1000), hash: Uint8Array.of(1, 2) })]);
    expect(findings.map(({ message }) => message)).toEqual([
      `status is longer than 1 (status = "${'y'.repeat(99)}…)`,
      'hash is not 1 long (hash = (2 bytes))',
    ]);
  });

  test('a message of the contract’s own replaces the check’s words', async () => {
    const batch = await judged(contractOf('columns: { total: [{ between: { min: 0 }, message: nobody pays us to buy }] }'), [
      insert({ total: '-1' }),
    ]);
    expect(batch.findings.map(({ message }) => message)).toEqual(['nobody pays us to buy']);
  });
});

/** Of every check an example in one line, and a row (or an update) that fails it. The texts in it are found nowhere else. */
const SECRET = 'qz7';
const FAILING: Readonly<Record<string, readonly [check: string, ...cells: readonly [Cells] | readonly [Cells, Cells | 'deleted']]>> = {
  not_null: ['column: status, not_null: true', {}],
  null: ["column: email, 'null': true", { email: SECRET }],
  in_set: ['column: status, in_set: [a]', { status: SECRET }],
  not_in_set: ['column: total, not_in_set: [7.75]', { total: '7.7500' }],
  between: ['column: total, between: { min: 0 }', { total: '-7719.55' }],
  length: ['column: status, length: 1', { status: SECRET }],
  match_regex: ["column: status, match_regex: '^a'", { status: SECRET }],
  not_match_regex: ["column: status, not_match_regex: '^q'", { status: SECRET }],
  match_regex_list: ["column: status, match_regex_list: ['^a', b]", { status: SECRET }],
  not_match_regex_list: ["column: status, not_match_regex_list: [a, '^q']", { status: SECRET }],
  match_like: ["column: status, match_like: 'a%'", { status: SECRET }],
  not_match_like: ["column: status, not_match_like: 'q%'", { status: SECRET }],
  match_like_list: ["column: status, match_like_list: ['a%', b]", { status: SECRET }],
  not_match_like_list: ["column: status, not_match_like_list: [a, 'q%']", { status: SECRET }],
  format: ['column: status, format: uuid', { status: SECRET }],
  match_strftime: ["column: status, match_strftime: '%Y'", { status: SECRET }],
  dateutil_parseable: ['column: status, dateutil_parseable: true', { status: SECRET }],
  json_parseable: ['column: status, json_parseable: true', { status: SECRET }],
  type: ['column: status, type: integer', { status: SECRET }],
  of_type: ['column: status, of_type: str', { status: 7719 }],
  json_schema: ['column: body, json_schema: { type: object }', { body: `"${SECRET}"` }],
  pair_equal: ['pair_equal: { column_A: status, column_B: email }', { status: SECRET, email: `${SECRET}2` }],
  pair_greater: ['pair_greater: { column_A: total, column_B: net }', { total: '7719.54', net: '7719.55' }],
  pair_in_set: ['pair_in_set: { column_A: status, column_B: email, pairs: [[a, b]] }', { status: SECRET, email: `${SECRET}2` }],
  unique_within_record: ['unique_within_record: [status, email]', { status: SECRET, email: SECRET }],
  sum_equals: ['sum_equals: { column_list: [net], sum_column: total }', { total: '7719.54', net: '7719.55' }],
  expr: ['expr: \'after.status == "a"\'', { status: SECRET }],
  immutable: ['column: status, immutable: true', { status: SECRET }, { status: `${SECRET}2` }],
  transitions: ['column: status, transitions: { a: [] }', { status: SECRET }, { status: `${SECRET}2` }],
  change_between: ['column: total, change_between: { max: 1 }', { total: '7717.54' }, { total: '7719.55' }],
  no_delete: ['no_delete: true', { status: SECRET }, 'deleted'],
};

test('there is a failing example of every check', () => {
  // What asks the target passes here: test/quality/keyed-page.real.test.ts has those. Those of the table are in live/catalogue.test.ts.
  const own = [...EXPECTATIONS.values()]
    .filter(({ asksTarget, judgesTable }) => asksTarget === null && !judgesTable)
    .map(({ name }) => name);
  expect(Object.keys(FAILING).sort()).toEqual(own.sort());
});

describe.each(Object.entries(FAILING))('%s', (name, [check, before, after]) => {
  const event = (more: Cells) => {
    if (after === undefined) return insert({ ...before, ...more });
    return after === 'deleted' ? removed({ ...before, ...more }) : update(before, { ...after, ...more });
  };
  const judgedWith = async (modifiers: string, cells: Cells = {}) =>
    judged(contractOf(`checks: [{ id: it, ${check}, severity: warning, ${modifiers} }]`), [event(cells)]);

  test.each(['tag', 'warn', 'drop', 'quarantine'] as const)(
    '%s is what becomes of its row, with a finding that holds no value',
    async (onFail) => {
      const batch = await judgedWith(`on_fail: ${onFail}`);
      const verdict = { tag: Verdict.Tag, warn: Verdict.Warn, drop: Verdict.Drop, quarantine: Verdict.Quarantine }[onFail];
      expect([...batch.verdicts]).toEqual([verdict]);
      const column = /^column: (\w+)/.exec(check)?.[1] ?? null;
      expect(batch.findings).toMatchObject([{ index: 0, stage: 'quality', rule: 'it', column, verdict, severity: 'warning' }]);
      const { message = '' } = batch.findings[0] ?? {};
      expect(message.length).toBeGreaterThan(5);
      for (const value of [SECRET, '7719', '7.7500']) expect(message).not.toContain(value);
    },
  );

  test('halts the lane where it says so', async () => {
    const error = await failure(judgedWith('on_fail: halt'));
    expect([error.code, error.message]).toEqual(['RULE_HALT', `judging shop.public.orders: rule it failed for the event at 0a#3`]);
  });

  test('is asked only of rows that its condition holds for', async () => {
    const where = `where: '${after === 'deleted' ? 'before' : 'after'}.items > 3'`;
    const rows: Cells[] = [{ items: 4 }, { items: 3 }, {}, { items: UNCHANGED }];
    const verdicts = await Promise.all(rows.map((cells) => judgedWith(where, cells)));
    expect(verdicts.map((batch) => batch.findings.length)).toEqual([1, 0, 0, 0]);
  });

  test('shows values only where it is told to', async () => {
    const { message = '' } = (await judgedWith('allow_values: true')).findings[0] ?? {};
    // A row that has no value, and a guard that looks at none, have none to show.
    if (name !== 'not_null' && name !== 'no_delete') expect(message).toMatch(/qz7|7719|7\.7500/);
  });
});

describe('a row that a rule cannot read', () => {
  const undecodable: Row = {
    encoded: null,
    value: (column) => {
      if (columns[column]?.name === 'status') throw new RangeError('secret bytes');
      return null;
    },
  };
  test('is a finding by the rule’s own consequence, and the other rows and rules go on', async () => {
    const contract = contractOf(
      'columns: { status: [{ in_set: [a] }, { id: soft, length: 1, on_fail: tag, allow_values: true }], total: [not_null] }',
    );
    const batch = await judged(contract, [{ ...insert({}), after: undecodable } as ChangeEvent, insert({ status: 'a', total: '1' })]);
    expect(batch.findings.map(said)).toEqual([
      'status.in_set status Quarantine critical: status cannot be read',
      'soft status Tag critical: status cannot be read (status = (cannot be decoded))',
      'total.not_null total Quarantine critical: total is null',
    ]);
    expect([...batch.verdicts]).toEqual([Verdict.Quarantine, Verdict.Pass]);
  });

  test('no value that a source may send makes the stage throw', async () => {
    const value = fc.oneof(fc.constant(null), fc.constant(UNCHANGED), fc.boolean(), fc.double(), fc.bigInt(), fc.string(), fc.uint8Array());
    const contract = contractOf(`
columns:
  id: [not_null, { between: { min: 5 } }, immutable]
  total: [{ between: { min: 0 } }, { in_set: [1] }, immutable]
  created_at: [{ between: { min: '2026-01-01' } }, { in_set: ['2026-01-01'] }]
  status: [{ in_set: [a] }, { match_regex: a }, { match_like: 'a%' }, { format: iban }, { type: json }, { transitions: { a: [b], b: [] } }]
  body: [{ json_schema: { type: object } }]
  hash: [{ length: 3 }]
checks:
  - { sum_equals: { column_list: [net, tax], sum_column: total } }
  - { pair_greater: { column_A: shipped_at, column_B: created_at } }
  - { expr: 'after.total > after.net * 2 || changed(status)' }
  - { json_schema: { type: object, required: [id] } }`);
    const cells = fc.array(value, { minLength: columns.length, maxLength: columns.length });
    const asCells = (values: readonly unknown[]) => Object.fromEntries(columns.map(({ name }, i) => [name, values[i]]));
    await fc.assert(
      fc.asyncProperty(cells, cells, async (before, after) => {
        const batch = await judged(contract, [insert(asCells(after)), update(asCells(before), asCells(after)), removed(asCells(before))]);
        expect(batch.findings.every(({ index }) => index < 3)).toBe(true);
      }),
      { numRuns: 150 },
    );
  });

  test('rules that no longer fit a table that changed fail its rows as unreadable, and say why', async () => {
    const contract = contractOf('columns: { status: [{ in_set: [a] }], id: [not_null] }');
    const changed: Dataset = { ...orders, version: 2, columns: columns.map((c) => (c.name === 'status' ? { ...c, name: 'state' } : c)) };
    const batch = await judged(contract, [insert({ id: 1, status: 'a' }), insert({ id: 1, status: 'a' }, changed)]);
    expect(batch.findings.map(said)).toEqual([
      'status.in_set status Quarantine critical: cannot be read: shop.public.orders has no column "status"',
    ]);
    expect([...batch.verdicts]).toEqual([Verdict.Pass, Verdict.Quarantine]);
  });
});

describe('the schema section', () => {
  const without = (name: string): Dataset => ({ ...orders, columns: columns.filter((column) => column.name !== name) });
  const expected = JSON.stringify(Object.fromEntries(columns.map(({ name, native }) => [name, native])));
  const contract = (evolution: string) => contractOf(`schema: { columns: ${expected}, evolution: ${evolution} }`);
  const two = (dataset: Dataset) => [insert({ id: 1 }, dataset), insert({ id: 2 }, dataset)];

  test('a table as expected has no findings', async () => {
    expect((await judged(contract('{}'), two(orders))).findings).toEqual([]);
  });
  test('accept passes', async () => {
    expect((await judged(contract('{ drop: accept }'), two(without('email')))).findings).toEqual([]);
  });
  test('warn marks the first event of a batch', async () => {
    const batch = await judged(contract('{ drop: warn }'), two(without('email')));
    expect(batch.findings.map((finding) => `${finding.index} ${said(finding)}`)).toEqual([
      '0 schema.drop email Warn warning: column email is gone',
    ]);
  });
  test('quarantine holds every event', async () => {
    const batch = await judged(contract('{ drop: quarantine }'), two(without('email')));
    expect([...batch.verdicts]).toEqual([Verdict.Quarantine, Verdict.Quarantine]);
  });
  test('halt stops the lane, and is the default for what is gone', async () => {
    for (const evolution of ['{ drop: halt }', '{}']) {
      const error = await failure(judged(contract(evolution), two(without('email'))));
      expect([error.code, error.message]).toEqual(['SCHEMA_DRIFT', 'judging shop.public.orders: column email is gone (schema.drop)']);
    }
  });
  // A key and an enum's values are no columns: who compares shapes judges them.
  const kinds = DRIFT_KINDS.filter((kind) => kind !== 'key' && kind !== 'enum');
  const changes: Readonly<Record<(typeof kinds)[number], (list: readonly Column[]) => readonly Column[]>> = {
    add_optional: (list) => [...list, { name: 'more', type: 'text', native: 'text', nullable: true }],
    add_required: (list) => [...list, { name: 'more', type: 'text', native: 'text', nullable: false }],
    drop: (list) => list.filter(({ name }) => name !== 'email'),
    rename: (list) => list.map((column) => (column.name === 'email' ? { ...column, name: 'mail' } : column)),
    widen: (list) => list.map((column) => (column.name === 'items' ? { ...column, native: 'bigint' } : column)),
    narrow: (list) => list.map((column) => (column.name === 'items' ? { ...column, native: 'smallint' } : column)),
    retype: (list) => list.map((column) => (column.name === 'items' ? { ...column, type: 'text', native: 'text' } : column)),
    nullable: (list) => list.map((column) => (column.name === 'id' ? { ...column, nullable: true } : column)),
  };
  const exact = JSON.stringify(
    Object.fromEntries(columns.map(({ name, native, nullable }) => [name, { type: native === 'integer' ? 'int4' : native, nullable }])),
  );
  test.each(
    kinds.flatMap((kind) => (['accept', 'ignore', 'warn', 'quarantine', 'halt', 'hold'] as const).map((policy) => [kind, policy] as const)),
  )('%s: %s', async (kind, policy) => {
    const changed: Dataset = { ...orders, version: 2, columns: changes[kind](columns) };
    const strict = contractOf(`schema: { columns: ${exact}, evolution: { ${kind}: ${policy} } }`);
    const run = judged(strict, two(changed));
    if (policy === 'halt') {
      const error = await failure(run);
      expect([error.code, error.message]).toEqual(['SCHEMA_DRIFT', expect.stringContaining(`(schema.${kind})`)]);
      return;
    }
    // What is on hold is the target's to hold: it knows which shape was approved.
    const { findings, verdicts } = await run;
    const marked = policy === 'warn' ? [0] : policy === 'quarantine' ? [0, 1] : [];
    expect(findings.map(({ index, rule }) => [index, rule])).toEqual(marked.map((index) => [index, `schema.${kind}`]));
    const verdict = policy === 'warn' ? Verdict.Warn : Verdict.Quarantine;
    expect([...verdicts]).toEqual([0, 1].map((index) => (marked.includes(index) ? verdict : Verdict.Pass)));
  });
  test('add speaks for both kinds of new columns, where they do not speak for themselves', async () => {
    const more = (kind: 'add_optional' | 'add_required'): Dataset => ({ ...orders, columns: changes[kind](columns) });
    const both = contractOf(`schema: { columns: ${exact}, evolution: { add: quarantine, add_required: accept } }`);
    expect([...(await judged(both, two(more('add_optional')))).verdicts]).toEqual([Verdict.Quarantine, Verdict.Quarantine]);
    expect([...(await judged(both, two(more('add_required')))).verdicts]).toEqual([Verdict.Pass, Verdict.Pass]);
  });
  test('only events of the changed table are concerned', async () => {
    const batch = await judged(contract('{ drop: quarantine }'), [insert({ id: 1 }), insert({ id: 2 }, without('email'))]);
    expect([...batch.verdicts]).toEqual([Verdict.Pass, Verdict.Quarantine]);
  });
});

describe('released events', () => {
  test('are judged by today’s rules: held again, or passed where the rule has changed', async () => {
    const event = insert({ total: '-1' });
    expect((await judged(totals('quarantine'), [event], 'replay')).passes(0)).toBe(false);
    expect((await judged(contractOf('columns: { total: [{ between: { min: -10 } }] }'), [event], 'replay')).passes(0)).toBe(true);
  });
  test('are held again, and never halt the lane of released events', async () => {
    const batch = await judged(totals('halt'), [insert({ total: '-1' }), insert({ total: '1' })], 'replay');
    expect([...batch.verdicts]).toEqual([Verdict.Quarantine, Verdict.Pass]);
    const drift = contractOf('schema: { columns: { id: bigint, former: text }, evolution: { add: accept, drop: halt } }');
    expect([...(await judged(drift, [insert({ id: 1 }), insert({ id: 2 })], 'replay')).verdicts]).toEqual([
      Verdict.Quarantine,
      Verdict.Quarantine,
    ]);
  });
});

describe('the stage at work', () => {
  const contract = contractOf(
    'columns: { total: [{ between: { min: 0 } }], status: [{ format: uuid, where: "after.items > 0", on_fail: tag }] }',
  );

  test('counts what each rule judged, failed and could not read', async () => {
    const stage = qualityStage(new Map([[contract.dataset, contract]]));
    await stage.run(batchOf([insert({ total: '1' }), insert({ total: '-1' }), insert({ total: 'NaN', items: 1, status: 'x' })]), signal);
    expect(stage.stats()).toEqual([
      { dataset: contract.dataset, rule: 'total.between', column: 'total', evaluated: 3, failed: 2, unreadable: 1 },
      { dataset: contract.dataset, rule: 'status.format', column: 'status', evaluated: 3, failed: 1, unreadable: 0 },
    ]);
  });

  test('takes up and removes contracts from the next batch on', async () => {
    const stage = qualityStage(new Map());
    const run = async () => {
      const batch = batchOf([insert({ total: '-1' })]);
      await stage.run(batch, signal);
      return batch.verdicts[0];
    };
    const verdicts = [await run()];
    stage.replaceContract(contract);
    verdicts.push(await run());
    stage.replaceContract(totals('tag'));
    verdicts.push(await run());
    stage.removeContract(contract.dataset);
    verdicts.push(await run());
    expect(verdicts).toEqual([Verdict.Pass, Verdict.Quarantine, Verdict.Tag, Verdict.Pass]);
  });

  test('a batch is judged by one revision, which it names, even when the contract is replaced while it is', async () => {
    const events = Array.from({ length: 100 }, () => insert({ total: '-1' }));
    const stage = qualityStage(new Map([[contract.dataset, contract]]), { sliceEvents: 10 });
    const batch = batchOf(events);
    const judging = stage.run(batch, signal);
    stage.replaceContract(totals('tag'));
    await judging;
    expect(new Set(batch.verdicts)).toEqual(new Set([Verdict.Quarantine]));
    expect([...batch.revisions]).toEqual([[contract.dataset, contract.revision]]);
    const next = batchOf(events);
    await stage.run(next, signal);
    expect(next.revisions.get(contract.dataset)).not.toBe(contract.revision);
  });

  test('datasets without a contract pass unjudged, beside others in one batch', async () => {
    const other: Dataset = { ...orders, name: 'shop.public.other' as DatasetName };
    const batch = await judged(contract, [insert({ total: '-1' }, other), insert({ total: '-1' }), insert({ total: '-1' }, other)]);
    expect([...batch.verdicts]).toEqual([Verdict.Pass, Verdict.Quarantine, Verdict.Pass]);
  });

  test('judges long batches in slices with the same outcome, and stops between them when told to', async () => {
    const events = Array.from({ length: 100 }, (_, i) => insert({ total: String(i % 3 === 0 ? -1 : 1) }));
    const whole = await judged(contract, events);
    const stage = qualityStage(new Map([[contract.dataset, contract]]), { sliceEvents: 7 });
    const sliced = batchOf(events);
    await stage.run(sliced, signal);
    expect(sliced.findings).toEqual(whole.findings);
    const abort = new AbortController();
    const run = stage.run(batchOf(events), abort.signal);
    abort.abort();
    await expect(run).rejects.toThrow('aborted');
  });

  test('a row of the old kind and one of the new meet the rules of their own table', async () => {
    const moved: Dataset = { ...orders, version: 2, columns: [...columns].reverse(), key: [columns.length - 1] };
    const reversed = {
      ...insert({}),
      dataset: moved,
      after: { encoded: null, value: (i: number) => row({ total: '-1' }).value(columns.length - 1 - i) },
    };
    const batch = await judged(contract, [insert({ total: '1' }), reversed as ChangeEvent]);
    expect([...batch.verdicts]).toEqual([Verdict.Pass, Verdict.Quarantine]);
  });
});
