import { expect, test } from 'vitest';
import { Exposition } from '../../ops/prometheus.ts';
import { TopicSeries } from '../../ops/topic-series.ts';

function exposed(series: TopicSeries): readonly string[] {
  const out = new Exposition();
  series.collect('main', out);
  return out
    .toString()
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('#') && !line.includes('_bucket'));
}

test('what is written to topics is counted by topic, batches by how long they took, failures by their code', () => {
  const series = new TopicSeries();
  series.written('a', 2, 300);
  series.written('b', 1, 50);
  series.written('a', 1, 100);
  series.took(20);
  series.took(40);
  series.failed('LEASE_LOST');
  series.failed('TARGET_UNREACHABLE');
  series.failed('TARGET_UNREACHABLE');
  expect(exposed(series)).toEqual([
    'tidegate_topic_records_total{pipeline="main",topic="a"} 3',
    'tidegate_topic_records_total{pipeline="main",topic="b"} 1',
    'tidegate_topic_bytes_total{pipeline="main",topic="a"} 400',
    'tidegate_topic_bytes_total{pipeline="main",topic="b"} 50',
    'tidegate_produce_seconds_sum{pipeline="main"} 0.06',
    'tidegate_produce_seconds_count{pipeline="main"} 2',
    'tidegate_produce_failures_total{pipeline="main",code="LEASE_LOST"} 1',
    'tidegate_produce_failures_total{pipeline="main",code="TARGET_UNREACHABLE"} 2',
  ]);
});

test('transactions are told once there are any', () => {
  const series = new TopicSeries();
  series.ended('committed');
  series.ended('aborted');
  series.ended('committed');
  expect(exposed(series).filter((line) => line.startsWith('tidegate_transactions'))).toEqual([
    'tidegate_transactions_total{pipeline="main",outcome="committed"} 2',
    'tidegate_transactions_total{pipeline="main",outcome="aborted"} 1',
    'tidegate_transactions_total{pipeline="main",outcome="undecided"} 0',
  ]);
});
