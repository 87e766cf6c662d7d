import { fileURLToPath } from 'node:url';
import { shownUrl } from '../http.ts';
import { Secret } from '../secret.ts';

/** Where a repository is. `shown` may be printed: it has no user info and no query. */
export type GitAddress =
  | {
      readonly kind: 'http';
      readonly shown: string;
      readonly url: string;
      readonly user?: string;
      readonly password?: Secret;
    }
  | { readonly kind: 'ssh'; readonly shown: string; readonly url: string }
  | { readonly kind: 'local'; readonly shown: string; readonly path: string };

/**
 * Takes a repository's address apart: `https://`, `http://`, `ssh://`, `user@host:path`, `file://` or an absolute path.
 * Anything else, above all git's own `ext::` and options in disguise, is undefined (CVE-2025-48384 and its kind).
 */
export function parseGitAddress(text: string): GitAddress | undefined {
  // Control characters would be line breaks in messages and in git's own protocols.
  if (/[\p{Cc}]/u.test(text)) return undefined;
  if (text.startsWith('/')) return { kind: 'local', shown: text, path: text };
  if (/^https?:\/\//.test(text)) return httpAddress(text);
  if (text.startsWith('file://')) return fileAddress(text);
  if (text.startsWith('ssh://')) return sshAddress(text);
  const scp =
    /^(?<user>[A-Za-z0-9_][A-Za-z0-9._-]*)@(?<host>[A-Za-z0-9][A-Za-z0-9.-]*):(?<path>[^:\s-][^\s]*)$/.exec(
      text,
    );
  return scp === null ? undefined : { kind: 'ssh', shown: text, url: text };
}

/** The grammar of `git check-ref-format` for the part behind `refs/heads/` or `refs/tags/`, without a leading dash. */
export function isRefName(name: string): boolean {
  return (
    name.length <= 200 &&
    /^[^\p{Cc}\s~^:?*[\\]+$/u.test(name) &&
    !/^-|\.\.|@\{|\.$|^@$/.test(name) &&
    name.split('/').every((part) => part !== '' && !part.startsWith('.') && !part.endsWith('.lock'))
  );
}

function httpAddress(text: string): GitAddress | undefined {
  if (!URL.canParse(text)) return undefined;
  const url = new URL(text);
  const user = decodeURIComponent(url.username);
  const password = decodeURIComponent(url.password);
  return {
    kind: 'http',
    shown: shownUrl(text),
    url: `${url.protocol}//${url.host}${url.pathname.replace(/\/+$/, '')}`,
    ...(user === '' ? {} : { user }),
    ...(password === '' ? {} : { password: new Secret(password) }),
  };
}

function fileAddress(text: string): GitAddress | undefined {
  if (!URL.canParse(text) || new URL(text).host !== '') return undefined;
  const path = fileURLToPath(text);
  return { kind: 'local', shown: path, path };
}

function sshAddress(text: string): GitAddress | undefined {
  if (!URL.canParse(text)) return undefined;
  const url = new URL(text);
  const plainHost =
    /^[A-Za-z0-9][A-Za-z0-9.-]*$/.test(url.hostname) || /^\[[0-9a-f:.]+\]$/.test(url.hostname);
  const plainUser = url.username === '' || /^[A-Za-z0-9_][A-Za-z0-9._-]*$/.test(url.username);
  if (!plainHost || !plainUser || url.password !== '' || url.pathname.length < 2) return undefined;
  const at = url.username === '' ? '' : `${url.username}@`;
  return { kind: 'ssh', shown: shownUrl(text), url: `ssh://${at}${url.host}${url.pathname}` };
}
