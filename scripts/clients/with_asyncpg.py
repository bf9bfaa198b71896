"""What asyncpg does through the proxy; prints one JSON object with what it saw."""

import asyncio
import io
import json
import ssl

import asyncpg

import checks


async def who(db):
    return await db.fetchval("select current_user")


async def simple(db):
    await db.execute("create temporary table two (n int); insert into two values (20), (22)")
    return await db.fetchval("select sum(n) from two")


async def prepared(db):
    named = await db.prepare("select $1::int * 2")
    return [await named.fetchval(n) for n in (1, 2, 3)]


async def types(db):
    saw = {}
    for name, native in checks.VALUES.items():
        cast = checks.sql_type(name)
        # asyncpg gives and takes JSON as its text.
        value = json.dumps(native) if name in ("json", "jsonb") else native
        back = await db.fetchval(f"select $1::{cast}", value)
        saw[name] = await db.fetchval(f"select ($1::{cast})::text", back)
    return saw


async def transaction(db):
    saw = []

    async def fails(statement):
        try:
            await db.fetchval(statement)
        except asyncpg.PostgresError as error:
            saw.append(error.sqlstate)

    transaction = db.transaction()
    await transaction.start()
    await fails("select 1 / 0")
    await fails("select 1")
    await transaction.rollback()
    return [*saw, await db.fetchval("select 'alive'")]


async def savepoint(db):
    await db.execute("create temporary table kept (n int)")
    async with db.transaction():
        await db.execute("insert into kept values (1)")
        inner = db.transaction()
        await inner.start()
        await db.execute("insert into kept values (2)")
        await inner.rollback()
        await db.execute("insert into kept values (3)")
    return [row["n"] for row in await db.fetch("select n from kept order by n")]


async def copy_text(db):
    await db.execute(checks.COPY_TABLE.format("copied_text"))
    await db.copy_to_table("copied_text", source=io.BytesIO(checks.COPY_TEXT))
    return await copied(db, "copied_text", "text")


async def copy_binary(db):
    await db.execute(checks.COPY_TABLE.format("copied_binary"))
    await db.copy_records_to_table("copied_binary", records=checks.ROWS)
    return await copied(db, "copied_binary", "binary")


async def copied(db, table, format):
    out = io.BytesIO()
    await db.copy_from_query(f"select * from {table} order by n", output=out, format=format)
    return checks.copied(await db.fetchval(f"select count(*) from {table}"), out.getvalue())


async def copy_fail(db):
    async def gives_up():
        yield b"1\tone\n"
        raise ValueError("gives up")

    await db.execute(checks.COPY_TABLE.format("failed"))
    try:
        await db.copy_to_table("failed", source=gives_up())
    except ValueError:
        # asyncpg swallows the server's 57014. That it came is seen where the server's log is held against the trail.
        return ["57014", await db.fetchval("select count(*) from failed")]


async def cancel(db):
    begun = asyncio.Event()
    db.add_log_listener(lambda *_: begun.set())
    running = asyncio.create_task(db.execute(checks.SLEEP))
    await begun.wait()
    running.cancel()
    try:
        await running
    except asyncio.CancelledError:
        # Here too. The next statement would wait for the whole minute if this one went on.
        return ["57014", await asyncio.wait_for(db.fetchval("select 'alive'"), 30)]


async def large_result(db):
    return sum(len(row[0]) for row in await db.fetch(checks.LARGE_RESULT))


async def large_parameter(db):
    return await db.fetchval("select length($1::text)", "x" * checks.LARGE)


async def notify(db):
    heard = asyncio.get_running_loop().create_future()
    channel = checks.CHANNEL.strip('"')
    await db.add_listener(channel, lambda _db, pid, _channel, payload: heard.set_result((pid, payload)))
    await db.execute(f"notify {checks.CHANNEL}, 'hello'")
    pid, payload = await heard
    return [payload, pid == db.get_server_pid()]


async def pipeline(db):
    """Its only pipelines: `executemany` sends every Bind and Execute before it reads, in one transaction."""
    await db.execute("create temporary table many (n int)")
    await db.executemany("insert into many values ($1)", [(1,)])
    saw = [await db.fetchval("select count(*) from many")]
    try:
        await db.executemany("insert into many values (1 / $1::int)", [(1,), (0,), (1,)])
    except asyncpg.PostgresError as error:
        saw.append(error.sqlstate)
    await db.executemany("insert into many values ($1)", [(n,) for n in (2, 3)])
    return [*saw, await db.fetchval("select count(*) from many")]


async def large_object(db):
    async with db.transaction():
        oid = await db.fetchval("select lo_create(0)")
        fd = await db.fetchval("select lo_open($1, 393216)", oid)
        await db.execute("select lowrite($1, $2)", fd, checks.LARGE_OBJECT)
        await db.execute("select lo_lseek($1, 0, 0)", fd)
        data = await db.fetchval("select loread($1, $2)", fd, 1 << 20)
        await db.execute("select lo_lseek($1, 524288, 0)", fd)
        at = await db.fetchval("select loread($1, 4)", fd)
        await db.execute("select lo_unlink($1)", oid)
    return checks.large_object(data, at)


async def cursor(db):
    async with db.transaction():
        return sum([row[0] async for row in db.cursor("select generate_series(1, 25)", prefetch=10)])


async def discard_all(db):
    await db.execute("set work_mem = '8MB'")
    before = await db.fetchval("show work_mem")
    # It drops what asyncpg has prepared, so asyncpg must forget that too.
    await db.reset()
    await db.execute("discard all")
    await db.reload_schema_state()
    return [before, await db.fetchval("show work_mem"), await db.fetchval("select current_setting('safe_boundary.login')")]


CHECKS = [who, simple, prepared, types, transaction, savepoint, copy_text, copy_binary, copy_fail, cancel, large_result]
CHECKS += [large_parameter, notify, pipeline, large_object, cursor, discard_all]


async def main():
    try:
        db = await asyncpg.connect(
            host=checks.HOST,
            port=checks.PORT,
            database=checks.DATABASE,
            user=checks.LOGIN,
            ssl=ssl.create_default_context(cafile=checks.CA),
            server_settings={"application_name": checks.PROGRAM} if checks.PROGRAM else None,
        )
    except asyncpg.PostgresError as error:
        return checks.refused(error, error.sqlstate)
    await checks.run_async(db, CHECKS)
    await db.close()


asyncio.run(main())
