/** CSV as bytes: however a file is cut into pieces its records are the same, and fields are the values that a naive reading makes of them. */
import fc from '../support/fast-check.ts';
import { describe, expect, test } from 'vitest';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { csvShape, readCsv } from '../../app/judge/csv.ts';
import { type Fields, fieldReader, kindOfField, Records } from '../../app/judge/csv-records.ts';

type Field = string | null;

function recordsOf(pieces: readonly Buffer[], path = 'rows.csv'): readonly (readonly Field[])[] {
  const found: Field[][] = [];
  const records = new Records(path, (fields) => {
    found.push(Array.from({ length: fields.count }, (_, at) => (fields.isNull(at) ? null : fields.text(at))));
  });
  for (const piece of pieces) records.push(Buffer.from(piece));
  records.push(Buffer.alloc(0), true);
  return found;
}

const plain = fc.string({ unit: fc.constantFrom('a', 'é', '1', ' ', '\t', '日'), minLength: 1, maxLength: 6 });
const quoted = fc.string({ unit: fc.constantFrom('a', '"', ',', '\n', '\r', 'é', '1'), maxLength: 6 });
const field = fc.oneof(
  fc.constant({ written: '', value: null as Field }),
  plain.map((text) => ({ written: text, value: text as Field })),
  quoted.map((text) => ({ written: `"${text.replaceAll('"', '""')}"`, value: text as Field })),
);

test('records are the same however the file is cut into pieces', () => {
  const file = fc.tuple(
    fc.array(fc.array(field, { minLength: 2, maxLength: 4 }), { maxLength: 5 }),
    fc.constantFrom('\n', '\r\n'),
    fc.boolean(),
  );
  fc.assert(
    fc.property(file, fc.array(fc.nat(40), { maxLength: 6 }), ([rows, newline, isEnded], cuts) => {
      const text =
        rows.map((row) => row.map(({ written }) => written).join(',')).join(newline) + (isEnded && rows.length > 0 ? newline : '');
      const bytes = Buffer.from(text);
      const places = [0, ...cuts.map((cut) => Math.min(cut, bytes.length)).sort((a, b) => a - b), bytes.length];
      const pieces = places.slice(1).map((to, at) => bytes.subarray(places[at], to));
      expect(recordsOf(pieces)).toEqual(rows.map((row) => row.map(({ value }) => value)));
    }),
    { numRuns: 500 },
  );
});

test('a .tsv file has tabs', () => expect(recordsOf([Buffer.from('a\tb,c\n')], 'rows.TSV')).toEqual([['a', 'b,c']]));

describe('fields', () => {
  const number = fc.oneof(
    fc.stringMatching(/^-?\d{1,20}(\.\d{1,18})?([eE][+-]?\d{1,3})?$/),
    fc.constantFrom('-', '.', '1.', '.5', '1e', '1e+', '-0', '0.1', '007', 'true', 'FALSE', 'tru', '9007199254740993', '1.5x', 'NaN'),
  );
  const read = (text: string, use: (fields: Fields) => void) => {
    const records = new Records('rows.csv', use);
    records.push(Buffer.from(`${text}\n`), true);
  };

  test('are of the kind that regular expressions say, and numbers are those of the language', () => {
    fc.assert(
      fc.property(number, (text) =>
        read(text, (fields) => {
          const kind = kindOfField(fields, fields.start(0), fields.length(0));
          const isWhole = /^-?(0|[1-9]\d*)$/.test(text);
          const isFloat = /^-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?$/.test(text);
          expect(kind).toBe(isWhole ? 'integer' : isFloat ? 'float' : /^(true|false)$/i.test(text) ? 'boolean' : 'text');
          const near = Number(text);
          if (kind === 'float') expect(fieldReader('float')(fields, 0)).toBe(near);
          if (kind === 'integer') expect(fieldReader('integer')(fields, 0)).toBe(Number.isSafeInteger(near) ? near : BigInt(text));
          if (kind === 'boolean') expect(fieldReader('boolean')(fields, 0)).toBe(text.toLowerCase() === 'true');
        }),
      ),
      { numRuns: 1000 },
    );
  });

  test('texts that were there before are themselves', () => {
    const words = ['a', 'b', 'ab', 'ba', 'é', 'è', 'aé', 'abc', 'acb', ''];
    fc.assert(
      fc.property(fc.array(fc.constantFrom(...words), { maxLength: 60 }), (texts) => {
        const reader = fieldReader('text');
        const found: unknown[] = [];
        const records = new Records('rows.csv', (fields) => found.push(reader(fields, 0)));
        records.push(Buffer.from(texts.map((text) => `"${text}"\n`).join('')), true);
        expect(found).toEqual(texts);
      }),
    );
  });
});

test.each(['x', '1.5', '007', '1e3'])(
  'a file into which somebody wrote %s after its fields were looked at is told to be changed',
  async (written) => {
    const folder = mkdtempSync(join(tmpdir(), 'tidegate-csv-'));
    try {
      const file = { path: join(folder, 'rows.csv'), signal: new AbortController().signal };
      writeFileSync(file.path, 'a,b\n1,true\n');
      const csv = await csvShape(file);
      writeFileSync(file.path, `a,b\n1,true\n${written},false\n`);
      await expect(readCsv({ ...file, csv }, ['a'], () => {})).rejects.toThrow(/rows\.csv was changed while it was read/);
    } finally {
      rmSync(folder, { recursive: true });
    }
  },
);
