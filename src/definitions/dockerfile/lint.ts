import { visible } from '../../base/visible.ts';
import type { Issue } from '../types.ts';
import { commandsOf, hasGoBuild, packagesOf, type Command } from './commands.ts';
import { DOCKERFILE_RULES, SILENCEABLE, type DockerfileRuleId } from './rules.ts';
import { expand, lineageOf, stagesOf, type Stage, type Step } from './stages.ts';

export interface LintOptions {
  /** How the file is called in the findings, for example `hello@v1.0.0:Dockerfile`. */
  readonly file: string;
  /** Name of the service: `WORKDIR /srv/<service>`. */
  readonly service: string;
  /** Rules that are not told. */
  readonly silenced: readonly string[];
}

/** Far beyond any real one: the parser's time grows with the square of these. */
const MAX_BYTES = 64 * 1024;
const MAX_LINES = 4_000;
const MAX_STAGES = 100;
/** More of one file nobody reads. */
const MAX_TOLD = 50;

/** Judges a Dockerfile by the rules of platform.md section 1, sorted by line. Pure, and finds nothing twice. */
export function lintDockerfile(text: string, options: LintOptions): Issue[] {
  const found: { rule: DockerfileRuleId; message: string; line: number; column: number }[] = [];
  const tell: Tell = (rule, message, { line, column }) => void found.push({ rule, message, line, column });
  const tooLarge = oversize(text);
  if (tooLarge !== undefined) tell('dockerfile/syntax', `it has more than ${tooLarge}`, TOP);
  else judge(text, options.service, tell);
  const seen = new Set<string>();
  const isNew = ({ rule, message, line }: (typeof found)[number]): boolean => {
    const place = JSON.stringify([rule, line, message]);
    return !seen.has(place) && seen.add(place).size > 0;
  };
  return found
    .filter(isNew)
    .filter(({ rule }) => !(SILENCEABLE.includes(rule) && options.silenced.includes(rule)))
    .sort((a, b) => a.line - b.line || (a.rule < b.rule ? -1 : 1))
    .slice(0, MAX_TOLD)
    .map((one) => dockerfileIssue(one.rule, one.message, { ...options, ...one }));
}

/** An issue by one of these rules, where there may be no text to point at. */
export function dockerfileIssue(
  rule: DockerfileRuleId,
  message: string,
  at: { readonly file: string; readonly service: string; readonly line?: number; readonly column?: number },
): Issue {
  const { file, service, line = 1, column = 1 } = at;
  const { severity, hint } = DOCKERFILE_RULES[rule];
  const mended = hint.replaceAll('<service>', service);
  return { rule, severity, file, line, column, path: '', message: visible(message), hint: mended, service };
}

function oversize(text: string): string | undefined {
  if (Buffer.byteLength(text) > MAX_BYTES) return `${MAX_BYTES} bytes`;
  if (text.split('\n').length > MAX_LINES) return `${MAX_LINES} lines`;
  return text.split(/^\s*FROM\s/im).length > MAX_STAGES + 1 ? `${MAX_STAGES} stages` : undefined;
}

type Tell = (rule: DockerfileRuleId, message: string, at: { line: number; column: number }) => void;

const TOP = { line: 1, column: 1 };
const KEYWORDS = new Set(
  'ADD ARG CMD COPY ENTRYPOINT ENV EXPOSE FROM HEALTHCHECK LABEL MAINTAINER ONBUILD RUN SHELL STOPSIGNAL USER VOLUME WORKDIR'.split(
    ' ',
  ),
);
const MAKES_USERS = new Set(['adduser', 'addgroup', 'useradd', 'groupadd']);

function judge(text: string, service: string, tell: Tell): void {
  const { stages, global } = stagesOf(text);
  const last = stages.at(-1);
  if (last === undefined) {
    tell('dockerfile/syntax', 'it has no FROM', TOP);
    return;
  }
  for (const step of [...global, ...stages.flatMap((stage) => stage.steps)]) {
    if (!KEYWORDS.has(step.keyword))
      tell('dockerfile/syntax', `${JSON.stringify(step.keyword.slice(0, 40))} is no instruction`, step);
  }
  for (const stage of stages) {
    judgeFrom(stage, tell);
    for (const step of stage.steps) judgeStep(step, tell);
    judgeGo(stage, tell);
  }
  judgeRuntime(last, stages, service, tell);
}

function judgeFrom({ image, from, parent }: Stage, tell: Tell): void {
  // An argument without a default is given from outside: nothing is known of it.
  if (parent !== undefined || image === 'scratch' || image.includes('$') || image.includes('@')) return;
  const tag = /:([^:/]+)$/.exec(image)?.[1];
  if (image === '') tell('dockerfile/syntax', 'FROM names no image', from);
  else if (tag === undefined) tell('dockerfile/from-tag', `FROM ${image} has no tag`, from);
  else if (tag === 'latest') tell('dockerfile/from-tag', `FROM ${image} is another image every day`, from);
}

function judgeStep(step: Step, tell: Tell): void {
  const { keyword, text } = keyworded(step);
  if (keyword === 'USER') tell('dockerfile/user', `USER ${text.trim()}`, step);
  if (keyword === 'VOLUME') tell('dockerfile/volume', `VOLUME ${text.trim()}`, step);
  if (keyword !== 'RUN') return;
  const makers = new Set(
    commandsOf(step)
      .map(({ program }) => program)
      .filter((program) => MAKES_USERS.has(program)),
  );
  if (makers.size > 0) tell('dockerfile/adduser', `RUN calls ${[...makers].join(' and ')}`, step);
}

