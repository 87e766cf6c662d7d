import { parseQualifiedName } from '@swimlane/docker-reference';
import semver from 'semver';
import type { RuleId } from './rules.ts';
import type { ImageRef } from './types.ts';
import { quote } from './findings.ts';

export type ReadImage =
  | { readonly ok: true; readonly image: ImageRef }
  | { readonly ok: false; readonly rule: RuleId; readonly message: string; readonly hint?: string };

/** Longest reference: 255 for the name, 128 for the tag, and a SHA-256 digest. */
const MAX_LENGTH = 255 + 1 + 128 + 1 + 71;
const HOST = /^(?:[a-z0-9](?:[a-z0-9-]*[a-z0-9])?\.)*[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?::[0-9]{1,5})?$/;
const REPOSITORY_PART = /^[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*$/;
/** `user:password@host`; the `@` of a digest comes after the whole name. */
const USER_INFO = /^[^/]*@(?!sha256:)|^\w+:\/\//i;
const DIGEST = /^sha256:[0-9a-f]{64}$/;

/**
 * Takes `[host[:port]/]repository:tag[@sha256:…]` apart and holds the pin: the tag is a semantic version, or there is a
 * digest; a leading `v` is allowed, `+build` is not (house.md section 6; grammar of github.com/distribution/reference).
 */
export function readImage(reference: string): ReadImage {
  // Only what is told is made fit to be shown.
  const shown = (): string => quote(reference);
  const bad = (rule: RuleId, message: string, hint?: string): ReadImage => ({
    ok: false,
    rule,
    message,
    ...(hint === undefined ? {} : { hint }),
  });
  // Told without a part of it: what stands before the `@` of an address is a password.
  if (USER_INFO.test(reference))
    return bad(
      'image/reference',
      'an image reference holds no user and no password',
      'Take them out; what the registry asks for is in [registries] of the node. Whoever can read the repository has seen this password: change it.',
    );
  if (reference.length > MAX_LENGTH)
    return bad('image/reference', `${shown()} is longer than ${MAX_LENGTH} characters`);
  const { host, repository, tag, digest } = split(reference);
  const wrong = wrongPart(host, repository, digest);
  if (wrong !== undefined) return bad('image/reference', `${shown()} is no image reference: ${wrong}`);
  if (tag === undefined) {
    return bad(
      'image/semver-tag',
      `${shown()} has no version`,
      `Pin the released version: "${short(reference, digest)}:v1.0.0".`,
    );
  }
  if (tag.includes('+')) return bad('image/build-metadata', `the version ${quote(tag)} has a +build part`);
  if (!/^\w[\w.-]{0,127}$/.test(tag))
    return bad('image/reference', `${shown()} is no image reference: ${quote(tag)} is no tag`);
  const fault = tagFault(tag);
  // What has a digest does not move: whether that is enough is the node's policy.
  if (fault !== undefined && digest === undefined) return bad('image/semver-tag', fault.message, fault.hint);
  // Only well-formed names get here: on others the library's expression takes exponential time.
  const parsed = parseQualifiedName(`${host ?? 'localhost'}/${repository}:${tag}`);
  return {
    ok: true,
    image: {
      reference,
      ...(host === undefined ? {} : { host }),
      repository: parsed.repository ?? repository,
      tag,
      ...(digest === undefined ? {} : { digest }),
    },
  };
}

/** Why a tag is no semantic version; undefined for one that is. */
export function tagFault(tag: string): { readonly message: string; readonly hint?: string } | undefined {
  if (semver.valid(tag) !== null) return undefined;
  const message =
    tag === 'latest' ? '"latest" is a moving target' : `the tag ${quote(tag)} is no semantic version`;
  const hint = semverHint(tag);
  return { message, ...(hint === undefined ? {} : { hint }) };
}

/** The name that `[build.images]` must have: the repository's last part. */
export function buildName(image: ImageRef): string {
  return image.repository.slice(image.repository.lastIndexOf('/') + 1);
}

interface Parts {
  readonly host: string | undefined;
  readonly repository: string;
  readonly tag: string | undefined;
  readonly digest: string | undefined;
}

function split(reference: string): Parts {
  const at = reference.indexOf('@');
  const named = at === -1 ? reference : reference.slice(0, at);
  const digest = at === -1 ? undefined : reference.slice(at + 1);
  const slash = named.indexOf('/');
  const first = slash === -1 ? '' : named.slice(0, slash);
  // As engines do: the first part is a host when it has a dot or a port, or is localhost.
  const isHost = first.includes('.') || first.includes(':') || first === 'localhost';
  const rest = isHost ? named.slice(slash + 1) : named;
  const colon = rest.indexOf(':');
  return {
    host: isHost ? first : undefined,
    repository: colon === -1 ? rest : rest.slice(0, colon),
    tag: colon === -1 ? undefined : rest.slice(colon + 1),
    digest,
  };
}

function wrongPart(
  host: string | undefined,
  repository: string,
  digest: string | undefined,
): string | undefined {
  if (host !== undefined && (host.length > 255 || !HOST.test(host) || !isPort(host.split(':')[1]))) {
    return `${quote(host)} is no host (lower case, \`host[:port]\`)`;
  }
  // The host and the slash count, also the one that is put in front for the library.
  if (
    `${host ?? 'localhost'}/${repository}`.length > 255 ||
    !repository.split('/').every((part) => REPOSITORY_PART.test(part))
  ) {
    return `${quote(repository)} is no repository (lower case, parts with / between)`;
  }
  if (digest !== undefined && !DIGEST.test(digest)) return 'the digest is not sha256: with 64 hex digits';
  return undefined;
}

function isPort(text: string | undefined): boolean {
  return text === undefined || (Number(text) >= 1 && Number(text) <= 65_535);
}

function short(reference: string, digest: string | undefined): string {
  return digest === undefined ? reference : reference.slice(0, reference.indexOf('@'));
}

function semverHint(tag: string): string | undefined {
  if (!/^v?\d+(?:\.\d+){0,2}$/.test(tag)) return undefined;
  const numbers = tag
    .replace('v', '')
    .split('.')
    .map((part) => String(Number(part)));
  return `Write all three numbers, without leading zeros: ":v${[...numbers, '0', '0'].slice(0, 3).join('.')}".`;
}
