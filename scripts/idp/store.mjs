// Where the provider keeps codes, sessions and grants: in memory, shared by all of its incarnations (a key rotation
// makes a new one). Unlike the provider's own memory store it can be asked which device codes are waiting.

const rows = new Map();

// How often each user code was asked for at the token endpoint, and who waits for a code to be made.
const polls = new Map();
const waiting = new Set();

const keyOf = (model, id) => `${model}:${id}`;
const alive = (row) => row && (row.until === undefined || row.until > Date.now());

function first(model, matches) {
  for (const [key, row] of rows) {
    if (!alive(row)) rows.delete(key);
    else if (key.startsWith(`${model}:`) && matches(row.payload)) return row.payload;
  }
  return undefined;
}

export class Store {
  constructor(model) {
    this.model = model;
  }

  async upsert(id, payload, expiresIn) {
    rows.set(keyOf(this.model, id), { payload, until: expiresIn ? Date.now() + expiresIn * 1000 : undefined });
    if (this.model === 'DeviceCode') for (const look of [...waiting]) look();
  }

  async find(id) {
    const row = rows.get(keyOf(this.model, id));
    if (!alive(row)) return undefined;
    if (this.model === 'DeviceCode') polls.set(row.payload.userCode, (polls.get(row.payload.userCode) ?? 0) + 1);
    return row.payload;
  }

  async findByUserCode(userCode) {
    return first(this.model, (payload) => payload.userCode === userCode);
  }

  async findByUid(uid) {
    return first(this.model, (payload) => payload.uid === uid);
  }

  async consume(id) {
    const payload = await this.find(id);
    if (payload) payload.consumed = Math.floor(Date.now() / 1000);
  }

  async destroy(id) {
    rows.delete(keyOf(this.model, id));
  }

  async revokeByGrantId(grantId) {
    for (const [key, row] of rows) if (row.payload.grantId === grantId) rows.delete(key);
  }
}

export const pollsByCode = () => Object.fromEntries(polls);

// The first pending code that is not among `seen`, as soon as there is one.
export function nextUserCode(seen, milliseconds) {
  return new Promise((resolve, reject) => {
    const look = () => {
      const code = pendingUserCodes().find((one) => !seen.includes(one));
      if (code) end(() => resolve(code));
    };
    const timer = setTimeout(() => end(() => reject(new Error('no code was made'))), milliseconds);
    const end = (settle) => {
      clearTimeout(timer);
      waiting.delete(look);
      settle();
    };
    waiting.add(look);
    look();
  });
}

// The user codes that were made and neither approved nor refused yet, oldest first.
export function pendingUserCodes() {
  return [...rows]
    .filter(([key, row]) => key.startsWith('DeviceCode:') && alive(row))
    .map(([, row]) => row.payload)
    .filter((payload) => !payload.accountId && !payload.error && !payload.consumed)
    .map((payload) => payload.userCode);
}
