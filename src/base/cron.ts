/** A cron expression taken apart: for each field the values that fit. Sunday is 0. */
interface Cron {
  readonly minutes: ReadonlySet<number>;
  readonly hours: ReadonlySet<number>;
  readonly days: ReadonlySet<number>;
  readonly months: ReadonlySet<number>;
  readonly weekdays: ReadonlySet<number>;
  /** Of days and weekdays both are restricted: then one of them is enough, as cron has it. */
  readonly eitherDay: boolean;
}

export type ReadCron =
  { readonly ok: true; readonly cron: Cron } | { readonly ok: false; readonly why: string };

interface Range {
  readonly name: string;
  readonly from: number;
  readonly to: number;
  readonly words?: readonly string[];
}

const MONTHS = ['jan', 'feb', 'mar', 'apr', 'may', 'jun', 'jul', 'aug', 'sep', 'oct', 'nov', 'dec'];
const WEEKDAYS = ['sun', 'mon', 'tue', 'wed', 'thu', 'fri', 'sat'];

const MINUTE: Range = { name: 'minute', from: 0, to: 59 };
const HOUR: Range = { name: 'hour', from: 0, to: 23 };
const DAY: Range = { name: 'day of the month', from: 1, to: 31 };
const MONTH: Range = { name: 'month', from: 1, to: 12, words: ['', ...MONTHS] };
const WEEKDAY: Range = { name: 'day of the week', from: 0, to: 7, words: WEEKDAYS };

/** Reads five fields, minute to day of the week (POSIX crontab; besides `*`/n steps, and names of months and days). Never throws. */
export function parseCron(text: string): ReadCron {
  const fields = text.trim().split(/\s+/);
  if (text.length > 200 || fields.length !== 5) {
    return { ok: false, why: 'it has not five fields: minute, hour, day, month, day of the week' };
  }
  const [minute = '', hour = '', day = '', month = '', weekday = ''] = fields;
  const minutes = readField(minute, MINUTE);
  const hours = readField(hour, HOUR);
  const days = readField(day, DAY);
  const months = readField(month, MONTH);
  const weekdays = readField(weekday, WEEKDAY);
  for (const read of [minutes, hours, days, months, weekdays]) {
    if (typeof read === 'string') return { ok: false, why: read };
  }
  const cron: Cron = {
    minutes: minutes as Set<number>,
    hours: hours as Set<number>,
    days: days as Set<number>,
    months: months as Set<number>,
    // Both 0 and 7 are Sunday.
    weekdays: new Set([...(weekdays as Set<number>)].map((value) => value % 7)),
    eitherDay: !day.startsWith('*') && !weekday.startsWith('*'),
  };
  return isPossible(cron) ? { ok: true, cron } : { ok: false, why: 'no month has such a day' };
}

/** The values that fit, or why there are none. */
function readField(text: string, range: Range): Set<number> | string {
  const values = new Set<number>();
  for (const part of text.split(',')) {
    const match = /^(\*|[0-9a-z]+)(?:-([0-9a-z]+))?(?:\/(\d{1,2}))?$/i.exec(part);
    const [, first = '', last, every] = match ?? [];
    const from = first === '*' ? range.from : valueOf(first, range);
    const end = first === '*' || (every !== undefined && last === undefined) ? range.to : from;
    const to = last === undefined ? end : valueOf(last, range);
    const step = every === undefined ? 1 : Number(every);
    const isWrong =
      match === null || from === undefined || to === undefined || (first === '*' && last !== undefined);
    if (isWrong || from > to || step === 0) {
      return `${JSON.stringify(part)} is no ${range.name} (${range.from} to ${range.to})`;
    }
    for (let value = from; value <= to; value += step) values.add(value);
  }
  return values;
}

function valueOf(text: string, { from, to, words }: Range): number | undefined {
  const value = /^\d{1,2}$/.test(text) ? Number(text) : (words?.indexOf(text.toLowerCase()) ?? -1);
  return value >= from && value <= to ? value : undefined;
}

const DAYS_OF_MONTH = [31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];

/** `0 0 31 2 *` is well formed and never comes. */
function isPossible({ days, months, eitherDay }: Cron): boolean {
  const first = Math.min(...days);
  return eitherDay || [...months].some((month) => (DAYS_OF_MONTH[month - 1] ?? 0) >= first);
}
