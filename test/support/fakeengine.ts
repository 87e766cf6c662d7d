import { createHash } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { createServer as createTcpServer, type Server as TcpServer } from 'node:net';
import { send, spoil, type Answer } from './spoiled.ts';
import type { CallFault } from './simulation/faults.ts';

/**
 * A Docker Engine API 1.41 in memory, on a Unix socket: for faults that a real engine cannot be made to show. It promises
 * what the engine adapter asks of Docker, with Docker's statuses and words: containers are created once a name (409), renamed,
 * started (500 when another one runs on their port), stopped (304 when they do not run) and removed (409 while they run, without
 * force), listed and inspected with their labels, networks and mounts; networks are made, joined and removed; images are there or
 * are not; they are tagged, untagged and listed; a container has a log of two lines. What is published listens on its port, and accepts for nobody (L17). It runs no process: what is started runs until
 * it is stopped, and exits well. The stream of events is open and silent.
 */
export interface FakeEngine {
  readonly socketPath: string;
  /** Requests so far, without those for events. */
  calls(): number;
  /** The same as `GET /containers/json`, since this was asked last. */
  requests(): string[];
  /** The request after `skip` more of them fails so, once or from then on; undefined: none does. */
  fail(fault: CallFault | undefined, skip?: number, isLasting?: boolean): void;
  /** Requests like this (`POST /containers/…/start`) are never answered from now on; undefined: all are again. */
  hold(requests: RegExp | undefined): void;
  /** The connections of those that were never answered are cut. */
  drop(): void;
  /** How often a fault was answered. */
  fired(): number;
  /** Everything it holds, without ids and times. */
  shape(): string;
  /** Its images stay. */
  reset(): void;
  forgetImages(): void;
  addImage(reference: string): void;
  /** A container that somebody started: it carries no label at all. */
  addByHand(name: string, image: string): void;
  close(): Promise<void>;
}

interface Container {
  readonly id: string;
  name: string;
  status: 'created' | 'running' | 'exited';
  startedAt: string;
  finishedAt: string;
  readonly body: CreateBody;
  readonly networks: Record<string, { Aliases: readonly string[] }>;
  forwarders: TcpServer[];
}

interface CreateBody {
  readonly Image: string;
  readonly Labels: Record<string, string>;
  readonly Env: readonly string[];
  readonly Cmd?: readonly string[];
  readonly Entrypoint?: readonly string[];
  readonly User?: string;
  readonly StopSignal?: string;
  readonly HostConfig: {
    readonly PortBindings: Record<string, readonly { HostIp: string; HostPort: string }[]>;
    readonly Mounts: readonly { Type: string; Source: string; Target: string; ReadOnly: boolean }[];
    readonly NetworkMode: string;
    readonly [key: string]: unknown;
  };
  readonly NetworkingConfig?: { readonly EndpointsConfig: Record<string, { Aliases: readonly string[] }> };
}

const NEVER = '0001-01-01T00:00:00Z';

export interface FakeOptions {
  /** Behind each published port somebody answers HTTP, as a service that works. */
  readonly answers?: boolean;
}

