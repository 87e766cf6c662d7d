import { redact } from '../base/secret.ts';
import type { ObservedRoute, ZoneName } from '../node/types.ts';
import type { RouteView } from './types.ts';

/** Whose a route in the table is, when it is not this agent's: it is shown, never touched, and ours waits (house rule 9). */
export function strangerOf(route: ObservedRoute | undefined, owner: string): RouteView['foreign'] {
  if (route === undefined || route.mark?.startsWith(`${owner}/`) === true) return undefined;
  const { mark, backend } = route;
  const [node, instance] = mark?.split('/') ?? [];
  return {
    backend: redact(backend),
    ...(node === undefined ? {} : { owner: redact(`${node}/${instance ?? ''}`) }),
  };
}

/** What somebody else has under a name of ours: it is never written over, and clients may be led there. */
export function strangeIn(
  hostname: string,
  { servers }: ZoneName,
  own: readonly string[],
): string | undefined {
  for (const { server, seen } of servers) {
    if (!seen.known) continue;
    const { addresses, foreign, alias, mark, others = [] } = seen.value;
    const marks = mark === undefined ? others : [mark, ...others];
    const strange = addresses.filter((ip) => marks.every((one) => !one.addresses.includes(ip)));
    const isSame = marks.length === 0 && strange.every((ip) => own.includes(ip));
    if (foreign !== true && (strange.length === 0 || isSame)) continue;
    const values = [...(alias === undefined ? [] : [`CNAME ${alias}`]), ...strange].join(', ');
    return `${hostname} has a record on name server ${server} that is not ours${values === '' ? '' : `: ${values}`}`;
  }
  return undefined;
}

/** Nothing of ours is there, nor will be as long as the other one is. */
export function isRefused(hostname: string, seen: ZoneName, own: readonly string[], owner: string): boolean {
  const isOurs = seen.servers.some(({ seen: at }) => {
    if (!at.known) return false;
    const { mark, others = [] } = at.value;
    return [...(mark === undefined ? [] : [mark]), ...others].some((one) => one.owner === owner);
  });
  return !isOurs && strangeIn(hostname, seen, own) !== undefined;
}
