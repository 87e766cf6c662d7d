/** @jsxRuntime automatic */
/** @jsxImportSource preact */
import type { ComponentChildren, VNode } from 'preact';
import type { ContainerView, RouteView, ServiceView } from '../report/types.ts';
import { Patch, toneOf } from './journal.tsx';
import { Badge, For, Hint, Images, Time } from './parts.tsx';
import { imageName, pathOf, short } from './words.ts';

interface Props {
  readonly service: ServiceView;
  readonly now: number;
}

/** One service: the word, the three columns that are never one (L13), and why anything waits. */
export function Service({ service, now, unseen }: Props & { readonly unseen: boolean }): VNode {
  const calm = service.desired?.active === false;
  return (
    <article class={`service s-${service.state.replaceAll(' ', '-')}`}>
      <div class="title">
        <h3>
          <a href={pathOf(service.name)}>{service.name}</a>
        </h3>
        <Badge state={service.state} />
        {service.edgeOf !== undefined && <span class="quiet">edge of {service.edgeOf}</span>}
        {service.file !== undefined && <span class="quiet file">{service.file}</span>}
      </div>
      <Lines service={service} now={now} />
      <div class="columns">
        <Column name="desired">{desired(service)}</Column>
        <Column name="applied">
          {service.edgeOf === undefined ? (
            applied(service, now)
          ) : (
            <p class="quiet">runs on {service.edgeOf}</p>
          )}
        </Column>
        <Column name="observed">
          {service.observed.length === 0 && service.edgeOf === undefined && (
            <p class="quiet">{unseen ? 'unknown' : 'no container'}</p>
          )}
          {service.observed.map((container) => (
            <Container container={container} now={now} calm={calm} />
          ))}
        </Column>
      </div>
      <Ways service={service} now={now} />
      <Printed service={service} now={now} />
      <Builds service={service} />
      <LastReason service={service} now={now} />
    </article>
  );
}

const PUSH = 'image push';

/** Everything expected that does not happen, with what to do about it. */
function Lines({ service, now }: Props): VNode | null {
  const { waiting, refused, issues } = service;
  const silenced = service.desired?.silenced ?? [];
  // The pause after a failure says the same with the time of the next try.
  const told = waiting.some((entry) => entry.why.includes(service.lastError?.why ?? '\n'));
  const lastError = told ? undefined : service.lastError;
  const unmet = (service.conditions ?? []).filter(({ status }) => status === 'False');
  // The condition says the same.
  const others = unmet.length === 0 ? waiting : waiting.filter((entry) => entry.for !== PUSH);
  const count = unmet.length + waiting.length + refused.length + issues.length + silenced.length;
  if (count === 0 && lastError === undefined) return null;
  return (
    <ul class="lines">
      {refused.map((entry) => (
        <Line kind="refused" text={entry.why} hint={entry.hint} />
      ))}
      {issues.map((issue) => (
        <Line
          kind={issue.severity}
          text={`${issue.file}:${issue.line}:${issue.column} ${issue.message}`}
          hint={issue.hint}
        />
      ))}
      {silenced.map(({ rule, reason }) => (
        <Line kind="silenced" text={`${rule}: ${reason}`} hint={undefined} />
      ))}
      {unmet.map(({ type, status, reason, message, hint, since }) => (
        <Line kind="condition" text={`${type}=${status} (${reason}): ${message}`} hint={hint}>
          {since !== undefined && <For since={since} now={now} />}
        </Line>
      ))}
      {others.map((entry) => (
        <Line kind="waiting" text={`${entry.for}: ${entry.why}`} hint={entry.hint}>
          {entry.since !== undefined && <For since={entry.since} now={now} />}
          {entry.until !== undefined && entry.until > now && (
            <>
              {' '}
              looked at again <Time at={entry.until} now={now} />
            </>
          )}
        </Line>
      ))}
      {lastError !== undefined && (
        <Line kind="last error" text={lastError.why} hint={lastError.hint}>
          <Time at={lastError.at} now={now} />
        </Line>
      )}
    </ul>
  );
}

