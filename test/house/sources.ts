import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { posix } from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));

export interface SourceFile {
  /** From the top of the repository, with slashes. */
  readonly path: string;
  readonly text: string;
}

export interface Import {
  readonly path: string;
  readonly line: number;
  /** A path from the top of the repository, `node:…`, or the name of a package. */
  readonly target: string;
  readonly typeOnly: boolean;
  /** The names that are taken; `*` for all, or when they cannot be told. */
  readonly names: readonly string[];
}

/** What git tracks, and what is new and not ignored: the tree as it would be committed. Binary files are left out. */
export function repositoryFiles(): SourceFile[] {
  const list = execFileSync('git', ['ls-files', '--cached', '--others', '--exclude-standard', '-z'], {
    cwd: ROOT,
    maxBuffer: 1 << 26,
  });
  return list
    .toString('utf8')
    .split('\0')
    .filter((path) => path !== '' && existsSync(`${ROOT}${path}`))
    .map((path) => ({ path, text: readFileSync(`${ROOT}${path}`, 'utf8') }))
    .filter(({ text }) => !text.includes('\0'));
}

export function isCode({ path }: SourceFile): boolean {
  return /\.tsx?$/.test(path);
}

/** Every import of a file: statements, re-exports, `import()` and `require()`. */
export function importsOf(file: SourceFile): Import[] {
  const found: Import[] = [];
  walk(file, (node, line) => {
    const module = moduleOf(node);
    if (module === undefined) return;
    const { text, typeOnly, names = ['*'] } = module;
    found.push({ path: file.path, line, target: resolved(file.path, text), typeOnly, names });
  });
  return found;
}

/** Calls `visit` for every node of a file, with its line. */
export function walk(file: SourceFile, visit: (node: ts.Node, line: number) => void): void {
  const source = parsed.get(file) ?? ts.createSourceFile(file.path, file.text, ts.ScriptTarget.Latest, true);
  parsed.set(file, source);
  const step = (node: ts.Node): void => {
    visit(node, source.getLineAndCharacterOfPosition(node.getStart(source)).line + 1);
    ts.forEachChild(node, step);
  };
  step(source);
}

/** Each rule walks the same files: they are parsed once. */
const parsed = new WeakMap<SourceFile, ts.SourceFile>();

/** The package of an import: `a` of `a/b`, `@a/b` of `@a/b/c`. */
export function packageOf(target: string): string {
  return target
    .split('/')
    .slice(0, target.startsWith('@') ? 2 : 1)
    .join('/');
}

interface Module {
  readonly text: string;
  readonly typeOnly: boolean;
  readonly names?: readonly string[];
}

function moduleOf(node: ts.Node): Module | undefined {
  if (ts.isImportDeclaration(node) && ts.isStringLiteral(node.moduleSpecifier)) {
    const { importClause, moduleSpecifier } = node;
    return {
      text: moduleSpecifier.text,
      typeOnly: importsTypesOnly(importClause),
      names: namesOf(importClause),
    };
  }
  if (
    ts.isExportDeclaration(node) &&
    node.moduleSpecifier !== undefined &&
    ts.isStringLiteral(node.moduleSpecifier)
  ) {
    return { text: node.moduleSpecifier.text, typeOnly: node.isTypeOnly };
  }
  if (
    ts.isImportTypeNode(node) &&
    ts.isLiteralTypeNode(node.argument) &&
    ts.isStringLiteral(node.argument.literal)
  ) {
    return { text: node.argument.literal.text, typeOnly: true };
  }
  if (ts.isCallExpression(node)) {
    const [argument] = node.arguments;
    const loads =
      node.expression.kind === ts.SyntaxKind.ImportKeyword ||
      (ts.isIdentifier(node.expression) && node.expression.text === 'require');
    if (loads && argument !== undefined && ts.isStringLiteral(argument))
      return { text: argument.text, typeOnly: false };
  }
  return undefined;
}

function namesOf(clause: ts.ImportClause | undefined): string[] {
  const bindings = clause?.namedBindings;
  if (clause?.name !== undefined || bindings === undefined || !ts.isNamedImports(bindings)) return ['*'];
  return bindings.elements.map((element) => (element.propertyName ?? element.name).text);
}

function importsTypesOnly(clause: ts.ImportClause | undefined): boolean {
  if (clause === undefined) return false;
  if (clause.phaseModifier === ts.SyntaxKind.TypeKeyword) return true;
  const { namedBindings } = clause;
  if (clause.name !== undefined || namedBindings === undefined || !ts.isNamedImports(namedBindings))
    return false;
  return namedBindings.elements.length > 0 && namedBindings.elements.every((element) => element.isTypeOnly);
}

function resolved(path: string, module: string): string {
  return module.startsWith('.') ? posix.normalize(posix.join(posix.dirname(path), module)) : module;
}
