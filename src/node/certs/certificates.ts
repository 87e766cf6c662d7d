import type { X509Certificate } from 'node:crypto';
import { join } from 'node:path';
import type { Clock } from '../../base/clock.ts';
import { writeFileAtomic } from '../../base/files.ts';
import type { Log } from '../../base/log.ts';
import { blocked, bug, messageOf, ok, wait, type Outcome } from '../../base/outcome.ts';
import { openNoDns, type Dns } from '../dns/dns.ts';
import type { CertificateOrder, CertificateState } from './types.ts';
import { ensureDirectory, writeFailure } from '../writing.ts';
import { openAcme, type Acme, type AcmeOptions, type ThroughProxy } from './acme/acme.ts';
import {
  checkCertificate,
  endOf,
  judgeCertificate,
  openCheck,
  signed,
  startOf,
  type Verdict,
} from './check.ts';
import { leftOver, removeIssued, type IsIssuedHere } from './left.ts';
import { ensureLocalCa, loadLocalCa, pemOfKey, type LocalCa } from './localca.ts';
import { ensureKey, placeOf, type Place, type WantedCertificate } from './place.ts';

/**
 * A renewal that failed is tried again after this at the latest; until then the old certificate, still valid, is used. Of one that
 * lives for hours or minutes after a third of its life, so that it comes before its end.
 */
const RENEWAL_RETRY_MS = 3_600_000;
const CERT_MODE = 0o644;

export interface CertificateOptions {
  /** `files`: the operator's own, only checked. `local`: issued by a small CA of the node. `acme`: by a CA that speaks RFC 8555. */
  readonly driver: 'files' | 'local' | 'acme';
  /** Needed by driver `acme`. */
  readonly acme?: AcmeOptions;
  readonly certDir: string;
  /** Where the local CA lives; needed by driver `local`. */
  readonly caDir?: string;
  /** Part of the local CA's name, so that a browser's list of roots can be read. */
  readonly hostnameSuffix: string;
  readonly clock: Clock;
  readonly log: Log;
}

export interface Certificates {
  /**
   * By host name. With driver `local`, `absent` stands for everything that `issue` would mend: no file yet, one of ours
   * that expired or lost its key, one of ours with less than a third of its life left (renewal). `invalid` needs a person.
   * With driver `acme` a valid one stays so while another is ordered (`renewal`), and an order is told as it stands. What was
   * issued here and is not wanted is told as `left`.
   */
  observe(wanted: readonly WantedCertificate[]): Promise<Record<string, CertificateState>>;
  /**
   * Ensures a usable certificate, or with driver `acme` that one is ordered; may be run twice. Never replaces a key, nor a
   * certificate that was not issued here.
   */
  issue(hostname: string, service: string, isDefault: boolean): Promise<Outcome<undefined>>;
  /** Takes away `<name>.pem`, when it was issued here for this host name; gone is as good. The key stays. */
  remove(hostname: string, name: string): Promise<Outcome<undefined>>;
  /** The local CA's root, PEM; `wait` until the first certificate was issued, `blocked` with driver `files`. */
  rootPem(): Promise<Outcome<string>>;
  stop(): Promise<void>;
}

/** What an order needs of the rest of the node. */
interface Beside extends ThroughProxy {
  readonly dns?: Dns;
  readonly onChange?: () => void;
}

