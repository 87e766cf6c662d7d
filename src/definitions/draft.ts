import type { TomlPath } from '../base/tomlindex.ts';
import type { DefinitionFile } from '../source/types.ts';
import { foldedName, readComponent, type ReadComponent } from './component.ts';
import { insidePath } from './fields.ts';
import { finding, isError, keyFinding, quote, type Finding } from './findings.ts';
import { buildName } from './image.ts';
import { readOwnService, type OwnService } from './ownservice.ts';
import { doubtsOf, salvage } from './salvage.ts';
import { LIMITS, SERVICE, type ServiceShape } from './shape.ts';
import { DNS_LABEL } from './shapeparts.ts';
import { isTable, shapeOf } from './structure.ts';
import { readText } from './text.ts';
import type { ImageRef } from './types.ts';

/** One service file, judged by itself: what it says, or what is wrong with it. */
export interface Draft {
  readonly file: DefinitionFile;
  /** The service that the file's name stands for, where it is a name. */
  readonly service?: string;
  /** The node that the file names, also where the rest of it is bad. */
  readonly node?: string;
  /** Absent when there is an error among the findings. */
  readonly definition?: Definition;
  /** Instead of it, what can be known of a bad file: for telling what else is wrong, never for what is in force. */
  readonly part?: Part;
  readonly findings: readonly Finding[];
}

/** A service file that is good by itself; defaults, policy and other files are not looked at yet. */
export interface Definition {
  readonly name: string;
  readonly node: string;
  readonly active: boolean;
  readonly path?: string;
  /** Build image name to Dockerfile. */
  readonly images: ReadonlyMap<string, string>;
  readonly components: readonly (ReadComponent & { readonly image: NonNullable<ReadComponent['image']> })[];
  readonly own: OwnService;
}

interface Part {
  readonly definition: Definition;
  /** Where it is not to be believed. */
  readonly bad: readonly TomlPath[];
}

/** Drafts of blobs that are still in memory: of a new commit only the changed files are read. */
const drafts = new WeakMap<Uint8Array, Draft>();

/** Reads one service file. Pure: the same bytes under the same path give the same draft. */
export function readDraft(file: DefinitionFile): Draft {
  const known = drafts.get(file.bytes);
  if (known !== undefined && isRemembered(file)) return known;
  const draft = draftOf(file);
  drafts.set(file.bytes, draft);
  return draft;
}

/** A draft that was read elsewhere (on another thread) is taken as read here. */
export function rememberDraft(draft: Draft): void {
  drafts.set(draft.file.bytes, draft);
}

export function isRemembered(file: DefinitionFile): boolean {
  const known = drafts.get(file.bytes);
  return known?.file.path === file.path && known.file.oid === file.oid;
}

function draftOf(file: DefinitionFile): Draft {
  const base = file.path.slice(file.path.lastIndexOf('/') + 1).replace(/\.toml$/, '');
  const named = DNS_LABEL.test(base) ? { service: base } : {};
  const read = readText(file.bytes);
  if (!read.ok) return { file, ...named, findings: [read.found] };
  const node = isTable(read.value) && typeof read.value.node === 'string' ? { node: read.value.node } : {};
  const shaped = shapeOf(SERVICE, read.value);
  const findings: Finding[] = [...shaped.findings];
  const nameThere = isTable(read.value) ? read.value.name : undefined;
  if (typeof nameThere === 'string' && nameThere !== base) {
    findings.push(fileNameFinding(nameThere, base));
  }
  const salvaged =
    shaped.output === undefined ? salvage(SERVICE, read.value) : { output: shaped.output, bad: [] };
  if (salvaged === undefined) return { file, ...named, ...node, findings };
  const { output, bad } = salvaged;
  const judged: Finding[] = [];
  const { definition, isWhole } = readService(output, judged);
  const doubts = doubtsOf(bad);
  findings.push(...judged.filter((found) => !doubts.about(found)));
  if (shaped.output !== undefined && isWhole && !findings.some(isError)) {
    return { file, ...named, ...node, definition, findings };
  }
  const part = partOf(definition, bad, findings, base);
  return { file, ...named, ...node, ...(part === undefined ? {} : { part }), findings };
}

/** Without a node nothing can be said against other files; a name that is bad is that of the file. */
function partOf(
  definition: Definition,
  bad: readonly TomlPath[],
  findings: readonly Finding[],
  base: string,
): Part | undefined {
  const isBad = (key: string): boolean => bad.some(([first]) => first === key);
  if (isBad('node') || (isBad('name') && !DNS_LABEL.test(base))) return undefined;
  const errors = findings.filter((found) => isError(found) && found.at === 'value' && found.path.length > 0);
  return {
    definition: isBad('name') ? { ...definition, name: base } : definition,
    // The name is what it is, also where the file has another one.
    bad: [...bad, ...errors.map(({ path }) => path)].filter(([key]) => key !== 'name'),
  };
}

