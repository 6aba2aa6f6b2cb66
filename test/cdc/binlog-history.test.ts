/** Which change is the later one where other servers take over whose binlog files are numbered anew, and the connector sends again what it has sent. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { type BinlogHistory, historyOf, historyText, historyWith, NO_HISTORY, versionIn } from '../../cdc/kafka/binlog-history.ts';
import { TableDecoder } from '../../cdc/kafka/debezium.ts';
import { withProblem } from '../../cdc/kafka/undecoded.ts';
import { DecodeAgain } from '../../cdc/kafka/decode-again.ts';
import { PartitionLane } from '../../cdc/kafka/lane.ts';
import { placeOf } from '../../cdc/kafka/lane-place.ts';
import { type ChangeEvent, type DatasetName, type LaneId, versionOf } from '../../core/event.ts';
import { kafkaClient, type KafkaRecord } from '../../wire/kafka/client.ts';
import { packEvent, unpackEvent } from '../../wire/postgres/event-bytes.ts';

const SEED = 20261127;
const placeAt = (file: number, pos: number): string => file.toString(16).padStart(6, '0') + pos.toString(16).padStart(10, '0');

/** Takes over with the next transaction, and has its own binlog, where all of them stand; the connector may first send some again. */
interface Server {
  readonly firstFile: number;
  readonly transactions: number;
  readonly again: number;
}

const GTIDS = {
  mariadb: (server: number, number: number) => `0-${server}-${number}`,
  mysql: (server: number, number: number) => `0000000${server}-71ca-11e1-9e33-c80aa9429562:${number}`,
} as const;

test.each(Object.entries(GTIDS))('a change of %s is later than all before it, whichever server it was read from', (_, gtidOf) => {
  const servers = fc.array(fc.record({ firstFile: fc.nat(30), transactions: fc.integer({ min: 1, max: 30 }), again: fc.nat(12) }), {
    minLength: 1,
    maxLength: 6,
  });
  fc.assert(
    fc.property(servers, fc.nat(), (all: readonly Server[], cut) => {
      let known = NO_HISTORY;
      let first = 1;
      const wrote: string[] = [''];
      let newest = '';
      for (const [server, { firstFile, transactions, again }] of all.entries()) {
        for (let n = first; n < first + transactions; n++) wrote.push(gtidOf(server, n));
        const sent = Array.from({ length: transactions + Math.min(again, first - 1) }, (__, i) => i + Math.max(1, first - again));
        for (const n of sent) {
          const place = placeAt(firstFile + Math.floor(n / 7), n * 100);
          const isBack = place < known.place;
          known = historyWith(known, place, wrote[n], false);
          const version = versionIn(known, place);
          if (n >= first) expect(version > newest).toBe(true);
          else if (isBack) expect(version < newest).toBe(true);
          if (version > newest) newest = version;
          // A restart changes nothing.
          if ((n + cut) % 3 === 0) known = historyOf(historyText(known));
        }
        first += transactions;
      }
    }),
    { seed: SEED },
  );
});

const told = (known: BinlogHistory, file: number, pos: number, gtid: string | null, isSnapshot = false): BinlogHistory =>
  historyWith(known, placeAt(file, pos), gtid, isSnapshot);

test('a history begins where the place goes back and the id does not, or a snapshot is taken of a log that began anew', () => {
  const old = told(NO_HISTORY, 9, 400, '0-1-7');
  expect(told(old, 9, 300, '0-1-6').number).toBe(0); // Sent again.
  expect(told(old, 2, 300, null).number).toBe(0); // Nobody knows.
  expect(told(old, 2, 300, '0-2-8').number).toBe(1);
  expect(told(old, 2, 300, null, true).number).toBe(1);
  expect(told(old, 9, 400, null, true).number).toBe(0);
  expect(told(told(old, 2, 300, null, true), 2, 500, '0-1-1')).toMatchObject({ number: 1, seen: [{ writer: '0', number: 1n }] });
  // Domains count for themselves.
  const two = told(old, 9, 500, '1-1-3');
  expect([told(two, 2, 300, '1-2-3').number, told(two, 2, 300, '1-2-4').number, told(two, 2, 300, '0-2-8').number]).toEqual([0, 1, 1]);
  // A tag of MySQL's is a writer of its own.
  const tagged = told(NO_HISTORY, 9, 400, '3E11FA47-71CA-11E1-9E33-C80AA9429562:a_b:5');
  expect(tagged.seen).toEqual([{ writer: '3e11fa47-71ca-11e1-9e33-c80aa9429562:a_b', number: 5n }]);
  expect(historyOf(historyText(tagged))).toEqual(tagged);
  expect(historyText(NO_HISTORY)).toBeNull();
  // What the server before wrote and the new one sends again is older than what is new.
  const over = told(told(old, 2, 100, '0-1-7'), 2, 300, '0-2-8');
  expect([versionIn(over, placeAt(2, 100)), versionIn(over, placeAt(2, 300))]).toEqual(['0000020000000064', 'f00001000002000000012c']);
});

