import { createHash } from 'node:crypto';
import { digestOf } from '../base/json.ts';
import { known } from '../base/outcome.ts';
import { resolve, type LastGood, type Resolution } from '../definitions/resolve.ts';
import type { Component, Desired, DesiredService } from '../definitions/types.ts';
import type { Facts } from '../plan/facts.ts';
import { removableServices } from '../plan/guard.ts';
import { wanted } from '../plan/look.ts';
import { inTurn } from '../plan/turn.ts';
import { simulate } from '../plan/simulate.ts';
import { formatPreview, makePreview, markdownPreview, type Preview } from '../report/preview.ts';
import type { NodeState } from '../report/state.ts';
import { readDirectory, type Directory } from './directory.ts';
import { fail } from './fail.ts';
import { exitCodeOf, lastGood, readState } from './state.ts';

interface Options {
  readonly state: string;
  readonly format: 'text' | 'json' | 'markdown';
}

/** `mc-gitops plan [DIR] --state FILE|URL`: what a node would do with these definitions. Exit code 1 on errors in them. */
export async function runPlan(dir: string, options: Options): Promise<void> {
  const state = await readState(options.state);
  if (state.kind !== 'ok') {
    fail(state, exitCodeOf(state));
    return;
  }
  const directory = await readDirectory(dir, state.value.root);
  if (directory.kind !== 'ok') {
    fail(directory, 2);
    return;
  }
  const before = await lastGood(dir, state.value);
  const preview = previewOf(state.value, directory.value, before.found);
  const text = {
    text: formatPreview,
    markdown: markdownPreview,
    json: (all: Preview) => JSON.stringify(all, null, 2),
  };
  process.stdout.write(`${text[options.format](preview)}\n`);
  if (preview.issues.some((issue) => issue.severity === 'error')) process.exitCode = 1;
}

/** The agent's own planner on the node's exported state and the definitions of a directory. Pure. */
function previewOf(state: NodeState, directory: Directory, before: ReadonlyMap<string, LastGood>): Preview {
  const options = {
    node: state.node,
    defaults: state.defaults,
    policy: state.policy,
    root: state.root,
    hash: plainHash,
  };
  const commit = { oid: 'pull-request', author: '', email: '', at: 0, message: '', parents: [] };
  const common = { ...options, refusedFiles: [], commit };
  const old = resolve({
    ...common,
    files: [...before.values()].map((entry) => entry.file),
    lastGood: new Map(),
  });
  const fresh = resolve({
    ...common,
    files: directory.files,
    refusedFiles: directory.refused,
    lastGood: before,
  });
  const desired = withNodeHashes(fresh.desired, old.desired, state);
  const now =
    Math.max(
      0,
      ...state.promised.applied.map((applied) => applied.appliedAt),
      ...state.promised.failures.map((f) => f.lastAt),
      ...state.promised.trials.map((trial) => trial.since),
    ) + 3_600_000;
  const { observed, assumptions } = assume(state, inTurn(desired, state.promised, now));
  const chain = simulate({
    desired,
    promised: state.promised,
    observed,
    settings: {
      ...state.settings,
      hostnameSuffix: suffixOf(fresh, state),
      windows: fresh.nodes.get(state.node)?.windows ?? [],
      removable: removableServices(desired, state.promised.named),
    },
    now,
  });
  return makePreview({
    node: state.node,
    from: state.commit,
    issues: fresh.desired.issues,
    assumptions,
    names: desired.services.map((entry) => entry.service.name),
    promised: state.promised,
    steps: chain.steps,
    waiting: chain.end.waiting,
    refused: chain.end.refused,
  });
}

function suffixOf(resolution: Resolution, state: NodeState): string {
  return resolution.nodes.get(state.node)?.defaults.hostnameSuffix ?? state.settings.hostnameSuffix;
}

/** Not the node's key, which never leaves the node: only to see whether a value is the same as before. */
function plainHash(value: string): string {
  return createHash('sha256').update(value).digest('hex');
}

/** A variable whose value is the same as in the accepted file has the hash that the node knows; any other has a new one. */
function withNodeHashes(fresh: Desired, old: Desired, state: NodeState): Desired {
  const services = fresh.services.map((entry): DesiredService => {
    const before = old.services.find((candidate) => candidate.service.name === entry.service.name)?.service;
    const applied = state.promised.applied.find(
      (candidate) => candidate.service.name === entry.service.name,
    )?.service;
    const components = entry.service.components.map((component) =>
      withHashes(
        component,
        componentOf(before?.components, component),
        componentOf(applied?.components, component),
      ),
    );
    const service = { ...entry.service, components };
    return { ...entry, service, digest: digestOf(service) };
  });
  return { ...fresh, services };
}

function withHashes(
  component: Component,
  before: Component | undefined,
  applied: Component | undefined,
): Component {
  const env = component.env.map(({ name, hash }) => {
    const isSame = before?.env.some((entry) => entry.name === name && entry.hash === hash) === true;
    const onNode = applied?.env.find((entry) => entry.name === name)?.hash;
    return { name, hash: isSame && onNode !== undefined ? onNode : `new:${hash.slice(0, 8)}` };
  });
  return { ...component, env };
}

function componentOf(
  components: readonly Component[] | undefined,
  wantedOne: Component,
): Component | undefined {
  return components?.find((component) => component.name === wantedOne.name);
}

/** What the node did not look at, because nobody wanted it yet: taken as good, and said so. */
function assume(state: NodeState, desired: Desired): { observed: Facts['observed']; assumptions: string[] } {
  const { observed } = state;
  const sight = wanted(desired, state.settings);
  const newImages = sight.images.filter(({ image }) => observed.images[image.reference] === undefined);
  const newMounts = sight.mounts.filter((mount) => observed.mounts[mount] === undefined);
  const newNames = sight.certificates.filter(({ hostname }) => observed.certificates[hostname] === undefined);
  const local = state.settings.certificates === 'local';
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
          newImages.map(({ image, build }) => [image.reference, imageGuess(image.reference, build)]),
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

function imageGuess(reference: string, build: boolean): Facts['observed']['images'][string] {
  return build
    ? { kind: 'absent' }
    : { kind: 'present', imageId: `assumed:${reference}`, user: '', volumes: [] };
}
