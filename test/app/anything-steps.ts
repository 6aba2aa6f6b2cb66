/** One step of whoever uses a road (see anything-world.ts): writers at the source, operators, and what ends processes and connections. */
import type { Random } from '../support/random.ts';
import { MAX } from './anything-tables.ts';
import type { AnyWorld } from './anything-world.ts';

type Step = (world: AnyWorld, random: Random) => Promise<void>;

function one<T>(random: Random, all: readonly T[]): T {
  return all[random.below(all.length)] as T;
}

/** A transaction over several tables; parts of it, or all of it, may be taken back. */
const transaction: Step = async (world, random) => {
  const parts: string[] = [];
  const count = random.chance(0.1) ? 40 : 1 + random.below(6);
  for (let n = 0; n < count; n++) {
    const statement = one(random, world.tables).rows();
    const isTakenBack = random.chance(0.1);
    const isApart = !isTakenBack && random.chance(0.1);
    if (isTakenBack) parts.push(`savepoint s; ${statement} rollback to s; release s;`);
    else if (isApart) parts.push(`savepoint s; ${statement} release s;`);
    else parts.push(statement);
  }
  if (random.chance(0.3)) await world.source(parts[0]?.startsWith('savepoint') === true ? `begin; ${parts[0]} commit;` : (parts[0] ?? ''));
  else await world.source(`begin; ${parts.join(' ')} ${random.chance(0.1) ? 'rollback' : 'commit'};`);
};

const change: Step = async (world, random) => {
  const table = one(random, world.tables);
  const before = table.rows();
  const changes = Array.from({ length: 1 + random.below(2) }, () => table.change()).join(' ');
  const also = random.chance(0.3) ? one(random, world.tables).rows() : '';
  // A change of a table is met with the next change of its rows.
  const script = `${random.chance(0.7) ? before : ''} ${changes} ${table.rows()} ${also} ${table.touched()}`;
  await world.source(random.chance(0.5) ? `begin; ${script} commit;` : script);
};

const changeKey: Step = async (world, random) => {
  const table = one(random, world.tables);
  const before = table.rows();
  const script = `${before} ${table.changeKey()} ${table.rows()} ${table.touched()}`;
  await world.source(random.chance(0.5) ? `begin; ${script} commit;` : script);
};

/** Renamed and back, and written to meanwhile. */
const away: Step = async (world, random) => {
  const table = one(random, world.tables);
  const isOneTransaction = random.chance(0.3);
  table.isLossy = true;
  const script = `alter table ${table.name} rename to away; ${table.rows().replaceAll(new RegExp(`\\b${table.name}\\b`, 'g'), 'away')} alter table away rename to ${table.name};`;
  await world.source(isOneTransaction ? `begin; ${script} commit;` : script);
};

/** It has left the publication: the next start copies it. */
const remake: Step = async (world, random) => {
  const table = one(random, world.tables);
  const script = table.remade();
  if (script === '') return;
  await world.source(`begin; ${script} commit;`);
  await world.restart(random.chance(0.5) ? 'kill' : 'stop');
};

const release: Step = async (world, random) => {
  const open = await world.open();
  if (open.length === 0) return;
  const chosen = random.chance(0.3) ? { filter: { pipeline: 'main' } } : { ids: few(random, open).map(({ id }) => id) };
  await world.post('/api/quarantine/release', chosen);
};

const discard: Step = async (world, random) => {
  const open = await world.open();
  if (open.length === 0) return;
  await world.post('/api/quarantine/discard', { ids: few(random, open).map(({ id }) => id), why: 'not wanted' });
};

function few<T>(random: Random, all: readonly T[]): readonly T[] {
  const count = 1 + random.below(random.chance(0.3) ? 10 : 2);
  return Array.from({ length: count }, () => one(random, all));
}

const decide: Step = async (world, random) => {
  const parked = await world.parked();
  if (parked.length === 0) return;
  const { id } = one(random, parked);
  if (random.chance(0.25)) await world.post(`/api/schema/changes/${id}/reject`, { why: 'not agreed upon' });
  else await world.post(`/api/schema/changes/${id}/approve`, {});
};

const restart: Step = (world, random) => world.restart(random.chance(0.7) ? 'kill' : 'stop');

