import acme from 'acme-client';
import type { KeyObject } from 'node:crypto';
import { blocked, ok, retry, wait, type Outcome } from '../../../base/outcome.ts';
import { pemOfKey } from '../localca.ts';
import { openAccount } from './account.ts';
import type { AcmeOptions, Challenges } from './acme.ts';
import { withAcmeCall, type AcmeCall } from './http.ts';

export interface OrderContext {
  readonly signal: AbortSignal;
  /** One order after the other: two that know of no account would each make one, and a key be kept beside the other's URL. */
  alone<T>(work: () => Promise<T>): Promise<T>;
  progress(text: string): void;
}

type Authorization = Awaited<ReturnType<acme.Client['getAuthorizations']>>[number];
type Order = Awaited<ReturnType<acme.Client['createOrder']>>;

/** The order of one host name, from the account to the chain (PEM, leaf first). Never rejects but at its signal. */
export async function orderCertificate(
  hostname: string,
  key: KeyObject,
  options: AcmeOptions & { readonly ca?: string },
  challenges: Challenges,
  context: OrderContext,
): Promise<Outcome<string>> {
  const call: AcmeCall = {
    signal: context.signal,
    ...(options.ca === undefined ? {} : { ca: options.ca }),
  };
  try {
    return await withAcmeCall(call, () => ordered(hostname, key, options, challenges, context, call));
  } catch (error) {
    if (context.signal.aborted) throw error;
    return failureOf(error, call, options);
  }
}

async function ordered(
  hostname: string,
  key: KeyObject,
  options: AcmeOptions,
  challenges: Challenges,
  context: OrderContext,
  call: AcmeCall,
): Promise<Outcome<string>> {
  context.progress('account');
  const account = await context.alone(async () => {
    context.signal.throwIfAborted();
    const opened = await openAccount(options);
    if (opened.kind !== 'ok' || opened.value.isKnown) return opened;
    const registered = await opened.value.register();
    return registered.kind === 'ok' ? opened : registered;
  });
  if (account.kind !== 'ok') return account;
  const { client } = account.value;
  context.progress('order');
  let order: Order;
  try {
    order = await client.createOrder({ identifiers: [{ type: 'dns', value: hostname }] });
  } catch (error) {
    // The next try asks for the account by its key, and has one made where there is none.
    if (NO_ACCOUNT.includes(call.problem?.type ?? '')) await context.alone(() => account.value.forget());
    throw error;
  }
  context.progress(`proof by ${options.challenge}`);
  const proved = await prove(client, order, options, challenges, context, call);
  if (proved.kind !== 'ok') return proved;
  context.progress('signature');
  // The names stand in the subject alternative names alone.
  const [, csr] = await acme.crypto.createCsr({ altNames: [hostname] }, pemOfKey(key));
  order = await client.finalizeOrder(order, csr);
  order = await poll(context, options, call, async () => {
    if (order.status === 'valid' || order.status === 'invalid') return order;
    const seen = await client.getOrder(order);
    return seen.status === 'valid' || seen.status === 'invalid' ? seen : undefined;
  });
  if (order.status === 'invalid')
    return wait(`the CA did not sign the order of ${hostname}${call.problem?.detail ?? ''}`);
  return ok(await client.getCertificate(order));
}

/**
 * A CA that was made anew; or the URL is that of an account with another key, whose signature is none then: CAs call that malformed, or
 * unauthorized.
 */
const NO_ACCOUNT: readonly string[] = ['accountDoesNotExist', 'malformed', 'unauthorized'];

