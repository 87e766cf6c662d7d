import { SUFFIX } from '../definitions.ts';
import type { Dice } from './random.ts';

const NAMES = ['aa', 'bb', 'cc', 'mc', 'mc-proxy', 'ee', 'ff', 'gg'] as const;
/** Stands in the environment of every service, and may stand nowhere else. */
export const SECRET = 'canary/9f27+b1"e4=c0d3';

/** One definition as a few numbers: its variants differ in version, components, routes, ports, mounts and jobs. */
interface Draft {
  readonly version: number;
  readonly parts: number;
  readonly hostname: number;
  readonly port: boolean;
  readonly active: boolean;
  readonly mount: boolean;
  readonly builds: boolean;
  /** The container started by hand, `hand-<name>`, whose place it takes. */
  readonly replaces: boolean;
  readonly blueGreen: boolean;
  /** Starts only once `aa` is well. */
  readonly after: boolean;
  readonly kind: 'good' | 'bad version' | 'no image' | 'broken file';
}

/** A change that a fault needs to find its step. */
export type Wish = 'remove' | 'stop' | 'shrink' | 'bad' | 'take' | 'give' | 'beside' | 'version' | 'build';

const WISHES: Readonly<Record<Wish, number>> = {
  ...{ remove: 0, stop: 1, shrink: 10, bad: 3, take: 11, give: 12, beside: 13, version: 5, build: 14 },
};

/** What the repository holds: a draft a service. */
export class Story {
  readonly #dice: Dice;
  #drafts = new Map<string, Draft>();
  #gone = new Set<string>();
  #commits = 0;

  constructor(dice: Dice, wish?: Wish) {
    this.#dice = dice;
    const count = 6;
    for (const name of NAMES.slice(0, count))
      this.#drafts.set(name, { ...this.#draft(), kind: 'good', active: true });
    const first = this.#drafts.get('aa');
    if (first === undefined) return;
    if (wish === 'take' || wish === 'give')
      this.#drafts.set('aa', { ...first, replaces: true, kind: wish === 'give' ? 'bad version' : 'good' });
    if (wish === 'beside') this.#drafts.set('aa', { ...first, blueGreen: true, port: false, mount: false });
  }

  commits(): number {
    return this.#commits;
  }

