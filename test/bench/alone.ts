import { setTimeout as delay } from 'node:timers/promises';
import type Dockerode from 'dockerode';
import { pack } from 'tar-stream';
import { ask } from '../support/ask.ts';
import { freePort } from '../support/ports.ts';
import { inParallel, SERVE, timed } from './bench.ts';

/** The same work by the engine alone: nobody plans, leases, journals or routes. */
export interface Alone {
  readonly createMs: number;
  readonly startMs: number;
  /** From the start's answer to the first HTTP answer on the published port. */
  readonly answerMs: number;
}

const LOOK_EVERY_MS = 2;
const ANSWER_TIMEOUT_MS = 30_000;

/** Creates and starts one container as the agent does (same network, limits, log settings), and asks it until it answers. */
export async function runAlone(api: Dockerode, name: string, image: string, network: string): Promise<Alone> {
  const port = await freePort();
  const created = await timed(() => api.createContainer(containerOf(name, image, network, port)));
  const started = await timed(() => created.value.start());
  const answered = await timed(() => untilAnswered(port));
  return { createMs: created.ms, startMs: started.ms, answerMs: answered.ms };
}

/** Builds an image from the same files by the classic build, as the agent does. */
export async function buildAlone(
  api: Dockerode,
  tag: string,
  files: Readonly<Record<string, string>>,
): Promise<number> {
  const context = pack();
  for (const [name, text] of Object.entries(files)) context.entry({ name }, text);
  context.finalize();
  const { ms } = await timed(async () => {
    const stream = await api.buildImage(context as unknown as NodeJS.ReadableStream, {
      t: tag,
      forcerm: true,
      buildargs: { VERSION: 'v1.0.0' },
    });
    await new Promise<void>((resolve, reject) => {
      api.modem.followProgress(stream, (error) => (error === null ? resolve() : reject(error)));
    });
  });
  return ms;
}

export async function makeNetwork(api: Dockerode, name: string): Promise<void> {
  await api.createNetwork({ Name: name, Driver: 'bridge', CheckDuplicate: true });
}

/** Removes by full name; gone is as good. */
export async function removeContainers(api: Dockerode, ids: readonly string[]): Promise<void> {
  await inParallel(ids, 4, async (id) => {
    try {
      await api.getContainer(id).remove({ force: true });
    } catch (error) {
      if ((error as { statusCode?: number }).statusCode !== 404) throw error;
    }
  });
}

/** The ids of the containers of one agent. */
export async function containersOf(api: Dockerode, owner: string): Promise<string[]> {
  const found = await api.listContainers({
    all: true,
    filters: { label: [`net.metacircular.gitops.owner=${owner}`] },
  });
  return found.map(({ Id }) => Id);
}

async function untilAnswered(port: number): Promise<void> {
  const deadline = performance.now() + ANSWER_TIMEOUT_MS;
  for (;;) {
    try {
      const { status } = await ask(`http://127.0.0.1:${port}`, '/');
      if (status === 200) return;
    } catch {
      // Nobody listens yet, or the port forwarder found nobody inside.
    }
    if (performance.now() > deadline) throw new Error(`nobody answers on port ${port}`);
    await delay(LOOK_EVERY_MS);
  }
}

function containerOf(
  name: string,
  image: string,
  network: string,
  port: number,
): Dockerode.ContainerCreateOptions {
  return {
    name,
    Image: image,
    Cmd: SERVE,
    Env: [`PORT=${port}`],
    ExposedPorts: { [`${port}/tcp`]: {} },
    HostConfig: {
      PortBindings: { [`${port}/tcp`]: [{ HostIp: '127.0.0.1', HostPort: String(port) }] },
      NetworkMode: network,
      RestartPolicy: { Name: 'unless-stopped' },
      LogConfig: { Type: 'json-file', Config: { 'max-size': '10m', 'max-file': '3' } },
      SecurityOpt: ['no-new-privileges'],
    },
    NetworkingConfig: { EndpointsConfig: { [network]: { Aliases: [name] } } },
  };
}
