import type { Failure } from '../../base/outcome.ts';
import { redact } from '../../base/secret.ts';
import type { ImageRef } from '../../definitions/types.ts';

interface About {
  readonly image: ImageRef;
  readonly engine: 'docker' | 'podman';
  /** The file of the account that was used; absent: none is set. */
  readonly account: string | undefined;
}

interface Reason {
  /** What the engine says, whatever engine it is. */
  readonly pattern: RegExp;
  /** Absent: of both. */
  readonly only?: 'push';
  readonly what: (about: About) => string;
  readonly hint: (about: About) => string;
}

/** Engines hand on what the registry, the network or their own TLS said: the words decide, the first that fit. */
const REASONS: readonly Reason[] = [
  {
    pattern: /x509|certificate (signed|is not|has expired|verify)|tls: |remote error: tls/i,
    what: ({ image, engine }) => `${engine} does not trust the certificate of registry ${image.host ?? ''}`,
    hint: ({ image, engine }) =>
      `The engine does not know [registries] ca_cert: put the CA into /etc/${engine === 'docker' ? 'docker' : 'containers'}/certs.d/${image.host ?? ''}/ca.crt.`,
  },
  {
    pattern: /server gave HTTP response to HTTPS client/i,
    what: ({ image }) =>
      `registry ${image.host ?? ''} speaks HTTP without TLS, which the engine does not take`,
    hint: ({ engine }) =>
      `Give the registry a certificate; or list it as insecure in the settings of ${engine}, if you must.`,
  },
  {
    only: 'push',
    pattern: /read[- ]?only|\b405\b|method not allowed|operation is unsupported|\bunsupported\b/i,
    what: ({ image }) => `registry ${image.host ?? ''} takes no pushes: it is read-only`,
    hint: () => 'End its maintenance, or let it write.',
  },
  {
    only: 'push',
    pattern:
      /unauthorized|authentication required|denied|no basic auth|requested access|insufficient.scope|\b40[13]\b/i,
    what: ({ image, account }) =>
      account === undefined
        ? `registry ${image.host ?? ''} asks for an account to push ${image.repository}`
        : `registry ${image.host ?? ''} does not let the account of ${account} push ${image.repository}`,
    hint: ({ image, account }) =>
      account === undefined
        ? `Set registries."${image.host ?? ''}".credentials_file in the settings.`
        : 'Renew the account, or give it the right to push there.',
  },
  {
    only: 'push',
    pattern: /name unknown|repository \S+ not found|\b404\b/i,
    what: ({ image }) =>
      `registry ${image.host ?? ''} does not know the repository ${image.repository}, and makes none`,
    hint: () =>
      'Make the repository there (some registries want that before the first push); or see that its name is right.',
  },
  {
    pattern: /too ?many ?requests|\b429\b|rate limit/i,
    what: ({ image }) => `registry ${image.host ?? ''} was asked too often`,
    hint: () => 'It is tried again by itself, later and later.',
  },
  {
    only: 'push',
    pattern: /\b413\b|entity too large|\b507\b|insufficient storage|no space left/i,
    what: ({ image }) => `registry ${image.host ?? ''} has no room for it`,
    hint: () => 'Free some space there; or raise the size of a request that the server before it allows.',
  },
  {
    pattern:
      /connection refused|no such host|timeout|timed out|\bEOF\b|connection reset|broken pipe|unreachable|no route to host|dial tcp/i,
    what: ({ image, engine }) => `${engine} cannot reach registry ${image.host ?? ''}`,
    hint: () => 'See that it runs, and that its name and port are right as seen from the engine.',
  },
  {
    pattern: /\b5\d\d\b|internal server error|bad gateway|service unavailable|unknown: unknown error/i,
    what: ({ image }) => `registry ${image.host ?? ''} has a fault of its own`,
    hint: () => 'Look at its log.',
  },
];

/** The engine itself does not answer: that is said as it is. */
const OF_THE_ENGINE = /^(engine unreachable|no permission for the engine)/;

/**
 * What a push or pull of the engine that failed means: what, where and what to do; the engine's own words stand behind it, with
 * secrets and the queries of addresses masked.
 */
export function transferFailure(verb: 'push' | 'pull', failure: Failure, about: About): Failure {
  const { reference, host } = about.image;
  const text = plain(failure.why, reference);
  if (OF_THE_ENGINE.test(text)) return { ...failure, why: `${verb} of ${reference}: ${text}` };
  const reason = REASONS.find(
    ({ pattern, only }) => (only === undefined || only === verb) && pattern.test(text),
  );
  const done = verb === 'push' ? 'not pushed' : 'not pulled';
  const where = host === undefined ? '' : verb === 'push' ? ` to ${host}` : ` from ${host}`;
  if (reason === undefined)
    return { ...failure, why: `${reference} was ${done}${where} (${about.engine} says: ${text})` };
  return {
    ...failure,
    why: `${reference} was ${done}: ${reason.what(about)} (${about.engine} says: ${text})`,
    hint: reason.hint(about),
  };
}

/** Without what our own code put before it, and without what may be a key: user names, and queries of signed addresses. */
function plain(why: string, reference: string): string {
  let text = redact(why);
  for (const verb of ['push', 'pull'])
    for (const head of [`${verb} image ${reference}: `, `${verb} of ${reference}: `])
      if (text.startsWith(head)) text = text.slice(head.length);
  return text
    .replaceAll(/(https?:\/\/)[^/@\s"]*@/g, '$1')
    .replaceAll(/(https?:\/\/[^\s"?]*)\?[^\s"]*/g, '$1?…');
}
