import { expect } from 'chai';
import { mkdir, mkdtemp, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { tryListen } from '../../../src/node/probes/listen.ts';
import type { ProbeCheck } from '../../../src/node/types.ts';
import { until } from '../../support/until.ts';
import { ID, useProbes } from './probes.kit.ts';

describe('node/probes: listen, and what is listening where (L17)', () => {
  const { at, open, listen, closedPort, target, ready, reason } = useProbes();

  const line = (local: string, state: string): string => `  0: ${local} 00000000:0000 ${state} 0:0`;
  let proc: string;
  beforeEach(async () => {
    proc = await mkdtemp(join(at.root, 'proc-'));
  });
  const process = async (pid: number, tcp: string[], udp: string[] = [], ticks = 77): Promise<void> => {
    await mkdir(join(proc, `${pid}/net`), { recursive: true });
    const fields = Array.from({ length: 30 }, (_, index) => (index === 19 ? ticks : 0));
    await writeFile(join(proc, `${pid}/stat`), `${pid} (a) b) S ${fields.slice(1).join(' ')}`);
    await writeFile(join(proc, `${pid}/net/tcp`), tcp.map((local) => line(local, '0A')).join('\n'));
    await writeFile(join(proc, `${pid}/net/udp`), udp.map((local) => line(local, '07')).join('\n'));
  };
  const check = (protocol: 'tcp' | 'udp' = 'tcp'): ProbeCheck => ({
    kind: 'listen',
    ip: '127.0.0.1',
    port: 5353,
    containerPort: 53,
    protocol,
  });

  it('a socket on the port, not only on loopback, is ready: TCP and UDP apart', async () => {
    await process(7, ['00000000:0035'], ['00000000:0035']);
    await ready(target([check(), check('udp')], 1, 7), open({ procRoot: proc }));
    await process(8, ['00000000:0035']);
    expect(await reason(target([check('udp')], 1, 8), open({ procRoot: proc }))).to.include(
      'nothing listens on 53/udp',
    );
  });

  it("only on loopback is not; the message says how to mend it, and the engine's resolver is not shown", async () => {
    await process(7, ['0100007F:0035', '0B00007F:9999']);
    expect(await reason(target([check()], 1, 7), open({ procRoot: proc }))).to.equal(
      'nothing listens on 53/tcp (published on 127.0.0.1:5353); inside the container: 127.0.0.1:53/tcp (loopback only) ' +
        'LISTEN — only on loopback, which nobody outside can reach: bind to 0.0.0.0:$PORT',
    );
  });

  it('on another port, or nowhere: the message says so', async () => {
    await process(7, ['00000000:1F90']);
    expect(await reason(target([check()], 1, 7), open({ procRoot: proc })))
      .to.include('0.0.0.0:8080/tcp LISTEN')
      .and.include('container_port');
    await process(8, []);
    expect(await reason(target([check()], 1, 8), open({ procRoot: proc }))).to.include(
      'inside the container: nothing listens',
    );
  });

  it('a process that has ended, or whose number went to another one, does not speak for the container', async () => {
    const on = open({ procRoot: proc });
    expect(await reason(target([check()], 1, 7), on)).to.include('its process has ended');
    await process(9, []);
    await reason(target([check()], 2, 9), on);
    await process(9, ['00000000:0035'], [], 99);
    await until('the message changes', () => {
      const state = on.observe([target([check()], 2, 9)])[ID]!;
      return state.kind === 'starting' && state.last?.includes('its process has ended');
    });
  });

  it('where /proc is closed: a connection that is still open after a second', async () => {
    const closed = { kind: 'closed', why: 'EACCES' } as const;
    const { signal } = new AbortController();
    const on = (port: number) => ({ ...(check() as Extract<ProbeCheck, { kind: 'listen' }>), port });
    expect(await tryListen(on(await listen(createServer(() => undefined))), closed, signal)).to.equal(
      undefined,
    );
    const forwarder = createServer((socket) => void setTimeout(() => socket.destroy(), 190));
    expect(await tryListen(on(await listen(forwarder)), closed, signal)).to.include(
      'closed without an answer',
    );
    expect(await tryListen(on(await closedPort()), closed, signal)).to.include('connection refused');
    expect(await tryListen({ ...on(1), protocol: 'udp' }, closed, signal)).to.include('hidepid');
  });
});
