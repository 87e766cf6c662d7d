import { expect } from 'chai';
import Dockerode from 'dockerode';
import { randomBytes } from 'node:crypto';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { systemClock } from '../../src/base/clock.ts';
import { makeLog } from '../../src/base/log.ts';
import { openCertificates } from '../../src/node/certs/certificates.ts';
import { openProbes } from '../../src/node/probes/probes.ts';
import type { ProbeCheck } from '../../src/node/types.ts';
import { allEngines, type TestEngine } from '../support/engines.ts';
import { buildNodeImage, testServerJs } from '../support/images.ts';
import { until } from '../support/until.ts';
import { freePort } from '../support/ports.ts';

const HOST = 'hello.example.net';
/** How long a container that must not become ready is watched; a good one needs well under a second. */
const WATCH_MS = 5_000;
const GOOD_MS = 30_000;

interface Case {
  readonly title: string;
  readonly behaviour: string;
  readonly restart: 'no' | 'always';
  readonly ready: boolean;
  readonly says?: RegExp;
}

const CASES: readonly Case[] = [
  { title: 'good', behaviour: '', restart: 'no', ready: true },
  {
    title: 'nothing listens',
    behaviour: 'silent',
    restart: 'no',
    ready: false,
    says: /inside the container: nothing listens/,
  },
  {
    title: '127.0.0.1 inside only',
    behaviour: 'loopback',
    restart: 'no',
    ready: false,
    says: /127\.0\.0\.1:\d+\/tcp \(loopback only\).*bind to 0\.0\.0\.0:\$PORT/,
  },
  {
    title: 'exits in a loop',
    // Not at once: Podman looks for the process once it has begun, and calls it an error that there is none.
    behaviour: 'exit:300',
    restart: 'always',
    ready: false,
    says: /inside the container: (its process has ended|nothing listens)/,
  },
];

interface Row {
  readonly engine: string;
  readonly title: string;
  readonly check: string;
  readonly ready: boolean;
  readonly tookMs: number;
  readonly starts: number;
  readonly message: string;
}

describe('readiness of real containers (L17)', function () {
  this.timeout(300_000);
  const rows: Row[] = [];
  let root: string;
  let pem: { cert: string; key: string };

  before(async () => {
    root = await mkdtemp(join(tmpdir(), 'probes-'));
    const certificates = openCertificates({
      driver: 'local',
      certDir: join(root, 'certs'),
      caDir: join(root, 'ca'),
      hostnameSuffix: 'example.net',
      clock: systemClock,
      log: makeLog('silent'),
    });
    await certificates.issue(HOST, 'hello', true);
    pem = {
      cert: await readFile(join(root, 'certs/hello.pem'), 'utf8'),
      key: await readFile(join(root, 'certs/hello.key'), 'utf8'),
    };
  });
  after(async () => {
    await rm(root, { recursive: true });
    for (const { engine, title, check, ready, tookMs, starts, message } of rows) {
      console.log(
        `      ${engine.padEnd(16)} ${title.padEnd(22)} ${check.padEnd(7)}${ready ? 'ready    ' : 'NOT ready'} ` +
          `${tookMs.toFixed(0).padStart(5)} ms, ${starts} start(s)  ${message}`,
      );
    }
  });

  for (const { name, start } of allEngines) {
    describe(name, () => {
      let engine: TestEngine;
      let docker: Dockerode;
      const image = `localhost/mc-gitops-probes-${randomBytes(4).toString('hex')}:v1.0.0`;

      before(async () => {
        engine = await start();
        docker = new Dockerode({ socketPath: engine.socketPath });
        await buildNodeImage(engine, image, testServerJs, {
          files: { '/tls/cert.pem': pem.cert, '/tls/key.pem': pem.key },
        });
      });
      after(async () => {
        await docker.getImage(image).remove({ force: true });
      });

      for (const item of CASES) {
        it(`${item.title}: ${item.ready ? 'ready' : 'never ready, and the reason is told'}`, async () => {
          const found = await watchContainer(docker, image, item);
          rows.push(...found.map((row) => ({ engine: name, ...row })));
          for (const row of found) {
            expect(row.ready, `${row.check}: ${row.message}`).to.equal(item.ready);
            if (item.says !== undefined) expect(row.message, row.check).to.match(item.says);
          }
          if (item.restart === 'always')
            expect(Math.max(...found.map(({ starts }) => starts))).to.be.greaterThan(1);
        });
      }
    });
  }
});

