import { expect } from 'chai';
import { DOCKERFILE, ENGINES, imagesRig } from './images.kit.ts';

/** What the kernel has held at most for this process, as proc(5) counts it. */
const highestMiB = (): number => process.resourceUsage().maxRSS / 1024;

for (const { name, start } of ENGINES) {
  describe(`a build that prints without measure on ${name}`, function () {
    this.timeout(1_800_000);
    const rig = imagesRig(start);

    it('1 GB of log costs no memory: the last MiB is kept, and the image is there', async () => {
      const words = 'some words that fill the log, so that a gigabyte is soon reached'.repeat(15);
      await rig.source({
        Dockerfile: `${DOCKERFILE}COPY busybox /bin/yes\nCOPY busybox /bin/head\nRUN yes '${words}' | head -c 1000000000; echo; echo the-end\n`,
      });
      // BuildKit itself tells no more than the first MiB of a step: the classic builder tells all.
      const images = rig.open({}, { timeoutMs: 1_500_000, ...(name === 'docker' ? { cpus: 2 } : {}) });
      const image = rig.wanted('gigabyte');
      const before = highestMiB();
      rig.start(images, image);
      expect((await rig.ended(images, image, 1_500_000)).kind).to.equal('present');
      const log = images.buildLog(image.reference);
      expect(Buffer.byteLength(log.join('\n'))).to.be.below(1_100_000);
      expect(log.join('\n')).to.contain('the-end');
      const dropped = Number(/^… (\d+) earlier lines are not kept$/.exec(log[0] ?? '')?.[1]);
      expect(dropped).to.be.above(900_000);
      expect(highestMiB() - before, 'MiB more than before').to.be.below(200);
    });
  });
}
