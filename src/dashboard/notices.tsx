/** @jsxRuntime automatic */
/** @jsxImportSource preact */
import type { VNode } from 'preact';
import type { View } from '../report/types.ts';
import { Hint, Time } from './parts.tsx';

type Notice = View['notices'][number];

/** What people were told of: the open ones, then the last that cleared. */
export function Notices({
  notices,
  now,
}: {
  readonly notices: readonly Notice[];
  readonly now: number;
}): VNode | null {
  if (notices.length === 0) return null;
  const open = notices.filter(({ clearedAt }) => clearedAt === undefined);
  const cleared = notices.filter(({ clearedAt }) => clearedAt !== undefined);
  return (
    <section id="notices">
      <h2>
        Notices <span class="count">{`${open.length} open, ${cleared.length} cleared`}</span>
      </h2>
      <ul class="issues">
        {[...open, ...cleared].map((notice) => (
          <NoticeLine notice={notice} now={now} />
        ))}
      </ul>
    </section>
  );
}

function NoticeLine({ notice, now }: { readonly notice: Notice; readonly now: number }): VNode {
  const { kind, service, text, hint, at, clearedAt, deliveries } = notice;
  return (
    <li class={clearedAt === undefined ? 'warning' : 'cleared'}>
      <span class="word">{kind}</span> {service !== undefined && <strong>{service}</strong>}{' '}
      <span class="said">{text}</span>{' '}
      <span class="quiet">
        <Time at={at} now={now} />
        {clearedAt !== undefined && (
          <>
            , cleared <Time at={clearedAt} now={now} />
          </>
        )}
        {deliveries.map((delivery) => (
          <>
            , {delivery.channel} <Delivery delivery={delivery} now={now} />
          </>
        ))}
      </span>
      {clearedAt === undefined && <Hint text={hint} />}
    </li>
  );
}

function Delivery({
  delivery,
  now,
}: {
  readonly delivery: Notice['deliveries'][number];
  readonly now: number;
}): VNode {
  const { doneAt, nextAt, tries } = delivery;
  if (doneAt !== undefined)
    return (
      <>
        told <Time at={doneAt} now={now} />
      </>
    );
  if (nextAt === undefined) return <span class="off">given up after {tries} tries</span>;
  return (
    <span class="soon">
      not told yet, tried again <Time at={nextAt} now={now} />
    </span>
  );
}
