import { DOCKERFILE_RULES } from './dockerfile/rules.ts';
import { RULES, type Rule } from './rules.ts';

/** The rules as a Markdown table, in the order of the code: `definitions-example/README.md` has it between its marks. */
export function ruleTable(of: 'definitions' | 'dockerfile' = 'definitions'): string {
  const rules: Readonly<Record<string, Rule>> = of === 'definitions' ? RULES : DOCKERFILE_RULES;
  const rows = Object.entries(rules).map(
    ([id, { severity, says, hint }]) => `| \`${id}\` | ${severity} | ${cell(says)} | ${cell(hint)} |`,
  );
  return ['| rule | severity | what holds | when it is broken |', '|---|---|---|---|', ...rows, ''].join(
    '\n',
  );
}

/** Text for a cell: a bar would end it, and an angle bracket outside of code may begin a tag. */
export function cell(text: string): string {
  const parts = text.replaceAll('|', '\\|').split('`');
  return parts
    .map((part, at) => (at % 2 === 0 ? part.replaceAll('<', '&lt;').replaceAll('>', '&gt;') : part))
    .join('`');
}
