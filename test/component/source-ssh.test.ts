import { execFile, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { createServer, type AddressInfo, type Server } from 'node:net';
import { userInfo } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect } from 'chai';
import { makeRepository, openTestSource, type Repository } from './source-support.ts';

const run = promisify(execFile);
const SSHD = '/usr/sbin/sshd';

/** A real sshd for each connection (`-i`, as under inetd), so that the port is the kernel's choice. */
async function serveSsh(root: string): Promise<{ port: number; server: Server }> {
  if (!existsSync(SSHD)) throw new Error(`${SSHD} is missing: apt-get install openssh-server`);
  // sshd insists on this folder when it is started as root.
  if (userInfo().uid === 0) await mkdir('/run/sshd', { recursive: true });
  for (const name of ['host_key', 'user_key', 'other_key']) {
    await run('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', join(root, name)]);
  }
  await writeFile(
    join(root, 'sshd_config'),
    [
      `HostKey ${join(root, 'host_key')}`,
      `AuthorizedKeysFile ${join(root, 'user_key.pub')}`,
      'PermitRootLogin prohibit-password',
      'PasswordAuthentication no',
      'KbdInteractiveAuthentication no',
      'StrictModes no',
      'UsePAM no',
      'LogLevel QUIET',
      '',
    ].join('\n'),
  );
  const server = createServer({ pauseOnConnect: true }, (socket) => {
    const child = spawn(SSHD, ['-i', '-f', join(root, 'sshd_config')], { stdio: [socket, socket, 'ignore'] });
    child.on('close', () => socket.destroy());
    socket.on('error', () => undefined);
  });
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  return { port: (server.address() as AddressInfo).port, server };
}

describe('source over ssh', () => {
  let repository: Repository;
  let server: Server;
  let port: number;
  let url: string;
  const at = (name: string): string => join(repository.root, name);

  before(async () => {
    repository = await makeRepository();
    ({ server, port } = await serveSsh(repository.root));
    url = `ssh://${userInfo().username}@127.0.0.1:${port}${repository.bare}`;
    const key = (await readFile(at('host_key.pub'), 'utf8')).split(' ').slice(0, 2).join(' ');
    await writeFile(at('known_hosts'), `[127.0.0.1]:${port} ${key}\n`);
  });
  after(async () => {
    await new Promise((done) => server.close(done));
    await repository.close();
  });

  it('clones, polls, sees a push and refuses a force-push, with a real sshd (G26)', async () => {
    const first = await repository.push({ 'services/a.toml': 'a\n' });
    const { source } = openTestSource([url], at('data'), {
      sshKeyFile: at('user_key'),
      knownHostsFile: at('known_hosts'),
    });
    const state = await source.poll();
    expect(state).to.have.nested.property('value.commit.oid', first);
    expect(await source.poll(first)).to.have.nested.property('value.changed', false);
    expect(await source.files(first)).to.have.nested.property('value.files.length', 1);
    const next = await repository.push({ 'services/a.toml': 'b\n', 'services/b.toml': 'b\n' });
    expect(await source.poll(first)).to.have.nested.property('value.commit.oid', next);
    expect(await source.files(next)).to.have.nested.property('value.files.length', 2);
    await repository.git('reset', '--quiet', '--hard', first);
    await repository.push({ 'services/a.toml': 'c\n' });
    expect(await source.poll(next)).to.have.property('kind', 'blocked');
    expect(await source.files(next)).to.have.property('kind', 'ok');
  });

  it('names the real cause: unknown host key, wrong key, no repository, nobody listens, odd paths (L20)', async () => {
    await writeFile(at('nobody'), '');
    const keys = { sshKeyFile: at('user_key'), knownHostsFile: at('known_hosts') };
    const cases: [string, object, RegExp][] = [
      [url, { ...keys, knownHostsFile: at('nobody') }, /^blocked .*host key is not the known one/],
      [url, { ...keys, sshKeyFile: at('other_key') }, /^blocked .*refuses our ssh key/],
      [`${url}x`, keys, /^blocked .*no repository here/],
      [`ssh://127.0.0.1:1${repository.bare}`, keys, /^retry .*refused the connection/],
      [
        url,
        { ...keys, sshKeyFile: `${at('user_key')};touch x` },
        /^blocked .*cannot be handed to ssh safely/,
      ],
    ];
    for (const [index, [address, changes, pattern]] of cases.entries()) {
      const { source } = openTestSource([address], at(`data${index}`), changes);
      const result = await source.poll();
      expect(result.kind === 'ok' ? 'ok' : `${result.kind} ${result.why}`).to.match(pattern);
    }
    expect(existsSync('x')).to.equal(false);
  });

  it('ends a hung ssh at the deadline, with its processes', async () => {
    const deaf = createServer((socket) => void socket.on('error', () => undefined).resume());
    await new Promise<void>((done) => deaf.listen(0, '127.0.0.1', done));
    const deafPort = (deaf.address() as AddressInfo).port;
    const { source } = openTestSource([`ssh://127.0.0.1:${deafPort}/x.git`], at('deaf'), { deadlineMs: 500 });
    expect(await source.poll())
      .to.include({ kind: 'retry' })
      .and.have.property('why')
      .that.contains('within 500 ms');
    const { stdout } = await run('pgrep', ['-f', `127.0.0.1.*${deafPort}|-p ${deafPort}`]).catch(() => ({
      stdout: '',
    }));
    expect(stdout).to.equal('');
    await new Promise((done) => deaf.close(done));
  });
});
