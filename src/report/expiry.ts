import type { DesiredService } from '../definitions/types.ts';
import type { CertificateState } from '../node/certs/types.ts';
import type { Handshake, Observed } from '../node/types.ts';
import type { Cause } from './causes.ts';

const DAY_MS = 86_400_000;
/** Days before its end at which a certificate is spoken of, each time more urgently; 0: it has ended. */
const STEPS_DAYS = [0, 1, 7, 14, 30] as const;
/** One of ours that is due is renewed within minutes; a notice before that would come with every renewal. */
const OURS_AFTER_MS = 3_600_000;
/** One of ours that has ended is made anew within moments, if at all. */
const ENDED_AFTER_MS = 60_000;

/** Of one that renews by itself nothing is said before it should have done so. */
export function isLate({ renewsAt }: { readonly renewsAt?: number | undefined }, at: number): boolean {
  return renewsAt === undefined || at >= renewsAt + OURS_AFTER_MS;
}

/** The step that a certificate has reached; undefined: more than 30 days are left. */
export function expiryStep(notAfter: number, at: number): number | undefined {
  return STEPS_DAYS.find((days) => notAfter - at <= days * DAY_MS);
}

/** `ends within 7 days (2026-12-01)`. */
export function expiryWords(notAfter: number, step: number): string {
  const when = step === 0 ? 'has ended' : `ends within ${step} ${step === 1 ? 'day' : 'days'}`;
  return `${when} (${dayOf(notAfter)})`;
}

export function dayOf(at: number): string {
  return new Date(at).toISOString().slice(0, 10);
}

/** The first end of what is in the file and of what is shown: of an l4 service only the latter is known. */
export function endOf(
  file: CertificateState | undefined,
  shown: Handshake | undefined,
): { notAfter?: number } {
  const ends = [
    ...(file?.kind === 'valid' ? [file.notAfter] : []),
    ...(file !== undefined && 'endedAt' in file ? [file.endedAt] : []),
    ...(shown?.kind === 'ok' ? [shown.notAfter] : []),
  ];
  return ends.length === 0 ? {} : { notAfter: Math.min(...ends) };
}

/**
 * One cause for each host name and step, so that each is told once: every certificate that a route of a running service uses, also those
 * that are not ours to renew. Of ours nothing is said before their renewal is due.
 */
export function expiring(services: readonly DesiredService[], observed: Observed): Cause[] {
  const causes = new Map<string, Cause>();
  const { at, certificates, handshakes } = observed;
  for (const { service } of services.filter((entry) => entry.service.active)) {
    for (const { hostname, port, mode } of service.components.flatMap(({ routes }) => routes)) {
      const file = mode === 'l7' ? certificates[hostname] : undefined;
      const { notAfter } = endOf(file, handshakes?.[`${hostname}:${port}`]);
      const step = notAfter === undefined ? undefined : expiryStep(notAfter, at);
      if (notAfter === undefined || step === undefined) continue;
      const renewsAt = file?.kind === 'valid' ? file.renewsAt : undefined;
      if (renewsAt !== undefined && at < renewsAt) continue;
      const key = `expiry ${hostname} ${step}`;
      causes.set(key, {
        ...{ key, kind: 'certificate', service: service.name },
        afterMs: renewsAt !== undefined ? OURS_AFTER_MS : isMadeHere(file) ? ENDED_AFTER_MS : 0,
        text: `the certificate of ${hostname} ${expiryWords(notAfter, step)}`,
        hint:
          mode === 'l4'
            ? `${service.name} shows it itself: renew it where the service reads it.`
            : hintOf(file),
      });
    }
  }
  return [...causes.values()];
}

/** Nobody has to put another one in its place: it is issued here, or ordered. */
function isMadeHere(file: CertificateState | undefined): boolean {
  return file !== undefined && ['absent', 'ordered', 'failed'].includes(file.kind);
}

function hintOf(file: CertificateState | undefined): string {
  switch (file?.kind) {
    case 'valid':
      if (file.renewsAt !== undefined)
        return 'It should have been renewed by itself: look at why it was not.';
      return `Put the renewed full chain at ${file.certPath}; it is taken up without a restart.`;
    case 'absent':
    case 'failed':
    case 'invalid':
      return file.hint;
    default:
      return 'It is made anew by itself: `mc-gitops status` says what it waits for.';
  }
}
