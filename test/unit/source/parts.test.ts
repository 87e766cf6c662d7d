import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { GitFault } from '../../../src/base/git/faults.ts';
import { makeLog } from '../../../src/base/log.ts';
import { messageOf } from '../../../src/base/outcome.ts';
import { systemClock } from '../../../src/base/clock.ts';
import { accessFrom, parseCredentials } from '../../../src/source/credentials.ts';
import { openSource } from '../../../src/source/source.ts';

describe('source: credentials', () => {
  let root: string;
  beforeEach(async () => {
    root = await mkdtemp(join(tmpdir(), 'mc-cred-'));
  });
  afterEach(() => rm(root, { recursive: true, force: true }));

  it('takes a token, or user and password, from the first line', () => {
    expect(parseCredentials('tok-canary\nmore', undefined).token?.reveal()).to.equal('tok-canary');
    const pair = parseCredentials('me:pass:word\r\n', undefined);
    expect([pair.user, pair.token?.reveal()]).to.deep.equal(['me', 'pass:word']);
    // With a user in the settings the whole line is the token, colon and all.
    expect(parseCredentials('me:pass', 'ada').token?.reveal()).to.equal('me:pass');
    expect(() => parseCredentials('\n', undefined)).to.throw(GitFault, 'empty');
    expect(JSON.stringify(pair)).not.to.contain('pass');
  });

  it('reads the files anew each time, warns once of an open one, and names the setting of a missing one (G10)', async () => {
    const lines: string[] = [];
    const log = makeLog('debug', { write: (line) => void lines.push(line) });
    const tokenFile = join(root, 'token');
    const caCert = join(root, 'ca.pem');
    await writeFile(tokenFile, 'first-canary', { mode: 0o640 });
    await writeFile(caCert, 'PEM');
    const access = accessFrom({ tokenFile, caCert, user: 'ada' }, log);
    expect((await access()).token?.reveal()).to.equal('first-canary');
    await writeFile(tokenFile, 'second-canary');
    const second = await access();
    expect([second.user, second.token?.reveal(), second.ca]).to.deep.equal(['ada', 'second-canary', 'PEM']);
    expect(lines.filter((line) => line.includes('chmod 600'))).to.have.length(1);
    expect(lines.join('')).not.to.contain('canary');
    const fault = async (settings: object): Promise<string> =>
      accessFrom(settings, log)().then(() => 'read', messageOf);
    expect(await fault({ tokenFile: join(root, 'none') })).to.match(/^token_file .*ENOENT/);
    expect(await fault({ caCert: root })).to.match(/^ca_cert .*EISDIR/);
    await writeFile(tokenFile, 'x'.repeat(20_000));
    expect(await fault({ tokenFile })).to.match(/larger than/);
    expect(await accessFrom({}, log)()).to.deep.equal({});
  });
});

describe('source: before anything is there', () => {
  it('says so, and throws nothing', async () => {
    const log = makeLog('silent');
    const limits = {
      path: '',
      deadlineMs: 1_000,
      maxFiles: 1,
      maxFileBytes: 1,
      maxTotalBytes: 1,
      dataDir: join(tmpdir(), 'mc-none'),
    };
    const none = openSource({ urls: [], ...limits }, log, systemClock);
    expect(await none.poll()).to.include({ kind: 'retry', why: 'the settings name no source' });
    expect(none.health()).to.include({ reachable: false, why: 'the settings name no source' });
    expect(await none.files('a'.repeat(40))).to.have.property('kind', 'retry');
    expect(await none.readFile('a'.repeat(40))).to.have.property('kind', 'retry');
    await (await none.watch(() => undefined)).close();
  });
});
