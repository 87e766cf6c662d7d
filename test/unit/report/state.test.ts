import { expect } from 'chai';
import { uncovered } from '../../../src/commands/uncover.ts';
import type { Standing } from '../../../src/commands/foresee.ts';
import { nothingRuns } from '../../../src/commands/between.ts';
import type { Service } from '../../../src/definitions/types.ts';
import { formatState, STATE_FORMAT, type NodeState } from '../../../src/report/state.ts';
import { component, desiredOf, service } from '../../support/definitions.ts';

const SECRET = 'hunter2pw';

describe('the state of a node, as anybody gets it', () => {
  const made: Service = service('web', [
    component('web', {
      cmd: ['serve', '--password', SECRET, `--token=${SECRET}`, '--port', '80'],
      entrypoint: ['/bin/run', `postgres://u:${SECRET}@db/x`],
      labels: [
        { name: 'team.token', value: SECRET },
        { name: 'team', value: 'web' },
      ],
    }),
  ]);
  const [desired] = desiredOf([made]).services;
  const state: NodeState = {
    format: STATE_FORMAT,
    node: 'n1',
    commit: 'c'.repeat(40),
    settings: {} as NodeState['settings'],
    defaults: {} as NodeState['defaults'],
    policy: {} as NodeState['policy'],
    root: '',
    promised: {
      applied: [
        {
          ...{ service: made, state: 'running', file: 'services/web.toml', oid: 'o', appliedAt: 0 },
          ...{ digest: desired?.digest ?? '', commit: 'c'.repeat(40) },
        },
      ],
      ...{ leases: [], routes: [], images: [], files: [], failures: [], trials: [] },
    },
    observed: nothingRuns(),
  };

  it('G10 has no argument and no value of a label, whatever it looks like; everything else stays as it is', () => {
    const text = formatState(state);
    expect(text).to.not.contain(SECRET);
    const [applied] = (JSON.parse(text) as NodeState).promised.applied;
    expect(applied?.service.components[0]).to.deep.include({
      cmd: ['•••', '•••', '•••', '•••', '•••', '•••'],
      entrypoint: ['•••', '•••'],
      labels: [
        { name: 'team.token', value: '•••' },
        { name: 'team', value: '•••' },
      ],
    });
    expect(applied?.digest).to.equal(desired?.digest);
  });

  it('is whole again beside the definitions that the node has accepted, and stays covered without them', () => {
    const read = JSON.parse(formatState(state)) as Standing;
    expect(uncovered(read, desiredOf([made])).promised.applied[0]?.service).to.deep.equal(made);
    expect(uncovered(read, desiredOf([]))).to.deep.equal(read);
  });
});
