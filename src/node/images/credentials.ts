import { readFile } from 'node:fs/promises';
import { blocked, messageOf, ok, type Outcome } from '../../base/outcome.ts';
import { Secret } from '../../base/secret.ts';
import { v } from '../../base/shape.ts';

export interface Credentials {
  readonly username: string;
  readonly password: Secret;
}

const shape = v.object({ username: v.string(), password: v.string() });
const dockerShape = v.object({ auths: v.record(v.string(), v.object({ auth: v.string() })) });

/**
 * Reads a registry's credentials: `user:password` on one line, `{"username", "password"}`, or the engine's own
 * `{"auths": {"<host>": {"auth": "<base64>"}}}`. Read at each use, so that a new password needs no restart.
 */
export async function readCredentials(path: string, host: string): Promise<Outcome<Credentials>> {
  let text: string;
  try {
    text = (await readFile(path, 'utf8')).trim();
  } catch (error) {
    return blocked(
      `the credentials file ${path} of registry ${host} cannot be read: ${messageOf(error)}`,
      `Write "user:password" into ${path}, readable by the agent's user (mode 0600).`,
    );
  }
  const pair = text.startsWith('{') ? fromJson(text, host) : text.split(/\r?\n/, 1)[0];
  const colon = pair?.indexOf(':') ?? -1;
  if (pair === undefined || colon <= 0) {
    return blocked(
      `the credentials file ${path} of registry ${host} has no user and password`,
      `Write one line "user:password", or JSON {"username": "…", "password": "…"}, into ${path}.`,
    );
  }
  return ok({
    username: pair.slice(0, colon),
    password: new Secret(pair.slice(colon + 1)),
  });
}

/** The value of an `Authorization: Basic` header (RFC 7617). */
export function basicAuth(credentials: Credentials): Secret {
  const pair = new Secret(`${credentials.username}:${credentials.password.reveal()}`);
  return new Secret(`Basic ${Buffer.from(pair.reveal()).toString('base64')}`);
}

function fromJson(text: string, host: string): string | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  const plain = v.safeParse(shape, value);
  if (plain.success) return `${plain.output.username}:${plain.output.password}`;
  const docker = v.safeParse(dockerShape, value);
  const entry =
    docker.success && Object.hasOwn(docker.output.auths, host) ? docker.output.auths[host] : undefined;
  return entry === undefined ? undefined : Buffer.from(entry.auth, 'base64').toString('utf8');
}
