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
  readonly kind: 'good' | 'bad version' | 'no image' | 'broken file';
}

/** A change that a fault needs to find its step. */
export type Wish = 'remove' | 'stop' | 'shrink';

const WISHES: Readonly<Record<Wish, number>> = { remove: 0, stop: 1, shrink: 10 };

/** What the repository holds: a draft a service. */
export class Story {
  readonly #dice: Dice;
  #drafts = new Map<string, Draft>();
  #gone = new Set<string>();
  #commits = 0;

  constructor(dice: Dice) {
    this.#dice = dice;
    const count = 6 + dice.below(2);
    for (const name of NAMES.slice(0, count))
      this.#drafts.set(name, { ...this.#draft(), kind: 'good', active: true });
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
      this.#drafts.set(name, { ...draft, kind: 'good', version: draft.version + 1 });
    const idle = [...this.#drafts].flatMap(([name, draft]) => (draft.active ? [] : [name]));
    const names = [...this.#gone, ...idle].map((name) => `"${name}"`).join(', ');
    return { ...this.files(), ...(names === '' ? {} : { 'removals.toml': `services = [${names}]\n` }) };
  }

  files(): Readonly<Record<string, string>> {
    return Object.fromEntries(
      [...this.#drafts].map(([name, draft]) => [`services/${name}.toml`, textOf(name, draft)]),
    );
  }

  #change(wish?: Wish): void {
    const dice = this.#dice;
    const there = [...this.#drafts];
    const large = there.filter(([, one]) => one.parts > 1);
    const name = wish === undefined ? dice.pick(NAMES) : dice.pick(large.length > 0 ? large : there)[0];
    const draft = this.#drafts.get(name);
    if (draft === undefined) {
      this.#drafts.set(name, { ...this.#draft(), kind: 'good' });
      this.#gone.delete(name);
      return;
    }
    const what = wish === undefined ? dice.below(10) : WISHES[wish];
    if (what === 0 && this.#drafts.size > 5) {
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

  #draft(): Draft {
    const dice = this.#dice;
    return {
      version: 1,
      parts: 1 + dice.below(3),
      hostname: dice.below(4),
      port: dice.chance(0.3),
      active: !dice.chance(0.1),
      mount: dice.chance(0.3),
      builds: dice.chance(0.4),
      kind: 'good',
    };
  }
}

function textOf(name: string, draft: Draft): string {
  if (draft.kind === 'broken file') return `name = "${name}"\nnode = \n`;
  const tags = { good: '', 'bad version': '-bad', 'no image': '-none', 'broken file': '' };
  const tag = `v1.${draft.version}.0${tags[draft.kind]}`;
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
      draft.port && l7 ? `ports = ["${5300 + NAMES.indexOf(name as (typeof NAMES)[number])}:53/udp"]\n` : ''
    }${
      isJob
        ? ''
        : `[[components.routes]]\nport = ${l7 ? 443 : 8443}\nmode = "${l7 ? 'l7' : 'l4'}"\n${hostname}`
    }`;
  });
  return `name = "${name}"\nnode = "n1"\n${draft.active ? '' : 'active = false\n'}${builds}${lines.join('\n')}`;
}
