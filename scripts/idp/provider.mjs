// The identity provider of the demo and the tests: the OpenID-certified `oidc-provider`, with three people and the
// device flow. Everything a proxy sees of it is standard; only /control/ (see control.mjs) is ours.
//
//   node provider.mjs [--port N]        prints {"issuer": …} on one line when it takes connections

import { createServer } from 'node:http';
import { generateKeyPair, randomBytes, webcrypto } from 'node:crypto';
import { promisify } from 'node:util';

// The library's advice to operators goes where logs go; stdout has the one line that says we are ready.
console.info = console.error;
console.warn = console.error;

// Debian 12 has Node.js 18, which lacks two things that the library uses.
globalThis.crypto ??= webcrypto;
URL.parse ??= (text, base) => (URL.canParse(text, base) ? new URL(text, base) : null);

const { Provider } = await import('oidc-provider');
const { findAccount, byLogin } = await import('./people.mjs');
const { Store } = await import('./store.mjs');
const { control, Refusal } = await import('./control.mjs');
const pages = await import('./pages.mjs');

const DEVICE_GRANT = 'urn:ietf:params:oauth:grant-type:device_code';
const POLL_SECONDS = 1;
const BODY_BYTES_MAX = 64 * 1024;

const cookieKey = randomBytes(32).toString('base64url');
const lifetime = { deviceCode: 600 };
const requests = new Map();
let current;

async function signingKeys() {
  const make = promisify(generateKeyPair);
  const pairs = await Promise.all([make('rsa', { modulusLength: 2048 }), make('ec', { namedCurve: 'P-256' })]);
  return pairs.map(({ privateKey }, place) => ({
    ...privateKey.export({ format: 'jwk' }),
    use: 'sig',
    alg: place === 0 ? 'RS256' : 'ES256',
    kid: randomBytes(8).toString('hex'),
  }));
}

const client = (id, alg) => ({
  client_id: id,
  client_name: 'Safe Boundary',
  application_type: 'native',
  token_endpoint_auth_method: 'none',
  grant_types: [DEVICE_GRANT, 'refresh_token'],
  response_types: [],
  redirect_uris: [],
  id_token_signed_response_alg: alg,
});

async function provider(issuer) {
  const made = new Provider(issuer, {
    adapter: Store,
    clients: [client('safe-boundary', 'RS256'), client('safe-boundary-es256', 'ES256')],
    jwks: { keys: await signingKeys() },
    findAccount,
    scopes: ['openid', 'offline_access'],
    claims: { openid: ['sub'], email: ['email', 'email_verified'], profile: ['name', 'preferred_username'], groups: ['groups'] },
    conformIdTokenClaims: false,
    issueRefreshToken: (_ctx, asking, code) => asking.grantTypeAllowed('refresh_token') && code.scopes.has('offline_access'),
    rotateRefreshToken: true,
    cookies: { keys: [cookieKey] },
    interactions: { url: (_ctx, interaction) => `/sign-in/${interaction.uid}` },
    ttl: {
      AccessToken: 600, IdToken: 600, DeviceCode: () => lifetime.deviceCode,
      Grant: 86_400, Interaction: 600, RefreshToken: 86_400, Session: 600,
    },
    features: {
      devInteractions: { enabled: false },
      introspection: { enabled: true },
      revocation: { enabled: true },
      userinfo: { enabled: true },
      deviceFlow: {
        enabled: true,
        userCodeInputSource: (ctx, form, _out, error) => { ctx.body = pages.enterCode(form, Boolean(error)); },
        userCodeConfirmSource: (ctx, form, _client, _device, userCode) => { ctx.body = pages.confirmCode(form, userCode); },
        successSource: (ctx) => { ctx.body = pages.done(); },
      },
    },
    renderError: (ctx, out) => { ctx.type = 'html'; ctx.body = pages.page('That did not work', `<p>${out.error}</p>`); },
  });
  // The library leaves `interval` to its default of five seconds (RFC 8628 §3.2); a demo need not be that patient.
  made.use(async (ctx, next) => {
    await next();
    if (ctx.path === '/device/auth' && ctx.body?.device_code) ctx.body.interval = POLL_SECONDS;
  });
  made.on('server_error', (_ctx, error) => console.error(error));
  return { made, handle: made.callback() };
}

async function signInPage(request, response, url) {
  const { prompt, params, session, grantId } = await current.made.interactionDetails(request, response);
  if (request.method === 'GET') {
    response.setHeader('content-type', 'text/html; charset=utf-8');
    return response.end(prompt.name === 'login' ? pages.signIn(url.pathname)
      : pages.consent(url.pathname, params.client_id, params.scope));
  }
  const form = new URLSearchParams(await bodyOf(request));
  const finish = (result) => current.made.interactionFinished(request, response, result, { mergeWithLastSubmission: false });
  if (form.get('refuse')) return finish({ error: 'access_denied', error_description: 'the person refused' });
  if (prompt.name === 'login') {
    const person = byLogin(form.get('login') ?? '');
    if (!person || person.disabled) return finish({ error: 'access_denied', error_description: 'nobody of that name may sign in' });
    return finish({ login: { accountId: person.sub } });
  }
  const { Grant } = current.made;
  const grant = grantId ? await Grant.find(grantId) : new Grant({ accountId: session.accountId, clientId: params.client_id });
  grant.addOIDCScope(params.scope);
  return finish({ consent: { grantId: await grant.save() } });
}

async function bodyOf(request) {
  const parts = [];
  let length = 0;
  for await (const part of request) {
    length += part.length;
    if (length > BODY_BYTES_MAX) throw new Refusal('the body is too long');
    parts.push(part);
  }
  return Buffer.concat(parts).toString();
}

async function answerControl(request, response, url) {
  const body = request.method === 'POST' ? JSON.parse(await bodyOf(request) || '{}') : {};
  const rotateKeys = async () => { current = await provider(issuer); };
  const answer = await control(url.pathname, body, { issuer, requests, lifetime, rotateKeys });
  response.setHeader('content-type', 'application/json');
  response.end(JSON.stringify(answer));
}

const server = createServer(async (request, response) => {
  const url = new URL(request.url, issuer);
  try {
    if (url.pathname.startsWith('/control/')) return await answerControl(request, response, url);
    const path = url.pathname.replace(/^\/(sign-in|device)\/[\w-]{30,}$/, '/$1/ID');
    requests.set(path, (requests.get(path) ?? 0) + 1);
    if (url.pathname.startsWith('/sign-in/')) return await signInPage(request, response, url);
    return await current.handle(request, response);
  } catch (error) {
    if (!(error instanceof Refusal)) console.error(error);
    response.statusCode = 400;
    return response.end(JSON.stringify({ error: error.message }));
  }
});

const wanted = process.argv.indexOf('--port');
const port = wanted > 0 ? Number(process.argv[wanted + 1]) : 0;
await new Promise((resolve, reject) => server.once('error', reject).listen(port, '127.0.0.1', resolve));
const issuer = `http://127.0.0.1:${server.address().port}`;
current = await provider(issuer);
console.log(JSON.stringify({ issuer }));
