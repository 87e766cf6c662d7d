import { expect } from 'chai';
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { systemClock, type Clock } from '../../../src/base/clock.ts';
import { makeLog } from '../../../src/base/log.ts';
import { ok, retry, type Outcome } from '../../../src/base/outcome.ts';
import { openProbes, type Probes } from '../../../src/node/probes/probes.ts';
import type { ProbeHealth, ProbeState, ProbeTarget } from '../../../src/node/types.ts';
import { until } from '../../support/until.ts';

const ID = 'c1';
const EXEC = { kind: 'exec', command: ['check'] } as const;

describe('health checks that go on after the start', () => {
  let probes: Probes;
  let answer: Outcome<string | undefined>;
  let asked: number;
  let monotonic: number;
  let server: Server | undefined;

  beforeEach(() => {
    answer = ok(undefined);
    asked = 0;
    monotonic = 0;
    // Waits are short, and the time that counts moves only when it is told.
    const clock: Clock = {
      ...systemClock,
      monotonic: () => monotonic,
      sleep: (ms, signal) => systemClock.sleep(Math.min(ms, 5), signal),
    };
    probes = openProbes({
      clock,
      log: makeLog('silent'),
      onSignal: () => undefined,
      exec: () => {
        asked += 1;
        return Promise.resolve(answer);
      },
    });
  });
  afterEach(async () => {
    await probes.stop();
    server?.close();
    server = undefined;
  });

  const target = (health: Partial<ProbeHealth> = {}, startedAt = 1): ProbeTarget => ({
    containerId: ID,
    startedAt,
    checks: [],
    health: { check: EXEC, intervalMs: 10_000, timeoutMs: 1_000, retries: 3, startPeriodMs: 0, ...health },
  });
  const becomes = (kind: ProbeState['kind'], of: ProbeTarget): Promise<ProbeState> =>
    until(kind, () => {
      const state = probes.observe([of])[ID]!;
      return state.kind === kind ? state : undefined;
    });
  const askedAgain = (of: ProbeTarget, times = 10): Promise<unknown> => {
    const before = asked;
    return until('asked again', () => {
      probes.observe([of]);
      return asked >= before + times;
    });
  };

  it('a container is ready when the check is well, unwell after so many failures in a row, and ready again', async () => {
    const one = target();
    await becomes('ready', one);
    await askedAgain(one);
    answer = ok('exit code 1');
    expect(await becomes('unwell', one)).to.include({ last: 'the check check: exit code 1', times: 1 });
    answer = ok('exit code 2');
    await until('newest reason', () => {
      const state = probes.observe([one])[ID];
      return state?.kind === 'unwell' && state.last.endsWith('exit code 2');
    });
    answer = ok(undefined);
    await becomes('ready', one);
    answer = ok('exit code 1');
    expect(await becomes('unwell', one)).to.include({ times: 2 });
  });

  it('fewer failures than that, and those within the start period, change nothing', async () => {
    const patient = target({ startPeriodMs: 60_000 });
    await becomes('ready', patient);
    answer = ok('exit code 1');
    await askedAgain(patient);
    expect(probes.observe([patient])[ID]).to.include({ kind: 'ready' });
    monotonic = 60_000;
    await becomes('unwell', patient);
  });

  it('G9 a check that could not be made says nothing of the container', async () => {
    const one = target({ retries: 1 });
    await becomes('ready', one);
    answer = retry('the engine does not answer');
    await askedAgain(one);
    expect(probes.observe([one])[ID]).to.include({ kind: 'ready' });
  });

  it('one that never becomes ready is unwell once it should have been, and a restart goes on with the row', async () => {
    answer = ok('exit code 1');
    const slow = target({ startPeriodMs: 60_000 });
    await askedAgain(slow);
    expect(probes.observe([slow])[ID]).to.include({ kind: 'starting' });
    monotonic = 60_000 + 3 * 10_000 + 1;
    expect(await becomes('unwell', slow)).to.include({ times: 1 });
    const again = target({ startPeriodMs: 60_000 }, 2);
    expect(probes.observe([again])[ID]).to.include({ kind: 'starting' });
    await askedAgain(again);
    monotonic += 90_001;
    expect(await becomes('unwell', again)).to.include({ times: 2 });
    // A long time of being ready ends the row.
    answer = ok(undefined);
    await becomes('ready', again);
    monotonic += 600_001;
    answer = ok('exit code 1');
    expect(await becomes('unwell', again)).to.include({ times: 1 });
  });

  it('http: the path and the status count; without them any status does', async () => {
    let status = 503;
    const paths = new Set<string>();
    server = createServer((request, response) => {
      paths.add(request.url ?? '');
      response.writeHead(status).end();
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    const plain = {
      kind: 'http',
      ip: '127.0.0.1',
      port,
      hostname: 'a.example.net',
      tls: false,
      route: '',
    } as const;
    const health = target({ check: { ...plain, path: '/healthz?deep=1', expect: [200, 299] } });
    const why = await until('a reason', () => {
      const state = probes.observe([health])[ID];
      return state?.kind === 'starting' && state.last;
    });
    expect(why).to.contain(
      `127.0.0.1:${port} (HTTP, host a.example.net) answers /healthz?deep=1 with status 503`,
    );
    status = 204;
    await becomes('ready', health);
    status = 301;
    expect(await becomes('unwell', health))
      .to.have.property('last')
      .that.contains('with status 301');
    expect([...paths]).to.deep.equal(['/healthz?deep=1']);
    await becomes('ready', target({ check: plain }));
  });

  it('tcp: a port that is not published is looked for inside; where nobody may look, nothing is claimed', async () => {
    const check = { kind: 'listen', ip: '127.0.0.1', port: 0, containerPort: 1, protocol: 'tcp' } as const;
    const one: ProbeTarget = { ...target({ check }), pid: process.pid };
    const why = await until('a reason', () => {
      const state = probes.observe([one])[ID];
      return state?.kind === 'starting' && state.last;
    });
    expect(why).to.match(/^nothing listens on 1\/tcp; inside the container: /);
  });
});
