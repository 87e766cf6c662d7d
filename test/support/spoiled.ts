import type { ServerResponse } from 'node:http';
import type { CallFault } from './simulation/faults.ts';

/** What a server would say if all were well; `lines`: each item of the body on a line of its own. */
export type Answer = readonly [status: number, body?: unknown, form?: 'lines'];

const DRIP_EVERY_MS = 20;

const REFUSALS: Partial<Record<CallFault, readonly [status: number, message: string]>> = {
  '500': [500, 'server error'],
  '404': [404, 'page not found'],
  '409': [409, 'conflict'],
  '401': [401, 'unauthorized: authentication required'],
  '429': [429, 'too many requests'],
};

export function send(response: ServerResponse, answer: Answer): void {
  response.writeHead(answer[0], { 'content-type': 'application/json' });
  response.end(answer[1] === undefined ? '' : textOf(answer));
}

function textOf([, body, form]: Answer): string {
  if (form === undefined) return JSON.stringify(body ?? {});
  return (body as readonly object[]).map((item) => `${JSON.stringify(item)}\n`).join('');
}

/** The answer as this fault has it; what is done is done before. `echo`: what a careless server repeats when it refuses. */
export function spoil(
  kind: CallFault,
  response: ServerResponse,
  act: () => Answer,
  isRead: boolean,
  echo = '',
): void {
  const refusal = REFUSALS[kind];
  if (refusal !== undefined) {
    const [status, message] = refusal;
    if (status === 429) response.setHeader('retry-after', '5');
    send(response, [status, { message: `${message}${echo}` }]);
    return;
  }
  switch (kind) {
    case 'refused':
      return void response.destroy();
    case 'hang':
      return;
    case 'success, not done':
      send(response, isRead ? act() : [200, { Id: 'f'.repeat(64) }]);
      return;
    default:
      break;
  }
  const answer = act();
  const [status, body] = answer;
  const text = textOf(answer);
  const head = { 'content-type': 'application/json', 'content-length': String(Buffer.byteLength(text)) };
  switch (kind) {
    case 'done, error said':
      send(response, [500, { message: `server error after it was done${echo}` }]);
      return;
    case 'reset midway':
      response.writeHead(status === 204 ? 200 : status, head);
      response.write(text.slice(0, 1), () => response.destroy());
      return;
    case 'slow drip':
      response.writeHead(200, { 'content-type': 'application/json' });
      drip(response);
      return;
    case 'empty body':
      response.writeHead(200, { 'content-type': 'application/json' });
      return void response.end();
    case 'half JSON':
      response.writeHead(200, { 'content-type': 'application/json' });
      return void response.end(text.slice(0, Math.max(1, text.length / 2)));
    case 'wrong shape':
      send(response, [200, isRead && Array.isArray(body) ? { a: 1 } : [1]]);
      return;
    default:
      throw new Error(kind);
  }
}

function drip(response: ServerResponse): void {
  const timer = setInterval(() => response.write(' '), DRIP_EVERY_MS);
  response.on('close', () => clearInterval(timer));
}
