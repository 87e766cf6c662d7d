import { blocked, type Outcome } from '../../base/outcome.ts';
import { withDeadline } from '../../base/deadline.ts';
import type { Log } from '../../base/log.ts';
import type { ContainerSpec, EngineFacts } from '../types.ts';
import { openApi, type Api } from './api.ts';
import {
  createNetwork,
  giveBackContainer,
  removeNetwork,
  renameContainer,
  removeContainer,
  retireContainer,
  startContainer,
  stopContainer,
  takeOverContainer,
} from './containers.ts';
import { createContainer } from './create.ts';
import { pruneBuildCache, readDisk, type EngineDisk } from './disk.ts';
import { openChecks } from './exec.ts';
import { openLingering } from './lingering.ts';
import { ours, type Site } from './lookup.ts';
import { EventStream } from './events.ts';
import { FactsReader, readIdentity, type EngineIdentity } from './facts.ts';
import { Refusal, attempt } from './failure.ts';
import { buildImage, type BuildOptions } from './build.ts';
import {
  inspectImage,
  listImages,
  pullImage,
  pushImage,
  removeImage,
  tagImage,
  type Pulled,
  type ImageDetails,
  type RegistryAuth,
} from './images.ts';
import { readableDriver, readLogs } from './logs.ts';
import { findSocket } from './socket.ts';

export interface EngineOptions {
  /** Path or `unix://` address; else `DOCKER_HOST`, else the usual places. */
  readonly socket?: string;
  /** `<node>/<instance>`: only containers with this owner are ever touched. */
  readonly owner: string;
  /** Keyed hash of a variable's value, as definitions have it. Absent: what containers are made of is not looked at. */
  readonly hash?: (value: string) => string;
  readonly callDeadlineMs: number;
  readonly log: Log;
}

/**
 * A container engine, Docker 20.10 or Podman 4.3 and later. Every call has a deadline, may be repeated, and returns an
 * outcome; what changes a container first looks whether it is ours. Builds, pulls and pushes last until their signal.
 */
