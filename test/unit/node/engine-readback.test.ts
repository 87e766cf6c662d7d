import { expect } from 'chai';
import type { Outcome } from '../../../src/base/outcome.ts';
import { LABELS } from '../../../src/node/types.ts';
import { ABOUT, useStubEngine } from './stubengine.kit.ts';

const ID = 'c'.repeat(64);
const OWNER = 'n1/main';

/** An engine that answers every change with success, and does of it only what it is told to. */
describe('engine: what it says it did is looked at (L09)', () => {
  let name: string;
  let status: string;
  /** Of `stop`, `rename` and `remove`: those that are really done. */
  let does: string[];

  beforeEach(() => {
    [name, status, does] = ['web', 'running', []];
  });
  const engine = useStubEngine(OWNER, (request, response) => {
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

  const about = (): object => ABOUT;
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
    expect(why(await engine().stop(ID, 0))).to.equal(
      'container web is running although the engine stopped it',
    );
    expect(why(await engine().retire(ID, 'web', 0))).to.contain('is running although');
    does = ['stop'];
    expect((await engine().stop(ID, 0)).kind).to.equal('ok');
  });

  it('a container that has its old name was not renamed, nor retired', async () => {
    does = ['stop'];
    const told = 'container web is not called web.prev although the engine renamed it';
    expect(why(await engine().rename(ID, 'web.prev'))).to.equal(told);
    expect(why(await engine().retire(ID, 'web.prev', 0))).to.equal(told);
    does = ['stop', 'rename'];
    expect((await engine().retire(ID, 'web.prev', 0)).kind).to.equal('ok');
  });

  it('a container that is still there was not removed', async () => {
    does = ['stop'];
    expect(why(await engine().remove(ID, 0))).to.equal(
      'container web is still there (exited) although the engine removed it',
    );
    does = ['stop', 'remove'];
    expect((await engine().remove(ID, 0)).kind).to.equal('ok');
    expect((await engine().remove(ID, 0)).kind, 'gone is as good').to.equal('ok');
  });
});
