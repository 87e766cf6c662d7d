import { expect } from 'chai';
import type { Server } from 'node:net';
import { callEngine } from '../../src/demo/socket.ts';
import type { ContainerSpec } from '../../src/node/types.ts';
import { allEngines } from '../support/engines.ts';
import { until } from '../support/until.ts';
import {
  boxDockerfile,
  buildBox,
  isOpen,
  listen,
  makeKit,
  makeRelay,
  outerAddress,
  script,
  valueOf,
  type Kit,
} from './engine.kit.ts';
import { freePort } from '../support/ports.ts';

const noEnv = new Map<string, string>();

for (const { name: engineName, start } of allEngines) {
  describe(`networks, ports, images and events on ${engineName}`, function () {
    this.timeout(300_000);
    let kit: Kit;

    before(async function () {
      this.timeout(300_000);
      kit = await makeKit((await start()).socketPath);
    });

    const run = async (spec: ContainerSpec) => {
      valueOf(await kit.engine.create(spec, 'd', spec.name, noEnv));
      return valueOf(await kit.engine.start(spec.name, spec.name)).id;
    };
    const serve = script(
      'mkdir -p /www; echo served > /www/index.html; exec /bin/busybox httpd -f -p 80 -h /www',
    );
    const withTools = ['RUN ["/bin/busybox", "--install", "-s", "/bin"]'];
    let tools = '';
    before(async () => {
      tools = `mc/tools-${kit.mark}:v1.0.0`;
      valueOf(await buildBox(kit.engine, tools, boxDockerfile(...withTools)));
    });
    after(() => kit.clean(tools));

    it('makes a network once, and lists it (L26)', async () => {
      const name = `second-${kit.mark}`;
      for (let time = 0; time < 2; time++) valueOf(await kit.engine.createNetwork(name));
      const { networks } = valueOf(await kit.engine.facts());
      expect(networks.filter((one) => one === name)).to.deep.equal([name]);
    });

    it('lets containers find each other by alias on each of their networks, after a rename too (L25, L26)', async () => {
      const second = `inner-${kit.mark}`;
      valueOf(await kit.engine.createNetwork(second));
      const web = kit.spec('web', {
        image: tools,
        cmd: serve,
        networks: [
          { name: kit.network, aliases: [`web-${kit.mark}-alias`] },
          { name: second, aliases: ['web'] },
        ],
      });
      valueOf(await kit.engine.create(web, 'd', `${web.name}.new`, noEnv));
      valueOf(await kit.engine.start(`${web.name}.new`, web.name));
      const ask = (alias: string) =>
        `until a=$(nslookup ${alias} | awk '/^Name/{n=1} n&&/^Address/{print $NF; exit}') && [ -n "$a" ] && wget -qO- http://$a/ ; do sleep 0.2; done`;
      for (const [network, alias] of [
        [kit.network, `web-${kit.mark}-alias`],
        [second, 'web'],
      ] as const) {
        const client = kit.spec(`client-${network}`, {
          image: tools,
          cmd: script(`${ask(alias)}; sleep 300`),
          networks: [{ name: network, aliases: [] }],
        });
        const id = await run(client);
        // A name that is asked for before its server knows it costs the client some seconds.
        const hasAnswer = async (): Promise<boolean> =>
          valueOf(await kit.engine.logs(id, { tail: 5 })).includes('served');
        await until(`an answer of ${alias}`, hasAnswer, 60_000);
      }
    });

    it('gives a container without networks none', async () => {
      const text = 'ls /sys/class/net | grep -v -x lo; echo looked; sleep 300';
      const id = await run(
        kit.spec('alone', { image: tools, cmd: script(`mount -t sysfs s /sys; ${text}`) }),
      );
      const lines = await until('the look', async () => {
        const log = valueOf(await kit.engine.logs(id, { tail: 9 }));
        return log.includes('looked') ? log : undefined;
      });
      expect(lines.filter((line) => /^(eth|tap|veth)/.test(line))).to.deep.equal([]);
      const seen = (await callEngine(kit.socketPath, 'GET', `/containers/${id}/json`)) as {
        HostConfig: { NetworkMode: string };
      };
      expect(seen.HostConfig.NetworkMode).to.equal('none');
    });

    it('publishes a port on the loopback and nowhere else', async () => {
      const host = await freePort();
      await run(
        kit.spec('published', {
          ...{ image: tools, cmd: serve, networks: [{ name: kit.network, aliases: [] }] },
          publish: [{ ip: '127.0.0.1', host, container: 80, protocol: 'tcp' }],
        }),
      );
      await until(
        'an answer',
        async () => (await (await fetch(`http://127.0.0.1:${host}/`)).text()) === 'served\n',
      );
      const outer = outerAddress();
      if (outer !== undefined) expect(await isOpen(outer, host)).to.equal(false);
    });

    it('names who holds a port, and starts when it is free (L39)', async () => {
      const host = await freePort();
      const publish = [{ ip: '127.0.0.1', host, container: 80, protocol: 'tcp' }] as const;
      const networks = [{ name: kit.network, aliases: [] }];
      const spec = kit.spec('wants', { publish, networks });
      valueOf(await kit.engine.create(spec, 'd', spec.name, noEnv));
      const squatter: Server = await listen(host);
      try {
        const byProcess = await kit.engine.start(spec.name, spec.name);
        expect(byProcess).to.include({ kind: 'retry' });
        expect('why' in byProcess && byProcess.why).to.match(
          new RegExp(`127.0.0.1:${host} is in use by a process`),
        );
      } finally {
        await new Promise((resolve) => squatter.close(resolve));
      }
      valueOf(await kit.engine.start(spec.name, spec.name));

      const late = kit.spec('late', { publish, networks });
      valueOf(await kit.engine.create(late, 'd', late.name, noEnv));
      const byContainer = await kit.engine.start(late.name, late.name);
      expect(byContainer).to.include({ kind: 'retry' });
      expect('why' in byContainer && byContainer.why).to.include(`by container ${spec.name}`);
    });

    it('builds an image with arguments and labels, and tells its lines', async () => {
      const reference = `mc/built-${kit.mark}:v1.0.0`;
      const lines: string[] = [];
      const dockerfile = boxDockerfile('ARG VERSION', 'ENV BUILT=$VERSION', 'CMD ["/bin/busybox", "true"]');
      const { imageId } = valueOf(
        await buildBox(kit.engine, reference, dockerfile, (line) => lines.push(line)),
      );
      const image = valueOf(await kit.engine.inspectImage(reference));
      expect(image).to.include({ imageId, user: '' });
      expect(image?.cmd).to.deep.equal(['/bin/busybox', 'true']);
      expect(image?.volumes).to.deep.equal([]);
      expect(imageId).to.match(/^sha256:[0-9a-f]{64}$/);
      // Each builder numbers its steps in its own way.
      expect(lines.join('\n')).to.match(/^(step \d|#\d+ \[\d).*copy/im);

      valueOf(await kit.engine.tagImage(reference, `mc/built-${kit.mark}:v1.0.1`));
      expect(valueOf(await kit.engine.inspectImage(`mc/built-${kit.mark}:v1.0.1`))?.imageId).to.equal(
        imageId,
      );
      for (const tag of ['v1.0.0', 'v1.0.1', 'v1.0.1']) {
        valueOf(await kit.engine.removeImage(`mc/built-${kit.mark}:${tag}`));
      }
      expect(valueOf(await kit.engine.inspectImage(reference))).to.equal(undefined);
    });

    it('says USER and VOLUME of an image (L18)', async () => {
      const reference = `mc/lint-${kit.mark}:v1.0.0`;
      valueOf(await buildBox(kit.engine, reference, boxDockerfile('USER 1000', 'VOLUME /data')));
      const image = valueOf(await kit.engine.inspectImage(reference));
      expect(image?.user).to.equal('1000');
      expect(image?.volumes).to.deep.equal(['/data']);
      valueOf(await kit.engine.removeImage(reference));
    });

    it('says why a build failed, with its last lines (L19)', async () => {
      const reference = `mc/broken-${kit.mark}:v1.0.0`;
      const text = 'RUN ["/bin/busybox", "sh", "-c", "echo the cause; exit 7"]';
      const outcome = await buildBox(kit.engine, reference, boxDockerfile(text));
      expect(outcome).to.include({ kind: 'blocked' });
      expect('why' in outcome && outcome.why).to.match(/7/);
      expect('why' in outcome && outcome.why).to.include('the cause');
      expect(valueOf(await kit.engine.inspectImage(reference))).to.equal(undefined);
    });

    it('ends a build when it is told to (L40)', async () => {
      const stop = new AbortController();
      const reference = `mc/slow-${kit.mark}:v1.0.0`;
      const text = 'RUN ["/bin/busybox", "sleep", "60"]';
      const onLine = (line: string): void => {
        if (line.includes('sleep')) stop.abort();
      };
      const outcome = await buildBox(kit.engine, reference, boxDockerfile(text), onLine, stop.signal);
      expect(outcome.kind).to.equal('retry');
    });

    it('signals what happens to containers, foreign ones too', async () => {
      const watcher = await kit.open(kit.owner);
      let signals = 0;
      const subscription = watcher.events(() => signals++);
      await until('the stream', () => signals > 0);
      const before = signals;
      const id = await run(kit.spec('noisy'));
      await until('a signal', () => signals > before);
      const running = signals;
      valueOf(await kit.engine.remove(id, 0));
      await until('another signal', () => signals > running);
      subscription.close();
    });

    it('asks for the list alone while nothing changes, and sees each change', async () => {
      const id = await run(kit.spec('steady'));
      const relay = await makeRelay(kit.directory, kit.socketPath);
      const watcher = await kit.open(kit.owner, relay.path);
      let signals = 0;
      watcher.events(() => signals++);
      await until('the stream', () => signals > 0);
      const first = valueOf(await watcher.facts());
      const callsOf = async (): Promise<number> => {
        const before = relay.calls;
        valueOf(await watcher.facts());
        return relay.calls - before;
      };
      await until('a quiet look of one call', async () => (await callsOf()) === 1);
      expect(valueOf(await watcher.facts())).to.deep.equal(first);

      valueOf(await kit.engine.stop(id, 0));
      await until(
        'the stop is seen',
        async () => (await kit.container(`steady-${kit.mark}`, watcher))?.state === 'exited',
      );
      valueOf(await kit.engine.start(`steady-${kit.mark}`, `steady-${kit.mark}`));
      const began = first.containers.find((one) => one.id === id)?.startedAt ?? 0;
      await until('the new start is seen', async () => {
        const seen = await kit.container(`steady-${kit.mark}`, watcher);
        return seen?.state === 'running' && (seen.startedAt ?? 0) > began;
      });
      watcher.close();
      await relay.cut();
    });

    it('retries while the engine is away, signals that, and goes on when it is back (L40, G22)', async () => {
      const relay = await makeRelay(kit.directory, kit.socketPath);
      const watcher = await kit.open(kit.owner, relay.path);
      let signals = 0;
      watcher.events(() => signals++);
      await until('the stream', () => signals > 0);
      await relay.cut();
      await until('the loss is signalled', () => signals > 1);
      for (const outcome of [
        await watcher.facts(),
        await watcher.create(kit.spec('away'), 'd', 'away', noEnv),
        await watcher.stop('a'.repeat(64), 0),
        await watcher.inspectImage(kit.image),
        await buildBox(watcher, 'mc/away:v1.0.0', boxDockerfile()),
      ]) {
        expect(outcome).to.include({ kind: 'retry' });
        expect('why' in outcome && outcome.why).to.include(relay.path);
      }
      const lost = signals;
      await relay.mend();
      expect((await watcher.facts()).kind).to.equal('ok');
      await until('the return is signalled', () => signals > lost);
      watcher.close();
      await relay.cut();
    });

    it('does not wait for an engine that hangs (L40, G19)', async () => {
      const relay = await makeRelay(kit.directory, kit.socketPath);
      const watcher = await kit.open(kit.owner, relay.path, 3_000);
      relay.hang = true;
      const hanging = watcher.createNetwork('never');
      const outcome = await hanging;
      expect(outcome).to.include({ kind: 'retry' });
      expect('why' in outcome && outcome.why).to.include('3000 ms');
      watcher.close();
      expect((await watcher.facts()).kind).to.not.equal('ok');
      await relay.cut();
    });
  });
}
