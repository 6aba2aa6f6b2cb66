/**
 * How a database's log tells what a target's sessions wrote from what was changed there: each of their transactions begins with a message of this
 * prefix. A replication origin would say the same, but belongs to one session at a time, and wants a superuser.
 */
export const WRITTEN_PREFIX = 'tidegate.written';
