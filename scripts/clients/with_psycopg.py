"""What psycopg 3 does through the proxy; prints one JSON object with what it saw."""

import json
import os
import sys
import threading

import psycopg

STATEMENTS = "insert into refunds (\"order\", amount, reason) values (%s, %s, %s) returning amount"


def conninfo() -> str:
    words = {
        "host": "localhost",
        "port": os.environ["SB_PORT"],
        "dbname": "payments",
        "user": os.environ["SB_LOGIN"],
        "sslmode": "verify-full",
        "sslrootcert": os.environ["SB_CA"],
    }
    if "SB_PROGRAM" in os.environ:
        words["application_name"] = os.environ["SB_PROGRAM"]
    return psycopg.conninfo.make_conninfo(**words)


def statements(db, saw) -> None:
    saw["who"] = db.execute("select current_user").fetchone()[0]
    saw["simple"] = [db.pgconn.exec_(b"select 1; select 2").get_value(0, 0).decode()]
    saw["text"] = str(db.execute(STATEMENTS, (3, 5, None)).fetchone()[0])
    saw["binary"] = db.execute("select %b::int8 + 1", (2**40,), binary=True).fetchone()[0]
    named = [db.execute("select %s::text", (f"n{n}",), prepare=True).fetchone()[0] for n in range(3)]
    saw["named"] = named


def transaction(db, saw) -> None:
    try:
        with db.transaction():
            db.execute("insert into refunds (\"order\", amount) values (1, 1)")
            db.execute("select 1 / 0")
    except psycopg.errors.DivisionByZero as error:
        saw["error"] = error.sqlstate
    saw["after_error"] = db.execute("select 'alive'").fetchone()[0]


def copy(db, saw) -> None:
    db.execute("create temporary table copied (n int, t text)")
    with db.cursor() as cursor:
        with cursor.copy("copy copied from stdin") as copying:
            for n in range(1000):
                copying.write_row((n, "line\nbreak"))
        with cursor.copy("copy copied to stdout") as copying:
            saw["copied"] = sum(bytes(data).count(b"\n") for data in copying)
        try:
            with cursor.copy("copy copied from stdin") as copying:
                copying.write_row((1, "x"))
                raise ValueError("gives up")
        except (ValueError, psycopg.errors.QueryCanceled):
            pass
    saw["after_copy"] = db.execute("select count(*) from copied").fetchone()[0]


def cancel(db, saw) -> None:
    # The cancel goes out when the server has said that the statement has begun.
    db.add_notice_handler(lambda notice: threading.Thread(target=db.cancel_safe).start())
    try:
        db.execute("do $$ begin raise notice 'begun'; perform pg_sleep(60); end $$")
    except psycopg.errors.QueryCanceled as error:
        saw["cancelled"] = error.sqlstate


def pipeline(db, saw) -> None:
    with db.pipeline():
        cursors = [db.execute("select %s::int", (n,)) for n in range(100)]
        saw["pipelined"] = sum(cursor.fetchone()[0] for cursor in cursors)


def large(db, saw) -> None:
    with db.cursor(name="far") as cursor:
        cursor.itersize = 500
        cursor.execute("select repeat('x', 10000) from generate_series(1, 2000)")
        saw["large"] = sum(len(row[0]) for row in cursor)


def notify(db, saw) -> None:
    db.execute("listen news")
    db.execute("notify news, 'hello'")
    notice = next(db.notifies(timeout=30, stop_after=1))
    saw["notified"] = [notice.payload, notice.pid == db.info.backend_pid]


def main() -> None:
    saw = {}
    try:
        with psycopg.connect(conninfo(), autocommit=True) as db:
            statements(db, saw)
            transaction(db, saw)
            copy(db, saw)
            pipeline(db, saw)
            with db.transaction():
                large(db, saw)
            notify(db, saw)
            cancel(db, saw)
            saw["after_cancel"] = db.execute("select 'alive'").fetchone()[0]
    except psycopg.Error as error:
        saw["refused"] = str(error)
    json.dump(saw, sys.stdout)
    print()


main()