/** One container with a plain and a TLS port; http, tls and listen are watched beside one another, as a pass would do it. */
async function watchContainer(docker: Dockerode, image: string, item: Case): Promise<Omit<Row, 'engine'>[]> {
  const [plain, secure] = [await freePort(), await freePort()];
  const container = await docker.createContainer({
    Image: image,
    name: `mc-gitops-probes-${randomBytes(4).toString('hex')}`,
    Env: [
      ...[`PORT=${plain}`, `PORT_API=${secure}`, 'TLS_PORTS=PORT_API', `BEHAVIOUR=${item.behaviour}`],
      ...['TLS_CERT=/tls/cert.pem', 'TLS_KEY=/tls/key.pem'],
    ],
    ExposedPorts: { [`${plain}/tcp`]: {}, [`${secure}/tcp`]: {} },
    HostConfig: {
      RestartPolicy: { Name: item.restart },
      PortBindings: {
        [`${plain}/tcp`]: [{ HostIp: '127.0.0.1', HostPort: String(plain) }],
        [`${secure}/tcp`]: [{ HostIp: '127.0.0.1', HostPort: String(secure) }],
      },
    },
  });
  try {
    await container.start();
    const at = { ip: '127.0.0.1', hostname: HOST, route: '' };
    const checks: ProbeCheck[] = [
      { kind: 'http', port: plain, tls: false, ...at },
      { kind: 'tls', port: secure, ...at },
      { kind: 'listen', ip: '127.0.0.1', port: plain, containerPort: plain, protocol: 'tcp' },
    ];
    return await Promise.all(checks.map((check) => watchCheck(container, check, item)));
  } finally {
    // Podman refuses to remove a container that it is just starting again.
    await until('the container is removed', async () => {
      await container.remove({ force: true, v: true });
      return true;
    });
  }
}

async function watchCheck(
  container: Dockerode.Container,
  check: ProbeCheck,
  item: Case,
): Promise<Omit<Row, 'engine'>> {
  const probes = openProbes({
    clock: systemClock,
    log: makeLog('silent'),
    onSignal: () => undefined,
    intervalMs: 250,
    attemptTimeoutMs: 5_000,
  });
  const begun = performance.now();
  const starts = new Set<string>();
  let message = '';
  let ready = false;
  try {
    const isOver = (): boolean => {
      const tookMs = performance.now() - begun;
      // A busy machine may need longer to find the reason, or to start it again.
      const isWhole = (item.says?.test(message) ?? true) && (item.restart === 'no' || starts.size > 1);
      return tookMs >= (!item.ready && isWhole ? WATCH_MS : GOOD_MS);
    };
    while (!ready && !isOver()) {
      const { Id, State } = await container.inspect();
      if (State.StartedAt !== '') starts.add(State.StartedAt);
      const target = {
        containerId: Id,
        startedAt: Date.parse(State.StartedAt),
        checks: [check],
        ...(State.Pid > 0 ? { pid: State.Pid } : {}),
      };
      const state = probes.observe([target])[Id]!;
      if (state.kind === 'ready') ready = true;
      else message = state.last ?? message;
      await delay(20);
    }
  } finally {
    await probes.stop();
  }
  const tookMs = performance.now() - begun;
  return {
    title: item.title,
    check: check.kind,
    ready,
    tookMs,
    starts: starts.size,
    message: ready ? '' : message,
  };
}
