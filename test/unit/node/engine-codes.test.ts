import type { ServerResponse } from 'node:http';
import { expect } from 'chai';
import { LABELS, type ObservedContainer } from '../../../src/node/types.ts';
import { until } from '../../support/until.ts';
import { ABOUT, useStubEngine } from './stubengine.kit.ts';

const OWNER = 'n1/main';

/** An engine with one container, which it starts again whenever it ends. */
describe('engine: with which code a container ended that runs again', () => {
  let state: object;
  let restartCount: number;
  let stream: ServerResponse | undefined;

  beforeEach(() => {
    state = { Status: 'running', Running: true };
    restartCount = 0;
  });
  const engine = useStubEngine(OWNER, (request, response) => {
    const { pathname } = new URL(request.url ?? '/', 'http://engine');
    response.setHeader('Content-Type', 'application/json');
    const labels = { [LABELS.owner]: OWNER };
    if (pathname === '/events') {
      stream = response;
      response.flushHeaders();
    } else if (pathname === '/containers/json')
      response.end(JSON.stringify([{ Id: 'a', Names: ['/a'], Labels: labels, State: 'running' }]));
    else if (pathname === '/networks') response.end('[]');
    else if (pathname === '/containers/a/json')
      response.end(
        JSON.stringify({
          ...{ Id: 'a', Name: '/a', Image: 'sha256:i', HostConfig: {}, Config: { Labels: labels } },
          ...{ State: state, RestartCount: restartCount },
        }),
      );
    else response.end(JSON.stringify(ABOUT));
  });
  const seen = async (): Promise<ObservedContainer | undefined> => {
    const facts = await engine().facts();
    return facts.kind === 'ok' ? facts.value.containers[0] : undefined;
  };

  it('is what the last look showed while it was ended', async () => {
    state = { Status: 'restarting', Running: true, ExitCode: 4 };
    expect(await seen())
      .to.include({ state: 'restarting', exitCode: 4 })
      .and.not.have.property('lastExitCode');
    state = { Status: 'running', Running: true, ExitCode: 0 };
    restartCount = 1;
    expect(await seen())
      .to.include({ state: 'running', lastExitCode: 4 })
      .and.not.have.property('exitCode');
    restartCount = 0;
    expect(await seen(), 'somebody started it anew').to.not.have.property('lastExitCode');
  });

  for (const [kind, attributes] of [
    ['Docker', { Action: 'die', Actor: { ID: 'a', Attributes: { exitCode: '5' } } }],
    ['Podman', { Action: 'died', Actor: { ID: 'a', Attributes: { containerExitCode: '5' } } }],
  ] as const)
    it(`is what the event of ${kind} says that no look came in time for`, async () => {
      const listening = engine().events(() => undefined);
      try {
        await until('the stream', async () => stream !== undefined);
        restartCount = 1;
        expect(await seen()).to.not.have.property('lastExitCode');
        stream?.write(`${JSON.stringify({ Type: 'container', ...attributes })}\n`);
        await until('the code', async () => (await seen())?.lastExitCode === 5);
      } finally {
        listening.close();
        stream = undefined;
      }
    });
});
