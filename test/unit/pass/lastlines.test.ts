import { expect } from 'chai';
import type { Clock } from '../../../src/base/clock.ts';
import { blocked, ok, type Outcome } from '../../../src/base/outcome.ts';
import { lastLinesOf } from '../../../src/execute/lastlines.ts';
import type { Tools } from '../../../src/execute/types.ts';
import type { Printed } from '../../../src/registry/types.ts';

const BLAMED = ['web', 'db'].map((component) => ({
  component,
  container: component,
  containerId: component,
}));
const ENV = new Map([
  ['API_TOKEN', 'planted-token-1'],
  ['SIGNING_KEY', '-----BEGIN X-----\nplanted-line-2\n-----END X-----'],
  ['DATA_DIR', '/srv/planted-3'],
  ['MODE', 'fast'],
]);

/** What is kept of logs; a log that is undefined is never answered, and the patience ends then. */
async function kept(logs: Readonly<Record<string, Outcome<string[]> | undefined>>): Promise<Printed[]> {
  const isSlow = Object.values(logs).includes(undefined);
  const never = new Promise<never>(() => undefined);
  const clock: Clock = {
    now: () => 7,
    monotonic: () => 7,
    sleep: () => (isSlow ? new Promise((resolve) => setImmediate(resolve)) : never),
  };
  const engine = { logs: (id: string) => (id in logs && logs[id] === undefined ? never : logs[id]) };
  const node = { engine } as unknown as Tools['node'];
  const blamed = BLAMED.filter(({ containerId }) => containerId in logs);
  return lastLinesOf('web', blamed, { node, clock, values: new Map([['web/web', ENV]]) });
}

describe('the last lines of a version that gives way', () => {
  it('G10 have no value of a variable in them: a secret is covered, of any other there is the name', async () => {
    const [web] = await kept({
      web: ok([
        'token planted-token-1 was refused',
        'key planted-line-2',
        'cannot open /srv/planted-3/db in fast mode',
        '\u001b[31mlogin --password=hunter2hunter2\u001b[0m',
        '-----BEGIN PRIVATE KEY-----',
        'bm90IGEga2V5',
        '-----END PRIVATE KEY-----',
      ]),
    });
    expect(web?.lines).to.deep.equal([
      'token ••• was refused',
      'key •••',
      'cannot open ${DATA_DIR}/db in fast mode',
      'login --password=•••',
      ...['•••', '•••', '•••'],
    ]);
    expect(web).to.include({ component: 'web', container: 'web', at: 7 });
  });

  it('are at most 20 of each container and 4 KiB of all; of a line that is too long the end is kept', async () => {
    const many = Array.from({ length: 100 }, (_, at) => `line ${at}`);
    const long = Array.from({ length: 20 }, (_, at) => `${at} ${'x'.repeat(500)}`);
    const [web, db] = await kept({ web: ok(many), db: ok(long) });
    expect(web?.lines).to.deep.equal(many.slice(-20));
    expect(db?.lines).to.deep.equal(long.slice(-4));
    const [one] = await kept({ web: ok(['short', `begin ${'é'.repeat(9_000)} end`]) });
    expect(one?.lines).to.have.length(1);
    expect(one?.lines[0]).to.match(/^… .*é end$/);
    expect(Buffer.byteLength(one?.lines[0] ?? '')).to.be.within(4_000, 4_110);
  });

  it('G19 are left out where the engine refuses them, has none, or does not answer: nobody waits for them', async () => {
    expect(
      await kept({ web: blocked('the log driver "none" cannot be read'), db: ok(['it is me']) }),
    ).to.have.length(1);
    expect(await kept({ web: ok(['', '  ']) })).to.deep.equal([]);
    const [db, ...others] = await kept({ web: undefined, db: ok(['it is me']) });
    expect(db?.lines).to.deep.equal(['it is me']);
    expect(others).to.deep.equal([]);
  });
});
