import { spawn, type ChildProcess } from 'node:child_process';
import { randomBytes, randomInt } from 'node:crypto';
import { once } from 'node:events';
import { networkNamespace } from '../../src/demo/leftovers.ts';
import { run } from '../../src/demo/process.ts';
import { until } from './until.ts';

/** Machines of one test: network namespaces on one bridge, and this process beside them. */
export interface Lan {
  /** Of this process on the bridge: where its name server and its clients are. */
  readonly here: string;
  /** What joins them; a machine as well. */
  readonly hub: LanHost;
  readonly hosts: readonly LanHost[];
  close(): Promise<void>;
}

export interface LanHost {
  readonly address: string;
  /** The command that runs `program` inside; it becomes that program, with the same process id. */
  readonly inside: (program: string, ...args: string[]) => [string, ...string[]];
}

/**
 * Each namespace lives as long as a process that reads our end of a pipe: nothing of it outlives this process, however it ends.
 * Addresses are of the block for tests between networks (RFC 2544), which no machine uses. Needs root.
 */
export async function openLan(count: number): Promise<Lan> {
  const holders = await Promise.all(Array.from({ length: count + 1 }, () => openNamespace()));
  const [hub, ...hosts] = holders;
  if (hub === undefined) throw new Error('no namespace');
  const net = `198.18.${randomInt(256)}`;
  const ip = (line: string, of?: Holder): Promise<unknown> => {
    const [program, ...args] = enter(of, 'ip', ...line.split(' '));
    return run(program, args);
  };
  // A pair goes with its namespace: this end, too.
  const outside = `mcg${randomBytes(4).toString('hex')}`;
  await ip('link set lo up', hub);
  await ip('link add bridge type bridge', hub);
  await ip(`addr add ${net}.253/24 dev bridge`, hub);
  await ip('link set bridge up', hub);
  await ip(`link add p0 type veth peer name ${outside} netns ${process.pid}`, hub);
  await ip('link set p0 master bridge up', hub);
  await ip(`addr add ${net}.254/24 dev ${outside}`);
  await ip(`link set ${outside} up`);
  for (const [index, host] of hosts.entries()) {
    await ip('link set lo up', host);
    await ip(`link add p${index + 1} type veth peer name eth0 netns ${host.pid}`, hub);
    await ip(`link set p${index + 1} master bridge up`, hub);
    await ip(`addr add ${net}.${index + 1}/24 dev eth0`, host);
    await ip('link set eth0 up', host);
  }
  return {
    here: `${net}.254`,
    hub: hostOf(hub, `${net}.253`),
    hosts: hosts.map((host, index) => hostOf(host, `${net}.${index + 1}`)),
    close: async () => {
      for (const { child } of holders) {
        const gone = once(child, 'exit');
        child.stdin?.end();
        await gone;
      }
    },
  };
}

interface Holder {
  readonly child: ChildProcess;
  readonly pid: number;
}

async function openNamespace(): Promise<Holder> {
  const child = spawn('unshare', ['--net', 'cat'], { stdio: ['pipe', 'ignore', 'pipe'] });
  let said = '';
  child.stderr.on('data', (text) => (said += String(text)));
  child.on('error', (error) => (said = error.message));
  const { pid = 0 } = child;
  const own = networkNamespace('self');
  await until('a network namespace', () => {
    const space = networkNamespace(pid);
    return said !== '' || (space !== '' && space !== own);
  });
  if (said !== '')
    throw new Error(
      `this test makes network namespaces, which only root may, in a container with the capability SYS_ADMIN: ${said.trim()}`,
    );
  return { child, pid };
}

function hostOf(holder: Holder, address: string): LanHost {
  return { address, inside: (program, ...args) => enter(holder, program, ...args) };
}

function enter(of: Holder | undefined, program: string, ...args: string[]): [string, ...string[]] {
  return of === undefined
    ? [program, ...args]
    : ['nsenter', `--net=/proc/${of.pid}/ns/net`, program, ...args];
}