/** Certificates for l7 routes: `<cert_dir>/<service>.pem` and `.key` for the default host name, `<hostname>.pem` for others. */
export function openCertificates(options: CertificateOptions, beside: Beside = {}): Certificates {
  const { driver, clock, log } = options;
  const caDir = options.caDir ?? join(options.certDir, '.ca');
  const failedAt = new Map<string, number>();
  const check = openCheck();
  let queue: Promise<unknown> = Promise.resolve();
  const acme =
    driver === 'acme' && options.acme !== undefined
      ? openAcme({ dns: openNoDns(), onChange: () => undefined, ...options.acme, ...beside, log })
      : undefined;

  const observeOne = async (place: Place, ca: Outcome<LocalCa | undefined>): Promise<CertificateState> => {
    const verdict = await check(place, clock.now());
    if (driver === 'files') return stateOf(verdict, place, clock.now());
    if (acme !== undefined) return observeOrdered(acme, verdict, place, clock.now());
    const local = ca.kind === 'ok' ? ca.value : undefined;
    const need = needOf(verdict, local, clock.now());
    const isOurs = verdict.kind === 'valid' && local !== undefined && isGrowing(local, verdict.leaf);
    const told = stateOf(verdict, place, clock.now());
    const state = isOurs ? renewable(told, verdict.leaf) : told;
    if (need.kind === 'none') return state;
    const failed = failedAt.get(place.hostname);
    if (
      verdict.kind === 'valid' &&
      failed !== undefined &&
      clock.monotonic() - failed < retryAfter(verdict.leaf)
    )
      return state;
    return { kind: 'absent', certPath: place.certPath, hint: need.hint, ...endedIn(verdict, clock.now()) };
  };

  return {
    async observe(wanted) {
      const ca = driver === 'local' ? await loadLocalCa(caDir) : ok();
      if (ca.kind !== 'ok') log.warn({ why: ca.why, hint: ca.hint }, 'local CA');
      const local = ca.kind === 'ok' ? ca.value : undefined;
      const owners = new Map<string, string>();
      const states: Record<string, CertificateState> = {};
      for (const item of [...wanted].sort(byDefaultFirst)) {
        const place = placeOf(item, options.certDir);
        if (typeof place === 'string') {
          states[item.hostname] = { kind: 'unknown', why: place };
          continue;
        }
        const owner = owners.get(place.certPath) ?? item.hostname;
        owners.set(place.certPath, owner);
        if (owner !== item.hostname) states[item.hostname] = sharedFile(place, owner);
        else states[item.hostname] ??= await observeOne(place, ca).catch(unknownState);
      }
      if (driver === 'files') return states;
      for (const { hostname, name } of await leftOver(
        options.certDir,
        new Set(owners.keys()),
        issuedBy(local, acme),
      ))
        states[hostname] ??= { kind: 'left', name };
      return states;
    },
    issue(hostname, service, isDefault) {
      const place = placeOf({ hostname, service, isDefault }, options.certDir);
      if (typeof place === 'string') return Promise.resolve(blocked(place, 'Mend the definition.'));
      if (acme !== undefined) return startOrder(acme, place, options);
      // One at a time: two must not make the CA at once.
      const result = queue.then(async () => {
        try {
          const outcome = await issueOne(place, caDir, options);
          if (outcome.kind === 'ok') failedAt.delete(hostname);
          else failedAt.set(hostname, clock.monotonic());
          return outcome;
        } catch (error) {
          return bug(error);
        }
      });
      queue = result;
      return result;
    },
    remove: (hostname, name) => removeLeft(hostname, name, caDir, options, acme),
    rootPem: () => rootOf(driver, caDir),
    stop: () => acme?.stop() ?? Promise.resolve(),
  };
}

function issuedBy(local: LocalCa | undefined, acme: Acme | undefined): IsIssuedHere {
  return (hostname, leaf) =>
    acme?.issued(hostname, leaf) ?? Promise.resolve(local !== undefined && signed(local.root, leaf));
}

async function removeLeft(
  hostname: string,
  name: string,
  caDir: string,
  { driver, certDir }: CertificateOptions,
  acme: Acme | undefined,
): Promise<Outcome<undefined>> {
  const ca = driver === 'local' ? await loadLocalCa(caDir) : ok();
  if (ca.kind !== 'ok') return ca;
  const place = placeOf({ hostname, service: name, isDefault: true }, certDir);
  if (typeof place === 'string') return blocked(place, 'It is left alone.');
  return removeIssued(place.certPath, hostname, issuedBy(ca.value, acme));
}

async function rootOf(driver: CertificateOptions['driver'], caDir: string): Promise<Outcome<string>> {
  if (driver !== 'local') return blocked('there is no local CA', 'Set [certs] driver = "local" to have one.');
  const ca = await loadLocalCa(caDir);
  if (ca.kind !== 'ok') return ca;
  if (ca.value === undefined) return wait('the local CA has not issued anything yet');
  return ok(ca.value.rootPem);
}

