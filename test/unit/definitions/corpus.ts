import { ROUTE, TEXT, type Case } from './corpus.kit.ts';
import { serviceText } from './support.ts';
import { COMPONENTS } from './corpus-components.ts';
import { FILES } from './corpus-files.ts';

export const CORPUS: readonly Case[] = [
  ...FILES,
  ...COMPONENTS,
  ...['A', 'a.b', 'a_b', '-a', 'a-', 'x'.repeat(64), 'a b', '../a', '\u0430', ''].map((name): Case => ({
    title: `service name ${JSON.stringify(name).slice(0, 20)}`,
    files: { [`services/${name}.toml`]: TEXT.replace('name = "a"', `name = ${JSON.stringify(name)}`) },
    expect: 'service/name',
  })),
  {
    title: "a name that is not the file's",
    files: { 'services/b.toml': TEXT },
    expect: 'service/file-name',
  },
  {
    title: 'two files with one name',
    files: { 'services/x/a.toml': TEXT, 'services/y/a.toml': TEXT },
    expect: 'service/duplicate',
  },
  {
    title: 'files that differ in case only',
    files: { 'services/a.toml': TEXT, 'services/A.toml': TEXT },
    expect: 'service/file-name',
  },
  {
    title: 'a container name made of other parts',
    files: {
      'services/a.toml': `${TEXT}[[components]]\nname = "b"\nimage = "a:1.0.0"\n`,
      'services/a-b.toml': serviceText('a-b'),
    },
    expect: 'component/container-duplicate',
  },
  {
    title: 'a host name of another service',
    files: {
      'services/a.toml': serviceText('a', ROUTE),
      'services/b.toml': serviceText('b', `${ROUTE}hostname = "a.svc.mcp.metacircular.net"`),
    },
    expect: 'route/duplicate',
  },
  ...[
    ['a symbolic link', 'services/a.toml'],
    ['a submodule', 'services/sub'],
    ['a folder that is a link', 'services'],
    ['a name with a newline', 'services/a\nb.toml'],
    ['a .git folder', 'services/.git/config'],
  ].map(([why = '', path = '']): Case => ({
    title: why,
    files: {},
    refused: [{ path, why }],
    expect: 'file/refused',
  })),
  { title: 'a node file with a bad name', files: { 'nodes/..toml': '' }, expect: 'node/file-name' },
  {
    title: 'a node file that widens the domains',
    files: { 'nodes/rift.toml': 'hostname_suffix = "evil.org"' },
    expect: 'route/domain',
  },
  {
    title: 'a node file with a wildcard',
    files: { 'nodes/rift.toml': 'hostname_suffix = "*"' },
    expect: 'route/hostname',
  },
  {
    title: "a node file that takes the host's network",
    files: { 'nodes/rift.toml': '[defaults]\nnetwork = "host"' },
    expect: 'network/name',
  },
  {
    title: 'a node file with a policy',
    files: { 'nodes/rift.toml': '[policy]\nmounts = ["/"]' },
    expect: 'key/unknown',
  },
  {
    title: 'removals that are no names',
    files: { 'removals.toml': 'services = ["*"]' },
    expect: 'removals/name',
  },
  {
    title: 'an unknown key of the removals',
    files: { 'removals.toml': 'all = true' },
    expect: 'key/unknown',
  },
];
