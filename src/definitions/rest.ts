import type { TomlPath } from '../base/tomlindex.ts';
import type { Built } from './build.ts';
import { at, heldBy, standing, waiterOf, type Candidate } from './candidate.ts';
import { judgeClaims, type Claim } from './claims.ts';
import type { Finding } from './findings.ts';
import { doubtsOf } from './salvage.ts';
import { idleWaits, judgeWaits } from './waits.ts';

/** What was built of a bad file, without everything that stands on what is bad in it. */
export function withoutDoubt(built: Built, bad: readonly TomlPath[]): Built {
  const doubts = doubtsOf(bad);
  const isSure = ({ kind, path }: Claim): boolean => {
    if (kind !== 'route') return !doubts.at(path);
    const route = path.slice(0, -1);
    return !doubts.at([...route, 'hostname']) && !doubts.at([...route, 'port']);
  };
  return {
    ...built,
    claims: built.claims.filter(isSure),
    findings: built.findings.filter((found) => !doubts.about(found)),
    good: false,
  };
}

/**
 * Tells what is wrong between files also of those of which another fault is known already: whoever mends that one would
 * only then be shown the next. Only files whose newest state is not in force are told anything, and nothing of it changes
 * what is: a good file is not held back by what a bad one wants (L33).
 */
export function tellRest(candidates: readonly Candidate[]): void {
  const bad = new Map<string, Candidate>();
  for (const candidate of candidates) {
    if (candidate.standing !== 'newest' && wanted(candidate) !== undefined)
      bad.set(candidate.path, candidate);
  }
  if (bad.size === 0) return;
  const contenders = candidates.flatMap((candidate) => {
    const claims = (wanted(candidate) ?? standing(candidate))?.claims;
    return claims === undefined ? [] : [{ file: candidate.path, claims: at(claims, candidate.path) }];
  });
  const byPath = new Map(candidates.map((candidate) => [candidate.path, candidate]));
  const add = adder(bad);
  const conflicts = judgeClaims(contenders, (path) => heldBy(byPath.get(path)));
  for (const { file, finding } of conflicts) add(file, finding);
  const waiters = candidates.map((candidate) => {
    const built = wanted(candidate);
    return built === undefined
      ? waiterOf(candidate)
      : { ...waiterOf(candidate), standing: built, isNewest: true };
  });
  for (const { path, finding } of [...judgeWaits(waiters), ...idleWaits(waiters)]) add(path, finding);
}

/** The newest state, as far as it can be known. */
function wanted({ newest, shadow }: Candidate): Built | undefined {
  return newest ?? shadow;
}

/** Nothing is told twice at one place. */
function adder(bad: ReadonlyMap<string, Candidate>): (file: string, found: Finding) => void {
  const placeOf = ({ rule, path }: Finding): string => JSON.stringify([rule, path]);
  const told = new Map([...bad].map(([file, { findings }]) => [file, new Set(findings.map(placeOf))]));
  return (file, found) => {
    const places = told.get(file);
    const place = placeOf(found);
    if (places === undefined || places.has(place)) return;
    places.add(place);
    bad.get(file)?.findings.push(found);
  };
}
