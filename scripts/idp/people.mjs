// The people of the demo company. `sub` is the provider's own stable id: the proxy keys a person by it, never by e-mail.

const people = new Map(
  [
    { sub: '00u-alice', email: 'alice@example.com', name: 'Alice', groups: ['engineering', 'on-call'] },
    { sub: '00u-bob', email: 'bob@example.com', name: 'Bob', groups: ['engineering'] },
    { sub: '00u-mallory', email: 'mallory@example.com', name: 'Mallory', groups: [] },
  ].map((person) => [person.sub, { ...person, disabled: false }]),
);

export const everyone = () => [...people.values()];

export const byLogin = (login) => everyone().find((person) => person.email === login.trim().toLowerCase());

// What oidc-provider asks at each sign-in and each refresh: a disabled person is nobody.
export function findAccount(_ctx, sub) {
  const person = people.get(sub);
  if (!person || person.disabled) return undefined;
  return {
    accountId: sub,
    claims: () => ({
      sub,
      email: person.email,
      email_verified: true,
      name: person.name,
      preferred_username: person.email,
      groups: person.groups,
    }),
  };
}
