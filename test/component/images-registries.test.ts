import { join } from 'node:path';
import { expect } from 'chai';
import { imageRef } from '../unit/node/images-support.ts';
import { ENGINES, imagesRig, okOf } from './images.kit.ts';

for (const { name, start } of ENGINES) {
  describe(`images and registries on ${name}`, () => {
    const rig = imagesRig(start);

    for (const options of [{}, { auth: true }, { auth: true, tls: true }]) {
      const kind = `${options.tls === true ? 'TLS with its own CA' : 'plain'}, ${options.auth === true ? 'Basic' : 'no account'}`;
      it(`absent → built → pushed → removed here → remote → pulled (${kind})`, async () => {
        const [registry, entry] = await rig.registry(options);
        await rig.source();
        const images = rig.open({ [registry.host]: entry });
        const image = rig.wanted('pushed', 'v1.0.0', registry.host);
        expect((await rig.look(images, image)).kind).to.equal('absent');
        const built = await rig.build(images, image);
        expect(built.kind, JSON.stringify(built)).to.equal('present');
        expect(built).to.not.have.property('manifestDigest');
        expect(await rig.pushOf(images, image)).to.equal('pending');
        await rig.push(images, image);
        const pushed = await rig.look(images, image);
        if (pushed.kind !== 'present' || built.kind !== 'present') throw new Error('not present');
        expect(pushed.imageId).to.equal(built.imageId);
        expect(pushed.manifestDigest).to.match(/^sha256:/);
        await rig.remove(images, image.reference);
        const other = rig.open({ [registry.host]: entry });
        expect(await rig.look(other, image)).to.deep.equal({
          kind: 'remote',
          manifestDigest: pushed.manifestDigest,
        });
        okOf(other.startPull(image));
        expect(await rig.ended(other, image)).to.deep.equal(pushed);
        const pinned = imageRef(registry.host, image.repository, image.tag, pushed.manifestDigest);
        expect(await rig.look(other, pinned, false)).to.include({
          kind: 'present',
          manifestDigest: pushed.manifestDigest,
        });
      });
    }

    it('a pinned image is pulled by its digest, and never built', async () => {
      const [registry, entry] = await rig.registry({});
      // Bytes of its own: another tag of the same image would keep it here.
      await rig.source({ 'src/pinned': rig.unique });
      const images = rig.open({ [registry.host]: entry }, {}, { answerTtlMs: 0 });
      const image = rig.wanted('pinned', 'v1.0.0', registry.host);
      await rig.build(images, image);
      await rig.push(images, image);
      const state = await rig.look(images, image);
      const digest = state.kind === 'present' ? state.manifestDigest : undefined;
      await rig.remove(images, image.reference);
      const pinned = imageRef(registry.host, image.repository, image.tag, digest);
      expect(
        images.startBuild({ image: pinned, dockerfile: 'Dockerfile', path: 'hello', service: 'hello' }).kind,
      ).to.equal('blocked');
      expect(await rig.look(images, pinned)).to.deep.equal({ kind: 'remote', manifestDigest: digest });
      okOf(images.startPull(pinned));
      await rig.ended(images, pinned);
      expect(await rig.look(images, pinned)).to.include({ kind: 'present', manifestDigest: digest });
      const wrong = imageRef(registry.host, image.repository, image.tag, `sha256:${'0'.repeat(64)}`);
      expect((await rig.look(images, wrong, false)).kind).to.equal('absent');
      await rig.remove(images, pinned.reference);
    });

    it('a tag that the registry has by now is not moved by a push (L19); a registry that is down holds nothing', async () => {
      const [registry, entry] = await rig.registry({});
      await rig.source();
      const images = rig.open({ [registry.host]: entry }, {}, { answerTtlMs: 0 });
      const image = rig.wanted('moved', 'v1.0.0', registry.host);
      await rig.build(images, image);
      await rig.push(images, image);
      const manifest = async (): Promise<string | null> =>
        (
          await fetch(`${registry.url}/v2/${image.repository}/manifests/${image.tag}`, {
            headers: {
              accept:
                'application/vnd.docker.distribution.manifest.v2+json, application/vnd.oci.image.manifest.v1+json',
            },
          })
        ).headers.get('docker-content-digest');
      const before = await manifest();
      await rig.remove(images, image.reference);
      await rig.git(join(rig.workspace, 'hello'), 'tag', '-d', 'v1.0.0');
      await rig.write(join(rig.workspace, 'hello'), { 'src/new': 'other bytes' });
      await rig.git(join(rig.workspace, 'hello'), 'add', '-A');
      await rig.git(join(rig.workspace, 'hello'), 'commit', '-q', '-m', 'other');
      await rig.git(join(rig.workspace, 'hello'), 'tag', 'v1.0.0');
      const other = rig.open({ [registry.host]: entry }, {}, { answerTtlMs: 0 });
      await rig.build(other, image);
      await rig.push(other, image);
      expect(await manifest()).to.equal(before);
      await registry.stop();
      const late = rig.open({ [registry.host]: entry });
      expect((await rig.look(late, image)).kind).to.equal('present');
      expect(await rig.look(late, rig.wanted('nowhere', 'v1.0.0', registry.host))).to.have.property(
        'kind',
        'unknown',
      );
    });
  });
}
