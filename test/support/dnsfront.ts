import { createSocket, type RemoteInfo } from 'node:dgram';
import { createServer, connect, type AddressInfo, type Socket } from 'node:net';

/** How one message to a name server goes wrong. */
export const DNS_FAULTS = [
  'refused',
  'SERVFAIL',
  'NOTAUTH',
  'FORMERR',
  'NOTIMP',
  'hang',
  'truncated',
  'half of it',
  'garbage',
  'nothing in it',
  'the answer to another',
  'success, not done',
  'done, error said',
] as const;
export type DnsFault = (typeof DNS_FAULTS)[number];

/** An address before a name server, at which messages go wrong. */
export interface DnsFront {
  /** `address:port` */
  readonly server: string;
  /** Messages so far. */
  asked(): number;
  /** Whoever comes with the message after `skip` more is told of before it goes on; undefined: nobody. */
  watch(skip: number, onMessage: () => void): void;
  /** The message after `skip` more fails so, once or from then on; undefined: none does. */
  fail(fault: DnsFault | undefined, skip?: number, isLasting?: boolean): void;
  fired(): number;
  close(): Promise<void>;
}

const RCODES: Readonly<Partial<Record<DnsFault, number>>> = {
  ...{ FORMERR: 1, SERVFAIL: 2, NOTIMP: 4, refused: 5, NOTAUTH: 9 },
  ...{ truncated: 0, 'success, not done': 0, 'done, error said': 2 },
};
const TRUNCATED = 0x02;

/** Before the server at `address:port`, by UDP and by TCP. */
export async function openDnsFront(behind: string): Promise<DnsFront> {
  const [address = '', port = ''] = behind.split(':');
  let count = 0;
  let fired = 0;
  let fault: { readonly kind: DnsFault; readonly at: number; readonly isLasting: boolean } | undefined;
  let watched: { readonly at: number; readonly onMessage: () => void } | undefined;
  const sockets = new Set<{ close(): void }>();
  /** The fault that this message meets. */
  const meet = (): DnsFault | undefined => {
    count += 1;
    if (watched?.at === count) watched.onMessage();
    if (fault === undefined || !(fault.isLasting ? count >= fault.at : count === fault.at)) return undefined;
    fired += 1;
    return fault.kind;
  };

  const front = createSocket('udp4');
  const forward = (message: Buffer, answer: (said: Buffer) => void): void => {
    const socket = createSocket('udp4');
    sockets.add(socket);
    socket.on('error', () => undefined).on('close', () => sockets.delete(socket));
    socket.on('message', (said) => {
      answer(said);
      socket.close();
    });
    socket.send(message, Number(port), address);
  };
  front.on('message', (message: Buffer, from: RemoteInfo) => {
    const kind = meet();
    const answer = (said: Buffer): void => front.send(said, from.port, from.address);
    if (kind === undefined || kind === 'done, error said' || kind === 'half of it')
      forward(message, (said) => {
        const spoiled = kind === undefined ? said : spoil(kind, message, said);
        if (spoiled !== undefined) answer(spoiled);
      });
    else {
      const spoiled = spoil(kind, message, message);
      if (spoiled !== undefined) answer(spoiled);
    }
  });

  const streams = createServer((socket) => {
    const away = connect(Number(port), address);
    for (const one of [socket, away]) {
      const held = { close: () => void one.destroy() };
      sockets.add(held);
      one.on('error', () => undefined).on('close', () => sockets.delete(held));
    }
    away.on('close', () => socket.end());
    socket.on('close', () => away.destroy());
    eachMessage(socket, (message) => {
      const kind = meet();
      if (kind === undefined) {
        away.pipe(socket);
        away.write(framed(message));
        return;
      }
      const spoiled = spoil(kind, message, message);
      if (spoiled !== undefined) socket.write(framed(spoiled));
    });
  });
  const listening = await listenOnBoth(front, streams);

  return {
    server: `127.0.0.1:${listening}`,
    asked: () => count,
    watch: (skip, onMessage) => void (watched = { at: count + skip + 1, onMessage }),
    fail: (kind, skip = 0, isLasting = false) => {
      fired = 0;
      fault = kind === undefined ? undefined : { kind, at: count + skip + 1, isLasting };
    },
    fired: () => fired,
    close: async () => {
      for (const socket of sockets) socket.close();
      front.close();
      await new Promise((resolve) => streams.close(resolve));
    },
  };
}

/** A port that is free for both. */
async function listenOnBoth(
  front: ReturnType<typeof createSocket>,
  streams: ReturnType<typeof createServer>,
): Promise<number> {
  for (;;) {
    await new Promise<void>((resolve) => streams.listen(0, '127.0.0.1', resolve));
    const { port } = streams.address() as AddressInfo;
    const isFree = await new Promise<boolean>((resolve) => {
      front.once('error', () => resolve(false));
      front.bind(port, '127.0.0.1', () => resolve(true));
    });
    front.removeAllListeners('error').on('error', () => undefined);
    if (isFree) return port;
    await new Promise((resolve) => streams.close(resolve));
  }
}

/** By TCP each message has its length before it (RFC 1035, section 4.2.2). */
function eachMessage(socket: Socket, take: (message: Buffer) => void): void {
  let rest = Buffer.alloc(0);
  socket.on('data', (piece: Buffer) => {
    rest = Buffer.concat([rest, piece]);
    while (rest.length >= 2 && rest.length >= 2 + rest.readUInt16BE(0)) {
      const end = 2 + rest.readUInt16BE(0);
      take(rest.subarray(2, end));
      rest = rest.subarray(end);
    }
  });
}

function framed(message: Buffer): Buffer {
  const head = Buffer.alloc(2);
  head.writeUInt16BE(message.length);
  return Buffer.concat([head, message]);
}

/** `said`: what the server behind answered, where it was asked. Undefined: nothing is answered. */
function spoil(kind: DnsFault, message: Buffer, said: Buffer): Buffer | undefined {
  const rcode = RCODES[kind];
  if (rcode !== undefined) {
    const head = Buffer.from(message.subarray(0, 12));
    head.writeUInt8((message.readUInt8(2) & 0x79) | 0x80 | (kind === 'truncated' ? TRUNCATED : 0), 2);
    head.writeUInt8(rcode, 3);
    // Its question (or zone) alone: nothing is signed.
    head.fill(0, 6);
    return Buffer.concat([head, message.subarray(12, questionEnd(message))]);
  }
  if (kind === 'half of it') return said.subarray(0, said.length / 2);
  if (kind === 'nothing in it') return Buffer.alloc(0);
  if (kind === 'hang') return undefined;
  const other = Buffer.from(message);
  other.writeUInt8(message.readUInt8(2) | 0x80, 2);
  if (kind === 'garbage') return other.fill(0xa7, 4);
  other.writeUInt16BE(message.readUInt16BE(0) ^ 0x5a5a, 0);
  return other;
}

/** Where the first name with its type and class ends (RFC 1035, section 4.1.2). */
function questionEnd(message: Buffer): number {
  let at = 12;
  while (at < message.length && message.readUInt8(at) !== 0) at += 1 + message.readUInt8(at);
  return at + 5;
}
