import { createHash } from 'node:crypto';
import { digestOf } from '../base/json.ts';
import { known, ok, type Outcome } from '../base/outcome.ts';
import { resolve, type DefinitionsInput, type LastGood, type Resolution } from '../definitions/resolve.ts';
import type { Component, Desired, DesiredService, Policy } from '../definitions/types.ts';
import { acceptedFiles } from '../plan/accepted.ts';
import { becauseOf } from '../plan/because.ts';
import { appliedOf, recordedServices, type Facts } from '../plan/facts.ts';
import { budgetOf, namedServices, removableServices, trailersFor } from '../plan/guard.ts';
import { wanted } from '../plan/look.ts';
import { simulate, withoutMadeUp } from '../plan/simulate.ts';
import { goneText } from '../plan/stop.ts';
import { inTurn } from '../plan/turn.ts';
import type { Refused, Waiting } from '../plan/types.ts';
import type { Because, Promised } from '../registry/types.ts';
import { readSafely } from '../reading.ts';
import { makePreview, type Move, type Preview } from '../report/preview.ts';
import type { NodeState } from '../report/state.ts';
import type { Commit } from '../source/types.ts';
import type { Directory } from './directory.ts';
import { uncovered } from './uncover.ts';

/** A node as it stands; without a policy, what it allows is not judged. */
export type Standing = Omit<NodeState, 'policy'> & { readonly policy?: Policy };

/** What is known of a change besides its files. */
export interface About {
  /** The new ones, for their trailers. */
  readonly commits?: readonly Pick<Commit, 'message'>[];
  /** Milliseconds since the epoch: which windows are closed. */
  readonly now?: number;
  /** The node of each service before the change, of all nodes. */
  readonly nodesBefore?: ReadonlyMap<string, string>;
  /** False: leases are made up. */
  readonly knowsPorts?: boolean;
}

/** The agent's own planner on a node's state and the definitions of a directory. */
export async function foresee(
  state: Standing,
  directory: Directory,
  lastGood: ReadonlyMap<string, LastGood>,
  about: About = {},
): Promise<Outcome<Preview>> {
  const none = new Map<string, LastGood>();
  const accepted = [...lastGood.values()].map((entry) => entry.file);
  const old = await readSafely({ files: accepted, refusedFiles: [], lastGood: none }, state.root);
  if (old.kind !== 'ok') return old;
  const fresh = await readSafely(
    { files: directory.files, refusedFiles: directory.refused, lastGood },
    state.root,
  );
  if (fresh.kind !== 'ok') return fresh;
  const before = resolved(state, old.value);
  return ok(previewOf(uncovered(state, before.desired), resolved(state, fresh.value), before, about));
}

/** What would be in force on the node. */
export function resolved(
  { node, defaults, policy, root, promised: { elsewhere } }: Standing,
  files: Pick<DefinitionsInput, 'files' | 'refusedFiles' | 'lastGood'>,
): Resolution {
  const commit = { oid: 'pull-request', author: '', email: '', at: 0, message: '', parents: [] };
  const options = { node, defaults, root, hash: plainHash, ...(policy === undefined ? {} : { policy }) };
  return resolve({ ...options, ...(elsewhere === undefined ? {} : { elsewhere }), ...files, commit });
}

function previewOf(state: Standing, fresh: Resolution, old: Resolution, about: About): Preview {
  const desired = withNodeHashes(fresh.desired, old.desired, state);
  const made = factsOf(state, desired, fresh, about);
  const { engine } = state.observed;
  // Nothing is made up of an engine that does not answer: the agent waits for it.
  const facts = engine.known ? made.facts : { ...made.facts, observed: { ...made.facts.observed, engine } };
  const chain = simulate(facts);
  const { end } = chain;
  const node = fresh.nodes.get(state.node);
  return makePreview({
    node: state.node,
    from: state.commit,
    ...(node?.mode === undefined ? {} : { mode: node.mode }),
    windows: node?.windows ?? [],
    issues: fresh.desired.issues,
    assumptions: made.assumptions,
    desired: desired.services,
    promised: state.promised,
    after: chain.facts.promised,
    budget: budgetOf(facts),
    steps: chain.steps.map((step) => ({ ...step, subject: withoutMadeUp(step.subject) })),
    first: chain.waited,
    waiting: engine.known ? end.waiting : [...end.waiting, ...removalsWait(facts, engine.why)],
    refused: end.refused.map((refused) => asFirstTold(refused, chain.begin.refused)),
    asked: (name) => askedFor(name, facts),
    trailersFor,
    moves: movesOf(about.nodesBefore ?? nodesByService(old), nodesByService(fresh)),
    knowsPorts: about.knowsPorts !== false,
  });
}

