import { builtinModules } from 'node:module';
import ts from 'typescript';
import { importsOf, packageOf, walk, type Import, type SourceFile } from './sources.ts';

/** The rooms in the order in which data walks (house, section 2). A later room may import the types of an earlier one. */
const ROOMS = [
  'base',
  'settings',
  'source',
  'definitions',
  'registry',
  'node',
  'plan',
  'execute',
  'report',
  'dashboard',
] as const;

/** Rooms of their own beside the way of the data: only the cellar is open to them. */
const APART = ['mc-proxy'];

/** What puts the rooms together; each may import every room. */
const TOP = [
  'main.ts',
  'agent.ts',
  'loop.ts',
  'pass.ts',
  'look.ts',
  'origins.ts',
  'reading.ts',
  'readingworker.ts',
  'version.ts',
  'wiring.ts',
  'commands',
  'demo',
];

/** Each library of others in one place only: what it is replaced by is then one file. */
export const LIBRARIES: Readonly<Record<string, readonly string[]>> = {
  '@balena/dockerignore': ['src/node/images/'],
  // BuildKit calls back by gRPC; both come with dockerode anyway.
  '@grpc/grpc-js': ['src/node/engine/session.ts'],
  'acme-client': ['src/node/certs/acme/'],
  '@peculiar/x509': ['src/node/certs/'],
  '@swimlane/docker-reference': ['src/definitions/'],
  'better-sqlite3': ['src/registry/'],
  chokidar: ['src/base/watch.ts'],
  commander: ['src/main.ts', 'src/commands/'],
  'cron-parser': ['src/base/cron.ts'],
  'dockerfile-ast': ['src/definitions/dockerfile/'],
  dockerode: ['src/node/engine/'],
  'fast-json-patch': ['src/plan/'],
  fastify: ['src/dashboard/'],
  'isomorphic-git': ['src/base/git/'],
  'node-cron': ['src/loop.ts'],
  // Two rooms run things side by side; it has no domain and no state of its own.
  'p-limit': ['src/node/', 'src/execute/'],
  pino: ['src/base/log.ts'],
  preact: ['src/dashboard/'],
  'preact-render-to-string': ['src/dashboard/'],
  protobufjs: ['src/node/engine/'],
  'read-tls-client-hello': ['src/mc-proxy/'],
  semver: ['src/definitions/'],
  'smol-toml': ['src/base/toml.ts'],
  'tar-stream': ['src/node/'],
  undici: ['src/base/http.ts'],
  valibot: ['src/base/shape.ts'],
  yaml: ['src/commands/rendering/compose.ts'],
};

const MAX_LINES = 400;
const PURE = ['plan', 'definitions'];
const IO =
  /^node:(fs|net|child_process|https?|http2|tls|dns|dgram|timers|worker_threads|cluster|readline|sqlite)(\/|$)/;

/** What a module of I/O has that does none. */
const SAYS_ONLY = new Set(['isIP', 'isIPv4', 'isIPv6', 'BlockList', 'STATUS_CODES']);

/** Every finding is `path:line: what is wrong`, so that an editor can jump to it. */
export type Findings = string[];

export function unknownRooms(files: readonly SourceFile[]): Findings {
  const known = new Set<string>([...ROOMS, ...APART, ...TOP, 'settings.ts']);
  const entries = new Set(files.flatMap(({ path }) => /^src\/([^/]+)/.exec(path)?.[1] ?? []));
  return [...entries].filter((entry) => !known.has(entry)).map((entry) => `src/${entry}: is not a room`);
}

export function wrongDirections(files: readonly SourceFile[]): Findings {
  return inSource(files)
    .flatMap(importsOf)
    .filter((found) => found.target.startsWith('src/') && !isAllowed(found))
    .map((found) =>
      tell(found, `${found.typeOnly ? 'types' : 'code'} of ${found.target} may not be imported here`),
    );
}

export function impurities(files: readonly SourceFile[]): Findings {
  const pure = inSource(files).filter(({ path }) => PURE.includes(roomOf(path)));
  const imports = pure
    .flatMap(importsOf)
    .filter(
      ({ target, typeOnly, names }) =>
        !typeOnly && IO.test(target) && !names.every((name) => SAYS_ONLY.has(name)),
    )
    .map((found) => tell(found, `a pure room imports ${found.target}`));
  return [...imports, ...pure.flatMap(asksTheWorld)];
}

export function strayLibraries(files: readonly SourceFile[]): Findings {
  return inSource(files)
    .flatMap(importsOf)
    .filter(
      ({ target }) => !target.startsWith('src/') && !isBuiltin(target) && !target.endsWith('package.json'),
    )
    .filter(
      ({ path, target }) => !(LIBRARIES[packageOf(target)] ?? []).some((place) => path.startsWith(place)),
    )
    .map((found) =>
      tell(found, `${packageOf(found.target)} has no place here (LIBRARIES in test/house/rules.ts)`),
    );
}

