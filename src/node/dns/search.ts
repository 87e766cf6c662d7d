import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import type { Clock } from '../../base/clock.ts';
import { known, messageOf, unknown, type Known } from '../../base/outcome.ts';
import { MARK_LABEL, queryFault, serialOf } from './query.ts';
import { keyFault } from './key.ts';
import { serverOf } from './update.ts';

const SEARCH_EVERY_MS = 600_000;
const TRANSFER_TIMEOUT_MS = 60_000;

interface Options {
  /** `<node>/<instance>`: whose marks are looked for. */
  readonly owner: string;
  readonly keyFile?: string;
  readonly clock: Clock;
  /** The names found differ from before: look again. */
  readonly onSignal?: () => void;
}

/** Host names of a zone with a mark of ours; undefined: not searched yet. */
type Search = (server: string, zone: string) => Known<readonly string[]> | undefined;

interface Searched {
  readonly at: number;
  readonly serial?: number;
  readonly found: Known<readonly string[]>;
}

/**
 * Whole zones are searched for our marks (L08): what neither a definition nor the registry names cannot be asked for. By a
 * transfer (RFC 5936), every ten minutes and only when the serial has moved, beside the passes: a server that hangs holds up
 * nothing (L40). A server that allows none is told of, and nothing else depends on it.
 */
export function openSearch({ owner, keyFile, clock, onSignal }: Options): Search {
  const seen = new Map<string, Searched>();
  const searching = new Set<string>();
  const again = async (server: string, zone: string, last: Searched | undefined): Promise<Searched> => {
    const at = clock.monotonic();
    try {
      const serial = await serialOf(server, zone);
      if (last?.found.known === true && last.serial === serial) return { ...last, at };
      return { at, serial, found: known(await markedNames({ server, zone, owner, keyFile })) };
    } catch (error) {
      const isQuery = (error as { syscall?: string }).syscall?.startsWith('query') === true;
      return { at, found: unknown(isQuery ? queryFault(server, error) : messageOf(error)) };
    }
  };
  return (server, zone) => {
    const place = `${server} ${zone}`;
    const last = seen.get(place);
    if ((last === undefined || clock.monotonic() - last.at > SEARCH_EVERY_MS) && !searching.has(place)) {
      searching.add(place);
      void again(server, zone, last).then((next) => {
        seen.set(place, next);
        searching.delete(place);
        if (JSON.stringify(next.found) !== JSON.stringify(last?.found)) onSignal?.();
      });
    }
    return last?.found;
  };
}

/** Rejects with the reason when the server does not hand over the whole zone. */
async function markedNames(at: {
  server: string;
  zone: string;
  owner: string;
  keyFile: string | undefined;
}): Promise<string[]> {
  const { address, port } = serverOf(at.server);
  const fault = at.keyFile === undefined ? undefined : await keyFault(at.keyFile);
  if (fault !== undefined) throw new Error(fault.why);
  const child = spawn(
    'dig',
    [
      ...['-r', ...(at.keyFile === undefined ? [] : ['-k', at.keyFile]), `@${address}`, '-p', port],
      ...['+tcp', '+noall', '+answer', '+comments', '+tries=1', '+time=5', at.zone, 'AXFR'],
    ],
    {
      env: { PATH: '/usr/bin:/bin:/usr/sbin:/sbin', HOME: '/nonexistent' },
      stdio: ['ignore', 'pipe', 'ignore'],
    },
  );
  const timer = setTimeout(() => child.kill('SIGKILL'), TRANSFER_TIMEOUT_MS);
  // An agent that ends does not wait for a zone: dig gives up by itself.
  for (const handle of [child, child.stdout as unknown as { unref(): void }, timer]) handle.unref();
  const failed = new Promise<never>((_resolve, reject) => {
    child.once('error', (error: NodeJS.ErrnoException) =>
      reject(error.code === 'ENOENT' ? new Error('dig is not installed (Debian: bind9-dnsutils)') : error),
    );
  });
  try {
    return await Promise.race([namesIn(createInterface({ input: child.stdout }), at), failed]);
  } finally {
    clearTimeout(timer);
  }
}

/** A zone begins and ends with its SOA: what ends otherwise was cut off, and says nothing of what is missing (G9). */
async function namesIn(
  lines: AsyncIterable<string>,
  { server, zone, owner }: { server: string; zone: string; owner: string },
): Promise<string[]> {
  const names = new Set<string>();
  let ends = 0;
  let status: string | undefined;
  for await (const line of lines) {
    if (line.startsWith(';')) {
      status ??= /\bstatus: (?!NOERROR)([A-Z]+)/.exec(line)?.[1];
      continue;
    }
    const [name = '', , , type, ...texts] = line.split(/\s+/);
    const hostname = name.toLowerCase().replace(/\.$/, '');
    if (type === 'SOA' && hostname === zone) ends += 1;
    else if (type === 'TXT' && hostname.startsWith(MARK_LABEL) && texts.includes(`"owner=${owner}"`))
      names.add(hostname.slice(MARK_LABEL.length));
  }
  if (ends === 2) return [...names].sort();
  const answer = status === undefined ? '' : `: it answers ${status}`;
  throw new Error(`name server ${server} does not hand over the zone ${zone} (AXFR)${answer}`);
}
