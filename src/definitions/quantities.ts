import type { TomlPath } from '../base/tomlindex.ts';
import { cronFault } from '../base/cron.ts';
import { finding, quote, type Finding } from './findings.ts';
import type { v } from '../base/shape.ts';
import type { WINDOW } from './ownshape.ts';
import type { Window } from './types.ts';

const SECOND = 1_000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;

const UNITS: Readonly<Record<string, number>> = { ms: 1, s: SECOND, m: MINUTE, h: HOUR };

/** The milliseconds of a well-formed duration; a finding when they are out of range. */
export function readDuration(
  text: string,
  [from, to]: readonly [string, string],
  path: TomlPath,
  findings: Finding[],
): number {
  const ms = durationOf(text);
  if (ms < durationOf(from) || ms > durationOf(to)) {
    findings.push(finding('value/duration', path, `${quote(text)} is not between ${from} and ${to}`));
  }
  return ms;
}

function durationOf(text: string): number {
  let sum = 0;
  for (const [, count, unit = ''] of text.matchAll(/(\d+)(ms|s|m|h)/g))
    sum += Number(count) * (UNITS[unit] ?? 0);
  return sum;
}

const POWERS: Readonly<Record<string, number>> = { b: 0, k: 1, m: 2, g: 3 };

/** The bytes of a well-formed size; a finding when they are out of range. */
export function readSize(
  text: string,
  [from, to]: readonly [string, string],
  path: TomlPath,
  findings: Finding[],
): number {
  const bytes = sizeOf(text);
  if (bytes < sizeOf(from) || bytes > sizeOf(to)) {
    findings.push(finding('value/size', path, `${quote(text)} is not between ${from} and ${to}`));
  }
  return bytes;
}

function sizeOf(text: string): number {
  return Math.floor(Number(text.slice(0, -1)) * 1024 ** (POWERS[text.slice(-1)] ?? 0));
}

/** Reads `{ cron, for, timezone }`. */
export function readWindow(shape: v.InferOutput<typeof WINDOW>, path: TomlPath, findings: Finding[]): Window {
  const fault = cronFault(shape.cron);
  if (fault !== undefined)
    findings.push(finding('window/cron', [...path, 'cron'], `${quote(shape.cron)}: ${fault}`));
  if (!isTimeZone(shape.timezone)) {
    findings.push(
      finding('window/timezone', [...path, 'timezone'], `${quote(shape.timezone)} is no time zone`),
    );
  }
  return {
    cron: shape.cron.trim().replaceAll(/\s+/g, ' '),
    forMs: readDuration(shape.for, ['1m', '168h'], [...path, 'for'], findings),
    timezone: shape.timezone,
  };
}

/** A name that the language's own calendar knows. An offset is none: it would ignore summer time without a word. */
function isTimeZone(name: string): boolean {
  if (!/^[A-Za-z][\w+-]*(?:\/[\w+-]+){0,2}$/.test(name) || name.length > 64) return false;
  try {
    return new Intl.DateTimeFormat('en', { timeZone: name }).resolvedOptions().timeZone !== '';
  } catch {
    return false;
  }
}
