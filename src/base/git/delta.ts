/** What git's `Documentation/gitformat-pack.txt` calls deltified representation. Both throw `RangeError` on what is none. */
export function deltaResultSize(delta: Uint8Array): number {
  return varint(delta, varint(delta, 0).next).value;
}

/** The object that `delta` makes of `base`. */
export function applyDelta(base: Uint8Array, delta: Uint8Array): Uint8Array {
  const from = varint(delta, 0);
  const to = varint(delta, from.next);
  if (from.value !== base.length) throw new RangeError('a delta is of another base');
  const result = new Uint8Array(to.value);
  let written = 0;
  for (let at = to.next; at < delta.length;) {
    const order = delta[at] ?? 0;
    at += 1;
    const { source, start, length, next } =
      (order & 0x80) === 0
        ? { source: delta, start: at, length: order, next: at + order }
        : { source: base, ...copyOf(delta, at, order) };
    if (length === 0 || start + length > source.length || written + length > result.length)
      throw new RangeError('a delta reaches beyond its end');
    result.set(source.subarray(start, start + length), written);
    written += length;
    at = next;
  }
  if (written !== result.length) throw new RangeError('a delta ends early');
  return result;
}

/** Up to four bytes of the offset and three of the length; those that are zero are left out. */
function copyOf(
  delta: Uint8Array,
  at: number,
  order: number,
): { readonly start: number; readonly length: number; readonly next: number } {
  let next = at;
  const number = (firstBit: number, bytes: number): number => {
    let value = 0;
    for (let byte = 0; byte < bytes; byte += 1) {
      if ((order & (firstBit << byte)) === 0) continue;
      value += (delta[next] ?? 0) * 2 ** (8 * byte);
      next += 1;
    }
    return value;
  };
  const start = number(0x01, 4);
  const length = number(0x10, 3);
  return { start, length: length === 0 ? 0x10000 : length, next };
}

function varint(bytes: Uint8Array, start: number): { readonly value: number; readonly next: number } {
  let value = 0;
  let at = start;
  for (let factor = 1; ; factor *= 128, at += 1) {
    const byte = bytes[at];
    if (byte === undefined) throw new RangeError('a number runs over the end');
    value += (byte & 0x7f) * factor;
    if ((byte & 0x80) === 0) return { value, next: at + 1 };
  }
}
