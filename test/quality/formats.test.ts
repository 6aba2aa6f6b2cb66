/** `format`: what is of a format, and what is not, against the formats' own definitions. */
import fc from '../support/fast-check.ts';
import { describe, expect, test } from 'vitest';
import { COUNTRIES_2, COUNTRIES_3, CURRENCIES } from '../../quality/codes.ts';
import type { Value } from '../../core/event.ts';
import { type Cells, insert, rule } from './support.ts';

const RUNS = { numRuns: 150 };
const cell = (column: keyof Cells, value: Value) => insert({ [column]: value });

/** Texts of a German IBAN's form whose check digits are these, and which are right mod 97. */
function ibansWith(digits: string): string[] {
  const found = Array.from({ length: 200 }, (_, n) => `DE${digits}${String(n).padStart(18, '0')}`);
  return found.filter((text) => BigInt(`${text.slice(4)}1314${digits}`) % 97n === 1n).slice(0, 2);
}

describe('format', () => {
  const cases: Record<string, { good: readonly string[]; bad: readonly string[] }> = {
    uuid: {
      good: ['6f9619ff-8b86-d011-b42d-00c04fc964ff', '6F9619FF-8B86-D011-B42D-00C04FC964FF'],
      bad: ['', '6f9619ff8b86d011b42d00c04fc964ff', '{6f9619ff-8b86-d011-b42d-00c04fc964ff}', '6f9619ff-8b86-d011-b42d-00c04fc964fg'],
    },
    email: {
      good: [
        'a@b.org',
        `a@${'b'.repeat(63)}.org`,
        `${'a'.repeat(64)}@b.org`,
        'a@1.b2',
        'a@b.1-2',
        'first.last+tag@sub.example.com',
        'ü@bücher.example',
        "o'neil@example.org",
        '!#$%&*+/=?^_`{|}~-@b.org',
        'a@xn--bcher-kva.example',
      ],
      bad: [
        '',
        'a',
        '@b.org',
        'a@',
        'a@b',
        'a..b@c.org',
        '.a@c.org',
        'a.@c.org',
        'a@-b.org',
        'a@b..org',
        'a b@c.org',
        'a@b-.org',
        'a@b.org.',
        `a@${'b'.repeat(64)}.org`,
        'a@b.1',
        'a@b@c.org',
        `${'a'.repeat(65)}@b.org`,
        `a@${'b.'.repeat(126)}org`,
        'a\u00a0b@c.org',
        'a@b\u3000c.org',
        '"a b"@c.org',
        'a@[10.0.0.1]',
        'a@b_c.org',
        'Ann <a@b.org>',
        'a@b.org\n',
      ],
    },
    ipv4: {
      good: ['0.0.0.0', '255.255.255.255', '10.0.200.9'],
      bad: [
        '',
        '256.0.0.1',
        '1.2.3',
        '01.2.3.4',
        '1.2.3.4.5',
        '1.2.3.4 ',
        '1.2.3.',
        '1..3.4',
        '1.2.3.-4',
        '1.2.3.4/24',
        '0x1.2.3.4',
        '１.2.3.4',
        '1.2.3.4\n',
      ],
    },
    ipv6: {
      good: [
        '::',
        '::1',
        '2001:db8::1',
        '1::',
        '1:2:3:4:5:6:7::',
        '::2:3:4:5:6:7:8',
        'ABCD:EF01:2345:6789:abcd:ef01:2345:6789',
        '64:ff9b::192.0.2.33',
        '1:2:3:4:5:6:7:8',
        '::ffff:1.2.3.4',
        '1:2:3:4:5:6:1.2.3.4',
      ],
      bad: [
        '',
        ':',
        ':::',
        '1:2:3:4:5:6:7',
        '1::2::3',
        '12345::',
        'fe80::1%eth0',
        '1:2:3:4:5:6:7:8::',
        '::1.2.3',
        '1.2.3.4::',
        '::1.2.3.256',
        '1:2:3:4:5:6:7:1.2.3.4',
        ':1:2:3:4:5:6:7',
        '1:2:3:4:5:6:7:',
        '::1 ',
        '[::1]',
        '::/64',
        '1:2:3:4:5:6:7:8:9',
        'g::',
      ],
    },
    uri: {
      good: [
        'https://example.org/a?b=c#d',
        'mailto:a@b.org',
        'urn:isbn:1',
        'file:///etc/hosts',
        'http://[::1]:80/',
        'a+b:c',
        'http://user:pw@h:8080/a;b=1?c=%20#',
        'data:,x',
        'a:',
        'http://h?q',
        'http://1.2.3.4:',
      ],
      bad: [
        '',
        'example.org',
        '://x',
        'http://',
        'http://a b',
        'http://a/%zz',
        '1a:b',
        'http://[::g]/',
        'http://a#b#c',
        'http://a/<b>',
        'http://[x]@h/',
        'http://h:80x',
        'http://a:1:2',
        'http://u@v@h',
        'http://h/%4',
        'http://h/é',
        'http://h/[a]',
        '//h/a',
        '/a',
        'a',
        'mailto:a b',
        'http://h/\n',
      ],
    },
    date: {
      good: ['2026-11-24', '2024-02-29', '2000-02-29', '0001-01-01', '9999-12-31'],
      bad: [
        '1900-02-29',
        '2026-11-31',
        '2026-00-10',
        '2026-11-00',
        '10000-01-01',
        '-2026-01-01',
        '0044-03-15 BC',
        'infinity',
        '2026-11-24 ',
        '20261124',
        '',
        '2026-02-29',
        '2026-1-1',
        '2026-11-24T00:00:00Z',
        '2026-13-01',
        '24.11.2026',
      ],
    },
    'date-time': {
      good: [
        '2026-11-24T13:45:00Z',
        '2026-11-24t13:45:00.123z',
        '2026-11-24 13:45:00+01:00',
        '2026-11-24T13:45:00+23:00',
        '2026-11-24T00:00:00.000000001-00:00',
        '1998-12-31T23:59:60Z',
        '1998-12-31T15:59:60.5-08:00',
        '1999-01-01T00:59:60+01:00',
      ],
      bad: [
        '2026-11-24T24:00:00Z',
        '2026-11-24T12:34:60Z',
        '1998-12-31T23:59:60+01:00',
        '2026-11-24T13:45:61Z',
        '2026-11-24T13:60:00Z',
        '2026-11-24T13:45Z',
        '2026-11-24T13:45:00.Z',
        '2026-11-24T13:45:00+0100',
        '2026-11-24T13:45:00+01',
        '2026-11-24T13:45:00+01:60',
        '2026-11-24T13:45:00Z ',
        '2025-02-29T00:00:00Z',
        '',
        '2026-11-24',
        '2026-11-24T13:45:00',
        '2026-11-24T25:00:00Z',
        '2026-02-30T00:00:00Z',
        '2026-11-24T13:45:00+24:00',
      ],
    },
    iban: {
      // Of SWIFT's registry: one of each kind of structure, the shortest and the longest among them.
      good: [
        'DE89370400440532013000',
        'GB29 NWBK 6016 1331 9268 19',
        'NO9386011117947',
        'MT84MALT011000012345MTLCAST001S',
        'LC55HEMM000100010012001200023015',
        'BR1800360305000010009795493C1',
        'FR1420041010050500013M02606',
        'SA0380000000608010167519',
        'CH9300762011623852957',
        'XK051212012345678906',
      ],
      bad: [
        '',
        'DE89370400440532013001',
        'DE8937040044053201300',
        'ZZ89370400440532013000',
        'de89370400440532013000',
        'DE89 3704004405 32013000',
        'DE89370400440532013000 ',
        ' DE89370400440532013000',
        'DE89-3704-0044-0532-0130-00',
        'DEXX370400440532013000',
        'GB29nwbk60161331926819',
        // Right mod 97, with check digits that are never made: 00 and 01 instead of 97 and 98, 99 instead of 02.
        ...['00', '01', '99'].flatMap((digits) => ibansWith(digits)),
      ],
    },
    currency: { good: ['EUR', 'XAU', 'XXX', 'USD', 'SLE', 'XCG'], bad: ['', 'eur', 'EURO', 'ZZZ', 'EU', 'EUR ', 'DEM', 'BTC', '978', '€'] },
    country: {
      good: ['DE', 'DEU', 'SS', 'SSD', 'ZW', 'AX'],
      bad: ['', 'de', 'ZZ', 'UK', 'Germany', 'AN', 'SU', 'D', 'DEUT', '276', 'DE ', 'XK', 'EU'],
    },
  };
  test('the codes are all there, each of its form', () => {
    expect([COUNTRIES_2.size, COUNTRIES_3.size]).toEqual([249, 249]);
    expect([...COUNTRIES_2, ...COUNTRIES_3, ...CURRENCIES].every((code) => /^[A-Z]{2,3}$/.test(code))).toBe(true);
    // Those that a runtime knows of are countries or currencies here too, but for regions that ISO 3166-1 has no code for.
    const currencies = Intl.supportedValuesOf('currency');
    expect(currencies.length).toBeGreaterThan(150);
    const regions = new Intl.DisplayNames(['en'], { type: 'region', fallback: 'none' });
    const letters = Array.from({ length: 26 }, (_, i) => String.fromCharCode(65 + i));
    const known = letters.flatMap((a) => letters.map((b) => a + b)).filter((code) => regions.of(code) !== undefined);
    const missing = [...COUNTRIES_2].filter((code) => !known.includes(code));
    expect(missing).toEqual([]);
  });
  test.each(Object.entries(cases))('%s', (name, { good, bad }) => {
    const check = rule('email', { format: name });
    expect(good.filter((text) => check(cell('email', text)) !== true)).toEqual([]);
    expect(bad.filter((text) => check(cell('email', text)) !== false)).toEqual([]);
  });
  test('generated ones pass, and with a character of another kind they fail', () => {
    const email = rule('email', { format: 'uuid' });
    const ipv6 = rule('email', { format: 'ipv6' });
    fc.assert(
      fc.property(fc.uuid(), fc.ipV6(), fc.ipV4(), fc.emailAddress(), fc.webUrl(), (uuid, v6, v4, address, url) => {
        expect([uuid, `${uuid}0`].map((text) => email(cell('email', text)))).toEqual([true, false]);
        expect([v6, `${v6}g`].map((text) => ipv6(cell('email', text)))).toEqual([true, false]);
        expect(rule('email', { format: 'ipv4' })(cell('email', v4))).toBe(true);
        expect(rule('email', { format: 'email' })(cell('email', address))).toBe(true);
        expect(rule('email', { format: 'uri' })(cell('email', url))).toBe(true);
      }),
      RUNS,
    );
  });
  test('an IBAN with one digit changed is none', () => {
    fc.assert(
      fc.property(fc.integer({ min: 4, max: 21 }), fc.integer({ min: 1, max: 9 }), (at, by) => {
        const valid = 'DE89370400440532013000';
        const changed = `${valid.slice(0, at)}${(Number(valid[at]) + by) % 10}${valid.slice(at + 1)}`;
        expect(rule('email', { format: 'iban' })(cell('email', changed))).toBe(false);
      }),
    );
    expect(CURRENCIES.has('EUR')).toBe(true);
  });
});