export interface Engine {
  readonly kind: 'docker' | 'podman';
  readonly socketPath: string;
  /** Where the engine keeps images and containers, on its own machine. */
  readonly storageRoot: string;
  /** `replaced`: names of containers without any mark of which it is asked what they are made of. */
  facts(replaced?: readonly string[]): Promise<Outcome<EngineFacts>>;
  /** One that exists is taken as it is. */
  createNetwork(name: string): Promise<Outcome<undefined>>;
  /** Only one that carries our owner; gone is as good. */
  removeNetwork(name: string): Promise<Outcome<undefined>>;
  /** Makes container `name`, joined to its networks and not started; one of ours with the same digest is as good. */
  create(
    spec: ContainerSpec,
    specDigest: string,
    name: string,
    env: ReadonlyMap<string, string>,
  ): Promise<Outcome<{ id: string }>>;
  /** Renames `from` to `name` where that is not done, and starts it. `specDigest`: nothing else is started. */
  start(from: string, name: string, specDigest?: string): Promise<Outcome<{ id: string }>>;
  /** Ids are full ones. Gone is as good. `rename` leaves the container running. */
  rename(id: string, renameTo: string): Promise<Outcome<undefined>>;
  retire(id: string, renameTo: string, stopTimeoutS: number): Promise<Outcome<undefined>>;
  /** Like `retire`, of a container that carries nobody's mark: the one that a definition names in `replaces`. */
  takeOver(id: string, renameTo: string, stopTimeoutS: number): Promise<Outcome<undefined>>;
  /** Renames and starts one that was taken over. */
  giveBack(id: string, renameTo: string): Promise<Outcome<undefined>>;
  stop(id: string, stopTimeoutS: number): Promise<Outcome<undefined>>;
  /** `name`: what it was called when it was chosen; one that is called otherwise by now stays. */
  remove(id: string, stopTimeoutS: number, name?: string): Promise<Outcome<undefined>>;
  /** Runs a program inside a container of ours: undefined when it ended with 0, else what it did instead. */
  check(id: string, command: readonly string[], timeoutMs: number): Promise<Outcome<string | undefined>>;
  /** Calls back on anything that happened, and on a lost or new stream: it only says "look now". `images`: what is known of images may be old. */
  events(onSignal: (about: { readonly images: boolean }) => void): { close(): void };
  inspectImage(reference: string): Promise<Outcome<ImageDetails | undefined>>;
  buildImage(context: NodeJS.ReadableStream, options: BuildOptions): Promise<Outcome<{ imageId: string }>>;
  pushImage(
    reference: string,
    auth: RegistryAuth | undefined,
    signal: AbortSignal,
    onProgress: (line: string) => void,
  ): Promise<Outcome<{ manifestDigest: string }>>;
  pullImage(
    reference: string,
    auth: RegistryAuth | undefined,
    signal: AbortSignal,
    onProgress: (line: string) => void,
  ): Promise<Outcome<Pulled>>;
  tagImage(source: string, target: string): Promise<Outcome<undefined>>;
  removeImage(reference: string): Promise<Outcome<undefined>>;
  /** Tagged references that begin with `prefix`, sorted. */
  listImages(prefix: string): Promise<Outcome<string[]>>;
  /** What its things take on its disk. May take minutes. */
  disk(): Promise<Outcome<EngineDisk>>;
  /** Lets the builder forget until so many bytes are left. Podman has no such thing: it is then done. */
  pruneBuildCache(keepBytes: number): Promise<Outcome<undefined>>;
  /** The last lines of a container of ours, registered secrets masked. */
  logs(id: string, options: { readonly tail: number }): Promise<Outcome<string[]>>;
  /** The log driver of a container of ours; `blocked` when the engine cannot give its log back (L21). */
  logDriver(id: string): Promise<Outcome<string>>;
  close(): void;
}

/** Finds the engine and asks which one it is. `retry` while none answers, `blocked` when it is too old. */
export async function openEngine(options: EngineOptions): Promise<Outcome<Engine>> {
  const socket = findSocket(options.socket, process.env);
  if (socket.kind !== 'ok') return socket;
  const api = openApi(socket.value, options.callDeadlineMs);
  const identity = await attempt('ask the engine who it is', api.socketPath, async () => {
    const found = await readIdentity(api);
    refuseOld(found);
    return found;
  });
  if (identity.kind !== 'ok') {
    api.close();
    return identity;
  }
  return { kind: 'ok', value: engineOn(api, identity.value, options) };
}

