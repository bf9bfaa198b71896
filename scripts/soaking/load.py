"""Who comes by: each function is one visit of one kind of client. A visit may fail, and says how; it may not hang."""

import os
import random
import socket
import ssl
import struct
import threading
import time

import psycopg

from stage import ALICE, BOB, MALLORY


def psql(stage):
    """Comes, reads and writes, goes; now and then with a text so long that it is a blob."""
    text = f"{random.random()} " + "x" * random.choice([10, 10, 10, 40_000])
    script = f"begin; select count(*) from orders; select '{text}'; rollback;\n\\copy (select * from orders) to '/dev/null'\n"
    return stage.run("psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", script=script, login=random.choice([ALICE, BOB]))


def pgbench(stage):
    """A program with statements of its own, by the extended protocol."""
    path = f"{stage.options.work}/soak.sql"
    return stage.run("pgbench", "-n", "-M", "prepared", "-c", "1", "-R", "20", "-t", "60", "-f", path)


def reporter(stage):
    """Uses the server that is restarted under it."""
    with stage.connect(BOB, "reports") as session:
        for _ in range(20):
            session.execute("select count(*) from orders where id > %s", (random.randrange(50),))
            time.sleep(0.2)


def bulk(stage):
    """A large result, a COPY, a large parameter."""
    with stage.connect(ALICE) as session:
        session.execute("select repeat('r', 1000) from generate_series(1, 2000)").fetchall()
        session.execute("create temporary table bulk (line text)")
        with session.cursor().copy("copy bulk from stdin") as copy:
            for _ in range(50):
                copy.write("y" * 4000 + "\n")
        session.execute("select length(%s)", ("z" * 400_000,))


def canceller(stage):
    """Stops what she runs."""
    with stage.connect(ALICE) as session:
        threading.Timer(0.5, session.cancel_safe, kwargs={"timeout": 5}).start()
        try:
            session.execute("select pg_sleep(30)")
        except psycopg.errors.QueryCanceled:
            return session.rollback()
    # While the disk is full no cancel can be recorded, and what cannot be recorded is not done.
    raise psycopg.OperationalError("the statement was not cancelled")


def vanisher(stage):
    """Is gone in the middle of a statement, without a word."""
    session = stage.connect(ALICE)
    session.pgconn.send_query(b"select pg_sleep(20)")
    session.pgconn.flush()
    time.sleep(0.2)
    line = socket.socket(fileno=os.dup(session.pgconn.socket))
    line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    if random.random() < 0.5:
        line.shutdown(socket.SHUT_RDWR)
    line.close()
    session.pgconn.finish()


def leaver():
    """Somebody who never signs in. Ten sign-ins a minute of one person may come to nothing; alice has work to do."""
    return f"leaver{random.randrange(100)}@example.com"


def looks_away(stage):
    """Is asked to sign in, and leaves."""
    try:
        stage.connect(leaver(), answer=lambda code: None).close()
    except psycopg.OperationalError:
        return
    raise AssertionError("nobody signed in, and there is a session")


def goes_at_the_prompt(stage):
    """Closes the terminal while the code is shown."""
    line = raw_tls(stage)
    line.sendall(startup(user=leaver(), database="payments", application_name="psql"))
    line.recv(4096)
    time.sleep(random.random())
    line.close()


def refuses(stage):
    """Says no at the provider, or is somebody else."""
    deny = random.random() < 0.5
    answer = lambda code: stage.approve(code, BOB, deny=deny)
    try:
        stage.connect(ALICE, answer=answer).close()
    except psycopg.OperationalError:
        return
    raise AssertionError("bob has a session of alice's")


def stranger(stage):
    """Has no group."""
    try:
        stage.connect(MALLORY).close()
    except psycopg.OperationalError:
        return
    raise AssertionError("mallory has a session")


def garbage(stage):
    """Speaks something else, or nothing."""
    kind = random.randrange(6)
    if kind == 0:
        line = raw(stage)
        line.sendall(random.randbytes(random.randrange(1, 200)))
    elif kind == 1:
        line = raw(stage)
        line.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    elif kind == 2:
        line = raw_tls(stage)
        line.sendall(random.randbytes(100))
    elif kind == 3:
        line = raw_tls(stage)
        line.sendall(startup(user=ALICE, database="payments", options="-c role=postgres", application_name="psql"))
    elif kind == 4:
        line = raw(stage)
        line.sendall(struct.pack("!iiii", 16, 80877102, random.randrange(99999), random.randrange(1 << 30)))
    else:
        line = raw(stage)
        line.sendall(struct.pack("!ii", 500, 196608))
    line.settimeout(20)
    try:
        while line.recv(4096):
            pass
    except OSError:
        pass
    line.close()


def breaks_the_protocol(stage):
    """Has a session, and then sends what no client sends."""
    session = stage.connect(ALICE)
    session.execute("select 1")
    # Below TLS: the next record cannot be read.
    line = socket.socket(fileno=os.dup(session.pgconn.socket))
    line.sendall(random.randbytes(64))
    line.close()
    try:
        session.execute("select 2")
    except psycopg.Error:
        pass
    session.pgconn.finish()


def raw(stage):
    return socket.create_connection(("127.0.0.1", stage.ports["payments"]), timeout=10)


def raw_tls(stage):
    line = raw(stage)
    line.sendall(struct.pack("!ii", 8, 80877103))
    assert line.recv(1) == b"S"
    context = ssl.create_default_context(cafile=f"{stage.options.work}/ca.crt")
    return context.wrap_socket(line, server_hostname="localhost")


def startup(**parameters):
    body = b"".join(f"{name}\0{value}\0".encode() for name, value in parameters.items()) + b"\0"
    return struct.pack("!ii", len(body) + 8, 196608) + body


# Each with the mean pause after a visit, in seconds.
VISITS = [
    (psql, 2.0),
    (pgbench, 15.0),
    (reporter, 6.0),
    (bulk, 20.0),
    (canceller, 8.0),
    (vanisher, 8.0),
    (looks_away, 30.0),
    (goes_at_the_prompt, 6.0),
    (refuses, 12.0),
    (stranger, 12.0),
    (garbage, 1.5),
    (garbage, 1.5),
    (breaks_the_protocol, 10.0),
]
