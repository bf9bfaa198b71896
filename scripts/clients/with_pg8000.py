"""What pg8000 does through the proxy; prints one JSON object with what it saw."""

import io
import ssl
import threading

import pg8000.native

import checks


def who(db):
    return value(db, "select current_user")


def simple(db):
    db.run("create temporary table two (n int); insert into two values (20), (22)")
    return value(db, "select sum(n) from two")


def prepared(db):
    named = db.prepare("select cast(:n as int) * 2")
    saw = [named.run(n=n)[0][0] for n in (1, 2, 3)]
    named.close()
    return saw


def types(db):
    saw = {}
    for name, native in checks.VALUES.items():
        cast = checks.sql_type(name)
        # It takes lists for arrays; what else is JSON it takes as text.
        value_in = native if name != "json" else '["x"]'
        back = value(db, f"select cast(:v as {cast})", v=value_in)
        saw[name] = value(db, f"select cast(cast(:v as {cast}) as text)", v=back if name != "json" else value_in)
    return saw


def transaction(db):
    saw = []
    db.run("begin")
    for statement in ("select 1 / 0", "select 1"):
        try:
            db.run(statement)
        except pg8000.native.DatabaseError as error:
            saw.append(sqlstate(error))
    db.run("rollback")
    return [*saw, value(db, "select 'alive'")]


def savepoint(db):
    db.run("create temporary table kept (n int)")
    for statement in ("begin", 1, "savepoint s", 2, "rollback to s", 3, "commit"):
        if isinstance(statement, int):
            db.run("insert into kept values (:n)", n=statement)
        else:
            db.run(statement)
    return [n for n, in db.run("select n from kept order by n")]


def copy_text(db):
    return copy(db, "copied_text", "", checks.COPY_TEXT)


def copy_binary(db):
    out = io.BytesIO()
    rows = "select n, 'row ' || n || e'\\tof 1000' from generate_series(1, 1000) n"
    db.run(f"copy ({rows}) to stdout (format binary)", stream=out)
    return copy(db, "copied_binary", " (format binary)", out.getvalue())


def copy(db, table, options, data):
    db.run(checks.COPY_TABLE.format(table))
    out = io.BytesIO()
    db.run(f"copy {table} from stdin{options}", stream=io.BytesIO(data))
    db.run(f"copy (select * from {table} order by n) to stdout{options}", stream=out)
    return checks.copied(value(db, f"select count(*) from {table}"), out.getvalue())


def cancel(db):
    """It has no cancel of its own: another session asks the server to do it, by the process id that pg8000 was told."""
    pid = value(db, "select pg_backend_pid()")
    other = connect()
    # Nothing is shown while a statement runs, so the other session waits until the server says that it does.
    waits = f"select count(*) from pg_stat_activity where pid = {pid} and wait_event = 'PgSleep'"

    def cancels():
        while value(other, waits) == 0:
            pass
        value(other, f"select pg_cancel_backend({pid})")
        other.close()

    thread = threading.Thread(target=cancels)
    thread.start()
    try:
        db.run(checks.SLEEP)
    except pg8000.native.DatabaseError as error:
        return [sqlstate(error), value(db, "select 'alive'")]
    finally:
        thread.join()


def large_result(db):
    return sum(len(row[0]) for row in db.run(checks.LARGE_RESULT))


def large_parameter(db):
    return value(db, "select length(cast(:v as text))", v="x" * checks.LARGE)


def notify(db):
    db.run(f"listen {checks.CHANNEL}")
    db.run(f"notify {checks.CHANNEL}, 'hello'")
    db.run("select 1")
    pid, _channel, payload = db.notifications.pop()
    return [payload, pid == value(db, "select pg_backend_pid()")]


def large_object(db):
    db.run("begin")
    oid = value(db, "select lo_create(0)")
    fd = value(db, "select lo_open(:oid, 393216)", oid=oid)
    value(db, "select lowrite(:fd, :data)", fd=fd, data=checks.LARGE_OBJECT)
    value(db, "select lo_lseek(:fd, 0, 0)", fd=fd)
    data = value(db, "select loread(:fd, :bytes)", fd=fd, bytes=1 << 20)
    value(db, "select lo_lseek(:fd, 524288, 0)", fd=fd)
    at = value(db, "select loread(:fd, 4)", fd=fd)
    value(db, "select lo_unlink(:oid)", oid=oid)
    db.run("commit")
    return checks.large_object(bytes(data), bytes(at))


def cursor(db):
    db.run("begin")
    db.run("declare far cursor for select generate_series(1, 25)")
    saw = 0
    while rows := db.run("fetch 10 from far"):
        saw += sum(n for n, in rows)
    db.run("commit")
    return saw


def discard_all(db):
    db.run("set work_mem = '8MB'")
    before = value(db, "show work_mem")
    db.run("discard all")
    return [before, value(db, "show work_mem"), value(db, "select current_setting('safe_boundary.login')")]


def value(db, sql, **parameters):
    return db.run(sql, **parameters)[0][0]


def sqlstate(error):
    return error.args[0]["C"]


def connect():
    return pg8000.native.Connection(
        checks.LOGIN,
        host=checks.HOST,
        port=checks.PORT,
        database=checks.DATABASE,
        ssl_context=ssl.create_default_context(cafile=checks.CA),
        application_name=checks.PROGRAM,
    )


CHECKS = [who, simple, prepared, types, transaction, savepoint, copy_text, copy_binary, cancel, large_result]
CHECKS += [large_parameter, notify, large_object, cursor, discard_all]

try:
    db = connect()
except pg8000.native.DatabaseError as error:
    checks.refused(error.args[0]["M"], sqlstate(error))
else:
    checks.run(db, CHECKS)
    db.close()