  isBroken(): boolean {
    return [...this.#drafts.values()].some(({ kind }) => kind === 'broken file');
  }

  /** The next commit: one to three services change, come or go; one of them as wished. */
  next(wish?: Wish): Readonly<Record<string, string>> {
    if (this.#commits > 0)
      for (let i = 1 + this.#dice.below(3); i > 0; i -= 1) this.#change(i === 1 ? wish : undefined);
    this.#commits += 1;
    return this.files();
  }

  /** Everything is good, every service changed once more, and what is gone is named. */
  mended(): Readonly<Record<string, string>> {
    this.#commits += 1;
    for (const [name, draft] of this.#drafts)
      this.#drafts.set(name, { ...draft, kind: 'good', version: draft.version + 1, blueGreen: false });
    const idle = [...this.#drafts].flatMap(([name, draft]) => (draft.active ? [] : [name]));
    const names = [...this.#gone, ...idle].map((name) => `"${name}"`).join(', ');
    return { ...this.files(), ...(names === '' ? {} : { 'removals.toml': `services = [${names}]\n` }) };
  }

  files(): Readonly<Record<string, string>> {
    return Object.fromEntries(
      [...this.#drafts].map(([name, draft]) => [
        `services/${name}.toml`,
        textOf(name, { ...draft, after: draft.after && name !== 'aa' && this.#drafts.has('aa') }),
      ]),
    );
  }

  #change(wish?: Wish): void {
    const dice = this.#dice;
    const name = wish === undefined ? dice.pick(NAMES) : this.#nameFor(wish);
    const draft = this.#drafts.get(name);
    if (draft === undefined) {
      this.#drafts.set(name, { ...this.#draft(), kind: 'good' });
      this.#gone.delete(name);
      return;
    }
    const what = wish === undefined ? dice.below(10) : WISHES[wish];
    if (what >= 11) this.#renew(name, draft, what);
    else if (what === 0 && this.#drafts.size > 5) {
      this.#drafts.delete(name);
      this.#gone.add(name);
    } else if (what === 1) this.#drafts.set(name, { ...draft, active: !draft.active });
    else if (what === 2) this.#drafts.set(name, { ...draft, kind: 'broken file' });
    else if (what === 3)
      this.#drafts.set(name, { ...draft, kind: 'bad version', version: draft.version + 1 });
    else if (what === 4) this.#drafts.set(name, { ...draft, kind: 'no image', version: draft.version + 1 });
    else if (what === 10)
      this.#drafts.set(name, { ...draft, kind: 'good', parts: draft.parts === 1 ? 3 : 1 });
    else if (what < 8) this.#drafts.set(name, { ...draft, kind: 'good', version: draft.version + 1 });
    else this.#drafts.set(name, { ...this.#draft(), kind: 'good', version: draft.version + 1 });
  }

  /** Whom a wish is for: what is to go, or to shrink, has a network of its own; the rest is for the one that no fault of git keeps. */
  #nameFor(wish: Wish): string {
    const large = [...this.#drafts].filter(([name, one]) => name !== 'aa' && one.parts > 1);
    const isGoing = wish === 'remove' || wish === 'shrink' || wish === 'stop';
    if (wish === 'remove' && this.#drafts.size <= 5)
      return NAMES.find((name) => !this.#drafts.has(name)) ?? 'aa';
    return isGoing && large.length > 0 ? this.#dice.pick(large)[0] : 'aa';
  }

  /** One that takes the place of what was started by hand, well or not, or one that runs beside its predecessor. */
  #renew(name: string, draft: Draft, what: number): void {
    const free = NAMES.find((one) => !this.#drafts.has(one) && !this.#gone.has(one));
    const version = draft.version + 1;
    if (what === 14) this.#drafts.set(name, { ...draft, version, active: true, builds: true, kind: 'good' });
    else if (what === 13)
      this.#drafts.set(name, {
        ...{ ...draft, version, active: true, kind: 'good' },
        ...{ blueGreen: true, port: false, mount: false },
      });
    else if (free !== undefined)
      this.#drafts.set(free, {
        ...{ ...this.#draft(), active: true, replaces: true },
        kind: what === 12 ? 'bad version' : 'good',
      });
    else this.#drafts.set(name, { ...draft, kind: 'good', version });
  }

  #draft(): Draft {
    const dice = this.#dice;
    return {
      version: 1,
      parts: dice.pick([1, 1, 2, 2, 3]),
      hostname: dice.below(4),
      port: dice.chance(0.3),
      active: !dice.chance(0.1),
      mount: dice.chance(0.3),
      builds: dice.chance(0.4),
      replaces: dice.chance(0.15),
      blueGreen: dice.chance(0.25),
      after: dice.chance(0.2),
      kind: 'good',
    };
  }
}

function textOf(name: string, draft: Draft): string {
  if (draft.kind === 'broken file') return `name = "${name}"\nnode = \n`;
  const tags = { good: '', 'bad version': '-bad', 'no image': '-none', 'broken file': '' };
  const tag = `v1.${draft.version}.0${tags[draft.kind]}`;
  const isBeside = draft.blueGreen && !draft.port && !draft.mount;
  const deploy = isBeside ? '[deploy]\nstrategy = "blue-green"\n' : '';
  const parts = [name, 'api', 'job'].slice(0, draft.parts);
  const builds = draft.builds ? `[build.images]\n${name} = "Dockerfile"\n` : '';
  const lines = parts.map((part, index) => {
    const isJob = part === 'job';
    const repository = part === name ? name : `${name}-${part}`;
    const l7 = index === 0;
    const hostname = draft.hostname === 0 ? '' : `hostname = "${part}${draft.hostname}.${name}.${SUFFIX}"\n`;
    return `[[components]]
name = "${part}"
image = "mcr.example.net/${repository}:${isJob ? 'v1.0.0' : tag}"
env = ["SETTING='${SECRET.replaceAll('"', '\\"')}'"]
${draft.mount && l7 ? `volumes = ["/srv/${name}:/data"]\n` : ''}${isJob ? 'restart = "no"\n' : ''}${
      draft.replaces && part === name ? `replaces = "hand-${name}"\n` : ''
    }${
      draft.port && l7 ? `ports = ["${5300 + NAMES.indexOf(name as (typeof NAMES)[number])}:53/udp"]\n` : ''
    }${
      isJob
        ? ''
        : `[[components.routes]]\nport = ${l7 ? 443 : 8443}\nmode = "${l7 ? 'l7' : 'l4'}"\n${hostname}`
    }`;
  });
  const after = draft.after ? 'after = ["aa"]\n' : '';
  return `name = "${name}"\nnode = "n1"\n${draft.active ? '' : 'active = false\n'}${after}${builds}${deploy}${lines.join('\n')}`;
}
