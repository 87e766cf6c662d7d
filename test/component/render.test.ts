import { execFile } from 'node:child_process';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { expect } from 'chai';
import { stringifyToml } from '../../src/base/toml.ts';
import { httpRequest } from '../../src/base/http.ts';
import { runRender } from '../../src/commands/render.ts';
import { run } from '../../src/demo/process.ts';
import { callEngine } from '../../src/demo/socket.ts';
import { LABELS } from '../../src/node/types.ts';
import { sameSpec } from '../../src/plan/spec.ts';
import { makeAgentRig, type AgentRig } from '../support/agentrig.ts';
import { command } from '../support/command.ts';
import { startDocker, startPodman, type TestEngine } from '../support/engines.ts';
import { buildNodeImage } from '../support/images.ts';
import { ask } from '../support/tlsclient.ts';
import { until } from '../support/until.ts';

const NASTY = `it's "$HOME" \`id\` $(id) \\ ! ~ * ; & | > <\n  'second' line\t`;
const SECRET = 'render canary $X "9"';

/** What is compared: everything that the agent sets, and what an engine's command line might add by itself. */
interface Inspection {
  readonly Id: string;
  readonly Mounts?: readonly Record<string, unknown>[];
  readonly Config: Record<string, unknown> & { readonly Labels: Record<string, string> };
  readonly HostConfig: Record<string, unknown>;
  readonly NetworkSettings: {
    readonly Networks: Record<string, { readonly Aliases?: readonly string[] | null }>;
  };
}

