import { retry, wait } from '../../base/outcome.ts';
import { LABELS } from '../types.ts';
import type { Api } from './api.ts';
import { EngineError, Refusal } from './failure.ts';
import { listedName, nameOf, type Inspection, type Listed } from './inspect.ts';
import {
  containerPath,
  inspect,
  inspectByName,
  networkExists,
  ours,
  refuseForeign,
  rename,
  unlessGone,
  unmarked,
  type Site,
} from './lookup.ts';
import { coveredError, covering, wordsIn } from './words.ts';

/**
 * Gives the container its final name and starts it; resolves when the engine shows it running. One that somebody removes
 * meanwhile is no failure of its start, for which the next try would have to wait: the next look misses it, and it is made again.
 */
export async function startContainer(
  site: Site,
  from: string,
  name: string,
  specDigest?: string,
): Promise<{ id: string }> {
  const seen = await renameIfNeeded(site, from, name, specDigest);
  if (!seen.State.Running) {
    try {
      await site.api.call(`start ${name}`, 'POST', `${containerPath(seen.Id)}/start`);
    } catch (error) {
      const left = await inspect(site.api, seen.Id).catch(() => seen);
      throw left === undefined || isGoing(left)
        ? goneWhile(name)
        : coveredError(await withPortHolder(site.api, name, error), wordsIn(seen.Config));
    }
  }
  const after = await inspect(site.api, seen.Id);
  if (after === undefined || isGoing(after)) throw goneWhile(name);
  if (after.State.Running && after.State.Status !== 'restarting') return { id: seen.Id };
  throw new Refusal(
    retry(
      `container ${name} ended at once with exit code ${after.State.ExitCode ?? 'unknown'}`,
      `Read its log: the dashboard, or mc-gitops logs ${logsOf(after)}.`,
    ),
  );
}

function isGoing({ State }: Inspection): boolean {
  return State.Status === 'removing';
}

function goneWhile(name: string): Refusal {
  return new Refusal(wait(`container ${name} was removed while it was started`, MADE_AGAIN));
}

const MADE_AGAIN = 'The next pass makes it again.';

/** What `mc-gitops logs` is asked for the log of a container of ours. */
function logsOf({ Config: { Labels } }: Inspection): string {
  return `${Labels?.[LABELS.service] ?? ''}/${Labels?.[LABELS.component] ?? ''}`;
}

/** Gives a container another name, whether it runs or not; one that is gone is as good. */
export async function renameContainer(site: Site, id: string, renameTo: string): Promise<void> {
  const seen = await ours(site, id);
  if (seen === undefined) return;
  if (nameOf(seen.Name) !== renameTo) await rename(site, id, renameTo);
  await readBack(site, id, { name: renameTo });
}

/** Stops and renames; a container that is gone is as good. */
export async function retireContainer(
  site: Site,
  id: string,
  renameTo: string,
  stopTimeoutS: number,
): Promise<void> {
  const seen = await ours(site, id);
  if (seen === undefined) return;
  await stopSeen(site, seen, stopTimeoutS);
  if (nameOf(seen.Name) !== renameTo) await rename(site, id, renameTo);
  await readBack(site, id, { isStopped: true, name: renameTo });
}

/** Stops and renames a container that nobody marked; one that is gone is as good. */
export async function takeOverContainer(
  site: Site,
  id: string,
  renameTo: string,
  stopTimeoutS: number,
): Promise<void> {
  const seen = await unmarked(site, id);
  if (seen === undefined) return;
  await stopSeen(site, seen, stopTimeoutS);
  if (nameOf(seen.Name) !== renameTo) await rename(site, id, renameTo);
  await readBack(site, id, { isStopped: true, name: renameTo });
}

/** Gives one that was taken over its name back, and starts it. */
export async function giveBackContainer(site: Site, id: string, renameTo: string): Promise<void> {
  const seen = await unmarked(site, id);
  if (seen === undefined) return;
  if (!seen.State.Running)
    await covering(
      wordsIn(seen.Config),
      site.api.call(`start ${renameTo}`, 'POST', `${containerPath(id)}/start`),
    );
  // Last: as long as it is called as it was set aside, whoever looks next gives it back (G13).
  if (nameOf(seen.Name) !== renameTo) await rename(site, id, renameTo);
  await readBack(site, id, { name: renameTo });
}

export async function stopContainer(site: Site, id: string, stopTimeoutS: number): Promise<void> {
  const seen = await ours(site, id);
  if (seen === undefined) return;
  await stopSeen(site, seen, stopTimeoutS);
  await readBack(site, id, { isStopped: true });
}

/**
 * Stops and removes. Volumes stay, the anonymous ones too: data is never removed (L04). One that has another name by now was
 * put in place, or set aside, since it was looked at: it is not what was to go.
 */
export async function removeContainer(
  site: Site,
  id: string,
  stopTimeoutS: number,
  name: string | undefined,
): Promise<void> {
  const seen = await ours(site, id);
  if (seen === undefined) return;
  const now = nameOf(seen.Name);
  if (name !== undefined && now !== name)
    throw new Refusal(retry(`container ${name} is called ${now} by now: it is looked at again`));
  await stopSeen(site, seen, stopTimeoutS);
  await site.api
    .call(`remove ${nameOf(seen.Name)}`, 'DELETE', containerPath(id), { query: { force: true, v: false } })
    .catch(unlessGone);
  const after = await inspect(site.api, id);
  if (after === undefined || after.Id !== id || after.State.Status === 'removing') return;
  throw new Refusal(
    retry(
      `container ${nameOf(after.Name)} is still there (${after.State.Status}) although the engine removed it`,
    ),
  );
}