/** Answers the challenge of each authorization that is not valid yet, and takes the answer back whatever came of it. */
async function prove(
  client: acme.Client,
  order: Order,
  options: AcmeOptions,
  challenges: Challenges,
  context: OrderContext,
  call: AcmeCall,
): Promise<Outcome<undefined>> {
  for (const authorization of await client.getAuthorizations(order)) {
    if (authorization.status === 'valid') continue;
    const { value: hostname } = authorization.identifier;
    const challenge = authorization.challenges.find(({ type }) => type === options.challenge);
    if (challenge === undefined) {
      return blocked(
        `the CA does not offer ${options.challenge} for ${hostname}: ${authorization.challenges.map(({ type }) => type).join(', ')}`,
        'Set [certs] acme_challenge to one that it offers.',
      );
    }
    const answer = await client.getChallengeKeyAuthorization(challenge);
    const opened = await challenges.open(hostname, challenge.token, answer);
    if (opened.kind !== 'ok') return opened;
    try {
      await client.completeChallenge(challenge);
      const ended = await poll(context, options, call, async () => {
        const all = await client.getAuthorizations(order);
        const seen = all.find(({ url }) => url === authorization.url);
        return seen === undefined || seen.status === 'pending' ? undefined : seen;
      });
      if (ended.status !== 'valid')
        return wait(whyInvalid(hostname, ended, options), HINTS[options.challenge]);
    } finally {
      await challenges.close(hostname, challenge.token, answer);
    }
  }
  return ok();
}

const HINTS = {
  'http-01':
    'The name must resolve to this node, and port 80 there must reach [certs] acme_http_listen. It is tried again by itself.',
  'dns-01':
    'The name servers of [mcns] must be those that the world asks for the zone. It is tried again by itself.',
} as const;

function whyInvalid(
  hostname: string,
  { status, challenges }: Authorization,
  { challenge }: AcmeOptions,
): string {
  const failed = challenges.find(({ type }) => type === challenge) as
    { error?: { detail?: string } } | undefined;
  const detail = (failed?.error?.detail ?? '').replaceAll(/\s+/g, ' ').slice(0, 300);
  return `the CA could not prove ${hostname} by ${challenge}: ${detail === '' ? status : detail}`;
}

/** Never sooner than the CA wants it: it counts who asks too often. */
async function poll<T>(
  { signal }: OrderContext,
  { clock, pollMs }: AcmeOptions,
  call: AcmeCall,
  look: () => Promise<T | undefined>,
): Promise<T> {
  for (let pause = pollMs; ; pause = Math.min(pause * 2, 15_000)) {
    const seen = await look();
    if (seen !== undefined) return seen;
    await clock.sleep(Math.max(pause, call.retryAfterMs ?? 0), signal);
    signal.throwIfAborted();
  }
}

/** A CA that is down, sealed or has had enough is waited for; what it says is told with its name (L20). */
function failureOf(error: unknown, { problem }: AcmeCall, { directory }: AcmeOptions): Outcome<never> {
  const host = URL.canParse(directory) ? new URL(directory).host : directory;
  const said =
    problem === undefined ? '' : [problem.type, problem.detail].filter((part) => part !== '').join(': ');
  if (problem !== undefined && said !== '') {
    const why = `the CA ${host} refuses: ${said}`;
    if (NEEDS_A_PERSON.includes(problem.type))
      return {
        ...blocked(why, 'Look at [certs] acme_eab_kid, acme_eab_key_file and acme_contact.'),
        cause: 'outside',
      };
    return {
      ...retry(why, 'It is tried again by itself; one that is in place is used until it ends.'),
      ...(problem.retryAfterMs === undefined ? {} : { afterMs: problem.retryAfterMs }),
      cause: 'outside',
    };
  }
  const words = error instanceof Error ? error.message.replaceAll(/\s+/g, ' ').slice(0, 300) : String(error);
  return {
    ...retry(
      `the CA ${host} cannot be used: ${words}`,
      'Is it running, reachable and unsealed? It is tried again by itself.',
    ),
    ...(problem?.retryAfterMs === undefined ? {} : { afterMs: problem.retryAfterMs }),
    cause: 'outside',
  };
}

const NEEDS_A_PERSON: readonly string[] = [
  'externalAccountRequired',
  'unauthorized',
  'invalidContact',
  'unsupportedContact',
  'userActionRequired',
];