for (const [kind, start] of [
  ['docker', startDocker],
  ['podman', startPodman],
] as const) {
  describe(`mc-gitops render, pasted into a shell, on ${kind}`, function () {
    this.timeout(300_000);
    let engine: TestEngine;
    let rig: AgentRig;
    let checkout: string;
    const image = 'localhost/mcg-render/web:v1.0.0';

    before(async () => {
      engine = await start();
      await buildNodeImage(engine, image);
      rig = await makeAgentRig(engine);
    });
    after(() => rig.close());

    const inspected = async (name: string): Promise<Inspection> => {
      const path = `${kind === 'podman' ? '/v4.0.0/libpod' : ''}/containers/${name}/json`;
      return (await callEngine(engine.socketPath, 'GET', path)) as Inspection;
    };
    const render = (
      name: string | undefined,
      more: object = {},
    ): Promise<{ code: number; out: string; err: string }> =>
      command(() =>
        runRender(name, {
          dir: checkout,
          state: join(rig.dir, 'state.json'),
          config: join(rig.dir, 'settings.toml'),
          engine: kind,
          format: 'shell',
          ...more,
        }),
      );
    const paste = (text: string, more: NodeJS.ProcessEnv = {}): Promise<{ code: number; said: string }> => {
      // The private Podman of the tests has its configuration beside its socket.
      const home = dirname(dirname(engine.socketPath));
      const own =
        kind === 'docker'
          ? { DOCKER_HOST: `unix://${engine.socketPath}` }
          : {
              HOME: join(home, 'home'),
              CONTAINERS_CONF: join(home, 'containers.conf'),
              CONTAINERS_STORAGE_CONF: join(home, 'storage.conf'),
              CONTAINERS_REGISTRIES_CONF: join(home, 'registries.conf'),
            };
      return new Promise((resolve) => {
        const child = execFile(
          'sh',
          [],
          { env: { PATH: process.env['PATH'], ...own, ...more } },
          (_error, out, err) => resolve({ code: child.exitCode ?? -1, said: out + err }),
        );
        child.stdin?.on('error', () => undefined).end(text);
      });
    };
    const status = (): Promise<number> =>
      ask(
        { port: rig.webPort, hostname: 'web.svc.mcp.metacircular.net', ca: '' },
        { rejectUnauthorized: false },
      ).then(
        (answer) => answer.status,
        () => 0,
      );

    it('makes the containers of the agent, field by field, with their route and certificate; the agent takes them as its own (L01)', async () => {
      const odd = `odd, "dir" 'x' $HOME`.replaceAll(' ', '');
      await mkdir(join(rig.dir, 'srv', 'web', odd), { recursive: true });
      const definition = stringifyToml({
        name: 'web',
        node: 'n1',
        components: [
          {
            name: 'web',
            image,
            env: [`TOKEN=${SECRET}`, 'EMPTY=', `QUOTES='"\``],
            labels: { 'org.example.note': `a "b" 'c' $D` },
            volumes: [`${join(rig.dir, 'srv', 'web', odd)}:/data,x:ro`, `${rig.instance}-cache:/cache`],
            user: '0:0',
            routes: [{ port: rig.webPort, mode: 'l7' }],
            resources: { memory: '256m', cpus: 0.5, pids: 100, shm: '16m' },
          },
          {
            name: 'args',
            image,
            after: ['web'],
            entrypoint: ['/bin/node', '-e', 'setInterval(() => {}, 1e6)', '--'],
            cmd: [NASTY, '', '--flag=a b'],
            stop_signal: 'SIGINT',
            restart: 'no',
          },
        ],
      });
      await rig.push({ 'services/web.toml': definition });
      const proxy = await rig.startProxy();
      await rig.start();
      await rig.state('web', 'converged');
      expect(await status()).to.equal(200);
      const url = new URL('/api/v1/state', rig.address().dashboard).href;
      const state = await httpRequest({ method: 'GET', url, deadlineMs: 5_000, maxBytes: 10_000_000 });
      await writeFile(join(rig.dir, 'state.json'), state.body);
      const { dataDir, ...all } = rig.settings();
      const file = Object.fromEntries(
        Object.entries(all).filter(([key]) => key !== 'owner' && key !== 'logLevel'),
      );
      await writeFile(
        join(rig.dir, 'settings.toml'),
        stringifyToml(JSON.parse(JSON.stringify(file)) as object),
      );
      const before = { web: await inspected('web'), args: await inspected('web-args') };
      await rig.stopAgent();

      // Nothing is left: no proxy, container, network, certificate, CA or route.
      await proxy.close();
      for (const name of ['web', 'web-args'])
        await callEngine(engine.socketPath, 'DELETE', `/containers/${name}?force=1`);
      for (const name of Object.keys(before.web.NetworkSettings.Networks))
        await callEngine(engine.socketPath, 'DELETE', `/networks/${name}`);
      await callEngine(engine.socketPath, 'DELETE', `/volumes/${rig.instance}-cache`);
      const { table, cert_dir } = rig.settings().mcproxy;
      for (const path of [table, cert_dir, join(dataDir, 'ca')]) await rm(path, { recursive: true });
      checkout = join(rig.dir, 'checkout');
      await run('git', ['clone', '--quiet', rig.definitions.path, checkout]);

      const text = await render('web', { withValues: true });
      expect(text.code, text.err).to.equal(0);
      const pasted = await paste(text.out);
      expect(pasted.code, pasted.said).to.equal(0);
      const after = { web: await inspected('web'), args: await inspected('web-args') };
      for (const name of ['web', 'args'] as const) {
        expect(picture(after[name]), name).to.deep.equal(picture(before[name]));
        expect(
          sameSpec(after[name].Config.Labels[LABELS.spec], before[name].Config.Labels[LABELS.spec] ?? ''),
        ).to.equal(true);
      }
      expect((after.args.Config['Cmd'] as string[]).slice(-3)).to.deep.equal([NASTY, '', '--flag=a b']);
      expect(after.web.Config['Env']).to.include(`TOKEN=${SECRET}`);
      await rig.startProxy();
      await until('the route to be served again', async () => (await status()) === 200);
      expect(
        await readFile(join(rig.dir, 'srv', 'web', odd)).catch(
          (error: unknown) => (error as NodeJS.ErrnoException).code,
        ),
      ).to.equal('EISDIR');
      // A second paste changes nothing but says that the containers are there.
      expect((await paste(text.out)).said).to.match(/already in use/);
      expect((await inspected('web')).Id).to.equal(after.web.Id);

      await rig.start();
      await rig.state('web', 'converged');
      expect([(await inspected('web')).Id, (await inspected('web-args')).Id]).to.deep.equal([
        after.web.Id,
        after.args.Id,
      ]);
      expect(await status()).to.equal(200);
      await rig.stopAgent();
    });

    it('prints no value unless it is told to: a variable that is not set keeps the container from being made (G10)', async () => {
      await callEngine(engine.socketPath, 'DELETE', '/containers/web?force=1');
      const text = await render('web');
      expect(text.out).to.not.contain('canary');
      expect(text.out).to.contain('"${VALUE_TOKEN?TOKEN of services/web.toml}"');
      const unset = await paste(text.out);
      expect(unset.code).to.not.equal(0);
      expect(unset.said).to.contain('EMPTY of services/web.toml');
      const names = (await callEngine(engine.socketPath, 'GET', '/containers/json?all=1')) as {
        Names: string[];
      }[];
      expect(names.flatMap(({ Names }) => Names))
        .to.not.include('/web')
        .and.not.include('web');
      const set = await paste(text.out, { VALUE_TOKEN: SECRET, VALUE_EMPTY: '', VALUE_QUOTES: `'"\`` });
      expect(set.said).to.not.contain('canary');
      expect((await inspected('web')).Config['Env'])
        .to.include(`TOKEN=${SECRET}`)
        .and.include(`QUOTES='"\``);
    });

    if (kind === 'docker') {
      it('--format compose: docker-compose takes the file, and makes the same containers but for our labels', async () => {
        const before = { web: await inspected('web'), args: await inspected('web-args') };
        for (const name of ['web', 'web-args'])
          await callEngine(engine.socketPath, 'DELETE', `/containers/${name}?force=1`);
        const text = await render(undefined, { format: 'compose', withValues: true });
        expect(text.code, text.err).to.equal(0);
        await mkdir(join(rig.dir, 'out'));
        // Debian's docker-compose is older than this key: it makes no directory of a mount in its long form.
        const old = text.out.replaceAll(/^ *create_host_path: false\n/gm, '');
        expect(old).to.not.equal(text.out);
        await writeFile(join(rig.dir, 'out', 'docker-compose.yml'), old);
        const compose = (...args: string[]): Promise<{ stdout: string }> =>
          run('docker-compose', args, {
            cwd: join(rig.dir, 'out'),
            env: { PATH: process.env['PATH'], DOCKER_HOST: `unix://${engine.socketPath}` },
          });
        await compose('config', '--quiet');
        await compose('up', '--detach');
        try {
          for (const [key, name] of [
            ['web', 'web'],
            ['args', 'web-args'],
          ] as const) {
            const made = picture(await inspected(name));
            const wanted = picture(before[key]);
            expect({ ...made, labels: undefined, networks: Object.keys(made.networks) }, name).to.deep.equal({
              ...wanted,
              labels: undefined,
              networks: Object.keys(wanted.networks),
            });
            for (const [network, aliases] of Object.entries(wanted.networks))
              expect(made.networks[network], network).to.include.members(aliases);
          }
          expect(await status()).to.equal(200);
        } finally {
          await compose('down');
        }
      });
    }
  });
}