/** Shells, and code made from text. */
export function dangers(files: readonly SourceFile[]): Findings {
  return files.flatMap((file) => {
    const findings: Findings = [];
    const add = (line: number, what: string): void => void findings.push(`${file.path}:${line}: ${what}`);
    walk(file, (node, line) => {
      if (
        ts.isImportDeclaration(node) &&
        /['"]node:child_process['"]$/.test(node.moduleSpecifier.getText())
      ) {
        if (/\bexec(Sync)?\b/.test(node.importClause?.getText() ?? '')) add(line, 'exec runs a shell');
      }
      if (ts.isPropertyAssignment(node) && node.name.getText() === 'shell') {
        if (node.initializer.kind !== ts.SyntaxKind.FalseKeyword) add(line, 'shell: true');
      }
      if (ts.isCallExpression(node) && ts.isIdentifier(node.expression)) {
        if (node.expression.text === 'eval') add(line, 'eval');
        // Node 20's own fetch can hang for ever on a peer that closes at once: base/http.ts is the way out.
        if (node.expression.text === 'fetch' && isGlobalFetch(file)) add(line, 'the global fetch');
      }
      if (ts.isNewExpression(node) && node.expression.getText() === 'Function') add(line, 'new Function');
    });
    return findings;
  });
}

/** Tests that are left out, or that leave out the others. */
export function leftOut(files: readonly SourceFile[]): Findings {
  return files
    .filter(({ path }) => path.startsWith('test/'))
    .flatMap((file) => {
      const findings: Findings = [];
      walk(file, (node, line) => {
        if (!ts.isCallExpression(node)) return;
        const called = node.expression.getText();
        if (
          /^(describe|context|suite|it|specify|test|this)\.(skip|only)$|^x(it|describe|context|specify)$/.test(
            called,
          )
        ) {
          findings.push(`${file.path}:${line}: ${called}`);
        }
      });
      return findings;
    });
}

export function tooLong(files: readonly SourceFile[]): Findings {
  return inSource(files)
    .map(({ path, text }) => ({ path, lines: text.split('\n').length - 1 }))
    .filter(({ lines }) => lines > MAX_LINES)
    .map(({ path, lines }) => `${path}:${lines}: longer than ${MAX_LINES} lines`);
}

/** Paths of the machine where this was written, and hosts that packages come from. */
export function machineTraces(files: readonly SourceFile[]): Findings {
  const trace =
    /(?<![\w.@-])\/(work|root|home\/\w+)\/\w|\b(registry\.npmjs\.org|registry\.yarnpkg\.com|npm\.pkg\.github\.com|(deb|security)\.debian\.org|proxy\.golang\.org|pypi\.org)\b/;
  return files
    .filter(({ path }) => !path.startsWith('test/house/'))
    .flatMap(({ path, text }) =>
      text.split('\n').flatMap((line, index) => {
        const found = trace.exec(line)?.[0];
        return found === undefined ? [] : [`${path}:${index + 1}: ${found}`];
      }),
    );
}

function inSource(files: readonly SourceFile[]): SourceFile[] {
  return files.filter(({ path }) => /^src\/.*\.tsx?$/.test(path));
}

/** `src/plan/x.ts` → `plan`; `src/settings.ts` → `settings`; `src/main.ts` → `main.ts`. */
function roomOf(path: string): string {
  const [, first = ''] = path.split('/');
  return first === 'settings.ts' ? 'settings' : first;
}

function isAllowed({ path, target, typeOnly }: Import): boolean {
  const from = roomOf(path);
  const to = roomOf(target);
  if (from === to || TOP.includes(from)) return true;
  if (to === 'base') return from !== 'base';
  if (from === 'execute' && to === 'node') return true;
  if (!typeOnly || APART.includes(from)) return false;
  if (from === 'dashboard') return to === 'report';
  const order: readonly string[] = ROOMS;
  return order.includes(to) && order.indexOf(to) < order.indexOf(from);
}

/** The clock and the dice are inputs of a pure room, and so is the environment. */
function asksTheWorld(file: SourceFile): Findings {
  const findings: Findings = [];
  walk(file, (node, line) => {
    const text = ts.isCallExpression(node) ? node.expression.getText() : '';
    const bareDate =
      ts.isNewExpression(node) && node.expression.getText() === 'Date' && node.arguments?.length === 0;
    const timer = /^(setTimeout|setInterval|setImmediate|fetch)$/.test(text);
    if (
      timer ||
      bareDate ||
      /^(Date\.now|performance\.now|Math\.random|randomBytes|randomUUID|randomInt)$/.test(text)
    ) {
      findings.push(`${file.path}:${line}: a pure room asks for ${bareDate ? 'new Date()' : `${text}()`}`);
    }
    if (ts.isPropertyAccessExpression(node) && node.getText() === 'process.env') {
      findings.push(`${file.path}:${line}: a pure room reads process.env`);
    }
  });
  return findings;
}

function isGlobalFetch(file: SourceFile): boolean {
  return file.path.startsWith('src/') && !/import[^;]*\bfetch\b[^;]*from/.test(file.text);
}

function isBuiltin(target: string): boolean {
  return target.startsWith('node:') || builtinModules.includes(target);
}

function tell({ path, line }: Import, what: string): string {
  return `${path}:${line}: ${what}`;
}
