import { expect } from 'chai';
import { Secret } from '../../src/base/secret.ts';
import { callEngine } from '../../src/demo/socket.ts';
import { allEngines } from '../support/engines.ts';
import { startRegistry, type TestRegistry } from '../support/registry.ts';
import { makeKit, valueOf, type Kit } from './engine.kit.ts';

for (const { name: engineName, start } of allEngines) {
  describe(`a registry that asks for a password, and ${engineName}`, function () {
    this.timeout(300_000);
    let kit: Kit;
    let registry: TestRegistry;
    let reference: string;
    const lines: string[] = [];
    const onProgress = (line: string): void => void lines.push(line);
    const signal = (): AbortSignal => AbortSignal.timeout(30_000);
    const auth = () => ({
      username: registry.credentials?.username ?? '',
      password: new Secret(registry.credentials?.password ?? ''),
      serveraddress: registry.host,
    });

    before(async function () {
      this.timeout(300_000);
      kit = await makeKit((await start()).socketPath);
      registry = await startRegistry({ auth: true });
      reference = `${registry.host}/mc/pushed-${kit.mark}:v1.0.0`;
      valueOf(await kit.engine.tagImage(kit.image, reference));
    });
    after(async () => {
      await kit.clean();
      await registry.stop();
    });

    it('pushes, and says the digest that the registry has for the tag (L19)', async () => {
      const { manifestDigest } = valueOf(await kit.engine.pushImage(reference, auth(), signal(), onProgress));
      expect(manifestDigest).to.equal(await digestInRegistry());
      expect(lines).to.not.be.empty;
      const again = valueOf(await kit.engine.pushImage(reference, auth(), signal(), onProgress));
      expect(again.manifestDigest).to.equal(manifestDigest);
    });

    it('pulls by tag and by digest, with the digest of the registry', async () => {
      const pushed = valueOf(await kit.engine.pushImage(reference, auth(), signal(), onProgress));
      const pinned = `${reference}@${pushed.manifestDigest}`;
      await forget();
      for (const asked of [reference, pinned]) {
        const pulled = valueOf(await kit.engine.pullImage(asked, auth(), signal(), onProgress));
        // The image was built here too: then Podman has two manifests of it, and does not tell which one it pulled.
        const untold = kit.engine.kind === 'podman' && asked === reference;
        expect(pulled.manifestDigest).to.equal(untold ? undefined : pushed.manifestDigest);
        const image = valueOf(await kit.engine.inspectImage(asked));
        expect(image?.imageId).to.equal(pulled.imageId);
        expect(image?.manifestDigests).to.include(pushed.manifestDigest);
      }
      const spec = kit.spec('pinned', { image: pinned });
      valueOf(await kit.engine.create(spec, 'd', spec.name, new Map()));
      valueOf(await kit.engine.start(spec.name, spec.name));
      const { id } = (await kit.container(spec.name)) ?? { id: '' };
      valueOf(await kit.engine.remove(id, 0));
      await forget();
    });

    it('blocks on a wrong password and does not say it (L20)', async () => {
      valueOf(await kit.engine.tagImage(kit.image, reference));
      const password = new Secret(`wrong-${kit.mark}-password`);
      for (const wrong of [{ ...auth(), password }, undefined]) {
        for (const outcome of [
          await kit.engine.pullImage(`${registry.host}/mc/any:v1`, wrong, signal(), onProgress),
          await kit.engine.pushImage(reference, wrong, signal(), onProgress),
        ]) {
          expect(outcome, JSON.stringify(outcome)).to.include({ kind: 'blocked' });
          expect(JSON.stringify(outcome)).to.not.include(password.reveal());
        }
      }
    });

    it('blocks on an image that the registry does not have, and names it', async () => {
      const none = `${registry.host}/mc/none:v9.9.9`;
      const outcome = await kit.engine.pullImage(none, auth(), signal(), onProgress);
      expect(outcome, JSON.stringify(outcome)).to.include({ kind: 'blocked' });
      expect('why' in outcome && outcome.why).to.include(none);
    });

    it('tries again later when no registry answers', async () => {
      const away = `127.0.0.1:9/mc/away:v1.0.0`;
      const outcome = await kit.engine.pullImage(away, undefined, signal(), onProgress);
      expect(outcome, JSON.stringify(outcome)).to.include({ kind: 'retry' });
    });

    async function digestInRegistry(): Promise<string | null> {
      const { username = '', password = '' } = registry.credentials ?? {};
      const answer = await fetch(`${registry.url}/v2/mc/pushed-${kit.mark}/manifests/v1.0.0`, {
        method: 'HEAD',
        headers: {
          authorization: `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`,
          accept:
            'application/vnd.docker.distribution.manifest.v2+json, application/vnd.oci.image.manifest.v1+json',
        },
      });
      return answer.headers.get('docker-content-digest');
    }

    /** Takes every reference into this registry away, so that a pull has something to do. */
    async function forget(): Promise<void> {
      const images = (await callEngine(kit.socketPath, 'GET', '/images/json')) as {
        RepoTags?: string[] | null;
        RepoDigests?: string[] | null;
      }[];
      const names = images.flatMap(({ RepoTags, RepoDigests }) => [
        ...(RepoTags ?? []),
        ...(RepoDigests ?? []),
      ]);
      for (const name of names.filter((one) => one.startsWith(`${registry.host}/`))) {
        await kit.engine.removeImage(name);
      }
    }
  });
}
