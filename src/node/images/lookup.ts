import type { Clock } from '../../base/clock.ts';
import { ok, retry, type Failure, type Outcome } from '../../base/outcome.ts';
import type { ImageRef } from '../../definitions/types.ts';
import { growingMs, wallOf } from '../jobs.ts';
import { keepNewest } from './newest.ts';
import { readCredentials } from './credentials.ts';
import { openDistribution } from './distribution.ts';
import type { Answer, RegistryEntry } from './endpoint.ts';
import type { RegistryAuth } from '../engine/images.ts';

export type Found =
  | { readonly kind: 'found'; readonly digest: string }
  | { readonly kind: 'absent' }
  /** `late`: it was asked and may still answer, which is signalled. */
  | {
      readonly kind: 'failed';
      readonly at: number;
      readonly failure: Failure;
      readonly retryAt: number;
      readonly late?: true;
    };

/** The distribution client with a memory, so that a pass without news asks nobody. */
export interface Lookup {
  /** Is the host in the settings? Others are never called. */
  knows(host: string | undefined): host is string;
  find(ref: ImageRef): Promise<Found>;
  /** As `find`, but a slow registry does not hold the pass: the question goes on, and `onLate` tells when it is answered. */
  findSoon(ref: ImageRef): Promise<Found>;
  /** The next `find` asks again. */
  forget(ref: ImageRef): void;
  /** The account for the engine's own pulls and pushes; `undefined` for a registry without one. */
  account(host: string): Promise<Outcome<RegistryAuth | undefined>>;
  /** Where that account is kept; undefined: the registry has none in the settings. */
  accountFile(host: string | undefined): string | undefined;
  /** All accounts that can be read: for base images. */
  accounts(): Promise<RegistryAuth[]>;
}

export interface LookupOptions {
  readonly registries: Readonly<Record<string, RegistryEntry>>;
  readonly clock: Clock;
  readonly timeoutMs: number;
  /** How long `found` and `absent` hold. */
  readonly answerTtlMs: number;
  /** How long `findSoon` waits. */
  readonly patienceMs: number;
  /** An answer came after `findSoon` had given up on it. */
  readonly onLate: () => void;
  readonly retryMs: { readonly first: number; readonly longest: number };
}

type Failed = Found & { readonly kind: 'failed' };

const KEPT_ANSWERS = 2_000;

