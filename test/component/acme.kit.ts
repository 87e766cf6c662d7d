import { join } from 'node:path';
import { systemClock, type Clock } from '../../src/base/clock.ts';
import { makeLog } from '../../src/base/log.ts';
import type { AcmeOptions, ThroughProxy } from '../../src/node/certs/acme/acme.ts';
import { openCertificates, type Certificates } from '../../src/node/certs/certificates.ts';
import type { Dns } from '../../src/node/dns/dns.ts';
import type { CertificateState } from '../../src/node/certs/types.ts';
import type { Pebble } from '../support/pebble.ts';
import { until } from '../support/until.ts';

export const NAME = 'hello.svc.test';
export const DAY_MS = 86_400_000;

interface Ordering extends ThroughProxy {
  readonly pebble: Pebble;
  /** Certificates, the account and the local CA live here. */
  readonly dir: string;
  readonly driver?: 'local' | 'acme';
  readonly dns?: Dns;
  readonly clock?: Clock;
  /** What is otherwise than with a Pebble that comes straight to the agent. */
  readonly acme?: Partial<AcmeOptions>;
}

/** Certificates of a real Pebble, or of the node's own CA in the same place. */
export function certificatesFrom({
  pebble,
  dir,
  driver = 'acme',
  clock = systemClock,
  ...more
}: Ordering): Certificates {
  const { dns, acme, proxyReady } = more;
  return openCertificates(
    {
      driver,
      certDir: join(dir, 'certs'),
      caDir: join(dir, 'ca'),
      hostnameSuffix: 'svc.test',
      clock,
      log: makeLog('silent'),
      acme: {
        directory: pebble.directory,
        challenge: 'http-01',
        contact: [],
        agreesTerms: true,
        caFile: pebble.caFile,
        rootsFile: pebble.rootsFile,
        eabKid: pebble.eabKid,
        eabKeyFile: pebble.eabKeyFile,
        httpListen: `127.0.0.1:${pebble.httpPort}`,
        dir: join(dir, 'acme'),
        clock,
        pollMs: 20,
        timeoutMs: 30_000,
        retryMs: { first: 100, longest: 100 },
        ...acme,
      },
    },
    { ...(dns === undefined ? {} : { dns }), ...(proxyReady === undefined ? {} : { proxyReady }) },
  );
}

export async function lookAt(certificates: Certificates): Promise<CertificateState> {
  return (await certificates.observe([{ hostname: NAME, service: 'hello', isDefault: true }]))[NAME]!;
}

/** What has become of an order, however it ended. */
export function endOfOrder(certificates: Certificates): Promise<CertificateState> {
  return until(
    'the order to end',
    async () => {
      const state = await lookAt(certificates);
      return state.kind === 'ordered' ? undefined : state;
    },
    40_000,
  );
}

export function whyOf(state: CertificateState): string {
  return 'why' in state ? state.why : state.kind;
}
