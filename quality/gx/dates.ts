/** Dates as people and Python write them: what dateutil reads, in short, and strptime formats. */
import { microsOf } from '../../core/expression/timestamp.ts';
import { Moment } from '../states/cell.ts';

const MONTHS = ['january', 'february', 'march', 'april', 'may', 'june', 'july', 'august', 'september', 'october', 'november', 'december'];
const DAYS = ['monday', 'tuesday', 'wednesday', 'thursday', 'friday', 'saturday', 'sunday'];
const SKIPPED = new Set([' ', '.', ',', ';', '-', '/', "'", 'at', 'on', 'and', 'ad', 'm', 't', 'of', 'st', 'nd', 'rd', 'th']);
const UNITS = new Map([
  ['h', 0],
  ['hour', 0],
  ['hours', 0],
  ['m', 1],
  ['minute', 1],
  ['minutes', 1],
  ['s', 2],
  ['second', 2],
  ['seconds', 2],
]);

function monthOf(word: string): number {
  const text = word.toLowerCase();
  if (text === 'sept') return 9;
  return MONTHS.findIndex((month) => month === text || month.slice(0, 3) === text) + 1;
}

function isWeekday(word: string): boolean {
  const text = word.toLowerCase();
  return DAYS.some((day) => day === text || day.slice(0, 3) === text);
}

/** The moment that a text names; null where it names none. Without a zone it is in UTC; what is left out of the date is today's. */
export function parseDate(text: string, nowMs: number): Moment | null {
  const iso = microsOf(text.trim());
  if (iso !== null) return new Moment(iso, text);
  const parts = new DateReader(text).read();
  return parts === null ? null : momentOf(parts, text, nowMs);
}

interface Parts {
  readonly year: number | null;
  readonly month: number | null;
  readonly day: number | null;
  readonly seconds: number;
  readonly micros: number;
  readonly offset: number;
}

function momentOf({ year, month, day, seconds, micros, offset }: Parts, text: string, nowMs: number): Moment | null {
  const now = new Date(nowMs);
  const [y, m] = [year ?? now.getUTCFullYear(), month ?? now.getUTCMonth() + 1];
  const last = new Date(Date.UTC(2000 + (y % 400), m, 0)).getUTCDate();
  const d = day ?? Math.min(now.getUTCDate(), last);
  if (y < 1 || y > 9999 || m < 1 || m > 12 || d < 1 || d > last) return null;
  const ms = new Date(0).setUTCFullYear(y, m - 1, d);
  return new Moment(BigInt(ms / 1000 + seconds - offset) * 1_000_000n + BigInt(micros), text);
}

class DateReader {
  readonly #tokens: readonly string[];
  #at = 0;
  /** Numbers of the date in the order in which they stand; a month that was named, and a year that can only be one. */
  readonly #numbers: { readonly value: number; readonly isMonth: boolean; readonly isYear: boolean }[] = [];
  #time: [number, number, number] | null = null;
  #micros = 0;
  #offset = 0;
  #hasAfternoon = false;
  /** The time is an hour alone, which may be beyond 12 where am or pm follows. */
  #isHour = false;
  #isAfterZone = false;

  constructor(text: string) {
    this.#tokens = text.match(/\d+|[A-Za-z]+|\s+|[^]/g)?.map((token) => (/^\s+$/.test(token) ? ' ' : token)) ?? [];
  }

  read(): Parts | null {
    let found = false;
    while (this.#at < this.#tokens.length) {
      const token = this.#tokens[this.#at] ?? '';
      const read = /^\d/.test(token) ? this.#number(token) : this.#word(token);
      if (read === 'no') return null;
      found ||= read === 'found';
    }
    const date = found ? this.#date() : null;
    if (date === null) return null;
    const [hour, minute, second] = this.#time ?? [0, 0, 0];
    if (hour > 23 || minute > 59 || second > 59) return null;
    return { ...date, seconds: hour * 3600 + minute * 60 + second, micros: this.#micros, offset: this.#offset };
  }

  #peek(ahead = 1): string {
    return this.#tokens[this.#at + ahead] ?? '';
  }

