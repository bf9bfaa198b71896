// What tests and the demo may ask of this provider beyond OpenID Connect; loopback only, no production provider has it.
//
//   POST /control/approve   {"login", "url" | "code", "deny"}   walks the sign-in pages as that person
//   GET  /control/state     {"pending": [codes], "polls": {code: count}, "requests": {path: count}}
//   POST /control/code      {"seen": [codes]}                   waits for a code to be made that is not one of these
//   POST /control/person    {"login", "disabled", "groups"}     takes effect at the next sign-in or refresh
//   POST /control/keys      {}                                  new signing keys, the old ones are gone
//   POST /control/lifetime  {"device_code": seconds}            of codes made from now on

import { approve } from './approve.mjs';
import { byLogin } from './people.mjs';
import { nextUserCode, pendingUserCodes, pollsByCode } from './store.mjs';

const CODE_WAIT_MS = 30_000;

export class Refusal extends Error {}

const must = (condition, text) => {
  if (!condition) throw new Refusal(text);
};

export async function control(path, body, provider) {
  switch (path) {
    case '/control/state':
      return { pending: pendingUserCodes(), polls: pollsByCode(), requests: Object.fromEntries(provider.requests) };
    case '/control/code':
      return { code: await nextUserCode(body.seen ?? [], CODE_WAIT_MS) };
    case '/control/approve': {
      must(byLogin(body.login ?? ''), `nobody is called ${body.login}`);
      must(body.url || body.code, 'url or code is needed');
      const url = body.url ?? `${provider.issuer}/device?user_code=${encodeURIComponent(body.code)}`;
      return { page: await approve(url, body.login, { deny: body.deny === true }) };
    }
    case '/control/person': {
      const person = byLogin(body.login ?? '');
      must(person, `nobody is called ${body.login}`);
      if (body.disabled !== undefined) person.disabled = body.disabled;
      if (body.groups !== undefined) person.groups = body.groups;
      return person;
    }
    case '/control/keys':
      await provider.rotateKeys();
      return {};
    case '/control/lifetime':
      must(Number.isInteger(body.device_code) && body.device_code > 0, 'device_code must be a number of seconds');
      provider.lifetime.deviceCode = body.device_code;
      return {};
    default:
      throw new Refusal(`there is no ${path}`);
  }
}
