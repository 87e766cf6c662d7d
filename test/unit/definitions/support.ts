import { readFileSync, readdirSync, statSync } from 'node:fs';
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import {
  resolve,
  type DefinitionsInput,
  type LastGood,
  type Resolution,
} from '../../../src/definitions/resolve.ts';
import type { Defaults, Issue, Policy } from '../../../src/definitions/types.ts';
import { RULES } from '../../../src/definitions/rules.ts';
import type { Commit, DefinitionFile } from '../../../src/source/types.ts';

export const COMMIT: Commit = {
  oid: 'c'.repeat(40),
  author: 'A',
  email: 'a@example.net',
  at: 0,
  message: 'm',
  parents: [],
};
export const DEFAULTS: Defaults = {
  network: 'mcpnet',
  restart: 'unless-stopped',
  hostnameSuffix: 'svc.mcp.metacircular.net',
};
export const POLICY: Policy = {
  imageHosts: ['mcr.svc.mcp.metacircular.net:8443'],
  mounts: ['/srv/{service}'],
  networks: ['mcpnet', 'none'],
  ports: ['1024-65535', '53'],
  hostnames: ['metacircular.net'],
};

export function fileOf(path: string, content: string | Uint8Array): DefinitionFile {
  const bytes = typeof content === 'string' ? Buffer.from(content) : content;
  return { path, oid: createHash('sha1').update(bytes).digest('hex'), bytes };
}

export function hash(value: string): string {
  return createHash('sha256').update(`key ${value}`).digest('hex').slice(0, 32);
}

/** Resolves files given as path to content, as the agent of `rift` unless told otherwise. */
export function resolved(
  files: Readonly<Record<string, string | Uint8Array>>,
  more: Partial<DefinitionsInput> & { readonly everywhere?: boolean } = {},
): Resolution {
  const { everywhere, ...rest } = more;
  return resolve({
    ...inputOf(files),
    ...(everywhere === true ? {} : { node: 'rift' }),
    ...rest,
  });
}

/** For whoever looks at all nodes. */
export function inputOf(files: Readonly<Record<string, string | Uint8Array>>): DefinitionsInput {
  return {
    files: Object.entries(files).map(([path, content]) => fileOf(path, content)),
    refusedFiles: [],
    commit: COMMIT,
    lastGood: new Map(),
    defaults: DEFAULTS,
    hash,
  };
}

export function good(
  files: Readonly<Record<string, string>>,
  commit = 'a'.repeat(40),
): Map<string, LastGood> {
  return new Map(
    Object.entries(files).map(([path, content]) => [path, { file: fileOf(path, content), commit }]),
  );
}

/** A service file with one component. `more` stands below the component. */
export function serviceText(name: string, more = '', head = ''): string {
  // A container of one letter is none.
  const component = name.length === 1 ? 'web' : name;
  return `name = "${name}"\nnode = "rift"\n${head}\n[[components]]\nname = "${component}"\nimage = "registry.example.net/${name}:v1.0.0"\n${more}`;
}

export function rulesOf(issues: readonly Issue[]): string[] {
  return issues.map(({ rule }) => rule);
}

/** All files below a directory, as path to bytes. */
export function readTree(dir: string, prefix = ''): Record<string, Uint8Array> {
  return Object.assign(
    {},
    ...readdirSync(join(dir, prefix)).map((name) => {
      const path = prefix === '' ? name : `${prefix}/${name}`;
      return statSync(join(dir, path)).isDirectory()
        ? readTree(dir, path)
        : { [path]: readFileSync(join(dir, path)) };
    }),
  ) as Record<string, Uint8Array>;
}

/** The beginning of a route of a definition. */
export const L4 = '[[components.routes]]\nport = 8443\nmode = "l4"\n';

/** Findings as they are read: `line:column rule: message`, and ` | hint` where it is not the rule's own. */
export function toldOf(issues: readonly Issue[]): string[] {
  return issues.map(({ line, column, rule, message, hint }) => {
    const own = (RULES as Readonly<Record<string, { readonly hint: string } | undefined>>)[rule]?.hint;
    return `${line}:${column} ${rule}: ${message}${hint === own ? '' : ` | ${hint}`}`;
  });
}