/** Success is what the engine shows afterwards, not what it answered (L09). Gone is as good. */
async function readBack(
  site: Site,
  id: string,
  wanted: { readonly isStopped?: true; readonly name?: string },
): Promise<void> {
  const seen = await inspect(site.api, id);
  if (seen === undefined || seen.Id !== id) return;
  const name = nameOf(seen.Name);
  if (wanted.name !== undefined && name !== wanted.name)
    throw new Refusal(retry(`container ${name} is not called ${wanted.name} although the engine renamed it`));
  if (wanted.isStopped === true && isUp(seen))
    throw new Refusal(
      retry(
        `container ${name} is ${seen.State.Status} although the engine stopped it`,
        'Somebody may have started it again. It is stopped again with the next try.',
      ),
    );
}

function isUp({ State: { Running, Status } }: Inspection): boolean {
  return Running || ['running', 'restarting', 'stopping', 'paused'].includes(Status);
}

/** A network of ours, made when missing; one that exists is taken as it is. */
export async function createNetwork(site: Site, name: string): Promise<void> {
  if (await networkExists(site.api, name)) return;
  const body = { Name: name, Driver: 'bridge', CheckDuplicate: true, Labels: { [LABELS.owner]: site.owner } };
  try {
    await site.api.call(`create network ${name}`, 'POST', '/networks/create', { body });
  } catch (error) {
    if (!(error instanceof EngineError && /already (exists|used)/i.test(error.message))) throw error;
  }
}

async function renameIfNeeded(
  site: Site,
  from: string,
  name: string,
  specDigest: string | undefined,
): Promise<Inspection> {
  const final = await inspectByName(site.api, name);
  const staged = from === name ? undefined : await inspectByName(site.api, from);
  const seen = staged ?? final;
  if (seen === undefined) {
    const other = from === name ? '' : `, nor is ${from}`;
    throw new Refusal(wait(`container ${name} is not there any more${other}`, MADE_AGAIN));
  }
  refuseForeign(site, seen, `holds the name ${nameOf(seen.Name)}`);
  if (final !== undefined) refuseForeign(site, final, `holds the name ${name}`);
  if (specDigest !== undefined && seen.Config.Labels?.[LABELS.spec] !== specDigest) {
    throw new Refusal(retry(`container ${nameOf(seen.Name)} is made from another specification`));
  }
  if (staged === undefined) return seen;
  if (final !== undefined) {
    throw new Refusal(
      retry(
        `the name ${name} is still held by its predecessor ${final.Id.slice(0, 12)}`,
        'It is retired first.',
      ),
    );
  }
  await rename(site, staged.Id, name);
  return staged;
}

/** Podman says of a restarting or just ended container what Docker answers with 304: both count as stopped. */
async function stopSeen({ api }: Site, seen: Inspection, stopTimeoutS: number): Promise<void> {
  if (['created', 'exited', 'dead', 'configured', 'stopped'].includes(seen.State.Status)) return;
  await api
    .call(`stop ${nameOf(seen.Name)}`, 'POST', `${containerPath(seen.Id)}/stop`, {
      query: { t: stopTimeoutS },
      extraMs: stopTimeoutS * 1000,
    })
    .catch(unlessGone);
}

async function withPortHolder(api: Api, name: string, error: unknown): Promise<unknown> {
  if (!(error instanceof EngineError)) return error;
  if (!/port is already allocated|address already in use/i.test(error.message)) return error;
  const [, ip, port = ''] = /((?:\d+\.){3}\d+|\[[^\]]*\]):(\d+)/.exec(error.message) ?? [];
  if (ip === undefined) return error;
  const listed = await api.call<Listed[]>('list containers', 'GET', '/containers/json').catch(() => []);
  const holder = listed.find((one) => one.Ports?.some(({ PublicPort }) => PublicPort === Number(port)));
  const by =
    holder === undefined
      ? 'a process of this host that is no container here'
      : `container ${listedName(holder)}`;
  return new Refusal({
    ...retry(
      `container ${name} could not be started: ${ip}:${port} is in use by ${by}`,
      `Find it with: ss -ltnp 'sport = :${port}'. The start is tried again.`,
    ),
    cause: 'outside',
  });
}

/** Removes a network that carries our owner; gone is as good, a foreign one of that name is left alone. */
export async function removeNetwork(site: Site, name: string): Promise<void> {
  const path = `/networks/${encodeURIComponent(name)}`;
  const seen = await site.api
    .call<{ Labels?: Record<string, string> | null }>(`inspect network ${name}`, 'GET', path)
    .catch((error: unknown) => {
      unlessGone(error);
      return undefined;
    });
  if (seen?.Labels?.[LABELS.owner] !== site.owner) return;
  await site.api.call(`remove network ${name}`, 'DELETE', path).catch(unlessGone);
}
