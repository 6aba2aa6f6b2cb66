/** The privileges that the docs ask for, as the docs say them: what is tested is what people run. */
import { readFile } from 'node:fs/promises';

/** The blocks of SQL under a heading of a page of the docs, with each of these names replaced. */
export async function sqlOfDocs(page: string, heading: string, names: Readonly<Record<string, string>>): Promise<readonly string[]> {
  const text = await readFile(new URL(`../../docs/${page}`, import.meta.url), 'utf8');
  const section = text.split(/^## /m).find((part) => part.startsWith(`${heading}\n`));
  if (section === undefined) throw new Error(`${page} has no section ${heading}`);
  const blocks = [...section.matchAll(/```sql\n(.*?)```/gs)].map(([, sql = '']) => sql);
  for (const name of Object.keys(names)) if (!blocks.some((sql) => sql.includes(name))) throw new Error(`${page} does not name ${name}`);
  return blocks.map((sql) => Object.entries(names).reduce((all, [name, by]) => all.replaceAll(new RegExp(`\\b${name}\\b`, 'g'), by), sql));
}

export const LEAST = 'The least that a role needs';
