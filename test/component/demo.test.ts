import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { expect } from 'chai';
import { makeLog } from '../../src/base/log.ts';
import { openEngine } from '../../src/node/engine/engine.ts';
import { startDocker } from '../support/engines.ts';

describe('npm run demo -- --exit', () => {
  it('runs the whole way, tells each step with the recorded reason, ends with 0 and leaves nothing behind', async function () {
    this.timeout(300_000);
    const docker = await startDocker();
    const demo = spawn(process.execPath, ['--import', 'tsx', 'src/main.ts', 'demo', '--exit'], {
      env: { ...process.env, DOCKER_HOST: `unix://${docker.socketPath}` },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let told = '';
    demo.stdout.on('data', (chunk: Buffer) => (told += chunk.toString()));
    demo.stderr.on('data', (chunk: Buffer) => (told += chunk.toString()));
    const code = await new Promise((resolve) => demo.once('exit', resolve));
    expect(code, told).to.equal(0);
    for (const line of [
      /hello web answers through the proxy by host name: "web v1\.0\.0"/,
      /hello api answers through the proxy by host name: "api v1\.0\.0"/,
      /docs answers through the proxy by host name: "docs v0\.1\.0"/,
      /because: new service hello \(commit [0-9a-f]{8}, services\/hello\.toml\)/,
      /switched: v1\.0\.0 → v1\.1\.0, on the same host port\n\s+because: .*image changed/,
      /active = false: routes gone/,
      /hello v1\.1\.0 was put back by itself and serves again; v1\.1\.1 is held back\n\s+because: not proved within 20 s: hello-web: .*8000/,
      /a commit mends it: hello v1\.1\.2 is proved/,
      /because: services\/docs\.toml:\d+: /,
      /hello is not touched by it: converged/,
      /running again \d+ ms later/,
      /kill -9 of the agent in the middle of the change/,
      /the next agent looked, and finished it/,
      /docs is undeployed/,
      /requests lost in all/,
      /removed \d+ containers, \d+ networks, \d+ images, and the files/,
    ]) {
      expect(told).to.match(line);
    }
    // docs keeps serving while hello is replaced: one service never costs another a request.
    expect(told).to.match(/docs lost 0 of \d+/);

    const [, dir = '', owner = ''] =
      /everything of this run is in (\S+), and its containers carry the owner (\S+)/.exec(told) ?? [];
    expect(existsSync(dir), dir).to.equal(false);
    const engine = await openEngine({
      socket: docker.socketPath,
      owner,
      callDeadlineMs: 30_000,
      log: makeLog('silent'),
    });
    if (engine.kind !== 'ok') throw new Error(engine.why);
    const facts = await engine.value.facts();
    const images = await engine.value.listImages(`localhost/mcg-${owner.split('/')[1] ?? ''}`);
    engine.value.close();
    if (facts.kind !== 'ok' || images.kind !== 'ok') throw new Error('the engine does not answer');
    expect(facts.value.containers.filter((c) => c.identity?.owner === owner)).to.deep.equal([]);
    expect(facts.value.networks.filter((name) => name.includes(owner.split('/')[1] ?? ''))).to.deep.equal([]);
    expect(images.value).to.deep.equal([]);
  });
});
