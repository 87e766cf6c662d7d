import { createHash } from 'node:crypto';
import { createServer, ServerResponse, type IncomingMessage } from 'node:http';
import { createServer as createTcpServer, Socket, type Server as TcpServer } from 'node:net';
import type { Duplex } from 'node:stream';
import { imageIdOf, openFakeStore } from './fakestore.ts';
import { send, spoil, type Answer } from './spoiled.ts';
import type { CallFault } from './simulation/faults.ts';

/**
 * A Docker Engine API 1.41 in memory, on a Unix socket: for faults that a real engine cannot be made to show. It promises
 * what the engine adapter asks of Docker, with Docker's statuses and words: containers are created once a name (409), renamed,
 * started (500 when another one runs on their port), stopped (304 when they do not run) and removed (409 while they run, without
 * force), listed and inspected with their labels, networks and mounts; networks are made, joined and removed; its images are a
 * `FakeStore`; a container has a log of two lines, and what is run inside one ends well at once. What is published listens on its port, and accepts for nobody (L17). It runs no process: what is started runs until
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
  /** How many programs have run inside containers. */
  checked(): number;
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

const SESSION = 'HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n';
const NEVER = '0001-01-01T00:00:00Z';

export interface FakeOptions {
  /** Behind each published port somebody answers HTTP, as a service that works. */
  readonly answers?: boolean;
  /** It tells what lies on its disk; else it does not know the question, and nobody looks at each container for its log. */
  readonly isMeasured?: boolean;
}

export async function startFakeEngine(
  socketPath: string,
  { answers = false, isMeasured = false }: FakeOptions = {},
): Promise<FakeEngine> {
  let containers: Container[] = [];
  let networks: { Name: string; Id: string; Labels: Record<string, string> }[] = [];
  const images = openFakeStore();
  const checks = new Map<string, { isDone: boolean }>();
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
    if (action === 'exec') {
      checks.set(`check${checks.size}`, { isDone: false });
      return [201, { Id: `check${checks.size - 1}` }];
    }
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

  const onCheck = (id: string, action: string): Answer => {
    const check = checks.get(id);
    if (check === undefined) return missing(`exec instance: ${id}`);
    if (action === 'json') return [200, { Running: false, ExitCode: check.isDone ? 0 : null }];
    check.isDone = true;
    return [200, 'said\n'];
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
    if (room === 'exec') return onCheck(id, action);
    if (room === 'system' && !isMeasured) return missing(`page: ${path}`);
    return images.answer(method, path, query) ?? missing(`page: ${path}`);
  };

  /** Does what is asked, or fails as told; `done` sends what comes of it. */
  const meet = (
    request: IncomingMessage,
    response: ServerResponse,
    act: () => Answer,
    done: (answer: Answer) => void,
  ): void => {
    count += 1;
    const strikes = fault !== undefined && (fault.isLasting ? count >= fault.at : count === fault.at);
    if (!strikes || fault === undefined) {
      done(act());
      return;
    }
    fired += 1;
    spoil(fault.kind, response, act, request.method === 'GET', accountIn(request));
  };

  const serve = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const url = new URL(request.url ?? '/', 'http://engine');
    const path = url.pathname.replace(/^\/v\d[\d.]*/, '');
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const text = Buffer.concat(chunks).toString();
    // A build context is no JSON.
    const isJson = request.headers['content-type'] === 'application/json';
    const body: unknown = isJson && text !== '' ? JSON.parse(text) : {};
    if (path === '/events') {
      response.writeHead(200).flushHeaders();
      return;
    }
    asked.push(`${request.method} ${path}`);
    if (held?.test(`${request.method} ${path}`) === true) {
      count += 1;
      unanswered.push(response);
      return;
    }
    const act = (): Answer => answer(request.method ?? 'GET', path, url.searchParams, body);
    meet(request, response, act, (said) => send(response, said));
  };

  const server = createServer((request, response) => {
    serve(request, response).catch(() => response.destroy());
  });
  // A session of the builder: it is opened, and nothing is asked over it.
  const sessions = new Set<Duplex>();
  server.on('upgrade', (request, socket) => {
    sessions.add(socket.on('error', () => undefined).on('close', () => sessions.delete(socket)));
    const response = new ServerResponse(request);
    if (socket instanceof Socket) response.assignSocket(socket);
    meet(
      request,
      response,
      () => [101],
      () => socket.write(SESSION),
    );
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
    checked: () => [...checks.values()].filter(({ isDone }) => isDone).length,
    fail: (kind, skip = 0, isLasting = false) => {
      fired = 0;
      fault = kind === undefined ? undefined : { kind, at: count + skip + 1, isLasting };
    },
    shape: () =>
      JSON.stringify([
        containers.map(({ name, status, networks: joined }) => [name, status, Object.keys(joined)]).sort(),
        networks.map(({ Name }) => Name).sort(),
        images.shape(),
      ]),
    reset: () => {
      containers.forEach(end);
      containers = [];
      networks = [];
      checks.clear();
    },
    forgetImages: () => images.forget(),
    addImage: (reference) => images.add(reference),
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
      for (const socket of sessions) socket.destroy();
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

/** What the account of a registry comes as, written out. */
function accountIn({ headers }: IncomingMessage): string {
  const sent = headers['x-registry-auth'] ?? headers['x-registry-config'];
  return typeof sent === 'string' ? ` for ${Buffer.from(sent, 'base64url').toString()}` : '';
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
