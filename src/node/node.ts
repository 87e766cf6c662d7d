import type { Clock } from '../base/clock.ts';
import type { Log } from '../base/log.ts';
import { bug, known, ok, unknown, type Known, type Outcome } from '../base/outcome.ts';
import { openCertificates, type CertificateOptions, type Certificates } from './certs/certificates.ts';
import { openDisk, type Disk } from './disk.ts';
import type { Dns } from './dns/dns.ts';
import { openEngine, type Engine, type EngineOptions } from './engine/engine.ts';
import { openImages, type Images, type ImagesOptions } from './images/images.ts';
import { openExits } from './exits.ts';
import type { WantedImage } from './images/types.ts';
import { observeMounts } from './mounts.ts';
import { observePorts } from './ports.ts';
import { openProbes, type Probes } from './probes/probes.ts';
import { openHandshakes, type Handshakes } from './proxy/handshakes.ts';
import type { Proxy } from './proxy/proxy.ts';
import { openSole } from './sole.ts';
import type { EngineFacts, Observed, ProbeTarget } from './types.ts';

export interface NodeOptions {
  readonly engine: EngineOptions;
  readonly images: Omit<ImagesOptions, 'engine' | 'clock' | 'log' | 'onSignal'>;
  readonly proxy: Proxy;
  /** Addresses the proxy listens on: there its routes are tried. */
  readonly listeners: readonly string[];
  readonly dns: Dns;
  readonly certificates: CertificateOptions;
  /** What another agent for the same owner may say of this one. */
  readonly about: string;
  readonly clock: Clock;
  readonly log: Log;
  /** Something changed: look again. Carries no data. */
  readonly onSignal: (trigger: string) => void;
}

/** What is to be looked at, derived from the definitions. */
interface Sight {
  readonly images: readonly WantedImage[];
  /** Names of containers without any mark whose place is to be taken. Absent: none. */
  readonly replaced?: readonly string[];
  readonly mounts: readonly string[];
  readonly names: readonly string[];
  readonly certificates: readonly {
    readonly hostname: string;
    readonly service: string;
    readonly isDefault: boolean;
  }[];
}

/** Everything of the node that can be looked at and acted on. */
export interface Node {
  /** Looks at everything, every time; each part that cannot be seen is unknown with its reason. */
  observe(sight: Sight, targetsOf: (seen: Observed) => ProbeTarget[]): Promise<Observed>;
  /** The engine, once it answered; `retry` before. */
  engine(): Promise<Outcome<Engine>>;
  images(): Images | undefined;
  readonly builder: Pick<Disk, 'prune'>;
  readonly proxy: Proxy;
  readonly certificates: Certificates;
  readonly dns: Dns;
  stop(): Promise<void>;
}

/** Opens the adapters. The engine may be down: it is tried again at every look. */
export function openNode(options: NodeOptions): Node {
  const { clock, listeners, onSignal, proxy, dns } = options;
  const certificates = openCertificates(options.certificates, {
    dns,
    onChange: () => onSignal('certificate'),
    // With nothing to put, it has the listeners of the settings.
    proxyReady: () => proxy.put([]),
  });
  const handshakes = openHandshakes({ listeners, clock, onSignal: () => onSignal('handshake') });
  const probes = probesOf(options, () => engine());
  const sole = openSole({
    owner: options.engine.owner,
    about: options.about,
    onFree: () => onSignal('other agent gone'),
  });
  const exits = openExits();
  const disk = diskOf(options, () => engine());
  let opened: Opened | undefined;
  let opening: Promise<Outcome<Engine>> | undefined;

  const open = async (): Promise<Outcome<Engine>> => {
    const outcome = await openWatched(options, () => disk.changed());
    if (outcome.kind !== 'ok') return outcome;
    opened = outcome.value;
    return ok(opened.engine);
  };
  const engine = async (): Promise<Outcome<Engine>> => {
    if (opened !== undefined) return { kind: 'ok', value: opened.engine };
    opening ??= open().finally(() => (opening = undefined));
    return opening;
  };

  /** Known only to the one agent that works for this owner in it: another one plans nothing (G34). */
  const alone = async (facts: Known<EngineFacts>): Promise<Known<EngineFacts>> => {
    if (!facts.known) return facts;
    const held = await sole.hold(facts.value.id);
    return held.kind === 'ok' ? facts : unknown(held.why);
  };

  return {
    engine,
    images: () => opened?.images,
    builder: disk,
    proxy,
    certificates,
    dns,
    async observe(sight, targetsOf) {
      const at = clock.now();
      const facts = engineFacts(await engine(), sight.replaced).then(alone);
      const [engineSeen, ports, routes, mounts, certs, records, images] = await Promise.all([
        facts,
        observePorts(),
        proxy.observe(),
        observeMounts(sight.mounts),
        certificates.observe(sight.certificates),
        dns.observe(sight.names),
        opened === undefined
          ? { images: {}, pushes: {}, findings: {}, strayWork: {} }
          : opened.images.observe(sight.images),
      ]);
      const seen: Observed = {
        at,
        engine: engineSeen,
        ports,
        proxy: routes,
        mounts,
        certificates: certs,
        dns: records,
        ...handshaken(handshakes, options.engine.owner, routes, certs),
        ...imagesSeen(images),
        probes: {},
        ...(engineSeen.known ? beside(exits.seen(engineSeen.value.containers, at), disk.facts()) : {}),
      };
      return engineSeen.known ? { ...seen, probes: probes.observe(targetsOf(seen)) } : seen;
    },
    async stop() {
      opened?.events.close();
      await Promise.all([probes.stop(), opened?.images.stop(), sole.close(), certificates.stop()]);
      opened?.engine.close();
      await disk.stop();
    },
  };
}

