import { masked, secretsOf, withNames } from '../base/masked.ts';
import { redact } from '../base/secret.ts';
import { coverOf } from '../base/secretlike.ts';
import { plain } from '../base/visible.ts';
import type { Blamed } from '../plan/types.ts';
import type { Printed } from '../registry/types.ts';
import type { Tools } from './types.ts';

const LINES = 20;
const MAX_BYTES = 4_096;
const MAX_CONTAINERS = 4;
/** More than is kept: a key that begins before the last lines is seen as one, and no line of them begins in its middle. */
const READ_LINES = 200;
/** All of them together. A version gives way whether its last words are heard or not. */
const PATIENCE_MS = 2_000;

/**
 * The last lines of containers because of which a version gives way, fit to be kept and shown: at most 20 of each and 4 KiB of
 * all, without values of variables (G10). What cannot be read in time is left out; this never fails.
 */
export async function lastLinesOf(
  service: string,
  blamed: readonly Blamed[],
  { node, values, clock }: Pick<Tools, 'node' | 'values' | 'clock'>,
): Promise<Printed[]> {
  const env = new Map([...values].flatMap(([of, own]) => (of.startsWith(`${service}/`) ? [...own] : [])));
  const heard = blamed.slice(0, MAX_CONTAINERS);
  const found = new Map<string, Printed>();
  const done = new AbortController();
  const reading = heard.map(async ({ component, container, containerId }) => {
    const log = await node.engine.logs(containerId, { tail: READ_LINES });
    if (log.kind !== 'ok') return;
    const lines = ending(fit(log.value, env), Math.floor(MAX_BYTES / heard.length));
    if (lines.length > 0) found.set(component, { component, container, at: clock.now(), lines });
  });
  await Promise.race([Promise.allSettled(reading), clock.sleep(PATIENCE_MS, done.signal)]);
  done.abort('read');
  return heard.flatMap(({ component }) => found.get(component) ?? []);
}

function fit(lines: readonly string[], env: ReadonlyMap<string, string>): string[] {
  const secrets = secretsOf(env);
  const cover = coverOf();
  return lines.map((line) => cover(withNames(masked(redact(plain(line)), secrets), env)));
}

/** As many of the last lines as there is room for. Of one that is too long it is the end: what is cut off is never half of a secret. */
function ending(lines: readonly string[], maxBytes: number): string[] {
  const kept: string[] = [];
  let left = maxBytes;
  for (const line of lines
    .filter((one) => one.trim() !== '')
    .slice(-LINES)
    .reverse()) {
    const bytes = Buffer.from(line);
    if (bytes.length > left) {
      if (kept.length === 0) kept.push(`… ${bytes.subarray(-left).toString('utf8')}`);
      break;
    }
    kept.push(line);
    left -= bytes.length;
  }
  return kept.reverse();
}
