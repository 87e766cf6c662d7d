const SECRET_NAME =
  /(?:(?<!COM|BY|OVER|TRES)PASS|PASSWORD|PASSWD|PASSPHRASE|(?:^|_)PWD|SECRET|TOKEN|API_?KEY|PRIVATE_?KEY|ACCESS_?KEY|CREDENTIALS?|(?:^|_)AUTH)$/i;
const SECRET_VALUE = [
  /-----BEGIN [A-Z ]*PRIVATE KEY-----/,
  /^(?:ghp|gho|ghs|ghu|github_pat|glpat|xox[abprs])[_-]/,
  /^AKIA[0-9A-Z]{16}$/,
  /^(?:sk|rk)_(?:live|test)_/,
  /^https:\/\/hooks\.slack\.com\/services\//,
  /(?:^|;)\s*(?:password|pwd)\s*=\s*[^;\s]/i,
  /^Authorization:\s*(?:Bearer|Basic)\s+\S/i,
  /^X-[\w-]*(?:Key|Token):\s*\S/i,
  /^eyJ[\w-]+\.eyJ[\w-]+\./,
  /^[a-z][a-z0-9+.-]*:\/\/[^/\s:@]*:[^/\s@]+@/i,
];

/** Does an entry look like a secret? A guess by its name and shape; a path to a file is none. */
export function looksSecret(name: string, value: string): boolean {
  if (value === '' || /^(?:true|false|yes|no|on|off|\d{1,3})$/i.test(value)) return false;
  return isSecretValue(value) || isSecretName(name, value) || isRandom(name, value);
}

/** `--password=…` among the words of a command, or a word that is a token by its shape. */
export function looksSecretWord(word: string): boolean {
  const [, name = '', value = ''] = /^--?([\w-]+)[= ](.+)$/s.exec(word) ?? [];
  return isSecretValue(word) || (value !== '' && looksSecret(name.replaceAll('-', '_'), value));
}

/**
 * Which words of a command look like secrets: also `--password VALUE`, where the word before says what it is. The word itself
 * and its place among all.
 */
export function looksSecretArgument(word: string, index: number, words: readonly string[]): boolean {
  const [, name] = /^--?([\w-]+)$/.exec(words[index - 1] ?? '') ?? [];
  const isValue = name !== undefined && !word.startsWith('-');
  return looksSecretWord(word) || (isValue && looksSecret(name.replaceAll('-', '_'), word));
}

/** Only a key is so long and says so little. */
function isRandom(name: string, value: string): boolean {
  return /(?:^|_)KEY$/i.test(name) && /^(?:[0-9a-f]{32,}|[A-Za-z0-9+/]{40,}={0,2})$/.test(value);
}

function isSecretValue(value: string): boolean {
  return SECRET_VALUE.some((pattern) => pattern.test(value));
}

function isSecretName(name: string, value: string): boolean {
  return SECRET_NAME.test(name) && !/^(?:\.{0,2}\/|https?:\/\/)/.test(value);
}

const MASK = '•••';
/** Begins at the beginning of a word only, and ends soon: a line without any costs one look at each character. */
const ASSIGNED = /(?<![\w.-])(--?)?([\w][\w.-]{0,79})=("[^"]*"|'[^']*'|[^\s&;|,)\]"']+)/g;
const FOLLOWED = /(?<![\w-])--?([\w][\w-]{0,79})\s+(?!-)("[^"]*"|'[^']*'|[^\s&;|,)\]"']{6,})/g;
const HEADER =
  /\b((?:Proxy-)?Authorization:\s{0,9}(?:Bearer|Basic)\s{1,9}|X-[\w-]{0,40}(?:Key|Token):\s{0,9})[^\s"']+/gi;
const IN_URL = /\b([a-z][a-z0-9+.-]{0,30}:\/\/[^/\s:@]{0,80}):[^/\s@]+@/gi;
const KEY = /-----BEGIN [A-Z ]{0,30}PRIVATE KEY-----.*?(?:-----END [A-Z ]{0,30}PRIVATE KEY-----|$)/gs;
const WORD = /[^\s"'`=;|&(),[\]]{16,}/g;

/** One line of a Dockerfile or of what a build printed, with what looks like a secret covered. A guess by names and shapes. */
export function withoutSecretWords(line: string): string {
  const covered = (name: string, value: string): boolean =>
    !/^["']?\$/.test(value) &&
    !value.includes(MASK) &&
    looksSecret(name.replaceAll(/[.-]/g, '_'), value.replaceAll(/^["']|["']$/g, ''));
  return line
    .replaceAll(KEY, MASK)
    .replaceAll(HEADER, `$1${MASK}`)
    .replaceAll(IN_URL, `$1:${MASK}@`)
    .replaceAll(ASSIGNED, (all, dashes: string | undefined, name: string, value: string) =>
      covered(name, value) ? `${dashes ?? ''}${name}=${MASK}` : all,
    )
    .replaceAll(FOLLOWED, (all, name: string, value: string) =>
      covered(name, value) ? `${all.slice(0, -value.length)}${MASK}` : all,
    )
    .replaceAll(WORD, (word) => (isSecretValue(word) && !word.includes(MASK) ? MASK : word));
}

/** The same for lines that come one after the other: of a private key each line is covered. */
export function coverOf(): (line: string) => string {
  let inKey = false;
  return (line) => {
    if (!inKey && !/-----BEGIN [A-Z ]*PRIVATE KEY-----/.test(line)) return withoutSecretWords(line);
    inKey = !/-----END [A-Z ]*PRIVATE KEY-----/.test(line);
    return MASK;
  };
}