interface Opened {
  readonly engine: Engine;
  readonly images: Images;
  readonly events: { close(): void };
}

/** The engine, its images, and a signal for whatever it tells of itself. */
async function openWatched(options: NodeOptions, onImages: () => void): Promise<Outcome<Opened>> {
  const { clock, log, onSignal } = options;
  const outcome = await openEngine(options.engine);
  if (outcome.kind !== 'ok') return outcome;
  const engine = outcome.value;
  const images = openImages({ ...options.images, engine, clock, log, onSignal: () => onSignal('image') });
  const events = engine.events((about) => {
    if (about.images) {
      images.imagesChanged();
      onImages();
    }
    onSignal('engine event');
  });
  return ok({ engine, images, events });
}

function probesOf({ clock, log, onSignal }: NodeOptions, engine: () => Promise<Outcome<Engine>>): Probes {
  return openProbes({
    clock,
    log,
    onSignal: () => onSignal('probe'),
    exec: async (id, command, timeoutMs) => {
      const outcome = await engine();
      return outcome.kind === 'ok' ? outcome.value.check(id, command, timeoutMs) : outcome;
    },
  });
}

function diskOf({ clock, log, images, onSignal }: NodeOptions, engine: () => Promise<Outcome<Engine>>): Disk {
  const minFreeBytes = images.build.minFreeBytes ?? 0;
  return openDisk({ engine, minFreeBytes, clock, log, onNews: () => onSignal('disk') });
}

/** Without anything stray, as nearly always, there is no such part. */
function imagesSeen({
  strayWork,
  ...images
}: Awaited<ReturnType<Images['observe']>>): Pick<Observed, 'images' | 'pushes' | 'findings' | 'strayWork'> {
  return Object.keys(strayWork).length === 0 ? images : { ...images, strayWork };
}

/** A node on which nothing ends, or whose disk was not measured yet, has no such parts. */
function beside(
  exits: NonNullable<Observed['exits']>,
  disk: Observed['disk'],
): Pick<Observed, 'exits' | 'disk'> {
  return {
    ...(Object.keys(exits).length === 0 ? {} : { exits }),
    ...(disk === undefined ? {} : { disk }),
  };
}

/** Our own routes that are served: whether what a client sees is what was meant. */
function handshaken(
  handshakes: Handshakes,
  owner: string,
  routes: Observed['proxy'],
  certs: Observed['certificates'],
): Pick<Observed, 'handshakes'> {
  if (!routes.known || !routes.value.live.known) return {};
  const fingerprints = Object.entries(certs).flatMap(([hostname, state]) =>
    state.kind === 'valid' ? [[hostname, state.fingerprint256] as const] : [],
  );
  const live = routes.value.live.value.filter((route) => route.mark?.startsWith(`${owner}/`) === true);
  const stale = (routes.value.stale ?? []).map(({ hostname, listenerPort }) => `${hostname}:${listenerPort}`);
  return { handshakes: handshakes.observe(live, Object.fromEntries(fingerprints), new Set(stale)) };
}

async function engineFacts(
  opened: Outcome<Engine>,
  replaced: readonly string[] | undefined,
): Promise<Known<EngineFacts>> {
  if (opened.kind !== 'ok') return unknown(opened.why);
  try {
    const facts = await opened.value.facts(replaced);
    return facts.kind === 'ok' ? known(facts.value) : unknown(facts.why);
  } catch (error) {
    return unknown(bug(error).why);
  }
}