function engineOn(api: Api, { kind, storageRoot }: EngineIdentity, options: EngineOptions): Engine {
  const { owner, callDeadlineMs } = options;
  const site: Site = { api, kind, owner };
  const stream = new EventStream(api, options.log);
  const facts = new FactsReader(api, owner, stream, options.hash);
  const door = <T>(what: string, work: () => Promise<T>): Promise<Outcome<T>> =>
    attempt(what, api.socketPath, work);
  const quiet = (what: string, work: () => Promise<void>): Promise<Outcome<undefined>> =>
    door(what, async () => {
      await work();
      return undefined;
    });
  const checks = openChecks(site);
  const lingering = openLingering();
  let networks: Promise<unknown> = Promise.resolve();
  const short = (id: string): string => id.slice(0, 12);

  return {
    kind,
    socketPath: api.socketPath,
    storageRoot,
    facts: (replaced) => door('look at the engine', () => facts.read(replaced)),
    createNetwork: (name) => {
      // One after the other: Docker makes two networks of one name when it is asked twice at the same time.
      const made = networks.then(() => quiet(`create network ${name}`, () => createNetwork(site, name)));
      networks = made;
      return made;
    },
    removeNetwork: (name) => quiet(`remove network ${name}`, () => removeNetwork(site, name)),
    create: (spec, specDigest, name, env) =>
      door(`create container ${name}`, () => createContainer(site, spec, specDigest, name, env)),
    start: (from, name, specDigest) =>
      door(`start container ${name}`, () => startContainer(site, from, name, specDigest)),
    rename: (id, renameTo) =>
      quiet(`rename container ${short(id)} to ${renameTo}`, () => renameContainer(site, id, renameTo)),
    retire: (id, renameTo, stopTimeoutS) =>
      quiet(`retire container ${short(id)} to ${renameTo}`, () =>
        retireContainer(site, id, renameTo, stopTimeoutS),
      ),
    takeOver: (id, renameTo, stopTimeoutS) =>
      quiet(`take over container ${short(id)} to ${renameTo}`, () =>
        takeOverContainer(site, id, renameTo, stopTimeoutS),
      ),
    giveBack: (id, renameTo) =>
      quiet(`give container ${short(id)} back as ${renameTo}`, () => giveBackContainer(site, id, renameTo)),
    stop: (id, stopTimeoutS) =>
      quiet(`stop container ${short(id)}`, () => stopContainer(site, id, stopTimeoutS)),
    remove: (id, stopTimeoutS, name) =>
      quiet(`remove container ${short(id)}`, () => removeContainer(site, id, stopTimeoutS, name)),
    check: (id, command, timeoutMs) =>
      door(`check container ${short(id)}`, () => checks.run(id, command, timeoutMs)),
    events: (onSignal) => {
      stream.start();
      // What was missed may have been of images too.
      const gap = (): void => onSignal({ images: true });
      return { close: stream.listen({ event: ({ type }) => onSignal({ images: type === 'image' }), gap }) };
    },
    inspectImage: (reference) => door(`inspect image ${reference}`, () => inspectImage(api, reference)),
    buildImage: (context, build) =>
      door(`build image ${build.reference}`, () => buildImage(api, kind, context, build, lingering)),
    pushImage: (reference, auth, signal, onProgress) =>
      door(`push image ${reference}`, () => pushImage(api, reference, auth, signal, onProgress)),
    pullImage: (reference, auth, signal, onProgress) =>
      door(`pull image ${reference}`, () => pullImage(api, reference, auth, signal, onProgress)),
    tagImage: (source, target) => quiet(`tag image ${source}`, () => tagImage(api, source, target)),
    removeImage: (reference) => quiet(`remove image ${reference}`, () => removeImage(api, kind, reference)),
    listImages: (prefix) => door('list images', () => listImages(api, prefix)),
    disk: () => door('measure the disk of the engine', () => readDisk(api, kind)),
    pruneBuildCache: (keepBytes) =>
      quiet('prune the cache of the builder', () => pruneBuildCache(api, kind, keepBytes)),
    logs: (id, { tail }) =>
      door(`read the log of container ${short(id)}`, async () => {
        if ((await ours(site, id)) === undefined)
          throw new Refusal(blocked(`container ${short(id)} is gone`));
        return withDeadline('the log', callDeadlineMs, (signal) => readLogs(api, id, tail, signal));
      }),
    logDriver: (id) => door(`look at the log driver of ${short(id)}`, () => readableDriver(site, id)),
    close: () => {
      stream.close();
      api.close();
    },
  };
}

const OLDEST = { docker: [20, 10], podman: [4, 3] } as const;

function refuseOld({ kind, version }: EngineIdentity): void {
  const [major = 0, minor = 0] = version.split('.').map(Number);
  const [oldestMajor, oldestMinor] = OLDEST[kind];
  if (major > oldestMajor || (major === oldestMajor && minor >= oldestMinor)) return;
  throw new Refusal(
    blocked(`${kind} ${version} is too old`, `At least ${kind} ${oldestMajor}.${oldestMinor} is needed.`),
  );
}