/** `ONBUILD USER x` is a USER of every image made from this one. */
function keyworded(step: Step): Pick<Step, 'keyword' | 'text'> {
  if (step.keyword !== 'ONBUILD') return step;
  const [, keyword = '', text = ''] = /^\s*(\S+)\s*([\s\S]*)$/.exec(step.text) ?? [];
  return { keyword: keyword.toUpperCase(), text };
}

/** What is told of each `go build` and `go install`, with the variables that are set at that line. */
function judgeGo(stage: Stage, tell: Tell): void {
  const variables = new Map<string, string>();
  const declared = new Set<string>();
  const take = (step: Step): void => {
    for (const { name, value } of step.variables) {
      if (step.keyword === 'ARG') declared.add(name);
      if (value !== undefined) variables.set(name, expand(value, variables));
    }
  };
  for (const ancestor of lineageOf(stage).slice(0, -1)) ancestor.steps.forEach(take);
  for (const step of stage.steps) {
    take(step);
    if (step.keyword !== 'RUN') continue;
    const set = new Map(variables);
    for (const command of commandsOf(step)) {
      for (const [name, value] of command.exported) set.set(name, value);
      if (!hasGoBuild(command)) continue;
      judgeGoBuild(command, new Map([...set, ...command.variables]), step, tell);
      if (!declared.has('VERSION'))
        tell('dockerfile/arg-version', 'its stage does not declare ARG VERSION before the build', step);
    }
  }
}

function judgeGoBuild(
  { text }: Command,
  variables: ReadonlyMap<string, string>,
  step: Step,
  tell: Tell,
): void {
  const flags = `${expand(text, variables)} ${expand(variables.get('GOFLAGS') ?? '', variables)}`;
  if (variables.get('CGO_ENABLED') !== '0')
    tell('dockerfile/cgo', 'go build runs without CGO_ENABLED=0', step);
  // A variable from outside may hold any flag: nothing is claimed of it.
  const open = flags.replaceAll(/-X[= ]\S+/g, '').includes('$');
  if (!/(^|\s)-trimpath\b/.test(flags) && !open)
    tell('dockerfile/trimpath', 'go build runs without -trimpath', step);
  const linker = /-ldflags[= ]*("[^"]*"|'[^']*'|\S+)/.exec(flags)?.[1] ?? '';
  const has = (flag: string): boolean => new RegExp(`(^|[\\s"'=])-${flag}(?=$|[\\s"'])`).test(linker);
  if (!(has('s') && has('w')) && !open)
    tell('dockerfile/ldflags', 'go build runs without -ldflags="-s -w"', step);
}

function judgeRuntime(last: Stage, stages: readonly Stage[], service: string, tell: Tell): void {
  const lineage = lineageOf(last);
  const steps = lineage.flatMap((stage) => stage.steps);
  const isAlpine = /(^|\/)alpine(?=[:@]|$)|:[^/]*\balpine/.test(lineage[0]?.image ?? '');
  const isGo = stages.some((stage) =>
    stage.steps.some((step) => step.keyword === 'RUN' && commandsOf(step).some(hasGoBuild)),
  );
  if (isAlpine) {
    const installed = new Set(installedBy(steps));
    // A variable from outside may name any package: nothing is claimed of it.
    const isOpen = [...installed].some((name) => name.includes('$'));
    const copied = steps
      .filter(({ keyword }) => keyword === 'COPY' || keyword === 'ADD')
      .map(({ text }) => text);
    const has = (name: string, path: RegExp): boolean =>
      isOpen || installed.has(name) || copied.some((text) => path.test(text));
    if (!has('ca-certificates', /ca-certificates|\/etc\/ssl\/certs/))
      tell('dockerfile/ca-certificates', 'the last stage does not install ca-certificates', last.from);
    if (!has('tzdata', /zoneinfo/))
      tell('dockerfile/tzdata', 'the last stage does not install tzdata', last.from);
  }
  if (isAlpine || isGo) judgeWorkdir(steps, last, service, tell);
  const entry = steps.findLast(({ keyword }) => keyword === 'ENTRYPOINT');
  if (entry !== undefined && !entry.isJson && entry.text.trim() !== '')
    tell('dockerfile/entrypoint', 'ENTRYPOINT is run by a shell', entry);
}

/** What `apk add` installs, with the variables that are set by then. */
function installedBy(steps: readonly Step[]): string[] {
  const variables = new Map<string, string>();
  return steps.flatMap((step) => {
    for (const { name, value } of step.variables)
      if (value !== undefined) variables.set(name, expand(value, variables));
    return packagesOf({ ...step, text: expand(step.text, variables) });
  });
}

function judgeWorkdir(steps: readonly Step[], last: Stage, service: string, tell: Tell): void {
  const wanted = `/srv/${service}`;
  const variables = new Map<string, string>();
  let at: { directory: string; step: Step } | undefined;
  for (const step of steps) {
    for (const { name, value } of step.variables) if (value !== undefined) variables.set(name, value);
    if (step.keyword !== 'WORKDIR') continue;
    const path = expand(step.text.trim().replaceAll(/^"|"$/g, ''), variables).replace(/(?<=.)\/+$/, '');
    at = { directory: path.startsWith('/') ? path : `${at?.directory ?? ''}/${path}`, step };
  }
  if (at === undefined) tell('dockerfile/workdir', `the last stage has no WORKDIR ${wanted}`, last.from);
  else if (at.directory !== wanted && !at.directory.includes('$'))
    tell('dockerfile/workdir', `WORKDIR is ${at.directory}, not ${wanted}`, at.step);
}
