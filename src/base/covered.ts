import { looksSecret, looksSecretArgument } from './secretlike.ts';

/** Stands for an argument or a label that looks like a secret. */
export const COVERED = '•••';

interface Label {
  readonly name: string;
  readonly value: string;
}

/** What of a component is text that anybody may have written. */
interface Worded {
  readonly cmd?: readonly string[];
  readonly entrypoint?: readonly string[];
  readonly labels?: readonly Label[];
  readonly health?: { readonly command?: readonly string[] };
}

/** The component with other words in its arguments and other labels, where it has any. */
export function withArguments<C extends Worded>(
  component: C,
  words: (given: readonly string[], of: 'cmd' | 'entrypoint' | 'health') => readonly string[],
  label: (given: Label) => Label,
): C {
  const { cmd, entrypoint, labels, health } = component;
  return {
    ...component,
    ...(cmd === undefined ? {} : { cmd: words(cmd, 'cmd') }),
    ...(entrypoint === undefined ? {} : { entrypoint: words(entrypoint, 'entrypoint') }),
    ...(health?.command === undefined
      ? {}
      : { health: { ...health, command: words(health.command, 'health') } }),
    ...(labels === undefined ? {} : { labels: labels.map(label) }),
  };
}

/** A service as it may be shown: it goes into journals, comments on pull requests, and to whoever asks an agent (G10). */
export function withoutSecrets<C extends Worded, S extends { readonly components: readonly C[] }>(
  service: S & { readonly components: readonly C[] },
): S {
  const words = (given: readonly string[]): string[] =>
    given.map((word, at) => (looksSecretArgument(word, at, given) ? COVERED : word));
  const label = ({ name, value }: Label): Label => ({
    name,
    value: looksSecret(name.replaceAll(/[.-]/g, '_'), value) ? COVERED : value,
  });
  return { ...service, components: service.components.map((one) => withArguments(one, words, label)) };
}
