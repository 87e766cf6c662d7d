import { messageOf, type Outcome } from '../base/outcome.ts';
import type { Engine } from '../node/engine/engine.ts';
import type { Site } from './site.ts';
import type { Say } from './story.ts';

/** Removes all that the demo made: processes, containers, networks, images, files. Only what carries its own instance name. */
export async function clearSite(site: Site, engine: Engine, say: Say): Promise<void> {
  await site.stop();
  const facts = await engine.facts();
  const mine =
    facts.kind === 'ok' ? facts.value.containers.filter((c) => c.identity?.owner === site.owner) : [];
  const networks =
    facts.kind === 'ok' ? facts.value.networks.filter((name) => name.startsWith(`mcg-${site.instance}`)) : [];
  const failures: string[] = [];
  const expect = (outcome: Outcome<unknown>): void => {
    if (outcome.kind !== 'ok') failures.push(outcome.why);
  };
  for (const container of mine) expect(await engine.remove(container.id, 1));
  for (const network of networks) expect(await engine.removeNetwork(network));
  const images = await imagesOf(engine, `${site.images}/`);
  for (const image of images) expect(await engine.removeImage(image));
  if (failures.length > 0) {
    process.exitCode = 1;
    say(`not everything could be removed: ${failures.join('; ')}`);
  } else {
    say(
      `removed ${mine.length} containers, ${networks.length} networks, ${images.length} images, and the files`,
    );
  }
}

async function imagesOf(engine: Engine, prefix: string): Promise<string[]> {
  try {
    const listed = await engine.listImages(prefix);
    return listed.kind === 'ok' ? listed.value : [];
  } catch (error) {
    throw new Error(`the images of the demo could not be listed: ${messageOf(error)}`, { cause: error });
  }
}
