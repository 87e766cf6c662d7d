/** @jsxRuntime automatic */
/** @jsxImportSource preact */
import type { VNode } from 'preact';
import { duration, imageName, isoTime, relative } from './words.ts';

/** A moment as people say it, with the exact time in its title. */
export function Time({ at, now }: { readonly at: number; readonly now: number }): VNode {
  const exact = isoTime(at);
  return (
    <time datetime={exact} title={exact}>
      {relative(at, now)}
    </time>
  );
}

/** How long something has been so, with the exact time of its beginning in the title. */
export function For({ since, now }: { readonly since: number; readonly now: number }): VNode {
  const exact = isoTime(since);
  return (
    <time datetime={exact} title={`since ${exact}`}>
      for {duration(now - since)}
    </time>
  );
}

/** What to do about it. */
export function Hint({ text }: { readonly text: string | undefined }): VNode | null {
  return text === undefined || text === '' ? null : <span class="hint">{text}</span>;
}

export function Images({ images }: { readonly images: readonly string[] }): VNode {
  return (
    <ul class="images">
      {images.map((reference) => (
        <li>
          <code title={reference}>{imageName(reference)}</code>
        </li>
      ))}
    </ul>
  );
}

/** A state as a word on its colour; the word says all, the colour only finds it. */
export function Badge({ state }: { readonly state: string }): VNode {
  return <span class={`badge s-${state.replaceAll(/[^a-z]+/g, '-')}`}>{state}</span>;
}