interface LineProps {
  readonly kind: string;
  readonly text: string;
  readonly hint: string | undefined;
  readonly children?: ComponentChildren;
}

function Line({ kind, text, hint, children }: LineProps): VNode {
  return (
    <li class={`k-${kind.replaceAll(' ', '-')}`}>
      <span class="word">{kind}</span> {text}{' '}
      {children !== undefined && <span class="quiet">{children}</span>}
      <Hint text={hint} />
    </li>
  );
}

function Column({ name, children }: { readonly name: string; readonly children: ComponentChildren }): VNode {
  return (
    <div class="column">
      <h4>{name}</h4>
      {children}
    </div>
  );
}

function desired({ desired: wanted, edgeOf, issues, trial }: ServiceView): VNode {
  if (wanted === undefined) {
    const broken = issues.some((issue) => issue.severity === 'error');
    return <p class="quiet">{broken ? 'its definition cannot be used' : 'not in the repository'}</p>;
  }
  return (
    <>
      <p>
        {edgeOf !== undefined ? 'routes' : wanted.active ? 'running' : 'stopped'}{' '}
        <span class="quiet">by commit</span> <code title={wanted.commit}>{short(wanted.commit)}</code>
        {wanted.heldBack && <span class="quiet">, its last good state</span>}
        {trial?.phase === 'held back' && <span class="quiet">, held back</span>}
      </p>
      <Images images={wanted.images} />
      <Digest digest={wanted.digest} />
    </>
  );
}

function applied({ applied: done, desired: wanted }: ServiceView, now: number): VNode {
  if (done === undefined) return <p class="quiet">never</p>;
  return (
    <>
      <p>
        {done.state} <span class="quiet">by commit</span>{' '}
        <code title={done.commit}>{short(done.commit)}</code>{' '}
        <span class="quiet">
          <Time at={done.at} now={now} />
        </span>
      </p>
      <Images images={done.images} />
      <Digest digest={done.digest} differs={wanted !== undefined && wanted.digest !== done.digest} />
    </>
  );
}

function Digest({ digest, differs }: { readonly digest: string; readonly differs?: boolean }): VNode {
  return (
    <p class="quiet">
      digest <code title={digest}>{short(digest)}</code>
      {differs === true && <strong class="differs"> differs from desired</strong>}
    </p>
  );
}

interface ContainerProps {
  readonly container: ContainerView;
  readonly now: number;
  /** Nothing of it shall run: that it does not is no fault. */
  readonly calm: boolean;
}

function Container({ container, now, calm }: ContainerProps): VNode {
  const { state, ready, since, restarts, why } = container;
  const word = ready === undefined ? state : `${state}, ${ready ? 'ready' : 'not ready'}`;
  return (
    <div class="container">
      <p>
        <strong>{container.name}</strong>{' '}
        <span class={calm ? 'calm' : state === 'running' && ready !== false ? 'fine' : 'off'}>{word}</span>{' '}
        {since !== undefined && (
          <span class="quiet">
            <For since={since} now={now} />
          </span>
        )}
        {restarts > 0 && <span class="off">, restarted {restarts}×</span>}
      </p>
      <ul class="images">
        <li>
          <code title={container.image}>{imageName(container.image)}</code>
        </li>
      </ul>
      {why !== undefined && !calm && <p class="why">{why}</p>}
    </div>
  );
}

/** What is as it should be: conditions that are met, routes through the proxy, and host ports. */
function Ways({ service, now }: Props): VNode | null {
  const { routes, ports, fixedPorts, conditions = [] } = service;
  const met = conditions.filter(({ status }) => status === 'True');
  if (routes.length + ports.length + fixedPorts.length + met.length === 0) return null;
  return (
    <ul class="ways">
      {met.map(({ type, status, message }) => (
        <li>
          <span class="label">condition</span>{' '}
          <span class="fine">
            {type}={status}
          </span>{' '}
          <span class="quiet">{message}</span>
        </li>
      ))}
      {routes.map((route) => (
        <li>
          <RouteLine route={route} now={now} calm={service.desired?.active === false} />
        </li>
      ))}
      {ports.map(({ component, route, slot, port }) => (
        <li>
          <span class="label">port</span> <code>{port}</code>{' '}
          <span class="quiet">
            {component}
            {route === '' ? '' : ` ${route}`}
            {slot === 'a' ? '' : ` (slot ${slot})`}
          </span>
        </li>
      ))}
      {fixedPorts.map(({ component, ip, host, container, protocol }) => (
        <li>
          <span class="label">fixed</span>{' '}
          <code>
            {ip === undefined ? '' : `${ip}:`}
            {host}:{container}/{protocol}
          </code>{' '}
          <span class="quiet">{component}</span>
        </li>
      ))}
    </ul>
  );
}

