import { fail } from './fail.ts';
import { composeFile } from './rendering/compose.ts';
import { shellScript, type ShellOptions } from './rendering/shell.ts';
import { subjectOf, type SubjectOptions } from './rendering/subject.ts';

interface Options extends SubjectOptions, Pick<ShellOptions, 'engine'> {
  readonly format: 'shell' | 'compose';
  readonly withValues?: boolean;
}

/**
 * `mc-gitops render [SERVICE]`: what definitions stand for, as commands to be pasted into a shell or as a compose file, without
 * agent and engine (L01). Without a name: all active services of the node.
 */
export async function runRender(name: string | undefined, options: Options): Promise<void> {
  const subject = await subjectOf(name, options);
  if (subject.kind !== 'ok') {
    fail(subject, subject.kind === 'retry' ? 3 : 1);
    return;
  }
  const { engine, format, withValues = false } = options;
  const render = format === 'compose' ? composeFile : shellScript;
  process.stdout.write(render(subject.value, { engine, withValues }));
  const { bad } = subject.value;
  if (bad.length === 0) return;
  fail({
    kind: 'blocked',
    why: `left out, because their files are bad:\n${bad.map((line) => `  ${line}`).join('\n')}`,
    hint: 'Mend them (`mc-gitops validate` tells how), or give the state of the node, which knows their last good state.',
  });
}
