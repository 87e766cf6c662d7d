import { once } from 'node:events';
import { copyFile, mkdir, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:net';
import { join } from 'node:path';
import { httpRequest } from '../../src/base/http.ts';
import { stringifyToml } from '../../src/base/toml.ts';
import { run } from '../../src/demo/process.ts';
import type { ObservedContainer } from '../../src/node/types.ts';
import { makeAgentRig, type AgentRig } from '../support/agentrig.ts';
import type { TestEngine } from '../support/engines.ts';
import { openGate, type Gate } from '../support/gate.ts';
import { buildNodeImage } from '../support/images.ts';
import { startKnot, type NameServer } from '../support/nameserver.ts';
import { startRegistry } from '../support/registry.ts';
import { until } from '../support/until.ts';

export const GOOD = 'mcg-kill-test/good:v1.0.0';
/** Nothing of the first story: an image that no service names goes when room is short. */
export const BASE = 'mcg-kill-test/base:v1.0.0';
export const NEXT = 'mcg-kill-test/good:v1.1.0';
export const DEPLOY = { timeout_s: 300, stable_for_s: 0.2, stop_timeout_s: 1, drain_s: 1 };

/** A node with all that an agent works with: engine, proxy, image registry, name server, sources of images. */
export interface Scene {
  readonly rig: AgentRig;
  /** Between the engine and the image registry. */
  readonly gate: Gate;
  readonly names: NameServer;
  /** Makes `GOOD` and `NEXT` again: they go when room is short and no service names them. */
  readonly makeImages: () => Promise<void>;
  /** Reference of an image in the registry. */
  readonly image: (repository: string, version: string) => string;
  /** Resolves when the registry has it. */
  readonly pushed: (repository: string, version: string) => Promise<void>;
  /** A source repository in the workspace, with these tags; `more`: what its Dockerfile does besides. */
  readonly source: (name: string, tags: readonly string[], more?: string) => Promise<void>;
  /** A container without any mark, as somebody starts one. */
  readonly byHand: (name: string) => Promise<void>;
  readonly handName: (name: string) => string;
  /** The same as it is now, whatever its name is. */
  readonly handMade: (name: string) => Promise<ObservedContainer | undefined>;
  /** Removes a container of the agent by hand; the host port that it had. */
  readonly remove: (name: string) => Promise<number>;
  /** A process of somebody else listens on it until the end. */
  readonly takePort: (port: number) => Promise<void>;
  /** Where the settings of the agent are; written anew. */
  readonly settingsFile: (change?: object) => Promise<string>;
  readonly close: () => Promise<void>;
}

export async function openScene(engine: TestEngine): Promise<Scene> {
  const makeImages = async (): Promise<void> => {
    await buildNodeImage(engine, GOOD);
    await buildNodeImage(engine, NEXT, undefined, { lines: ['ENV NEXT=yes'] });
  };
  await makeImages();
  await buildNodeImage(engine, BASE);
  const rig = await makeAgentRig(engine);
  const [registry, names] = await Promise.all([startRegistry(), startKnot()]);
  const gate = await openGate(registry.host);
  await rig.startProxy();
  const docker = async (...args: string[]): Promise<string> =>
    (await run('docker', ['--host', `unix://${engine.socketPath}`, ...args])).stdout.trim();
  const image = (repository: string, version: string): string =>
    `${gate.host}/${rig.instance}/${repository}:${version}`;
  const containers = async (): Promise<readonly ObservedContainer[]> => {
    const facts = await rig.engine.facts();
    if (facts.kind !== 'ok') throw new Error(facts.why);
    return facts.value.containers;
  };
  const thieves: Server[] = [];
  const handMade = new Map<string, string>();
  const handName = (name: string): string => `${rig.instance}-${name}`;

  return {
    ...{ rig, gate, names, image, handName, makeImages },
    pushed: async (repository, version) => {
      const url = `http://${gate.host}/v2/${rig.instance}/${repository}/manifests/${version}`;
      const headers = { accept: 'application/vnd.docker.distribution.manifest.v2+json' };
      await until(
        `${repository}:${version} to be pushed`,
        async () => {
          const { status } = await httpRequest({
            ...{ method: 'HEAD', url, headers, deadlineMs: 5_000, maxBytes: 100_000 },
          });
          return status === 200;
        },
        60_000,
      );
    },
    source: async (name, tags, more = '') => {
      const directory = join(rig.dir, 'src', name);
      await mkdir(directory);
      await copyFile('/bin/busybox', join(directory, 'busybox'));
      const git = (...args: string[]): Promise<unknown> =>
        run('git', ['-C', directory, '-c', 'user.name=t', '-c', 'user.email=t@example.net', ...args]);
      await git('init', '-q', '-b', 'main');
      for (const tag of tags) {
        await writeFile(join(directory, 'Dockerfile'), `${dockerfile(rig.instance, tag)}${more}\n`);
        await git('add', '-A');
        await git('commit', '-q', '-m', tag);
        await git('tag', '-a', tag, '-m', tag);
      }
    },
    byHand: async (name) =>
      void handMade.set(name, await docker('run', '-d', '--name', handName(name), BASE)),
    handMade: async (name) => {
      return (await containers()).find(({ id }) => id === handMade.get(name));
    },
    remove: async (name) => {
      const found = (await containers()).find(
        (one) => one.name === name && one.identity?.owner === rig.owner,
      );
      await docker('rm', '-f', found?.id ?? '');
      return found?.publish[0]?.host ?? 0;
    },
    takePort: async (port) => {
      const thief = createServer().listen(port, '127.0.0.1');
      await once(thief, 'listening');
      thieves.push(thief);
    },
    settingsFile: async (change = {}) => {
      const path = join(rig.dir, 'agent.toml');
      const settings = rig.settings({
        source: { urls: [rig.definitions.path], branch: 'main', poll: '* * * * * *' },
        deploy: DEPLOY,
        registries: { [gate.host]: {} },
        mcns: { driver: 'rfc2136', servers: [names.server], zones: [names.zone], key_file: names.keyFile },
        policy: { hostnames: [names.zone] },
        ...change,
      });
      // What the settings say besides the file is worked out from it again.
      const derived = new Set(['owner', 'dataDir', 'logLevel']);
      const file = JSON.parse(
        JSON.stringify(settings, (key, value: unknown) => (derived.has(key) ? undefined : value)),
      ) as Record<string, unknown>;
      await writeFile(path, stringifyToml(file));
      return path;
    },
    close: async () => {
      gate.release();
      for (const thief of thieves) thief.close();
      for (const id of handMade.values()) await docker('rm', '-f', id).catch(() => undefined);
      await rig.close();
      const left = await docker('images', '-q', `${gate.host}/${rig.instance}/*`);
      for (const id of new Set(left.split('\n').filter((line) => line !== '')))
        await docker('rmi', '-f', id).catch(() => undefined);
      await gate.close();
      await Promise.all([registry.stop(), names.stop()]);
    },
  };
}

function dockerfile(instance: string, tag: string): string {
  return `FROM ${BASE}\nARG VERSION\nCOPY busybox /bin/busybox\nLABEL of=${instance} tag=${tag}\n`;
}
