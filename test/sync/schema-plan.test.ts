/** What is read of the rows for a change of their table: columns alone only where these tell no rows apart, and are known by number. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { Column, Dataset, DatasetName } from '../../core/event.ts';
import { type JudgedChange, shapeChanges } from '../../core/shape.ts';
import { type DatasetOptions, Layouts } from '../../sync/postgres/layout.ts';
import {
  arrivalOf,
  asTaken,
  type ChangePlan,
  isAsWanted,
  neededColumns,
  placedAsIs,
  type PlacedShape,
  placesOf,
  planChange,
} from '../../sync/postgres/schema-plan.ts';
import { PLAIN } from './shop.ts';

const column = (name: string, id: number | null) => ({ name, native: 'integer', id, place: `its_${name}` });
const SHAPE: PlacedShape = { columns: [column('id', 1), column('n', 2), column('old', null)], dropped: [], key: ['id'], storage: null };

test.each([
  [['its_n'], [{ id: 2, name: 'n' }]],
  [['its_n', 'its_id'], null],
  [['its_n', 'its_old'], null],
  [['its_gone'], null],
  ['rows' as const, null],
])('%j needs %j', (needs, columns) => {
  expect(neededColumns(needs, SHAPE)).toEqual(columns);
});

const NAMES = ['a', 'b', 'c', 'd'];
const name = fc.constantFrom(...NAMES);
const policy = fc.constantFrom('accept' as const, 'ignore' as const);
const step = fc.oneof(
  fc.record({ do: fc.constantFrom('add' as const, 'drop' as const, 'type' as const), name }),
  fc.record({ do: fc.constant('rename' as const), name, to: name }),
  fc.record({ do: fc.constant('remake' as const) }),
  fc.record({ do: fc.constant('policy' as const), policy }),
  fc.record({
    do: fc.constant('layout' as const),
    chosen: fc.option(fc.subarray(NAMES)),
    rename: fc.dictionary(name, fc.constantFrom('a', 'b', 'x', 'y'), { maxKeys: 3 }),
  }),
);
type Step = typeof step extends fc.Arbitrary<infer S> ? S : never;

/** A column of the source; `values` tells whose values it has, whatever it is called. */
interface SourceColumn extends Column {
  readonly id: number;
  readonly values: number;
}

/** A source with its config, and the table of the target that follows them: by name, whose values each of its columns has. */
class World {
  columns: readonly SourceColumn[] = [{ name: 'id', type: 'integer', native: 'integer', nullable: false, id: 1, values: 1 }];
  layout: Pick<DatasetOptions, 'columns' | 'rename'> = { columns: null, rename: {} };
  policy: 'accept' | 'ignore' = 'accept';
  table = 1;
  #newest = 1;
  shape: PlacedShape | null = null;
  readonly target = new Map<string, number>();
  readonly #seen = new Set<number>();
  readonly #past: { readonly dataset: Dataset; readonly values: readonly number[] }[] = [];

  /** Makes a step at the source or in the config. */
  make(made: Step): void {
    const at = 'name' in made ? this.columns.findIndex((column) => column.name === made.name) : -1;
    const changed = (to: Partial<SourceColumn>): readonly SourceColumn[] =>
      this.columns.map((one, i) => (i === at ? { ...one, ...to } : one));
    if (made.do === 'policy') this.policy = made.policy;
    else if (made.do === 'layout') this.layout = { columns: made.chosen === null ? null : ['id', ...made.chosen], rename: made.rename };
    else if (made.do === 'remake') {
      this.columns = this.columns.toReversed().map((column, i) => ({ ...column, id: i + 1 }));
      this.table++;
    } else if (made.do === 'add' && at < 0) {
      const values = ++this.#newest;
      this.columns = [...this.columns, { name: made.name, type: 'integer', native: 'integer', nullable: true, id: values + 100, values }];
    } else if (at < 0) return;
    else if (made.do === 'drop') this.columns = this.columns.filter((_, i) => i !== at);
    else if (made.do === 'type') this.columns = changed({ native: this.columns[at]?.native === 'integer' ? 'bigint' : 'integer' });
    else if (made.do === 'rename' && !this.columns.some((column) => column.name === made.to)) this.columns = changed({ name: made.to });
  }

