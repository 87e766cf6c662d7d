import { retry, type Failure } from '../base/outcome.ts';
import type { Node } from '../node/node.ts';
import type { NodeWriter } from './types.ts';

/** The writing half of the node for one pass. While the engine does not answer, what needs it is a `retry`. */
export async function writerOf(node: Node): Promise<NodeWriter> {
  const engine = await node.engine();
  const images = node.images();
  const { builder, proxy, certificates, dns } = node;
  if (engine.kind === 'ok' && images !== undefined)
    return { engine: engine.value, images, builder, proxy, certificates, dns };
  const down: Failure = engine.kind === 'ok' ? retry('the container engine was only just found') : engine;
  const fail = (): Promise<Failure> => Promise.resolve(down);
  return {
    engine: {
      createNetwork: fail,
      removeNetwork: fail,
      create: fail,
      start: fail,
      rename: fail,
      retire: fail,
      takeOver: fail,
      giveBack: fail,
      stop: fail,
      remove: fail,
      logs: fail,
    },
    images: {
      startPull: () => down,
      startBuild: () => down,
      startPush: () => down,
      cancel: () => down,
      remove: fail,
    },
    builder,
    proxy,
    certificates,
    dns,
  };
}
