import { existsSync } from 'node:fs';
import { blocked, ok, retry, type Outcome } from '../../base/outcome.ts';

/**
 * The socket of the engine: the setting, else `DOCKER_HOST`, else the first of the usual places that exists. Only Unix
 * sockets: the agent reads the containers' `/proc` and the bind sources, so the engine is on its own machine.
 */
export function findSocket(
  setting: string | undefined,
  env: Readonly<Record<string, string | undefined>>,
): Outcome<string> {
  const named = setting ?? (env['DOCKER_HOST'] === '' ? undefined : env['DOCKER_HOST']);
  if (named !== undefined) {
    const path = named.replace(/^unix:\/\//, '');
    if (path.startsWith('/')) return ok(path);
    const from = setting === undefined ? 'DOCKER_HOST' : '[engine] socket';
    return blocked(
      `${from} is ${named.replace(/\/\/[^/@]*@/, '//•••@')}: not the path of a Unix socket`,
      'The engine must run on this machine: give the path of its socket.',
    );
  }
  const places = usualPlaces(env);
  const found = places.find((place) => existsSync(place));
  if (found !== undefined) return ok(found);
  return retry(
    `engine unreachable: no socket at ${places.join(', ')}`,
    'Start Docker or podman.socket, or set [engine] socket.',
  );
}

function usualPlaces(env: Readonly<Record<string, string | undefined>>): string[] {
  const runtime = env['XDG_RUNTIME_DIR'];
  return [
    '/var/run/docker.sock',
    '/run/podman/podman.sock',
    ...(runtime === undefined || runtime === '' ? [] : [`${runtime}/podman/podman.sock`]),
  ];
}
