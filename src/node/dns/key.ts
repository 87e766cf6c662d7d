import { readFile, stat } from 'node:fs/promises';

const MAX_KEY_FILE_BYTES = 65_536;
const NAMES = ['hmac-md5', 'hmac-sha1', 'hmac-sha224', 'hmac-sha256', 'hmac-sha384', 'hmac-sha512'];

export interface KeyFault {
  readonly why: string;
  readonly hint: string;
}

/**
 * What is wrong with a TSIG key file, by itself: it is not there, others may read it, it is no key. Read at each use, so that a mended one
 * needs no restart. Nothing of its content is ever repeated (G10).
 */
export async function keyFault(path: string): Promise<KeyFault | undefined> {
  const fault = (what: string, hint: string): KeyFault => ({ why: `[mcns] key_file ${path} ${what}`, hint });
  const form = 'Write it as tsig-keygen prints it: key "name" { algorithm hmac-sha256; secret "…"; };';
  try {
    const { mode, size } = await stat(path);
    if ((mode & 0o077) !== 0) return fault('can be read by others', `chmod 600 ${path}`);
    if (size > MAX_KEY_FILE_BYTES)
      return fault(`is larger than ${MAX_KEY_FILE_BYTES} bytes`, 'Is it the right file?');
    const what = faultOf(await readFile(path, 'utf8'));
    return what === undefined ? undefined : fault(what, form);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    const hint = 'Put the key there, readable by the agent alone (mode 0600), or correct the path.';
    return fault(code === 'ENOENT' ? 'is not there' : `cannot be read (${code ?? 'unreadable'})`, hint);
  }
}

function faultOf(text: string): string | undefined {
  // As dnssec-keygen writes it: nsupdate takes that, too.
  if (text.startsWith('Private-key-format:')) return undefined;
  const bare = text.replaceAll(/\/\*[\s\S]*?\*\/|\/\/.*|^\s*#.*/gm, ' ');
  const key = /\bkey\s+("[^"]+"|[^\s"{;]+)\s*\{([^{}]*)\}\s*;/.exec(bare);
  if (key === null) return 'holds no TSIG key';
  const valueOf = (name: string): string | undefined => {
    const found = new RegExp(`\\b${name}\\s+(?:"([^"]*)"|([^\\s";]+))\\s*;`).exec(key[2] ?? '');
    return found?.[1] ?? found?.[2];
  };
  const [algorithm, secret] = [valueOf('algorithm')?.toLowerCase(), valueOf('secret')];
  if (algorithm === undefined) return 'holds a key without an algorithm';
  if (!NAMES.some((name) => algorithm.startsWith(name)))
    return `holds a key of an algorithm that is none of ${NAMES.join(', ')}`;
  if (secret === undefined || secret === '') return 'holds a key without a secret';
  const bytes = secret.replaceAll(/\s/g, '');
  const isBase64 = /^[A-Za-z0-9+/]+={0,2}$/.test(bytes) && bytes.length % 4 === 0;
  return isBase64 ? undefined : 'holds a key whose secret is no base64';
}
