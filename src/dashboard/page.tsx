/** @jsxRuntime automatic */
/** @jsxImportSource preact */
import type { VNode } from 'preact';
import { render } from 'preact-render-to-string';
import type { ServiceState, ServiceView, View } from '../report/types.ts';
import { Passes } from './journal.tsx';
import { Notices } from './notices.tsx';
import { Hint, Time } from './parts.tsx';
import { Service } from './service.tsx';
import { Foot, Refreshing, Shell, type PageOptions } from './shell.tsx';
import { short } from './words.ts';

/** The first page as HTML. Everything of the view goes through preact's escaping; there is no raw HTML and no script. */
export function renderPage(view: View | undefined, options: PageOptions): string {
  return `<!doctype html>\n${render(<Page view={view} {...options} />)}`;
}

function Page({ view, now, refresh }: { readonly view: View | undefined } & PageOptions): VNode {
  const title = view === undefined ? 'mc-gitops' : `${marks(view)}${view.node} – mc-gitops`;
  return (
    <Shell title={title} refresh={refresh}>
      {view === undefined ? (
        <p class="empty">The agent has just started; the first pass has not ended yet.</p>
      ) : (
        <>
          <Head view={view} now={now} refresh={refresh} />
          <main>
            <Services view={view} now={now} />
            <Issues view={view} />
            <Notices notices={view.notices} now={now} />
            <Passes passes={view.passes} now={now} />
            <Foreign foreign={view.foreign} />
          </main>
          <Foot view={view} now={now} />
        </>
      )}
    </Shell>
  );
}

/** In the tab: how many conditions are not met. */
function marks(view: View): string {
  const bad = view.conditions.filter((condition) => !condition.ok).length;
  return bad === 0 ? '' : `(${bad}) `;
}

function Head({ view, now, refresh }: { readonly view: View } & PageOptions): VNode {
  const { commit, source } = view;
  return (
    <header>
      <div class="bar">
        <h1>
          {view.node} <span class="brand">mc-gitops</span>
        </h1>
        <p class="looked">
          {view.at === undefined ? (
            'not looked at yet'
          ) : (
            <>
              looked <Time at={view.at} now={now} />
            </>
          )}
          {' · '}
          <Refreshing path="/" refresh={refresh} />
        </p>
      </div>
      {commit === undefined ? (
        <p class="commit">No commit yet.</p>
      ) : (
        <p class="commit">
          <code title={commit.oid}>{short(commit.oid)}</code> <strong>{commit.message}</strong>{' '}
          <span class="quiet">
            {commit.author}, <Time at={commit.at} now={now} />
          </span>
        </p>
      )}
      <p class="quiet source">
        from <span class="url">{source.url}</span>
        {!source.reachable && source.since !== undefined && (
          <>
            , unreachable since <Time at={source.since} now={now} />
          </>
        )}
      </p>
      {view.idle !== undefined && (
        <div class="note bad">
          <strong>Nothing new is taken from git:</strong> {view.idle.why}
          <Hint text={view.idle.hint} />
        </div>
      )}
      <ul class="conditions">
        {view.conditions.map((condition) => (
          <li class={condition.ok ? 'good' : 'bad'}>
            <span class="word">
              {condition.name}: {condition.ok ? 'ok' : 'attention'}
            </span>
            <span class="text">{condition.text}</span>
            <Hint text={condition.hint} />
          </li>
        ))}
      </ul>
    </header>
  );
}

/** What needs a look comes first; otherwise in the order of the names. */
const ORDER: readonly ServiceState[] = [
  'refused',
  'degraded',
  'returning',
  'flapping',
  'held back',
  'orphan',
  'unknown',
  'waiting',
  'paused',
  'changing',
  'removing',
  'converged',
  'stopped',
];

function Services({ view, now }: { readonly view: View; readonly now: number }): VNode {
  // Without the engine nobody knows what runs: that is not "no container".
  const unseen = view.conditions.some(({ name, ok }) => name === 'engine' && !ok);
  const sorted = [...view.services].sort((a, b) => ORDER.indexOf(a.state) - ORDER.indexOf(b.state));
  return (
    <section>
      <h2>
        Services <span class="count">{tally(sorted)}</span>
      </h2>
      {sorted.length === 0 && <p class="empty">No definition names this node yet.</p>}
      {sorted.map((service) => (
        <Service service={service} now={now} unseen={unseen} />
      ))}
    </section>
  );
}

function tally(services: readonly ServiceView[]): string {
  return ORDER.map((state) => ({ state, n: services.filter((service) => service.state === state).length }))
    .filter(({ n }) => n > 0)
    .map(({ state, n }) => `${n} ${state}`)
    .join(', ');
}

function Issues({ view }: { readonly view: View }): VNode | null {
  if (view.issues.length === 0) return null;
  return (
    <section>
      <h2>
        Issues in the definitions <span class="count">{view.issues.length}</span>
      </h2>
      <ul class="issues">
        {view.issues.map((issue) => (
          <li class={issue.severity}>
            <code class="where">
              {issue.file}:{issue.line}:{issue.column}
            </code>{' '}
            <span class="word">{issue.severity}</span> {issue.message}{' '}
            <span class="quiet">({issue.rule})</span>
            <Hint text={issue.hint} />
          </li>
        ))}
      </ul>
    </section>
  );
}

function Foreign({ foreign }: Pick<View, 'foreign'>): VNode | null {
  if (foreign.length === 0) return null;
  return (
    <section>
      <h2>
        Foreign containers <span class="count">{foreign.length}, shown and never touched</span>
      </h2>
      <div class="scroll">
        <table>
          <thead>
            <tr>
              <th>name</th>
              <th>image</th>
              <th>state</th>
            </tr>
          </thead>
          <tbody>
            {foreign.map(({ name, image, state }) => (
              <tr>
                <td>{name}</td>
                <td>{image}</td>
                <td>{state}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </section>
  );
}