/** Without what is another for every container: ids, times, addresses. */
function picture({
  Config: config,
  HostConfig: host,
  Mounts: mounts = [],
  NetworkSettings: net,
  Id,
}: Inspection): {
  labels: unknown;
  networks: Record<string, string[]>;
} & Record<string, unknown> {
  const isOwn = (text: string): boolean => Id.startsWith(text);
  const ours = Object.entries(config.Labels).filter(([name]) => name !== LABELS.spec);
  return {
    labels: Object.fromEntries(ours),
    networks: Object.fromEntries(
      Object.entries(net.Networks).map(([name, { Aliases }]) => [
        name,
        (Aliases ?? []).filter((alias) => !isOwn(alias)).sort(),
      ]),
    ),
    env: (config['Env'] as string[]).filter((entry) => !/^(HOSTNAME|container)=/.test(entry)).sort(),
    mounts: mounts
      .map(({ Type, Name, Source, Destination, RW, Propagation }) => ({
        Type,
        Name,
        Source: Type === 'volume' ? '' : Source,
        Destination,
        RW,
        Propagation,
      }))
      .sort((a, b) => (String(a.Destination) < String(b.Destination) ? -1 : 1)),
    ...pick(config, [
      'Cmd',
      'Entrypoint',
      'User',
      'StopSignal',
      'ExposedPorts',
      'WorkingDir',
      'Tty',
      'OpenStdin',
      'Healthcheck',
    ]),
    ...pick(host, HOST_FIELDS),
  };
}

const HOST_FIELDS = [
  'PortBindings',
  'RestartPolicy',
  'Memory',
  'MemorySwap',
  'NanoCpus',
  'CpuPeriod',
  'CpuQuota',
  'PidsLimit',
  'ShmSize',
  'LogConfig',
  'SecurityOpt',
  'Init',
  'Privileged',
  'ReadonlyRootfs',
  'CapAdd',
  'CapDrop',
  'Ulimits',
  'IpcMode',
  'PidMode',
  'UsernsMode',
  'CgroupnsMode',
  'AutoRemove',
  'ExtraHosts',
  'Dns',
  'Devices',
  'Tmpfs',
];

function pick(from: Record<string, unknown>, keys: readonly string[]): Record<string, unknown> {
  return Object.fromEntries(keys.map((key) => [key, withoutPath(plain(from[key]))]));
}

/** Where Podman writes the log is named after the container. */
function withoutPath(value: unknown): unknown {
  if (value === null || typeof value !== 'object' || !('Path' in value)) return value;
  return { ...value, Path: undefined };
}

/** Nothing, an empty list and an empty table are all nothing; an empty name too. */
function plain(value: unknown): unknown {
  if (value === null || value === undefined || value === '' || value === false || value === 0)
    return undefined;
  if (typeof value !== 'object') return value;
  if (Array.isArray(value)) return value.length === 0 ? undefined : value;
  const entries = Object.entries(value).filter(([, part]) => plain(part) !== undefined);
  return entries.length === 0
    ? undefined
    : Object.fromEntries(entries.map(([key, part]) => [key, plain(part)]));
}
