/** The tables of the state file, as numbered steps: never edited once released, only followed by more. */

export const MIGRATIONS: readonly string[] = [
  /* 1: what the service remembers */ `
  create table setting (
    name text primary key,
    value text not null
  ) strict;
  create table halt (
    pipeline text primary key,
    code text not null,
    message text not null,
    fix text not null,
    at_ms integer not null
  ) strict;
  create table breaker_opened (
    pipeline text not null,
    dataset text not null,
    record text not null,
    primary key (pipeline, dataset)
  ) strict;
  create table model_version (
    model text not null,
    version integer not null,
    record text not null,
    bytes blob not null,
    primary key (model, version)
  ) strict;
  create table model_alias (
    model text not null,
    alias text not null,
    version integer not null,
    primary key (model, alias),
    foreign key (model, version) references model_version (model, version)
  ) strict;
  create table alert_outbox (
    seq integer primary key autoincrement,
    id text not null,
    endpoint text not null,
    type text not null,
    body text not null,
    created_at_ms integer not null,
    attempts integer not null,
    next_attempt_at_ms integer not null,
    unique (id, endpoint)
  ) strict;
  create index alert_outbox_due on alert_outbox (endpoint, next_attempt_at_ms);
  create table alert_delivery (
    id text not null,
    endpoint text not null,
    type text not null,
    created_at_ms integer not null,
    settled_at_ms integer not null,
    attempts integer not null,
    outcome text not null check (outcome in ('delivered', 'given-up')),
    why text,
    primary key (id, endpoint)
  ) strict;
  create index alert_delivery_settled on alert_delivery (settled_at_ms);
  `,
  /* 2: pauses outlive the service */ `
  create table snapshot_pause (
    pipeline text primary key,
    by_whom text not null,
    at_ms integer not null
  ) strict;
  `,
  /* 3: the rules in force of pipelines whose files have been refused since */ `
  create table kept_rules (
    pipeline text primary key,
    record text not null
  ) strict;
  `,
  /* 4: whose turn a pipeline is */ `
  create table turn (
    pipeline text primary key,
    instance text not null,
    host text not null,
    pid integer not null,
    since_ms integer not null,
    beat_ms integer not null,
    taken integer not null
  ) strict;
  `,
  /* 5: what each instance has counted of its rules */ `
  create table rule_series (
    pipeline text not null,
    instance text not null,
    record text not null,
    said_ms integer not null,
    primary key (pipeline, instance)
  ) strict;
  `,
  /* 6: the session that each pipeline last read its slot with */ `
  create table slot_reader (
    pipeline text primary key,
    pid text not null,
    started_at text not null
  ) strict;
  `,
];
