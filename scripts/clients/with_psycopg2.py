"""What psycopg 2 does through the proxy; prints one JSON object with what it saw.

It writes parameters into the text of the statement, so nothing of it but PREPARE is prepared.
"""

import io
import ipaddress
import select
import threading

import psycopg2
import psycopg2.extensions
import psycopg2.extras

import checks


def who(db):
    return value(db, "select current_user")


def simple(db):
    execute(db, "create temporary table two (n int); insert into two values (20), (22)")
    return value(db, "select sum(n) from two")


def prepared(db):
    execute(db, "prepare twice as select $1::int * 2")
    return [value(db, "execute twice (%s)", n) for n in (1, 2, 3)]


def types(db):
    psycopg2.extras.register_uuid(conn_or_curs=db)
    psycopg2.extras.register_ipaddress(db)
    saw = {}
    # It knows addresses with a mask only.
    values = checks.VALUES | {"inet": ipaddress.ip_interface(checks.VALUES["inet"])}
    for name, native in values.items():
        cast = checks.sql_type(name)
        wrap = psycopg2.extras.Json if name in ("json", "jsonb") else lambda native: native
        back = value(db, f"select cast(%s as {cast})", wrap(native))
        saw[name] = value(db, f"select cast(cast(%s as {cast}) as text)", wrap(back))
    return saw


def transaction(db):
    saw = []
    db.autocommit = False
    for statement in ("select 1 / 0", "select 1"):
        try:
            execute(db, statement)
        except psycopg2.Error as error:
            saw.append(error.pgcode)
    db.rollback()
    db.autocommit = True
    return [*saw, value(db, "select 'alive'")]


def savepoint(db):
    execute(db, "create temporary table kept (n int)")
    db.autocommit = False
    execute(db, "insert into kept values (1)")
    execute(db, "savepoint s")
    execute(db, "insert into kept values (2)")
    execute(db, "rollback to s")
    execute(db, "insert into kept values (3)")
    db.commit()
    db.autocommit = True
    with db.cursor() as cursor:
        cursor.execute("select n from kept order by n")
        return [n for n, in cursor]


def copy_text(db):
    return copy(db, "copied_text", "", checks.COPY_TEXT)


def copy_binary(db):
    with db.cursor() as cursor:
        out = io.BytesIO()
        cursor.copy_expert("copy (select n, 'row ' || n || e'\\tof 1000' from generate_series(1, 1000) n) to stdout (format binary)", out)
    return copy(db, "copied_binary", " (format binary)", out.getvalue())


def copy(db, table, options, data):
    execute(db, checks.COPY_TABLE.format(table))
    out = io.BytesIO()
    with db.cursor() as cursor:
        cursor.copy_expert(f"copy {table} from stdin{options}", io.BytesIO(data))
        cursor.copy_expert(f"copy (select * from {table} order by n) to stdout{options}", out)
    return checks.copied(value(db, f"select count(*) from {table}"), out.getvalue())


class Broken(io.RawIOBase):
    """Gives one row and then an error."""

    def __init__(self):
        self.rows = [b"1\tone\n"]

    def read(self, size):
        if self.rows:
            return self.rows.pop()
        raise ValueError("gives up")


def copy_fail(db):
    execute(db, checks.COPY_TABLE.format("failed"))
    with db.cursor() as cursor:
        try:
            cursor.copy_expert("copy failed from stdin", Broken())
        except psycopg2.Error as error:
            return [error.pgcode, value(db, "select count(*) from failed")]


def cancel(db):
    class Notices(list):
        def append(self, notice):
            # The cancel goes out when the server has said that the statement has begun.
            threading.Thread(target=db.cancel).start()

    # libpq tells psycopg 2 of notices only between reads, unless it reads itself.
    db.notices = Notices()
    psycopg2.extensions.set_wait_callback(psycopg2.extras.wait_select)
    try:
        execute(db, checks.SLEEP)
    except psycopg2.Error as error:
        return [error.pgcode, value(db, "select 'alive'")]
    finally:
        psycopg2.extensions.set_wait_callback(None)


def large_result(db):
    with db.cursor() as cursor:
        cursor.execute(checks.LARGE_RESULT)
        return sum(len(row[0]) for row in cursor)


def large_parameter(db):
    return value(db, "select length(%s::text)", "x" * checks.LARGE)


def notify(db):
    execute(db, f"listen {checks.CHANNEL}")
    execute(db, f"notify {checks.CHANNEL}, 'hello'")
    while not db.notifies:
        select.select([db], [], [], 30)
        db.poll()
    notice = db.notifies.pop()
    return [notice.payload, notice.pid == db.info.backend_pid]


def large_object(db):
    db.autocommit = False
    lobject = db.lobject(0, "wb")
    lobject.write(checks.LARGE_OBJECT)
    lobject.close()
    lobject = db.lobject(lobject.oid, "rb")
    data = lobject.read()
    lobject.seek(524288)
    at = lobject.read(4)
    lobject.unlink()
    db.commit()
    db.autocommit = True
    return checks.large_object(data, at)


def cursor(db):
    db.autocommit = False
    with db.cursor(name="far") as cursor:
        cursor.itersize = 10
        cursor.execute("select generate_series(1, 25)")
        saw = sum(n for n, in cursor)
    db.commit()
    db.autocommit = True
    return saw


def discard_all(db):
    execute(db, "set work_mem = '8MB'")
    before = value(db, "show work_mem")
    execute(db, "discard all")
    return [before, value(db, "show work_mem"), value(db, "select current_setting('safe_boundary.login')")]


def execute(db, sql, *parameters):
    with db.cursor() as cursor:
        cursor.execute(sql, parameters or None)


def value(db, sql, *parameters):
    with db.cursor() as cursor:
        cursor.execute(sql, parameters or None)
        return cursor.fetchone()[0]


CHECKS = [who, simple, prepared, types, transaction, savepoint, copy_text, copy_binary, copy_fail, cancel, large_result]
CHECKS += [large_parameter, notify, large_object, cursor, discard_all]

try:
    db = psycopg2.connect(**checks.CONNINFO)
except psycopg2.Error as error:
    checks.refused(error, error.pgcode)
else:
    db.autocommit = True
    checks.run(db, CHECKS)
    db.close()
