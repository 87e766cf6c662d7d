import type { Component, DesiredService } from '../definitions/types.ts';
import type { MountState, ObservedContainer } from '../node/types.ts';
import type { Because } from '../registry/types.ts';
import { appliedOf, type Facts } from './facts.ts';
import { containersByName } from './lists.ts';
import { mayHold, PORT_LINGER_MS } from './leases.ts';
import { stageCertificates } from './certificates.ts';
import { stageImage } from './image.ts';
import { publishersOf, clash, ringOf, ringWords } from './ring.ts';
import { isBlueGreen } from './slots.ts';
import { notYet, READY, refusal, together, type Staging } from './staged.ts';
import type { Standing } from './standing.ts';
import { replacedBy } from './takeover.ts';

/** Image → mounts → host ports of others → certificates, for one component that needs a new container. */
export function stage(
  facts: Facts,
  desired: DesiredService,
  { component, staged }: Standing,
  because: Because,
): Staging {
  return together([
    stageName(facts, desired, component),
    // A container that is there needs its image no more.
    ...(staged?.startedAt === undefined ? [stageImage(facts, desired, component, because)] : []),
    ...component.mounts.flatMap((mount) =>
      mount.kind === 'bind' ? [stageMount(facts, desired, mount.source)] : [],
    ),
    ...component.ports.map((port) => stageFixedPort(facts, desired, component, port)),
    stageCertificates(facts, desired, component, because),
  ]);
}

/**
 * Both versions run for a while with `blue-green`: two processes on one database, or two listeners on one fixed port,
 * are no way to change.
 */
export function stageBeside(facts: Facts, desired: DesiredService, standing: Standing): Staging {
  const { component } = standing;
  if (desired.insteadOf !== undefined || !isBlueGreen(desired) || standing.outdated === undefined)
    return READY;
  const refuse = (why: string, hint: string): Staging =>
    refusal({
      service: desired.service.name,
      why: `deploy.strategy = "blue-green" cannot replace component ${component.name}: ${why}`,
      hint,
    });
  const before = appliedOf(facts, desired.service.name)?.service.components;
  const versions = [component, ...(before ?? []).filter((one) => one.name === component.name)];
  const volume = versions.flatMap((one) => one.mounts).find((mount) => !mount.readOnly);
  if (volume !== undefined)
    return refuse(
      `it may write to ${volume.target}, and two versions would at once`,
      'Use strategy = "recreate", or mount it read-only (":ro").',
    );
  const port = versions.flatMap((one) => one.ports)[0];
  if (port !== undefined)
    return refuse(
      `it has the fixed port ${port.host}/${port.protocol}, which two versions cannot share`,
      'Use strategy = "recreate", or a route instead of the fixed port.',
    );
  return READY;
}

/** A name that moves from one service of ours to another is free once the other has let it go. */
function stageName(facts: Facts, desired: DesiredService, component: Component): Staging {
  const service = desired.service.name;
  const { engine } = facts.observed;
  const named = engine.known ? containersByName(engine.value.containers).get(component.container) : undefined;
  const holder = named?.find(({ identity }) => identity?.owner === facts.settings.owner);
  if (holder === undefined || holder.identity?.service === service) return READY;
  const why = `the container name ${component.container} is still held by service ${holder.identity?.service ?? ''}`;
  const ring = stageRing(facts, desired, why);
  if (ring !== undefined) return ring;
  return notYet({
    service,
    component: component.name,
    for: 'name',
    why,
    hint: 'It is free once that service has removed or replaced the container; see what keeps it from doing so.',
  });
}

/** Nobody lets go before the other does: a person has to make room. */
function stageRing(
  facts: Facts,
  { service: { name: service } }: DesiredService,
  what: string,
): Staging | undefined {
  const ring = ringOf(facts, service);
  if (ring === undefined) return undefined;
  const { why, hint } = ringWords(ring);
  return refusal({ service, why: `${what}, and ${why}`, hint });
}

function stageMount(facts: Facts, desired: DesiredService, source: string): Staging {
  const state: MountState = facts.observed.mounts[source] ?? { kind: 'unknown', why: 'not looked at yet' };
  if (state.kind === 'present') return READY;
  const why =
    state.kind === 'missing'
      ? `${source} does not exist on this node, and is never created by the agent`
      : `${source}: ${state.why}`;
  return notYet({
    service: desired.service.name,
    for: 'mount',
    why,
    hint:
      state.kind === 'missing'
        ? `Create it for the user that runs the engine (sudo mkdir -p ${source}), or mount the disk that holds it.`
        : 'Mount a real directory or file, without symbolic links in its path.',
  });
}

function stageFixedPort(
  facts: Facts,
  desired: DesiredService,
  component: Component,
  port: Component['ports'][number],
): Staging {
  const { engine, ports } = facts.observed;
  if (!engine.known) return READY;
  const service = desired.service.name;
  const holders = publishersOf(engine.value.containers, port).filter((one) => mayHold(one, facts.now));
  // Its own predecessor lets go of the port when it is retired, and so does the one whose place it takes.
  const replaced = replacedBy(facts, desired, component);
  const isOwn = (holder: ObservedContainer): boolean =>
    holder === replaced ||
    (holder.identity?.owner === facts.settings.owner && holder.identity.service === service);
  if (holders.some(isOwn)) return READY;
  const held = (who: string, until?: number): Staging =>
    notYet({
      ...(until === undefined ? {} : { until }),
      service,
      for: 'port',
      why: `port ${port.host}/${port.protocol} is held by ${who}`,
      hint: 'Stop what holds it, or give the definition another port or address.',
    });
  const [holder] = holders;
  if (holder !== undefined) {
    const { finishedAt } = holder;
    const ring = stageRing(
      facts,
      desired,
      `port ${port.host}/${port.protocol} is held by container ${holder.name}`,
    );
    if (ring !== undefined) return ring;
    // One that ended a moment ago lets go of it by itself, and nothing signals that.
    const isUp = holder.state !== 'exited' || finishedAt === undefined;
    return held(`container ${holder.name}`, isUp ? undefined : finishedAt + PORT_LINGER_MS);
  }
  const given = facts.givenPorts?.find(
    (one) =>
      one.service !== service &&
      one.host === port.host &&
      one.protocol === port.protocol &&
      clash(one.ip, port.ip),
  );
  if (given !== undefined) return held(`service ${given.service}, which gets it now`);
  // Not known is not free (G9): what runs is not stopped for a successor that may not start.
  if (!ports.known) {
    const hint = 'It goes on once the listening sockets can be read.';
    return notYet({ service, for: 'port', why: `port ${port.host}/${port.protocol}: ${ports.why}`, hint });
  }
  const isTaken = ports.value.listening.some(
    (socket) => socket.port === port.host && socket.protocol === port.protocol && clash(socket.ip, port.ip),
  );
  return isTaken ? held('a process outside the engine') : READY;
}
