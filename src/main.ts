#!/usr/bin/env node
import { Argument, Command, InvalidArgumentError, Option } from 'commander';
import { runAgent } from './commands/agent.ts';
import { runDemo } from './commands/demo.ts';
import { runPlan, type PlanOptions } from './commands/plan.ts';
import { runProxy } from './commands/proxy.ts';
import { runRender } from './commands/render.ts';
import { runReplay, type ReplayOptions } from './commands/replay.ts';
import { runSchema } from './commands/schema.ts';
import { runSnapshot } from './commands/snapshot.ts';
import { runPs, runStatus } from './commands/status.ts';
import { runEvents, runHistory, runLogs } from './commands/told.ts';
import { runValidate } from './commands/validate.ts';
import { DEFAULT_SETTINGS_PATH } from './settings.ts';
import { VERSION } from './version.ts';

// A reader that has seen enough (`| head`) is no fault; a disk that is full is one, and no stack trace.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE')
    process.stderr.write(`mc-gitops: the output cannot be written: ${error.message}\n`);
  process.exit(error.code === 'EPIPE' ? (process.exitCode ?? 0) : 1);
});

const program = new Command('mc-gitops')
  .description('The GitOps agent of a container node. No command changes anything: operators push TOML.')
  .version(VERSION)
  .showHelpAfterError()
  .configureOutput({ outputError: (text, write) => write(text) })
  .exitOverride();

const config = (): Option =>
  new Option('-c, --config <file>', 'settings').default(DEFAULT_SETTINGS_PATH).env('MC_GITOPS_CONFIG');
const url = (): Option =>
  new Option('--url <url>', 'address of the agent (default: server.listen_addr of the settings)');

program.command('agent').description('run the loop and the dashboard').addOption(config()).action(runAgent);
program.command('proxy').description('run the bundled TLS router').addOption(config()).action(runProxy);
program
  .command('validate')
  .description('check definitions; exit 1 on errors')
  .argument('[dir]', 'a repository of definitions', '.')
  .addOption(new Option('--format <format>').choices(['text', 'json', 'github']).default('text'))
  .option('--strict', 'warnings are errors')
  .option('--node <node>', 'only the definitions of this node')
  .addOption(
    new Option(
      '--state <file|url>',
      'what an agent serves at /api/v1/state: also checks what its node allows; once a node',
    ).argParser(collected),
  )
  .option('--workspace <dir>', 'source repositories, whose Dockerfiles are judged at their tags')
  .action(runValidate);
program
  .command('plan')
  .description(
    'what would nodes do with these definitions? exit 1 when something is refused or an error, 2 when called wrongly, 3 when an agent does not answer',
  )
  .argument('[dir]', 'a repository of definitions', '.')
  .addOption(
    new Option(
      '--state <file|url>',
      'what the agent of a node serves at /api/v1/state; once a node',
    ).argParser(collected),
  )
  .option(
    '--base <ref>',
    'the revision that the change starts from; with --state, what the node does anyway is marked',
  )
  .option('--node <node>', 'only this node')
  .option(
    '--replay <pass>',
    'on the node: plan that pass again from its stored inputs; exit 1 on a difference',
  )
  .option(
    '--registry <file>',
    'for --replay: a registry or a snapshot of it (default: the one of the settings)',
  )
  .addOption(new Option('--format <format>').choices(['text', 'json', 'markdown']).default('text'))
  .addOption(config())
  .action(planOrReplay);
program
  .command('render')
  .description(
    'print the commands that a definition stands for, or a compose file; all services without a name',
  )
  .argument('[service]')
  .option('--dir <dir>', 'a repository of definitions', '.')
  .option('--node <node>', 'only services of this node')
  .addOption(new Option('--engine <engine>').choices(['docker', 'podman']).default('podman'))
  .addOption(new Option('--format <format>').choices(['shell', 'compose']).default('shell'))
  .option(
    '--state <file|url>',
    'what the agent of the node serves at /api/v1/state: port leases, routes, records',
  )
  .option('--with-values', 'print the values of environment variables')
  .addOption(config())
  .action(runRender);
program
  .command('status')
  .description('what is desired, applied and observed')
  .argument('[service]')
  .option('--json', 'the whole answer of the agent')
  .addOption(url())
  .addOption(config())
  .action(runStatus);
program
  .command('ps')
  .description('the containers of the node')
  .addOption(url())
  .addOption(config())
  .action(runPs);
program
  .command('history')
  .description('what was done and why, newest first')
  .argument('[service]')
  .addOption(number('--limit <n>', 'so many entries', 20, 500))
  .option('--json', 'the whole answer of the agent')
  .addOption(url())
  .addOption(config())
  .action(runHistory);
program
  .command('events')
  .description('what begins, changes and ends, and every step')
  .option('-f, --follow', 'go on until Ctrl-C')
  .option('--json', 'one JSON object a line')
  .addOption(url())
  .addOption(config())
  .action(runEvents);
program
  .command('logs')
  .description('the end of the log of a container of ours')
  .argument('<service[/component]>')
  .addOption(number('-n, --tail <n>', 'so many lines', 200, 2000))
  .option('--build', 'what the build of its image printed; so also where it has no container')
  .option('--json', 'the whole answer of the agent')
  .addOption(url())
  .addOption(config())
  .action(runLogs);
program
  .command('snapshot')
  .description('a consistent copy of the registry, also while the agent runs')
  .argument('<file>', 'a file that does not exist yet')
  .addOption(config())
  .action(runSnapshot);
program
  .command('schema')
  .description('print the JSON Schema of a definition, for editors')
  .addArgument(new Argument('[kind]').choices(['service', 'node', 'removals']).default('service'))
  .action(runSchema);
program
  .command('demo')
  .description('the whole way on this machine, from a temporary git server')
  .option('--exit', 'remove everything at the end instead of waiting for Ctrl-C')
  .addOption(new Option('--port <port>', 'port of the dashboard').argParser(portNumber).default(0))
  .action(runDemo);

type PlanWords = ReplayOptions & PlanOptions & { readonly replay?: string };

try {
  await program.parseAsync();
} catch (error) {
  process.exitCode = exitCodeOf(error);
}

function collected(value: string, before: string[] | undefined): string[] {
  return [...(before ?? []), value];
}

function number(flags: string, description: string, usual: number, most: number): Option {
  return new Option(flags, description).default(usual).argParser((text) => {
    const count = Number(text);
    if (!Number.isInteger(count) || count < 1 || count > most)
      throw new InvalidArgumentError(`must be 1 to ${most}.`);
    return count;
  });
}

function portNumber(text: string): number {
  const port = Number(text);
  if (!Number.isInteger(port) || port < 0 || port > 65535)
    throw new InvalidArgumentError('must be 0 to 65535.');
  return port;
}

function planOrReplay(dir: string, options: PlanWords): Promise<void> | void {
  const { state, base, replay } = options;
  if (replay === undefined) return runPlan(dir, options);
  if (state === undefined && base === undefined) {
    runReplay(replay, options);
    return;
  }
  program.error('error: --replay <pass> goes without --state and --base', { exitCode: 2 });
}

/** 0 good, 1 findings, 2 usage, 3 could not reach the agent. */
function exitCodeOf(error: unknown): number {
  if (error instanceof Error && 'exitCode' in error && typeof error.exitCode === 'number') {
    return error.exitCode === 0 ? 0 : 2;
  }
  process.stderr.write(`mc-gitops: ${error instanceof Error ? error.message : String(error)}\n`);
  return 1;
}
