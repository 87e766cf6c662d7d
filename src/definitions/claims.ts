import type { TomlPath } from '../base/tomlindex.ts';
import { overlaps } from './fields.ts';
import { finding, order, shownPath, type Finding } from './findings.ts';

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

/** `heldBy`: claims of the last good state of a file. The incumbent keeps what it holds and the newcomer is refused; of two newcomers both are (house.md section 4, L16). */
export function judgeClaims(
  contenders: readonly Contender[],
  heldBy: (file: string) => readonly Claim[],
): Conflict[] {
  const groups = contested(contenders);
  if (groups.length === 0) return [];
  const isHeld = (claim: Claim): boolean =>
    heldBy(claim.file).some((held) => held.slot === claim.slot && held.ip === claim.ip);
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

/** The claims that stand more than once, in the order of the contenders. Of ten thousand services nearly none does. */
function contested(contenders: readonly Contender[]): Claim[][] {
  const { many, bySlot } = enter(contenders);
  if (many.size === 0) return [];
  const place = new Map(contenders.map(({ file }, at) => [file, at]));
  const placeOf = ({ file }: Claim): number => place.get(file) ?? 0;
  return [...many].sort(order).map((slot) => {
    const group = bySlot.get(slot);
    return Array.isArray(group) ? [...group].sort((a, b) => placeOf(a) - placeOf(b)) : [];
  });
}

interface Register {
  readonly byFile: Map<string, readonly Claim[]>;
  /** The one claim of a slot, or all of them. */
  readonly bySlot: Map<string, Claim | Claim[]>;
  /** Slots that are claimed more than once. */
  readonly many: Set<string>;
}

/** Of the set that was judged last. A commit changes a few of its files: only those are entered anew. */
let register: Register = { byFile: new Map(), bySlot: new Map(), many: new Set() };

/** The register of these contenders, whatever it was of before. */
function enter(contenders: readonly Contender[]): Register {
  const known = register.byFile;
  const fresh = contenders.filter(({ file, claims }) => known.get(file) !== claims);
  const added = fresh.reduce((sum, { file }) => sum + (known.has(file) ? 0 : 1), 0);
  const isAnother = fresh.length * 4 > contenders.length;
  if (isAnother) register = { byFile: new Map(), bySlot: new Map(), many: new Set() };
  else if (known.size + added > contenders.length) {
    const there = new Set(contenders.map(({ file }) => file));
    for (const file of known.keys()) if (!there.has(file)) withdraw(register, file);
  }
  for (const { file, claims } of isAnother ? contenders : fresh) {
    withdraw(register, file);
    register.byFile.set(file, claims);
    for (const claim of claims) {
      const before = register.bySlot.get(claim.slot);
      if (before === undefined) register.bySlot.set(claim.slot, claim);
      else {
        register.bySlot.set(claim.slot, Array.isArray(before) ? [...before, claim] : [before, claim]);
        register.many.add(claim.slot);
      }
    }
  }
  return register;
}

function withdraw({ byFile, bySlot, many }: Register, file: string): void {
  for (const claim of byFile.get(file) ?? []) {
    const there = bySlot.get(claim.slot);
    const left = Array.isArray(there) ? there.filter((other) => other !== claim) : [];
    const [only] = left;
    if (only === undefined) bySlot.delete(claim.slot);
    else bySlot.set(claim.slot, left.length === 1 ? only : left);
    if (left.length < 2) many.delete(claim.slot);
  }
  byFile.delete(file);
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
