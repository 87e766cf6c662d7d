import { existsSync } from 'node:fs';
import { dockerdModule } from './dockerd.ts';
import { leaseEngine, type EngineLease } from './lease.ts';
import { engineVersion } from './socket.ts';

/**
 * A container engine that answers: the one that `DOCKER_HOST` names, or that listens at one of the usual sockets; as root
 * otherwise a Docker daemon of our own, in a temporary directory, that ends when the last one who holds it lets go.
 * Rejects when there is none; the message says what to do.
 */
export async function ensureEngine(log: (line: string) => void): Promise<EngineLease> {
  const running = await runningEngine();
  if (running !== undefined) {
    log(`using the container engine at ${running}`);
    return { socketPath: running, stop: () => Promise.resolve() };
  }
  if (process.getuid?.() !== 0) {
    throw new Error(
      'no container engine answers, and only root can start one: start Docker or Podman, or set DOCKER_HOST=unix://…',
    );
  }
  log('no container engine answers: starting a Docker daemon of our own in a temporary directory');
  return leaseEngine('docker', dockerdModule);
}

/** The socket of an engine that answers now: DOCKER_HOST alone when it is set, else the usual places. */
export async function runningEngine(kind?: 'docker' | 'podman'): Promise<string | undefined> {
  for (const socketPath of usualSockets()) {
    const found = existsSync(socketPath) ? await engineVersion(socketPath) : undefined;
    if (found !== undefined && (kind === undefined || found.kind === kind)) return socketPath;
  }
  return undefined;
}

function usualSockets(): string[] {
  const host = process.env['DOCKER_HOST'];
  if (host !== undefined && host !== '') {
    if (!host.startsWith('unix://')) {
      throw new Error(
        `DOCKER_HOST is ${host}: only unix:// is supported, because ports are published on loopback`,
      );
    }
    return [host.slice('unix://'.length)];
  }
  const runtime = process.env['XDG_RUNTIME_DIR'];
  return [
    '/var/run/docker.sock',
    '/run/podman/podman.sock',
    ...(runtime === undefined ? [] : [`${runtime}/podman/podman.sock`, `${runtime}/docker.sock`]),
  ];
}
