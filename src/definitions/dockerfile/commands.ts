import type { Step } from './stages.ts';

/** One simple command of a RUN: what is between `&&`, `;`, `|` and line ends. */
export interface Command {
  /** Without directories, in lower case: `go`, `apk`, `adduser`. */
  readonly program: string;
  readonly words: readonly string[];
  readonly text: string;
  /** Set for this command alone: `CGO_ENABLED=0 go build`. */
  readonly variables: ReadonlyMap<string, string>;
  /** `export A=b`: set for the commands after it. */
  readonly exported: ReadonlyMap<string, string>;
}

/** Words that stand before a command and are none. */
const BEFORE = new Set([
  '{',
  'if',
  'then',
  'else',
  'elif',
  'do',
  'while',
  'until',
  '!',
  'time',
  'exec',
  'sudo',
  'env',
  'busybox',
  'set',
]);
const ASSIGNMENT = /^([A-Za-z_]\w*)=(.*)$/s;

/** The commands of a RUN in their order; a list (`["apk", "add"]`) is one, and `sh -c "…"` is what is in its quotes. */
export function commandsOf(step: Step): Command[] {
  const text = step.isJson ? fromJson(step.text) : step.text;
  const inner = [...text.matchAll(/\$\(([^()]*)\)/g)].map(([, command]) => command);
  return [text.replaceAll(/\$\([^()]*\)/g, '$OUTPUT'), ...inner]
    .join('\n')
    .replaceAll(/\b(?:ba|a|da)?sh[ \t]+-[a-z]*c[ \t]+["']/g, ';')
    .split(/&&|\|\||[;|&\n()]/)
    .map(commandOf)
    .filter(({ words }) => words.length > 0);
}

export function hasGoBuild({ program, words }: Command): boolean {
  return program === 'go' && (words[1] === 'build' || words[1] === 'install');
}

/** What `apk add` installs in this step, without versions. */
export function packagesOf(step: Step): string[] {
  if (step.keyword !== 'RUN') return [];
  return commandsOf(step)
    .filter(({ program, words }) => program === 'apk' && words.includes('add'))
    .flatMap(({ words }) => words.slice(words.indexOf('add') + 1))
    .filter((word) => !word.startsWith('-'))
    .map((word) =>
      (word.split(/[=<>~@]/, 1)[0] ?? '').replace(/^ca-certificates-bundle$/, 'ca-certificates'),
    );
}

function commandOf(text: string): Command {
  const words = text
    .trim()
    .split(/\s+/)
    .filter((word) => word !== '');
  const variables = new Map<string, string>();
  let start = 0;
  for (; start < words.length; start += 1) {
    const word = words[start] ?? '';
    const [, name, value] = ASSIGNMENT.exec(word) ?? [];
    if (name !== undefined) variables.set(name, unquoted(value ?? ''));
    else if (!BEFORE.has(word) && !(word.startsWith('-') && start > 0)) break;
  }
  const rest = words.slice(start);
  const program = (
    unquoted(rest[0] ?? '')
      .split('/')
      .at(-1) ?? ''
  ).toLowerCase();
  const exported = new Map<string, string>();
  if (program === 'export' || rest.length === 0) {
    for (const word of program === 'export' ? rest.slice(1) : words) {
      const [, name, value] = ASSIGNMENT.exec(word) ?? [];
      if (name !== undefined) exported.set(name, unquoted(value ?? ''));
    }
  }
  return { program, words: rest, text: text.trim(), variables, exported };
}

function fromJson(text: string): string {
  try {
    const value: unknown = JSON.parse(text);
    return Array.isArray(value) ? value.map(String).join(' ') : text;
  } catch {
    return text;
  }
}

function unquoted(text: string): string {
  return text.replaceAll(/^["']|["']$/g, '');
}
