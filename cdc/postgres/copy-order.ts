/** In which order tables are copied: rows that others name come first, so that none of those is held for a row that is about to come. */

/** Whether a table waits for one of `left`, which are not copied to their end. Of those that name each other, by whatever way, none waits for the other. */
export function comesAfter(table: string, left: Iterable<string>, names: (table: string) => readonly string[]): boolean {
  const before = reachable(table, names);
  if (before.size === 0) return false;
  for (const other of left) if (before.has(other) && !reachable(other, names).has(table)) return true;
  return false;
}

/** What a table names, and what that names, and so on. */
function reachable(table: string, names: (table: string) => readonly string[]): ReadonlySet<string> {
  const found = new Set<string>(names(table));
  for (const one of found) for (const next of names(one)) found.add(next);
  return found;
}
