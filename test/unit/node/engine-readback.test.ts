import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { makeLog } from '../../../src/base/log.ts';
import type { Outcome } from '../../../src/base/outcome.ts';
import { openEngine, type Engine } from '../../../src/node/engine/engine.ts';
import { LABELS } from '../../../src/node/types.ts';

const ID = 'c'.repeat(64);
const OWNER = 'n1/main';

/** An engine that answers every change with success, and does of it only what it is told to. */
describe('engine: what it says it did is looked at (L09)', () => {
  let dir: string;
  let server: Server;
  let engine: Engine;
  let name: string;
  let status: string;
  /** Of `stop`, `rename` and `remove`: those that are really done. */
  let does: string[];

  beforeEach(async () => {
    dir = mkdtempSync(join(tmpdir(), 'mcg-readback-'));
    [name, status, does] = ['web', 'running', []];
    server = createServer((request, response) => {
      const url = new URL(request.url ?? '/', 'http://engine');
      const verb = request.method === 'DELETE' ? 'remove' : (url.pathname.split('/').at(-1) ?? '');
      if (does.includes(verb)) {
        if (verb === 'stop') status = 'exited';
        if (verb === 'rename') name = url.searchParams.get('name') ?? '';
        if (verb === 'remove') status = 'gone';
      }
      const isLook = request.method === 'GET' && url.pathname.startsWith('/containers/');
      response.statusCode = isLook ? (status === 'gone' ? 404 : 200) : request.method === 'GET' ? 200 : 204;
      response.setHeader('Content-Type', 'application/json');
      response.end(request.method === 'GET' ? JSON.stringify(isLook ? seen() : about()) : undefined);
    });
    const socket = join(dir, 'engine.sock');
    await new Promise<void>((resolve) => server.listen(socket, resolve));
    const opened = await openEngine({ socket, owner: OWNER, callDeadlineMs: 5_000, log: makeLog('silent') });
    if (opened.kind !== 'ok') throw new Error(opened.why);
    engine = opened.value;
  });
  afterEach(async () => {
    engine.close();
    await new Promise((resolve) => server.close(resolve));
    rmSync(dir, { recursive: true });
  });

  const about = (): object => ({ Version: '20.10.24', ID: 'e', DockerRootDir: '/x' });
  const seen = (): object =>
    status === 'gone'
      ? { message: 'no such container' }
      : {
          ...{ Id: ID, Name: `/${name}`, Image: 'sha256:i', HostConfig: {} },
          State: { Status: status, Running: status === 'running' },
          Config: { Labels: { [LABELS.owner]: OWNER } },
        };
  const why = (outcome: Outcome<unknown>): string => {
    expect(outcome.kind).to.equal('retry');
    return outcome.kind === 'ok' ? '' : outcome.why;
  };

  it('a container that is still running was not stopped, nor retired', async () => {
    expect(why(await engine.stop(ID, 0))).to.equal('container web is running although the engine stopped it');
    expect(why(await engine.retire(ID, 'web', 0))).to.contain('is running although');
    does = ['stop'];
    expect((await engine.stop(ID, 0)).kind).to.equal('ok');
  });

  it('a container that has its old name was not renamed, nor retired', async () => {
    does = ['stop'];
    const told = 'container web is not called web.prev although the engine renamed it';
    expect(why(await engine.rename(ID, 'web.prev'))).to.equal(told);
    expect(why(await engine.retire(ID, 'web.prev', 0))).to.equal(told);
    does = ['stop', 'rename'];
    expect((await engine.retire(ID, 'web.prev', 0)).kind).to.equal('ok');
  });

  it('a container that is still there was not removed', async () => {
    does = ['stop'];
    expect(why(await engine.remove(ID, 0))).to.equal(
      'container web is still there (exited) although the engine removed it',
    );
    does = ['stop', 'remove'];
    expect((await engine.remove(ID, 0)).kind).to.equal('ok');
    expect((await engine.remove(ID, 0)).kind, 'gone is as good').to.equal('ok');
  });
});
