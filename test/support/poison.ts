/** Keys that `makeView` chooses or joins by: the name of a service joins its parts, a state or kind is a word of ours. */
export const CHOOSING: readonly string[] = [
  'kind',
  'state',
  'slot',
  'severity',
  'mode',
  'op',
  'result',
  'protocol',
  'driver',
  'restart',
  'for',
  'name',
  'service',
  'component',
  'owner',
  'digest',
  'id',
  'reference',
  'hostname',
  'path',
  'file',
];

/** The same shape with `text` appended to every string of it but those under the keys `except`. */
export function poisoned<T>(value: T, text: string, except: readonly string[] = []): T {
  return poison(value, text, except) as T;
}

function poison(value: unknown, text: string, except: readonly string[]): unknown {
  if (typeof value === 'string') return `${value}${text}`;
  if (Array.isArray(value)) return value.map((entry) => poison(entry, text, except));
  if (value === null || typeof value !== 'object') return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, part]) => [
      key,
      typeof part === 'string' && except.includes(key) ? part : poison(part, text, except),
    ]),
  );
}
