import { expect } from 'chai';
import { once } from 'node:events';
import { appendFile, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer as createHttpServer, type Server } from 'node:http';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect, type TLSSocket } from 'node:tls';
import { systemClock, type Clock } from '../../src/base/clock.ts';
import { makeLog } from '../../src/base/log.ts';
import { startProxy, type RunningProxy } from '../../src/mc-proxy/server.ts';
import { openCertificates } from '../../src/node/certs/certificates.ts';
import { openFileProxy } from '../../src/node/proxy/file.ts';
import type { ObservedProxy, Proxy } from '../../src/node/proxy/proxy.ts';
import { askStatus } from '../../src/node/proxy/status.ts';
import type { ObservedRoute } from '../../src/node/types.ts';
import { freePort } from '../support/ports.ts';
import { until } from '../support/until.ts';

const OWNER = 'rift/main';
const log = makeLog('silent');

describe('proxy driver "file" with the real mc-proxy', () => {
  let root: string;
  let port: number;
  let backend: Server;
  let backendPort: number;
  let proxy: Proxy;
  let router: RunningProxy | undefined;
  let ca: string;
  let issue: (service: string) => Promise<void>;

  beforeEach(async () => {
    root = await mkdtemp(join(tmpdir(), 'proxydriver-'));
    port = await freePort();
    backend = createHttpServer((request, response) => response.end(`hello ${request.headers.host ?? ''}`));
    backend.listen(0, '127.0.0.1');
    await once(backend, 'listening');
    backendPort = (backend.address() as AddressInfo).port;
    const certificates = openCertificates({
      driver: 'local',
      certDir: join(root, 'certs'),
      caDir: join(root, 'ca'),
      hostnameSuffix: 'example.net',
      clock: systemClock,
      log,
    });
    issue = async (service) => {
      const issued = await certificates.issue(`${service}.example.net`, service, true);
      if (issued.kind !== 'ok') throw new Error(issued.why);
    };
    for (const service of ['a', 'b']) await issue(service);
    const pem = await certificates.rootPem();
    if (pem.kind !== 'ok') throw new Error(pem.why);
    ca = pem.value;
    proxy = driver([`127.0.0.1:${port}`]);
  });
  afterEach(async () => {
    await router?.close();
    router = undefined;
    backend.closeAllConnections();
    backend.close();
    await rm(root, { recursive: true });
  });

  const driver = (listeners: string[], clock: Clock = systemClock): Proxy =>
    openFileProxy({
      tablePath: join(root, 'routes.toml'),
      statusSocket: join(root, 'status.sock'),
      listeners,
      owner: OWNER,
      log,
      clock,
    });
  /** For this one no time passes: if it waited for a time to be over, it would wait for ever. */
  const impatient = (): Proxy => driver([`127.0.0.1:${port}`], { ...systemClock, monotonic: () => 0 });
  const startRouter = async (): Promise<void> => {
    const started = await startProxy({
      tablePath: join(root, 'routes.toml'),
      statusSocketPath: join(root, 'status.sock'),
      log,
    });
    if (started.kind !== 'ok') throw new Error(started.why);
    router = started.value;
  };
  const route = (service: string): ObservedRoute => ({
    listenerPort: port,
    hostname: `${service}.example.net`,
    backend: `127.0.0.1:${backendPort}`,
    mode: 'l7',
    tlsCert: join(root, 'certs', `${service}.pem`),
    tlsKey: join(root, 'certs', `${service}.key`),
    backendTls: false,
    mark: `${OWNER}/${service}/${service}/`,
  });
  const ask = async (service: string): Promise<string> => {
    const host = `${service}.example.net`;
    const socket: TLSSocket = connect({ host: '127.0.0.1', port, servername: host, ca });
    await once(socket, 'secureConnect');
    socket.write(`GET / HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`);
    const chunks: Buffer[] = [];
    socket.on('data', (chunk: Buffer) => chunks.push(chunk));
    await once(socket, 'close');
    return Buffer.concat(chunks).toString();
  };
  const facts = async (of = proxy): Promise<ObservedProxy> => {
    const observed = await of.observe();
    if (!observed.known) throw new Error(observed.why);
    return observed.value;
  };
  const live = async (): Promise<readonly ObservedRoute[]> => {
    const known = (await facts()).live;
    if (!known.known) throw new Error(known.why);
    return known.value;
  };

  it('a table that the proxy refuses is taken back, with its reason; what was served goes on, the next change waits for nothing', async () => {
    await startRouter();
    await proxy.put([route('a')]);
    const before = await readFile(join(root, 'routes.toml'), 'utf8');
    const squatter = createServer().listen(0, '127.0.0.1');
    await once(squatter, 'listening');
    const busy = `127.0.0.1:${(squatter.address() as AddressInfo).port}`;
    try {
      const wider = driver([`127.0.0.1:${port}`, busy]);
      const outcomes = await Promise.all([wider.put([route('b')]), wider.put([])]);
      for (const outcome of outcomes) {
        expect(outcome.kind).to.equal('blocked');
        expect(outcome).to.have.property('why').that.includes(busy).and.includes('EADDRINUSE');
      }
      expect(await readFile(join(root, 'routes.toml'), 'utf8')).to.equal(before);
      expect(await ask('a')).to.include('hello');
      expect(await impatient().put([route('b')])).to.have.property('kind', 'ok');
      expect(await ask('b')).to.include('hello');
    } finally {
      squatter.close();
      await once(squatter, 'close');
    }
  });

  it('a router that has just begun refuses nothing: a change that comes meanwhile waits for it, or is served', async () => {
    for (let round = 0; round < 10; round += 1) {
      const [early] = await Promise.all([proxy.put([route('a')]), startRouter()]);
      expect(['ok', 'wait'], JSON.stringify(early)).to.include(early.kind);
      expect(await proxy.put([route('a')])).to.have.property('kind', 'ok');
      expect(await ask('a')).to.include('hello');
      await router?.close();
      await rm(join(root, 'routes.toml'));
    }
  });

  it('a refusal of an older table costs no wait', async () => {
    await startRouter();
    await proxy.put([route('a')]);
    const squatter = createServer().listen(0, '127.0.0.1');
    await once(squatter, 'listening');
    const busy = `127.0.0.1:${(squatter.address() as AddressInfo).port}`;
    try {
      await appendFile(join(root, 'routes.toml'), `\n[[listeners]]\naddr = "${busy}"\n`);
      await until('the refusal', async () => {
        const answer = await askStatus(join(root, 'status.sock'));
        return answer.kind === 'answer' && answer.status.refused !== undefined;
      });
      expect(await facts()).to.have.deep.property('listeners', { missing: [], surplus: [busy] });
      expect(await impatient().put([route('b')])).to.have.property('kind', 'ok');
      expect(await facts()).not.to.have.property('listeners');
    } finally {
      squatter.close();
      await once(squatter, 'close');
    }
  });

  it('a route whose new certificate is at fault is served on, from the files of before, and says why', async () => {
    await startRouter();
    await proxy.put([route('a')]);
    const outcome = await proxy.put([{ ...route('a'), tlsCert: join(root, 'certs/missing.pem') }]);
    expect(outcome.kind).to.equal('blocked');
    expect(outcome).to.have.property('why').that.includes('missing.pem').and.includes('goes on');
    expect(await live()).to.deep.equal([route('a')]);
    expect(await ask('a')).to.include('hello');
  });

  it('changes that wait together are one write', async () => {
    await startRouter();
    await proxy.put([route('a')]);
    const begun = performance.now();
    const outcomes = await Promise.all(
      Array.from({ length: 100 }, (_, index) =>
        proxy.put([{ ...route('a'), hostname: `h${index}.example.net`, mode: 'l4' }]),
      ),
    );
    expect(outcomes.every(({ kind }) => kind === 'ok')).to.equal(true);
    expect(await live()).to.have.lengthOf(101);
    console.log(`      100 puts: ${(performance.now() - begun).toFixed(0)} ms`);
  });

  it('a foreign route is served on, whatever we do', async () => {
    await startRouter();
    await writeFile(
      join(root, 'routes.toml'),
      [
        '[[listeners]]',
        `addr = "127.0.0.1:${port}"`,
        '[[listeners.routes]]',
        'hostname = "b.example.net"',
        `backend = "127.0.0.1:${backendPort}"`,
        'mode = "l7"',
        `tls_cert = "${join(root, 'certs/b.pem')}"`,
        `tls_key = "${join(root, 'certs/b.key')}"`,
      ].join('\n'),
    );
    expect(await proxy.put([route('a')])).to.have.property('kind', 'ok');
    expect(await proxy.put([route('b')])).to.have.property('kind', 'blocked');
    await proxy.remove([{ listenerPort: port, hostname: 'b.example.net' }]);
    expect(await ask('b')).to.include('hello');
    expect((await live()).find(({ hostname }) => hostname === 'b.example.net')).to.not.have.property('mark');
  });

  it('a listener whose port is taken is blocked with the reason, and nothing is left behind', async () => {
    await startRouter();
    const squatter = createServer().listen(port, '127.0.0.1');
    await once(squatter, 'listening');
    try {
      const outcome = await proxy.put([route('a')]);
      expect(outcome.kind).to.equal('blocked');
      expect(outcome).to.have.property('why').that.includes(String(port));
    } finally {
      squatter.close();
      await once(squatter, 'close');
    }
    expect(await proxy.put([route('a')])).to.have.property('kind', 'ok');
  });
});
