/** How often the reader of a slot does what it does by the clock, and how long it waits. */
export interface StreamTiming {
  /** How often is looked for tables that were renamed, while there are any. */
  readonly awayMs: number;
  /** How often is looked whether tables have left the publication and come back. */
  readonly entriesMs: number;
  /** How often the server hears from us at least. */
  readonly statusMs: number;
  /** The server counts as gone when it says nothing for so long, asked or not. */
  readonly silenceMs: number;
  /** An idle lane is moved on this often at most … */
  readonly idleMs: number;
  /** … and when the log has grown by so many bytes. */
  readonly idleBytes: number;
}

export const TIMING: StreamTiming = {
  awayMs: 2000,
  entriesMs: 10_000,
  statusMs: 5000,
  silenceMs: 60_000,
  idleMs: 10_000,
  idleBytes: 65_536,
};