/** Of a certificate from the CA: what is there, and how the order of the next one stands. */
async function observeOrdered(
  acme: Acme,
  verdict: Verdict,
  place: Place,
  now: number,
): Promise<CertificateState> {
  const state = stateOf(verdict, place, now);
  if (verdict.kind === 'unknown') return state;
  const job = acme.state(place.hostname);
  const order = orderOf(acme, place.hostname);
  if (verdict.kind === 'absent') {
    if (order !== undefined) return { ...order, certPath: place.certPath };
    return {
      kind: 'absent',
      certPath: place.certPath,
      hint: 'it is ordered from the CA of [certs] acme_directory',
    };
  }
  if (verdict.leaf === undefined || !(await acme.issued(place.hostname, verdict.leaf))) return state;
  if (verdict.kind === 'invalid') {
    const ended = endedIn(verdict, now);
    if (order !== undefined) return { ...order, certPath: place.certPath, ...ended };
    return {
      kind: 'absent',
      certPath: place.certPath,
      hint: `${verdict.why}: another one is ordered`,
      ...ended,
    };
  }
  const ours = renewable(state, verdict.leaf);
  if (ours.kind !== 'valid' || now <= (ours.renewsAt ?? now)) return ours;
  // One that ended well a moment ago has brought this very certificate: its CA gives none that live longer.
  if (job?.kind === 'done' && now - job.at < retryAfter(verdict.leaf)) return ours;
  return { ...ours, renewal: order ?? { kind: 'due' } };
}

function orderOf(acme: Acme, hostname: string): CertificateOrder | undefined {
  const job = acme.state(hostname);
  switch (job?.kind) {
    case 'queued':
      return { kind: 'ordered', since: job.since };
    case 'running':
      return {
        kind: 'ordered',
        since: job.since,
        ...(job.progress === undefined ? {} : { progress: job.progress }),
      };
    case 'failed':
      return {
        kind: 'failed',
        at: job.at,
        why: job.failure.why,
        hint: job.failure.hint ?? 'It is tried again by itself.',
        retryAt: job.retryAt,
      };
    default:
      return undefined;
  }
}

async function startOrder(
  acme: Acme,
  place: Place,
  { certDir, clock }: CertificateOptions,
): Promise<Outcome<undefined>> {
  const verdict = await checkCertificate(place, clock.now());
  if (verdict.kind === 'unknown') return outcomeOf(verdict, place);
  if (verdict.kind !== 'absent') {
    const isOurs = verdict.leaf !== undefined && (await acme.issued(place.hostname, verdict.leaf));
    if (!isOurs) return outcomeOf(verdict, place);
  }
  const directory = await ensureDirectory(certDir);
  if (directory.kind !== 'ok') return directory;
  return acme.start(
    place.hostname,
    () => ensureKey(place.keyPath),
    (pem, note) => takeOrdered(acme, pem, note, place, clock),
  );
}

/** What a CA gave is judged before it takes the place of what is there (L10). */
async function takeOrdered(
  acme: Acme,
  pem: string,
  note: (leaf: X509Certificate) => Promise<void>,
  place: Place,
  clock: Clock,
): Promise<Outcome<undefined>> {
  const key = await ensureKey(place.keyPath);
  if (key.kind !== 'ok') return key;
  const roots = await acme.roots();
  if (roots.kind !== 'ok') return roots;
  const verdict = await judgeCertificate(pem, pemOfKey(key.value), place, clock.now(), roots.value);
  if (verdict.kind === 'invalid')
    return blocked(`what the CA gave cannot be used: ${verdict.why}`, verdict.hint);
  if (verdict.kind !== 'valid') return blocked('what the CA gave cannot be judged');
  try {
    await note(verdict.leaf);
    await writeFileAtomic(place.certPath, pem, CERT_MODE);
    return ok();
  } catch (error) {
    return writeFailure(error, place.certPath);
  }
}

async function issueOne(
  place: Place,
  caDir: string,
  options: CertificateOptions,
): Promise<Outcome<undefined>> {
  const { driver, clock, log, hostnameSuffix } = options;
  const now = clock.now();
  const verdict = await checkCertificate(place, now);
  if (driver === 'files') return outcomeOf(verdict, place);
  const loaded = await loadLocalCa(caDir);
  if (loaded.kind !== 'ok') return loaded;
  if (needOf(verdict, loaded.value, now).kind === 'none') return outcomeOf(verdict, place);
  const ca = await ensureLocalCa(caDir, hostnameSuffix, now);
  if (ca.kind !== 'ok') return ca;
  const directory = await ensureDirectory(options.certDir);
  if (directory.kind !== 'ok') return directory;
  const key = await ensureKey(place.keyPath);
  if (key.kind !== 'ok') return key;
  try {
    await writeFileAtomic(place.certPath, await ca.value.issue(place.hostname, key.value, now), CERT_MODE);
  } catch (error) {
    return writeFailure(error, place.certPath);
  }
  log.info({ hostname: place.hostname, path: place.certPath }, 'certificate issued by the local CA');
  return outcomeOf(await checkCertificate(place, clock.now()), place);
}

