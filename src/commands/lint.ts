import { visibleLine } from '../base/visible.ts';
import { dockerfileIssue, lintDockerfile } from '../definitions/dockerfile/lint.ts';
import type { DesiredService, Issue } from '../definitions/types.ts';
import { lintSource } from '../node/images/lint.ts';
import { workspaceSources } from '../node/images/source.ts';

export interface WorkspaceFindings {
  readonly issues: readonly Issue[];
  /** By the names under which the issues know the Dockerfiles. */
  readonly texts: ReadonlyMap<string, readonly string[]>;
}

/** The same judgement as before a build, on the tags of the source repositories of a workspace: `validate --workspace`. */
export async function lintWorkspace(
  services: readonly DesiredService[],
  workspace: string,
): Promise<WorkspaceFindings> {
  const issues: Issue[] = [];
  const texts = new Map<string, readonly string[]>();
  const seen = new Set<string>();
  const sources = workspaceSources(workspace);
  for (const { service } of services) {
    const silenced = (service.silenced ?? []).map(({ rule }) => rule);
    for (const { image, dockerfile } of service.components) {
      if (dockerfile === undefined) continue;
      const { tag, reference } = image;
      const file = `${service.path}@${tag}:${dockerfile}`;
      if (seen.has(`${service.name} ${file}`)) continue;
      seen.add(`${service.name} ${file}`);
      const about = { service: service.name, silenced };
      const linted = await lintSource({ path: service.path, tag, dockerfile, reference }, about, {
        sources,
        lint: lintDockerfile,
      });
      if (linted.kind !== 'ok') {
        issues.push(dockerfileIssue('dockerfile/source', linted.why, { file, service: service.name }));
        continue;
      }
      if (!('issues' in linted.value)) {
        const { why } = linted.value;
        issues.push(dockerfileIssue('dockerfile/missing', why, { file, service: service.name }));
        continue;
      }
      issues.push(...linted.value.issues);
      texts.set(linted.value.file, shownLines(linted.value.text));
    }
  }
  return { issues, texts };
}

/** A step may have a secret where it does not belong: it is not told once more. */
function shownLines(text: string): string[] {
  return text
    .split(/\r?\n/)
    .map((line) => visibleLine(line).replaceAll(/(\w*(?:token|secret|pass|key)\w*)(=|\s+)\S+/gi, '$1$2••••'));
}
