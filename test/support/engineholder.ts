// A program: holds Podman in the network namespace that it runs in, until its input ends. Its first line is the socket.
import { leaseEngine } from '../../src/demo/lease.ts';
import { podmanModule } from './podman.ts';

const lease = await leaseEngine('podman', podmanModule);
process.stdout.write(`${lease.socketPath}\n`);
process.stdin.resume().once('end', () => void lease.stop().then(() => process.exit(0)));
