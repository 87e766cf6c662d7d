const SECOND = 1_000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

/** How long, in the two units that matter: `340 ms`, `12 s`, `3 min 5 s`, `2 h 10 min`, `41 d 3 h`. */
export function duration(ms: number): string {
  const span = Math.max(0, Math.round(ms));
  if (span < SECOND) return `${span} ms`;
  if (span < 10 * SECOND) return `${(span / SECOND).toFixed(1)} s`;
  if (span < MINUTE) return `${Math.floor(span / SECOND)} s`;
  if (span < HOUR) return two(span, MINUTE, 'min', SECOND, 's');
  if (span < DAY) return two(span, HOUR, 'h', MINUTE, 'min');
  return two(span, DAY, 'd', HOUR, 'h');
}

/** `12 s ago`, `in 3 min`, `now` within a second. */
export function relative(at: number, now: number): string {
  const away = at - now;
  if (Math.abs(away) < SECOND) return 'now';
  const span = duration(Math.floor(Math.abs(away) / SECOND) * SECOND).replace(/\.\d s$/, ' s');
  return away < 0 ? `${span} ago` : `in ${span}`;
}

/** UTC, to the second; a time no calendar has is shown as it is. */
export function isoTime(at: number): string {
  const date = new Date(at);
  return Number.isNaN(date.getTime()) ? String(at) : date.toISOString().replace(/\.\d+Z$/, 'Z');
}

/** The beginning of a hash, enough to tell and to find it. */
export function short(hash: string): string {
  return hash.slice(0, 10);
}

/** An image without its host, which is the same nearly everywhere; the whole reference is in the title. */
export function imageName(reference: string): string {
  const slash = reference.indexOf('/');
  const host = slash < 0 ? '' : reference.slice(0, slash);
  return /[.:]/.test(host) || host === 'localhost' ? reference.slice(slash + 1) : reference;
}

/** Where the page of a service is. Half a surrogate pair, which no URL can have, becomes U+FFFD. */
export function pathOf(name: string): string {
  return `/services/${encodeURIComponent(name.replaceAll(/\p{Surrogate}/gu, '\ufffd'))}`;
}

function two(span: number, unit: number, name: string, rest: number, restName: string): string {
  const whole = Math.floor(span / unit);
  const more = Math.floor((span % unit) / rest);
  return more === 0 ? `${whole} ${name}` : `${whole} ${name} ${more} ${restName}`;
}
