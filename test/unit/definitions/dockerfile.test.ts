import { expect } from 'chai';
import { lintDockerfile } from '../../../src/definitions/dockerfile/lint.ts';
import { DOCKERFILE_RULES, SILENCEABLE } from '../../../src/definitions/dockerfile/rules.ts';

/** The template of platform.md section 1. */
const TEMPLATE = `FROM golang:1.25-alpine AS builder

RUN apk add --no-cache git
WORKDIR /build
COPY go.mod go.sum ./
RUN go mod download
COPY . .

ARG VERSION=dev
RUN CGO_ENABLED=0 go build -trimpath \\
    -ldflags="-s -w -X main.version=\${VERSION}" \\
    -o /hello ./cmd/hello

FROM alpine:3.21

RUN apk add --no-cache ca-certificates tzdata
COPY --from=builder /hello /usr/local/bin/hello

WORKDIR /srv/hello
EXPOSE 8443

ENTRYPOINT ["hello"]
CMD ["server", "--config", "/srv/hello/hello.toml"]
`;

function lint(text: string, silenced: readonly string[] = []): ReturnType<typeof lintDockerfile> {
  return lintDockerfile(text, { file: 'hello@v1.0.0:Dockerfile', service: 'hello', silenced });
}

/** `rule:line` of everything that is found. */
function found(text: string, silenced: readonly string[] = []): string[] {
  return lint(text, silenced).map(({ rule, line }) => `${rule.replace('dockerfile/', '')}:${line}`);
}

function changed(from: string, to: string): string {
  expect(TEMPLATE).to.include(from);
  return TEMPLATE.replace(from, to);
}

