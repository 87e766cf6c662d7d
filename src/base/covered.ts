/** Stands for an argument, or the value of a label. */
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

/**
 * A service as it may be shown and written down: it goes into journals, comments on pull requests, and to whoever asks an agent
 * (G10). Nobody can tell by its look what is secret: no argument and no label's value is in it.
 */
export function withoutSecrets<C extends Worded, S extends { readonly components: readonly C[] }>(
  service: S & { readonly components: readonly C[] },
): S {
  const words = (given: readonly string[]): string[] => given.map(() => COVERED);
  const label = ({ name }: Label): Label => ({ name, value: COVERED });
  return { ...service, components: service.components.map((one) => withArguments(one, words, label)) };
}
