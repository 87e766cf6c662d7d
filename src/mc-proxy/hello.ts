import type { Socket } from 'node:net';
import { Readable } from 'node:stream';
import { getExtensionData, readTlsClientHello } from 'read-tls-client-hello';
import type { Limits } from './limits.ts';

export interface Hello {
  /** Host name that the client asks for, lower case; undefined when it names none. */
  readonly serverName: string | undefined;
  /** Everything that was read from the socket, to be handed on unchanged. */
  readonly bytes: Buffer;
}

const HANDSHAKE_RECORD = 22;
const CLIENT_HELLO = 1;
const RECORD_HEADER_BYTES = 5;
const MESSAGE_HEADER_BYTES = 4;

/**
 * Reads the ClientHello from a fresh, paused socket and leaves it paused. Undefined when there is none: other protocol,
 * too long, too slow, closed. A hello may be split over TLS records (RFC 8446, section 5.1): the parser does not
 * take that, so its records are joined for it.
 */
export async function readHello(socket: Socket, limits: Limits): Promise<Hello | undefined> {
  const collected = await collect(socket, limits);
  if (collected === undefined) return undefined;
  const { bytes, message } = collected;
  const record = Buffer.alloc(RECORD_HEADER_BYTES);
  record.writeUInt8(HANDSHAKE_RECORD, 0);
  record.writeUInt16BE(0x0301, 1);
  record.writeUInt16BE(message.length, 3);
  try {
    const hello = await readTlsClientHello(
      Readable.from([Buffer.concat([record, message])], { objectMode: false }),
    );
    return { serverName: getExtensionData(hello, 0)?.serverName?.toLowerCase(), bytes };
  } catch {
    return undefined;
  }
}

function collect(socket: Socket, limits: Limits): Promise<{ bytes: Buffer; message: Buffer } | undefined> {
  return new Promise((resolve) => {
    let bytes: Buffer = Buffer.alloc(0);
    const finish = (message: Buffer | undefined): void => {
      clearTimeout(timer);
      socket.pause();
      socket.off('data', onData).off('end', onEnd).off('close', onEnd);
      resolve(message === undefined ? undefined : { bytes, message });
    };
    const onEnd = (): void => finish(undefined);
    const onData = (chunk: Buffer): void => {
      bytes = bytes.length === 0 ? chunk : Buffer.concat([bytes, chunk]);
      const found = messageIn(bytes, limits.maxHelloBytes);
      if (found !== 'more') finish(found);
    };
    const timer = setTimeout(onEnd, limits.helloTimeoutMs);
    socket.on('data', onData).on('end', onEnd).on('close', onEnd);
    socket.resume();
  });
}

/** The whole ClientHello message, `more` while bytes are missing, undefined when it can never become one. */
export function messageIn(bytes: Buffer, maxBytes: number): Buffer | 'more' | undefined {
  const parts: Buffer[] = [];
  let at = 0;
  while (at < bytes.length) {
    if (bytes[at] !== HANDSHAKE_RECORD) return undefined;
    if (at + RECORD_HEADER_BYTES > bytes.length) break;
    const length = bytes.readUInt16BE(at + 3);
    if (length === 0) return undefined;
    parts.push(bytes.subarray(at + RECORD_HEADER_BYTES, at + RECORD_HEADER_BYTES + length));
    at += RECORD_HEADER_BYTES + length;
  }
  const message = Buffer.concat(parts);
  if (message.length > 0 && message[0] !== CLIENT_HELLO) return undefined;
  if (message.length >= MESSAGE_HEADER_BYTES) {
    const whole = MESSAGE_HEADER_BYTES + message.readUIntBE(1, 3);
    if (whole > maxBytes) return undefined;
    if (message.length >= whole) return message.subarray(0, whole);
  }
  // Records of a byte or two would make a small hello endless.
  return bytes.length > maxBytes * 2 ? undefined : 'more';
}
