import { DeadlineError } from '../../base/deadline.ts';
import {
  blocked,
  bug,
  messageOf,
  ok,
  retry,
  type Cause,
  type Failure,
  type Outcome,
} from '../../base/outcome.ts';
import { redact } from '../../base/secret.ts';

/** An answer of the engine with a status of 400 or above. */
export class EngineError extends Error {
  readonly statusCode: number;
  readonly #said: string;

  constructor(statusCode: number, message: string, said = message) {
    super(message);
    this.name = 'EngineError';
    this.statusCode = statusCode;
    this.#said = said;
  }

  /** The same error in words that may be told. */
  told(message: string): EngineError {
    return new EngineError(this.statusCode, message, this.#said);
  }

  /** Judged by what the engine said, whatever of it is told. */
  says(pattern: RegExp): boolean {
    return pattern.test(this.#said);
  }
}

/** The caller closed the engine while a call was under way. */
export class ClosedError extends Error {
  constructor() {
    super('the connection to the engine was closed');
    this.name = 'ClosedError';
  }
}

/** Carries a failure that was already judged out of nested work to the door. */
export class Refusal extends Error {
  readonly failure: Failure;

  constructor(failure: Failure) {
    super(failure.why);
    this.name = 'Refusal';
    this.failure = failure;
  }
}

/** The door: runs `work`, and turns whatever it throws into a failure that says what was tried and where. */
export async function attempt<T>(
  what: string,
  socketPath: string,
  work: () => Promise<T>,
): Promise<Outcome<T>> {
  try {
    return ok(await work());
  } catch (error) {
    return failureOf(what, socketPath, error);
  }
}

/** What an error of an engine call means for the loop. Messages of the engine are masked and cut. */
export function failureOf(what: string, socketPath: string, error: unknown): Failure {
  if (error instanceof Refusal) return error.failure;
  if (error instanceof EngineError) return judged(what, error);
  return { ...unanswered(what, socketPath, error), cause: 'outside' };
}

/** The engine gave no answer: whatever is wrong, it is not the container. */
function unanswered(what: string, socketPath: string, error: unknown): Failure {
  if (error instanceof DeadlineError) {
    return retry(`${what}: ${error.message}`, `Look at the engine behind ${socketPath} and its log.`);
  }
  const code = codeOf(error);
  if (code !== undefined && UNREACHABLE.has(code)) {
    return retry(
      `engine unreachable at ${socketPath} (${code})`,
      'Start it (systemctl start docker, or podman.socket), or set [engine] socket to the right place.',
    );
  }
  if (code === 'EACCES' || code === 'EPERM') {
    return blocked(
      `no permission for the engine's socket ${socketPath}`,
      'Run the agent as the user who owns the socket, or add its user to the group of the socket.',
    );
  }
  if (error instanceof ClosedError) return retry(`${what}: ${error.message}`);
  if (error instanceof Error && (error.name === 'AbortError' || error.name === 'TimeoutError')) {
    return retry(`${what} was ended before it was done`);
  }
  return bug(new Error(`${what}: ${brief(error)}`));
}

/** Podman answers 500 for a container that was removed while it looked for it. */
export function isMissing(error: unknown): boolean {
  if (!(error instanceof EngineError)) return false;
  return error.statusCode === 404 || GONE.test(error.message);
}

const GONE = /^container [0-9a-f]{64} does not exist in database: no such container$/;

/** The engine's own words, on one line, secrets masked, and never a whole page. */
export function brief(error: unknown): string {
  const text = redact(messageOf(error)).replace(/: OCI (permission denied|runtime (attempted|error).*)$/, '');
  return text.length > MAX_MESSAGE ? `${text.slice(0, MAX_MESSAGE)}…` : text;
}

const MAX_MESSAGE = 400;

const UNREACHABLE = new Set([
  ...['ENOENT', 'ECONNREFUSED', 'ECONNRESET', 'EPIPE', 'ENOTSOCK'],
  ...['ERR_STREAM_PREMATURE_CLOSE', 'HPE_INVALID_CONSTANT'],
]);

interface Rule {
  readonly pattern: RegExp;
  readonly kind: 'retry' | 'blocked';
  readonly hint: string;
  readonly cause?: Cause;
}

/** The engines say the same thing in different words and with different status codes: the words decide. */
const RULES: readonly Rule[] = [
  {
    pattern: /bind source path does not exist|statfs .*no such file or directory/i,
    kind: 'blocked',
    hint: 'Create the directory, or mount the disk it is on. The agent never creates it.',
    cause: 'outside',
  },
  {
    pattern: /statfs .*permission denied/i,
    kind: 'blocked',
    hint: 'The user of the engine cannot reach it: open its parent directories for that user (chmod o+x).',
    cause: 'outside',
  },
  {
    pattern: /port is already allocated|address already in use/i,
    kind: 'retry',
    hint: 'Free the port: something else on this host listens there.',
    cause: 'outside',
  },
  {
    pattern: /name .*already in use|already in use by/i,
    kind: 'blocked',
    hint: 'Rename or remove what holds the name.',
    cause: 'outside',
  },
  {
    pattern:
      /executable file not found|exec: .*no such file or directory|command .* not found|exec format error/i,
    kind: 'blocked',
    hint: 'The image has no such program: mend `cmd`, or the image.',
    cause: 'definition',
  },
  {
    pattern: /non-overlapping IPv4 address pool|could not find free subnet|subnets? .*exhausted/i,
    kind: 'blocked',
    hint: 'The engine has no free subnet: remove unused networks, or give it a larger address pool.',
    cause: 'outside',
  },
  {
    pattern: /unauthorized|authentication required|denied: |requested access|no basic auth/i,
    kind: 'blocked',
    hint: 'Check the credentials_file of this registry in the settings.',
    cause: 'outside',
  },
  {
    pattern: /no matching manifest for|no image found in .* for architecture/i,
    kind: 'blocked',
    hint: 'The list under that tag has no image for the platform of this node: build and push one for it.',
    cause: 'definition',
  },
  {
    pattern: /manifest.*unknown|manifest for .* not found|repository .*not found|name unknown/i,
    kind: 'blocked',
    hint: 'The registry has no such image: push it, or correct the reference.',
  },
  {
    pattern: /no space left on device/i,
    kind: 'retry',
    hint: 'The disk of the engine is full: free some space.',
    cause: 'outside',
  },
];

function judged(what: string, error: EngineError): Failure {
  const why = `${what}: ${brief(error)}`;
  const rule = RULES.find(({ pattern }) => error.says(pattern));
  if (rule !== undefined) {
    const failure = rule.kind === 'retry' ? retry(why, rule.hint) : blocked(why, rule.hint);
    return rule.cause === undefined ? failure : { ...failure, cause: rule.cause };
  }
  if (error.statusCode === 404 || error.statusCode >= 500 || error.statusCode === 429) return retry(why);
  return blocked(why, 'The engine refuses this request: see its message.');
}

function codeOf(error: unknown): string | undefined {
  if (!(error instanceof Error)) return undefined;
  if ('code' in error && typeof error.code === 'string') return error.code;
  return /socket hang up|aborted/i.test(error.message) ? 'ECONNRESET' : undefined;
}
