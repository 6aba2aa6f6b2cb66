/** What the rules found is kept beside the service, never in its way, and taken over by whoever has the pipeline. */
import { expect, test } from 'vitest';
import { KeptSeries } from '../../app/kept-series.ts';
import { createLogger } from '../../app/logger.ts';
import { openState } from '../../app/state/database.ts';
import { SILENT_MS, SqliteSeries } from '../../app/state/series.ts';
import { Metrics } from '../../ops/metrics.ts';
import { datasetOf, eventOf, findingOf, reportOf } from '../ops/reports.ts';
import { ManualClock } from './manual-clock.ts';

const orders = datasetOf('shop.public.orders');

function world() {
  const clock = new ManualClock();
  const database = openState(':memory:');
  const words: string[] = [];
  const book = new SqliteSeries(database, clock);
  const instanceOf = (instance: string, isOurs: boolean) => {
    const metrics = new Metrics(clock);
    const logger = createLogger({ level: 'warn', format: 'json', write: (line) => words.push(line), clock });
    const series = new KeptSeries({ pipelines: new Map([['main', { isOurs }]]), instance, metrics, book, clock, logger });
    const counted = () => metrics.ruleSeries('main').datasets[0]?.rules[0]?.count ?? 0;
    const lastHour = () => metrics.ruleSeries('main').datasets[0]?.rules[0]?.recent.reduce((sum, count) => sum + count, 0) ?? 0;
    const finds = () => metrics.observer('main')(reportOf([eventOf(orders, 1)], [findingOf(0, 'total.between')]));
    /** One look, as a service takes it while it runs. */
    const look = async () => {
      const stop = new AbortController();
      const running = series.run(stop.signal);
      stop.abort();
      await running;
    };
    return { series, counted, lastHour, finds, look };
  };
  return { clock, database, words, instanceOf, [Symbol.dispose]: () => database.close() };
}

test('a state that cannot be written stops nobody, is said once, and is written again when it can be', async () => {
  using of = world();
  const one = of.instanceOf('one', true);
  one.finds();
  of.database.exec('alter table rule_series rename to away');
  await one.look();
  await one.look();
  expect(of.words.map((line) => (JSON.parse(line) as { readonly msg: string }).msg)).toEqual([
    'what rules found could not be kept; it is tried again',
  ]);
  of.database.exec('alter table away rename to rule_series');
  await one.series.end();
  const next = of.instanceOf('next', true);
  await next.look();
  expect(next.counted()).toBe(1);
});

test('what one counted that is gone goes to whoever has the pipeline, and not to one that stands by', async () => {
  using of = world();
  const gone = of.instanceOf('gone', true);
  gone.finds();
  await gone.series.end();
  const [standby, next] = [of.instanceOf('standby', false), of.instanceOf('next', true)];
  await standby.look();
  await next.look();
  expect([standby.counted(), next.counted()]).toEqual([0, 1]);
});

test('one that was silent for long and comes back says what it found since, and not again what another has taken over', async () => {
  using of = world();
  const [slow, other] = [of.instanceOf('slow', true), of.instanceOf('other', true)];
  slow.finds();
  slow.finds();
  await slow.look();
  of.clock.advance(SILENT_MS + 1);
  await other.look();
  expect([slow.counted(), other.counted()]).toEqual([2, 2]);
  slow.finds();
  await slow.look();
  other.finds();
  expect([slow.counted(), other.counted()]).toEqual([1, 3]);
  // Whoever ends first, all is counted once.
  await slow.series.end();
  await other.look();
  expect([other.counted(), other.lastHour()]).toEqual([4, 4]);
});
