import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { request as httpsRequest } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import Dockerode from 'dockerode';
import { startGitServer, type GitServer } from '../../src/demo/gitserver.ts';
import { git, makeRepository, type Repository } from '../../src/demo/repository.ts';
import { allEngines, type TestEngine } from '../support/engines.ts';
import { buildBusyboxImage, buildNodeImage } from '../support/images.ts';
import { startRegistry } from '../support/registry.ts';
import { until } from '../support/until.ts';

const mark = randomBytes(4).toString('hex');

for (const { name, start } of allEngines) {
  describe(`support: ${name}`, function () {
    this.timeout(300_000);
    let engine: TestEngine;
    let docker: Dockerode;

    before(async () => {
      engine = await start();
      docker = new Dockerode({ socketPath: engine.socketPath });
    });

    it('is the engine that it is said to be', () => {
      expect(engine.kind).to.equal(name === 'docker' ? 'docker' : 'podman');
      expect(engine.version).to.match(/^\d+\.\d+/);
    });

    it('builds an image of this machine’s node, runs it, and answers at a published port', async () => {
      const tag = `localhost/support-${mark}:v1.0.0`;
      await buildNodeImage(engine, tag);
      const container = await docker.createContainer({
        name: `support-${mark}`,
        Image: tag,
        Env: ['PORT=8080', 'VERSION=v1.0.0'],
        ExposedPorts: { '8080/tcp': {} },
        HostConfig: { PortBindings: { '8080/tcp': [{ HostIp: '127.0.0.1', HostPort: '' }] } },
      });
      try {
        await container.start();
        const { NetworkSettings } = await container.inspect();
        const port = NetworkSettings.Ports['8080/tcp']?.[0]?.HostPort ?? '';
        const answer = await until('an answer', async () => {
          // The relay of a published port closes at once while nobody listens inside; Node 20's fetch can miss that close.
          const response = await fetch(`http://127.0.0.1:${port}/a`, { signal: AbortSignal.timeout(1_000) });
          return (await response.json()) as { version: string; url: string };
        });
        expect(answer).to.include({ version: 'v1.0.0', url: '/a' });
      } finally {
        await container.remove({ force: true });
        await docker.getImage(tag).remove({ force: true });
      }
    });

    it('pushes to a registry with a password and pulls from it', async () => {
      const registry = await startRegistry({ auth: true });
      const tag = `${registry.host}/support:v1.0.0`;
      const auth = { ...registry.credentials, serveraddress: registry.host };
      try {
        await buildBusyboxImage(engine, tag);
        await drain(docker, await docker.getImage(tag).push({ authconfig: auth as Dockerode.AuthConfig }));
        await docker.getImage(tag).remove({ force: true });
        await drain(docker, await docker.pull(tag, { authconfig: auth }));
        expect((await docker.getImage(tag).inspect()).RepoDigests.join()).to.include('sha256:');
      } finally {
        await docker.getImage(tag).remove({ force: true });
        await registry.stop();
      }
    });
  });
}

describe('support: registry', () => {
  it('asks for the password that was drawn for it', async () => {
    const registry = await startRegistry({ auth: true });
    const basic = Buffer.from(`tester:${registry.credentials?.password ?? ''}`).toString('base64');
    try {
      expect((await fetch(`${registry.url}/v2/`)).status).to.equal(401);
      const good = await fetch(`${registry.url}/v2/`, { headers: { authorization: `Basic ${basic}` } });
      expect(good.status).to.equal(200);
    } finally {
      await registry.stop();
    }
  });

  it('serves TLS that its own CA vouches for', async () => {
    const registry = await startRegistry({ tls: true });
    try {
      const status = await new Promise((resolve, reject) => {
        httpsRequest(`${registry.url}/v2/`, { ca: registry.caPem ?? '', agent: false }, (response) => {
          response.resume();
          resolve(response.statusCode);
        })
          .on('error', reject)
          .end();
      });
      expect(status).to.equal(200);
    } finally {
      await registry.stop();
    }
  });
});

describe('support: git server', () => {
  let root: string;
  let server: GitServer;
  let repository: Repository;

  before(async () => {
    root = await mkdtemp(join(tmpdir(), 'mc-git-'));
    repository = await makeRepository(join(root, 'a.git'));
    server = await startGitServer({ root, auth: { password: 'pass word' } });
  });
  after(async () => {
    await server.stop();
    await rm(root, { recursive: true, force: true });
  });

  it('clones what was committed and takes a push, with the token alone', async () => {
    const first = await repository.commit({
      'services/a.toml': 'name = "a"\n',
      'run me': { mode: '100755', text: 'x' },
    });
    await repository.tag('v1.0.0');
    const url = server.url.replace('http://', 'http://any:pass%20word@');
    const clone = join(root, 'clone');
    await git(['clone', '--quiet', `${url}/a.git`, clone]);
    expect(await git(['-C', clone, 'ls-files'])).to.equal('run me\nservices/a.toml');
    expect(await git(['-C', clone, 'rev-parse', 'v1.0.0^{commit}'])).to.equal(first);
    await git(['-C', clone, 'commit', '--quiet', '--allow-empty', '--message', 'second']);
    await git(['-C', clone, 'push', '--quiet', 'origin', 'main']);
    expect(await repository.resolve('main~1')).to.equal(first);
    expect(server.requests).to.include('POST /a.git/git-receive-pack');
  });

  it('refuses who does not know the token', async () => {
    const response = await fetch(`${server.url}/a.git/info/refs?service=git-upload-pack`);
    expect(response.status).to.equal(401);
  });

  it('rewrites, moves and deletes branches without a work tree', async () => {
    const one = await repository.commit({ a: '1', b: '1' }, { branch: 'other' });
    const two = await repository.commit({ a: '2', b: undefined }, { branch: 'other', message: 'two' });
    expect(await repository.git('ls-tree', '--name-only', two)).to.not.include('b');
    const lone = await repository.commit({ c: '3' }, { branch: 'other', parent: null });
    expect(await repository.resolve(`${lone}~1`)).to.equal(undefined);
    expect(await repository.git('ls-tree', '--name-only', lone)).to.equal('c');
    await repository.setBranch('other', one);
    expect(await repository.resolve('other')).to.equal(one);
    await repository.deleteBranch('other');
    expect(await repository.resolve('other')).to.equal(undefined);
  });
});

async function drain(docker: Dockerode, stream: NodeJS.ReadableStream): Promise<void> {
  const items = await new Promise<{ error?: string }[]>((resolve, reject) => {
    docker.modem.followProgress(stream, (error, found) =>
      error ? reject(error) : resolve(found as { error?: string }[]),
    );
  });
  const failed = items.find((item) => item.error !== undefined);
  if (failed !== undefined) throw new Error(failed.error);
}
