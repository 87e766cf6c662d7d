import type { TomlPath } from '../base/tomlindex.ts';
import { overlaps } from './fields.ts';
import { finding, shownPath, type Finding } from './findings.ts';

/** Something that one service has for itself alone. */
export interface Claim {
  readonly file: string;
  readonly service: string;
  readonly kind: 'service' | 'container' | 'replaces' | 'route' | 'port';
  /** Equal keys of a kind exclude each other; of ports only when their addresses overlap. */
  readonly key: string;
  /** Kind and key in one. */
  readonly slot: string;
  /** Where the file says so. */
  readonly path: TomlPath;
  readonly ip?: string;
}

/** A definition that is, or would be, in force. */
export interface Contender {
  readonly file: string;
  readonly claims: readonly Claim[];
  /** Claims of its last good state: what it holds already. */
  held(): readonly Claim[];
}

export interface Conflict {
  /** The file that does not get what it claims. */
  readonly file: string;
  readonly finding: Finding;
}

const RULE = {
  service: 'service/duplicate',
  container: 'component/container-duplicate',
  replaces: 'component/replaces-duplicate',
  route: 'route/duplicate',
  port: 'ports/duplicate',
} as const;

/** The incumbent keeps what it holds and the newcomer is refused; of two newcomers both are (house.md section 4, L16). */
export function judgeClaims(contenders: readonly Contender[]): Conflict[] {
  const groups = contested(contenders);
  if (groups.length === 0) return [];
  const contenderOf = new Map(contenders.map((contender) => [contender.file, contender]));
  const isHeld = (claim: Claim): boolean =>
    contenderOf
      .get(claim.file)
      ?.held()
      .some((held) => held.slot === claim.slot && held.ip === claim.ip) ?? false;
  const conflicts: Conflict[] = [];
  for (const group of groups) {
    for (const claim of group) {
      const rivals = group.filter((other) => other !== claim && overlaps(claim.ip, other.ip));
      const lost = isHeld(claim) ? undefined : rivals[0];
      // Twice in one file: the later place is told, and there is no incumbent.
      const twice = rivals.find(
        (other) => other.file === claim.file && group.indexOf(other) < group.indexOf(claim),
      );
      const rival =
        twice ?? (lost?.file === claim.file ? rivals.find((other) => other.file !== claim.file) : lost);
      if (rival === undefined) continue;
      const incumbent = rivals.find((other) => other.file !== claim.file && isHeld(other));
      conflicts.push({
        file: claim.file,
        finding: finding(
          RULE[claim.kind],
          claim.path,
          describe(claim, incumbent ?? rival, incumbent !== undefined),
        ),
      });
    }
  }
  return conflicts;
}

/** The claims that stand more than once. Of ten thousand services nearly none does. */
function contested(contenders: readonly Contender[]): Claim[][] {
  const first = new Map<string, Claim>();
  const many = new Map<string, Claim[]>();
  for (const { claims } of contenders) {
    for (const claim of claims) {
      const before = first.get(claim.slot);
      if (before === undefined) {
        first.set(claim.slot, claim);
        continue;
      }
      const group = many.get(claim.slot);
      if (group === undefined) many.set(claim.slot, [before, claim]);
      else group.push(claim);
    }
  }
  return [...many.values()];
}

function describe(claim: Claim, rival: Claim, isIncumbent: boolean): string {
  const who =
    rival.file === claim.file
      ? 'another place of this file'
      : `"${rival.service}" (${shownPath(rival.file)})`;
  return `${subject(claim)} is also claimed by ${who}${isIncumbent ? ', which has it already' : ''}`;
}

function subject({ kind, key }: Claim): string {
  const [node = '', name = ''] = key.split(' ');
  if (kind === 'route') return key;
  if (kind === 'service') return `the service "${name}" of ${node}`;
  if (kind === 'replaces') return `the container "${name}" of ${node}, which runs already,`;
  return kind === 'container' ? `the container "${name}" of ${node}` : `the fixed port ${name} of ${node}`;
}
