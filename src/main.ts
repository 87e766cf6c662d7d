#!/usr/bin/env node
import { Argument, Command, InvalidArgumentError, Option } from 'commander';
import { runAgent } from './commands/agent.ts';
import { runDemo } from './commands/demo.ts';
import { runPlan } from './commands/plan.ts';
import { runProxy } from './commands/proxy.ts';
import { runRender } from './commands/render.ts';
import { runSchema } from './commands/schema.ts';
import { runPs, runStatus } from './commands/status.ts';
import { runValidate } from './commands/validate.ts';
import { DEFAULT_SETTINGS_PATH } from './settings.ts';
import { VERSION } from './version.ts';

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
    ).argParser((value: string, before: string[] | undefined) => [...(before ?? []), value]),
  )
  .action(runValidate);
program
  .command('plan')
  .description('what would a node do with these definitions?')
  .argument('[dir]', 'a repository of definitions', '.')
  .requiredOption('--state <file|url>', 'what the agent serves at /api/v1/state')
  .addOption(new Option('--format <format>').choices(['text', 'json', 'markdown']).default('text'))
  .action(runPlan);
program
  .command('render')
  .description('print the engine commands that a definition stands for')
  .argument('<service>')
  .option('--dir <dir>', 'a repository of definitions', '.')
  .addOption(new Option('--engine <engine>').choices(['docker', 'podman']).default('podman'))
  .option('--state <url>', 'address of the agent, for its port leases')
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

try {
  await program.parseAsync();
} catch (error) {
  process.exitCode = exitCodeOf(error);
}

function portNumber(text: string): number {
  const port = Number(text);
  if (!Number.isInteger(port) || port < 0 || port > 65535)
    throw new InvalidArgumentError('must be 0 to 65535.');
  return port;
}

/** 0 good, 1 findings, 2 usage, 3 could not reach the agent. */
function exitCodeOf(error: unknown): number {
  if (error instanceof Error && 'exitCode' in error && typeof error.exitCode === 'number') {
    return error.exitCode === 0 ? 0 : 2;
  }
  process.stderr.write(`mc-gitops: ${error instanceof Error ? error.message : String(error)}\n`);
  return 1;
}
