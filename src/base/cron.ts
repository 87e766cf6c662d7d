import { CronExpressionParser } from 'cron-parser';
import { messageOf } from './outcome.ts';

const NAMES = 'jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec|sun|mon|tue|wed|thu|fri|sat';
const FIELD = new RegExp(`^(?:[\\d*,/-]|${NAMES})+$`, 'i');
const FIELDS = 5;
const MAX_LENGTH = 200;
/** The smallest step of the library's clock. */
const TICK_MS = 1_000;

/**
 * Why a text is no cron expression of five fields, minute to day of the week (POSIX crontab, and besides steps and names of
 * months and days); undefined when it is one that comes. The library is the one that tells the times, and knows more than
 * that: what other programs do not understand is refused here. Never throws.
 */
export function cronFault(text: string): string | undefined {
  const fields = text.trim().split(/\s+/);
  if (text.length > MAX_LENGTH || fields.length !== FIELDS)
    return 'it has not five fields: minute, hour, day, month, day of the week';
  const odd = fields.find((field) => !FIELD.test(field));
  if (odd !== undefined) return `${JSON.stringify(odd)} is no field of a crontab`;
  try {
    timesAround(text, 'UTC', 0);
    return undefined;
  } catch (error) {
    const why = messageOf(error);
    const [, value, from, to] = /got value (\S+) expected range (\d+)-(\d+)/.exec(why) ?? [];
    if (value !== undefined) return `${value} is not between ${from ?? ''} and ${to ?? ''}`;
    return /explicit day of month/i.test(why) ? 'no month has such a day' : why;
  }
}

/** The last time of an expression up to `at` and the next one after it, milliseconds since the epoch. Throws where there is none. */
export function timesAround(cron: string, timezone: string, at: number): { last: number; next: number } {
  const from = (currentDate: number): ReturnType<typeof CronExpressionParser.parse> =>
    CronExpressionParser.parse(cron, { currentDate: new Date(currentDate), tz: timezone });
  // Its clock has whole seconds: a part of one more would let it go past `at`.
  const second = Math.floor(at / TICK_MS) * TICK_MS;
  return {
    last: from(second + TICK_MS)
      .prev()
      .getTime(),
    next: from(second).next().getTime(),
  };
}
