import { expect } from 'chai';
import { prepareContext } from '../../src/node/images/context.ts';
import { openSource, workspaceSources } from '../../src/node/images/source.ts';
import { until } from '../support/until.ts';
import { DOCKERFILE, ENGINES, imagesRig, okOf } from './images.kit.ts';

for (const { name, start } of ENGINES) {
  describe(`builders on ${name}`, () => {
    const rig = imagesRig(start);

    it('RUN --mount works, its cache is there for the next build, and the step is told as k of n', async () => {
      const counts = `RUN --mount=type=cache,id=${rig.unique},target=/cache echo x >> /cache/runs; while read l; do echo "ran before: $l"; done < /cache/runs`;
      await rig.source({ Dockerfile: `${DOCKERFILE}${counts}\n` });
      const images = rig.open();
      const image = rig.wanted('mount');
      const state = await rig.build(images, image);
      expect(state.kind, JSON.stringify(state)).to.equal('present');
      await rig.commit({ Dockerfile: `${DOCKERFILE}ENV NEXT=yes\n${counts}\n` }, 'v1.1.0');
      const next = rig.wanted('mount', 'v1.1.0');
      const told = new Set<string>();
      rig.start(images, next);
      await until('the build to end', async () => {
        const seen = await rig.look(images, next);
        if (seen.kind === 'building') return void told.add(seen.progress ?? '');
        return seen.kind === 'present';
      });
      const runs = images.buildLog(next.reference).filter((line) => line === 'ran before: x');
      expect(runs, 'the cache of the first build').to.have.length(2);
      expect(
        [...told].some((text) => /^step [1-9]\d* of [1-9]\d*$/.test(text)),
        [...told].join(),
      ).to.equal(true);
    });

    it('with a limit of memory or CPU RUN --mount is built only by a builder that holds the limit', async () => {
      await rig.source({ Dockerfile: `${DOCKERFILE}RUN --mount=type=tmpfs,target=/t : > /t/x\n` });
      const images = rig.open({}, { memoryBytes: 256 << 20 });
      const why = await rig.failureOf(images, rig.wanted('limited'));
      if (name === 'docker')
        expect(why).to.equal(
          'hello@v1.0.0:Dockerfile:8: RUN --mount needs BuildKit, which does not hold [build] memory_mib of this node',
        );
      else expect(why).to.contain('"kind":"present"');
    });

    it('a base image of a private registry is pulled with the account of that registry, and no other registry is told it', async () => {
      const [closed, entry] = await rig.registry({ auth: true });
      const [other, otherEntry] = await rig.registry({ auth: true });
      await rig.source({ 'src/base': rig.unique });
      // The wrong one comes first: an account goes by its host alone.
      const images = rig.open({ [other.host]: otherEntry, [closed.host]: entry });
      const base = rig.wanted('base', 'v1.0.0', closed.host);
      await rig.build(images, base);
      await rig.push(images, base);
      await rig.remove(images, base.reference);
      await rig.commit({ Dockerfile: `FROM ${base.reference}\nENV CHILD=yes\n` }, 'v1.1.0');
      const child = rig.wanted('child', 'v1.1.0');
      const state = await rig.build(images, child);
      expect(state.kind, JSON.stringify(state)).to.equal('present');
      await rig.remove(images, base.reference);
      await rig.commit({ Dockerfile: `FROM ${base.reference}\nENV CHILD=again\n` }, 'v1.2.0');
      // With the account of the other alone it is refused.
      const without = rig.open({ [other.host]: otherEntry });
      expect(await rig.failureOf(without, rig.wanted('child', 'v1.2.0'))).to.match(
        name === 'docker'
          ? /could not be built|no basic auth|authorization|denied|401|access/i
          : /unauthorized|401/,
      );
    });

    it('a base image that cannot be had is told as what it is, with what to do', async () => {
      await rig.source({ Dockerfile: 'FROM 127.0.0.1:1/none:v1.0.0\nENV A=b\n' });
      const images = rig.open();
      const state = await rig.build(images, rig.wanted('baseless'));
      if (state.kind !== 'failed') throw new Error(JSON.stringify(state));
      expect(state.why).to.contain('127.0.0.1:1').and.contain('none');
      expect(state.hint).to.contain('A base image cannot be had');
      expect(state.retryAt).to.be.above(state.at);
    });

    it('two images are built at once where the limit is two, and the third is queued', async () => {
      await rig.source({
        Dockerfile: `${DOCKERFILE}ARG VERSION\nRUN while :; do : ${rig.unique} $VERSION; done\n`,
      });
      await rig.git(`${rig.workspace}/hello`, 'tag', 'v1.1.0');
      await rig.git(`${rig.workspace}/hello`, 'tag', 'v1.2.0');
      const images = rig.open({}, { concurrency: 2 });
      const [a, b, c] = ['v1.0.0', 'v1.1.0', 'v1.2.0'].map((tag) => rig.wanted('many', tag));
      if (a === undefined || b === undefined || c === undefined) throw new Error('three');
      for (const image of [a, b, c]) rig.start(images, image);
      await until('both to be in their last step', async () => {
        const seen = await Promise.all([a, b].map((image) => rig.look(images, image)));
        return (
          rig.steps().length >= 2 &&
          seen.every((state) => state.kind === 'building' && state.progress?.startsWith('step ') === true)
        );
      });
      expect(await rig.look(images, c)).to.include({ kind: 'building', progress: 'queued' });
    });

    it("the disk of the engine is measured, and the builder's cache is held to its budget", async () => {
      await rig.source({ 'src/disk': rig.unique });
      const images = rig.open();
      const image = rig.wanted('disk');
      await rig.build(images, image);
      const before = okOf(await rig.engine.disk());
      expect(before.imagesBytes).to.be.above(1 << 20);
      if (name === 'docker') expect(before.cacheBytes).to.be.above(1 << 19);
      else expect(before, 'Podman keeps it as images').to.not.have.property('cacheBytes');
      okOf(await rig.engine.pruneBuildCache(0));
      const after = okOf(await rig.engine.disk());
      if (name === 'docker') expect(after.cacheBytes).to.be.below((before.cacheBytes ?? 0) / 2);
      expect((await rig.look(images, image)).kind, 'the image stays').to.equal('present');
    });

    it('a rebuild without the memory of the builder: the equal id on Podman; on Docker another one, of the same commit (L19)', async () => {
      await rig.source({ 'src/anew': rig.unique });
      const image = rig.wanted('anew');
      const build = async (): Promise<string> => {
        const source = { path: 'hello', tag: 'v1.0.0', dockerfile: 'Dockerfile', reference: image.reference };
        const tree = okOf(await openSource(source, workspaceSources(rig.workspace)));
        const limits = { what: 'hello', dockerfile: 'Dockerfile', maxBytes: 2 ** 30, maxFiles: 1_000 };
        const context = okOf(await prepareContext(tree, limits));
        const built = await rig.engine.buildImage(context.stream, {
          ...{ reference: image.reference, dockerfile: 'Dockerfile', buildArgs: { VERSION: 'v1.0.0' } },
          ...{ labels: { 'org.opencontainers.image.revision': tree.commit }, noCache: true },
          ...{ createdAt: tree.taggedAt, signal: new AbortController().signal, onProgress: () => undefined },
        });
        await context.close();
        return okOf(built).imageId;
      };
      const first = await build();
      const second = await build();
      // BuildKit of Docker 20.10 writes the time of the build into the image; that of Docker 23 is told the tag's.
      if (name === 'podman') expect(second).to.equal(first);
      const revision = okOf(await rig.engine.inspectImage(image.reference))?.revision;
      expect(revision, 'by which the planner takes it for the same version').to.match(/^[0-9a-f]{40}$/);
    });
  });
}
