import { expect } from 'chai';
import { headerObject, hostOf, requestHeaders, responseHeaders } from '../../../src/mc-proxy/headers.ts';

const FORWARDED = { clientIp: '192.0.2.1', authority: 'a.example:8443' };
const OURS = {
  host: 'a.example:8443',
  'x-forwarded-for': '192.0.2.1',
  'x-forwarded-proto': 'https',
  'x-forwarded-host': 'a.example:8443',
  'x-real-ip': '192.0.2.1',
};

describe('headers through the router', () => {
  it('replaces every claim about the client by what the router saw itself', () => {
    const forged = [
      ...[
        'X-Forwarded-For',
        '6.6.6.6',
        'x-forwarded-proto',
        'http',
        'X-FORWARDED-HOST',
        'evil',
        'X-Real-Ip',
        '6.6.6.6',
      ],
      ...[
        'Forwarded',
        'for=6.6.6.6',
        'X-Forwarded-Port',
        '1',
        'X-Forwarded-User',
        'root',
        'X_Forwarded_For',
        '6.6.6.6',
      ],
    ];
    expect(headerObject(requestHeaders(forged, FORWARDED))).to.deep.equal(OURS);
  });

  it('cannot be told by `Connection` to drop what the router says', () => {
    const sent = [
      'Connection',
      'X-Forwarded-For, X-Real-IP, Host, close, X-Secret',
      'X-Secret',
      '1',
      'Host',
      'other',
    ];
    expect(headerObject(requestHeaders(sent, FORWARDED))).to.deep.equal(OURS);
  });

  it('drops what is about one connection only, and the framing', () => {
    const sent = [
      'TE',
      'gzip',
      'Upgrade',
      'h2c',
      'Transfer-Encoding',
      'chunked',
      'Content-Length',
      '3',
      'Keep-Alive',
      '1',
    ];
    expect(headerObject(requestHeaders([...sent, 'Expect', '100-continue'], FORWARDED))).to.deep.equal(OURS);
  });

  it('keeps order, case and repetitions of everything else', () => {
    const out = requestHeaders(['B-b', '1', 'a-A', '2', 'B-b', '3'], FORWARDED);
    expect(out.slice(2, 8)).to.deep.equal(['B-b', '1', 'a-A', '2', 'B-b', '3']);
    const answer = [
      'Set-Cookie',
      'a=1',
      'Connection',
      'close, X-Hop',
      'X-Hop',
      '1',
      'Set-Cookie',
      'b=2',
      'Trailer',
      'X',
    ];
    expect(responseHeaders(answer)).to.deep.equal(['Set-Cookie', 'a=1', 'Set-Cookie', 'b=2', 'Trailer', 'X']);
  });

  it('finds the host of an authority', () => {
    expect(hostOf('A.Example:8443')).to.equal('a.example');
    expect(hostOf('a.example')).to.equal('a.example');
    expect(hostOf('[::1]:443')).to.equal('[::1]');
  });
});
