import type { Component, DesiredService, EnvValues } from '../../definitions/types.ts';
import type { Word } from '../../plan/render.ts';
import type { Subject } from './subject.ts';

/** Where a value is that is not printed: a variable of the shell, or of a compose file. */
export interface Held {
  readonly variable: string;
  readonly hint: string;
}

/** The values of a component's variables by name: as they are, or what stands for them. */
export type Values = ReadonlyMap<string, string | Held>;

/**
 * Values are printed only when they are asked for: else each is a variable that has to be set. One variable stands for all
 * components in which it has the same value; where it has another, each has a variable of its own.
 */
export function valuesFor(
  { services, values }: Pick<Subject, 'services' | 'values'>,
  withValues: boolean,
): (service: DesiredService, component: Component) => Values {
  const meanings = new Map<string, Set<string>>();
  for (const { service } of services) {
    for (const component of service.components) {
      for (const [name, value] of valuesOf(values, service.name, component))
        meanings.set(name, (meanings.get(name) ?? new Set()).add(value));
    }
  }
  return ({ service, file }, component) =>
    new Map(
      [...valuesOf(values, service.name, component)].map(([name, value]): [string, string | Held] => {
        if (withValues) return [name, value];
        const isOne = meanings.get(name)?.size === 1;
        const container = component.container.toUpperCase().replaceAll('-', '_');
        // Never the bare name: PATH and HOME are set in every shell, to something else.
        return [
          name,
          {
            variable: isOne ? `VALUE_${name}` : `VALUE_OF_${container}_${name}`,
            hint: `${name} of ${file.replaceAll(/[^\w./-]/g, '?')}`,
          },
        ];
      }),
    );
}

/** For a shell: a command with a variable that is not set ends with the hint, and runs nothing. */
export function shellWords(values: Values): Map<string, Word> {
  return new Map(
    [...values].map(([name, value]): [string, Word] => [
      name,
      typeof value === 'string' ? value : { raw: `"\${${value.variable}?${value.hint}}"` },
    ]),
  );
}

export function heldVariables(values: Values): string[] {
  return [...values.values()].flatMap((value) => (typeof value === 'string' ? [] : [value.variable]));
}

function valuesOf(values: EnvValues, service: string, { name }: Component): ReadonlyMap<string, string> {
  return values.get(`${service}/${name}`) ?? new Map<string, string>();
}

/** A here-document that the shell leaves as it is. */
export function hereDocument(command: string, text: string): string {
  let end = 'END';
  while (text.split('\n').includes(end)) end += '_';
  return `${command} <<'${end}'\n${text.replace(/\n$/, '')}\n${end}`;
}
