// What postgres.js does through the proxy; prints one JSON object with what it saw.
import { buffer } from 'node:stream/consumers'
import { pipeline } from 'node:stream/promises'
import { Readable } from 'node:stream'
import postgres from 'postgres'
import { address, channel, failure, large, login, md5, megabyte, program, rows, slow, tell, temporal, tls, values } from './common.mjs'

const asText = (oid) => ({ to: oid, from: [oid], serialize: (text) => text, parse: (text) => text })
const types = Object.fromEntries(Object.entries(temporal).map(([name, oid]) => [name, asText(oid)]))
// The server's notices come here; whoever waits for one puts itself in.
let noticed = () => {}
const settings = {
  ...address,
  user: login,
  ssl: { ...tls, servername: address.host },
  types,
  max: 1,
  connect_timeout: 60,
  onnotice: () => noticed(),
  connection: program === undefined ? {} : { application_name: program },
}

async function connect() {
  const sql = postgres(settings)
  await sql`select 1`
  sql.close = () => sql.end()
  sql.one = async (text, bound = []) => Object.values((await sql.unsafe(text, bound))[0])[0]
  return sql
}

async function simple(sql) {
  await sql`create temporary table two (n int); insert into two values (20), (22)`.simple()
  return Number(await sql.one('select sum(n) from two'))
}

async function prepared(sql) {
  const seen = []
  for (const n of [1, 2, 3]) seen.push((await sql`select ${n}::int * 2 as twice`)[0].twice)
  return seen
}

async function everyType(sql) {
  const seen = {}
  for (const [name, value] of Object.entries(values)) {
    const type = name === 'null' ? 'text' : name
    const read = await sql.one(`select $1::${type}`, [value])
    // A NULL inside an array is read as the text `NULL`, or as no number at all: an array is sent a second time as it was.
    const back = type.endsWith('[]') ? value : read
    seen[name] = await sql.one(`select $1::${type}::text`, [back])
  }
  return seen
}

async function transaction(sql) {
  const failures = []
  await failure(
    sql.begin(async (sql) => {
      failures.push(await failure(sql`select 1 / 0`), await failure(sql`select 1`))
      throw new Error('rolled back')
    }),
  )
  return [...failures, await sql.one("select 'alive'")]
}

async function savepoint(sql) {
  await sql`create temporary table kept (n int)`
  await sql.begin(async (sql) => {
    await sql`insert into kept values (1)`
    const undo = new Error('undone')
    await sql
      .savepoint(async (sql) => {
        await sql`insert into kept values (2)`
        throw undo
      })
      .catch((error) => {
        if (error !== undo) throw error
      })
    await sql`insert into kept values (3)`
  })
  return (await sql`select n from kept order by n`).map((row) => row.n)
}

async function copyText(sql) {
  await sql`create temporary table copied (n int, t text)`
  await pipeline(Readable.from([Buffer.from(rows)]), await sql`copy copied from stdin`.writable())
  const seen = await buffer(await sql`copy (select * from copied order by n) to stdout`.readable())
  return { rows: Number(await sql.one('select count(*) from copied')), md5: md5(seen) }
}

async function copyBinary(sql) {
  await sql`create temporary table copied_binary (n int, t text)`
  const source = await buffer(await sql`copy (select * from copied order by n) to stdout (format binary)`.readable())
  await pipeline(Readable.from([source]), await sql`copy copied_binary from stdin (format binary)`.writable())
  const copied = sql`copy (select * from copied_binary order by n) to stdout (format binary)`
  const seen = await buffer(await copied.readable())
  return { rows: Number(await sql.one('select count(*) from copied_binary')), md5: md5(seen) }
}

/** The library does not tell what the server says to a COPY that is given up; that nothing of it stays is seen. */
async function copyFail(sql) {
  await sql`create temporary table given_up (n int)`
  const copying = await sql`copy given_up from stdin`.writable()
  const ended = new Promise((resolve) => copying.once('error', resolve))
  copying.write('1\n')
  copying.destroy(new Error('gives up'))
  await ended
  const left = await sql.one('select count(*) from given_up')
  if (left !== '0') throw new Error(`${left} rows stayed`)
}

async function cancel(sql) {
  const running = sql.unsafe(slow).execute()
  noticed = () => running.cancel()
  const sqlstate = await failure(running)
  noticed = () => {}
  return [sqlstate, await sql.one("select 'alive'")]
}

async function largeResult(sql) {
  const parts = await sql`select repeat('x', 10000) as part from generate_series(1, 2000)`
  return parts.reduce((sum, row) => sum + row.part.length, 0)
}

/** The library does not tell whose notification it is; that it comes is waited for. */
async function notify(sql) {
  const payload = await new Promise((resolve, reject) => {
    sql.listen(channel, resolve).then(() => sql.notify(channel, 'hello')).catch(reject)
  })
  if (payload !== 'hello') throw new Error(`heard ${payload}`)
}

/** What is asked for at once goes out as one pipeline. */
async function pipelined(sql) {
  const [first, second, third] = [sql`select 1 as n`, sql`select 1 / 0 as n`, sql`select 3 as n`].map((query) => query.execute())
  const failed = failure(second)
  return [(await first)[0].n, await failed, (await third)[0].n]
}

async function largeObject(sql) {
  const [{ oid }] = await sql`select lo_create(0) as oid`
  const file = await sql.largeObject(oid)
  await file.write(megabyte)
  await file.seek(0)
  const [{ data: whole }] = await file.read(megabyte.length * 2)
  await file.seek(524288)
  const [{ data: at }] = await file.read(4)
  await file.close()
  await sql`select lo_unlink(${oid})`
  return { bytes: whole.length, md5: md5(whole), at: at.toString('hex') }
}

async function cursor(sql) {
  let sum = 0
  for await (const part of sql`select generate_series(1, ${25}::int) as n`.cursor(10)) {
    sum += part.reduce((sum, row) => sum + row.n, 0)
  }
  return sum
}

async function discardAll(sql) {
  await sql`set work_mem = '8MB'`
  const before = await sql.one('show work_mem')
  await sql`discard all`
  return [before, await sql.one('show work_mem'), await sql.one("select current_setting('safe_boundary.login')")]
}

await tell(connect, {
  who: (sql) => sql.one('select current_user'),
  simple,
  prepared,
  types: everyType,
  transaction,
  savepoint,
  copy_text: copyText,
  copy_binary: copyBinary,
  copy_fail: copyFail,
  cancel,
  large_result: largeResult,
  large_parameter: (sql) => sql.one('select length($1::text)', ['x'.repeat(large)]),
  notify,
  pipeline: pipelined,
  large_object: largeObject,
  cursor,
  discard_all: discardAll,
})