export async function startFakeEngine(
  socketPath: string,
  { answers = false }: FakeOptions = {},
): Promise<FakeEngine> {
  let containers: Container[] = [];
  let networks: { Name: string; Id: string; Labels: Record<string, string> }[] = [];
  const images = new Set<string>();
  let count = 0;
  let asked: string[] = [];
  let fired = 0;
  let made = 0;
  let held: RegExp | undefined;
  let unanswered: ServerResponse[] = [];
  let fault: { readonly kind: CallFault; readonly at: number; readonly isLasting: boolean } | undefined;

  const find = (key: string): Container | undefined =>
    containers.find(({ id, name }) => id === key || name === key || id.startsWith(key));
  const missing = (what: string): Answer => [404, { message: `No such ${what}` }];

  const onContainer = (method: string, id: string, action: string, query: URLSearchParams): Answer => {
    const container = find(id);
    if (container === undefined) return missing(`container: ${id}`);
    if (method === 'DELETE') {
      if (container.status === 'running' && query.get('force') !== 'true' && query.get('force') !== '1')
        return [409, { message: 'You cannot remove a running container' }];
      end(container);
      containers = containers.filter((one) => one !== container);
      return [204];
    }
    if (action === 'json') return [200, inspectionOf(container)];
    if (action === 'logs') return [200, 'one line\nanother\n'];
    if (action === 'rename') {
      const name = query.get('name') ?? '';
      if (containers.some((one) => one.name === name))
        return [409, { message: `Conflict. The container name "/${name}" is already in use by container` }];
      container.name = name;
      return [204];
    }
    if (action === 'stop') {
      if (container.status !== 'running') return [304];
      end(container);
      return [204];
    }
    if (action !== 'start') return missing(`page: ${action}`);
    if (container.status === 'running') return [304];
    const taken = portsOf(container).find((port) =>
      containers.some((one) => one.status === 'running' && portsOf(one).includes(port)),
    );
    if (taken !== undefined)
      return [500, { message: `Bind for 127.0.0.1:${taken} failed: port is already allocated` }];
    container.status = 'running';
    container.startedAt = new Date().toISOString();
    container.finishedAt = NEVER;
    // As a real engine's forwarder: it takes every connection, also when nobody listens inside (L17).
    container.forwarders = portsOf(container).map((port) =>
      (answers
        ? createServer((_request, response) => response.end('here'))
        : createTcpServer((socket) => socket.on('error', () => undefined))
      ).listen(Number(port), '127.0.0.1'),
    );
    return [204];
  };

  const create = (name: string, body: CreateBody): Answer => {
    if (!images.has(body.Image)) return missing(`image: ${body.Image}`);
    if (containers.some((one) => one.name === name))
      return [409, { message: `Conflict. The container name "/${name}" is already in use by container` }];
    const id = createHash('sha256')
      .update(String((made += 1)))
      .digest('hex');
    const first = body.NetworkingConfig?.EndpointsConfig ?? {};
    containers.push({
      ...{ id, name, body, status: 'created', startedAt: NEVER, finishedAt: NEVER, forwarders: [] },
      networks: { ...first },
    });
    return [201, { Id: id, Warnings: [] }];
  };

  const onNetwork = (method: string, name: string, action: string, body: unknown): Answer => {
    const network = networks.find((one) => one.Name === name);
    if (network === undefined) return missing(`network: ${name}`);
    if (method === 'DELETE') {
      networks = networks.filter((one) => one !== network);
      return [204];
    }
    if (action === 'connect') {
      const { Container: id, EndpointConfig } = body as {
        Container: string;
        EndpointConfig: { Aliases: readonly string[] };
      };
      const container = find(id);
      if (container === undefined) return missing(`container: ${id}`);
      container.networks[name] = EndpointConfig;
      return [200];
    }
    return [200, network];
  };

  const onImage = (method: string, path: string, query: URLSearchParams): Answer => {
    if (path === 'json') return [200, [...images].map((tag) => ({ Id: imageIdOf(tag), RepoTags: [tag] }))];
    const reference = decodeURIComponent(path.replace(/\/(json|tag)$/, ''));
    if (!images.has(reference)) return missing(`image: ${reference}`);
    if (method === 'DELETE') {
      images.delete(reference);
      return [200, [{ Untagged: reference }]];
    }
    if (method === 'GET') return [200, { Id: imageIdOf(reference), Config: {} }];
    images.add(`${query.get('repo') ?? ''}:${query.get('tag') ?? ''}`);
    return [201];
  };

  const answer = (method: string, path: string, query: URLSearchParams, body: unknown): Answer => {
    const [room = '', id = '', action = ''] = path.split('/').slice(1).map(decodeURIComponent);
    if (room === 'version') return [200, { Version: '27.0.0', Components: [{ Name: 'Engine' }] }];
    if (room === 'info') return [200, { ID: 'fake', DockerRootDir: '/var/lib/fake' }];
    if (room === 'containers' && id === 'json') return [200, containers.map(listedOf)];
    if (room === 'containers' && id === 'create') return create(query.get('name') ?? '', body as CreateBody);
    if (room === 'containers') return onContainer(method, id, action, query);
    if (room === 'networks' && id === '') return [200, networks];
    if (room === 'networks' && id === 'create') {
      const { Name, Labels } = body as { Name: string; Labels: Record<string, string> };
      networks.push({ Name, Id: Name, Labels });
      return [201, { Id: Name }];
    }
    if (room === 'networks') return onNetwork(method, id, action, body);
    if (room === 'volumes') return [201, {}];
    if (room === 'images') return onImage(method, path.slice('/images/'.length), query);
    return missing(`page: ${path}`);
  };

  const serve = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const url = new URL(request.url ?? '/', 'http://engine');
    const path = url.pathname.replace(/^\/v\d[\d.]*/, '');
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const text = Buffer.concat(chunks).toString();
    const body: unknown = text === '' ? {} : JSON.parse(text);
    if (path === '/events') {
      response.writeHead(200).flushHeaders();
      return;
    }
    count += 1;
    asked.push(`${request.method} ${path}`);
    if (held?.test(`${request.method} ${path}`) === true) {
      unanswered.push(response);
      return;
    }
    const strikes = fault !== undefined && (fault.isLasting ? count >= fault.at : count === fault.at);
    const act = (): Answer => answer(request.method ?? 'GET', path, url.searchParams, body);
    if (!strikes || fault === undefined) {
      send(response, act());
      return;
    }
    fired += 1;
    spoil(fault.kind, response, act, request.method === 'GET');
  };

  const server = createServer((request, response) => {
    serve(request, response).catch(() => response.destroy());
  });
  await new Promise<void>((resolve) => server.listen(socketPath, resolve));
  return {
    socketPath,
    calls: () => count,
    requests: () => {
      const since = asked;
      asked = [];
      return since;
    },
    hold: (requests) => void (held = requests),
    drop: () => {
      for (const response of unanswered) response.destroy();
      unanswered = [];
    },
    fired: () => fired,
    fail: (kind, skip = 0, isLasting = false) => {
      fired = 0;
      fault = kind === undefined ? undefined : { kind, at: count + skip + 1, isLasting };
    },
    shape: () =>
      JSON.stringify([
        containers.map(({ name, status, networks: joined }) => [name, status, Object.keys(joined)]).sort(),
        networks.map(({ Name }) => Name).sort(),
        [...images].sort(),
      ]),
    reset: () => {
      containers.forEach(end);
      containers = [];
      networks = [];
    },
    forgetImages: () => images.clear(),
    addImage: (reference) => void images.add(reference),
    addByHand: (name, image) => {
      const body = {
        ...{ Image: image, Labels: {}, Env: [] },
        HostConfig: { PortBindings: {}, Mounts: [], NetworkMode: 'bridge' },
      };
      create(name, body);
      onContainer('POST', name, 'start', new URLSearchParams());
    },
    close: async () => {
      containers.forEach(end);
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

function end(container: Container): void {
  if (container.status === 'running') {
    container.status = 'exited';
    container.finishedAt = new Date().toISOString();
  }
  for (const forwarder of container.forwarders.splice(0)) forwarder.close();
}

function portsOf({ body }: Container): string[] {
  return Object.values(body.HostConfig.PortBindings).flatMap((bindings) =>
    bindings.map(({ HostPort }) => HostPort),
  );
}

function imageIdOf(reference: string): string {
  return `sha256:${createHash('sha256').update(reference).digest('hex')}`;
}

function listedOf({ id, name, status, body }: Container): object {
  return {
    ...{ Id: id, Names: [`/${name}`], Image: body.Image, ImageID: imageIdOf(body.Image), State: status },
    ...{ Labels: body.Labels, Ports: [] },
  };
}

function inspectionOf({ id, name, status, startedAt, finishedAt, body, networks }: Container): object {
  const { Image, Labels, Env, HostConfig } = body;
  return {
    ...{ Id: id, Name: `/${name}`, Image: imageIdOf(Image), RestartCount: 0, HostConfig },
    State: {
      ...{ Status: status, Running: status === 'running', ExitCode: 0, Error: '', StartedAt: startedAt },
      ...{ FinishedAt: finishedAt, Pid: status === 'running' ? 1 : 0 },
    },
    Config: {
      ...{ Image, Labels, Env, User: body.User ?? '', Cmd: body.Cmd ?? null },
      ...{ Entrypoint: body.Entrypoint ?? null, StopSignal: body.StopSignal ?? '' },
    },
    Mounts: HostConfig.Mounts.map(({ Type, Source, Target, ReadOnly }) => ({
      ...{ Type, Source, Name: Source, Destination: Target, RW: !ReadOnly },
    })),
    NetworkSettings: { Networks: networks },
  };
}
