/** Numbers, durations and times as people read them. */

const whole = new Intl.NumberFormat('en', { maximumFractionDigits: 0 });
const compact = new Intl.NumberFormat('en', { notation: 'compact', maximumFractionDigits: 1 });
const clock = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit', second: '2-digit', hourCycle: 'h23' });
const day = new Intl.DateTimeFormat(undefined, { month: 'short', day: 'numeric' });
const full = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'medium' });

export const count = (n) => (n < 100_000 ? whole.format(n) : compact.format(n));
export const exact = (n) => whole.format(n);

/** Events a second: one digit after the point below ten. */
export function rate(n) {
  if (n === 0) return '0';
  return n < 10 ? n.toFixed(1) : count(Math.round(n));
}

export function percent(share) {
  if (share === 0) return '0 %';
  if (share < 0.001) return '< 0.1 %';
  return `${share < 0.1 ? (share * 100).toFixed(1) : Math.round(share * 100)} %`;
}

export function duration(ms) {
  if (ms === null || ms === undefined) return '–';
  if (ms < 1) return '< 1 ms';
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (ms < 60_000) return `${(ms / 1000).toFixed(ms < 10_000 ? 1 : 0)} s`;
  if (ms < 3_600_000) return `${Math.floor(ms / 60_000)} min ${Math.round((ms % 60_000) / 1000)} s`;
  if (ms < 86_400_000) return `${Math.floor(ms / 3_600_000)} h ${Math.round((ms % 3_600_000) / 60_000)} min`;
  return `${Math.floor(ms / 86_400_000)} d ${Math.round((ms % 86_400_000) / 3_600_000)} h`;
}

export function bytes(n) {
  if (n === null || n === undefined) return '–';
  if (n < 1024) return `${n} B`;
  const units = ['KiB', 'MiB', 'GiB', 'TiB'];
  let value = n / 1024;
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit++;
  }
  return `${value.toFixed(value < 10 ? 1 : 0)} ${units[unit]}`;
}

export function ago(ms, nowMs) {
  const past = Math.max(0, nowMs - ms);
  if (past < 2_000) return 'just now';
  if (past < 60_000) return `${Math.floor(past / 1000)} s ago`;
  if (past < 3_600_000) return `${Math.floor(past / 60_000)} min ago`;
  if (past < 86_400_000) return `${Math.floor(past / 3_600_000)} h ago`;
  return `${Math.floor(past / 86_400_000)} d ago`;
}

export const timeOfDay = (ms) => clock.format(ms);
export const moment = (ms) => full.format(ms);
const isSameDay = (a, b) => new Date(a).toDateString() === new Date(b).toDateString();
/** The time of today, or the day alone. */
export const shortly = (ms, nowMs) => (isSameDay(ms, nowMs) ? clock : day).format(ms);
/** The time of today, or a day with its time. */
export const when = (ms, nowMs) => (isSameDay(ms, nowMs) ? timeOfDay(ms) : moment(ms));

/** "shop.public.orders" as its table and what comes before it. */
export function tableOf(dataset) {
  const at = dataset.lastIndexOf('.');
  return { prefix: dataset.slice(0, at + 1), table: dataset.slice(at + 1) };
}
