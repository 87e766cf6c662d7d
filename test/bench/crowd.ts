import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { ObservedRoute } from '../../src/node/types.ts';
import { OWNER, type DriverRig } from '../support/proxyrig.ts';
import { ask } from '../support/tlsclient.ts';
import type { Row } from './table.ts';

export const CROWD = 500;
const CHANGES = 10;

/** A proxy with many routes: all of them at once, and then one more change, from its write to an answer by the new route. */
export async function measureCrowd(
  name: string,
  rig: DriverRig,
  port: number,
  [first, then]: readonly [number, number],
): Promise<Row[]> {
  const hostnames = Array.from({ length: CROWD }, (_, index) => `s${index}.bench.example.net`);
  const { cert, key } = await rig.ca.issue(hostnames);
  const routeOf = async (hostname: string): Promise<ObservedRoute> => {
    const [tlsCert, tlsKey] = [
      join(rig.directory, `${hostname}.pem`),
      join(rig.directory, `${hostname}.key`),
    ];
    await writeFile(tlsCert, `${cert}\n${rig.ca.cert}\n`);
    await writeFile(tlsKey, key, { mode: 0o600 });
    return {
      ...{ listenerPort: port, hostname, backend: `127.0.0.1:${first}`, mode: 'l7', tlsCert, tlsKey },
      ...{ backendTls: false, mark: `${OWNER}/${hostname.split('.')[0] ?? ''}/web/` },
    };
  };
  const routes = await Promise.all(hostnames.map(routeOf));
  const begun = performance.now();
  await Promise.all(routes.map((route) => put(rig, route)));
  const all = performance.now() - begun;
  const times: number[] = [];
  for (const route of routes.slice(0, CHANGES)) {
    const at = performance.now();
    await put(rig, { ...route, backend: `127.0.0.1:${then}` });
    const { status } = await ask({ port, hostname: route.hostname, ca: rig.ca.cert });
    if (status !== 200) throw new Error(`${route.hostname} answers ${status}`);
    times.push(performance.now() - at);
  }
  return [
    {
      ...{ bench: 'proxy', what: `${name}, ${CROWD} l7 routes at once`, unit: 'ms', values: [all] },
      note: `${CROWD} changes, ${CROWD} certificate files; until all are read back as served`,
    },
    {
      ...{ bench: 'proxy', what: `${name}, one of ${CROWD}: write to answered`, unit: 'ms', values: times },
      note: 'the change, read back, and the first request by it with a handshake of its own',
    },
  ];
}

async function put(rig: DriverRig, route: ObservedRoute): Promise<void> {
  const outcome = await rig.proxy.put([route]);
  if (outcome.kind !== 'ok') throw new Error(outcome.why);
}