export function openLookup(options: LookupOptions): Lookup {
  const { clock, registries, retryMs } = options;
  const distribution = openDistribution(options);
  /** `until`, like every time in here: monotonic, so that a wall clock that is put right changes no wait (G42). */
  const answers = new Map<string, { readonly found: Found; readonly until: number }>();
  const asking = new Map<string, Promise<Found>>();
  const faults = openFaults(clock, retryMs);
  /** The one question to a registry that was down: whoever else would ask it waits for what becomes of that. */
  const probes = new Map<string, Promise<unknown>>();
  /** Registries that are down as a whole: thirty images of one do not wait for thirty timeouts. */
  const down = new Map<string, { readonly found: Failed; readonly until: number }>();
  const knows = (host: string | undefined): host is string =>
    host !== undefined && Object.hasOwn(registries, host);

  const keep = (key: string, found: Found, until: number): Found => {
    keepNewest(answers, key, { found, until }, KEPT_ANSWERS);
    return found;
  };
  const judge = (host: string, key: string, before: number, answer: Answer): Found => {
    if (answer.kind !== 'ok' && answer.registry === true) {
      const whole = faults.raise(host, before, answer);
      const known = down.get(host);
      // A `Retry-After` among the answers of one moment holds for all of them.
      const last = known !== undefined && known.until > whole.until ? known : whole;
      down.set(host, last);
      return shown(clock, last);
    }
    faults.clear(host);
    down.delete(host);
    if (answer.kind !== 'ok') {
      const { found, until } = faults.raise(key, faults.count(key), answer);
      return keep(key, found, until);
    }
    faults.clear(key);
    const until = clock.monotonic() + options.answerTtlMs;
    const digest = answer.value;
    return keep(key, digest === undefined ? { kind: 'absent' } : { kind: 'found', digest }, until);
  };
  const ask = async (host: string, key: string, ref: ImageRef): Promise<Found> => {
    const entry = registries[host];
    if (entry === undefined) return { kind: 'absent' };
    const before = faults.count(host);
    return judge(host, key, before, await distribution.findManifest(host, entry, ref));
  };

  const find = async (ref: ImageRef): Promise<Found> => {
    const { host, reference: key } = ref;
    if (!knows(host)) return { kind: 'absent' };
    const known = answers.get(key);
    const now = clock.monotonic();
    if (known !== undefined && now < known.until) return shown(clock, known);
    const whole = down.get(host);
    if (whole !== undefined && now < whole.until) return shown(clock, whole);
    const running = asking.get(key);
    if (running !== undefined) return running;
    const probe = probes.get(host);
    if (probe !== undefined) return probe.then(() => find(ref));
    const asked = ask(host, key, ref).finally(() => asking.delete(key));
    asking.set(key, asked);
    if (whole !== undefined) {
      probes.set(
        host,
        asked.finally(() => probes.delete(host)),
      );
    }
    return asked;
  };

  return {
    knows,
    find,
    findSoon: async (ref) => {
      const answered = new AbortController();
      const asked = find(ref).finally(() => answered.abort());
      const soon = await Promise.race([asked, clock.sleep(options.patienceMs, answered.signal)]);
      if (soon !== undefined || answered.signal.aborted) return asked;
      void asked.then(options.onLate);
      const at = clock.now();
      const failure = retry(`registry ${ref.host ?? ''} has not answered yet`);
      return { kind: 'failed', at, failure, retryAt: at + options.timeoutMs, late: true };
    },
    forget: (ref) => void answers.delete(ref.reference),
    account: (host) => accountOf(registries, host),
    accountFile: (host) => (knows(host) ? registries[host]?.credentialsFile : undefined),
    accounts: () => allAccounts(registries),
  };
}

/** How often each thing failed in a row. */
interface Faults {
  count(of: string): number;
  /** `before`: the count when it was asked. Questions under way at once meet one moment of a fault, which is one fault. */
  raise(of: string, before: number, failure: Failure): { readonly found: Failed; readonly until: number };
  clear(of: string): void;
}

function openFaults(clock: Clock, retryMs: LookupOptions['retryMs']): Faults {
  const counts = new Map<string, number>();
  const count = (of: string): number => counts.get(of) ?? 0;
  return {
    count,
    raise: (of, before, failure) => {
      const raised = Math.max(count(of), Math.min(count(of), before) + 1);
      counts.set(of, raised);
      const until = clock.monotonic() + Math.max(growingMs(raised, retryMs), failure.afterMs ?? 0);
      return { found: { kind: 'failed', at: clock.now(), failure, retryAt: wallOf(clock, until) }, until };
    },
    clear: (of) => void counts.delete(of),
  };
}

/** As it stands by the wall clock now. */
function shown(clock: Clock, { found, until }: { readonly found: Found; readonly until: number }): Found {
  return found.kind === 'failed' ? { ...found, retryAt: wallOf(clock, until, found.retryAt) } : found;
}

async function allAccounts(registries: LookupOptions['registries']): Promise<RegistryAuth[]> {
  const all = await Promise.all(Object.keys(registries).map((host) => accountOf(registries, host)));
  return all.flatMap((one) => (one.kind === 'ok' && one.value !== undefined ? [one.value] : []));
}

async function accountOf(
  registries: Readonly<Record<string, RegistryEntry>>,
  host: string,
): Promise<Outcome<RegistryAuth | undefined>> {
  const file = registries[host]?.credentialsFile;
  if (file === undefined) return ok(undefined);
  const credentials = await readCredentials(file, host);
  return credentials.kind === 'ok' ? ok({ ...credentials.value, serveraddress: host }) : credentials;
}
