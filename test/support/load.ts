import { Agent } from 'node:https';
import { ask, type Target } from './tlsclient.ts';

const KEPT = 14;
const OWN = 2;

/** Requests as fast as they are answered, on kept connections and on some of their own. */
export interface Load {
  asked(): number;
  /** A second, since it began. */
  rate(): number;
  /** Ends it; how often each answer came, a status or an error by its words. */
  end(): Promise<Readonly<Record<string, number>>>;
}

/** 14 ways on kept connections, which cost little, and 2 with a connection and a handshake for each request. */
export function startLoad(target: Target): Load {
  const agent = new Agent({ keepAlive: true, maxSockets: KEPT });
  const answers: Record<string, number> = {};
  const begun = performance.now();
  let asked = 0;
  let over = false;
  const worker = async (index: number): Promise<void> => {
    while (!over) {
      asked += 1;
      const call = ask(target, index < OWN ? {} : { agent });
      const what = await call.then(({ status, body }) => (status === 200 ? body : String(status)), String);
      answers[what] = (answers[what] ?? 0) + 1;
    }
  };
  const workers = Array.from({ length: KEPT + OWN }, (_, index) => worker(index));
  return {
    asked: () => asked,
    rate: () => (asked * 1_000) / (performance.now() - begun),
    end: async () => {
      over = true;
      await Promise.all(workers);
      agent.destroy();
      return answers;
    },
  };
}
