/** Bugs that the simulation has to find: each is one plausible mistake in a real implementation. */

export const MUTATIONS = {
  // The commit.
  'checkpoint-before-rows': 'the checkpoint commits before the rows do',
  'no-fence': 'an old lease may still write',
  'out-of-turn': 'a batch sent ahead takes effect though the one before it did not',
  'ledger-apart': 'the ledger is counted before the transaction commits',
  'lossy-quarantine': 'a quarantine kept elsewhere says it is durable before it is',
  'hold-twice': 'an event that is held again gets another id',
  // Versions.
  'no-version-guard': 'a released event is written though the target has its key newer',
  'forget-tombstones': 'a deleted row leaves no version behind',
  'forget-key-early': "a key's version is forgotten with the first of its held events, not with the last",
  'truncate-skips-held': 'a truncate is no tombstone of keys with something held',
  // Rows.
  'partial-as-null': 'a cell that was not sent is written as null',
  'partial-inserts': 'an update without all cells makes a row that is not there',
  'fold-loses-cells': 'folding forgets the cells that an earlier event of the batch brought',
  'move-leaves-old-row': 'a key move does not delete the row at the old key',
  // Hold: key.
  'key-does-not-wait': 'later events of a held key are applied',
  'free-while-held': 'under hold: event, an update that leaves cells out is released while what it waits for is still held',
  'move-holds-one-key': 'a held key move holds only its new key',
  'stale-held-keys': 'what is held is known from when the lane was taken over',
  'release-overtakes': 'a released event does not wait for an earlier one that is held again',
  'waiting-forgotten': 'what was free by the time it was held as waiting is never released',
  'settle-without-release': 'events that waited are not released when the one before them is settled',
  'settle-apart': 'items are settled after the transaction that writes them',
  // Windows.
  'windows-apart': 'what a batch adds to windows is kept before its transaction commits',
  'windows-forgotten': 'a lane that is taken over does not read what was kept of its windows',
  // Source and runner.
  'skip-cut-transaction': 'a place inside a transaction resumes after it',
  'repeat-cut-transaction': 'a place inside a transaction resumes at its start',
  'acknowledge-before-commit': 'upstream is told before the commit',
  'report-before-commit': 'observers are told before the commit',
} as const;
export type Planted = keyof typeof MUTATIONS;
export type Mutation = 'none' | Planted;
