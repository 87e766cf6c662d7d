/** One challenge of a `WWW-Authenticate` header (RFC 9110 section 11.6.1). Names in lower case. */
export interface Challenge {
  readonly scheme: string;
  readonly params: Readonly<Record<string, string>>;
}

const TOKEN = /[!#$%&'*+.^_`|~0-9A-Za-z-]+/y;
const PARAM = /\s*([!#$%&'*+.^_`|~0-9A-Za-z-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))\s*/y;

/** All challenges of the header, in its order. What cannot be read ends the list: never throws. */
export function parseChallenges(header: string): Challenge[] {
  const challenges: { scheme: string; params: Record<string, string> }[] = [];
  let at = 0;
  const take = (pattern: RegExp): RegExpExecArray | null => {
    pattern.lastIndex = at;
    const found = pattern.exec(header);
    if (found !== null) at = pattern.lastIndex;
    return found;
  };
  while (at < header.length) {
    take(/[\s,]*/y);
    const last = challenges.at(-1);
    const param = last === undefined ? null : take(PARAM);
    if (last !== undefined && param !== null) {
      last.params[(param[1] ?? '').toLowerCase()] = (param[2] ?? param[3] ?? '').replaceAll(/\\(.)/g, '$1');
      continue;
    }
    const scheme = take(TOKEN);
    if (scheme === null) break;
    challenges.push({
      scheme: scheme[0].toLowerCase(),
      params: Object.create(null) as Record<string, string>,
    });
  }
  return challenges;
}
