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
  /** What becomes of the container while it is started, and what the engine answers then. */
  let started: { readonly status: string; readonly answer: number };

  beforeEach(() => {
    [name, status, does] = ['web', 'running', []];
    started = { status: 'running', answer: 204 };
  });
  const engine = useStubEngine(OWNER, (request, response) => {
    const url = new URL(request.url ?? '/', 'http://engine');
    const verb = request.method === 'DELETE' ? 'remove' : (url.pathname.split('/').at(-1) ?? '');
    if (does.includes(verb)) {
      if (verb === 'stop') status = 'exited';
      if (verb === 'rename') name = url.searchParams.get('name') ?? '';
      if (verb === 'remove') status = 'gone';
    }
    if (verb === 'start') status = started.status;
    const isLook = request.method === 'GET' && url.pathname.startsWith('/containers/');
    response.statusCode = isLook ? (status === 'gone' ? 404 : 200) : request.method === 'GET' ? 200 : 204;
    if (verb === 'start') response.statusCode = started.answer;
    response.setHeader('Content-Type', 'application/json');
    const fault = response.statusCode === 204 ? undefined : JSON.stringify({ message: 'it has no network' });
    // As Podman says it of one that is removed while it is asked for.
    if (isLook && status === 'half gone') response.statusCode = 500;
    response.end(request.method === 'GET' ? JSON.stringify(isLook ? seen() : about()) : fault);
  });

  const about = (): object => ABOUT;
  const seen = (): object =>
    status === 'gone' || status === 'half gone'
      ? { message: `container ${ID} does not exist in database: no such container` }
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

  for (const [title, after, answer] of [
    ['is gone when it is looked at, although the engine said that it runs', 'gone', 204],
    ['is just gone when it is looked at', 'half gone', 204],
    ['is gone when it is begun', 'gone', 404],
    ['is being removed, and the engine says so', 'removing', 500],
    ['is being removed, although the engine said that it runs', 'removing', 204],
  ] as const)
    it(`a container that ${title} is missed by the next look: no failure that its next try has to wait for`, async () => {
      status = 'exited';
      started = { status: after, answer };
      expect(await engine().start('web', 'web')).to.deep.equal({
        kind: 'wait',
        why: 'container web was removed while it was started',
        hint: 'The next pass makes it again.',
      });
    });

  it('so is one that is not there any more; what lacks something else fails', async () => {
    status = 'gone';
    const gone = await engine().start('web', 'web');
    expect(gone).to.deep.include({ kind: 'wait', why: 'container web is not there any more' });
    const staged = await engine().start('web.next-1', 'web');
    expect(staged).to.deep.include({
      kind: 'wait',
      why: 'container web is not there any more, nor is web.next-1',
    });
    status = 'exited';
    started = { status: 'exited', answer: 404 };
    expect(why(await engine().start('web', 'web'))).to.equal('start container web: it has no network');
  });
});
