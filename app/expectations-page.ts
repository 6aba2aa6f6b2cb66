/** docs/expectations.md, made from the registry of expectations over files and windows: its words, examples and names. */
import type { ClockExpectation } from '../quality/clock/check.ts';
import { CLOCK } from '../quality/clock/registry.ts';
import type { GxExpectation, Word } from '../quality/gx/expectation.ts';
import { EXPECTATIONS } from '../quality/expectations/registry.ts';
import { checkOf } from '../quality/great-expectations.ts';
import { NAME_EXAMPLES, type NameExample } from '../quality/gx/examples.ts';
import { CATALOGUE, LEFT_OUT, WORDS } from '../quality/gx/registry.ts';
import { Kwargs } from '../quality/gx/kwargs.ts';
import type { TimerExpectation } from '../quality/timers/check.ts';
import { TIMERS, TIMERS_OF_GX } from '../quality/timers/registry.ts';

const LEVELS: Readonly<Record<Word['level'], string>> = {
  row: 'Rows, with others in mind',
  window: 'The rows as a whole',
  schema: 'Columns',
};

export function expectationsPage(): string {
  const words = [...WORDS.values()];
  const sections = Object.entries(LEVELS).map(
    ([level, title]) =>
      `## ${title}\n\n${words
        .filter(({ word }) => word.level === level)
        .map(section)
        .join('\n')}`,
  );
  const names = [...CATALOGUE.keys()].filter((name) => name.startsWith('expect_')).toSorted();
  return `# Expectations over files

Made from the registry in quality/gx/registry.ts by \`npm run generate\`. These are checks that need more than one row: they stand in rule files beside the
[checks of single rows](rules.md), and [\`tidegate judge\`](judge.md) judges a file by them. Those of "The rows as a whole" are judged over [windows of a live stream](windows.md) as well,
and so are the others that say what a window keeps for them. \`unique\` and \`compound_unique\` are [asked of the target](keyed.md), and those of "Columns" are about the table that rows come out of. Every example is run by a test: over the rows behind \`passes\` the rule holds, over those behind \`fails\` it does not.
Those with rows behind \`after\` are held against [the windows before](windows.md#windows-beside-those-before), and those \`by scores\` of what [a model made of rows](windows.md#what-models-make-of-rows): they are refused over a file.

${sections.join('\n')}
## The clock

On a live stream alone, as items of \`checks\`: see [windows](windows.md#the-clock). Behind \`passes\` and \`fails\` is what is known of a dataset: how old its newest row is, how long ago anything came, or
how late its rows were.

${[...CLOCK.values()].map(clockSection).join('\n')}
## Asked of databases

On a live stream alone, as items of \`checks\`: see [windows](windows.md#asking-the-databases). Behind \`passes\` and \`fails\` are the rows that the table has.

${[...TIMERS.values()].map(timerSection).join('\n')}
## Names of Great Expectations

In a suite, or in a rule file as \`expect:\` with \`kwargs:\`, each with the kwargs it has there. On a live stream \`row_condition\` is read as a \`where\`, and what a check of a row does when it fails is said by \`on_fail\`.

| name | check | on a live stream |
|---|---|---|
${names.map((name) => `| \`${name}\` | ${shortOf(name)} | ${judgedOf(name)} |`).join('\n')}
${[...TIMERS_OF_GX].map(([name, { name: word }]) => `| \`${name}\` | [${word}](#${word}) | asked of databases; refused over a file |`).join('\n')}

Not judged:

${[...LEFT_OUT]
  .filter(([name]) => !TIMERS_OF_GX.has(name))
  .map(([name, { reason, fix }]) => `- \`${name}\`: ${reason}. ${fix}`)
  .join('\n')}

Those whose check has no example above:

${Object.entries(NAME_EXAMPLES).map(nameSection).join('\n')}`;
}

/** The word that means the same; row_count is the word of two names. */
function shortOf(name: string): string {
  const word = CATALOGUE.get(name)?.word?.name;
  if (word !== undefined) return `[${word}](#${word})`;
  const check = checkOf(name);
  return check === undefined ? '' : `\`${check}\``;
}

function judgedOf(name: string): string {
  if (CATALOGUE.get(name)?.window !== undefined) return 'over windows';
  const expectation = EXPECTATIONS.get(checkOf(name) ?? '');
  if (expectation === undefined) throw new Error(`${name} is judged over files alone`);
  if (expectation.judgesTable) return 'the table, when rules are loaded and when it changes';
  return expectation.asksTarget === null ? 'row by row' : 'row by row, beside those at the target';
}

