import type { StepKind } from '../../../src/plan/types.ts';
import type { SimulatedAgent } from './agent.ts';
import { CALL_FAULTS, impossible, type StepFault } from './faults.ts';
import type { Life } from './life.ts';

/** The call that each step outside makes. */
export const CALLS: Readonly<Record<string, StepKind>> = {
  'engine.createNetwork': 'create-network',
  'engine.removeNetwork': 'remove-network',
  'engine.create': 'create-container',
  'engine.start': 'start-container',
  'engine.retire': 'retire-container',
  'engine.rename': 'set-aside-container',
  'engine.stop': 'stop-container',
  'engine.remove': 'remove-container',
  'images.startPull': 'pull-image',
  'images.startBuild': 'build-image',
  'images.startPush': 'push-image',
  'images.cancel': 'cancel-image',
  'proxy.put': 'put-routes',
  'proxy.remove': 'remove-routes',
  'certificates.issue': 'issue-certificate',
  'certificates.remove': 'remove-certificate',
  'engine.takeOver': 'take-over-container',
  'engine.giveBack': 'give-back-container',
  'images.remove': 'remove-image',
  'dns.put': 'put-records',
  'dns.remove': 'remove-records',
};

const COMMON: readonly StepKind[] = ['create-container', 'start-container', 'record-applied', 'put-routes'];

export function strikes(life: Life, fault: StepFault, kind: StepKind): boolean {
  if (!life.chaos || life.crashed > 12 || impossible(fault, kind) !== undefined) return false;
  const isTarget = life.target?.fault === fault && life.target.kind === kind;
  if (life.isCalm) return isTarget;
  if (isTarget && life.dice.chance(0.6)) return true;
  return life.dice.chance(COMMON.includes(kind) ? life.share : 3 * life.share);
}

export function callFault(life: Life, call: string): (typeof CALL_FAULTS)[number] | undefined {
  const kind = CALLS[call];
  const mine = CALL_FAULTS.filter((one) => life.steps.includes(one));
  if (kind === undefined || mine.length === 0) return undefined;
  const isAimed = life.target?.kind === kind && mine.some((one) => one === life.target?.fault);
  const fault = isAimed ? (life.target.fault as (typeof mine)[number]) : life.dice.pick(mine);
  if (!strikes(life, fault, kind)) return undefined;
  life.trace(`  ${fault} in ${kind}`);
  life.fired.add(fault, kind);
  return fault;
}

export function dies(life: Life, agent: SimulatedAgent, call: string): boolean {
  const kind = CALLS[call];
  const at = 'crash in the act';
  if (kind === undefined || !life.steps.includes(at) || !strikes(life, at, kind)) return false;
  life.fired.add(at, kind);
  agent.kill();
  return true;
}
