// The pages a person sees: who are you, do you agree, done. There is no password: this provider is a demo, and says so.

import { everyone } from './people.mjs';

const escape = (text) => String(text).replace(/[&<>"']/g, (char) => `&#${char.charCodeAt(0)};`);

export const page = (title, body) => `<!doctype html>
<html lang="en">
<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>${escape(title)}</title>
<style>
  body { font: 1rem/1.5 system-ui, sans-serif; max-width: 26rem; margin: 4rem auto; padding: 0 1rem; color: #1c2430 }
  button, input { font: inherit; padding: .5rem .8rem; margin: .2rem 0; border: 1px solid #9aa5b4; border-radius: .4rem }
  button { background: #1d5bbf; color: #fff; cursor: pointer } button.quiet { background: #fff; color: #1c2430 }
  button.person { display: block; width: 100%; text-align: left; background: #fff; color: #1c2430 }
  small { color: #5c6878 }
</style>
<h1>${escape(title)}</h1>
${body}
<p><small>This is the sign-in page of a demo: it asks for a name and no password. Real companies use their own.</small></p>
</html>`;

export const signIn = (action) => page('Who are you?', `
<form method="post" action="${escape(action)}">
${everyone().map((person) => `<button class="person" name="login" value="${escape(person.email)}">${escape(person.name)}
  <small>${escape(person.email)}; groups: ${escape(person.groups.join(', ') || 'none')}</small></button>`).join('\n')}
<button class="quiet" name="refuse" value="yes">Cancel</button>
</form>`);

export const consent = (action, client, scopes) => page('Do you agree?', `
<p><b>${escape(client)}</b> wants to know: ${escape(scopes)}.</p>
<form method="post" action="${escape(action)}">
<button name="agree" value="yes">Agree</button> <button class="quiet" name="refuse" value="yes">Refuse</button>
</form>`);

// The two device pages: the forms come from the provider, with its own hidden fields.
export const enterCode = (form, wrong) => page('Enter your code', `
${wrong ? '<p>That code is not known, or its time is over.</p>' : '<p>Enter the code that your terminal shows.</p>'}
${form}<button type="submit" form="op.deviceInputForm">Continue</button>`);

export const confirmCode = (form, userCode) => page('Is this your code?', `
<p>Your terminal must show <b>${escape(userCode)}</b>. If it shows another one, or none, somebody else wants to use your name.</p>
${form}<button type="submit" autofocus form="op.deviceConfirmForm">It is mine</button>
<button type="submit" class="quiet" form="op.deviceConfirmForm" name="abort" value="yes">It is not</button>`);

export const done = () => page('You are signed in', '<p>Go back to your terminal: it has gone on already.</p>');
