import { request } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';

export interface EngineVersion {
  readonly kind: 'docker' | 'podman';
  readonly version: string;
}

/** One plain call to an engine's API over its Unix socket; resolves with the parsed answer, rejects on any status from 400 on. */
export function callEngine(
  socketPath: string,
  method: string,
  path: string,
  timeoutMs = 30_000,
): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const call = request({ socketPath, method, path, timeout: timeoutMs }, (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.on('error', reject);
      response.on('end', () => {
        const text = Buffer.concat(chunks).toString('utf8');
        const status = response.statusCode ?? 0;
        if (status >= 400) reject(new Error(`${method} ${path} answered ${status}: ${text.slice(0, 300)}`));
        else resolve(parsed(text));
      });
    });
    call.on('timeout', () =>
      call.destroy(new Error(`${method} ${path} did not answer within ${timeoutMs} ms`)),
    );
    call.on('error', reject);
    call.end();
  });
}

/** Which engine answers on a socket; undefined when none does. */
export async function engineVersion(
  socketPath: string,
  timeoutMs = 3_000,
): Promise<EngineVersion | undefined> {
  try {
    const answer = (await callEngine(socketPath, 'GET', '/version', timeoutMs)) as {
      Version?: string;
      Components?: { Name?: string }[];
    };
    const podman = answer.Components?.some((part) => part.Name?.startsWith('Podman')) ?? false;
    return { kind: podman ? 'podman' : 'docker', version: answer.Version ?? 'unknown' };
  } catch {
    return undefined;
  }
}

/** Waits until an engine answers; rejects after `timeoutMs`, or at once with what `ended` says when its program ends. */
export async function awaitEngine(
  socketPath: string,
  timeoutMs: number,
  ended: Promise<string>,
): Promise<void> {
  const started = performance.now();
  let why: string | undefined;
  void ended.then((text) => {
    why = text;
  });
  while ((await engineVersion(socketPath)) === undefined) {
    if (why !== undefined) throw new Error(why);
    if (performance.now() - started > timeoutMs) {
      throw new Error(`the engine did not answer within ${timeoutMs} ms`);
    }
    await delay(25);
  }
}

/** Removes every container and every network of its own from an engine that is ours alone, so that it can end at once. */
export async function emptyEngine(socketPath: string): Promise<void> {
  const containers = (await callEngine(socketPath, 'GET', '/containers/json?all=1')) as { Id: string }[];
  await Promise.all(
    containers.map(({ Id }) => quietly(callEngine(socketPath, 'DELETE', `/containers/${Id}?force=1&v=1`))),
  );
  const networks = (await callEngine(socketPath, 'GET', '/networks')) as { Id: string; Name: string }[];
  for (const { Id, Name } of networks) {
    if (!['bridge', 'host', 'none', 'podman'].includes(Name)) {
      await quietly(callEngine(socketPath, 'DELETE', `/networks/${Id}`));
    }
  }
}

async function quietly(work: Promise<unknown>): Promise<void> {
  // What cannot be removed politely is ended with the engine's directory.
  await work.catch(() => undefined);
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}
