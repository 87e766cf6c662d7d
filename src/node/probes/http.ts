import { connect, type Socket } from 'node:net';
import type { ProbeCheck } from '../types.ts';
import { closeGently, connectTls, describe, type Endpoint } from './tls.ts';

type HttpCheck = Extract<ProbeCheck, { kind: 'http' }>;

const STATUS_LINE = /^HTTP\/1\.[01] (\d{3})/;
/** Connection preface and an empty SETTINGS frame (RFC 9113, section 3.4). */
const H2_PREFACE = Buffer.from('505249202a20485454502f322e300d0a0d0a534d0d0a0d0a000000040000000000', 'hex');
const ENOUGH_BYTES = 12;

/**
 * Any HTTP status line, plain or over TLS 1.3: also 404 and 503 show that somebody answers. A server that speaks HTTP/2
 * alone answers with its SETTINGS, which counts. Resolves with the reason of a failure, undefined when there was an answer.
 */
export async function tryHttp(check: HttpCheck, signal: AbortSignal): Promise<string | undefined> {
  const tried = `${check.tls ? 'HTTPS' : 'HTTP'}, host ${check.hostname}`;
  const where = `${check.ip}:${check.port}`;
  const wantsTls = `${where} (${tried}) speaks TLS, not plain HTTP — set backend_tls = true in its route`;
  try {
    const head = check.tls ? await askOverTls(check, signal) : await askPlain(check, signal);
    if (isHttp2Settings(head))
      return check.expect === undefined
        ? undefined
        : `${where} (${tried}) speaks HTTP/2 alone: its status is not read`;
    const status = STATUS_LINE.exec(head.toString('latin1'))?.[1];
    if (!check.tls && (status === '400' || isTlsRecord(head)) && (await speaksTls(check, signal)))
      return wantsTls;
    if (status === undefined) return `${where} (${tried}) answers, but not with HTTP`;
    return isExpected(Number(status), check.expect)
      ? undefined
      : `${where} (${tried}) answers ${check.path ?? '/'} with status ${status}`;
  } catch (error) {
    const wasAccepted = (error as NodeJS.ErrnoException).code !== 'ECONNREFUSED';
    if (!check.tls && wasAccepted && (await speaksTls(check, signal))) return wantsTls;
    const answer = describe(error, check, tried);
    return answer.startsWith('no TLS')
      ? `${answer} — backend_tls = true asks for TLS behind the route`
      : answer;
  }
}

function isExpected(status: number, expect: HttpCheck['expect']): boolean {
  return expect === undefined || (status >= expect[0] && status <= expect[1]);
}

function askPlain(check: HttpCheck, signal: AbortSignal): Promise<Buffer> {
  const socket = connect({ host: check.ip, port: check.port });
  const answer = firstBytes(socket, signal);
  socket.write(requestFor(check));
  return answer;
}

async function askOverTls(check: HttpCheck, signal: AbortSignal): Promise<Buffer> {
  // Of HTTP/2 no status is read: who wants to know it asks for HTTP/1.1.
  const protocols = check.expect === undefined ? ['h2', 'http/1.1'] : ['http/1.1'];
  const socket = await connectTls(check, protocols, signal);
  const answer = firstBytes(socket, signal);
  socket.write(socket.alpnProtocol === 'h2' ? H2_PREFACE : requestFor(check));
  return answer;
}

function requestFor({ hostname, path = '/' }: HttpCheck): string {
  return [
    `GET ${path} HTTP/1.1`,
    `Host: ${hostname}`,
    'User-Agent: mc-gitops-probe',
    'Accept: */*',
    'Connection: close',
    '',
    '',
  ].join('\r\n');
}

/** The first bytes of an answer, then the connection is closed. Rejects when it ends before. */
function firstBytes(socket: Socket, signal: AbortSignal): Promise<Buffer> {
  return new Promise<Buffer>((resolve, reject) => {
    const chunks: Buffer[] = [];
    const abort = (): void => void socket.destroy(new Error('ended'));
    signal.addEventListener('abort', abort, { once: true });
    socket.on('data', (chunk: Buffer) => {
      chunks.push(chunk);
      if (chunks.reduce((sum, { length }) => sum + length, 0) < ENOUGH_BYTES) return;
      resolve(Buffer.concat(chunks));
      socket.destroy();
    });
    socket.on('error', reject);
    socket.once('close', () => {
      signal.removeEventListener('abort', abort);
      if (chunks.length > 0) resolve(Buffer.concat(chunks));
      else reject(Object.assign(new Error('closed without an answer'), { code: 'ERR_CLOSED' }));
    });
    if (signal.aborted) abort();
  });
}

/** Length a multiple of six, type 4, stream 0 (RFC 9113, sections 4.1 and 6.5). */
function isHttp2Settings(head: Buffer): boolean {
  return head.length >= 9 && head[3] === 4 && head.readUIntBE(0, 3) % 6 === 0 && head.readUInt32BE(5) === 0;
}

function isTlsRecord(head: Buffer): boolean {
  return (head[0] === 0x15 || head[0] === 0x16) && head[1] === 3;
}

/** Servers for TLS answer a plain request with a polite 400 (Go, nginx): that is not the service. */
async function speaksTls(endpoint: Endpoint, signal: AbortSignal): Promise<boolean> {
  try {
    closeGently(await connectTls(endpoint, [], signal));
    return true;
  } catch {
    return false;
  }
}
