import acme from 'acme-client';
import { createHash } from 'node:crypto';
import { mkdir, readFile, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { writeFileAtomic } from '../../../base/files.ts';
import { blocked, messageOf, ok, type Outcome } from '../../../base/outcome.ts';
import { Secret } from '../../../base/secret.ts';
import { writeFailure } from '../../writing.ts';
import { parseKey, readBounded } from '../check.ts';
import { makeKey, pemOfKey } from '../localca.ts';
import type { AcmeOptions } from './acme.ts';

export interface Account {
  readonly client: acme.Client;
  /** Makes it at the CA, or finds it there by its key. */
  register(): Promise<Outcome<undefined>>;
  /** The CA does not know it any more. */
  forget(): Promise<void>;
  readonly isKnown: boolean;
}

/** The account at one CA: its key (P-256, mode 0600) is made once and kept in a directory of its own for each directory URL. */
export async function openAccount(options: AcmeOptions): Promise<Outcome<Account>> {
  const { directory, dir } = options;
  const place = join(dir, createHash('sha256').update(directory).digest('hex').slice(0, 12));
  const key = await accountKey(place);
  if (key.kind !== 'ok') return key;
  const binding = await readBinding(options);
  if (binding.kind !== 'ok') return binding;
  const urlPath = join(place, 'account.url');
  const url = (await readFile(urlPath, 'utf8').catch(() => '')).trim();
  const client = new acme.Client({
    directoryUrl: directory,
    accountKey: key.value,
    ...(url === '' ? {} : { accountUrl: url }),
    ...(binding.value === undefined ? {} : { externalAccountBinding: binding.value }),
  });
  return ok({
    client,
    isKnown: url !== '',
    register: async () => {
      // Optional for a CA (RFC 8555, section 7.1.1), and the library's type does not say so.
      const terms = (await client.getTermsOfServiceUrl()) as string | null;
      if (terms !== null && !options.agreesTerms) {
        return blocked(
          `the CA ${new URL(directory).host} asks for agreement to its terms: ${terms}`,
          'Read them; then set [certs] acme_agree_terms = true.',
        );
      }
      try {
        await client.createAccount({
          ...(terms === null ? {} : { termsOfServiceAgreed: true }),
          ...(options.contact.length === 0 ? {} : { contact: [...options.contact] }),
        });
      } catch (error) {
        // It was made before, and the answer was lost: the library then sends a change of it, which a CA may refuse.
        if (!isFound(client)) throw error;
      }
      try {
        await writeFileAtomic(urlPath, `${client.getAccountUrl()}\n`, 0o600);
        return ok();
      } catch (error) {
        return writeFailure(error, urlPath);
      }
    },
    forget: () => rm(urlPath, { force: true }),
  });
}

/** Has the CA named the account of our key? */
function isFound(client: acme.Client): boolean {
  try {
    return client.getAccountUrl() !== '';
  } catch {
    return false;
  }
}

async function accountKey(place: string): Promise<Outcome<string>> {
  const path = join(place, 'account.key');
  const there = await readBounded(path);
  if (there.kind === 'unknown') return blocked(there.why, `Let the agent read ${path}.`);
  if (there.kind === 'text') {
    const { mode } = await stat(path);
    if ((mode & 0o077) !== 0)
      return blocked(`${path} may be read by others`, `chmod 0600 ${path}: it is the account at the CA.`);
    if (parseKey(there.text) !== undefined) return ok(there.text);
    return blocked(
      `${path} holds no private key`,
      'Restore it, or remove it to have another account made at the CA.',
    );
  }
  const pem = pemOfKey(makeKey());
  try {
    await mkdir(place, { recursive: true, mode: 0o700 });
    await writeFileAtomic(path, pem, 0o600);
    return ok(pem);
  } catch (error) {
    return writeFailure(error, path);
  }
}

/** External account binding (RFC 8555, section 7.3.4): read at each use, so that a new one needs no restart. */
async function readBinding({
  eabKid,
  eabKeyFile,
}: AcmeOptions): Promise<Outcome<{ kid: string; hmacKey: string } | undefined>> {
  if (eabKid === undefined || eabKeyFile === undefined) return ok(undefined);
  const hint = `Write the HMAC key that the CA gave (base64url) into ${eabKeyFile}, mode 0600.`;
  try {
    const { mode } = await stat(eabKeyFile);
    if ((mode & 0o077) !== 0)
      return blocked(
        `[certs] acme_eab_key_file ${eabKeyFile} can be read by others`,
        `chmod 600 ${eabKeyFile}`,
      );
    const key = new Secret((await readFile(eabKeyFile, 'utf8')).trim());
    if (!/^[A-Za-z0-9_-]+={0,2}$/.test(key.reveal()))
      return blocked(`[certs] acme_eab_key_file ${eabKeyFile} holds no key (base64url)`, hint);
    return ok({ kid: eabKid, hmacKey: key.reveal() });
  } catch (error) {
    return blocked(`the key of the external account binding cannot be read: ${messageOf(error)}`, hint);
  }
}
