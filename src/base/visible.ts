/** Characters that move the cursor, turn the direction of text, or show nothing. */
const INVISIBLE = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}\u115f\u1160\u3164\uffa0]/gu;

/** `\u001b` for ESC and the like, `\n` for a line feed (G53). Halves of surrogate pairs count too. Any other text comes back as it is. */
export function visible(text: string): string {
  return text.replaceAll(INVISIBLE, (char) => {
    const point = char.codePointAt(0) ?? 0;
    if (char === '\n') return String.raw`\n`;
    return point > 0xffff ? `\\u{${point.toString(16)}}` : `\\u${point.toString(16).padStart(4, '0')}`;
  });
}

/** A source line as wide as before, so that what stands below it is below it: a dot for each such character; tabs stay. */
export function visibleLine(line: string): string {
  return line
    .replace(/\r$/, '')
    .replaceAll(/[^\P{C}\t]|[\u2028\u2029]/gu, (found) => '·'.repeat(found.length));
}

/** Without what a terminal would act on. */
export function plain(line: string): string {
  // eslint-disable-next-line no-control-regex
  return line.replaceAll(/\u001b\[[0-9;?]*[A-Za-z]|[\u0000-\u0008\u000b-\u001f\u007f]/g, '');
}
