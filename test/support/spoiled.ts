import type { ServerResponse } from 'node:http';
import type { CallFault } from './simulation/faults.ts';

/** What a server would say if all were well; `lines`: each item of the body on a line of its own. */
export type Answer = readonly [status: number, body?: unknown, form?: 'lines'];

const DRIP_EVERY_MS = 20;

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
  const refuse = (status: number, message: string): void =>
    send(response, [status, { message: `${message}${echo}` }]);
  switch (kind) {
    case 'refused':
      return void response.destroy();
    case '500': {
      refuse(500, 'server error');
      return;
    }
    case '404': {
      refuse(404, 'page not found');
      return;
    }
    case '409': {
      refuse(409, 'conflict');
      return;
    }
    case '401': {
      refuse(401, 'unauthorized: authentication required');
      return;
    }
    case '429':
      response.setHeader('retry-after', '5');
      {
        refuse(429, 'too many requests');
        return;
      }
    case 'hang':
      return;
    case 'success, not done': {
      send(response, isRead ? act() : [200, { Id: 'f'.repeat(64) }]);
      return;
    }
    default:
      break;
  }
  const answer = act();
  const [status, body] = answer;
  const text = textOf(answer);
  const head = { 'content-type': 'application/json', 'content-length': String(Buffer.byteLength(text)) };
  switch (kind) {
    case 'done, error said': {
      refuse(500, 'server error after it was done');
      return;
    }
    case 'reset midway':
      response.writeHead(status === 204 ? 200 : status, head);
      response.write(text.slice(0, 1), () => response.destroy());
      return;
    case 'slow drip':
      response.writeHead(200, { 'content-type': 'application/json' });
      {
        drip(response);
        return;
      }
    case 'empty body':
      response.writeHead(200, { 'content-type': 'application/json' });
      return void response.end();
    case 'half JSON':
      response.writeHead(200, { 'content-type': 'application/json' });
      return void response.end(text.slice(0, Math.max(1, text.length / 2)));
    case 'wrong shape': {
      send(response, [200, isRead && Array.isArray(body) ? { a: 1 } : [1]]);
      return;
    }
    default:
      throw new Error(kind);
  }
}

function drip(response: ServerResponse): void {
  const timer = setInterval(() => response.write(' '), DRIP_EVERY_MS);
  response.on('close', () => clearInterval(timer));
}
