"""What psycopg 3 does through the proxy; prints one JSON object with what it saw."""

import threading

import psycopg
from psycopg.types.json import Json, Jsonb

import checks


def who(db):
    return value(db, "select current_user")


def simple(db):
    result = db.pgconn.exec_(b"create temporary table two (n int); insert into two values (20), (22)")
    assert result.status == psycopg.pq.ExecStatus.COMMAND_OK, result.error_message
    return int(db.pgconn.exec_(b"select sum(n) from two").get_value(0, 0))


def prepared(db):
    return [db.execute("select %s::int * 2", (n,), prepare=True).fetchone()[0] for n in (1, 2, 3)]


def types(db):
    """Every value twice, in text and in binary: both must come back as the same."""
    saw = {}
    for name, native in checks.VALUES.items():
        cast = checks.sql_type(name)
        texts = {text(db, name, cast, native, mark) for mark in ("%t", "%b")}
        saw[name] = texts.pop() if len(texts) == 1 else sorted(texts)
    return saw


def text(db, name, cast, native, mark):
    wrap = {"json": Json, "jsonb": Jsonb}.get(name, lambda native: native)
    back = db.execute(f"select {mark}::{cast}", (wrap(native),), binary=mark == "%b").fetchone()[0]
    return db.execute(f"select {mark}::{cast}::text", (wrap(back),)).fetchone()[0]


def transaction(db):
    saw = []
    db.execute("begin")
    for statement in ("select 1 / 0", "select 1"):
        try:
            db.execute(statement)
        except psycopg.Error as error:
            saw.append(error.sqlstate)
    db.execute("rollback")
    return [*saw, value(db, "select 'alive'")]


def savepoint(db):
    db.execute("create temporary table kept (n int)")
    with db.transaction():
        db.execute("insert into kept values (1)")
        with db.transaction():
            db.execute("insert into kept values (2)")
            raise psycopg.Rollback()
        db.execute("insert into kept values (3)")
    return [n for n, in db.execute("select n from kept order by n")]


def copy_text(db):
    return copy(db, "copied_text", "", None)


def copy_binary(db):
    return copy(db, "copied_binary", " (format binary)", ["int4", "text"])


def copy(db, table, options, types):
    db.execute(checks.COPY_TABLE.format(table))
    with db.cursor() as cursor:
        with cursor.copy(f"copy {table} from stdin{options}") as copying:
            if types:
                copying.set_types(types)
            for row in checks.ROWS:
                copying.write_row(row)
        rows = value(db, f"select count(*) from {table}")
        with cursor.copy(f"copy (select * from {table} order by n) to stdout{options}") as copying:
            return checks.copied(rows, b"".join(copying))


def copy_fail(db):
    db.execute(checks.COPY_TABLE.format("failed"))
    # By libpq itself: psycopg's own way hides what the server says to it.
    db.pgconn.exec_(b"copy failed from stdin")
    db.pgconn.put_copy_data(b"1\tone\n")
    db.pgconn.put_copy_end(b"gives up")
    sqlstate = db.pgconn.get_result().error_field(psycopg.pq.DiagnosticField.SQLSTATE)
    assert db.pgconn.get_result() is None
    return [sqlstate.decode(), value(db, "select count(*) from failed")]


def cancel(db):
    # The cancel goes out when the server has said that the statement has begun.
    db.add_notice_handler(lambda notice: threading.Thread(target=db.cancel_safe).start())
    try:
        db.execute(checks.SLEEP)
    except psycopg.Error as error:
        return [error.sqlstate, value(db, "select 'alive'")]


def large_result(db):
    return sum(len(row[0]) for row in db.execute(checks.LARGE_RESULT))


def large_parameter(db):
    return db.execute("select length(%s::text)", ("x" * checks.LARGE,)).fetchone()[0]


def notify(db):
    db.execute(f"listen {checks.CHANNEL}")
    db.execute(f"notify {checks.CHANNEL}, 'hello'")
    notice = next(db.notifies(timeout=30, stop_after=1))
    return [notice.payload, notice.pid == db.info.backend_pid]


def pipeline(db):
    saw = []
    with db.pipeline() as pipeline:
        first = db.execute("select %s::int", (1,))
        pipeline.sync()
        saw.append(first.fetchone()[0])
        try:
            cursors = [db.execute("select 1 / %s::int", (n,)) for n in (1, 0, 1)]
            pipeline.sync()
            for cursor in cursors:
                cursor.fetchone()
        except psycopg.Error as error:
            saw.append(error.sqlstate)
        saw.append(db.execute("select %s::int", (3,)).fetchone()[0])
    return saw


def large_object(db):
    with db.transaction():
        oid = value(db, "select lo_create(0)")
        fd = db.execute("select lo_open(%s, 393216)", (oid,)).fetchone()[0]
        db.execute("select lowrite(%b, %b)", (fd, checks.LARGE_OBJECT))
        db.execute("select lo_lseek(%s, 0, 0)", (fd,))
        data = db.execute("select loread(%s, %s)", (fd, 1 << 20), binary=True).fetchone()[0]
        db.execute("select lo_lseek(%s, 524288, 0)", (fd,))
        at = db.execute("select loread(%s, 4)", (fd,)).fetchone()[0]
        db.execute("select lo_unlink(%s)", (oid,))
    return checks.large_object(data, at)


def cursor(db):
    with db.transaction(), db.cursor(name="far") as cursor:
        cursor.itersize = 10
        cursor.execute("select generate_series(1, 25)")
        return sum(n for n, in cursor)


def discard_all(db):
    db.execute("set work_mem = '8MB'")
    before = value(db, "show work_mem")
    db.execute("discard all")
    return [before, value(db, "show work_mem"), value(db, "select current_setting('safe_boundary.login')")]


def value(db, sql):
    return db.execute(sql).fetchone()[0]


CHECKS = [who, simple, prepared, types, transaction, savepoint, copy_text, copy_binary, copy_fail, cancel, large_result]
CHECKS += [large_parameter, notify, pipeline, large_object, cursor, discard_all]

try:
    with psycopg.connect(autocommit=True, **checks.CONNINFO) as db:
        checks.run(db, CHECKS)
except psycopg.Error as error:
    checks.refused(error, error.sqlstate)
