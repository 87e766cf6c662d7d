import { createHash } from 'node:crypto';
import { redact } from '../base/secret.ts';
import type { Desired } from '../definitions/types.ts';
import type { Plan } from '../plan/types.ts';
import type { Promised } from '../registry/types.ts';
import type { Cause } from './causes.ts';
import { withoutNumbers } from './told.ts';

/** Definitions that cannot be used: what was good before stays. */
export function heldBack({ services, refused: unusable, issues }: Desired): Cause[] {
  const names = [
    ...services.filter((entry) => entry.heldBack).map(({ service }) => service.name),
    ...unusable,
  ];
  return names.map((service): Cause => {
    const issue = issues.find((entry) => entry.service === service && entry.severity === 'error');
    const state = unusable.includes(service)
      ? 'it has no good state to fall back on'
      : 'its last good state stays';
    const why =
      issue === undefined
        ? 'its newest definition cannot be used'
        : `${issue.file}:${issue.line}:${issue.column} ${redact(issue.message)}`;
    return {
      ...{ key: `held back ${service}`, kind: 'held back', service, afterMs: 0 },
      text: `${service} is held back: ${why}; ${state}`,
      ...(issue === undefined ? {} : { hint: redact(issue.hint) }),
    };
  });
}

/** A version that was not proved: it is on its way back, or held back until git changes its service. */
export function gaveWay({ trials }: Promised, printed: ReadonlySet<string> = new Set()): Cause[] {
  return trials.flatMap(({ service, digest, phase, why }): Cause[] => {
    const because = why === undefined ? '' : `: ${redact(why)}`;
    const of = { service, afterMs: 0 };
    const where = printed.has(service) ? [`\`mc-gitops status ${service}\` has what it printed last.`] : [];
    if (phase === 'returning')
      return [
        {
          ...{ key: `returned ${service} ${digest}`, kind: 'returned', ...of },
          text: `${service} returns to its last proved version${because}`,
          ...(where.length === 0 ? {} : { hint: where.join('') }),
        },
      ];
    if (phase !== 'held back') return [];
    return [
      {
        ...{ key: `held back ${service} ${digest}`, kind: 'held back', ...of },
        text: `a version of ${service} was not proved and is held back${because}`,
        hint: [
          ...where,
          'Push a changed definition, or raise `generation` to have the same one tried again.',
        ].join(' '),
      },
    ];
  });
}

/** Services that are refused for one reason (the removal budget) are one cause. */
export function refused({ refused: entries }: Plan): Cause[] {
  const groups = new Map<string, Plan['refused'][number][]>();
  for (const entry of entries) groups.set(entry.why, [...(groups.get(entry.why) ?? []), entry]);
  return [...groups].map(([why, group]): Cause => {
    const services = group.map(({ service }) => service).sort();
    const only = services.length === 1 ? services[0] : undefined;
    // How many services there are by now makes it no other cause.
    const digest = createHash('sha256').update(withoutNumbers(why)).digest('hex').slice(0, 12);
    return {
      ...{ key: `refused ${services.join(',')} ${digest}`, kind: 'refused', afterMs: 0 },
      ...(only === undefined ? {} : { service: only }),
      text: `${services.join(', ')}: refused: ${redact(why)}`,
      hint: redact(group[0]?.hint ?? ''),
    };
  });
}