  #number(token: string): 'found' | 'no' {
    const next = this.#peek();
    const unit = UNITS.get((next === ' ' ? this.#peek(2) : next).toLowerCase());
    if (next === ':') return this.#clock(token);
    if (unit !== undefined) return this.#unit(token, unit, next === ' ' ? 3 : 2);
    if (this.#takeHalfOfDay(token) || this.#takeTime(token)) return 'found';
    if (token.length >= 6 && this.#compact(token)) return 'found';
    if (token.length > 4) return 'no';
    this.#take(token);
    this.#at++;
    return 'found';
  }

  /** 20261124 and with the time behind it; six digits are three numbers, or a time where a part of the date was there before. */
  #compact(token: string): boolean {
    const digits = token.length;
    if (digits !== 6 && digits !== 8 && digits !== 12 && digits !== 14) return false;
    this.#at++;
    if (digits === 6) {
      const pairs = [token.slice(0, 2), token.slice(2, 4), token.slice(4)] as const;
      if (this.#numbers.length === 0) {
        const [first, ...others] = pairs.map(Number);
        const isYear = (first ?? 0) > 31;
        this.#numbers.push({ value: isYear ? century(first ?? 0) : (first ?? 0), isMonth: false, isYear });
        for (const value of others) this.#numbers.push({ value, isMonth: false, isYear: false });
      } else if (this.#time === null) this.#time = [Number(pairs[0]), Number(pairs[1]), Number(pairs[2])];
      else return false;
      return true;
    }
    this.#numbers.push({ value: Number(token.slice(0, 4)), isMonth: false, isYear: true });
    this.#numbers.push({ value: Number(token.slice(4, 6)), isMonth: true, isYear: false });
    this.#numbers.push({ value: Number(token.slice(6, 8)), isMonth: false, isYear: false });
    if (digits > 8) this.#time = [Number(token.slice(8, 10)), Number(token.slice(10, 12)), Number(token.slice(12, 14))];
    return true;
  }

  #clock(token: string): 'found' | 'no' {
    const minute = this.#peek(2);
    if (this.#time !== null || !/^\d{1,2}$/.test(minute) || token.length > 2) return 'no';
    const time: [number, number, number] = [Number(token), Number(minute), 0];
    this.#at += 3;
    if (this.#peek(0) === ':' && /^\d{1,2}$/.test(this.#peek(1))) {
      time[2] = Number(this.#peek(1));
      this.#at += 2;
      if ((this.#peek(0) === '.' || this.#peek(0) === ',') && /^\d+$/.test(this.#peek(1))) {
        this.#micros = Number(this.#peek(1).slice(0, 6).padEnd(6, '0'));
        this.#at += 2;
      }
    }
    this.#time = time;
    return 'found';
  }

  #unit(token: string, unit: number, length: number): 'found' {
    this.#time ??= [0, 0, 0];
    this.#time[unit as 0 | 1 | 2] = Number(token);
    this.#at += length;
    return 'found';
  }

  /** `10 am`: an hour. */
  #takeHalfOfDay(token: string): boolean {
    const next = this.#peek() === ' ' ? this.#peek(2) : this.#peek();
    const most = this.#numbers.length === 3 && token.length === 2 ? 12 : 23;
    if (!/^(am|pm|a|p)$/i.test(next) || this.#time !== null || Number(token) > most) return false;
    this.#time = [Number(token), 0, 0];
    this.#isHour = true;
    this.#at++;
    return true;
  }

  /** `2026-11-24 1345` and `2026-11-24 13`: what follows a whole date is a time. */
  #takeTime(token: string): boolean {
    const isFree = this.#numbers.length === 3 && this.#time === null && (token.length === 2 || token.length === 4);
    // `1995-0000` goes on with the date, `1995-11-24-0000` does not.
    if (!isFree || (/^[-/.]$/.test(this.#peek(-1)) && !/^[-/.]$/.test(this.#peek(-3)))) return false;
    this.#time = [Number(token.slice(0, 2)), Number(token.slice(2)), 0];
    this.#at++;
    return true;
  }

  #take(token: string): void {
    const value = Number(token);
    const isYear = token.length > 2 || value > 31 || (this.#tokens[this.#at - 1] === "'" && token.length === 2);
    this.#numbers.push({ value: isYear && token.length <= 2 ? century(value) : value, isMonth: false, isYear });
  }

  #word(token: string): 'found' | 'skipped' | 'no' {
    const month = monthOf(token);
    if (month > 0) {
      this.#numbers.push({ value: month, isMonth: true, isYear: false });
      this.#at++;
      return 'found';
    }
    if (isWeekday(token)) {
      this.#at++;
      return 'found';
    }
    if (/^(am|pm|a|p)$/i.test(token) && this.#time !== null && !this.#hasAfternoon) return this.#afternoon(token);
    if (this.#time !== null && (token === '+' || token === '-') && this.#zone(token)) return 'found';
    if (this.#time !== null && (/^(utc|gmt|z)$/i.test(token) || /^[A-Z]{3,5}$/.test(token))) {
      // "GMT+3" is the time of a place that adds three hours to have GMT.
      this.#isAfterZone = /^[+-]$/.test(this.#peek());
      this.#at++;
      return 'found';
    }
    if (!SKIPPED.has(token.toLowerCase())) return 'no';
    this.#at++;
    return 'skipped';
  }

  #afternoon(token: string): 'found' | 'no' {
    const [hour = 0] = this.#time ?? [];
    if ((hour > 12 && !this.#isHour) || this.#time === null) return 'no';
    if (hour <= 12) this.#time[0] = (hour % 12) + (/^p/i.test(token) ? 12 : 0);
    this.#hasAfternoon = true;
    this.#at++;
    return 'found';
  }

  #zone(sign: string): boolean {
    const [first, colon, second] = [this.#peek(1), this.#peek(2), this.#peek(3)];
    if (!/^(\d{1,2}|\d{4})$/.test(first)) return false;
    const hasMinutes = colon === ':' && /^\d{2}$/.test(second) && first.length === 2;
    const minutes = hasMinutes ? Number(second) : Number(first.slice(2) || 0);
    this.#offset = ((sign === '-') === this.#isAfterZone ? 1 : -1) * (Number(first.slice(0, 2)) * 3600 + minutes * 60);
    this.#at += hasMinutes ? 4 : 2;
    return true;
  }

  /** Which number is what: a named month is one, a number beyond 31 a year; else month, day, year, unless the first cannot be a month. */
  #date(): Pick<Parts, 'year' | 'month' | 'day'> | null {
    const numbers = [...this.#numbers];
    if (numbers.length > 3) return null;
    const take = (is: (number: (typeof numbers)[number]) => boolean) => {
      const place = numbers.findIndex(is);
      return place < 0 ? null : (numbers.splice(place, 1)[0]?.value ?? null);
    };
    const startsWithYear = numbers[0]?.isYear === true;
    let month = take(({ isMonth }) => isMonth);
    let year = take(({ isYear }) => isYear);
    let day: number | null = null;
    if (numbers.some(({ isMonth, isYear }) => isMonth || isYear)) return null;
    if (month === null && numbers.length > 0) {
      const [first, second] = numbers;
      const dayFirst =
        !startsWithYear && numbers.length + Number(year !== null) > 2 && (first?.value ?? 0) > 12 && (second?.value ?? 0) <= 12;
      if (numbers.length > 1 || year !== null) month = numbers.splice(dayFirst ? 1 : 0, 1)[0]?.value ?? null;
    }
    day = numbers.shift()?.value ?? null;
    const last = numbers.shift()?.value ?? null;
    if (last !== null) {
      if (year !== null) return null;
      year = century(last);
    }
    return { year, month, day };
  }
}

/** Two digits are a year within fifty years of now, as dateutil has it. */
function century(year: number): number {
  if (year > 99) return year;
  const now = new Date().getUTCFullYear();
  const near = now - (now % 100) + year;
  return near >= now + 50 ? near - 100 : near < now - 50 ? near + 100 : near;
}

const names = (list: readonly string[], length?: number) => `(${list.map((name) => name.slice(0, length)).join('|')})`;
/** What each directive of strptime matches; the longer choices stand first, as Python has them. */
const DIRECTIVES: Readonly<Record<string, string>> = {
  a: names(DAYS, 3),
  A: names(DAYS),
  b: names(MONTHS, 3),
  B: names(MONTHS),
  d: '(3[01]|[12]\\d|0[1-9]|[1-9]| [1-9])',
  f: '(\\d{1,6})',
  G: '(\\d{4})',
  H: '(2[0-3]|[01]\\d|\\d)',
  I: '(1[0-2]|0[1-9]|[1-9])',
  j: '(36[0-6]|3[0-5]\\d|[12]\\d\\d|0[1-9]\\d|00[1-9]|[1-9]\\d|0[1-9]|[1-9])',
  m: '(1[0-2]|0[1-9]|[1-9])',
  M: '([0-5]\\d|\\d)',
  p: '(am|pm)',
  S: '(6[01]|[0-5]\\d|\\d)',
  u: '([1-7])',
  U: '(5[0-3]|[0-4]\\d|\\d)',
  V: '(5[0-3]|0[1-9]|[1-4]\\d|\\d)',
  w: '([0-6])',
  W: '(5[0-3]|[0-4]\\d|\\d)',
  y: '(\\d\\d)',
  Y: '(\\d{4})',
  z: '([+-]\\d\\d:?[0-5]\\d(?::?[0-5]\\d(?:\\.\\d{1,6})?)?|Z)',
  Z: '(utc|gmt|[a-z]{3,5})',
};
const SHORT: Readonly<Record<string, string>> = { c: '%a %b %d %H:%M:%S %Y', x: '%m/%d/%y', X: '%H:%M:%S' };

/** Whether a text is of a strptime format; null where the format itself is none. */
export function strptime(format: string): ((text: string) => boolean) | null {
  const written = format.replace(/%([cxX])/g, (_, short: string) => SHORT[short] ?? '');
  const order: string[] = [];
  let pattern = '';
  for (let i = 0; i < written.length; i++) {
    const character = written[i] ?? '';
    if (character !== '%') {
      pattern += /\s/.test(character) ? '\\s+' : character.replace(/[\\^$.*+?()[\]{}|/]/g, '\\$&');
      continue;
    }
    const directive = written[++i] ?? '';
    const matches = DIRECTIVES[directive];
    if (directive === '%') pattern += '%';
    else if (matches === undefined || order.includes(directive)) return null;
    else {
      pattern += matches;
      order.push(directive);
    }
  }
  const regex = new RegExp(pattern.replace(/(?:\\s\+){2,}/g, '\\s+'), 'iy');
  const dayAt = order.indexOf('d') + 1;
  const secondAt = order.indexOf('S') + 1;
  const dayOfYear = order.indexOf('j') + 1;
  const at = (match: RegExpExecArray, directive: string) => match[order.indexOf(directive) + 1];
  return (text) => {
    regex.lastIndex = 0;
    const match = regex.exec(text);
    if (match === null || match[0].length !== text.length) return false;
    if (secondAt > 0 && Number(match[secondAt]) > 59) return false;
    const year = order.includes('Y') ? Number(at(match, 'Y')) : order.includes('y') ? century(Number(at(match, 'y'))) : 1900;
    if (year < 1) return false;
    const leap = year % 4 === 0 && (year % 100 !== 0 || year % 400 === 0);
    if (dayOfYear > 0 && !leap && Number(match[dayOfYear]) > 365) return false;
    if (dayAt === 0) return true;
    const month = order.includes('m')
      ? Number(at(match, 'm'))
      : order.includes('b')
        ? monthOf(at(match, 'b') ?? '')
        : order.includes('B')
          ? monthOf(at(match, 'B') ?? '')
          : 1;
    const days = [31, leap ? 29 : 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    return Number(match[dayAt]) <= (days[month - 1] ?? 0);
  };
}
