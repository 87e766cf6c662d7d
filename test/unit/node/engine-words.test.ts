import { expect } from 'chai';
import { LABELS, type ContainerSpec } from '../../../src/node/types.ts';
import { ABOUT, useStubEngine } from './stubengine.kit.ts';

const OWNER = 'n1/main';
const ID = 'a'.repeat(64);
/** What a definition may have as an argument, a label or a variable. */
const SECRETS = ['entry-4711', '--token=hunter"22', 'label-0815', 'value-1234'];
const [ENTRY = '', TOKEN = '', LABEL = '', VALUE = ''] = SECRETS;

const SPEC: ContainerSpec = {
  ...{ owner: OWNER, service: 'a', component: 'a', name: 'a', image: 'localhost/a:v1.0.0' },
  ...{ env: [{ name: 'PASS', hash: '' }], agentEnv: [], publish: [], leases: {}, mounts: [], networks: [] },
  ...{ restart: 'unless-stopped', logMaxSize: '10m', logMaxFiles: 3 },
  ...{ labels: [{ name: 'team', value: LABEL }], entrypoint: [ENTRY], cmd: [TOKEN, 'sh', '/srv/path'] },
};

/** An engine that quotes whatever it was given, in each of its answers that is an error. */
describe('engine: an error that quotes what a definition gave', () => {
  const quoted = `exec: ${SECRETS.map((word) => JSON.stringify(word)).join(', ')}`;
  let program: string;
  let said: string;

  beforeEach(() => {
    program = ENTRY;
    said = `OCI runtime create failed: ${quoted}: executable file not found in $PATH: unknown`;
  });
  const engine = useStubEngine(OWNER, (request, response) => {
    const { pathname } = new URL(request.url ?? '/', 'http://engine');
    response.setHeader('Content-Type', 'application/json');
    const labels = { [LABELS.owner]: OWNER, [LABELS.service]: 'a', [LABELS.component]: 'a', team: LABEL };
    const refuse = (status: number): void => {
      response.statusCode = status;
      response.end(JSON.stringify({ message: said }));
    };
    if (pathname === '/containers/json')
      response.end(JSON.stringify([{ Id: ID, Names: ['/a'], Labels: labels, State: 'created' }]));
    else if (pathname === '/networks') response.end('[]');
    else if (pathname.startsWith('/images/')) response.end(JSON.stringify({ Id: 'sha256:i', Config: {} }));
    else if (pathname === '/containers/missing/json') refuse(404);
    else if (/^\/containers\/(a|a{64})\/json$/.test(pathname))
      response.end(
        JSON.stringify({
          ...{ Id: ID, Name: '/a', Image: 'sha256:i', HostConfig: {} },
          Config: { Labels: labels, Entrypoint: [program], Cmd: [TOKEN], Env: [`PASS=${VALUE}`] },
          State: { Status: 'created', Running: false, Error: said },
        }),
      );
    else if (/^\/containers\/|^\/exec\//.test(pathname)) refuse(400);
    else response.end(JSON.stringify(ABOUT));
  });

  const why = async (outcome: Promise<{ kind: string; why?: string; cause?: string }>): Promise<string> => {
    const { kind, why: words = '', cause } = await outcome;
    expect(kind, words).to.equal('blocked');
    expect(cause, 'what it means is judged by all that was said').to.equal('definition');
    return words;
  };
  const expectCovered = (text: string): void => {
    for (const word of SECRETS) {
      expect(text).to.not.contain(word).and.not.contain(JSON.stringify(word).slice(1, -1));
    }
    expect(text).to.contain('exec: "•••"').and.contain('executable file not found');
  };

  it('G10 names no argument, label or variable of a container that cannot be started', async () => {
    expectCovered(await why(engine().start('a', 'a')));
  });

  it('G10 nor of one that cannot be made', async () => {
    expectCovered(await why(engine().create(SPEC, '1.k.b.d', 'missing', new Map([['PASS', VALUE]]))));
  });

  it('G10 nor the words of a check that cannot be run', async () => {
    expectCovered(await why(engine().check(ID, SECRETS, 1_000)));
  });

  it('G10 nor in what a look at the container shows of its last start', async () => {
    const facts = await engine().facts();
    const seen = facts.kind === 'ok' ? facts.value.containers[0]?.startError : undefined;
    expectCovered(seen ?? '');
  });

  it('names the path of the program that is not there, for nobody could mend it otherwise', async () => {
    program = '/bin/serve';
    said = `exec: "/bin/serve": executable file not found: ${quoted}`;
    expect(await why(engine().start('a', 'a'))).to.contain('exec: "/bin/serve"');
  });
});
