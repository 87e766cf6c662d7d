import type { Built } from './build.ts';
import type { Claim } from './claims.ts';
import type { Draft } from './draft.ts';
import { nameOf } from './files.ts';
import type { Finding } from './findings.ts';
import type { WaitFault, Waiter } from './waits.ts';

/** A file on its way: its newest state, its last good one, and which of the two is in force. */
export interface Candidate {
  readonly path: string;
  /** Absent when the commit has an entry that was not read. */
  readonly draft?: Draft;
  /** Good by itself and for its node. */
  readonly newest?: Built;
  /** What can be known of a newest state that is not good; only for telling. */
  readonly shadow?: Built;
  readonly last?: { readonly draft: Draft; readonly built: Built; readonly commit: string };
  readonly findings: Finding[];
  standing: 'newest' | 'last' | 'none';
}

/** The claims as those of this file: a last good state may have been taken from another folder. */
export function at(claims: readonly Claim[], file: string): readonly Claim[] {
  return claims[0]?.file === file ? claims : claims.map((claim) => ({ ...claim, file }));
}

export function standing(candidate: Candidate): Built | undefined {
  if (candidate.standing === 'newest') return candidate.newest;
  return candidate.standing === 'last' ? candidate.last?.built : undefined;
}

export function heldBy(candidate: Candidate | undefined): readonly Claim[] {
  return candidate === undefined ? [] : at(candidate.last?.built.claims ?? [], candidate.path);
}

export function addFindings(candidates: readonly Candidate[], faults: readonly WaitFault[]): void {
  if (faults.length === 0) return;
  const byPath = new Map(candidates.map((candidate) => [candidate.path, candidate]));
  for (const { path, finding: found } of faults) byPath.get(path)?.findings.push(found);
}

export function waiterOf(candidate: Candidate): Waiter {
  const { path, draft, last } = candidate;
  const built = standing(candidate);
  const service = draft?.service ?? nameOf(path);
  return {
    path,
    isNewest: candidate.standing === 'newest',
    ...(built === undefined ? {} : { standing: built }),
    ...(last === undefined ? {} : { last: last.built }),
    ...(service === undefined ? {} : { service }),
    ...(draft?.node === undefined ? {} : { node: draft.node }),
  };
}
