import type { DefinitionFile, RefusedFile } from '../source/types.ts';
import { finding, issueOf, quote, type Finding } from './findings.ts';
import { misplaced } from './misplaced.ts';
import { LIMITS } from './shape.ts';
import { DNS_LABEL } from './shapeparts.ts';
import type { Issue } from './types.ts';

export type FileKind = 'service' | 'node' | 'removals';

/** The definition files of a commit, by what they are. Others are nobody's business. */
export interface SortedFiles {
  readonly services: readonly DefinitionFile[];
  /** Files of nodes by node. */
  readonly nodes: ReadonlyMap<string, DefinitionFile>;
  readonly removals?: DefinitionFile;
  /** About entries that were not read. */
  readonly issues: readonly Issue[];
  /** Nothing can be said about the repository as a whole. */
  readonly tooMany: boolean;
}

/** An entry that was not read. Without a rule of its own it is `file/refused`. */
export interface UnreadFile extends Omit<RefusedFile, 'rule'> {
  readonly rule?: 'file/refused' | 'file/deadline' | 'file/size';
}

/** Sorts by place. `root` is the folder of the definitions inside the repository, empty for its root. */
export function sortFiles(
  files: readonly DefinitionFile[],
  refused: readonly UnreadFile[],
  root: string,
  ignored: readonly string[] = [],
): SortedFiles {
  const issues = refused.map((file) => unreadIssue(file, root));
  for (const path of [...ignored, ...files.map((file) => file.path)]) {
    const inside = insideOf(path, root);
    const found =
      inside === undefined || kindOf(path, root) !== undefined
        ? undefined
        : misplaced(inside, path.slice(0, path.length - inside.length));
    if (found !== undefined) issues.push(wholeIssue(path, found));
  }
  const total = files.reduce((sum, { bytes }) => sum + bytes.length, 0);
  if (files.length > LIMITS.files || total > LIMITS.totalBytes) {
    const what = `there are ${files.length} definition files with ${total} bytes`;
    return {
      services: [],
      nodes: new Map(),
      issues: [...issues, wholeIssue(root, finding('file/count', [], what))],
      tooMany: true,
    };
  }
  const services: DefinitionFile[] = [];
  const nodes = new Map<string, DefinitionFile>();
  let removals: DefinitionFile | undefined;
  for (const file of files) {
    const kind = kindOf(file.path, root);
    if (kind === 'service') services.push(file);
    else if (kind === 'removals') removals = file;
    else if (kind === 'node') {
      const node = nameOf(file.path);
      if (node === undefined)
        issues.push(
          wholeIssue(
            file.path,
            finding('node/file-name', [], `${quote(baseOf(file.path))} is no name of a node`),
          ),
        );
      else nodes.set(node, file);
    }
  }
  return { services, nodes, ...(removals === undefined ? {} : { removals }), issues, tooMany: false };
}

/** What a path of the repository stands for; undefined when it is no definition. */
export function kindOf(path: string, root: string): FileKind | undefined {
  const inside = insideOf(path, root);
  if (inside === undefined) return undefined;
  if (inside === 'removals.toml') return 'removals';
  if (!inside.endsWith('.toml')) return undefined;
  if (inside.startsWith('services/')) return 'service';
  return /^nodes\/[^/]+$/.test(inside) ? 'node' : undefined;
}

/** The path below the folder of the definitions; undefined outside of it. */
function insideOf(path: string, root: string): string | undefined {
  const prefix = root
    .split('/')
    .filter((part) => part !== '')
    .join('/');
  if (prefix !== '' && !path.startsWith(`${prefix}/`)) return undefined;
  return prefix === '' ? path : path.slice(prefix.length + 1);
}

/** The name that a file stands for: its own without `.toml`, where that is a label. */
export function nameOf(path: string): string | undefined {
  const base = baseOf(path).replace(/\.toml$/, '');
  return DNS_LABEL.test(base) ? base : undefined;
}

/** An issue about a file or folder as a whole. */
export function wholeIssue(path: string, found: Finding, service?: string): Issue {
  return issueOf(path, found, { line: 1, column: 1 }, service);
}

function unreadIssue({ path, why, rule = 'file/refused' }: UnreadFile, root: string): Issue {
  const service = kindOf(path, root) === 'service' ? nameOf(path) : undefined;
  const hint = why.startsWith('the name') ? 'Give it another name, and commit it again.' : undefined;
  return wholeIssue(path, finding(rule, [], why, hint), service);
}

function baseOf(path: string): string {
  return path.slice(path.lastIndexOf('/') + 1);
}
