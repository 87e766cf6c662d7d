import { expect } from 'chai';
import { useStubEngine } from './stubengine.kit.ts';

describe('engine: which one it is', () => {
  let asked: string[];
  let answers: Record<string, object>;
  beforeEach(() => {
    asked = [];
    // Whoever opens it is asked what it is, too.
    answers = { '/version': { Version: '28.0.0' } };
  });
  const engine = useStubEngine('n1/main', (request, response) => {
    const { pathname } = new URL(request.url ?? '/', 'http://engine');
    asked.push(pathname);
    response.setHeader('Content-Type', 'application/json');
    if (pathname === '/events') return;
    response.end(JSON.stringify(answers[pathname] ?? (pathname === '/info' ? {} : [])));
  });
  const identity = async (): Promise<unknown> => {
    const facts = await engine().facts();
    if (facts.kind !== 'ok') throw new Error(facts.why);
    const { kind, version, architecture, id, storageRoot } = facts.value;
    return { kind, version, architecture, id, storageRoot };
  };

  it('L05 Podman is told by one question alone, since each starts processes; its storage root is its identity', async () => {
    answers['/info'] = {
      ...{
        ID: 'another one each time',
        DockerRootDir: '/var/lib/containers/storage',
        BuildahVersion: '1.28.2',
      },
      ...{ ServerVersion: '4.3.1', Architecture: 'arm64' },
    };
    asked = [];
    expect(await identity()).to.deep.equal({
      ...{ kind: 'podman', version: '4.3.1', architecture: 'arm64' },
      ...{ id: 'podman:/var/lib/containers/storage', storageRoot: '/var/lib/containers/storage' },
    });
    expect(asked.filter((path) => path === '/info' || path === '/version')).to.deep.equal(['/info']);
  });

  it('L05 Docker has an identity of its own, and names the processor as images do', async () => {
    answers['/info'] = {
      ID: 'abc',
      DockerRootDir: '/var/lib/docker',
      ServerVersion: '28.0.0',
      Architecture: 'x86_64',
    };
    answers['/version'] = { Version: '28.0.0', Arch: 'amd64' };
    expect(await identity()).to.deep.equal({
      ...{ kind: 'docker', version: '28.0.0', architecture: 'amd64' },
      ...{ id: 'abc', storageRoot: '/var/lib/docker' },
    });
  });
});
