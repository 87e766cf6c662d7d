import type { CertificateState } from '../node/certs/types.ts';
import type { Because } from '../registry/types.ts';
import { REPAIRED } from './because.ts';
import type { Facts, Fronted, FrontedComponent } from './facts.ts';
import { isDefaultHostname } from './look.ts';
import { isPublished, planRecords } from './records.ts';
import { notYet, READY, refusal, together, type Staging } from './staged.ts';
import type { Refused, Waiting } from './types.ts';

/** Every l7 host name has a certificate that may be used (L10); what is missing is issued by the node's own CA, or ordered. */
export function stageCertificates(
  facts: Facts,
  desired: Fronted,
  component: FrontedComponent,
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
  desired: Fronted,
  component: FrontedComponent,
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
  const order = (): Staging =>
    ordering(facts, desired, hostname, orderedFor(state, hostname, because), waiting);
  switch (state.kind) {
    case 'valid':
      return state.renewal === undefined ? READY : renewing(facts, state, hostname, order, waiting);
    case 'left':
      return order();
    case 'absent':
      if (facts.settings.certificates !== 'files') return order();
      return notYet(
        waiting(`no certificate for ${hostname}: ${state.certPath} does not exist`, { hint: state.hint }),
      );
    case 'ordered':
      return notYet(
        waiting(`${hostname}: ${underWay(state.progress)}${endedWords(state.endedAt)}`, {
          since: state.since,
        }),
      );
    case 'failed': {
      if (state.retryAt <= facts.now) return order();
      const { hint, at, retryAt } = state;
      return notYet(
        waiting(`${noneFor(hostname, state.endedAt)}: ${state.why}`, { hint, since: at, until: retryAt }),
      );
    }
    default:
      return notYet(
        waiting(`certificate for ${hostname}: ${state.why}`, 'hint' in state ? { hint: state.hint } : {}),
      );
  }
}

/**
 * Of a service that is in line nothing else is the reason: one comes to its end, or is gone. What became of the order before is
 * nowhere else in the history.
 */
function orderedFor(state: CertificateState, hostname: string, because: Because): Because {
  const own = because.summary === REPAIRED ? ownReason(state, hostname) : because.summary;
  const order = state.kind === 'valid' ? state.renewal : state;
  const again = order?.kind === 'failed' ? `; once more, as before: ${order.why}` : '';
  return { ...because, summary: `${own}${again}` };
}

function ownReason(state: CertificateState, hostname: string): string {
  switch (state.kind) {
    case 'valid':
      return `the certificate of ${hostname} ends on ${minuteOf(state.notAfter)}: less than a third of its life is left`;
    case 'absent':
      return `the certificate of ${hostname}: ${state.hint}`;
    case 'failed':
      return noneFor(hostname, state.endedAt);
    default:
      return `${hostname} has no certificate that may be used`;
  }
}

function noneFor(hostname: string, endedAt: number | undefined): string {
  return endedAt === undefined
    ? `no certificate for ${hostname}`
    : `the certificate of ${hostname} has ended on ${minuteOf(endedAt)}, and there is no other`;
}

function endedWords(endedAt: number | undefined): string {
  return endedAt === undefined ? '' : `; the one in place has ended on ${minuteOf(endedAt)}`;
}

function minuteOf(at: number): string {
  return `${new Date(at).toISOString().slice(0, 16).replace('T', ' ')} UTC`;
}

type MakeWaiting = (why: string, more?: Partial<Waiting>) => Waiting;

/** The node's own CA answers at once; the order at another one is begun, and observed from then on. */
function ordering(
  facts: Facts,
  desired: Fronted,
  hostname: string,
  because: Because,
  waiting: MakeWaiting,
): Staging {
  const service = desired.service.name;
  const isDefault = isDefaultHostname(hostname, service, facts.settings.hostnameSuffix);
  const step = {
    service,
    subject: hostname,
    because,
    kind: 'issue-certificate',
    hostname,
    isDefault,
  } as const;
  if (facts.settings.certificates === 'local') return { ...READY, steps: [step] };
  const unprovable = cannotProve(facts, desired, hostname);
  if (unprovable !== undefined) return refusal(unprovable);
  const first = recordFirst(facts, desired, hostname, because);
  return first ?? notYet(waiting(`${hostname}: is ordered from the CA`), [{ ...step, isOrder: true }]);
}

/**
 * http-01: the CA comes to where the name leads. One that edge nodes serve leads there and not to its own node, and of
 * several edge nodes to any of them: whoever is asked may not be the one that ordered.
 */
function cannotProve(facts: Facts, { service }: Fronted, hostname: string): Refused | undefined {
  const { acmeChallenge, node } = facts.settings;
  const routes = service.components.flatMap((component) => component.routes);
  const edge = routes.find((route) => route.hostname === hostname && route.edge !== undefined)?.edge;
  if (acmeChallenge !== 'http-01' || edge === undefined || (edge.length === 1 && edge[0] === node))
    return undefined;
  return {
    service: service.name,
    why: `no certificate for ${hostname} can be had by http-01: the name leads to ${edge.join(', ')} (edge)`,
    hint: 'Set [certs] acme_challenge = "dns-01" on this node; or driver = "local", where only edge nodes ask it.',
  };
}

/**
 * http-01: the CA looks the name up, and comes to where it leads; so its record stands before the order (house, section 4). Whoever
 * looks up goes on to the next name server when one is silent: that one holds up no order, one that says otherwise does.
 */
function recordFirst(
  facts: Facts,
  desired: Fronted,
  hostname: string,
  because: Because,
): Staging | undefined {
  if (facts.settings.acmeChallenge !== 'http-01' || isPublished(facts, desired, hostname)) return undefined;
  const summary = 'the CA proves the name by http-01: its record comes before the certificate';
  const records = planRecords(facts, desired, { ...because, summary });
  const put = records.steps.filter((step) => step.kind === 'put-records');
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
    const { why, hint, at, retryAt } = renewal;
    const told = `the certificate of ${hostname} could not be renewed: ${why}; the one in place ends on ${minuteOf(notAfter)}`;
    return { ...READY, waiting: [waiting(told, { hint, since: at, until: retryAt })] };
  }
  if (renewal?.kind === 'ordered') return READY;
  const { steps, waiting: behind, refused } = order();
  return { ready: true, steps, refused, waiting: steps.length === 0 ? behind : [] };
}

function underWay(progress: string | undefined): string {
  return `its certificate is being ordered${progress === undefined ? '' : ` (${progress})`}`;
}
