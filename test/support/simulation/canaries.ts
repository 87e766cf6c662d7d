import { cpSync, mkdtempSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import type { Program } from './agent.ts';

/** A bug planted in a copy of the program: these texts of one file become others. */
export interface Canary {
  readonly bug: string;
  readonly file: string;
  readonly patches: readonly (readonly [from: string, to: string])[];
  /** What catches this bug too is taken out, so that it is seen that this bug is. */
  readonly without?: Pick<Canary, 'file' | 'patches'>;
}

const ROOT = fileURLToPath(new URL('../../../', import.meta.url));

/** Bugs that others have had, or that this program nearly had. Each must be found by a life of faults. */
export const CANARIES: readonly Canary[] = [
  {
    bug: 'the name alone is trusted, not what the container was made of',
    file: 'plan/standing.ts',
    patches: [['inPlace !== undefined && (fits(inPlace) || isCosmetic);', 'inPlace !== undefined;']],
  },
  {
    bug: 'foreign containers count as ours',
    file: 'plan/facts.ts',
    patches: [
      [
        '(containersByService(engine.value.containers).get(`${facts.settings.owner} ${service}`) ?? [])',
        'engine.value.containers.filter(({ identity }) => identity?.service === service)',
      ],
      [
        '(containersByOwner(engine.value.containers).get(facts.settings.owner) ?? [])',
        'engine.value.containers',
      ],
    ],
  },
  {
    bug: 'the old one is stopped before the new one is made',
    file: 'plan/swap.ts',
    patches: [
      ['    ...create,\n    ...takeOverSteps', '    ...retire,\n    ...create,\n    ...takeOverSteps'],
      ['facts, desired, standings, because),\n    ...retire,', 'facts, desired, standings, because),'],
    ],
  },
  {
    bug: 'the old one is not set aside',
    file: 'plan/swap.ts',
    patches: [
      ['facts, desired, standings, because),\n    ...retire,', 'facts, desired, standings, because),'],
    ],
  },
  {
    bug: 'the old one goes at once, before the new one is proved',
    file: 'plan/settle.ts',
    patches: [['isWatched = isOwed && provedAt > facts.now', 'isWatched = isOwed && provedAt < 0']],
  },
  {
    bug: 'running counts as ready',
    file: 'plan/ready.ts',
    patches: [
      [
        "if (probe?.kind === 'ready') return { kind: 'ready', since: probe.since };",
        "if (probe !== undefined) return { kind: 'ready', since: probe.since };",
      ],
    ],
  },
  {
    bug: 'what stopped is not started again',
    file: 'plan/settle.ts',
    patches: [
      [
        "    if (state.kind === 'start') {\n",
        "    if (state.kind === 'start') {\n      if (current.startedAt !== undefined) { readySince = undefined; continue; }\n",
      ],
    ],
  },
  {
    bug: 'a route comes before its certificate',
    file: 'plan/routes.ts',
    patches: [["if (route.mode === 'l7' && certificate?.kind !== 'valid') return [];", '']],
  },
  {
    bug: 'old routes are never taken away',
    file: 'plan/routes.ts',
    patches: [['complete && wanted.length === all.length\n', 'all.length < 0\n']],
  },
  {
    bug: 'a container is stopped although nobody knows whether its route is gone',
    file: 'plan/stop.ts',
    patches: [
      [
        "if (!proxy.known) return { steps: [], waiting: [{ service, for: 'proxy', why: proxy.why }] };",
        'if (!proxy.known) return { steps: [], waiting: [] };',
      ],
    ],
  },
  {
    bug: 'a stop forgets the routes',
    file: 'plan/stop.ts',
    patches: [['steps: [...routes.steps, ...stops, ...records', 'steps: [...stops, ...records']],
  },
  {
    bug: 'a removal forgets the service and not its containers',
    file: 'plan/stop.ts',
    patches: [['...records.steps, ...containers, ...network, ...forget]', '...records.steps, ...forget]']],
  },
  {
    bug: 'services are removed while a file cannot be read',
    file: 'plan/guard.ts',
    patches: [['if (desired.unreadable) {', 'if (desired.services.length < 0) {']],
  },
  {
    bug: 'an image that cannot be seen counts as absent',
    file: 'plan/image.ts',
    patches: [
      [
        "    case 'unknown':\n      return notYet(waiting(state.why, unknownMore(state, facts.now)));",
        "    case 'unknown':\n      return absentImage(facts, desired, component, because);",
      ],
    ],
  },
  {
    bug: 'nobody is told what is waited for',
    file: 'plan/service.ts',
    patches: [
      ['waiting: [...staging.waiting, ...kept.waiting, ...(routes?.waiting ?? [])],', 'waiting: [],'],
    ],
  },
  {
    bug: 'an engine that cannot be seen is an empty one, and silently',
    file: 'plan/plan.ts',
    patches: [
      [
        'if (!engine.known) return allWaiting(facts, engine.why);',
        'if (!engine.known) return { ...allWaiting(facts, engine.why), waiting: [] };',
      ],
    ],
  },
  {
    bug: 'a lease is not written down',
    file: 'execute/perform.ts',
    patches: [
      ["'lease-ports': (step, { registry }) => registry.lease(step.leases)", "'lease-ports': () => ok()"],
    ],
  },
  {
    bug: 'leases of routes that are gone are kept',
    file: 'plan/leases.ts',
    patches: [
      [
        '(leasesByService(facts.promised.leases).get(service.name) ?? []).filter(',
        "(leasesByService(facts.promised.leases).get('') ?? []).filter(",
      ],
    ],
  },
  {
    bug: 'the act comes before its intent is written',
    file: 'execute/execute.ts',
    patches: [
      [
        'const intent = registry.intend(',
        'const early = await perform(step, tools).catch((error: unknown) => bug(error));\n  const intent = registry.intend(',
      ],
      ['outcome = await perform(step, tools);', 'outcome = await Promise.resolve(early);'],
    ],
  },
  {
    bug: 'the chain of a service goes on after a step that failed',
    file: 'execute/execute.ts',
    patches: [
      [
        '      remember(service, result.outcome, tools, occasion);\n      return;',
        '      remember(service, result.outcome, tools, occasion);',
      ],
    ],
  },
  {
    bug: 'a service gets another step while one of it is under way',
    file: 'plan/plan.ts',
    patches: [['withoutBusy(facts, part)', 'withoutBusy({ ...facts, busy: [] }, part)']],
  },
  {
    bug: 'a step is journalled without its reason',
    file: 'execute/execute.ts',
    patches: [
      [
        '{ service, kind, subject, because, startedAt }',
        "{ service, kind, subject, because: { summary: '' }, startedAt }",
      ],
    ],
  },
  {
    bug: 'the values of variables are logged',
    file: 'execute/execute.ts',
    patches: [
      [
        "if (outcome.kind === 'ok') log.info(fields,",
        "if (outcome.kind === 'ok') log.info({ ...fields, env: [...tools.values.values()].map((one) => [...one.values()]) },",
      ],
    ],
  },
  {
    bug: 'the last good state of a bad file is forgotten',
    file: 'reading.ts',
    patches: [
      ['lastGood: new Map([...lastGood].filter(([, { file }]) => isRead(file))),', 'lastGood: new Map(),'],
    ],
  },
  {
    bug: 'stray routes are left',
    file: 'plan/routes.ts',
    patches: [['return [...new Set([...marked, ...failed])]', 'return [...new Set([...failed])]']],
  },
  {
    bug: 'the budget is not looked at',
    file: 'plan/guard.ts',
    patches: [['  if (count > budget) {', '  if (count > 100 * budget) {']],
  },
  {
    bug: 'a missing mount does not stop a start',
    file: 'plan/staging.ts',
    patches: [
      [
        "if (state.kind === 'present') return READY;\n  const why",
        "if (state.kind !== 'unknown') return READY;\n  const why",
      ],
    ],
  },
  {
    bug: 'one port is leased twice',
    file: 'plan/leases.ts',
    patches: [['const used = [taken, listening, published, fixed];', 'const used = [listening, fixed];']],
  },
  {
    bug: 'what was made late stays beside the one in place',
    file: 'plan/service.ts',
    patches: [
      [
        'steps: [...lease, ...abandonedSteps(desired, standings, because), ...settled.steps],',
        'steps: [...lease, ...settled.steps],',
      ],
    ],
  },
  {
    bug: 'certificates outlive their names',
    file: 'plan/housekeeping.ts',
    patches: [['if (gone.length === 0) return nothing;', 'if (gone.length >= 0) return nothing;']],
  },
  {
    bug: 'a certificate goes while a stopped service has its name',
    file: 'plan/housekeeping.ts',
    patches: [['left.filter(({ hostname }) => !used.has(hostname))', 'left.filter(() => used.size >= 0)']],
  },
  {
    bug: 'work that nobody wants goes on',
    file: 'plan/housekeeping.ts',
    patches: [
      [
        'Object.entries(observed.strayWork ?? {})',
        'Object.entries({} as NonNullable<typeof observed.strayWork>)',
      ],
    ],
  },
  {
    bug: 'the records of a version that is kept come and go',
    file: 'plan/records.ts',
    patches: [['own.includes(hostname) || seen', '(own.length < 0 && own.includes(hostname)) || seen']],
  },
  {
    bug: 'the certificates of a version that is kept are not looked at',
    file: 'plan/look.ts',
    patches: [['[...kept, ...edges, ...active]', '[...kept.slice(kept.length), ...edges, ...active]']],
  },
  {
    bug: 'a wait is measured by a clock that somebody can set',
    file: 'plan/facts.ts',
    patches: [
      [
        'return from > now + LOOKING_MS ? now : from + ms;',
        'return from + Math.max(ms, now - now + LOOKING_MS * 0);',
      ],
    ],
  },
  {
    bug: 'a clock that was set forward takes the time of what is being tried',
    file: 'registry/clock.ts',
    patches: [['Math.abs(movedMs) < CLOCK_SET_MS', 'movedMs < CLOCK_SET_MS * Infinity']],
    without: {
      file: 'plan/trial.ts',
      patches: [['lateMs > MISSED_MS', 'lateMs > MISSED_MS * Infinity']],
    },
  },
  {
    bug: 'a name that a name server refused once is never tried again',
    file: 'plan/records.ts',
    patches: [
      [
        'if (differs && failed !== undefined && failed.retryAt > facts.now) {',
        "if (failed !== undefined && failed.retryAt <= facts.now) return { kind: 'good' };\n  if (differs && failed !== undefined) {",
      ],
    ],
  },
  {
    bug: 'only the first name server is looked at',
    file: 'plan/records.ts',
    patches: [
      [
        'let differs = false;\n  for (const { server, seen: at } of seen.servers) {',
        'let differs = false;\n  for (const { server, seen: at } of seen.servers.slice(0, 1)) {',
      ],
    ],
  },
  {
    bug: 'a name server that is down keeps the other from its records',
    file: 'plan/records.ts',
    patches: [['if (unknown !== undefined && !differs)', 'if (unknown !== undefined)']],
  },
  {
    bug: 'the proxy goes on with a certificate that has ended',
    file: 'plan/routes.ts',
    patches: [['(route) => stale.has(keyOf(route)) || !stands', '(route) => !stands']],
  },
  {
    bug: 'a route goes when its certificate has ended',
    file: 'plan/routes.ts',
    patches: [
      [
        'const keep = new Set(all.map((route) => keyOf({ listenerPort: route.port, hostname: route.hostname })));',
        'const keep = new Set(wanted.map((route) => keyOf(route)));',
      ],
      ['complete && wanted.length === all.length\n', 'complete\n'],
    ],
  },
  {
    bug: 'a certificate that has ended is not issued again',
    file: 'plan/certificates.ts',
    patches: [
      [
        "if (facts.settings.certificates !== 'files') return order();",
        "if (facts.settings.certificates !== 'files' && state.endedAt === undefined) return order();",
      ],
    ],
  },
];

/** A copy of the program with the bug in it. A bug whose place is gone is an error: it has to be planted anew. */
export async function planted({
  bug,
  file,
  patches,
  without,
}: Canary): Promise<Program & { readonly remove: () => void }> {
  mkdirSync(join(ROOT, '.tmp'), { recursive: true });
  const copy = mkdtempSync(join(ROOT, '.tmp', 'canary-'));
  cpSync(join(ROOT, 'src'), join(copy, 'src'), { recursive: true });
  cpSync(join(ROOT, 'package.json'), join(copy, 'package.json'));
  for (const part of [{ file, patches }, ...(without === undefined ? [] : [without])]) {
    const path = join(copy, 'src', part.file);
    let text = readFileSync(path, 'utf8');
    for (const [from, to] of part.patches) {
      if (!text.includes(from))
        throw new Error(`"${bug}" has to be planted anew: src/${part.file} has no longer "${from}"`);
      text = text.replace(from, () => to);
    }
    writeFileSync(path, text);
  }
  const load = async <T>(name: string): Promise<T> =>
    (await import(pathToFileURL(join(copy, 'src', name)).href)) as T;
  const { runPass } = await load<Pick<Program, 'runPass'>>('pass.ts');
  const { registryOn } = await load<Pick<Program, 'registryOn'>>('registry/registry.ts');
  const { clockWatch, onRightClock } =
    await load<Pick<Program, 'clockWatch' | 'onRightClock'>>('registry/clock.ts');
  return {
    runPass,
    registryOn,
    clockWatch,
    onRightClock,
    remove: () => rmSync(copy, { recursive: true, force: true }),
  };
}
