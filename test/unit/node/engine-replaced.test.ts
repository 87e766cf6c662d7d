import type { ServerResponse } from 'node:http';
import { expect } from 'chai';
import { LABELS, type ObservedContainer } from '../../../src/node/types.ts';
import { until } from '../../support/until.ts';
import { ABOUT, useStubEngine } from './stubengine.kit.ts';

const NAMES = ['old', 'other', 'others'];

/** An engine with containers that somebody started by hand; the last of them has the mark of another agent. */
describe('engine: what a container is made of whose place is to be taken (L27)', () => {
  let asked: string[];
  let status: number;
  let stream: ServerResponse | undefined;

  beforeEach(() => {
    [asked, status, stream] = [[], 200, undefined];
  });
  const listed = (id: string): object => ({
    ...{ Id: id, Names: [`/${id}`], Image: 'web', State: 'running' },
    Labels: { 'com.example.token': 'planted', ...(id === 'others' ? { [LABELS.owner]: 'n2/main' } : {}) },
  });
  const inspection = (id: string): object => ({
    ...{ Id: id, Name: `/${id}`, Image: 'sha256:i', State: { Status: 'running', Running: true } },
    HostConfig: { RestartPolicy: { Name: 'always' } },
    Config: { Env: ['API_TOKEN=planted'], Labels: { 'com.example.token': 'planted' } },
    Mounts: [
      { Type: 'volume', Name: 'b'.repeat(64), Destination: '/db' },
      { Type: 'bind', Source: '/srv/old', Destination: '/data', RW: false },
    ],
  });
  const engine = useStubEngine(
    'n1/main',
    (request, response) => {
      const { pathname } = new URL(request.url ?? '/', 'http://engine');
      const id = /^\/containers\/(\w+)\/json$/.exec(pathname)?.[1];
      response.setHeader('Content-Type', 'application/json');
      if (id !== undefined) asked.push(id);
      if (pathname === '/events') {
        stream = response;
        response.flushHeaders();
      } else if (pathname === '/containers/json') response.end(JSON.stringify(NAMES.map(listed)));
      else if (pathname === '/networks') response.end('[]');
      else if (id !== undefined) {
        response.statusCode = status;
        response.end(JSON.stringify(status === 200 ? inspection(id) : { message: 'no' }));
      } else response.end(JSON.stringify(ABOUT));
    },
    () => 'hash',
  );
  const seen = async (...replaced: string[]): Promise<readonly ObservedContainer[]> => {
    const facts = await engine().facts(replaced);
    if (facts.kind !== 'ok') throw new Error(facts.why);
    return facts.value.containers;
  };

  it('is asked for once in its life, and of no other foreign container; values and labels are not taken in (G10)', async () => {
    const listening = engine().events(() => undefined);
    try {
      await until('the stream', async () => stream !== undefined);
      await until('what is remembered to stay', async () => {
        asked = [];
        await seen('old', 'others');
        return asked.length === 0;
      });
      const [old, ...rest] = await seen('old', 'others');
      expect(old?.parts).to.deep.include({
        ...{ env: { API_TOKEN: 'hash' }, labels: {}, restart: 'always' },
        mounts: [
          { kind: 'bind', source: '/srv/old', target: '/data', readOnly: true },
          { kind: 'volume', volume: 'b'.repeat(64), target: '/db', readOnly: false },
        ],
      });
      expect(JSON.stringify(old)).to.not.contain('planted');
      for (const one of rest) expect(one, one.name).to.not.have.property('parts');
      expect(asked).to.deep.equal([]);
    } finally {
      listening.close();
    }
  });

  it('is left out where the engine does not tell it: the container is as the list has it', async () => {
    status = 500;
    const [old] = await seen('old');
    expect(old).to.include({ name: 'old', state: 'running' }).and.not.have.any.keys('parts', 'unseen');
  });
});