function RouteLine({
  route,
  now,
  calm,
}: {
  readonly route: RouteView;
  readonly now: number;
  readonly calm: boolean;
}): VNode {
  const name = `${route.hostname}:${route.port}`;
  const link = linkOf(route.url);
  return (
    <>
      <span class="label">{route.mode}</span>{' '}
      {link === undefined ? (
        <code>{name}</code>
      ) : (
        <a href={link} rel="noopener noreferrer">
          <code>{name}</code>
        </a>
      )}{' '}
      → <code>{route.backend ?? 'nothing yet'}</code>{' '}
      <span class={calm ? 'calm' : route.served ? 'fine' : 'off'}>
        {route.served ? 'served' : 'not served'}
      </span>
      {route.foreign !== undefined && (
        <span class="off">
          {' '}
          the proxy has a route to <code>{route.foreign.backend}</code> there,{' '}
          {route.foreign.owner === undefined ? 'not ours' : `of ${route.foreign.owner}`}; ours waits
        </span>
      )}
      {route.edge !== undefined && <span class="quiet">, edge {route.edge.join(', ')}</span>}
      {route.notAfter !== undefined && (
        <span class="quiet">
          , certificate {route.notAfter > now ? 'ends' : 'ended'} <Time at={route.notAfter} now={now} />
        </span>
      )}
    </>
  );
}

/** Only http and https become a link, whatever the view says. */
function linkOf(url: string | undefined): string | undefined {
  if (url === undefined || !URL.canParse(url)) return undefined;
  const parsed = new URL(url);
  return parsed.protocol === 'https:' || parsed.protocol === 'http:' ? parsed.href : undefined;
}

/** What a version that gave way printed last: its containers are gone. */
function Printed({ service: { trial }, now }: Props): VNode | null {
  const printed = trial?.printed ?? [];
  if (printed.length === 0) return null;
  return (
    <>
      {printed.map(({ component, at, lines }) => (
        <details class="build" open>
          <summary>
            last lines of {component} before it gave way, <Time at={at} now={now} />
          </summary>
          <pre>{lines.join('\n')}</pre>
        </details>
      ))}
    </>
  );
}

/** What a build prints, or printed before it failed. */
function Builds({ service }: { readonly service: ServiceView }): VNode | null {
  const { builds = [] } = service;
  if (builds.length === 0) return null;
  return (
    <>
      {builds.map(({ reference, lines }) => (
        <details class="build">
          <summary>
            log of the build of <code title={reference}>{imageName(reference)}</code>
          </summary>
          <pre>{lines.join('\n')}</pre>
        </details>
      ))}
    </>
  );
}

function LastReason({ service, now }: Props): VNode | null {
  const { lastReason } = service;
  if (lastReason === undefined) return null;
  return (
    <div class="reason">
      <p>
        <span class="label">last step</span> {lastReason.step}{' '}
        <span class="quiet">
          because {lastReason.summary}
          {lastReason.commit !== undefined && (
            <>
              , commit <code title={lastReason.commit}>{short(lastReason.commit)}</code>
            </>
          )}
          , <Time at={lastReason.at} now={now} />
        </span>{' '}
        {lastReason.result !== undefined && lastReason.result !== 'ok' && (
          <span class={toneOf(lastReason.result)}>{lastReason.result}</span>
        )}
      </p>
      <Patch patch={lastReason.patch} />
    </div>
  );
}
