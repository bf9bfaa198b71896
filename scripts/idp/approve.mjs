// Does at the sign-in pages what a person with a browser does: opens the address, confirms the code, says who she is,
// agrees (or refuses). It knows no shortcut: only the pages, their forms and their cookies.
//
//   node approve.mjs URL LOGIN [--deny]        URL: with the code in it, as the prompt shows it

import { pathToFileURL } from 'node:url';

const STEPS_MAX = 20;

// A browser without a screen: keeps cookies, follows redirects, remembers where it is.
class Browser {
  #cookies = new Map();

  async open(url, body) {
    const headers = { cookie: [...this.#cookies].map(([name, value]) => `${name}=${value}`).join('; ') };
    const answer = await fetch(url, { method: body ? 'POST' : 'GET', body, headers, redirect: 'manual' });
    for (const line of answer.headers.getSetCookie()) this.#keep(line);
    const text = await answer.text();
    return { url: String(url), status: answer.status, location: answer.headers.get('location'), text };
  }

  // All cookies of the provider go to one host; their paths only keep parallel sign-ins of one browser apart.
  #keep(line) {
    const [pair, ...attributes] = line.split(';').map((part) => part.trim());
    const [name, value] = [pair.slice(0, pair.indexOf('=')), pair.slice(pair.indexOf('=') + 1)];
    const over = attributes.some((attribute) => /^expires=/i.test(attribute) && new Date(attribute.slice(8)) <= new Date());
    if (over || value === '') this.#cookies.delete(name);
    else this.#cookies.set(name, value);
  }
}

const unescape = (text) => text.replace(/&#(\d+);/g, (_, code) => String.fromCharCode(code)).replace(/&quot;/g, '"').replace(/&amp;/g, '&');

// The first form of a page: where it goes, and its hidden fields.
function formOf(html) {
  const form = /<form\b([^>]*)>([\s\S]*?)<\/form>/i.exec(html);
  if (!form) return undefined;
  const attribute = (tag, name) => unescape(new RegExp(`\\b${name}="([^"]*)"`, 'i').exec(tag)?.[1] ?? '');
  const fields = new URLSearchParams();
  for (const [tag] of form[2].matchAll(/<input\b[^>]*>/gi)) {
    if (attribute(tag, 'type') === 'hidden') fields.set(attribute(tag, 'name'), attribute(tag, 'value'));
  }
  return { action: attribute(form[1], 'action'), fields };
}

export async function approve(url, login, { deny = false } = {}) {
  const browser = new Browser();
  let answer = await browser.open(url);
  let asked = false;
  for (let step = 0; step < STEPS_MAX; step += 1) {
    if (answer.status >= 300 && answer.status < 400) {
      answer = await browser.open(new URL(answer.location, answer.url));
      continue;
    }
    // A refusal leads back to the page that asks for a code; so does a code that nobody knows.
    if (titleOf(answer.text) === 'Enter your code') {
      if (deny && asked) return 'refused';
      throw new Error(asked ? `${login} may not sign in` : 'the provider does not know this code, or its time is over');
    }
    if (answer.status >= 400) throw new Error(`the sign-in page answered ${answer.status}: ${titleOf(answer.text)}`);
    const form = formOf(answer.text);
    if (!form) return titleOf(answer.text);
    asked ||= /name="(login|agree)"/.test(answer.text);
    fill(form.fields, answer.text, login, deny);
    answer = await browser.open(new URL(form.action, answer.url), form.fields);
  }
  throw new Error(`the sign-in did not end after ${STEPS_MAX} pages`);
}

function fill(fields, html, login, deny) {
  if (html.includes('name="login"')) {
    if (deny) fields.set('refuse', 'yes');
    else fields.set('login', login);
  } else if (html.includes('name="agree"')) {
    fields.set(deny ? 'refuse' : 'agree', 'yes');
  }
}

const titleOf = (html) => unescape(/<h1>([^<]*)<\/h1>/.exec(html)?.[1] ?? html.slice(0, 200));

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const [url, login] = process.argv.slice(2).filter((argument) => !argument.startsWith('--'));
  if (!url || !login) {
    console.error('usage: node approve.mjs URL LOGIN [--deny]');
    process.exit(64);
  }
  try {
    console.log(await approve(url, login, { deny: process.argv.includes('--deny') }));
  } catch (error) {
    console.error(`approve: ${error.message}`);
    process.exit(1);
  }
}
