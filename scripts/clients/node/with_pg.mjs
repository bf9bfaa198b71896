// What node-postgres does through the proxy; prints one JSON object with what it saw.
import { once } from 'node:events'
import { buffer } from 'node:stream/consumers'
import { pipeline } from 'node:stream/promises'
import { Readable } from 'node:stream'
import pg from 'pg'
import { from as copyFrom, to as copyTo } from 'pg-copy-streams'
import Cursor from 'pg-cursor'
import { address, channel, failure, large, login, md5, megabyte, program, rows, slow, tell, temporal, tls, values } from './common.mjs'

const asText = new Set(Object.values(temporal))
const types = {
  getTypeParser: (oid, format) => (asText.has(oid) ? (text) => text : pg.types.getTypeParser(oid, format)),
}
const settings = { ...address, user: login, application_name: program, ssl: tls, types }

async function connect() {
  const db = new pg.Client(settings)
  await db.connect()
  db.close = () => db.end()
  db.one = async (text, bound) => Object.values((await db.query(text, bound)).rows[0])[0]
  return db
}

async function simple(db) {
  await db.query('create temporary table two (n int); insert into two values (20), (22)')
  return Number(await db.one('select sum(n) from two'))
}

async function prepared(db) {
  const run = (n) => db.query({ name: 'twice', text: 'select $1::int * 2 as twice', values: [n] })
  const seen = []
  for (const n of [1, 2, 3]) seen.push((await run(n)).rows[0].twice)
  return seen
}

async function everyType(db) {
  const seen = {}
  for (const [name, value] of Object.entries(values)) {
    const type = name === 'null' ? 'text' : name
    // An array is sent as PostgreSQL's array, so one that means JSON is written by the caller.
    const written = (value) => (name === 'json' ? JSON.stringify(value) : value)
    const back = await db.one(`select $1::${type}`, [written(value)])
    seen[name] = await db.one(`select $1::${type}::text`, [written(back)])
  }
  return seen
}

async function transaction(db) {
  await db.query('begin')
  const failures = [await failure(db.query('select 1 / 0')), await failure(db.query('select 1'))]
  await db.query('rollback')
  return [...failures, await db.one("select 'alive'")]
}

async function savepoint(db) {
  await db.query('create temporary table kept (n int)')
  for (const text of [
    'begin',
    'insert into kept values (1)',
    'savepoint s',
    'insert into kept values (2)',
    'rollback to s',
    'insert into kept values (3)',
    'commit',
  ]) {
    await db.query(text)
  }
  return (await db.query('select n from kept order by n')).rows.map((row) => row.n)
}

async function copy(db, table, format) {
  await db.query(`create temporary table ${table} (n int, t text)`)
  if (format === 'text') {
    await pipeline(Readable.from([Buffer.from(rows)]), db.query(copyFrom(`copy ${table} from stdin`)))
  } else {
    const source = await buffer(db.query(copyTo('copy (select * from copied order by n) to stdout (format binary)')))
    await pipeline(Readable.from([source]), db.query(copyFrom(`copy ${table} from stdin (format binary)`)))
  }
  const out = copyTo(`copy (select * from ${table} order by n) to stdout (format ${format})`)
  const seen = await buffer(db.query(out))
  return { rows: Number(await db.one(`select count(*) from ${table}`)), md5: md5(seen) }
}

async function copyFail(db) {
  await db.query('create temporary table given_up (n int)')
  const copying = db.query(copyFrom('copy given_up from stdin'))
  copying.write('1\n')
  copying.destroy(new Error('gives up'))
  const [error] = await once(copying, 'error').catch((error) => [error])
  return [error.code, Number(await db.one('select count(*) from given_up'))]
}

async function cancel(db) {
  const running = new pg.Query(slow)
  db.once('notice', () => {
    const canceller = new pg.Client(settings)
    canceller.connection.on('error', () => {})
    canceller.cancel(db, running)
  })
  db.query(running)
  const [error] = await once(running, 'end').catch((error) => [error])
  return [error?.code, await db.one("select 'alive'")]
}

async function largeResult(db) {
  const result = await db.query("select repeat('x', 10000) as part from generate_series(1, 2000)")
  return result.rows.reduce((sum, row) => sum + row.part.length, 0)
}

async function notify(db) {
  const heard = once(db, 'notification')
  await db.query(`listen "${channel}"`)
  await db.query(`notify "${channel}", 'hello'`)
  const [message] = await heard
  return [message.payload, message.processId === db.processID]
}

/** Pipelines are a mode of a whole connection. */
async function pipelined() {
  const db = new pg.Client({ ...settings, pipeline: true })
  await db.connect()
  const [first, second, third] = ['select 1 as n', 'select 1 / 0 as n', 'select 3 as n'].map((text) =>
    db.query({ text, values: [] }),
  )
  const seen = [(await first).rows[0].n, await failure(second), (await third).rows[0].n]
  await db.end()
  return seen
}

async function largeObject(db) {
  await db.query('begin')
  const oid = await db.one('select lo_create(0)')
  const file = await db.one('select lo_open($1, 393216)', [oid])
  await db.query('select lowrite($1, $2)', [file, megabyte])
  await db.query('select lo_lseek($1, 0, 0)', [file])
  const whole = await db.one('select loread($1, $2)', [file, megabyte.length * 2])
  await db.query('select lo_lseek($1, 524288, 0)', [file])
  const at = await db.one('select loread($1, 4)', [file])
  await db.query('select lo_unlink($1)', [oid])
  await db.query('commit')
  return { bytes: whole.length, md5: md5(whole), at: at.toString('hex') }
}

async function cursor(db) {
  const open = db.query(new Cursor('select generate_series(1, $1::int) as n', [25]))
  let sum = 0
  for (let part = await open.read(10); part.length > 0; part = await open.read(10)) {
    sum += part.reduce((sum, row) => sum + row.n, 0)
  }
  await open.close()
  return sum
}

async function discardAll(db) {
  await db.query("set work_mem = '8MB'")
  const before = await db.one('show work_mem')
  await db.query('discard all')
  return [before, await db.one('show work_mem'), await db.one("select current_setting('safe_boundary.login')")]
}

await tell(connect, {
  who: (db) => db.one('select current_user'),
  simple,
  prepared,
  types: everyType,
  transaction,
  savepoint,
  copy_text: (db) => copy(db, 'copied', 'text'),
  copy_binary: (db) => copy(db, 'copied_binary', 'binary'),
  copy_fail: copyFail,
  cancel,
  large_result: largeResult,
  large_parameter: (db) => db.one('select length($1::text)', ['x'.repeat(large)]),
  notify,
  pipeline: pipelined,
  large_object: largeObject,
  cursor,
  discard_all: discardAll,
})
