import type { Component, DesiredService } from '../definitions/types.ts';
import type { ImageFailure, ImageState, PushState } from '../node/images/state.ts';
import type { Because, ImageRecord } from '../registry/types.ts';
import type { Facts } from './facts.ts';
import { imagesByReference } from './lists.ts';
import { silencedRules } from './look.ts';
import { unfitImage } from './imagefit.ts';
import { notYet, READY, refusal, type Staging } from './staged.ts';
import type { Standing } from './standing.ts';
import type { Refused, Step, Waiting } from './types.ts';

type Present = ImageState & { readonly kind: 'present' };

/** The image of a component that needs a new container: pulled or built when missing, judged and recorded when there. */
export function stageImage(
  facts: Facts,
  desired: DesiredService,
  component: Component,
  because: Because,
): Staging {
  const { image } = component;
  const service = desired.service.name;
  const state = stateOf(facts, component);
  const moved = movedTag(facts, component);
  if (moved !== undefined) return refusal({ service, ...moved });
  const waiting = (why: string, more: Partial<Waiting> = {}): Waiting => ({
    service,
    component: component.name,
    for: 'image',
    why: `${image.reference}: ${why}`,
    ...more,
  });
  switch (state.kind) {
    case 'present':
      return presentImage(facts, desired, component, state, because);
    case 'remote':
      return notYet(waiting('is in its registry and is being pulled'), [
        { service, subject: image.reference, because, kind: 'pull-image', image },
      ]);
    case 'absent':
      return triedAgain(facts, desired, component, because, state.failed);
    case 'building':
    case 'pulling':
      // While it is looked at again nothing is new.
      if (state.failed?.moved === true) return refusal(movedInGit(service, state.failed));
      return notYet(waiting(under(state, facts.now), { since: state.since, ...hintOf(state.failed) }));
    case 'failed':
      if (state.retryAt <= facts.now) return triedAgain(facts, desired, component, because, state);
      if (state.moved === true) return refusal(movedInGit(service, state));
      return notYet(waiting(state.why, { hint: state.hint, since: state.at, until: state.retryAt }));
    case 'unknown':
      return notYet(waiting(state.why, unknownMore(state, facts.now)));
  }
}

/** What is told of images in place: a tag that moved since, and a container that runs another image than was recorded (L19). */
export function movedImages(
  facts: Facts,
  desired: DesiredService,
  standings: readonly Standing[],
): readonly Waiting[] {
  const service = desired.service.name;
  return standings.flatMap(({ component, current }): Waiting[] => {
    if (current === undefined) return [];
    const { name, image } = component;
    const head = { service, component: name, for: 'image' };
    const moved = movedTag(facts, component);
    if (moved !== undefined) return [{ ...head, ...moved }];
    const record = recordOf(facts, component);
    if (record === undefined || record.imageId === current.imageId) return [];
    return [
      {
        ...head,
        why: `container ${current.name} runs image ${short(current.imageId)}, but ${image.reference} was recorded as ${short(record.imageId)}`,
        hint: 'Tag a new version; or raise `generation` in the definition to have the container made again from the recorded image.',
      },
    ];
  });
}

/** The digest of the registry is known later than the image, when it was built here: it is recorded then. */
export function digestSteps(facts: Facts, desired: DesiredService, because: Because): Step[] {
  const { components } = desired.service;
  return components.flatMap((component, at) => {
    const state = stateOf(facts, component);
    const record = recordOf(facts, component);
    const push = facts.observed.pushes[component.image.reference];
    // Lost by the registry and pushed again by us, the same image may have another manifest.
    const isOurs = push?.kind === 'pushed' && push.digest !== undefined;
    const isNews =
      components.findIndex(({ image }) => image.reference === component.image.reference) === at &&
      state.kind === 'present' &&
      state.manifestDigest !== undefined &&
      record?.imageId === state.imageId &&
      (record.manifestDigest === undefined || (isOurs && push.digest !== record.manifestDigest));
    if (!isNews) return [];
    const summary = 'its registry has it now under this digest';
    return [recordStep(desired.service.name, component, state, { ...because, summary })];
  });
}

function stateOf(facts: Facts, { image }: Component): ImageState {
  return facts.observed.images[image.reference] ?? { kind: 'unknown', why: 'it was not looked for yet' };
}

