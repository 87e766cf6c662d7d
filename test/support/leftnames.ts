import { known } from '../../src/base/outcome.ts';
import type { DnsFacts, ZoneName } from '../../src/node/types.ts';
import { recordNames } from '../../src/plan/records.ts';
import type { World } from './world.ts';

/** Names with our mark that nobody asks for: what a search of the zones finds. */
export function leftNames(world: World): Pick<DnsFacts, 'left'> {
  const asked = recordNames(world.desired, { applied: world.applied, records: world.dnsRecords });
  const left = Object.entries(world.names).flatMap(([hostname, record]): [string, ZoneName][] => {
    const zone = world.zones.find((one) => hostname.endsWith(`.${one}`));
    const isOurs = record.mark?.owner === `${world.nodeName}/main`;
    if (zone === undefined || asked.includes(hostname) || !isOurs) return [];
    return [[hostname, { zone, servers: [{ server: 'ns', seen: known(record) }] }]];
  });
  return left.length === 0 || !world.dnsAnswers ? {} : { left: Object.fromEntries(left) };
}
