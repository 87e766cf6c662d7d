import { openReader } from '../registry/reader.ts';
import { loadSettings } from '../settings.ts';
import { fail } from './fail.ts';

/** `mc-gitops snapshot FILE`: a consistent copy of the registry, also while the agent runs. */
export function runSnapshot(file: string, options: { readonly config: string }): void {
  const settings = loadSettings(options.config, process.env);
  if (settings.kind !== 'ok') {
    fail(settings, 2);
    return;
  }
  const reader = openReader(settings.value.database.path);
  if (reader.kind !== 'ok') {
    fail(reader);
    return;
  }
  const written = reader.value.snapshot(file);
  reader.value.close();
  if (written.kind === 'ok') process.stdout.write(`${file}\n`);
  else fail(written);
}
