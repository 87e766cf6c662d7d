import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { blocked, messageOf, ok, retry, type Outcome } from '../../base/outcome.ts';
import type { Sources, TagTree } from './types.ts';

export interface SignatureSettings {
  /** As `ssh-keygen -Y verify` takes it: principals and public keys. */
  readonly allowedSignersFile?: string;
  /** As `gpgv` takes it: the output of `gpg --export`. */
  readonly keyringFile?: string;
}

/** The same sources, of which only tags are opened that somebody signed whose key the settings name. */
export function signedOnly(sources: Sources, settings: SignatureSettings): Sources {
  return {
    ...sources,
    open: async (path, tag, only) => {
      const tree = await sources.open(path, tag, only);
      if (tree.kind !== 'ok' || tree.value === undefined) return tree;
      const verified = await verifyTag(tree.value, settings);
      return verified.kind === 'ok' ? tree : verified;
    },
  };
}

const HINT = 'Sign the tag (git tag -s) with a key that the settings of this node name.';
const PROGRAM_TIMEOUT_MS = 20_000;

/** Is the tag object itself signed, for this very tag and commit? (git, Documentation/gitformat-signature.txt) */
async function verifyTag(tree: TagTree, settings: SignatureSettings): Promise<Outcome<undefined>> {
  const refused = (what: string): Outcome<undefined> =>
    blocked(`whose signature is no good: ${what} [source/signature]`, HINT);
  if (tree.object === undefined) return refused(`tag ${tree.tag} is lightweight and cannot be signed`);
  const parts = signedParts(Buffer.from(tree.object));
  if (parts === undefined) return refused(`tag ${tree.tag} is not signed`);
  // A good signature of another version, put under this name, is none of this version.
  const headers = parts.payload.toString('latin1').split('\n\n', 1)[0]?.split('\n') ?? [];
  if (!headers.includes(`tag ${tree.tag}`) || !headers.includes(`object ${tree.commit}`))
    return refused(`what is signed is not tag ${tree.tag} of this commit`);
  const key = parts.kind === 'ssh' ? settings.allowedSignersFile : settings.keyringFile;
  if (key === undefined) {
    const setting = parts.kind === 'ssh' ? 'allowed_signers_file' : 'keyring_file';
    return refused(`it is made with ${parts.kind}, and the settings have no [build] ${setting}`);
  }
  let dir: string | undefined;
  try {
    dir = await mkdtemp(join(tmpdir(), 'mc-gitops-signature-'));
    const signature = join(dir, 'signature');
    const payload = join(dir, 'payload');
    await Promise.all([writeFile(signature, parts.signature), writeFile(payload, parts.payload)]);
    const isGood =
      parts.kind === 'ssh'
        ? await sshVerifies(key, signature, parts.payload)
        : (await runs('gpgv', ['--keyring', key, '--', signature, payload])).ok;
    return isGood ? ok() : refused(`it is not by a key of ${key}, or not of these bytes`);
  } catch (error) {
    return retry(
      `whose signature could not be checked: ${messageOf(error)}`,
      'Are ssh-keygen and gpgv installed?',
    );
  } finally {
    if (dir !== undefined) await rm(dir, { recursive: true, force: true });
  }
}

interface Signed {
  readonly kind: 'ssh' | 'gpg';
  readonly payload: Buffer;
  readonly signature: Buffer;
}

/** In a tag the signature is the end of the message; everything before it, to the byte, is what is signed. */
function signedParts(object: Buffer): Signed | undefined {
  for (const [kind, mark] of [
    ['ssh', '\n-----BEGIN SSH SIGNATURE-----\n'],
    ['gpg', '\n-----BEGIN PGP SIGNATURE-----\n'],
  ] as const) {
    const at = object.lastIndexOf(mark);
    if (at !== -1) return { kind, payload: object.subarray(0, at + 1), signature: object.subarray(at + 1) };
  }
  return undefined;
}

async function sshVerifies(allowed: string, signature: string, payload: Buffer): Promise<boolean> {
  const found = await runs('ssh-keygen', ['-Y', 'find-principals', '-f', allowed, '-s', signature]);
  const principal = found.stdout.split('\n', 1)[0]?.trim() ?? '';
  if (!found.ok || principal === '') return false;
  const args = ['-Y', 'verify', '-f', allowed, '-I', principal, '-n', 'git', '-s', signature];
  return (await runs('ssh-keygen', args, payload)).ok;
}

/** A program that says no is an answer; one that cannot be started rejects. */
function runs(program: string, args: string[], input?: Buffer): Promise<{ ok: boolean; stdout: string }> {
  return new Promise((resolve, reject) => {
    const options = {
      timeout: PROGRAM_TIMEOUT_MS,
      env: { PATH: '/usr/local/bin:/usr/bin:/bin', HOME: '/nonexistent', LC_ALL: 'C' },
    };
    const child = execFile(program, args, options, (error, stdout) => {
      if (error !== null && typeof error.code !== 'number') reject(new Error(`${program}: ${error.message}`));
      else resolve({ ok: error === null, stdout });
    });
    child.stdin?.on('error', () => undefined);
    child.stdin?.end(input);
  });
}
