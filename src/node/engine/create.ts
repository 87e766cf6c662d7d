import { blocked, retry } from '../../base/outcome.ts';
import { LABELS, type ContainerSpec } from '../types.ts';
import { imagePath } from './api.ts';
import { differences } from './differences.ts';
import { EngineError, Refusal, isMissing } from './failure.ts';
import { imageIdOf, type Inspection } from './inspect.ts';
import { containerPath, inspect, inspectByName, networkExists, refuseForeign, type Site } from './lookup.ts';
import { engineReference } from './reference.ts';
import { containerInput, dockerRequest, networksOf, podmanRequest, type ContainerInput } from './request.ts';
import { coveredError, wordsOf } from './words.ts';

/** Makes the container if it is not there yet, joined to all its networks and not started. */
export async function createContainer(
  site: Site,
  spec: ContainerSpec,
  specDigest: string,
  name: string,
  env: ReadonlyMap<string, string>,
): Promise<{ id: string }> {
  if (spec.owner !== site.owner) {
    throw new Refusal(blocked(`container ${name}: its owner ${spec.owner} is not ours (${site.owner})`));
  }
  const made = containerInput(name, spec, specDigest, env);
  if (made.kind !== 'ok') throw new Refusal(made);
  const input = made.value;
  const imageId = await imageIdFor(site, spec);
  const there = await inspectByName(site.api, name);
  if (there !== undefined) {
    const whole = await adopt(site, input, imageId, there);
    if (whole) return { id: there.Id };
  }
  await prepare(site, spec);
  const id = await create(site, input);
  try {
    await joinFurtherNetworks(site, input, id);
    const wrong = differences(input, imageId, await inspectForReadBack(site, id), site.kind);
    if (wrong.length === 0) return { id };
    throw new Refusal(
      blocked(
        `container ${name} is not what was ordered: ${wrong.join(', ')} (it was removed again)`,
        wrong.some((what) => what.endsWith(' limit'))
          ? 'The engine may not limit: a rootless one needs cgroups of version 2, delegated to its user (systemd: Delegate=yes). Or leave [components.resources] out.'
          : 'The engine changed or ignored a part of the request: compare with `mc-gitops render`, and report it.',
      ),
    );
  } catch (error) {
    // A removal that fails too does not hide why: `create` finds the half-made container again.
    await site.api
      .call(`remove ${name}`, 'DELETE', containerPath(id), { query: { force: true } })
      .catch(() => undefined);
    throw error;
  }
}

/** Takes a container that is there under the wanted name: true when it is whole, false when half-made and removed. */
async function adopt(
  site: Site,
  input: ContainerInput,
  imageId: string,
  there: Inspection,
): Promise<boolean> {
  const { name } = input;
  refuseForeign(site, there, `holds the name ${name}`);
  const digest = there.Config.Labels?.[LABELS.spec];
  if (digest !== input.labels[LABELS.spec]) {
    throw new Refusal(
      blocked(
        `container ${name} is there already, made from another specification (${(digest ?? 'none').slice(0, 12)})`,
        'The next pass removes it when no record needs it.',
      ),
    );
  }
  if (there.State.Status !== 'created') return true;
  await joinFurtherNetworks(site, input, there.Id);
  const wrong = differences(input, imageId, await inspectForReadBack(site, there.Id), site.kind);
  if (wrong.length === 0) return true;
  await site.api.call(`remove ${name}`, 'DELETE', containerPath(there.Id), { query: { force: true } });
  return false;
}

async function imageIdFor(site: Site, spec: ContainerSpec): Promise<string> {
  try {
    const path = `/images/${imagePath(engineReference(spec.image))}/json`;
    const image = await site.api.call<{ Id: string }>(`inspect image ${spec.image}`, 'GET', path);
    return imageIdOf(image.Id);
  } catch (error) {
    if (!isMissing(error)) throw error;
    throw new Refusal(retry(`image ${spec.image} is not on this engine`, 'It is pulled or built first.'));
  }
}

/** Networks must be there (Docker would find out at the start only); named volumes are made. */
async function prepare({ api, owner }: Site, spec: ContainerSpec): Promise<void> {
  for (const { name } of networksOf(spec)) {
    if (await networkExists(api, name)) continue;
    throw new Refusal(retry(`network ${name} for container ${spec.name} is not there`, 'It is made first.'));
  }
  for (const mount of spec.mounts) {
    if (mount.kind !== 'volume') continue;
    const body = { Name: mount.volume, Labels: { [LABELS.owner]: owner } };
    await api.call(`create volume ${mount.volume}`, 'POST', '/volumes/create', { body });
  }
}

async function create(site: Site, input: ContainerInput): Promise<string> {
  const { api } = site;
  const what = `create container ${input.name}`;
  const spec = { ...input.spec, image: engineReference(input.spec.image) };
  try {
    const made =
      site.kind === 'docker'
        ? await api.call<{ Id: string }>(what, 'POST', '/containers/create', {
            query: { name: input.name },
            body: dockerRequest({ ...input, spec }),
          })
        : await api.call<{ Id: string }>(what, 'POST', `${LIBPOD}/containers/create`, {
            body: podmanRequest({ ...input, spec }),
          });
    return made.Id;
  } catch (error) {
    if (!(error instanceof EngineError)) throw error;
    if (/name .*already in use/i.test(error.message)) {
      const holder = await inspectByName(api, input.name);
      if (holder !== undefined) refuseForeign(site, holder, `holds the name ${input.name}`);
    }
    throw coveredError(error, wordsOf(spec, input.env));
  }
}

export const LIBPOD = '/v4.0.0/libpod';

/** Docker joins one network at creation (several only from API 1.44 on); Podman was told all. */
async function joinFurtherNetworks(site: Site, input: ContainerInput, id: string): Promise<void> {
  if (site.kind === 'podman') return;
  const further = networksOf(input.spec).slice(1);
  if (further.length === 0) return;
  const joined = (await inspect(site.api, id))?.NetworkSettings?.Networks ?? {};
  for (const { name, aliases } of further) {
    if (joined[name] !== undefined) continue;
    const path = `/networks/${encodeURIComponent(name)}/connect`;
    const body = { Container: id, EndpointConfig: { Aliases: aliases } };
    await site.api.call(`connect ${input.name} to ${name}`, 'POST', path, { body });
  }
}

/** Podman's compatible inspection always says `json-file`; its own one tells the truth about the log. */
async function inspectForReadBack(site: Site, id: string): Promise<Inspection> {
  const path = `${site.kind === 'podman' ? LIBPOD : ''}${containerPath(id)}/json`;
  return site.api.call<Inspection>(`read back container ${id.slice(0, 12)}`, 'GET', path);
}
