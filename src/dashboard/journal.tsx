/** @jsxRuntime automatic */
/** @jsxImportSource preact */
import type { VNode } from 'preact';
import type { HistoryEntry, View } from '../report/types.ts';
import { Time } from './parts.tsx';
import { duration, short } from './words.ts';

type Pass = View['passes'][number];
type Step = Pass['steps'][number];

/** The last passes that did something, newest first, each with its steps and their reasons. */
export function Passes({ passes, now }: { readonly passes: readonly Pass[]; readonly now: number }): VNode {
  return (
    <section>
      <h2>
        Last passes <span class="count">only those that did something</span>
      </h2>
      {passes.length === 0 && <p class="empty">Nothing had to be done yet.</p>}
      {passes.map((pass, index) => (
        <PassBox pass={pass} now={now} open={index === 0} />
      ))}
    </section>
  );
}

function PassBox({
  pass,
  now,
  open,
}: {
  readonly pass: Pass;
  readonly now: number;
  readonly open: boolean;
}): VNode {
  const failed = pass.steps.filter((step) => toneOf(step.result) === 'off').length;
  return (
    <details class="pass" open={open}>
      <summary>
        <span class="number">#{pass.id}</span> <Time at={pass.startedAt} now={now} />{' '}
        <span class="quiet">
          by {pass.trigger}, commit <code title={pass.commit}>{short(pass.commit)}</code>, {pass.steps.length}{' '}
          {pass.steps.length === 1 ? 'step' : 'steps'},{' '}
          {pass.endedAt === undefined ? 'under way' : duration(pass.endedAt - pass.startedAt)}
        </span>{' '}
        {failed > 0 && <span class="off">{failed} not done</span>}
      </summary>
      {pass.replay === true && (
        <p class="quiet">
          its inputs are kept: <code>mc-gitops plan --replay {pass.id}</code>
        </p>
      )}
      <Steps steps={pass.steps} />
    </details>
  );
}

export function Steps({ steps }: { readonly steps: readonly Step[] }): VNode {
  return (
    <ol class="steps">
      {steps.map((step) => (
        <StepLine step={step} />
      ))}
    </ol>
  );
}

function StepLine({ step }: { readonly step: Step }): VNode {
  const { result, because } = step;
  return (
    <li>
      <span class={`result ${toneOf(result)}`}>{result ?? 'under way'}</span>
      <div>
        <span class="kind">{step.kind}</span> <strong>{step.subject}</strong>{' '}
        <span class="quiet">
          {step.service === step.subject ? '' : `of ${step.service} `}
          {step.endedAt === undefined ? '' : duration(step.endedAt - step.startedAt)}
        </span>
        <p class="because">because {because.summary}</p>
        {step.message !== undefined && (
          <p class={toneOf(result) === 'off' ? 'why' : 'because'}>{step.message}</p>
        )}
        <Patch patch={because.patch} />
      </div>
    </li>
  );
}

/** `wait` names something outside that is looked at again by itself, for example a build that was begun: no fault. */
export function toneOf(result: HistoryEntry['result'] | undefined): 'fine' | 'soon' | 'off' {
  if (result === 'ok') return 'fine';
  return result === undefined || result === 'wait' || result === 'begun' ? 'soon' : 'off';
}

/** What changed, as RFC 6902 writes it. */
export function Patch({ patch }: { readonly patch: Step['because']['patch'] }): VNode | null {
  if (patch === undefined || patch.length === 0) return null;
  return (
    <details class="patch">
      <summary>what changed ({patch.length})</summary>
      <pre>{patch.map((operation) => JSON.stringify(operation)).join('\n')}</pre>
    </details>
  );
}
