import { blocked, ok, retry, wait, type Outcome } from '../../src/base/outcome.ts';
import type { NodeWriter } from '../../src/execute/types.ts';
import type { ObservedRoute } from '../../src/node/types.ts';
import type { ImageState } from '../../src/node/images/state.ts';
import type { World } from './world.ts';
import { partsOfSpec } from './parts.ts';
import { takeUp } from './worldcertificates.ts';
import { putNames, removeNames } from './worldnames.ts';

/** The writing half of a node in memory. Each call is a line of the world's journal; `failing` says which ones fail. */
export function writerOf(world: World): NodeWriter {
  const { owner } = world.settings();
  const begin = (kind: string, reference: string): Outcome<undefined> => {
    world.journal.push(`${kind} ${reference}`);
    const failure = world.failing.get(kind);
    if (failure !== undefined) return failure;
    world.present(reference);
    return ok();
  };
  const act = async (
    kind: string,
    subject: string,
    work: () => Outcome<undefined>,
  ): Promise<Outcome<undefined>> => {
    world.journal.push(`${kind} ${subject}`);
    return world.failing.get(kind) ?? work();
  };
  const nameOf = (id: string): string => world.containers.find((c) => c.id === id)?.name ?? id;
  return {
    engine: {
      createNetwork: (name) =>
        act('create-network', name, () => ((world.networks = [...new Set([...world.networks, name])]), ok())),
      removeNetwork: (name) =>
        act(
          'remove-network',
          name,
          () => ((world.networks = world.networks.filter((n) => n !== name)), ok()),
        ),
      create: async (spec, specDigest, name) => {
        world.journal.push(`create ${name}`);
        const failure = world.failing.get('create');
        if (failure !== undefined && failure.kind !== 'ok') return failure;
        const there = world.container(name);
        if (there !== undefined && there.identity?.spec === specDigest) return ok({ id: there.id });
        if (there !== undefined) return blocked(`the name ${name} is taken`);
        const id = world.nextId();
        world.containers.push({
          id,
          name,
          image: spec.image,
          imageId: imageIdIn(world.images[spec.image]) ?? `sha256:${spec.image}`,
          state: 'created',
          restartCount: 0,
          labels: {},
          identity: {
            owner: spec.owner,
            service: spec.service,
            component: spec.component,
            spec: specDigest,
            leases: spec.leases,
            format: '1',
          },
          publish: spec.publish,
          parts: partsOfSpec(spec),
        });
        return ok({ id });
      },
      start: async (from, name, specDigest) => {
        world.journal.push(`start ${name}`);
        const failure = world.failing.get('start');
        if (failure !== undefined && failure.kind !== 'ok') return failure;
        const container = world.container(from) ?? world.container(name);
        if (container === undefined) return wait(`no container ${from}`);
        const error = world.startErrors.get(container.image);
        if (container.identity?.spec !== specDigest) return retry(`${from} is made from another spec`);
        if (name !== container.name && world.container(name) !== undefined)
          return retry(`the name ${name} is held`);
        world.update(container.name, { name });
        world.cutHere('start');
        if (error !== undefined) return error;
        const others = world.published(container.id).concat(world.listening);
        const taken = container.publish.find((p) => others.some((l) => l.port === p.host));
        if (taken !== undefined)
          return { ...retry(`port ${taken.host} is already allocated`), cause: 'outside' };
        if (container.state !== 'running') world.update(name, { state: 'running', startedAt: world.now });
        return ok({ id: container.id });
      },
      rename: (id, renameTo) =>
        act('set-aside', nameOf(id), () => (world.update(nameOf(id), { name: renameTo }), ok())),
      retire: (id, renameTo) =>
        act('retire', nameOf(id), () => {
          world.end(id);
          world.cutHere('retire');
          world.update(nameOf(id), { name: renameTo });
          return ok();
        }),
      takeOver: (id, renameTo) =>
        act('take-over', nameOf(id), () => {
          world.end(id);
          world.cutHere('takeOver');
          world.update(nameOf(id), { name: renameTo });
          return ok();
        }),
      giveBack: (id, renameTo) =>
        act('give-back', nameOf(id), () => {
          if (nameOf(id) !== renameTo && world.container(renameTo) !== undefined)
            return retry(`the name ${renameTo} is held`);
          world.update(nameOf(id), { state: 'running', startedAt: world.now });
          world.cutHere('giveBack');
          world.update(nameOf(id), { name: renameTo });
          return ok();
        }),
      stop: (id) => act('stop', nameOf(id), () => (world.end(id), ok())),
      remove: (id, _timeoutS, name) =>
        act('remove', nameOf(id), () => {
          const now = world.containers.find((c) => c.id === id)?.name;
          if (name !== undefined && now !== undefined && now !== name)
            return retry(`container ${name} is called ${now} by now: it is looked at again`);
          world.containers = world.containers.filter((c) => c.id !== id);
          return ok();
        }),
      logs: async (id) => {
        const failure = world.failing.get('logs');
        if (failure !== undefined && failure.kind !== 'ok') return failure;
        return ok([...(world.prints.get(world.containers.find((c) => c.id === id)?.image ?? '') ?? [])]);
      },
    },
    images: {
      startPull: (image) => begin('pull', image.reference),
      startBuild: ({ image }) => begin('build', image.reference),
      startPush: (image) => {
        const begun = begin('push', image.reference);
        if (begun.kind === 'ok' && image.reference in world.pushes)
          world.pushes[image.reference] = { kind: 'pushed' };
        return begun;
      },
      cancel: (reference) => {
        world.journal.push(`cancel ${reference}`);
        const rest = Object.entries(world.strayWork).filter(([name]) => name !== reference);
        world.strayWork = Object.fromEntries(rest);
        return ok();
      },
      remove: (reference) =>
        act('remove-image', reference, () => {
          const rest = Object.entries(world.images).filter(([name]) => name !== reference);
          world.images = Object.fromEntries(rest);
          return ok();
        }),
    },
    builder: {
      prune: (keepBytes) =>
        act('prune-build-cache', String(keepBytes), () => {
          // Until it is measured again nothing is known of it.
          world.disk = undefined;
          return ok();
        }),
    },
    proxy: {
      put: (routes) =>
        act(
          'route',
          routes.map((r) => `${r.hostname}:${r.listenerPort}>${r.backend.split(':')[1] ?? ''}`).join(),
          () => {
            const same = (a: ObservedRoute, b: ObservedRoute): boolean =>
              a.hostname === b.hostname && a.listenerPort === b.listenerPort;
            const isForeign = ({ mark }: ObservedRoute): boolean => mark?.startsWith(`${owner}/`) !== true;
            if (world.table.some((old) => isForeign(old) && routes.some((route) => same(old, route))))
              return blocked('the proxy has a route that is not ours');
            world.table = [
              ...world.table.filter((old) => !routes.some((route) => same(old, route))),
              ...routes,
            ];
            takeUp(world, routes);
            return ok();
          },
        ),
      remove: (routes) =>
        act('unroute', routes.map((r) => `${r.hostname}:${r.listenerPort}`).join(), () => {
          world.table = world.table.filter(
            (old) =>
              !routes.some(
                (r) =>
                  r.hostname === old.hostname && r.listenerPort === old.listenerPort && r.mark === old.mark,
              ),
          );
          return ok();
        }),
    },
    dns: {
      put: (service, records) =>
        act('name', records.map((r) => r.hostname).join(), () => putNames(world, service, records)),
      remove: (_service, records) =>
        act('unname', records.map((r) => r.hostname).join(), () => removeNames(world, records)),
    },
    certificates: {
      issue: (hostname) =>
        act('certificate', hostname, () => {
          if (world.certificateDriver === 'acme') world.order(hostname);
          else world.sign(hostname);
          return ok();
        }),
      remove: (hostname) =>
        act('remove-certificate', hostname, () => {
          Reflect.deleteProperty(world.certificates, hostname);
          return ok();
        }),
    },
  };
}

function imageIdIn(state: ImageState | undefined): string | undefined {
  return state?.kind === 'present' ? state.imageId : undefined;
}