function recordOf(facts: Facts, { image }: Component): ImageRecord | undefined {
  return imagesByReference(facts.promised.images).get(image.reference)?.[0];
}

/**
 * A tag is a promise about bytes (L19): where it now names others than it was recorded with, they are not run. A rebuild of the
 * very same commit is no other version, although no builder promises the same id.
 */
function movedTag(facts: Facts, component: Component): Omit<Refused, 'service'> | undefined {
  const record = recordOf(facts, component);
  const state = stateOf(facts, component);
  if (record === undefined) return undefined;
  const told = (was: string, is: string, where: string): Omit<Refused, 'service'> => ({
    why: `${component.image.reference} names ${is} ${where}, and was recorded as ${was}: the tag was moved [image/tag-moved]`,
    hint: 'A version is one image for ever. Tag a new version, and name it in the definition; what runs goes on running.',
  });
  if (state.kind === 'remote') {
    const was = record.manifestDigest;
    if (was === undefined || was === state.manifestDigest) return undefined;
    return told(short(was), short(state.manifestDigest), 'in its registry');
  }
  if (state.kind !== 'present' || state.imageId === record.imageId) return undefined;
  const isRebuilt =
    component.dockerfile !== undefined && record.revision !== undefined && record.revision === state.revision;
  return isRebuilt ? undefined : told(short(record.imageId), short(state.imageId), 'on this engine');
}

/** What only a person can mend stays refused while it is looked whether somebody has. */
function triedAgain(
  facts: Facts,
  desired: DesiredService,
  component: Component,
  because: Because,
  failed: ImageFailure | undefined,
): Staging {
  const again = absentImage(facts, desired, component, because, failed);
  if (failed?.moved !== true) return again;
  return { ...refusal(movedInGit(desired.service.name, failed)), steps: again.steps };
}

function absentImage(
  facts: Facts,
  desired: DesiredService,
  component: Component,
  because: Because,
  failed?: ImageFailure,
): Staging {
  const { image, dockerfile } = component;
  const { service } = desired;
  const builder = builderOf(facts, component);
  if (builder !== undefined) {
    return notYet({
      service: service.name,
      component: component.name,
      for: 'image',
      why: `${image.reference}: is built by node ${builder}, the first by name of those that share it, and is taken from ${image.host ?? ''} once it is there`,
      hint: `See what keeps ${builder} from it. A version that its services do not name is built here.`,
    });
  }
  const revision = recordOf(facts, component)?.revision;
  if (dockerfile !== undefined && facts.settings.canBuild) {
    const step: Step = {
      service: service.name,
      subject: image.reference,
      because: {
        ...because,
        summary: `${image.reference} is missing: built from tag ${image.tag} of ${service.path}${triedBefore(failed)}`,
      },
      kind: 'build-image',
      image,
      dockerfile,
      path: service.path,
      ...silencedRules(service.silenced),
      ...(revision === undefined ? {} : { revision }),
    };
    return notYet(
      {
        service: service.name,
        component: component.name,
        for: 'image',
        why: `${image.reference}: is being built`,
      },
      [step],
    );
  }
  return refusal({ service: service.name, ...nowhere(facts, component) });
}

/** The history tells by this that the job which was begun before did not go well. */
function triedBefore(failed: ImageFailure | undefined): string {
  if (failed === undefined) return '';
  const [why = ''] = failed.why.split('; its last lines:');
  return `; once more, as before: ${why.length > LONGEST_WHY ? `${why.slice(0, LONGEST_WHY)}…` : why}`;
}

const LONGEST_WHY = 300;

/** The other node that builds it, where this one can take it from a registry: two would give one tag two meanings (L19). */
function builderOf({ desired, settings }: Facts, { image }: Component): string | undefined {
  const canPull = image.host !== undefined && settings.registries?.includes(image.host) === true;
  return canPull ? desired.builtElsewhere?.[image.reference] : undefined;
}

