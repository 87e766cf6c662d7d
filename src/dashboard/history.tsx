/** @jsxRuntime automatic */
/** @jsxImportSource preact */
import type { VNode } from 'preact';
import { render } from 'preact-render-to-string';
import { causer } from '../base/causer.ts';
import type { HistoryEntry, View } from '../report/types.ts';
import { Patch, Steps, toneOf } from './journal.tsx';
import { Time } from './parts.tsx';
import { Service } from './service.tsx';
import { Foot, Refreshing, Shell, type PageOptions } from './shell.tsx';
import { duration, pathOf, short } from './words.ts';

interface Props extends PageOptions {
  readonly name: string;
  /** Newest first. */
  readonly entries: readonly HistoryEntry[];
}

/** The page of one service: how it stands, and all that was done for it. Undefined when nobody knows the service. */
export function renderService(view: View, props: Props): string | undefined {
  const known = view.services.some(({ name }) => name === props.name);
  if (!known && props.entries.length === 0) return undefined;
  return `<!doctype html>\n${render(<ServicePage view={view} {...props} />)}`;
}

function ServicePage({ view, name, entries, now, refresh }: { readonly view: View } & Props): VNode {
  const service = view.services.find((entry) => entry.name === name);
  const unseen = view.conditions.some((condition) => condition.name === 'engine' && !condition.ok);
  return (
    <Shell title={`${name} on ${view.node} – mc-gitops`} refresh={refresh}>
      <header>
        <div class="bar">
          <h1>
            {name} <span class="brand">{`on ${view.node}`}</span>
          </h1>
          <p class="looked">
            <a href="/">all services</a> · <Refreshing path={pathOf(name)} refresh={refresh} />
          </p>
        </div>
      </header>
      <main>
        {service === undefined ? (
          <p class="empty">Neither git nor this node has it any more.</p>
        ) : (
          <Service service={service} now={now} unseen={unseen} />
        )}
        <section>
          <h2>
            History <span class="count">newest first; older entries are pruned by age and count</span>
          </h2>
          {entries.length === 0 && <p class="empty">Nothing was done for it yet.</p>}
          {entries.map((entry, at) => (
            <Entry entry={entry} now={now} open={at === 0} />
          ))}
        </section>
      </main>
      <Foot view={view} now={now} />
    </Shell>
  );
}

/** When, commit, author, why, what changed, how long, and the result. */
function Entry({
  entry,
  now,
  open,
}: {
  readonly entry: HistoryEntry;
  readonly now: number;
  readonly open: boolean;
}): VNode {
  const { pass, at, trigger, commit, by, author, message, file, why, patch, steps, tookMs, result } = entry;
  return (
    <details class="pass" open={open}>
      <summary>
        <Time at={at} now={now} />{' '}
        <span class={toneOf(result === 'under way' ? undefined : result)}>{result}</span>{' '}
        <span class="because">because {why}</span>{' '}
        <span class="quiet">{tookMs === undefined ? '' : `took ${duration(tookMs)}`}</span>
      </summary>
      <p class="quiet">
        {by !== undefined && `${causer(by)}; in force: `}
        commit <code title={commit}>{short(commit)}</code>
        {message !== undefined && (
          <>
            {' '}
            <strong>{message}</strong>
          </>
        )}
        {author !== undefined && ` by ${author}`}
        {file !== undefined && `, ${file}`}
        {`, pass ${pass} by ${trigger}`}
      </p>
      <Patch patch={patch} />
      <Steps steps={steps} />
    </details>
  );
}
