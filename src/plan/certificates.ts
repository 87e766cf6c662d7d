import type { Component, DesiredService } from '../definitions/types.ts';
import type { CertificateState } from '../node/types.ts';
import type { Because } from '../registry/types.ts';
import type { Facts } from './facts.ts';
import { isDefaultHostname } from './look.ts';
import { planRecords } from './records.ts';
import { notYet, READY, together, type Staging } from './staged.ts';
import type { Step, Waiting } from './types.ts';

/** Every l7 host name has a certificate that may be used (L10); what is missing is issued by the node's own CA, or ordered. */
export function stageCertificates(
  facts: Facts,
  desired: DesiredService,
  component: Component,
  because: Because,
): Staging {
  if (!facts.settings.proxy) return READY;
  const hostnames = component.routes.filter((route) => route.mode === 'l7').map((route) => route.hostname);
  return together(
    [...new Set(hostnames)].map((hostname) => stageCertificate(facts, desired, component, hostname, because)),
  );
}

function stageCertificate(
  facts: Facts,
  desired: DesiredService,
  component: Component,
  hostname: string,
  because: Because,
): Staging {
  const service = desired.service.name;
  const state = facts.observed.certificates[hostname] ?? { kind: 'unknown', why: 'not looked at yet' };
  const waiting = (why: string, more: Partial<Waiting> = {}): Waiting => ({
    service,
    component: component.name,
    for: 'certificate',
    why,
    ...more,
  });
  const order = (): Staging => ordering(facts, desired, hostname, because, waiting);
  switch (state.kind) {
    case 'valid':
      return state.renewal === undefined ? READY : renewing(facts, state, hostname, order, waiting);
    case 'absent':
      if (facts.settings.certificates !== 'files') return order();
      return notYet(
        waiting(`no certificate for ${hostname}: ${state.certPath} does not exist`, { hint: state.hint }),
      );
    case 'ordered':
      return notYet(waiting(`${hostname}: ${underWay(state.progress)}`, { since: state.since }));
    case 'failed': {
      if (state.retryAt <= facts.now) return order();
      const { hint, at, retryAt } = state;
      return notYet(
        waiting(`no certificate for ${hostname}: ${state.why}`, { hint, since: at, until: retryAt }),
      );
    }
    default:
      return notYet(
        waiting(`certificate for ${hostname}: ${state.why}`, 'hint' in state ? { hint: state.hint } : {}),
      );
  }
}

type MakeWaiting = (why: string, more?: Partial<Waiting>) => Waiting;

/** The node's own CA answers at once; the order at another one is begun, and observed from then on. */
function ordering(
  facts: Facts,
  desired: DesiredService,
  hostname: string,
  because: Because,
  waiting: MakeWaiting,
): Staging {
  const service = desired.service.name;
  const isDefault = isDefaultHostname(hostname, service, facts.settings.hostnameSuffix);
  const step: Step = { service, subject: hostname, because, kind: 'issue-certificate', hostname, isDefault };
  if (facts.settings.certificates === 'local') return { ...READY, steps: [step] };
  const first = recordFirst(facts, desired, because);
  return first ?? notYet(waiting(`${hostname}: is ordered from the CA`), [step]);
}

/** http-01: the CA looks the name up, and comes to where it leads; so its record stands before the order (house, section 4). */
function recordFirst(facts: Facts, desired: DesiredService, because: Because): Staging | undefined {
  if (facts.settings.acmeChallenge !== 'http-01') return undefined;
  const summary = 'the CA proves the name by http-01: its record comes before the certificate';
  const records = planRecords(facts, desired, { ...because, summary });
  const put = records.steps.filter((step) => step.kind === 'put-records');
  if (put.length + records.waiting.length + records.refused.length === 0) return undefined;
  return { ready: false, steps: put, waiting: records.waiting, refused: records.refused };
}

/** The one in place is used until its end, whatever becomes of the order. */
function renewing(
  facts: Facts,
  { notAfter, renewal }: Extract<CertificateState, { kind: 'valid' }>,
  hostname: string,
  order: () => Staging,
  waiting: MakeWaiting,
): Staging {
  if (renewal?.kind === 'failed' && renewal.retryAt > facts.now) {
    const end = new Date(notAfter).toISOString().slice(0, 16).replace('T', ' ');
    const { why, hint, at, retryAt } = renewal;
    const told = `the certificate of ${hostname} could not be renewed: ${why}; the one in place ends on ${end} UTC`;
    return { ...READY, waiting: [waiting(told, { hint, since: at, until: retryAt })] };
  }
  if (renewal?.kind === 'ordered') return READY;
  const { steps, waiting: behind, refused } = order();
  return { ready: true, steps, refused, waiting: steps.length === 0 ? behind : [] };
}

function underWay(progress: string | undefined): string {
  return `its certificate is being ordered${progress === undefined ? '' : ` (${progress})`}`;
}