describe('rules for Dockerfiles', () => {
  it('the template of the platform breaks none', () => {
    expect(found(TEMPLATE)).to.deep.equal([]);
    expect(found(TEMPLATE.replaceAll('\n', '\r\n'))).to.deep.equal([]);
  });

  /** Each rule with a text that breaks it, and where. */
  const broken: Readonly<Record<string, readonly [text: string, line: number]>> = {
    'dockerfile/syntax': [changed('EXPOSE 8443', 'EXPOSED 8443'), 20],
    'dockerfile/user': [changed('EXPOSE 8443', 'USER 1000'), 20],
    'dockerfile/volume': [changed('EXPOSE 8443', 'VOLUME ["/srv/hello"]'), 20],
    'dockerfile/adduser': [changed('ca-certificates tzdata', 'ca-certificates tzdata && adduser -D app'), 16],
    'dockerfile/cgo': [changed('CGO_ENABLED=0 ', ''), 10],
    'dockerfile/trimpath': [changed(' -trimpath', ''), 10],
    'dockerfile/ldflags': [changed('-s -w ', '-s '), 10],
    'dockerfile/arg-version': [changed('ARG VERSION=dev', ''), 10],
    'dockerfile/ca-certificates': [changed('ca-certificates ', ''), 14],
    'dockerfile/tzdata': [changed(' tzdata', ''), 14],
    'dockerfile/workdir': [changed('/srv/hello\n', '/srv/other\n'), 19],
    'dockerfile/entrypoint': [changed('["hello"]', 'hello'), 22],
    'dockerfile/from-tag': [changed('alpine:3.21', 'alpine'), 14],
  };
  for (const [rule, [text, line]] of Object.entries(broken)) {
    it(`${rule} is told with its line, and nothing else is`, () => {
      const [issue, ...others] = lint(text);
      expect(others).to.deep.equal([]);
      expect(issue).to.deep.include({
        rule,
        line,
        column: 1,
        service: 'hello',
        file: 'hello@v1.0.0:Dockerfile',
      });
      expect(issue?.severity).to.equal(DOCKERFILE_RULES[rule as keyof typeof DOCKERFILE_RULES].severity);
      expect(issue?.hint).to.not.include('<service>');
      expect(found(text, [rule])).to.deep.equal(SILENCEABLE.includes(rule) ? [] : found(text));
    });
  }

  it('USER, VOLUME and new users are the errors that may be silenced; what hinders a build may not', () => {
    const errors = Object.entries(DOCKERFILE_RULES).filter(([, { severity }]) => severity === 'error');
    expect(errors.map(([rule]) => rule)).to.have.members([
      ...['dockerfile/user', 'dockerfile/volume', 'dockerfile/adduser'],
      ...['dockerfile/missing', 'dockerfile/syntax'],
    ]);
    expect(SILENCEABLE).to.include('dockerfile/user').and.not.include('dockerfile/syntax');
    expect(Object.keys(broken)).to.have.members(
      Object.keys(DOCKERFILE_RULES).filter(
        (rule) => !['dockerfile/missing', 'dockerfile/source'].includes(rule),
      ),
    );
  });

  it('the rules of a Go build and of an Alpine runtime hold for those alone', () => {
    expect(found('FROM debian:12\nRUN apt-get update\nENTRYPOINT ["/app"]\n')).to.deep.equal([]);
    expect(found('FROM scratch\nCOPY app /app\nCMD ["/app"]\n')).to.deep.equal([]);
    expect(
      found('FROM golang:1.25 AS b\nARG VERSION\nRUN make all\nFROM debian:12\nCOPY --from=b /a /a\n'),
    ).to.deep.equal([]);
    expect(found('FROM node:20-alpine\nRUN npm ci\n')).to.deep.equal([
      'ca-certificates:1',
      'tzdata:1',
      'workdir:1',
    ]);
    const apk = (lines: string): string[] => found(`FROM alpine:3.21\n${lines}\nWORKDIR /srv/hello\n`);
    expect(apk('ARG PKGS="ca-certificates tzdata"\nRUN apk add --no-cache $PKGS')).to.deep.equal([]);
    expect(apk('ARG PKGS\nRUN apk add $PKGS'), 'from outside').to.deep.equal([]);
    expect(apk('ENV PKGS=tzdata\nRUN apk add $PKGS')).to.deep.equal(['ca-certificates:1']);
  });

  it('variables count where they are set: in ENV, exported, in GOFLAGS, in a stage that is built upon', () => {
    const go = (lines: string): string[] =>
      found(`FROM golang:1.25 AS base\nARG VERSION\n${lines}\nFROM scratch\nWORKDIR /srv/hello\n`);
    const flags = '-ldflags="-s -w"';
    expect(go(`ENV CGO_ENABLED=0 GOFLAGS=-trimpath\nRUN go build ${flags} ./...`)).to.deep.equal([]);
    expect(go(`RUN export CGO_ENABLED=0 && go install -trimpath ${flags} ./...`)).to.deep.equal([]);
    expect(go(`ENV CGO_ENABLED=0\nFROM base AS build\nRUN go build -trimpath ${flags}`)).to.deep.equal([]);
    expect(go(`ENV CGO_ENABLED=1\nRUN go build -trimpath ${flags}`)).to.deep.equal(['cgo:4']);
    expect(go(`ARG FLAGS\nRUN CGO_ENABLED=0 go build $FLAGS`), 'flags from outside').to.deep.equal([]);
    expect(go(`RUN <<EOF\nset -e\nCGO_ENABLED=0 go build\nEOF`)).to.deep.equal(['ldflags:3', 'trimpath:3']);
    expect(
      go(`RUN CGO_ENABLED=0 go build -trimpath -ldflags="-s -w -X main.v=$(git describe)"`),
    ).to.deep.equal([]);
  });

  it('a user is made only where the command is called, not where it is a word', () => {
    const run = (command: string): string[] => found(`FROM debian:12\n${command}\n`);
    expect(run('RUN if ! id app; then useradd app; fi')).to.deep.equal(['adduser:2']);
    expect(run('RUN set -e; /usr/sbin/addgroup app')).to.deep.equal(['adduser:2']);
    expect(run('RUN ["adduser", "-D", "app"]')).to.deep.equal(['adduser:2']);
    expect(run('RUN sh -c "groupadd app"')).to.deep.equal(['adduser:2']);
    expect(run('RUN <<EOF\necho one\nadduser app\nEOF')).to.deep.equal(['adduser:2']);
    expect(
      lint('FROM debian:12\nRUN addgroup a && adduser b && addgroup c\n').map(({ message }) => message),
    ).to.deep.equal(['RUN calls addgroup and adduser']);
    expect(run('RUN x=$(useradd app) && echo "$x"')).to.deep.equal(['adduser:2']);
    expect(run('RUN busybox adduser -D app')).to.deep.equal(['adduser:2']);
    expect(run('ONBUILD USER app')).to.deep.equal(['user:2']);
    expect(run('RUN echo adduser && apt-get install -y adduser')).to.deep.equal([]);
    expect(run('# USER app\nRUN true && \\\n # VOLUME /x\n echo')).to.deep.equal([]);
  });

  it('FROM: latest is no version; scratch, a digest, a stage and an argument from outside are no fault', () => {
    const from = (image: string): string[] =>
      found(`ARG BASE\nARG V=12\nFROM scratch AS one\nFROM ${image}\n`);
    expect(from('debian')).to.deep.equal(['from-tag:4']);
    expect(from('reg.example.net:5000/debian')).to.deep.equal(['from-tag:4']);
    expect(from('debian:latest')).to.deep.equal(['from-tag:4']);
    expect(found('FROM\nRUN true\n')).to.deep.equal(['syntax:1']);
    for (const good of ['debian:$V', 'ONE', 'one', '$BASE', 'scratch', `debian@sha256:${'0'.repeat(64)}`])
      expect(from(good), good).to.deep.equal([]);
  });

  it('what it says has no control character, and nothing is said twice', () => {
    expect(lint('FROM debian:12\nUSER \u001b]0;PWN\u0007x\n').map(({ message }) => message)).to.deep.equal([
      String.raw`USER \u001b]0;PWN\u0007x`,
    ]);
    const twice = 'FROM golang:1.25\nARG VERSION\nRUN CGO_ENABLED=0 go build a && CGO_ENABLED=0 go build b\n';
    expect(found(`${twice}WORKDIR /srv/hello\n`)).to.deep.equal(['ldflags:3', 'trimpath:3']);
  });

  it('what is no Dockerfile, or far too long, is said and ends soon (G46)', () => {
    for (const text of [
      '',
      '\0\0',
      '\n'.repeat(1_000),
      'RUN '.repeat(2_000),
      'FROM a:1\n'.repeat(102),
      '<<EOF\nFROM a',
      '\ud800',
    ]) {
      expect(
        lint(text).map(({ rule }) => rule),
        JSON.stringify(text.slice(0, 20)),
      ).to.include('dockerfile/syntax');
    }
    expect(found('FROM a\n'.repeat(20_000))).to.deep.equal(['syntax:1']);
    const begun = process.cpuUsage();
    lint(`FROM alpine:3\n${`RUN ${'a=b '.repeat(15)}go build -ldflags="-s\n`.repeat(600)}`);
    lint(`FROM alpine:3\nRUN ${'a && \\\n'.repeat(3_900)}\n`);
    lint(`FROM alpine:3\nENV ${'A=$A$A '.repeat(7_000)}\n`);
    lint(`FROM a:1 AS b\n${'FROM b AS b\n'.repeat(99)}${'RUN go build\n'.repeat(3_000)}`);
    lint(`FROM a:1\n${'ARG A=$A\n'.repeat(3_900)}`);
    lint(`FROM a:1\n${'RUN <<E\nE\n'.repeat(1_900)}`);
    const { user, system } = process.cpuUsage(begun);
    expect((user + system) / 1_000).to.be.below(10_000);
  });
});
