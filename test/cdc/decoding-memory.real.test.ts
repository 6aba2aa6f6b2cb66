/** How much memory a source may use for decoding, where nobody said. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { connectSource, useDecodingMemory } from '../../cdc/postgres/connect.ts';
import { type EmbeddedServer, startEmbeddedPostgres } from '../../examples/embedded-postgres.ts';

let server: EmbeddedServer;

const used = async (): Promise<string | null | undefined> => {
  await using walsender = await connectSource('shop', server.url(), true, {});
  await useDecodingMemory('shop', walsender);
  return (await walsender.script('show logical_decoding_work_mem'))[0]?.rows[0]?.[0];
};
const say = async (sql: string): Promise<void> => {
  await using admin = await connectSource('shop', server.url(), false, {});
  await admin.script(sql);
};

beforeAll(async () => {
  server = await startEmbeddedPostgres({ shared_buffers: '300MB' });
});
afterAll(() => server.stop());

test('it goes by the size of the server, and what anybody set stands', async () => {
  expect(await used()).toBe('150MB');
  await say("alter role postgres set logical_decoding_work_mem = '1MB'");
  expect(await used()).toBe('1MB');
  await say("alter role postgres reset all; alter database postgres set logical_decoding_work_mem = '2MB'");
  expect(await used()).toBe('2MB');
});
