import type { KeyObject, X509Certificate } from 'node:crypto';
import { mkdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import pLimit from 'p-limit';
import type { Clock } from '../../../base/clock.ts';
import { writeFileAtomic } from '../../../base/files.ts';
import type { Log } from '../../../base/log.ts';
import { blocked, ok, retry, type Failure, type Outcome } from '../../../base/outcome.ts';
import type { Dns } from '../../dns/dns.ts';
import { openJobs, type JobState } from '../../jobs.ts';
import { writeFailure } from '../../writing.ts';
import { parseChain, readBounded } from '../check.ts';
import { orderCertificate } from './order.ts';
import { makeResponder } from './responder.ts';

export interface AcmeOptions {
  /** The CA's directory URL (RFC 8555, section 7.1.1). */
  readonly directory: string;
  readonly challenge: 'http-01' | 'dns-01';
  /** `mailto:…` */
  readonly contact: readonly string[];
  readonly agreesTerms: boolean;
  /** PEM file: roots of the CA's own server instead of the system's. */
  readonly caFile?: string;
  /** PEM file: roots besides the system's that issued chains may end in. */
  readonly rootsFile?: string;
  readonly eabKid?: string;
  readonly eabKeyFile?: string;
  /** Where http-01 is answered. */
  readonly httpListen: string;
  /** It is asked for through the proxy, which is made to hand it on before anything is asked of the CA. */
  readonly throughProxy?: boolean;
  /** Account key, account URL, which certificates came from here. */
  readonly dir: string;
  readonly clock: Clock;
  /** From one look at an order to the next; doubled up to 15 s. */
  readonly pollMs: number;
  readonly timeoutMs: number;
  /** Waits after failures in a row. */
  readonly retryMs: { readonly first: number; readonly longest: number };
}

/** Puts what a CA wants to see where it looks, and takes it away again. */
export interface Challenges {
  open(hostname: string, token: string, answer: string): Promise<Outcome<undefined>>;
  close(hostname: string, token: string, answer: string): Promise<void>;
}

/** Certificates of an ACME CA. Nothing of it waits: an order is a job that is observed. */
export interface Acme {
  /** Begins an order and what is done with its chain; ok also when one is under way. */
  start(
    hostname: string,
    key: () => Promise<Outcome<KeyObject>>,
    take: (pem: string, note: (leaf: X509Certificate) => Promise<void>) => Promise<Outcome<undefined>>,
  ): Outcome<undefined>;
  state(hostname: string): JobState<'order'> | undefined;
  /** Was this very certificate ordered here? Those of others are never replaced. */
  issued(hostname: string, leaf: X509Certificate): Promise<boolean>;
  /** Roots of the settings, PEM. */
  roots(): Promise<Outcome<string>>;
  stop(): Promise<void>;
}

export interface ThroughProxy {
  /** Has the proxy hand on what a CA asks for, and says when it does. */
  readonly proxyReady?: () => Promise<Outcome<undefined>>;
}

export function openAcme(
  options: AcmeOptions & {
    readonly dns: Dns;
    readonly log: Log;
    readonly onChange: () => void;
  } & ThroughProxy,
): Acme {
  const { clock, dns, log, onChange, timeoutMs, retryMs, dir } = options;
  const jobs = openJobs({ lanes: { order: { concurrency: 2, timeoutMs } }, clock, retryMs, onChange });
  const alone = pLimit(1);
  const ready = options.throughProxy === true ? options.proxyReady : undefined;
  const challenges =
    options.challenge === 'dns-01' ? byDns(dns, dir, log) : byHttp(options.httpListen, ready);

  return {
    start(hostname, key, take) {
      const under = jobs.state(hostname);
      if (under?.kind === 'queued' || under?.kind === 'running') return ok();
      return jobs.start({
        key: hostname,
        lane: 'order',
        what: `the order of a certificate for ${hostname}`,
        work: async (context) => {
          const made = await key();
          if (made.kind !== 'ok') return made;
          // Before the CA is asked: it counts the orders.
          const roots = await fileOf(options.rootsFile);
          if (roots.kind !== 'ok') return roots;
          const ca = await fileOf(options.caFile);
          if (ca.kind !== 'ok') return ca;
          const early = await tooEarly(dir, hostname, clock.now());
          if (early !== undefined) return early;
          const order = { ...options, ...(ca.value === '' ? {} : { ca: ca.value }) };
          const pem = await orderCertificate(hostname, made.value, order, challenges, { ...context, alone });
          if (pem.kind !== 'ok') {
            log.warn({ hostname, why: pem.why, hint: pem.hint }, 'no certificate from the CA');
            await noteLimit(dir, hostname, pem, clock.now());
            return pem;
          }
          const taken = await take(pem.value, (leaf) => noteIssued(dir, hostname, leaf));
          if (taken.kind !== 'ok') return taken;
          log.info({ hostname, ca: options.directory }, 'certificate issued by the CA');
          return ok();
        },
      });
    },
    state: (hostname) => jobs.state(hostname),
    issued: async (hostname, leaf) => {
      const text = await readFile(issuedPath(dir, hostname), 'utf8').catch(() => '');
      return text.split('\n').includes(leaf.fingerprint256);
    },
    roots: () => fileOf(options.rootsFile),
    stop: () => jobs.stop(),
  };
}

/** Longer a note is not believed: a clock that was wrong when it was written must not hold up for years. */
const LONGEST_LIMIT_MS = 7 * 24 * 3_600_000;

function limitPath(dir: string, hostname: string): string {
  return join(dir, 'limited', hostname);
}

/** When the CA wants to be asked again, also by an agent that was started since. */
async function noteLimit(
  dir: string,
  hostname: string,
  { why, afterMs }: Failure,
  now: number,
): Promise<void> {
  const path = limitPath(dir, hostname);
  try {
    if (afterMs === undefined) {
      await rm(path, { force: true });
    } else {
      await mkdir(join(dir, 'limited'), { recursive: true, mode: 0o700 });
      await writeFileAtomic(path, `${now + afterMs}\n${why}\n`);
    }
  } catch {
    // Then it holds until the agent ends.
  }
}

async function tooEarly(dir: string, hostname: string, now: number): Promise<Failure | undefined> {
  const [until = '', why = ''] = (await readFile(limitPath(dir, hostname), 'utf8').catch(() => '')).split(
    '\n',
  );
  const leftMs = Number(until) - now;
  if (!(leftMs > 0 && leftMs <= LONGEST_LIMIT_MS)) return undefined;
  return { ...retry(why, 'It is tried again when the CA wants it.', leftMs), cause: 'outside' };
}

function issuedPath(dir: string, hostname: string): string {
  return join(dir, 'issued', hostname);
}

/** Before it takes its place, and beside the one that is there: neither is ever taken for somebody else's (G40). */
async function noteIssued(dir: string, hostname: string, leaf: X509Certificate): Promise<void> {
  const path = issuedPath(dir, hostname);
  const [before = ''] = (await readFile(path, 'utf8').catch(() => '')).split('\n');
  await mkdir(join(dir, 'issued'), { recursive: true, mode: 0o700 });
  await writeFileAtomic(path, `${leaf.fingerprint256}\n${before}\n`);
}

async function fileOf(path: string | undefined): Promise<Outcome<string>> {
  if (path === undefined) return ok('');
  const read = await readBounded(path);
  if (read.kind === 'text' && parseChain(read.text).length > 0) return ok(read.text);
  const faults = { missing: 'does not exist', text: 'holds no certificate that can be read' };
  return blocked(
    read.kind === 'unknown' ? read.why : `${path} ${faults[read.kind]}`,
    `Put the CA's root there, PEM.`,
  );
}

function byHttp(listen: string, ready?: () => Promise<Outcome<undefined>>): Challenges {
  const responder = makeResponder(listen);
  return {
    async open(_hostname, token, answer) {
      // A CA that meets a closed door counts it as a failure: it is not asked before the proxy hands on.
      const outcome = (await ready?.()) ?? ok();
      return outcome.kind === 'ok' ? responder.open(token, answer) : outcome;
    },
    close: (_hostname, token) => responder.close(token),
  };
}

/** The value is noted before it stands in DNS: an agent that dies in between takes it away at the next order. */
function byDns(dns: Dns, dir: string, log: Log): Challenges {
  const noteOf = (hostname: string): string => join(dir, 'pending', hostname);
  const nameOf = (hostname: string): string => `_acme-challenge.${hostname}`;
  const drop = async (hostname: string, value: string): Promise<void> => {
    const gone = await dns.removeText(nameOf(hostname), value);
    if (gone.kind === 'ok') await rm(noteOf(hostname), { force: true });
    else log.warn({ hostname, why: gone.why }, 'the challenge in DNS could not be taken away yet');
  };
  return {
    async open(hostname, _token, value) {
      const left = await readFile(noteOf(hostname), 'utf8').catch(() => '');
      if (left !== '') await drop(hostname, left);
      try {
        await mkdir(join(dir, 'pending'), { recursive: true, mode: 0o700 });
        await writeFileAtomic(noteOf(hostname), value);
      } catch (error) {
        return writeFailure(error, noteOf(hostname));
      }
      const put = await dns.putText(nameOf(hostname), value);
      if (put.kind !== 'ok') await drop(hostname, value);
      return put;
    },
    close: (hostname, _token, value) => drop(hostname, value),
  };
}
