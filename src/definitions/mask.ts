import { indexToml, type TomlIndex } from '../base/tomlindex.ts';
import { looksSecret, looksSecretArgument, looksSecretWord } from '../base/secretlike.ts';
import { nearest } from '../base/suggest.ts';
import { visibleLine } from '../base/visible.ts';
import { readText } from './text.ts';
import { isTable } from './structure.ts';

/** Keys whose values are never shown, wherever they stand: also where the file has them in the wrong place. */
const HIDDEN = /env|secret|passw|token|credential|private/i;

/** Keys of the format whose values may be shown of a line in a file that is no TOML. */
const SHOWN =
  /^\s*(?:name|node|active|path|image|volumes|cmd|network|user|restart|ports|port|mode|hostname|container_port|backend_tls|paused|prune|after|generation|strategy|timeout|stable_for|stop_timeout|return|cron|for|timezone|stop_signal|replaces|type|route|interval|retries|start_period|on_failure|memory|cpus|pids|shm|rule)\s*=[^=]*$/;
/** `user:password@host`, in an image or an address; not the tag before the digest of an image. */
const USER_INFO = /:[^\s@]+@(?!sha256:)/;
const HEADER = /^\s*\[{1,2}[\w. \t-]+\]{1,2}\s*(?:#.*)?$/;

/**
 * The lines of a file as they may be shown: what environment variables are set to is covered by `•`, character by
 * character. Of a file that cannot be parsed only what is surely no value is left.
 */
export function shownLines(bytes: Uint8Array): string[] {
  const read = readText(bytes);
  if (!read.ok) {
    return new TextDecoder('utf-8')
      .decode(bytes)
      .split('\n')
      .map((line) => visibleLine(isSafe(line) ? line : covered(line)));
  }
  const spans: [number, number][] = [];
  collect(read.value, [], false, indexToml(read.text), read.text, spans);
  let text = read.text;
  for (const [start, end] of spans) {
    text = text.slice(0, start) + text.slice(start, end).replaceAll(/[^\r\n]/g, '•') + text.slice(end);
  }
  return text.split('\n').map((line) => visibleLine(withoutComment(line)));
}

/** Beside a value that is covered a comment may say it, or what it was before. */
function withoutComment(line: string): string {
  return line.replace(
    /(•[^#]*#)(.*)$/,
    (_, head: string, rest: string) => head + rest.replaceAll(/\S/g, '•'),
  );
}

/** A misspelt `env` has values all the same. */
function isMeantAsEnv(key: string): boolean {
  return nearest(key, ['env', 'environ', 'environment']) !== undefined;
}

function isSafe(line: string): boolean {
  if (USER_INFO.test(line) || line.split(/["'\s,]+/).some(looksSecretWord)) return false;
  return line.trim() === '' || HEADER.test(line) || SHOWN.test(line);
}

function covered(line: string): string {
  const key = /^\s*[A-Za-z_][\w-]*\s=\s/.exec(line)?.[0] ?? '';
  return key + line.slice(key.length).replaceAll(/[^\s[\]{}",'#]/g, '•');
}

/** An argument of a command, or the value of a label. */
function isSecretAt(path: readonly (string | number)[], value: string): boolean {
  const key = path.at(-1);
  return (
    looksSecretWord(value) || (typeof key === 'string' && looksSecret(key.replaceAll(/[.-]/g, '_'), value))
  );
}

function collect(
  value: unknown,
  path: (string | number)[],
  hidden: boolean,
  index: TomlIndex,
  text: string,
  spans: [number, number][],
): void {
  if (Array.isArray(value)) {
    const words = value.map((part) => (typeof part === 'string' ? part : ''));
    for (const [at, part] of value.entries())
      collect(
        part,
        [...path, at],
        hidden || looksSecretArgument(words[at] ?? '', at, words),
        index,
        text,
        spans,
      );
  } else if (isTable(value)) {
    for (const [key, part] of Object.entries(value)) {
      collect(part, [...path, key], hidden || HIDDEN.test(key) || isMeantAsEnv(key), index, text, spans);
    }
  } else if (hidden) {
    const span = index.find(path);
    if (span === undefined) return;
    const equals = text.indexOf('=', span.value);
    // Of `KEY=VALUE` the key may be shown; of anything else nothing but the quotes.
    spans.push(equals === -1 || equals >= span.end ? [span.value, span.end] : [equals + 1, span.end - 1]);
  } else if (typeof value === 'string' && (USER_INFO.test(value) || isSecretAt(path, value))) {
    const span = index.find(path);
    if (span !== undefined) spans.push([span.value, span.end]);
  }
}
