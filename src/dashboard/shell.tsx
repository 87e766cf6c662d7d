/** @jsxRuntime automatic */
/** @jsxImportSource preact */
import type { ComponentChildren, VNode } from 'preact';
import type { View } from '../report/types.ts';
import { Time } from './parts.tsx';

const REFRESH_S = 5;

export interface PageOptions {
  /** Milliseconds since the epoch. */
  readonly now: number;
  /** False: the page stays as it is, so that one can read. */
  readonly refresh: boolean;
}

/** What every page stands in. */
export function Shell({
  title,
  refresh,
  children,
}: {
  readonly title: string;
  readonly refresh: boolean;
  readonly children: ComponentChildren;
}): VNode {
  return (
    <html lang="en">
      <head>
        <meta charset="utf-8" />
        <meta name="viewport" content="width=device-width, initial-scale=1" />
        <meta name="color-scheme" content="light dark" />
        {refresh && <meta http-equiv="refresh" content={String(REFRESH_S)} />}
        <title>{title}</title>
        <link rel="icon" href="/favicon.svg" type="image/svg+xml" />
        <link rel="stylesheet" href="/style.css" />
      </head>
      <body>{children}</body>
    </html>
  );
}

/** Says whether the page renews itself, with the way to the other. */
export function Refreshing({ path, refresh }: { readonly path: string; readonly refresh: boolean }): VNode {
  return refresh ? (
    <>
      refreshes every {REFRESH_S} s · <a href={`${path}?pause`}>pause</a>
    </>
  ) : (
    <>
      paused · <a href={path}>go on</a>
    </>
  );
}

export function Foot({ view, now }: { readonly view: View; readonly now: number }): VNode {
  return (
    <footer>
      mc-gitops {view.version}, owner {view.owner}, running since <Time at={view.startedAt} now={now} />.
      Read-only: operators push TOML. <a href="/api/v1/status">JSON</a>
    </footer>
  );
}