function fileNameFinding(name: string, base: string): Finding {
  const rename = `Rename the file to ${quote(`${name}.toml`)}`;
  // A name that is itself against the rules is no way out.
  const hint = DNS_LABEL.test(base) ? `${rename}, or write name = ${quote(base)}.` : `${rename}.`;
  return finding(
    'service/file-name',
    ['name'],
    `the service is called ${quote(name)}, its file ${quote(`${base}.toml`)}`,
    hint,
  );
}

/** `isWhole`: every image could be read. */
function readService(
  shape: ServiceShape,
  findings: Finding[],
): { readonly definition: Definition; readonly isWhole: boolean } {
  const { build } = shape;
  const shapes = shape.components.slice(0, LIMITS.components);
  if (shapes.length === 0 || shape.components.length > LIMITS.components) {
    const message = `there are ${shape.components.length} components`;
    findings.push(finding('service/components', ['components'], message));
  }
  const path = shape.path === undefined ? undefined : insidePath(shape.path);
  if (shape.path !== undefined && path === undefined) {
    findings.push(finding('service/path', ['path'], `${quote(shape.path)} is no path inside the workspace`));
  }
  const components = shapes.map((component, at) => readComponent(component, ['components', at], findings));
  checkNames(shape.name, components, findings);
  checkPeers(components, findings);
  const own = readOwnService(shape, components, findings);
  const images = readImages(build.images, components, findings);
  return {
    definition: {
      name: shape.name,
      node: shape.node,
      active: shape.active,
      ...(path === undefined ? {} : { path }),
      images,
      components: components.map((component) => ({ ...component, image: component.image ?? NO_IMAGE })),
      own,
    },
    isWhole: components.every(({ image }) => image !== undefined),
  };
}

/** Stands for an image that is bad: nothing is said of it. */
const NO_IMAGE: ImageRef = { reference: 'placeholder:v1.0.0', repository: 'placeholder', tag: 'v1.0.0' };

/** `<service>-<component>`, or `<service>` when equal: read by nobody, only shown (L12). */
export function containerName(service: string, component: string): string {
  return service === component ? service : `${service}-${component}`;
}

function checkNames(service: string, components: readonly ReadComponent[], findings: Finding[]): void {
  const seen = new Set<string>();
  for (const [at, { name }] of components.entries()) {
    const path: TomlPath = ['components', at, 'name'];
    if (seen.has(name))
      findings.push(finding('component/duplicate', path, `the component "${name}" is there twice`));
    seen.add(name);
    const container = containerName(service, name);
    // Docker takes no name of one letter.
    if (container.length > 63 || container.length < 2) {
      findings.push(
        finding(
          'component/container-name',
          path,
          `the container would be called "${container}", and engines take no name of ${container.length === 1 ? 'one character' : `${container.length} characters`}`,
        ),
      );
    }
  }
}

/** `PEER_<COMPONENT>` and `PEER_<COMPONENT>_<ROUTE>` of all components: the siblings read them (L25). */
function checkPeers(components: readonly ReadComponent[], findings: Finding[]): void {
  if (components.length < 2) return;
  const variables = new Map<string, { component: string }>();
  for (const [at, component] of components.entries()) {
    const own = new Set(
      component.routes.flatMap((route) => {
        const short = `PEER_${foldedName(component.name)}`;
        return route.name === '' ? [short] : [short, `${short}_${foldedName(route.name)}`];
      }),
    );
    for (const variable of own) {
      const other = variables.get(variable);
      if (other === undefined) variables.set(variable, { component: component.name });
      else if (other.component !== component.name) {
        const message = `${variable} stands for a route of "${other.component}" and one of "${component.name}"`;
        findings.push(finding('component/peer-fold', ['components', at, 'name'], message));
      }
    }
  }
}

function readImages(
  images: Readonly<Record<string, string>>,
  components: readonly ReadComponent[],
  findings: Finding[],
): Map<string, string> {
  const used = components.flatMap(({ image }) => (image === undefined ? [] : [buildName(image)]));
  const read = new Map<string, string>();
  for (const [name, dockerfile] of Object.entries(images)) {
    const path: TomlPath = ['build', 'images', name];
    const inside = insidePath(dockerfile);
    if (!/^[a-z0-9]+(?:[._-]+[a-z0-9]+)*$/.test(name) || name.length > 128) {
      findings.push(keyFinding('build/name', path, `${quote(name)} is no name of a repository`));
    } else if (used.length === components.length && !used.includes(name)) {
      findings.push(keyFinding('build/unused', path, unusedMessage(name, used)));
    }
    if (inside === undefined) {
      findings.push(
        finding('build/dockerfile', path, `${quote(dockerfile)} is no path inside the source repository`),
      );
    } else read.set(name, inside);
  }
  return read;
}

function unusedMessage(name: string, used: readonly string[]): string {
  return `no component's image is called "${name}"; there is ${[...new Set(used)].map((one) => `"${one}"`).join(', ')}`;
}
