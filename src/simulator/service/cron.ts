/**
 * Cron expressions as AWS writes them, in UTC: `cron(minutes hours day-of-month month day-of-week year)`. One of the
 * two day fields is `?`; days of the week are 1-7 from Sunday. `L`, `W` and `#` are understood.
 */
export interface Cron {
  /** The first minute at or after the moment that the expression names; `undefined` when there is none any more. */
  next(fromMs: number): number | undefined;
}

const MINUTE_MS = 60_000;
const DAY_MS = 86_400_000;
const YEARS = { min: 1970, max: 2199 };
/** The 29th of February may be eight years off. */
const DAYS_LOOKED_AT_MAX = 366 * 9;
const MONTHS = ['JAN', 'FEB', 'MAR', 'APR', 'MAY', 'JUN', 'JUL', 'AUG', 'SEP', 'OCT', 'NOV', 'DEC'];
const WEEKDAYS = ['SUN', 'MON', 'TUE', 'WED', 'THU', 'FRI', 'SAT'];

/** Throws for what is no such expression. */
export function parseCron(text: string): Cron {
  const fields = /^cron\(([^()]*)\)$/.exec(text.trim())?.[1]?.trim().split(/\s+/) ?? [];
  const [minute = '', hour = '', day = '', month = '', weekday = '', year = ''] = fields;
  if (fields.length !== 6) throw new Error(`cannot read "${text}": must be cron(…) with six fields`);
  if ((day === '?') === (weekday === '?'))
    throw new Error(`cannot read "${text}": one of the two day fields must be "?", and one must not`);
  const minutes = [...numbers(minute, 0, 59)].sort((a, b) => a - b);
  const hours = [...numbers(hour, 0, 23)].sort((a, b) => a - b);
  const months = numbers(month, 1, 12, MONTHS, 1);
  const years = numbers(year, YEARS.min, YEARS.max);
  const isDay = day === '?' ? weekdayRule(weekday) : dayRule(day);
  const lastYear = Math.max(...years);

  return {
    next(fromMs) {
      const firstMs = Math.ceil(fromMs / MINUTE_MS) * MINUTE_MS;
      let dayMs = Math.floor(firstMs / DAY_MS) * DAY_MS;
      for (let looked = 0; looked < DAYS_LOOKED_AT_MAX; looked += 1, dayMs += DAY_MS) {
        const date = new Date(dayMs);
        if (date.getUTCFullYear() > lastYear) return undefined;
        if (!years.has(date.getUTCFullYear()) || !months.has(date.getUTCMonth() + 1) || !isDay(date))
          continue;
        for (const h of hours) {
          for (const m of minutes) {
            const atMs = dayMs + (h * 60 + m) * MINUTE_MS;
            if (atMs >= firstMs) return atMs;
          }
        }
      }
      return undefined;
    },
  };
}

/** Lists, ranges, steps and names. */
function numbers(
  field: string,
  min: number,
  max: number,
  names: readonly string[] = [],
  firstName = 0,
): Set<number> {
  const one = (text: string): number => {
    const named = names.indexOf(text.toUpperCase());
    const value = named >= 0 ? named + firstName : /^\d+$/.test(text) ? Number(text) : Number.NaN;
    if (!(value >= min && value <= max)) throw new Error(`cannot read "${field}": ${min} to ${max}`);
    return value;
  };
  const found = new Set<number>();
  for (const part of field.split(',')) {
    const [span = '', step = '1', ...more] = part.split('/');
    const by = /^\d+$/.test(step) ? Number(step) : 0;
    if (more.length > 0 || by < 1) throw new Error(`cannot read "${field}": a step must be 1 or more`);
    const [from = '', to, ...rest] = span.split('-');
    if (rest.length > 0) throw new Error(`cannot read "${field}": a range has two ends`);
    const first = span === '*' ? min : one(from);
    const last = span === '*' || (to === undefined && part.includes('/')) ? max : one(to ?? from);
    if (last < first) throw new Error(`cannot read "${field}": the range runs backwards`);
    for (let value = first; value <= last; value += by) found.add(value);
  }
  return found;
}

type DayRule = (date: Date) => boolean;

const daysIn = (date: Date): number =>
  new Date(Date.UTC(date.getUTCFullYear(), date.getUTCMonth() + 1, 0)).getUTCDate();

/** `L`: the last day; `15W`: the working day that is nearest to the 15th, in the same month; `LW`: the last one. */
function dayRule(field: string): DayRule {
  const wanted = field.toUpperCase();
  if (wanted === 'L') return (date) => date.getUTCDate() === daysIn(date);
  const [, near] = /^(L|\d{1,2})W$/.exec(wanted) ?? [];
  if (near !== undefined) {
    if (near !== 'L') numbers(near, 1, 31);
    return (date) => date.getUTCDate() === workday(date, near === 'L' ? daysIn(date) : Number(near));
  }
  const days = numbers(field, 1, 31);
  return (date) => days.has(date.getUTCDate());
}

function workday(month: Date, day: number): number {
  const last = daysIn(month);
  if (day > last) return 0;
  const weekday = new Date(Date.UTC(month.getUTCFullYear(), month.getUTCMonth(), day)).getUTCDay();
  if (weekday === 6) return day === 1 ? 3 : day - 1;
  if (weekday === 0) return day === last ? day - 2 : day + 1;
  return day;
}

/** `6L`: the last Friday; `3#2`: the second Tuesday. */
function weekdayRule(field: string): DayRule {
  const [, lastOf] = /^(\w+)L$/i.exec(field) ?? [];
  if (lastOf !== undefined) {
    const days = numbers(lastOf, 1, 7, WEEKDAYS, 1);
    return (date) => days.has(date.getUTCDay() + 1) && date.getUTCDate() > daysIn(date) - 7;
  }
  const [, of, nth] = /^(\w+)#([1-5])$/.exec(field) ?? [];
  if (of !== undefined) {
    const days = numbers(of, 1, 7, WEEKDAYS, 1);
    return (date) => days.has(date.getUTCDay() + 1) && Math.ceil(date.getUTCDate() / 7) === Number(nth);
  }
  const days = field.toUpperCase() === 'L' ? new Set([7]) : numbers(field, 1, 7, WEEKDAYS, 1);
  return (date) => days.has(date.getUTCDay() + 1);
}
