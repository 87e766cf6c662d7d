import { expect } from 'chai';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { isLoopback, observePorts, parsePortRange, parseProcNet } from '../../../src/node/ports.ts';

const HEADER =
  '  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode';
const REST = '00000000:00000000 00:00000000 00000000     0        0 1145 1 0000000000000000 100 0 0 10 0';
const line = (local: string, state: string): string => `   0: ${local} 00000000:0000 ${state} ${REST}`;

describe('node/ports', () => {
  it('reads LISTEN sockets and passes over connections', () => {
    const text = [
      HEADER,
      line('0100007F:1F90', '0A'),
      line('00000000:0050', '0A'),
      line('0100007F:0051', '01'),
    ].join('\n');
    expect(parseProcNet(text, 'tcp')).to.deep.equal([
      { ip: '127.0.0.1', port: 8080, protocol: 'tcp' },
      { ip: '0.0.0.0', port: 80, protocol: 'tcp' },
    ]);
  });

  it('reads IPv6 addresses, mapped ones too', () => {
    const text = [
      line('00000000000000000000000001000000:1F90', '0A'),
      line('00000000000000000000000000000000:1F91', '0A'),
      line('0000000000000000FFFF00000100007F:1F92', '0A'),
      line('B80D0120000000000000000001000000:1F93', '0A'),
    ].join('\n');
    expect(parseProcNet(text, 'tcp').map(({ ip }) => ip)).to.deep.equal([
      '::1',
      '::',
      '::ffff:127.0.0.1',
      '2001:db8::1',
    ]);
  });

  it('reads bound UDP sockets', () => {
    const text = [line('00000000:0035', '07'), line('00000000:0036', '01')].join('\n');
    expect(parseProcNet(text, 'udp')).to.deep.equal([{ ip: '0.0.0.0', port: 53, protocol: 'udp' }]);
  });

  it('passes over lines that are none', () => {
    expect(parseProcNet('', 'tcp')).to.deep.equal([]);
    expect(parseProcNet('rubbish\n 1: zz:zz 0 0A\n 2: 0100007F:0000 0:0 0A', 'tcp')).to.deep.equal([]);
  });

  it('knows what only loopback can reach', () => {
    expect(['127.0.0.1', '127.0.0.11', '::1', '::ffff:127.0.0.1'].every(isLoopback)).to.equal(true);
    expect(['0.0.0.0', '::', '10.88.0.2', '::ffff:10.0.0.1'].some(isLoopback)).to.equal(false);
  });

  it('refuses a port range that is none', () => {
    expect(parsePortRange('32768\t60999\n')).to.deep.equal([32768, 60999]);
    for (const bad of ['', '1', '9 1', '1 70000', 'a b'])
      expect(parsePortRange(bad), bad).to.equal(undefined);
  });

  it('sees real listeners of this host, TCP and UDP, IPv4 and IPv6 (L39)', async () => {
    const tcp = createServer().listen(0, '127.0.0.1');
    await once(tcp, 'listening');
    const udp = createSocket('udp4');
    udp.bind(0, '127.0.0.1');
    await once(udp, 'listening');
    try {
      const facts = await observePorts();
      if (!facts.known) throw new Error(facts.why);
      const tcpPort = (tcp.address() as AddressInfo).port;
      expect(facts.value.listening).to.deep.include({ ip: '127.0.0.1', port: tcpPort, protocol: 'tcp' });
      expect(facts.value.listening).to.deep.include({
        ip: '127.0.0.1',
        port: udp.address().port,
        protocol: 'udp',
      });
      expect(facts.value.ephemeral[0]).to.be.lessThan(facts.value.ephemeral[1]);
    } finally {
      tcp.close();
      udp.close();
    }
  });

  it('says unknown with the reason where /proc is not there', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'ports-'));
    try {
      const facts = await observePorts(directory);
      expect(facts.known).to.equal(false);
      expect(facts).to.have.property('why').that.includes('ENOENT').and.includes(directory);
    } finally {
      await rm(directory, { recursive: true });
    }
  });

  it('takes a kernel without IPv6 as it is', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'ports-'));
    try {
      await mkdir(join(directory, 'net'));
      await mkdir(join(directory, 'sys/net/ipv4'), { recursive: true });
      await writeFile(join(directory, 'net/tcp'), `${HEADER}\n${line('00000000:0050', '0A')}\n`);
      await writeFile(join(directory, 'net/udp'), `${HEADER}\n`);
      await writeFile(join(directory, 'sys/net/ipv4/ip_local_port_range'), '32768 60999\n');
      expect(await observePorts(directory)).to.deep.equal({
        known: true,
        value: { listening: [{ ip: '0.0.0.0', port: 80, protocol: 'tcp' }], ephemeral: [32768, 60999] },
      });
    } finally {
      await rm(directory, { recursive: true });
    }
  });
});
