import type { Component, DesiredService } from '../definitions/types.ts';
import type { ObservedContainer } from '../node/types.ts';
import type { Unwell } from './health.ts';
import { appliedOf, waitEnds, type Facts } from './facts.ts';
import { hasRested, restOf } from './flap.ts';
import type { Waiting } from './types.ts';

/** As long as Podman may show as ended what it is about to remove, or to start again by itself. */
const SETTLE_MS = 1_000;

export type Readiness =
  | { readonly kind: 'ready'; readonly since: number }
  | { readonly kind: 'start'; readonly why: string }
  /** `unwell`: it runs, and its health check says that it is not well. */
  | { readonly kind: 'waiting'; readonly waiting: Waiting; readonly unwell?: Unwell };

/** Is the container that is in place ready? Since when, or why not. */
export function readiness(
  facts: Facts,
  desired: DesiredService,
  component: Component,
  container: ObservedContainer,
): Readiness {
  const wait = (why: string, since?: number): Readiness & { kind: 'waiting' } => ({
    kind: 'waiting',
    waiting: {
      service: desired.service.name,
      component: component.name,
      for: 'ready',
      why: `${container.name}: ${why}`,
      ...(since === undefined ? {} : { since }),
    },
  });
  const code = container.exitCode ?? '?';
  if (container.state === 'running') {
    const probe = facts.observed.probes[container.id];
    if (probe?.kind === 'ready') return { kind: 'ready', since: probe.since };
    if (probe?.kind === 'unwell') return { ...wait(`is unwell: ${probe.last}`, probe.since), unwell: probe };
    return wait(
      `${probe?.last ?? 'not ready yet'}${exitsOf(container)}`,
      probe?.since ?? container.startedAt,
    );
  }
  if (container.state === 'restarting') {
    return wait(
      `exits in a loop: exit code ${code}, restarted ${container.restartCount} times`,
      container.startedAt,
    );
  }
  if (container.state === 'paused') return wait('is paused');
  if (container.state === 'removing') return wait('is being removed');
  const rest = restOf(facts, container);
  if (rest !== undefined) return { kind: 'waiting', waiting: rest };
  if (hasRested(facts, container)) return { kind: 'start', why: `${container.name}: has rested` };
  const applied = appliedOf(facts, desired.service.name);
  const settledBefore = applied?.digest === desired.digest && applied.state === 'running';
  // What we stopped ourselves has not done its work, however it ended.
  const stoppedByUs = applied?.state === 'stopped' && (container.startedAt ?? 0) <= applied.appliedAt;
  if (container.state === 'exited' && component.restart !== 'unless-stopped' && !stoppedByUs) {
    // A container that shall not be restarted has done its work when it ended well; how it ended is shown, not mended.
    if (container.exitCode === 0) return { kind: 'ready', since: container.finishedAt ?? facts.now };
    if (settledBefore || component.restart === 'no')
      return wait(`exited with code ${code}, and restart = "${component.restart}" leaves it so`);
  }
  const settlesAt = settling(facts, container);
  if (settlesAt !== undefined) {
    const { waiting } = wait(`ended with exit code ${code} a moment ago`, container.finishedAt);
    return { kind: 'waiting', waiting: { ...waiting, until: settlesAt } };
  }
  const why =
    container.startedAt === undefined
      ? (container.startError ?? 'is not started yet')
      : `ended with exit code ${code}`;
  return { kind: 'start', why: `${container.name}: ${why}` };
}

/**
 * Until when an ended container is left alone, though it shall run. Podman shows one as exited while it removes it, and before it starts it
 * again by itself: begun in that moment, the start fails, is undone, or has the removal wait for its end once more. Docker has words of their
 * own for both, `removing` and `restarting`, so that what is exited there stays so.
 */
export function settling(
  { observed: { engine }, now }: Facts,
  { state, finishedAt }: ObservedContainer,
): number | undefined {
  if (!engine.known || engine.value.kind !== 'podman') return undefined;
  if (state !== 'exited' || finishedAt === undefined) return undefined;
  const until = waitEnds(finishedAt, SETTLE_MS, now);
  return until > now ? until : undefined;
}

/** The engine starts again what exits: that it runs now does not say that it did not end. */
function exitsOf({ restartCount, lastExitCode }: ObservedContainer): string {
  if (restartCount === 0) return '';
  const times = restartCount === 1 ? 'exited once' : `exited ${restartCount} times`;
  const code = lastExitCode === undefined ? '' : `, last with exit code ${lastExitCode}`;
  return ` (${times}${code})`;
}
