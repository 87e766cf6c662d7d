import { shownPath } from '../../definitions/findings.ts';
import type { Component, DesiredService } from '../../definitions/types.ts';
import { labelsOf } from '../../node/engine/request.ts';
import { LABELS } from '../../node/types.ts';
import { prepareCommands, quoted, runCommands, shellText, type RenderOptions } from '../../plan/render.ts';
import { specDigest, specOf } from '../../plan/spec.ts';
import { certificateLines, recordLines, routeLines } from './edge.ts';
import { sorted, type Subject } from './subject.ts';
import { heldVariables, shellWords, valuesFor } from './values.ts';

export interface ShellOptions {
  readonly engine: RenderOptions['engine'];
  readonly withValues: boolean;
}

/**
 * What a definition stands for, as commands for a POSIX shell in the order in which the agent acts: images, networks and
 * volumes, certificates, containers, routes, records. Whatever is a comment is for the person who pastes it.
 */
export function shellScript(subject: Subject, options: ShellOptions): string {
  const { services, assumptions, facts, leftOut } = subject;
  const about = services.map(({ service, file }) => `${service.name} (${shownPath(file)})`).join(', ');
  const values = valuesFor(subject, options.withValues);
  const held = services.flatMap((desired) =>
    desired.service.components.flatMap((component) => heldVariables(values(desired, component))),
  );
  const lines = [
    `# ${about} on node ${facts.settings.node}, with ${options.engine}`,
    ...(leftOut.length === 0 ? [] : [`# Not active, and left out: ${leftOut.join(', ')}.`]),
    ...notes('BAD, AND LEFT OUT: not all of the node is here.', subject.bad.map(shownPath)),
    ...notes('Assumed, because it is not known here:', assumptions),
    ...notes(
      'Values of variables are not printed (--with-values prints them). Set these first:',
      [...new Set(held)].sort(),
    ),
    ...section(
      'images',
      services.flatMap((desired) => imageLines(subject, desired, options)),
    ),
    ...section(
      'networks and volumes',
      unique(
        services
          .filter(({ service }) => service.active)
          .flatMap((desired) => prepareLines(subject, desired, options)),
      ),
    ),
    ...section('certificates', certificateLines(subject)),
    ...section(
      'containers',
      services.flatMap((desired) => {
        const { service, heldBack } = desired;
        const ordered = sorted(service.components, ({ name, after = [] }) => ({ name, after }));
        return [
          ...(heldBack ? [`# ${service.name}: its newest file is bad, this is its last good state`] : []),
          ...(service.active
            ? []
            : [
                `# ${service.name} is not active: the agent runs nothing of it, and nothing of it is run here`,
              ]),
          ...restingLines(
            service.active,
            ordered.flatMap((component) => containerLines(subject, desired, component, options)),
          ),
        ];
      }),
    ),
    ...section('routes', routeLines(subject)),
    ...section('records', recordLines(subject)),
  ];
  return `${lines.join('\n')}\n`;
}

/** What an inactive service would run, to be read only. */
function restingLines(isActive: boolean, lines: readonly string[]): string[] {
  return isActive ? [...lines] : lines.flatMap((text) => text.split('\n')).map((line) => `# ${line}`);
}

function containerLines(
  subject: Subject,
  desired: DesiredService,
  component: Component,
  { engine, withValues }: ShellOptions,
): string[] {
  const spec = specOf(subject.facts, desired.service, component);
  const labels = labelsOf(spec, specDigest(spec, OFFLINE_KEY));
  const values = shellWords(valuesFor(subject, withValues)(desired, component));
  const predecessor =
    component.replaces === undefined || component.replaces === spec.name
      ? []
      : [`# It takes the place of a container: ${engine} stop ${quoted(component.replaces)}`];
  return [...predecessor, ...runCommands(spec, { engine, labels, values }).map(shellText)];
}

/** The agent takes another key for a lost one: it knows the container by the part of the label without hashes. */
const OFFLINE_KEY = 'offline';

function prepareLines({ facts }: Subject, { service }: DesiredService, { engine }: ShellOptions): string[] {
  const label = `${LABELS.owner}=${facts.settings.owner}`;
  return service.components.flatMap((component) =>
    prepareCommands(specOf(facts, service, component), { engine, label }).map(shellText),
  );
}

/** Comments: which of them is the right one depends on where the image still is. */
function imageLines(
  { settings, hasSettings }: Subject,
  { service }: DesiredService,
  { engine }: ShellOptions,
): string[] {
  const seen = new Set<string>();
  return service.components.flatMap(({ image, dockerfile }) => {
    if (seen.has(image.reference)) return [];
    seen.add(image.reference);
    const name = service.path.replaceAll('/', '-');
    const { workspace, sources } = settings.build;
    const from = hasSettings
      ? workspace === undefined
        ? sources?.replaceAll('{path}', service.path)
        : `${workspace}/${service.path}`
      : undefined;
    const clone = `git clone --branch ${quoted(image.tag)} ${from === undefined ? `<source repository ${service.path}>` : quoted(from)} ${quoted(name)}`;
    const build = `${engine} build --build-arg ${quoted(`VERSION=${image.tag}`)} --tag ${quoted(image.reference.replace(/@.*$/, ''))} --file ${quoted(`${name}/${dockerfile ?? ''}`)} ${quoted(name)}`;
    return [
      `# ${image.reference}, where this engine does not have it:`,
      ...(image.host === undefined ? [] : [`#   ${engine} pull ${quoted(image.reference)}`]),
      ...(dockerfile === undefined ? [] : [`#   ${clone} && ${build}`]),
    ];
  });
}

function section(title: string, lines: readonly string[]): string[] {
  return lines.length === 0 ? [] : ['', `# --- ${title}`, ...lines];
}

function notes(title: string, lines: readonly string[]): string[] {
  return lines.length === 0 ? [] : [`# ${title}`, ...lines.map((line) => `# - ${line}`)];
}

function unique(lines: readonly string[]): string[] {
  return [...new Set(lines)];
}
