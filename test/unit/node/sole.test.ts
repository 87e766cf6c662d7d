import { spawn, type ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { expect } from 'chai';
import { openSole, type Sole } from '../../../src/node/sole.ts';
import { until } from '../../support/until.ts';

describe('the only agent of an engine and owner', () => {
  const opened: Sole[] = [];
  let child: ChildProcess | undefined;
  const open = (owner: string, onFree = (): void => undefined): Sole => {
    const sole = openSole({ owner, about: 'registry /a.db', onFree });
    opened.push(sole);
    return sole;
  };

  afterEach(async () => {
    child?.kill('SIGKILL');
    for (const sole of opened.splice(0)) await sole.close();
  });

  it('G34 holds it for one engine at a time; another one is refused with who has it, and gets it when that one closes', async () => {
    const owner = drawn();
    const first = open(owner);
    let freed = false;
    const second = open(owner, () => (freed = true));
    expect(await first.hold('e1')).to.include({ kind: 'ok' });
    expect(await first.hold('e1'), 'again').to.include({ kind: 'ok' });
    const refused = await second.hold('e1');
    expect(refused).to.include({ kind: 'blocked' });
    expect(refused.kind === 'ok' ? '' : refused.why).to.contain(`process ${process.pid}, registry /a.db`);
    expect(await second.hold('e2'), 'another engine').to.include({ kind: 'ok' });
    expect(await open(drawn()).hold('e1'), 'another owner').to.include({ kind: 'ok' });
    await first.hold('e3');
    await until('the second one to be told', () => freed || undefined, 1_000);
    expect(await second.hold('e1')).to.include({ kind: 'ok' });
  });

  it('G34 is free the moment its holder is killed, and who waits is told', async () => {
    const owner = drawn();
    child = spawn(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', HOLDER, owner], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    if (child.stdout === null) throw new Error('no stdout');
    await once(child.stdout, 'data');
    let freed = false;
    const sole = open(owner, () => (freed = true));
    const refused = await sole.hold('e');
    expect(refused.kind === 'ok' ? '' : refused.why).to.contain(`process ${child.pid ?? ''}, registry /b.db`);
    child.kill('SIGKILL');
    await until('the lock to be free', () => freed || undefined, 5_000);
    expect(await sole.hold('e')).to.include({ kind: 'ok' });
  });
});

const HOLDER = `
import { openSole } from './src/node/sole.ts';
const sole = openSole({ owner: process.argv[1], about: 'registry /b.db', onFree: () => undefined });
const held = await sole.hold('e');
if (held.kind === 'ok') process.stdout.write('held');
setInterval(() => undefined, 1000);
`;

function drawn(): string {
  return `n1/${randomBytes(6).toString('hex')}`;
}
