import { readFile, stat } from 'node:fs/promises';
import { GitFault } from '../base/git/faults.ts';
import type { GitAccess } from '../base/git/remote.ts';
import type { Log } from '../base/log.ts';
import { Secret } from '../base/secret.ts';
import type { SourceSettings } from './types.ts';

const MAX_TOKEN_BYTES = 16 * 1024;

/**
 * Reads token and CA files anew at each exchange: a renewed token needs no restart. The token file holds `token` or
 * `user:password` on its first line. A file that others can read is warned of once, not refused.
 */
export function accessFrom(
  settings: Pick<SourceSettings, 'tokenFile' | 'user' | 'caCert'>,
  log: Log,
): () => Promise<GitAccess> {
  let warned = false;
  return async () => {
    const { tokenFile, caCert } = settings;
    if (tokenFile !== undefined && !warned && (await isOpenToOthers(tokenFile))) {
      warned = true;
      log.warn({ file: tokenFile }, 'the token file can be read by others; run: chmod 600');
    }
    const credentials =
      tokenFile === undefined
        ? {}
        : parseCredentials(await readSetting(tokenFile, 'token_file'), settings.user);
    return {
      ...(settings.user === undefined ? {} : { user: settings.user }),
      ...credentials,
      ...(caCert === undefined ? {} : { ca: await readSetting(caCert, 'ca_cert') }),
    };
  };
}

/** `token`, or `user:password` where the settings name no user (a token may have a colon in it). */
export function parseCredentials(text: string, user: string | undefined): GitAccess {
  const line = text.split(/\r?\n/, 1)[0]?.trim() ?? '';
  if (line === '')
    throw new GitFault('blocked', 'the token file is empty', 'Write the token on its first line.');
  const colon = user === undefined ? line.indexOf(':') : -1;
  // As a whole too: whatever part of this line is printed by accident is masked.
  const whole = new Secret(line);
  return colon === -1
    ? { token: whole }
    : { user: line.slice(0, colon), token: new Secret(line.slice(colon + 1)) };
}

async function readSetting(path: string, setting: string): Promise<string> {
  try {
    const { size } = await stat(path);
    if (setting === 'token_file' && size > MAX_TOKEN_BYTES) {
      throw new GitFault(
        'blocked',
        `${setting} ${path} is larger than ${MAX_TOKEN_BYTES} bytes`,
        'Is it the right file?',
      );
    }
    return await readFile(path, 'utf8');
  } catch (error) {
    if (error instanceof GitFault) throw error;
    const code = error instanceof Error && 'code' in error ? String(error.code) : 'unreadable';
    throw new GitFault(
      'blocked',
      `${setting} ${path} cannot be read (${code})`,
      'Correct the path, or its owner and mode.',
    );
  }
}

async function isOpenToOthers(path: string): Promise<boolean> {
  return stat(path).then(
    ({ mode }) => (mode & 0o077) !== 0,
    () => false,
  );
}