type Need = { readonly kind: 'none' } | { readonly kind: 'issue'; readonly hint: string };

/** What the local CA has to do about a file: nothing when it is fine, or not its own, or cannot be judged. */
function needOf(verdict: Verdict, ca: LocalCa | undefined, now: number): Need {
  if (verdict.kind === 'absent') return { kind: 'issue', hint: 'the local CA of this node will issue it' };
  if (verdict.kind === 'unknown' || verdict.leaf === undefined || ca === undefined) return { kind: 'none' };
  if (!signed(ca.root, verdict.leaf)) return { kind: 'none' };
  if (verdict.kind === 'invalid') return { kind: 'issue', hint: `${verdict.why}: it will be issued again` };
  const isDue = now > verdict.notAfter - lifeOf(verdict.leaf) / 3;
  if (!isDue || !isGrowing(ca, verdict.leaf)) return { kind: 'none' };
  return { kind: 'issue', hint: 'due for renewal: less than a third of its life is left' };
}

/** Signed by the local CA; and a leaf that ends with its root cannot be made longer: renewing it would never come to an end. */
function isGrowing({ root }: LocalCa, leaf: X509Certificate): boolean {
  return signed(root, leaf) && endOf(leaf) < endOf(root);
}

function retryAfter(leaf: X509Certificate): number {
  return Math.min(RENEWAL_RETRY_MS, lifeOf(leaf) / 3);
}

/** Of what is in place and may not be used any more: when it ended, if that is so. */
function endedIn(verdict: Verdict, now: number): { readonly endedAt?: number } {
  const ended = verdict.kind === 'invalid' && verdict.leaf !== undefined ? endOf(verdict.leaf) : undefined;
  return ended === undefined || ended > now ? {} : { endedAt: ended };
}

function lifeOf(leaf: X509Certificate): number {
  return endOf(leaf) - startOf(leaf);
}

/** One of ours: another one is made, or asked for, when a third of its life is left. */
function renewable(state: CertificateState, leaf: X509Certificate): CertificateState {
  return state.kind === 'valid' ? { ...state, renewsAt: state.notAfter - lifeOf(leaf) / 3 } : state;
}

function stateOf(verdict: Verdict, { certPath, keyPath }: Place, now: number): CertificateState {
  switch (verdict.kind) {
    case 'absent':
      return { kind: 'absent', certPath, hint: placeHint(certPath, keyPath) };
    case 'unknown':
      return verdict;
    case 'invalid':
      return { kind: 'invalid', certPath, why: verdict.why, hint: verdict.hint, ...endedIn(verdict, now) };
    case 'valid':
      return {
        kind: 'valid',
        certPath,
        keyPath,
        notAfter: verdict.notAfter,
        fingerprint256: verdict.leaf.fingerprint256,
        ...(verdict.keyMode === undefined ? {} : { keyMode: verdict.keyMode }),
      };
  }
}

function outcomeOf(verdict: Verdict, place: Place): Outcome<undefined> {
  if (verdict.kind === 'valid') return ok();
  if (verdict.kind === 'invalid') return blocked(verdict.why, verdict.hint);
  if (verdict.kind === 'unknown') return blocked(verdict.why, 'Let the agent read the file.');
  return blocked(
    `there is no certificate for ${place.hostname} at ${place.certPath}`,
    placeHint(place.certPath, place.keyPath),
  );
}

function placeHint(certPath: string, keyPath: string): string {
  return `Put the full chain at ${certPath} and its key (mode 0600) at ${keyPath}, or set [certs] driver = "local" or "acme".`;
}

function unknownState(error: unknown): CertificateState {
  return { kind: 'unknown', why: `the certificate cannot be judged: ${messageOf(error)}` };
}

function sharedFile({ certPath, hostname }: Place, owner: string): CertificateState {
  return {
    kind: 'invalid',
    certPath,
    why: `${certPath} would serve both ${owner} and ${hostname}`,
    hint: 'Give the route a host name with a dot in it, which no service can be called.',
  };
}

function byDefaultFirst(a: WantedCertificate, b: WantedCertificate): number {
  return Number(b.isDefault) - Number(a.isDefault) || (a.hostname < b.hostname ? -1 : 1);
}