/** Neither here nor to be had: what is missing for it to be. */
function nowhere(facts: Facts, { image, dockerfile }: Component): Omit<Refused, 'service'> {
  const isListed = image.host !== undefined && facts.settings.registries?.includes(image.host) === true;
  // A build cannot give a digest that was written down before it.
  if (isListed && image.digest !== undefined)
    return {
      why: `${image.reference} is neither here nor in ${image.host ?? ''}: no image of that digest`,
      hint: 'Correct the digest: the registry tells the one that the tag has; or leave it out.',
    };
  const where =
    image.host === undefined
      ? 'is not on this engine, and names no registry to pull it from'
      : isListed
        ? `is neither here nor in ${image.host}`
        : `is not on this engine, and no registry is configured for ${image.host}`;
  const list = `Set [registries."${image.host ?? ''}"] in the settings of this node if that is where it is`;
  const push = isListed || image.host === undefined ? 'Put it there' : list;
  return {
    why: `${image.reference} ${where}`,
    hint:
      dockerfile === undefined
        ? `${push}; or let the agent build it: [build.images] ${image.repository.split('/').at(-1) ?? ''} = "Dockerfile".`
        : `${push}; or set [build] workspace in the settings of this node so that the agent can build it.`,
  };
}

function presentImage(
  facts: Facts,
  desired: DesiredService,
  component: Component,
  state: Present,
  because: Because,
): Staging {
  const { image } = component;
  const service = desired.service.name;
  const unfit = unfitImage(facts, desired, component, state);
  if (unfit !== undefined) return refusal({ service, ...unfit });
  const recorded = recordOf(facts, component);
  if (
    recorded !== undefined &&
    recorded.imageId === state.imageId &&
    recorded.removed !== true &&
    // A digest that is not known right now is no news (the registry may be down, L02), nor is another one of the same bytes.
    (state.manifestDigest === undefined || recorded.manifestDigest !== undefined)
  )
    return READY;
  const rebuilt = recorded !== undefined && recorded.imageId !== state.imageId;
  const summary = rebuilt
    ? `${image.reference} was built again from the same commit, with another id: a step of its Dockerfile does not give the same bytes twice`
    : because.summary;
  return { ...READY, steps: [recordStep(service, component, state, { ...because, summary })] };
}

function recordStep(service: string, component: Component, state: Present, because: Because): Step {
  const { reference } = component.image;
  const { imageId, manifestDigest, revision } = state;
  return {
    service,
    subject: reference,
    because,
    kind: 'record-image',
    reference,
    imageId,
    ...(manifestDigest === undefined ? {} : { manifestDigest }),
    ...(component.dockerfile === undefined || revision === undefined ? {} : { revision }),
  };
}

/** Somebody moved the tag in the registry that this node's image was pushed to: other nodes would get other bytes (L19). */
export function movedInRegistry(
  reference: string,
  { was, is }: Extract<PushState, { kind: 'moved' }>,
): Pick<Refused, 'why' | 'hint'> {
  return {
    why: `${reference} names ${short(is)} in its registry, and was there as ${short(was)}: the tag was moved [image/tag-moved]`,
    hint: 'What runs here goes on running, and nothing is pushed over it. Find out who moved it, and tag a new version.',
  };
}

/** The tag in git names another commit than the image was built from: only a person can mend it. */
function movedInGit(service: string, { why, hint }: ImageFailure): Refused {
  return { service, why, hint: `${hint} What runs goes on running.` };
}

/** `building, step 3 of 9, 12 s`, and that it is not the first try. */
function under(state: Extract<ImageState, { kind: 'building' | 'pulling' }>, now: number): string {
  const seconds = `${Math.max(0, Math.round((now - state.since) / 1000))} s`;
  const told = [state.kind, ...(state.progress === undefined ? [] : [state.progress]), seconds].join(', ');
  return state.failed === undefined ? told : `${told}; tried again after: ${state.failed.why}`;
}

/** What to do about a registry that does not say, and when it is asked again. */
function unknownMore(
  { hint, at, retryAt }: Extract<ImageState, { kind: 'unknown' }>,
  now: number,
): Pick<Waiting, 'hint' | 'since' | 'until'> {
  return {
    ...(hint === undefined ? {} : { hint }),
    ...(at === undefined ? {} : { since: at }),
    ...(retryAt === undefined || retryAt <= now ? {} : { until: retryAt }),
  };
}

function hintOf(failed: ImageFailure | undefined): Pick<Waiting, 'hint'> {
  return failed === undefined ? {} : { hint: failed.hint };
}

/** Enough of an id to tell two apart. */
function short(id: string): string {
  return id.replace(/^(?:sha256:)?([0-9a-f]{12})[0-9a-f]+$/, '$1');
}