  /** Has the target follow; false where somebody has to look first. */
  follow(): boolean {
    const { columns, table } = this;
    const key = [columns.findIndex((column) => column.name === 'id')];
    const dataset: Dataset = { name: 's.public.t' as DatasetName, version: 1, columns, key, table };
    const layout = new Layouts('shop', new Map([[dataset.name, { ...PLAIN, ...this.layout }]])).wanted(dataset);
    const types = columns.map(({ native }) => native);
    const arrival = { ...arrivalOf(dataset, null, types), storage: 'one' };
    const plan = (before: PlacedShape): ChangePlan => {
      const judged = shapeChanges(asTaken(before, dataset), dataset).map((change): JudgedChange => ({
        change,
        kind: change.kind,
        policy: this.policy,
        message: '',
      }));
      return planChange(before, judged, arrival, { layout, beside: [] });
    };
    const { shape } = this;
    const made = shape === null ? null : plan(shape);
    if (made !== null && made.problem !== null) return false;
    const after = made?.after ?? placedAsIs(dataset, layout, 'one');
    const valuesOf = (place: string): number => columns[after.columns.findIndex((column) => column.place === place)]?.values ?? 0;
    if (made === null) for (const { place } of after.columns) if (place !== null) this.target.set(place, valuesOf(place));
    for (const kind of ['aside', 'rename'] as const) {
      const moves = (made?.actions ?? []).flatMap((action) => (action.do === kind ? [action] : []));
      const taken = moves.map(({ column }) => this.target.get(column));
      for (const { column } of moves) this.target.delete(column);
      for (const [i, { to }] of moves.entries()) {
        expect(this.target.has(to)).toBe(false);
        this.target.set(to, taken[i] ?? 0);
      }
    }
    for (const action of made?.actions ?? []) {
      if (action.do !== 'add') continue;
      const { column } = action;
      // One that is there already has whatever it has, and one that was left out so far has values that came without being read.
      if (this.target.has(column) || this.#seen.has(valuesOf(column)))
        expect(made?.needs === 'rows' || made?.needs.includes(column)).toBe(true);
      this.target.set(column, valuesOf(column));
    }
    for (const { values } of columns) this.#seen.add(values);
    this.#past.push({ dataset, values: columns.map(({ values }) => values) });
    this.shape = after;
    expect(isAsWanted(after, dataset, layout)).toBe(true);
    // It is done: nothing is left of it.
    expect(plan(after).actions).toEqual([]);
    return true;
  }

  /** Where cells go of rows that had a former shape of the table, as those do that were held: whose values are there, beside whose they are. */
  *cellsOfThePast(): Generator<readonly [place: string, there: number | undefined, values: number | undefined]> {
    for (const { dataset, values } of this.#past) {
      if (this.shape === null || dataset.table !== this.table) continue;
      for (const [i, place] of placesOf(this.shape, dataset).entries())
        if (place !== null) yield [place, this.target.get(place), values[i]];
    }
  }
}

test('whatever becomes of a table and its layout, each column that is written stands in one of its own, that has its values and no other’s', () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 14 }), (steps) => {
      const world = new World();
      world.follow();
      for (const made of steps) {
        const { columns, layout, policy: former, table } = world;
        world.make(made);
        // Where somebody has to look, they take back what they did.
        if (!world.follow()) Object.assign(world, { columns, layout, policy: former, table });
        const places = (world.shape?.columns ?? []).flatMap(({ place }) => place ?? []);
        expect(new Set(places).size).toBe(places.length);
        for (const [place, there, values] of world.cellsOfThePast()) expect([place, there]).toEqual([place, values]);
      }
    }),
    { numRuns: 1000 },
  );
});
