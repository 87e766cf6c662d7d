import { blocked, ok, type Outcome } from '../../base/outcome.ts';
import type { DnsFacts } from '../types.ts';

/** A host name and the addresses that it shall have, or had from us. */
export interface WantedRecord {
  readonly hostname: string;
  /** IPv4 and IPv6. */
  readonly addresses: readonly string[];
  /** What the registry says that we put there before: with it a record is ours although its mark is gone. */
  readonly before?: readonly string[];
}

/** The name servers as `observe` and `execute` see them; one driver a protocol. */
export interface Dns {
  observe(hostnames: readonly string[]): Promise<DnsFacts>;
  /** Ensures records on every server and reads them back; `wait` with the reason when a server does not take one. */
  put(service: string, records: readonly WantedRecord[]): Promise<Outcome<undefined>>;
  /** Ensures that our values and our mark are gone from every server; foreign ones are left alone. */
  remove(service: string, records: readonly WantedRecord[]): Promise<Outcome<undefined>>;
  /** One more text at a name, on every server, read back: the answer to a challenge (RFC 8555, section 8.4). Others at it stay. */
  putText(name: string, value: string): Promise<Outcome<undefined>>;
  /** Takes this one value away, where it is. */
  removeText(name: string, value: string): Promise<Outcome<undefined>>;
}

/** No driver: names are somebody else's business, and the conditions say so (L14). */
export function openNoDns(): Dns {
  return {
    observe: () => Promise.resolve({ driver: 'none', zones: [], names: {} }),
    put: () => Promise.resolve(ok()),
    remove: () => Promise.resolve(ok()),
    putText: (name) =>
      Promise.resolve(
        blocked(
          `nobody may write ${name}: dns is not configured`,
          'Set [mcns] driver, or [certs] acme_challenge = "http-01".',
        ),
      ),
    removeText: () => Promise.resolve(ok()),
  };
}
