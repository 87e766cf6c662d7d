import { blocked } from '../../base/outcome.ts';
import { LABEL_PREFIX, LABELS } from '../types.ts';
import type { Api } from './api.ts';
import { EngineError, Refusal, isMissing } from './failure.ts';
import { nameOf, type Inspection } from './inspect.ts';

/** Where containers are made: the engine, which one it is, and whose containers are ours. */
export interface Site {
  readonly api: Api;
  readonly kind: 'docker' | 'podman';
  readonly owner: string;
}

/** The container with exactly this id, when it is ours; undefined when it is gone, refused when it is foreign. */
export async function ours(site: Site, id: string): Promise<Inspection | undefined> {
  const seen = await inspect(site.api, id);
  if (seen === undefined || seen.Id !== id) return undefined;
  refuseForeign(site, seen, 'will not be touched');
  return seen;
}

/** The container with exactly this id, when it carries the mark of no agent at all; refused when it does. */
export async function unmarked(site: Site, id: string): Promise<Inspection | undefined> {
  const seen = await inspect(site.api, id);
  if (seen === undefined || seen.Id !== id) return undefined;
  const isMarked = Object.keys(seen.Config.Labels ?? {}).some((name) => name.startsWith(LABEL_PREFIX));
  if (isMarked)
    throw new Refusal(
      blocked(
        `container ${nameOf(seen.Name)} (${id.slice(0, 12)}) belongs to an agent and will not be taken over`,
        'Name a container in `replaces` that was started by hand.',
      ),
    );
  return seen;
}

/** Engines also take the beginning of an id for a name: a service called `cafe` must not meet container cafe81…. */
export async function inspectByName(api: Api, name: string): Promise<Inspection | undefined> {
  const seen = await inspect(api, name);
  return seen !== undefined && nameOf(seen.Name) === name ? seen : undefined;
}

export async function inspect(api: Api, idOrName: string): Promise<Inspection | undefined> {
  try {
    return await api.call<Inspection>(
      `inspect ${idOrName.slice(0, 40)}`,
      'GET',
      `${containerPath(idOrName)}/json`,
    );
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
}

export async function rename(site: Site, id: string, name: string): Promise<void> {
  const path = `${containerPath(id)}/rename`;
  try {
    await site.api.call(`rename container to ${name}`, 'POST', path, { query: { name } });
  } catch (error) {
    const holder = await inspectByName(site.api, name);
    if (holder?.Id === id) return;
    if (holder !== undefined) refuseForeign(site, holder, `holds the name ${name}`);
    throw error;
  }
}

export async function networkExists(api: Api, name: string): Promise<boolean> {
  try {
    const network = await api.call<{ Name?: string }>(
      `inspect network ${name}`,
      'GET',
      `/networks/${encodeURIComponent(name)}`,
    );
    return network.Name === name;
  } catch (error) {
    if (isMissing(error)) return false;
    throw error;
  }
}

export function refuseForeign(site: Site, seen: Inspection, what: string): void {
  const owner = seen.Config.Labels?.[LABELS.owner];
  if (owner === site.owner) return;
  const name = nameOf(seen.Name);
  throw new Refusal(
    blocked(
      `the foreign container ${name} (${seen.Id.slice(0, 12)}, owner ${owner ?? 'none'}) ${what}`,
      `It is not ours and stays as it is: rename or remove it (docker rename ${name} …), or name it in \`replaces\`.`,
    ),
  );
}

export function containerPath(id: string): string {
  return `/containers/${encodeURIComponent(id)}`;
}

export function unlessGone(error: unknown): void {
  if (isMissing(error)) return;
  if (error instanceof EngineError && /removal of container .* already in progress/i.test(error.message))
    return;
  throw error;
}