function nameSection([name, { kwargs, passes, fails }]: readonly [string, NameExample]): string {
  const rows = (list: readonly object[]) => list.map((row) => JSON.stringify(row)).join(' ');
  return `#### ${name}

\`\`\`yaml
checks:
  - { expect: ${name}, kwargs: ${JSON.stringify(kwargs)} }
# passes ${rows(passes)}
# fails ${rows(fails)}
\`\`\`
`;
}

function section({ name, word, window }: GxExpectation & { readonly word: Word }): string {
  const rows = (list: readonly object[]) => list.map((row) => JSON.stringify(row)).join(' ');
  const head = word.on === 'column' ? `columns:\n  ${word.example.rule}` : `checks:\n  ${word.example.rule}`;
  const { after, scoredBy } = word.example;
  const known = name.startsWith('expect_') ? ` Great Expectations: \`${name}\`.` : '';
  return `### ${word.name}

${described(word)}${known}${stateOf(window, word)}

\`\`\`yaml
${head}
${scoredBy === undefined ? '' : `# by scores of ${scoredBy}\n`}${after === undefined ? '' : `# after ${after.windows} windows of ${rows(after.rows)}\n`}# passes ${rows(word.example.passes)}
# fails ${rows(word.example.fails)}
\`\`\`
`;
}

function clockSection({ name, schema, example }: ClockExpectation): string {
  return `### ${name}

${described({ schema })}

\`\`\`yaml
checks:
  ${example.rule}
# passes ${JSON.stringify(example.passes)}
# fails ${JSON.stringify(example.fails)}
\`\`\`
`;
}

function timerSection({ name, schema, example, gx }: TimerExpectation): string {
  const rows = (list: readonly object[]) => list.map((row) => JSON.stringify(row)).join(' ');
  return `### ${name}

${described({ schema })}${gx === null ? '' : ` Great Expectations: \`${gx.name}\`.`}

\`\`\`yaml
checks:
  ${example.rule}
${example.beside === undefined ? '' : `# ${example.beside.dataset} ${rows(example.beside.rows)}\n`}# passes ${rows(example.passes)}
# fails ${rows(example.fails)}
\`\`\`
`;
}

function described({ schema }: Pick<Word, 'schema'>): string {
  const text = schema['description'];
  return typeof text === 'string' ? text : '';
}

/** What a window keeps for it. */
function stateOf(window: GxExpectation['window'], word: Word): string {
  if (window === undefined) return '';
  const { kind } = window(new Kwargs(EXAMPLE_KWARGS[word.name] ?? COMMON_KWARGS, 0));
  if (kind.name === 'nothing') return '';
  return ` ${word.level === 'row' ? 'A window keeps' : 'Keeps'} ${KEPT[kind.size]}${kind.retracts ? '' : ', of which none can be taken back'}.`;
}

const KEPT = {
  fixed: 'a few numbers',
  'all values': 'all values',
  'distinct values': 'the distinct values',
  'timed values': 'all values with their times',
} as const;

/** Of those that compare with a set; others take no notice. */
const COMMON_KWARGS = { value_set: [1] };
const EXAMPLE_KWARGS: Readonly<Record<string, Readonly<Record<string, unknown>>>> = {
  quantiles: { quantile_ranges: { quantiles: [0.5], value_ranges: [[null, null]] } },
  psi: { values: [1], weights: [1], max: 0 },
  js: { values: [1], weights: [1], max: 0 },
  ks: { bins: [0, 1], weights: [1], max: 0 },
  metric_anomaly: { metric: 'mean' },
  score_drift: { model: 'm', bins: [0, 1], weights: [1], max: 0 },
  abstain_rate: { model: 'm', max: 0 },
  feature_missing: { model: 'm', max: 0 },
  drift: { metric: 'psi', reference: { rolling: { windows: 1 } }, max: 0 },
  chi_square: { values: [1], weights: [1], max: 0 },
  compound_duplicates: { columns: ['a', 'b'] },
  z_score: { threshold: 1, double_sided: true },
  row_count_equals: { other_table_name: 'copy' },
  kl: { partition_object: { values: [1], weights: [1] }, threshold: 0 },
};
