"""What asyncpg does through the proxy; prints one JSON object with what it saw."""

import asyncio
import io
import json
import os
import ssl

import asyncpg


async def connect() -> asyncpg.Connection:
    settings = {"application_name": os.environ["SB_PROGRAM"]} if "SB_PROGRAM" in os.environ else None
    return await asyncpg.connect(
        host="localhost",
        port=int(os.environ["SB_PORT"]),
        database="payments",
        user=os.environ["SB_LOGIN"],
        ssl=ssl.create_default_context(cafile=os.environ["SB_CA"]),
        server_settings=settings,
    )


async def statements(db, saw) -> None:
    saw["who"] = await db.fetchval("select current_user")
    saw["simple"] = [await db.execute("select 1; select 2")]
    insert = 'insert into refunds ("order", amount, reason) values ($1, $2, $3) returning amount'
    saw["text"] = str(await db.fetchval(insert, 3, 5, None))
    saw["binary"] = await db.fetchval("select $1::int8 + 1", 2**40)
    named = await db.prepare("select $1::text")
    saw["named"] = [await named.fetchval(f"n{n}") for n in range(3)]
    await db.executemany('insert into refunds ("order", amount) values ($1, $2)', [(n, n) for n in range(1, 11)])


async def transaction(db, saw) -> None:
    try:
        async with db.transaction():
            await db.execute('insert into refunds ("order", amount) values (1, 1)')
            await db.fetchval("select 1 / $1::int", 0)
    except asyncpg.DivisionByZeroError as error:
        saw["error"] = error.sqlstate
    saw["after_error"] = await db.fetchval("select 'alive'")


async def copy(db, saw) -> None:
    await db.execute("create temporary table copied (n int, t text)")
    await db.copy_records_to_table("copied", records=[(n, "line\nbreak") for n in range(1000)])
    out = io.BytesIO()
    await db.copy_from_query("select * from copied", output=out)
    saw["copied"] = out.getvalue().count(b"\n")
    saw["after_copy"] = await db.fetchval("select count(*) from copied")


async def cancel(db, saw) -> None:
    begun = asyncio.Event()
    db.add_log_listener(lambda *_: begun.set())
    running = asyncio.create_task(db.execute("do $$ begin raise notice 'begun'; perform pg_sleep(60); end $$"))
    await begun.wait()
    running.cancel()
    try:
        await running
    except asyncio.CancelledError:
        saw["cancelled"] = "57014"


async def large(db, saw) -> None:
    saw["large"] = 0
    async with db.transaction():
        async for row in db.cursor("select repeat('x', 10000) from generate_series(1, 2000)", prefetch=500):
            saw["large"] += len(row[0])


async def notify(db, saw) -> None:
    heard = asyncio.get_running_loop().create_future()
    await db.add_listener("news", lambda _db, pid, _channel, payload: heard.set_result((pid, payload)))
    await db.execute("notify news, 'hello'")
    pid, payload = await heard
    saw["notified"] = [payload, pid == db.get_server_pid()]


async def main() -> None:
    saw = {}
    try:
        db = await connect()
        await statements(db, saw)
        await transaction(db, saw)
        await copy(db, saw)
        await large(db, saw)
        await notify(db, saw)
        await cancel(db, saw)
        saw["after_cancel"] = await db.fetchval("select 'alive'")
        await db.reset()
        await db.close()
    except asyncpg.PostgresError as error:
        saw["refused"] = str(error)
        saw["sqlstate"] = error.sqlstate
    print(json.dumps(saw))


asyncio.run(main())
