/** docs/errors.md, made from the table in core/errors.ts. */
import { ERRORS } from '../core/errors.ts';

type After = (typeof ERRORS)[keyof typeof ERRORS]['after'];

const FOLLOWS: Readonly<Record<After, { readonly title: string; readonly text: string }>> = {
  backoff: {
    title: 'Tried again by itself',
    text: 'The lane runs again from its checkpoint, after a wait that grows from 0.2 s to 30 s. Nothing has to be done for it, though the cause may need you.',
  },
  operator: {
    title: 'Waits for you',
    text: 'The lane halts at its checkpoint and stays halted over restarts, until you have mended the cause and resumed the pipeline, by `tidegate resume` or on the page. Over credentials that were refused (`SOURCE_AUTH`, `TARGET_AUTH`) it stays halted until the service is started again, for they are read at the start.',
  },
  bug: {
    title: 'Is ours to mend',
    text: 'Something that cannot happen did. The lane halts at its checkpoint, so that nothing gets worse.',
  },
};

/** The page as Markdown: every code once, under what follows it, in the order of the table. */
export function errorsPage(): string {
  const codes = Object.entries(ERRORS);
  const sections = Object.entries(FOLLOWS).map(([after, { title, text }]) => {
    const rows = codes.filter(([, error]) => error.after === after).map(([code, { fix }]) => `| \`${code}\` | ${cell(fix)} |`);
    return `## ${title}\n\n${text}\n\n| code | what you do |\n|---|---|\n${rows.join('\n')}\n`;
  });
  return `# Errors

Made from the table in core/errors.ts by \`npm run generate\`. The codes are what logs, alerts, the page and the HTTP API name; messages beside them say
what was being done, to which dataset, key or rule, and never a row's values. Bad rows are no errors: they are findings, see [delivery](delivery.md).

${sections.join('\n')}`;
}

function cell(text: string): string {
  return text.replaceAll('|', '\\|').replaceAll('\n', ' ');
}