test('a lane that goes on after a restart knows the history that it is in', async () => {
  const of = (offset: number, file: number, pos: number, gtid: string): KafkaRecord => ({
    offset: BigInt(offset),
    timestampMs: 1,
    key: Buffer.from('{"id":1}'),
    value: Buffer.from(
      JSON.stringify({
        op: offset === 0 ? 'c' : 'u',
        before: null,
        after: { id: 1, v: String(offset) },
        source: { connector: 'mariadb', file: `bin.${String(file).padStart(6, '0')}`, pos, row: 0, gtid, snapshot: 'false', ts_ms: 1 },
      }),
    ),
    headers: {},
  });
  const records = [of(0, 7, 100, '0-1-1'), of(1, 7, 300, '0-1-2'), of(2, 2, 100, '0-2-3'), of(3, 2, 300, '0-2-4'), of(4, 1, 50, '0-1-5')];
  const at = { topic: 'm.shop.t', partition: 3 };
  const versionsBy = async (rows: number): Promise<string[]> => {
    const versions: string[] = [];
    let place = placeOf('0000000000000000.id' as Parameters<typeof placeOf>[0]);
    while (place.offset < 5n) {
      // Each batch by another process.
      const decoder = new TableDecoder({
        dataset: 'm.shop.t' as DatasetName,
        topic: at.topic,
        envelope: 'debezium',
        columns: { id: 'bigint', v: 'text' },
        unavailable: '-',
        registry: null,
      });
      const { offset: from, topicId, history } = place;
      const lane = new PartitionLane('m/g/m.shop.t/3' as LaneId, at, { topicId, decoder, from, history, end: 5n });
      lane.add({ ...at, records, next: 5n, end: 5n });
      const batch = await lane.take({ rows, bytes: 1 << 20 }, 0);
      versions.push(...(batch?.events ?? []).map(versionOf));
      place = placeOf(batch?.checkpoint.position ?? place_(from));
    }
    return versions;
  };
  const whole = await versionsBy(100);
  expect(whole).toEqual([...whole].sort());
  expect(new Set(whole).size).toBe(5);
  for (const rows of [1, 2, 3]) expect(await versionsBy(rows)).toEqual(whole);
});

test('a record of a later history that can be read by now has the version that it would have had', async () => {
  const columns = { id: 'bigint', v: 'text' };
  const of = (offset: number, file: number, gtid: string): KafkaRecord => ({
    offset: BigInt(offset),
    timestampMs: 1,
    key: Buffer.from('{"id":1}'),
    value: Buffer.from(
      JSON.stringify({
        op: 'u',
        before: null,
        after: { id: 1, v: 'x' },
        source: { connector: 'mariadb', file: `bin.${String(file).padStart(6, '0')}`, pos: 100, row: 0, gtid, snapshot: 'false', ts_ms: 1 },
      }),
    ),
    headers: {},
  });
  const options = { envelope: 'debezium', unavailable: '-', registry: null } as const;
  const decoderOf = (types: Readonly<Record<string, string>>) =>
    new TableDecoder({ ...options, dataset: 'm.shop.t' as DatasetName, topic: 'm.shop.t', columns: types });
  const [before, own] = [[of(0, 7, '0-1-1'), of(1, 2, '0-2-2')], of(2, 3, '0-2-3')];
  const met = async (decoder: TableDecoder): Promise<ChangeEvent | null> => {
    decoder.resume(3, NO_HISTORY);
    for (const record of before) await decoder.decodeAsking(record, 3);
    return (await decoder.decodeAsking(own, 3)).event;
  };
  const [read, held] = [await met(decoderOf(columns)), await met(decoderOf({ ...columns, v: 'integer' }))];
  if (read === null || held === null) throw new Error('there is a change in it');
  expect(held.dataset.undecoded).toBe(true);
  await using again = new DecodeAgain({
    ...options,
    name: 'm',
    tables: [{ table: 'shop.t', topic: 'm.shop.t', columns }],
    lanes: 'm/g' as LaneId,
    tableNamed: () => ({ table: 'shop.t', columns }),
    client: kafkaClient({ brokers: ['127.0.0.1:1'] }),
    signal: new AbortController().signal,
  });
  const kept = unpackEvent(packEvent(held));
  const [decoded] = await again.decode([withProblem(kept, 'another')]);
  expect(decoded?.kind === 'event' ? versionOf(decoded.event) : decoded).toBe(versionOf(read));
  expect(versionOf(read)).toMatch(/^f00001/);
});

const place_ = (from: bigint): never => {
  throw new Error(`no batch at ${from}`);
};
