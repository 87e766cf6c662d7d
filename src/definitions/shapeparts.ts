import { v } from '../base/shape.ts';
import type { RuleId } from './rules.ts';

/** A label of a host name (RFC 1123, section 2.1), in lower case. */
export const DNS_LABEL = /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/;

const MARK = ': ';

/** What a check of the schema says: the id of its rule, so that the finding is told by it. */
export function says(rule: RuleId, message: string): string {
  return `${rule}${MARK}${message}`;
}

/** The rule and message of a check of this schema; undefined for the schema library's own words. */
export function ruleOf(message: string): { rule: string; message: string } | undefined {
  const at = message.indexOf(MARK);
  return at === -1 ? undefined : { rule: message.slice(0, at), message: message.slice(at + MARK.length) };
}

export function label(rule: RuleId): v.GenericSchema<string> {
  return v.pipe(v.string(), v.regex(DNS_LABEL, says(rule, 'is no DNS label')));
}

export const PORT = v.pipe(
  v.number(),
  v.integer(says('route/port', 'is no whole number')),
  v.minValue(1, says('route/port', 'is not between 1 and 65535')),
  v.maxValue(65_535, says('route/port', 'is not between 1 and 65535')),
);

/** `90s`, `5m`, `1h30m`. */
export const DURATION = v.pipe(
  v.string(),
  v.regex(/^(?:[0-9]{1,6}(?:ms|s|m|h))+$/, says('value/duration', 'is no duration')),
);

/** `512m`, `1.5g`: powers of 1024, as engines have it. */
export const SIZE = v.pipe(
  v.string(),
  v.regex(/^[0-9]{1,12}(?:\.[0-9]{1,3})?[bkmg]$/, says('value/size', 'is no size')),
);

/** A whole number of a range. */
export function whole(rule: RuleId, from: number, to: number): v.GenericSchema<number> {
  const range = `is not between ${from} and ${to}`;
  return v.pipe(
    v.number(),
    v.integer(says(rule, 'is no whole number')),
    v.minValue(from, says(rule, range)),
    v.maxValue(to, says(rule, range)),
  );
}
