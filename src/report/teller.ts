import type { Log } from '../base/log.ts';
import { redact } from '../base/secret.ts';
import type { StepResult } from '../execute/types.ts';
import type { EventFeed } from './events.ts';
import { differencesOf, withTried, type NewEvent, type Situation } from './told.ts';

/** Tells what a pass changed: on the log and in the event stream, each thing once. It decides nothing (L41). */
export interface Teller {
  afterPass(situation: Situation, results: readonly StepResult[], at: number): void;
}

export function openTeller({ log, feed }: { readonly log: Log; readonly feed: EventFeed }): Teller {
  let before: Situation | undefined;
  let told: readonly StepResult[] = [];
  return {
    afterPass: (now, results, at) => {
      const situation = withTried(before, now);
      // The same list: that pass was told already, and this one did not get so far.
      if (results !== told) for (const result of results) feed.add(stepEvent(result));
      told = results;
      for (const event of differencesOf(before, situation, at)) {
        feed.add(event);
        if (event.kind !== 'commit') logEvent(log, event);
      }
      before = situation;
    },
  };
}

function stepEvent({ step, outcome, endedAt }: StepResult): NewEvent {
  const failed = outcome.kind === 'ok' ? '' : `: ${redact(outcome.why)}`;
  return {
    at: endedAt,
    kind: 'step',
    services: [step.service],
    text: `${step.service}: ${step.kind} ${step.subject} because ${redact(step.because.summary)}${failed}`,
    result: outcome.kind,
  };
}

function logEvent(log: Log, event: NewEvent): void {
  const fields = {
    ...(event.services === undefined ? {} : { services: event.services }),
    ...(event.hint === undefined ? {} : { hint: event.hint }),
  };
  if (event.kind === 'refused') log.warn(fields, event.text);
  else log.info(fields, event.text);
}
