import type { CertificateState } from '../../src/node/certs/types.ts';
import type { ObservedRoute } from '../../src/node/types.ts';
import type { World } from './world.ts';

/** The certificates as a look finds them: one that has come to its end may not be used any more. */
export function certificatesSeen(world: World): Record<string, CertificateState> {
  return new Proxy(world.certificates, {
    get: (all, name) => {
      const certPath = `/certs/${String(name)}.pem`;
      const state = all[String(name)];
      if (state === undefined) return { kind: 'absent', certPath, hint: 'issue it' };
      return state.kind === 'valid' && state.notAfter <= world.now ? ended(world, state) : state;
    },
  });
}

/** As each driver tells it. */
function ended(
  { certificateDriver }: World,
  { certPath, notAfter: endedAt, renewal }: Extract<CertificateState, { kind: 'valid' }>,
): CertificateState {
  const why = `it has ended on ${new Date(endedAt).toISOString()}`;
  if (certificateDriver === 'files')
    return { kind: 'invalid', certPath, why, hint: 'put another one there', endedAt };
  return renewal === undefined || renewal.kind === 'due'
    ? { kind: 'absent', certPath, hint: `${why}: it will be issued again`, endedAt }
    : { ...renewal, certPath, endedAt };
}

/** Routes whose certificate is another by now than the one that the proxy took up. */
export function outdatedRoutes({ table, staleRoutes, takenUp, certificates }: World): ObservedRoute[] {
  return table.filter(({ hostname, mode }) => {
    if (staleRoutes.has(hostname)) return true;
    const state = certificates[hostname];
    return mode === 'l7' && state?.kind === 'valid' && takenUp !== undefined
      ? takenUp.get(hostname) !== state.fingerprint256
      : false;
  });
}

/** The proxy takes up the certificates of these routes as they are now. */
export function takeUp(
  { staleRoutes, takenUp, certificates }: World,
  routes: readonly ObservedRoute[],
): void {
  for (const { hostname } of routes) {
    staleRoutes.delete(hostname);
    const state = certificates[hostname];
    if (state?.kind === 'valid') takenUp?.set(hostname, state.fingerprint256);
  }
}

/** Routes of ours that clients are shown a certificate by that has ended, or that nobody has any more. */
export function servedInVain(world: World): string[] {
  const { owner } = world.settings();
  return world.table
    .filter(({ mode, mark }) => mode === 'l7' && mark?.startsWith(`${owner}/`) === true)
    .filter(({ hostname }) => {
      const state = world.certificates[hostname];
      const isGood = state?.kind === 'valid' && state.notAfter > world.now;
      return !isGood || world.takenUp?.get(hostname) !== state.fingerprint256;
    })
    .map(({ hostname }) => hostname);
}
