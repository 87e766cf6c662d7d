import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect } from 'chai';
import { endProcesses } from '../../src/demo/leftovers.ts';
import { until } from '../support/until.ts';
import { DOCKERFILE, ENGINES, imagesRig, okOf } from './images.kit.ts';

const HALF_AN_HOUR_MS = 1_800_000;

/** Where Podman keeps what it was sent, as long as it builds. */
async function contextsOf(unique: string): Promise<string[]> {
  const copies = (await readdir('/var/tmp')).filter((entry) => entry.startsWith('libpod_builder'));
  const texts = copies.map((copy) =>
    readFile(join('/var/tmp', copy, 'build', 'Dockerfile'), 'utf8').catch(() => ''),
  );
  const all = await Promise.all(texts);
  return copies.filter((_copy, at) => all[at]?.includes(unique));
}

for (const { name, start } of ENGINES) {
  describe(`limits of builds on ${name}`, () => {
    const rig = imagesRig(start);

    it('a build at its deadline is ended, and a stop ends one at once', async () => {
      await rig.source({ Dockerfile: `${DOCKERFILE}RUN while :; do : ${rig.unique}; done\n` });
      const images = rig.open({}, { timeoutMs: 3_000 });
      const state = await rig.build(images, rig.wanted('endless'));
      expect(state.kind === 'failed' ? state.why : JSON.stringify(state)).to.match(/deadline of 3 s/);
      const other = rig.open({}, { timeoutMs: HALF_AN_HOUR_MS });
      // Another one: Podman is still at the first.
      const image = rig.wanted('other', 'v1.0.0');
      okOf(other.startBuild({ image, dockerfile: 'Dockerfile', path: 'hello', service: 'hello' }));
      await until('the endless step', async () => {
        const seen = await rig.look(other, image);
        return (
          rig.steps().length > 0 && seen.kind === 'building' && /^step \d+ of \d+$/.test(seen.progress ?? '')
        );
      });
      // A stop that waited for the build would take longer than this test may.
      await other.stop();
      if (name === 'docker')
        await until('the builder to end the step', () => rig.steps().length === 0, 30_000);
      // Podman lets a step that nobody waits for run on.
      else await endProcesses(() => rig.steps());
    });

    if (name === 'podman')
      it('G18 what Podman does not end at its deadline is read on: no other try is begun meanwhile, and it leaves nothing behind', async () => {
        const line = 'a line of a step that prints more than a pipe holds, and waits for its reader';
        await rig.source();
        let image = rig.wanted('late');
        let mark = '';
        // A deadline in the midst of the step: on a busy machine the build comes to it late.
        for (let seconds = 3; rig.steps().length === 0; seconds += 3) {
          expect(seconds, 'no step was under way at any deadline').to.be.lessThan(20);
          mark = `${rig.unique}-${seconds}`;
          const step = `i=0; while [ $i -lt ${seconds * 13} ]; do j=0; while [ $j -lt 400 ]; do echo "${line}"; j=$((j+1)); done; sleep 0.2; i=$((i+1)); done`;
          const dockerfile = `${DOCKERFILE}COPY busybox /bin/sleep\nRUN : ${mark}; ${step}\n`;
          const tag = `v2.0.${seconds}`;
          await rig.commit({ Dockerfile: dockerfile }, tag);
          image = rig.wanted('late', tag);
          const state = await rig.build(rig.open({}, { timeoutMs: seconds * 1_000 }), image);
          expect(state.kind === 'failed' && state.why).to.contain(`deadline of ${seconds} s`);
        }
        expect(await rig.failureOf(rig.open(), image)).to.contain(
          'the step of the try before is still under way',
        );
        await until('the step to end', () => rig.steps().length === 0, 60_000);
        await until(
          'the next try to be let in',
          async () => {
            const next = await rig.build(rig.open(), image);
            return next.kind === 'present';
          },
          60_000,
        );
        await until('the copy of its context to go', async () => (await contextsOf(mark)).length === 0);
      });

    it('memory, CPU, files and bytes of the context, free disk: each limit is held by a build that exceeds it (L46)', async () => {
      const hungry = 'RUN dd if=/dev/zero of=/dev/null bs=200M count=1 && echo was-not-limited';
      await rig.source({ Dockerfile: `${DOCKERFILE}COPY busybox /bin/dd\n${hungry}\n` });
      const memory = rig.open({}, { memoryBytes: 64 << 20 });
      const killed = await rig.build(memory, rig.wanted('memory'));
      expect(killed.kind === 'failed' && killed.why).to.match(/failed at step 9 of \d+: /);
      expect(killed.kind === 'failed' && killed.hint).to.contain('[build] memory_mib = 64');
      expect(memory.buildLog(rig.wanted('memory').reference)).to.not.include('was-not-limited');
      expect((await rig.build(rig.open(), rig.wanted('memory'))).kind, 'without the limit').to.equal(
        'present',
      );
      const cpu = 'RUN cat /sys/fs/cgroup/cpu.max /sys/fs/cgroup/cpu/cpu.cfs_quota_us 2>/dev/null; true';
      await rig.commit({ Dockerfile: `${DOCKERFILE}COPY busybox /bin/cat\n${cpu}\n` }, 'v1.1.0');
      const slow = rig.open({}, { cpus: 0.5 });
      await rig.build(slow, rig.wanted('cpu', 'v1.1.0'));
      expect(slow.buildLog(rig.wanted('cpu', 'v1.1.0').reference).join('\n')).to.match(
        /^(50000|50000 100000)$/m,
      );
      expect(await rig.failureOf(rig.open({}, { maxFiles: 1 }), rig.wanted('files'))).to.contain(
        'more than 1',
      );
      expect(await rig.failureOf(rig.open({}, { maxContextBytes: 1_000 }), rig.wanted('bytes'))).to.contain(
        'more than 1000 bytes together',
      );
      const full = rig.open({}, { minFreeBytes: 2 ** 30 }, { freeBytes: async () => 5 << 20 });
      const state = await rig.build(full, rig.wanted('disk'));
      if (state.kind !== 'failed') throw new Error(JSON.stringify(state));
      expect(state.why).to.contain(
        'has 5 MiB free, and a build begins with at least 1024 MiB [disk/shortage]',
      );
      expect(state.retryAt - state.at).to.equal(60_000);
    });

    it('a build that prints without end keeps the last MiB of its log', async () => {
      const lines =
        'RUN i=0; while [ $i -lt 30000 ]; do echo "line $i: some words that fill the log"; i=$((i+1)); done';
      await rig.source({ Dockerfile: `${DOCKERFILE}${lines}\n` });
      // BuildKit itself tells no more than the first MiB of a step, and says so.
      const builders =
        name === 'docker'
          ? [
              { builder: {}, end: 'output clipped' },
              { builder: { cpus: 1.5 }, end: 'line 29999' },
            ]
          : [{ builder: {}, end: 'line 29999' }];
      for (const [at, { builder, end }] of builders.entries()) {
        const images = rig.open({}, { maxLogBytes: 64 << 10, ...builder });
        const image = rig.wanted(`chatter-${at}`);
        expect((await rig.build(images, image)).kind).to.equal('present');
        const log = images.buildLog(image.reference);
        expect(Buffer.byteLength(log.join('\n'))).to.be.below(80 << 10);
        expect(log[0]).to.match(/^… \d+ earlier lines are not kept$/);
        expect(log.join()).to.contain(end);
      }
    });

    it('one build at once: the second waits as "queued"; a second start of the same is refused', async () => {
      await rig.source({
        Dockerfile: `${DOCKERFILE}RUN i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done\n`,
      });
      const images = rig.open();
      const [a, b] = [rig.wanted('queue-a'), rig.wanted('queue-b')];
      okOf(images.startBuild({ image: a, dockerfile: 'Dockerfile', path: 'hello', service: 'hello' }));
      okOf(images.startBuild({ image: b, dockerfile: 'Dockerfile', path: 'hello', service: 'hello' }));
      expect(
        images.startBuild({ image: a, dockerfile: 'Dockerfile', path: 'hello', service: 'hello' }).kind,
      ).to.equal('wait');
      expect(await rig.look(images, b)).to.include({ kind: 'building', progress: 'queued' });
      expect((await rig.ended(images, a)).kind).to.equal('present');
      expect((await rig.ended(images, b)).kind).to.equal('present');
    });

    it('a build that failed before gives way to one that was never tried; one that nobody wants any more is ended', async () => {
      await rig.source();
      const images = rig.open({}, {}, { retryMs: { first: 50, longest: 100 } });
      const [bad, good] = [rig.wanted('bad', 'v2.0.0'), rig.wanted('good')];
      expect(await rig.failureOf(images, bad)).to.contain('no such tag');
      await rig.commit({ Dockerfile: `${DOCKERFILE}RUN while :; do : ${rig.unique}; done\n` }, 'v2.0.0');
      await until('its wait to be over', async () => (await rig.look(images, bad)).kind === 'absent');
      rig.start(images, bad);
      const endless = (): Promise<unknown> => until('the endless step', () => rig.steps().length > 0, 30_000);
      await endless();
      expect((await rig.build(images, good)).kind, 'behind a build without end').to.equal('present');
      if (name === 'podman') {
        // There its step goes on, and the next try is refused until that has ended.
        await until(
          'the next try to be refused',
          async () => (await rig.look(images, bad)).kind === 'absent',
        );
        expect(await rig.failureOf(images, bad)).to.contain('the step of the try before is still under way');
        return endProcesses(() => rig.steps());
      }
      const again = await rig.look(images, bad);
      expect(again.kind === 'building' && again.failed?.why).to.contain('no such tag');
      await endless();
      const seen = await images.observe([{ image: good, build: true }]);
      expect(Object.keys(seen.strayWork)).to.deep.equal([bad.reference]);
      okOf(images.cancel(bad.reference));
      await until('it to be gone', async () => (await rig.look(images, bad)).kind === 'absent');
      await until('the builder to end the step', () => rig.steps().length === 0, 30_000);
    });
  });
}
