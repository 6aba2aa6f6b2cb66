/** Parts of rule files that other versions read and this one does not: each is said, none is silently ignored. */

interface Later {
  /** `error` where leaving it out would leave something unjudged or unprotected. */
  readonly severity: 'error' | 'warning';
  readonly message: string;
  readonly fix: string;
}

const described = (what: string): Later => ({
  severity: 'warning',
  message: `${what} is not supported yet and is not used`,
  fix: 'Remove it, or leave it for a later version.',
});
const needed = (what: string, fix: string): Later => ({ severity: 'error', message: `${what} is not supported yet`, fix });

/** By path in the file; a path ends the search, so nothing below it is looked at. */
export const LATER_PATHS: Readonly<Record<string, Later>> = {
  'source.topics': described('topics'),
  'source.envelope': described('envelope'),
  'source.key': described('key'),
  'source.image': described('image'),
  'schema.format': { severity: 'warning', message: 'format is not needed: the registry says it', fix: 'Remove it.' },
  'breaker.half_open': described('half_open'),
  'quarantine.redact': needed('redact', 'Remove it. Findings show no values unless a check allows them; held events are kept whole.'),
  'quarantine.topic': described('topic'),
  'quarantine.body': described('body'),
  'quarantine.headers': described('headers'),
  'quarantine.key_fence': needed('key_fence', 'Write `hold: key` at the top of the file instead: later events of a held key wait.'),
  'quarantine.retention': described('retention'),
  replay: described('replay'),
  imports: needed('imports', 'Write the checks in this file.'),
};

/** Modifiers that only window checks use. */
const OF_WINDOWS = ['window', 'group_by', 'max_groups', 'on_empty', 'min_rows'];

export const LATER_MODIFIERS: ReadonlyMap<string, Later> = new Map([
  ...OF_WINDOWS.map((name): [string, Later] => [
    name,
    { severity: 'error', message: `${name} belongs to checks over windows of a stream`, fix: 'Remove it.' },
  ]),
  ...['every', 'within'].map((name): [string, Later] => [name, needed(`${name}, beside a check,`, 'Remove it.')]),
]);
