/** Every error that a person or a program may have to act on, and what happens after each. */

/**
 * `backoff`: run again from the checkpoint. `operator`: stop and ask. `bug`: stop and report.
 * docs/errors.md is made from this table, and a test fails when the two differ.
 */
export const ERRORS = {
  SOURCE_UNREACHABLE: { after: 'backoff', fix: 'Check that the source is up and reachable.' },
  SOURCE_AUTH: {
    after: 'operator',
    fix: 'Check the user and password in the url of the source; from Kafka, what its sasl and registry say.',
  },
  SOURCE_SLOT_ACTIVE: {
    after: 'backoff',
    fix: 'Another process reads this slot: stop it, or give this pipeline a slot of its own. After a crash it frees itself within wal_sender_timeout.',
  },
  SOURCE_POSITION_LOST: {
    after: 'operator',
    fix: 'The source no longer has the log at the checkpoint: run `tidegate recover`, which makes the slot anew and has the rows that differ read again while the pipeline runs. docs/slots.md tells how to keep it from happening. From Kafka it goes to the oldest record that is kept, and takes the database behind the topics: docs/kafka.md.',
  },
  SOURCE_PUBLICATION_MISSING: {
    after: 'operator',
    fix: 'Create the publication named in the config, or let Tidegate do so with a user who owns the tables.',
  },
  SOURCE_WAL_LEVEL: { after: 'operator', fix: 'Set wal_level = logical on the source and restart it.' },
  SOURCE_SLOTS_FULL: {
    after: 'operator',
    fix: 'Raise max_replication_slots and max_wal_senders on the source, or drop slots nobody uses.',
  },
  SOURCE_PRIVILEGE: {
    after: 'operator',
    fix: 'Grant what is missing: `alter role … replication`, `grant select on …`, `bypassrls` where policies hide rows, ownership of the tables to create a publication.',
  },
  SOURCE_TABLE_MISSING: { after: 'operator', fix: 'Correct the list of tables in the config: this one does not exist.' },
  SOURCE_TOPIC_MISSING: {
    after: 'backoff',
    fix: 'Wait until the connector has made the topic (it does with the first record), or correct the topics in the config.',
  },
  SOURCE_NO_KEY: { after: 'operator', fix: 'Give the table a primary key: without one its rows cannot be told apart.' },
  SOURCE_ROW_TOO_LARGE: {
    after: 'operator',
    fix: 'The row is larger than `rowBytes` of the source, and so is its key, by which it would be held: raise the limit, or leave this table out.',
  },
  TARGET_UNREACHABLE: { after: 'backoff', fix: 'Check that the target is up and reachable.' },
  TARGET_AUTH: { after: 'operator', fix: 'Check the user and password in the url of the target, or what its brokers are shown (sasl).' },
  TARGET_PRIVILEGE: {
    after: 'operator',
    fix: 'Grant the role of the target what is missing: create on the database for the schemas, and select, insert, update, delete, truncate on the tables. Of topics: the rights that docs/kafka-target.md names.',
  },
  TARGET_SCHEMA: {
    after: 'operator',
    fix: 'Make the target table fit the dataset, or set `tables: {create: true, widen: true}`. Of topics: the registry refuses the schema by the compatibility of its subject; change that, or the table.',
  },
  TARGET_TABLE_CLAIMED: {
    after: 'operator',
    fix: 'Another pipeline writes this table: give yours another schema or, in the layouts of its target, another table. If both bring the same rows of one source, set `rowVersions` in the targets of both. If the other one has ended, name it under `takesOver` of this pipeline. Then resume the pipeline.',
  },
  TARGET_READ_ONLY: {
    after: 'backoff',
    fix: 'The target takes no writes (a standby, or default_transaction_read_only): point the url at the primary.',
  },
  TARGET_FULL: {
    after: 'backoff',
    fix: 'The target has no room left: give it disk, memory or connections, whichever its message names.',
  },
  TARGET_BUSY: {
    after: 'backoff',
    fix: 'Another session at the target holds locks on our rows, or somebody cancels our statements: see pg_locks and pg_stat_activity there if it goes on.',
  },
  STATE_UNREACHABLE: {
    after: 'backoff',
    fix: 'Check that the database named by `state` in the config is up and reachable, and that its role may create a schema there.',
  },
  TARGET_TOPIC_MISSING: {
    after: 'backoff',
    fix: 'Make the topic, or let Tidegate make it with a user who may.',
  },
  TARGET_RECORD_TOO_LARGE: {
    after: 'operator',
    fix: 'The brokers take no record as large as this one: raise max.message.bytes of the topic (and message.max.bytes of the brokers), then resume the pipeline.',
  },
  TARGET_UNDECIDED: {
    after: 'operator',
    fix: 'A batch was cut off so long ago that the brokers have forgotten whether they committed it. Look whether its records are in the topics (docs/kafka-target.md says how), run `commit prepared` or `rollback prepared` with the id named at the store, then resume the pipeline.',
  },
  LEASE_LOST: { after: 'backoff', fix: 'Nothing to do: another instance took this lane over.' },
  RULE_HALT: {
    after: 'operator',
    fix: 'A check with `on_fail: halt` failed. Look at the row, mend it or the rule, then resume the pipeline.',
  },
  WINDOW_FAILED: {
    after: 'operator',
    fix: 'A check over a window with `on_fail: halt` failed. See `tidegate windows list`, mend the source or the rule, then resume the pipeline.',
  },
  WINDOW_STAGED_FULL: {
    after: 'operator',
    fix: 'As many rows of a dataset are staged as may be: they wait for a window, or their dataset is held. See `tidegate windows lots`; let a held dataset go on with `tidegate windows resume`, or raise max_rows under publish of its rule file; then resume the pipeline.',
  },
  SCHEMA_DRIFT: {
    after: 'operator',
    fix: "The source table changed in a way the contract's schema section halts at. Change the contract, then resume the pipeline.",
  },
  SCHEMA_PARKED_FULL: {
    after: 'operator',
    fix: 'A change of the source table waits for you and has held as many events as `parkedRows` allows: see `tidegate schema list`, approve the change or raise the limit, then resume the pipeline.',
  },
  TOO_MUCH_QUARANTINE: {
    after: 'operator',
    fix: 'Look at the newest quarantined events: the source has probably changed. Then resume the pipeline.',
  },
  MODEL_UNAVAILABLE: {
    after: 'backoff',
    fix: 'The model does not answer and its failure policy is `hold`: register a working version, or choose fail_open or fail_closed.',
  },
  CONFIG_INVALID: { after: 'operator', fix: 'Correct the config or rule file at the path named.' },
  BUG: { after: 'bug', fix: 'Report this with the log: an invariant of the service did not hold.' },
} as const satisfies Record<string, { after: 'backoff' | 'operator' | 'bug'; fix: string }>;
export type ErrorCode = keyof typeof ERRORS;

export class PipelineError extends Error {
  override readonly name = 'PipelineError';
  readonly code: ErrorCode;

  /** `message` says what was being done, to what: dataset, key, rule, never a value or a secret. The reason goes into `cause`. */
  constructor(code: ErrorCode, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.code = code;
  }

  get after(): 'backoff' | 'operator' | 'bug' {
    return ERRORS[this.code].after;
  }

  get fix(): string {
    return ERRORS[this.code].fix;
  }
}

/** What an error says, with what its causes say beside that: they have most of the news. */
export function withCauses(error: Error): string {
  let text = error.message;
  for (let cause = error.cause; cause instanceof Error; cause = cause.cause)
    if (!text.includes(cause.message)) text = text === '' ? cause.message : `${text}: ${cause.message}`;
  return text;
}
