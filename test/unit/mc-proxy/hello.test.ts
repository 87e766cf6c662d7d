import { expect } from 'chai';
import fc from 'fast-check';
import { messageIn } from '../../../src/mc-proxy/hello.ts';

const MAX = 16_384;

/** A handshake message of `body` bytes, cut into records at the given sizes. */
function records(message: Buffer, sizes: readonly number[]): Buffer {
  const out: Buffer[] = [];
  let at = 0;
  for (let index = 0; at < message.length; index += 1) {
    const part = message.subarray(at, at + (sizes[index % sizes.length] ?? 1));
    out.push(Buffer.from([22, 3, 1, part.length >> 8, part.length & 255]), part);
    at += part.length;
  }
  return Buffer.concat(out);
}

function hello(body: Uint8Array): Buffer {
  return Buffer.concat([
    Buffer.from([1, body.length >> 16, (body.length >> 8) & 255, body.length & 255]),
    body,
  ]);
}

describe('ClientHello', () => {
  it('is found whole, however it is cut into records and packets, and never before its last byte', () => {
    const body = fc.uint8Array({ minLength: 40, maxLength: 600 });
    const sizes = fc.array(fc.integer({ min: 7, max: 700 }), { minLength: 1, maxLength: 5 });
    fc.assert(
      fc.property(body, sizes, fc.nat(), (drawn, cuts, where) => {
        const message = hello(drawn);
        const bytes = records(message, cuts);
        expect(messageIn(bytes, MAX)).to.deep.equal(message);
        expect(messageIn(bytes.subarray(0, where % bytes.length), MAX)).to.equal('more');
      }),
    );
  });

  it('is given up at once when it can never become one', () => {
    expect(messageIn(Buffer.from('GET / HTTP/1.1\r\n'), MAX)).to.equal(undefined);
    expect(messageIn(Buffer.from([22, 3, 1, 0, 4, 2]), MAX), 'a ServerHello').to.equal(undefined);
    expect(messageIn(Buffer.from([22, 3, 1, 0, 0]), MAX), 'an empty record').to.equal(undefined);
    expect(messageIn(Buffer.from([22, 3, 1, 0, 4, 1, 0xff, 0xff, 0xff]), MAX), 'too long').to.equal(
      undefined,
    );
  });

  it('never throws, whatever comes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 64 }), (bytes) => {
        messageIn(Buffer.from(bytes), MAX);
        messageIn(Buffer.concat([Buffer.from([22, 3, 1]), bytes]), MAX);
      }),
      { numRuns: 2_000 },
    );
  });
});
