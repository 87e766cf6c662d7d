import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { httpRequest } from '../../src/base/http.ts';
import { makeCa } from './certs.ts';
import { freePort } from './ports.ts';
import { until } from './until.ts';

const EAB_KEY = 'zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W';

/** A real Pebble of one test, that asks for an external account binding. It forgets everything when it is started again. */
export interface Pebble {
  readonly directory: string;
  /** Root of its own server, PEM file. */
  readonly caFile: string;
  /** The roots that it signs with now, PEM file; written anew by `start`. */
  readonly rootsFile: string;
  readonly eabKid: string;
  readonly eabKeyFile: string;
  /** Where it comes for http-01. */
  readonly httpPort: number;
  /** `env`: Pebble's own knobs, for example PEBBLE_WFE_NONCEREJECT. */
  start(env?: Readonly<Record<string, string>>): Promise<void>;
  halt(): Promise<void>;
  stop(): Promise<void>;
}

export interface PebbleOptions {
  /** The name server that it asks; absent: the system's. */
  readonly dns?: string;
  /** Life of what it signs; absent: its own five years. */
  readonly lifeS?: number;
}

export async function startPebble({ dns, lifeS }: PebbleOptions = {}): Promise<Pebble> {
  const dir = await mkdtemp(join(tmpdir(), 'pebble-'));
  const at = (name: string): string => join(dir, name);
  const [port, management, httpPort, tlsPort] = [
    await freePort(),
    await freePort(),
    await freePort(),
    await freePort(),
  ];
  const ca = await makeCa('test root of the server of a CA');
  const issued = await ca.issue(['localhost']);
  await writeFile(at('ca.pem'), ca.cert);
  await writeFile(at('cert.pem'), issued.cert);
  await writeFile(at('key.pem'), issued.key);
  await writeFile(at('eab'), `${EAB_KEY}\n`, { mode: 0o600 });
  await writeFile(
    at('config.json'),
    JSON.stringify({
      pebble: {
        listenAddress: `127.0.0.1:${port}`,
        managementListenAddress: `127.0.0.1:${management}`,
        certificate: at('cert.pem'),
        privateKey: at('key.pem'),
        httpPort,
        tlsPort,
        ocspResponderURL: '',
        externalAccountBindingRequired: true,
        externalAccountMACKeys: { 'kid-1': EAB_KEY },
        ...(lifeS === undefined ? {} : { certificateValidityPeriod: lifeS }),
      },
    }),
  );
  let child: ChildProcess | undefined;
  const get = (url: string): Promise<string> =>
    httpRequest({ method: 'GET', url, ca: ca.cert, deadlineMs: 2_000, maxBytes: 100_000 }).then(({ body }) =>
      Buffer.from(body).toString('utf8'),
    );
  const pebble: Pebble = {
    directory: `https://localhost:${port}/dir`,
    caFile: at('ca.pem'),
    rootsFile: at('roots.pem'),
    eabKid: 'kid-1',
    eabKeyFile: at('eab'),
    httpPort,
    start: async (env = {}) => {
      const options = [
        '-config',
        at('config.json'),
        '-strict',
        ...(dns === undefined ? [] : ['-dnsserver', dns]),
      ];
      child = spawn('pebble', options, {
        stdio: 'ignore',
        env: {
          ...process.env,
          PEBBLE_VA_NOSLEEP: '1',
          PEBBLE_WFE_NONCEREJECT: '0',
          PEBBLE_AUTHZREUSE: '0',
          ...env,
        },
      });
      const root = await until('Pebble to answer', () =>
        get(`https://localhost:${management}/roots/0`).catch(() => undefined),
      );
      await writeFile(at('roots.pem'), root);
    },
    halt: async () => {
      if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
      const gone = once(child, 'exit');
      child.kill('SIGTERM');
      await gone;
      child = undefined;
    },
    stop: async () => {
      await pebble.halt();
      await rm(dir, { recursive: true, force: true });
    },
  };
  await pebble.start();
  return pebble;
}