/** What the definitions ask for, where no step says it. */
function askedFor(name: string, facts: Facts): Because | undefined {
  const wanted = facts.desired.services.find(({ service }) => service.name === name);
  if (wanted === undefined) return { summary: goneText(name) };
  const otherwise = 'what it is made with changed outside of its own file';
  return becauseOf(facts, wanted, appliedOf(facts, name), {}, otherwise);
}

/** The node counts its services when it refuses, and not after those that the change brings. */
function asFirstTold(refused: Refused, first: readonly Refused[]): Refused {
  return first.find(({ service, hint }) => service === refused.service && hint === refused.hint) ?? refused;
}

function removalsWait({ desired, promised }: Facts, why: string): Waiting[] {
  const wanted = new Set([...desired.refused, ...desired.services.map(({ service }) => service.name)]);
  return recordedServices(promised)
    .filter((name) => !wanted.has(name))
    .map((service) => ({ service, for: 'engine', why }));
}

/** The node of each service, by the files as far as they can be read. */
export function nodesByService({ nodeOf }: Resolution): Map<string, string> {
  const name = (path: string): string => path.slice(path.lastIndexOf('/') + 1).replace(/\.toml$/, '');
  return new Map([...nodeOf].map(([path, node]) => [name(path), node]));
}

function movesOf(before: ReadonlyMap<string, string>, after: ReadonlyMap<string, string>): Map<string, Move> {
  return new Map(
    [...before].flatMap(([service, from]): [string, Move][] => {
      const to = after.get(service);
      return to === undefined || to === from ? [] : [[service, { from, to }]];
    }),
  );
}

/** The facts that the agent would plan with, and what of them is a guess. */
export function factsOf(
  state: Standing,
  desired: Desired,
  { nodes, nodeFile }: Pick<Resolution, 'nodes' | 'nodeFile'>,
  { commits = [], now: today = 0 }: About = {},
): { readonly facts: Facts; readonly assumptions: readonly string[] } {
  const moments = [
    ...state.promised.applied.map((applied) => applied.appliedAt),
    ...state.promised.failures.map((failure) => failure.lastAt),
    ...state.promised.trials.map((trial) => trial.since),
  ];
  // Long after everything that was recorded: what failed or was started then has come to rest.
  const now = Math.max(today, Math.max(0, ...moments) + 3_600_000);
  const { observed, assumptions } = assume(state, inTurn(desired, state.promised, now));
  const node = nodes.get(state.node);
  const promised = accepting(state.promised, desired);
  const named = namedServices(commits, desired, promised);
  return {
    assumptions,
    facts: {
      desired,
      promised: {
        ...promised,
        ...(named.length === 0 ? {} : { named }),
        ...(nodeFile === undefined ? {} : { nodeFile }),
      },
      observed,
      settings: {
        ...state.settings,
        hostnameSuffix: node?.defaults.hostnameSuffix ?? state.settings.hostnameSuffix,
        windows: node?.windows ?? [],
        ...(node === undefined || node.addresses.length === 0 ? {} : { addresses: node.addresses }),
        ...(node?.own === undefined ? {} : { nodeDefaults: node.own }),
        removable: removableServices(desired, named),
      },
      now,
    },
  };
}

/** As the agent accepts a commit before it plans: what is in force is the newest state of each file. */
function accepting(promised: Promised, desired: Desired): Promised {
  const fresh = acceptedFiles(desired);
  const names = new Set(fresh.map(({ service }) => service));
  return { ...promised, files: [...promised.files.filter(({ service }) => !names.has(service)), ...fresh] };
}

/** Not the node's key, which never leaves the node: only to see whether a value is the same as before. */
function plainHash(value: string): string {
  return createHash('sha256').update(value).digest('hex');
}

