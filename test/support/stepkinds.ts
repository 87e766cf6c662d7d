import type { StepKind } from '../../src/plan/types.ts';

/** What a kind of step acts on. None of it is a path of the host, and none can be (G12). */
export type Actor = 'registry' | 'engine' | 'images' | 'proxy' | 'certificates' | 'dns';

export const STEP_KINDS: Readonly<Record<StepKind, Actor>> = {
  'record-image': 'registry',
  'lease-ports': 'registry',
  'release-leases': 'registry',
  'record-applied': 'registry',
  'record-orphan': 'registry',
  'record-trial': 'registry',
  'forget-service': 'registry',
  'create-network': 'engine',
  'remove-network': 'engine',
  'create-container': 'engine',
  'start-container': 'engine',
  'retire-container': 'engine',
  'take-over-container': 'engine',
  'give-back-container': 'engine',
  'set-aside-container': 'engine',
  'rest-container': 'engine',
  'stop-container': 'engine',
  'remove-container': 'engine',
  'pull-image': 'images',
  'build-image': 'images',
  'cancel-image': 'images',
  'push-image': 'images',
  'remove-image': 'images',
  'prune-build-cache': 'images',
  'put-routes': 'proxy',
  'remove-routes': 'proxy',
  'issue-certificate': 'certificates',
  'remove-certificate': 'certificates',
  'put-records': 'dns',
  'remove-records': 'dns',
};
