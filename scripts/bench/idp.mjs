// An identity provider for measuring: whoever asks for a device code has signed in before the first poll, always as the
// same person. It is as quick as can be, so that what is measured is the proxy. Only ./bench uses it.
//
//   node idp.mjs        prints {"issuer": …} on one line when it takes connections

import { createServer } from 'node:http';
import { createSign, generateKeyPairSync, randomBytes } from 'node:crypto';

const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
const key = { ...publicKey.export({ format: 'jwk' }), use: 'sig', alg: 'RS256', kid: 'bench' };
const encode = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');

// One token serves many: signing is the slow part, and the proxy checks each as if it were new.
const TOKEN_REUSE_S = 60;
let signed = { at: -TOKEN_REUSE_S };

function idToken(issuer) {
  const now = Math.floor(Date.now() / 1000);
  if (now - signed.at < TOKEN_REUSE_S) return signed.token;
  const claims = {
    iss: issuer, aud: 'safe-boundary', sub: 'bench-alice', iat: now, exp: now + 600,
    email: 'alice@example.com', email_verified: true, groups: ['engineering'],
  };
  const body = `${encode({ alg: key.alg, kid: key.kid, typ: 'JWT' })}.${encode(claims)}`;
  signed = { at: now, token: `${body}.${createSign('sha256').update(body).sign(privateKey, 'base64url')}` };
  return signed.token;
}

function answer(path, issuer) {
  switch (path) {
    case '/.well-known/openid-configuration':
      return {
        issuer, jwks_uri: `${issuer}/keys`, token_endpoint: `${issuer}/token`,
        device_authorization_endpoint: `${issuer}/device`, token_endpoint_auth_methods_supported: ['none'],
        id_token_signing_alg_values_supported: ['RS256'], response_types_supported: ['none'], subject_types_supported: ['public'],
      };
    case '/keys':
      return { keys: [key] };
    case '/device': {
      const code = randomBytes(16).toString('hex');
      return { device_code: code, user_code: code.slice(0, 8), verification_uri: `${issuer}/page`, expires_in: 600, interval: 1 };
    }
    case '/token':
      return { token_type: 'Bearer', access_token: randomBytes(16).toString('hex'), expires_in: 600, id_token: idToken(issuer) };
    default:
      return undefined;
  }
}

const server = createServer((request, response) => {
  const issuer = `http://127.0.0.1:${server.address().port}`;
  request.resume().on('end', () => {
    const found = answer(request.url, issuer);
    response.writeHead(found ? 200 : 404, { 'content-type': 'application/json' }).end(JSON.stringify(found ?? {}));
  });
});
server.keepAliveTimeout = 60_000;
server.listen(0, '127.0.0.1', 4096, () => console.log(JSON.stringify({ issuer: `http://127.0.0.1:${server.address().port}` })));
