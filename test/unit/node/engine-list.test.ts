import { expect } from 'chai';
import { LABELS } from '../../../src/node/types.ts';
import { ABOUT, useStubEngine } from './stubengine.kit.ts';

const OWNER = 'n1/main';

/** An engine whose list may leave out what it has. */
describe('engine: a list that is not whole (G21, L02)', () => {
  let there: string[];
  let unlisted: string[];
  let owner: string;
  let inspecting: number;
  let asked: string[];

  beforeEach(() => {
    [there, unlisted, owner, inspecting, asked] = [['a', 'b', 'c', 'd'], [], OWNER, 200, []];
  });
  const engine = useStubEngine(OWNER, (request, response) => {
    const { pathname } = new URL(request.url ?? '/', 'http://engine');
    asked.push(pathname);
    const id = /^\/containers\/(\w+)\/json$/.exec(pathname)?.[1];
    const isGone = id !== undefined && !there.includes(id);
    response.statusCode = isGone ? 404 : id === undefined ? 200 : inspecting;
    response.setHeader('Content-Type', 'application/json');
    if (pathname === '/containers/json')
      response.end(JSON.stringify(there.filter((one) => !unlisted.includes(one)).map(listed)));
    else if (pathname === '/networks') response.end('[]');
    else if (id === undefined) response.end(JSON.stringify(ABOUT));
    else response.end(JSON.stringify(isGone ? { message: 'no such container' } : inspection(id)));
  });

  const labels = (): object => ({ [LABELS.owner]: owner });
  const listed = (id: string): object => ({ Id: id, Names: [`/${id}`], Labels: labels(), State: 'running' });
  const inspection = (id: string): object => ({
    ...{ Id: id, Name: `/${id}`, Image: 'sha256:i', HostConfig: {} },
    State: { Status: 'running', Running: true },
    Config: { Labels: labels() },
  });
  const names = async (): Promise<string[] | string> => {
    const seen = await engine().facts();
    return seen.kind === 'ok' ? seen.value.containers.map(({ name }) => name) : seen.why;
  };

  it('half of our containers left out: the engine is unknown in that pass, and known again when its list is whole', async () => {
    expect(await names()).to.deep.equal(['a', 'b', 'c', 'd']);
    unlisted = ['b', 'd'];
    for (let pass = 0; pass < 3; pass += 1)
      expect(await names()).to.contain("the engine's list of containers lacks b, d");
    unlisted = [];
    expect(await names()).to.deep.equal(['a', 'b', 'c', 'd']);
  });

  it('what is really gone is gone, and asked for once', async () => {
    await names();
    there = ['a', 'c'];
    asked = [];
    expect(await names()).to.deep.equal(['a', 'c']);
    expect(asked).to.include.members(['/containers/b/json', '/containers/d/json']);
    asked = [];
    expect(await names()).to.deep.equal(['a', 'c']);
    expect(asked).to.not.include('/containers/b/json');
  });

  it('one that the engine cannot tell of does not hide the others', async () => {
    await names();
    unlisted = ['b'];
    inspecting = 500;
    expect(await names()).to.deep.equal(['a', 'c', 'd']);
  });

  it('foreign ones that go are not asked for', async () => {
    owner = 'n2/main';
    await names();
    there = ['a'];
    asked = [];
    expect(await names()).to.deep.equal(['a']);
    expect(asked.filter((path) => path.startsWith('/containers/b'))).to.deep.equal([]);
  });
});