/** The source goes on while nobody reads: the catalog is then ahead of the log. */
const behind: Step = async (world, random) => {
  await world.down(random.chance(0.7) ? 'kill' : 'stop');
  for (let n = 1 + random.below(7); n > 0; n--)
    await one(random, [transaction, transaction, change, change, change, changeKey, away])(world, random);
  world.start();
};

const cut: Step = async (world, random) => {
  world.say('-- connections are cut');
  const others = 'select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()';
  if (random.chance(0.6)) await world.lake.query(others);
  if (random.chance(0.6)) await world.sql.query(others);
};

const rules: Step = async (world, random) => {
  world.max = one(random, [MAX, MAX, 5004, 10_000]);
  world.say(`-- rules: at most ${world.max}`);
  await world.restart(random.chance(0.5) ? 'kill' : 'stop');
};

/** The layout of a table in the config, which is taken up with its next row. */
const layout: Step = async (world, random) => {
  const table = one(random, world.tables);
  table.relayout();
  world.say(`-- layout of ${table.name}: ${JSON.stringify(table.layout())}`);
  await world.restart(random.chance(0.5) ? 'kill' : 'stop');
  await world.source(table.touched());
};

/** The config leaves a table out, or has it again: what was deleted meanwhile stays at the target. */
const leave: Step = async (world, random) => {
  const table = one(random, world.tables);
  if (world.tables.length === 1) return;
  table.isOut = !table.isOut;
  table.isLossy = true;
  world.say(`-- ${table.name} is ${table.isOut ? 'left out' : 'followed again'}`);
  await world.restart(random.chance(0.5) ? 'kill' : 'stop');
};

const halt: Step = async (world) => {
  await world.post('/api/pipelines/main/halt', { why: 'lunch' });
  await world.post('/api/pipelines/main/resume', {});
};

const resnapshot: Step = async (world, random) => {
  const table = one(random, world.tables);
  const dataset = `shop.public.${table.name}`;
  const { rows } = await world.sql.query(`select ${table.key.map(([name]) => `${name}::text`).join(', ')} from ${table.name} order by seq`);
  const keys = few<readonly (string | null)[]>(random, [...rows, table.key.map(([, type]) => (type === 'int' ? '17' : 'k17'))]);
  const body = one(random, [{ dataset }, { dataset, where: 'n % 2 = 0' }, { dataset, keys }]);
  await world.post('/api/pipelines/main/rereads', body);
};

/** What tells its rows apart in the log. Without any the server refuses to change or delete rows. */
const identity: Step = async (world, random) => {
  const table = one(random, world.tables);
  if (table.isPartitioned || table.identity === 'using index') return;
  const to = one(random, ['full', 'default', 'nothing']);
  const alter = `alter table ${table.name} replica identity`;
  const back = to === 'nothing' ? `${table.touched()} ${alter} ${one(random, ['full', 'default'])};` : '';
  const script = `${table.rows()} ${alter} ${to}; ${back} ${table.rows()}`;
  await world.source(random.chance(0.5) ? `begin; ${script} commit;` : script);
};

/** Nothing is read beside the log for a while. */
const pause: Step = async (world, random) => {
  await world.post('/api/pipelines/main/snapshot/pause', {});
  for (let n = random.below(4); n > 0; n--) await one(random, [transaction, change, resnapshot, restart])(world, random);
  await world.post('/api/pipelines/main/snapshot/resume', {});
};

const damage: Step = (world, random) => world.damage(one(random, world.tables));
const repair: Step = (world) => world.repairAll();
const check: Step = (world) => world.check();

/** Each with how often it comes. */
const STEPS: readonly (readonly [number, Step])[] = [
  [40, transaction],
  [8, change],
  [2, changeKey],
  [1, away],
  [1, remake],
  [7, release],
  [2, discard],
  [6, decide],
  [3, restart],
  [4, behind],
  [2, cut],
  [2, rules],
  [2, layout],
  [1, leave],
  [1, halt],
  [3, resnapshot],
  [2, identity],
  [1, pause],
  [1, damage],
  [1, repair],
  [2, check],
];

export async function step(world: AnyWorld, random: Random): Promise<void> {
  let dice = random.next() * STEPS.reduce((sum, [weight]) => sum + weight, 0);
  for (const [weight, run] of STEPS) {
    dice -= weight;
    if (dice < 0) return run(world, random);
  }
}