/**
 * A variable whose value is the same as in the accepted file has the hash that the node knows, of what it applied or of the
 * container in place (a version that is being tried was never applied); any other has a new one.
 */
function withNodeHashes(fresh: Desired, old: Desired, state: Standing): Desired {
  const services = fresh.services.map((entry): DesiredService => {
    const before = old.services.find((candidate) => candidate.service.name === entry.service.name)?.service;
    const applied = state.promised.applied.find(
      (candidate) => candidate.service.name === entry.service.name,
    )?.service;
    const components = entry.service.components.map((component) => {
      const known = componentOf(applied?.components, component)?.env ?? hashesInPlace(component, state);
      return withHashes(component, componentOf(before?.components, component), known);
    });
    const service = { ...entry.service, components };
    return { ...entry, service, digest: digestOf(service) };
  });
  return { ...fresh, services };
}

function withHashes(component: Component, before: Component | undefined, known: Component['env']): Component {
  const env = component.env.map(({ name, hash }) => {
    const isSame = before?.env.some((entry) => entry.name === name && entry.hash === hash) === true;
    const onNode = known.find((entry) => entry.name === name)?.hash;
    return { name, hash: isSame && onNode !== undefined ? onNode : `new:${hash.slice(0, 8)}` };
  });
  return { ...component, env };
}

function hashesInPlace({ container }: Component, { observed: { engine } }: Standing): Component['env'] {
  if (!engine.known) return [];
  const inPlace = engine.value.containers.find(
    ({ name, identity }) => name === container && identity !== undefined,
  );
  return Object.entries(inPlace?.parts?.env ?? {}).map(([name, hash]) => ({ name, hash }));
}

function componentOf(
  components: readonly Component[] | undefined,
  wantedOne: Component,
): Component | undefined {
  return components?.find((component) => component.name === wantedOne.name);
}

/** What the node did not look at, because nobody wanted it yet: taken as good, and said so. */
function assume(state: Standing, desired: Desired): { observed: Facts['observed']; assumptions: string[] } {
  const { observed } = state;
  const sight = wanted(desired, state.settings, state.promised);
  const newImages = sight.images.filter(({ image }) => observed.images[image.reference] === undefined);
  const newMounts = sight.mounts.filter((mount) => observed.mounts[mount] === undefined);
  const newNames = sight.certificates.filter(({ hostname }) => observed.certificates[hostname] === undefined);
  const local = state.settings.certificates !== 'files';
  const certificate = (hostname: string): Facts['observed']['certificates'][string] =>
    local
      ? { kind: 'absent', certPath: hostname, hint: '' }
      : { kind: 'valid', certPath: hostname, keyPath: hostname, notAfter: 0, fingerprint256: '' };
  return {
    observed: {
      ...observed,
      engine: observed.engine.known
        ? observed.engine
        : known({ kind: 'docker', version: '', id: '', storageRoot: '', containers: [], networks: [] }),
      images: {
        ...observed.images,
        ...Object.fromEntries(
          newImages.map(({ image, build, recorded }) => [
            image.reference,
            imageGuess(recorded?.imageId ?? `assumed:${image.reference}`, build),
          ]),
        ),
      },
      mounts: {
        ...observed.mounts,
        ...Object.fromEntries(newMounts.map((mount) => [mount, { kind: 'present' } as const])),
      },
      certificates: {
        ...observed.certificates,
        ...Object.fromEntries(newNames.map(({ hostname }) => [hostname, certificate(hostname)])),
      },
    },
    assumptions: [
      ...(observed.engine.known ? [] : [`what runs on the node: ${observed.engine.why}`]),
      ...newImages
        .filter(({ build }) => !build)
        .map(({ image }) => `whether ${image.reference} is in its registry`),
      ...newMounts.map((mount) => `whether ${mount} exists on the node`),
      ...(local ? [] : newNames.map(({ hostname }) => `whether there is a certificate for ${hostname}`)),
    ],
  };
}

function imageGuess(imageId: string, build: boolean): Facts['observed']['images'][string] {
  return build ? { kind: 'absent' } : { kind: 'present', imageId, user: '', volumes: [] };
}
