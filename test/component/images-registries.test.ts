import { join } from 'node:path';
import { expect } from 'chai';
import { httpRequest } from '../../src/base/http.ts';
import { until } from '../support/until.ts';
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

    it('a push that fails is tried again, and goes through when the registry is there again (L02)', async () => {
      const [registry, entry] = await rig.registry({});
      await rig.source();
      const images = rig.open({ [registry.host]: entry }, {}, { retryMs: { first: 200, longest: 1_000 } });
      const image = rig.wanted('later', 'v1.0.0', registry.host);
      expect((await rig.build(images, image)).kind).to.equal('present');
      await registry.halt();
      okOf(images.startPush(image));
      const failed = await until('the push to fail', async () => {
        const push = (await images.observe([{ image, build: true }])).pushes[image.reference];
        return push?.kind === 'failed' ? push : undefined;
      });
      expect(failed.why).to.contain(registry.host);
      expect((await rig.look(images, image)).kind, 'it is here all the same').to.equal('present');
      await registry.restart();
      await until('the push', async () => {
        const kind = await rig.pushOf(images, image);
        if (kind === 'pending') images.startPush(image);
        return kind === 'pushed';
      });
      expect(await rig.look(images, image))
        .to.have.property('manifestDigest')
        .that.matches(/^sha256:/);
    });

    it('what its registry has lost is built again from its tag and pushed again, although its digest was recorded', async () => {
      const [registry, entry] = await rig.registry({});
      await rig.source({ 'src/lost': rig.unique });
      const images = rig.open({ [registry.host]: entry }, {}, { answerTtlMs: 0 });
      const image = rig.wanted('lost', 'v1.0.0', registry.host);
      await rig.build(images, image);
      await rig.push(images, image);
      const pushed = await rig.look(images, image);
      if (pushed.kind !== 'present' || pushed.manifestDigest === undefined) throw new Error('not pushed');
      const { imageId, manifestDigest } = pushed;
      const manifest = `${registry.url}/v2/${image.repository}/manifests/${manifestDigest}`;
      expect((await fetch(manifest, { method: 'DELETE' })).status).to.equal(202);
      await rig.remove(images, image.reference);
      // As a later agent would look at it.
      const other = rig.open({ [registry.host]: entry }, {}, { answerTtlMs: 0 });
      const look = (): ReturnType<typeof other.observe> =>
        other.observe([{ image, build: true, recorded: { imageId, manifestDigest } }]);
      expect((await look()).images[image.reference]?.kind).to.equal('absent');
      await rig.build(other, image);
      expect((await look()).pushes[image.reference]).to.deep.equal({ kind: 'pending', lost: true });
      okOf(other.startPush(image));
      const again = await until('the push', async () => {
        const push = (await look()).pushes[image.reference];
        return push?.kind === 'pushed' ? push : undefined;
      });
      expect(again.digest).to.match(/^sha256:/);
      const found = await fetch(`${registry.url}/v2/${image.repository}/manifests/${again.digest ?? ''}`, {
        headers: { accept: 'application/vnd.oci.image.manifest.v1+json, */*' },
      });
      expect(found.status).to.equal(200);
    });

    it('several registries, each with an account and a CA of its own: every image goes to its own', async () => {
      const [first, firstEntry] = await rig.registry({ auth: true, tls: true });
      const [second, secondEntry] = await rig.registry({ auth: true, tls: true });
      await rig.source({ 'src/two': rig.unique });
      const entries = { [first.host]: firstEntry, [second.host]: secondEntry };
      const images = rig.open(entries);
      for (const { host } of [first, second]) {
        const image = rig.wanted('two', 'v1.0.0', host);
        await rig.build(images, image);
        await rig.push(images, image);
        await rig.remove(images, image.reference);
        expect((await rig.look(rig.open(entries), image)).kind).to.equal('remote');
      }
      // With the CA or the account of the other one it is told, and never taken for absent.
      const crossed = { ...firstEntry, caCert: secondEntry.caCert ?? '' };
      const image = rig.wanted('two', 'v1.0.0', first.host);
      expect(await rig.look(rig.open({ [first.host]: crossed }), image))
        .to.have.property('why')
        .that.matches(/certificate/);
      const foreign = { ...firstEntry, credentialsFile: secondEntry.credentialsFile ?? '' };
      expect(await rig.look(rig.open({ [first.host]: foreign }), image))
        .to.have.property('why')
        .that.contains('refuses the account');
    });

    it('a manifest list without the platform of this node is told as what it is, again after a growing wait', async () => {
      const [registry, entry] = await rig.registry({});
      await rig.source();
      const images = rig.open({ [registry.host]: entry });
      const one = rig.wanted('list', 'v1.0.0', registry.host);
      await rig.build(images, one);
      await rig.push(images, one);
      await putForeignList(registry.url, one.repository, 'v1.0.0', 'v2.0.0');
      const list = rig.wanted('list', 'v2.0.0', registry.host);
      expect((await rig.look(images, list, false)).kind).to.equal('remote');
      okOf(images.startPull(list));
      const state = await rig.ended(images, list);
      if (state.kind !== 'failed') throw new Error(JSON.stringify(state));
      expect(state.why).to.match(/no matching manifest|no image found in .*index|architecture/i);
      expect(state.hint).to.contain('platform');
      expect(state.retryAt).to.be.above(state.at);
    });

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

/** A list under `to` with the manifest of `from` as that of a machine of another kind. */
async function putForeignList(url: string, repository: string, from: string, to: string): Promise<void> {
  const types = [
    'application/vnd.docker.distribution.manifest.v2+json',
    'application/vnd.oci.image.manifest.v1+json',
  ];
  const limits = { deadlineMs: 5_000, maxBytes: 1_000_000 };
  const found = await httpRequest({
    ...{ method: 'GET', url: `${url}/v2/${repository}/manifests/${from}`, ...limits },
    headers: { accept: types.join(', ') },
  });
  const list = JSON.stringify({
    schemaVersion: 2,
    mediaType: LIST,
    manifests: [
      {
        mediaType:
          (JSON.parse(Buffer.from(found.body).toString()) as { mediaType?: string }).mediaType ?? types[1],
        digest: found.headers['docker-content-digest'],
        size: found.body.length,
        platform: { architecture: 's390x', os: 'linux' },
      },
    ],
  });
  const put = await httpRequest({
    ...{ method: 'PUT', url: `${url}/v2/${repository}/manifests/${to}`, ...limits },
    ...{ headers: { 'content-type': LIST }, body: Buffer.from(list) },
  });
  if (put.status !== 201) throw new Error(`${put.status} ${Buffer.from(put.body).toString()}`);
}

const LIST = 'application/vnd.docker.distribution.manifest.list.v2+json';
