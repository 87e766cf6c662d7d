import { request } from 'node:http';
import { withDeadline } from '../../base/deadline.ts';
import { messageOf } from '../../base/outcome.ts';
import { shapeIssues, v } from '../../base/shape.ts';

const STATUS_TIMEOUT_MS = 2_000;
const MAX_STATUS_BYTES = 16 * 1024 * 1024;

const ROUTE = v.object({
  hostname: v.string(),
  backend: v.string(),
  mode: v.picklist(['l4', 'l7']),
  tlsCert: v.optional(v.string()),
  tlsKey: v.optional(v.string()),
  backendTls: v.optional(v.boolean(), false),
  backendCa: v.optional(v.string()),
  owner: v.optional(v.string()),
});
/** What of the router's status matters here; it may say more. */
const STATUS = v.object({
  generation: v.optional(v.nullable(v.string())),
  tableDigest: v.nullable(v.string()),
  live: v.object({ listeners: v.array(v.object({ addr: v.string(), routes: v.array(ROUTE) })) }),
  faults: v.optional(
    v.array(v.object({ addr: v.string(), hostname: v.string(), why: v.string(), since: v.string() })),
    [],
  ),
  backends: v.optional(v.record(v.string(), v.number()), {}),
  refused: v.optional(
    v.object({ at: v.string(), why: v.string(), tableDigest: v.optional(v.nullable(v.string())) }),
  ),
});

export type RouterFault = RouterStatus['faults'][number];
export type RouterStatus = v.InferOutput<typeof STATUS>;
export type StatusAnswer =
  | { readonly kind: 'answer'; readonly status: RouterStatus }
  /** Nobody listens on the socket: the proxy is not running. */
  | { readonly kind: 'down'; readonly why: string }
  | { readonly kind: 'unknown'; readonly why: string };

/** Asks the router on its status socket (`GET /status`). Never rejects. */
export async function askStatus(socketPath: string, timeoutMs = STATUS_TIMEOUT_MS): Promise<StatusAnswer> {
  try {
    const body = await withDeadline(`the proxy's status socket ${socketPath}`, timeoutMs, (signal) =>
      get(socketPath, signal),
    );
    const parsed = v.safeParse(STATUS, JSON.parse(body));
    if (parsed.success) return { kind: 'answer', status: parsed.output };
    const where = shapeIssues(parsed.issues)[0]?.path.join('.') ?? '';
    return { kind: 'unknown', why: `the proxy's status on ${socketPath} is not understood (at "${where}")` };
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ECONNREFUSED') {
      return { kind: 'down', why: `the proxy is not running (nobody answers on ${socketPath})` };
    }
    return { kind: 'unknown', why: `the proxy cannot be asked on ${socketPath}: ${messageOf(error)}` };
  }
}

function get(socketPath: string, signal: AbortSignal): Promise<string> {
  return new Promise((resolve, reject) => {
    const call = request({ socketPath, path: '/status', agent: false, signal }, (response) => {
      const chunks: Buffer[] = [];
      let size = 0;
      response.on('data', (chunk: Buffer) => {
        size += chunk.length;
        if (size > MAX_STATUS_BYTES) call.destroy(new Error(`more than ${MAX_STATUS_BYTES} bytes`));
        else chunks.push(chunk);
      });
      response.once('error', reject);
      response.once('end', () => {
        if (response.statusCode === 200) resolve(Buffer.concat(chunks).toString('utf8'));
        else reject(new Error(`HTTP status ${response.statusCode ?? 0}`));
      });
    });
    call.once('error', reject);
    call.end();
  });
}
