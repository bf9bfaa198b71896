// What the clients for Node.js share: where to connect, the values, and how they tell what they saw.
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'

export const address = {
  host: process.env.SB_HOST ?? 'localhost',
  port: Number(process.env.SB_PORT),
  database: process.env.SB_DATABASE ?? 'payments',
}
export const login = process.env.SB_LOGIN
export const program = process.env.SB_PROGRAM
// Clients run side by side in one database: each listens to its own name.
export const channel = program ?? 'news'
export const large = Number(process.env.SB_LARGE ?? 1 << 20)
// The host's name and the chain are verified: that is what Node.js does unless it is told not to.
export const tls = { ca: readFileSync(process.env.SB_CA) }

/** Bound to `select $1::TYPE`. */
export const values = {
  bool: true,
  int2: -32768,
  int4: 2147483647,
  int8: '-9223372036854775808',
  float4: 1.5,
  float8: 0.1,
  numeric: '12345678901234567890.123456789',
  text: "Grüße,\n\t'世界' \\ \"$1\"",
  varchar: 'a varchar',
  bytea: Buffer.from('00ff5c27', 'hex'),
  date: '2026-02-28',
  time: '23:59:59.123456',
  timetz: '12:34:56+02',
  timestamp: '2026-02-28 23:59:59.123456',
  timestamptz: '2026-02-28 23:59:59.123456+00',
  interval: '3 days 04:05:06',
  uuid: '0190f5a5-7e5b-7c3d-8f2e-0123456789ab',
  json: ['x'],
  jsonb: { a: [1, null, 'x'] },
  'int4[]': [1, null, -3],
  'text[]': ['a', 'b c', null, 'd"e'],
  inet: '192.0.2.1/32',
  null: null,
}

/** The types that JavaScript has no value for without losing digits: a driver is told to leave them as text. */
export const temporal = { date: 1082, time: 1083, timetz: 1266, timestamp: 1114, timestamptz: 1184, interval: 1186 }

/** Does not return before the server has said this, and then sleeps. */
export const slow = "do $$ begin raise notice 'begun'; perform pg_sleep(60); end $$"

export const rows = Array.from({ length: 1000 }, (_, at) => `${at + 1}\trow ${at + 1}\\tof 1000\n`).join('')

export const md5 = (bytes) => createHash('md5').update(bytes).digest('hex')

/** A large object's bytes. */
export const megabyte = Buffer.from(Uint8Array.from({ length: 1 << 20 }, (_, at) => at % 251))

/** Runs all checks and prints what they saw, or the refusal; `isRefusal` tells an answer of the server from a bug. */
export async function tell(connect, checks) {
  const saw = {}
  let close
  try {
    const db = await connect()
    close = db.close
    for (const [name, check] of Object.entries(checks)) {
      const value = await check(db)
      if (value !== undefined) saw[name] = value
    }
  } catch (error) {
    if (close) throw error
    saw.refused = error.message
    if (error.code) saw.sqlstate = error.code
  }
  await close?.()
  console.log(JSON.stringify(saw))
}

/** The SQLSTATE that a promise fails with. */
export const failure = (promise) => promise.then(() => null, (error) => error.code)
