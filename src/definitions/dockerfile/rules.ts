import type { Rule } from '../rules.ts';

/** Rules for Dockerfiles of images that are built here (platform.md section 1), by their stable ids. */
export const DOCKERFILE_RULES = {
  'dockerfile/missing': error(
    'The Dockerfile is in the tree of the tag.',
    'Commit it and tag a new version; a changed work tree is not looked at.',
  ),
  'dockerfile/source': warning(
    'The source repository and the tag of the image are there.',
    'Clone the repository into the workspace, and tag the release.',
  ),
  'dockerfile/syntax': error(
    'A Dockerfile is at most 64 KiB of known instructions, with a FROM.',
    'Mend it there; `docker build --check` says more.',
  ),
  'dockerfile/user': error(
    'A Dockerfile has no USER.',
    'Remove it: the user is `user` in the definition, and 0:0 in the container is the unprivileged user of the engine. Another one cannot write below /srv.',
  ),
  'dockerfile/volume': error(
    'A Dockerfile has no VOLUME.',
    'Remove it, and mount the directory in the definition: volumes = ["/srv/<service>:/srv/<service>"].',
  ),
  'dockerfile/adduser': error(
    'No step makes a user or a group.',
    'Remove it: containers run as 0:0 of a rootless engine, and files below /srv belong to that user.',
  ),
  'dockerfile/cgo': warning(
    'A Go build has CGO_ENABLED=0.',
    'Write `CGO_ENABLED=0 go build …`: the binary is linked statically.',
  ),
  'dockerfile/trimpath': warning('A Go build has -trimpath.', 'Write `go build -trimpath …`.'),
  'dockerfile/ldflags': warning(
    'A Go build strips its binary.',
    'Write `go build -ldflags="-s -w -X main.version=${VERSION}" …`.',
  ),
  'dockerfile/arg-version': warning(
    'A Go build declares ARG VERSION in its stage.',
    'Write `ARG VERSION=dev` before the build: the git tag is given as build argument VERSION.',
  ),
  'dockerfile/ca-certificates': warning(
    'An Alpine runtime has ca-certificates.',
    'Write `RUN apk add --no-cache ca-certificates tzdata` in the last stage.',
  ),
  'dockerfile/tzdata': warning(
    'An Alpine runtime has tzdata.',
    'Write `RUN apk add --no-cache ca-certificates tzdata` in the last stage.',
  ),
  'dockerfile/workdir': warning(
    'The last stage has WORKDIR /srv/<service>, when it is an Alpine runtime or has a Go program.',
    'Write `WORKDIR /srv/<service>`: relative paths then lie in the mounted data directory.',
  ),
  'dockerfile/entrypoint': warning(
    'ENTRYPOINT is a JSON list.',
    'Write `ENTRYPOINT ["program"]`: a shell in between does not pass on the signal to stop, nor `cmd`.',
  ),
  'dockerfile/from-tag': warning(
    'FROM has a tag or a digest, and not `latest`.',
    'Name a version, for example `FROM alpine:3.21`: the same tag of ours is then built from the same base.',
  ),
} as const satisfies Readonly<Record<string, Rule>>;

export type DockerfileRuleId = keyof typeof DOCKERFILE_RULES;

/** Rules that say what the platform wants, and may be silenced with a reason; the others say that nothing can be built. */
export const SILENCEABLE: readonly string[] = Object.keys(DOCKERFILE_RULES).filter(
  (rule) => !['dockerfile/missing', 'dockerfile/source', 'dockerfile/syntax'].includes(rule),
);

function error(says: string, hint: string): Rule {
  return { severity: 'error', says, hint };
}

function warning(says: string, hint: string): Rule {
  return { severity: 'warning', says, hint };
}
