import { serviceText } from './support.ts';

/** What may be found in a repository that somebody hostile, careless or unlucky can write to (G44). */
export interface Case {
  readonly title: string;
  readonly files: Readonly<Record<string, string | Uint8Array>>;
  readonly refused?: readonly { readonly path: string; readonly why: string }[];
  /** The rule that is told; `accepted`: it is harmless, and in force. */
  readonly expect: string;
}

export const ROUTE = '[[components.routes]]\nport = 8443\nmode = "l4"\n';
export const DIGEST = `@sha256:${'0'.repeat(64)}`;

export function component(expected: string, cases: Readonly<Record<string, string>>): Case[] {
  return Object.entries(cases).map(([title, more]) => ({
    title,
    files: { 'services/a.toml': serviceText('a', more) },
    expect: expected,
  }));
}

export function top(expected: string, cases: Readonly<Record<string, string>>): Case[] {
  return Object.entries(cases).map(([title, head]) => ({
    title,
    files: { 'services/a.toml': serviceText('a', '', head) },
    expect: expected,
  }));
}

export function image(expected: string, references: readonly string[]): Case[] {
  return references.map((reference) => ({
    title: `image ${JSON.stringify(reference).slice(0, 60)} of ${reference.length} characters`,
    files: {
      'services/a.toml': serviceText('a').replace('"registry.example.net/a:v1.0.0"', () =>
        JSON.stringify(reference),
      ),
    },
    expect: expected,
  }));
}

export function volume(expected: string, volumes: readonly string[]): Case[] {
  return component(
    expected,
    Object.fromEntries(
      volumes.map((text) => [
        `volume ${JSON.stringify(text).slice(0, 70)}`,
        `volumes = [${JSON.stringify(text)}]`,
      ]),
    ),
  );
}

export function hostname(expected: string, names: readonly string[]): Case[] {
  return component(
    expected,
    Object.fromEntries(
      names.map((text) => [
        `host name ${JSON.stringify(text).slice(0, 70)}`,
        `${ROUTE}hostname = ${JSON.stringify(text)}`,
      ]),
    ),
  );
}

export function whole(expected: string, cases: Readonly<Record<string, string | Uint8Array>>): Case[] {
  return Object.entries(cases).map(([title, content]) => ({
    title,
    files: { 'services/a.toml': content },
    expect: expected,
  }));
}

export function bytes(...parts: (string | number[])[]): Uint8Array {
  return Buffer.concat(
    parts.map((part) => (typeof part === 'string' ? Buffer.from(part) : Buffer.from(part))),
  );
}

export const TEXT = serviceText('a');
