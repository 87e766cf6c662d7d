/** Shorter values are words of every day: masking them would make a log unreadable. */
const MIN_SECRET_LENGTH = 6;
const SECRET_NAME = /pass|pwd|secret|token|key|credential|auth|dsn|_url$|^url$/i;

interface Named {
  readonly name: string;
  readonly value: string;
}

/** Values of variables whose name looks like a secret's; one of several lines is printed line by line. Longest first. */
export function secretsOf(env: ReadonlyMap<string, string>): string[] {
  return partsOf(env, (name) => SECRET_NAME.test(name)).map(({ value }) => value);
}

/** The line without these values. */
export function masked(line: string, secrets: readonly string[]): string {
  return secrets.reduce((text, one) => text.replaceAll(one, '•••'), line);
}

/** The line with the name of each variable in the place of its value: which one it is says enough. */
export function withNames(line: string, env: ReadonlyMap<string, string>): string {
  return partsOf(env, (name) => !SECRET_NAME.test(name)).reduce(
    (text, { name, value }) => text.replaceAll(value, () => `\${${name}}`),
    line,
  );
}

function partsOf(env: ReadonlyMap<string, string>, isMeant: (name: string) => boolean): Named[] {
  return [...env]
    .filter(([name]) => isMeant(name))
    .flatMap(([name, value]) => [value, ...value.split(/\r?\n/)].map((part) => ({ name, value: part })))
    .filter(({ value }) => value.length >= MIN_SECRET_LENGTH)
    .sort((a, b) => b.value.length - a.value.length);
}
