import {
  Arg,
  DockerfileParser,
  Env,
  From,
  JSONInstruction,
  type Instruction,
  type Property,
} from 'dockerfile-ast';

/** One instruction, with what the judging needs of it. Lines and columns are 1-based. */
export interface Step {
  readonly keyword: string;
  /** Without flags, continuation lines and comments joined away; a here-document with its lines. */
  readonly text: string;
  readonly isJson: boolean;
  readonly line: number;
  readonly column: number;
  /** Of ARG and ENV. */
  readonly variables: readonly { readonly name: string; readonly value: string | undefined }[];
}

export interface Stage {
  readonly name: string | undefined;
  /** As it is written, `ARG`s before the first FROM filled in. */
  readonly image: string;
  readonly from: Step;
  readonly steps: readonly Step[];
  /** The stage that it is made from, when it is one of this file. */
  readonly parent: Stage | undefined;
}

/** The stages of a Dockerfile in their order, and what is before the first FROM. Never throws on bad text, it finds less. */
export function stagesOf(text: string): {
  readonly stages: readonly Stage[];
  readonly global: readonly Step[];
} {
  const stages: Stage[] = [];
  const global: Step[] = [];
  const defaults = new Map<string, string>();
  let steps: Step[] = [];
  for (const instruction of DockerfileParser.parse(text).getInstructions()) {
    const step = stepOf(instruction);
    if (instruction instanceof From) {
      const image = expand(instruction.getImage() ?? '', defaults);
      const parent = stages.findLast(({ name }) => name !== undefined && name === image.toLowerCase());
      steps = [];
      stages.push({
        name: instruction.getBuildStage()?.toLowerCase(),
        image,
        from: step,
        steps,
        parent,
      });
      continue;
    }
    if (stages.length > 0) steps.push(step);
    else global.push(step);
    if (stages.length > 0) continue;
    for (const { name, value } of step.variables) if (value !== undefined) defaults.set(name, value);
  }
  return { stages, global };
}

/** The stage after all the stages of this file that it is made from, the first one first. */
export function lineageOf(stage: Stage): readonly Stage[] {
  return stage.parent === undefined ? [stage] : [...lineageOf(stage.parent), stage];
}

/** `$NAME`, `${NAME}`, `${NAME:-default}`; what is not known stays as it is. */
export function expand(text: string, variables: ReadonlyMap<string, string>): string {
  let added = 0;
  return text.replaceAll(
    /\$(?:([A-Za-z_]\w*)|\{([A-Za-z_]\w*)(?::?-([^}]*))?\})/g,
    (all: string, bare?: string, braced?: string, fallback?: string) => {
      const value = variables.get(bare ?? braced ?? '') ?? fallback ?? all;
      added += value.length;
      // `ENV A=$A$A` again and again would fill the memory.
      return added > MAX_EXPANDED ? all : value;
    },
  );
}

const MAX_EXPANDED = 8_192;

function stepOf(instruction: Instruction): Step {
  const { start } = instruction.getRange();
  return {
    keyword: instruction.getKeyword(),
    text: joined(instruction.getRawArgumentsContent() ?? ''),
    isJson: instruction instanceof JSONInstruction && instruction.getOpeningBracket() !== null,
    line: start.line + 1,
    column: start.character + 1,
    variables: variablesOf(instruction),
  };
}

function variablesOf(instruction: Instruction): Step['variables'] {
  const properties: (Property | null)[] =
    instruction instanceof Arg
      ? [instruction.getProperty()]
      : instruction instanceof Env
        ? instruction.getProperties()
        : [];
  return properties.flatMap((property) =>
    property === null ? [] : [{ name: property.getName(), value: property.getValue() ?? undefined }],
  );
}

/** A comment between continued lines is no part of the command; the end of a here-document's line ends a command. */
function joined(raw: string): string {
  return raw
    .split('\n')
    .filter((line) => !/^\s*#/.test(line))
    .join('\n')
    .replaceAll(/[\\`][ \t]*\r?\n/g, ' ');
}
