/** A commit, parsed by ourselves from the raw object: one odd header must not make a repository unreadable. */
export interface CommitInfo {
  readonly oid: string;
  readonly tree: string;
  readonly parents: readonly string[];
  readonly author: string;
  readonly email: string;
  /** Committer's time, milliseconds since the epoch. */
  readonly time: number;
  readonly message: string;
}

export interface TreeEntry {
  readonly name: string;
  /** Six octal digits: `100644`, `100755`, `040000`, `120000` (symbolic link), `160000` (submodule). */
  readonly mode: string;
  readonly oid: string;
  /** Why this name must not be used, where it is unsafe. */
  readonly unsafe?: string;
}

/** Parses a raw commit; undefined when it is none. Bytes that are no UTF-8 become replacement characters. */
export function parseCommit(oid: string, raw: Uint8Array): CommitInfo | undefined {
  const text = Buffer.from(raw).toString('utf8');
  const end = text.indexOf('\n\n');
  const headers = (end === -1 ? text : text.slice(0, end)).split('\n');
  const all = (name: string): string[] =>
    headers.filter((line) => line.startsWith(`${name} `)).map((line) => line.slice(name.length + 1));
  const tree = all('tree')[0];
  if (tree === undefined || !isOid(tree)) return undefined;
  const author = parsePerson(all('author')[0] ?? '');
  return {
    oid,
    tree,
    parents: all('parent').filter(isOid),
    author: author.name,
    email: author.email,
    time: parsePerson(all('committer')[0] ?? '').time,
    message: end === -1 ? '' : text.slice(end + 2),
  };
}

/** What an annotated tag points to; undefined when it is none. */
export function parseTag(raw: Uint8Array): { readonly object: string; readonly type: string } | undefined {
  const match = /^object ([0-9a-f]{40})\ntype (commit|tag|tree|blob)\n/.exec(
    Buffer.from(raw).toString('latin1'),
  );
  return match?.[1] === undefined || match[2] === undefined
    ? undefined
    : { object: match[1], type: match[2] };
}

/** Parses a raw tree; undefined when it is damaged. An unsafe name marks its own entry only. */
export function parseTree(raw: Uint8Array): TreeEntry[] | undefined {
  const bytes = Buffer.from(raw.buffer, raw.byteOffset, raw.byteLength);
  const entries: TreeEntry[] = [];
  for (let at = 0; at < bytes.length;) {
    const space = bytes.indexOf(0x20, at);
    const zero = bytes.indexOf(0, space + 1);
    if (space === -1 || zero === -1 || zero + 21 > bytes.length) return undefined;
    const nameBytes = bytes.subarray(space + 1, zero);
    const name = nameBytes.toString('utf8');
    const unsafe =
      unsafeName(name) ?? (Buffer.from(name).equals(nameBytes) ? undefined : 'the name is not UTF-8');
    entries.push({
      name,
      mode: bytes.toString('latin1', at, space).padStart(6, '0'),
      oid: bytes.toString('hex', zero + 1, zero + 21),
      ...(unsafe === undefined ? {} : { unsafe }),
    });
    at = zero + 21;
  }
  return entries;
}

export function isOid(text: string): boolean {
  return /^[0-9a-f]{40}$/.test(text);
}

/** Why no file of ours may have this name; undefined when it may. */
export function unsafeName(name: string): string | undefined {
  if (name === '' || name === '.' || name === '..') return 'the name is empty or a dot';
  if (/[/\\]/.test(name)) return 'the name has a slash or backslash in it';
  if (name.toLowerCase() === '.git') return 'the name is .git';
  // Control and direction characters make a log line or a page say something else than is there (G53).
  if (/[\p{Cc}\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069]/u.test(name))
    return 'the name has control characters';
  if (Buffer.byteLength(name) > 255) return 'the name is longer than 255 bytes';
  return undefined;
}

function parsePerson(line: string): { name: string; email: string; time: number } {
  const match = /^(?<name>.*?) ?<(?<email>[^>]*)> (?<seconds>\d{1,12}) [+-]\d{4}$/.exec(line);
  const { name = '', email = '', seconds = '0' } = match?.groups ?? {};
  return { name, email, time: Number(seconds) * 1000 };
}
