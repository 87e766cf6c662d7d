import { looksSecretWord } from '../../base/secretlike.ts';
import { LABEL_PREFIX, type ContainerSpec } from '../types.ts';
import { EngineError } from './failure.ts';
import type { Inspection } from './inspect.ts';

const MASK = '•••';
/** Shorter ones are words of every day, and no secrets. */
const MIN_LENGTH = 4;

/** What a definition gives a container that may be secret (G10): arguments, values of labels, values of variables. */
export function wordsOf(spec: ContainerSpec, env: ReadonlyMap<string, string>): string[] {
  const labels = (spec.labels ?? []).map(({ value }) => value);
  return [...argumentsOf(spec.entrypoint ?? [], spec.cmd ?? []), ...labels, ...env.values()];
}

/** The same of a container that is there. */
export function wordsIn({ Entrypoint, Cmd, Labels, Env }: Inspection['Config']): string[] {
  const entrypoint = typeof Entrypoint === 'string' ? Entrypoint.split(' ') : (Entrypoint ?? []);
  const labels = Object.entries(Labels ?? {}).filter(([name]) => !name.startsWith(LABEL_PREFIX));
  const values = (Env ?? []).map((entry) => entry.slice(entry.indexOf('=') + 1));
  return [...argumentsOf(entrypoint, Cmd ?? []), ...labels.map(([, value]) => value), ...values];
}

/** The words of a program that is run in a container. */
export function argumentsOf(entrypoint: readonly string[], cmd: readonly string[]): string[] {
  const [program = '', ...rest] = [...entrypoint, ...cmd];
  // Where it is looked for says what is wrong; whatever is no path may as well be an argument in the wrong place.
  const isPath = program.startsWith('/') && !looksSecretWord(program);
  return isPath ? rest : [program, ...rest];
}

/** Engines quote what they do not like. */
export function withoutWords(message: string, words: readonly string[]): string {
  const forms = words
    .flatMap((word) => [word, JSON.stringify(word).slice(1, -1)])
    .filter((word) => word.length >= MIN_LENGTH)
    .sort((a, b) => b.length - a.length);
  return forms.reduce((text, word) => text.replaceAll(word, MASK), message);
}

/** The call, whose error names none of these words. */
export async function covering<T>(words: readonly string[], call: Promise<T>): Promise<T> {
  try {
    return await call;
  } catch (error) {
    throw coveredError(error, words);
  }
}

/** The error without these words; what it means is judged by what the engine said. */
export function coveredError(error: unknown, words: readonly string[]): unknown {
  return error instanceof EngineError ? error.told(withoutWords(error.message, words)) : error;
}
