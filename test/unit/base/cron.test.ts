import { expect } from 'chai';
import fc from 'fast-check';
import { cronFault, timesAround } from '../../../src/base/cron.ts';

const MINUTE_MS = 60_000;
const HORIZON_MS = 12 * 86_400_000;

interface Field {
  readonly text: string;
  readonly values: ReadonlySet<number>;
}

/** One field of a crontab and the values that it stands for, made together. */
function field(from: number, to: number): fc.Arbitrary<Field> {
  const value = fc.integer({ min: from, max: to });
  const every = (first: number, last: number, step: number): number[] =>
    Array.from({ length: last - first + 1 }, (_, at) => first + at).filter((n) => (n - first) % step === 0);
  const part = fc.oneof(
    value.map((n) => ({ text: String(n), values: [n] })),
    fc.tuple(value, value).map(([a, b]) => {
      const [first, last] = a < b ? [a, b] : [b, a];
      return { text: `${first}-${last}`, values: every(first, last, 1) };
    }),
    fc.tuple(value, fc.integer({ min: 1, max: 9 })).map(([first, step]) => ({
      text: `${first}-${to}/${step}`,
      values: every(first, to, step),
    })),
  );
  const all = { text: '*', values: every(from, to, 1) };
  return fc
    .oneof(
      { weight: 3, arbitrary: fc.constant([all]) },
      fc.integer({ min: 2, max: 9 }).map((step) => [{ text: `*/${step}`, values: every(from, to, step) }]),
      fc.array(part, { minLength: 1, maxLength: 2 }),
    )
    .map((parts) => ({
      text: parts.map(({ text }) => text).join(','),
      values: new Set(parts.flatMap(({ values }) => values)),
    }));
}

/** Minute by minute, as crontab(5) has it: of day and weekday one is enough when both are restricted. */
function comesAt(at: number, [minute, hour, day, month, weekday]: readonly Field[]): boolean {
  const date = new Date(at);
  const has = (one: Field | undefined, value: number): boolean => one?.values.has(value) === true;
  const isDay = has(day, date.getUTCDate());
  const isWeekday = has(weekday, date.getUTCDay());
  const either = day?.text !== '*' && weekday?.text !== '*';
  return (
    has(minute, date.getUTCMinutes()) &&
    has(hour, date.getUTCHours()) &&
    has(month, date.getUTCMonth() + 1) &&
    (either ? isDay || isWeekday : isDay && isWeekday)
  );
}

describe('cron expressions', () => {
  it('what is taken for one tells the times that crontab(5) means, the last and the next', () => {
    let judged = 0;
    fc.assert(
      fc.property(
        fc.tuple(field(0, 59), field(0, 23), field(1, 31), field(1, 12), field(0, 6)),
        fc.integer({ min: Date.UTC(2024, 0, 1), max: Date.UTC(2030, 0, 1) }),
        (fields, at) => {
          const cron = fields.map(({ text }) => text).join(' ');
          // A value that is named twice in one field: the library takes no such text, and then nor do we.
          if (cronFault(cron) !== undefined) return;
          judged += 1;
          const { last, next } = timesAround(cron, 'UTC', at);
          const minutes = (from: number, step: number): number | undefined => {
            for (let one = from; Math.abs(one - at) < HORIZON_MS; one += step)
              if (comesAt(one, fields)) return one;
            return undefined;
          };
          const floor = Math.floor(at / MINUTE_MS) * MINUTE_MS;
          const [before, after] = [minutes(floor, -MINUTE_MS), minutes(floor + MINUTE_MS, MINUTE_MS)];
          if (before !== undefined) expect(last, cron).to.equal(before);
          else expect(last).to.be.below(at - HORIZON_MS + MINUTE_MS);
          if (after !== undefined) expect(next, cron).to.equal(after);
          else expect(next).to.be.above(at + HORIZON_MS - MINUTE_MS);
        },
      ),
      { numRuns: 150 },
    );
    expect(judged).to.be.above(50);
  });

  it('a text that is none gets its reason, whatever it is', () => {
    fc.assert(
      fc.property(fc.string({ maxLength: 250 }), (text) => {
        const fault = cronFault(text);
        if (fault === undefined) timesAround(text, 'Europe/Berlin', 0);
        else expect(fault).to.match(/\S/);
      }),
      { numRuns: 500 },
    );
    expect(cronFault('0 0 31 2,4,6,9,11 *')).to.equal('no month has such a day');
  });
});
