import { readFileSync } from 'node:fs';

/** The version of this program, as its package says. The file stands beside both `src` and `dist`. */
export const VERSION: string = (
  JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as { version: string }
).version;
