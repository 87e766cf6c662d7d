import protobuf from 'protobufjs/minimal.js';
import { LONGEST_LINE, type OnProgress } from './progress.ts';

/** Reads what BuildKit tells of a build. */
export interface Trace {
  /** One report, as it stands in the stream (base64). What cannot be read is passed over: progress decides nothing. */
  take(report: string): void;
}

interface Vertex {
  readonly digest: string;
  readonly name: string;
  readonly cached: boolean;
  readonly started: boolean;
  readonly completed: boolean;
}

interface Known {
  readonly number: number;
  readonly stage: string | undefined;
  readonly of: number;
  begun: boolean;
  ended: boolean;
  /** The end of its output, as long as the line is not complete. */
  rest: string;
}

/**
 * `StatusResponse` of BuildKit's control API (moby/buildkit, api/services/control/control.proto): steps as `#3 [build 2/4] RUN …`
 * when they begin, their output line by line, `#3 CACHED` for what was remembered. Stages are built at once: the count of
 * steps is that of all stages together.
 */
export function openTrace(onProgress: OnProgress): Trace {
  const known = new Map<string, Known>();
  const stepNow = (): { at: number; of: number } | undefined => {
    const counted = [...known.values()].filter(({ of }) => of > 0);
    const stages = new Map(counted.map(({ stage, of }) => [stage, of]));
    const of = [...stages.values()].reduce((sum, n) => sum + n, 0);
    return of === 0 ? undefined : { at: Math.min(of, counted.filter(({ begun }) => begun).length), of };
  };
  const meet = ({ digest, name }: Vertex): Known => {
    const before = known.get(digest);
    if (before !== undefined) return before;
    const [, stage, n] = /^\[([^\]]*?) ?\d+\/(\d+)\] /.exec(name) ?? [];
    const fresh = {
      ...{ number: known.size + 1, stage, of: Number(n ?? 0) },
      ...{ begun: false, ended: false, rest: '' },
    };
    known.set(digest, fresh);
    return fresh;
  };
  const see = (vertex: Vertex): void => {
    const one = meet(vertex);
    if (vertex.started && !one.begun) {
      one.begun = true;
      onProgress(`#${one.number} ${vertex.name}`.slice(0, LONGEST_LINE), stepNow());
    }
    if (!vertex.completed || one.ended) return;
    one.ended = true;
    if (one.rest !== '') onProgress(one.rest, stepNow());
    if (vertex.cached) onProgress(`#${one.number} CACHED`, stepNow());
  };
  const print = (digest: string, text: string): void => {
    const one = known.get(digest);
    const lines = `${one?.rest ?? ''}${text}`.split('\n');
    const rest = lines.pop() ?? '';
    for (const line of lines) if (line.trim() !== '') onProgress(line.trimEnd(), stepNow());
    if (one !== undefined) one.rest = rest.slice(-LONGEST_LINE);
  };
  return {
    take: (report) => {
      try {
        const { vertexes, logs } = readReport(Buffer.from(report, 'base64'));
        for (const vertex of vertexes) meet(vertex);
        for (const vertex of vertexes.filter(({ completed }) => !completed)) see(vertex);
        for (const vertex of vertexes.filter(({ completed }) => completed))
          see({ ...vertex, completed: false });
        for (const { vertex, text } of logs) print(vertex, text);
        for (const vertex of vertexes) see(vertex);
      } catch {
        // A newer BuildKit may say it otherwise: the build goes on without its progress.
      }
    },
  };
}

interface Output {
  readonly vertex: string;
  readonly text: string;
}

function readReport(bytes: Uint8Array): { vertexes: Vertex[]; logs: Output[] } {
  const vertexes: Vertex[] = [];
  const logs: Output[] = [];
  eachField(bytes, (field, reader) => {
    if (field === 1) vertexes.push(readVertex(reader.bytes()));
    else if (field === 3) logs.push(readOutput(reader.bytes()));
    else return false;
    return true;
  });
  return { vertexes, logs };
}

function readVertex(bytes: Uint8Array): Vertex {
  const vertex = { digest: '', name: '', cached: false, started: false, completed: false };
  eachField(bytes, (field, reader) => {
    if (field === 1) vertex.digest = reader.string();
    else if (field === 3) vertex.name = reader.string();
    else if (field === 4) vertex.cached = reader.bool();
    else if (field === 5) vertex.started = reader.bytes().length >= 0;
    else if (field === 6) vertex.completed = reader.bytes().length >= 0;
    else return false;
    return true;
  });
  return vertex;
}

function readOutput(bytes: Uint8Array): Output {
  const output = { vertex: '', text: '' };
  eachField(bytes, (field, reader) => {
    if (field === 1) output.vertex = reader.string();
    else if (field === 4) output.text = Buffer.from(reader.bytes()).toString('utf8');
    else return false;
    return true;
  });
  return output;
}

/** `read` takes the fields it knows; the others are passed over (protobuf encoding, wire format). */
function eachField(bytes: Uint8Array, read: (field: number, reader: protobuf.Reader) => boolean): void {
  const reader = protobuf.Reader.create(bytes);
  while (reader.pos < reader.len) {
    const tag = reader.uint32();
    if (!read(tag >>> 3, reader)) reader.skipType(tag & 7);
  }
}
